//! Why nothing was done: every reason of the job's, in one place, each with a short name for machines and a sentence for people.
//!
//! - [`Unmeasured`]: why the spread of a service is not measured;
//! - [`Blocked`]: why its misplaced tasks can't be moved now, [`Shortage`] which capacity is short, [`TagProblem`] which tag can't
//!   be read, [`DataKept`] where its tasks keep data;
//! - [`Fixed`]: why its tasks can't be sent to a container instance of our choice;
//! - [`LeftAlone`]: why a plan leaves a service alone, [`Outdated`] why a reviewed plan no longer holds;
//! - [`Kept`]: why a container instance doesn't come free, [`Unlevelled`] why one stays far from the mean.

mod blocked;
mod unlevelled;

use std::fmt;

pub use self::{
    blocked::{Blocked, DataKept, Resource, Shortage, TagProblem},
    unlevelled::Unlevelled,
};
use super::{
    model::{ContainerInstanceArn, Devices},
    policy::{Percent, Strategy},
    words::{container_instances, counted},
};

/// Why a service's spread is not measured: it doesn't ask to be spread, or nothing is known of where its tasks may go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmeasured {
    /// Scheduling strategy DAEMON.
    Daemon,
    /// Launch type or capacity providers of Fargate.
    Fargate,
    /// Launch type EXTERNAL.
    External,
    /// ECS Managed Instances.
    ManagedInstances,
    /// The placement strategy begins with binpack.
    Binpack,
    /// The placement strategy begins with random.
    Random,
    /// A scheduling strategy that this version doesn't know.
    UnknownSchedulingStrategy(String),
    /// A launch type that this version doesn't know.
    UnknownLaunchType(String),
    /// Its containers take devices of which nobody tells which instances have them.
    Devices(Devices),
    /// A placement strategy that this version doesn't know.
    UnknownStrategy(String),
    /// A placement constraint of a type that this version doesn't know.
    UnknownConstraint(String),
    /// A `memberOf` expression that can't be read.
    UnreadableConstraint {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        error: String,
    },
}

impl Unmeasured {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Fargate => "fargate",
            Self::External => "external",
            Self::ManagedInstances => "managed-instances",
            Self::Binpack => "binpack",
            Self::Random => "random",
            Self::UnknownSchedulingStrategy(_) => "unknown-scheduling-strategy",
            Self::UnknownLaunchType(_) => "unknown-launch-type",
            Self::Devices(_) => "devices",
            Self::UnknownStrategy(_) => "unknown-placement-strategy",
            Self::UnknownConstraint(_) => "unknown-placement-constraint",
            Self::UnreadableConstraint { .. } => "unreadable-placement-constraint",
        }
    }

    /// One of each, for tests that the documents name them all.
    pub fn examples() -> Vec<Self> {
        let unknown = || "SOMETHING".to_owned();
        vec![
            Self::Daemon,
            Self::Fargate,
            Self::External,
            Self::ManagedInstances,
            Self::Binpack,
            Self::Random,
            Self::UnknownSchedulingStrategy(unknown()),
            Self::UnknownLaunchType(unknown()),
            Self::Devices(Devices::Neuron),
            Self::UnknownStrategy(unknown()),
            Self::UnknownConstraint(unknown()),
            Self::UnreadableConstraint { expression: "attribute:rack ==".to_owned(), error: "no value".to_owned() },
        ]
    }
}

impl fmt::Display for Unmeasured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => formatter.write_str("a daemon runs one task on every container instance"),
            Self::Fargate => formatter.write_str("on Fargate there are no container instances to be uneven on"),
            Self::External => formatter.write_str("external instances are placed without strategies"),
            Self::ManagedInstances => formatter.write_str("ECS places and consolidates Managed Instances by itself"),
            Self::Binpack => formatter.write_str("its placement strategy begins with binpack: it asks to be packed"),
            Self::Random => {
                formatter.write_str("its placement strategy begins with random: it doesn't ask to be spread")
            }
            Self::UnknownSchedulingStrategy(name) => write!(formatter, "unknown scheduling strategy {name:?}"),
            Self::UnknownLaunchType(name) => write!(formatter, "unknown launch type {name:?}"),
            Self::Devices(devices) => {
                write!(
                    formatter,
                    "its containers take {devices}, and ECS doesn't tell which container instances have some left"
                )
            }
            Self::UnknownStrategy(name) => write!(formatter, "unknown placement strategy {name:?}"),
            Self::UnknownConstraint(name) => write!(formatter, "unknown type of placement constraint {name:?}"),
            Self::UnreadableConstraint { expression, error } => {
                write!(formatter, "its constraint {expression:?} can't be read: {error}")
            }
        }
    }
}

/// Why no task of a service can be sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// A daemon's tasks belong on every container instance.
    Daemon,
    /// Its tasks are not placed on container instances by ECS's scheduler.
    Elsewhere(Unmeasured),
    /// A guard.
    Blocked(Blocked),
    /// Its strategy starts no replacement first.
    Strategy(Strategy),
    /// Its task definition was not read.
    UnknownSize,
    /// It has several capacity providers, or ten placement constraints, or one that can't be understood.
    Unsteerable,
    /// Its constraints look at other services' tasks, which move as well.
    LooksAtOthers,
}

impl Fixed {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Elsewhere(_) => "elsewhere",
            Self::Blocked(blocked) => blocked.code(),
            Self::Strategy(_) => "strategy",
            Self::UnknownSize => "unknown-size",
            Self::Unsteerable => "unsteerable",
            Self::LooksAtOthers => "looks-at-others",
        }
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => formatter.write_str("a daemon's tasks belong on every container instance"),
            Self::Elsewhere(unmeasured) => write!(formatter, "{unmeasured}"),
            Self::Blocked(blocked) => write!(formatter, "{blocked}"),
            Self::Strategy(strategy) => {
                write!(
                    formatter,
                    "strategy {} can't send a task to a container instance of our choice",
                    strategy.name()
                )
            }
            Self::UnknownSize => formatter.write_str("its task definition is not known"),
            Self::Unsteerable => formatter.write_str(
                "it can't be steered: several capacity providers, ten constraints, or one that can't be read",
            ),
            Self::LooksAtOthers => formatter.write_str("its constraints look at other services' tasks"),
        }
    }
}

/// Why a service with misplaced tasks is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftAlone {
    /// A guard; see [`Blocked`].
    Blocked(Blocked),
    /// Neither it nor the cluster has reached the threshold.
    BelowThreshold(Percent),
    /// Some of its tasks fit nowhere, and ECS's own choice is not likely enough to make room: it takes moves that are steered.
    NeedsSteering {
        /// How many.
        tasks: u32,
    },
    /// Some of its tasks fit nowhere, and within the limits no moves of others' tasks make room.
    NoRoomToMake {
        /// How many.
        tasks: u32,
        /// What ECS says of it, in its own words.
        told: Option<String>,
        /// A container instance that would have room, if its agent were not disconnected.
        disconnected: Option<String>,
    },
    /// `REBALANCER_MAX_SERVICES` others come first.
    MaxServices(u32),
    /// `REBALANCER_MAX_MOVES` are planned for others already, or its owner allows none.
    MaxMoves(u32),
    /// As far as can be foreseen, no move would help.
    NoHelp,
    /// Tasks are packed, not spread.
    Consolidating,
    /// Where tasks are sent to container instances of our choice, its own can't be.
    Fixed(Fixed),
    /// A reviewed plan is followed, and doesn't name it.
    NotInPlan,
    /// A reviewed plan is followed, and what it says of it no longer holds.
    PlanOutdated(Outdated),
}

impl LeftAlone {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Blocked(blocked) => blocked.code(),
            Self::BelowThreshold(_) => "below-threshold",
            Self::NeedsSteering { .. } => "needs-steering",
            Self::NoRoomToMake { .. } => "no-room-to-make",
            Self::MaxServices(_) => "max-services",
            Self::MaxMoves(_) => "max-moves",
            Self::NoHelp => "no-help",
            Self::Consolidating => "consolidating",
            Self::Fixed(fixed) => fixed.code(),
            Self::NotInPlan => "not-in-plan",
            Self::PlanOutdated(_) => "plan-outdated",
        }
    }
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(blocked) => write!(formatter, "{blocked}"),
            Self::BelowThreshold(threshold) => write!(formatter, "below the threshold of {threshold} %"),
            Self::NeedsSteering { tasks } => write!(
                formatter,
                "{}, and ECS's own choice is not likely to lead other services' tasks away so that capacity is made; with \
                 REBALANCER_STEER=true the run would look for more moves",
                fit_nowhere(*tasks)
            ),
            Self::NoRoomToMake { tasks, told, disconnected } => {
                let nowhere = fit_nowhere(*tasks);
                write!(formatter, "{nowhere}, and no allowed moves of other services' tasks make capacity")?;
                if let Some(disconnected) = disconnected {
                    write!(formatter, "; {}", blocked::but_disconnected(disconnected))?;
                }
                told.as_ref().map_or(Ok(()), |told| write!(formatter, "; ECS says: {told}"))
            }
            Self::MaxServices(services) => {
                let others = counted(*services, "other service comes", "other services come");
                write!(formatter, "{others} first (REBALANCER_MAX_SERVICES)")
            }
            Self::MaxMoves(moves) => {
                let moves = counted(*moves, "move", "moves");
                write!(formatter, "the limit of {moves} is used up (REBALANCER_MAX_MOVES, or its tag)")
            }
            Self::NoHelp => {
                formatter.write_str("no move would help: its replacements would land where it is full already")
            }
            Self::Consolidating => formatter.write_str("in mode consolidate tasks are packed, not spread"),
            Self::Fixed(fixed) => write!(formatter, "{fixed}"),
            Self::NotInPlan => formatter.write_str("not in the reviewed plan (REBALANCER_PLAN)"),
            Self::PlanOutdated(outdated) => write!(formatter, "the reviewed plan no longer holds: {outdated}"),
        }
    }
}

/// Why what was planned for a service, or one of its moves, no longer holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outdated {
    /// Its owner, or auto scaling, asks for another number of tasks.
    DesiredCount {
        /// At the time of the plan.
        was: u32,
        /// Now.
        is: u32,
    },
    /// The tasks that were to go are gone.
    TasksGone,
    /// A container instance that a task was to leave or to come to takes no tasks any more.
    Instance(ContainerInstanceArn),
    /// Nothing is misplaced or uneven any more, or not by the tasks that were to go.
    NoHelp,
    /// The strategy in force restarts every task, which nobody has planned.
    RestartsAll,
}

impl fmt::Display for Outdated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DesiredCount { was, is } => {
                write!(formatter, "its desired count was {was} then and is {is} now")
            }
            Self::TasksGone => formatter.write_str("what was to go is gone"),
            Self::Instance(instance) => write!(formatter, "{} takes no tasks any more", instance.short()),
            Self::NoHelp => formatter.write_str("moving what was to go would no longer help"),
            Self::RestartsAll => {
                formatter.write_str("its strategy restarts every task, and the plan names single ones")
            }
        }
    }
}

/// Why an instance that holds tasks is not emptied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// It holds tasks that can't be sent elsewhere: those of no service, or of one that is left alone.
    FixedTasks,
    /// For some of its tasks there is no room on those that stay.
    NoRoom,
    /// Those that stay would have less free than `REBALANCER_HEADROOM`.
    Headroom,
    /// None that stays would have room for the largest task.
    LargestTask,
    /// Its capacity provider keeps that many instances whether they hold tasks or not.
    Minimum(String, u32),
    /// `REBALANCER_MAX_MOVES`, or a service's own limit.
    MaxMoves,
    /// `REBALANCER_MAX_SERVICES`.
    MaxServices,
    /// A reviewed plan is followed, which doesn't empty it just so.
    NotInPlan,
    /// Without steering ECS's own choice is not likely enough to lead its tasks to instances that stay.
    NeedsSteering,
}

impl Kept {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FixedTasks => "fixed-tasks",
            Self::NoRoom => "no-room",
            Self::Headroom => "headroom",
            Self::LargestTask => "largest-task",
            Self::Minimum(..) => "minimum",
            Self::MaxMoves => "max-moves",
            Self::MaxServices => "max-services",
            Self::NotInPlan => "not-in-plan",
            Self::NeedsSteering => "needs-steering",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedTasks => formatter.write_str("with tasks that can't be sent elsewhere"),
            Self::NoRoom => formatter.write_str("with tasks for which others have no capacity"),
            Self::Headroom => formatter.write_str("needed as headroom (REBALANCER_HEADROOM)"),
            Self::LargestTask => formatter.write_str("needed so that the largest task has capacity"),
            Self::Minimum(provider, instances) => {
                let keeps = container_instances(*instances);
                write!(formatter, "capacity provider {provider} keeps at least {keeps}")
            }
            Self::NotInPlan => formatter.write_str("not emptied so in the reviewed plan (REBALANCER_PLAN)"),
            Self::NeedsSteering => formatter.write_str(
                "with tasks that ECS's own choice is not likely to lead elsewhere, and REBALANCER_STEER=true would",
            ),
            Self::MaxMoves => formatter.write_str("with more tasks than may be moved (REBALANCER_MAX_MOVES, or a tag)"),
            Self::MaxServices => {
                formatter.write_str("with tasks of more services than may be changed (REBALANCER_MAX_SERVICES)")
            }
        }
    }
}

/// As the reasons say it.
fn fit_nowhere(tasks: u32) -> String {
    counted(tasks, "of its tasks fits nowhere", "of its tasks fit nowhere")
}
