//! One small function a call that changes something; each says what it did it to.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_ecs::types;
use futures_util::{StreamExt, stream};

use super::{
    Clients,
    call::{CallError, call},
    convert,
    limits::Class,
    look::UNDER_WAY,
};
use crate::planning::model::{ContainerInstanceArn, PlacementConstraint, ServiceName, TaskArn, Timestamp};

/// UpdateTaskProtection takes at most this many tasks.
const PROTECTION_BATCH: usize = 10;
/// PutAttributes and DeleteAttributes take at most this many.
const ATTRIBUTE_BATCH: usize = 10;
/// Appears as the stopped task's `stoppedReason`.
const STOP_REASON: &str = "ecs-rebalancer: this task was misplaced; its replacement is placed anew";

/// The cluster that calls are about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// The cluster's name or ARN.
    pub cluster: &'a str,
}

/// What changes of a service; whatever is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceChange {
    /// The new desired count.
    pub desired_count: Option<u32>,
    /// All placement constraints; none removes them.
    pub placement_constraints: Option<Vec<PlacementConstraint>>,
    /// The new task definition.
    pub task_definition: Option<String>,
    /// Whether every task is replaced, though nothing changed.
    pub force_new_deployment: bool,
}

impl Target<'_> {
    /// UpdateService.
    ///
    /// # Errors
    /// Names the service, what was to change, and ECS's answer.
    pub async fn update_service(self, service: &ServiceName, change: &ServiceChange) -> Result<()> {
        let Self { clients, cluster } = self;
        let constraints = change.placement_constraints.as_ref().map(|constraints| {
            constraints.iter().filter_map(convert::placement_constraint_request).collect::<Vec<_>>()
        });
        call(&clients.limits, Class::ServiceModify, "UpdateService", async || {
            let mut request = clients.ecs.update_service().cluster(cluster).service(service.as_str());
            request = request
                .set_desired_count(change.desired_count.and_then(|count| i32::try_from(count).ok()))
                .set_placement_constraints(constraints.clone())
                .set_task_definition(change.task_definition.clone());
            if change.force_new_deployment {
                request = request.force_new_deployment(true);
            }
            request.send().await
        })
        .await
        .with_context(|| format!("cannot update service {service} (cluster {cluster}): {change:?}"))?;
        Ok(())
    }

    /// Protects tasks from scale-in for so many minutes. Adds to `protected`, for each that is protected now, when that ends; a
    /// task that ECS refuses (it is gone, as a rule) is missing there.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer. What ECS did in other requests is added all the same.
    pub async fn protect(
        self,
        tasks: &[TaskArn],
        minutes: u32,
        protected: &mut BTreeMap<TaskArn, Timestamp>,
    ) -> Result<()> {
        self.update_protection(tasks, Some(minutes), protected).await
    }

    /// Takes protection from scale-in away.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer.
    pub async fn unprotect(self, tasks: &[TaskArn]) -> Result<()> {
        self.update_protection(tasks, None, &mut BTreeMap::new()).await
    }

    async fn update_protection(
        self,
        tasks: &[TaskArn],
        minutes: Option<u32>,
        protected: &mut BTreeMap<TaskArn, Timestamp>,
    ) -> Result<()> {
        let Self { clients, cluster } = self;
        let batches = tasks.chunks(PROTECTION_BATCH).map(|batch| async move {
            let arns: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let answer = call(&clients.limits, Class::TaskProtection, "UpdateTaskProtection", async || {
                let request = clients.ecs.update_task_protection().cluster(cluster).set_tasks(Some(arns.clone()));
                let request = request.protection_enabled(minutes.is_some());
                request.set_expires_in_minutes(minutes.and_then(|minutes| i32::try_from(minutes).ok())).send().await
            })
            .await
            .with_context(|| format!("cannot set the protection of {} tasks (cluster {cluster})", batch.len()))?;
            anyhow::Ok(answer.protected_tasks.unwrap_or_default())
        });
        // All are waited for: what was protected and is not known as ours would be taken for the application's.
        let answers: Vec<Result<Vec<types::ProtectedTask>>> = stream::iter(batches).buffered(UNDER_WAY).collect().await;
        let mut failed = Ok(());
        for answer in answers {
            match answer {
                Ok(tasks) => protected.extend(tasks.iter().filter_map(convert::protection)),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// Stops one task of a service; ECS starts its replacement.
    ///
    /// # Errors
    /// Names the task, and ECS's answer.
    pub async fn stop_task(self, task: &TaskArn) -> Result<()> {
        let Self { clients, cluster } = self;
        call(&clients.limits, Class::ClusterResourceModify, "StopTask", async || {
            clients.ecs.stop_task().cluster(cluster).task(task.as_str()).reason(STOP_REASON).send().await
        })
        .await
        .with_context(|| format!("cannot stop task {} (cluster {cluster})", task.short()))?;
        Ok(())
    }

    /// Writes one tag of a service or cluster.
    ///
    /// # Errors
    /// Names the resource, and ECS's answer.
    pub async fn tag(self, resource_arn: &str, key: &str, value: &str) -> Result<()> {
        let clients = self.clients;
        call(&clients.limits, Class::TagModify, "TagResource", async || {
            let tag = types::Tag::builder().key(key).value(value).build();
            clients.ecs.tag_resource().resource_arn(resource_arn).tags(tag).send().await
        })
        .await
        .with_context(|| format!("cannot tag {resource_arn} with {key}"))?;
        Ok(())
    }

    /// Takes one tag away from a service or cluster; one that isn't there is no fault.
    ///
    /// # Errors
    /// Names the resource, and ECS's answer.
    pub async fn untag(self, resource_arn: &str, key: &str) -> Result<()> {
        let clients = self.clients;
        call(&clients.limits, Class::TagModify, "UntagResource", async || {
            clients.ecs.untag_resource().resource_arn(resource_arn).tag_keys(key).send().await
        })
        .await
        .with_context(|| format!("cannot take tag {key} away from {resource_arn}"))?;
        Ok(())
    }

    /// Puts one attribute on container instances.
    ///
    /// # Errors
    /// Names the attribute, and ECS's answer.
    pub async fn put_attribute(self, instances: &[ContainerInstanceArn], name: &str, value: &str) -> Result<()> {
        let Self { clients, cluster } = self;
        for batch in instances.chunks(ATTRIBUTE_BATCH) {
            let attributes = attributes(batch, name, Some(value))?;
            call(&clients.limits, Class::ClusterResourceModify, "PutAttributes", async || {
                clients.ecs.put_attributes().cluster(cluster).set_attributes(Some(attributes.clone())).send().await
            })
            .await
            .with_context(|| format!("cannot put attribute {name} on {} container instances", batch.len()))?;
        }
        Ok(())
    }

    /// Takes one attribute away from container instances.
    ///
    /// # Errors
    /// Names the attribute, and ECS's answer.
    pub async fn delete_attribute(self, instances: &[ContainerInstanceArn], name: &str) -> Result<()> {
        let Self { clients, cluster } = self;
        for batch in instances.chunks(ATTRIBUTE_BATCH) {
            let attributes = attributes(batch, name, None)?;
            let answer = call(&clients.limits, Class::ClusterResourceModify, "DeleteAttributes", async || {
                clients.ecs.delete_attributes().cluster(cluster).set_attributes(Some(attributes.clone())).send().await
            })
            .await;
            match answer {
                // One of the container instances is gone, and the attribute with it: for the others it is asked again.
                Err(CallError { code, .. }) if code == "TargetNotFoundException" => {
                    if batch.len() > 1 {
                        for one in batch.chunks(1) {
                            Box::pin(self.delete_attribute(one, name)).await?;
                        }
                    }
                }
                answer => {
                    answer.with_context(|| {
                        format!("cannot take attribute {name} off {} container instances", batch.len())
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Registers a new revision of a task definition that differs in nothing but its number: everything that
    /// RegisterTaskDefinition takes is carried over, tags included. Gives its ARN.
    ///
    /// # Errors
    /// Names the task definition, and ECS's answer.
    pub async fn register_identical_revision(self, arn: &str) -> Result<String> {
        let clients = self.clients;
        let answer = call(&clients.limits, Class::TaskDefinitionRead, "DescribeTaskDefinition", async || {
            let request = clients.ecs.describe_task_definition().task_definition(arn);
            request.include(types::TaskDefinitionField::Tags).send().await
        })
        .await
        .with_context(|| format!("cannot read task definition {arn}"))?;
        let definition = answer.task_definition.with_context(|| format!("ECS gave no task definition for {arn}"))?;
        // An empty list of tags is refused.
        let tags = answer.tags.filter(|tags| !tags.is_empty());
        let registered = call(&clients.limits, Class::TaskDefinitionModify, "RegisterTaskDefinition", async || {
            let definition = definition.clone();
            clients
                .ecs
                .register_task_definition()
                .set_family(definition.family)
                .set_task_role_arn(definition.task_role_arn)
                .set_execution_role_arn(definition.execution_role_arn)
                .set_network_mode(definition.network_mode)
                .set_container_definitions(definition.container_definitions)
                .set_volumes(definition.volumes)
                .set_placement_constraints(definition.placement_constraints)
                .set_requires_compatibilities(definition.requires_compatibilities)
                .set_cpu(definition.cpu)
                .set_memory(definition.memory)
                .set_tags(tags.clone())
                .set_pid_mode(definition.pid_mode)
                .set_ipc_mode(definition.ipc_mode)
                .set_proxy_configuration(definition.proxy_configuration)
                .set_ephemeral_storage(definition.ephemeral_storage)
                .set_runtime_platform(definition.runtime_platform)
                .set_enable_fault_injection(definition.enable_fault_injection)
                .send()
                .await
        })
        .await
        .with_context(|| format!("cannot register a new revision of {arn}"))?;
        registered
            .task_definition
            .and_then(|definition| definition.task_definition_arn)
            .with_context(|| format!("ECS gave no ARN of the new revision of {arn}"))
    }
}

fn attributes(instances: &[ContainerInstanceArn], name: &str, value: Option<&str>) -> Result<Vec<types::Attribute>> {
    instances
        .iter()
        .map(|instance| {
            let attribute = types::Attribute::builder().name(name).set_value(value.map(str::to_owned));
            Ok(attribute.target_type(types::TargetType::ContainerInstance).target_id(instance.as_str()).build()?)
        })
        .collect()
}
