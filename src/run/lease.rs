//! Takes the lease on a cluster, and gives it back. What to do next is `planning::lease`'s to say.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    aws::{Target, call::KEEPS_ON},
    clock::Clock,
    planning::{
        lease::{Key, Keys, Next, SETTLES, Stage, State, lasts_until, next, writes_until},
        model::Timestamp,
        notes::{MODE_TAG, ModeNote},
        strategy::{Failure, FailureKind},
    },
    shutdown::Shutdown,
};

/// Between two reads while nothing is to be seen yet.
const AGAIN: Duration = Duration::from_secs(1);

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Held {
    cluster_arn: String,
    /// The tags that this run wrote, or tried to.
    tags: Vec<String>,
}

/// What became of the wish for it.
#[derive(Debug)]
pub(super) enum Taken {
    /// This run has it.
    Held(Held),
    /// Another run has it, or is to have it; none where nobody made up their mind in time.
    Withdrawn(Option<String>),
    /// The run was told to end.
    Ended,
}

/// Takes lapsed keys away: their runs died after their work was done, and nobody else would. Gives what else is to be told.
///
/// # Errors
/// When the cluster can't be looked at or tagged.
pub(super) async fn sweep(target: Target<'_>, now: Timestamp) -> Result<Vec<String>, Failure> {
    let (cluster_arn, tags) = target.cluster_tags().await?;
    let keys = Keys::of(&tags, now);
    if !keys.lapsed.is_empty() {
        target.untag(&cluster_arn, &keys.lapsed).await?;
    }
    Ok(told(&keys))
}

/// Keys that no run can have written.
fn told(keys: &Keys) -> Vec<String> {
    let tell =
        |tag| format!("the cluster's tag {tag} is no lease that a run can have written; it is ignored, take it off");
    keys.impossible.iter().map(tell).collect()
}

/// Takes the lease, or tells who has it. From then on nothing is changed after it may have lapsed.
///
/// # Errors
/// When the cluster can't be looked at or tagged.
pub(super) async fn take(
    target: Target<'_>,
    run_id: &str,
    clock: Clock,
    deadline: Duration,
    shutdown: &Shutdown,
) -> Result<(Taken, Vec<String>), Failure> {
    let mut own = Key { run_id: run_id.to_owned(), state: State::Asking, until: lasts_until(clock.now(), deadline) };
    let mut held = Held { cluster_arn: String::new(), tags: Vec::new() };
    let (mut stage, mut written_at, mut writes) = (Stage::Begun, Instant::now(), 0);
    let gives_up_at = Instant::now() + KEEPS_ON;
    loop {
        let (cluster_arn, tags) = match target.cluster_tags().await {
            Ok(seen) => seen,
            Err(failure) => return held.fail(target, failure).await,
        };
        held.cluster_arn = cluster_arn;
        let keys = Keys::of(&tags, clock.now());
        let wanted = match next(stage, &own.run_id, &keys, written_at.elapsed()) {
            Next::Ask => State::Asking,
            Next::Hold => State::Holding,
            Next::Go => {
                let left = writes_until(own.until).milliseconds_since(clock.now());
                let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
                target.clients.patience.set_writes_until(Instant::now() + left);
                if !keys.lapsed.is_empty() {
                    // Others' keys hinder nobody: the next run sweeps up what this one can't.
                    if let Err(failure) = target.untag(&held.cluster_arn, &keys.lapsed).await {
                        tracing::warn!("{failure}");
                    }
                }
                return Ok((Taken::Held(held), told(&keys)));
            }
            Next::Wait => {
                if shutdown.unless_asked(tokio::time::sleep(AGAIN)).await.is_none() {
                    return held.withdraw(target, Taken::Ended).await;
                }
                continue;
            }
            Next::Withdraw(other) => return held.withdraw(target, Taken::Withdrawn(other)).await,
        };
        own.state = wanted;
        let tag = own.tag();
        if !held.tags.contains(&tag) {
            held.tags.push(tag.clone());
        }
        writes += 1;
        match target.tag(&held.cluster_arn, &tag, &own.to_string()).await {
            Ok(()) => stage = if wanted == State::Asking { Stage::Asked } else { Stage::Held },
            Err(failure) if failure.kind == FailureKind::Refused || Instant::now() >= gives_up_at => {
                return held.fail(target, failure).await;
            }
            // It may land later, over what is written then: so this run goes on with a key of another name.
            Err(failure) if failure.kind == FailureKind::Unanswered => {
                own = Key { run_id: format!("{run_id}.{}", writes + 1), state: State::Asking, ..own };
                stage = Stage::Begun;
            }
            Err(_) => {}
        }
        written_at = Instant::now();
        if shutdown.unless_asked(tokio::time::sleep(SETTLES)).await.is_none() {
            return held.withdraw(target, Taken::Ended).await;
        }
    }
}

impl Held {
    /// Notes on the cluster which mode moved tasks.
    ///
    /// # Errors
    /// When the cluster can't be tagged.
    pub(super) async fn note_mode(&self, target: Target<'_>, note: ModeNote) -> Result<(), Failure> {
        target.tag(&self.cluster_arn, MODE_TAG, &note.to_string()).await
    }

    /// Gives the lease back: only what this run wrote.
    ///
    /// # Errors
    /// When the cluster can't be tagged; the lease lapses by itself.
    pub(super) async fn release(&self, target: Target<'_>) -> Result<(), Failure> {
        let gives_up_at = Instant::now() + KEEPS_ON;
        loop {
            match target.untag(&self.cluster_arn, &self.tags).await {
                Err(failure) if failure.kind != FailureKind::Refused && Instant::now() < gives_up_at => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(AGAIN) => {}
                        _ = target.clients.patience.over() => return Err(failure),
                    }
                }
                released => return released,
            }
        }
    }

    /// Ends for a failure. A key that was written would keep others away until it lapses: it goes, if that can be.
    async fn fail(self, target: Target<'_>, failure: Failure) -> Result<(Taken, Vec<String>), Failure> {
        if !self.tags.is_empty()
            && let Err(kept) = self.release(target).await
        {
            tracing::warn!("{kept}");
        }
        Err(failure)
    }

    async fn withdraw(self, target: Target<'_>, taken: Taken) -> Result<(Taken, Vec<String>), Failure> {
        if !self.tags.is_empty() {
            self.release(target).await?;
        }
        Ok((taken, Vec::new()))
    }
}
