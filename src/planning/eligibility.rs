//! May this service, this task, be moved now? Every guard is here, none elsewhere; each says its reason.

use std::fmt;

use super::{
    marks::{LAST_TAG, LastMark, SURGE_TAG, is_steering},
    model::{
        Cluster, ContainerInstanceArn, DeploymentController, DeploymentStrategy, Health, Launch, SchedulingStrategy,
        Service, ServiceStatus, Task, TaskStatus, Timestamp,
    },
    placement::Index,
    policy::Policy,
    room::{Resource, Shortage},
    settings::{ServiceSettings, TagProblem},
};

/// A service whose moves did not help is left alone for the cooldown, doubled each time, but never longer than this.
const LONGEST_BACK_OFF_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;

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
            Self::UnknownStrategy(name) => write!(formatter, "unknown placement strategy {name:?}"),
            Self::UnknownConstraint(name) => write!(formatter, "unknown type of placement constraint {name:?}"),
            Self::UnreadableConstraint { expression, error } => {
                write!(formatter, "its constraint {expression:?} can't be read: {error}")
            }
        }
    }
}

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
            Self::Controller(_) => "deployment-controller",
            Self::Deploying => "deploying",
            Self::DeploymentFailed(_) => "deployment-failed",
            Self::MarkedByRun => "marked-by-run",
            Self::ShortArn => "short-arn",
            Self::CountsDiffer { .. } => "counts-differ",
            Self::Pending(_) => "pending",
            Self::Unhealthy(_) => "unhealthy",
            Self::OldTasks(_) => "old-tasks",
            Self::TooYoung { .. } => "too-young",
            Self::BackingOff { .. } => "backing-off",
            Self::ZoneRebalancingInProgress => "zone-rebalancing-in-progress",
            Self::LeftToZoneRebalancing => "left-to-zone-rebalancing",
            Self::NoRoom(_) => "no-room",
            Self::NoSlack(_) => "no-slack",
        }
    }

    /// One of each, for tests that the documents name them all.
    pub fn examples() -> Vec<Self> {
        let problem =
            TagProblem { key: "ecs-rebalancer:max-moves", value: "few".to_owned(), allowed: "a whole number" };
        let shortage = Shortage { closest: Some("i-1".to_owned()), resource: Resource::Memory, by: 256 };
        vec![
            Self::NotIncluded,
            Self::OptedOut,
            Self::UnreadableTag(problem),
            Self::NotActive("being deleted".to_owned()),
            Self::ManagedByEcs,
            Self::Controller("CODE_DEPLOY".to_owned()),
            Self::Deploying,
            Self::DeploymentFailed("FAILED".to_owned()),
            Self::MarkedByRun,
            Self::ShortArn,
            Self::CountsDiffer { running: 3, desired: 4 },
            Self::Pending(1),
            Self::Unhealthy(1),
            Self::OldTasks(1),
            Self::TooYoung { seconds_left: 60 },
            Self::BackingOff { misses: 2, seconds_left: 600 },
            Self::ZoneRebalancingInProgress,
            Self::LeftToZoneRebalancing,
            Self::NoRoom(shortage),
            Self::NoSlack(100),
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
            Self::Controller(name) => write!(formatter, "its deployment controller is {name}"),
            Self::Deploying => formatter.write_str("a deployment is under way"),
            Self::DeploymentFailed(state) => write!(formatter, "its newest deployment is {state}"),
            Self::MarkedByRun => formatter.write_str("another run is at work on it, or left something behind"),
            Self::ShortArn => formatter.write_str("its ARN has the old short form, which can't be tagged"),
            Self::CountsDiffer { running, desired } => write!(formatter, "{running} tasks run, {desired} are desired"),
            Self::Pending(tasks) => write!(formatter, "{tasks} of its tasks are starting"),
            Self::Unhealthy(tasks) => write!(formatter, "{tasks} of its tasks are unhealthy"),
            Self::OldTasks(tasks) => write!(formatter, "{tasks} of its tasks are from an older deployment"),
            Self::TooYoung { seconds_left } => {
                write!(formatter, "it changed within the cooldown, which lasts {seconds_left} s more")
            }
            Self::BackingOff { misses, seconds_left } => {
                write!(formatter, "moving did not help {misses} times in a row; left alone for {seconds_left} s more")
            }
            Self::ZoneRebalancingInProgress => formatter.write_str("ECS is evening out its zones just now"),
            Self::LeftToZoneRebalancing => formatter.write_str("between zones: left to ECS's own zone rebalancing"),
            Self::NoRoom(shortage) => write!(formatter, "{shortage}"),
            Self::NoSlack(percent) => {
                write!(formatter, "strategy stop, and its minimumHealthyPercent of {percent} allows no task fewer")
            }
        }
    }
}

/// Why a service is not measured, as far as the service and its tasks tell. Strategy and constraints are read elsewhere.
pub fn unmeasured(service: &Service, tasks: &[&Task]) -> Option<Unmeasured> {
    match &service.scheduling_strategy {
        SchedulingStrategy::Replica => {}
        SchedulingStrategy::Daemon => return Some(Unmeasured::Daemon),
        SchedulingStrategy::Unknown(name) => return Some(Unmeasured::UnknownSchedulingStrategy(name.clone())),
    }
    // A capacity provider strategy doesn't tell the kind of its providers; the tasks do.
    std::iter::once(&service.launch).chain(tasks.iter().map(|task| &task.launch)).find_map(|launch| match launch {
        Launch::Ec2 => None,
        Launch::Fargate => Some(Unmeasured::Fargate),
        Launch::External => Some(Unmeasured::External),
        Launch::ManagedInstances => Some(Unmeasured::ManagedInstances),
        Launch::Unknown(name) => Some(Unmeasured::UnknownLaunchType(name.clone())),
    })
}

/// Whether the container instance of the event that launched a run has just become usable: ACTIVE, agent connected, and no task
/// on it but those of daemons. Every start and stop of a task sends such an event, a run's own moves too.
///
/// # Errors
/// Why the run is not wanted.
pub fn trigger(cluster: &Cluster, arn: &ContainerInstanceArn) -> Result<(), String> {
    let Some(instance) = cluster.container_instances.get(arn) else {
        return Err(format!("container instance {} is not in the cluster (any more)", arn.short()));
    };
    if !instance.is_usable() {
        return Err(format!("container instance {} is not ACTIVE with its agent connected", arn.short()));
    }
    if !Index::new(cluster).is_empty(instance) {
        return Err(format!("container instance {} has tasks already: it has not just joined", arn.short()));
    }
    Ok(())
}

/// Why a service, as a whole, may not be moved now.
pub fn blocked(service: &Service, tasks: &[&Task], policy: &Policy, now: Timestamp) -> Option<Blocked> {
    by_owner(service, policy)
        .or_else(|| by_kind(service))
        .or_else(|| by_deployment(service, tasks))
        .or_else(|| by_state(service, tasks))
        .or_else(|| by_time(service, policy, now))
}

/// How many of a service's desired tasks ECS has not even placed. Those that wait for a capacity provider's instances are
/// asked for already, and not among them.
pub fn lacking_tasks(service: &Service, tasks: &[&Task]) -> u32 {
    service.desired_count.saturating_sub(count(tasks.len()))
}

/// Why no room is made for the tasks that a service lacks. Nothing is done to the service itself, so less stands against it than
/// against moving it: its first deployment may well be under way because its tasks fit nowhere.
pub fn not_helped(service: &Service, tasks: &[&Task], policy: &Policy, now: Timestamp) -> Option<Blocked> {
    let of_kind = || by_kind(service).filter(|blocked| *blocked != Blocked::ShortArn);
    if let Some(blocked) = by_owner(service, policy).or_else(of_kind) {
        return Some(blocked);
    }
    match by_deployment(service, tasks) {
        Some(Blocked::Deploying) if service.deployments.len() == 1 && service.task_sets == 0 => {}
        Some(blocked) => return Some(blocked),
        None => {}
    }
    if service.availability_zone_rebalancing_in_progress {
        return Some(Blocked::ZoneRebalancingInProgress);
    }
    by_time(service, policy, now).filter(|blocked| matches!(blocked, Blocked::BackingOff { .. }))
}

fn by_owner(service: &Service, policy: &Policy) -> Option<Blocked> {
    if !policy.services.admits(&service.name) {
        return Some(Blocked::NotIncluded);
    }
    match ServiceSettings::of(service, policy) {
        Err(problem) => Some(Blocked::UnreadableTag(problem)),
        Ok(settings) if !settings.enabled => Some(Blocked::OptedOut),
        Ok(_) => None,
    }
}

fn by_kind(service: &Service) -> Option<Blocked> {
    match &service.status {
        ServiceStatus::Active => {}
        ServiceStatus::Draining => return Some(Blocked::NotActive("being deleted".to_owned())),
        ServiceStatus::Inactive => return Some(Blocked::NotActive("deleted".to_owned())),
        ServiceStatus::Unknown(status) => return Some(Blocked::NotActive(format!("in the unknown state {status:?}"))),
    }
    if service.managed_by_ecs {
        return Some(Blocked::ManagedByEcs);
    }
    match &service.deployment_controller {
        DeploymentController::Ecs => {}
        DeploymentController::CodeDeploy => return Some(Blocked::Controller("CODE_DEPLOY".to_owned())),
        DeploymentController::External => return Some(Blocked::Controller("EXTERNAL".to_owned())),
        DeploymentController::Unknown(name) => return Some(Blocked::Controller(name.clone())),
    }
    // arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME; the old form lacks the cluster [API, TagResource].
    (service.arn.split('/').count() < 3).then_some(Blocked::ShortArn)
}

fn by_deployment(service: &Service, tasks: &[&Task]) -> Option<Blocked> {
    if service.tags.contains_key(SURGE_TAG) || service.placement_constraints.iter().any(is_steering) {
        return Some(Blocked::MarkedByRun);
    }
    let newest = service.deployments.iter().find(|deployment| deployment.status == "PRIMARY");
    let rollout = newest.map_or("", |deployment| deployment.rollout_state.as_str());
    if service.deployments.len() > 1 || service.task_sets > 0 || rollout == "IN_PROGRESS" {
        return Some(Blocked::Deploying);
    }
    // A shifting deployment ends with one deployment like any other; only while it runs there are two sets of tasks.
    match (&service.deployment_strategy, rollout) {
        (DeploymentStrategy::Rolling | DeploymentStrategy::Shifting(_), "" | "COMPLETED") => {}
        (_, other) => return Some(Blocked::DeploymentFailed(other.to_owned())),
    }
    // With early success criteria a deployment is COMPLETED while old tasks still run.
    let newest = newest?;
    let old =
        tasks.iter().filter(|task| task.started_by.starts_with("ecs-svc/") && *task.started_by != *newest.id).count();
    (old > 0).then(|| Blocked::OldTasks(count(old)))
}

fn by_state(service: &Service, tasks: &[&Task]) -> Option<Blocked> {
    if service.availability_zone_rebalancing_in_progress {
        return Some(Blocked::ZoneRebalancingInProgress);
    }
    if service.pending_count > 0 {
        return Some(Blocked::Pending(service.pending_count));
    }
    let starting = tasks
        .iter()
        .filter(|task| {
            matches!(task.last_status, TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating)
        })
        .count();
    if starting > 0 {
        return Some(Blocked::Pending(count(starting)));
    }
    if service.running_count != service.desired_count {
        return Some(Blocked::CountsDiffer { running: service.running_count, desired: service.desired_count });
    }
    let unhealthy = tasks.iter().filter(|task| task.health == Health::Unhealthy).count();
    (unhealthy > 0).then(|| Blocked::Unhealthy(count(unhealthy)))
}

fn by_time(service: &Service, policy: &Policy, now: Timestamp) -> Option<Blocked> {
    let cooldown = i64::try_from(policy.cooldown.as_millis()).unwrap_or(i64::MAX);
    let left = |since: Timestamp, span: i64| {
        let left = span.saturating_sub(now.milliseconds_since(since));
        u64::try_from(left).ok().filter(|left| *left > 0).map(|left| left.div_ceil(1000))
    };
    let newest_deployment = service.deployments.iter().filter_map(|deployment| deployment.created_at).max();
    if let Some(seconds_left) = newest_deployment.and_then(|created| left(created, cooldown)) {
        return Some(Blocked::TooYoung { seconds_left });
    }
    let last = service.tags.get(LAST_TAG).and_then(|value| LastMark::parse(value))?;
    if last.misses == 0 {
        return left(last.at, cooldown).map(|seconds_left| Blocked::TooYoung { seconds_left });
    }
    let factor = 2_i64.saturating_pow(last.misses);
    // At least a minute: a cooldown of 0 must not turn the back-off off.
    let span = cooldown.max(60_000).saturating_mul(factor).min(LONGEST_BACK_OFF_MILLISECONDS);
    left(last.at, span).map(|seconds_left| Blocked::BackingOff { misses: last.misses, seconds_left })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
