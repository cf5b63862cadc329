//! Why misplaced tasks can't be moved now, and what of it has a type of its own.

use std::fmt;

use crate::planning::{model::Devices, words::counted};

/// Why misplaced tasks can't be moved now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// Not among `REBALANCER_INCLUDE`, or among `REBALANCER_EXCLUDE`.
    NotIncluded,
    /// The owner's tag `ecs-rebalancer:enabled` is `false`.
    OptedOut,
    /// One of the owner's tags can't be read.
    UnreadableTag(TagProblem),
    /// The service is being deleted, or in a state that this version doesn't know.
    NotActive(String),
    /// An express service.
    ManagedByEcs,
    /// Its tasks keep data on their container instance, or on a volume of their own.
    KeepsData(DataKept),
    /// Nothing is known of what its tasks take and keep.
    UnknownTaskDefinition,
    /// Its task definition was not read, since those of worse services come first.
    DefinitionNotRead,
    /// Its containers take GPUs in a way that can't be counted.
    Gpus(Devices),
    /// Deployed by CodeDeploy, by a controller outside AWS, or by one that this version doesn't know.
    Controller(String),
    /// A deployment is under way.
    Deploying,
    /// The newest deployment did not complete.
    DeploymentFailed(String),
    /// Another run's unfinished step, or what it left.
    MarkedByRun,
    /// The ARN has the old short form, so that the service can't be tagged.
    ShortArn,
    /// Running and desired count differ.
    CountsDiffer {
        /// Running.
        running: u32,
        /// Desired.
        desired: u32,
    },
    /// Tasks are starting.
    Pending(u32),
    /// Tasks are unhealthy.
    Unhealthy(u32),
    /// Tasks of an older deployment are still there.
    OldTasks(u32),
    /// Tasks are protected from scale-in, by their application as a rule.
    Protected(u32),
    /// The service changed, or was rebalanced, within the cooldown.
    TooYoung {
        /// Seconds until it may be moved.
        seconds_left: u64,
    },
    /// Moves did not help before.
    BackingOff {
        /// How many times in a row.
        misses: u32,
        /// Seconds until it may be moved.
        seconds_left: u64,
    },
    /// ECS is evening out the zones just now.
    ZoneRebalancingInProgress,
    /// What is misplaced between zones is for ECS's availability-zone rebalancing to move.
    LeftToZoneRebalancing,
    /// No instance that may take a task has room for it now.
    NoRoom(Shortage),
    /// Strategy `stop`, and minimumHealthyPercent allows no task fewer.
    NoSlack(u32),
    /// maximumPercent allows no task more than are desired.
    AtMaximum {
        /// maximumPercent.
        percent: u32,
        /// Desired.
        desired: u32,
        /// minimumHealthyPercent, where a deployment is wanted and that allows no task fewer either.
        minimum: Option<u32>,
    },
    /// Its tasks are shared out over several capacity providers: a replacement may go to another one than its own.
    SeveralProviders {
        /// Their names.
        providers: Vec<String>,
        /// That of the next task, as `base` and `weight` have it.
        next: Option<String>,
        /// Whether that has a container instance that takes tasks.
        has_instances: bool,
    },
    /// An instance's agent can't protect tasks from scale-in.
    OldAgent {
        /// The instance, by its EC2 id or the end of its ARN.
        instance: String,
        /// The agent's version.
        version: String,
    },
    /// Which of its tasks are healthy, only somebody else knows.
    HealthElsewhere {
        /// Who.
        by: &'static str,
    },
    /// A step would not come to its end within the deadline.
    DeadlineTooShort {
        /// How long a new task may take until it is healthy.
        wait_seconds: u64,
        /// The shortest deadline that would do.
        needed_minutes: u64,
    },
}

impl Blocked {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotIncluded => "not-included",
            Self::OptedOut => "opted-out",
            Self::UnreadableTag(_) => "unreadable-tag",
            Self::NotActive(_) => "not-active",
            Self::ManagedByEcs => "managed-by-ecs",
            Self::KeepsData(_) => "keeps-data",
            Self::UnknownTaskDefinition => "unknown-task-definition",
            Self::DefinitionNotRead => "definition-not-read",
            Self::Gpus(_) => "gpus",
            Self::Controller(_) => "deployment-controller",
            Self::Deploying => "deploying",
            Self::DeploymentFailed(_) => "deployment-failed",
            Self::MarkedByRun => "marked-by-run",
            Self::ShortArn => "short-arn",
            Self::CountsDiffer { .. } => "counts-differ",
            Self::Pending(_) => "pending",
            Self::Unhealthy(_) => "unhealthy",
            Self::OldTasks(_) => "old-tasks",
            Self::Protected(_) => "protected",
            Self::TooYoung { .. } => "too-young",
            Self::BackingOff { .. } => "backing-off",
            Self::ZoneRebalancingInProgress => "zone-rebalancing-in-progress",
            Self::LeftToZoneRebalancing => "left-to-zone-rebalancing",
            Self::NoRoom(_) => "no-room",
            Self::NoSlack(_) => "no-slack",
            Self::AtMaximum { .. } => "at-maximum",
            Self::SeveralProviders { .. } => "several-providers",
            Self::OldAgent { .. } => "old-agent",
            Self::HealthElsewhere { .. } => "health-elsewhere",
            Self::DeadlineTooShort { .. } => "deadline-too-short",
        }
    }

    /// Whether it lies in what the service is and how it is set up, so that no later run finds it otherwise.
    pub fn lasts(&self) -> bool {
        matches!(
            self,
            Self::KeepsData(_)
                | Self::Gpus(_)
                | Self::AtMaximum { .. }
                | Self::SeveralProviders { .. }
                | Self::OldAgent { .. }
                | Self::HealthElsewhere { .. }
                | Self::DeadlineTooShort { .. }
        )
    }

    /// Whether none of a service's tasks is moved as long as it holds, however many it counts. A deployment replaces all of them at
    /// once. While zones are uneven, ECS puts the next task where it evens them out: a round of ours would move tasks between zones.
    pub fn is_of_whole_service(&self, by_deploying: bool) -> bool {
        match self {
            Self::NoRoom(_) => false,
            Self::Protected(_) => by_deploying,
            _ => true,
        }
    }

    /// One of each, for tests that the documents name them all.
    pub fn examples() -> Vec<Self> {
        let problem =
            TagProblem::Value { key: "ecs-rebalancer:max-moves", value: "few".to_owned(), allowed: "a whole number" };
        let shortage =
            Shortage { closest: Some("i-1".to_owned()), resource: Resource::Memory, by: 256, disconnected: None };
        vec![
            Self::NotIncluded,
            Self::OptedOut,
            Self::UnreadableTag(problem),
            Self::NotActive("being deleted".to_owned()),
            Self::ManagedByEcs,
            Self::KeepsData(DataKept::HostPath("/data/pg".to_owned())),
            Self::UnknownTaskDefinition,
            Self::DefinitionNotRead,
            Self::Gpus(Devices::AllGpus),
            Self::Controller("CODE_DEPLOY".to_owned()),
            Self::Deploying,
            Self::DeploymentFailed("FAILED".to_owned()),
            Self::MarkedByRun,
            Self::ShortArn,
            Self::CountsDiffer { running: 3, desired: 4 },
            Self::Pending(1),
            Self::Unhealthy(1),
            Self::OldTasks(1),
            Self::Protected(1),
            Self::TooYoung { seconds_left: 60 },
            Self::BackingOff { misses: 2, seconds_left: 600 },
            Self::ZoneRebalancingInProgress,
            Self::LeftToZoneRebalancing,
            Self::NoRoom(shortage),
            Self::NoSlack(100),
            Self::AtMaximum { percent: 100, desired: 4, minimum: None },
            Self::SeveralProviders {
                providers: vec!["od".to_owned(), "spot".to_owned()],
                next: Some("spot".to_owned()),
                has_instances: true,
            },
            Self::OldAgent { instance: "i-1".to_owned(), version: "1.64.0".to_owned() },
            Self::HealthElsewhere { by: "VPC Lattice" },
            Self::DeadlineTooShort { wait_seconds: 960, needed_minutes: 17 },
        ]
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIncluded => formatter.write_str("not among REBALANCER_INCLUDE, or among REBALANCER_EXCLUDE"),
            Self::OptedOut => formatter.write_str("its tag ecs-rebalancer:enabled is false"),
            Self::UnreadableTag(problem) => write!(formatter, "{problem}"),
            Self::NotActive(status) => write!(formatter, "the service is {status}"),
            Self::ManagedByEcs => formatter.write_str("an express service is managed by ECS"),
            Self::KeepsData(kept) => {
                write!(
                    formatter,
                    "its tasks keep data on {kept}; its tag ecs-rebalancer:move-data=true allows moving them"
                )
            }
            Self::UnknownTaskDefinition => {
                formatter.write_str("its task definition can't be read, so nobody knows what its tasks take and keep")
            }
            Self::DefinitionNotRead => formatter.write_str(
                "its task definition was not read: a run reads those of the services with the most misplaced tasks",
            ),
            Self::Gpus(devices) => write!(formatter, "its containers take {devices}, which this job can't count"),
            Self::Controller(name) => write!(formatter, "its deployment controller is {name}"),
            Self::Deploying => formatter.write_str("a deployment is under way"),
            Self::DeploymentFailed(state) => write!(formatter, "its newest deployment is {state}"),
            Self::MarkedByRun => formatter.write_str("another run is at work on it, or left something behind"),
            Self::ShortArn => formatter.write_str("its ARN has the old short form, which can't be tagged"),
            Self::CountsDiffer { running, desired } => {
                let run = counted(*running, "task runs", "tasks run");
                write!(formatter, "{run}, and the desired count is {desired}")
            }
            Self::Pending(tasks) => write!(formatter, "{} starting", of_its_tasks(*tasks)),
            Self::Unhealthy(tasks) => write!(formatter, "{} unhealthy", of_its_tasks(*tasks)),
            Self::OldTasks(tasks) => write!(formatter, "{} from an older deployment", of_its_tasks(*tasks)),
            Self::Protected(tasks) => write!(formatter, "{} protected from scale-in", of_its_tasks(*tasks)),
            Self::TooYoung { seconds_left } => {
                write!(formatter, "it changed within the cooldown, which lasts {seconds_left} s more")
            }
            Self::BackingOff { misses, seconds_left } => {
                let runs = if *misses == 1 { "run".to_owned() } else { format!("{misses} runs") };
                write!(formatter, "moving did not help in the last {runs}; left alone for {seconds_left} s more")
            }
            Self::ZoneRebalancingInProgress => formatter.write_str("ECS is evening out its zones just now"),
            Self::LeftToZoneRebalancing => formatter.write_str("between zones: left to ECS's own zone rebalancing"),
            Self::NoRoom(shortage) => write!(formatter, "{shortage}"),
            Self::NoSlack(percent) => {
                write!(formatter, "strategy stop, and its minimumHealthyPercent of {percent} allows no task fewer")
            }
            Self::AtMaximum { percent, desired, minimum } => {
                write!(
                    formatter,
                    "its maximumPercent of {percent} allows no task above its desired count of {desired}"
                )?;
                minimum.map_or(Ok(()), |minimum| {
                    write!(
                        formatter,
                        ", and its minimumHealthyPercent of {minimum} none below: a deployment would stand still"
                    )
                })
            }
            Self::SeveralProviders { providers, next, has_instances } => {
                write!(formatter, "its tasks are shared out over capacity providers {}", providers.join(", "))?;
                match next {
                    Some(next) if *has_instances => write!(formatter, ", and a replacement would go to {next}"),
                    Some(next) => write!(
                        formatter,
                        ", and a replacement would go to {next}, which has no container instance that takes tasks"
                    ),
                    None => formatter.write_str(", and its strategy names none that a replacement would go to"),
                }
            }
            Self::OldAgent { instance, version } => {
                write!(
                    formatter,
                    "the container agent {version} on {instance} can't protect tasks from scale-in; 1.65.0 can"
                )
            }
            Self::HealthElsewhere { by } => {
                write!(formatter, "only {by} knows which of its tasks are healthy; a container health check would tell")
            }
            Self::DeadlineTooShort { wait_seconds, needed_minutes } => write!(
                formatter,
                "a new task may take {wait_seconds} s until it is healthy: REBALANCER_DEADLINE must be {needed_minutes}m at least"
            ),
        }
    }
}

/// `1 of its tasks is`, `2 of its tasks are`.
fn of_its_tasks(number: u32) -> String {
    counted(number, "of its tasks is", "of its tasks are")
}

/// What is short on the instance that comes closest to taking one more task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortage {
    /// The instance that comes closest, by its EC2 id or the end of its ARN; none where no instance is eligible.
    pub closest: Option<String>,
    /// What is short there.
    pub resource: Resource,
    /// By how much.
    pub by: u32,
    /// One that would have capacity for it, if its agent were not disconnected.
    pub disconnected: Option<String>,
}

/// What can be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// CPU units.
    Cpu,
    /// Mebibytes of memory.
    Memory,
    /// GPUs.
    Gpu,
    /// Network interfaces for tasks in network mode `awsvpc`.
    NetworkInterface,
    /// A static host port, which another task has taken.
    Port(u16),
    /// An instance without a task of the service, which takes at most one on each.
    Instance,
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(closest) = &self.closest {
            write!(formatter, "no capacity where a task is missing: closest is {closest}, ")?;
            match self.resource {
                Resource::Cpu => write!(formatter, "{} short", counted(self.by, "CPU unit", "CPU units")),
                Resource::Memory => write!(formatter, "{} MiB of memory short", self.by),
                Resource::Gpu => write!(formatter, "{} short", counted(self.by, "GPU", "GPUs")),
                Resource::NetworkInterface => formatter.write_str("where no network interface is left"),
                Resource::Port(port) => write!(formatter, "where port {port} is taken"),
                Resource::Instance => formatter.write_str("where the one task that it may have is already"),
            }?;
        } else {
            formatter.write_str("no capacity: no other container instance may take its tasks")?;
        }
        if let Some(disconnected) = &self.disconnected {
            write!(formatter, "; {}", but_disconnected(disconnected))?;
        }
        Ok(())
    }
}

/// `i-5 would have capacity, but its agent is disconnected`.
pub(super) fn but_disconnected(instance: &str) -> String {
    format!("{instance} would have capacity, but its agent is disconnected")
}

/// Where a service's tasks keep data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKept {
    /// A directory or file of the container instance.
    HostPath(String),
    /// A Docker volume that outlives the task.
    SharedVolume(String),
    /// A volume that ECS makes for each task and deletes with it.
    OwnVolume(String),
}

impl fmt::Display for DataKept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostPath(path) => write!(formatter, "{path} of their container instance"),
            Self::SharedVolume(name) => {
                write!(formatter, "the shared Docker volume {name} of their container instance")
            }
            Self::OwnVolume(name) => write!(formatter, "volume {name}, which each task has of its own"),
        }
    }
}

/// A tag that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagProblem {
    /// What it holds is not allowed.
    Value {
        /// Which tag.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// Nothing is known by its name.
    Key {
        /// Its name.
        key: String,
        /// The names that are known.
        allowed: &'static [&'static str],
    },
}

impl fmt::Display for TagProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { key, value, allowed } => {
                write!(formatter, "its tag {key} is {value:?}, where {allowed} is allowed")
            }
            Self::Key { key, allowed } => {
                write!(formatter, "its tag {key} is none of {}", allowed.join(", "))
            }
        }
    }
}
