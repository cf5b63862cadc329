//! A service, its tasks and the instances as they are read: twice, and held against what is known.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_ecs::types::{DesiredStatus, ServiceField};
use tokio::time::{Instant, sleep};

use super::{Lab, call};
use crate::finding::Stop;

/// Between two readings that are to agree.
const BETWEEN_READINGS: Duration = Duration::from_secs(1);
/// While tasks start and stop, two readings can differ; not so often.
const READINGS: u32 = 40;

/// A service at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// How many tasks it is to have.
    pub desired: i32,
    /// Its deployments, newest first.
    pub deployments: Vec<Deployment>,
    /// Its tasks that are to run, by ARN.
    pub tasks: BTreeMap<String, Task>,
    /// What it told, oldest first.
    pub events: Vec<String>,
}

impl Look {
    /// Whether so many tasks are all that there is, and run.
    pub fn has_running(&self, count: i32) -> bool {
        self.desired == count
            && i32::try_from(self.tasks.len()) == Ok(count)
            && self.tasks.values().all(|task| task.status == "RUNNING")
    }

    /// Whether no deployment is under way.
    pub fn is_complete(&self) -> bool {
        matches!(self.deployments.as_slice(), [only] if only.state == "COMPLETED" || only.state.is_empty())
    }

    /// Whether its newest deployment is another one than it was.
    pub fn is_deployed_since(&self, before: &Self) -> bool {
        let newest = |look: &Self| look.deployments.first().map(|deployment| deployment.id.clone());
        newest(self) != newest(before)
    }

    /// How many tasks are on each instance.
    pub fn on(&self, instance: &str) -> usize {
        self.tasks.values().filter(|task| task.instance == instance).count()
    }

    /// For people.
    pub fn shown(&self) -> String {
        let tasks: Vec<&str> = self.tasks.values().map(|task| task.status.as_str()).collect();
        let told = self.events.last().map(|event| format!("; it told: {event}")).unwrap_or_default();
        format!("desired {}, tasks [{}], {} deployments{told}", self.desired, tasks.join(", "), self.deployments.len())
    }
}

/// A deployment of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// IN_PROGRESS, COMPLETED, FAILED; empty where none is told.
    pub state: String,
    /// How many of its tasks failed to start, or were unhealthy.
    pub failed_tasks: i32,
}

/// A task as it was described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its ARN.
    pub arn: String,
    /// Its instance's ARN.
    pub instance: String,
    /// Milliseconds since 1970.
    pub created: i64,
    /// The deployment that started it.
    pub started_by: String,
    /// PENDING, RUNNING, ...
    pub status: String,
    /// Whether it is to run.
    pub is_wanted: bool,
    /// When it was decided that it stops, and when it had stopped; milliseconds since 1970.
    pub stopping: Option<i64>,
    /// When it had stopped.
    pub stopped: Option<i64>,
}

/// What a service told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id, by which it is known again.
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// In ECS's words.
    pub message: String,
}

/// What can't change of a task once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    instance: String,
    created: i64,
    started_by: String,
    group: String,
}

/// A container instance as it was described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its ARN.
    pub arn: String,
    /// Its id in EC2.
    pub ec2: String,
    /// Its zone.
    pub zone: String,
    /// Its capacity provider.
    pub provider: String,
    /// Since when it is there; milliseconds since 1970.
    pub registered: i64,
    /// MiB that are free.
    pub free_memory: i32,
    /// Tasks on it, starting ones too.
    pub tasks: i32,
}

impl Lab<'_> {
    /// The service, as two readings in a row show it.
    pub(crate) async fn look(&self, service: &str) -> Result<Look, Stop> {
        let what = format!("what {service} is like");
        let look = agreed(&what, || self.read(service), Look::shown).await?;
        look.ok_or_else(|| not_shown(service))
    }

    /// All tasks that the service has or had within the last hour, oldest first, as two readings in a row show them.
    pub(crate) async fn history(&self, service: &str) -> Result<Vec<Task>, Stop> {
        let read = || async { self.read_history(service).await.map(Some) };
        let tasks = agreed(&format!("the tasks of {service}"), read, |tasks| format!("{} tasks", tasks.len())).await?;
        Ok(tasks.unwrap_or_default())
    }

    async fn read_history(&self, service: &str) -> Result<Vec<Task>, Stop> {
        let mut arns = self.list(service, DesiredStatus::Running).await?;
        arns.extend(self.list(service, DesiredStatus::Stopped).await?);
        let mut tasks = self.tasks(&arns, &format!("service:{service}")).await?;
        tasks.sort_by(|one, other| (one.created, &one.arn).cmp(&(other.created, &other.arn)));
        Ok(tasks)
    }

    /// None while the service isn't shown: it may just have been made.
    async fn read(&self, service: &str) -> Result<Option<Look>, Stop> {
        let Some(described) = self.described(service).await? else { return Ok(None) };
        let arns = self.list(service, DesiredStatus::Running).await?;
        let tasks = self.tasks(&arns, &format!("service:{service}")).await?;
        let mut events: Vec<String> =
            described.events().iter().filter_map(|event| event.message().map(str::to_owned)).collect();
        events.reverse();
        let deployment = |deployment: &aws_sdk_ecs::types::Deployment| Deployment {
            id: deployment.id().unwrap_or_default().to_owned(),
            state: deployment.rollout_state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
            failed_tasks: deployment.failed_tasks(),
        };
        Ok(Some(Look {
            desired: described.desired_count(),
            deployments: described.deployments().iter().map(deployment).collect(),
            tasks: tasks
                .into_iter()
                .filter(|task| task.is_wanted && task.status != "STOPPED")
                .map(|task| (task.arn.clone(), task))
                .collect(),
            events,
        }))
    }

    /// The service as one answer has it.
    pub(crate) async fn described(&self, service: &str) -> Result<Option<aws_sdk_ecs::types::Service>, Stop> {
        let request = self.ecs().describe_services().cluster(&self.stack.cluster).services(service);
        let answer = call("DescribeServices", request.include(ServiceField::Tags).send()).await?;
        Ok(answer.services.unwrap_or_default().into_iter().next())
    }

    /// What the service told, oldest first, with the moments.
    pub(crate) async fn told(&self, service: &str) -> Result<Vec<Told>, Stop> {
        let described = self.described(service).await?.ok_or_else(|| not_shown(service))?;
        let told = |event: &aws_sdk_ecs::types::ServiceEvent| Told {
            id: event.id().unwrap_or_default().to_owned(),
            at: event.created_at().and_then(|moment| moment.to_millis().ok()).unwrap_or_default(),
            message: event.message().unwrap_or_default().to_owned(),
        };
        Ok(described.events().iter().rev().map(told).collect())
    }

    /// What the service told since then.
    pub(crate) async fn told_since(&self, service: &str, before: &[Told]) -> Result<Vec<Told>, Stop> {
        let mut told = self.told(service).await?;
        told.retain(|told| !before.iter().any(|known| known.id == told.id));
        Ok(told)
    }

    /// What the service tells that isn't among `before`, once `is_it` has come.
    pub(crate) async fn until_told(
        &self,
        service: &str,
        what: &str,
        before: &[Told],
        is_it: impl Fn(&str) -> bool,
    ) -> Result<Vec<Told>, Stop> {
        let began = Instant::now();
        self.tell(&format!("{service}: {what}"));
        loop {
            let told = self.told_since(service, before).await?;
            if told.iter().any(|told| is_it(&told.message)) {
                return Ok(told);
            }
            if began.elapsed() > self.patience() {
                let told: Vec<&str> = told.iter().map(|told| told.message.as_str()).collect();
                let seconds = self.patience().as_secs();
                let why =
                    format!("DescribeServices: {service}: {seconds} s were not enough for {what}: {}", told.join("; "));
                return Err(Stop::not_settled(why));
            }
            sleep(BETWEEN_READINGS * 3).await;
        }
    }

    /// The ARNs of a service's tasks that are to run, or are to be stopped.
    pub(crate) async fn list(&self, service: &str, wanted: DesiredStatus) -> Result<Vec<String>, Stop> {
        let request = self.ecs().list_tasks().cluster(&self.stack.cluster).service_name(service);
        let mut pages = request.desired_status(wanted).into_paginator().send();
        let mut arns = Vec::new();
        let mut left = PAGES;
        while let Some(page) = call_page("ListTasks", &mut left, pages.next().await).await? {
            arns.extend(page.task_arns().iter().cloned());
        }
        Ok(arns)
    }

    /// One task, whatever has become of it.
    pub(crate) async fn describe(&self, arn: &str) -> Result<Task, Stop> {
        let tasks = self.tasks(&[arn.to_owned()], "").await?;
        tasks.into_iter().next().ok_or_else(|| Stop::not_settled(format!("DescribeTasks doesn't show {arn}")))
    }

    async fn tasks(&self, arns: &[String], group: &str) -> Result<Vec<Task>, Stop> {
        let mut tasks = Vec::new();
        // [API, DescribeTasks: 100]
        for batch in arns.chunks(100) {
            let request = self.ecs().describe_tasks().cluster(&self.stack.cluster);
            let answer = call("DescribeTasks", request.set_tasks(Some(batch.to_vec())).send()).await?;
            for task in answer.tasks() {
                tasks.push(self.task(task, group)?);
            }
        }
        Ok(tasks)
    }

    fn task(&self, task: &aws_sdk_ecs::types::Task, group: &str) -> Result<Task, Stop> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let moment =
            |moment: Option<&aws_sdk_ecs::primitives::DateTime>| moment.and_then(|moment| moment.to_millis().ok());
        let arn = text(task.task_arn());
        let known = Known {
            instance: text(task.container_instance_arn()),
            created: moment(task.created_at()).unwrap_or_default(),
            started_by: text(task.started_by()),
            group: text(task.group()),
        };
        if !group.is_empty() && known.group != group {
            return Err(Stop::contradiction(
                format!("for the tasks of {group}"),
                format!("{arn}, which is of {}", known.group),
            ));
        }
        let mut all = self.known.borrow_mut();
        match all.get(&arn) {
            // It waited for an instance, and has one now.
            Some(before)
                if before.instance.is_empty() && Known { instance: String::new(), ..known.clone() } == *before =>
            {
                all.insert(arn.clone(), known.clone());
            }
            Some(before) if *before != known => {
                return Err(Stop::contradiction(
                    format!("for {arn}, which had been {before:?}"),
                    format!("{known:?}, though nothing of that can change"),
                ));
            }
            Some(_) => {}
            None => drop(all.insert(arn.clone(), known.clone())),
        }
        Ok(Task {
            arn,
            instance: known.instance,
            created: known.created,
            started_by: known.started_by,
            status: text(task.last_status()),
            is_wanted: task.desired_status() == Some("RUNNING"),
            stopping: moment(task.stopping_at()),
            stopped: moment(task.stopped_at()),
        })
    }

    /// The instances that take tasks, by ARN, as two readings in a row show them.
    pub(crate) async fn instances(&self) -> Result<Vec<Instance>, Stop> {
        let read = || async { self.read_instances().await.map(Some) };
        let instances = agreed("the instances", read, |instances| format!("{} instances", instances.len())).await?;
        Ok(instances.unwrap_or_default())
    }

    async fn read_instances(&self) -> Result<Vec<Instance>, Stop> {
        let cluster = &self.stack.cluster;
        let mut pages = self.ecs().list_container_instances().cluster(cluster).into_paginator().send();
        let mut arns = Vec::new();
        let mut left = PAGES;
        while let Some(page) = call_page("ListContainerInstances", &mut left, pages.next().await).await? {
            arns.extend(page.container_instance_arns().iter().cloned());
        }
        if arns.is_empty() {
            return Err(Stop::not_settled("the cluster has no container instance"));
        }
        let request = self.ecs().describe_container_instances().cluster(cluster);
        let answer = call("DescribeContainerInstances", request.set_container_instances(Some(arns)).send()).await?;
        let takes_tasks = |instance: &&aws_sdk_ecs::types::ContainerInstance| {
            instance.status() == Some("ACTIVE") && instance.agent_connected()
        };
        let mut instances: Vec<Instance> =
            answer.container_instances().iter().filter(takes_tasks).map(instance).collect();
        instances.sort_by(|one, other| one.arn.cmp(&other.arn));
        Ok(instances)
    }
}

/// What two readings in a row show alike; none where none of them shows anything.
async fn agreed<T: PartialEq>(
    what: &str,
    read: impl AsyncFn() -> Result<Option<T>, Stop>,
    shown: impl Fn(&T) -> String,
) -> Result<Option<T>, Stop> {
    let mut before = read().await?;
    for _ in 0..READINGS {
        sleep(BETWEEN_READINGS).await;
        let reading = read().await?;
        if reading.is_some() && reading == before {
            return Ok(reading);
        }
        before = reading;
    }
    let Some(last) = before else { return Ok(None) };
    let answered = format!("something else each time; at last {}", shown(&last));
    Err(Stop::contradiction(format!("{what}, {READINGS} times in a row"), answered))
}

pub(crate) fn not_shown(service: &str) -> Stop {
    Stop::not_settled(format!("DescribeServices doesn't show {service}"))
}

fn instance(instance: &aws_sdk_ecs::types::ContainerInstance) -> Instance {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let zone = instance.attributes().iter().find(|attribute| attribute.name() == "ecs.availability-zone");
    let memory = instance.remaining_resources().iter().find(|resource| resource.name() == Some("MEMORY"));
    let registered = instance.registered_at().and_then(|moment| moment.to_millis().ok());
    Instance {
        arn: text(instance.container_instance_arn()),
        ec2: text(instance.ec2_instance_id()),
        zone: text(zone.and_then(|zone| zone.value())),
        provider: text(instance.capacity_provider_name()),
        registered: registered.unwrap_or_default(),
        free_memory: memory.map_or(0, aws_sdk_ecs::types::Resource::integer_value),
        tasks: instance.running_tasks_count() + instance.pending_tasks_count(),
    }
}

/// No listing of a cluster that is there for probes alone has more pages; one that goes on for ever isn't believed.
pub(super) const PAGES: u32 = 100;

/// A page of a listing, or that there is none any more. `left` counts the pages that may still come.
pub(super) async fn call_page<T, E, R>(
    operation: &str,
    left: &mut u32,
    page: Option<Result<T, aws_sdk_ecs::error::SdkError<E, R>>>,
) -> Result<Option<T>, Stop>
where
    E: aws_sdk_ecs::error::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match page {
        None => Ok(None),
        Some(_) if *left == 0 => Err(Stop::not_settled(format!("{operation}: more than {PAGES} pages"))),
        Some(page) => {
            *left -= 1;
            call(operation, std::future::ready(page)).await.map(Some)
        }
    }
}
