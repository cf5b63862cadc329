//! What a strategy asks for next: the words that `execute` carries out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    marks::{LastMark, SurgeMark},
    model::{Cluster, ContainerInstanceArn, PlacementConstraint, Service, ServiceName, Task, TaskArn, Timestamp},
};

/// A service as it was seen last. What was not asked for yet is absent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// The service, or nothing when it is gone.
    pub service: Option<Service>,
    /// Its tasks whose desired status is RUNNING.
    pub tasks: Option<Tasks>,
    /// Until when those tasks are protected from scale-in whose protection was asked for; none where they aren't.
    pub protections: BTreeMap<TaskArn, Option<Timestamp>>,
}

impl Seen {
    /// What must be asked first: the protection of those of the tasks of which it was not asked yet.
    pub fn unread<'a>(&self, tasks: impl Iterator<Item = &'a TaskArn>) -> Option<What> {
        let unread: BTreeSet<TaskArn> = tasks.filter(|task| !self.protections.contains_key(*task)).cloned().collect();
        (!unread.is_empty()).then_some(What::Protections(unread))
    }
}

/// A service's tasks.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// All whose desired status is RUNNING.
    pub all: BTreeMap<TaskArn, Task>,
    /// Those that are healthy by every check that the service has.
    pub ready: BTreeSet<TaskArn>,
    /// When this run first saw each in RUNNING.
    pub running_since: BTreeMap<TaskArn, Timestamp>,
}

impl Tasks {
    /// A service's tasks as a cluster holds them, all of them taken for ready.
    pub fn all_ready(cluster: &Cluster, service: &ServiceName) -> Self {
        let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(service));
        let all: BTreeMap<TaskArn, Task> = of_it.map(|task| (task.arn.clone(), Task::clone(task))).collect();
        let ready = all.keys().cloned().collect();
        Self { all, ready, running_since: BTreeMap::new() }
    }
}

/// What is to happen next to a service in hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<Phase> {
    /// More must be seen before that can be said.
    See(What),
    /// Nothing but to look again in a while.
    Wait,
    /// Do this; if it was done, go on in that phase.
    Act(Action, Phase),
    /// Nothing has to be done; go on in that phase at once.
    Go(Phase),
    /// That was all.
    Done(Ending),
}

/// What must be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The tasks, and which of them are ready.
    Tasks,
    /// Whether these tasks are protected.
    Protections(BTreeSet<TaskArn>),
}

/// One change to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Note an unfinished step on the service.
    Mark(SurgeMark),
    /// Take that note away.
    ClearMark,
    /// Note how the rebalancing went.
    NoteLast(LastMark),
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

/// How it ended for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is misplaced any more, or nothing that moves can cure.
    Spread,
    /// The tasks that were to go elsewhere have gone there.
    Relocated,
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
    /// Moves did not help as foreseen.
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
    /// Somebody else changed the service; that wins.
    OthersChanged(String),
    /// The service is gone.
    Gone,
    /// A call failed; what is left is cleared by the next run.
    Failed(String),
    /// The outcome of `redeploy` and `revision`: a deployment that did not complete.
    DeploymentFailed(String),
}

impl Ending {
    /// Whether it is a failure of the job's or of the service's, rather than something foreseen.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Undone(_) | Self::DeploymentFailed(_) | Self::NotStarted { .. } => true,
            Self::Spread
            | Self::Relocated
            | Self::Started { .. }
            | Self::RoomNotMade(_)
            | Self::Recovered
            | Self::NoHelp { .. }
            | Self::Limit(_)
            | Self::OthersChanged(_)
            | Self::Gone => false,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spread => formatter.write_str("spread"),
            Self::Relocated => formatter.write_str("to the planned container instances"),
            Self::Started { tasks: 1 } => formatter.write_str("room was made: 1 task started"),
            Self::Started { tasks } => write!(formatter, "room was made: {tasks} tasks started"),
            Self::NotStarted { tasks, why } => {
                write!(formatter, "room was made, but {tasks} of its tasks were not seen to start: {why}")
            }
            Self::RoomNotMade(why) => write!(formatter, "no room was made: {why}"),
            Self::NoHelp { misplaced } => {
                write!(formatter, "moving did not help as foreseen; {misplaced} tasks still to be moved")
            }
            Self::Limit(stop) => write!(formatter, "{stop}"),
            Self::Undone(why) => write!(formatter, "the last step was undone: {why}"),
            Self::Recovered => formatter.write_str("an earlier run did not come to its end; what it left was cleared"),
            Self::OthersChanged(what) => write!(formatter, "{what} meanwhile; that change stands"),
            Self::Gone => formatter.write_str("the service was deleted meanwhile"),
            Self::Failed(why) | Self::DeploymentFailed(why) => formatter.write_str(why),
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
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deadline => "the run's deadline (REBALANCER_DEADLINE) has come",
            Self::Signal => "the run was told to end (SIGTERM)",
            Self::Moves => "the limit of moves (REBALANCER_MAX_MOVES, REBALANCER_PLAN, or the tag ecs-rebalancer:max-moves) is reached",
        })
    }
}
