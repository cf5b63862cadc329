//! DAEMON services: one task on each instance that qualifies. [ECS developer guide, "Amazon ECS services", daemon]

use super::{Census, Deeds, LAUNCHES, instance_of, is_healthy, reason, wish};
use crate::{
    life::{self, Start},
    placement::{Wish, choose},
    state::{Service, count},
    world::World,
};

/// One look; the desired count follows from what there is. Whether there is a start to wait for.
pub(super) fn look(world: &mut World, service: &Service, deeds: &mut Deeds) -> bool {
    let Some(deployment) = service.deployments.first() else { return false };
    let Some(definition) = world.state.definitions.get(&deployment.task_definition).cloned() else { return false };
    stop_leaving(world, service, deeds);
    let mut distinct = service.binding.constraints.clone();
    distinct.push(("distinctInstance".to_owned(), String::new()));
    let group = service.group();
    let wish = Wish { constraints: &distinct, ..wish(service, &group) };
    let backs_off = world.now < service.backs_off_until;
    for _ in 0..if backs_off { 0 } else { LAUNCHES } {
        let Ok(arn) = choose(world, &wish, &definition) else { break };
        deeds.started.push(life::start(world, &Start::of(service, &definition.arn), Some(&arn)));
    }
    let number = world.state.service_tasks(&service.name).filter(|task| task.wanted).count();
    if let Some(known) = world.state.services.get_mut(&service.name) {
        known.desired_count = count(number);
    }
    backs_off
}

/// Those of older deployments go as far as the minimum allows, those on a draining instance once nothing else is there:
/// daemons are the last to stop.
fn stop_leaving(world: &mut World, service: &Service, deeds: &mut Deeds) {
    let census = Census::of(world, service);
    let newest = service.newest_deployment();
    let mut healthy = census.healthy;
    for task in &census.leaving {
        let is_well = is_healthy(world, service, task);
        let is_last = instance_of(world, task).is_none_or(|instance| {
            let mut there = world.state.instance_tasks(&instance.arn);
            instance.status != "DRAINING"
                || !there.any(|other| other.wanted && other.service.as_ref() != Some(&service.name))
        });
        let is_old = service.deployments.len() > 1 && task.started_by != newest;
        if if is_old && is_well { healthy > census.minimum } else { is_old || !is_well || is_last } {
            healthy -= usize::from(is_well);
            life::stop(world, &task.arn, "ServiceSchedulerInitiated", &reason(service));
            deeds.stopped.push(task.arn.clone());
        }
    }
}
