//! The container instance whose event launched the run, looked at before anything else: every start and stop of a task sends such
//! an event, a run's own moves too, so most runs end here, after a request or two.

use std::{
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

use crate::{
    aws::{Target, look::Sighting},
    planning::{
        model::{ContainerInstanceArn, SchedulingStrategy, ServiceName, Task, TaskArn},
        strategy::Failure,
    },
};

/// More tasks than this on a container instance are not those of daemons: it has not just joined.
const MOST_DAEMONS: u32 = 10;

/// Runs whose container instances join at the same moment ask for the lease within so many milliseconds.
const APART_MILLISECONDS: u64 = 5_000;

/// How long a run waits before it asks for the lease, so that most of those that start at once see that another has asked.
pub(super) fn stagger(run_id: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    hasher.write(run_id.as_bytes());
    Duration::from_millis(hasher.finish() % APART_MILLISECONDS)
}

/// Whether the container instance has just become usable: ACTIVE, agent connected, and no task on it but those of daemons and of
/// the job itself, whose task definition family is `own_family`. Else why the run is not wanted. At most four requests.
///
/// # Errors
/// When the container instance can't be looked at.
pub(super) async fn unwanted(
    target: Target<'_>,
    arn: &ContainerInstanceArn,
    own_task: Option<&TaskArn>,
) -> Result<Option<String>, Failure> {
    let seen = target.container_instances(std::slice::from_ref(arn)).await?;
    let Some(instance) = seen.first() else {
        return Ok(Some(format!("container instance {} is not in the cluster (any more)", arn.short())));
    };
    if !instance.is_usable() {
        return Ok(Some(format!("container instance {} is not ACTIVE with its agent connected", arn.short())));
    }
    let tasks = instance.running_tasks_count.saturating_add(instance.pending_tasks_count);
    if tasks == 0 {
        return Ok(None);
    }
    let busy = || Some(format!("container instance {} has tasks already: it has not just joined", arn.short()));
    if tasks > MOST_DAEMONS {
        return Ok(busy());
    }
    let mut listed: Vec<TaskArn> = target.task_arns_on(arn).await?.into_iter().collect();
    // The own task tells the own family, wherever it is: another run's task may be here, and this run's there.
    let is_here = |own: &&TaskArn| cluster_name(own.as_str()) == cluster_name(arn.as_str());
    listed.extend(own_task.filter(is_here).filter(|own| !listed.contains(own)).cloned());
    let mut found = target.tasks(&listed).await?;
    let own_family = found.iter().find(|task| Some(&task.arn) == own_task).map(|task| family(task).to_owned());
    found.retain(|task| own_family.as_deref() != Some(family(task)) && Some(&task.arn) != own_task);
    let mut services: Vec<ServiceName> = Vec::new();
    for task in &found {
        match &task.service {
            Some(service) if !services.contains(service) => services.push(service.clone()),
            Some(_) => {}
            None => return Ok(busy()),
        }
    }
    if services.is_empty() {
        return Ok(None);
    }
    let sightings = target.services(&services).await?;
    let is_daemon = |sighting: &Sighting| match sighting {
        Sighting::There(service) => service.scheduling_strategy == SchedulingStrategy::Daemon,
        Sighting::Missing | Sighting::Deleted => false,
    };
    Ok(if sightings.values().all(is_daemon) { None } else { busy() })
}

/// The cluster that an ARN names: `shop` of `.../task/shop/158d1c80`.
fn cluster_name(arn: &str) -> Option<&str> {
    arn.rsplit('/').nth(1)
}

/// A task definition's family: `web` of `.../web:7`.
fn family(task: &Task) -> &str {
    task.task_definition.short().rsplit_once(':').map_or("", |(family, _)| family)
}
