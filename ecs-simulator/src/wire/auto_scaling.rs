//! Auto Scaling: the groups behind capacity providers.

use std::collections::BTreeSet;

use anyhow::{Result as Read, ensure};
use serde_json::{Value, json};

use super::{ApiError, token};
use crate::{
    managed_scaling,
    moment::Moment,
    place::Place,
    state::{AutoScalingGroup, Instance},
    world::World,
};

/// Groups of one answer, and at most. [API, DescribeAutoScalingGroups]
const PAGE: (u32, u32) = (50, 100);

/// Answers one call.
pub(crate) fn answer(world: &mut World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    match operation {
        "DescribeAutoScalingGroups" => describe(world, &Place::root(input)),
        "SetDesiredCapacity" => set_desired_capacity(world, &Place::root(input)),
        other => Err(ApiError::new("InvalidAction", format!("{other} is not simulated"))),
    }
}

fn checked<T>(result: Read<T>) -> Result<T, ApiError> {
    result.map_err(|error| ApiError::new("ValidationError", format!("1 validation error detected: {error}")))
}

/// A group shrinks or grows, as a person scales it down and up.
fn set_desired_capacity(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let (name, wanted) = checked(read_capacity(input))?;
    let groups = &world.state.auto_scaling_groups;
    let Some(group) = groups.values().find(|group| group.name == name || group.arn == name) else {
        return Err(ApiError::new("ValidationError", format!("AutoScalingGroup name not found - {name}")));
    };
    let beyond = |side: &str, bound: u32| {
        let what = format!("New SetDesiredCapacity value {wanted} is {side} value {bound} for the AutoScalingGroup.");
        Err(ApiError::new("ValidationError", what))
    };
    if wanted < group.minimum {
        return beyond("below min", group.minimum);
    }
    if wanted > group.maximum {
        return beyond("above max", group.maximum);
    }
    let name = group.name.clone();
    managed_scaling::set_desired_capacity(world, &name, wanted);
    Ok(json!({}))
}

fn read_capacity(input: &Place<'_>) -> Read<(String, u32)> {
    ensure!(input.get("HonorCooldown").text_or("false")? == "false", "HonorCooldown is not simulated");
    let wanted = input.get("DesiredCapacity");
    ensure!(wanted.exists(), "DesiredCapacity is needed");
    Ok((input.get("AutoScalingGroupName").needed_text()?, wanted.count_or(0)?))
}

fn describe(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let (names, size, token) = checked(read(input))?;
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
