//! A task's life: pull and start, health checks, targets, draining, stop. [ECS developer guide, "Task lifecycle"]

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::{Due, Engine, milliseconds},
    state::{Instance, SETTLING_MILLISECONDS, Service, Status, Task},
};

/// Pulling and starting a container, in milliseconds.
const START: (i64, i64) = (5_000, 15_000);
/// Until the health checks of containers or targets are passed.
const CHECK: (i64, i64) = (10_000, 20_000);
/// From the stop signal to the end.
const STOP: (i64, i64) = (1_000, 8_000);
/// How long a container of a broken image runs.
const CRASH: i64 = 8_000;
/// The largest factor on a start-up time: beyond that nothing starts in any rehearsal.
const SLOWEST: f64 = 1_000.0;
/// How long a stopped task can still be described [API, DescribeTasks].
const DESCRIBABLE: i64 = 3_600_000;
/// From the end of a task until the scheduler notices.
const NOTICE: i64 = 1_000;

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
            tags: BTreeMap::new(),
        }
    }
}

/// Starts a task on an instance or (Fargate) on none, and tells its ARN.
pub(crate) fn start(engine: &mut Engine, start: &Start<'_>, instance: Option<&str>) -> String {
    let (arn, id) = engine.new_arn("task");
    let number = u32::try_from(engine.between(1, 1 << 24)).unwrap_or(1);
    let instance = instance.and_then(|arn| engine.state.instances.get(arn));
    let gpus = instance.map(|instance| free_gpus(engine, instance, start.definition)).unwrap_or_default();
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
        launch_type: start.launch_type.to_owned(),
        capacity_provider: provider,
        status: Status::Pending,
        wanted: true,
        health: "UNKNOWN".to_owned(),
        checks_passed: false,
        protected_until: None,
        protection_known_at: engine.now,
        host_port: 0,
        gpus,
        created_at: Some(engine.now),
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
    engine.state.insert_task(task);
    let delay = start_up(engine, START);
    engine.task_due_in(delay, &arn);
    if let Some(service) = start.service {
        note_start(engine, service);
        engine.tell(service, format!("(service {service}) has started 1 tasks: (task {id})."));
    }
    arn
}

/// Counts a start, and holds the service's tasks against its maximumPercent.
fn note_start(engine: &mut Engine, name: &str) {
    let Some(service) = engine.state.services.get(name) else { return };
    let (desired, percent) = (service.desired_count, u64::from(service.maximum_percent));
    let tasks = crate::state::count(engine.state.service_tasks(name).count());
    let limit =
        |before: Option<u32>| u32::try_from(u64::from(before.unwrap_or(desired)) * percent / 100).unwrap_or(u32::MAX);
    engine.timeline.started(name, engine.now, tasks, limit);
}

/// How long a target drains.
fn deregistration(engine: &Engine) -> i64 {
    match engine.options.behaviour.get("deregistration-delay") {
        "0s" => 0,
        "300s" => 300_000,
        _ => 30_000,
    }
}

/// What was under way when the cluster was looked at goes on.
pub(crate) fn resume(engine: &mut Engine) {
    let is_under_way = |task: &&Task| task.status != Status::Stopped;
    let tasks: Vec<(String, Status)> =
        engine.state.tasks.values().filter(is_under_way).map(|task| (task.arn.clone(), task.status)).collect();
    for (arn, status) in tasks {
        match status {
            Status::Running => {
                let delay = engine.between(CHECK.0, CHECK.1);
                if engine.state.awaits_checks(&arn) {
                    engine.due_in(delay, Due::Health(arn));
                }
            }
            Status::Provisioning | Status::Pending | Status::Activating => {
                let delay = start_up(engine, START);
                engine.task_due_in(delay, &arn);
            }
            Status::Deactivating => engine.task_due_in(deregistration(engine), &arn),
            Status::Stopping | Status::Deprovisioning | Status::Stopped => {
                let delay = engine.between(STOP.0, STOP.1);
                engine.task_due_in(delay, &arn);
            }
        }
    }
}

fn start_up(engine: &mut Engine, (low, high): (i64, i64)) -> i64 {
    let delay = Duration::from_millis(u64::try_from(engine.between(low, high)).unwrap_or(0));
    let factor = engine.options.faults.slow_start;
    let delay = if factor > 0.0 { delay.mul_f64(factor.min(SLOWEST)) } else { delay };
    i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
}

fn free_gpus(engine: &Engine, instance: &Instance, definition: &str) -> Vec<String> {
    let asked = engine.state.definitions.get(definition).map_or(0, |definition| definition.gpus as usize);
    let there = engine.state.instance_tasks(&instance.arn).filter(|task| task.wanted || engine.stopping_counts());
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
pub(crate) fn go_on(engine: &mut Engine, arn: &str) {
    let Some(task) = engine.state.tasks.get(arn) else { return };
    match task.status {
        Status::Provisioning | Status::Pending | Status::Activating if task.wanted => run(engine, arn),
        Status::Provisioning | Status::Pending | Status::Activating | Status::Stopping | Status::Deprovisioning => {
            end(engine, arn);
        }
        // Only a broken image's task is due while it runs.
        Status::Running => {
            stop(engine, arn, "EssentialContainerExited", "Essential container in task exited");
            let service = engine.state.tasks.get(arn).and_then(|task| task.service.clone());
            if let Some(service) = service {
                fail(engine, &service);
            }
        }
        Status::Deactivating => {
            set(engine, arn, Status::Stopping);
            let delay = engine.between(STOP.0, STOP.1);
            engine.task_due_in(delay, arn);
        }
        Status::Stopped => {}
    }
}

fn run(engine: &mut Engine, arn: &str) {
    let share = engine.options.faults.failing_start;
    let service = engine.state.tasks.get(arn).and_then(|task| task.service.clone()).unwrap_or_default();
    if engine.chance(share) {
        stop(engine, arn, "TaskFailedToStart", "CannotPullContainerError: failed to pull the image");
        fail(engine, &service);
        return;
    }
    set(engine, arn, Status::Running);
    let now = engine.now;
    let has_check = engine
        .state
        .tasks
        .get(arn)
        .and_then(|task| engine.state.definitions.get(&task.definition))
        .is_some_and(|definition| definition.has_health_check);
    let has_targets = engine.state.services.get(&service).is_some_and(|service| !service.target_groups.is_empty());
    if let Some(task) = engine.state.tasks.get_mut(arn) {
        task.started_at = Some(now);
    }
    let broken = engine.options.faults.broken_image.is_some_and(|from| now.0 - engine.start.0 >= milliseconds(from));
    if broken {
        engine.task_due_in(CRASH, arn);
    } else if has_check || has_targets {
        let delay = start_up(engine, CHECK);
        engine.due_in(delay, Due::Health(arn.to_owned()));
    } else {
        engine.due_in(SETTLING_MILLISECONDS, Due::Settled(arn.to_owned()));
        if let Some(service) = engine.state.services.get_mut(&service) {
            service.failed_starts = 0;
        }
    }
    engine.note_counts(&service);
    engine.wake(&service, NOTICE);
}

/// The checks of a running task are passed.
pub(crate) fn decide_health(engine: &mut Engine, arn: &str) {
    let Some(task) = engine.state.tasks.get_mut(arn) else { return };
    if task.status != Status::Running || !task.wanted {
        return;
    }
    let all_are_checked =
        engine.state.definitions.get(&task.definition).is_some_and(|definition| definition.all_are_checked);
    if all_are_checked {
        "HEALTHY".clone_into(&mut task.health);
    }
    task.checks_passed = true;
    let service = task.service.clone().unwrap_or_default();
    let groups: Vec<String> = match engine.state.services.get_mut(&service) {
        Some(service) => {
            service.failed_starts = 0;
            service.target_groups.iter().map(|group| group.arn.clone()).collect()
        }
        None => Vec::new(),
    };
    for group in groups {
        engine.tell(&service, format!("(service {service}) registered 1 targets in (target-group {group})"));
    }
    engine.note_counts(&service);
    engine.wake(&service, NOTICE);
}

/// Decides a task's end: its targets drain first, then it is told to stop.
pub(crate) fn stop(engine: &mut Engine, arn: &str, code: &str, reason: &str) {
    let now = engine.now;
    let Some(task) = engine.state.tasks.get(arn) else { return };
    if !task.wanted {
        return;
    }
    let service = task.service.clone();
    let has_targets = service
        .as_ref()
        .and_then(|name| engine.state.services.get(name))
        .is_some_and(|service| !service.target_groups.is_empty());
    let was_running = task.status == Status::Running;
    let drains = was_running && has_targets && code == "ServiceSchedulerInitiated";
    let delay = if drains { deregistration(engine) } else { engine.between(STOP.0, STOP.1) };
    if let Some(task) = engine.state.tasks.get_mut(arn) {
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
    engine.task_due_in(delay, arn);
    if let Some(service) = service {
        engine.timeline.stopped(&service);
        if was_running {
            let id = arn.rsplit('/').next().unwrap_or_default().to_owned();
            engine.tell(&service, format!("(service {service}) has stopped 1 running tasks: (task {id})."));
        }
        engine.note_counts(&service);
        let reaction = match (code, engine.options.behaviour.get("stop-reaction")) {
            ("UserInitiated", "0s") => 0,
            ("UserInitiated", "40s") => 40_000,
            ("UserInitiated", _) => 10_000,
            _ => NOTICE,
        };
        engine.wake(&service, reaction);
    }
}

/// A task ends at once, with its instance.
pub(crate) fn lose(engine: &mut Engine, arn: &str, reason: &str) {
    stop(engine, arn, "TerminationNotice", reason);
    end(engine, arn);
}

fn end(engine: &mut Engine, arn: &str) {
    let now = engine.now;
    engine.state.forget_place(arn);
    let Some(task) = engine.state.tasks.get_mut(arn) else { return };
    task.status = Status::Stopped;
    task.stopped_at = Some(now);
    task.protected_until = None;
    task.version += 1;
    let service = task.service.clone();
    engine.due_in(DESCRIBABLE, Due::Forgotten(arn.to_owned()));
    if let Some(service) = service {
        engine.note_counts(&service);
        engine.wake(&service, NOTICE);
    }
}

fn set(engine: &mut Engine, arn: &str, status: Status) {
    if let Some(task) = engine.state.tasks.get_mut(arn) {
        task.status = status;
        task.version += 1;
    }
}

/// A start that failed: back-off, failed tasks, circuit breaker.
fn fail(engine: &mut Engine, name: &str) {
    let ceiling = if engine.options.behaviour.get("back-off-ceiling") == "15m" { 15 } else { 27 } * 60_000;
    let minimum: u32 = engine.options.behaviour.get("circuit-breaker-minimum").parse().unwrap_or(3);
    let now = engine.now;
    let Some(service) = engine.state.services.get_mut(name) else { return };
    service.failed_starts += 1;
    let back_off = (1_i64 << service.failed_starts.min(20)) * 5_000;
    service.backs_off_until = crate::Moment(now.0 + back_off.min(ceiling));
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
        engine.tell(name, format!("(service {name}) is unable to consistently start tasks successfully."));
    }
    if let Some(id) = broke {
        engine.tell(name, format!("(service {name}) (deployment {id}) deployment failed: tasks failed to start."));
        if rolls_back {
            crate::scheduler::roll_back(engine, name);
        }
    }
}
