//! What comes from outside: instances lost and found, people, auto scaling.

use crate::{
    engine::{Due, Engine, Outside, milliseconds},
    state::{Instance, ScalableTarget},
    timeline::{By, CountChange},
};

/// Lets it happen.
pub(crate) fn happen(engine: &mut Engine, outside: Outside) {
    match outside {
        Outside::LoseInstance => lose_instance(engine),
        Outside::JoinInstance => {
            join_instance(engine);
        }
        Outside::ForeignDeployment => {
            if let Some(name) = busiest(engine) {
                let definition = engine.state.services[&name].task_definition.clone();
                crate::scheduler::deploy(engine, &name, &definition);
            }
        }
        Outside::ForeignCount => {
            if let Some(name) = busiest(engine) {
                let count = engine.state.services[&name].desired_count + 1;
                set_desired_count(engine, &name, count, By::Person);
            }
        }
        Outside::AutoScaling => {
            if let Some(name) = busiest(engine) {
                auto_scale(engine, &name);
            }
            let period = engine.options.faults.auto_scaling.unwrap_or(60.0).max(1.0);
            engine.due_in(milliseconds(period), Due::Outside(Outside::AutoScaling));
        }
        Outside::ManagedScaling => crate::managed_scaling::look(engine),
        Outside::DeleteService => {
            if let Some(name) = busiest(engine) {
                delete(engine, &name, By::Person);
            }
        }
    }
}

/// The service with the most tasks; the first by name among equal ones.
fn busiest(engine: &Engine) -> Option<String> {
    let state = &engine.state;
    let tasks = |name: &String| state.tasks_of.get(name).map_or(0, std::collections::BTreeSet::len);
    state.services.keys().rev().max_by_key(|name| tasks(name)).cloned()
}

/// One alarm: out and in by turns. A count beyond a bound is brought to that bound by an alarm in its direction.
/// [ECS developer guide, "Automatically scale your Amazon ECS service"]
fn auto_scale(engine: &mut Engine, name: &str) {
    let count = engine.state.services[name].desired_count;
    let (minimum, maximum) = engine.options.faults.scaling_bounds.unwrap_or((1, u32::MAX));
    let everywhere = ScalableTarget { minimum, maximum, scales_in: true, scales_out: true };
    let target = engine.state.scalable_targets.get(name).copied().unwrap_or(everywhere);
    let scales_in = engine.scaled_out;
    engine.scaled_out = !scales_in;
    if !(if scales_in { target.scales_in } else { target.scales_out }) {
        return;
    }
    let count = match (scales_in, count) {
        (false, count) if count < target.minimum => target.minimum,
        (false, count) => (count + 1).min(target.maximum.max(count)),
        (true, count) if count > target.maximum => target.maximum,
        (true, count) => count.saturating_sub(1).max(target.minimum.min(count)),
    };
    set_desired_count(engine, name, count, By::AutoScaling);
}

/// From now on Application Auto Scaling keeps the service's count within these bounds; one outside is brought inside at once.
/// [API of Application Auto Scaling, RegisterScalableTarget]
pub(crate) fn register_scalable_target(engine: &mut Engine, name: &str, target: ScalableTarget) {
    engine.state.scalable_targets.insert(name.to_owned(), target);
    let Some(count) = engine.state.services.get(name).map(|service| service.desired_count) else { return };
    let inside = count.clamp(target.minimum, target.maximum);
    if inside != count {
        set_desired_count(engine, name, inside, By::AutoScaling);
    }
}

pub(crate) fn set_desired_count(engine: &mut Engine, name: &str, count: u32, by: By) {
    let now = engine.now;
    if let Some(from) = engine.state.services.get(name).map(|service| service.desired_count) {
        engine.timeline.set_count(name, CountChange { at: now, by, from, to: count });
    }
    let deploys = engine.options.behaviour.get("desired-count-deploys") == "yes";
    if let Some(service) = engine.state.services.get_mut(name) {
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
    engine.note_counts(name);
    engine.wake(name, 1_000);
}

/// Changes how the service's tasks are placed: what is none stays.
pub(crate) fn set_placement(
    engine: &mut Engine,
    name: &str,
    strategy: Option<Vec<(String, String)>>,
    constraints: Option<Vec<(String, String)>>,
) {
    let binds_at_once = engine.options.behaviour.get("constraints-bind") == "at-once";
    let Some(service) = engine.state.services.get_mut(name) else { return };
    service.placement_strategy = strategy.unwrap_or_else(|| std::mem::take(&mut service.placement_strategy));
    service.placement_constraints = constraints.unwrap_or_else(|| std::mem::take(&mut service.placement_constraints));
    if binds_at_once {
        service.bind();
    }
}

/// A container instance is set to DRAINING, or back to ACTIVE.
pub(crate) fn set_instance_status(engine: &mut Engine, arn: &str, status: &str) {
    let Some(instance) = engine.state.instances.get_mut(arn) else { return };
    status.clone_into(&mut instance.status);
    instance.version += 1;
    let services: Vec<String> = engine.state.instance_tasks(arn).filter_map(|task| task.service.clone()).collect();
    for service in services {
        engine.wake(&service, 1_000);
    }
    engine.wake_daemons();
}

pub(crate) fn delete(engine: &mut Engine, name: &str, by: By) {
    let at = engine.now;
    if let Some(from) = engine.state.services.get(name).map(|service| service.desired_count) {
        engine.timeline.set_count(name, CountChange { at, by, from, to: 0 });
    }
    if let Some(service) = engine.state.services.get_mut(name) {
        "DRAINING".clone_into(&mut service.status);
        service.desired_count = 0;
    }
    engine.wake(name, 1_000);
}

fn lose_instance(engine: &mut Engine) {
    let candidates: Vec<String> =
        engine.state.instances.values().filter(|i| i.status == "ACTIVE").map(|i| i.arn.clone()).collect();
    if candidates.len() < 2 {
        return;
    }
    let last = i64::try_from(candidates.len()).unwrap_or(1) - 1;
    let index = usize::try_from(engine.between(0, last)).unwrap_or(0);
    let arn = candidates[index].clone();
    take_instance(engine, &arn);
}

/// A container instance is gone, and so are its tasks.
pub(crate) fn take_instance(engine: &mut Engine, arn: &str) {
    let tasks: Vec<String> = engine.state.instance_tasks(arn).map(|task| task.arn.clone()).collect();
    for task in tasks {
        crate::life::lose(engine, &task, "Host EC2 (instance) terminated.");
    }
    if let Some(instance) = engine.state.instances.get_mut(arn) {
        "INACTIVE".clone_into(&mut instance.status);
        instance.agent_connected = false;
    }
}

/// A container instance joins, as the first usable one is; its ARN.
pub(crate) fn join_instance(engine: &mut Engine) -> Option<String> {
    let (arn, id) = engine.new_arn("container-instance");
    let now = engine.now;
    let mut model = engine.state.instances.values().find(|instance| instance.status == "ACTIVE").cloned()?;
    // It starts from the same launch template, which knows nothing of what was put on another one since.
    let put = std::mem::take(&mut model.put);
    model.attributes.retain(|name, _| !put.contains(name));
    let instance = Instance {
        arn: arn.clone(),
        ec2_instance_id: format!("i-{}", &id[..17]),
        registered_at: Some(now),
        version: 1,
        other_cpu: 0,
        other_memory: 0,
        other_gpus: Vec::new(),
        ..model
    };
    engine.state.instances.insert(arn.clone(), instance);
    engine.wake_daemons();
    Some(arn)
}
