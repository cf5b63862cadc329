//! Carries a plan out: asks each service's strategy for the next step, does it, tells the strategy how that went, looks again,
//! until done or the time is over. Chooses nothing itself, and always gives back what was done.
//!
//! Services are in hand side by side. A call waits for its own service alone: while one is throttled, the others go on.

mod act;
mod board;
mod look;
mod service_in_hand;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use self::{board::Board, service_in_hand::ServiceInHand};
use crate::{
    aws::{
        Target,
        look::{SERVICE_BATCH, Sighting},
    },
    clock::Clock,
    planning::{
        bounds::floor,
        levelling::{SoFar, Tally},
        model::{Cluster, Service, ServiceName, Timestamp},
        plan::{Plan, Turn},
        planner::level_again,
        policy::Policy,
        strategy::{Distrust, Ending, Failure, Record, Stop, surge::Leftover},
    },
    progress::Progress,
    shutdown::Shutdown,
};

/// How often a service that changes is looked at. The scheduler itself looks each 10 s or so; half of that adds little to a
/// run and costs one DescribeServices for ten services.
const POLL: Duration = Duration::from_secs(5);
/// The next look, where nothing but what was just written is waited for. Looks are made at whole such spans, so that services
/// that are due at about the same time are looked at by one request.
const SOON: Duration = Duration::from_secs(1);
/// So much of the run's time, at most a quarter, is kept for ending it: lowering counts, waiting, clearing.
const TO_END: Duration = Duration::from_secs(90);
/// Where so little time is left, what can't be seen any more is decided by the last look.
const LAST_CHANCE: Duration = Duration::from_secs(8);

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

/// How it ended for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The service.
    pub name: ServiceName,
    /// How.
    pub ending: Ending,
    /// What was done.
    pub record: Record,
    /// Whether it was only cleared up after an earlier run.
    pub recovery: bool,
}

impl Bounds<'_> {
    /// Whether and why nothing new is begun.
    fn stop(&self) -> Option<Stop> {
        if self.shutdown.is_asked() {
            return Some(Stop::Signal);
        }
        self.until_last_start().is_zero().then_some(Stop::Deadline)
    }

    /// From then on, after the run's begin, nothing new is begun.
    fn last_start(&self) -> Duration {
        let deadline = self.policy.deadline;
        deadline.saturating_sub(TO_END.min(deadline / 4))
    }

    /// So long something new may still be begun.
    pub fn until_last_start(&self) -> Duration {
        self.last_start().saturating_sub(self.elapsed())
    }

    fn watch(&self, service: &Service) {
        let mut watched = self.watched.borrow_mut();
        let (desired, running, least) = (service.desired_count, service.running_count, floor(service));
        let counts = watched.entry(service.name.clone()).or_default();
        if counts.last().is_none_or(|last| (last.desired, last.running) != (desired, running)) {
            counts.push(Counts { at: self.elapsed(), desired, running, least });
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.began)
    }

    /// Minutes that protection lasts: beyond the deadline and the lease, so that it holds until the next run may finish what a
    /// killed run began, and heals by itself soon after. ECS takes 1 to 2,880 [API, UpdateTaskProtection].
    fn protect_minutes(&self) -> u32 {
        u32::try_from(self.policy.deadline.as_secs().div_ceil(60) + 10).unwrap_or(2_880).min(2_880)
    }
}

/// What all services in hand share.
struct Shared<'a> {
    target: Target<'a>,
    /// As it was read, with what was seen since of the services in hand.
    cluster: RefCell<&'a mut Cluster>,
    bounds: &'a Bounds<'a>,
    board: RefCell<Board>,
    /// What was spent on services that were in hand before.
    before: Spent,
    /// Whether ECS was seen to do what surge and steering rest on.
    trust: &'a Trust,
}

/// What ECS was seen not to do in this run.
#[derive(Debug, Default)]
struct Trust {
    /// It stopped tasks that were protected.
    stopped_protected: Cell<bool>,
    /// It placed a task where the constraint forbids it.
    steered_elsewhere: Cell<bool>,
}

impl Trust {
    fn hear(&self, ending: &Ending) {
        match ending {
            Ending::Distrust(Distrust::WrongTasksStopped(_)) => self.stopped_protected.set(true),
            Ending::Distrust(Distrust::SteeringMissed(_)) => self.steered_elsewhere.set(true),
            _ => {}
        }
    }
}

/// What a run has spent on services.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    moved: u32,
    in_vain: u32,
}

impl Spent {
    fn on(finished: &[Finished]) -> Self {
        finished.iter().fold(Self::default(), |spent, done| spent.with(Self::of(&done.record)))
    }

    fn of(record: &Record) -> Self {
        Self { moved: record.moved(), in_vain: record.in_vain }
    }

    fn with(self, other: Self) -> Self {
        Self { moved: self.moved.saturating_add(other.moved), in_vain: self.in_vain.saturating_add(other.in_vain) }
    }

    fn starts(self) -> u32 {
        self.moved.saturating_add(self.in_vain)
    }
}

/// Whether the load is not levelled because of how a service ended: its spread comes first, and it may still have misplaced
/// tasks that can be moved.
fn holds_up_levelling(ending: &Ending) -> bool {
    ending.is_failure() || matches!(ending, Ending::Limit(stop) if *stop != Stop::InVain)
}

/// Finishes what an earlier run left on these services.
pub async fn recover(
    target: Target<'_>,
    cluster: &mut Cluster,
    leftovers: BTreeMap<ServiceName, Leftover>,
    bounds: &Bounds<'_>,
) -> Vec<Finished> {
    let queue = leftovers
        .into_iter()
        .filter_map(|(name, leftover)| Some(ServiceInHand::recovered(cluster.services.get(&name)?, leftover, bounds)))
        .collect();
    work(target, cluster, queue, bounds, Spent::default(), &Trust::default()).await
}

/// Carries a plan out.
pub async fn execute(target: Target<'_>, cluster: &mut Cluster, plan: &Plan, bounds: &Bounds<'_>) -> Vec<Finished> {
    let mut finished: Vec<Finished> = Vec::new();
    let trust = Trust::default();
    for turn in Turn::ALL {
        if turn == Turn::Rest {
            // Before others move: capacity that was freed for these is nobody else's.
            let arrivals = await_arrivals(target, cluster, plan, &finished, bounds, &trust).await;
            finished.extend(arrivals);
        }
        // What was tried to make capacity is not tried again to level.
        let given_up = if turn == Turn::Levelling { tried_out(&finished) } else { BTreeSet::new() };
        let in_turn = plan.services.iter().filter(|it| it.turn() == turn && !given_up.contains(&it.name));
        let queue: VecDeque<ServiceInHand> =
            in_turn.filter_map(|service| ServiceInHand::planned(service, cluster, &finished, bounds)).collect();
        if turn == Turn::Levelling
            && let Some(first) = finished.iter().find(|done| holds_up_levelling(&done.ending))
        {
            let ending = Ending::OthersFirst(format!("{}: {}", first.name, first.ending));
            finished.extend(queue.into_iter().map(|service| service.never_begun(ending.clone())));
            continue;
        }
        let before = Spent::on(&finished);
        let done = work(target, cluster, queue, bounds, before, &trust).await;
        if turn == Turn::Levelling {
            level_on(target, cluster, &mut finished, done, bounds, &trust).await;
        } else {
            finished.extend(done);
        }
    }
    finished
}

/// Goes on levelling by what has come of the first tries: where ECS's choice was good, other services are worth a try than was
/// foreseen, and others no more.
async fn level_on(
    target: Target<'_>,
    cluster: &mut Cluster,
    finished: &mut Vec<Finished>,
    mut newest: Vec<Finished>,
    bounds: &Bounds<'_>,
    trust: &Trust,
) {
    let mut so_far = SoFar { given_up: tried_out(finished), ..SoFar::default() };
    loop {
        so_far.given_up.extend(newest.iter().filter(|done| is_given_up(done)).map(|done| done.name.clone()));
        let starts_now = Spent::on(&newest).starts();
        finished.append(&mut newest);
        if starts_now == 0 || bounds.stop().is_some() {
            return;
        }
        so_far.moved.clear();
        for done in &*finished {
            *so_far.moved.entry(done.name.clone()).or_default() += done.record.moves.len();
        }
        let before = Spent::on(finished);
        so_far.tally = Tally::new(before.moved, before.in_vain, 0).after(cluster.unspent_moves);
        let planned = level_again(cluster, bounds.policy, bounds.clock.now(), before.starts(), &so_far);
        let queue =
            planned.iter().filter_map(|service| ServiceInHand::planned(service, cluster, finished, bounds)).collect();
        newest = work(target, cluster, queue, bounds, before, trust).await;
    }
}

/// Whether a service is tried no more to level: it ended otherwise than it might have gone on, or nothing came of its try.
fn is_given_up(done: &Finished) -> bool {
    !matches!(done.ending, Ending::Levelled | Ending::Limit(Stop::InVain)) || is_tried_out(done)
}

/// The services whose tries have led to nothing.
fn tried_out(finished: &[Finished]) -> BTreeSet<ServiceName> {
    finished.iter().filter(|done| is_tried_out(done)).map(|done| done.name.clone()).collect()
}

/// Whether a service's tries have led to nothing: it has no more of them in this run, whatever it would be moved for.
fn is_tried_out(done: &Finished) -> bool {
    let Record { in_vain, ref moves, .. } = done.record;
    matches!(done.ending, Ending::LandedBadly | Ending::NotPlaced(_)) || (in_vain > 0 && moves.is_empty())
}

/// Waits for the tasks for which room was made.
async fn await_arrivals(
    target: Target<'_>,
    cluster: &mut Cluster,
    plan: &Plan,
    moved: &[Finished],
    bounds: &Bounds<'_>,
    trust: &Trust,
) -> Vec<Finished> {
    let (mut finished, mut queue) = (Vec::new(), VecDeque::new());
    for room in &plan.rooms {
        let mut of_it = moved.iter().filter(|done| room.movers.contains(&done.name));
        match of_it.find(|done| !matches!(done.ending, Ending::Relocated | Ending::Cleared)) {
            None => queue.extend(ServiceInHand::awaited(room, cluster, bounds)),
            Some(Finished { name, ending, .. }) => {
                let ending = Ending::RoomNotMade(format!("{name}: {ending}"));
                let record = Record::default();
                finished.push(Finished { name: room.service.clone(), ending, record, recovery: false });
            }
        }
    }
    let before = Spent::on(moved);
    finished.extend(work(target, cluster, queue, bounds, before, trust).await);
    finished
}

/// What has come of a call.
enum Event {
    /// These were asked for then.
    Looked(Vec<ServiceInHand>, Timestamp, Result<BTreeMap<ServiceName, Sighting>, Failure>),
    Stepped(Box<ServiceInHand>),
}

/// All services, so many at a time: each is looked at, takes its steps, and waits for its next look.
async fn work(
    target: Target<'_>,
    cluster: &mut Cluster,
    mut queue: VecDeque<ServiceInHand>,
    bounds: &Bounds<'_>,
    before: Spent,
    trust: &Trust,
) -> Vec<Finished> {
    let board = RefCell::new(Board::default());
    let shared = &Shared { target, cluster: RefCell::new(cluster), bounds, board, before, trust };
    let mut finished: Vec<Finished> = Vec::new();
    let mut waiting: Vec<ServiceInHand> = Vec::new();
    let mut under_way: FuturesUnordered<LocalBoxFuture<'_, Event>> = FuturesUnordered::new();
    let (mut in_hand, mut is_over, mut is_signalled) = (0_usize, false, false);
    loop {
        while in_hand < bounds.policy.parallel as usize && !is_over {
            let Some(hand) = queue.pop_front() else { break };
            match bounds.stop() {
                Some(stop) if !hand.is_recovery() => finished.push(hand.never_begun(Ending::Limit(stop))),
                _ => {
                    in_hand += 1;
                    waiting.push(hand);
                }
            }
        }
        if is_over {
            // What is unfinished is noted in the cluster, and the next run's to finish.
            in_hand -= waiting.len();
            finished.extend(waiting.drain(..).chain(queue.drain(..)).map(ServiceInHand::abandoned));
        }
        if in_hand == 0 {
            return finished;
        }
        let due: Vec<ServiceInHand> = waiting.extract_if(.., |service| service.wakes_at <= Instant::now()).collect();
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let batch: Vec<ServiceInHand> = due.by_ref().take(SERVICE_BATCH).collect();
            under_way.push(look_at(target, batch, bounds.clock.now()).boxed_local());
        }
        let next_look = waiting.iter().map(|service| service.wakes_at).min();
        tokio::select! {
            biased;
            Some(event) = under_way.next(), if !under_way.is_empty() => match event {
                Event::Looked(services, asked_at, sightings) => {
                    for mut hand in services {
                        hand.take_look(&sightings, asked_at, shared);
                        under_way.push(async move {
                            hand.take_steps(shared).await;
                            Event::Stepped(Box::new(hand))
                        }.boxed_local());
                    }
                }
                Event::Stepped(hand) => {
                    if let Some(done) = (*hand).into_finished_or(&mut waiting) {
                        in_hand -= 1;
                        shared.board.borrow_mut().forget(&done.name);
                        trust.hear(&done.ending);
                        finished.push(done);
                    }
                    let waits = waiting.iter().map(ServiceInHand::waits_for);
                    bounds.progress.waiting(bounds.elapsed(), bounds.policy.deadline, waits);
                }
            },
            () = async { sleep_until(next_look.unwrap_or_else(Instant::now)).await }, if next_look.is_some() => {}
            _ = bounds.shutdown.asked(), if !is_signalled => {
                is_signalled = true;
                for hand in &mut waiting {
                    hand.wakes_at = Instant::now();
                }
            }
            _ = target.clients.patience.over(), if !is_over => is_over = true,
        }
    }
}

/// What was asked for at a moment may have changed since: an answer can be long on its way, and a process can be paused.
async fn look_at(target: Target<'_>, services: Vec<ServiceInHand>, asked_at: Timestamp) -> Event {
    let names: Vec<ServiceName> = services.iter().map(|service| service.name.clone()).collect();
    let sightings = target.services(&names).await;
    Event::Looked(services, asked_at, sightings)
}
