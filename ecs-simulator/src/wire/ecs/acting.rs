//! The operations that change something.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{check_cluster, checked, find_service, find_task, invalid, missing, shapes, texts};
use crate::{
    deployments, instances,
    moment::Moment,
    place::Place,
    services,
    snapshot::{read_constraints, read_providers, read_strategies, read_subnets},
    timeline::By,
    wire::ApiError,
    world::{World, milliseconds},
};

fn service_name(world: &World, input: &Place<'_>) -> Result<String, ApiError> {
    check_cluster(world, input)?;
    let id = checked(input.get("service").needed_text())?;
    let service =
        find_service(world, &id).ok_or_else(|| ApiError::new("ServiceNotFoundException", "Service not found."))?;
    if service.status != "ACTIVE" {
        return Err(ApiError::new("ServiceNotActiveException", "Service was not ACTIVE."));
    }
    Ok(service.name.clone())
}

/// Members that start a deployment by being there, beside the task definition. [API, UpdateService]
const DEPLOYING_MEMBERS: [&str; 7] = [
    "networkConfiguration",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "platformVersion",
];

/// What is omitted stays as it is; an empty list removes. [API, UpdateService]
pub(super) fn update_service(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    let name = service_name(world, input)?;
    let count = checked(input.get("desiredCount").count())?;
    if count.is_some() && world.state.services[&name].scheduling_strategy == "DAEMON" {
        return Err(invalid("The daemon scheduling strategy does not support a desired count."));
    }
    let strategies = input.get("placementStrategy");
    let constraints = input.get("placementConstraints");
    let strategies = if strategies.exists() { Some(checked(read_strategies(&strategies))?) } else { None };
    let constraints = if constraints.exists() { Some(checked(read_constraints(&constraints))?) } else { None };
    let configuration = input.get("deploymentConfiguration");
    let minimum = checked(configuration.get("minimumHealthyPercent").count())?;
    let maximum = checked(configuration.get("maximumPercent").count())?;
    let zones = checked(input.get("availabilityZoneRebalancing").text())?.map(|text| text == "ENABLED");
    let breaker = configuration.get("deploymentCircuitBreaker");
    let grace_period = checked(input.get("healthCheckGracePeriodSeconds").count())?;
    let providers = input.get("capacityProviderStrategy");
    let providers = if providers.exists() { Some(checked(read_providers(&providers))?) } else { None };
    let (breaks, rolls_back) =
        (checked(breaker.get("enable").truth_or(false))?, checked(breaker.get("rollback").truth_or(false))?);
    let network = input.get("networkConfiguration");
    let subnets = checked(read_subnets(&network))?;
    let force = checked(input.get("forceNewDeployment").truth_or(false))?
        || DEPLOYING_MEMBERS.iter().any(|member| input.get(member).exists());
    let definition = match checked(input.get("taskDefinition").text())? {
        None => None,
        Some(id) => Some(
            world
                .definition(id)
                .ok_or_else(|| ApiError::new("ClientException", "TaskDefinition not found."))?
                .arn
                .clone(),
        ),
    };
    let controller = world.state.services[&name].controller.clone();
    if controller != "ECS" && (definition.is_some() || force) {
        let message =
            format!("Unable to update task definition on services with a {controller} deployment controller.");
        return Err(invalid(message));
    }
    services::set_placement(world, &name, strategies, constraints);
    if let Some(service) = world.state.services.get_mut(&name) {
        if let Some(network) = network.raw() {
            service.network = Some(network.clone());
            service.subnets = subnets;
        }
        service.minimum_healthy_percent = minimum.unwrap_or(service.minimum_healthy_percent);
        service.maximum_percent = maximum.unwrap_or(service.maximum_percent);
        service.zone_rebalancing = zones.unwrap_or(service.zone_rebalancing);
        service.grace_period_seconds = grace_period.unwrap_or(service.grace_period_seconds);
        if breaker.exists() {
            (service.circuit_breaker, service.rollback) = (breaks, rolls_back);
        }
        if let Some(providers) = providers {
            service.launch_type = if providers.is_empty() { Some("EC2".to_owned()) } else { None };
            service.capacity_provider_strategy = providers;
        }
    }
    if let Some(count) = count {
        let by = By::Caller(world.caller.clone());
        services::set_desired_count(world, &name, count, by);
    }
    let current = world.state.services[&name].task_definition.clone();
    let is_new = definition.as_ref().is_some_and(|definition| *definition != current);
    if force || is_new {
        deployments::deploy(world, &name, &definition.unwrap_or(current));
    }
    world.note_counts(&name);
    Ok(json!({"service": shapes::service(world, &world.state.services[&name], false, now)}))
}

pub(super) fn delete_service(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    let name = service_name(world, input)?;
    let force = checked(input.get("force").truth_or(false))?;
    if world.state.services[&name].desired_count > 0 && !force {
        return Err(invalid("The service cannot be stopped while it is scaled above 0."));
    }
    services::delete(world, &name, By::Caller(world.caller.clone()));
    Ok(json!({"service": shapes::service(world, &world.state.services[&name], false, now)}))
}

pub(super) fn stop_task(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let id = checked(input.get("task").needed_text())?;
    let reason = checked(input.get("reason").text_or("Task stopped by user"))?;
    let Some(task) = find_task(world, &id) else {
        return Err(invalid("The referenced task was not found."));
    };
    if task.is_protected(now) && world.options.behaviour.get("stop-of-protected") == "refused" {
        return Err(invalid("The task is protected."));
    }
    let arn = task.arn.clone();
    crate::life::stop(world, &arn, crate::life::BY_HAND, &reason);
    Ok(json!({"task": shapes::task(world, &world.state.tasks[&arn], false)}))
}

/// [API, UpdateTaskProtection]
pub(super) fn update_task_protection(world: &mut World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = texts(input, "tasks", 10)?;
    if !input.get("protectionEnabled").exists() {
        return Err(invalid("protectionEnabled is required."));
    }
    let enabled = checked(input.get("protectionEnabled").truth_or(false))?;
    let minutes = checked(input.get("expiresInMinutes").count_or(120))?;
    if !(1..=2_880).contains(&minutes) {
        return Err(invalid("expiresInMinutes must be between 1 and 2880."));
    }
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        let Some(arn) = find_task(world, id).filter(|task| task.stopped_at.is_none()).map(|task| task.arn.clone())
        else {
            failures.push(missing(id));
            continue;
        };
        let late = world.options.faults.late_protection;
        let is_refused = enabled && world.chance(world.options.faults.refused_protection);
        if is_refused {
            let reason = if world.chance(0.5) { "DEPLOYMENT_BLOCKED" } else { "TASK_NOT_VALID" };
            failures.push(json!({"arn": arn, "reason": reason}));
            continue;
        }
        let Some(task) = world.state.tasks.get_mut(&arn) else { continue };
        if task.service.is_none() || !task.wanted {
            failures.push(json!({"arn": arn, "reason": "TASK_NOT_VALID"}));
            continue;
        }
        // Whole seconds, as the API's moments are.
        let until = Moment((now.0 / 1000 + i64::from(minutes) * 60) * 1000);
        task.protect(enabled.then_some(until), Moment(now.0 + milliseconds(late)), now);
        protected.push(shapes::protection(task, now));
        // A scale-in that protection held up may go on now.
        if let (false, Some(service)) = (enabled, task.service.clone()) {
            world.wake(&service);
        }
    }
    Ok(json!({"protectedTasks": protected, "failures": failures}))
}

pub(super) fn tag_resource(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let arn = checked(input.get("resourceArn").needed_text())?;
    let pairs = checked(input.get("tags").pairs("key", "value"))?;
    if pairs.is_empty() {
        return Err(invalid("tags cannot be empty."));
    }
    let takes_any = world.options.behaviour.get("tag-characters") == "any";
    let is_listed = |letter: char| letter.is_alphanumeric() || " _.:/=+-@".contains(letter);
    let allowed = |text: &str| takes_any || text.chars().all(is_listed);
    for (key, value) in &pairs {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("Tag keys that begin with aws: are reserved for AWS."));
        }
        if key.chars().count() > 128 || value.chars().count() > 256 || !allowed(key) || !allowed(value) {
            return Err(invalid(
                "Tags can have up to 128 characters in the key and 256 in the value: letters, digits, blanks and _ . : / = + - @",
            ));
        }
    }
    let is_short_service = arn.contains(":service/") && arn.split('/').count() < 3;
    let takes_short = world.options.behaviour.get("short-arn-tags") == "taken";
    let long = match arn.split_once(":service/").filter(|_| is_short_service && takes_short) {
        Some((_, name)) => world.state.services.get(name).map(|service| service.arn.clone()),
        None => None,
    };
    let arn = long.unwrap_or(arn);
    let tags = world.tags_mut(&arn).filter(|_| !is_short_service || takes_short);
    let tags =
        tags.ok_or_else(|| invalid("The specified resource is not found, or its ARN has not the new format."))?;
    let mut together = tags.clone();
    together.extend(pairs);
    if together.len() > 50 {
        return Err(invalid("At most 50 tags are allowed."));
    }
    *tags = together;
    Ok(json!({}))
}

pub(super) fn untag_resource(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let arn = checked(input.get("resourceArn").needed_text())?;
    let keys = texts(input, "tagKeys", 50)?;
    let tags = world.tags_mut(&arn).ok_or_else(|| invalid("The specified resource is not found."))?;
    tags.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}

struct Attribute {
    name: String,
    value: Option<String>,
    instance: String,
}

fn attributes(world: &World, input: &Place<'_>) -> Result<Vec<Attribute>, ApiError> {
    check_cluster(world, input)?;
    let places = checked(input.get("attributes").list())?;
    if !(1..=10).contains(&places.len()) {
        return Err(invalid("attributes can have from 1 to 10 items."));
    }
    places
        .iter()
        .map(|place| {
            let id = checked(place.get("targetId").needed_text())?;
            // Those that ListContainerInstances lists, as the error's description has it [API, DeleteAttributes].
            let mut listed = world.state.instances.values().filter(|instance| instance.status != "INACTIVE");
            let instance = listed
                .find(|instance| super::last_part(&instance.arn) == super::last_part(&id))
                .ok_or_else(|| ApiError::new("TargetNotFoundException", "The specified target wasn't found."))?;
            Ok(Attribute {
                name: checked(place.get("name").needed_text())?,
                value: checked(place.get("value").text())?.map(str::to_owned),
                instance: instance.arn.clone(),
            })
        })
        .collect()
}

/// An instance has at most so many beside those that its agent registers for ECS [API, PutAttributes].
const MOST_CUSTOM_ATTRIBUTES: usize = 10;

pub(super) fn put_attributes(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let attributes = attributes(world, input)?;
    if attributes.iter().any(|attribute| attribute.name.starts_with("ecs.")) {
        return Err(invalid("Names that begin with ecs. are reserved."));
    }
    let targets: BTreeSet<&String> = attributes.iter().map(|attribute| &attribute.instance).collect();
    for instance in targets.into_iter().filter_map(|target| world.state.instances.get(target)) {
        let of_agent = |name: &&str| name.starts_with("ecs.") || name.starts_with("com.amazonaws.ecs.");
        let put = attributes.iter().filter(|attribute| attribute.instance == instance.arn);
        let names = instance.attributes.keys().chain(put.map(|attribute| &attribute.name)).map(String::as_str);
        let custom: BTreeSet<&str> = names.filter(|name| !of_agent(name)).collect();
        if custom.len() > MOST_CUSTOM_ATTRIBUTES {
            let told = "You can apply up to 10 custom attributes for each resource.";
            return Err(ApiError::new("AttributeLimitExceededException", told));
        }
    }
    let applied: Vec<Value> = attributes.iter().map(shown).collect();
    for attribute in attributes {
        if let Some(instance) = world.state.instances.get_mut(&attribute.instance) {
            instance.put.insert(attribute.name.clone());
            instance.attributes.insert(attribute.name, attribute.value);
            instance.version += 1;
        }
    }
    Ok(json!({"attributes": applied}))
}

/// As the API shows an attribute.
fn shown(attribute: &Attribute) -> Value {
    shapes::compact(json!({
        "name": attribute.name,
        "value": attribute.value,
        "targetType": "container-instance",
        "targetId": attribute.instance,
    }))
}

pub(super) fn delete_attributes(world: &mut World, input: &Place<'_>) -> Result<Value, ApiError> {
    let attributes = attributes(world, input)?;
    let deleted: Vec<Value> = attributes.iter().map(shown).collect();
    for attribute in attributes {
        if let Some(instance) = world.state.instances.get_mut(&attribute.instance) {
            instance.put.remove(&attribute.name);
            instance.attributes.remove(&attribute.name);
            instance.version += 1;
        }
    }
    Ok(json!({"attributes": deleted}))
}

pub(super) fn update_container_instances_state(
    world: &mut World,
    input: &Place<'_>,
    _now: Moment,
) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = texts(input, "containerInstances", 10)?;
    let status = checked(input.get("status").one_of(&["ACTIVE", "DRAINING"], ""))?;
    let (mut changed, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        let arn = world.state.instances.keys().find(|arn| super::last_part(arn) == super::last_part(id)).cloned();
        let Some(arn) = arn else {
            failures.push(missing(id));
            continue;
        };
        instances::set_instance_status(world, &arn, &status);
        changed.push(shapes::instance(world, &world.state.instances[&arn], false));
    }
    Ok(json!({"containerInstances": changed, "failures": failures}))
}
