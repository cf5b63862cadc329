//! The parts of a report that tools rely on, in the contract's names: figures, services, moves, the outcome.

use serde::Serialize;

use crate::planning::{imbalance::Measure, policy::Share};

/// How a run ended: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The run was not wanted: another one is at work, or the instance of its trigger is not usable.
    Skipped,
    /// Something failed, or a service is left above its desired count.
    Failed,
    /// A signal or the deadline ended the run before it was through.
    Interrupted,
    /// A dry run found something to move.
    Planned,
    /// At least one task was moved.
    Rebalanced,
    /// Some tasks were to be moved, and none was.
    Unchanged,
    /// Nothing is to be moved.
    Balanced,
}

impl Outcome {
    /// The contract's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Planned => "planned",
            Self::Rebalanced => "rebalanced",
            Self::Unchanged => "unchanged",
            Self::Balanced => "balanced",
        }
    }
}

/// A service that the run left with another count than its owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftRaised {
    /// Its name.
    pub service: String,
    /// The desired count that stands.
    pub count: u32,
    /// The desired count that is meant, and that the next run restores.
    pub count_meant: u32,
}

/// What a plan costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Tasks that stop and start anew elsewhere.
    pub restarts: u32,
    /// About how many tasks are started beside these, land badly, and go again.
    pub starts_in_vain: u32,
    /// About how long the run takes.
    pub seconds: u64,
    /// Services that have fewer healthy tasks than desired meanwhile.
    pub services_below_desired: u32,
}

/// What a setting would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// The setting, as it is to be given: `REBALANCER_STEER=true`.
    pub setting: String,
    /// What is so now, and what the setting would change.
    pub sentence: String,
}

/// A cluster's figures at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Misplaced tasks ÷ running tasks of services that spread × 100.
    pub task_imbalance_percent: f64,
    /// The smallest number of tasks that must move.
    pub misplaced_tasks: u32,
    /// Those of them that can't be moved now.
    pub stuck_tasks: u32,
    /// Of the worst service.
    pub task_skew: u32,
    /// The larger of the two below.
    pub load_imbalance_percent: f64,
    /// The share of reserved CPU that would have to move.
    pub cpu_load_imbalance_percent: f64,
    /// The share of reserved memory that would have to move.
    pub memory_load_imbalance_percent: f64,
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// Usable ones.
    pub container_instances: u32,
    /// Usable ones without a task that is not a daemon's.
    pub empty_instances: u32,
    /// Reserved ÷ registered.
    pub cpu_reservation_percent: f64,
    /// Reserved ÷ registered.
    pub memory_reservation_percent: f64,
}

impl Summary {
    /// The figures of a measure.
    pub fn of(measure: &Measure) -> Self {
        Self {
            task_imbalance_percent: shown(measure.task_imbalance),
            misplaced_tasks: measure.misplaced_tasks,
            stuck_tasks: measure.stuck_tasks,
            task_skew: measure.task_skew,
            load_imbalance_percent: shown(measure.load_imbalance),
            cpu_load_imbalance_percent: shown(measure.cpu_load_imbalance),
            memory_load_imbalance_percent: shown(measure.memory_load_imbalance),
            running_tasks: measure.running_tasks,
            container_instances: measure.container_instances,
            empty_instances: measure.empty_instances,
            cpu_reservation_percent: shown(measure.cpu_reservation),
            memory_reservation_percent: shown(measure.memory_reservation),
        }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// Misplaced ÷ running × 100.
    pub task_imbalance_percent: f64,
    /// The smallest number of tasks that must move; 0 where that was not measured.
    pub misplaced_tasks: u32,
    /// Those of them that can't be moved now.
    pub stuck_tasks: u32,
    /// Most minus fewest tasks over its domains.
    pub task_skew: u32,
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// What was, or would be, done.
    pub action: Action,
    /// By which strategy; none where nothing is done.
    pub strategy: Option<&'static str>,
    /// Why, in a sentence.
    pub reason: String,
    /// Why, in a word that doesn't change; empty where nothing is left alone.
    pub reason_code: &'static str,
    /// Moves in the plan.
    pub planned_moves: u32,
    /// Moves made.
    pub moved: u32,
}

impl ServiceReport {
    /// Why a service that is spread would be left alone; none where it wouldn't, or isn't spread.
    pub fn would_be_left_alone(&self) -> Option<&str> {
        let says_why = self.action == Action::None && !self.reason_code.is_empty();
        says_why.then(|| self.reason.rsplit_once("left alone: ").map_or("", |(_, why)| why))
    }
}

/// What is done about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Tasks of it move.
    Rebalance,
    /// Tasks of it fit nowhere, and tasks of others move so that it has room.
    MakeRoom,
    /// It has misplaced tasks and is left alone.
    LeaveAlone,
    /// It is spread as it asks.
    None,
    /// It doesn't ask to be spread.
    NotMeasured,
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedMove {
    /// The service.
    pub service: String,
    /// The task that goes, its ARN.
    pub task: String,
    /// The container instance that it leaves.
    pub from: Place,
    /// The container instance where its replacement is expected.
    pub to: Place,
}

/// One move that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MadeMove {
    /// The service.
    pub service: String,
    /// The task that went, its ARN.
    pub task: String,
    /// The container instance that it left.
    pub from: Place,
    /// The container instance where its replacement is; none where that was not seen.
    pub to: Option<Place>,
}

/// A container instance by both its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The EC2 instance's id; empty where ECS gave none.
    pub ec2_instance_id: String,
    /// The container instance's ARN.
    pub container_instance: String,
}

impl Place {
    /// What people call it.
    pub fn name(&self) -> &str {
        let end = self.container_instance.rsplit('/').next().unwrap_or_default();
        if self.ec2_instance_id.is_empty() { end } else { &self.ec2_instance_id }
    }
}

/// Two decimals are what a person reads; more would only differ between machines' printing.
pub(super) fn shown(share: Share) -> f64 {
    (share.percent() * 100.0).round() / 100.0
}
