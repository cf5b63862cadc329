//! Clusters for tests: drawn ones, and the production fleet's snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use ecs_simulator::drawing::{Drawing, DrawnInstance, Settings};
use serde_json::Value;

use super::model::{
    Capacity, Cluster, ContainerInstance, ContainerInstanceStatus, Deployment, DeploymentController,
    DeploymentStrategy, Health, Launch, PlacementConstraint, PlacementStrategy, SchedulingStrategy, Service,
    ServiceName, ServiceStatus, SpreadField, Task, TaskDefinition, TaskStatus, Timestamp,
};

/// The moment of all tests: everything drawn was made a day before.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
const A_DAY_BEFORE: Timestamp = Timestamp(NOW.0 - 24 * 60 * 60 * 1000);

/// A drawing as a cluster.
///
/// An instance's settings: `cpu= memory= gpus=` (what it registers), `status= agent=false type= provider= managed=true
/// attr.NAME=`.
/// A service's: `desired=` (else as many as are drawn) `cpu= memory= gpus= port= awsvpc=true` (what a task takes),
/// `strategy=spread:instanceId,...  constraint=distinctInstance,memberOf:EXPR` (with `_` for a blank), `launch=`
/// `provider=` (of its tasks) `daemon=true azrebalancing=true min= max= lb=true tag.KEY=`, and for the state of its
/// tasks `pending= unhealthy=`.
pub(crate) fn cluster(drawing: &str) -> Cluster {
    let drawing = Drawing::parse(drawing).unwrap();
    let mut cluster = Cluster {
        name: "drawn".to_owned(),
        container_instances: BTreeMap::new(),
        services: BTreeMap::new(),
        tasks: BTreeMap::new(),
        task_definitions: BTreeMap::new(),
        unread_definitions: BTreeSet::new(),
        consolidated_at: None,
        unspent_moves: None,
        capacity_providers: BTreeMap::new(),
    };
    let nothing = Settings::new();
    for name in drawing.service_names() {
        let settings = drawing.services.get(&name).unwrap_or(&nothing);
        let definition = definition(&name, settings);
        cluster.services.insert(name.as_str().into(), service(&name, settings, &definition));
        cluster.task_definitions.insert(definition.arn.clone(), definition);
    }
    for drawn in &drawing.instances {
        let mut instance = instance(drawn);
        for name in &drawn.tasks {
            let service = cluster.services.get_mut(&ServiceName::from(name.as_str())).unwrap();
            let definition = &cluster.task_definitions[&service.task_definition];
            let number = cluster.tasks.len() + 1;
            let settings = drawing.services.get(name).unwrap_or(&nothing);
            let task = task(number, name, settings, definition, &instance);
            take(&mut instance, definition);
            service.running_count += 1;
            cluster.tasks.insert(task.arn.clone(), task.into());
        }
        cluster.container_instances.insert(instance.arn.clone(), instance.into());
    }
    for (name, service) in &mut cluster.services {
        let settings = drawing.services.get(name.as_str()).unwrap_or(&nothing);
        service.desired_count = number_or(settings, "desired", service.running_count);
    }
    cluster
}

/// The production fleet, if its snapshot is beside the project; else a word is printed.
pub(crate) fn production() -> Option<Cluster> {
    // The folder of whoever compiles this: the project, or one below it.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let text =
        folders.map(|folder| fs::read_to_string(folder.join("shared/data/production.json"))).find_map(Result::ok);
    let Some(text) = text else {
        eprintln!("skipped: the production fleet's snapshot is not here");
        return None;
    };
    Some(snapshot(&serde_json::from_str(&text).unwrap()))
}

fn number_or(settings: &Settings, key: &str, default: u32) -> u32 {
    settings.get(key).map_or(default, |value| value.parse().unwrap())
}

fn is_true(settings: &Settings, key: &str) -> bool {
    settings.get(key).is_some_and(|value| value == "true")
}

fn list<'a>(settings: &'a Settings, key: &str) -> impl Iterator<Item = &'a str> {
    settings.get(key).into_iter().flat_map(|value| value.split(','))
}

fn prefixed(settings: &Settings, prefix: &str) -> impl Iterator<Item = (String, String)> {
    settings
        .iter()
        .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.replace('_', " "))))
}

fn instance(drawn: &DrawnInstance) -> ContainerInstance {
    let settings = &drawn.settings;
    let registered = Capacity {
        cpu_units: number_or(settings, "cpu", 4096),
        memory_mib: number_or(settings, "memory", 8192),
        gpus: number_or(settings, "gpus", 0),
    };
    let mut attributes = BTreeMap::new();
    if drawn.zone != "-" {
        attributes.insert("ecs.availability-zone".to_owned(), Some(drawn.zone.clone()));
    }
    if let Some(instance_type) = settings.get("type") {
        attributes.insert("ecs.instance-type".to_owned(), Some(instance_type.clone()));
    }
    attributes.extend(prefixed(settings, "attr.").map(|(key, value)| (key, (!value.is_empty()).then_some(value))));
    let reserved_tcp_ports = BTreeSet::from([22, 2375, 2376, 51678, 51679]);
    ContainerInstance {
        arn: drawn.name.as_str().into(),
        ec2_instance_id: drawn.name.clone(),
        status: match settings.get("status").map(String::as_str) {
            None | Some("ACTIVE") => ContainerInstanceStatus::Active,
            Some("DRAINING") => ContainerInstanceStatus::Draining,
            Some(other) => panic!("status {other} can't be drawn"),
        },
        agent_connected: settings.get("agent").is_none_or(|value| value != "false"),
        is_impaired: is_true(settings, "impaired"),
        agent_version: "1.89.0".to_owned(),
        registered_at: Some(A_DAY_BEFORE),
        running_tasks_count: 0,
        pending_tasks_count: 0,
        registered,
        remaining: registered,
        taken_tcp_ports: reserved_tcp_ports.clone(),
        taken_udp_ports: BTreeSet::new(),
        reserved_tcp_ports,
        reserved_udp_ports: BTreeSet::new(),
        attributes: attributes.into(),
        capacity_provider: settings.get("provider").cloned(),
        is_managed: is_true(settings, "managed"),
    }
}

fn definition(name: &str, settings: &Settings) -> TaskDefinition {
    TaskDefinition {
        arn: format!("arn:aws:ecs:eu-central-1:111122223333:task-definition/{name}:1").as_str().into(),
        reserves: Capacity {
            cpu_units: number_or(settings, "cpu", 256),
            memory_mib: number_or(settings, "memory", 512),
            gpus: number_or(settings, "gpus", 0),
        },
        tcp_host_ports: list(settings, "port").map(|port| port.parse().unwrap()).collect(),
        udp_host_ports: BTreeSet::new(),
        takes_network_interface: is_true(settings, "awsvpc"),
        placement_constraints: Vec::new(),
        required_attributes: BTreeMap::new(),
        os_family: None,
        cpu_architecture: None,
        checked_containers: BTreeSet::new(),
        devices: None,
        volumes: Vec::new(),
    }
}

fn service(name: &str, settings: &Settings, definition: &TaskDefinition) -> Service {
    let has_load_balancer = is_true(settings, "lb");
    Service {
        name: name.into(),
        arn: format!("arn:aws:ecs:eu-central-1:111122223333:service/drawn/{name}"),
        status: ServiceStatus::Active,
        scheduling_strategy: if is_true(settings, "daemon") {
            SchedulingStrategy::Daemon
        } else {
            SchedulingStrategy::Replica
        },
        launch: match settings.get("launch").map(String::as_str) {
            None | Some("EC2") => Launch::Ec2,
            Some("FARGATE") => Launch::Fargate,
            Some("EXTERNAL") => Launch::External,
            Some("MANAGED_INSTANCES") => Launch::ManagedInstances,
            Some(other) => Launch::Unknown(other.to_owned()),
        },
        deployment_controller: DeploymentController::Ecs,
        deployment_strategy: DeploymentStrategy::Rolling,
        managed_by_ecs: false,
        desired_count: 0,
        running_count: 0,
        pending_count: number_or(settings, "pending", 0),
        minimum_healthy_percent: number_or(settings, "min", 100),
        maximum_percent: number_or(settings, "max", 200),
        placement_strategy: list(settings, "strategy").map(strategy).collect(),
        placement_constraints: list(settings, "constraint").map(constraint).collect(),
        availability_zone_rebalancing: is_true(settings, "azrebalancing"),
        availability_zone_rebalancing_began: None,
        newest_failure: None,
        deployments: vec![Deployment {
            id: format!("ecs-svc/{name}"),
            status: "PRIMARY".to_owned(),
            rollout_state: "COMPLETED".to_owned(),
            task_definition: definition.arn.clone(),
            failed_tasks: 0,
            created_at: Some(A_DAY_BEFORE),
            updated_at: Some(A_DAY_BEFORE),
        }],
        task_sets: 0,
        task_definition: definition.arn.clone(),
        target_groups: has_load_balancer.then(|| vec![format!("targetgroup/{name}")]).into_iter().collect(),
        classic_load_balancers: Vec::new(),
        health_check_grace_period_seconds: 0,
        has_health_elsewhere: false,
        subnets: list(settings, "subnets").map(str::to_owned).collect(),
        capacity_provider_strategy: Vec::new(),
        volume_configurations: BTreeSet::new(),
        created_at: Some(A_DAY_BEFORE),
        tags: prefixed(settings, "tag.").collect(),
    }
}

fn strategy(text: &str) -> PlacementStrategy {
    match text.split_once(':') {
        Some(("spread", "instanceId" | "host")) => PlacementStrategy::Spread(SpreadField::InstanceId),
        Some(("spread", field)) => {
            PlacementStrategy::Spread(SpreadField::Attribute(field.strip_prefix("attribute:").unwrap().to_owned()))
        }
        Some(("binpack", resource)) => PlacementStrategy::Binpack(resource.to_owned()),
        None if text == "random" => PlacementStrategy::Random,
        _ => PlacementStrategy::Unknown(text.to_owned()),
    }
}

fn constraint(text: &str) -> PlacementConstraint {
    match text.split_once(':') {
        Some(("memberOf", expression)) => PlacementConstraint::MemberOf(expression.replace('_', " ")),
        None if text == "distinctInstance" => PlacementConstraint::DistinctInstance,
        _ => PlacementConstraint::Unknown(text.to_owned()),
    }
}

fn task(
    number: usize,
    service: &str,
    settings: &Settings,
    definition: &TaskDefinition,
    instance: &ContainerInstance,
) -> Task {
    Task {
        arn: format!("arn:aws:ecs:eu-central-1:111122223333:task/drawn/{number:05}").as_str().into(),
        service: Some(service.into()),
        group: format!("service:{service}").into(),
        container_instance: Some(instance.arn.clone()),
        task_definition: definition.arn.clone(),
        capacity_provider: settings.get("provider").cloned(),
        launch: Launch::Ec2,
        last_status: TaskStatus::Running,
        health: Health::Unknown,
        healthy_containers: Vec::new(),
        started_by: format!("ecs-svc/{service}").into(),
        host_ports: definition.tcp_host_ports.clone(),
        takes_network_interface: definition.takes_network_interface,
        addresses: definition.takes_network_interface.then(|| format!("10.0.0.{number}")).into_iter().collect(),
        cpu_units: None,
        memory_mib: None,
        created_at: Some(A_DAY_BEFORE),
        started_at: Some(A_DAY_BEFORE),
        is_protected: false,
    }
}

fn take(instance: &mut ContainerInstance, definition: &TaskDefinition) {
    let remaining = &mut instance.remaining;
    remaining.cpu_units = remaining.cpu_units.saturating_sub(definition.reserves.cpu_units);
    remaining.memory_mib = remaining.memory_mib.saturating_sub(definition.reserves.memory_mib);
    remaining.gpus = remaining.gpus.saturating_sub(definition.reserves.gpus);
    instance.taken_tcp_ports.extend(&definition.tcp_host_ports);
    instance.running_tasks_count += 1;
}

/// Reads as much of a snapshot as the measure looks at, through the drawn cluster's defaults.
fn snapshot(snapshot: &Value) -> Cluster {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let all = |key: &str| snapshot[key].as_array().unwrap().iter();
    let nothing = Settings::new();
    let mut cluster = cluster("");
    for value in all("taskDefinitions") {
        let mut definition = definition("", &nothing);
        definition.arn = text(value, "taskDefinitionArn").as_str().into();
        let container = &value["containerDefinitions"][0];
        let amount = |key: &str| u32::try_from(container[key].as_u64().unwrap()).unwrap();
        let gpus = container["resourceRequirements"][0]["value"].as_str().map_or(0, |gpus| gpus.parse().unwrap());
        definition.reserves = Capacity { cpu_units: amount("cpu"), memory_mib: amount("memory"), gpus };
        cluster.task_definitions.insert(definition.arn.clone(), definition);
    }
    for value in all("services") {
        let definition = &cluster.task_definitions[&text(value, "taskDefinition").as_str().into()];
        let mut service = service(&text(value, "serviceName"), &nothing, definition);
        service.running_count = u32::try_from(value["runningCount"].as_u64().unwrap()).unwrap();
        service.desired_count = u32::try_from(value["desiredCount"].as_u64().unwrap()).unwrap();
        assert_eq!(value["placementStrategy"][0]["field"], "attribute:ecs.availability-zone");
        assert_eq!(value["placementStrategy"][1]["field"], "instanceId");
        cluster.services.insert(service.name.clone(), service);
    }
    for value in all("containerInstances") {
        let zone = text(&value["attributes"][0], "value");
        let name = text(value, "containerInstanceArn");
        let mut instance = instance(&DrawnInstance { zone, name, tasks: Vec::new(), settings: Settings::new() });
        let capacity = |key: &str| {
            let mut capacity = Capacity::default();
            for resource in value[key].as_array().unwrap() {
                let amount = || u32::try_from(resource["integerValue"].as_u64().unwrap()).unwrap();
                match resource["name"].as_str().unwrap() {
                    "CPU" => capacity.cpu_units = amount(),
                    "MEMORY" => capacity.memory_mib = amount(),
                    "GPU" => {
                        capacity.gpus = u32::try_from(resource["stringSetValue"].as_array().unwrap().len()).unwrap();
                    }
                    _ => {}
                }
            }
            capacity
        };
        (instance.registered, instance.remaining) = (capacity("registeredResources"), capacity("remainingResources"));
        cluster.container_instances.insert(instance.arn.clone(), instance.into());
    }
    for value in all("tasks") {
        let definition = &cluster.task_definitions[&text(value, "taskDefinitionArn").as_str().into()];
        let instance = &cluster.container_instances[&text(value, "containerInstanceArn").as_str().into()];
        let service = text(value, "group").strip_prefix("service:").unwrap().to_owned();
        let mut task = task(0, &service, &nothing, definition, instance);
        task.arn = text(value, "taskArn").as_str().into();
        cluster.tasks.insert(task.arn.clone(), task.into());
    }
    cluster
}
