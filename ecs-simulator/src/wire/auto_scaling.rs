//! Auto Scaling: the groups behind capacity providers.

use std::collections::BTreeSet;

use anyhow::{Result as Read, ensure};
use serde_json::{Value, json};

use super::{ApiError, token};
use crate::{
    moment::Moment,
    place::Place,
    state::{AutoScalingGroup, Instance},
    world::World,
};

/// Groups of one answer, and at most. [API, DescribeAutoScalingGroups]
const PAGE: (u32, u32) = (50, 100);

/// Answers one call.
pub(crate) fn answer(world: &World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    if operation != "DescribeAutoScalingGroups" {
        return Err(ApiError::new("InvalidAction", format!("{operation} is not simulated")));
    }
    let (names, size, token) = read(&Place::root(input))
        .map_err(|error| ApiError::new("ValidationError", format!("1 validation error detected: {error}")))?;
    let after = match token {
        None => None,
        Some(text) => {
            let wrong = || ApiError::new("InvalidNextToken", format!("The token '{text}' is not valid"));
            Some(token::read(&text).ok_or_else(wrong)?)
        }
    };
    // A name that is no group's is left out, without a word.
    let mut groups = world
        .state
        .auto_scaling_groups
        .values()
        .filter(|group| names.is_empty() || names.contains(&group.name) || names.contains(&group.arn))
        .filter(|group| after.as_ref().is_none_or(|after| group.name > *after));
    let page: Vec<&AutoScalingGroup> = groups.by_ref().take(size).collect();
    let shown: Vec<Value> = page.iter().map(|group| shape(world, group)).collect();
    let mut answer = json!({"AutoScalingGroups": shown});
    if let (Some(last), true) = (page.last(), groups.next().is_some()) {
        answer["NextToken"] = json!(token::write(&last.name));
    }
    Ok(answer)
}

/// What is asked for: names, how many a page, from where on.
fn read(input: &Place<'_>) -> Read<(BTreeSet<String>, usize, Option<String>)> {
    ensure!(!input.get("Filters").exists(), "Filters are not simulated");
    let names: BTreeSet<String> =
        input.get("AutoScalingGroupNames").list()?.iter().map(Place::needed_text).collect::<Read<_>>()?;
    let size = input.get("MaxRecords").count_or(PAGE.0)?;
    if !(1..=PAGE.1).contains(&size) {
        return input.get("MaxRecords").fail(&format!("expected a number from 1 to {}", PAGE.1));
    }
    ensure!(names.len() <= size as usize, "AutoScalingGroupNames can have at most {size} items");
    Ok((names, size as usize, input.get("NextToken").text()?.map(str::to_owned)))
}

fn shape(world: &World, group: &AutoScalingGroup) -> Value {
    let state = &world.state;
    let instances: Vec<&Instance> = state.group_instances(&group.name).collect();
    let zones: BTreeSet<String> = instances
        .iter()
        .map(|instance| attribute(instance, "ecs.availability-zone"))
        .filter(|it| !it.is_empty())
        .collect();
    let created = instances.iter().filter_map(|instance| instance.registered_at).min().unwrap_or(Moment(0));
    json!({
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "MinSize": group.minimum,
        "MaxSize": group.maximum,
        "DesiredCapacity": group.desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": zones,
        "HealthCheckType": "EC2",
        "HealthCheckGracePeriod": 0,
        "Instances": instances.iter().map(|instance| instance_shape(world, instance)).collect::<Vec<_>>(),
        "CreatedTime": created.0 / 1000,
        "NewInstancesProtectedFromScaleIn": true,
        "TerminationPolicies": ["Default"],
    })
}

fn instance_shape(world: &World, instance: &Instance) -> Value {
    let state = &world.state;
    // ECS takes the protection off instances that nothing needs [developer guide, "managed termination protection"].
    let is_needed = !state.instance_tasks(&instance.arn).all(|task| state.is_daemons(task));
    json!({
        "InstanceId": instance.ec2_instance_id,
        "InstanceType": attribute(instance, "ecs.instance-type"),
        "AvailabilityZone": attribute(instance, "ecs.availability-zone"),
        "LifecycleState": "InService",
        "HealthStatus": "Healthy",
        "ProtectedFromScaleIn": is_needed,
    })
}

fn attribute(instance: &Instance, name: &str) -> String {
    instance.attributes.get(name).cloned().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests;
