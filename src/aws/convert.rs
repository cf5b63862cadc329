//! ECS's answers → `planning::model`: what is optional or text there becomes what it means, once.
//!
//! What ECS leaves out gets ECS's documented default. What can't be placed is told in a sentence and left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_ecs::{primitives::DateTime, types};
use aws_sdk_elasticloadbalancingv2::types::{TargetHealthDescription, TargetHealthStateEnum};

use super::shared::Shared;
use crate::planning::model::{
    Capacity, Cluster, ContainerInstance, ContainerInstanceStatus, Deployment, DeploymentController,
    DeploymentStrategy, Devices, Health, Launch, PlacementConstraint, PlacementStrategy, ProviderShare,
    SchedulingStrategy, Service, ServiceEvent, ServiceStatus, SpreadField, Task, TaskArn, TaskDefinition, TaskStatus,
    Timestamp, Volume, VolumeKind,
};
use crate::planning::{providers, readiness::TargetHealth};

/// Puts a cluster together.
pub(super) fn cluster(
    name: &str,
    services: Vec<Service>,
    instances: Vec<ContainerInstance>,
    tasks: Vec<Task>,
    oddities: &mut Vec<String>,
) -> Cluster {
    let mut cluster = Cluster {
        name: name.rsplit('/').next().unwrap_or(name).to_owned(),
        container_instances: instances.into_iter().map(|it| (it.arn.clone(), it.into())).collect(),
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
        tasks: BTreeMap::new(),
        task_definitions: BTreeMap::new(),
        unread_definitions: BTreeSet::new(),
        consolidated_at: None,
        unspent_moves: None,
        capacity_providers: BTreeMap::new(),
    };
    for task in tasks {
        if let Some(instance) = &task.container_instance
            && !cluster.container_instances.contains_key(instance)
        {
            oddities.push(format!(
                "task {} runs on container instance {}, which ECS doesn't list",
                task.arn.short(),
                instance.short()
            ));
        }
        cluster.tasks.insert(task.arn.clone(), task.into());
    }
    providers::tell_managed_instances(&mut cluster);
    cluster
}

/// A container instance.
pub(super) fn container_instance(answer: &types::ContainerInstance, shared: &Shared) -> ContainerInstance {
    let registered = answer.registered_resources();
    let remaining = answer.remaining_resources();
    ContainerInstance {
        arn: shared.text(text(answer.container_instance_arn.as_ref())).into(),
        ec2_instance_id: text(answer.ec2_instance_id.as_ref()).to_owned(),
        status: match text(answer.status.as_ref()) {
            "ACTIVE" => ContainerInstanceStatus::Active,
            "DRAINING" => ContainerInstanceStatus::Draining,
            "REGISTERING" => ContainerInstanceStatus::Registering,
            "DEREGISTERING" => ContainerInstanceStatus::Deregistering,
            "REGISTRATION_FAILED" => ContainerInstanceStatus::RegistrationFailed,
            "INACTIVE" => ContainerInstanceStatus::Inactive,
            other => ContainerInstanceStatus::Unknown(other.to_owned()),
        },
        agent_connected: answer.agent_connected,
        is_impaired: answer.health_status().and_then(|health| health.overall_status())
            == Some(&types::InstanceHealthCheckState::Impaired),
        agent_version: answer
            .version_info
            .as_ref()
            .and_then(|versions| versions.agent_version.clone())
            .unwrap_or_default(),
        registered_at: answer.registered_at.as_ref().map(timestamp),
        running_tasks_count: count(answer.running_tasks_count),
        pending_tasks_count: count(answer.pending_tasks_count),
        registered: capacity(registered),
        remaining: capacity(remaining),
        // PORTS in *remaining* lists the ports that are taken, not the free ones [API, ContainerInstance].
        taken_tcp_ports: ports(remaining, "PORTS"),
        taken_udp_ports: ports(remaining, "PORTS_UDP"),
        reserved_tcp_ports: ports(registered, "PORTS"),
        reserved_udp_ports: ports(registered, "PORTS_UDP"),
        attributes: shared.attributes(&attributes(answer.attributes())),
        capacity_provider: answer.capacity_provider_name.clone().filter(|name| !name.is_empty()),
        // The answer doesn't tell; tasks and capacity providers do.
        is_managed: false,
    }
}

/// A service.
pub(super) fn service(answer: &types::Service) -> Service {
    let name = text(answer.service_name.as_ref());
    let configuration = answer.deployment_configuration.as_ref();
    let is_daemon = answer.scheduling_strategy == Some(types::SchedulingStrategy::Daemon);
    let newest = || answer.deployments().iter().filter(|deployment| deployment.status.as_deref() == Some("PRIMARY"));
    Service {
        name: name.into(),
        arn: text(answer.service_arn.as_ref()).to_owned(),
        status: match text(answer.status.as_ref()) {
            "ACTIVE" => ServiceStatus::Active,
            "DRAINING" => ServiceStatus::Draining,
            "INACTIVE" => ServiceStatus::Inactive,
            other => ServiceStatus::Unknown(other.to_owned()),
        },
        scheduling_strategy: match &answer.scheduling_strategy {
            None | Some(types::SchedulingStrategy::Replica) => SchedulingStrategy::Replica,
            Some(types::SchedulingStrategy::Daemon) => SchedulingStrategy::Daemon,
            Some(other) => SchedulingStrategy::Unknown(other.as_str().to_owned()),
        },
        launch: service_launch(answer),
        deployment_controller: match answer.deployment_controller.as_ref().map(|controller| &controller.r#type) {
            // Older services carry none and are ECS's own.
            None | Some(types::DeploymentControllerType::Ecs) => DeploymentController::Ecs,
            Some(types::DeploymentControllerType::CodeDeploy) => DeploymentController::CodeDeploy,
            Some(types::DeploymentControllerType::External) => DeploymentController::External,
            Some(other) => DeploymentController::Unknown(other.as_str().to_owned()),
        },
        deployment_strategy: match configuration.and_then(|configuration| configuration.strategy.as_ref()) {
            None | Some(types::DeploymentStrategy::Rolling) => DeploymentStrategy::Rolling,
            Some(other) => DeploymentStrategy::Shifting(other.as_str().to_owned()),
        },
        managed_by_ecs: answer.resource_management_type == Some(types::ResourceManagementType::Ecs),
        desired_count: count(answer.desired_count),
        running_count: count(answer.running_count),
        pending_count: count(answer.pending_count),
        // Defaults: REPLICA 100 and 200, DAEMON 0 and 100 [API, DeploymentConfiguration].
        minimum_healthy_percent: configuration
            .and_then(|configuration| configuration.minimum_healthy_percent)
            .map_or(if is_daemon { 0 } else { 100 }, count),
        maximum_percent: configuration
            .and_then(|configuration| configuration.maximum_percent)
            .map_or(if is_daemon { 100 } else { 200 }, count),
        placement_strategy: answer.placement_strategy().iter().map(placement_strategy).collect(),
        placement_constraints: answer.placement_constraints().iter().map(placement_constraint).collect(),
        availability_zone_rebalancing: answer.availability_zone_rebalancing
            == Some(types::AvailabilityZoneRebalancing::Enabled),
        availability_zone_rebalancing_began: zone_rebalancing_began(answer.events()),
        newest_failure: newest_failure(answer.events()),
        deployments: answer.deployments().iter().map(deployment).collect(),
        task_sets: u32::try_from(answer.task_sets().len()).unwrap_or(u32::MAX),
        task_definition: text(answer.task_definition.as_ref()).into(),
        target_groups: answer.load_balancers().iter().map(target_groups).filter(|pair| !pair.is_empty()).collect(),
        classic_load_balancers: answer
            .load_balancers()
            .iter()
            .filter(|balancer| balancer.target_group_arn.is_none())
            .filter_map(|balancer| balancer.load_balancer_name.clone())
            .collect(),
        health_check_grace_period_seconds: answer.health_check_grace_period_seconds.map_or(0, count),
        has_health_elsewhere: newest().any(|deployment| !deployment.vpc_lattice_configurations().is_empty()),
        subnets: answer.network_configuration.iter().flat_map(subnets).collect(),
        capacity_provider_strategy: answer.capacity_provider_strategy().iter().map(provider_share).collect(),
        volume_configurations: newest()
            .flat_map(types::Deployment::volume_configurations)
            .map(|volume| volume.name.clone())
            .collect(),
        created_at: answer.created_at.as_ref().map(timestamp),
        tags: answer
            .tags()
            .iter()
            .filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default())))
            .collect(),
    }
}

/// Tasks, less those that were listed while they ran and described when their end was decided: they are gone for all that we
/// ask.
pub(super) fn tasks(answer: &[types::Task], shared: &Shared) -> Vec<Task> {
    let stays = answer.iter().filter(|task| task.desired_status.as_deref() != Some("STOPPED"));
    stays.map(|answer| task(answer, shared)).collect()
}

/// A task.
fn task(answer: &types::Task, shared: &Shared) -> Task {
    let group = text(answer.group.as_ref());
    Task {
        arn: text(answer.task_arn.as_ref()).into(),
        // Not from `startedBy`: for a service's task that is its deployment.
        service: group.strip_prefix("service:").map(|name| shared.text(name).into()),
        group: shared.text(group),
        container_instance: answer
            .container_instance_arn
            .as_deref()
            .filter(|arn| !arn.is_empty())
            .map(|arn| shared.text(arn).into()),
        task_definition: shared.text(text(answer.task_definition_arn.as_ref())).into(),
        capacity_provider: answer.capacity_provider_name.clone().filter(|name| !name.is_empty()),
        launch: answer.launch_type.as_ref().map_or(Launch::Ec2, launch),
        last_status: match text(answer.last_status.as_ref()) {
            "PROVISIONING" => TaskStatus::Provisioning,
            "PENDING" => TaskStatus::Pending,
            "ACTIVATING" => TaskStatus::Activating,
            "RUNNING" => TaskStatus::Running,
            "DEACTIVATING" | "STOPPING" | "DEPROVISIONING" => TaskStatus::Stopping,
            "STOPPED" | "DELETED" => TaskStatus::Stopped,
            other => TaskStatus::Unknown(other.to_owned()),
        },
        health: match &answer.health_status {
            Some(types::HealthStatus::Healthy) => Health::Healthy,
            Some(types::HealthStatus::Unhealthy) => Health::Unhealthy,
            _ => Health::Unknown,
        },
        healthy_containers: healthy_containers(answer, shared),
        started_by: shared.text(text(answer.started_by.as_ref())),
        host_ports: answer
            .containers()
            .iter()
            .flat_map(types::Container::network_bindings)
            .filter_map(|binding| binding.host_port.and_then(|port| u16::try_from(port).ok()))
            .collect(),
        takes_network_interface: takes_network_interface(answer),
        addresses: answer
            .containers()
            .iter()
            .flat_map(types::Container::network_interfaces)
            .flat_map(|interface| [interface.private_ipv4_address.clone(), interface.ipv6_address.clone()])
            .flatten()
            .collect(),
        cpu_units: answer.cpu.as_deref().and_then(|units| units.parse().ok()),
        memory_mib: answer.memory.as_deref().and_then(|mebibytes| mebibytes.parse().ok()),
        created_at: answer.created_at.as_ref().map(timestamp),
        started_at: answer.started_at.as_ref().map(timestamp),
        is_protected: false,
    }
}

/// The containers that are healthy by themselves, where the whole task is not.
fn healthy_containers(answer: &types::Task, shared: &Shared) -> Vec<Arc<str>> {
    if answer.health_status == Some(types::HealthStatus::Healthy) {
        return Vec::new();
    }
    let is_healthy = |container: &&types::Container| container.health_status == Some(types::HealthStatus::Healthy);
    let healthy = answer.containers().iter().filter(is_healthy);
    healthy.filter_map(|container| container.name.as_deref()).map(|name| shared.text(name)).collect()
}

/// In network mode `awsvpc` the interface is attached before the containers are there.
fn takes_network_interface(answer: &types::Task) -> bool {
    let is_interface = |attachment: &types::Attachment| attachment.r#type.as_deref() == Some("ElasticNetworkInterface");
    answer.attachments().iter().any(is_interface)
        || answer.containers().iter().any(|container| !container.network_interfaces().is_empty())
}

/// What a task definition asks of a container instance.
pub(super) fn task_definition(answer: &types::TaskDefinition) -> TaskDefinition {
    let containers = answer.container_definitions();
    let platform = answer.runtime_platform.as_ref();
    let sum = |part: fn(&types::ContainerDefinition) -> u32| containers.iter().map(part).fold(0, u32::saturating_add);
    TaskDefinition {
        arn: text(answer.task_definition_arn.as_ref()).into(),
        reserves: Capacity {
            cpu_units: amount(answer.cpu.as_deref(), 1024).unwrap_or_else(|| sum(|container| count(container.cpu))),
            // The soft limit is what leaves the instance's pool, where there is one [developer guide, task definition
            // parameters].
            memory_mib: amount(answer.memory.as_deref(), 1024)
                .unwrap_or_else(|| sum(|container| container.memory_reservation.or(container.memory).map_or(0, count))),
            gpus: sum(|container| {
                container
                    .resource_requirements()
                    .iter()
                    .filter(|requirement| requirement.r#type == types::ResourceType::Gpu)
                    // However many it takes, it needs an instance that has one.
                    .map(|requirement| requirement.value.parse::<u32>().unwrap_or(1))
                    .fold(0, u32::saturating_add)
            }),
        },
        tcp_host_ports: host_ports(answer, &types::TransportProtocol::Tcp),
        udp_host_ports: host_ports(answer, &types::TransportProtocol::Udp),
        takes_network_interface: answer.network_mode == Some(types::NetworkMode::Awsvpc),
        placement_constraints: answer
            .placement_constraints()
            .iter()
            .map(|constraint| match &constraint.r#type {
                Some(types::TaskDefinitionPlacementConstraintType::MemberOf) => {
                    PlacementConstraint::MemberOf(text(constraint.expression.as_ref()).to_owned())
                }
                other => PlacementConstraint::Unknown(
                    other.as_ref().map_or_else(String::new, |other| other.as_str().to_owned()),
                ),
            })
            .collect(),
        required_attributes: attributes(answer.requires_attributes()),
        os_family: platform
            .and_then(|platform| platform.operating_system_family.as_ref())
            .map(|family| family.as_str().to_owned()),
        cpu_architecture: platform
            .and_then(|platform| platform.cpu_architecture.as_ref())
            .map(|architecture| architecture.as_str().to_owned()),
        checked_containers: containers
            .iter()
            .filter(|container| container.essential != Some(false) && container.health_check.is_some())
            .filter_map(|container| container.name.clone())
            .collect(),
        devices: devices(answer),
        volumes: answer.volumes().iter().map(|volume| self::volume(volume, containers)).collect(),
    }
}

/// A volume. Of one that no container is seen to mount, nobody says that it is only read.
fn volume(answer: &types::Volume, containers: &[types::ContainerDefinition]) -> Volume {
    let mounts = || {
        let mounts = containers.iter().flat_map(types::ContainerDefinition::mount_points);
        mounts.filter(|mount| mount.source_volume.is_some() && mount.source_volume == answer.name)
    };
    let host_path = answer.host.as_ref().and_then(|host| host.source_path.as_deref()).filter(|path| !path.is_empty());
    let is_network = answer.efs_volume_configuration.is_some()
        || answer.fsx_windows_file_server_volume_configuration.is_some()
        || answer.s3files_volume_configuration.is_some();
    let kind = match (host_path, &answer.docker_volume_configuration) {
        (Some(path), _) => VolumeKind::HostPath(path.to_owned()),
        (None, Some(docker)) => {
            let option = |name: &str| {
                docker.driver_opts.as_ref().and_then(|options| options.get(name)).cloned().unwrap_or_default()
            };
            VolumeKind::Docker {
                driver: text(docker.driver.as_ref()).to_owned(),
                kind: option("type"),
                device: option("device"),
                options: option("o"),
                // Without a scope it is `task` [API, DockerVolumeConfiguration].
                is_shared: docker.scope.as_ref().is_some_and(|scope| *scope != types::Scope::Task),
            }
        }
        (None, None) if is_network => VolumeKind::NetworkFileSystem,
        (None, None) if answer.configured_at_launch == Some(true) => VolumeKind::AtLaunch,
        (None, None) => VolumeKind::Task,
    };
    Volume {
        name: text(answer.name.as_ref()).to_owned(),
        kind,
        is_read_only: mounts().next().is_some() && mounts().all(|mount| mount.read_only == Some(true)),
    }
}

/// A placement constraint as UpdateService takes it; one of a type that this version doesn't know can't be written.
pub(super) fn placement_constraint_request(constraint: &PlacementConstraint) -> Option<types::PlacementConstraint> {
    let builder = types::PlacementConstraint::builder();
    match constraint {
        PlacementConstraint::DistinctInstance => {
            Some(builder.r#type(types::PlacementConstraintType::DistinctInstance).build())
        }
        PlacementConstraint::MemberOf(expression) => {
            Some(builder.r#type(types::PlacementConstraintType::MemberOf).expression(expression).build())
        }
        PlacementConstraint::Unknown(_) => None,
    }
}

/// A task that is protected from scale-in, and until when; none where it isn't.
pub(super) fn protection(answer: &types::ProtectedTask) -> Option<(TaskArn, Timestamp)> {
    let until = answer.expiration_date.as_ref().map_or(Timestamp(i64::MAX), timestamp);
    answer.protection_enabled.then(|| (text(answer.task_arn.as_ref()).into(), until))
}

/// A target and its state; none where Elastic Load Balancing left out what it is.
pub(super) fn target_health(answer: &TargetHealthDescription) -> Option<TargetHealth> {
    let target = answer.target.as_ref()?;
    let state = answer.target_health.as_ref().and_then(|health| health.state.as_ref());
    Some(TargetHealth {
        id: target.id.clone()?,
        port: target.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        healthy: state == Some(&TargetHealthStateEnum::Healthy),
    })
}

/// Static host ports. With network modes `host` and `awsvpc` a container's port is the host's, but `awsvpc` has interfaces of
/// its own; 0 and none mean any port.
fn host_ports(answer: &types::TaskDefinition, protocol: &types::TransportProtocol) -> BTreeSet<u16> {
    let on_host = answer.network_mode == Some(types::NetworkMode::Host);
    if answer.network_mode == Some(types::NetworkMode::Awsvpc) {
        return BTreeSet::new();
    }
    answer
        .container_definitions()
        .iter()
        .flat_map(types::ContainerDefinition::port_mappings)
        .filter(|mapping| mapping.protocol.as_ref().unwrap_or(&types::TransportProtocol::Tcp) == protocol)
        .filter_map(|mapping| mapping.host_port.or(if on_host { mapping.container_port } else { None }))
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .collect()
}

/// A service has a launch type or a capacity provider strategy, never both; only Fargate's providers have fixed names.
fn service_launch(answer: &types::Service) -> Launch {
    let providers = answer.capacity_provider_strategy();
    if !providers.is_empty() {
        let is_fargate = |item: &types::CapacityProviderStrategyItem| {
            matches!(item.capacity_provider.as_str(), "FARGATE" | "FARGATE_SPOT")
        };
        return if providers.iter().all(is_fargate) { Launch::Fargate } else { Launch::Ec2 };
    }
    answer.launch_type.as_ref().map_or(Launch::Ec2, launch)
}

fn launch(launch_type: &types::LaunchType) -> Launch {
    match launch_type {
        types::LaunchType::Ec2 => Launch::Ec2,
        types::LaunchType::Fargate => Launch::Fargate,
        types::LaunchType::External => Launch::External,
        types::LaunchType::ManagedInstances => Launch::ManagedInstances,
        other => Launch::Unknown(other.as_str().to_owned()),
    }
}

fn deployment(answer: &types::Deployment) -> Deployment {
    Deployment {
        id: text(answer.id.as_ref()).to_owned(),
        status: text(answer.status.as_ref()).to_owned(),
        rollout_state: answer.rollout_state.as_ref().map_or("", types::DeploymentRolloutState::as_str).to_owned(),
        task_definition: text(answer.task_definition.as_ref()).into(),
        failed_tasks: count(answer.failed_tasks),
        created_at: answer.created_at.as_ref().map(timestamp),
        updated_at: answer.updated_at.as_ref().map(timestamp),
    }
}

fn placement_strategy(answer: &types::PlacementStrategy) -> PlacementStrategy {
    let field = text(answer.field.as_ref());
    match &answer.r#type {
        Some(types::PlacementStrategyType::Spread) => match field.strip_prefix("attribute:") {
            Some(attribute) => PlacementStrategy::Spread(SpreadField::Attribute(attribute.to_owned())),
            None if field.eq_ignore_ascii_case("instanceId") || field.eq_ignore_ascii_case("host") => {
                PlacementStrategy::Spread(SpreadField::InstanceId)
            }
            None => PlacementStrategy::Unknown(format!("spread over {field}")),
        },
        Some(types::PlacementStrategyType::Binpack) => PlacementStrategy::Binpack(field.to_ascii_lowercase()),
        Some(types::PlacementStrategyType::Random) => PlacementStrategy::Random,
        Some(other) => PlacementStrategy::Unknown(other.as_str().to_owned()),
        None => PlacementStrategy::Unknown(String::new()),
    }
}

fn placement_constraint(answer: &types::PlacementConstraint) -> PlacementConstraint {
    match &answer.r#type {
        Some(types::PlacementConstraintType::DistinctInstance) => PlacementConstraint::DistinctInstance,
        Some(types::PlacementConstraintType::MemberOf) => {
            PlacementConstraint::MemberOf(text(answer.expression.as_ref()).to_owned())
        }
        other => {
            PlacementConstraint::Unknown(other.as_ref().map_or_else(String::new, |other| other.as_str().to_owned()))
        }
    }
}

/// What ECS says in a service's events (newest first) while it evens out zones, and what ends that
/// [developer guide, service rebalancing event messages].
fn zone_rebalancing_began(events: &[types::ServiceEvent]) -> Option<Timestamp> {
    let newest = events.iter().find_map(|event| {
        let message = event.message.as_deref()?;
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["AZ Rebalancing in progress", "to AZ Rebalance: (task", "due to AZ rebalancing"]) {
            // Without a time nobody knows how long ago that is.
            return Some(event.created_at.as_ref().map(timestamp));
        }
        let has_ended = says(&[
            "is AZ balanced",
            "stopped AZ Rebalancing",
            "was unable to AZ Rebalance",
            "is unable to place a task in ",
            "deployment completed",
            "has reached a steady state",
        ]);
        has_ended.then_some(None)
    });
    newest.flatten()
}

/// The target groups of a load balancer of which one is live: a blue/green service has two.
fn target_groups(balancer: &types::LoadBalancer) -> Vec<String> {
    let alternate = balancer.advanced_configuration.as_ref().and_then(|pair| pair.alternate_target_group_arn.clone());
    [balancer.target_group_arn.clone(), alternate].into_iter().flatten().collect()
}

fn subnets(configuration: &types::NetworkConfiguration) -> Vec<String> {
    configuration.awsvpc_configuration.as_ref().map(|awsvpc| awsvpc.subnets.clone()).unwrap_or_default()
}

fn provider_share(item: &types::CapacityProviderStrategyItem) -> ProviderShare {
    ProviderShare { provider: item.capacity_provider.clone(), base: count(item.base), weight: count(item.weight) }
}

/// The first kind of device that is no whole number of GPUs.
fn devices(answer: &types::TaskDefinition) -> Option<Devices> {
    if !answer.inference_accelerators().is_empty() {
        return Some(Devices::InferenceAccelerators);
    }
    let mut requirements =
        answer.container_definitions().iter().flat_map(types::ContainerDefinition::resource_requirements);
    requirements.find_map(|requirement| match requirement.r#type {
        types::ResourceType::Gpu if requirement.sharing_strategy.is_some() => Some(Devices::SharedGpu),
        types::ResourceType::Gpu if requirement.value.parse::<u32>().is_ok() => None,
        types::ResourceType::Gpu if requirement.value.eq_ignore_ascii_case("ALL") => Some(Devices::AllGpus),
        types::ResourceType::NeuronDevice => Some(Devices::Neuron),
        types::ResourceType::InferenceAccelerator => Some(Devices::InferenceAccelerators),
        _ => Some(Devices::Unknown),
    })
}

/// "was unable to place a task" and "is unable to consistently start tasks" are how ECS words it [developer guide, service
/// event messages].
fn newest_failure(events: &[types::ServiceEvent]) -> Option<ServiceEvent> {
    events.iter().find_map(|event| {
        let message = event.message.as_deref()?;
        let is_failure = ["was unable to place a task", "is unable to consistently start tasks"]
            .iter()
            .any(|words| message.contains(words));
        let at = event.created_at.as_ref().map(timestamp)?;
        is_failure.then(|| ServiceEvent { at, message: message.to_owned() })
    })
}

fn capacity(resources: &[types::Resource]) -> Capacity {
    let amount = |name| resource(resources, name).map_or(0, |resource| count(resource.integer_value));
    let gpus = resource(resources, "GPU").map_or(0, |resource| resource.string_set_value().len());
    Capacity { cpu_units: amount("CPU"), memory_mib: amount("MEMORY"), gpus: u32::try_from(gpus).unwrap_or(u32::MAX) }
}

fn ports(resources: &[types::Resource], name: &str) -> BTreeSet<u16> {
    let listed = resource(resources, name).map(types::Resource::string_set_value).unwrap_or_default();
    listed.iter().filter_map(|port| port.parse().ok()).collect()
}

fn resource<'a>(resources: &'a [types::Resource], name: &str) -> Option<&'a types::Resource> {
    resources.iter().find(|resource| resource.name.as_deref() == Some(name))
}

fn attributes(attributes: &[types::Attribute]) -> BTreeMap<String, Option<String>> {
    attributes.iter().map(|attribute| (attribute.name.clone(), attribute.value.clone())).collect()
}

/// A size as task definitions have it: a plain number, or with a unit (`2 vCPU`, `4GB`), whose `factor` is 1024 either way.
fn amount(text: Option<&str>, factor: u32) -> Option<u32> {
    let text = text?.trim();
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let value: f64 = number.parse().ok()?;
    let scaled = value * f64::from(factor);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked to lie within u32")]
    (0.0..=f64::from(u32::MAX)).contains(&scaled).then_some(scaled as u32)
}

/// ECS counts in signed numbers and never gives a negative one.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

pub(super) fn timestamp(moment: &DateTime) -> Timestamp {
    Timestamp(moment.to_millis().unwrap_or(i64::MAX))
}

fn text(value: Option<&String>) -> &str {
    value.map_or("", String::as_str)
}

#[cfg(test)]
mod tests;
