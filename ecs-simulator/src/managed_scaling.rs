//! Managed scaling of capacity providers: an instance is launched for tasks that fit nowhere, and those that nothing needs are taken
//! away. [developer guide, "cluster auto scaling"]
//!
//! Every minute `CapacityProviderReservation`, instances needed ÷ instances × 100, is held against the target. An instance is
//! needed when a task that isn't a daemon's is on it. Below the target for long enough, the group shrinks to what the target
//! asks for, never below its minimum, and only by instances that nothing needs: those with tasks are protected.

use std::collections::BTreeMap;

use crate::{
    state::{Service, State, count},
    world::{Due, World, milliseconds},
};

/// A metric's period: CloudWatch's alarms on it look once a minute.
pub(crate) const PERIOD_MILLISECONDS: i64 = 60_000;

/// From the launch of an EC2 instance until its agent registers it, in milliseconds: a minute or three, nobody promises more.
const LAUNCH: (i64, i64) = (60_000, 180_000);

/// One look at every capacity provider.
pub(crate) fn look(world: &mut World) {
    // The alarm takes 15 datapoints of a minute, unless the caller wants it sooner.
    let Some(patience) = world.options.faults.managed_scaling.map(milliseconds) else { return };
    let names: Vec<String> =
        world.state.capacity_providers.values().filter(|it| it.managed_scaling).map(|it| it.name.clone()).collect();
    for name in names {
        buy(world, &name);
        look_at(world, &name, patience);
    }
}

/// Whether a task of the service that fits nowhere has its provider launch an instance: only where managed scaling is at work.
pub(crate) fn asks_for_more(world: &mut World, service: &Service) -> bool {
    let is_at_work = world.options.faults.managed_scaling.is_some();
    let buys = is_at_work && world.options.behaviour.get("surge-buys") != "nothing";
    let name = service.capacity_provider_strategy.first().map(|(name, ..)| name.clone()).unwrap_or_default();
    let Some(provider) = world.state.capacity_providers.get_mut(&name).filter(|it| buys && it.managed_scaling) else {
        return false;
    };
    provider.is_short = true;
    true
}

/// One more instance where a task has waited for it since the last look.
fn buy(world: &mut World, name: &str) {
    let Some(provider) = world.state.capacity_providers.get_mut(name) else { return };
    let is_short = std::mem::take(&mut provider.is_short);
    let Some(group) = provider.group.clone().filter(|_| is_short) else { return };
    let here = count(world.state.group_instances(&group).count());
    let may_grow = world.state.auto_scaling_groups.get(&group).is_some_and(|it| it.launching == 0 && here < it.maximum);
    if may_grow {
        set_desired_capacity(world, &group, here + 1);
    }
}

fn look_at(world: &mut World, name: &str, patience: i64) {
    let now = world.now;
    let state = &mut world.state;
    let Some(provider) = state.capacity_providers.get(name) else { return };
    let Some(group) = provider.group.clone() else { return };
    let target_percent = provider.target_percent;
    let instances = count(state.group_instances(&group).count());
    let idle = idle(state, &group);
    let needed = instances - count(idle.len());
    let is_below = u64::from(needed) * 100 < u64::from(instances) * u64::from(target_percent);
    let Some(provider) = state.capacity_providers.get_mut(name) else { return };
    let since = if is_below { *provider.below_target_since.get_or_insert(now) } else { now };
    let is_due = is_below && now.0 - since.0 >= patience;
    if is_due || !is_below {
        provider.below_target_since = None;
    }
    if !is_due {
        return;
    }
    let Some(group) = state.auto_scaling_groups.get_mut(&group) else { return };
    let wanted = (needed * 100).div_ceil(target_percent).max(group.minimum);
    let surplus = instances.saturating_sub(wanted) as usize;
    let leaving: Vec<String> = idle.into_iter().take(surplus).collect();
    group.desired = group.desired.saturating_sub(count(leaving.len()));
    for arn in leaving {
        crate::instances::take_instance(world, &arn);
    }
}

/// Somebody sets how many instances a group is to have. Those with tasks are protected and stay.
pub(crate) fn set_desired_capacity(world: &mut World, name: &str, wanted: u32) {
    let here = count(world.state.group_instances(name).count());
    let Some(group) = world.state.auto_scaling_groups.get_mut(name) else { return };
    group.desired = wanted;
    let launched = group.launching;
    group.launching = wanted.saturating_sub(here);
    for _ in launched..group.launching {
        let delay = world.between(LAUNCH.0, LAUNCH.1);
        world.due_in(delay, Due::Launched(name.to_owned()));
    }
    let surplus = here.saturating_sub(wanted) as usize;
    for arn in idle(&world.state, name).into_iter().take(surplus) {
        crate::instances::take_instance(world, &arn);
    }
}

/// The instances of a group that nothing needs, in the order in which they go: from the fullest zone first, so that the zones
/// stay even [Auto Scaling, "default termination policy"].
fn idle(state: &State, group: &str) -> Vec<String> {
    let zone = |arn: &String| state.instances[arn].attributes.get("ecs.availability-zone").cloned().flatten();
    let mut by_zone: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    let mut in_zone: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for instance in state.group_instances(group) {
        let zone = zone(&instance.arn);
        *in_zone.entry(zone.clone()).or_default() += 1;
        if state.instance_tasks(&instance.arn).all(|task| state.is_daemons(task)) {
            by_zone.entry(zone).or_default().push(instance.arn.clone());
        }
    }
    let mut order = Vec::new();
    while let Some(zone) = by_zone.keys().max_by_key(|zone| (in_zone[*zone], std::cmp::Reverse(*zone))).cloned() {
        let Some(idle) = by_zone.get_mut(&zone) else { break };
        order.push(idle.remove(0));
        if idle.is_empty() {
            by_zone.remove(&zone);
        }
        *in_zone.entry(zone).or_default() -= 1;
    }
    order
}

#[cfg(test)]
mod tests;
