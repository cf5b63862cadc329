//! What the scheduler does about load balancers: tasks are registered one look after they are seen running, and taken off one look
//! after they are stopped.

use super::{id_of, tell_stopped};
use crate::{
    life,
    state::{Status, Target},
    world::World,
};

/// Does what is due, and tells it in one line each. Whether anything was done, or is to be done at the next look.
pub(super) fn attend(world: &mut World, name: &str) -> bool {
    let Some(service) = world.state.services.get(name) else { return false };
    if service.target_groups.is_empty() && service.to_deregister.is_empty() {
        return false;
    }
    let took_off = deregister(world, name);
    let stopped = stop_drained(world, name);
    let put_on = register(world, name);
    let told = tell_unhealthy(world, name);
    let pending = world.state.services.get(name).is_some_and(|service| !service.to_deregister.is_empty());
    took_off | stopped | put_on | told | pending
}

fn deregister(world: &mut World, name: &str) -> bool {
    let now = world.now;
    // Until 2021 a task's targets were taken off by the very look that decided its end.
    let at_once = world.options.behaviour.get("stop-order") == "until-2021";
    let Some(service) = world.state.services.get_mut(name) else { return false };
    let due: Vec<String> = service
        .to_deregister
        .iter()
        .filter(|(_, since)| at_once || **since <= now)
        .map(|(arn, _)| arn.clone())
        .collect();
    service.to_deregister.retain(|arn, _| !due.contains(arn));
    let deployment = service.newest_deployment().to_owned();
    let delay = life::deregistration(world);
    for arn in &due {
        let Some(task) = world.state.tasks.get_mut(arn) else { continue };
        if task.status != Status::Stopped {
            task.target = Target::Draining;
        }
        if task.status == Status::Deactivating {
            world.task_due_in(delay, arn);
        }
    }
    let number = due.len();
    if number == 0 {
        return false;
    }
    tell_groups(world, name, "deregistered", &due);
    let what = format!("(service {name}, taskSet {deployment}) has begun draining connections on {number} tasks.");
    world.tell(name, what);
    true
}

/// In the order until 2021: what is drained is told to stop.
fn stop_drained(world: &mut World, name: &str) -> bool {
    let drained = world
        .state
        .service_tasks(name)
        .filter(|task| task.status == Status::Deactivating && task.target == Target::Unused)
        .map(|task| task.arn.clone());
    let drained: Vec<String> = drained.collect();
    for arn in &drained {
        life::signal(world, arn);
    }
    tell_stopped(world, name, &drained);
    !drained.is_empty()
}

fn register(world: &mut World, name: &str) -> bool {
    let running = |target: Target| {
        let tasks = world.state.service_tasks(name);
        let found = tasks.filter(|task| task.wanted && task.status == Status::Running && task.target == target);
        found.map(|task| task.arn.clone()).collect::<Vec<_>>()
    };
    let (new, seen) = (running(Target::None), running(Target::Seen));
    for arn in &seen {
        life::register_target(world, arn);
    }
    for arn in &new {
        if let Some(task) = world.state.tasks.get_mut(arn) {
            task.target = Target::Seen;
        }
    }
    tell_groups(world, name, "registered", &seen);
    seen.len() + new.len() > 0
}

/// One line for each target group that some of these tasks are in.
fn tell_groups(world: &mut World, name: &str, what: &str, tasks: &[String]) {
    for in_alternate in [false, true] {
        let is_there = |arn: &&String| world.state.tasks.get(*arn).is_some_and(|it| it.in_alternate == in_alternate);
        let number = tasks.iter().filter(is_there).count();
        let groups = world.state.services.get(name).map(|service| service.group_arns(in_alternate)).unwrap_or_default();
        for group in groups.iter().filter(|_| number > 0) {
            world.tell(name, format!("(service {name}) {what} {number} targets in (target-group {group})"));
        }
    }
}

/// Those that failed their checks, once the grace period is over; they are replaced from the next look on.
fn tell_unhealthy(world: &mut World, name: &str) -> bool {
    let Some(service) = world.state.services.get(name) else { return false };
    let grace = i64::from(service.grace_period_seconds) * 1000;
    let is_over = |started: Option<crate::moment::Moment>| started.is_none_or(|at| world.now.0 - at.0 >= grace);
    let failing: Vec<(String, u16, bool)> = world
        .state
        .service_tasks(name)
        .filter(|task| task.wanted && task.target == Target::Failing && is_over(task.started_at))
        .map(|task| (task.arn.clone(), task.host_port, task.in_alternate))
        .collect();
    for (arn, port, in_alternate) in &failing {
        if let Some(task) = world.state.tasks.get_mut(arn) {
            task.target = Target::Unhealthy;
        }
        let id = id_of(arn);
        let groups =
            world.state.services.get(name).map(|service| service.group_arns(*in_alternate)).unwrap_or_default();
        for group in groups {
            let what = format!(
                "(service {name}) (task {id}) (port {port}) is unhealthy in (target-group {group}) due to (reason Health checks failed)"
            );
            world.tell(name, what);
        }
    }
    !failing.is_empty()
}
