//! What may become of a container instance, by whomever.

use crate::{events, life, state::Instance, world::World};

/// A container instance is set to DRAINING, or back to ACTIVE.
pub(crate) fn set_instance_status(world: &mut World, arn: &str, status: &str) {
    let Some(instance) = world.state.instances.get_mut(arn) else { return };
    status.clone_into(&mut instance.status);
    instance.version += 1;
    let services: Vec<String> = world.state.instance_tasks(arn).filter_map(|task| task.service.clone()).collect();
    for service in services {
        world.wake(&service);
    }
    world.wake_daemons();
}

/// A container instance is gone, and so are its tasks.
pub(crate) fn take_instance(world: &mut World, arn: &str) {
    let tasks: Vec<String> = world.state.instance_tasks(arn).map(|task| task.arn.clone()).collect();
    for task in tasks {
        life::lose(world, &task, "Host EC2 (instance) terminated.");
    }
    if let Some(instance) = world.state.instances.get_mut(arn) {
        "INACTIVE".clone_into(&mut instance.status);
        instance.agent_connected = false;
    }
}

/// A container instance joins, as the first usable one is; its ARN.
pub(crate) fn join_instance(world: &mut World) -> Option<String> {
    let model = world.state.instances.values().find(|instance| instance.status == "ACTIVE").cloned()?;
    Some(join_as(world, model))
}

/// One that its Auto Scaling group has launched joins, in the zone with the fewest of the group's.
pub(crate) fn join_group(world: &mut World, group: &str) {
    let Some(known) = world.state.auto_scaling_groups.get_mut(group).filter(|group| group.launching > 0) else {
        return;
    };
    known.launching -= 1;
    let zone = |instance: &Instance| instance.attributes.get("ecs.availability-zone").cloned().flatten();
    // Those that were taken away tell what the group launches, too.
    let providers = world.state.capacity_providers.values();
    let provider = providers.clone().find(|it| it.group.as_deref() == Some(group)).map(|it| it.name.clone());
    let of_group = |instance: &&Instance| instance.capacity_provider == provider;
    let in_zone =
        |instance: &Instance| world.state.group_instances(group).filter(|other| zone(other) == zone(instance)).count();
    let instances = || world.state.instances.values();
    let model = instances().filter(of_group).min_by_key(|instance| (in_zone(instance), instance.arn.clone()));
    // One that has had none yet launches what the cluster's others are.
    if let Some(model) = model.or_else(|| instances().next()).cloned() {
        let model =
            Instance { status: "ACTIVE".to_owned(), agent_connected: true, capacity_provider: provider, ..model };
        join_as(world, model);
    }
}

fn join_as(world: &mut World, mut model: Instance) -> String {
    let (arn, id) = world.new_arn("container-instance");
    let now = world.now;
    // It starts from the same launch template, which knows nothing of what was put on another one since.
    let put = std::mem::take(&mut model.put);
    model.attributes.retain(|name, _| !put.contains(name));
    let instance = Instance {
        arn: arn.clone(),
        health: "OK".to_owned(),
        ec2_instance_id: format!("i-{}", &id[..17]),
        registered_at: Some(now),
        version: 1,
        other_cpu: 0,
        other_memory: 0,
        other_gpus: Vec::new(),
        ..model
    };
    world.state.instances.insert(arn.clone(), instance);
    world.wake_daemons();
    events::joined(world, &arn);
    arn
}
