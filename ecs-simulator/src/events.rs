//! What EventBridge has of container instances, which a rule sends to a queue.
//! [ECS developer guide, "Container instance state change events"]

use crate::world::World;

/// From an agent's registration to its connection.
const CONNECTION: i64 = 3_000;

/// A container instance has joined.
pub(crate) fn joined(world: &mut World, arn: &str) {
    let now = world.now;
    let behaviour = world.options.behaviour.get("join-events");
    let Some(instance) = world.state.instances.get_mut(arn) else { return };
    world.queue.push(now, 0, instance);
    match behaviour {
        "several" => {
            instance.version += 1;
            world.queue.push(now, CONNECTION, instance);
        }
        "repeated" => world.queue.push(now, CONNECTION, instance),
        _ => {}
    }
}
