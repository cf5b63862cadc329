//! Amazon ECS: which operation does what.

mod acting;
mod describing;
mod listing;
mod making;
mod shapes;

use serde_json::{Value, json};

use super::ApiError;
use crate::{
    Moment,
    engine::Engine,
    place::Place,
    state::{Service, Task},
};

/// Reads that may lag behind, where they do. [API: "result might not be immediately visible"]
const LAGGING: [&str; 4] = ["DescribeClusters", "DescribeServices", "DescribeTasks", "ListTasks"];

/// Answers one call.
pub(crate) fn answer(engine: &mut Engine, operation: &str, input: &Value, now: Moment) -> Result<Value, ApiError> {
    if LAGGING.contains(&operation) {
        return engine.as_seen(|engine| answer_now(engine, operation, input, now));
    }
    answer_now(engine, operation, input, now)
}

fn answer_now(engine: &mut Engine, operation: &str, input: &Value, now: Moment) -> Result<Value, ApiError> {
    let input = Place::root(input);
    match operation {
        "ListClusters" => listing::clusters(engine, &input),
        "ListServices" => listing::services(engine, &input),
        "ListContainerInstances" => listing::container_instances(engine, &input),
        "ListTasks" => listing::tasks(engine, &input),
        "ListAttributes" => listing::attributes(engine, &input),
        "ListTagsForResource" => listing::tags(engine, &input),
        "ListTaskDefinitions" => listing::task_definitions(engine, &input),
        "ListTaskDefinitionFamilies" => listing::families(engine, &input),
        "ListServiceDeployments" => listing::service_deployments(engine, &input),
        "DescribeClusters" => describing::clusters(engine, &input),
        "DescribeServices" => describing::services(engine, &input, now),
        "DescribeContainerInstances" => describing::container_instances(engine, &input),
        "DescribeTasks" => describing::tasks(engine, &input),
        "DescribeTaskDefinition" => describing::task_definition(engine, &input),
        "DescribeServiceDeployments" => describing::service_deployments(engine, &input),
        "DescribeCapacityProviders" => describing::capacity_providers(engine, &input),
        "GetTaskProtection" => describing::task_protection(engine, &input, now),
        "UpdateService" => acting::update_service(engine, &input, now),
        "StopTask" => acting::stop_task(engine, &input, now),
        "UpdateTaskProtection" => acting::update_task_protection(engine, &input, now),
        "TagResource" => acting::tag_resource(engine, &input),
        "UntagResource" => acting::untag_resource(engine, &input),
        "PutAttributes" => acting::put_attributes(engine, &input),
        "DeleteAttributes" => acting::delete_attributes(engine, &input),
        "UpdateContainerInstancesState" => acting::update_container_instances_state(engine, &input, now),
        "RegisterTaskDefinition" => making::register_task_definition(engine, &input, now),
        "DeleteService" => acting::delete_service(engine, &input, now),
        "DeregisterTaskDefinition" => making::deregister_task_definition(engine, &input),
        "CreateService" => making::create_service(engine, &input, now),
        "RunTask" => making::run_task(engine, &input),
        "StartTask" => making::start_task(engine, &input),
        "RegisterContainerInstance" => making::register_container_instance(engine, &input, now),
        "DeregisterContainerInstance" => making::deregister_container_instance(engine, &input),
        other => Err(ApiError::new("UnknownOperationException", format!("{other} is not simulated"))),
    }
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
fn check_cluster(engine: &Engine, input: &Place<'_>) -> Result<(), ApiError> {
    let name = checked(input.get("cluster").text_or("default"))?;
    let state = &engine.state;
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

fn find_service<'a>(engine: &'a Engine, id: &str) -> Option<&'a Service> {
    engine.state.services.get(last_part(id)).filter(|service| !id.contains(':') || service.arn == id)
}

fn find_task<'a>(engine: &'a Engine, id: &str) -> Option<&'a Task> {
    let state = &engine.state;
    if id.contains(':') {
        return state.tasks.get(id);
    }
    state.tasks.get(&format!("{}/{id}", state.cluster_arn.replace(":cluster/", ":task/")))
}
