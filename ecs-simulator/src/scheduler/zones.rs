//! Zone rebalancing: ECS evens out a service's zones itself, one task at a time.
//! [ECS developer guide, "Balancing an Amazon ECS service across Availability Zones"]

use std::collections::BTreeMap;

use super::{Census, id_of, instance_of, is_healthy, wish};
use crate::{
    life::{self, Start},
    placement::{Wish, choose, zone_of},
    state::Service,
    world::World,
};

/// A service that names it in a constraint is left as it is.
const ZONE: &str = "ecs.availability-zone";

/// Begins where ECS would even out the service's zones and they differ by more than one. Whether it did.
pub(super) fn start(world: &mut World, service: &Service, census: &Census) -> bool {
    let by_zone = |(kind, field): &(String, String)| kind == "spread" && field.strip_prefix("attribute:") == Some(ZONE);
    let asks = service.binding.strategy.first().is_none_or(by_zone);
    let names_zone = service.binding.constraints.iter().any(|(_, expression)| expression.contains(ZONE));
    if !service.zone_rebalancing
        || !asks
        || names_zone
        || service.maximum_percent == 100
        || !service.classic_load_balancers.is_empty()
    {
        return false;
    }
    let counts = zones(world, census);
    if !is_uneven(&counts) {
        return false;
    }
    let name = &service.name;
    let told = shown(&counts);
    world.tell(name, format!("(service {name}) is not AZ balanced with {told}. AZ Rebalancing in progress."));
    start_one(world, service, &counts)
}

/// One more task in the poorest zone.
fn start_one(world: &mut World, service: &Service, counts: &BTreeMap<String, usize>) -> bool {
    let Some(poorest) = counts.iter().min_by_key(|(_, count)| **count).map(|(zone, _)| zone.clone()) else {
        return false;
    };
    let Some(deployment) = service.deployments.first() else { return false };
    let Some(definition) = world.state.definitions.get(&deployment.task_definition).cloned() else { return false };
    let group = service.group();
    let wish = Wish { zone: Some(&poorest), ..wish(service, &group) };
    let name = &service.name;
    let Ok(arn) = choose(world, &wish, &definition) else {
        let what = format!(
            "(service {name}) is unable to place a task in {poorest} because no container instance met all of its requirements."
        );
        world.tell(name, what);
        set(world, name, false);
        return false;
    };
    let task = life::start(world, &Start::of(service, &definition.arn), Some(&arn));
    set(world, name, true);
    let id = id_of(&task);
    world.tell(name, format!("(service {name}) has started 1 tasks in {poorest} to AZ Rebalance: (task {id})."));
    true
}

fn set(world: &mut World, name: &str, is_rebalancing: bool) {
    if let Some(known) = world.state.services.get_mut(name) {
        known.is_rebalancing_zones = is_rebalancing;
        known.is_steady = false;
    }
}

/// The zones of the usable instances, with how many of the tasks are in each.
fn zones(world: &World, census: &Census) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::<String, usize>::new();
    for instance in
        world.state.instances.values().filter(|instance| instance.status == "ACTIVE" && instance.agent_connected)
    {
        counts.entry(zone_of(instance).to_owned()).or_default();
    }
    for instance in census.staying.iter().filter_map(|task| instance_of(world, task)) {
        *counts.entry(zone_of(instance).to_owned()).or_default() += 1;
    }
    counts
}

fn is_uneven(counts: &BTreeMap<String, usize>) -> bool {
    counts.values().max().zip(counts.values().min()).is_some_and(|(most, fewest)| *most > fewest + 1)
}

/// `3 tasks in us-east-1a, 1 tasks in us-east-1b`.
fn shown(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(zone, count)| format!("{count} tasks in {zone}")).collect::<Vec<_>>().join(", ")
}

/// The new task is waited for, then one of the richest zone goes, and so on until the zones are even.
pub(super) fn go_on(world: &mut World, service: &Service, census: &Census) {
    let name = &service.name;
    let surplus = census.staying.len().checked_sub(census.desired);
    let is_disturbed = service.deployments.len() > 1 || !census.leaving.is_empty() || census.unnoticed > 0;
    match surplus {
        Some(0) if !is_disturbed => {
            let counts = zones(world, census);
            if is_uneven(&counts) {
                start_one(world, service, &counts);
            } else {
                set(world, name, false);
                let told = shown(&counts);
                world.tell(name, format!("(service {name}) is AZ balanced with {told}."));
            }
        }
        Some(1) if !is_disturbed => {
            if census.staying.iter().all(|task| is_healthy(world, service, task)) {
                stop_one(world, service, census);
            }
        }
        _ => {
            set(world, name, false);
            world.tell(name, format!("(service {name}) stopped AZ Rebalancing."));
        }
    }
}

/// One task less in the richest zone, if an unprotected one is there.
fn stop_one(world: &mut World, service: &Service, census: &Census) {
    let name = &service.name;
    let counts = zones(world, census);
    let Some(richest) = counts.iter().max_by_key(|(_, count)| **count).map(|(zone, _)| zone.clone()) else { return };
    let mut there =
        census.staying.iter().filter(|task| instance_of(world, task).is_some_and(|it| zone_of(it) == richest));
    let Some(task) = there.clone().find(|task| !task.is_spared(world.now)) else {
        let protected = there.next().map(|task| id_of(&task.arn).to_owned()).unwrap_or_default();
        let what = format!(
            "(service {name}) was unable to AZ Rebalance because (task {protected}) was unable to scale in due to (reason task is under protection)."
        );
        world.tell(name, what);
        return set(world, name, false);
    };
    let (arn, id) = (task.arn.clone(), id_of(&task.arn).to_owned());
    let deployment = service.newest_deployment();
    let reason = format!("Availability-zone rebalancing initiated by (deployment {deployment})");
    life::stop(world, &arn, "ServiceSchedulerInitiated", &reason);
    world.tell(
        name,
        format!("(service {name}) has stopped 1 running tasks in {richest} due to AZ rebalancing: (task {id})."),
    );
}
