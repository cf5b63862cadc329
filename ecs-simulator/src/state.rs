//! What the simulated ECS holds: one cluster with its instances, services, tasks and task definitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::moment::Moment;

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) cluster_arn: String,
    pub(crate) cluster_name: String,
    pub(crate) cluster_tags: BTreeMap<String, String>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) tasks: BTreeMap<String, Task>,
    pub(crate) definitions: BTreeMap<String, Definition>,
    pub(crate) capacity_providers: BTreeMap<String, CapacityProvider>,
    pub(crate) auto_scaling_groups: BTreeMap<String, AutoScalingGroup>,
    /// What Application Auto Scaling keeps services' desired counts within, by service.
    pub(crate) scalable_targets: BTreeMap<String, ScalableTarget>,
    /// Tasks of each service, STOPPED ones apart.
    pub(crate) tasks_of: BTreeMap<String, BTreeSet<String>>,
    /// Tasks on each instance, STOPPED ones apart.
    pub(crate) tasks_on: BTreeMap<String, BTreeSet<String>>,
}

/// A container instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) arn: String,
    pub(crate) ec2_instance_id: String,
    pub(crate) status: String,
    pub(crate) agent_connected: bool,
    /// `healthStatus.overallStatus`: what ECS's own checks find.
    pub(crate) health: String,
    pub(crate) agent_version: String,
    pub(crate) registered_at: Option<Moment>,
    pub(crate) version: u64,
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) gpus: Vec<String>,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) udp_ports: BTreeSet<u16>,
    pub(crate) attributes: BTreeMap<String, Option<String>>,
    /// Those of them that PutAttributes put, and no agent registered.
    pub(crate) put: BTreeSet<String>,
    pub(crate) capacity_provider: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// What is reserved beside the tasks that are known here, so that a snapshot's remaining resources hold.
    pub(crate) other_cpu: u32,
    pub(crate) other_memory: u32,
    /// The same of devices, by name.
    pub(crate) other_gpus: Vec<String>,
}

/// A capacity provider.
#[derive(Clone, Debug)]
pub(crate) struct CapacityProvider {
    pub(crate) name: String,
    pub(crate) status: String,
    /// The name of its Auto Scaling group, if it is of one.
    pub(crate) group: Option<String>,
    pub(crate) managed_scaling: bool,
    pub(crate) target_percent: u32,
    /// Since when more of it stands idle than its target leaves.
    pub(crate) below_target_since: Option<Moment>,
    /// Whether a task waits for an instance of it.
    pub(crate) is_short: bool,
}

impl CapacityProvider {
    /// One without a group.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: "ACTIVE".to_owned(),
            group: None,
            managed_scaling: false,
            target_percent: 100,
            below_target_since: None,
            is_short: false,
        }
    }
}

/// An Auto Scaling group.
#[derive(Clone, Debug)]
pub(crate) struct AutoScalingGroup {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) minimum: u32,
    pub(crate) maximum: u32,
    pub(crate) desired: u32,
    /// Instances that were launched and haven't registered.
    pub(crate) launching: u32,
}

/// What Application Auto Scaling keeps a service's desired count within, and in which directions it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScalableTarget {
    pub(crate) minimum: u32,
    pub(crate) maximum: u32,
    pub(crate) scales_in: bool,
    pub(crate) scales_out: bool,
}

/// A service.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of ECS's own, each apart")]
pub(crate) struct Service {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) desired_count: u32,
    pub(crate) task_definition: String,
    pub(crate) launch_type: Option<String>,
    pub(crate) capacity_provider_strategy: Vec<(String, u32, u32)>,
    pub(crate) scheduling_strategy: String,
    pub(crate) controller: String,
    pub(crate) deployment_strategy: String,
    pub(crate) minimum_healthy_percent: u32,
    pub(crate) maximum_percent: u32,
    pub(crate) circuit_breaker: bool,
    pub(crate) rollback: bool,
    pub(crate) placement_strategy: Vec<(String, String)>,
    pub(crate) placement_constraints: Vec<(String, String)>,
    /// Strategy and constraints as the scheduler goes by them.
    pub(crate) binding: Binding,
    pub(crate) zone_rebalancing: bool,
    /// As it was given.
    pub(crate) network: Option<Value>,
    pub(crate) subnets: Vec<String>,
    pub(crate) target_groups: Vec<TargetGroup>,
    pub(crate) classic_load_balancers: Vec<String>,
    pub(crate) grace_period_seconds: u32,
    pub(crate) created_at: Option<Moment>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) task_sets: Vec<Value>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) managed_by_ecs: bool,
    /// Consecutive failed starts, and until when no new one is tried.
    pub(crate) failed_starts: u32,
    pub(crate) backs_off_until: Moment,
    /// What a stale read still shows, and since when it is stale.
    pub(crate) stale_desired_count: (u32, Moment),
    /// Whether the scheduler is at work on it; steady services are left alone.
    pub(crate) is_busy: bool,
    /// When the scheduler looked at it last.
    pub(crate) last_look: Moment,
    /// Whether nothing has changed since it was said to be in a steady state.
    pub(crate) is_steady: bool,
    /// When that was said last.
    pub(crate) steady_at: Moment,
    pub(crate) is_rebalancing_zones: bool,
    /// Tasks that somebody stopped and that the scheduler takes for running until then, by ARN.
    pub(crate) unnoticed: BTreeMap<String, Moment>,
    /// Tasks on their way out whose targets are still registered, by ARN, and from when on the scheduler takes them off.
    pub(crate) to_deregister: BTreeMap<String, Moment>,
}

impl Service {
    /// The group of its tasks, which a standalone task's can't be.
    pub(crate) fn group(&self) -> String {
        format!("service:{}", self.name)
    }

    /// The id of its newest deployment, which the tasks that it starts carry.
    pub(crate) fn newest_deployment(&self) -> &str {
        self.deployments.first().map_or("", |deployment| &deployment.id)
    }

    /// Its target groups, of each pair the first or the second.
    pub(crate) fn group_arns(&self, in_alternate: bool) -> Vec<String> {
        let arn = |group: &TargetGroup| group.alternate.clone().filter(|_| in_alternate).unwrap_or(group.arn.clone());
        self.target_groups.iter().map(arn).collect()
    }

    /// Whether its tasks are all replaced at once beside the old ones: blue/green, linear, canary.
    pub(crate) fn swaps(&self) -> bool {
        self.deployment_strategy != "ROLLING"
    }

    /// Whether a deployment is under way.
    pub(crate) fn is_deploying(&self) -> bool {
        let in_progress = |deployment: &Deployment| deployment.rollout_state == "IN_PROGRESS";
        self.deployments.len() > 1 || self.deployments.iter().any(in_progress)
    }

    /// From now on the scheduler goes by what the service says of placement.
    pub(crate) fn bind(&mut self) {
        self.binding =
            Binding { strategy: self.placement_strategy.clone(), constraints: self.placement_constraints.clone() };
    }

    /// Whether its tasks go to instances outside of EC2, and to no others.
    pub(crate) fn is_external(&self) -> bool {
        self.launch_type.as_deref() == Some("EXTERNAL")
    }

    /// Whether its tasks are placed on container instances; those on Fargate are not.
    pub(crate) fn takes_instances(&self) -> bool {
        let on_fargate = |(name, ..): &(String, u32, u32)| name == "FARGATE" || name == "FARGATE_SPOT";
        self.launch_type.as_deref() != Some("FARGATE") && !self.capacity_provider_strategy.iter().any(on_fargate)
    }
}

/// How tasks are placed: type and field, or type and expression, of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) strategy: Vec<(String, String)>,
    pub(crate) constraints: Vec<(String, String)>,
}

/// Where a service's tasks are registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    pub(crate) container_name: String,
    pub(crate) container_port: u32,
    /// The other of its pair, under blue/green, linear and canary deployments.
    pub(crate) alternate: Option<String>,
    /// `advancedConfiguration` as it was given.
    pub(crate) advanced: Option<Value>,
}

/// One deployment of a service.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) rollout_state: String,
    pub(crate) rollout_reason: String,
    pub(crate) task_definition: String,
    /// Whether its tasks are registered in the second of each pair of target groups.
    pub(crate) in_alternate: bool,
    /// Whether the scheduler has looked at it; until then it shows no desired count.
    pub(crate) is_taken_up: bool,
    pub(crate) failed_tasks: u32,
    pub(crate) created_at: Option<Moment>,
    pub(crate) updated_at: Option<Moment>,
}

/// What a service tells.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: Moment,
    pub(crate) message: String,
}

/// A task.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says a thing of its own")]
pub(crate) struct Task {
    pub(crate) arn: String,
    pub(crate) service: Option<String>,
    pub(crate) group: String,
    pub(crate) instance: Option<String>,
    pub(crate) definition: String,
    pub(crate) started_by: String,
    pub(crate) launch_type: String,
    pub(crate) capacity_provider: Option<String>,
    pub(crate) status: Status,
    pub(crate) wanted: bool,
    pub(crate) health: String,
    /// Whether the checks of its containers are passed, where there are any.
    pub(crate) checks_passed: bool,
    /// Whether its targets are in the second of each pair of target groups.
    pub(crate) in_alternate: bool,
    /// How its targets are, where its service has any.
    pub(crate) target: Target,
    /// Whether the scheduler stops it to have another instead.
    pub(crate) is_replaced: bool,
    /// Whether its targets fail their checks.
    pub(crate) fails_checks: bool,
    pub(crate) protected_until: Option<Moment>,
    /// When the scheduler knows of the protection.
    pub(crate) protection_known_at: Moment,
    pub(crate) host_port: u16,
    pub(crate) gpus: Vec<String>,
    pub(crate) created_at: Option<Moment>,
    pub(crate) started_at: Option<Moment>,
    pub(crate) stopping_at: Option<Moment>,
    pub(crate) stopped_at: Option<Moment>,
    pub(crate) stop_code: String,
    pub(crate) stopped_reason: String,
    pub(crate) version: u64,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) address: String,
}

/// Where a task stands behind its service's load balancers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Not registered, and not seen running by the scheduler.
    #[default]
    None,
    /// Seen running; to be registered at the next look.
    Seen,
    /// Registered, and not checked often enough.
    Initial,
    /// It passed its checks.
    Healthy,
    /// It failed them, and that isn't told.
    Failing,
    /// That is told, and the task is to be replaced.
    Unhealthy,
    /// Deregistered; connections are drained.
    Draining,
    /// Drained.
    Unused,
}

impl Target {
    /// Whether it is registered and not being taken off.
    pub(crate) fn is_registered(self) -> bool {
        matches!(self, Self::Initial | Self::Healthy | Self::Failing | Self::Unhealthy)
    }
}

/// A task's life, as `lastStatus` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl Status {
    pub(crate) const ALL: [Self; 8] = [
        Self::Provisioning,
        Self::Pending,
        Self::Activating,
        Self::Running,
        Self::Deactivating,
        Self::Stopping,
        Self::Deprovisioning,
        Self::Stopped,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// What a task asks of an instance's devices. [API, ResourceRequirement]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gpus {
    /// So many for itself.
    Number(u32),
    /// All that the instance has.
    All,
    /// A share of one.
    Shared,
    /// Devices that no simulated instance has.
    OtherDevices,
}

/// A task definition: the whole of it as it was registered, and what placement needs.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says a thing of its own")]
pub(crate) struct Definition {
    pub(crate) arn: String,
    pub(crate) json: Value,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) gpus: Gpus,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) udp_ports: BTreeSet<u16>,
    pub(crate) awsvpc: bool,
    pub(crate) constraints: Vec<String>,
    pub(crate) required_attributes: BTreeMap<String, Option<String>>,
    pub(crate) has_health_check: bool,
    /// Whether its targets fail their checks: a container has the label `ecs-simulator.targets` with the value `unhealthy`.
    pub(crate) serves_nothing: bool,
    /// Whether its tasks fail to start: a container has the label `ecs-simulator.starts` with the value `never`.
    pub(crate) never_starts: bool,
    /// Whether every essential container has a check: only then a task is ever HEALTHY as a whole [API, HealthCheck].
    pub(crate) all_are_checked: bool,
}

impl Definition {
    /// Whether new tasks may be started from it.
    pub(crate) fn is_active(&self) -> bool {
        self.json.get("status").and_then(Value::as_str) != Some("INACTIVE")
    }
}

impl State {
    /// Puts a task under its service and on its instance.
    pub(crate) fn insert_task(&mut self, task: Task) {
        if task.status != Status::Stopped {
            if let Some(service) = &task.service {
                self.tasks_of.entry(service.clone()).or_default().insert(task.arn.clone());
            }
            if let Some(instance) = &task.instance {
                self.tasks_on.entry(instance.clone()).or_default().insert(task.arn.clone());
            }
        }
        self.tasks.insert(task.arn.clone(), task);
    }

    /// Takes a task that stopped out of the books; it stays describable.
    pub(crate) fn forget_place(&mut self, arn: &str) {
        let Some(task) = self.tasks.get(arn) else { return };
        if let Some(tasks) = task.service.as_ref().and_then(|service| self.tasks_of.get_mut(service)) {
            tasks.remove(arn);
        }
        if let Some(tasks) = task.instance.as_ref().and_then(|instance| self.tasks_on.get_mut(instance)) {
            tasks.remove(arn);
        }
    }

    /// A service's tasks that are not STOPPED.
    pub(crate) fn service_tasks(&self, service: &str) -> impl Iterator<Item = &Task> {
        self.tasks_of.get(service).into_iter().flatten().filter_map(|arn| self.tasks.get(arn))
    }

    /// The tasks on an instance that are not STOPPED.
    pub(crate) fn instance_tasks(&self, instance: &str) -> impl Iterator<Item = &Task> {
        self.tasks_on.get(instance).into_iter().flatten().filter_map(|arn| self.tasks.get(arn))
    }

    /// The instances of an Auto Scaling group that the cluster still has.
    pub(crate) fn group_instances(&self, group: &str) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(move |instance| {
            let provider = instance.capacity_provider.as_ref().and_then(|name| self.capacity_providers.get(name));
            instance.status != "INACTIVE" && provider.is_some_and(|it| it.group.as_deref() == Some(group))
        })
    }

    /// Whether an instance is one of ECS's Managed Instances.
    pub(crate) fn is_managed(&self, instance: &Instance) -> bool {
        instance.capacity_provider.as_deref().is_some_and(|name| self.has_managed_instances(name))
    }

    /// Whether a capacity provider is of Managed Instances: of neither Fargate nor an Auto Scaling group.
    pub(crate) fn has_managed_instances(&self, provider: &str) -> bool {
        let known = self.capacity_providers.get(provider);
        !matches!(provider, "FARGATE" | "FARGATE_SPOT") && known.is_some_and(|known| known.group.is_none())
    }

    /// Whether a task is of a service that runs one on every instance.
    pub(crate) fn is_daemons(&self, task: &Task) -> bool {
        let service = task.service.as_ref().and_then(|name| self.services.get(name));
        service.is_some_and(|service| service.scheduling_strategy == "DAEMON")
    }

    /// How the ARNs of the cluster's account and Region begin.
    pub(crate) fn account(&self) -> &str {
        self.cluster_arn.split(":cluster/").next().unwrap_or_default()
    }

    /// What tasks reserve on an instance: CPU, memory. `with_stopping`: those on their way out count as well.
    pub(crate) fn reserved(&self, instance: &str, with_stopping: bool) -> (u32, u32) {
        self.instance_tasks(instance)
            .filter(|task| task.wanted || with_stopping)
            .filter_map(|task| self.definitions.get(&task.definition))
            .fold((0, 0), |(cpu, memory): (u32, u32), definition| {
                (cpu.saturating_add(definition.cpu), memory.saturating_add(definition.memory))
            })
    }

    /// Whether a task runs, and its health is to be decided.
    pub(crate) fn awaits_checks(&self, arn: &str) -> bool {
        let Some(task) = self.tasks.get(arn) else { return false };
        let is_checked = self.definitions.get(&task.definition).is_some_and(|definition| definition.all_are_checked);
        task.status == Status::Running && task.wanted && task.health == "UNKNOWN" && is_checked
    }

    /// Running as ECS counts it for a service: tasks in RUNNING.
    pub(crate) fn running(&self, service: &str) -> u32 {
        count(self.service_tasks(service).filter(|task| task.status == Status::Running && task.wanted).count())
    }

    /// Pending as ECS counts it for a service: on the way to RUNNING.
    pub(crate) fn pending(&self, service: &str) -> u32 {
        count(self.service_tasks(service).filter(|task| task.status < Status::Running && task.wanted).count())
    }
}

/// How long a task without any health check runs until ECS takes it for healthy [API, DeploymentConfiguration].
pub(crate) const SETTLING_MILLISECONDS: i64 = 40_000;

impl Task {
    /// Whether ECS takes it for healthy.
    pub(crate) fn is_healthy(&self, service: &Service, definition: Option<&Definition>, now: Moment) -> bool {
        if self.status != Status::Running || !self.wanted || self.health == "UNHEALTHY" {
            return false;
        }
        let checks_containers = definition.is_some_and(|definition| definition.has_health_check);
        if checks_containers && !self.containers_are_well(definition) {
            return false;
        }
        if !service.target_groups.is_empty() {
            return self.target == Target::Healthy;
        }
        checks_containers || self.started_at.is_none_or(|started| now.0 - started.0 >= SETTLING_MILLISECONDS)
    }

    /// Whether it is as its service asks, without the time that a task without checks has to run until it counts as healthy.
    pub(crate) fn is_well(&self, service: &Service, definition: Option<&Definition>, now: Moment) -> bool {
        let is_checked = !service.target_groups.is_empty() || definition.is_some_and(|it| it.has_health_check);
        if is_checked {
            return self.is_healthy(service, definition, now);
        }
        self.status == Status::Running && self.wanted && self.health != "UNHEALTHY"
    }

    /// Whether those of its containers that are checked are healthy. With one that isn't checked the task as a whole stays
    /// UNKNOWN for ever.
    pub(crate) fn containers_are_well(&self, definition: Option<&Definition>) -> bool {
        let all_are_checked = definition.is_some_and(|definition| definition.all_are_checked);
        self.health == "HEALTHY" || (!all_are_checked && self.health != "UNHEALTHY" && self.checks_passed)
    }

    /// Whether it is protected from scale-in.
    pub(crate) fn is_protected(&self, now: Moment) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }

    /// Whether the scheduler knows that it is protected.
    pub(crate) fn is_spared(&self, now: Moment) -> bool {
        self.is_protected(now) && self.protection_known_at <= now
    }

    /// Protects it until then, which the scheduler knows from the second moment on at the latest, or takes protection off.
    pub(crate) fn protect(&mut self, until: Option<Moment>, known_at: Moment, now: Moment) {
        if !self.is_protected(now) {
            self.protection_known_at = known_at;
        }
        self.protected_until = until;
    }
}

pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
