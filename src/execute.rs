//! Carries a plan out: asks planning for the next step of each service in hand, does it, looks again, until done or deadline.
//! Chooses nothing itself.

mod hand;
mod look;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::Result;

pub use self::hand::Finished;
use self::hand::{Hand, Round};
use crate::{
    aws::act::Target,
    planning::{
        marks::SurgeMark,
        model::{Cluster, Service, ServiceName},
        planner::{Plan, Turn, floor},
        policy::Policy,
        step::{Ending, Stop},
    },
    progress::Progress,
    run::Clock,
    shutdown::Shutdown,
};

/// How often a service that changes is looked at. The scheduler itself looks each 10 s or so; half of that adds little to a
/// run and costs one DescribeServices for ten services.
const POLL: Duration = Duration::from_secs(5);
/// The next look, where nothing but what was just written is waited for.
const SOON: Duration = Duration::from_secs(1);
/// So much of the run's time, at most a quarter, is kept for ending it: lowering counts, waiting, clearing.
const TO_END: Duration = Duration::from_secs(90);
/// ECS kills a task 30 s after SIGTERM, unless told otherwise; by then everything is in order or noted.
const AFTER_SIGNAL: Duration = Duration::from_secs(22);

/// What a run may spend.
#[derive(Clone, Debug)]
pub struct Bounds<'a> {
    /// The settings.
    pub policy: &'a Policy,
    /// The time.
    pub clock: Clock,
    /// When the run began, by that clock.
    pub began: Duration,
    /// The wish to end.
    pub shutdown: Shutdown,
    /// Which run this is.
    pub run_id: &'a str,
    /// Shows what is waited for.
    pub progress: &'a Progress,
    /// What was seen of each service in hand, to be told afterwards.
    pub watched: &'a RefCell<Watched>,
}

/// The counts of each service in hand, whenever they had changed.
pub type Watched = BTreeMap<ServiceName, Vec<Counts>>;

/// A service's counts as a look saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// How long after the run's begin.
    pub at: Duration,
    /// The desired count in force.
    pub desired: u32,
    /// Tasks in RUNNING.
    pub running: u32,
    /// The fewest healthy tasks that the service's owner allows.
    pub least: u32,
}

impl Bounds<'_> {
    /// Whether and why nothing new is begun.
    fn stop(&self) -> Option<Stop> {
        if self.shutdown.is_asked() {
            return Some(Stop::Signal);
        }
        let deadline = self.policy.deadline;
        let last_start = deadline.saturating_sub(TO_END.min(deadline / 4));
        (self.elapsed() >= last_start).then_some(Stop::Deadline)
    }

    fn watch<'s>(&self, services: impl Iterator<Item = &'s Service>) {
        let mut watched = self.watched.borrow_mut();
        for service in services {
            let (desired, running, least) = (service.desired_count, service.running_count, floor(service));
            let counts = watched.entry(service.name.clone()).or_default();
            if counts.last().is_none_or(|last| (last.desired, last.running) != (desired, running)) {
                counts.push(Counts { at: self.elapsed(), desired, running, least });
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.began)
    }

    /// Minutes that protection lasts: beyond the deadline, so that it holds as long as it is needed, and a killed run heals by
    /// itself soon after. ECS takes 1 to 2,880 [API, UpdateTaskProtection].
    fn protect_minutes(&self) -> u32 {
        u32::try_from(self.policy.deadline.as_secs().div_ceil(60) + 5).unwrap_or(2_880).min(2_880)
    }
}

/// Finishes what an earlier run left on these services.
///
/// # Errors
/// When the services can't even be looked at.
pub async fn recover(
    target: Target<'_>,
    cluster: &mut Cluster,
    marks: BTreeMap<ServiceName, Option<SurgeMark>>,
    bounds: &Bounds<'_>,
) -> Result<Vec<Finished>> {
    let queue = marks
        .into_iter()
        .filter_map(|(name, mark)| Some(Hand::recovered(cluster.services.get(&name)?, mark, bounds.run_id)))
        .collect();
    work(target, cluster, queue, bounds, u32::MAX).await
}

/// Carries a plan out.
///
/// # Errors
/// When the services can't even be looked at.
pub async fn execute(
    target: Target<'_>,
    cluster: &mut Cluster,
    plan: &Plan,
    bounds: &Bounds<'_>,
) -> Result<Vec<Finished>> {
    let mut finished: Vec<Finished> = Vec::new();
    for turn in Turn::ALL {
        if turn == Turn::Rest {
            // Before others move: room that is made is nobody else's.
            let arrivals = await_arrivals(target, cluster, plan, &finished, bounds).await?;
            finished.extend(arrivals);
        }
        let moved: u32 = finished.iter().map(|finished| finished.moved).sum();
        let in_turn = plan.services.iter().enumerate().filter(|(_, service)| service.turn() == turn);
        let queue = in_turn.map(|(number, service)| Hand::planned(number, service, bounds.run_id)).collect();
        finished.extend(work(target, cluster, queue, bounds, bounds.policy.max_moves.saturating_sub(moved)).await?);
    }
    Ok(finished)
}

/// Waits for the tasks for which room was made.
async fn await_arrivals(
    target: Target<'_>,
    cluster: &mut Cluster,
    plan: &Plan,
    moved: &[Finished],
    bounds: &Bounds<'_>,
) -> Result<Vec<Finished>> {
    let (mut finished, mut queue) = (Vec::new(), VecDeque::new());
    for room in &plan.rooms {
        let of_it = moved.iter().filter(|done| room.movers.contains(&done.name));
        let spoilt = of_it.into_iter().find(|done| done.ending != Ending::Relocated);
        match spoilt {
            None => queue.push_back(Hand::awaited(room)),
            Some(Finished { name, ending, .. }) => {
                let ending = Ending::RoomNotMade(format!("{name}: {ending}"));
                finished.push(Finished { name: room.service.clone(), ending, moved: 0, recovery: false });
            }
        }
    }
    finished.extend(work(target, cluster, queue, bounds, 0).await?);
    Ok(finished)
}

/// All services, so many at a time: one look at all in hand, then a step for each.
async fn work(
    target: Target<'_>,
    cluster: &mut Cluster,
    mut queue: VecDeque<Hand>,
    bounds: &Bounds<'_>,
    max_moves: u32,
) -> Result<Vec<Finished>> {
    let mut hands: Vec<Hand> = Vec::new();
    let mut finished: Vec<Finished> = Vec::new();
    let mut signalled: Option<Duration> = None;
    loop {
        let stop = bounds.stop();
        while hands.len() < bounds.policy.parallel as usize {
            let Some(hand) = queue.pop_front() else { break };
            match stop {
                Some(stop) if !hand.is_recovery() => finished.push(hand.never_begun(stop)),
                _ => hands.push(hand),
            }
        }
        if hands.is_empty() {
            return Ok(finished);
        }
        let names: Vec<ServiceName> = hands.iter().map(|hand| hand.name.clone()).collect();
        let seen = target.services(&names).await?;
        bounds.watch(seen.values());
        for index in 0..hands.len() {
            let spent: u32 = finished.iter().map(|finished| finished.moved).sum::<u32>()
                + hands.iter().map(Hand::moves_spent).sum::<u32>();
            let round = Round {
                target,
                now: bounds.clock.now(),
                policy: bounds.policy,
                protect_minutes: bounds.protect_minutes(),
                stop,
                moves_left: max_moves.saturating_sub(spent),
                others: hands
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .filter_map(|(_, hand)| hand.in_flight())
                    .collect(),
                others_targets: hands
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .flat_map(|(_, hand)| hand.targets())
                    .collect(),
            };
            let service = seen.get(&hands[index].name).cloned();
            hands[index].take_steps(cluster, service, &round).await;
        }
        let (done, rest): (Vec<Hand>, Vec<Hand>) = hands.into_iter().partition(Hand::is_finished);
        finished.extend(done.into_iter().filter_map(Hand::into_finished));
        hands = rest;
        if hands.is_empty() && queue.is_empty() {
            return Ok(finished);
        }
        if stop == Some(Stop::Signal) && bounds.elapsed() >= *signalled.get_or_insert(bounds.elapsed()) + AFTER_SIGNAL
            || bounds.elapsed() >= bounds.policy.deadline
        {
            // What is unfinished is noted in the cluster, protected, and the next run's to clear.
            finished.extend(hands.into_iter().map(Hand::abandon));
            return Ok(finished);
        }
        bounds.progress.waiting(bounds.elapsed(), bounds.policy.deadline, hands.iter().map(Hand::waits_for));
        let pause = if hands.iter().any(Hand::goes_on_soon) { SOON } else { POLL };
        bounds.shutdown.sleep(pause).await;
    }
}
