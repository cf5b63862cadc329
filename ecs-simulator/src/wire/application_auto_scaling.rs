//! Application Auto Scaling: the bounds of services' desired counts.

use serde_json::{Value, json};

use super::ApiError;
use crate::{place::Place, services, state::ScalableTarget, world::World};

const DIMENSION: &str = "ecs:service:DesiredCount";

/// Answers one call.
pub(crate) fn answer(world: &mut World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    let input = Place::root(input);
    match operation {
        "RegisterScalableTarget" => register(world, &input),
        "DeregisterScalableTarget" => deregister(world, &input),
        "DescribeScalableTargets" => describe(world, &input),
        other => Err(ApiError::new("UnknownOperationException", format!("{other} is not simulated"))),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

fn checked<T>(result: anyhow::Result<T>) -> Result<T, ApiError> {
    result.map_err(|error| invalid(error.to_string()))
}

/// Any registration of a target that exists moves a count outside its bounds into them at once, one that only suspends too.
/// [API, RegisterScalableTarget]
fn register(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    checked(input.get("ServiceNamespace").one_of(&["ecs"], ""))?;
    checked(input.get("ScalableDimension").one_of(&[DIMENSION], ""))?;
    for member in ["RoleARN", "Tags"] {
        if input.get(member).exists() {
            return Err(invalid(format!("{member} is not simulated")));
        }
    }
    let id = checked(input.get("ResourceId").needed_text())?;
    let name = id
        .strip_prefix("service/")
        .and_then(|rest| rest.strip_prefix(world.state.cluster_name.as_str()))
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|name| world.state.services.contains_key(*name));
    let Some(name) = name else { return Err(invalid(format!("ECS service doesn't exist: {id}"))) };
    let before = world.state.scalable_targets.get(name).copied();
    let bound = |member: &str, before: Option<u32>| match checked(input.get(member).count())?.or(before) {
        Some(bound) => Ok(bound),
        None => Err(invalid(format!("{member} must be specified for a new scalable target"))),
    };
    let (minimum, maximum) = (
        bound("MinCapacity", before.map(|target| target.minimum))?,
        bound("MaxCapacity", before.map(|target| target.maximum))?,
    );
    if minimum > maximum {
        return Err(invalid("Maximum capacity cannot be less than minimum capacity"));
    }
    let suspended = input.get("SuspendedState");
    let is_suspended =
        |member: &str, before: Option<bool>| checked(suspended.get(member).truth_or(before.unwrap_or(false)));
    let target = ScalableTarget {
        minimum,
        maximum,
        scales_in: !is_suspended("DynamicScalingInSuspended", before.map(|target| !target.scales_in))?,
        scales_out: !is_suspended("DynamicScalingOutSuspended", before.map(|target| !target.scales_out))?,
    };
    services::register_scalable_target(world, name, target);
    let account = world.state.account().replace(":ecs:", ":application-autoscaling:");
    Ok(json!({"ScalableTargetARN": format!("{account}:scalable-target/{name}")}))
}

/// The count stays as it is. [API, DeregisterScalableTarget]
fn deregister(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    checked(input.get("ServiceNamespace").one_of(&["ecs"], ""))?;
    checked(input.get("ScalableDimension").one_of(&[DIMENSION], ""))?;
    let id = checked(input.get("ResourceId").needed_text())?;
    let cluster = format!("service/{}/", world.state.cluster_name);
    let known = id.strip_prefix(&cluster).and_then(|name| world.state.scalable_targets.remove(name));
    match known {
        Some(_) => Ok(json!({})),
        None => Err(ApiError::new("ObjectNotFoundException", format!("No scalable target found for {id}"))),
    }
}

fn describe(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    checked(input.get("ServiceNamespace").one_of(&["ecs"], ""))?;
    let ids = checked(input.get("ResourceIds").list())?;
    let ids: Vec<&str> = ids.iter().filter_map(|place| place.raw().and_then(Value::as_str)).collect();
    let cluster = &world.state.cluster_name;
    let targets: Vec<Value> = world
        .state
        .scalable_targets
        .iter()
        .map(|(name, target)| (format!("service/{cluster}/{name}"), target))
        .filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()))
        .map(|(id, target)| {
            json!({
                "ServiceNamespace": "ecs",
                "ResourceId": id,
                "ScalableDimension": DIMENSION,
                "MinCapacity": target.minimum,
                "MaxCapacity": target.maximum,
                "SuspendedState": {
                    "DynamicScalingInSuspended": !target.scales_in,
                    "DynamicScalingOutSuspended": !target.scales_out,
                    "ScheduledScalingSuspended": false,
                },
            })
        })
        .collect();
    Ok(json!({"ScalableTargets": targets}))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{testing::Bench, timeline::By};

    fn call(bench: &mut Bench, operation: &str, more: &serde_json::Value) -> Result<serde_json::Value, String> {
        let mut input = json!({
            "ServiceNamespace": "ecs", "ResourceId": "service/default/web", "ScalableDimension": "ecs:service:DesiredCount",
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.json(&format!("AnyScaleFrontendService.{operation}"), &input)
    }

    #[test]
    fn a_count_outside_the_bounds_is_moved_into_them_at_once() {
        let mut bench = Bench::new("a i-1 web web web\nb i-2");
        assert!(call(&mut bench, "RegisterScalableTarget", &json!({"MinCapacity": 1})).is_err());
        call(&mut bench, "RegisterScalableTarget", &json!({"MinCapacity": 1, "MaxCapacity": 3})).unwrap();
        assert_eq!(bench.service("web")["desiredCount"], 3);
        bench.update("web", json!({"desiredCount": 5}));
        bench.wait(120);
        assert_eq!(bench.service("web")["desiredCount"], 5, "a count outside the bounds alone triggers nothing");
        let suspend = json!({"SuspendedState": {"DynamicScalingInSuspended": true}});
        call(&mut bench, "RegisterScalableTarget", &suspend).unwrap();
        assert_eq!(bench.service("web")["desiredCount"], 3);
        let changes = &bench.simulator.timeline().services()["web"].count_changes;
        let told: Vec<_> = changes.iter().map(|change| (change.by.clone(), change.from, change.to)).collect();
        assert_eq!(told, [(By::Caller(String::new()), 3, 5), (By::AutoScaling, 5, 3)]);
        let shown = call(&mut bench, "DescribeScalableTargets", &json!({})).unwrap();
        assert_eq!(shown["ScalableTargets"][0]["MaxCapacity"], 3);
        assert_eq!(shown["ScalableTargets"][0]["SuspendedState"]["DynamicScalingInSuspended"], true);
        call(&mut bench, "DeregisterScalableTarget", &json!({})).unwrap();
        let refused = call(&mut bench, "DeregisterScalableTarget", &json!({})).unwrap_err();
        assert!(refused.starts_with("ObjectNotFoundException"), "{refused}");
    }

    #[test]
    fn a_count_above_the_maximum_is_lowered_by_itself_or_never_where_a_switch_says_so() {
        for (value, alone, registered) in [("until-registered", 5, 3), ("lowered", 3, 3), ("stays", 5, 5)] {
            let mut bench = Bench::with("a i-1 web web web\nb i-2", &[&format!("count-above-maximum={value}")], &[]);
            call(&mut bench, "RegisterScalableTarget", &json!({"MinCapacity": 1, "MaxCapacity": 3})).unwrap();
            bench.update("web", json!({"desiredCount": 5}));
            bench.wait(60);
            assert_eq!(bench.service("web")["desiredCount"], alone, "{value}");
            call(&mut bench, "RegisterScalableTarget", &json!({"SuspendedState": {"DynamicScalingInSuspended": true}}))
                .unwrap();
            assert_eq!(bench.service("web")["desiredCount"], registered, "{value}");
        }
    }

    #[test]
    fn an_alarm_keeps_to_the_bounds_and_to_its_direction() {
        let mut bench = Bench::with("a i-1 web web web web\nb i-2", &[], &["auto-scaling=30"]);
        call(&mut bench, "RegisterScalableTarget", &json!({"MinCapacity": 2, "MaxCapacity": 4})).unwrap();
        bench.wait(200);
        let counts: Vec<u32> =
            bench.simulator.timeline().services()["web"].count_changes.iter().map(|change| change.to).collect();
        assert_eq!(counts, [4, 3, 4, 3, 4, 3]);
        assert_eq!(
            call(&mut bench, "RegisterScalableTarget", &json!({"ResourceId": "service/default/none"})).unwrap_err(),
            "ValidationException: ECS service doesn't exist: service/default/none"
        );
    }
}
