//! What only pictures for people need of a run; the JSON report has none of it.

use std::collections::BTreeMap;

use super::WatchedService;

/// Everything that pictures need beside the report itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// Every container instance as it was found, by zone and name.
    pub found: Vec<InstanceReport>,
    /// The same after the run, where something was done.
    pub after: Vec<InstanceReport>,
    /// The same as the plan comes to, where there is one.
    pub predicted: Vec<InstanceReport>,
    /// What the run saw of the services in hand as it went on.
    pub watched: Vec<WatchedService>,
    /// Each variable and what held.
    pub configuration: Vec<Configured>,
}

/// One container instance, as pictures show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceReport {
    /// Its zone.
    pub availability_zone: String,
    /// Its EC2 id, or the end of its ARN where it has none.
    pub name: String,
    /// Whether ECS would place tasks on it.
    pub usable: bool,
    /// Tasks in RUNNING or on their way there.
    pub running_tasks: u32,
    /// Rounded up, so that only what is empty shows as 0.
    pub reserved_cpu_percent: u32,
    /// Rounded up, so that only what is empty shows as 0.
    pub reserved_memory_percent: u32,
    /// Its ARN.
    pub arn: String,
    /// Its EC2 id; empty where it has none.
    pub ec2_instance_id: String,
    /// The tasks of each service on it, and of those services that are uneven, what an even arrangement would give it.
    pub tasks: BTreeMap<String, TasksOfService>,
}

/// One service's tasks on one container instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TasksOfService {
    /// Tasks in RUNNING or on their way there.
    pub running: u32,
    /// What an even arrangement would put here, in hundredths; none where the service is spread, or isn't measured.
    pub even_hundredths: Option<u32>,
}

/// One setting of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The variable.
    pub name: &'static str,
    /// What held.
    pub value: String,
    /// Whether that is what holds where nothing is set.
    pub is_default: bool,
}
