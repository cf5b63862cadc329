//! Elastic Load Balancing v2: the targets of target groups, as the tasks behind them are.

use serde_json::{Value, json};

use super::ApiError;
use crate::{
    place::Place,
    state::{Service, Target, Task},
    world::World,
};

/// Answers one call.
pub(crate) fn answer(world: &World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    if operation != "DescribeTargetHealth" {
        return Err(ApiError::new("InvalidAction", format!("{operation} is not simulated")));
    }
    let input = Place::root(input);
    let arn = input
        .get("TargetGroupArn")
        .needed_text()
        .map_err(|error| ApiError::new("ValidationError", error.to_string()))?;
    let has = |service: &Service, in_alternate: bool| service.group_arns(in_alternate).contains(&arn);
    let service = world.state.services.values().find(|service| has(service, false) || has(service, true));
    let Some(service) = service else {
        return Err(ApiError::new("TargetGroupNotFound", format!("Target groups '{arn}' not found")));
    };
    let targets: Vec<Value> = world
        .state
        .service_tasks(&service.name)
        .filter(|task| has(service, task.in_alternate))
        .filter_map(|task| target(world, task))
        .collect();
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
