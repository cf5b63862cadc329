//! The measure: how unevenly tasks sit, in whole numbers until the last division.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    eligibility::{Blocked, Unmeasured},
    model::{Cluster, ServiceName, TaskDefinitionArn, Timestamp},
    policy::{Policy, Share},
};

/// What was measured of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Of each service.
    pub services: BTreeMap<ServiceName, ServiceMeasure>,
    /// Tasks in RUNNING, those without a service included.
    pub running_tasks: u32,
    /// Misplaced tasks ÷ running tasks of the services that were measured.
    pub task_imbalance: Share,
    /// The sum over the services.
    pub misplaced_tasks: u32,
    /// The sum over the services.
    pub stuck_tasks: u32,
    /// Of the worst service.
    pub task_skew: u32,
    /// The larger of the two below.
    pub load_imbalance: Share,
    /// The share of all reserved CPU that would have to move until all are reserved in proportion.
    pub cpu_load_imbalance: Share,
    /// The same for memory.
    pub memory_load_imbalance: Share,
    /// Usable ones: ACTIVE, agent connected.
    pub container_instances: u32,
    /// Usable ones without a task that is not a daemon's.
    pub empty_instances: u32,
    /// Reserved ÷ registered over the usable instances.
    pub cpu_reservation: Share,
    /// Reserved ÷ registered over the usable instances.
    pub memory_reservation: Share,
}

/// What was measured of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMeasure {
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// How they are spread, or why that was not measured.
    pub spread: Result<Spread, Unmeasured>,
}

/// How a service's tasks are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The smallest number of tasks that must move until the service is spread as its placement strategy asks.
    pub misplaced_tasks: u32,
    /// Those of them that can't be moved now, by the reason; the counts add up to at most `misplaced_tasks`.
    pub stuck: BTreeMap<Blocked, u32>,
    /// Most minus fewest tasks over the domains of the first level at which they differ by more than one; else of the first.
    pub skew: u32,
    /// Domains of the last level, over the eligible instances.
    pub domains: u32,
}

impl Spread {
    /// The misplaced tasks that can't be moved now.
    pub fn stuck_tasks(&self) -> u32 {
        self.stuck.values().sum()
    }
}

/// The task definitions that have to be read before `measure` can be exact.
///
/// A service that is spread over *all* its possible instances is spread over any part of them that holds its tasks, so only
/// the definitions of the others matter.
pub fn definitions_needed(cluster: &Cluster) -> BTreeSet<TaskDefinitionArn> {
    let _ = cluster;
    unimplemented!()
}

/// Measures a cluster whose needed task definitions were read.
pub fn measure(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Measure {
    let _ = (cluster, policy, now);
    unimplemented!()
}

impl ServiceMeasure {
    /// Misplaced tasks ÷ running tasks; nothing of nothing where the spread was not measured.
    pub fn task_imbalance(&self) -> Share {
        match &self.spread {
            Ok(spread) => Share::new(spread.misplaced_tasks.into(), self.running_tasks.into()),
            Err(_) => Share::default(),
        }
    }
}
