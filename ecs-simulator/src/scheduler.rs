//! The service scheduler, restated from ECS's documents: as many tasks as desired, deployments within their percentages,
//! scale-in with protection, replacement of what is unhealthy or on a draining instance.

use std::collections::BTreeMap;

use crate::{
    engine::{Engine, TICK_MILLISECONDS},
    life::Start,
    placement::{Wish, choose, domain, zone_of},
    state::{Deployment, Instance, Service, Status, Task},
};

/// Tasks that the scheduler launches for one service at one look: 500 a minute, a look each 10 s
/// [AWS General Reference, ECS quotas].
const LAUNCHES: usize = 83;

/// One look at a service.
pub(crate) fn look_at(engine: &mut Engine, name: &str) {
    let Some(service) = engine.state.services.get(name).cloned() else { return };
    if service.status != "ACTIVE" {
        return wind_up(engine, &service);
    }
    // Whoever deploys it from outside also says how its tasks go.
    if service.controller == "EXTERNAL" {
        return engine.note_counts(name);
    }
    if service.scheduling_strategy == "DAEMON" {
        return look_at_daemon(engine, &service);
    }
    let census = Census::of(engine, &service);
    let changed = if service.is_rebalancing_zones {
        rebalance_zones(engine, &service, &census)
    } else {
        start_missing(engine, &service, &census)
            | stop_leaving(engine, &service, &census)
            | scale_in(engine, &service, &census)
    };
    engine.note_counts(name);
    if changed || !settle(engine, name) {
        engine.wake(name, TICK_MILLISECONDS);
    }
}

/// A service's tasks as the scheduler sorts them.
struct Census {
    /// Of the newest deployment, on an instance that stays, not unhealthy.
    staying: Vec<Task>,
    /// Those that are to be replaced.
    leaving: Vec<Task>,
    healthy: usize,
    counted: usize,
    minimum: usize,
    maximum: usize,
    desired: usize,
}

impl Census {
    fn of(engine: &Engine, service: &Service) -> Self {
        let newest = service.newest_deployment();
        let wanted: Vec<Task> = engine.state.service_tasks(&service.name).filter(|task| task.wanted).cloned().collect();
        let counts_stopping = engine.options.behaviour.get("maximum-percent-counts") == "stopping-too";
        let counted = engine.state.service_tasks(&service.name).filter(|task| task.wanted || counts_stopping).count();
        let healthy = wanted.iter().filter(|task| is_healthy(engine, service, task)).count();
        let stays = |task: &Task| {
            let drains = task
                .instance
                .as_ref()
                .and_then(|arn| engine.state.instances.get(arn))
                .is_some_and(|i| i.status == "DRAINING");
            let is_old = service.deployments.len() > 1 && task.started_by != newest;
            !drains && !is_old && task.health != "UNHEALTHY"
        };
        let (staying, leaving) = wanted.into_iter().partition(stays);
        let desired = service.desired_count as usize;
        Self {
            staying,
            leaving,
            healthy,
            counted,
            minimum: (desired * service.minimum_healthy_percent as usize).div_ceil(100),
            maximum: desired * service.maximum_percent as usize / 100,
            desired,
        }
    }
}

fn is_healthy(engine: &Engine, service: &Service, task: &Task) -> bool {
    task.is_healthy(service, engine.state.definitions.get(&task.definition), engine.now)
}

fn start_missing(engine: &mut Engine, service: &Service, census: &Census) -> bool {
    let missing = census.desired.saturating_sub(census.staying.len());
    // Beside tasks that are to be replaced, the maximum holds.
    let room = if census.leaving.is_empty() { missing } else { census.maximum.saturating_sub(census.counted) };
    let number = missing.min(room).min(LAUNCHES);
    if number == 0 || engine.now < service.backs_off_until {
        return number > 0;
    }
    let Some(deployment) = service.deployments.first() else { return false };
    if deployment.rollout_state == "FAILED" {
        return false;
    }
    let Some(definition) = engine.state.definitions.get(&deployment.task_definition).cloned() else { return false };
    let group = service.group();
    let wish = wish(service, &group);
    for _ in 0..number {
        let place = if service.takes_instances() { choose(engine, &wish, &definition).map(Some) } else { Ok(None) };
        match place {
            Ok(instance) => drop(crate::life::start(engine, &Start::of(service, &definition.arn), instance.as_deref())),
            Err(nowhere) => {
                engine.tell(&service.name, nowhere.event(&service.name));
                break;
            }
        }
    }
    true
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
    }
}

/// Stops what is to be replaced, as far as the minimum allows: what is not healthy costs nothing.
fn stop_leaving(engine: &mut Engine, service: &Service, census: &Census) -> bool {
    let mut healthy = census.healthy;
    let mut stopped = false;
    let replacement_first = engine.options.behaviour.get("unhealthy") == "replacement-first";
    let mut leaving: Vec<&Task> = census.leaving.iter().filter(|task| !task.is_spared(engine.now)).collect();
    leaving.sort_by_key(|task| (is_healthy(engine, service, task), task.arn.clone()));
    for task in leaving {
        let is_well = is_healthy(engine, service, task);
        let starting = task.status < Status::Running;
        let may_go = if is_well {
            healthy > census.minimum
        } else {
            starting || !replacement_first || census.staying.len() >= census.desired || census.maximum <= census.counted
        };
        if may_go {
            healthy -= usize::from(is_well);
            crate::life::stop(engine, &task.arn, "ServiceSchedulerInitiated", &reason(service));
            stopped = true;
        }
    }
    stopped
}

/// Stops tasks beyond the desired count; never a protected one.
fn scale_in(engine: &mut Engine, service: &Service, census: &Census) -> bool {
    let excess = census.staying.len().saturating_sub(census.desired);
    if excess == 0 || !census.leaving.is_empty() {
        return false;
    }
    let mut candidates: Vec<Task> = census.staying.iter().filter(|task| !task.is_spared(engine.now)).cloned().collect();
    if candidates.len() < excess {
        let id = service.newest_deployment();
        engine.tell(&service.name, format!(
            "(service {}) was unable to reach steady state because task set ({id}) was unable to scale in. Reason: The number of \
             protected tasks are more than the desired count of tasks.",
            service.name
        ));
    }
    let mut rest = census.staying.clone();
    for _ in 0..excess.min(candidates.len()) {
        let index = victim(engine, service, &candidates, &rest);
        let task = candidates.swap_remove(index);
        rest.retain(|other| other.arn != task.arn);
        crate::life::stop(engine, &task.arn, "ServiceSchedulerInitiated", &reason(service));
    }
    true
}

fn reason(service: &Service) -> String {
    let id = service.newest_deployment();
    format!("Scaling activity initiated by (deployment {id})")
}

/// Which of the candidates goes.
fn victim(engine: &mut Engine, service: &Service, candidates: &[Task], all: &[Task]) -> usize {
    let behaviour = &engine.options.behaviour;
    let (scale_in, unhealthy_first) = (behaviour.get("scale-in"), behaviour.get("scale-in-unhealthy-first") == "yes");
    let zone = "attribute:ecs.availability-zone";
    let by_default = [("spread".to_owned(), zone.to_owned()), ("spread".to_owned(), "instanceId".to_owned())];
    let strategies = if service.binding.strategy.is_empty() { &by_default[..] } else { &service.binding.strategy[..] };
    let fields = strategies.iter().filter(|(kind, _)| kind == "spread").map(|(_, field)| field.as_str());
    let crowds: Vec<(&str, BTreeMap<&str, i64>)> =
        fields.chain([zone]).map(|field| (field, crowds(engine, field, all))).collect();
    let crowd = |task: &Task, field: &str| {
        let crowd = crowds.iter().find(|(known, _)| *known == field).map(|(_, crowd)| crowd);
        let of = |(instance, crowd): (&Instance, &BTreeMap<&str, i64>)| crowd.get(domain(instance, field)).copied();
        instance_of(engine, task).zip(crowd).and_then(of).unwrap_or(0)
    };
    let keys: Vec<(bool, Vec<i64>)> = candidates
        .iter()
        .map(|task| {
            let well = unhealthy_first && is_healthy(engine, service, task);
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
                        "binpack" => -left_without(engine, task, field),
                        _ => 0,
                    })
                    .collect(),
            };
            (well, key)
        })
        .collect();
    let lowest = keys.iter().min().cloned();
    let best: Vec<usize> = (0..keys.len()).filter(|index| keys.get(*index) == lowest.as_ref()).collect();
    let chosen = engine.between(0, count(best.len()) - 1);
    best[usize::try_from(chosen).unwrap_or(0)]
}

/// How much of a resource would be left on a task's instance without the task: binpack takes it from where that is most.
/// [ECS developer guide, "Use strategies to define Amazon ECS task placement"]
fn left_without(engine: &Engine, task: &Task, field: &str) -> i64 {
    let Some(instance) = instance_of(engine, task) else { return 0 };
    let (cpu, memory) = engine.free(instance);
    let (task_cpu, task_memory) =
        engine.state.definitions.get(&task.definition).map_or((0, 0), |definition| (definition.cpu, definition.memory));
    if field.eq_ignore_ascii_case("cpu") {
        i64::from(cpu) + i64::from(task_cpu)
    } else {
        i64::from(memory) + i64::from(task_memory)
    }
}

/// How many of the tasks are in each domain of a field.
fn crowds<'a>(engine: &'a Engine, field: &str, tasks: &[Task]) -> BTreeMap<&'a str, i64> {
    let mut crowds = BTreeMap::new();
    for instance in tasks.iter().filter_map(|task| instance_of(engine, task)) {
        *crowds.entry(domain(instance, field)).or_default() += 1;
    }
    crowds
}

fn instance_of<'a>(engine: &'a Engine, task: &Task) -> Option<&'a Instance> {
    task.instance.as_ref().and_then(|arn| engine.state.instances.get(arn))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether the service is as it should be; if so, deployments are complete and that is told.
fn settle(engine: &mut Engine, name: &str) -> bool {
    let Some(service) = engine.state.services.get(name).cloned() else { return true };
    let census = Census::of(engine, &service);
    let all_well = census.staying.iter().all(|task| is_healthy(engine, &service, task));
    if !census.leaving.is_empty() || census.staying.len() != census.desired || !all_well {
        return census.staying.len() == census.desired
            && census.leaving.is_empty()
            && service.deployments.len() == 1
            && service.deployments.iter().all(|deployment| deployment.rollout_state == "COMPLETED")
            && all_started(&census);
    }
    let mut completed = None;
    let now = engine.now;
    if let Some(service) = engine.state.services.get_mut(name) {
        service.deployments.truncate(1);
        if let Some(primary) = service.deployments.first_mut()
            && primary.rollout_state == "IN_PROGRESS"
        {
            "COMPLETED".clone_into(&mut primary.rollout_state);
            primary.updated_at = Some(now);
            primary.failed_tasks = 0;
            completed = Some(primary.id.clone());
        }
    }
    if let Some(id) = completed {
        engine.tell(name, format!("(service {name}) (deployment {id}) deployment completed."));
    }
    if start_zone_rebalancing(engine, &service, &census) {
        return false;
    }
    if engine.timeline.0.get(name).is_some_and(|history| history.started != 0) {
        engine.tell(name, format!("(service {name}) has reached a steady state."));
    }
    true
}

/// Running tasks that merely wait to be taken for healthy need no further look: that changes nothing.
fn all_started(census: &Census) -> bool {
    census.staying.iter().all(|task| task.status == Status::Running)
}

/// A new deployment in front of the others; a deployment under way before it is superseded.
pub(crate) fn deploy(engine: &mut Engine, name: &str, task_definition: &str) {
    let id = format!("ecs-svc/{}", engine.between(1_000_000_000_000_000_000, 9_000_000_000_000_000_000));
    let now = engine.now;
    let Some(service) = engine.state.services.get_mut(name) else { return };
    for deployment in &mut service.deployments {
        "ACTIVE".clone_into(&mut deployment.status);
    }
    task_definition.clone_into(&mut service.task_definition);
    service.bind();
    service.deployments.insert(
        0,
        Deployment {
            id,
            status: "PRIMARY".to_owned(),
            rollout_state: "IN_PROGRESS".to_owned(),
            rollout_reason: String::new(),
            task_definition: task_definition.to_owned(),
            failed_tasks: 0,
            created_at: Some(now),
            updated_at: Some(now),
        },
    );
    service.backs_off_until = now;
    service.failed_starts = 0;
    engine.wake(name, 1_000);
}

/// Back to the last deployment that was completed.
pub(crate) fn roll_back(engine: &mut Engine, name: &str) {
    let Some(service) = engine.state.services.get(name) else { return };
    let before = service.deployments.iter().find(|deployment| deployment.rollout_state == "COMPLETED").cloned();
    if let Some(before) = before {
        deploy(engine, name, &before.task_definition);
    }
}

/// A deleted service loses its tasks.
fn wind_up(engine: &mut Engine, service: &Service) {
    let tasks: Vec<String> =
        engine.state.service_tasks(&service.name).filter(|task| task.wanted).map(|task| task.arn.clone()).collect();
    for task in &tasks {
        crate::life::stop(engine, task, "ServiceSchedulerInitiated", &reason(service));
    }
    if tasks.is_empty()
        && let Some(known) = engine.state.services.get_mut(&service.name)
        && known.status == "DRAINING"
    {
        "INACTIVE".clone_into(&mut known.status);
    }
}

/// One task on each instance that qualifies; the desired count follows from that.
/// [ECS developer guide, "Amazon ECS services", daemon]
fn look_at_daemon(engine: &mut Engine, service: &Service) {
    let Some(deployment) = service.deployments.first() else { return };
    let Some(definition) = engine.state.definitions.get(&deployment.task_definition).cloned() else { return };
    let mut changed = stop_leaving_daemons(engine, service);
    let mut distinct = service.binding.constraints.clone();
    distinct.push(("distinctInstance".to_owned(), String::new()));
    let group = service.group();
    let wish = Wish { constraints: &distinct, ..wish(service, &group) };
    let launches = if engine.now < service.backs_off_until { 0 } else { LAUNCHES };
    for _ in 0..launches {
        let Ok(arn) = choose(engine, &wish, &definition) else { break };
        crate::life::start(engine, &Start::of(service, &definition.arn), Some(&arn));
        changed = true;
    }
    let number = engine.state.service_tasks(&service.name).filter(|task| task.wanted).count();
    if let Some(known) = engine.state.services.get_mut(&service.name) {
        known.desired_count = crate::state::count(number);
    }
    engine.note_counts(&service.name);
    if changed || launches == 0 || !settle(engine, &service.name) {
        engine.wake(&service.name, TICK_MILLISECONDS);
    }
}

/// Those of older deployments go as far as the minimum allows, those on a draining instance once nothing else is there:
/// daemons are the last to stop.
fn stop_leaving_daemons(engine: &mut Engine, service: &Service) -> bool {
    let census = Census::of(engine, service);
    let newest = service.newest_deployment();
    let mut healthy = census.healthy;
    let mut stopped = false;
    for task in &census.leaving {
        let is_well = is_healthy(engine, service, task);
        let is_last = instance_of(engine, task).is_none_or(|instance| {
            let mut there = engine.state.instance_tasks(&instance.arn);
            instance.status != "DRAINING"
                || !there.any(|other| other.wanted && other.service.as_ref() != Some(&service.name))
        });
        let is_old = service.deployments.len() > 1 && task.started_by != newest;
        if if is_old && is_well { healthy > census.minimum } else { is_old || !is_well || is_last } {
            healthy -= usize::from(is_well);
            crate::life::stop(engine, &task.arn, "ServiceSchedulerInitiated", &reason(service));
            stopped = true;
        }
    }
    stopped
}

/// Whether ECS would even out the service's zones itself, and they differ by more than one.
/// [ECS developer guide, "Balancing an Amazon ECS service across Availability Zones"]
fn start_zone_rebalancing(engine: &mut Engine, service: &Service, census: &Census) -> bool {
    let by_zone = |(kind, field): &(String, String)| kind == "spread" && field == "attribute:ecs.availability-zone";
    let asks = service.binding.strategy.first().is_none_or(by_zone);
    if !service.zone_rebalancing
        || !asks
        || service.maximum_percent == 100
        || !service.classic_load_balancers.is_empty()
    {
        return false;
    }
    let Some((richest, poorest)) = zones(engine, census) else { return false };
    let Some(deployment) = service.deployments.first() else { return false };
    let Some(definition) = engine.state.definitions.get(&deployment.task_definition).cloned() else { return false };
    let group = service.group();
    let wish = Wish { zone: Some(&poorest), ..wish(service, &group) };
    let Ok(arn) = choose(engine, &wish, &definition) else { return false };
    crate::life::start(engine, &Start::of(service, &definition.arn), Some(&arn));
    if let Some(known) = engine.state.services.get_mut(&service.name) {
        known.is_rebalancing_zones = true;
    }
    let name = &service.name;
    engine.tell(name, format!("(service {name}) is not AZ balanced with more tasks in {richest} than in {poorest}. AZ Rebalancing in progress."));
    true
}

/// The zones with the most and the fewest tasks, if they differ by more than one.
fn zones(engine: &Engine, census: &Census) -> Option<(String, String)> {
    let mut counts = BTreeMap::<String, usize>::new();
    for instance in
        engine.state.instances.values().filter(|instance| instance.status == "ACTIVE" && instance.agent_connected)
    {
        counts.entry(zone_of(instance).to_owned()).or_default();
    }
    for task in &census.staying {
        if let Some(instance) = task.instance.as_ref().and_then(|arn| engine.state.instances.get(arn)) {
            *counts.entry(zone_of(instance).to_owned()).or_default() += 1;
        }
    }
    let richest = counts.iter().max_by_key(|(_, count)| **count)?;
    let poorest = counts.iter().min_by_key(|(_, count)| **count)?;
    (richest.1 > &(poorest.1 + 1)).then(|| (richest.0.clone(), poorest.0.clone()))
}

fn rebalance_zones(engine: &mut Engine, service: &Service, census: &Census) -> bool {
    if let Some(known) = engine.state.services.get_mut(&service.name) {
        known.is_rebalancing_zones = census.staying.len() > census.desired && service.deployments.len() == 1;
    }
    let all_well = census.staying.iter().all(|task| is_healthy(engine, service, task));
    if census.staying.len() > census.desired && all_well {
        // The zone that has the most gives one up, if an unprotected one is there.
        let candidates: Vec<Task> = census.staying.iter().filter(|task| !task.is_spared(engine.now)).cloned().collect();
        let zone = "attribute:ecs.availability-zone";
        let zones = crowds(engine, zone, &census.staying);
        let crowd =
            |task: &Task| instance_of(engine, task).and_then(|instance| zones.get(domain(instance, zone))).copied();
        if let Some(task) = candidates.iter().max_by_key(|task| crowd(task)) {
            let id = service.newest_deployment();
            let reason = format!("Availability-zone rebalancing initiated by (deployment {id})");
            crate::life::stop(engine, &task.arn, "ServiceSchedulerInitiated", &reason);
        }
        if let Some(known) = engine.state.services.get_mut(&service.name) {
            known.is_rebalancing_zones = false;
        }
        let name = &service.name;
        engine.tell(name, format!("(service {name}) is AZ balanced with its tasks as even as can be."));
    }
    true
}

#[cfg(test)]
mod tests;
