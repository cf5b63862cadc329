//! The service scheduler, restated from ECS's documents: as many tasks as desired, deployments within their percentages,
//! scale-in with protection, replacement of what is unhealthy or on a draining instance.
//!
//! It acts in looks at a service, about ten seconds apart while anything is to be done, and tells of each in one line.

mod daemons;
mod targets;
mod zones;

use std::collections::BTreeMap;

use crate::{
    life::{self, Start},
    managed_scaling,
    moment::Moment,
    placement::{Wish, choose, domain},
    services,
    state::{Instance, Service, Status, Target, Task},
    timeline::By,
    world::{Due, World},
};

/// Tasks that the scheduler launches for one service at one look: 500 a minute, a look each 10 s
/// [AWS General Reference, ECS quotas].
const LAUNCHES: usize = 83;
/// A steady service is said to be so again after six hours and, as public logs show, 12 to 29 seconds.
const STEADY_AGAIN: (i64, i64) = (21_612_000, 21_629_000);

/// One look at a service.
pub(crate) fn look(world: &mut World, name: &str) {
    let now = world.now;
    let Some(known) = world.state.services.get_mut(name) else { return };
    known.is_busy = false;
    known.last_look = now;
    known.unnoticed.retain(|_, until| *until > now);
    if let Some(primary) = known.deployments.first_mut() {
        primary.is_taken_up = true;
    }
    let service = known.clone();
    if service.status != "ACTIVE" {
        return wind_up(world, &service);
    }
    // Whoever deploys it from outside also says how its tasks go.
    if service.controller == "EXTERNAL" {
        return world.note_counts(name);
    }
    if is_above_maximum(world, &service) {
        return world.look_again(name);
    }
    let mut deeds = Deeds::default();
    let waits = if service.scheduling_strategy == "DAEMON" {
        daemons::look(world, &service, &mut deeds)
    } else {
        look_at_replicas(world, &service, &mut deeds)
    };
    let has_acted = !deeds.is_empty();
    deeds.tell(world, name);
    let attends = targets::attend(world, name);
    if let (true, Some(known)) = (has_acted || attends, world.state.services.get_mut(name)) {
        known.is_steady = false;
    }
    world.note_counts(name);
    if waits || has_acted || attends || !settle(world, name) {
        world.look_again(name);
    }
}

/// Whether Application Auto Scaling has just lowered a count above its maximum, where it does so by itself.
fn is_above_maximum(world: &mut World, service: &Service) -> bool {
    let maximum = world.state.scalable_targets.get(&service.name).map(|target| target.maximum);
    let Some(maximum) = maximum.filter(|maximum| service.desired_count > *maximum) else { return false };
    let lowers = world.options.behaviour.get("count-above-maximum") == "lowered";
    if lowers {
        services::set_desired_count(world, &service.name, maximum, By::AutoScaling);
    }
    lowers
}

/// Whether there is something to wait for.
fn look_at_replicas(world: &mut World, service: &Service, deeds: &mut Deeds) -> bool {
    let census = Census::of(world, service);
    if service.is_rebalancing_zones {
        let goes_on = world.options.behaviour.get("zone-rebalancing-beside-counts") == "goes-on";
        if goes_on && census.staying.len() < census.desired {
            start_missing(world, service, &census, deeds);
        } else if goes_on && census.staying.len() > census.desired + 1 {
            scale_in(world, service, &census, deeds);
        } else {
            zones::go_on(world, service, &census);
        }
        return true;
    }
    let waits = place_provisioning(world, service);
    let waits = waits | start_missing(world, service, &census, deeds);
    stop_leaving(world, service, &census, deeds);
    waits | scale_in(world, service, &census, deeds)
}

/// What a look did, to be told in one line each.
#[derive(Clone, Debug, Default)]
struct Deeds {
    started: Vec<String>,
    stopped: Vec<String>,
    /// How many of those stopped were unhealthy.
    replaced: usize,
}

impl Deeds {
    fn is_empty(&self) -> bool {
        self.started.is_empty() && self.stopped.is_empty()
    }

    fn tell(&self, world: &mut World, name: &str) {
        if !self.started.is_empty() {
            let (number, tasks) = (self.started.len(), told(&self.started));
            world.tell(name, format!("(service {name}) has started {number} tasks: {tasks}."));
        }
        // Until 2021 a task was said to be stopped once its targets were drained.
        let at_once = |task: &&String| {
            let status = world.state.tasks.get(*task).map(|task| task.status);
            world.options.behaviour.get("stop-order") == "since-2025" || status != Some(Status::Deactivating)
        };
        let stopped: Vec<String> = self.stopped.iter().filter(at_once).cloned().collect();
        tell_stopped(world, name, &stopped);
        if self.replaced > 0 {
            let number = self.replaced;
            let what = format!("(service {name}) Amazon ECS replaced {number} tasks due to an unhealthy status.");
            world.tell(name, what);
        }
    }
}

fn tell_stopped(world: &mut World, name: &str, tasks: &[String]) {
    if !tasks.is_empty() {
        let (number, tasks) = (tasks.len(), told(tasks));
        world.tell(name, format!("(service {name}) has stopped {number} running tasks: {tasks}."));
    }
}

/// Tasks as a line names them: `(task A) (task B)`.
fn told(arns: &[String]) -> String {
    arns.iter().map(|arn| format!("(task {})", id_of(arn))).collect::<Vec<_>>().join(" ")
}

fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

/// A service's tasks as the scheduler sorts them.
struct Census {
    /// Of the newest deployment, on an instance that stays, not unhealthy.
    staying: Vec<Task>,
    /// Those that are to be replaced.
    leaving: Vec<Task>,
    /// Tasks that somebody stopped, which the scheduler hasn't noticed.
    unnoticed: usize,
    healthy: usize,
    counted: usize,
    minimum: usize,
    maximum: usize,
    desired: usize,
}

impl Census {
    fn of(world: &World, service: &Service) -> Self {
        let newest = service.newest_deployment();
        let wanted: Vec<Task> = world.state.service_tasks(&service.name).filter(|task| task.wanted).cloned().collect();
        let counts_stopping = world.options.behaviour.get("maximum-percent-counts") == "stopping-too";
        let counted = world.state.service_tasks(&service.name).filter(|task| task.wanted || counts_stopping).count();
        let healthy = wanted.iter().filter(|task| is_healthy(world, service, task)).count();
        let stays = |task: &Task| {
            let drains = task
                .instance
                .as_ref()
                .and_then(|arn| world.state.instances.get(arn))
                .is_some_and(|i| i.status == "DRAINING");
            let is_old = service.deployments.len() > 1 && task.started_by != newest;
            !drains && !is_old && !is_unhealthy(task)
        };
        let (staying, leaving) = wanted.into_iter().partition(stays);
        let desired = service.desired_count as usize;
        Self {
            staying,
            leaving,
            unnoticed: service.unnoticed.len(),
            healthy,
            counted,
            minimum: (desired * service.minimum_healthy_percent as usize).div_ceil(100),
            maximum: desired * service.maximum_percent as usize / 100,
            desired,
        }
    }
}

fn is_unhealthy(task: &Task) -> bool {
    task.health == "UNHEALTHY" || task.target == Target::Unhealthy
}

fn is_healthy(world: &World, service: &Service, task: &Task) -> bool {
    task.is_healthy(service, world.state.definitions.get(&task.definition), world.now)
}

/// Whether there is a start to wait for.
fn start_missing(world: &mut World, service: &Service, census: &Census, deeds: &mut Deeds) -> bool {
    let missing = census.desired.saturating_sub(census.staying.len() + census.unnoticed);
    // The maximum is one of deployments and of what is replaced beside them [API, DeploymentConfiguration].
    let is_limited = !(service.swaps() && service.deployments.len() > 1);
    let is_limited = is_limited && is_beside_others(world, service, census);
    let room = if is_limited { census.maximum.saturating_sub(census.counted) } else { missing };
    let number = missing.min(room).min(LAUNCHES);
    if number == 0 || world.now < service.backs_off_until {
        return missing > 0;
    }
    let Some(deployment) = service.deployments.first() else { return false };
    if deployment.rollout_state == "FAILED" {
        return false;
    }
    let Some(definition) = world.state.definitions.get(&deployment.task_definition).cloned() else { return false };
    let group = service.group();
    let wish = wish(service, &group);
    for _ in 0..number {
        let place = if service.takes_instances() { choose(world, &wish, &definition).map(Some) } else { Ok(None) };
        match place {
            Ok(instance) => {
                deeds.started.push(life::start(world, &Start::of(service, &definition.arn), instance.as_deref()));
            }
            Err(nowhere) => {
                let buys = managed_scaling::asks_for_more(world, service);
                if buys && world.options.behaviour.get("surge-buys") == "provisioning" {
                    deeds.started.push(life::provision(world, &Start::of(service, &definition.arn)));
                    continue;
                }
                world.tell(&service.name, nowhere.event(&service.name));
                break;
            }
        }
    }
    true
}

/// Tasks that wait for an instance that managed scaling launches are placed once there is one. Whether some wait.
fn place_provisioning(world: &mut World, service: &Service) -> bool {
    let waits = |task: &&Task| task.wanted && task.status == Status::Provisioning;
    let waiting: Vec<(String, String)> = world
        .state
        .service_tasks(&service.name)
        .filter(waits)
        .map(|task| (task.arn.clone(), task.definition.clone()))
        .collect();
    let group = service.group();
    for (arn, definition) in &waiting {
        let Some(definition) = world.state.definitions.get(definition).cloned() else { continue };
        match choose(world, &wish(service, &group), &definition) {
            Ok(instance) => life::place(world, arn, &instance),
            Err(_) => drop(managed_scaling::asks_for_more(world, service)),
        }
    }
    !waiting.is_empty()
}

/// Whether something of the service is being replaced.
fn is_beside_others(world: &World, service: &Service, census: &Census) -> bool {
    !census.leaving.is_empty()
        || service.is_deploying()
        || world.state.service_tasks(&service.name).any(|task| task.is_replaced)
}

/// How the service's next task is to be placed.
fn wish<'a>(service: &'a Service, group: &'a str) -> Wish<'a> {
    Wish {
        group,
        strategy: &service.binding.strategy,
        constraints: &service.binding.constraints,
        providers: &service.capacity_provider_strategy,
        started_by: service.newest_deployment(),
        zone: None,
        subnets: &service.subnets,
        external: service.is_external(),
    }
}

/// Stops what is to be replaced, as far as the minimum allows: what is not healthy costs nothing.
fn stop_leaving(world: &mut World, service: &Service, census: &Census, deeds: &mut Deeds) {
    let mut healthy = census.healthy;
    let well = census.staying.iter().filter(|task| is_healthy(world, service, task)).count();
    if service.swaps() && service.deployments.len() > 1 && well < census.desired {
        // Traffic is shifted once all of the new are healthy; the old stay whole until then.
        return;
    }
    let replacement_first = world.options.behaviour.get("unhealthy") == "replacement-first";
    let stops_protected = world.options.behaviour.get("drain-of-protected") == "stopped";
    let drains = |task: &Task| instance_of(world, task).is_some_and(|instance| instance.status == "DRAINING");
    let may_go = |task: &&Task| !task.is_spared(world.now) || stops_protected && drains(task);
    let mut leaving: Vec<&Task> = census.leaving.iter().filter(may_go).collect();
    leaving.sort_by_key(|task| (is_healthy(world, service, task), task.arn.clone()));
    for task in leaving {
        let is_well = is_healthy(world, service, task);
        let starting = task.status < Status::Running;
        let may_go = if is_well {
            healthy > census.minimum
        } else {
            starting || !replacement_first || census.staying.len() >= census.desired || census.maximum <= census.counted
        };
        if may_go {
            healthy -= usize::from(is_well);
            deeds.replaced += usize::from(is_unhealthy(task));
            deeds.stopped.push(task.arn.clone());
            life::stop(world, &task.arn, "ServiceSchedulerInitiated", &reason_of(service, task));
            if let Some(task) = world.state.tasks.get_mut(&task.arn) {
                task.is_replaced = true;
            }
        }
    }
}

/// Stops tasks beyond the desired count; never a protected one. Whether there are some that can't be stopped.
fn scale_in(world: &mut World, service: &Service, census: &Census, deeds: &mut Deeds) -> bool {
    let excess = census.staying.len().saturating_sub(census.desired);
    if excess == 0 || !census.leaving.is_empty() {
        return false;
    }
    let mut candidates: Vec<Task> = census.staying.iter().filter(|task| !task.is_spared(world.now)).cloned().collect();
    let blocked = candidates.len() < excess;
    if blocked {
        let id = service.newest_deployment();
        world.tell(&service.name, format!(
            "(service {}) was unable to reach steady state because task set ({id}) was unable to scale in. Reason: The number of \
             protected tasks are more than the desired count of tasks.",
            service.name
        ));
    }
    let mut rest = census.staying.clone();
    for _ in 0..excess.min(candidates.len()) {
        let index = victim(world, service, &candidates, &rest);
        let task = candidates.swap_remove(index);
        rest.retain(|other| other.arn != task.arn);
        life::stop(world, &task.arn, "ServiceSchedulerInitiated", &reason(service));
        deeds.stopped.push(task.arn);
    }
    blocked
}

fn reason(service: &Service) -> String {
    let id = service.newest_deployment();
    format!("Scaling activity initiated by (deployment {id})")
}

fn reason_of(service: &Service, task: &Task) -> String {
    match service.group_arns(task.in_alternate).first() {
        _ if task.health == "UNHEALTHY" => "Task failed container health checks".to_owned(),
        Some(group) if task.target == Target::Unhealthy => {
            format!("Task failed ELB health checks in (target-group {group})")
        }
        _ => reason(service),
    }
}

/// Which of the candidates goes.
fn victim(world: &mut World, service: &Service, candidates: &[Task], all: &[Task]) -> usize {
    let behaviour = &world.options.behaviour;
    let (scale_in, unhealthy_first) = (behaviour.get("scale-in"), behaviour.get("scale-in-unhealthy-first") == "yes");
    let zone = "attribute:ecs.availability-zone";
    let by_default = [("spread".to_owned(), zone.to_owned()), ("spread".to_owned(), "instanceId".to_owned())];
    let strategies = if service.binding.strategy.is_empty() { &by_default[..] } else { &service.binding.strategy[..] };
    let fields = strategies.iter().filter(|(kind, _)| kind == "spread").map(|(_, field)| field.as_str());
    let crowds: Vec<(&str, BTreeMap<&str, i64>)> =
        fields.chain([zone]).map(|field| (field, crowds(world, field, all))).collect();
    let crowd = |task: &Task, field: &str| {
        let crowd = crowds.iter().find(|(known, _)| *known == field).map(|(_, crowd)| crowd);
        let of = |(instance, crowd): (&Instance, &BTreeMap<&str, i64>)| crowd.get(domain(instance, field)).copied();
        instance_of(world, task).zip(crowd).and_then(of).unwrap_or(0)
    };
    let keys: Vec<(bool, Vec<i64>)> = candidates
        .iter()
        .map(|task| {
            let well = unhealthy_first && is_healthy(world, service, task);
            let created = task.created_at.map_or(0, |moment| moment.0);
            let key = match scale_in {
                "zones-then-random" => vec![-crowd(task, zone)],
                "oldest" => vec![created],
                "newest" => vec![-created],
                "random" => vec![],
                _ => strategies
                    .iter()
                    .map(|(kind, field)| match kind.as_str() {
                        "spread" => -crowd(task, field),
                        "binpack" => -left_without(world, task, field),
                        _ => 0,
                    })
                    .collect(),
            };
            (well, key)
        })
        .collect();
    let lowest = keys.iter().min().cloned();
    let best: Vec<usize> = (0..keys.len()).filter(|index| keys.get(*index) == lowest.as_ref()).collect();
    let chosen = world.between(0, count(best.len()) - 1);
    best[usize::try_from(chosen).unwrap_or(0)]
}

/// How much of a resource would be left on a task's instance without the task: binpack takes it from where that is most.
/// [ECS developer guide, "Use strategies to define Amazon ECS task placement"]
fn left_without(world: &World, task: &Task, field: &str) -> i64 {
    let Some(instance) = instance_of(world, task) else { return 0 };
    let (cpu, memory) = world.free(instance);
    let (task_cpu, task_memory) =
        world.state.definitions.get(&task.definition).map_or((0, 0), |definition| (definition.cpu, definition.memory));
    if field.eq_ignore_ascii_case("cpu") {
        i64::from(cpu) + i64::from(task_cpu)
    } else {
        i64::from(memory) + i64::from(task_memory)
    }
}

/// How many of the tasks are in each domain of a field.
fn crowds<'a>(world: &'a World, field: &str, tasks: &[Task]) -> BTreeMap<&'a str, i64> {
    let mut crowds = BTreeMap::new();
    for instance in tasks.iter().filter_map(|task| instance_of(world, task)) {
        *crowds.entry(domain(instance, field)).or_default() += 1;
    }
    crowds
}

fn instance_of<'a>(world: &'a World, task: &Task) -> Option<&'a Instance> {
    task.instance.as_ref().and_then(|arn| world.state.instances.get(arn))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether the service is as it should be; if so, deployments are complete and that is told, and a steady state at the look
/// after that.
fn settle(world: &mut World, name: &str) -> bool {
    let Some(service) = world.state.services.get(name).cloned() else { return true };
    let census = Census::of(world, &service);
    let is_well = |task: &Task| task.is_well(&service, world.state.definitions.get(&task.definition), world.now);
    let is_whole = census.leaving.is_empty() && census.staying.len() == census.desired && census.unnoticed == 0;
    let in_progress = service.is_deploying();
    if !is_whole || !census.staying.iter().all(is_well) {
        return is_whole && !in_progress && all_started(&census);
    }
    if in_progress {
        // Steadiness doesn't wait for targets to drain, but the end of a deployment does.
        let newest = service.newest_deployment();
        let drains = |task: &Task| task.status == Status::Deactivating && task.started_by != newest;
        if !world.state.service_tasks(name).any(drains) {
            complete(world, name);
        }
        return false;
    }
    if !service.is_steady {
        tell_steady(world, name);
    }
    !zones::start(world, &service, &census)
}

fn complete(world: &mut World, name: &str) {
    let now = world.now;
    let Some(service) = world.state.services.get_mut(name) else { return };
    service.deployments.truncate(1);
    service.is_steady = false;
    let Some(primary) = service.deployments.first_mut() else { return };
    if primary.rollout_state == "IN_PROGRESS" {
        "COMPLETED".clone_into(&mut primary.rollout_state);
        primary.updated_at = Some(now);
        primary.failed_tasks = 0;
        let id = primary.id.clone();
        world.tell(name, format!("(service {name}) (deployment {id}) deployment completed."));
    }
}

const STEADY: &str = "has reached a steady state.";

fn tell_steady(world: &mut World, name: &str) {
    let now = world.now;
    let Some(service) = world.state.services.get_mut(name) else { return };
    service.is_steady = true;
    service.steady_at = now;
    world.tell(name, format!("(service {name}) {STEADY}"));
    let delay = world.between(STEADY_AGAIN.0, STEADY_AGAIN.1);
    world.due_in(delay, Due::Steady(name.to_owned()));
}

/// A service that has been steady since it was told so last is told to be so again.
pub(crate) fn confirm_steadiness(world: &mut World, name: &str) {
    let now = world.now;
    let Some(service) = world.state.services.get(name) else { return };
    let is_due = now.0 - service.steady_at.0 >= STEADY_AGAIN.0;
    if is_due && service.is_steady && service.status == "ACTIVE" && service.controller != "EXTERNAL" {
        tell_steady(world, name);
    }
}

/// When a service that is steady to begin with will be told to be so.
pub(crate) fn expect_steadiness(world: &mut World, name: &str) {
    let period = world.between(STEADY_AGAIN.0, STEADY_AGAIN.1);
    let now = world.now;
    let Some(service) = world.state.services.get_mut(name) else { return };
    let told = service.events.iter().find(|event| event.message.ends_with(STEADY)).map(|event| event.at);
    // Without an event of it, it is somewhere within the period.
    let phase = world.between(0, STEADY_AGAIN.0);
    let since = told.filter(|at| now.0 - at.0 < period).unwrap_or(Moment(now.0 - phase));
    if let Some(service) = world.state.services.get_mut(name) {
        service.steady_at = since;
    }
    world.due_in(since.0 + period - now.0, Due::Steady(name.to_owned()));
}

/// Running tasks that merely wait to be taken for healthy need no further look: that changes nothing.
fn all_started(census: &Census) -> bool {
    census.staying.iter().all(|task| task.status == Status::Running)
}

/// A deleted service loses its tasks.
fn wind_up(world: &mut World, service: &Service) {
    let tasks: Vec<String> =
        world.state.service_tasks(&service.name).filter(|task| task.wanted).map(|task| task.arn.clone()).collect();
    let deeds = Deeds { stopped: tasks, ..Deeds::default() };
    for task in &deeds.stopped {
        life::stop(world, task, "ServiceSchedulerInitiated", &reason(service));
    }
    deeds.tell(world, &service.name);
    let attends = targets::attend(world, &service.name);
    if attends || !deeds.is_empty() {
        return world.look_again(&service.name);
    }
    if let Some(known) = world.state.services.get_mut(&service.name)
        && known.status == "DRAINING"
    {
        "INACTIVE".clone_into(&mut known.status);
    }
}

#[cfg(test)]
mod sequences;
#[cfg(test)]
mod tests;
