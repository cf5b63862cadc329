//! Elastic Load Balancing v2: the targets of target groups, as the tasks behind them are.

use serde_json::{Value, json};

use super::ApiError;
use crate::{
    engine::Engine,
    place::Place,
    state::{Status, Task},
};

/// Answers one call.
pub(crate) fn answer(engine: &Engine, operation: &str, input: &Value) -> Result<Value, ApiError> {
    if operation != "DescribeTargetHealth" {
        return Err(ApiError::new("InvalidAction", format!("{operation} is not simulated")));
    }
    let input = Place::root(input);
    let arn = input
        .get("TargetGroupArn")
        .needed_text()
        .map_err(|error| ApiError::new("ValidationError", error.to_string()))?;
    let service =
        engine.state.services.values().find(|service| service.target_groups.iter().any(|group| group.arn == arn));
    let Some(service) = service else {
        return Err(ApiError::new("TargetGroupNotFound", format!("Target groups '{arn}' not found")));
    };
    let targets: Vec<Value> = engine
        .state
        .service_tasks(&service.name)
        .filter(|task| (Status::Running..=Status::Deactivating).contains(&task.status))
        .filter_map(|task| target(engine, task))
        .collect();
    Ok(json!({"TargetHealthDescriptions": targets}))
}

/// An instance with a port, or an address where the task has an interface of its own.
fn target(engine: &Engine, task: &Task) -> Option<Value> {
    let definition = engine.state.definitions.get(&task.definition)?;
    let (id, port) = if definition.awsvpc {
        (task.address.clone(), 80)
    } else {
        let instance = engine.state.instances.get(task.instance.as_ref()?)?;
        (instance.ec2_instance_id.clone(), definition.ports.first().copied().unwrap_or(task.host_port))
    };
    let health = match (task.status, task.checks_passed) {
        (Status::Deactivating, _) => json!({"State": "draining", "Reason": "Target.DeregistrationInProgress"}),
        (_, true) => json!({"State": "healthy"}),
        (_, false) => json!({"State": "initial", "Reason": "Elb.RegistrationInProgress"}),
    };
    Some(json!({"Target": {"Id": id, "Port": port}, "HealthCheckPort": port.to_string(), "TargetHealth": health}))
}
