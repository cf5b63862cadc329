//! Looks at the tasks of a service in hand, with as few requests as will do.

use std::collections::BTreeMap;

use anyhow::Result;

use super::hand::Round;
use crate::planning::{
    model::{Cluster, ContainerInstanceArn, Service, Task, TaskArn, TaskStatus, Timestamp},
    readiness::{TargetGroups, is_ready},
    step::Tasks,
};

/// The tasks as they are now. `known` are those of the look before.
pub(super) async fn tasks(known: Tasks, cluster: &Cluster, service: &Service, round: &Round<'_>) -> Result<Tasks> {
    let groups = target_groups(service, round).await?;
    let counted = (service.running_count + service.pending_count) as usize;
    if known.all.len() == counted
        && let Some(tasks) = at_unready(&known, cluster, service, &groups, round).await?
    {
        return Ok(tasks);
    }
    at_all(known, cluster, service, &groups, round).await
}

async fn target_groups(service: &Service, round: &Round<'_>) -> Result<TargetGroups> {
    let mut groups = TargetGroups::new();
    for group in &service.target_groups {
        groups.insert(group.clone(), round.target.target_health(group).await?.into_iter().collect());
    }
    Ok(groups)
}

/// Looks only at those tasks that weren't ready: a wait for a few among hundreds needs no more. None when there is no such
/// task, or something else changed: that takes a full look.
async fn at_unready(
    known: &Tasks,
    cluster: &Cluster,
    service: &Service,
    groups: &TargetGroups,
    round: &Round<'_>,
) -> Result<Option<Tasks>> {
    let unready: Vec<TaskArn> = known.all.keys().filter(|task| !known.ready.contains(*task)).cloned().collect();
    if unready.is_empty() {
        return Ok(None);
    }
    let described = round.target.tasks(&unready).await?;
    if described.len() < unready.len() {
        return Ok(None);
    }
    let mut all = known.all.clone();
    all.extend(described.into_iter().map(|task| (task.arn.clone(), task)));
    Ok(Some(judged(all, &known.running_since, cluster, service, groups, round.now)))
}

/// Lists all, and describes those that weren't known to be ready. One that was and is listed still is ready still: if it
/// turned unhealthy, ECS replaces it, and its replacement is a task that isn't known.
async fn at_all(
    mut known: Tasks,
    cluster: &Cluster,
    service: &Service,
    groups: &TargetGroups,
    round: &Round<'_>,
) -> Result<Tasks> {
    let listed = round.target.task_arns(&service.name).await?;
    known.all.retain(|task, _| listed.contains(task) && known.ready.contains(task));
    let unknown: Vec<TaskArn> = listed.into_iter().filter(|task| !known.all.contains_key(task)).collect();
    let described = round.target.tasks(&unknown).await?;
    known.all.extend(described.into_iter().map(|task| (task.arn.clone(), task)));
    Ok(judged(known.all, &known.running_since, cluster, service, groups, round.now))
}

/// Which of the tasks are ready.
fn judged(
    all: BTreeMap<TaskArn, Task>,
    known_running_since: &BTreeMap<TaskArn, Timestamp>,
    cluster: &Cluster,
    service: &Service,
    groups: &TargetGroups,
    now: Timestamp,
) -> Tasks {
    let definition = cluster.task_definitions.get(&service.task_definition);
    let instance_id = |instance: Option<&ContainerInstanceArn>| {
        let instance = instance.and_then(|arn| cluster.container_instances.get(arn));
        instance.map_or("", |instance| instance.ec2_instance_id.as_str())
    };
    let running = all.values().filter(|task| task.last_status == TaskStatus::Running);
    let running_since: BTreeMap<TaskArn, Timestamp> =
        running.map(|task| (task.arn.clone(), known_running_since.get(&task.arn).copied().unwrap_or(now))).collect();
    let is_ready = |task: &&Task| {
        let since = running_since.get(&task.arn).copied().unwrap_or(now);
        is_ready(task, service, definition, instance_id(task.container_instance.as_ref()), groups, since, now)
    };
    let ready = all.values().filter(is_ready).map(|task| task.arn.clone()).collect();
    Tasks { all, ready, running_since }
}
