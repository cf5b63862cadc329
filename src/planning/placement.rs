//! Placement strategies and constraints: the domains that a service spreads over, the instances that may take its tasks.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    model::{
        Capacity, Cluster, ContainerInstance, ContainerInstanceArn, PlacementConstraint, PlacementStrategy,
        SchedulingStrategy, Service, SpreadField, Task, TaskDefinition,
    },
    notes::is_steering,
    query::Query,
    reason::Unmeasured,
};

/// The attribute that ECS itself spreads over first.
pub const AVAILABILITY_ZONE: &str = "ecs.availability-zone";
/// The attribute that instances of ECS Anywhere carry; only tasks of launch type EXTERNAL are placed there.
const EXTERNAL_CAPABILITY: &str = "ecs.capability.external";
/// The attributes that decide about tasks whatever their service asks.
const ALWAYS_ASKED: [&str; 4] = [EXTERNAL_CAPABILITY, "ecs.cpu-architecture", "ecs.os-family", "ecs.os-type"];
/// The attributes that decide how many tasks in network mode `awsvpc` fit.
const INSTANCE_TYPE: &str = "ecs.instance-type";
/// On instances with ENI trunking; it differs on every instance.
const TRUNK: &str = "ecs.awsvpc-trunk-id";
/// Instances that lack an attribute which a level spreads over are one domain of their own, so named.
const NO_VALUE: &str = "(none)";

/// What a service spreads over: attributes in order, and perhaps the container instance at last. Levels behind the instance
/// divide nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Levels {
    /// Names of attributes, without `attribute:`.
    pub attributes: Vec<String>,
    /// Whether the container instance is the last level.
    pub instance: bool,
}

impl Levels {
    /// The levels of a service, or why it doesn't ask to be spread.
    ///
    /// # Errors
    /// The reason why the service is not measured.
    pub fn of(service: &Service) -> Result<Self, Unmeasured> {
        if service.placement_strategy.is_empty() {
            // ECS's default for services [developer guide, "Amazon ECS service options"].
            return Ok(Self { attributes: vec![AVAILABILITY_ZONE.to_owned()], instance: true });
        }
        let mut levels = Self { attributes: Vec::new(), instance: false };
        for (index, entry) in service.placement_strategy.iter().enumerate() {
            match entry {
                PlacementStrategy::Spread(SpreadField::Attribute(name)) if !levels.instance => {
                    levels.attributes.push(name.clone());
                }
                PlacementStrategy::Spread(SpreadField::Attribute(_)) => {}
                PlacementStrategy::Spread(SpreadField::InstanceId) => levels.instance = true,
                PlacementStrategy::Unknown(kind) => return Err(Unmeasured::UnknownStrategy(kind.clone())),
                PlacementStrategy::Binpack(_) if index == 0 => return Err(Unmeasured::Binpack),
                PlacementStrategy::Random if index == 0 => return Err(Unmeasured::Random),
                PlacementStrategy::Binpack(_) | PlacementStrategy::Random => break,
            }
        }
        Ok(levels)
    }

    /// Those of a service that asks for no spread: ECS packs it, or draws lots.
    pub fn none() -> Self {
        Self { attributes: Vec::new(), instance: false }
    }

    /// Whether there is nothing to spread over.
    pub fn are_none(&self) -> bool {
        *self == Self::none()
    }

    /// The domains that an instance lies in, one for each attribute.
    pub fn path<'a>(&self, instance: &'a ContainerInstance) -> Vec<&'a str> {
        self.attributes.iter().map(|name| instance.attribute(name).unwrap_or(NO_VALUE)).collect()
    }

    /// Whether the first level is the zone.
    pub fn begin_with_zones(&self) -> bool {
        self.attributes.first().is_some_and(|name| name == AVAILABILITY_ZONE)
    }
}

/// What the tasks of a service, on one capacity provider, ask of a container instance.
#[derive(Clone, Debug)]
pub struct Requirement<'a> {
    queries: Vec<Query>,
    distinct: bool,
    provider: Option<&'a str>,
    definition: Option<&'a TaskDefinition>,
}

impl<'a> Requirement<'a> {
    /// What the service and, where it was read, its task definition ask.
    ///
    /// # Errors
    /// A constraint that can't be understood: then nothing is known of where tasks may go.
    pub fn new(
        service: &Service,
        definition: Option<&'a TaskDefinition>,
        provider: Option<&'a str>,
    ) -> Result<Self, Unmeasured> {
        let mut queries = Vec::new();
        let mut distinct = false;
        let of_definition =
            definition.map(|definition| definition.placement_constraints.as_slice()).unwrap_or_default();
        // One that steers is ours, and for a while.
        let of_owner = service.placement_constraints.iter().filter(|constraint| !is_steering(constraint));
        for constraint in of_owner.chain(of_definition) {
            match constraint {
                PlacementConstraint::DistinctInstance => distinct = true,
                PlacementConstraint::Unknown(kind) => return Err(Unmeasured::UnknownConstraint(kind.clone())),
                PlacementConstraint::MemberOf(expression) => {
                    queries.push(Query::parse(expression).map_err(|error| Unmeasured::UnreadableConstraint {
                        expression: expression.clone(),
                        error: error.to_string(),
                    })?);
                }
            }
        }
        Ok(Self { queries, distinct, provider, definition })
    }

    /// Whether the answer for an instance follows from its attributes, size and capacity provider alone, so that instances
    /// that are alike in these share it.
    pub fn is_static(&self) -> bool {
        self.queries.iter().all(Query::is_static)
    }

    /// Whether the tasks may run there at all: usable, fulfils every constraint, big enough when empty.
    pub fn admits(
        &self,
        instance: &ContainerInstance,
        groups: &dyn Fn(&ContainerInstanceArn) -> BTreeSet<String>,
    ) -> bool {
        instance.is_usable()
            && !instance.attributes.contains_key(EXTERNAL_CAPABILITY)
            && self.provider.is_none_or(|provider| instance.capacity_provider.as_deref() == Some(provider))
            && self.definition.is_none_or(|definition| suits(instance, definition))
            && self.queries.iter().all(|query| query.matches(instance, &|| groups(&instance.arn)))
    }

    /// Whether each task takes one of the instance's network interfaces, of which others' tasks take some.
    pub fn looks_at_addresses(&self) -> bool {
        self.definition.is_some_and(|definition| definition.takes_network_interface)
    }

    /// How many tasks of the service one instance can hold at most, whatever its size.
    pub fn limit(&self) -> u32 {
        let has_static_ports = self
            .definition
            .is_some_and(|definition| !definition.tcp_host_ports.is_empty() || !definition.udp_host_ports.is_empty());
        if self.distinct || has_static_ports { 1 } else { u32::MAX }
    }

    /// The capacity provider that the tasks are bound to.
    pub fn provider(&self) -> Option<&str> {
        self.provider
    }

    /// Whether the task definition is known.
    pub fn has_definition(&self) -> bool {
        self.definition.is_some()
    }

    /// What one task reserves; nothing where the task definition wasn't read.
    pub fn reserves(&self) -> Capacity {
        self.definition.map(|definition| definition.reserves).unwrap_or_default()
    }

    /// How many more tasks fit there now. How many of the same service are `present`, and how many network `interfaces` are
    /// taken, is asked only where it matters.
    pub fn room(
        &self,
        instance: &ContainerInstance,
        remaining: &Capacity,
        present: &dyn Fn() -> u32,
        interfaces: &dyn Fn() -> u32,
    ) -> u32 {
        let limit = self.limit();
        let mut room = if limit == u32::MAX { limit } else { limit.saturating_sub(present()) };
        let Some(definition) = self.definition else { return room };
        let asked = definition.reserves;
        for (free, each) in [
            (remaining.cpu_units, asked.cpu_units),
            (remaining.memory_mib, asked.memory_mib),
            (remaining.gpus, asked.gpus),
        ] {
            room = room.min(free.checked_div(each).unwrap_or(u32::MAX));
        }
        if room > 0
            && definition.takes_network_interface
            && let Some(limit) = network_interfaces_for_tasks(instance)
        {
            room = room.min(limit.saturating_sub(interfaces()));
        }
        if self.taken_port(instance).is_some() { 0 } else { room }
    }

    /// A static host port of the tasks' that is taken there.
    pub fn taken_port(&self, instance: &ContainerInstance) -> Option<u16> {
        let definition = self.definition?;
        let tcp = definition.tcp_host_ports.intersection(&instance.taken_tcp_ports);
        tcp.chain(definition.udp_host_ports.intersection(&instance.taken_udp_ports)).next().copied()
    }
}

/// What a task definition asks that no change of other tasks can alter.
fn suits(instance: &ContainerInstance, definition: &TaskDefinition) -> bool {
    instance.registered.holds(&definition.reserves)
        && definition.tcp_host_ports.is_disjoint(&instance.reserved_tcp_ports)
        && definition.udp_host_ports.is_disjoint(&instance.reserved_udp_ports)
        && definition.required_attributes.iter().all(|(name, value)| match value {
            None => instance.attributes.contains_key(name),
            Some(value) => instance.attribute(name) == Some(value),
        })
        && definition.cpu_architecture.as_deref().is_none_or(|asked| {
            instance.attribute("ecs.cpu-architecture").is_none_or(|has| has.eq_ignore_ascii_case(asked))
        })
        && definition.os_family.as_deref().is_none_or(|asked| runs(instance, asked))
}

/// `ecs.os-family` is exact where the agent tells it; else `ecs.os-type` says `linux` or `windows`.
fn runs(instance: &ContainerInstance, os_family: &str) -> bool {
    match (instance.attribute("ecs.os-family"), instance.attribute("ecs.os-type")) {
        (Some(family), _) => family.eq_ignore_ascii_case(os_family),
        (None, Some(os_type)) => os_family.to_ascii_lowercase().starts_with(&os_type.to_ascii_lowercase()),
        (None, None) => true,
    }
}

/// How many tasks in network mode `awsvpc` an instance can hold: its type's network interfaces less the primary one; none
/// where that isn't known. ECS doesn't tell it, and says `RESOURCE:ENI` when it was one too many.
///
/// By size, as Amazon EC2's table of maximum network interfaces has it for the current general families (c, m, r, t of
/// generations 5 to 7); with ENI trunking the number depends on the type and is far higher.
/// [Amazon EC2 user guide, "Maximum IP addresses per network interface"; ECS developer guide, container-instance-eni]
pub(super) fn network_interfaces_for_tasks(instance: &ContainerInstance) -> Option<u32> {
    if instance.attributes.contains_key(TRUNK) {
        return None;
    }
    let (family, size) = instance.attribute(INSTANCE_TYPE)?.split_once('.')?;
    if !["c5", "c6", "c7", "m5", "m6", "m7", "r5", "r6", "r7", "t3", "t4"].iter().any(|known| family.starts_with(known))
    {
        return None;
    }
    let interfaces = match size {
        "small" | "medium" if family.starts_with('t') => 3,
        "nano" | "micro" | "medium" => 2,
        "large" => 3,
        "xlarge" | "2xlarge" => 4,
        "4xlarge" | "8xlarge" | "9xlarge" | "12xlarge" => 8,
        "16xlarge" | "18xlarge" | "24xlarge" | "metal" => 15,
        _ => return None,
    };
    Some(interfaces - 1)
}

/// Tasks by the instance that they sit on, and what else the counting of instances needs, made once for a cluster.
#[derive(Debug)]
pub struct Index<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The tasks of each service.
    pub tasks_by_service: BTreeMap<&'a str, Vec<&'a Task>>,
    /// The tasks on each instance, those without a service included.
    tasks_by_instance: BTreeMap<&'a ContainerInstanceArn, Vec<&'a Task>>,
    class_of: BTreeMap<&'a ContainerInstanceArn, usize>,
    /// Usable instances that are alike in all that a static requirement asks, and in the domains that levels make.
    pub classes: Vec<Vec<&'a ContainerInstance>>,
    /// The most of each resource that any instance of a class has left.
    most_remaining: Vec<Capacity>,
}

/// The attributes that decide where the tasks of a cluster's services may go, and what they spread over.
fn asked_attributes(cluster: &Cluster) -> BTreeSet<String> {
    let mut asked: BTreeSet<String> = ALWAYS_ASKED.map(str::to_owned).into();
    let services = cluster.services.values();
    asked.extend(services.filter_map(|service| Levels::of(service).ok()).flat_map(|levels| levels.attributes));
    let definitions = cluster.task_definitions.values();
    asked.extend(definitions.flat_map(|definition| definition.required_attributes.keys().cloned()));
    // Many services share an expression; each is read once.
    for constraint in constraints(cluster).collect::<BTreeSet<_>>() {
        if let PlacementConstraint::MemberOf(expression) = constraint
            && let Ok(query) = Query::parse(expression)
        {
            asked.extend(query.attributes().into_iter().map(str::to_owned));
        }
    }
    asked
}

/// The instances of a class that a requirement admits.
#[derive(Debug)]
pub struct EligibleClass<'b, 'a> {
    /// The instances.
    pub instances: Cow<'b, [&'a ContainerInstance]>,
    /// Whether there may be room for one more task on any of them.
    pub may_have_room: bool,
}

fn most_remaining(class: &[&ContainerInstance]) -> Capacity {
    let most = |of: fn(&Capacity) -> u32| class.iter().map(|instance| of(&instance.remaining)).max().unwrap_or(0);
    Capacity {
        cpu_units: most(|capacity| capacity.cpu_units),
        memory_mib: most(|capacity| capacity.memory_mib),
        gpus: most(|capacity| capacity.gpus),
    }
}

/// The constraints of all services and task definitions.
pub(super) fn constraints(cluster: &Cluster) -> impl Iterator<Item = &PlacementConstraint> {
    let of_services = cluster.services.values().flat_map(|service| &service.placement_constraints);
    of_services.chain(cluster.task_definitions.values().flat_map(|definition| &definition.placement_constraints))
}

impl<'a> Index<'a> {
    /// Goes through the cluster once.
    pub fn new(cluster: &'a Cluster) -> Self {
        let mut tasks_by_service: BTreeMap<&str, Vec<&Task>> = BTreeMap::new();
        let mut tasks_by_instance: BTreeMap<&ContainerInstanceArn, Vec<&Task>> = BTreeMap::new();
        for task in cluster.tasks.values() {
            if let Some(instance) = &task.container_instance {
                tasks_by_instance.entry(instance).or_default().push(task);
            }
            if let Some(service) = &task.service {
                tasks_by_service.entry(service.as_str()).or_default().push(task);
            }
        }
        // Some attributes differ on every instance (TRUNK); what nobody asks for tells no two apart.
        let asked = asked_attributes(cluster);
        let mut classes: BTreeMap<_, Vec<&ContainerInstance>> = BTreeMap::new();
        for instance in cluster.container_instances.values().filter(|instance| instance.is_usable()) {
            let registered = instance.registered;
            let values: Vec<_> = asked.iter().map(|name| instance.attributes.get(name)).collect();
            let key = (
                (registered.cpu_units, registered.memory_mib, registered.gpus),
                &instance.capacity_provider,
                values,
                (&instance.reserved_tcp_ports, &instance.reserved_udp_ports),
            );
            classes.entry(key).or_default().push(instance);
        }
        let classes: Vec<Vec<&ContainerInstance>> = classes.into_values().collect();
        let class_of = classes
            .iter()
            .enumerate()
            .flat_map(|(number, class)| class.iter().map(move |instance| (&instance.arn, number)))
            .collect();
        let most_remaining = classes.iter().map(|class| most_remaining(class)).collect();
        Self { cluster, tasks_by_service, tasks_by_instance, class_of, classes, most_remaining }
    }

    /// For each class, whether a static requirement admits its instances.
    pub fn admitted_classes(&self, requirement: &Requirement<'_>) -> Vec<bool> {
        let groups = |instance: &ContainerInstanceArn| self.groups_on(instance);
        let admits =
            |class: &Vec<&ContainerInstance>| class.first().is_some_and(|first| requirement.admits(first, &groups));
        self.classes.iter().map(admits).collect()
    }

    /// The instances that a requirement admits, in the order of their classes.
    pub fn eligible(&self, requirement: &Requirement<'_>) -> Vec<&'a ContainerInstance> {
        self.eligible_classes(requirement).flat_map(|class| class.instances.into_owned()).collect()
    }

    /// The instances that a requirement admits, class by class.
    pub fn eligible_classes(&self, requirement: &Requirement<'_>) -> impl Iterator<Item = EligibleClass<'_, 'a>> {
        let groups = |instance: &ContainerInstanceArn| self.groups_on(instance);
        self.classes.iter().zip(&self.most_remaining).map(move |(class, most_remaining)| {
            let instances = match class.first() {
                Some(first) if requirement.is_static() && requirement.admits(first, &groups) => Cow::Borrowed(&**class),
                Some(_) if requirement.is_static() => Cow::Borrowed(&[][..]),
                _ => class.iter().copied().filter(|instance| requirement.admits(instance, &groups)).collect(),
            };
            EligibleClass { instances, may_have_room: most_remaining.holds(&requirement.reserves()) }
        })
    }

    /// Which class a usable instance is in.
    pub fn class_of(&self, instance: &ContainerInstanceArn) -> Option<usize> {
        self.class_of.get(instance).copied()
    }

    /// A service's tasks.
    pub fn tasks_of(&self, service: &Service) -> &[&'a Task] {
        self.tasks_by_service.get(service.name.as_str()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether no task runs there but those of daemons.
    pub fn is_empty(&self, instance: &ContainerInstance) -> bool {
        self.tasks_on(&instance.arn).iter().all(|task| {
            let service = task.service.as_ref().and_then(|name| self.cluster.services.get(name));
            service.is_some_and(|service| service.scheduling_strategy == SchedulingStrategy::Daemon)
        })
    }

    fn groups_on(&self, instance: &ContainerInstanceArn) -> BTreeSet<String> {
        self.tasks_on(instance).iter().map(|task| task.group.to_string()).collect()
    }

    /// The tasks on an instance, those without a service included.
    pub fn tasks_on(&self, instance: &ContainerInstanceArn) -> &[&'a Task] {
        self.tasks_by_instance.get(instance).map(Vec::as_slice).unwrap_or_default()
    }
}
