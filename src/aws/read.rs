//! Reads a cluster: every page, every batch, the `failures` of each answer; describes go out while the next page is listed.

use std::collections::BTreeSet;

use anyhow::{Context, Error, Result};
use aws_sdk_ecs::types::{self, Failure};
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    Clients,
    call::{CallError, persistently},
    convert,
    limits::Class,
    pages::Pages,
    shared::Shared,
};
use crate::{
    planning::{
        imbalance,
        interfaces::{self, Interfaces},
        model::{Cluster, ContainerInstance, Service, Task, TaskArn, TaskDefinition, TaskDefinitionArn, Timestamp},
        placement::Index,
        policy::Policy,
        providers, words,
    },
    progress::{Counter, Kind, Progress},
};

/// The largest page of ListServices (whose default is 10), ListTasks and ListContainerInstances.
pub(super) const PAGE: i32 = 100;
/// DescribeServices takes at most this many; an eleventh is refused.
const SERVICE_BATCH: usize = 10;
/// DescribeTasks and DescribeContainerInstances take at most this many.
const BATCH: usize = 100;
/// DescribeTaskDefinition takes one.
const DEFINITION_BATCH: usize = 1;
/// The most task definitions that a run in mode `spread` reads: ECS lets each be asked for alone, 20 a second, so these take 45 s.
pub const MOST_DEFINITIONS: usize = 900;
/// Describes of one kind under way at once: as many as hide the latency. Each may hold a connection and half a megabyte of
/// answer.
const UNDER_WAY: usize = 4;

/// A cluster as it was read, and what was met on the way.
#[derive(Debug)]
pub struct Reading {
    /// The cluster.
    pub cluster: Cluster,
    /// What was listed but could not be described: as a rule it was gone by then.
    pub vanished: Vec<Vanished>,
    /// What ECS answered and this version can't place, in a sentence each.
    pub oddities: Vec<String>,
}

/// Something that was listed and then not described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// Its ARN.
    pub arn: String,
    /// ECS's reason, as `MISSING`.
    pub reason: String,
}

/// Reads all that the measure needs; of more task definitions than one run reads, those of services that may be moved by this policy
/// come first. `own_task` is the job's own, which is kept out.
///
/// # Errors
/// Names what was being read of which cluster, and ECS's answer.
pub async fn cluster(
    clients: &Clients,
    name: &str,
    own_task: Option<&TaskArn>,
    policy: &Policy,
    now: Timestamp,
    progress: &Progress,
) -> Result<Reading> {
    let shared = Shared::default();
    let ((services, gone_services), (instances, gone_instances), (tasks, gone_tasks)) = tokio::try_join!(
        services(clients, name, progress),
        container_instances(clients, name, &shared, progress),
        tasks(clients, name, &shared, progress),
    )
    .with_context(|| format!("cannot read cluster {name}"))?;
    let mut oddities = Vec::new();
    let mut cluster = convert::cluster(name, services, instances, tasks, &mut oddities);
    if let Some(own_task) = own_task {
        cluster.tasks.remove(own_task);
    }
    let needed = imbalance::definitions_needed(&cluster, policy, now, MOST_DEFINITIONS);
    let (definitions, gone_definitions) = task_definitions(clients, needed.read, progress).await?;
    cluster.unread_definitions = needed.left_out;
    cluster.task_definitions = definitions.into_iter().map(|definition| (definition.arn.clone(), definition)).collect();
    oddities.extend(unknown_instance_types(&cluster));
    oddities.extend(tasks_of_unnamed_providers(&cluster));
    progress.done();
    let vanished = [gone_services, gone_instances, gone_tasks, gone_definitions].into_iter().flatten().collect();
    Ok(Reading { cluster, vanished, oddities })
}

/// The types of instances of which nobody here knows how many network interfaces they have, where that matters.
fn unknown_instance_types(cluster: &Cluster) -> Vec<String> {
    let matters = cluster.task_definitions.values().any(|definition| definition.takes_network_interface);
    let instances = cluster.container_instances.values().filter(|_| matters);
    let unknown: BTreeSet<&str> = instances
        .filter(|instance| Interfaces::of(instance) == Interfaces::UnknownType)
        .filter_map(|instance| instance.attribute(interfaces::INSTANCE_TYPE))
        .collect();
    let told = |name| {
        format!(
            "how many network interfaces an instance of type {name} has is not known: no more awsvpc tasks are sent there"
        )
    };
    unknown.into_iter().map(told).collect()
}

/// The tasks on capacity providers that their service's strategy does not name any more.
fn tasks_of_unnamed_providers(cluster: &Cluster) -> Vec<String> {
    let index = Index::new(cluster);
    let of_service = |service: &Service| {
        let unnamed = providers::unnamed(service, index.tasks_of(service)).into_iter();
        let told = |(provider, tasks)| {
            let name = &service.name;
            let run = words::tasks(tasks);
            let verb = if tasks == 1 { "runs" } else { "run" };
            format!(
                "{run} of service {name} {verb} on capacity provider {provider}, which its strategy doesn't name any more"
            )
        };
        unnamed.map(told).collect::<Vec<_>>()
    };
    cluster.services.values().flat_map(of_service).collect()
}

/// Reads task definitions. One that ECS doesn't know any more is reported as vanished.
///
/// # Errors
/// Names the task definition, and ECS's answer.
pub async fn task_definitions(
    clients: &Clients,
    arns: BTreeSet<TaskDefinitionArn>,
    progress: &Progress,
) -> Result<(Vec<TaskDefinition>, Vec<Vanished>)> {
    let mut named = vec![arns.into_iter().map(|arn| arn.to_string()).collect::<Vec<_>>()];
    list_then_describe(
        Pages::of("a list of task definitions"),
        DEFINITION_BATCH,
        progress.of(Kind::TaskDefinitions),
        async |_| Ok(Page { ids: named.pop().unwrap_or_default(), next: None }),
        async |ids: Vec<String>| {
            let answer = persistently(clients, Class::TaskDefinitionRead, "DescribeTaskDefinition", async || {
                clients.ecs.describe_task_definition().task_definition(&ids[0]).send().await
            })
            .await;
            match answer {
                Ok(answer) => Ok((answer.task_definition.iter().map(convert::task_definition).collect(), Vec::new())),
                Err(error) if error.code == "ClientException" => {
                    Ok((Vec::new(), vec![Vanished { arn: ids[0].clone(), reason: error.message }]))
                }
                Err(error) => Err(error).with_context(|| format!("cannot read task definition {}", ids[0])),
            }
        },
    )
    .await
}

async fn services(clients: &Clients, cluster: &str, progress: &Progress) -> Result<(Vec<Service>, Vec<Vanished>)> {
    list_then_describe(
        Pages::of("ListServices"),
        SERVICE_BATCH,
        progress.of(Kind::Services),
        async |token| {
            let answer = persistently(clients, Class::ServiceRead, "ListServices", async || {
                clients
                    .ecs
                    .list_services()
                    .cluster(cluster)
                    .max_results(PAGE)
                    .set_next_token(token.clone())
                    .send()
                    .await
            });
            answer.await.map(|answer| Page { ids: answer.service_arns.unwrap_or_default(), next: answer.next_token })
        },
        async |ids: Vec<String>| {
            let answer = persistently(clients, Class::ServiceRead, "DescribeServices", async || {
                let request = clients.ecs.describe_services().cluster(cluster).set_services(Some(ids.clone()));
                request.include(types::ServiceField::Tags).send().await
            })
            .await?;
            Ok((answer.services().iter().map(convert::service).collect(), vanished(answer.failures)))
        },
    )
    .await
}

async fn container_instances(
    clients: &Clients,
    cluster: &str,
    shared: &Shared,
    progress: &Progress,
) -> Result<(Vec<ContainerInstance>, Vec<Vanished>)> {
    list_then_describe(
        Pages::of("ListContainerInstances"),
        BATCH,
        progress.of(Kind::ContainerInstances),
        async |token| {
            // Without a status: all but INACTIVE ones, DRAINING included.
            let answer = persistently(clients, Class::ClusterResourceRead, "ListContainerInstances", async || {
                let request = clients.ecs.list_container_instances().cluster(cluster).max_results(PAGE);
                request.set_next_token(token.clone()).send().await
            });
            answer
                .await
                .map(|answer| Page { ids: answer.container_instance_arns.unwrap_or_default(), next: answer.next_token })
        },
        async |ids: Vec<String>| {
            let answer = persistently(clients, Class::ClusterResourceRead, "DescribeContainerInstances", async || {
                let request = clients.ecs.describe_container_instances().cluster(cluster);
                let request = request.include(types::ContainerInstanceField::ContainerInstanceHealth);
                request.set_container_instances(Some(ids.clone())).send().await
            })
            .await?;
            let described = answer.container_instances().iter();
            let described = described.map(|instance| convert::container_instance(instance, shared));
            Ok((described.collect(), vanished(answer.failures)))
        },
    )
    .await
}

async fn tasks(
    clients: &Clients,
    cluster: &str,
    shared: &Shared,
    progress: &Progress,
) -> Result<(Vec<Task>, Vec<Vanished>)> {
    list_then_describe(
        Pages::of("ListTasks"),
        BATCH,
        progress.of(Kind::Tasks),
        async |token| {
            // Without a desired status: RUNNING, which those in PENDING have too.
            let answer = persistently(clients, Class::ClusterResourceRead, "ListTasks", async || {
                clients.ecs.list_tasks().cluster(cluster).max_results(PAGE).set_next_token(token.clone()).send().await
            });
            answer.await.map(|answer| Page { ids: answer.task_arns.unwrap_or_default(), next: answer.next_token })
        },
        async |ids: Vec<String>| {
            let answer = persistently(clients, Class::ClusterResourceRead, "DescribeTasks", async || {
                clients.ecs.describe_tasks().cluster(cluster).set_tasks(Some(ids.clone())).send().await
            })
            .await?;
            Ok((convert::tasks(answer.tasks(), shared), vanished(answer.failures)))
        },
    )
    .await
}

/// One page of a listing.
struct Page {
    ids: Vec<String>,
    next: Option<String>,
}

/// Follows all pages, and describes what they name in full batches while the next page is under way.
///
/// A page may hold fewer than it could, so ids wait until a batch is full; the rest goes out with the last page. What is
/// described comes in the planner's own types: ECS's answers, many times as large, are let go one by one.
async fn list_then_describe<T>(
    mut pages: Pages,
    batch: usize,
    progress: Counter<'_>,
    mut list: impl AsyncFnMut(Option<String>) -> Result<Page, CallError>,
    describe: impl AsyncFn(Vec<String>) -> Result<(Vec<T>, Vec<Vanished>)>,
) -> Result<(Vec<T>, Vec<Vanished>)> {
    let mut describing = FuturesUnordered::new();
    let (mut found, mut gone) = (Vec::new(), Vec::new());
    let mut take = |described: (Vec<T>, Vec<Vanished>)| {
        progress.described(described.0.len() + described.1.len());
        found.extend(described.0);
        gone.extend(described.1);
    };
    let mut waiting: Vec<String> = Vec::new();
    let mut token = None;
    loop {
        let page = {
            let mut listing = std::pin::pin!(list(token.clone()));
            loop {
                tokio::select! {
                    biased;
                    page = &mut listing => break page?,
                    Some(described) = describing.next() => take(described?),
                }
            }
        };
        progress.listed(page.ids.len());
        token = pages.follow(&page.ids, page.next).map_err(Error::msg)?;
        waiting.extend(page.ids);
        let is_last = token.is_none();
        while waiting.len() >= batch || (is_last && !waiting.is_empty()) {
            if describing.len() >= UNDER_WAY
                && let Some(described) = describing.next().await
            {
                take(described?);
            }
            let rest = waiting.split_off(waiting.len().min(batch));
            describing.push(describe(std::mem::replace(&mut waiting, rest)));
        }
        if is_last {
            break;
        }
    }
    while let Some(described) = describing.next().await {
        take(described?);
    }
    Ok((found, gone))
}

pub(super) fn vanished(failures: Option<Vec<Failure>>) -> Vec<Vanished> {
    failures
        .unwrap_or_default()
        .into_iter()
        .map(|failure| Vanished {
            arn: failure.arn.unwrap_or_default(),
            reason: [failure.reason, failure.detail].into_iter().flatten().collect::<Vec<_>>().join(": "),
        })
        .collect()
}
