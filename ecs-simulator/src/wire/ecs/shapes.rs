//! What ECS's answers look like: state → JSON, in the API's names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    moment::Moment,
    state::{CapacityProvider, Deployment, Instance, Service, Status, Task},
    world::World,
};

pub(super) fn pairs(pairs: &BTreeMap<String, String>, key: &str, value: &str) -> Value {
    pairs.iter().map(|(name, content)| json!({key: name, value: content})).collect()
}

/// Seconds since 1970, as the API's JSON has moments.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of our age are far below 2^52")]
pub(super) fn seconds(moment: Option<Moment>) -> Value {
    moment.map_or(Value::Null, |moment| json!(moment.0 as f64 / 1000.0))
}

/// Leaves out what is null: ECS doesn't send it.
pub(super) fn compact(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    value
}

pub(super) fn service(world: &World, service: &Service, with_tags: bool, now: Moment) -> Value {
    let state = &world.state;
    let drains = |task: &&Task| !task.wanted && task.status == Status::Deactivating;
    let draining = match world.options.behaviour.get("running-counts") {
        "draining-too" => crate::state::count(state.service_tasks(&service.name).filter(drains).count()),
        _ => 0,
    };
    let (running, pending) = (state.running(&service.name) + draining, state.pending(&service.name));
    let desired = world.shown_desired_count(service, now);
    // A deployment asks for nothing until the scheduler has looked at it; those before it ask for what they still have.
    let is_taken_up = service.deployments.first().is_some_and(|primary| primary.is_taken_up);
    let kept = |deployment: &Deployment| {
        state.service_tasks(&service.name).filter(|task| task.started_by == deployment.id && task.wanted).count()
    };
    let desired_of = |deployment: &Deployment| match deployment.status.as_str() {
        "PRIMARY" if is_taken_up => desired as usize,
        "PRIMARY" => 0,
        _ => kept(deployment),
    };
    let deployments: Value = service
        .deployments
        .iter()
        .map(|deployment| {
            let of_it = |wanted: fn(&Task) -> bool| {
                state.service_tasks(&service.name).filter(|task| task.started_by == deployment.id && wanted(task)).count()
            };
            let is_only = service.deployments.len() == 1;
            compact(json!({
                "id": deployment.id,
                "status": deployment.status,
                "rolloutState": if deployment.rollout_state.is_empty() { Value::Null } else { json!(deployment.rollout_state) },
                "rolloutStateReason": if deployment.rollout_reason.is_empty() { Value::Null } else { json!(deployment.rollout_reason) },
                "taskDefinition": deployment.task_definition,
                "failedTasks": deployment.failed_tasks,
                "desiredCount": desired_of(deployment),
                "runningCount": if is_only { running as usize } else { of_it(|task| task.status == Status::Running && task.wanted) },
                "pendingCount": if is_only { pending as usize } else { of_it(|task| task.status < Status::Running && task.wanted) },
                "createdAt": seconds(deployment.created_at),
                "updatedAt": seconds(deployment.updated_at),
                "launchType": service.launch_type,
            }))
        })
        .collect();
    let balancers: Vec<Value> = service
        .target_groups
        .iter()
        .map(|group| {
            compact(json!({
                "targetGroupArn": group.arn,
                "containerName": group.container_name,
                "containerPort": group.container_port,
                "advancedConfiguration": group.advanced,
            }))
        })
        .chain(service.classic_load_balancers.iter().map(|name| json!({"loadBalancerName": name})))
        .collect();
    let events: Value = service
        .events
        .iter()
        .map(|event| json!({"id": event.id, "createdAt": seconds(Some(event.at)), "message": event.message}))
        .collect();
    let providers: Value = service
        .capacity_provider_strategy
        .iter()
        .map(|(name, weight, base)| json!({"capacityProvider": name, "weight": weight, "base": base}))
        .collect();
    compact(json!({
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": state.cluster_arn,
        "status": service.status,
        "desiredCount": desired,
        "runningCount": running,
        "pendingCount": pending,
        "launchType": service.launch_type,
        "capacityProviderStrategy": if service.capacity_provider_strategy.is_empty() { Value::Null } else { providers },
        "taskDefinition": service.task_definition,
        "schedulingStrategy": service.scheduling_strategy,
        "deploymentController": {"type": service.controller},
        "deploymentConfiguration": {
            "minimumHealthyPercent": service.minimum_healthy_percent,
            "maximumPercent": service.maximum_percent,
            "strategy": service.deployment_strategy,
            "deploymentCircuitBreaker": {"enable": service.circuit_breaker, "rollback": service.rollback},
        },
        "placementStrategy": placement(&service.placement_strategy, "field"),
        "placementConstraints": placement(&service.placement_constraints, "expression"),
        "availabilityZoneRebalancing": if service.zone_rebalancing { "ENABLED" } else { "DISABLED" },
        "networkConfiguration": service.network,
        "loadBalancers": balancers,
        "healthCheckGracePeriodSeconds": if service.target_groups.is_empty() { Value::Null } else { json!(service.grace_period_seconds) },
        "createdAt": seconds(service.created_at),
        "deployments": deployments,
        "taskSets": if service.task_sets.is_empty() { Value::Null } else { json!(service.task_sets) },
        "events": events,
        "resourceManagementType": if service.managed_by_ecs { "ECS" } else { "CUSTOMER" },
        "tags": if with_tags { pairs(&service.tags, "key", "value") } else { Value::Null },
    }))
}

fn placement(entries: &[(String, String)], second: &str) -> Value {
    entries
        .iter()
        .map(|(kind, text)| if text.is_empty() { json!({"type": kind}) } else { json!({"type": kind, second: text}) })
        .collect()
}

pub(super) fn capacity_provider(world: &World, provider: &CapacityProvider) -> Value {
    let state = &world.state;
    let name = &provider.name;
    let group = provider.group.as_ref().and_then(|name| state.auto_scaling_groups.get(name));
    let kind = match name.as_str() {
        "FARGATE" | "FARGATE_SPOT" => name.as_str(),
        _ if group.is_some() => "EC2_AUTOSCALING",
        _ => "MANAGED_INSTANCES",
    };
    let mut answer = json!({
        "capacityProviderArn": format!("{}:capacity-provider/{name}", state.account()),
        "name": name,
        "status": provider.status,
        "type": kind,
    });
    if let Some(group) = group {
        let scaling = json!({
            "status": if provider.managed_scaling { "ENABLED" } else { "DISABLED" },
            "targetCapacity": provider.target_percent,
        });
        answer["autoScalingGroupProvider"] = json!({
            "autoScalingGroupArn": group.arn,
            "managedScaling": scaling,
            "managedTerminationProtection": if provider.managed_scaling { "ENABLED" } else { "DISABLED" },
        });
    }
    answer
}

pub(super) fn instance(world: &World, instance: &Instance, with_tags: bool) -> Value {
    let state = &world.state;
    let (free_cpu, free_memory) = world.free(instance);
    let set = |values: &[String]| json!(values);
    let ports = |ports: &std::collections::BTreeSet<u16>| ports.iter().map(ToString::to_string).collect::<Vec<_>>();
    let gpus_taken: Vec<&String> = state
        .instance_tasks(&instance.arn)
        .filter(|task| task.wanted)
        .flat_map(|task| &task.gpus)
        .chain(&instance.other_gpus)
        .collect();
    let gpus_free: Vec<String> = instance.gpus.iter().filter(|gpu| !gpus_taken.contains(gpu)).cloned().collect();
    let mut taken = instance.ports.clone();
    let mut taken_udp = instance.udp_ports.clone();
    for definition in state.instance_tasks(&instance.arn).filter_map(|task| state.definitions.get(&task.definition)) {
        taken.extend(&definition.ports);
        taken_udp.extend(&definition.udp_ports);
    }
    let resources = |cpu: u32, memory: u32, tcp: Vec<String>, udp: Vec<String>, gpus: &[String]| {
        let mut resources = vec![
            json!({"name": "CPU", "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": cpu}),
            json!({"name": "MEMORY", "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": memory}),
            json!({"name": "PORTS", "type": "STRINGSET", "doubleValue": 0.0, "longValue": 0, "integerValue": 0, "stringSetValue": tcp}),
            json!({"name": "PORTS_UDP", "type": "STRINGSET", "doubleValue": 0.0, "longValue": 0, "integerValue": 0, "stringSetValue": udp}),
        ];
        if !instance.gpus.is_empty() {
            resources.push(json!({"name": "GPU", "type": "STRINGSET", "doubleValue": 0.0, "longValue": 0, "integerValue": 0, "stringSetValue": set(gpus)}));
        }
        resources
    };
    let attributes: Value =
        instance.attributes.iter().map(|(name, value)| compact(json!({"name": name, "value": value}))).collect();
    let wanted = state.instance_tasks(&instance.arn).filter(|task| task.wanted);
    let (running, pending): (Vec<_>, Vec<_>) = wanted.partition(|task| task.status >= Status::Running);
    compact(json!({
        "containerInstanceArn": instance.arn,
        "ec2InstanceId": instance.ec2_instance_id,
        "capacityProviderName": instance.capacity_provider,
        "status": instance.status,
        "agentConnected": instance.agent_connected,
        "versionInfo": {"agentVersion": instance.agent_version},
        "version": instance.version,
        "registeredAt": seconds(instance.registered_at),
        "runningTasksCount": running.len(),
        "pendingTasksCount": pending.len(),
        "registeredResources": resources(instance.cpu, instance.memory, ports(&instance.ports), ports(&instance.udp_ports), &instance.gpus),
        "remainingResources": resources(free_cpu, free_memory, ports(&taken), ports(&taken_udp), &gpus_free),
        "attributes": attributes,
        "tags": if with_tags { pairs(&instance.tags, "key", "value") } else { Value::Null },
    }))
}

/// What DescribeContainerInstances tells of an instance's health, where it is asked for that [API, InstanceHealthCheckResult].
pub(super) fn health(instance: &Instance) -> Value {
    json!({
        "overallStatus": instance.health,
        "details": [{"type": "CONTAINER_RUNTIME", "status": instance.health}],
    })
}

pub(super) fn task(world: &World, task: &Task, with_tags: bool) -> Value {
    let state = &world.state;
    let definition = state.definitions.get(&task.definition);
    let zone = task
        .instance
        .as_ref()
        .and_then(|arn| state.instances.get(arn))
        .and_then(|instance| instance.attributes.get("ecs.availability-zone").cloned().flatten());
    let awsvpc = definition.is_some_and(|definition| definition.awsvpc);
    let is_alive = (Status::Running..=Status::Deactivating).contains(&task.status);
    let containers: Vec<Value> = definition
        .and_then(|definition| definition.json.get("containerDefinitions"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|container| {
            let port = container.pointer("/portMappings/0/containerPort").and_then(Value::as_u64).unwrap_or(80);
            let fixed = definition.and_then(|definition| definition.ports.first()).copied();
            json!({
                "name": container["name"],
                "lastStatus": if task.status == Status::Running { "RUNNING" } else { task.status.name() },
                "healthStatus": match (task.health.as_str(), container.get("healthCheck")) {
                    ("UNHEALTHY", _) => "UNHEALTHY",
                    (_, Some(_)) if task.status == Status::Running && task.containers_are_well(definition) => "HEALTHY",
                    _ => "UNKNOWN",
                },
                "networkBindings": if awsvpc || !is_alive { json!([]) } else {
                    json!([{"bindIP": "0.0.0.0", "containerPort": port, "hostPort": fixed.unwrap_or(task.host_port), "protocol": "tcp"}])
                },
                "networkInterfaces": if awsvpc && is_alive { json!([{"privateIpv4Address": task.address}]) } else { json!([]) },
            })
        })
        .collect();
    compact(json!({
        "taskArn": task.arn,
        "clusterArn": state.cluster_arn,
        "taskDefinitionArn": task.definition,
        "containerInstanceArn": task.instance,
        "availabilityZone": zone,
        "group": task.group,
        "launchType": task.launch_type,
        "capacityProviderName": task.capacity_provider,
        "startedBy": if task.started_by.is_empty() { Value::Null } else { json!(task.started_by) },
        "lastStatus": task.status.name(),
        "desiredStatus": if task.wanted { "RUNNING" } else { "STOPPED" },
        "healthStatus": task.health,
        "cpu": definition.map(|definition| definition.cpu.to_string()),
        "memory": definition.map(|definition| definition.memory.to_string()),
        "createdAt": seconds(task.created_at),
        "startedAt": seconds(task.started_at),
        "stoppingAt": seconds(task.stopping_at),
        "stoppedAt": seconds(task.stopped_at),
        "stopCode": if task.stop_code.is_empty() { Value::Null } else { json!(task.stop_code) },
        "stoppedReason": if task.stopped_reason.is_empty() { Value::Null } else { json!(task.stopped_reason) },
        "version": task.version,
        "connectivity": "CONNECTED",
        "containers": containers,
        "attachments": [],
        "tags": if with_tags { pairs(&task.tags, "key", "value") } else { Value::Null },
    }))
}

pub(super) fn protection(task: &Task, now: Moment) -> Value {
    let until = task.protected_until.filter(|until| *until > now);
    compact(json!({"taskArn": task.arn, "protectionEnabled": until.is_some(), "expirationDate": seconds(until)}))
}

pub(super) fn cluster(world: &World, with_tags: bool) -> Value {
    let state = &world.state;
    let tasks = |pending: bool| {
        state.tasks.values().filter(|task| task.wanted && (task.status < Status::Running) == pending).count()
    };
    compact(json!({
        "clusterArn": state.cluster_arn,
        "clusterName": state.cluster_name,
        "status": "ACTIVE",
        "registeredContainerInstancesCount": state.instances.values().filter(|instance| instance.status != "INACTIVE").count(),
        "runningTasksCount": tasks(false),
        "pendingTasksCount": tasks(true),
        "activeServicesCount": state.services.values().filter(|service| service.status == "ACTIVE").count(),
        "tags": if with_tags { pairs(&state.cluster_tags, "key", "value") } else { Value::Null },
    }))
}

/// A deployment as the newer half of the API shows it.
pub(super) fn service_deployment(world: &World, service: &Service, deployment: &Deployment) -> Value {
    let status = match deployment.rollout_state.as_str() {
        "COMPLETED" | "" => "SUCCESSFUL",
        "FAILED" => "STOPPED",
        // Superseded by a newer one.
        _ if deployment.status != "PRIMARY" => "STOPPED",
        _ => "IN_PROGRESS",
    };
    let id = deployment.id.rsplit('/').next().unwrap_or_default();
    let finished = if status == "IN_PROGRESS" { None } else { deployment.updated_at };
    compact(json!({
        "serviceDeploymentArn": format!("{}/{id}", service.arn.replace(":service/", ":service-deployment/")),
        "serviceArn": service.arn,
        "clusterArn": world.state.cluster_arn,
        "status": status,
        "createdAt": seconds(deployment.created_at),
        "startedAt": seconds(deployment.created_at),
        "finishedAt": seconds(finished),
    }))
}
