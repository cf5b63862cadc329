//! The `Describe*` operations and GetTaskProtection: batches, `include`, and what is unknown as `failures`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{check_cluster, checked, find_service, find_task, includes, last_part, listing, missing, shapes, texts};
use crate::{moment::Moment, place::Place, state::CapacityProvider, wire::ApiError, world::World};

/// Splits what is asked into what is there and what isn't.
fn described(key: &str, ids: &[String], describe: impl Fn(&str) -> Option<Value>) -> Value {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for id in ids {
        match describe(id) {
            Some(value) => found.push(value),
            None => failures.push(missing(id)),
        }
    }
    json!({key: found, "failures": failures})
}

pub(super) fn clusters(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let ids = if input.get("clusters").exists() { texts(input, "clusters", 100)? } else { vec!["default".to_owned()] };
    let with_tags = includes(input, "TAGS")?;
    let state = &world.state;
    Ok(described("clusters", &ids, |id| {
        (id == state.cluster_name || id == state.cluster_arn).then(|| shapes::cluster(world, with_tags))
    }))
}

pub(super) fn services(world: &World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = texts(input, "services", 10)?;
    let with_tags = includes(input, "TAGS")?;
    Ok(described("services", &ids, |id| {
        find_service(world, id).map(|service| shapes::service(world, service, with_tags, now))
    }))
}

pub(super) fn container_instances(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = texts(input, "containerInstances", 100)?;
    let (with_tags, with_health) = (includes(input, "TAGS")?, includes(input, "CONTAINER_INSTANCE_HEALTH")?);
    let state = &world.state;
    let prefix = state.cluster_arn.replace(":cluster/", ":container-instance/");
    Ok(described("containerInstances", &ids, |id| {
        let arn = if id.contains(':') { id.to_owned() } else { format!("{prefix}/{}", last_part(id)) };
        state.instances.get(&arn).map(|instance| {
            let mut shown = shapes::instance(world, instance, with_tags);
            if with_health {
                shown["healthStatus"] = shapes::health(instance);
            }
            shown
        })
    }))
}

pub(super) fn tasks(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = texts(input, "tasks", 100)?;
    let with_tags = includes(input, "TAGS")?;
    Ok(described("tasks", &ids, |id| find_task(world, id).map(|task| shapes::task(world, task, with_tags))))
}

pub(super) fn task_definition(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let id = checked(input.get("taskDefinition").needed_text())?;
    let Some(definition) = world.definition(&id) else {
        return Err(ApiError::new("ClientException", "Unable to describe task definition."));
    };
    let mut answer = json!({"taskDefinition": definition.json});
    if includes(input, "TAGS")? {
        answer["tags"] = shapes::pairs(&definition.tags, "key", "value");
    }
    Ok(answer)
}

/// All that are known when none is named: Fargate's two, and the cluster's own. [API, DescribeCapacityProviders: up to 100
/// names, and ten a page]
pub(super) fn capacity_providers(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    if input.get("cluster").exists() {
        check_cluster(world, input)?;
    }
    let mut known = world.state.capacity_providers.clone();
    for name in ["FARGATE", "FARGATE_SPOT"] {
        known.entry(name.to_owned()).or_insert_with(|| CapacityProvider::new(name));
    }
    let asked: BTreeSet<String> = if input.get("capacityProviders").exists() {
        texts(input, "capacityProviders", 100)?.into_iter().collect()
    } else {
        known.keys().cloned().collect()
    };
    let names: BTreeSet<&str> = asked.iter().map(|id| last_part(id)).collect();
    let found = known.values().filter(|provider| names.contains(provider.name.as_str()));
    let shown = found.map(|provider| (provider.name.clone(), shapes::capacity_provider(world, provider)));
    let mut answer = listing::page_of(input, "capacityProviders", (10, 10), shown)?;
    answer["failures"] = asked.iter().filter(|id| !known.contains_key(last_part(id))).map(|id| missing(id)).collect();
    Ok(answer)
}

pub(super) fn task_protection(world: &World, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
    check_cluster(world, input)?;
    let ids = if input.get("tasks").exists() {
        texts(input, "tasks", 100)?
    } else {
        return Err(super::invalid("tasks cannot be empty."));
    };
    let (mut protected, mut failures) = (Vec::new(), Vec::new());
    for id in &ids {
        match find_task(world, id) {
            None => failures.push(missing(id)),
            Some(task) if task.service.is_none() => failures.push(json!({"arn": task.arn, "reason": "TASK_NOT_VALID"})),
            Some(task) => protected.push(shapes::protection(task, now)),
        }
    }
    Ok(json!({"protectedTasks": protected, "failures": failures}))
}

/// At most 20 a call; the ARNs tell the cluster. [API, DescribeServiceDeployments]
pub(super) fn service_deployments(world: &World, input: &Place<'_>) -> Result<Value, ApiError> {
    let ids = texts(input, "serviceDeploymentArns", 20)?;
    let all = world.state.services.values().flat_map(|service| {
        service.deployments.iter().map(|deployment| shapes::service_deployment(world, service, deployment))
    });
    let known: Vec<Value> = all.collect();
    Ok(described("serviceDeployments", &ids, |id| {
        known.iter().find(|deployment| deployment["serviceDeploymentArn"] == *id).cloned()
    }))
}
