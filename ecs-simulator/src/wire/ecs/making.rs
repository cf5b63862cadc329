//! The operations that make something or take it away whole: services, standalone tasks, container instances, revisions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{check_cluster, checked, invalid, missing, shapes, texts};
use crate::{
    life::{Start, lose, start},
    moment::Moment,
    place::Place,
    placement::{Wish, choose},
    snapshot::{
        read_constraints, read_definition, read_instance, read_providers, read_service, read_strategies, read_subnets,
    },
    state::Definition,
    wire::ApiError,
    world::{World, revision},
};

/// [AWS General Reference, ECS quotas]
const SERVICES: usize = 5_000;
/// Tasks of one `RunTask`, instances of one `StartTask`. [API]
const TASKS: u32 = 10;

/// The cluster is there already, and whoever makes it again is given it, as ECS does. There is no second one.
pub(super) fn create_cluster(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let name = checked(input.get("clusterName").text_or("default"))?;
    if name != world.state.cluster_name {
        let known = &world.state.cluster_name;
        return Err(ApiError::new(
            "LimitExceededException",
            format!("One cluster is simulated, and its name is {known}."),
        ));
    }
    let all = input.raw().and_then(Value::as_object).into_iter().flatten();
    let is_modelled = |member: &str| ["clusterName", "tags"].contains(&member);
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if let Some((member, _)) = all.into_iter().find(|(member, value)| !is_modelled(member) && !is_empty(value)) {
        return Err(invalid(format!("{member} of CreateCluster is not simulated.")));
    }
    let tags = checked(input.get("tags").pairs("key", "value"))?;
    world.state.cluster_tags.extend(tags);
    Ok(json!({"cluster": shapes::cluster(world, true)}))
}

pub(super) fn create_service(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let name = checked(input.get("serviceName").needed_text())?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if name.len() > 255 || !name.chars().all(is_allowed) {
        return Err(invalid("serviceName can have up to 255 letters, digits, hyphens and underscores."));
    }
    let services = &world.state.services;
    if services.get(&name).is_some_and(|service| service.status != "INACTIVE") {
        return Err(invalid("Creation of service was not idempotent."));
    }
    if services.len() >= SERVICES {
        return Err(ApiError::new("LimitExceededException", "A cluster can have at most 5000 services."));
    }
    let definition = definition(world, input)?.arn;
    let mut json = input.raw().cloned().unwrap_or_default();
    for member in ["status", "events", "taskSets", "serviceArn", "resourceManagementType"] {
        json.as_object_mut().and_then(|map| map.remove(member));
    }
    json["taskDefinition"] = json!(definition);
    json["createdAt"] = shapes::seconds(Some(now));
    json["deployments"] = json!([]);
    let mut service = checked(read_service(&Place::root(&json), &world.state))?;
    // Zones are evened out unless something speaks against it [ECS developer guide, "Balancing … across Availability Zones"].
    let zone = |(kind, field): &(String, String)| kind == "spread" && field == "attribute:ecs.availability-zone";
    let may = service.scheduling_strategy == "REPLICA" && service.placement_strategy.first().is_none_or(zone);
    service.zone_rebalancing |= may && !input.get("availabilityZoneRebalancing").exists();
    if service.launch_type.is_none() && service.capacity_provider_strategy.is_empty() {
        service.launch_type = Some("EC2".to_owned());
    }
    // Its first deployment is the scheduler's to make, as any later one.
    service.deployments.clear();
    world.state.services.insert(name.clone(), service);
    crate::deployments::deploy(world, &name, &definition);
    world.note_counts(&name);
    Ok(json!({"service": shapes::service(world, &world.state.services[&name], true, now)}))
}

pub(super) fn run_task(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let definition = definition(world, input)?;
    let count = checked(input.get("count").count_or(1))?;
    if !(1..=TASKS).contains(&count) {
        return Err(invalid(format!("count can be from 1 to {TASKS}.")));
    }
    let providers = checked(read_providers(&input.get("capacityProviderStrategy")))?;
    let (strategy, constraints) = (
        checked(read_strategies(&input.get("placementStrategy")))?,
        checked(read_constraints(&input.get("placementConstraints")))?,
    );
    let launch_type = checked(input.get("launchType").one_of(&["EC2", "FARGATE", "EXTERNAL"], "EC2"))?;
    let subnets = checked(read_subnets(&input.get("networkConfiguration")))?;
    let what = what(input, &definition, &launch_type, providers.first().map(|(name, ..)| name.as_str()))?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let wish = Wish {
            group: &what.group,
            strategy: &strategy,
            constraints: &constraints,
            providers: &providers,
            started_by: what.started_by,
            zone: None,
            subnets: &subnets,
            external: launch_type == "EXTERNAL",
        };
        let place = if launch_type == "FARGATE" { Ok(None) } else { choose(world, &wish, &definition).map(Some) };
        match place {
            Ok(instance) => tasks.push(start(world, &what, instance.as_deref())),
            Err(nowhere) => {
                let arn = nowhere.closest.as_ref().map(|(arn, _)| arn.as_str()).unwrap_or_default();
                failures.push(json!({"arn": arn, "reason": nowhere.failure()}));
            }
        }
    }
    Ok(started(world, &tasks, &failures))
}

/// Wherever it is told to, whether there is room or not being the one thing that is asked.
pub(super) fn start_task(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let definition = definition(world, input)?;
    let ids = texts(input, "containerInstances", TASKS as usize)?;
    let what = what(input, &definition, "EC2", None)?;
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        let Some(arn) = instance(world, id) else {
            failures.push(missing(id));
            continue;
        };
        let external = world.state.instances[&arn].attributes.contains_key("ecs.capability.external");
        let there =
            [("memberOf".to_owned(), format!("ec2InstanceId == '{}'", world.state.instances[&arn].ec2_instance_id))];
        let wish = Wish {
            group: &what.group,
            strategy: &[],
            constraints: &there,
            providers: &[],
            started_by: "",
            zone: None,
            subnets: &[],
            external,
        };
        match choose(world, &wish, &definition) {
            Ok(arn) => tasks.push(start(world, &what, Some(&arn))),
            Err(nowhere) => failures.push(json!({"arn": arn, "reason": nowhere.failure()})),
        }
    }
    Ok(started(world, &tasks, &failures))
}

/// An instance joins: what its agent would tell of it.
pub(super) fn register_container_instance(
    world: &mut World,
    input: &Place<'_>,
    now: Moment,
) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let (arn, id) = world.new_arn("container-instance");
    // The identity document is text that holds JSON.
    let identity = checked(input.get("instanceIdentityDocument").text_or("{}"))?;
    let identity: Value =
        serde_json::from_str(&identity).map_err(|_| invalid("Instance identity document is invalid."))?;
    let mut json = input.raw().cloned().unwrap_or_default();
    json["containerInstanceArn"] = json!(arn);
    json["ec2InstanceId"] = identity.get("instanceId").cloned().unwrap_or_else(|| json!(format!("i-{}", &id[..17])));
    json["registeredResources"] = json.get("totalResources").cloned().unwrap_or_else(|| json!([]));
    json["registeredAt"] = shapes::seconds(Some(now));
    json["status"] = json!("ACTIVE");
    let instance = checked(read_instance(&Place::root(&json)))?;
    world.state.instances.insert(arn.clone(), instance);
    world.wake_daemons();
    crate::events::joined(world, &arn);
    Ok(json!({"containerInstance": shapes::instance(world, &world.state.instances[&arn], true)}))
}

/// With `force` its tasks are lost to ECS; without, there must be none. [API, DeregisterContainerInstance]
pub(super) fn deregister_container_instance(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let id = checked(input.get("containerInstance").needed_text())?;
    let arn = instance(world, &id).ok_or_else(|| invalid("Referenced container instance not found."))?;
    let tasks: Vec<String> = world.state.instance_tasks(&arn).map(|task| task.arn.clone()).collect();
    if !tasks.is_empty() && !checked(input.get("force").truth_or(false))? {
        return Err(invalid("Found running tasks on the instance."));
    }
    for task in &tasks {
        lose(world, task, "The container instance was deregistered.");
    }
    if let Some(instance) = world.state.instances.get_mut(&arn) {
        "INACTIVE".clone_into(&mut instance.status);
        instance.agent_connected = false;
        instance.version += 1;
    }
    Ok(json!({"containerInstance": shapes::instance(world, &world.state.instances[&arn], false)}))
}

pub(super) fn register_task_definition(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    let family = checked(input.get("family").needed_text())?;
    if checked(input.get("containerDefinitions").list())?.is_empty() {
        return Err(ApiError::new("ClientException", "Container list cannot be empty."));
    }
    // A number is never given twice, INACTIVE revisions' neither.
    let number = world.revisions(&family).iter().map(|definition| revision(&definition.arn)).max().unwrap_or(0) + 1;
    let account = world.state.cluster_arn.split(":cluster/").next().unwrap_or_default();
    let arn = format!("{account}:task-definition/{family}:{number}");
    let mut json = input.raw().cloned().unwrap_or_default();
    let tags = json.as_object_mut().and_then(|map| map.remove("tags"));
    json["taskDefinitionArn"] = json!(arn);
    json["revision"] = json!(number);
    json["status"] = json!("ACTIVE");
    json["registeredAt"] = shapes::seconds(Some(now));
    let mut definition = checked(read_definition(&Place::root(&json)))?;
    definition.tags = tags_of(input)?;
    world.state.definitions.insert(arn, definition);
    Ok(json!({"taskDefinition": json, "tags": tags.unwrap_or_else(|| json!([]))}))
}

/// It stays describable, and what runs from it goes on.
pub(super) fn deregister_task_definition(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let arn = definition(world, input)?.arn;
    let definition = world.state.definitions.get_mut(&arn).map(|definition| {
        definition.json["status"] = json!("INACTIVE");
        definition.json.clone()
    });
    Ok(json!({"taskDefinition": definition}))
}

/// The task definition that the input names, if it may be used.
fn definition(world: &World, input: &Place<'_>) -> Result<Definition, ApiError> {
    let id = checked(input.get("taskDefinition").needed_text())?;
    let definition =
        world.definition(&id).ok_or_else(|| ApiError::new("ClientException", "TaskDefinition not found."))?;
    if definition.is_active() {
        Ok(definition.clone())
    } else {
        Err(ApiError::new("ClientException", "TaskDefinition is inactive"))
    }
}

fn instance(world: &World, id: &str) -> Option<String> {
    let is_it = |arn: &&String| super::last_part(arn) == super::last_part(id);
    world.state.instances.keys().find(is_it).cloned()
}

fn tags_of(input: &Place<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    checked(input.get("tags").pairs("key", "value"))
}

/// What `RunTask` and `StartTask` start.
fn what<'a>(
    input: &Place<'a>,
    definition: &'a Definition,
    launch_type: &'a str,
    provider: Option<&'a str>,
) -> Result<Start<'a>, ApiError> {
    let family = super::last_part(&definition.arn).split(':').next().unwrap_or_default();
    let group = checked(input.get("group").text_or(&format!("family:{family}")))?;
    if group.starts_with("service:") {
        return Err(invalid("Group names that begin with service: are reserved."));
    }
    let started_by = checked(input.get("startedBy").text())?.unwrap_or_default();
    if started_by.chars().count() > 128 {
        return Err(invalid("startedBy can have up to 128 characters."));
    }
    Ok(Start {
        service: None,
        group,
        started_by,
        definition: &definition.arn,
        launch_type,
        provider,
        in_alternate: false,
        tags: tags_of(input)?,
    })
}

fn started(world: &World, arns: &[String], failures: &[Value]) -> Value {
    let tasks: Vec<Value> =
        arns.iter().filter_map(|arn| world.state.tasks.get(arn)).map(|task| shapes::task(world, task, true)).collect();
    json!({"tasks": tasks, "failures": failures})
}

#[cfg(test)]
mod tests;
