//! What other services of AWS know of a cluster: targets, the instances of a group, bounds of a count, tags, events.

use std::collections::BTreeMap;

use aws_sdk_applicationautoscaling::types::{ScalableDimension, ScalableTarget, ServiceNamespace, SuspendedState};
use aws_sdk_sqs::types::Message;

use super::{Lab, Refusal, Site, attempt, call, looking::not_shown, tried};
use crate::{
    finding::Stop,
    stack::{PREFIX, Stack},
};

/// Messages of one answer. [API, ReceiveMessage: 10]
const MESSAGES: i32 = 10;
/// What refuses is not there, or there for others: nothing of a probe's can be in it.
const ABSENT: [&str; 4] =
    ["UnknownOperationException", "AccessDeniedException", "InvalidAction", "UnrecognizedClientException"];

impl Lab<'_> {
    /// How many targets of a group are in each state.
    pub(crate) async fn targets(&self, group: &str) -> Result<BTreeMap<String, usize>, Stop> {
        let request = self.connection().balancing.describe_target_health().target_group_arn(group);
        let answer = call("DescribeTargetHealth", request.send()).await?;
        let mut states = BTreeMap::new();
        for target in answer.target_health_descriptions() {
            let state = target.target_health().and_then(|health| health.state()).map(|state| state.as_str().to_owned());
            *states.entry(state.unwrap_or_default()).or_default() += 1;
        }
        Ok(states)
    }

    /// How often a container instance has changed, as it is described.
    pub(crate) async fn version(&self, arn: &str) -> Result<u64, Stop> {
        let request = self.ecs().describe_container_instances().cluster(&self.stack.cluster).container_instances(arn);
        let answer = call("DescribeContainerInstances", request.send()).await?;
        let version = answer.container_instances().first().map(aws_sdk_ecs::types::ContainerInstance::version);
        let version = version.and_then(|version| u64::try_from(version).ok());
        version.ok_or_else(|| Stop::not_settled(format!("DescribeContainerInstances doesn't show {arn}")))
    }

    /// How many instances the group that scales is to have.
    pub(crate) async fn wanted_instances(&self) -> Result<i32, Stop> {
        wanted_instances(self.site).await
    }

    /// Has the group that scales have so many.
    pub(crate) async fn want_instances(&self, number: i32) -> Result<(), Stop> {
        want_instances(self.site, number).await
    }

    /// Registers a service's count with Application Auto Scaling: bounds, or nothing but that it is suspended.
    pub(crate) async fn register_target(&self, service: &str, bounds: Option<(i32, i32)>) -> Result<(), Stop> {
        let mut request = self
            .connection()
            .scaling
            .register_scalable_target()
            .service_namespace(ServiceNamespace::Ecs)
            .scalable_dimension(ScalableDimension::EcsServiceDesiredCount)
            .resource_id(resource(self.stack, service));
        if let Some((minimum, maximum)) = bounds {
            request = request.min_capacity(minimum).max_capacity(maximum);
        } else {
            request = request.suspended_state(SuspendedState::builder().dynamic_scaling_in_suspended(true).build());
        }
        call("RegisterScalableTarget", request.send()).await.map(drop)
    }

    /// What is registered: the bounds, and whether it is suspended.
    pub(crate) async fn target(&self, service: &str) -> Result<Option<(i32, i32, bool)>, Stop> {
        let request = self
            .connection()
            .scaling
            .describe_scalable_targets()
            .service_namespace(ServiceNamespace::Ecs)
            .resource_ids(resource(self.stack, service));
        let answer = call("DescribeScalableTargets", request.send()).await?;
        let known = |target: &ScalableTarget| {
            let suspended = target.suspended_state().and_then(SuspendedState::dynamic_scaling_in_suspended);
            (target.min_capacity(), target.max_capacity(), suspended.unwrap_or(false))
        };
        Ok(answer.scalable_targets().first().map(known))
    }

    /// A service's ARN.
    pub(crate) async fn arn(&self, service: &str) -> Result<String, Stop> {
        let arn = self.described(service).await?.and_then(|described| described.service_arn);
        arn.ok_or_else(|| not_shown(service))
    }

    /// Puts a tag on whatever has this ARN.
    pub(crate) async fn tag(&self, arn: &str, key: &str, value: &str) -> Result<Result<(), Refusal>, Stop> {
        let tag = aws_sdk_ecs::types::Tag::builder().key(key).value(value).build();
        let request = self.ecs().tag_resource().resource_arn(arn).tags(tag);
        Ok(tried("TagResource", request.send()).await?.map(drop))
    }

    /// The value of a service's tag.
    pub(crate) async fn tag_of(&self, service: &str, key: &str) -> Result<Option<String>, Stop> {
        let described = self.described(service).await?;
        let tags = described.as_ref().map(aws_sdk_ecs::types::Service::tags).unwrap_or_default();
        Ok(tags.iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value().map(str::to_owned)))
    }

    /// What is in the queue now: id and text of each message. It is taken out.
    pub(crate) async fn received(&self) -> Result<Vec<(String, String)>, Stop> {
        let queues = &self.connection().queues;
        let request = queues.receive_message().queue_url(&self.stack.queue).max_number_of_messages(MESSAGES);
        let answer = call("ReceiveMessage", request.send()).await?;
        let mut messages = Vec::new();
        for message in answer.messages() {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let request = queues.delete_message().queue_url(&self.stack.queue);
            // One that stays comes again, and is known by its id.
            attempt("DeleteMessage", request.receipt_handle(text(message.receipt_handle())).send()).await?.ok();
            messages.push((text(Message::message_id(message)), text(message.body())));
        }
        Ok(messages)
    }
}

fn resource(stack: &Stack, service: &str) -> String {
    format!("service/{}/{service}", stack.cluster)
}

async fn wanted_instances(site: Site<'_>) -> Result<i32, Stop> {
    let name = &site.stack.scaled.group;
    let request = site.connection.groups.describe_auto_scaling_groups().auto_scaling_group_names(name);
    let answer = call("DescribeAutoScalingGroups", request.send()).await?;
    match answer.auto_scaling_groups() {
        [group] => Ok(group.desired_capacity().unwrap_or_default()),
        _ => Err(Stop::not_settled(format!("DescribeAutoScalingGroups doesn't show {name}"))),
    }
}

async fn want_instances(site: Site<'_>, number: i32) -> Result<(), Stop> {
    let request = site.connection.groups.set_desired_capacity().auto_scaling_group_name(&site.stack.scaled.group);
    call("SetDesiredCapacity", request.desired_capacity(number).send()).await.map(drop)
}

/// Takes away what probes left outside of ECS: bounds of their services' counts, and the instances of the group that scales. How many
/// of either there were.
pub(super) async fn sweep(site: Site<'_>) -> Result<usize, Stop> {
    Ok(sweep_targets(site).await? + sweep_instances(site).await?)
}

async fn sweep_targets(site: Site<'_>) -> Result<usize, Stop> {
    let scaling = &site.connection.scaling;
    let request = scaling.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs);
    let answer = match attempt("DescribeScalableTargets", request.send()).await? {
        Ok(answer) => answer,
        Err(refusal) if ABSENT.contains(&refusal.code.as_str()) => return Ok(0),
        Err(refusal) => return Err(Stop::not_settled(format!("DescribeScalableTargets: {}", refusal.code))),
    };
    let ours = resource(site.stack, PREFIX);
    let ids = answer.scalable_targets().iter().map(ScalableTarget::resource_id);
    let ids: Vec<&str> = ids.filter(|id| id.starts_with(&ours)).collect();
    for id in &ids {
        let request = scaling.deregister_scalable_target().service_namespace(ServiceNamespace::Ecs);
        let request = request.scalable_dimension(ScalableDimension::EcsServiceDesiredCount).resource_id(*id);
        // Another start may have done so meanwhile.
        attempt("DeregisterScalableTarget", request.send()).await?.ok();
    }
    Ok(ids.len())
}

async fn sweep_instances(site: Site<'_>) -> Result<usize, Stop> {
    let name = &site.stack.scaled.group;
    let request = site.connection.groups.describe_auto_scaling_groups().auto_scaling_group_names(name);
    let answer = match attempt("DescribeAutoScalingGroups", request.send()).await? {
        Ok(answer) => answer,
        Err(refusal) if ABSENT.contains(&refusal.code.as_str()) => return Ok(0),
        Err(refusal) => return Err(Stop::not_settled(format!("DescribeAutoScalingGroups: {}", refusal.code))),
    };
    let Some(group) = answer.auto_scaling_groups().first() else { return Ok(0) };
    if group.desired_capacity().unwrap_or_default() > 0 {
        want_instances(site, 0).await?;
    }
    Ok(group.instances().len())
}
