//! Looks at the services in hand while they change: as few requests as what is asked allows.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::types::{self, DesiredStatus};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Target, UNDER_WAY,
    call::{call, failure, incomplete, persistently},
    convert,
    limits::Class,
    pages::Pages,
    read, shared,
};
use crate::planning::{
    model::{ContainerInstance, ContainerInstanceArn, Service, ServiceName, ServiceStatus, Task, TaskArn, Timestamp},
    readiness::TargetHealth,
    strategy::{Failure, Stopped},
    words,
};

/// DescribeServices takes at most this many.
pub const SERVICE_BATCH: usize = 10;
/// DescribeTasks, DescribeContainerInstances and GetTaskProtection take at most this many.
const BATCH: usize = 100;

/// What a look at a service showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It is there.
    There(Box<Service>),
    /// ECS says MISSING: it may be gone, or that answer lags.
    Missing,
    /// It is INACTIVE: deleted.
    Deleted,
}

impl Target<'_> {
    /// The services as they are now, at most [`SERVICE_BATCH`] of them.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer; also where that has neither a service nor a failure for it.
    pub async fn services(self, names: &[ServiceName]) -> Result<BTreeMap<ServiceName, Sighting>, Failure> {
        let Self { clients, cluster } = self;
        let asked: Vec<String> = names.iter().map(ToString::to_string).collect();
        let what = || format!("cannot look at services {} (cluster {cluster})", asked.join(", "));
        let answer = call(clients, Class::ServiceRead, "DescribeServices", async || {
            let request = clients.ecs.describe_services().cluster(cluster).set_services(Some(asked.clone()));
            request.include(types::ServiceField::Tags).send().await
        })
        .await
        .map_err(|error| failure(&what(), &error))?;
        let mut seen: BTreeMap<ServiceName, Sighting> = BTreeMap::new();
        for failure in answer.failures().iter().filter(|failure| failure.reason() == Some("MISSING")) {
            let name = failure.arn().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            seen.insert(name.into(), Sighting::Missing);
        }
        for service in answer.services().iter().map(convert::service) {
            let is_deleted = service.status == ServiceStatus::Inactive;
            let sighting = if is_deleted { Sighting::Deleted } else { Sighting::There(Box::new(service.clone())) };
            seen.insert(service.name, sighting);
        }
        match names.iter().find(|name| !seen.contains_key(*name)) {
            Some(name) => Err(incomplete(format!("{}: ECS's answer has neither {name} nor a failure for it", what()))),
            None => Ok(seen),
        }
    }

    /// The ARNs of a service's tasks whose desired status is RUNNING.
    ///
    /// # Errors
    /// Names the service, and ECS's answer.
    pub async fn task_arns(self, service: &ServiceName) -> Result<BTreeSet<TaskArn>, Failure> {
        self.list_tasks(&format!("service {service}"), Some(service.as_str()), None, DesiredStatus::Running).await
    }

    /// The service's tasks that were told to stop, and have not stopped yet.
    ///
    /// # Errors
    /// Names the service, and ECS's answer.
    pub async fn stopping(self, service: &ServiceName) -> Result<BTreeSet<TaskArn>, Failure> {
        let whose = format!("service {service}");
        let listed = self.list_tasks(&whose, Some(service.as_str()), None, DesiredStatus::Stopped).await?;
        let listed: Vec<TaskArn> = listed.into_iter().collect();
        let stopped = self.stopped(&listed).await?;
        Ok(stopped.into_iter().filter(|(_, stopped)| !stopped.is_over).map(|(task, _)| task).collect())
    }

    /// When the tasks that were told to stop on a container instance had stopped: `now` for one that still stops. ECS forgets a
    /// stopped task after an hour [API, ListTasks].
    ///
    /// # Errors
    /// Names the container instance, and ECS's answer.
    pub async fn stops_on(
        self,
        instance: &ContainerInstanceArn,
        now: Timestamp,
    ) -> Result<BTreeSet<Timestamp>, Failure> {
        let whose = format!("container instance {}", instance.short());
        let listed = self.list_tasks(&whose, None, Some(instance.as_str()), DesiredStatus::Stopped).await?;
        let listed: Vec<TaskArn> = listed.into_iter().collect();
        let answers = self.describe_tasks(&listed).await?;
        // Its containers have stopped a moment before the task, and their capacity is free from then on.
        let ended = |task: &types::Task| task.execution_stopped_at().or(task.stopped_at()).map(convert::timestamp);
        let stopped_at = |task| if has_stopped(task) { ended(task) } else { Some(now) };
        Ok(answers.iter().flat_map(|(found, _)| found).filter_map(stopped_at).collect())
    }

    /// The ARNs of the tasks on a container instance whose desired status is RUNNING.
    ///
    /// # Errors
    /// Names the container instance, and ECS's answer.
    pub async fn task_arns_on(self, instance: &ContainerInstanceArn) -> Result<BTreeSet<TaskArn>, Failure> {
        let whose = format!("container instance {}", instance.short());
        self.list_tasks(&whose, None, Some(instance.as_str()), DesiredStatus::Running).await
    }

    async fn list_tasks(
        self,
        whose: &str,
        service: Option<&str>,
        instance: Option<&str>,
        status: DesiredStatus,
    ) -> Result<BTreeSet<TaskArn>, Failure> {
        let Self { clients, cluster } = self;
        let what = || format!("cannot list the tasks of {whose} (cluster {cluster})");
        let mut arns = BTreeSet::new();
        let (mut pages, mut token) = (Pages::of("ListTasks"), None);
        loop {
            let answer = call(clients, Class::ClusterResourceRead, "ListTasks", async || {
                let request = clients.ecs.list_tasks().cluster(cluster).max_results(read::PAGE);
                let request = request.set_service_name(service.map(str::to_owned));
                let request =
                    request.desired_status(status.clone()).set_container_instance(instance.map(str::to_owned));
                request.set_next_token(token.clone()).send().await
            })
            .await
            .map_err(|error| failure(&what(), &error))?;
            // An answer `{}` lists nothing, and says nothing either.
            let Some(listed) = answer.task_arns else {
                return Err(incomplete(format!("{}: ECS's answer has no list", what())));
            };
            arns.extend(listed.iter().map(|arn| TaskArn::from(arn.as_str())));
            let next = pages.follow(&listed, answer.next_token);
            token = next.map_err(|endless| incomplete(format!("{}: {endless}", what())))?;
            if token.is_none() {
                return Ok(arns);
            }
        }
    }

    /// Tasks as they are now; those that are gone, or whose end is decided, are missing.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn tasks(self, arns: &[TaskArn]) -> Result<Vec<Task>, Failure> {
        let answers = self.describe_tasks(arns).await?;
        Ok(answers.iter().flat_map(|(found, _)| convert::tasks(found, &shared::Shared::default())).collect())
    }

    /// Why tasks stopped that are listed no longer. One that ECS doesn't know any more is over.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn stopped(self, arns: &[TaskArn]) -> Result<BTreeMap<TaskArn, Stopped>, Failure> {
        let answers = self.describe_tasks(arns).await?;
        let mut stopped: BTreeMap<TaskArn, Stopped> = BTreeMap::new();
        for (found, missing) in &answers {
            let unknown = || Stopped { is_over: true, ..Stopped::default() };
            stopped.extend(missing.iter().map(|arn| (arn.clone(), unknown())));
            for task in found {
                let Some(arn) = task.task_arn() else { continue };
                let told = Stopped {
                    is_over: has_stopped(task),
                    code: task.stop_code().map_or_else(String::new, |code| code.as_str().to_owned()),
                    reason: task.stopped_reason().unwrap_or_default().to_owned(),
                };
                stopped.insert(arn.into(), told);
            }
        }
        Ok(stopped)
    }

    async fn describe_tasks(self, arns: &[TaskArn]) -> Result<Vec<(Vec<types::Task>, Vec<TaskArn>)>, Failure> {
        let Self { clients, cluster } = self;
        let batches = arns.chunks(BATCH).map(|batch| async move {
            let asked: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let what = || format!("cannot look at {} (cluster {cluster})", words::tasks(batch.len()));
            let answer = call(clients, Class::ClusterResourceRead, "DescribeTasks", async || {
                clients.ecs.describe_tasks().cluster(cluster).set_tasks(Some(asked.clone())).send().await
            })
            .await
            .map_err(|error| failure(&what(), &error))?;
            let missing: Vec<TaskArn> = answer.failures().iter().filter_map(|it| it.arn()).map(TaskArn::from).collect();
            let found = answer.tasks.unwrap_or_default();
            let is_told = |task: &&TaskArn| {
                missing.contains(task) || found.iter().any(|found| found.task_arn() == Some(task.as_str()))
            };
            match batch.iter().find(|task| !is_told(task)) {
                Some(task) => Err(incomplete(format!(
                    "{}: ECS's answer has neither {} nor a failure for it",
                    what(),
                    task.short()
                ))),
                None => Ok((found, missing)),
            }
        });
        stream::iter(batches).buffered(UNDER_WAY).try_collect().await
    }

    /// Container instances as they are now; one that is gone is missing.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn container_instances(self, arns: &[ContainerInstanceArn]) -> Result<Vec<ContainerInstance>, Failure> {
        let Self { clients, cluster } = self;
        let batches = arns.chunks(BATCH).map(|batch| async move {
            let asked: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let what = || format!("cannot look at {} (cluster {cluster})", words::container_instances(batch.len()));
            let answer = call(clients, Class::ClusterResourceRead, "DescribeContainerInstances", async || {
                let request = clients.ecs.describe_container_instances().cluster(cluster);
                let request = request.include(types::ContainerInstanceField::ContainerInstanceHealth);
                request.set_container_instances(Some(asked.clone())).send().await
            })
            .await
            .map_err(|error| failure(&what(), &error))?;
            if answer.container_instances().len() + answer.failures().len() < batch.len() {
                return Err(incomplete(format!("{}: ECS's answer leaves some out", what())));
            }
            let shared = shared::Shared::default();
            Ok(answer.container_instances().iter().map(|it| convert::container_instance(it, &shared)).collect())
        });
        let answers: Vec<Vec<ContainerInstance>> = stream::iter(batches).buffered(UNDER_WAY).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Which of the tasks are protected from scale-in, and until when.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn protections(self, tasks: &[TaskArn]) -> Result<BTreeMap<TaskArn, Timestamp>, Failure> {
        let Self { clients, cluster } = self;
        let batches = tasks.chunks(BATCH).map(|batch| async move {
            let asked: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let what = || format!("cannot read the protection of {} tasks (cluster {cluster})", batch.len());
            let answer = call(clients, Class::TaskProtection, "GetTaskProtection", async || {
                clients.ecs.get_task_protection().cluster(cluster).set_tasks(Some(asked.clone())).send().await
            })
            .await
            .map_err(|error| failure(&what(), &error))?;
            if answer.protected_tasks().len() + answer.failures().len() < batch.len() {
                return Err(incomplete(format!("{}: ECS's answer leaves some out", what())));
            }
            Ok(answer.protected_tasks.unwrap_or_default())
        });
        let answers: Vec<Vec<types::ProtectedTask>> = stream::iter(batches).buffered(UNDER_WAY).try_collect().await?;
        Ok(answers.iter().flatten().filter_map(convert::protection).collect())
    }

    /// The targets of a target group, and how they are.
    ///
    /// # Errors
    /// Names the target group, and Elastic Load Balancing's answer.
    pub async fn target_health(self, target_group: &str) -> Result<Vec<TargetHealth>, Failure> {
        let clients = self.clients;
        let answer = call(clients, Class::Elsewhere, "DescribeTargetHealth", async || {
            clients.load_balancing.describe_target_health().target_group_arn(target_group).send().await
        })
        .await
        .map_err(|error| failure(&format!("cannot look at the targets of {target_group}"), &error))?;
        Ok(answer.target_health_descriptions().iter().filter_map(convert::target_health).collect())
    }

    /// The cluster's ARN and its tags.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn cluster_tags(self) -> Result<(String, BTreeMap<String, String>), Failure> {
        let Self { clients, cluster } = self;
        let answer = persistently(clients, Class::ClusterRead, "DescribeClusters", async || {
            clients.ecs.describe_clusters().clusters(cluster).include(types::ClusterField::Tags).send().await
        })
        .await
        .map_err(|error| failure(&format!("cannot look at cluster {cluster}"), &error))?;
        let found = answer.clusters().first().ok_or_else(|| incomplete(format!("cluster {cluster} does not exist")))?;
        let tags = found.tags().iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())));
        Ok((found.cluster_arn().unwrap_or_default().to_owned(), tags.collect()))
    }
}

/// Whether a task has stopped altogether, so that it takes nothing any more.
fn has_stopped(task: &types::Task) -> bool {
    matches!(task.last_status(), Some("STOPPED" | "DELETED"))
}
