//! New deployments, and the way back from those that failed.

use crate::{state::Deployment, world::World};

/// A new deployment in front of the others; a deployment under way before it is superseded.
pub(crate) fn deploy(world: &mut World, name: &str, task_definition: &str) {
    let id = format!("ecs-svc/{}", world.between(1_000_000_000_000_000_000, 9_000_000_000_000_000_000));
    let now = world.now;
    let begins_in_second = world.options.behaviour.get("live-target-group") == "second";
    let Some(service) = world.state.services.get_mut(name) else { return };
    // Blue and green swap with each deployment.
    let in_alternate = match service.deployments.first() {
        Some(before) => before.in_alternate != service.swaps(),
        None => service.swaps() && begins_in_second,
    };
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
            in_alternate,
            is_taken_up: false,
            failed_tasks: 0,
            created_at: Some(now),
            updated_at: Some(now),
        },
    );
    service.backs_off_until = now;
    service.failed_starts = 0;
    service.is_steady = false;
    world.wake(name);
}

/// Back to the last deployment that was completed.
pub(crate) fn roll_back(world: &mut World, name: &str) {
    let Some(service) = world.state.services.get(name) else { return };
    let before = service.deployments.iter().find(|deployment| deployment.rollout_state == "COMPLETED").cloned();
    if let Some(before) = before {
        deploy(world, name, &before.task_definition);
    }
}
