//! A task's life: pull and start, health checks, targets, draining, stop. [ECS developer guide, "Task lifecycle"]

use std::{collections::BTreeMap, time::Duration};

use crate::{
    moment::Moment,
    state::{Definition, Gpus, Instance, SETTLING_MILLISECONDS, Service, Status, Target, Task},
    world::{Due, World, milliseconds},
};

/// Pulling and starting a container, in milliseconds.
const START: (i64, i64) = (4_000, 25_000);
/// Until the health checks of containers are passed.
const CHECK: (i64, i64) = (10_000, 20_000);
/// Until a task that fits beside those that end can be started there, it looks again so often.
const RETRY: i64 = 2_000;
/// The stop code of a task that somebody stopped by StopTask.
pub(crate) const BY_HAND: &str = "UserInitiated";
/// From the stop signal to the end.
const STOP: (i64, i64) = (1_000, 8_000);
/// How long a container of a broken image runs.
const CRASH: i64 = 8_000;
/// The largest factor on a start-up time: beyond that nothing starts in any rehearsal.
const SLOWEST: f64 = 1_000.0;
/// How long a stopped task can still be described [API, DescribeTasks].
const DESCRIBABLE: i64 = 3_600_000;
/// Consecutive checks that a target fails until it is unhealthy [Elastic Load Balancing, "Health checks for your target groups"].
pub(crate) const FAILED_CHECKS: i64 = 2;

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    /// Its service's name, if it has one.
    pub(crate) service: Option<&'a str>,
    /// `service:NAME`, or any other.
    pub(crate) group: String,
    /// A deployment's id, or free text.
    pub(crate) started_by: &'a str,
    /// The ARN of the task definition.
    pub(crate) definition: &'a str,
    /// EC2, or another.
    pub(crate) launch_type: &'a str,
    /// The first of the strategy's providers, if there is a strategy.
    pub(crate) provider: Option<&'a str>,
    /// Whether its targets are registered in the second of each pair of target groups.
    pub(crate) in_alternate: bool,
    /// By key.
    pub(crate) tags: BTreeMap<String, String>,
}

impl<'a> Start<'a> {
    /// The next task of a service.
    pub(crate) fn of(service: &'a Service, definition: &'a str) -> Self {
        Self {
            service: Some(&service.name),
            group: service.group(),
            started_by: service.newest_deployment(),
            definition,
            launch_type: service.launch_type.as_deref().unwrap_or("EC2"),
            provider: service.capacity_provider_strategy.first().map(|(name, ..)| name.as_str()),
            in_alternate: service.deployments.first().is_some_and(|deployment| deployment.in_alternate),
            tags: BTreeMap::new(),
        }
    }
}

/// Starts a task on an instance or (Fargate) on none, and gives its ARN.
pub(crate) fn start(world: &mut World, start: &Start<'_>, instance: Option<&str>) -> String {
    let (arn, _) = world.new_arn("task");
    let number = u32::try_from(world.between(1, 1 << 24)).unwrap_or(1);
    let instance = instance.and_then(|arn| world.state.instances.get(arn));
    let is_managed = instance.is_some_and(|instance| world.state.is_managed(instance));
    let gpus = instance.map(|instance| free_gpus(world, instance, start.definition)).unwrap_or_default();
    let provider = start.provider.map(|first| {
        instance.and_then(|instance| instance.capacity_provider.clone()).unwrap_or_else(|| first.to_owned())
    });
    let mut task = Task {
        arn: arn.clone(),
        service: start.service.map(str::to_owned),
        group: start.group.clone(),
        instance: instance.map(|instance| instance.arn.clone()),
        definition: start.definition.to_owned(),
        started_by: start.started_by.to_owned(),
        launch_type: if is_managed { "MANAGED_INSTANCES" } else { start.launch_type }.to_owned(),
        capacity_provider: provider,
        status: Status::Pending,
        wanted: true,
        health: "UNKNOWN".to_owned(),
        checks_passed: false,
        in_alternate: start.in_alternate,
        target: Target::None,
        is_replaced: false,
        fails_checks: false,
        protected_until: None,
        protection_known_at: world.now,
        host_port: 0,
        gpus,
        created_at: Some(world.now),
        started_at: None,
        stopping_at: None,
        stopped_at: None,
        stop_code: String::new(),
        stopped_reason: String::new(),
        version: 1,
        tags: start.tags.clone(),
        address: String::new(),
    };
    crate::network::assign(&mut task, number);
    world.state.insert_task(task);
    let delay = start_up(world, START);
    world.task_due_in(delay, &arn);
    if let Some(service) = start.service {
        note_start(world, service);
    }
    arn
}

/// A task that no instance has a place for waits for one that managed scaling launches. [developer guide, cluster-auto-scaling]
pub(crate) fn provision(world: &mut World, what: &Start<'_>) -> String {
    let arn = start(world, what, None);
    if let Some(task) = world.state.tasks.get_mut(&arn) {
        task.status = Status::Provisioning;
        task.version += 1;
    }
    arn
}

/// One that waited has a place.
pub(crate) fn place(world: &mut World, arn: &str, instance: &str) {
    let Some(mut task) = world.state.tasks.get(arn).cloned() else { return };
    task.instance = Some(instance.to_owned());
    task.status = Status::Pending;
    task.version += 1;
    world.state.insert_task(task);
    let delay = start_up(world, START);
    world.task_due_in(delay, arn);
}

/// Counts a start, and holds the service's tasks against its maximumPercent.
fn note_start(world: &mut World, name: &str) {
    let Some(service) = world.state.services.get(name) else { return };
    let (desired, percent) = (service.desired_count, u64::from(service.maximum_percent));
    let tasks = crate::state::count(world.state.service_tasks(name).count());
    let is_stopped_by_hand = |task: &&Task| !task.wanted && task.stop_code == BY_HAND;
    let stopped_by_hand = crate::state::count(world.state.service_tasks(name).filter(is_stopped_by_hand).count());
    let limit =
        |before: Option<u32>| u32::try_from(u64::from(before.unwrap_or(desired)) * percent / 100).unwrap_or(u32::MAX);
    world.timeline.started(name, world.now, tasks, stopped_by_hand, limit);
}

/// How long a target drains, in milliseconds.
pub(crate) fn deregistration(world: &World) -> i64 {
    match world.options.behaviour.get("deregistration-delay") {
        "0s" => 0,
        "30s" => 30_000,
        _ => 300_000,
    }
}

/// How many checks a new target has to pass, and how far apart they are in milliseconds.
pub(crate) fn target_checks(world: &World) -> (i64, i64) {
    match world.options.behaviour.get("target-checks") {
        "2x10s" => (2, 10_000),
        "5x10s" => (5, 10_000),
        _ => (5, 30_000),
    }
}

/// A task's targets are registered, and checks begin.
pub(crate) fn register_target(world: &mut World, arn: &str) {
    let (passes, interval) = target_checks(world);
    let serves_nothing = definition_of(world, arn).is_some_and(|definition| definition.serves_nothing);
    let fails = world.chance(world.options.faults.failing_targets) || serves_nothing;
    let checks = if fails { FAILED_CHECKS } else { passes };
    let first = world.between(0, interval);
    // A slow starter passes the first of them late; the others follow as far apart as ever.
    let delay = slowed(world, first) + (checks - 1) * interval;
    if let Some(task) = world.state.tasks.get_mut(arn) {
        task.target = Target::Initial;
        task.fails_checks = fails;
    }
    world.due_in(delay, Due::Target(arn.to_owned()));
}

/// The checks of a task's targets are decided.
pub(crate) fn decide_target(world: &mut World, arn: &str) {
    let Some(task) = world.state.tasks.get_mut(arn) else { return };
    if task.target != Target::Initial {
        return;
    }
    task.target = if task.fails_checks { Target::Failing } else { Target::Healthy };
    let service = task.service.clone().unwrap_or_default();
    if task.target == Target::Healthy
        && let Some(service) = world.state.services.get_mut(&service)
    {
        service.failed_starts = 0;
    }
    world.note_counts(&service);
    world.wake(&service);
}

/// Which of a pair of target groups is live, a service doesn't tell.
fn choose_live_groups(world: &mut World) {
    if world.options.behaviour.get("live-target-group") == "second" {
        for service in world.state.services.values_mut().filter(|service| service.swaps()) {
            service.deployments.iter_mut().for_each(|deployment| deployment.in_alternate = true);
        }
        for task in world.state.tasks.values_mut() {
            task.in_alternate = true;
        }
    }
}

/// What was under way when the cluster was looked at goes on.
pub(crate) fn resume(world: &mut World) {
    choose_live_groups(world);
    let is_under_way = |task: &&Task| task.status != Status::Stopped;
    let tasks: Vec<(String, Status)> =
        world.state.tasks.values().filter(is_under_way).map(|task| (task.arn.clone(), task.status)).collect();
    for (arn, status) in tasks {
        match status {
            Status::Running => {
                let delay = world.between(CHECK.0, CHECK.1);
                if world.state.awaits_checks(&arn) {
                    world.due_in(delay, Due::Health(arn.clone()));
                }
                if world.state.tasks.get(&arn).is_some_and(|task| task.target == Target::Initial) {
                    world.due_in(delay, Due::Target(arn));
                }
            }
            Status::Provisioning | Status::Pending | Status::Activating => {
                let delay = start_up(world, START);
                world.task_due_in(delay, &arn);
            }
            Status::Deactivating => world.task_due_in(deregistration(world), &arn),
            Status::Stopping | Status::Deprovisioning | Status::Stopped => {
                let delay = world.between(STOP.0, STOP.1);
                world.task_due_in(delay, &arn);
            }
        }
    }
}

fn start_up(world: &mut World, (low, high): (i64, i64)) -> i64 {
    let delay = world.between(low, high);
    slowed(world, delay)
}

fn slowed(world: &World, milliseconds: i64) -> i64 {
    let delay = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    let factor = world.options.faults.slow_start;
    let delay = if factor > 0.0 { delay.mul_f64(factor.min(SLOWEST)) } else { delay };
    i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
}

/// What a task was started from.
fn definition_of<'a>(world: &'a World, arn: &str) -> Option<&'a Definition> {
    world.state.tasks.get(arn).and_then(|task| world.state.definitions.get(&task.definition))
}

fn free_gpus(world: &World, instance: &Instance, definition: &str) -> Vec<String> {
    let asked = match world.state.definitions.get(definition).map(|definition| definition.gpus) {
        Some(Gpus::Number(number)) => number as usize,
        Some(Gpus::All) => instance.gpus.len(),
        Some(Gpus::Shared | Gpus::OtherDevices) | None => 0,
    };
    let there = world.state.instance_tasks(&instance.arn).filter(|task| task.wanted || world.stopping_counts());
    let taken: Vec<&String> = there.flat_map(|task| &task.gpus).collect();
    instance
        .gpus
        .iter()
        .filter(|gpu| !taken.contains(gpu) && !instance.other_gpus.contains(gpu))
        .take(asked)
        .cloned()
        .collect()
}

/// Goes on to the next status.
pub(crate) fn go_on(world: &mut World, arn: &str) {
    let Some(task) = world.state.tasks.get(arn) else { return };
    match task.status {
        Status::Provisioning | Status::Pending | Status::Activating if task.wanted => {
            // It was placed on what others are about to free; the agent starts it once they have [AWS, what's new, July 2023].
            if fits_beside(world, arn) { run(world, arn) } else { world.task_due_in(RETRY, arn) }
        }
        Status::Provisioning | Status::Pending | Status::Activating | Status::Stopping | Status::Deprovisioning => {
            end(world, arn);
        }
        // Only a broken image's task is due while it runs.
        Status::Running => {
            stop(world, arn, "EssentialContainerExited", "Essential container in task exited");
            let service = world.state.tasks.get(arn).and_then(|task| task.service.clone());
            if let Some(service) = service {
                fail(world, &service);
            }
        }
        Status::Deactivating => {
            if let Some(task) = world.state.tasks.get_mut(arn) {
                task.target = Target::Unused;
            }
            if world.options.behaviour.get("stop-order") == "until-2021" {
                // The scheduler stops it at its next look.
                let service = world.state.tasks.get(arn).and_then(|task| task.service.clone()).unwrap_or_default();
                world.wake(&service);
            } else {
                signal(world, arn);
            }
        }
        Status::Stopped => {}
    }
}

/// Whether a task that is about to start fits beside all that is still on its instance.
fn fits_beside(world: &World, arn: &str) -> bool {
    let Some(task) = world.state.tasks.get(arn) else { return true };
    let Some(instance) = task.instance.as_ref().and_then(|arn| world.state.instances.get(arn)) else { return true };
    let Some(definition) = world.state.definitions.get(&task.definition) else { return true };
    let there = || {
        let others = world.state.instance_tasks(&instance.arn);
        others
            .filter(|other| other.status >= Status::Running)
            .filter_map(|it| world.state.definitions.get(&it.definition))
    };
    if there().next().is_none() {
        return true;
    }
    let sum =
        |of: fn(&Definition) -> u32| there().map(|other| u64::from(of(other))).sum::<u64>() + u64::from(of(definition));
    sum(|it| it.cpu) + u64::from(instance.other_cpu) <= u64::from(instance.cpu)
        && sum(|it| it.memory) + u64::from(instance.other_memory) <= u64::from(instance.memory)
        && there().all(|other| {
            other.ports.is_disjoint(&definition.ports) && other.udp_ports.is_disjoint(&definition.udp_ports)
        })
}

/// The stop signal; its containers end before long.
pub(crate) fn signal(world: &mut World, arn: &str) {
    set(world, arn, Status::Stopping);
    let delay = world.between(STOP.0, STOP.1);
    world.task_due_in(delay, arn);
}

fn run(world: &mut World, arn: &str) {
    let share = world.options.faults.failing_start;
    let service = world.state.tasks.get(arn).and_then(|task| task.service.clone()).unwrap_or_default();
    let never_starts = definition_of(world, arn).is_some_and(|definition| definition.never_starts);
    if world.chance(share) || never_starts {
        stop(world, arn, "TaskFailedToStart", "CannotPullContainerError: failed to pull the image");
        fail(world, &service);
        return;
    }
    set(world, arn, Status::Running);
    let now = world.now;
    let has_check = definition_of(world, arn).is_some_and(|definition| definition.has_health_check);
    let has_targets = world.state.services.get(&service).is_some_and(|service| !service.target_groups.is_empty());
    if let Some(task) = world.state.tasks.get_mut(arn) {
        task.started_at = Some(now);
    }
    let broken =
        world.options.faults.broken_image.is_some_and(|from| now.0 - world.faults_since.0 >= milliseconds(from));
    if broken {
        world.task_due_in(CRASH, arn);
    } else if has_check {
        let delay = start_up(world, CHECK);
        world.due_in(delay, Due::Health(arn.to_owned()));
    } else if !has_targets {
        world.due_in(SETTLING_MILLISECONDS, Due::Settled(arn.to_owned()));
        if let Some(service) = world.state.services.get_mut(&service) {
            service.failed_starts = 0;
        }
    }
    world.note_counts(&service);
    world.wake(&service);
}

/// The checks of a running task's containers are passed.
pub(crate) fn decide_health(world: &mut World, arn: &str) {
    let Some(task) = world.state.tasks.get_mut(arn) else { return };
    if task.status != Status::Running || !task.wanted {
        return;
    }
    let all_are_checked =
        world.state.definitions.get(&task.definition).is_some_and(|definition| definition.all_are_checked);
    if all_are_checked {
        "HEALTHY".clone_into(&mut task.health);
    }
    task.checks_passed = true;
    let service = task.service.clone().unwrap_or_default();
    if let Some(service) = world.state.services.get_mut(&service)
        && service.target_groups.is_empty()
    {
        service.failed_starts = 0;
    }
    world.note_counts(&service);
    world.wake(&service);
}

/// Decides a task's end. One that the scheduler stops keeps its targets until its next look, and drains then; one that somebody
/// else stops is told to stop at once.
pub(crate) fn stop(world: &mut World, arn: &str, code: &str, reason: &str) {
    let now = world.now;
    let Some(task) = world.state.tasks.get(arn) else { return };
    if !task.wanted {
        return;
    }
    let service = task.service.clone();
    let is_registered = task.target.is_registered();
    let drains = is_registered && code == "ServiceSchedulerInitiated";
    let reaction = match (code, world.options.behaviour.get("stop-reaction")) {
        (BY_HAND, "0s") => 0,
        (BY_HAND, "10s") => 10_000,
        (BY_HAND, "40s") => 40_000,
        (BY_HAND, _) => 30_000,
        _ => 0,
    };
    let delay = world.between(STOP.0, STOP.1);
    if let Some(task) = world.state.tasks.get_mut(arn) {
        task.wanted = false;
        task.stopping_at = Some(now);
        task.status = if drains { Status::Deactivating } else { Status::Stopping };
        task.checks_passed = false;
        code.clone_into(&mut task.stop_code);
        reason.clone_into(&mut task.stopped_reason);
        task.version += 1;
        // A stopped task loses its tags [API, StopTask].
        task.tags.clear();
    }
    if !drains {
        world.task_due_in(delay, arn);
    }
    let Some(service) = service else { return };
    world.timeline.stopped(&service);
    if let Some(known) = world.state.services.get_mut(&service) {
        known.is_steady = false;
        if is_registered {
            // One that the scheduler stops is taken off at its next look.
            known.to_deregister.insert(arn.to_owned(), Moment(now.0 + reaction.max(1)));
        }
        if reaction > 0 {
            known.unnoticed.insert(arn.to_owned(), Moment(now.0 + reaction));
        }
    }
    world.note_counts(&service);
    if reaction > 0 { world.look_in(&service, reaction) } else { world.wake(&service) }
}

/// A task ends at once, with its instance.
pub(crate) fn lose(world: &mut World, arn: &str, reason: &str) {
    stop(world, arn, "TerminationNotice", reason);
    end(world, arn);
}

fn end(world: &mut World, arn: &str) {
    let now = world.now;
    world.state.forget_place(arn);
    let Some(task) = world.state.tasks.get_mut(arn) else { return };
    task.status = Status::Stopped;
    task.target = Target::Unused;
    task.stopped_at = Some(now);
    task.protected_until = None;
    task.version += 1;
    let service = task.service.clone();
    world.due_in(DESCRIBABLE, Due::Forgotten(arn.to_owned()));
    if let Some(service) = service {
        world.note_counts(&service);
        world.wake(&service);
    }
}

fn set(world: &mut World, arn: &str, status: Status) {
    if let Some(task) = world.state.tasks.get_mut(arn) {
        task.status = status;
        task.version += 1;
    }
}

/// A start that failed: back-off, failed tasks, circuit breaker.
fn fail(world: &mut World, name: &str) {
    let ceiling = if world.options.behaviour.get("back-off-ceiling") == "15m" { 15 } else { 27 } * 60_000;
    let minimum: u32 = world.options.behaviour.get("circuit-breaker-minimum").parse().unwrap_or(3);
    let now = world.now;
    let Some(service) = world.state.services.get_mut(name) else { return };
    service.failed_starts += 1;
    let back_off = (1_i64 << service.failed_starts.min(20)) * 5_000;
    service.backs_off_until = Moment(now.0 + back_off.min(ceiling));
    // Half of the desired count, from the minimum to 200 [developer guide, deployment-circuit-breaker].
    let threshold = service.desired_count.div_ceil(2).clamp(minimum, 200);
    let (breaks, rolls_back) = (service.circuit_breaker, service.rollback);
    let mut broke = None;
    if let Some(primary) = service.deployments.first_mut() {
        primary.failed_tasks += 1;
        if breaks && primary.rollout_state == "IN_PROGRESS" && primary.failed_tasks >= threshold {
            "FAILED".clone_into(&mut primary.rollout_state);
            "tasks failed to start.".clone_into(&mut primary.rollout_reason);
            broke = Some(primary.id.clone());
        }
    }
    let failed = service.failed_starts;
    if failed >= 3 {
        world.tell(name, format!("(service {name}) is unable to consistently start tasks successfully."));
    }
    if let Some(id) = broke {
        world.tell(name, format!("(service {name}) (deployment {id}) deployment failed: tasks failed to start."));
        if rolls_back {
            crate::deployments::roll_back(world, name);
        }
    }
}
