//! The `List*` operations: filters, pages, tokens. [API reference; page sizes as ECS documents them]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{check_cluster, checked, find_service, invalid, last_part};
use crate::{
    place::Place,
    query::Query,
    state::{Status, Task},
    wire::{ApiError, token},
    world::World,
};

/// One page of a list: at most `maxResults` (1 to 100; else the operation's default), from the token on.
fn page(input: &Place<'_>, key: &str, default: u32, items: impl Iterator<Item = String>) -> Result<Value, ApiError> {
    page_of(input, key, (default, 100), items.map(|item| (item.clone(), json!(item))))
}

/// The same for items that are more than a text, each with what it is ordered by, and for another largest page.
pub(super) fn page_of(
    input: &Place<'_>,
    key: &str,
    (default, most): (u32, u32),
    items: impl Iterator<Item = (String, Value)>,
) -> Result<Value, ApiError> {
    let size = checked(input.get("maxResults").count_or(default))?;
    if !(1..=most).contains(&size) {
        return Err(invalid(format!("maxResults should be a positive integer between 1 and {most}.")));
    }
    let after = match checked(input.get("nextToken").text())? {
        None => None,
        Some(token) => Some(token::read(token).ok_or_else(|| invalid("Invalid token."))?),
    };
    let mut items = items.filter(|(item, _)| after.as_ref().is_none_or(|after| item > after));
    let (order, found): (Vec<String>, Vec<Value>) = items.by_ref().take(size as usize).unzip();
    let mut answer = json!({key: found});
    // A full last page has no token: there is nothing behind it.
    if let (Some(last), true) = (order.last(), items.next().is_some()) {
        answer["nextToken"] = json!(token::write(last));
    }
    Ok(answer)
}

pub(super) fn clusters(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    page(input, "clusterArns", 100, std::iter::once(world.state.cluster_arn.clone()))
}

pub(super) fn services(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let launch_type = checked(input.get("launchType").text())?;
    let scheduling = checked(input.get("schedulingStrategy").text())?;
    let management = checked(input.get("resourceManagementType").text())?;
    let services = world.state.services.values().filter(|service| {
        // DRAINING services are not listed [developer guide of 2023, ecs_services].
        service.status == "ACTIVE"
            && launch_type.is_none_or(|asked| service.launch_type.as_deref().unwrap_or("EC2") == asked)
            && scheduling.is_none_or(|asked| service.scheduling_strategy == asked)
            && management.is_none_or(|asked| (asked == "ECS") == service.managed_by_ecs)
    });
    let mut arns: Vec<String> = services.map(|service| service.arn.clone()).collect();
    arns.sort();
    page(input, "serviceArns", 10, arns.into_iter())
}

pub(super) fn container_instances(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let status = checked(input.get("status").text())?;
    let filter = match checked(input.get("filter").text())? {
        None => None,
        Some(text) => Some(Query::parse(text).map_err(|problem| invalid(format!("The filter {problem}.")))?),
    };
    let instances = world.state.instances.values().filter(|instance| {
        status.map_or(instance.status != "INACTIVE", |status| instance.status == status)
            && filter.as_ref().is_none_or(|filter| filter.holds(instance, &world.state))
    });
    page(input, "containerInstanceArns", 100, instances.map(|instance| instance.arn.clone()))
}

pub(super) fn tasks(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let text = |key: &str| checked(input.get(key).text());
    let (family, started_by) = (text("family")?, text("startedBy")?);
    let (service, instance, launch_type) = (text("serviceName")?, text("containerInstance")?, text("launchType")?);
    if started_by.is_some() && (family.is_some() || service.is_some() || instance.is_some()) {
        return Err(invalid("startedBy must be the only filter."));
    }
    let wanted = match text("desiredStatus")?.unwrap_or("RUNNING") {
        "RUNNING" => true,
        "STOPPED" => false,
        // "PENDING" is accepted and finds nothing: no task has that desired status.
        "PENDING" => return page(input, "taskArns", 100, std::iter::empty()),
        other => return Err(invalid(format!("{other} is no desired status."))),
    };
    if let Some(id) = service
        && find_service(world, id).is_none()
    {
        return Err(ApiError::new("ServiceNotFoundException", "Service not found."));
    }
    if let Some(id) = instance
        && !world.state.instances.keys().any(|arn| last_part(arn) == last_part(id))
    {
        return Err(invalid("Container instance not found."));
    }
    let matches = |task: &&Task| {
        task.wanted == wanted
            && (wanted || task.status >= Status::Running || task.stopped_at.is_some() || !task.wanted)
            && started_by.is_none_or(|asked| task.started_by == asked)
            && service.is_none_or(|asked| task.service.as_deref() == Some(last_part(asked)))
            && instance.is_none_or(|asked| task.instance.as_deref().map(last_part) == Some(last_part(asked)))
            && launch_type.is_none_or(|asked| task.launch_type == asked)
            && family.is_none_or(|asked| last_part(&task.definition).split(':').next() == Some(asked))
    };
    match (service, wanted) {
        // Only the service's own tasks are gone through.
        (Some(id), true) => page(
            input,
            "taskArns",
            100,
            world.state.service_tasks(last_part(id)).filter(matches).map(|task| task.arn.clone()),
        ),
        _ => page(input, "taskArns", 100, world.state.tasks.values().filter(matches).map(|task| task.arn.clone())),
    }
}

pub(super) fn attributes(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let name = checked(input.get("attributeName").text())?;
    let asked = checked(input.get("attributeValue").text())?;
    checked(input.get("targetType").one_of(&["container-instance"], ""))?;
    let attributes = world.state.instances.values().flat_map(|instance| {
        let found = instance.attributes.iter().filter(|(key, value)| {
            name.is_none_or(|name| *key == name) && asked.is_none_or(|asked| value.as_deref() == Some(asked))
        });
        found.map(|(key, value)| {
            let attribute = super::shapes::compact(
                json!({"name": key, "value": value, "targetType": "container-instance", "targetId": instance.arn}),
            );
            (format!("{} {key}", instance.arn), attribute)
        })
    });
    page_of(input, "attributes", (100, 100), attributes)
}

pub(super) fn tags(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let arn = checked(input.get("resourceArn").needed_text())?;
    let tags = world.tags(&arn).ok_or_else(|| invalid("The specified resource is not found."))?;
    Ok(json!({"tags": super::shapes::pairs(tags, "key", "value")}))
}

pub(super) fn task_definitions(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let family = checked(input.get("familyPrefix").text())?;
    let matches = |arn: &&String| family.is_none_or(|family| last_part(arn).split(':').next() == Some(family));
    page(input, "taskDefinitionArns", 100, world.state.definitions.keys().filter(matches).cloned())
}

pub(super) fn families(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let prefix = checked(input.get("familyPrefix").text_or(""))?;
    let names = world.state.definitions.keys().filter_map(|arn| last_part(arn).split(':').next());
    let families: BTreeSet<&str> = names.filter(|name| name.starts_with(&prefix)).collect();
    page(input, "families", 100, families.into_iter().map(str::to_owned))
}

pub(super) fn service_deployments(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let id = checked(input.get("service").needed_text())?;
    let service =
        find_service(world, &id).ok_or_else(|| ApiError::new("ServiceNotFoundException", "Service not found."))?;
    let asked = checked(input.get("status").list())?;
    let asked: Vec<&str> = asked.iter().filter_map(|place| place.raw().and_then(Value::as_str)).collect();
    let deployments: Vec<Value> = service
        .deployments
        .iter()
        .map(|deployment| super::shapes::service_deployment(world, service, deployment))
        .filter(|deployment| asked.is_empty() || asked.iter().any(|status| deployment["status"] == *status))
        .collect();
    Ok(json!({"serviceDeployments": deployments}))
}
