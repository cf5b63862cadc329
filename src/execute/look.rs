//! Looks at the tasks of a service in hand, with as few requests as will do.

use std::collections::{BTreeMap, BTreeSet};

use super::Shared;
use crate::planning::{
    model::{
        Cluster, ContainerInstance, ContainerInstanceArn, ContainerInstanceStatus, Service, Task, TaskArn, TaskStatus,
        Timestamp,
    },
    providers::tell_managed_instances,
    readiness::{TargetGroups, is_checked, is_ready, settles_at},
    strategy::{Failure, Tasks},
};

/// The tasks as they are now. `known` are those of the look before.
pub(super) async fn tasks(known: Tasks, service: &Service, shared: &Shared<'_>) -> Result<Tasks, Failure> {
    let mut groups = TargetGroups::new();
    for group in service.target_groups.iter().flatten() {
        groups.insert(group.clone(), shared.target.target_health(group).await?.into_iter().collect());
    }
    let counted = (service.running_count + service.pending_count) as usize;
    let all = match at_unready(&known, counted, shared).await? {
        Some(all) => all,
        None => at_all(known.all, &known.ready, service, shared).await?,
    };
    let now = shared.bounds.clock.now();
    Ok(judged(all, &known.running_since, &shared.cluster.borrow(), service, &groups, now))
}

/// Looks only at those tasks that weren't ready: a wait for a few among hundreds needs no more. None when there is no such
/// task, or something else changed: that takes a full look.
async fn at_unready(
    known: &Tasks,
    counted: usize,
    shared: &Shared<'_>,
) -> Result<Option<BTreeMap<TaskArn, Task>>, Failure> {
    let unready: Vec<TaskArn> = known.all.keys().filter(|task| !known.ready.contains(*task)).cloned().collect();
    if known.all.len() != counted || unready.is_empty() {
        return Ok(None);
    }
    let described = shared.target.tasks(&unready).await?;
    if described.len() < unready.len() {
        return Ok(None);
    }
    let mut all = known.all.clone();
    all.extend(described.into_iter().map(|task| (task.arn.clone(), task)));
    Ok(Some(all))
}

/// Lists all, and describes those that weren't known to be ready. One that was and is listed still is ready still: if it
/// turned unhealthy, ECS replaces it, and its replacement is a task that isn't known.
async fn at_all(
    mut all: BTreeMap<TaskArn, Task>,
    ready: &BTreeSet<TaskArn>,
    service: &Service,
    shared: &Shared<'_>,
) -> Result<BTreeMap<TaskArn, Task>, Failure> {
    let listed = shared.target.task_arns(&service.name).await?;
    all.retain(|task, _| listed.contains(task) && ready.contains(task));
    let unknown: Vec<TaskArn> = listed.into_iter().filter(|task| !all.contains_key(task)).collect();
    let described = shared.target.tasks(&unknown).await?;
    all.extend(described.into_iter().map(|task| (task.arn.clone(), task)));
    Ok(all)
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
    let ready: BTreeSet<TaskArn> = all.values().filter(is_ready).map(|task| task.arn.clone()).collect();
    let settling = running_since.iter().filter(|(task, _)| !ready.contains(*task)).map(|(_, since)| settles_at(*since));
    let settled_at = settling.max().filter(|_| !is_checked(service, definition));
    Tasks { all, ready, running_since, settled_at }
}

/// Takes over how container instances are now. One that is gone is INACTIVE. What they have free is left as it is kept in step
/// with the tasks that were seen.
pub(super) fn take_over_instances(cluster: &mut Cluster, asked: &[ContainerInstanceArn], seen: Vec<ContainerInstance>) {
    for arn in asked.iter().filter(|arn| !seen.iter().any(|instance| instance.arn == **arn)) {
        if let Some(known) = cluster.container_instances.get_mut(arn) {
            std::sync::Arc::make_mut(known).status = ContainerInstanceStatus::Inactive;
        }
    }
    for instance in seen {
        if let Some(known) = cluster.container_instances.get_mut(&instance.arn) {
            let known = std::sync::Arc::make_mut(known);
            (known.status, known.agent_connected) = (instance.status, instance.agent_connected);
        } else {
            // It has joined since the cluster was read.
            cluster.container_instances.insert(instance.arn.clone(), instance.into());
        }
    }
    tell_managed_instances(cluster);
}
