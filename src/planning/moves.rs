//! Moves: of one task, and those that somebody reviewed.

use std::collections::BTreeMap;

use super::model::{ContainerInstanceArn, ServiceName, TaskArn};

/// One task that goes, and where its replacement is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The task that goes.
    pub task: TaskArn,
    /// Where it is.
    pub from: ContainerInstanceArn,
    /// Where the replacement is expected.
    pub to: ContainerInstanceArn,
}

/// The moves that were planned by an earlier dry run, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// The cluster's name.
    pub cluster: String,
    /// The services that were to be changed.
    pub services: BTreeMap<ServiceName, ReviewedService>,
}

/// What was planned for one service, and what was seen of it then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewedService {
    /// As many tasks ran, and as many were desired, or it would not have been taken.
    pub running_tasks: u32,
    /// Task by task.
    pub moves: Vec<Move>,
}
