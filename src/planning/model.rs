//! The cluster as the planner sees it: plain values, ordered maps, an id is a type.
//!
//! The edge (`aws::read`) turns ECS's optional strings into what they mean, once; past it there is nothing to unwrap.
//! A value of ECS's that this version does not know is kept by name, so that it can be a reason to leave something alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// The first container agent by which tasks can be protected from scale-in [developer guide, task scale-in protection].
const FIRST_AGENT_THAT_PROTECTS: [u32; 2] = [1, 65];

/// Makes a type of each kind of identifier, so that a task's can't be passed for a service's. Cheap to clone, and to compare: see
/// [`telling`].
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            telling: u64,
            text: Arc<str>,
        }

        impl $name {
            /// The identifier as ECS writes it.
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }

        impl From<Arc<str>> for $name {
            fn from(text: Arc<str>) -> Self {
                Self { telling: telling(&text), text }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Arc::<str>::from(text).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.debug_tuple(stringify!($name)).field(&self.text).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.text)
            }
        }
    };
}

/// What tells an identifier apart at a glance: its first eight characters, or of an ARN those behind the last `/`, since what is
/// before that is the same for all of a cluster. So two tasks are most often compared without looking up their ARNs in memory. ARNs of
/// one cluster keep the order of their text.
fn telling(identifier: &str) -> u64 {
    let telling = if identifier.starts_with("arn:") { short(identifier) } else { identifier };
    let mut first = [0; 8];
    for (first, byte) in first.iter_mut().zip(telling.bytes()) {
        *first = byte;
    }
    u64::from_be_bytes(first)
}

identifier!(
    /// A service's name, unique in its cluster.
    ServiceName
);
identifier!(
    /// A task's ARN.
    TaskArn
);
identifier!(
    /// A container instance's ARN.
    ContainerInstanceArn
);
identifier!(
    /// A task definition's ARN, revision included.
    TaskDefinitionArn
);

impl TaskArn {
    /// The part after the last `/`, which people and the console use.
    pub fn short(&self) -> &str {
        short(&self.text)
    }
}

impl ContainerInstanceArn {
    /// The part after the last `/`, which people and the console use.
    pub fn short(&self) -> &str {
        short(&self.text)
    }
}

impl TaskDefinitionArn {
    /// `family:revision`.
    pub fn short(&self) -> &str {
        short(&self.text)
    }
}

fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// A moment, in milliseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds from `earlier` until this moment; negative when it lies in the future.
    pub fn milliseconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One cluster, read at about one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's short name.
    pub name: String,
    /// Every container instance that ECS lists: all but INACTIVE ones.
    pub container_instances: BTreeMap<ContainerInstanceArn, Arc<ContainerInstance>>,
    /// Every service that ECS lists.
    pub services: BTreeMap<ServiceName, Service>,
    /// Every task whose desired status is RUNNING, those without a service included.
    pub tasks: BTreeMap<TaskArn, Arc<Task>>,
    /// The task definitions that were read; not every one that tasks name.
    pub task_definitions: BTreeMap<TaskDefinitionArn, TaskDefinition>,
    /// Those that the measure needs and that were left out, since those of worse services come first.
    pub unread_definitions: BTreeSet<TaskDefinitionArn>,
    /// When a run last packed tasks, as far as that is known; only a run that levels reads it.
    pub consolidated_at: Option<Timestamp>,
    /// Moves of earlier runs against which no start in vain has been set yet; only a run that levels reads how many.
    pub unspent_moves: Option<u32>,
    /// The capacity providers that container instances name, by name; only a run that consolidates reads all of them, and one
    /// that levels those of empty instances.
    pub capacity_providers: BTreeMap<String, CapacityProvider>,
}

/// What a capacity provider does with container instances that came free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityProvider {
    /// Its name, as container instances carry it.
    pub name: String,
    /// Whether its instances are ECS Managed Instances, and no Auto Scaling group's.
    pub has_managed_instances: bool,
    /// Whether ECS's managed scaling removes instances without tasks.
    pub managed_scaling: bool,
    /// The fewest instances that its Auto Scaling group keeps (`MinSize`); none where that could not be read.
    pub minimum_instances: Option<u32>,
}

/// An EC2 instance (or external machine) on which the cluster's tasks run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInstance {
    /// Its ARN.
    pub arn: ContainerInstanceArn,
    /// `i-…`, or `mi-…` of an external instance; empty when ECS gave none.
    pub ec2_instance_id: String,
    /// Only ACTIVE ones accept tasks.
    pub status: ContainerInstanceStatus,
    /// Only connected ones accept tasks.
    pub agent_connected: bool,
    /// Whether ECS's own checks find it IMPAIRED: then no task is brought there on purpose.
    pub is_impaired: bool,
    /// Version of the container agent, as `1.74.1`; empty when unknown.
    pub agent_version: String,
    /// When it joined the cluster.
    pub registered_at: Option<Timestamp>,
    /// Tasks whose desired status is RUNNING, by ECS's count.
    pub running_tasks_count: u32,
    /// Tasks in PENDING, by ECS's count.
    pub pending_tasks_count: u32,
    /// What the agent offered when it registered.
    pub registered: Capacity,
    /// What is not reserved by tasks at this moment.
    pub remaining: Capacity,
    /// TCP ports of the instance that are taken, by tasks or from the start.
    pub taken_tcp_ports: BTreeSet<u16>,
    /// UDP ports that are taken.
    pub taken_udp_ports: BTreeSet<u16>,
    /// TCP ports that were taken before any task ran (22, 2375, 51678, ...).
    pub reserved_tcp_ports: BTreeSet<u16>,
    /// UDP ports that were taken before any task ran.
    pub reserved_udp_ports: BTreeSet<u16>,
    /// Built-in and custom attributes; one without a value has none. They are the most of what is known of an instance, and
    /// don't change when a cluster is copied to try things out on.
    pub attributes: Arc<BTreeMap<String, Option<String>>>,
    /// The capacity provider that the instance belongs to.
    pub capacity_provider: Option<String>,
    /// Whether it is one of ECS's Managed Instances, as far as that is known: a service without a capacity provider strategy gets
    /// none of them.
    pub is_managed: bool,
}

impl ContainerInstance {
    /// What people call it: its EC2 id, or else the end of its ARN.
    pub fn label(&self) -> &str {
        if self.ec2_instance_id.is_empty() { self.arn.short() } else { &self.ec2_instance_id }
    }

    /// The value of `ecs.availability-zone`; empty when ECS gave none.
    pub fn availability_zone(&self) -> &str {
        self.attribute("ecs.availability-zone").unwrap_or_default()
    }

    /// An attribute's value, if the instance has the attribute and that has a value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_deref()
    }

    /// How much of one resource is reserved: what is registered less what remains.
    pub fn reserved(&self, resource: fn(&Capacity) -> u32) -> u32 {
        resource(&self.registered).saturating_sub(resource(&self.remaining))
    }

    /// The same as a part of what is registered, in hundredths of a percent, rounded up.
    pub fn reserved_hundredths(&self, resource: fn(&Capacity) -> u32) -> u32 {
        let hundredths = u64::from(self.reserved(resource)) * 10_000;
        let registered = u64::from(resource(&self.registered)).max(1);
        u32::try_from(hundredths.div_ceil(registered)).unwrap_or(u32::MAX)
    }

    /// Whether ECS would place a task here at all: ACTIVE, and its agent connected.
    pub fn is_usable(&self) -> bool {
        self.status == ContainerInstanceStatus::Active && self.agent_connected
    }

    /// Whether its agent can protect tasks from scale-in; one whose version isn't known can.
    pub fn can_protect_tasks(&self) -> bool {
        let mut numbers = self.agent_version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) => [major, minor] >= FIRST_AGENT_THAT_PROTECTS,
            _ => true,
        }
    }

    /// Whether its tasks go on running while nobody can reach it: ACTIVE, and its agent disconnected, which happens several
    /// times an hour. ECS neither replaces them nor places any there.
    pub fn is_away(&self) -> bool {
        self.status == ContainerInstanceStatus::Active && !self.agent_connected
    }
}

/// A container instance's life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerInstanceStatus {
    /// Accepts tasks.
    Active,
    /// Its tasks are being moved away; accepts none.
    Draining,
    /// Not there yet, or not any longer.
    Registering,
    /// Being removed.
    Deregistering,
    /// Could not join.
    RegistrationFailed,
    /// Gone.
    Inactive,
    /// A status that this version doesn't know.
    Unknown(String),
}

/// What a container instance offers or a task asks for, of the resources that are plain amounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capacity {
    /// 1024 to a vCPU.
    pub cpu_units: u32,
    /// Mebibytes.
    pub memory_mib: u32,
    /// Whole devices.
    pub gpus: u32,
}

impl Capacity {
    /// Whether `asked` fits in here.
    pub fn holds(&self, asked: &Self) -> bool {
        self.cpu_units >= asked.cpu_units && self.memory_mib >= asked.memory_mib && self.gpus >= asked.gpus
    }
}

/// A service as DescribeServices shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its ARN; tags can be written only where it has the long form.
    pub arn: String,
    /// Whether it is being deleted.
    pub status: ServiceStatus,
    /// REPLICA or DAEMON.
    pub scheduling_strategy: SchedulingStrategy,
    /// On what kind of capacity its tasks run.
    pub launch: Launch,
    /// Who deploys it.
    pub deployment_controller: DeploymentController,
    /// How the controller `ECS` deploys it.
    pub deployment_strategy: DeploymentStrategy,
    /// Whether ECS manages the service as a whole (express services).
    pub managed_by_ecs: bool,
    /// How many tasks its owner wants.
    pub desired_count: u32,
    /// Tasks in RUNNING.
    pub running_count: u32,
    /// Tasks in PENDING.
    pub pending_count: u32,
    /// Floor during a deployment, in percent of the desired count.
    pub minimum_healthy_percent: u32,
    /// Ceiling during a deployment, in percent of the desired count.
    pub maximum_percent: u32,
    /// In order; empty means ECS's default (zone, then container instance).
    pub placement_strategy: Vec<PlacementStrategy>,
    /// The service's own; its task definition may add more.
    pub placement_constraints: Vec<PlacementConstraint>,
    /// Whether ECS evens out the availability zones by itself.
    pub availability_zone_rebalancing: bool,
    /// When ECS last told that it is at that, unless it has told since that it has ended.
    pub availability_zone_rebalancing_began: Option<Timestamp>,
    /// The newest event that tells of a task that found no place or could not start.
    pub newest_failure: Option<ServiceEvent>,
    /// Newest first as ECS gives them; more than one means that a deployment is under way.
    pub deployments: Vec<Deployment>,
    /// Number of task sets (controllers CODE_DEPLOY and EXTERNAL).
    pub task_sets: u32,
    /// The definition that new tasks are started from.
    pub task_definition: TaskDefinitionArn,
    /// ARNs of the target groups that its tasks are registered in: for each, those of which one is live (blue/green has two).
    pub target_groups: Vec<Vec<String>>,
    /// Names of Classic Load Balancers, where they are still used.
    pub classic_load_balancers: Vec<String>,
    /// How long health checks of load balancers are ignored after a start.
    pub health_check_grace_period_seconds: u32,
    /// Whether VPC Lattice or a gateway of ECS's sends it requests: neither tells this job which of its tasks are healthy.
    pub has_health_elsewhere: bool,
    /// The subnets that its tasks in network mode `awsvpc` may have their network interfaces in.
    pub subnets: BTreeSet<String>,
    /// Which capacity providers it uses, and how its tasks are shared out over them; empty where it names a launch type.
    pub capacity_provider_strategy: Vec<ProviderShare>,
    /// Names of the volumes that ECS makes for each of its tasks, by its newest deployment.
    pub volume_configurations: BTreeSet<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// One entry of a capacity provider strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderShare {
    /// The capacity provider's name.
    pub provider: String,
    /// So many tasks run on it before any go by weight.
    pub base: u32,
    /// Its part of the tasks beyond the base, of the sum of all weights.
    pub weight: u32,
}

/// Something that ECS told about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    /// When.
    pub at: Timestamp,
    /// In ECS's words.
    pub message: String,
}

/// Whether a service lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceStatus {
    /// Runs.
    Active,
    /// Is being deleted.
    Draining,
    /// Deleted.
    Inactive,
    /// A status that this version doesn't know.
    Unknown(String),
}

/// How many tasks a service has, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchedulingStrategy {
    /// As many as desired.
    Replica,
    /// One on every container instance.
    Daemon,
    /// A strategy that this version doesn't know.
    Unknown(String),
}

/// On what kind of capacity a task or a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// EC2 container instances, by launch type or by Auto Scaling group capacity providers.
    Ec2,
    /// Fargate: no container instances to be uneven on.
    Fargate,
    /// ECS Anywhere.
    External,
    /// ECS Managed Instances: placed and consolidated by ECS itself.
    ManagedInstances,
    /// A launch type that this version doesn't know.
    Unknown(String),
}

/// Who deploys a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentController {
    /// ECS itself.
    Ecs,
    /// AWS CodeDeploy (blue/green).
    CodeDeploy,
    /// A controller outside AWS.
    External,
    /// A controller that this version doesn't know.
    Unknown(String),
}

/// How ECS deploys a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeploymentStrategy {
    /// Task by task, within the percentages.
    Rolling,
    /// Two sets of tasks for a time: BLUE_GREEN, LINEAR, CANARY, by ECS's name.
    Shifting(String),
}

/// One deployment of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `ecs-svc/…`, which its tasks carry as `startedBy`.
    pub id: String,
    /// PRIMARY, ACTIVE or INACTIVE.
    pub status: String,
    /// IN_PROGRESS, COMPLETED, FAILED; empty where ECS gives none.
    pub rollout_state: String,
    /// What its tasks are started from.
    pub task_definition: TaskDefinitionArn,
    /// Tasks that failed to start, one after another.
    pub failed_tasks: u32,
    /// When it began.
    pub created_at: Option<Timestamp>,
    /// When ECS last changed it.
    pub updated_at: Option<Timestamp>,
}

/// One entry of a placement strategy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlacementStrategy {
    /// Spread over a field.
    Spread(SpreadField),
    /// Packed by `cpu` or `memory`.
    Binpack(String),
    /// Anywhere.
    Random,
    /// A type that this version doesn't know.
    Unknown(String),
}

/// What a spread is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpreadField {
    /// `instanceId`, or its synonym `host`.
    InstanceId,
    /// `attribute:NAME`.
    Attribute(String),
}

/// A condition on the container instances that may take a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlacementConstraint {
    /// Each task of the service on another container instance.
    DistinctInstance,
    /// An expression of the cluster query language that the container instance must fulfil.
    MemberOf(String),
    /// A type that this version doesn't know.
    Unknown(String),
}

/// A task whose desired status is RUNNING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its ARN.
    pub arn: TaskArn,
    /// The service that it belongs to, from its group `service:NAME`.
    pub service: Option<ServiceName>,
    /// Its group as ECS gives it.
    pub group: Arc<str>,
    /// Absent on Fargate and before placement.
    pub container_instance: Option<ContainerInstanceArn>,
    /// What it was started from.
    pub task_definition: TaskDefinitionArn,
    /// The capacity provider that it was started on, where a strategy named one.
    pub capacity_provider: Option<String>,
    /// On what kind of capacity it runs.
    pub launch: Launch,
    /// How far it is.
    pub last_status: TaskStatus,
    /// From the health checks of its essential containers: as long as one of them has none, `Unknown` for ever [API, Task].
    pub health: Health,
    /// The containers that are healthy by themselves; empty where the whole task is.
    pub healthy_containers: Vec<Arc<str>>,
    /// The deployment that started it, or free text.
    pub started_by: Arc<str>,
    /// Ports of the container instance that its containers are bound to; with the instance's id they name its targets.
    pub host_ports: BTreeSet<u16>,
    /// Whether it has, or waits for, a network interface of the container instance's (`awsvpc`).
    pub takes_network_interface: bool,
    /// Addresses of its own network interfaces (`awsvpc`), which name its targets.
    pub addresses: BTreeSet<String>,
    /// Reserved, where the task itself says so; else the containers' sum counts.
    pub cpu_units: Option<u32>,
    /// Reserved, where the task itself says so; else the containers' sum counts.
    pub memory_mib: Option<u32>,
    /// When it was asked for.
    pub created_at: Option<Timestamp>,
    /// When it reached RUNNING.
    pub started_at: Option<Timestamp>,
    /// Whether it was protected from scale-in before this run began. Asked only of the tasks of services that are to be moved.
    pub is_protected: bool,
}

/// How far a task is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// Waiting for capacity or a network interface.
    Provisioning,
    /// Waiting for the agent.
    Pending,
    /// Being pulled, created and registered.
    Activating,
    /// At work.
    Running,
    /// DEACTIVATING and all that follows.
    Stopping,
    /// Over.
    Stopped,
    /// A status that this version doesn't know.
    Unknown(String),
}

/// What the health checks of a task's containers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every essential container that is checked is healthy.
    Healthy,
    /// At least one is not.
    Unhealthy,
    /// No check, or not yet decided. Not a fault.
    Unknown,
}

/// What the planner needs of a task definition: what a task started from it asks of a container instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDefinition {
    /// Its ARN.
    pub arn: TaskDefinitionArn,
    /// What a task reserves: the task's own size, else the containers' sum.
    pub reserves: Capacity,
    /// Static host ports.
    pub tcp_host_ports: BTreeSet<u16>,
    /// Static host ports.
    pub udp_host_ports: BTreeSet<u16>,
    /// Network mode `awsvpc`: a task takes a network interface of the instance.
    pub takes_network_interface: bool,
    /// `memberOf` expressions, binding beside the service's own.
    pub placement_constraints: Vec<PlacementConstraint>,
    /// Attributes that the container instance must have, with the value where one is asked.
    pub required_attributes: BTreeMap<String, Option<String>>,
    /// `ecs.os-family` that is asked, as `LINUX` or `WINDOWS_SERVER_2022_CORE`.
    pub os_family: Option<String>,
    /// `ecs.cpu-architecture` that is asked: `X86_64` or `ARM64`.
    pub cpu_architecture: Option<String>,
    /// The essential containers that have a health check.
    pub checked_containers: BTreeSet<String>,
    /// Devices that its containers ask for and this version can't count.
    pub devices: Option<Devices>,
    /// Where its containers may keep data.
    pub volumes: Vec<Volume>,
}

/// Devices of a container instance that are no whole number of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Devices {
    /// GPU `ALL`: those that the instance has.
    AllGpus,
    /// A part of a GPU (NVIDIA MPS).
    SharedGpu,
    /// AWS Neuron devices.
    Neuron,
    /// Elastic Inference accelerators.
    InferenceAccelerators,
    /// A type that this version doesn't know.
    Unknown,
}

impl fmt::Display for Devices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AllGpus => "all GPUs of a container instance",
            Self::SharedGpu => "a part of a GPU",
            Self::Neuron => "AWS Neuron devices",
            Self::InferenceAccelerators => "Elastic Inference accelerators",
            Self::Unknown => "devices of an unknown type",
        })
    }
}

/// A volume of a task definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is on.
    pub kind: VolumeKind,
    /// Whether every container that is known to mount it mounts it read-only.
    pub is_read_only: bool,
}

/// What a volume is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory that Docker makes for the task.
    Task,
    /// A path of the container instance.
    HostPath(String),
    /// A Docker volume.
    Docker {
        /// `local`, or a plugin; empty is `local`.
        driver: String,
        /// The driver's option `type`.
        kind: String,
        /// The driver's option `device`.
        device: String,
        /// The driver's option `o`.
        options: String,
        /// Scope `shared`: it outlives the task.
        is_shared: bool,
    },
    /// EFS, FSx or S3 Files.
    NetworkFileSystem,
    /// A volume that ECS makes for each task, as the service says.
    AtLaunch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_in_the_order_of_their_text() {
        let cluster = "arn:aws:ecs:eu-central-1:111122223333:task/web";
        let long = |id: &str| format!("{cluster}/{id}");
        // Short and long ones, some that begin alike, and some that are no ARNs.
        let tasks = [long("0a"), long("0a1b2c3d4e"), long("0a1b2c3d4f"), long("f0"), long(""), String::new()];
        let others = ["foreseen/web/1", "foreseen/web/10", "foreseen/web/2", "i-1", "tried/1"].map(str::to_owned);
        let mut texts: Vec<String> = tasks.into_iter().chain(others).collect();
        let mut arns: Vec<TaskArn> = texts.iter().rev().map(|text| text.as_str().into()).collect();
        arns.sort();
        texts.sort();
        assert_eq!(arns.iter().map(TaskArn::as_str).collect::<Vec<_>>(), texts);
        assert_eq!(format!("{:?}", arns[0]), "TaskArn(\"\")");
    }

    #[test]
    fn arns_that_differ_before_their_id_are_not_equal() {
        let [one, other] = ["a", "b"].map(|name| ContainerInstanceArn::from(format!("arn:aws:ecs:{name}/0").as_str()));
        assert!(one < other);
    }
}
