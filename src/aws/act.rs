//! One small function a call that changes something; each says what it did it to. Each is one attempt: whoever wants another
//! looks first.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_ecs::types;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    Target, UNDER_WAY,
    call::{CallError, change, failure, incomplete, persistently},
    convert,
    limits::Class,
    once,
};
use crate::planning::{
    model::{ContainerInstanceArn, PlacementConstraint, ServiceName, TaskArn},
    strategy::{Done, Failure, FailureKind},
    words::container_instances,
};

/// UpdateTaskProtection takes at most this many tasks.
const PROTECTION_BATCH: usize = 10;
/// PutAttributes and DeleteAttributes take at most this many.
const ATTRIBUTE_BATCH: usize = 10;
/// Tasks that were looked at so long ago are not stopped any more.
const OLDEST_PICTURE: Duration = Duration::from_secs(5);
/// Appears as the stopped task's `stoppedReason`.
const STOP_REASON: &str = "ecs-rebalancer: this task was misplaced; its replacement is placed anew";

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

impl ServiceChange {
    /// What is to change, for a sentence.
    fn told(&self) -> String {
        let count = self.desired_count.map(|count| format!("its desired count to {count}"));
        let constraints =
            self.placement_constraints.as_ref().map(|all| format!("its {} placement constraints", all.len()));
        let definition = self.task_definition.as_ref().map(|definition| format!("its task definition to {definition}"));
        let deploys = self.force_new_deployment.then(|| "a new deployment".to_owned());
        [count, constraints, definition, deploys].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

impl Target<'_> {
    /// UpdateService.
    ///
    /// # Errors
    /// Names the service, what was to change, and ECS's answer.
    pub async fn update_service(self, service: &ServiceName, what: &ServiceChange) -> Result<(), Failure> {
        let Self { clients, cluster } = self;
        let constraints = what.placement_constraints.as_ref().map(|constraints| {
            constraints.iter().filter_map(convert::placement_constraint_request).collect::<Vec<_>>()
        });
        change(clients, Class::ServiceModify, "UpdateService", async || {
            let mut request = clients.ecs.update_service().cluster(cluster).service(service.as_str());
            request = request
                .set_desired_count(what.desired_count.and_then(|count| i32::try_from(count).ok()))
                .set_placement_constraints(constraints.clone())
                .set_task_definition(what.task_definition.clone());
            if what.force_new_deployment {
                request = request.force_new_deployment(true);
            }
            request.customize().config_override(once()).send().await
        })
        .await
        .map_err(|error| {
            failure(&format!("cannot set {} of service {service} (cluster {cluster})", what.told()), &error)
        })?;
        Ok(())
    }

    /// Protects tasks from scale-in for so many minutes, or takes protection away where there are none. Tells which are protected
    /// now and until when, and which ECS refused and why.
    ///
    /// # Errors
    /// Names the cluster, and ECS's answer; what other requests came to is told as well. An answer that leaves out a task that was
    /// asked for doesn't say whether the task is protected now, and is no success.
    pub async fn set_protection(self, tasks: &[TaskArn], minutes: Option<u32>) -> Result<Done, Failure> {
        let Self { clients, cluster } = self;
        let batches = tasks.chunks(PROTECTION_BATCH).map(|batch| async move {
            let arns: Vec<String> = batch.iter().map(ToString::to_string).collect();
            change(clients, Class::TaskProtection, "UpdateTaskProtection", async || {
                let request = clients.ecs.update_task_protection().cluster(cluster).set_tasks(Some(arns.clone()));
                let request = request.protection_enabled(minutes.is_some());
                let minutes = minutes.and_then(|minutes| i32::try_from(minutes).ok());
                request.set_expires_in_minutes(minutes).customize().config_override(once()).send().await
            })
            .await
            .map_err(|error| {
                failure(&format!("cannot set the protection of {} tasks (cluster {cluster})", batch.len()), &error)
            })
        });
        // All are waited for: what was protected and is not known as ours would be taken for the application's.
        let answers: Vec<_> = stream::iter(batches).buffered(UNDER_WAY).collect().await;
        let (mut done, mut failed) = (Done::default(), None);
        for (batch, answer) in tasks.chunks(PROTECTION_BATCH).zip(answers) {
            match answer {
                Ok(answer) => {
                    let told = answer.protected_tasks().iter().filter_map(|task| task.task_arn());
                    let told: BTreeSet<&str> =
                        told.chain(answer.failures().iter().filter_map(|failure| failure.arn())).collect();
                    let untold = batch.iter().filter(|task| !told.contains(task.as_str())).count();
                    if untold > 0 {
                        let what = format!("cannot set the protection of {} tasks (cluster {cluster})", batch.len());
                        let why = format!("{what}: ECS's answer says nothing of {untold} of them");
                        failed = failed.or_else(|| Some(incomplete(why)));
                    }
                    done.protected.extend(answer.protected_tasks().iter().filter_map(convert::protection));
                    let refused = answer.failures().iter().filter_map(|failure| {
                        let reason = failure.reason().or(failure.detail()).unwrap_or("no reason given");
                        Some((TaskArn::from(failure.arn()?), reason.to_owned()))
                    });
                    done.refused.extend(refused);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(done.clone()), |failed| Err(Failure { before: done, ..failed }))
    }

    /// Stops tasks of a service one after the other; ECS starts their replacements. Whether an application has protected one since
    /// it was looked at, StopTask doesn't ask: where the answers take long, those that are left are looked at again first.
    ///
    /// # Errors
    /// Names the task, and ECS's answer; those that were stopped before it are told.
    pub async fn stop_tasks(self, tasks: &[TaskArn]) -> Result<Done, Failure> {
        let Self { clients, cluster } = self;
        let (mut done, began) = (Done::default(), Instant::now());
        for task in tasks {
            if !done.stopped.is_empty() && began.elapsed() >= OLDEST_PICTURE {
                break;
            }
            change(clients, Class::ClusterResourceModify, "StopTask", async || {
                let request = clients.ecs.stop_task().cluster(cluster).task(task.as_str()).reason(STOP_REASON);
                request.customize().config_override(once()).send().await
            })
            .await
            .map_err(|error| Failure {
                before: done.clone(),
                ..failure(&format!("cannot stop task {} (cluster {cluster})", task.short()), &error)
            })?;
            done.stopped.push(task.clone());
        }
        Ok(done)
    }

    /// Writes one tag of a service or cluster.
    ///
    /// # Errors
    /// Names the resource, and ECS's answer.
    pub async fn tag(self, resource_arn: &str, key: &str, value: &str) -> Result<(), Failure> {
        let clients = self.clients;
        change(clients, Class::TagModify, "TagResource", async || {
            let tag = types::Tag::builder().key(key).value(value).build();
            let request = clients.ecs.tag_resource().resource_arn(resource_arn).tags(tag);
            request.customize().config_override(once()).send().await
        })
        .await
        .map_err(|error| failure(&format!("cannot tag {resource_arn} with {key}"), &error))?;
        Ok(())
    }

    /// Takes tags away from a service or cluster; one that isn't there is no fault.
    ///
    /// # Errors
    /// Names the resource, and ECS's answer.
    pub async fn untag(self, resource_arn: &str, keys: &[String]) -> Result<(), Failure> {
        let clients = self.clients;
        change(clients, Class::TagModify, "UntagResource", async || {
            let request = clients.ecs.untag_resource().resource_arn(resource_arn).set_tag_keys(Some(keys.to_vec()));
            request.customize().config_override(once()).send().await
        })
        .await
        .map_err(|error| failure(&format!("cannot take tag {} away from {resource_arn}", keys.join(", ")), &error))?;
        Ok(())
    }

    /// Puts one attribute on container instances.
    ///
    /// # Errors
    /// Names the attribute, and ECS's answer.
    pub async fn put_attribute(
        self,
        instances: &[ContainerInstanceArn],
        name: &str,
        value: &str,
    ) -> Result<(), Failure> {
        let Self { clients, cluster } = self;
        for batch in instances.chunks(ATTRIBUTE_BATCH) {
            let attributes = attributes(batch, name, Some(value))?;
            change(clients, Class::ClusterResourceModify, "PutAttributes", async || {
                let request = clients.ecs.put_attributes().cluster(cluster).set_attributes(Some(attributes.clone()));
                request.customize().config_override(once()).send().await
            })
            .await
            .map_err(|error| {
                failure(&format!("cannot put attribute {name} on {}", container_instances(batch.len())), &error)
            })?;
        }
        Ok(())
    }

    /// Takes one attribute away from container instances.
    ///
    /// # Errors
    /// Names the attribute, and ECS's answer.
    pub async fn delete_attribute(self, instances: &[ContainerInstanceArn], name: &str) -> Result<(), Failure> {
        let Self { clients, cluster } = self;
        for batch in instances.chunks(ATTRIBUTE_BATCH) {
            let attributes = attributes(batch, name, None)?;
            let answer = change(clients, Class::ClusterResourceModify, "DeleteAttributes", async || {
                let request = clients.ecs.delete_attributes().cluster(cluster).set_attributes(Some(attributes.clone()));
                request.customize().config_override(once()).send().await
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
                    answer.map_err(|error| {
                        failure(
                            &format!("cannot take attribute {name} off {}", container_instances(batch.len())),
                            &error,
                        )
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
    #[expect(deprecated, reason = "a task definition that still names inference accelerators is to keep them")]
    pub async fn register_identical_revision(self, arn: &str) -> Result<String, Failure> {
        let clients = self.clients;
        let answer = persistently(clients, Class::TaskDefinitionRead, "DescribeTaskDefinition", async || {
            let request = clients.ecs.describe_task_definition().task_definition(arn);
            request.include(types::TaskDefinitionField::Tags).send().await
        })
        .await
        .map_err(|error| Failure {
            // Nothing was changed yet.
            kind: if error.kind == FailureKind::Refused { FailureKind::Refused } else { FailureKind::NotNow },
            ..failure(&format!("cannot read task definition {arn}"), &error)
        })?;
        let definition =
            answer.task_definition.ok_or_else(|| incomplete(format!("ECS gave no task definition for {arn}")))?;
        // An empty list of tags is refused.
        let tags = answer.tags.filter(|tags| !tags.is_empty());
        let registered = change(clients, Class::TaskDefinitionModify, "RegisterTaskDefinition", async || {
            let definition = definition.clone();
            let request = clients
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
                .set_inference_accelerators(definition.inference_accelerators)
                .set_ephemeral_storage(definition.ephemeral_storage)
                .set_runtime_platform(definition.runtime_platform)
                .set_enable_fault_injection(definition.enable_fault_injection);
            request.customize().config_override(once()).send().await
        })
        .await
        .map_err(|error| failure(&format!("cannot register a new revision of {arn}"), &error))?;
        registered
            .task_definition
            .and_then(|definition| definition.task_definition_arn)
            .ok_or_else(|| incomplete(format!("ECS gave no ARN of the new revision of {arn}")))
    }
}

fn attributes(
    instances: &[ContainerInstanceArn],
    name: &str,
    value: Option<&str>,
) -> Result<Vec<types::Attribute>, Failure> {
    instances
        .iter()
        .map(|instance| {
            let attribute = types::Attribute::builder().name(name).set_value(value.map(str::to_owned));
            attribute.target_type(types::TargetType::ContainerInstance).target_id(instance.as_str()).build().map_err(
                |error| Failure { text: error.to_string(), kind: FailureKind::Refused, before: Done::default() },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    /// The fields of RegisterTaskDefinition's input, by the SDK's own shape: one that the SDK gains must be carried over too.
    #[test]
    fn an_identical_revision_carries_every_field_of_the_input() {
        let input =
            format!("{:?}", aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput::builder());
        let source = include_str!("act.rs");
        let fields: Vec<&str> = input
            .split(['{', ','])
            .filter_map(|part| part.split_once(':').map(|(name, _)| name.trim()))
            .filter(|name| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
            .collect();
        assert!(fields.len() >= 18, "{fields:?}");
        for field in fields {
            assert!(source.contains(&format!(".set_{field}(")), "{field} is not carried over");
        }
    }
}
