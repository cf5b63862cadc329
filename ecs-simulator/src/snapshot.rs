//! A cluster as a document: ECS's own field names and shapes, so that answers of the AWS CLI can be pasted in.
//!
//! What is missing is left at ECS's default. Whatever can't be read is told with its place.

mod pasted;
mod placing;
mod providers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    moment::Moment,
    place::{Notes, Place},
    state::{
        Binding, Definition, Deployment, Event, Gpus, Instance, Service, State, Status, Target, TargetGroup, Task,
    },
    text,
};

pub(crate) use self::placing::{read_constraints, read_providers, read_strategies, read_subnets};

/// A cluster's snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) state: State,
    pub(crate) notes: Vec<String>,
    pub(crate) newest: Moment,
}

/// What there may be several of.
const LISTS: [&str; 7] = [
    "containerInstances",
    "services",
    "tasks",
    "taskDefinitions",
    "capacityProviders",
    "autoScalingGroups",
    "protectedTasks",
];

impl Snapshot {
    /// Documents larger than this are refused: ECS's largest cluster comes to a third of it.
    pub(crate) const LARGEST_BYTES: usize = 256 << 20;

    /// Reads a snapshot's file: UTF-8, or UTF-16 as PowerShell writes it.
    ///
    /// # Errors
    /// When the file can't be read; and as [`Snapshot::from_json`].
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = text::read(path).with_context(|| format!("cannot read snapshot {}", path.display()))?;
        Self::from_json(&text).with_context(|| format!("cannot use snapshot {}", path.display()))
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// Names the place that can't be read, what is expected there and what it holds.
    pub fn from_json(text: &str) -> Result<Self> {
        ensure!(
            text.len() <= Self::LARGEST_BYTES,
            "the snapshot has {} bytes, the limit is {}",
            text.len(),
            Self::LARGEST_BYTES
        );
        let document: Value = serde_json::from_str(text).context("not a JSON document")?;
        Self::from_value(&document)
    }

    /// Reads a snapshot that is parsed already.
    ///
    /// # Errors
    /// As [`Snapshot::from_json`].
    pub fn from_value(document: &Value) -> Result<Self> {
        let pasted = pasted::as_document(document);
        let document = pasted.as_ref().unwrap_or(document);
        let notes = Notes::default();
        let root = Place::tolerant(document, &notes);
        root.object()?;
        for key in document.as_object().into_iter().flat_map(serde_json::Map::keys) {
            ensure!(
                LISTS.contains(&key.as_str())
                    || ["cluster", "failures", "takenAt", "nextToken"].contains(&key.as_str()),
                "{key}: unknown; a snapshot has cluster, {}",
                LISTS.join(", ")
            );
        }
        let cluster = pasted::cluster(&root)?;
        let name = cluster.get("clusterName").text_or("default")?;
        let default_arn = format!("arn:aws:ecs:us-east-1:111122223333:cluster/{name}");
        let mut state = State {
            cluster_arn: cluster.get("clusterArn").text_or(&default_arn)?,
            cluster_tags: cluster.get("tags").pairs("key", "value")?,
            cluster_name: name,
            instances: BTreeMap::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            definitions: BTreeMap::new(),
            capacity_providers: BTreeMap::new(),
            auto_scaling_groups: BTreeMap::new(),
            scalable_targets: BTreeMap::new(),
            tasks_of: BTreeMap::new(),
            tasks_on: BTreeMap::new(),
        };
        for place in pasted::elements(&root, "taskDefinitions")? {
            let definition = read_definition(&place)?;
            unique(&place, state.definitions.insert(definition.arn.clone(), definition).is_none())?;
        }
        let mut remaining = BTreeMap::new();
        for place in pasted::elements(&root, "containerInstances")? {
            let instance = read_instance(&place)?;
            remaining.insert(instance.arn.clone(), place.get("remainingResources"));
            unique(&place, state.instances.insert(instance.arn.clone(), instance).is_none())?;
        }
        let providers = pasted::elements(&root, "capacityProviders")?;
        let groups = pasted::elements_of(&root, "autoScalingGroups", "AutoScalingGroups")?;
        providers::read(&providers, &groups, &pasted::elements(&root, "tasks")?, &mut state)?;
        for place in pasted::elements(&root, "services")? {
            let service = read_service(&place, &state)?;
            unique(&place, state.services.insert(service.name.clone(), service).is_none())?;
        }
        for place in pasted::elements(&root, "tasks")? {
            let task = read_task(&place, &state)?;
            unique(&place, !state.tasks.contains_key(&task.arn))?;
            state.insert_task(task);
        }
        for place in pasted::elements(&root, "protectedTasks")? {
            read_protection(&place, &mut state)?;
        }
        derive(&mut state, &remaining)?;
        // Nothing may have happened for long before the snapshot was taken, and the cooldown counts from then.
        let newest = root.get("takenAt").moment()?.map_or_else(|| newest(&state), |taken| taken.max(newest(&state)));
        let notes = notes.take();
        Ok(Self { state, notes, newest })
    }

    /// What was kept though this version doesn't understand it, and what was left out, each with its place.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The reference architecture's cluster: two instances in two zones, two tasks of one service on the first; the second
    /// has just come back and stands idle.
    pub fn reference_cluster() -> Self {
        let text = "a i-0a1b2c3d web web type=t3.small cpu=2048 memory=1950\nb i-0e4f5a6b type=t3.small cpu=2048 memory=1950\nservice web cpu=256 memory=512 lb=true";
        let drawing =
            crate::drawing::Drawing::parse(text).and_then(|drawing| Self::from_drawing("reference", &drawing));
        match drawing {
            Ok(snapshot) => snapshot,
            Err(error) => unreachable!("the built-in cluster is drawn right: {error:#}"),
        }
    }

    /// The cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.state.cluster_name
    }

    /// The Region, from the cluster's ARN.
    pub fn region(&self) -> &str {
        self.state.cluster_arn.split(':').nth(3).filter(|region| !region.is_empty()).unwrap_or("us-east-1")
    }
}

fn unique(place: &Place<'_>, is_new: bool) -> Result<()> {
    if is_new { Ok(()) } else { place.fail("is there twice") }
}

/// An instance, of a snapshot or of one that registers.
pub(crate) fn read_instance(place: &Place<'_>) -> Result<Instance> {
    place.object()?;
    let resources = resources(&place.get("registeredResources"))?;
    let amount = |name: &str| resources.get(name).map_or(0, |resource| resource.0);
    let set = |name: &str| resources.get(name).map(|resource| resource.1.clone()).unwrap_or_default();
    let statuses = ["ACTIVE", "DRAINING", "REGISTERING", "DEREGISTERING", "REGISTRATION_FAILED", "INACTIVE"];
    Ok(Instance {
        arn: place.get("containerInstanceArn").needed_text()?,
        ec2_instance_id: place.get("ec2InstanceId").text_or("")?,
        status: place.get("status").one_of(&statuses, "ACTIVE")?,
        agent_connected: place.get("agentConnected").truth_or(true)?,
        health: {
            let health = place.get("healthStatus");
            if health.exists() {
                health.object()?;
            }
            health.get("overallStatus").one_of(&["OK", "IMPAIRED", "INSUFFICIENT_DATA", "INITIALIZING"], "OK")?
        },
        agent_version: {
            let versions = place.get("versionInfo");
            if versions.exists() {
                versions.object()?;
            }
            versions.get("agentVersion").text_or("1.75.0")?
        },
        registered_at: place.get("registeredAt").moment()?,
        version: u64::from(place.get("version").count_or(1)?),
        cpu: amount("CPU"),
        memory: amount("MEMORY"),
        gpus: set("GPU"),
        ports: ports(&set("PORTS"), place)?,
        udp_ports: ports(&set("PORTS_UDP"), place)?,
        attributes: attributes(&place.get("attributes"))?,
        put: BTreeSet::new(),
        capacity_provider: place.get("capacityProviderName").text()?.filter(|name| !name.is_empty()).map(str::to_owned),
        tags: place.get("tags").pairs("key", "value")?,
        other_cpu: 0,
        other_memory: 0,
        other_gpus: Vec::new(),
    })
}

type Resources = BTreeMap<String, (u32, Vec<String>)>;

fn resources(place: &Place<'_>) -> Result<Resources> {
    let mut resources = Resources::new();
    for resource in place.list()? {
        resource.object()?;
        let name = resource.get("name").needed_text()?;
        let amount = match resource.get("integerValue").count()? {
            Some(amount) => amount,
            None => resource.get("longValue").count_or(0)?,
        };
        let mut set = Vec::new();
        for value in resource.get("stringSetValue").list()? {
            set.push(value.needed_text()?);
        }
        resources.insert(name, (amount, set));
    }
    Ok(resources)
}

fn ports(texts: &[String], place: &Place<'_>) -> Result<BTreeSet<u16>> {
    texts
        .iter()
        .map(|text| match text.parse() {
            Ok(port) => Ok(port),
            Err(_) => place.get("registeredResources").fail(&format!("{text:?} is no port")),
        })
        .collect()
}

fn attributes(place: &Place<'_>) -> Result<BTreeMap<String, Option<String>>> {
    place
        .list()?
        .iter()
        .map(|attribute| {
            attribute.object()?;
            Ok((attribute.get("name").needed_text()?, attribute.get("value").text()?.map(str::to_owned)))
        })
        .collect()
}

/// A service, of a snapshot or of a request to create one.
pub(crate) fn read_service(place: &Place<'_>, state: &State) -> Result<Service> {
    place.object()?;
    let name = place.get("serviceName").needed_text()?;
    let scheduling_strategy = place.get("schedulingStrategy").one_of(&["REPLICA", "DAEMON"], "REPLICA")?;
    let is_daemon = scheduling_strategy == "DAEMON";
    let configuration = place.get("deploymentConfiguration");
    if configuration.exists() {
        configuration.object()?;
    }
    let breaker = configuration.get("deploymentCircuitBreaker");
    if breaker.exists() {
        breaker.object()?;
    }
    let task_definition = place.get("taskDefinition").needed_text()?;
    let controller = place.get("deploymentController");
    if controller.exists() {
        controller.object()?;
    }
    let account = state.cluster_arn.replace(":cluster/", ":service/");
    let created_at = place.get("createdAt").moment()?;
    let mut deployments = Vec::new();
    for deployment in place.get("deployments").list()? {
        deployments.push(read_deployment(&deployment, &task_definition)?);
    }
    if deployments.is_empty() {
        deployments.push(Deployment {
            id: format!("ecs-svc/{name}"),
            status: "PRIMARY".to_owned(),
            rollout_state: "COMPLETED".to_owned(),
            rollout_reason: String::new(),
            task_definition: task_definition.clone(),
            in_alternate: false,
            is_taken_up: true,
            failed_tasks: 0,
            created_at,
            updated_at: created_at,
        });
    }
    let (target_groups, classic_load_balancers) = load_balancers(&place.get("loadBalancers"))?;
    let desired_count = place.get("desiredCount").count_or(0)?;
    let launch_types = ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"];
    let launch_type = place.get("launchType");
    let strategies = ["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"];
    let mut service = Service {
        arn: place.get("serviceArn").text_or(&format!("{account}/{name}"))?,
        status: place.get("status").one_of(&["ACTIVE", "DRAINING", "INACTIVE"], "ACTIVE")?,
        desired_count,
        task_definition,
        launch_type: if launch_type.exists() { Some(launch_type.one_of(&launch_types, "EC2")?) } else { None },
        capacity_provider_strategy: read_providers(&place.get("capacityProviderStrategy"))?,
        controller: controller.get("type").one_of(&["ECS", "CODE_DEPLOY", "EXTERNAL"], "ECS")?,
        deployment_strategy: configuration.get("strategy").one_of(&strategies, "ROLLING")?,
        minimum_healthy_percent: configuration.get("minimumHealthyPercent").count_or(if is_daemon {
            0
        } else {
            100
        })?,
        maximum_percent: configuration.get("maximumPercent").count_or(if is_daemon { 100 } else { 200 })?,
        circuit_breaker: breaker.get("enable").truth_or(false)?,
        rollback: breaker.get("rollback").truth_or(false)?,
        placement_strategy: read_strategies(&place.get("placementStrategy"))?,
        placement_constraints: read_constraints(&place.get("placementConstraints"))?,
        zone_rebalancing: place.get("availabilityZoneRebalancing").one_of(&["ENABLED", "DISABLED"], "DISABLED")?
            == "ENABLED",
        network: place.get("networkConfiguration").raw().cloned(),
        subnets: read_subnets(&place.get("networkConfiguration"))?,
        target_groups,
        classic_load_balancers,
        grace_period_seconds: place.get("healthCheckGracePeriodSeconds").count_or(0)?,
        created_at,
        deployments,
        task_sets: place.get("taskSets").list()?.iter().filter_map(|set| set.raw().cloned()).collect(),
        events: read_events(&place.get("events"))?,
        tags: place.get("tags").pairs("key", "value")?,
        managed_by_ecs: place.get("resourceManagementType").one_of(&["CUSTOMER", "ECS"], "CUSTOMER")? == "ECS",
        failed_starts: 0,
        backs_off_until: Moment(0),
        stale_desired_count: (desired_count, Moment(0)),
        is_busy: false,
        last_look: Moment(0),
        is_steady: true,
        steady_at: Moment(0),
        unnoticed: BTreeMap::new(),
        to_deregister: BTreeMap::new(),
        is_rebalancing_zones: false,
        binding: Binding::default(),
        scheduling_strategy,
        name,
    };
    service.bind();
    Ok(service)
}

fn read_deployment(place: &Place<'_>, task_definition: &str) -> Result<Deployment> {
    place.object()?;
    let states = ["", "COMPLETED", "IN_PROGRESS", "FAILED"];
    Ok(Deployment {
        id: place.get("id").needed_text()?,
        status: place.get("status").one_of(&["PRIMARY", "ACTIVE", "INACTIVE"], "PRIMARY")?,
        rollout_state: place.get("rolloutState").one_of(&states, "COMPLETED")?,
        rollout_reason: place.get("rolloutStateReason").text_or("")?,
        task_definition: place.get("taskDefinition").text_or(task_definition)?,
        in_alternate: false,
        is_taken_up: true,
        failed_tasks: place.get("failedTasks").count_or(0)?,
        created_at: place.get("createdAt").moment()?,
        updated_at: place.get("updatedAt").moment()?,
    })
}

fn read_events(place: &Place<'_>) -> Result<VecDeque<Event>> {
    place
        .list()?
        .iter()
        .map(|event| {
            event.object()?;
            Ok(Event {
                id: event.get("id").text_or("")?,
                at: event.get("createdAt").moment()?.unwrap_or(Moment(0)),
                message: event.get("message").text_or("")?,
            })
        })
        .collect()
}

fn load_balancers(place: &Place<'_>) -> Result<(Vec<TargetGroup>, Vec<String>)> {
    let (mut groups, mut classic) = (Vec::new(), Vec::new());
    for balancer in place.list()? {
        balancer.object()?;
        match balancer.get("targetGroupArn").text()? {
            Some(arn) => groups.push(TargetGroup {
                arn: arn.to_owned(),
                container_name: balancer.get("containerName").text_or("")?,
                container_port: balancer.get("containerPort").count_or(80)?,
                alternate: balancer
                    .get("advancedConfiguration")
                    .get("alternateTargetGroupArn")
                    .text()?
                    .map(str::to_owned),
                advanced: balancer.get("advancedConfiguration").raw().cloned(),
            }),
            None => classic.push(balancer.get("loadBalancerName").needed_text()?),
        }
    }
    Ok((groups, classic))
}

fn read_task(place: &Place<'_>, state: &State) -> Result<Task> {
    place.object()?;
    let arn = place.get("taskArn").needed_text()?;
    let group = place.get("group").text_or("")?;
    // A service that is being deleted isn't listed any more, though its tasks are.
    let is_held = |name: &&str| {
        state.services.contains_key(*name)
            || !place.get("group").note("is kept, though the snapshot doesn't hold this service")
    };
    let service = group.strip_prefix("service:").filter(is_held).map(str::to_owned);
    let instance = place.get("containerInstanceArn").text()?.filter(|arn| !arn.is_empty()).map(str::to_owned);
    if instance.as_ref().is_some_and(|arn| !state.instances.contains_key(arn)) {
        place.get("containerInstanceArn").note("is kept, though the snapshot doesn't hold this instance");
    }
    let names: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
    let status = place.get("lastStatus").one_of(&names, "RUNNING")?;
    let status = Status::ALL.into_iter().find(|known| known.name() == status).unwrap_or(Status::Running);
    let default = if status > Status::Running { "STOPPED" } else { "RUNNING" };
    let launch_types = ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"];
    let started_at = place.get("startedAt").moment()?;
    let health = place.get("healthStatus").one_of(&["HEALTHY", "UNHEALTHY", "UNKNOWN"], "UNKNOWN")?;
    let of = service.as_ref().and_then(|name| state.services.get(name));
    let primary = of.and_then(|service| service.deployments.first());
    let has_targets = of.is_some_and(|service| !service.target_groups.is_empty());
    let provider = place.get("capacityProviderName").text()?.filter(|name| !name.is_empty());
    let is_managed = provider.is_some_and(|name| state.has_managed_instances(name));
    Ok(Task {
        definition: place.get("taskDefinitionArn").text_or(primary.map_or("", |primary| &primary.task_definition))?,
        started_by: place.get("startedBy").text_or(primary.map_or("", |primary| &primary.id))?,
        launch_type: place
            .get("launchType")
            .one_of(&launch_types, if is_managed { "MANAGED_INSTANCES" } else { "EC2" })?,
        capacity_provider: provider.map(str::to_owned),
        wanted: place.get("desiredStatus").one_of(&["RUNNING", "STOPPED"], default)? == "RUNNING",
        checks_passed: health != "UNHEALTHY",
        target: match status {
            _ if !has_targets => Target::None,
            Status::Running if health == "UNHEALTHY" => Target::Initial,
            Status::Running => Target::Healthy,
            Status::Deactivating => Target::Draining,
            _ => Target::None,
        },
        in_alternate: false,
        is_replaced: false,
        fails_checks: false,
        protected_until: place.get("protectedUntil").moment()?,
        protection_known_at: Moment(0),
        host_port: 0,
        gpus: Vec::new(),
        created_at: place.get("createdAt").moment()?,
        started_at,
        stopping_at: place.get("stoppingAt").moment()?,
        stopped_at: place.get("stoppedAt").moment()?,
        stop_code: place.get("stopCode").text_or("")?,
        stopped_reason: place.get("stoppedReason").text_or("")?,
        version: u64::from(place.get("version").count_or(1)?),
        tags: place.get("tags").pairs("key", "value")?,
        address: String::new(),
        arn,
        service,
        group,
        instance,
        status,
        health,
    })
}

/// A task's protection, as GetTaskProtection answers.
fn read_protection(place: &Place<'_>, state: &mut State) -> Result<()> {
    place.object()?;
    let until =
        place.get("expirationDate").moment()?.filter(|_| place.get("protectionEnabled").raw() == Some(&json!(true)));
    let arn = place.get("taskArn").needed_text()?;
    match state.tasks.get_mut(&arn) {
        Some(task) => task.protected_until = until,
        None => drop(place.get("taskArn").note("is left out: the snapshot doesn't hold this task")),
    }
    Ok(())
}

/// Whether a container has a label with this value: how a task definition tells the simulator what becomes of its tasks.
fn has_label(container: &Place<'_>, name: &str, value: &str) -> bool {
    container.get("dockerLabels").get(name).raw().and_then(Value::as_str) == Some(value)
}

/// A task definition, of a snapshot or of a request to register one. An answer of DescribeTaskDefinition may be pasted whole.
pub(crate) fn read_definition(place: &Place<'_>) -> Result<Definition> {
    place.object()?;
    let (place, tags) = if place.get("taskDefinition").exists() {
        (place.get("taskDefinition"), place.get("tags").pairs("key", "value")?)
    } else {
        (place.clone(), place.get("tags").pairs("key", "value")?)
    };
    place.object()?;
    let containers = place.get("containerDefinitions").list()?;
    let (mut cpu, mut memory, mut gpus) = (0_u32, 0_u32, Gpus::Number(0));
    let (mut ports, mut udp_ports) = (BTreeSet::new(), BTreeSet::new());
    let (mut has_health_check, mut all_are_checked) = (false, true);
    let network_mode = place.get("networkMode").one_of(&["bridge", "host", "awsvpc", "none", "default"], "bridge")?;
    for container in &containers {
        container.object()?;
        cpu = cpu.saturating_add(container.get("cpu").count_or(0)?);
        let reservation = container.get("memoryReservation").count()?;
        memory = memory.saturating_add(reservation.unwrap_or(container.get("memory").count_or(0)?));
        for requirement in container.get("resourceRequirements").list()? {
            requirement.object()?;
            gpus = more_gpus(gpus, &requirement)?;
        }
        for mapping in container.get("portMappings").list()? {
            mapping.object()?;
            let container_port = mapping.get("containerPort").count_or(0)?;
            let default = if network_mode == "host" { container_port } else { 0 };
            let port = mapping.get("hostPort").count_or(default)?;
            let Ok(port) = u16::try_from(port) else { return mapping.get("hostPort").fail("expected a port") };
            if port != 0 && network_mode != "awsvpc" {
                let is_udp = mapping.get("protocol").one_of(&["tcp", "udp"], "tcp")? == "udp";
                if is_udp {
                    udp_ports.insert(port)
                } else {
                    ports.insert(port)
                };
            }
        }
        if container.get("essential").truth_or(true)? {
            let is_checked = container.get("healthCheck").exists();
            has_health_check |= is_checked;
            all_are_checked &= is_checked;
        }
    }
    let mut constraints = Vec::new();
    for constraint in place.get("placementConstraints").list()? {
        constraint.object()?;
        constraint.get("type").one_of(&["memberOf"], "memberOf")?;
        let expression = constraint.get("expression").needed_text()?;
        if let Err(problem) = crate::query::Query::parse(&expression)
            && !constraint
                .get("expression")
                .note(&format!("is kept, but isn't understood ({problem}), so it binds nothing"))
        {
            return constraint.get("expression").fail(&problem);
        }
        constraints.push(expression);
    }
    Ok(Definition {
        arn: place.get("taskDefinitionArn").needed_text()?,
        json: place.raw().cloned().unwrap_or_default(),
        tags,
        cpu: place.get("cpu").count()?.unwrap_or(cpu),
        memory: place.get("memory").count()?.unwrap_or(memory),
        gpus,
        ports,
        udp_ports,
        awsvpc: network_mode == "awsvpc",
        constraints,
        required_attributes: attributes(&place.get("requiresAttributes"))?,
        has_health_check,
        serves_nothing: containers.iter().any(|container| has_label(container, "ecs-simulator.targets", "unhealthy")),
        never_starts: containers.iter().any(|container| has_label(container, "ecs-simulator.starts", "never")),
        all_are_checked: all_are_checked && has_health_check,
    })
}

/// What is asked of devices with one requirement more. [API, ResourceRequirement]
fn more_gpus(gpus: Gpus, requirement: &Place<'_>) -> Result<Gpus> {
    let value = requirement.get("value");
    Ok(match (requirement.get("type").text()?, gpus) {
        (Some("GPU"), Gpus::OtherDevices) => Gpus::OtherDevices,
        (Some("GPU"), _) if value.raw().and_then(Value::as_str) == Some("ALL") => Gpus::All,
        (Some("GPU"), Gpus::Number(0)) if requirement.get("sharingStrategy").exists() => Gpus::Shared,
        (Some("GPU"), Gpus::Number(number)) => Gpus::Number(number.saturating_add(value.count_or(0)?)),
        (Some("GPU"), other) => other,
        (_, _) => Gpus::OtherDevices,
    })
}

/// Fills in what follows from the rest: definitions that weren't given, devices, ports, what else is reserved.
fn derive(state: &mut State, remaining: &BTreeMap<String, Place<'_>>) -> Result<()> {
    let named: BTreeSet<String> = state
        .tasks
        .values()
        .map(|task| task.definition.clone())
        .chain(state.services.values().map(|service| service.task_definition.clone()))
        .filter(|arn| !state.definitions.contains_key(arn))
        .collect();
    for arn in named {
        let Some(family) =
            arn.rsplit('/').next().and_then(|name| name.split(':').next()).filter(|family| !family.is_empty())
        else {
            bail!("a task or service has no task definition");
        };
        let json = json!({"taskDefinitionArn": arn, "family": family, "revision": 1, "status": "ACTIVE",
            "networkMode": "bridge", "containerDefinitions": [{"name": "app", "image": "app", "cpu": 0, "memory": 128, "essential": true}]});
        state.definitions.insert(arn.clone(), read_definition(&Place::root(&json))?);
    }
    let instances: Vec<String> = state.instances.keys().cloned().collect();
    for arn in instances {
        let resources = remaining.get(&arn).map(resources).transpose()?.unwrap_or_default();
        let (cpu, memory) = state.reserved(&arn, false);
        let Some(instance) = state.instances.get_mut(&arn) else { continue };
        if let Some((free, _)) = resources.get("CPU") {
            instance.other_cpu = instance.cpu.saturating_sub(*free).saturating_sub(cpu);
        }
        if let Some((free, _)) = resources.get("MEMORY") {
            instance.other_memory = instance.memory.saturating_sub(*free).saturating_sub(memory);
        }
    }
    for (arn, remaining) in remaining {
        let free = resources(remaining)?.remove("GPU").map(|(_, gpus)| gpus);
        assign_gpus(state, arn, free.as_deref());
    }
    let mut number: u32 = 0;
    for task in state.tasks.values_mut() {
        number += 1;
        crate::network::assign(task, number);
    }
    Ok(())
}

/// Which devices each task on an instance has isn't told; which are free, may be.
fn assign_gpus(state: &mut State, arn: &str, free: Option<&[String]>) {
    let Some(instance) = state.instances.get_mut(arn) else { return };
    let is_taken = |gpu: &&String| free.is_some_and(|free| !free.contains(gpu));
    let taken = instance.gpus.iter().filter(is_taken);
    let others = instance.gpus.iter().filter(|gpu| !is_taken(gpu));
    let mut left: VecDeque<String> = taken.chain(others).cloned().collect();
    let tasks: Vec<String> = state.tasks_on.get(arn).into_iter().flatten().cloned().collect();
    for task in tasks {
        let Some(task) = state.tasks.get_mut(&task).filter(|task| task.wanted) else { continue };
        let number = match state.definitions.get(&task.definition).map(|definition| definition.gpus) {
            Some(Gpus::Number(number)) => number as usize,
            Some(Gpus::All) => left.len(),
            Some(Gpus::Shared | Gpus::OtherDevices) | None => 0,
        };
        task.gpus = left.drain(..number.min(left.len())).collect();
    }
    instance.other_gpus = left.into_iter().filter(|gpu| is_taken(&gpu)).collect();
}

fn newest(state: &State) -> Moment {
    let tasks = state.tasks.values().flat_map(|task| [task.created_at, task.started_at, task.stopped_at]);
    let instances = state.instances.values().map(|instance| instance.registered_at);
    let services = state.services.values().flat_map(|service| {
        let deployments =
            service.deployments.iter().flat_map(|deployment| [deployment.created_at, deployment.updated_at]);
        let events = service.events.iter().map(|event| Some(event.at));
        deployments.chain(events).chain([service.created_at]).collect::<Vec<_>>()
    });
    // A cluster without any date: some day.
    tasks.chain(instances).chain(services).flatten().max().unwrap_or(Moment(1_764_000_000_000))
}

#[cfg(test)]
mod tests;
