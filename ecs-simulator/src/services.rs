//! What may be changed of a service, by whomever.

use crate::{
    state::ScalableTarget,
    timeline::{By, CountChange},
    world::World,
};

/// From now on Application Auto Scaling keeps the service's count within these bounds; one outside is brought inside at once.
/// [API of Application Auto Scaling, RegisterScalableTarget]
pub(crate) fn register_scalable_target(world: &mut World, name: &str, target: ScalableTarget) {
    world.state.scalable_targets.insert(name.to_owned(), target);
    let Some(count) = world.state.services.get(name).map(|service| service.desired_count) else { return };
    let stays = world.options.behaviour.get("count-above-maximum") == "stays";
    let inside = if stays { count.max(target.minimum) } else { count.clamp(target.minimum, target.maximum) };
    if inside != count {
        set_desired_count(world, name, inside, By::AutoScaling);
    }
}

/// Somebody sets a desired count.
pub(crate) fn set_desired_count(world: &mut World, name: &str, count: u32, by: By) {
    let now = world.now;
    if let Some(from) = world.state.services.get(name).map(|service| service.desired_count) {
        world.timeline.set_count(name, CountChange { at: now, by, from, to: count });
    }
    let deploys = world.options.behaviour.get("desired-count-deploys") == "yes";
    if let Some(service) = world.state.services.get_mut(name) {
        service.stale_desired_count = (service.desired_count, now);
        if deploys
            && service.desired_count != count
            && let Some(primary) = service.deployments.first_mut()
        {
            "IN_PROGRESS".clone_into(&mut primary.rollout_state);
            primary.updated_at = Some(now);
        }
        service.desired_count = count;
    }
    world.note_counts(name);
    world.wake(name);
}

/// Changes how the service's tasks are placed: what is none stays.
pub(crate) fn set_placement(
    world: &mut World,
    name: &str,
    strategy: Option<Vec<(String, String)>>,
    constraints: Option<Vec<(String, String)>>,
) {
    let binds_at_once = world.options.behaviour.get("constraints-bind") == "at-once";
    let Some(service) = world.state.services.get_mut(name) else { return };
    service.placement_strategy = strategy.unwrap_or_else(|| std::mem::take(&mut service.placement_strategy));
    service.placement_constraints = constraints.unwrap_or_else(|| std::mem::take(&mut service.placement_constraints));
    if binds_at_once {
        service.bind();
    }
}

/// Somebody deletes it: it loses its tasks.
pub(crate) fn delete(world: &mut World, name: &str, by: By) {
    let at = world.now;
    if let Some(from) = world.state.services.get(name).map(|service| service.desired_count) {
        world.timeline.set_count(name, CountChange { at, by, from, to: 0 });
    }
    if let Some(service) = world.state.services.get_mut(name) {
        "DRAINING".clone_into(&mut service.status);
        service.desired_count = 0;
    }
    world.wake(name);
}
