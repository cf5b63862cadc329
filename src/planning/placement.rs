//! Placement strategies and constraints: the domains that a service spreads over, the instances that may take its tasks.

pub mod occupancy;

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use self::occupancy::{Demand, Holding};
use super::{
    interfaces::Interfaces,
    model::{
        Capacity, Cluster, ContainerInstance, ContainerInstanceArn, Devices, PlacementConstraint, PlacementStrategy,
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
const ALWAYS_ASKED: [&str; 5] =
    [AVAILABILITY_ZONE, EXTERNAL_CAPABILITY, "ecs.cpu-architecture", "ecs.os-family", "ecs.os-type"];
/// The subnet of an instance, by which the zones of subnets are known.
pub(super) const SUBNET: &str = "ecs.subnet-id";
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

    /// Those over which a service's tasks may be moved: where ECS packs it or draws lots nothing of it is misplaced, but its tasks may
    /// be sent elsewhere for other reasons. None where its placement strategy isn't known.
    pub fn of_movable(service: &Service) -> Option<Self> {
        match Self::of(service) {
            Ok(levels) => Some(levels),
            Err(Unmeasured::Binpack | Unmeasured::Random) => Some(Self::none()),
            Err(_) => None,
        }
    }

    /// Those of a service that asks for no spread: ECS packs it, or draws lots.
    pub fn none() -> Self {
        Self { attributes: Vec::new(), instance: false }
    }

    /// Whether there is nothing to spread over.
    pub fn are_none(&self) -> bool {
        *self == Self::none()
    }

    /// The domain of the last level that an instance lies in, by the whole path: the instance itself, where that is a level.
    pub fn leaf<'a>(&self, instance: &'a ContainerInstance) -> Vec<&'a str> {
        let mut path = self.path(instance);
        if self.instance {
            path.push(instance.arn.as_str());
        }
        path
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

/// Whether ECS itself evens out a service's zones, so that the number of tasks in each zone is left to it. It does not where the
/// service may have no task on top (`maximumPercent` 100), has a Classic Load Balancer or names the zone in a constraint, whatever
/// `availabilityZoneRebalancing` says [ECS developer guide, "Balancing an Amazon ECS service across Availability Zones"].
pub fn are_zones_left_to_ecs(service: &Service) -> bool {
    let names_zone = |constraint: &PlacementConstraint| match constraint {
        PlacementConstraint::MemberOf(expression) => {
            Query::parse(expression).is_ok_and(|query| query.attributes().contains(AVAILABILITY_ZONE))
        }
        PlacementConstraint::DistinctInstance | PlacementConstraint::Unknown(_) => false,
    };
    service.availability_zone_rebalancing
        && service.maximum_percent > 100
        && service.classic_load_balancers.is_empty()
        && !service.placement_constraints.iter().any(names_zone)
        && Levels::of_movable(service).is_some_and(|levels| levels.begin_with_zones())
}

/// What the tasks of a service, on one capacity provider, ask of a container instance.
#[derive(Clone, Debug)]
pub struct Requirement<'a> {
    /// What must hold before ECS places one more task on an instance, but for `distinct`.
    queries: Vec<Query>,
    /// Whether an instance may have one task of the service alone.
    distinct: bool,
    /// The group of the service's own tasks, where a constraint looks at the tasks on an instance.
    own_group: Option<String>,
    /// The numbers of tasks that constraints compare those on an instance with.
    counts: BTreeSet<u64>,
    provider: Option<&'a str>,
    definition: Option<&'a TaskDefinition>,
    /// Where its tasks' network interfaces may be; anywhere, where there is none.
    subnets: BTreeSet<String>,
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
        if let Some(devices) = definition.and_then(|definition| definition.devices)
            && !matches!(devices, Devices::AllGpus | Devices::SharedGpu)
        {
            return Err(Unmeasured::Devices(devices));
        }
        let (mut queries, mut distinct, mut looks_at_tasks) = (Vec::new(), false, false);
        let own_group = format!("service:{}", service.name);
        let of_definition =
            definition.map(|definition| definition.placement_constraints.as_slice()).unwrap_or_default();
        // One that steers is ours, and for a while.
        let of_owner = service.placement_constraints.iter().filter(|constraint| !is_steering(constraint));
        for constraint in of_owner.chain(of_definition) {
            match constraint {
                PlacementConstraint::DistinctInstance => distinct = true,
                PlacementConstraint::Unknown(kind) => return Err(Unmeasured::UnknownConstraint(kind.clone())),
                PlacementConstraint::MemberOf(expression) => {
                    let query = Query::parse(expression).map_err(|error| Unmeasured::UnreadableConstraint {
                        expression: expression.clone(),
                        error: error.to_string(),
                    })?;
                    looks_at_tasks |= query.looks_at_tasks();
                    // To ask for an instance without the service's own tasks is to ask for at most one on each.
                    let denies_own = |query: &Query| query.only_denies_group(&own_group);
                    let (own, others): (Vec<_>, Vec<_>) = query.all_asked().into_iter().partition(denies_own);
                    distinct |= !own.is_empty();
                    queries.extend(others);
                }
            }
        }
        let counts = queries.iter().flat_map(Query::counts).collect();
        let own_group = looks_at_tasks.then_some(own_group);
        Ok(Self { queries, distinct, own_group, counts, provider, definition, subnets: service.subnets.clone() })
    }

    /// The group of the service's own tasks, where a constraint looks at the tasks on an instance: then two services that ask the same
    /// in words don't ask the same.
    pub fn own_group(&self) -> Option<&str> {
        self.own_group.as_deref()
    }

    /// Whether the answer for an instance, and how many tasks it may have, hangs on the tasks that are there.
    pub fn looks_at_tasks(&self) -> bool {
        self.queries.iter().any(Query::looks_at_tasks)
    }

    /// Whether the answer for an instance follows from its attributes, size and capacity provider alone, so that instances
    /// that are alike in these share it.
    pub fn is_static(&self) -> bool {
        self.queries.iter().all(Query::is_static)
    }

    /// Whether the tasks may run there as far as the instance itself tells: it fulfils every constraint, and is big enough when
    /// empty.
    fn suits(&self, instance: &ContainerInstance, there: &dyn Fn(&ContainerInstanceArn) -> There) -> bool {
        self.definition.is_none_or(|definition| instance.registered.holds(&definition.reserves))
            && self.suits_whatever_size(instance, there)
    }

    /// The same, but for its size.
    fn suits_whatever_size(
        &self,
        instance: &ContainerInstance,
        there: &dyn Fn(&ContainerInstanceArn) -> There,
    ) -> bool {
        !instance.attributes.contains_key(EXTERNAL_CAPABILITY)
            && match self.provider {
                Some(provider) => instance.capacity_provider.as_deref() == Some(provider),
                // Managed Instances take only tasks of a capacity provider strategy [API, LaunchType].
                None => !instance.is_managed,
            }
            && self.definition.is_none_or(|definition| suits(instance, definition))
            && self.allowed(instance, there) > 0
    }

    /// How many of the service's tasks its constraints allow on an instance, beside the tasks of others that are there. ECS asks them
    /// when it places a task, and leaves the task where it is, whatever holds later: so an instance that only the service's own
    /// tasks close to it allows as many as it would take one after another if none of them were there.
    ///
    /// An example: with `runningTasksCount < 3` and one other task, an instance allows two, however many are there.
    fn allowed(&self, instance: &ContainerInstance, there: &dyn Fn(&ContainerInstanceArn) -> There) -> u32 {
        if !self.looks_at_tasks() {
            let allows_any = self.queries.iter().all(|query| query.matches(instance, &BTreeSet::new));
            return if allows_any { u32::MAX } else { 0 };
        }
        let There { others, number_of_others, own } = there(&instance.arn);
        // ECS's own count of them may lack those that start just now.
        let others_count = instance.running_tasks_count.saturating_sub(own).max(number_of_others);
        let takes_one_beside = |tasks: u32| {
            let running_tasks_count = others_count.saturating_add(tasks);
            let instance = ContainerInstance { running_tasks_count, ..instance.clone() };
            let own = self.own_group.iter().filter(|_| tasks > 0);
            let groups = || others.iter().chain(own.clone()).cloned().collect();
            self.queries.iter().all(|query| query.matches(&instance, &groups))
        };
        // Between these the answer stays the same: with the first of its own tasks their group is there, and a comparison changes at
        // the number that is compared with, and just above it.
        let changes = self.counts.iter().flat_map(|count| [*count, count.saturating_add(1)]);
        let changes = changes.filter_map(|count| u32::try_from(count.checked_sub(others_count.into())?).ok());
        let numbers: BTreeSet<u32> = changes.chain([0, 1, own]).collect();
        let first = if takes_one_beside(own) { own } else { 0 };
        numbers.range(first..).copied().find(|tasks| !takes_one_beside(*tasks)).unwrap_or(u32::MAX)
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
        let takes_all = self.definition.is_some_and(|definition| definition.devices == Some(Devices::AllGpus));
        if self.distinct || has_static_ports || takes_all { 1 } else { u32::MAX }
    }

    /// The capacity provider that the tasks are bound to.
    pub fn provider(&self) -> Option<&'a str> {
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

    /// How many tasks of the service an instance that could hold so many of them can hold where some are: no fewer than these, for
    /// then it is full.
    pub fn most_where(&self, there: u32, most: u32) -> u32 {
        self.limit().min(most.max(there))
    }

    /// How many tasks of the service an instance that allows so many could hold beside daemons alone, and no fewer than are there: then
    /// it is full.
    fn most(&self, instance: &ContainerInstance, daemons: Daemons, allowed: u32, there: u32) -> u32 {
        let Some(definition) = self.definition else { return self.most_where(there, allowed) };
        let (registered, asked) = (instance.registered, definition.reserves);
        // What several tasks share is not used up by any of them.
        let gpus = if definition.devices.is_some() { 0 } else { asked.gpus };
        let mut most = allowed;
        for (has, daemons, each) in [
            (registered.cpu_units, daemons.reserved.cpu_units, asked.cpu_units),
            (registered.memory_mib, daemons.reserved.memory_mib, asked.memory_mib),
            (registered.gpus, daemons.reserved.gpus, gpus),
        ] {
            most = most.min(has.saturating_sub(daemons).checked_div(each).unwrap_or(u32::MAX));
        }
        if definition.takes_network_interface {
            most = most.min(Interfaces::of(instance).left(daemons.interfaces));
        }
        self.most_where(there, most)
    }

    /// What one task takes.
    pub fn demand(&self) -> Demand<'a> {
        Demand::of(self.definition)
    }
}

/// The tasks on an instance, as far as a service's constraints may look at them.
struct There {
    /// The groups of the tasks that are not the service's.
    others: BTreeSet<String>,
    /// How many these tasks are.
    number_of_others: u32,
    /// How many are the service's.
    own: u32,
}

/// Whether an instance is in one of these zones; where there are none, in any.
fn is_in(zones: Option<&BTreeSet<&str>>, instance: &ContainerInstance) -> bool {
    zones.is_none_or(|zones| zones.contains(instance.availability_zone()))
}

/// An instance as it is with its agent connected: a constraint may ask for just that (`agentConnected == true`).
fn connected(instance: &ContainerInstance) -> Cow<'_, ContainerInstance> {
    if instance.agent_connected {
        Cow::Borrowed(instance)
    } else {
        Cow::Owned(ContainerInstance { agent_connected: true, ..instance.clone() })
    }
}

/// What the daemons on each of so many usable instances take.
fn daemons(cluster: &Cluster, tasks: &Tasks<'_>, instances: usize) -> Vec<Daemons> {
    let mut daemons = vec![Daemons::default(); instances];
    let is_daemon = |service: &&Service| service.scheduling_strategy == SchedulingStrategy::Daemon;
    let of_daemons = cluster.services.values().filter(is_daemon);
    let of_daemons = of_daemons.filter_map(|service| tasks.of_service(service.name.as_str()));
    for (task, number) in of_daemons.flat_map(|of_it| of_it.tasks.iter().zip(&of_it.numbers)) {
        let definition = cluster.task_definitions.get(&task.task_definition);
        if let (Some(number), Some(definition)) = (number, definition) {
            let there = &mut daemons[*number];
            let (sum, more) = (&mut there.reserved, definition.reserves);
            sum.cpu_units = sum.cpu_units.saturating_add(more.cpu_units);
            sum.memory_mib = sum.memory_mib.saturating_add(more.memory_mib);
            sum.gpus = sum.gpus.saturating_add(more.gpus);
            there.interfaces += u32::from(definition.takes_network_interface);
        }
    }
    daemons
}

/// What a task definition asks, but for capacity, that no change of other tasks can alter.
fn suits(instance: &ContainerInstance, definition: &TaskDefinition) -> bool {
    definition.tcp_host_ports.is_disjoint(&instance.reserved_tcp_ports)
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

/// What the daemons on an instance take, as far as their task definitions were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Daemons {
    reserved: Capacity,
    interfaces: u32,
}

/// A service's tasks, and the numbers of the usable instances that they sit on, in the same order.
#[derive(Debug, Default)]
struct OfService<'a> {
    tasks: Vec<&'a Task>,
    numbers: Vec<Option<usize>>,
}

/// Tasks by the instance that they sit on, and what else the counting of instances needs, made once for a cluster.
///
/// The usable instances are numbered, so that an ARN is looked up once for each task. All that is counted by instance is counted by
/// these numbers.
#[derive(Debug)]
pub struct Index<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The usable instances by their numbers: in the order of their ARNs.
    pub instances: Vec<&'a ContainerInstance>,
    tasks: Tasks<'a>,
    /// The most of each resource that any instance of a class has left.
    most_remaining: Vec<Capacity>,
    /// Whether any task has, or may get, a network interface of its instance's.
    takes_interfaces: bool,
    lasting: Rc<Lasting<'a>>,
}

/// The tasks of a cluster.
#[derive(Debug)]
struct Tasks<'a> {
    /// All of them, in the order of their ARNs.
    all: Vec<Known<'a>>,
    /// The number of each service that any task names.
    numbers: BTreeMap<&'a str, usize>,
    of_services: Vec<OfService<'a>>,
    /// Those on each usable instance, those without a service included.
    on_instances: Vec<Vec<&'a Task>>,
    /// Those on other instances.
    elsewhere: BTreeMap<&'a ContainerInstanceArn, Vec<&'a Task>>,
}

/// A task, and what it takes some time to look up.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    task: &'a Arc<Task>,
    /// The number of the usable instance that it sits on.
    instance: Option<usize>,
    service: Option<usize>,
}

/// What stays as it is while tasks come and go, but for those of daemons.
#[derive(Debug)]
struct Lasting<'a> {
    /// The numbers of instances that are alike in all that a static requirement asks, and in the domains that levels make.
    classes: Vec<Vec<usize>>,
    class_of: Vec<usize>,
    /// The numbers of usable instances whose agent can't protect tasks from scale-in, once somebody asks.
    old_agents: OnceCell<Vec<usize>>,
    /// The ARNs of the instances whose agent is disconnected, once somebody asks.
    away: OnceCell<Vec<ContainerInstanceArn>>,
    /// What daemons take on each usable instance.
    daemons: Vec<Daemons>,
    /// The domains in which the classes lie, for the levels of each service.
    domains: BTreeMap<Levels, Rc<ClassDomains<'a>>>,
    /// The zone of each subnet in which an instance is, usable or not, once somebody asks.
    zone_of_subnet: OnceCell<BTreeMap<String, String>>,
}

/// The domains in which classes of instances lie, one for each attribute of some levels. Instances of a class share them.
#[derive(Debug)]
pub struct ClassDomains<'a> {
    /// Each path of domains once, in their order.
    pub paths: Vec<Vec<&'a str>>,
    /// By the number of a class.
    path_of: Vec<usize>,
}

impl<'a> ClassDomains<'a> {
    fn new(levels: &Levels, instances: &[&'a ContainerInstance], classes: &[Vec<usize>]) -> Self {
        let path = |class: &Vec<usize>| class.first().map(|first| levels.path(instances[*first])).unwrap_or_default();
        let of_each: Vec<Vec<&str>> = classes.iter().map(path).collect();
        let mut paths = of_each.clone();
        paths.sort_unstable();
        paths.dedup();
        let path_of = of_each.iter().map(|path| paths.partition_point(|other| other < path)).collect();
        Self { paths, path_of }
    }

    /// The number of a class's path.
    pub fn path_of(&self, class: usize) -> usize {
        self.path_of[class]
    }

    /// The number of a path, if any class lies there.
    pub fn number_of(&self, path: &[&str]) -> Option<usize> {
        self.paths.binary_search_by(|other| other.as_slice().cmp(path)).ok()
    }
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

/// The instances of a class that a requirement admits; a single one, where how many tasks one may have hangs on those that are there.
#[derive(Debug)]
pub struct EligibleClass<'b> {
    /// The number of the class.
    pub number: usize,
    /// The numbers of the instances.
    pub instances: Cow<'b, [usize]>,
    /// Whether there may be room for one more task on any of them.
    pub may_have_room: bool,
}

/// The instances of a class that are admitted; to a static requirement those of a class are alike.
fn admitted<'b>(class: &'b [usize], requirement: &Requirement<'_>, admits: &dyn Fn(usize) -> bool) -> Cow<'b, [usize]> {
    match class.first() {
        Some(first) if requirement.is_static() && admits(*first) => Cow::Borrowed(class),
        Some(_) if requirement.is_static() => Cow::Borrowed(&[]),
        _ => class.iter().copied().filter(|number| admits(*number)).collect(),
    }
}

fn most_remaining(instances: &[&ContainerInstance], class: &[usize]) -> Capacity {
    let remaining = || class.iter().map(|number| &instances[*number].remaining);
    let most = |of: fn(&Capacity) -> u32| remaining().map(of).max().unwrap_or(0);
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

/// The usable instances, in the order of their ARNs.
fn usable(cluster: &Cluster) -> Vec<&ContainerInstance> {
    let instances = cluster.container_instances.values().map(AsRef::as_ref);
    instances.filter(|instance| instance.is_usable()).collect()
}

fn any_takes_interface(cluster: &Cluster) -> bool {
    cluster.task_definitions.values().any(|definition| definition.takes_network_interface)
}

impl<'a> Tasks<'a> {
    /// `before` are those of the same cluster before some came and went: what was known of one that is still there is taken over.
    fn new(cluster: &'a Cluster, instances: &[&'a ContainerInstance], before: Option<&Tasks<'a>>) -> Self {
        let numbers = before.map(|before| before.numbers.clone()).unwrap_or_default();
        let mut tasks = Self {
            all: Vec::with_capacity(cluster.tasks.len()),
            of_services: numbers.iter().map(|_| OfService::default()).collect(),
            numbers,
            on_instances: vec![Vec::new(); instances.len()],
            elsewhere: BTreeMap::new(),
        };
        let mut known = before.map(|before| before.all.as_slice()).unwrap_or_default();
        for task in cluster.tasks.values() {
            if known.first().is_some_and(|known| !Arc::ptr_eq(known.task, task)) {
                known = &known[known.partition_point(|known| known.task.arn < task.arn)..];
            }
            match known.split_first() {
                Some((same, rest)) if Arc::ptr_eq(same.task, task) => {
                    tasks.add(*same);
                    known = rest;
                }
                _ => {
                    let instance = task.container_instance.as_ref().and_then(|arn| number_of(instances, arn));
                    let service = task.service.as_ref().map(|service| tasks.number(service.as_str()));
                    tasks.add(Known { task, instance, service });
                }
            }
        }
        tasks
    }

    fn number(&mut self, service: &'a str) -> usize {
        let next = self.of_services.len();
        let number = *self.numbers.entry(service).or_insert(next);
        if number == next {
            self.of_services.push(OfService::default());
        }
        number
    }

    fn add(&mut self, known: Known<'a>) {
        let Known { task, instance, service } = known;
        if let Some(number) = instance {
            self.on_instances[number].push(task);
        } else if let Some(elsewhere) = &task.container_instance {
            self.elsewhere.entry(elsewhere).or_default().push(task);
        }
        if let Some(service) = service {
            self.of_services[service].tasks.push(task);
            self.of_services[service].numbers.push(instance);
        }
        self.all.push(known);
    }

    fn of_service(&self, name: &str) -> Option<&OfService<'a>> {
        self.of_services.get(*self.numbers.get(name)?)
    }
}

impl<'a> Lasting<'a> {
    fn new(cluster: &'a Cluster, instances: &[&'a ContainerInstance], tasks: &Tasks<'a>) -> Self {
        let daemons = daemons(cluster, tasks, instances.len());
        let takes_interfaces = any_takes_interface(cluster);
        // Some attributes differ on every instance; what nobody asks for tells no two apart.
        let asked = asked_attributes(cluster);
        let mut classes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (number, instance) in instances.iter().enumerate() {
            let registered = instance.registered;
            let values: Vec<_> = asked.iter().map(|name| instance.attributes.get(name)).collect();
            let key = (
                (registered.cpu_units, registered.memory_mib, registered.gpus),
                (&instance.capacity_provider, instance.is_managed),
                values,
                (&instance.reserved_tcp_ports, &instance.reserved_udp_ports),
                (takes_interfaces.then(|| Interfaces::of(instance)), daemons[number]),
            );
            classes.entry(key).or_default().push(number);
        }
        let classes: Vec<Vec<usize>> = classes.into_values().collect();
        let mut class_of = vec![0; instances.len()];
        for (class, numbers) in classes.iter().enumerate() {
            for number in numbers {
                class_of[*number] = class;
            }
        }
        let levels: BTreeSet<Levels> = cluster.services.values().filter_map(Levels::of_movable).collect();
        let domains = |levels: Levels| (levels.clone(), ClassDomains::new(&levels, instances, &classes).into());
        let domains = levels.into_iter().map(domains).collect();
        let (old_agents, away, zone_of_subnet) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { classes, class_of, old_agents, away, daemons, domains, zone_of_subnet }
    }
}

impl<'a> Index<'a> {
    /// Goes through the cluster once.
    pub fn new(cluster: &'a Cluster) -> Self {
        let instances = usable(cluster);
        let tasks = Tasks::new(cluster, &instances, None);
        let lasting = Rc::new(Lasting::new(cluster, &instances, &tasks));
        Self::with(cluster, instances, tasks, lasting)
    }

    /// Of the same cluster once tasks of services have come and gone.
    #[must_use]
    pub fn after(&self, cluster: &'a Cluster) -> Self {
        let instances = usable(cluster);
        let tasks = Tasks::new(cluster, &instances, Some(&self.tasks));
        Self::with(cluster, instances, tasks, Rc::clone(&self.lasting))
    }

    fn with(
        cluster: &'a Cluster,
        instances: Vec<&'a ContainerInstance>,
        tasks: Tasks<'a>,
        lasting: Rc<Lasting<'a>>,
    ) -> Self {
        let most_remaining = lasting.classes.iter().map(|class| most_remaining(&instances, class)).collect();
        let takes_interfaces =
            any_takes_interface(cluster) || cluster.tasks.values().any(|it| it.takes_network_interface);
        Self { cluster, instances, tasks, most_remaining, takes_interfaces, lasting }
    }

    /// The numbers of instances that are alike in all that a static requirement asks, and in the domains that levels make.
    pub fn classes(&self) -> &[Vec<usize>] {
        &self.lasting.classes
    }

    /// The domains in which the classes lie.
    pub fn domains(&self, levels: &Levels) -> Rc<ClassDomains<'a>> {
        let known = self.lasting.domains.get(levels).map(Rc::clone);
        known.unwrap_or_else(|| ClassDomains::new(levels, &self.instances, &self.lasting.classes).into())
    }

    /// How many tasks of one service and provider an instance that holds `there` of them could hold beside daemons alone.
    pub fn most(&self, requirement: &Requirement<'_>, instance: usize, there: u32) -> u32 {
        let allowed = self.allowed(requirement, instance);
        requirement.most(self.instances[instance], self.lasting.daemons[instance], allowed, there)
    }

    /// How many of the service's tasks its constraints allow on an instance that it admits, beside the tasks of others that are there.
    pub fn allowed(&self, requirement: &Requirement<'_>, instance: usize) -> u32 {
        if requirement.looks_at_tasks() {
            requirement.allowed(self.instances[instance], &|arn| self.there(requirement, arn))
        } else {
            u32::MAX
        }
    }

    /// How many more of them than are there now.
    pub fn more_allowed(&self, requirement: &Requirement<'_>, instance: usize) -> u32 {
        let own = || self.there(requirement, &self.instances[instance].arn).own;
        if requirement.looks_at_tasks() { self.allowed(requirement, instance).saturating_sub(own()) } else { u32::MAX }
    }

    fn there(&self, requirement: &Requirement<'_>, instance: &ContainerInstanceArn) -> There {
        let tasks = self.tasks_on(instance);
        let groups = tasks.iter().map(|task| task.group.to_string());
        let (own, others): (Vec<_>, Vec<_>) = groups.partition(|group| Some(group.as_str()) == requirement.own_group());
        let [own, number_of_others] = [own.len(), others.len()].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        There { own, number_of_others, others: others.into_iter().collect() }
    }

    /// The number of an instance; none where it isn't usable.
    pub fn number_of(&self, instance: &ContainerInstanceArn) -> Option<usize> {
        number_of(&self.instances, instance)
    }

    /// The usable instances whose agent can't protect tasks from scale-in.
    pub fn old_agents(&self) -> impl Iterator<Item = &'a ContainerInstance> + '_ {
        let is_old = |number: &usize| !self.instances[*number].can_protect_tasks();
        let numbers = self.lasting.old_agents.get_or_init(|| (0..self.instances.len()).filter(is_old).collect());
        numbers.iter().map(|number| self.instances[*number])
    }

    /// The instances that would take one more such task if their agents were not disconnected, in the order of their ARNs.
    pub fn away_with_room<'b>(
        &'b self,
        requirement: &'b Requirement<'_>,
    ) -> impl Iterator<Item = &'a ContainerInstance> + 'b {
        let demand = requirement.demand();
        let instances = &self.cluster.container_instances;
        let away = self.lasting.away.get_or_init(|| {
            let away = instances.iter().filter(|(_, instance)| instance.is_away());
            away.map(|(arn, _)| arn.clone()).collect()
        });
        let away = away.iter().filter_map(|arn| Some(&**instances.get(arn)?));
        away.filter(move |instance| {
            let interfaces = demand.takes_interface.then(|| self.interfaces_of(self.tasks_on(&instance.arn)));
            let there = |arn: &ContainerInstanceArn| self.there(requirement, arn);
            let allows_more = || requirement.allowed(&connected(instance), &there) > there(&instance.arn).own;
            Holding::read(instance, interfaces).fits(&demand)
                && self.would_admit(requirement, instance)
                && allows_more()
        })
    }

    /// Whether a requirement admits an instance, or would, if its agent were connected.
    pub fn would_admit(&self, requirement: &Requirement<'_>, instance: &ContainerInstance) -> bool {
        let there = |instance: &ContainerInstanceArn| self.there(requirement, instance);
        requirement.suits(&connected(instance), &there) && is_in(self.zones(requirement).as_ref(), instance)
    }

    /// The zones in which tasks may have their network interfaces; none where that may be any.
    fn zones(&self, requirement: &Requirement<'_>) -> Option<BTreeSet<&str>> {
        if requirement.subnets.is_empty() {
            return None;
        }
        let zone_of_subnet = self.lasting.zone_of_subnet.get_or_init(|| {
            // A subnet stays in its zone while the instances there are disconnected, or drain.
            let instances = self.cluster.container_instances.values();
            let told =
                |it: &ContainerInstance| Some((it.attribute(SUBNET)?.to_owned(), it.availability_zone().to_owned()));
            instances.filter_map(|instance| told(instance)).collect()
        });
        // The zone of a subnet in which no instance is can't be known, and may be any.
        requirement.subnets.iter().map(|subnet| zone_of_subnet.get(subnet).map(String::as_str)).collect()
    }

    /// For each class, whether a static requirement admits its instances.
    pub fn admitted_classes(&self, requirement: &Requirement<'_>) -> Vec<bool> {
        let there = |instance: &ContainerInstanceArn| self.there(requirement, instance);
        let zones = self.zones(requirement);
        let admits =
            |instance: &ContainerInstance| is_in(zones.as_ref(), instance) && requirement.suits(instance, &there);
        let first = |class: &Vec<usize>| class.first().is_some_and(|first| admits(self.instances[*first]));
        self.lasting.classes.iter().map(first).collect()
    }

    /// The numbers of the instances that a requirement admits, in the order of their classes.
    pub fn eligible(&self, requirement: &Requirement<'_>) -> Vec<usize> {
        self.eligible_classes(requirement).flat_map(|class| class.instances.into_owned()).collect()
    }

    /// The numbers of the instances that a requirement admits, those included that are too small for it.
    pub fn eligible_whatever_size(&self, requirement: &Requirement<'_>) -> Vec<usize> {
        let there = |instance: &ContainerInstanceArn| self.there(requirement, instance);
        let zones = self.zones(requirement);
        let admits = |number: usize| {
            let instance = self.instances[number];
            is_in(zones.as_ref(), instance) && requirement.suits_whatever_size(instance, &there)
        };
        let of_class = |class: &Vec<usize>| admitted(class, requirement, &admits).into_owned();
        self.lasting.classes.iter().flat_map(of_class).collect()
    }

    /// The instances that a requirement admits, class by class.
    pub fn eligible_classes(&self, requirement: &Requirement<'_>) -> impl Iterator<Item = EligibleClass<'_>> {
        let there = |instance: &ContainerInstanceArn| self.there(requirement, instance);
        let zones = self.zones(requirement);
        let admits = move |number: usize| {
            let instance = self.instances[number];
            is_in(zones.as_ref(), instance) && requirement.suits(instance, &there)
        };
        self.lasting.classes.iter().zip(&self.most_remaining).enumerate().flat_map(
            move |(number, (class, most_remaining))| {
                let instances = admitted(class, requirement, &admits);
                let may_have_room = most_remaining.holds(&requirement.reserves());
                let alike: Vec<Cow<'_, [usize]>> = if requirement.looks_at_tasks() {
                    instances.iter().map(|instance| Cow::Owned(vec![*instance])).collect()
                } else {
                    vec![instances]
                };
                alike.into_iter().map(move |instances| EligibleClass { number, instances, may_have_room })
            },
        )
    }

    /// Which class a usable instance is in.
    pub fn class_of(&self, instance: usize) -> usize {
        self.lasting.class_of[instance]
    }

    /// A service's tasks.
    pub fn tasks_of(&self, service: &Service) -> &[&'a Task] {
        self.tasks.of_service(service.name.as_str()).map(|of_service| of_service.tasks.as_slice()).unwrap_or_default()
    }

    /// A service's tasks, each with the number of the instance that it sits on, if that is usable.
    pub fn numbered_tasks_of(&self, service: &Service) -> impl Iterator<Item = (&'a Task, Option<usize>)> + Clone + '_ {
        let of_service = self.tasks.of_service(service.name.as_str());
        of_service.into_iter().flat_map(|it| it.tasks.iter().copied().zip(it.numbers.iter().copied()))
    }

    /// Whether no task runs there but those of daemons.
    pub fn is_empty(&self, instance: &ContainerInstance) -> bool {
        self.are_daemons(self.tasks_on(&instance.arn))
    }

    /// How many usable instances have no task but those of daemons.
    pub fn empty_instances(&self) -> usize {
        self.tasks.on_instances.iter().filter(|tasks| self.are_daemons(tasks)).count()
    }

    fn are_daemons(&self, tasks: &[&Task]) -> bool {
        tasks.iter().all(|task| self.is_daemon(task))
    }

    /// Whether a task is a daemon's.
    pub fn is_daemon(&self, task: &Task) -> bool {
        let service = task.service.as_ref().and_then(|name| self.cluster.services.get(name));
        service.is_some_and(|service| service.scheduling_strategy == SchedulingStrategy::Daemon)
    }

    /// How many network interfaces tasks have on a usable instance.
    pub fn interfaces_on(&self, instance: usize) -> u32 {
        if self.takes_interfaces { self.interfaces_of(self.tasks_on_number(instance)) } else { 0 }
    }

    fn interfaces_of(&self, tasks: &[&Task]) -> u32 {
        let takes = |task: &&&Task| {
            Demand::of_task(task, self.cluster.task_definitions.get(&task.task_definition)).takes_interface
        };
        u32::try_from(tasks.iter().filter(takes).count()).unwrap_or(u32::MAX)
    }

    /// The tasks on an instance, those without a service included.
    pub fn tasks_on(&self, instance: &ContainerInstanceArn) -> &[&'a Task] {
        match self.number_of(instance) {
            Some(number) => self.tasks_on_number(number),
            None => self.tasks.elsewhere.get(instance).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// The tasks on a usable instance.
    pub fn tasks_on_number(&self, instance: usize) -> &[&'a Task] {
        &self.tasks.on_instances[instance]
    }
}

/// The number of an instance among these, which are in the order of their ARNs.
fn number_of(instances: &[&ContainerInstance], arn: &ContainerInstanceArn) -> Option<usize> {
    instances.binary_search_by(|instance| instance.arn.cmp(arn)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        model::{ServiceName, TaskArn},
        planner, testing, view,
    };

    /// Each instance and each service with its tasks, and the numbers of the instances that these sit on.
    fn told(index: &Index<'_>) -> Vec<String> {
        let on_instances = index.cluster.container_instances.keys().map(|arn| {
            let tasks: Vec<&TaskArn> = index.tasks_on(arn).iter().map(|task| &task.arn).collect();
            format!("{arn}: {tasks:?}")
        });
        let services = index.cluster.services.values().map(|service| {
            let tasks = index.numbered_tasks_of(service).map(|(task, number)| (&task.arn, number));
            format!("{}: {:?}", service.name, tasks.collect::<Vec<_>>())
        });
        on_instances.chain(services).collect()
    }

    proptest! {
        #[test]
        fn an_index_after_changes_tells_what_one_made_anew_does(
            drawing in planner::tests::drawing(),
            changes in prop::collection::vec((0..100_usize, 0..100_usize), 1..9),
        ) {
            let cluster = testing::cluster(&drawing);
            let index = Index::new(&cluster);
            let mut changed = cluster.clone();
            for (number, (task, instance)) in changes.into_iter().enumerate() {
                let of = |number: usize| cluster.tasks.keys().nth(number % cluster.tasks.len().max(1));
                let to = cluster.container_instances.keys().nth(instance % cluster.container_instances.len()).unwrap();
                let Some(task) = of(task) else { break };
                match number % 4 {
                    0 => view::remove(&mut changed, task),
                    1 => drop(view::protect(&mut changed, std::iter::once(task))),
                    2 => view::start(&mut changed, &[(ServiceName::from("s0"), to.clone())]),
                    _ => view::relocate(&mut changed, task, to, number),
                }
            }
            prop_assert_eq!(told(&index.after(&changed)), told(&Index::new(&changed)));
        }
    }
}
