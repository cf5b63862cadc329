//! What comes from outside: instances lost and found, people, auto scaling.

use crate::{
    deployments,
    instances::{join_instance, take_instance},
    managed_scaling::{self, PERIOD_MILLISECONDS},
    services::{delete, set_desired_count},
    state::ScalableTarget,
    timeline::By,
    world::{Due, Outside, World, milliseconds},
};

/// Puts on the agenda what the faults ask for.
pub(crate) fn expect(world: &mut World) {
    let faults = world.options.faults.clone();
    for (seconds, outside) in [
        (faults.lose_instance, Outside::LoseInstance),
        (faults.foreign_deployment, Outside::ForeignDeployment),
        (faults.foreign_count, Outside::ForeignCount),
        (faults.auto_scaling, Outside::AutoScaling),
        (faults.join_instance, Outside::JoinInstance),
        (faults.delete_service, Outside::DeleteService),
        (faults.managed_scaling.map(|_| 0.0), Outside::ManagedScaling),
    ] {
        if let Some(seconds) = seconds {
            world.due_in(milliseconds(seconds), Due::Outside(outside));
        }
    }
}

/// Lets it happen.
pub(crate) fn happen(world: &mut World, outside: Outside) {
    match outside {
        Outside::LoseInstance => lose_instance(world),
        Outside::JoinInstance => {
            join_instance(world);
        }
        Outside::ForeignDeployment => {
            if let Some(name) = busiest(world) {
                let definition = world.state.services[&name].task_definition.clone();
                deployments::deploy(world, &name, &definition);
            }
        }
        Outside::ForeignCount => {
            if let Some(name) = busiest(world) {
                let count = world.state.services[&name].desired_count + 1;
                set_desired_count(world, &name, count, By::Person);
            }
        }
        Outside::AutoScaling => {
            if let Some(name) = busiest(world) {
                auto_scale(world, &name);
            }
            let period = world.options.faults.auto_scaling.unwrap_or(60.0).max(1.0);
            world.due_in(milliseconds(period), Due::Outside(Outside::AutoScaling));
        }
        Outside::ManagedScaling => {
            managed_scaling::look(world);
            world.due_in(PERIOD_MILLISECONDS, Due::Outside(Outside::ManagedScaling));
        }
        Outside::DeleteService => {
            if let Some(name) = busiest(world) {
                delete(world, &name, By::Person);
            }
        }
    }
}

/// The service with the most tasks; the first by name among equal ones.
fn busiest(world: &World) -> Option<String> {
    let state = &world.state;
    let tasks = |name: &String| state.tasks_of.get(name).map_or(0, std::collections::BTreeSet::len);
    state.services.keys().rev().max_by_key(|name| tasks(name)).cloned()
}

/// One alarm: out and in by turns. A count beyond a bound is brought to that bound by an alarm in its direction.
/// [ECS developer guide, "Automatically scale your Amazon ECS service"]
fn auto_scale(world: &mut World, name: &str) {
    let count = world.state.services[name].desired_count;
    let (minimum, maximum) = world.options.faults.scaling_bounds.unwrap_or((1, u32::MAX));
    let everywhere = ScalableTarget { minimum, maximum, scales_in: true, scales_out: true };
    let target = world.state.scalable_targets.get(name).copied().unwrap_or(everywhere);
    let scales_in = world.scaled_out;
    world.scaled_out = !scales_in;
    if !(if scales_in { target.scales_in } else { target.scales_out }) {
        return;
    }
    let count = match (scales_in, count) {
        (false, count) if count < target.minimum => target.minimum,
        (false, count) => (count + 1).min(target.maximum.max(count)),
        (true, count) if count > target.maximum => target.maximum,
        (true, count) => count.saturating_sub(1).max(target.minimum.min(count)),
    };
    set_desired_count(world, name, count, By::AutoScaling);
}

fn lose_instance(world: &mut World) {
    let candidates: Vec<String> =
        world.state.instances.values().filter(|i| i.status == "ACTIVE").map(|i| i.arn.clone()).collect();
    if candidates.len() < 2 {
        return;
    }
    let last = i64::try_from(candidates.len()).unwrap_or(1) - 1;
    let index = usize::try_from(world.between(0, last)).unwrap_or(0);
    let arn = candidates[index].clone();
    take_instance(world, &arn);
}
