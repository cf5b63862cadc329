//! Elastic Load Balancing v2: target groups and their targets, as the tasks behind them are.

use std::collections::BTreeMap;

use anyhow::{Result as Read, ensure};
use serde_json::{Value, json};

use super::{ApiError, token};
use crate::{
    life,
    place::Place,
    state::{Service, Target, Task},
    world::World,
};

/// Target groups of one answer, at most. [API, DescribeTargetGroups]
const PAGE: u32 = 400;

/// Answers one call.
pub(crate) fn answer(world: &World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    match operation {
        "DescribeTargetGroups" => groups(world, &Place::root(input)),
        "DescribeTargetHealth" => health(world, &Place::root(input)),
        other => Err(ApiError::new("InvalidAction", format!("{other} is not simulated"))),
    }
}

fn checked<T>(result: Read<T>) -> Result<T, ApiError> {
    result.map_err(|error| ApiError::new("ValidationError", error.to_string()))
}

/// What is asked for: ARNs, names, how many a page.
fn read(input: &Place<'_>) -> Read<(Vec<String>, Vec<String>, usize)> {
    let texts = |key| -> Read<Vec<String>> { input.get(key).list()?.iter().map(Place::needed_text).collect() };
    ensure!(!input.get("LoadBalancerArn").exists(), "load balancers are not simulated, but their target groups are");
    let (arns, names) = (texts("TargetGroupArns")?, texts("Names")?);
    ensure!(arns.is_empty() || names.is_empty(), "Target group ARNs and names can't be asked for at once");
    let size = input.get("PageSize").count_or(PAGE)?;
    ensure!((1..=PAGE).contains(&size), "PageSize can be from 1 to {PAGE}");
    Ok((arns, names, size as usize))
}

/// The target groups that services name.
fn groups(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let (arns, names, size) = checked(read(input))?;
    let after = match checked(input.get("Marker").text())? {
        None => String::new(),
        Some(marker) => token::read(marker)
            .ok_or_else(|| ApiError::new("ValidationError", format!("The marker '{marker}' is not valid")))?,
    };
    let mut known: BTreeMap<String, &Service> = BTreeMap::new();
    for service in world.state.services.values() {
        for in_alternate in [false, true] {
            known.extend(service.group_arns(in_alternate).into_iter().map(|arn| (arn, service)));
        }
    }
    let is_known = |arn: &&String| known.contains_key(*arn);
    let is_named = |name: &&String| known.keys().any(|arn| name_of(arn) == *name);
    if !arns.iter().all(|arn| is_known(&arn)) || !names.iter().all(|name| is_named(&name)) {
        return Err(ApiError::new("TargetGroupNotFound", "One or more target groups not found"));
    }
    let mut wanted = known.iter().filter(|(arn, _)| {
        let is_asked =
            arns.is_empty() && names.is_empty() || arns.contains(arn) || names.iter().any(|it| it == name_of(arn));
        is_asked && arn.as_str() > after.as_str()
    });
    let page: Vec<(&String, &&Service)> = wanted.by_ref().take(size).collect();
    let shown: Vec<Value> = page.iter().map(|(arn, service)| shape(world, arn, service)).collect();
    let marker = page.last().filter(|_| wanted.next().is_some()).map(|(arn, _)| token::write(arn));
    Ok(json!({"TargetGroups": shown, "NextMarker": marker}))
}

/// `web` of `…:targetgroup/web/0123456789abcdef`.
fn name_of(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

/// A target group as those of an Application Load Balancer are by default, but for its checks, which the switch tells.
fn shape(world: &World, arn: &str, service: &Service) -> Value {
    let (passes, interval) = life::target_checks(world);
    let definition = world.state.definitions.get(&service.task_definition);
    let has_addresses = definition.is_some_and(|definition| definition.awsvpc);
    json!({
        "TargetGroupArn": arn,
        "TargetGroupName": name_of(arn),
        "Protocol": "HTTP",
        "ProtocolVersion": "HTTP1",
        "Port": 80,
        "TargetType": if has_addresses { "ip" } else { "instance" },
        "HealthCheckEnabled": true,
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckPath": "/",
        "HealthCheckIntervalSeconds": interval / 1000,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": passes,
        "UnhealthyThresholdCount": life::FAILED_CHECKS,
        "Matcher": {"HttpCode": "200"},
        "LoadBalancerArns": [],
    })
}

fn health(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let arn = checked(input.get("TargetGroupArn").needed_text())?;
    let has = |service: &Service, in_alternate: bool| service.group_arns(in_alternate).contains(&arn);
    // One that was deleted may have named it before another.
    let services = || world.state.services.values().filter(|service| has(service, false) || has(service, true));
    if services().next().is_none() {
        return Err(ApiError::new("TargetGroupNotFound", format!("Target groups '{arn}' not found")));
    }
    let mut targets: Vec<Value> = Vec::new();
    for service in services() {
        let tasks = world.state.service_tasks(&service.name).filter(|task| has(service, task.in_alternate));
        targets.extend(tasks.filter_map(|task| target(world, task)));
    }
    Ok(json!({"TargetHealthDescriptions": targets}))
}

/// An instance with a port, or an address where the task has an interface of its own.
fn target(world: &World, task: &Task) -> Option<Value> {
    let definition = world.state.definitions.get(&task.definition)?;
    let (id, port) = if definition.awsvpc {
        (task.address.clone(), 80)
    } else {
        let instance = world.state.instances.get(task.instance.as_ref()?)?;
        (instance.ec2_instance_id.clone(), definition.ports.first().copied().unwrap_or(task.host_port))
    };
    let health = match task.target {
        Target::None | Target::Seen | Target::Unused => return None,
        Target::Initial => json!({"State": "initial", "Reason": "Elb.RegistrationInProgress"}),
        Target::Healthy => json!({"State": "healthy"}),
        Target::Failing | Target::Unhealthy => json!({"State": "unhealthy", "Reason": "Target.FailedHealthChecks"}),
        Target::Draining => json!({"State": "draining", "Reason": "Target.DeregistrationInProgress"}),
    };
    Some(json!({"Target": {"Id": id, "Port": port}, "HealthCheckPort": port.to_string(), "TargetHealth": health}))
}
