//! The one ledger: what each container instance has free as tasks come and go, and where each service's tasks are.
//!
//! Nothing else in the project takes from what an instance has, or gives back to it. A task takes CPU, memory, GPUs, static host
//! ports (TCP, UDP) and, in network mode `awsvpc`, a network interface: all of it from the moment that it is placed there, whether
//! it is pending, running or only foreseen.
//!
//! An example: an instance has 1,024 CPU units free. A task of 512 units is added: 512 are free, and one more such task fits. A
//! second one is added, then a third: nothing is free, and the ledger remembers that 512 units are lacking. So when all three are
//! removed, 1,024 units are free again, and not 1,536: removing is the exact inverse of adding, in whatever order.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{Index, Levels};
use crate::planning::{
    interfaces::Interfaces,
    model::{Capacity, ContainerInstance, ContainerInstanceArn, ServiceName, Task, TaskDefinition},
    reason::Resource,
};

/// What one task takes of a container instance.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// CPU, memory and GPUs.
    pub reserves: Capacity,
    ports: Option<(&'a BTreeSet<u16>, &'a BTreeSet<u16>)>,
    /// Whether it takes a network interface of the instance.
    pub takes_interface: bool,
}

impl<'a> Demand<'a> {
    /// Of a task that is started from a task definition; nothing where that was not read.
    pub fn of(definition: Option<&'a TaskDefinition>) -> Self {
        Self {
            reserves: definition.map(|definition| definition.reserves).unwrap_or_default(),
            ports: definition.map(|definition| (&definition.tcp_host_ports, &definition.udp_host_ports)),
            takes_interface: definition.is_some_and(|definition| definition.takes_network_interface),
        }
    }

    /// Of a task that is there: what was read of it tells as well whether it takes a network interface.
    pub fn of_task(task: &Task, definition: Option<&'a TaskDefinition>) -> Self {
        let demand = Self::of(definition);
        Self { takes_interface: demand.takes_interface || task.takes_network_interface, ..demand }
    }

    fn asks_for_ports(&self) -> bool {
        self.ports.is_some_and(|(tcp, udp)| !tcp.is_empty() || !udp.is_empty())
    }

    fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        let (tcp, udp) = self.ports.map_or((None, None), |(tcp, udp)| (Some(tcp), Some(udp)));
        let tcp = tcp.into_iter().flatten().map(|port| (Transport::Tcp, *port));
        tcp.chain(udp.into_iter().flatten().map(|port| (Transport::Udp, *port)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Tcp,
    Udp,
}

type Port = (Transport, u16);

/// One container instance: as it was read, and what has come and gone since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding<'a> {
    instance: &'a ContainerInstance,
    /// CPU units, mebibytes and GPUs that are free; below nothing where more came than there is.
    free: [i64; 3],
    /// By how many more tasks a port is taken than at the reading; none stands for nothing.
    ports: BTreeMap<Port, i32>,
    /// Network interfaces that tasks have.
    interfaces: i64,
    /// How many of these there may be.
    interface_limit: Interfaces,
    /// How full it is, in millionths, by the resource that is reserved the most.
    fullness: u64,
}

impl<'a> Holding<'a> {
    /// An instance as it was read, of whose network interfaces tasks have so many; none where nobody asks for interfaces.
    pub fn read(instance: &'a ContainerInstance, interfaces: Option<u32>) -> Self {
        let free = amounts(&instance.remaining).map(i64::from);
        Self {
            instance,
            free,
            fullness: fullness(instance, free),
            ports: BTreeMap::new(),
            interfaces: interfaces.unwrap_or(0).into(),
            interface_limit: interfaces.map_or(Interfaces::Unlimited, |_| Interfaces::of(instance)),
        }
    }

    /// The instance as it was read.
    pub fn instance(&self) -> &'a ContainerInstance {
        self.instance
    }

    /// A task comes.
    pub fn add(&mut self, demand: &Demand<'_>) {
        self.change(demand, true);
    }

    /// A task goes: the exact inverse of [`Holding::add`].
    pub fn remove(&mut self, demand: &Demand<'_>) {
        self.change(demand, false);
    }

    /// A task comes, or goes.
    pub fn change(&mut self, demand: &Demand<'_>, comes: bool) {
        let tasks = if comes { 1 } else { -1 };
        for (free, amount) in self.free.iter_mut().zip(amounts(&demand.reserves)) {
            *free -= i64::from(amount) * i64::from(tasks);
        }
        self.fullness = fullness(self.instance, self.free);
        for port in demand.ports() {
            let more = self.ports.entry(port).or_default();
            *more += tasks;
            if *more == 0 {
                self.ports.remove(&port);
            }
        }
        self.interfaces += i64::from(demand.takes_interface) * i64::from(tasks);
    }

    /// What is free.
    pub fn free(&self) -> Capacity {
        capacity(self.free)
    }

    /// What is free once one more such task has come, if it fits as far as CPU, memory and GPUs go.
    pub fn free_after(&self, demand: &Demand<'_>) -> Option<Capacity> {
        let asked = amounts(&demand.reserves).map(i64::from);
        self.has(asked).then(|| capacity([0, 1, 2].map(|resource| self.free[resource] - asked[resource])))
    }

    /// Whether so much CPU, memory and GPUs are free.
    fn has(&self, asked: [i64; 3]) -> bool {
        self.free.iter().zip(asked).all(|(free, amount)| *free >= amount || amount == 0)
    }

    /// How much of what a task asks is not free.
    pub fn lacks(&self, demand: &Demand<'_>) -> Capacity {
        let mut lacking = self.free.map(|free| -free.max(0));
        for (lacking, amount) in lacking.iter_mut().zip(amounts(&demand.reserves)) {
            *lacking += i64::from(amount);
        }
        capacity(lacking)
    }

    /// A static host port that the task asks and another has.
    pub fn taken_port(&self, demand: &Demand<'_>) -> Option<u16> {
        demand.ports().find(|port| self.is_taken(*port)).map(|(_, number)| number)
    }

    fn is_taken(&self, (transport, number): Port) -> bool {
        let at_first = match transport {
            Transport::Tcp => self.instance.taken_tcp_ports.contains(&number),
            Transport::Udp => self.instance.taken_udp_ports.contains(&number),
        };
        i32::from(at_first) + self.ports.get(&(transport, number)).copied().unwrap_or(0) > 0
    }

    /// Whether one more such task fits.
    pub fn fits(&self, demand: &Demand<'_>) -> bool {
        let taken = || u32::try_from(self.interfaces.max(0)).unwrap_or(u32::MAX);
        self.has(amounts(&demand.reserves).map(i64::from))
            && (!demand.takes_interface || self.interface_limit.left(taken()) > 0)
            && (!demand.asks_for_ports() || self.taken_port(demand).is_none())
    }

    /// How many more such tasks fit.
    pub fn how_many_fit(&self, demand: &Demand<'_>) -> u32 {
        let mut fitting = if demand.asks_for_ports() { 1 } else { u32::MAX };
        for (free, each) in amounts(&self.free()).into_iter().zip(amounts(&demand.reserves)) {
            fitting = fitting.min(free.checked_div(each).unwrap_or(u32::MAX));
        }
        if fitting > 0 && demand.takes_interface {
            let taken = u32::try_from(self.interfaces.max(0)).unwrap_or(u32::MAX);
            fitting = fitting.min(self.interface_limit.left(taken));
        }
        if fitting > 0 && demand.asks_for_ports() && self.taken_port(demand).is_some() { 0 } else { fitting }
    }

    /// The resource of which the largest part of what is asked is short, that part in thousandths, and how much is short, when
    /// `fitting` more tasks are there already. What there is only one of comes behind all that is counted.
    pub fn short(&self, demand: &Demand<'_>, one_at_most: bool, fitting: u32) -> (u64, Resource, u32) {
        const COUNTED: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Gpu];
        let counted = COUNTED.into_iter().zip(amounts(&demand.reserves).into_iter().zip(amounts(&self.free())));
        let amounts = counted.filter_map(|(resource, (asked, free))| {
            let short = asked.checked_sub(free.saturating_sub(asked.saturating_mul(fitting)))?;
            (short > 0).then(|| (u64::from(short) * 1000 / u64::from(asked), resource, short))
        });
        amounts.max().unwrap_or_else(|| match self.taken_port(demand) {
            Some(taken) => (1001, Resource::Port(taken), 1),
            None if one_at_most => (1002, Resource::Instance, 1),
            None => (1001, Resource::NetworkInterface, 1),
        })
    }

    /// How full it is, in millionths, by the resource that is reserved the most.
    pub fn fullness(&self) -> u64 {
        self.fullness
    }

    /// The instance's figures as ECS would tell them now.
    pub fn figures(&self) -> Figures {
        let ports = |transport: Transport, at_first: &BTreeSet<u16>| {
            if self.ports.is_empty() {
                return at_first.clone();
            }
            let touched = self.ports.keys().filter(|port| port.0 == transport).map(|port| port.1);
            let all: BTreeSet<u16> = at_first.iter().copied().chain(touched).collect();
            all.into_iter().filter(|number| self.is_taken((transport, *number))).collect()
        };
        let registered = amounts(&self.instance.registered);
        let mut free = self.free;
        for (free, registered) in free.iter_mut().zip(registered) {
            *free = (*free).min(registered.into());
        }
        Figures {
            remaining: capacity(free),
            taken_tcp_ports: ports(Transport::Tcp, &self.instance.taken_tcp_ports),
            taken_udp_ports: ports(Transport::Udp, &self.instance.taken_udp_ports),
        }
    }
}

/// What an instance's description says of what is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// CPU, memory and GPUs.
    pub remaining: Capacity,
    /// TCP ports that are taken.
    pub taken_tcp_ports: BTreeSet<u16>,
    /// UDP ports that are taken.
    pub taken_udp_ports: BTreeSet<u16>,
}

fn fullness(instance: &ContainerInstance, [free_cpu, free_memory, _]: [i64; 3]) -> u64 {
    let Capacity { cpu_units, memory_mib, .. } = instance.registered;
    let part = |registered: u32, free: i64| {
        let registered = u64::from(registered);
        let free = u64::try_from(free.max(0)).unwrap_or(u64::MAX).min(registered);
        (registered - free) * 1_000_000 / registered.max(1)
    };
    part(cpu_units, free_cpu).max(part(memory_mib, free_memory))
}

fn amounts(capacity: &Capacity) -> [u32; 3] {
    [capacity.cpu_units, capacity.memory_mib, capacity.gpus]
}

fn capacity(amounts: [i64; 3]) -> Capacity {
    let [cpu_units, memory_mib, gpus] = amounts.map(|amount| u32::try_from(amount.max(0)).unwrap_or(u32::MAX));
    Capacity { cpu_units, memory_mib, gpus }
}

/// The domains that each instance lies in, level by level, as numbers that tell domains apart.
#[derive(Debug)]
pub struct Paths {
    depth: usize,
    /// `depth` numbers for each instance.
    numbers: Vec<u32>,
    /// How many domains there are: the numbers are smaller.
    domains: usize,
}

impl Paths {
    /// Of instances by their numbers.
    pub fn new<'i>(instances: impl Iterator<Item = &'i ContainerInstance>, levels: &Levels) -> Self {
        let mut number_of: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
        let depth = levels.attributes.len() + usize::from(levels.instance);
        let (mut numbers, mut next) = (Vec::new(), 0_u32..);
        for instance in instances {
            let path = levels.path(instance);
            for depth in 1..=path.len() {
                let number = number_of.entry(path[..depth].to_vec()).or_insert_with(|| next.next().unwrap_or(u32::MAX));
                numbers.push(*number);
            }
            numbers.extend(levels.instance.then(|| next.next().unwrap_or(u32::MAX)));
        }
        Self { depth, numbers, domains: next.start as usize }
    }

    /// Of one instance.
    pub fn of(&self, instance: usize) -> &[u32] {
        &self.numbers[instance * self.depth..(instance + 1) * self.depth]
    }
}

/// The usable container instances of a cluster and the tasks of its services, all of them numbered, in the order of their names:
/// instances as in the [`Index`].
///
/// A service's tasks are counted twice: those that hold capacity on an instance, and those that count for the spread. They differ
/// while a task is being replaced: it departs, so that its successor counts in its stead, but holds what it has until it is gone.
#[derive(Clone, Debug)]
pub struct Occupancy<'a> {
    holdings: Vec<Holding<'a>>,
    services: Rc<BTreeMap<&'a ServiceName, usize>>,
    /// Of each service, the tasks that hold capacity on each instance that has any.
    held: Vec<BTreeMap<usize, u32>>,
    spread: Vec<Counts>,
    log: Vec<Change<'a>>,
}

/// Where the tasks of one service are that count for its spread.
#[derive(Clone, Debug, Default)]
struct Counts {
    paths: Option<Rc<Paths>>,
    /// On each instance that has any.
    on: BTreeMap<usize, u32>,
    /// In each domain that has any.
    within: BTreeMap<u32, u32>,
    /// How many domains with so many tasks each domain has at the next level; of those that have any.
    crowds: BTreeMap<(u32, u32), u32>,
}

impl Counts {
    /// Of tasks that are on these instances.
    fn new(paths: Rc<Paths>, on: BTreeMap<usize, u32>) -> Self {
        let mut counts = Self { paths: Some(paths), ..Self::default() };
        for (instance, tasks) in on {
            for _ in 0..tasks {
                counts.count(instance, true);
            }
        }
        counts
    }

    /// A task comes to an instance, or goes; nothing where domains don't matter.
    fn count(&mut self, instance: usize, comes: bool) {
        let Some(paths) = &self.paths else { return };
        count(&mut self.on, instance, comes);
        let path = paths.of(instance);
        for (level, domain) in path.iter().enumerate() {
            let before = self.within.get(domain).copied().unwrap_or(0);
            count(&mut self.within, *domain, comes);
            if let Some(parent) = level.checked_sub(1).map(|above| path[above]) {
                let after = if comes { before + 1 } else { before.saturating_sub(1) };
                for (crowd, is_one_more) in [(before, false), (after, true)].into_iter().filter(|(crowd, _)| *crowd > 0)
                {
                    count(&mut self.crowds, (parent, crowd), is_one_more);
                }
            }
        }
    }
}

/// One change, as it is remembered to be undone.
#[derive(Clone, Copy, Debug)]
struct Change<'a> {
    service: usize,
    instance: usize,
    /// None where capacity stays as it is.
    demand: Option<Demand<'a>>,
    comes: bool,
}

impl<'a> Occupancy<'a> {
    /// A cluster as it was read.
    pub fn read(index: &Index<'a>) -> Self {
        let cluster = index.cluster;
        let numbered = index.instances.iter().enumerate();
        let holdings: Vec<Holding<'a>> =
            numbered.map(|(number, instance)| Holding::read(instance, Some(index.interfaces_on(number)))).collect();
        let services: BTreeMap<&ServiceName, usize> =
            cluster.services.keys().enumerate().map(|(number, name)| (name, number)).collect();
        let mut held = vec![BTreeMap::new(); services.len()];
        for (service, held) in cluster.services.values().zip(&mut held) {
            for instance in index.numbered_tasks_of(service).filter_map(|(_, number)| number) {
                *held.entry(instance).or_default() += 1;
            }
        }
        let spread = vec![Counts::default(); services.len()];
        Self { holdings, services: services.into(), held, spread, log: Vec::new() }
    }

    /// Of each service's tasks of which this is told, those on each instance count for its spread, in the domains of these paths.
    pub fn spread_over(&mut self, service: usize, paths: Rc<Paths>, on: BTreeMap<usize, u32>) {
        self.spread[service] = Counts::new(paths, on);
    }

    /// The instances, by number.
    pub fn holdings(&self) -> &[Holding<'a>] {
        &self.holdings
    }

    /// An instance's number; none where it isn't usable.
    pub fn instance(&self, arn: &ContainerInstanceArn) -> Option<usize> {
        self.holdings.binary_search_by(|holding| holding.instance.arn.cmp(arn)).ok()
    }

    /// A service's number.
    pub fn service(&self, name: &ServiceName) -> Option<usize> {
        self.services.get(name).copied()
    }

    /// How many of a service's tasks hold capacity on an instance.
    pub fn held(&self, service: usize, instance: usize) -> u32 {
        self.held[service].get(&instance).copied().unwrap_or(0)
    }

    /// The instances with tasks that count for a service's spread, and how many.
    pub fn on(&self, service: usize) -> &BTreeMap<usize, u32> {
        &self.spread[service].on
    }

    /// How many of a service's tasks count in a domain.
    pub fn within(&self, service: usize, domain: u32) -> u32 {
        self.spread[service].within.get(&domain).copied().unwrap_or(0)
    }

    /// The same for each domain, by its number: to be asked about many of them.
    pub fn within_each(&self, service: usize) -> Vec<u32> {
        let Counts { paths, within, .. } = &self.spread[service];
        let mut each = vec![0; paths.as_ref().map_or(0, |paths| paths.domains)];
        for (domain, tasks) in within {
            each[*domain as usize] = *tasks;
        }
        each
    }

    /// The most of a service's tasks that any one domain just below this one has.
    pub fn most_below(&self, service: usize, domain: u32) -> u32 {
        self.crowds_below(service, domain).next_back().map_or(0, |(crowd, _)| crowd)
    }

    /// The fewest of a service's tasks that any one of so many domains just below this one has.
    pub fn fewest_below(&self, service: usize, domain: u32, domains: u32) -> u32 {
        let taken: u32 = self.crowds_below(service, domain).map(|(_, domains)| domains).sum();
        if taken < domains { 0 } else { self.crowds_below(service, domain).next().map_or(0, |(crowd, _)| crowd) }
    }

    /// How many domains just below this one have so many of a service's tasks, the fewest first.
    fn crowds_below(&self, service: usize, domain: u32) -> impl DoubleEndedIterator<Item = (u32, u32)> + '_ {
        let crowds = self.spread[service].crowds.range((domain, 0)..=(domain, u32::MAX));
        crowds.map(|((_, crowd), domains)| (*crowd, *domains))
    }

    /// How many more of a service's tasks fit on an instance, which may be told to take one at most.
    pub fn how_many_fit(&self, service: usize, demand: &Demand<'a>, one_at_most: bool, instance: usize) -> u32 {
        if !one_at_most {
            return self.holdings[instance].how_many_fit(demand);
        }
        if self.held(service, instance) > 0 { 0 } else { self.holdings[instance].how_many_fit(demand).min(1) }
    }

    /// Whether one more of a service's tasks fits on an instance, which may be told to take one at most.
    pub fn fits(&self, service: usize, demand: &Demand<'a>, one_at_most: bool, instance: usize) -> bool {
        self.holdings[instance].fits(demand) && !(one_at_most && self.held(service, instance) > 0)
    }

    /// A task comes to an instance.
    pub fn add(&mut self, service: usize, demand: Demand<'a>, instance: usize) {
        self.make(Change { service, instance, demand: Some(demand), comes: true });
    }

    /// A task goes, and gives back what it had: the exact inverse of [`Occupancy::add`].
    pub fn remove(&mut self, service: usize, demand: Demand<'a>, instance: usize) {
        self.make(Change { service, instance, demand: Some(demand), comes: false });
    }

    /// A task is to be replaced: it counts no longer for its service's spread, and holds its capacity still.
    pub fn depart(&mut self, service: usize, instance: usize) {
        self.make(Change { service, instance, demand: None, comes: false });
    }

    /// The exact inverse of [`Occupancy::depart`].
    pub fn come_back(&mut self, service: usize, instance: usize) {
        self.make(Change { service, instance, demand: None, comes: true });
    }

    /// A place in the log of changes, to come back to.
    pub fn mark(&self) -> usize {
        self.log.len()
    }

    /// The instances of all changes since then, one after another.
    pub fn changed_since(&self, mark: usize) -> impl Iterator<Item = usize> + '_ {
        self.log.iter().skip(mark).map(|change| change.instance)
    }

    /// Undoes all changes since then.
    pub fn undo_to(&mut self, mark: usize) {
        while self.log.len() > mark {
            let Some(change) = self.log.pop() else { return };
            self.apply(&Change { comes: !change.comes, ..change });
        }
    }

    fn make(&mut self, change: Change<'a>) {
        self.apply(&change);
        self.log.push(change);
    }

    fn apply(&mut self, change: &Change<'a>) {
        let Change { service, instance, demand, comes } = change;
        if let Some(demand) = demand {
            self.holdings[*instance].change(demand, *comes);
            count(&mut self.held[*service], *instance, *comes);
        }
        self.spread[*service].count(*instance, *comes);
    }
}

/// One more, or one less; nothing where none is left.
pub(in crate::planning) fn count<Key: Ord>(counts: &mut BTreeMap<Key, u32>, key: Key, comes: bool) {
    if comes {
        *counts.entry(key).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
