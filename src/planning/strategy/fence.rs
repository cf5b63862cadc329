//! The fence: before each change of a service it is asked whose note the service carries, and whether the lease is still this run's.
//!
//! The note says who is at work. This run's own: go on. Another run's: hands off. None, though this run wrote one: ECS may not
//! show it yet, so wait; later, somebody took it off (a `terraform apply` that owns all tags does): then the step in hand is
//! finished or undone, as long as the lease is this run's and the desired count still reads what was written, and no other step
//! is begun.

use super::{CONSISTENCY, Seen};
use crate::planning::{
    model::{Service, Timestamp},
    notes::SurgeNote,
};

/// Whose the service is, by the note that the last look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This run's: its note is there, or none is and none was written.
    Ours,
    /// This run's, as far as is known: its note was written a moment ago and isn't shown yet.
    NotShownYet,
    /// This run's note was taken off.
    TakenOff,
    /// Another run's, or somebody's who wrote a note that no run can have written.
    Anothers(String),
}

/// What this run wrote, or took over from a dead run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The run that the note names; of a note that no run can have written, what is wrong with it.
    pub run_id: String,
    /// When it was written, by this run's clock.
    pub at: Timestamp,
}

/// Reads off the fence. `written` is none where this run has no note on the service.
pub fn whose(service: &Service, written: Option<&Written>, seen: &Seen<'_>) -> Whose {
    let shown = SurgeNote::of(service, seen.now);
    match (shown, written) {
        (Ok(None), None) => Whose::Ours,
        (Ok(None), Some(written)) if seen.since(written.at) < CONSISTENCY => Whose::NotShownYet,
        (Ok(None), Some(_)) => Whose::TakenOff,
        (Ok(Some(note)), Some(written)) if note.run_id == written.run_id => Whose::Ours,
        (Ok(Some(note)), _) => Whose::Anothers(note.run_id),
        (Err(impossible), Some(written)) if impossible.to_string() == written.run_id => Whose::Ours,
        (Err(impossible), _) => Whose::Anothers(impossible.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::planning::testing::{NOW, cluster};

    #[track_caller]
    fn check(tag: Option<&str>, written_seconds_ago: Option<i64>, expected: &Whose) {
        let cluster = cluster("a i-1 web\nb i-2");
        let mut service = cluster.services[&"web".into()].clone();
        service.tags.extend(tag.map(|tag| ("ecs-rebalancer:surge".to_owned(), tag.to_owned())));
        let seen = Seen {
            now: NOW,
            looked_at: NOW,
            is_fresh: true,
            service: Some(&service),
            tasks: None,
            protections: BTreeMap::new(),
            stopped: BTreeMap::new(),
            stopping: None,
            freed: BTreeMap::new(),
            fresh_instances: std::collections::BTreeSet::new(),
            cluster: &cluster,
            promised: &[],
        };
        let written = written_seconds_ago
            .map(|seconds| Written { run_id: "r1".to_owned(), at: Timestamp(NOW.0 - seconds * 1_000) });
        assert_eq!(
            whose(&service, written.as_ref(), &seen),
            *expected,
            "{tag:?}, written {written_seconds_ago:?} s ago"
        );
    }

    #[test]
    fn a_service_is_whose_note_it_carries() {
        let (ours, theirs) = ("from=1 to=2 run=r1 at=1 protect=20", "from=1 to=2 run=r2 at=1 protect=20");
        check(None, None, &Whose::Ours);
        check(Some(ours), Some(5), &Whose::Ours);
        check(Some(ours), Some(500), &Whose::Ours);
        check(None, Some(5), &Whose::NotShownYet);
        check(None, Some(29), &Whose::NotShownYet);
        check(None, Some(30), &Whose::TakenOff);
        check(Some(theirs), None, &Whose::Anothers("r2".to_owned()));
        check(Some(theirs), Some(5), &Whose::Anothers("r2".to_owned()));
        check(Some(ours), None, &Whose::Anothers("r1".to_owned()));
        let impossible = "\"a person's\" (it is not in the words of a note)";
        check(Some("a person's"), Some(5), &Whose::Anothers(impossible.to_owned()));
    }
}
