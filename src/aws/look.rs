//! Looks at the services in hand while they change: as few requests as what is asked allows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use aws_sdk_ecs::types;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{act::Target, call::call, convert, limits::Class, read, shared};
use crate::planning::{
    marks::{LEASE_TAG, LeaseMark},
    model::{Service, ServiceName, Task, TaskArn, Timestamp},
    readiness::TargetHealth,
};

/// DescribeServices takes at most this many.
const SERVICE_BATCH: usize = 10;
/// DescribeTasks and GetTaskProtection take at most this many.
const TASK_BATCH: usize = 100;
/// Requests under way at once: enough to hide the latency, few enough for one connection pool.
pub(super) const UNDER_WAY: usize = 8;

impl Target<'_> {
    /// The services as they are now; one that is gone is missing.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn services(self, names: &[ServiceName]) -> Result<BTreeMap<ServiceName, Service>> {
        let Self { clients, cluster } = self;
        let batches = names.chunks(SERVICE_BATCH).map(|batch| async move {
            let batch: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let answer = call(&clients.limits, Class::ServiceRead, "DescribeServices", async || {
                let request = clients.ecs.describe_services().cluster(cluster).set_services(Some(batch.clone()));
                request.include(types::ServiceField::Tags).send().await
            })
            .await
            .with_context(|| format!("cannot look at services {} (cluster {cluster})", batch.join(", ")))?;
            anyhow::Ok(answer.services.unwrap_or_default())
        });
        let answers: Vec<Vec<types::Service>> = stream::iter(batches).buffered(UNDER_WAY).try_collect().await?;
        Ok(answers.iter().flatten().map(convert::service).map(|service| (service.name.clone(), service)).collect())
    }

    /// The ARNs of a service's tasks whose desired status is RUNNING.
    ///
    /// # Errors
    /// Names the service, and ECS's answer.
    pub async fn task_arns(self, service: &ServiceName) -> Result<BTreeSet<TaskArn>> {
        let Self { clients, cluster } = self;
        let mut arns = BTreeSet::new();
        let mut token = None;
        for _ in 0..read::PAGES {
            let answer = call(&clients.limits, Class::ClusterResourceRead, "ListTasks", async || {
                let request = clients.ecs.list_tasks().cluster(cluster).service_name(service.as_str());
                request.max_results(read::PAGE).set_next_token(token.clone()).send().await
            })
            .await
            .with_context(|| format!("cannot list the tasks of service {service} (cluster {cluster})"))?;
            arns.extend(answer.task_arns().iter().map(|arn| TaskArn::from(arn.as_str())));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(arns)
    }

    /// Tasks as they are now; those that are gone, or whose end is decided, are missing.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn tasks(self, arns: &[TaskArn]) -> Result<Vec<Task>> {
        let Self { clients, cluster } = self;
        let batches = arns.chunks(TASK_BATCH).map(|batch| async move {
            let batch: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let answer = call(&clients.limits, Class::ClusterResourceRead, "DescribeTasks", async || {
                clients.ecs.describe_tasks().cluster(cluster).set_tasks(Some(batch.clone())).send().await
            })
            .await
            .with_context(|| format!("cannot look at {} tasks (cluster {cluster})", batch.len()))?;
            anyhow::Ok(convert::tasks(answer.tasks(), &shared::Shared::default()))
        });
        let answers: Vec<Vec<Task>> = stream::iter(batches).buffered(UNDER_WAY).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Which of the tasks are protected from scale-in, and until when.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn protections(self, tasks: &[TaskArn]) -> Result<BTreeMap<TaskArn, Timestamp>> {
        let Self { clients, cluster } = self;
        let batches = tasks.chunks(TASK_BATCH).map(|batch| async move {
            let batch: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let answer = call(&clients.limits, Class::TaskProtection, "GetTaskProtection", async || {
                clients.ecs.get_task_protection().cluster(cluster).set_tasks(Some(batch.clone())).send().await
            })
            .await
            .with_context(|| format!("cannot read the protection of {} tasks (cluster {cluster})", batch.len()))?;
            anyhow::Ok(answer.protected_tasks.unwrap_or_default())
        });
        let answers: Vec<Vec<types::ProtectedTask>> = stream::iter(batches).buffered(UNDER_WAY).try_collect().await?;
        Ok(answers.iter().flatten().filter_map(convert::protection).collect())
    }

    /// The targets of a target group, and how they are.
    ///
    /// # Errors
    /// Names the target group, and Elastic Load Balancing's answer.
    pub async fn target_health(self, target_group: &str) -> Result<Vec<TargetHealth>> {
        let clients = self.clients;
        let answer = call(&clients.limits, Class::Elsewhere, "DescribeTargetHealth", async || {
            clients.load_balancing.describe_target_health().target_group_arn(target_group).send().await
        })
        .await
        .with_context(|| format!("cannot look at the targets of {target_group}"))?;
        Ok(answer.target_health_descriptions().iter().filter_map(convert::target_health).collect())
    }

    /// The run at work on the cluster, and the cluster's ARN.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn lease(self) -> Result<(String, Option<LeaseMark>)> {
        let Self { clients, cluster } = self;
        let answer = call(&clients.limits, Class::ClusterRead, "DescribeClusters", async || {
            clients.ecs.describe_clusters().clusters(cluster).include(types::ClusterField::Tags).send().await
        })
        .await
        .with_context(|| format!("cannot look at cluster {cluster}"))?;
        let found = answer.clusters().first().with_context(|| format!("cluster {cluster} does not exist"))?;
        let tag = found.tags().iter().find(|tag| tag.key() == Some(LEASE_TAG));
        let lease = tag.and_then(|tag| LeaseMark::parse(tag.value().unwrap_or_default()));
        Ok((found.cluster_arn().unwrap_or_default().to_owned(), lease))
    }
}
