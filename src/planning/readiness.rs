//! Is a new task ready to take the place of an old one? By every health check that its service has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    model::{Health, Service, Task, TaskDefinition, TaskStatus, Timestamp},
    notes::CLOCKS_APART,
};

/// Without any health check ECS takes a task for healthy this long after it reached RUNNING [API, DeploymentConfiguration].
pub const SETTLING: Duration = Duration::from_secs(40);

/// A target of a target group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetHealth {
    /// An EC2 instance's id, or an address.
    pub id: String,
    /// The port that it is registered with.
    pub port: u16,
    /// Whether its state is `healthy`.
    pub healthy: bool,
}

/// The targets of each target group, by ARN.
pub type TargetGroups = BTreeMap<String, BTreeSet<TargetHealth>>;

/// Whether a task counts as healthy: RUNNING; every essential container with a health check HEALTHY; its target healthy in
/// every target group, of a pair in either; and where there is neither, 40 s after its start.
///
/// `running_since` is when this run first saw it in RUNNING; `ec2_instance_id` is that of the container instance that it runs on.
pub fn is_ready(
    task: &Task,
    service: &Service,
    definition: Option<&TaskDefinition>,
    ec2_instance_id: &str,
    target_groups: &TargetGroups,
    running_since: Timestamp,
    now: Timestamp,
) -> bool {
    if task.last_status != TaskStatus::Running || task.health == Health::Unhealthy {
        return false;
    }
    let is_healthy = |container: &String| task.healthy_containers.iter().any(|healthy| **healthy == **container);
    if task.health != Health::Healthy && !checked_containers(definition).all(is_healthy) {
        return false;
    }
    let in_service = |group: &String| {
        target_groups.get(group).is_some_and(|targets| {
            targets.iter().any(|target| target.healthy && is_target_of(target, task, ec2_instance_id))
        })
    };
    // Of a pair of blue/green either may be live.
    if !service.target_groups.iter().all(|pair| pair.iter().any(in_service)) {
        return false;
    }
    is_checked(service, definition)
        || is_past(running_since, SETTLING, now)
        || task.started_at.is_some_and(|started| is_past(started, SETTLING + CLOCKS_APART, now))
}

/// Whether there is any check of a service's tasks; else only time tells.
pub fn is_checked(service: &Service, definition: Option<&TaskDefinition>) -> bool {
    checked_containers(definition).next().is_some() || !service.target_groups.is_empty()
}

fn checked_containers(definition: Option<&TaskDefinition>) -> impl Iterator<Item = &String> {
    definition.into_iter().flat_map(|definition| &definition.checked_containers)
}

/// When a task without any check counts as healthy that was first seen running then.
pub fn settles_at(running_since: Timestamp) -> Timestamp {
    Timestamp(running_since.0.saturating_add(i64::try_from(SETTLING.as_millis()).unwrap_or(i64::MAX)))
}

/// A target is an instance with a port of the task's (target type `instance`), or an address of the task's own (`ip`).
fn is_target_of(target: &TargetHealth, task: &Task, ec2_instance_id: &str) -> bool {
    task.addresses.contains(&target.id)
        || (target.id == ec2_instance_id && !ec2_instance_id.is_empty() && task.host_ports.contains(&target.port))
}

fn is_past(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    u128::try_from(now.milliseconds_since(since)).is_ok_and(|milliseconds| milliseconds >= span.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing::{self, NOW};

    /// Whether a task is ready that has run for long, of a definition with these checked containers, and with such containers.
    fn is_ready_where(checked: &[&str], health: Health, healthy: &[&str]) -> bool {
        let cluster = testing::cluster("a i-1 web");
        let service = &cluster.services[&"web".into()];
        let mut definition = cluster.task_definitions[&service.task_definition].clone();
        definition.checked_containers = checked.iter().map(|name| (*name).to_owned()).collect();
        let mut task = (**cluster.tasks.values().next().unwrap()).clone();
        (task.health, task.healthy_containers) = (health, healthy.iter().map(|name| (*name).into()).collect());
        is_ready(&task, service, Some(&definition), "i-1", &TargetGroups::new(), Timestamp(0), NOW)
    }

    #[test]
    fn a_task_is_judged_by_those_of_its_containers_that_have_a_check() {
        for (checked, health, healthy, expected) in [
            (&[][..], Health::Unknown, &[][..], true),
            (&["app"], Health::Healthy, &[], true),
            (&["app"], Health::Unknown, &[], false),
            // Beside an essential container without a check the whole task stays UNKNOWN for ever.
            (&["app"], Health::Unknown, &["app"], true),
            (&["app", "proxy"], Health::Unknown, &["app"], false),
            (&["app", "proxy"], Health::Unknown, &["app", "proxy"], true),
            (&["app"], Health::Unknown, &["not-essential"], false),
            (&["app"], Health::Unhealthy, &["app"], false),
        ] {
            assert_eq!(is_ready_where(checked, health, healthy), expected, "{checked:?} {health:?} {healthy:?}");
        }
    }
}
