//! Whether a cluster may be probed, and taking away what probes left in it.

use std::time::Duration;

use aws_sdk_ecs::{
    Client,
    types::{ClusterField, ContainerInstanceStatus, DesiredStatus, ServiceField},
};
use tokio::time::{Instant, sleep};

use super::{
    Site, attempt, call,
    looking::{PAGES, call_page},
    outside,
};
use crate::{
    finding::Stop,
    stack::{PREFIX, Stack, TAG},
};

/// Between two looks at what is going.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// That nothing is there is believed when so many readings in a row say so.
const READINGS: u32 = 3;
/// Between them.
const BETWEEN_READINGS: Duration = Duration::from_secs(1);
/// Whoever cleans goes on after so many failures in a row: nobody comes after it.
const FAILURES: u32 = 5;
/// Targets drain for five minutes at most.
const PATIENCE: Duration = Duration::from_mins(15);

/// Whether the cluster is there to be probed.
///
/// # Errors
/// When it isn't there, or doesn't bear the tag.
pub async fn is_allowed(site: Site<'_>) -> Result<(), Stop> {
    let (ecs, stack) = (&site.connection.ecs, site.stack);
    let request = ecs.describe_clusters().clusters(&stack.cluster).include(ClusterField::Tags);
    let answer = call("DescribeClusters", request.send()).await?;
    let [cluster] = answer.clusters() else {
        return Err(Stop::not_settled(format!("there is no cluster {} in {}", stack.cluster, stack.region)));
    };
    if cluster.tags().iter().any(|tag| tag.key() == Some(TAG)) {
        Ok(())
    } else {
        Err(Stop::not_settled(format!("the cluster {} isn't there to be probed: it has no tag {TAG}", stack.cluster)))
    }
}

/// Takes away every service that a probe made, and waits until its tasks are gone. Tells how many there were.
///
/// # Errors
/// When a call fails, or tasks don't go.
pub async fn clean(site: Site<'_>) -> Result<usize, Stop> {
    let began = Instant::now();
    let (mut deleted, mut empty, mut failed) = (0, 0, 0);
    loop {
        let mut wait = BETWEEN_READINGS;
        match sweep(site).await {
            Ok((0, 0)) if empty + 1 == READINGS => return Ok(deleted),
            Ok((0, 0)) => empty += 1,
            Ok((services, tasks)) => {
                (empty, failed) = (0, 0);
                deleted += services;
                if tasks > 0 {
                    wait = BETWEEN_LOOKS;
                }
                (site.tell)(&format!("{tasks} tasks and instances of deleted services to stop"));
            }
            Err(stop) if failed == FAILURES => return Err(stop),
            Err(stop) => {
                failed += 1;
                wait = BETWEEN_LOOKS;
                (site.tell)(&format!("to clean the cluster, after a failure: {stop}"));
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(Stop::not_settled("tasks of deleted services, or instances, are still there"));
        }
        sleep(wait).await;
    }
}

/// Deletes what is there. Tells how many services it deleted or doesn't know the state of, and how many tasks of such services
/// haven't stopped yet, with what is left of what probes made outside of ECS.
async fn sweep(site: Site<'_>) -> Result<(usize, usize), Stop> {
    let (ecs, stack) = (&site.connection.ecs, site.stack);
    activate(ecs, stack).await?;
    let (left, unknown) = ours(ecs, stack).await?;
    for service in &left {
        let request = ecs.delete_service().cluster(&stack.cluster).service(service).force(true);
        // One that was described late is deleted already.
        attempt("DeleteService", request.send()).await?.ok();
    }
    let tasks = tasks(ecs, stack).await?;
    // [API, UpdateTaskProtection: 10]
    for batch in tasks.chunks(10) {
        let request = ecs.update_task_protection().cluster(&stack.cluster).set_tasks(Some(batch.to_vec()));
        // Some are stopping already, and can't be protected any more.
        attempt("UpdateTaskProtection", request.protection_enabled(false).send()).await?.ok();
    }
    let outside = if left.len() + unknown + tasks.len() > 0 { 0 } else { outside::sweep(site).await? };
    Ok((left.len() + unknown, tasks.len() + outside))
}

/// The cluster is there for nothing but probes: an instance that drains is one that a probe drained.
async fn activate(ecs: &Client, stack: &Stack) -> Result<(), Stop> {
    let request = ecs.list_container_instances().cluster(&stack.cluster).status(ContainerInstanceStatus::Draining);
    let mut pages = request.into_paginator().send();
    let mut left = PAGES;
    while let Some(page) = call_page("ListContainerInstances", &mut left, pages.next().await).await? {
        // [API, UpdateContainerInstancesState: 10]
        for batch in page.container_instance_arns().chunks(10) {
            let request = ecs.update_container_instances_state().cluster(&stack.cluster);
            let request = request.set_container_instances(Some(batch.to_vec())).status(ContainerInstanceStatus::Active);
            call("UpdateContainerInstancesState", request.send()).await?;
        }
    }
    Ok(())
}

/// The services that probes made, by their name's beginning and their tag; and how many are listed, but not described yet.
async fn ours(ecs: &Client, stack: &Stack) -> Result<(Vec<String>, usize), Stop> {
    let mut pages = ecs.list_services().cluster(&stack.cluster).max_results(100).into_paginator().send();
    let mut names = Vec::new();
    let mut left = PAGES;
    while let Some(page) = call_page("ListServices", &mut left, pages.next().await).await? {
        let last = |arn: &String| arn.rsplit('/').next().unwrap_or_default().to_owned();
        names.extend(page.service_arns().iter().map(last).filter(|name| name.starts_with(PREFIX)));
    }
    let (mut ours, mut described) = (Vec::new(), 0);
    // [API, DescribeServices: 10]
    for batch in names.chunks(10) {
        let request = ecs.describe_services().cluster(&stack.cluster).include(ServiceField::Tags);
        let answer = call("DescribeServices", request.set_services(Some(batch.to_vec())).send()).await?;
        let is_ours = |service: &&aws_sdk_ecs::types::Service| {
            service.status() == Some("ACTIVE") && service.tags().iter().any(|tag| tag.key() == Some(TAG))
        };
        described += answer.services().len();
        ours.extend(
            answer.services().iter().filter(is_ours).filter_map(|service| service.service_name().map(str::to_owned)),
        );
    }
    Ok((ours, names.len().saturating_sub(described)))
}

/// The tasks of such services that have not stopped yet: a service that is being deleted isn't listed any more.
async fn tasks(ecs: &Client, stack: &Stack) -> Result<Vec<String>, Stop> {
    let mut arns = Vec::new();
    for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
        let mut pages = ecs.list_tasks().cluster(&stack.cluster).desired_status(status).into_paginator().send();
        let mut left = PAGES;
        while let Some(page) = call_page("ListTasks", &mut left, pages.next().await).await? {
            arns.extend(page.task_arns().iter().cloned());
        }
    }
    let mut left = Vec::new();
    for batch in arns.chunks(100) {
        let request = ecs.describe_tasks().cluster(&stack.cluster).set_tasks(Some(batch.to_vec()));
        let answer = call("DescribeTasks", request.send()).await?;
        let is_left = |task: &&aws_sdk_ecs::types::Task| {
            task.group().is_some_and(|group| group.starts_with(&format!("service:{PREFIX}")))
                && task.last_status() != Some("STOPPED")
        };
        left.extend(answer.tasks().iter().filter(is_left).filter_map(|task| task.task_arn().map(str::to_owned)));
    }
    Ok(left)
}
