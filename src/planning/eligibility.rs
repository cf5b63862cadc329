//! May this service, this task, be moved now? Every guard is here, none elsewhere; each says its reason.

use super::{
    bounds, data,
    model::{
        Cluster, ContainerInstanceArn, DeploymentController, DeploymentStrategy, Health, Launch, SchedulingStrategy,
        Service, ServiceStatus, Task, TaskDefinition, TaskStatus, Timestamp,
    },
    notes::{LastNote, SURGE_TAG, is_steering},
    placement::{Index, Requirement},
    policy::{Policy, Strategy},
    readiness::is_checked,
    settings::ServiceSettings,
};

pub use super::reason::{Blocked, Unmeasured};

/// A service whose moves did not help is left alone for the cooldown, doubled each time, but never longer than this.
const LONGEST_BACK_OFF_MILLISECONDS: i64 = 24 * 60 * 60 * 1000;

/// ECS tells at each task that it starts or stops that it evens out the zones; where it has not for so long, it has given up
/// without a word.
const LONGEST_ZONE_REBALANCING_MILLISECONDS: i64 = 30 * 60 * 1000;

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
pub fn blocked(
    service: &Service,
    definition: Option<&TaskDefinition>,
    tasks: &[&Task],
    policy: &Policy,
    now: Timestamp,
) -> Option<Blocked> {
    by_owner(service, policy)
        .or_else(|| by_kind(service))
        .or_else(|| by_data(service, definition, policy))
        .or_else(|| by_condition(service, tasks, policy, now))
}

/// The same of a service that is spread: its task definition is read only once it isn't, so what its tasks keep is left open.
pub fn would_be_blocked(service: &Service, tasks: &[&Task], policy: &Policy, now: Timestamp) -> Option<Blocked> {
    by_owner(service, policy).or_else(|| by_kind(service)).or_else(|| by_condition(service, tasks, policy, now))
}

fn by_condition(service: &Service, tasks: &[&Task], policy: &Policy, now: Timestamp) -> Option<Blocked> {
    by_deployment(service, tasks)
        .or_else(|| by_state(service, tasks, now))
        .or_else(|| by_time(service, policy, now))
        .or_else(|| by_deadline(service, policy))
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
    if is_rebalancing_zones(service, now) {
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

fn by_data(service: &Service, definition: Option<&TaskDefinition>, policy: &Policy) -> Option<Blocked> {
    let Some(definition) = definition else { return Some(Blocked::UnknownTaskDefinition) };
    let may_move = ServiceSettings::of(service, policy).is_ok_and(|settings| settings.move_data);
    data::kept(service, definition)
        .filter(|_| !may_move)
        .map(Blocked::KeepsData)
        .or_else(|| definition.devices.map(Blocked::Gpus))
}

/// Who knows which of a service's tasks are healthy, and doesn't tell this job.
fn health_elsewhere(service: &Service) -> Option<&'static str> {
    if !service.classic_load_balancers.is_empty() {
        return Some("its Classic Load Balancer");
    }
    service.has_health_elsewhere.then_some("VPC Lattice")
}

/// Why no task of a service can be started on top of those that are desired, with all but the victims protected. The requirements
/// say which container instances may take its tasks.
pub fn no_surge<'r>(
    index: &Index<'_>,
    service: &Service,
    definition: Option<&TaskDefinition>,
    requirements: impl Iterator<Item = &'r Requirement<'r>>,
) -> Option<Blocked> {
    if bounds::on_top(service) == 0 {
        let (percent, desired) = (service.maximum_percent, service.desired_count);
        return Some(Blocked::AtMaximum { percent, desired, minimum: None });
    }
    if !is_checked(service, definition)
        && let Some(by) = health_elsewhere(service)
    {
        return Some(Blocked::HealthElsewhere { by });
    }
    let mut old_agents =
        requirements.flat_map(|it| index.old_agents().filter(|instance| index.would_admit(it, instance)));
    old_agents.next().map(|instance| Blocked::OldAgent {
        instance: instance.label().to_owned(),
        version: instance.agent_version.clone(),
    })
}

/// Whether ECS moves all tasks of the service at once, by a deployment.
pub fn by_deploying(service: &Service, policy: &Policy) -> bool {
    matches!(strategy(service, policy), Strategy::Redeploy | Strategy::Revision)
}

/// Whether a surge may move tasks of the service.
pub fn may_surge(service: &Service, policy: &Policy) -> bool {
    matches!(strategy(service, policy), Strategy::Auto | Strategy::Surge)
}

/// Whether nothing but a surge moves tasks of the service.
pub fn only_by_surge(service: &Service, policy: &Policy) -> bool {
    match strategy(service, policy) {
        Strategy::Auto => !bounds::may_stop_first(service),
        Strategy::Surge => true,
        Strategy::Stop | Strategy::Redeploy | Strategy::Revision => false,
    }
}

/// Why no task of a service that is to be moved by stopping first may be stopped: its owner wants all of them healthy.
pub fn no_slack(service: &Service, policy: &Policy) -> Option<Blocked> {
    let stops = strategy(service, policy) == Strategy::Stop;
    (stops && bounds::floor(service) >= service.desired_count)
        .then_some(Blocked::NoSlack(service.minimum_healthy_percent))
}

/// Why no deployment of the service would go forward: its owner allows neither one task more than are desired nor one fewer.
pub fn no_deployment(service: &Service) -> Option<Blocked> {
    (!bounds::may_deploy(service)).then_some(Blocked::AtMaximum {
        percent: service.maximum_percent,
        desired: service.desired_count,
        minimum: Some(service.minimum_healthy_percent),
    })
}

/// By which strategy a service is moved: its owner's tag says so, or else the run's settings.
fn strategy(service: &Service, policy: &Policy) -> Strategy {
    ServiceSettings::of(service, policy).map_or(policy.strategy, |settings| settings.strategy)
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

/// Whether ECS is evening out the zones: it told so, not of the end, and not long ago.
fn is_rebalancing_zones(service: &Service, now: Timestamp) -> bool {
    let began = service.availability_zone_rebalancing_began.filter(|_| service.availability_zone_rebalancing);
    began.is_some_and(|began| now.milliseconds_since(began) < LONGEST_ZONE_REBALANCING_MILLISECONDS)
}

fn by_state(service: &Service, tasks: &[&Task], now: Timestamp) -> Option<Blocked> {
    if is_rebalancing_zones(service, now) {
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
    // A note that no run can have written keeps nobody; the report tells of it.
    let last = LastNote::of(service, now).ok().flatten()?;
    if last.misses == 0 {
        return left(last.at, cooldown).map(|seconds_left| Blocked::TooYoung { seconds_left });
    }
    let factor = 2_i64.saturating_pow(last.misses);
    // At least a minute: a cooldown of 0 must not turn the back-off off.
    let span = cooldown.max(60_000).saturating_mul(factor).min(LONGEST_BACK_OFF_MILLISECONDS);
    left(last.at, span).map(|seconds_left| Blocked::BackingOff { misses: last.misses, seconds_left })
}

fn by_deadline(service: &Service, policy: &Policy) -> Option<Blocked> {
    let settings = ServiceSettings::of(service, policy).ok()?;
    let needed = bounds::deadline_needed(service, &settings, policy, policy.deadline)?;
    Some(Blocked::DeadlineTooShort {
        wait_seconds: bounds::start_wait(service, &settings, policy).as_secs(),
        needed_minutes: needed.as_secs().div_ceil(60),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
