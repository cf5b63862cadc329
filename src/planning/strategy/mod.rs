//! How one service in hand is moved, step by step: a strategy is a state machine, and these are the words that all share.
//!
//! A [`Strategy`] holds what it remembers, is shown what was [`Seen`], and says what comes next: a [`Step`]. `execute` carries
//! the step out, tells the strategy how that went ([`Strategy::done`], [`Strategy::failed`]), and chooses nothing. A failed look
//! is no event: the service is looked at again at the next poll. So everything that follows from a failure is decided here, and
//! can be read off a table of cases beside each strategy.
//!
//! Four strategies: [`surge`] (also for moves to planned container instances, and for what a dead run left), [`stop`],
//! [`redeploy`] (also `revision`) and [`arrival`], which only waits.

pub mod arrival;
pub mod fence;
pub mod promised;
pub mod redeploy;
mod start_wait;
pub mod stop;
pub mod surge;
#[cfg(test)]
mod testing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use self::promised::Promised;
pub use super::tasks::Tasks;
use super::{
    levelling::Tally,
    model::{Cluster, ContainerInstanceArn, PlacementConstraint, Service, TaskArn, Timestamp},
    notes::{LastNote, SurgeNote},
    policy::Percent,
    reason::Blocked,
    reviewed::Reviewed,
    words,
};

/// ECS is eventually consistent: what was just written may not be read for so long.
pub const CONSISTENCY: Duration = Duration::from_secs(30);
/// ECS's scheduler looks at a service about so often. A protection may be unknown to it for as long.
pub const SCHEDULER_INTERVAL: Duration = Duration::from_secs(10);
/// A request that was not answered may still take effect for so long: it may be held on its way.
pub const LANDS_WITHIN: Duration = Duration::from_mins(1);
/// A look older than this is no ground to change anything.
pub const OLDEST_LOOK: Duration = Duration::from_mins(1);
/// A call that AWS refuses so often in a row is given up on. One that was not answered is tried until the time is up.
pub const REFUSALS: u32 = 3;

/// A state machine that moves one service.
pub trait Strategy: fmt::Debug {
    /// The next step. It follows from what the strategy remembers, what was seen, and the limits, and from nothing else.
    fn next(&mut self, seen: &Seen<'_>, limits: &Limits) -> Step;

    /// The action was carried out, with this result.
    fn done(&mut self, action: &Action, result: &Done, seen: &Seen<'_>);

    /// A call failed: an action's, or a look's where there is none.
    fn failed(&mut self, action: Option<&Action>, failure: &Failure, seen: &Seen<'_>);

    /// What was done so far.
    fn record(&self) -> &Record;

    /// What is asked for and has no place yet, for others to leave the capacity alone.
    fn promised(&self) -> Option<Promised> {
        None
    }

    /// The container instances that it steers to, or is about to: others leave them alone.
    fn targets(&self) -> BTreeSet<ContainerInstanceArn> {
        BTreeSet::new()
    }

    /// Task starts that are asked for and not in the record yet.
    fn starts_under_way(&self) -> u32 {
        0
    }

    /// Task starts under way that may turn out to be in vain.
    fn tries_under_way(&self) -> u32 {
        0
    }

    /// What it waits for, in a few words for somebody who waits too.
    fn waits_for(&self, service: Option<&Service>, tasks: Option<&Tasks>) -> String;

    /// Whether it only clears up after an earlier run.
    fn is_recovery(&self) -> bool {
        false
    }

    /// What is left when the run's time is over before the strategy was done.
    fn abandoned(&self, failure: Option<&str>) -> Ending;
}

/// A service as it was seen last. What was not asked for yet is absent.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Now.
    pub now: Timestamp,
    /// When the service was looked at.
    pub looked_at: Timestamp,
    /// Whether that was the newest look; not where that one failed, and an older one stands in for it.
    pub is_fresh: bool,
    /// The service. None when it is gone: INACTIVE, or MISSING in several looks over half a minute.
    pub service: Option<&'a Service>,
    /// Its tasks whose desired status is RUNNING.
    pub tasks: Option<&'a Tasks>,
    /// Until when those tasks are protected from scale-in whose protection was asked for; none where they aren't.
    pub protections: BTreeMap<TaskArn, Option<Timestamp>>,
    /// Why those tasks stopped that are gone, as far as that was asked for.
    pub stopped: BTreeMap<TaskArn, Stopped>,
    /// The tasks whose desired status is STOPPED and that have not stopped yet; none where they were not asked for.
    pub stopping: Option<BTreeSet<TaskArn>>,
    /// When the tasks that were told to stop on these container instances in the last hour had stopped, as far as that was asked
    /// for: now, where one still stops.
    pub freed: BTreeMap<ContainerInstanceArn, BTreeSet<Timestamp>>,
    /// The container instances that were looked at since the service was.
    pub fresh_instances: BTreeSet<ContainerInstanceArn>,
    /// The cluster, with this service's tasks as they are now.
    pub cluster: &'a Cluster,
    /// What other services in hand are promised.
    pub promised: &'a [Promised],
}

impl Seen<'_> {
    /// What must be asked first: the protection of those of the tasks of which it was not asked yet.
    pub fn unread<'t>(&self, tasks: impl Iterator<Item = &'t TaskArn>) -> Option<Need> {
        let unread: BTreeSet<TaskArn> = tasks.filter(|task| !self.protections.contains_key(*task)).cloned().collect();
        (!unread.is_empty()).then_some(Need::Protections(unread))
    }

    /// Which of these container instances must be looked at first.
    pub fn unread_instances(&self, instances: impl IntoIterator<Item = ContainerInstanceArn>) -> Option<Need> {
        let is_unread = |instance: &ContainerInstanceArn| !self.fresh_instances.contains(instance);
        let unread: BTreeSet<ContainerInstanceArn> = instances.into_iter().filter(is_unread).collect();
        (!unread.is_empty()).then_some(Need::Instances(unread))
    }

    /// How long ago a moment was; nothing for one that lies ahead.
    pub fn since(&self, moment: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.now.milliseconds_since(moment)).unwrap_or(0))
    }
}

/// A service's tasks that are healthy, for somebody who waits too. Tasks aren't looked at before as many run as are wanted.
fn healthy_of(wanted: u32, service: Option<&Service>, tasks: Option<&Tasks>) -> String {
    let running = service.map_or(0, |service| service.running_count);
    match tasks {
        Some(tasks) if running >= wanted => format!("{} of {wanted} tasks healthy", tasks.ready.len()),
        _ => format!("{running} of {wanted} tasks running"),
    }
}

/// How a task that is listed no longer ended, in ECS's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Whether it has stopped altogether, so that it takes nothing any more.
    pub is_over: bool,
    /// As `ServiceSchedulerInitiated`; empty where ECS doesn't know the task any more.
    pub code: String,
    /// As `Scaling activity initiated by (deployment ecs-svc/1)`.
    pub reason: String,
}

impl Stopped {
    /// Whether a scale-in or a deployment took the task, rather than its own end or its container instance's.
    pub fn is_scale_in(&self) -> bool {
        self.code == "ServiceSchedulerInitiated" && self.reason.starts_with("Scaling activity")
    }
}

/// What a step may use.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a limit of its own")]
pub struct Limits {
    /// Tasks that may still be started.
    pub moves: u32,
    /// Percent of the desired count that may be started on top at a time; at least one task.
    pub surge: Percent,
    /// How long a new task may take until it is healthy.
    pub task_timeout: Duration,
    /// How long our protection lasts.
    pub protect_minutes: u32,
    /// Whether and why nothing new is begun.
    pub stop: Option<Stop>,
    /// Whether one more step comes to its end in what is left of the run's time.
    pub fits: bool,
    /// The run is about to end, and the newest look may have failed: what can't be finished by what is known stays noted.
    pub is_last_chance: bool,
    /// Whether the lease is this run's for sure.
    pub holds_lease: bool,
    /// Whether a temporary placement constraint is allowed, and has done what it is meant to so far.
    pub steers: bool,
    /// The container instances that other services in hand steer to.
    pub others_targets: BTreeSet<ContainerInstanceArn>,
    /// Under this load imbalance nothing is levelled.
    pub load_threshold: Percent,
    /// Tasks that may still be started in vain, those counted that are under way.
    pub in_vain: u32,
    /// What the run's tries have come to so far, those counted that are under way.
    pub tally: Tally,
    /// Whether other services have tries under way.
    pub others_try: bool,
    /// A reviewed plan: nothing else goes.
    pub reviewed: Option<Reviewed>,
    /// Whether the owner's tags still allow that tasks are moved.
    pub is_enabled: bool,
}

/// What happens next to a service in hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// More must be seen before that can be said.
    See(Need),
    /// Nothing but to look again: after this long, or at the next poll.
    Wait(Option<Duration>),
    /// Do this.
    Act(Action),
    /// That was all.
    Done(Ending),
}

/// What must be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The tasks, and which of them are ready.
    Tasks,
    /// Whether these tasks are protected.
    Protections(BTreeSet<TaskArn>),
    /// How these container instances are.
    Instances(BTreeSet<ContainerInstanceArn>),
    /// Why these tasks, which are listed no longer, stopped.
    Stopped(BTreeSet<TaskArn>),
    /// Which tasks are stopping, whoever asked for that.
    Stopping,
    /// When the tasks that were told to stop on these container instances had stopped, whosever they were.
    Freed(BTreeSet<ContainerInstanceArn>),
}

/// One change to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Note an unfinished step on the service.
    Note(SurgeNote),
    /// Take that note away.
    ClearNote,
    /// Note how the rebalancing went.
    NoteLast(LastNote),
    /// Set the desired count, and with it, in one call, all placement constraints; none leaves these as they are.
    SetDesiredCount(u32, Option<Vec<PlacementConstraint>>),
    /// Set all placement constraints.
    SetConstraints(Vec<PlacementConstraint>),
    /// Put the attribute that steers on these container instances, with that value.
    PutTarget(BTreeSet<ContainerInstanceArn>, String),
    /// Take that attribute away.
    DeleteTarget(BTreeSet<ContainerInstanceArn>),
    /// Protect tasks from scale-in for so many minutes.
    Protect(Vec<TaskArn>, u32),
    /// Take our protection away.
    Unprotect(Vec<TaskArn>),
    /// Stop tasks; ECS replaces them.
    Stop(Vec<TaskArn>),
    /// Replace every task.
    ForceNewDeployment,
    /// Register this task definition anew, identical, and move the service to it.
    NewRevision(String),
    /// Move the service to this task definition.
    Deploy(String),
}

impl Action {
    /// Whether the next step may follow at once; after all others the service must be seen anew.
    pub fn leaves_the_look_valid(&self) -> bool {
        match self {
            Self::Note(_)
            | Self::ClearNote
            | Self::NoteLast(_)
            | Self::PutTarget(..)
            | Self::DeleteTarget(_)
            | Self::Protect(..)
            | Self::Unprotect(_) => true,
            Self::SetDesiredCount(..)
            | Self::SetConstraints(_)
            | Self::Stop(_)
            | Self::ForceNewDeployment
            | Self::NewRevision(_)
            | Self::Deploy(_) => false,
        }
    }
}

/// What an action came to, where it was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Tasks that are protected now, and until when.
    pub protected: BTreeMap<TaskArn, Timestamp>,
    /// Tasks whose protection ECS refused, and why.
    pub refused: BTreeMap<TaskArn, String>,
    /// Tasks that were stopped; of several some may have been refused.
    pub stopped: Vec<TaskArn>,
    /// The task definition that was registered.
    pub revision: Option<Box<str>>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In a sentence.
    pub text: String,
    /// How certain it is that nothing was done.
    pub kind: FailureKind,
    /// What was done before it failed, where a change takes several requests.
    pub before: Done,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// How certain it is that a failed call did nothing, and whether it is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// AWS refused it: the same will be refused again.
    Refused,
    /// AWS did nothing, and may do it the next time: it throttled, or the credentials had just expired.
    NotNow,
    /// Nobody knows whether it was done: the answer was a server's error, or can't be read. The next look tells.
    Unclear,
    /// Nobody knows: no answer came. It may take effect yet.
    Unanswered,
}

impl FailureKind {
    /// So long after a failed call it may still be seen to have taken effect.
    pub fn shows_within(self) -> Duration {
        if self == Self::Unanswered { LANDS_WITHIN } else { CONSISTENCY }
    }
}

/// What a strategy did, whatever became of it afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whether anything of the service was changed, or may have been.
    pub touched: bool,
    /// Tasks that were replaced on another container instance.
    pub moves: Vec<Made>,
    /// Tasks that were started and went again.
    pub in_vain: u32,
    /// The tasks that go, by this run's scale-ins or by what others did before, as long as they may still be stopping.
    pub leaving: BTreeSet<TaskArn>,
    /// The desired count that the service is left at, and the one that was meant.
    pub left_raised: Option<(u32, u32)>,
    /// What is worth telling beside the ending, a sentence each.
    pub remarks: Vec<String>,
}

impl Record {
    /// Tasks that were replaced on another container instance.
    pub fn moved(&self) -> u32 {
        u32::try_from(self.moves.len()).unwrap_or(u32::MAX)
    }

    /// Takes over which tasks went, and where tasks are that started instead. One that was replaced where it was is a restart, and
    /// no move.
    fn replaced(
        &mut self,
        went: impl IntoIterator<Item = (TaskArn, ContainerInstanceArn)>,
        mut places: Vec<ContainerInstanceArn>,
    ) {
        let mut moved = Vec::new();
        for (task, from) in went {
            if let Some(same) = places.iter().position(|place| *place == from) {
                places.remove(same);
                self.in_vain += 1;
            } else {
                moved.push((task, from));
            }
        }
        let mut places = places.into_iter();
        self.moves.extend(moved.into_iter().map(|(task, from)| Made { task, from, to: places.next() }));
    }

    /// Task starts, those in vain included.
    pub fn starts(&self) -> u32 {
        self.moved().saturating_add(self.in_vain)
    }
}

/// A move that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The task that went.
    pub task: TaskArn,
    /// Where it was.
    pub from: ContainerInstanceArn,
    /// Where its replacement is; none where that was not seen.
    pub to: Option<ContainerInstanceArn>,
}

/// How it ended for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is misplaced any more, or nothing that moves can cure.
    Spread,
    /// The tasks that were to go elsewhere have gone there.
    Relocated,
    /// Tasks have gone to emptier container instances, as far as that was worth a try.
    Levelled,
    /// The tasks that were to leave container instances have gone elsewhere.
    Cleared,
    /// ECS's own choice is no longer likely enough to lead the rest of them elsewhere.
    NotLikely {
        /// How many are left.
        left: u32,
    },
    /// ECS put the new tasks on container instances where they don't help, and they went again.
    LandedBadly,
    /// ECS had no capacity for a task that was tried where ECS would put it, in ECS's words.
    NotPlaced(String),
    /// It was not begun: another service comes first, and what became of that.
    OthersFirst(String),
    /// The tasks for which room was made run and are healthy.
    Started {
        /// How many.
        tasks: u32,
    },
    /// Room was made, but the tasks were not seen to start.
    NotStarted {
        /// How many.
        tasks: u32,
        /// What ECS says of it, or that the time is up.
        why: String,
    },
    /// What was to make room for it did not go as planned.
    RoomNotMade(String),
    /// No further move would help now.
    NoHelp {
        /// Misplaced tasks that are left.
        misplaced: u32,
    },
    /// Some moves were made; a limit ended it.
    Limit(Stop),
    /// A replacement found no place, or did not become healthy; the step was undone.
    Undone(String),
    /// An earlier run had not come to its end; what it left was cleared.
    Recovered,
    /// An earlier run's note doesn't hold; it was cleared, and the desired count was left alone.
    NotBorneOut(String),
    /// Somebody else changed the service; that wins.
    OthersChanged(String),
    /// Somebody else changed the desired count while it was raised: a part of it may be this run's.
    CountChanged {
        /// What it is now.
        count: u32,
        /// So many of it may be this run's.
        ours: u32,
    },
    /// The note of another run is on the service: it is that run's now.
    AnothersNote(String),
    /// ECS does not do what the strategy rests on: nothing more is moved that way in this run.
    Distrust(Distrust),
    /// The owner's tags no longer allow that tasks are moved.
    OptedOut,
    /// An application protects its tasks, and a deployment would hang as long as it does.
    Protected {
        /// So many.
        tasks: u32,
    },
    /// A guard holds now, which did not when it was planned.
    Blocked(Blocked),
    /// The service is gone.
    Gone,
    /// A call failed; what is left is cleared by the next run.
    Failed(String),
    /// The time was over before the last step was finished; the note stays for the next run.
    Unfinished(String),
    /// The outcome of `redeploy` and `revision`: a deployment that did not complete.
    DeploymentFailed(String),
}

/// What ECS was seen not to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Protect a task that it was asked to protect.
    ProtectionRefused(String),
    /// Leave protected tasks alone in a scale-in.
    WrongTasksStopped(String),
    /// Place a task where the constraint asks for it.
    SteeringMissed(String),
}

impl Ending {
    /// Whether it is a failure of the job's or of the service's, rather than something foreseen.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Failed(_)
            | Self::Unfinished(_)
            | Self::Undone(_)
            | Self::DeploymentFailed(_)
            | Self::NotStarted { .. }
            | Self::NotBorneOut(_)
            | Self::CountChanged { .. }
            | Self::AnothersNote(_)
            | Self::Distrust(_) => true,
            Self::Spread
            | Self::Relocated
            | Self::Levelled
            | Self::Cleared
            | Self::NotLikely { .. }
            | Self::LandedBadly
            | Self::NotPlaced(_)
            | Self::OthersFirst(_)
            | Self::Started { .. }
            | Self::RoomNotMade(_)
            | Self::Recovered
            | Self::NoHelp { .. }
            | Self::Limit(_)
            | Self::OthersChanged(_)
            | Self::OptedOut
            | Self::Protected { .. }
            | Self::Blocked(_)
            | Self::Gone => false,
        }
    }

    /// Whether that is how the plan meant it to end.
    pub fn is_as_planned(&self) -> bool {
        matches!(self, Self::Spread | Self::Relocated | Self::Levelled | Self::Cleared | Self::Started { .. })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spread => formatter.write_str("spread"),
            Self::Relocated => formatter.write_str("to the planned container instances"),
            Self::Levelled => formatter.write_str("to emptier container instances"),
            Self::Cleared => formatter.write_str("away from the planned container instances"),
            Self::NotLikely { left } => write!(
                formatter,
                "ECS's own choice is not likely to lead {} elsewhere now; REBALANCER_STEER=true may",
                words::tasks(*left)
            ),
            Self::LandedBadly => write!(
                formatter,
                "in {} tries in a row ECS put the new tasks on container instances where they don't help; they went again",
                crate::planning::levelling::TRIES
            ),
            Self::NotPlaced(message) => write!(formatter, "ECS had no capacity left to try one more task: {message}"),
            Self::OthersFirst(what) => write!(formatter, "not begun, since others come first: {what}"),
            Self::Started { tasks } => {
                write!(formatter, "capacity was made: {} started", words::tasks(*tasks))
            }
            Self::NotStarted { tasks, why } => {
                let unseen = words::counted(*tasks, "of its tasks was", "of its tasks were");
                write!(formatter, "capacity was made, but {unseen} not seen to start: {why}")
            }
            Self::RoomNotMade(why) => write!(formatter, "no capacity was made: {why}"),
            Self::NoHelp { misplaced } => {
                let left = words::counted(*misplaced, "task is", "tasks are");
                write!(formatter, "no further move would help now; {left} still misplaced")
            }
            Self::Limit(stop) => write!(formatter, "{stop}"),
            Self::Undone(why) => write!(formatter, "the last step was undone: {why}"),
            Self::Recovered => formatter.write_str("an earlier run did not come to its end; what it left was cleared"),
            Self::NotBorneOut(what) => write!(formatter, "{what}; the desired count was left alone"),
            Self::OthersChanged(what) => write!(formatter, "{what} meanwhile; that change stands"),
            Self::CountChanged { count, ours } => write!(
                formatter,
                "the desired count was set to {count} by somebody else while the run had raised it by {ours}; that change \
                 stands, and up to {ours} of it may be the run's: check whether {} is meant",
                count.saturating_sub(*ours)
            ),
            Self::AnothersNote(run) => write!(
                formatter,
                "run {run} has put its note on the service, so this run left everything as it was; that run or the next \
                 one finishes it"
            ),
            Self::Distrust(distrust) => write!(formatter, "{distrust}"),
            Self::OptedOut => formatter.write_str("its tag ecs-rebalancer:enabled no longer allows it"),
            Self::Protected { tasks } => write!(
                formatter,
                "an application protects {tasks} of its tasks, and a deployment would wait for as long as it does"
            ),
            Self::Blocked(blocked) => write!(formatter, "{blocked}"),
            Self::Gone => formatter.write_str("the service was deleted meanwhile"),
            Self::Failed(why) | Self::DeploymentFailed(why) => formatter.write_str(why),
            Self::Unfinished(why) => write!(formatter, "{why}; the next run finishes it"),
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtectionRefused(what) => {
                write!(formatter, "ECS refused to protect tasks, so the step was undone: {what}")
            }
            Self::WrongTasksStopped(what) => {
                write!(
                    formatter,
                    "ECS stopped protected tasks, so this run lowers no more desired counts of others: {what}"
                )
            }
            Self::SteeringMissed(what) => write!(
                formatter,
                "ECS placed a task elsewhere than the placement constraint asks, so this run steers no more: {what}"
            ),
        }
    }
}

/// Why a run begins nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// `REBALANCER_DEADLINE`.
    Deadline,
    /// SIGTERM.
    Signal,
    /// `REBALANCER_MAX_MOVES`, or the owner's tag.
    Moves,
    /// Tasks that may be started in vain.
    InVain,
    /// ECS stopped tasks that were protected.
    Distrust,
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deadline => "the run's deadline (REBALANCER_DEADLINE) has come",
            Self::Signal => "the run was told to end (SIGTERM)",
            Self::Moves => "the limit of moves (REBALANCER_MAX_MOVES, REBALANCER_PLAN, or the tag ecs-rebalancer:max-moves) is reached",
            Self::InVain => "half as many tasks as were moved, and at least four, were started in vain; no more are tried",
            Self::Distrust => "ECS stopped protected tasks of another service, so nothing more is begun",
        })
    }
}

/// The note on how a rebalancing went, for the runs to come; none where that says nothing. `helped`: fewer tasks are misplaced
/// than before. A success is never noted as a miss.
fn last_note(ending: &Ending, helped: bool, service: &Service, now: Timestamp) -> Option<LastNote> {
    let is_success = match ending {
        Ending::Spread | Ending::Relocated | Ending::Cleared => true,
        Ending::Limit(_)
        | Ending::OthersChanged(_)
        | Ending::OptedOut
        | Ending::CountChanged { .. }
        | Ending::Levelled
            if helped =>
        {
            true
        }
        Ending::NoHelp { .. }
        | Ending::NotLikely { .. }
        | Ending::LandedBadly
        | Ending::NotPlaced(_)
        | Ending::Undone(_)
        | Ending::DeploymentFailed(_)
        | Ending::NotStarted { .. } => helped,
        // ECS does not do what it was relied on to do: another run is not to try that again soon, whatever came of this one.
        Ending::Distrust(_) => false,
        Ending::Limit(_)
        | Ending::OthersChanged(_)
        | Ending::OptedOut
        | Ending::CountChanged { .. }
        | Ending::Levelled
        | Ending::OthersFirst(_)
        | Ending::Started { .. }
        | Ending::RoomNotMade(_)
        | Ending::Recovered
        | Ending::NotBorneOut(_)
        | Ending::AnothersNote(_)
        | Ending::Protected { .. }
        | Ending::Blocked(_)
        | Ending::Gone
        | Ending::Failed(_)
        | Ending::Unfinished(_) => return None,
    };
    let before = LastNote::of(service, now).ok().flatten().map_or(0, |last| last.misses);
    let misses = if is_success { 0 } else { before.saturating_add(1) };
    Some(LastNote { at: now, misses })
}
