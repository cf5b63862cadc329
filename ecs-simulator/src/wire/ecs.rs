//! Amazon ECS: which operation does what.

mod acting;
mod describing;
mod listing;
mod making;
mod shapes;

use serde_json::{Value, json};

use super::ApiError;
use crate::{
    moment::Moment,
    place::Place,
    state::{Instance, Service, Task},
    world::World,
};

/// Reads that may lag behind, where they do. [API: "result might not be immediately visible"]
const LAGGING: [&str; 4] = ["DescribeClusters", "DescribeServices", "DescribeTasks", "ListTasks"];

/// Answers one call.
pub(crate) fn answer(world: &mut World, operation: &str, input: &Value, now: Moment) -> Result<Value, ApiError> {
    if LAGGING.contains(&operation) {
        return world.as_seen(|world| answer_now(world, operation, input, now));
    }
    answer_now(world, operation, input, now)
}

fn answer_now(world: &mut World, operation: &str, input: &Value, now: Moment) -> Result<Value, ApiError> {
    let input = Place::root(input);
    match operation {
        "ListClusters" => listing::clusters(world, &input),
        "ListServices" => listing::services(world, &input),
        "ListContainerInstances" => listing::container_instances(world, &input),
        "ListTasks" => listing::tasks(world, &input),
        "ListAttributes" => listing::attributes(world, &input),
        "ListTagsForResource" => listing::tags(world, &input),
        "ListTaskDefinitions" => listing::task_definitions(world, &input),
        "ListTaskDefinitionFamilies" => listing::families(world, &input),
        "ListServiceDeployments" => listing::service_deployments(world, &input),
        "DescribeClusters" => describing::clusters(world, &input),
        "DescribeServices" => describing::services(world, &input, now),
        "DescribeContainerInstances" => describing::container_instances(world, &input),
        "DescribeTasks" => describing::tasks(world, &input),
        "DescribeTaskDefinition" => describing::task_definition(world, &input),
        "DescribeServiceDeployments" => describing::service_deployments(world, &input),
        "DescribeCapacityProviders" => describing::capacity_providers(world, &input),
        "GetTaskProtection" => describing::task_protection(world, &input, now),
        "UpdateService" => acting::update_service(world, &input, now),
        "StopTask" => acting::stop_task(world, &input, now),
        "UpdateTaskProtection" => acting::update_task_protection(world, &input, now),
        "TagResource" => acting::tag_resource(world, &input),
        "UntagResource" => acting::untag_resource(world, &input),
        "PutAttributes" => acting::put_attributes(world, &input),
        "DeleteAttributes" => acting::delete_attributes(world, &input),
        "UpdateContainerInstancesState" => acting::update_container_instances_state(world, &input, now),
        "CreateCluster" => making::create_cluster(world, &input),
        "RegisterTaskDefinition" => making::register_task_definition(world, &input, now),
        "DeleteService" => acting::delete_service(world, &input, now),
        "DeregisterTaskDefinition" => making::deregister_task_definition(world, &input),
        "CreateService" => making::create_service(world, &input, now),
        "RunTask" => making::run_task(world, &input),
        "StartTask" => making::start_task(world, &input),
        "RegisterContainerInstance" => making::register_container_instance(world, &input, now),
        "DeregisterContainerInstance" => making::deregister_container_instance(world, &input),
        other => Err(ApiError::new("UnknownOperationException", format!("{other} is not simulated"))),
    }
}

/// A container instance as EventBridge tells of it: as it is described, with moments in words.
pub(crate) fn instance_event(world: &World, instance: &Instance, now: Moment) -> Value {
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.0) * 1_000_000).ok();
    let at = at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default();
    let mut detail = shapes::instance(world, instance, false);
    for member in ["runningTasksCount", "pendingTasksCount", "registeredAt", "capacityProviderName"] {
        detail.as_object_mut().and_then(|map| map.remove(member));
    }
    detail["clusterArn"] = json!(world.state.cluster_arn);
    detail["updatedAt"] = json!(at);
    let id = instance.arn.rsplit('/').next().unwrap_or_default();
    json!({
        "version": "0",
        "id": format!("{id}-{}", instance.version),
        "detail-type": "ECS Container Instance State Change",
        "source": "aws.ecs",
        "time": at,
        "resources": [instance.arn],
        "detail": detail,
    })
}

/// A complaint about the input, in ECS's own class of error.
fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

/// What `Place` complains about, as ECS would.
fn checked<T>(result: anyhow::Result<T>) -> Result<T, ApiError> {
    result.map_err(|error| invalid(error.to_string()))
}

/// The one cluster, by name or ARN; `default` when absent.
fn check_cluster(world: &World, input: &Place<'_>) -> Result<(), ApiError> {
    let name = checked(input.get("cluster").text_or("default"))?;
    let state = &world.state;
    if name == state.cluster_name || name == state.cluster_arn {
        Ok(())
    } else {
        Err(ApiError::new("ClusterNotFoundException", "Cluster not found."))
    }
}

/// A list of texts, of one up to so many.
fn texts(input: &Place<'_>, key: &str, most: usize) -> Result<Vec<String>, ApiError> {
    let texts: Vec<String> =
        checked(input.get(key).list().and_then(|values| values.iter().map(Place::needed_text).collect()))?;
    match texts.len() {
        0 => Err(invalid(format!("{key} cannot be empty."))),
        number if number > most => Err(invalid(format!("{key} can have at most {most} items."))),
        _ => Ok(texts),
    }
}

/// What `include` asks for.
fn includes(input: &Place<'_>, what: &str) -> Result<bool, ApiError> {
    let included = checked(input.get("include").list())?;
    Ok(included.iter().any(|place| place.raw().and_then(Value::as_str) == Some(what)))
}

fn missing(arn: &str) -> Value {
    json!({"arn": arn, "reason": "MISSING"})
}

/// An id, a short ARN or a long one: the end of it is what tells.
fn last_part(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

fn find_service<'a>(world: &'a World, id: &str) -> Option<&'a Service> {
    world.state.services.get(last_part(id)).filter(|service| !id.contains(':') || service.arn == id)
}

fn find_task<'a>(world: &'a World, id: &str) -> Option<&'a Task> {
    let state = &world.state;
    if id.contains(':') {
        return state.tasks.get(id);
    }
    state.tasks.get(&format!("{}/{id}", state.cluster_arn.replace(":cluster/", ":task/")))
}
