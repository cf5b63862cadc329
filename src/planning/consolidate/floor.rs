//! The container instances as they are emptied one after another, and what must hold meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Kept,
    largest::{Largest, largest, less},
    price::prices,
};
use crate::planning::{
    model::{Capacity, ContainerInstance, ContainerInstanceArn, SchedulingStrategy, Task},
    ordered::Ordered,
    placement::{Index, network_interfaces_for_tasks},
    policy::Policy,
    relocation::Relocatable,
    reviewed::Reviewed,
};

/// What doesn't change: instances, services, tasks, limits.
pub(super) struct Floor<'a> {
    pub(super) sites: Vec<Site<'a>>,
    pub(super) kinds: Vec<Kind<'a>>,
    pub(super) items: Vec<Item<'a>>,
    /// The sites of each zone.
    zones: Vec<Vec<usize>>,
    all_sites: Vec<usize>,
    /// Kinds that ask the most CPU, or the most memory: room for one of each is kept.
    largest: Vec<Largest>,
    /// What a CPU unit, a mebibyte and a GPU weigh beside each other: all that is registered of one weighs as much as all of
    /// another.
    weights: [u64; 3],
    /// Where a reviewed plan sends each task, if one is followed: no other goes, and none elsewhere.
    pub(super) wished: Option<BTreeMap<usize, usize>>,
    headroom_hundredths: u64,
    max_moves: usize,
    max_services: usize,
    providers: Vec<Provider>,
}

/// A usable container instance.
pub(super) struct Site<'a> {
    pub(super) instance: &'a ContainerInstance,
    /// The tasks that may be sent elsewhere.
    pub(super) items: Vec<usize>,
    pub(super) price: i64,
    /// What those of daemons reserve.
    daemons: [u64; 2],
    /// Its tasks with a network interface of their own.
    interfaces: usize,
    /// Whether it holds tasks that stay.
    is_fixed: bool,
    zone: usize,
    class: usize,
    provider: Option<usize>,
}

/// A service whose tasks may be sent elsewhere.
pub(super) struct Kind<'a> {
    pub(super) relocatable: Relocatable<'a>,
    size: Capacity,
    /// Whether an instance takes one of its tasks at most.
    one_on_each: bool,
    /// Whether each zone keeps its number of tasks.
    stays_in_zone: bool,
    /// By class of instances.
    admitted: Vec<bool>,
}

/// A task that may be sent elsewhere.
pub(super) struct Item<'a> {
    pub(super) kind: usize,
    pub(super) task: &'a Task,
    home: usize,
}

/// Where a reviewed plan sends tasks that are still where they were, of services that are as large as they were.
fn wished(reviewed: &Reviewed, sites: &[Site<'_>], kinds: &[Kind<'_>], items: &[Item<'_>]) -> BTreeMap<usize, usize> {
    let site_of: BTreeMap<&ContainerInstanceArn, usize> =
        sites.iter().enumerate().map(|(number, site)| (&site.instance.arn, number)).collect();
    let target = |item: &Item<'_>| {
        let service = kinds[item.kind].relocatable.service;
        let planned = reviewed.services.get(&service.name)?;
        let a_move = planned.moves.iter().find(|a_move| a_move.task == item.task.arn)?;
        let holds = planned.outdated(service).is_none() && sites[item.home].instance.arn == a_move.from;
        site_of.get(&a_move.to).copied().filter(|_| holds)
    };
    items.iter().enumerate().filter_map(|(number, item)| Some((number, target(item)?))).collect()
}

struct Provider {
    name: String,
    minimum: u32,
}

pub(super) const RESOURCES: [fn(&Capacity) -> u32; 2] = [|capacity| capacity.cpu_units, |capacity| capacity.memory_mib];

impl<'a> Floor<'a> {
    pub(super) fn new(index: &Index<'a>, relocatable: Vec<Relocatable<'a>>, policy: &Policy) -> Self {
        let cluster = index.cluster;
        let kinds: Vec<Kind<'a>> = relocatable.into_iter().map(|one| Kind::new(index, one)).collect();
        let kind_of: BTreeMap<&str, usize> =
            kinds.iter().enumerate().map(|(number, kind)| (kind.relocatable.service.name.as_str(), number)).into_map();
        let usable: Vec<&ContainerInstance> =
            cluster.container_instances.values().map(|it| &**it).filter(|instance| instance.is_usable()).collect();
        let mut providers: Vec<Provider> = Vec::new();
        let mut zone_numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut zones: Vec<Vec<usize>> = Vec::new();
        let (mut sites, mut items): (Vec<Site<'a>>, Vec<Item<'a>>) = (Vec::new(), Vec::new());
        for (number, (instance, price)) in usable.iter().copied().zip(prices(&usable)).enumerate() {
            let next = zones.len();
            let zone = *zone_numbers.entry(instance.availability_zone()).or_insert(next);
            if zone == next {
                zones.push(Vec::new());
            }
            zones[zone].push(number);
            let provider = instance.capacity_provider.as_deref().map(|name| {
                let place = providers.iter().position(|provider| provider.name == name);
                place.unwrap_or_else(|| {
                    let known = cluster.capacity_providers.get(name);
                    let minimum = known.and_then(|provider| provider.minimum_instances).unwrap_or(0);
                    providers.push(Provider { name: name.to_owned(), minimum });
                    providers.len() - 1
                })
            });
            let mut site = Site {
                instance,
                items: Vec::new(),
                price: i64::try_from(price).unwrap_or(i64::MAX / 1_000_000),
                daemons: [0; 2],
                interfaces: 0,
                is_fixed: false,
                zone,
                class: index.class_of(&instance.arn).unwrap_or(usize::MAX),
                provider,
            };
            for task in index.tasks_on(&instance.arn) {
                site.interfaces += usize::from(!task.addresses.is_empty());
                let service = task.service.as_ref().and_then(|name| cluster.services.get(name));
                if service.is_some_and(|service| service.scheduling_strategy == SchedulingStrategy::Daemon) {
                    let definition = cluster.task_definitions.get(&task.task_definition);
                    for (sum, of) in site.daemons.iter_mut().zip(RESOURCES) {
                        *sum += definition.map_or(0, |definition| u64::from(of(&definition.reserves)));
                    }
                    continue;
                }
                match service.and_then(|service| kind_of.get(service.name.as_str())) {
                    Some(kind) => {
                        site.items.push(items.len());
                        items.push(Item { kind: *kind, task, home: number });
                    }
                    None => site.is_fixed = true,
                }
            }
            sites.push(site);
        }
        let all_sites = (0..sites.len()).collect();
        let wished = policy.reviewed.as_ref().map(|reviewed| wished(reviewed, &sites, &kinds, &items));
        let weight = |of: fn(&Capacity) -> u32| {
            let all: u64 = usable.iter().map(|instance| u64::from(of(&instance.registered))).sum();
            (1_u64 << 44).checked_div(all).unwrap_or(0)
        };
        Self {
            largest: largest(index),
            weights: [weight(RESOURCES[0]), weight(RESOURCES[1]), weight(|capacity| capacity.gpus)],
            headroom_hundredths: u64::from(policy.headroom.hundredths()),
            max_moves: policy.max_moves as usize,
            max_services: policy.max_services as usize,
            sites,
            kinds,
            items,
            zones,
            all_sites,
            wished,
            providers,
        }
    }

    /// How much that is, all together.
    fn volume(&self, capacity: &Capacity) -> u64 {
        let amounts = [capacity.cpu_units, capacity.memory_mib, capacity.gpus];
        amounts.iter().zip(self.weights).map(|(amount, weight)| u64::from(*amount) * weight).sum()
    }

    /// What a task reserves.
    pub(super) fn volume_of_item(&self, item: usize) -> u64 {
        self.volume(&self.kinds[self.items[item].kind].size)
    }

    /// What an instance registers.
    pub(super) fn volume_of_site(&self, site: usize) -> u64 {
        self.volume(&self.sites[site].instance.registered)
    }

    /// Whether a site may be emptied at all.
    pub(super) fn can_empty(&self, site: usize) -> bool {
        !self.sites[site].is_fixed && !self.sites[site].items.is_empty()
    }

    /// Whether all of its tasks are to go, as far as a reviewed plan is followed.
    pub(super) fn is_wished(&self, site: usize) -> bool {
        self.wished.as_ref().is_none_or(|wished| self.sites[site].items.iter().all(|item| wished.contains_key(item)))
    }

    /// Sites that are alike share this.
    pub(super) fn likeness(&self, site: usize) -> (usize, usize) {
        (self.sites[site].zone, self.sites[site].class)
    }
}

impl<'a> Kind<'a> {
    fn new(index: &Index<'a>, relocatable: Relocatable<'a>) -> Self {
        let requirement = &relocatable.part.requirement;
        Self {
            size: relocatable.definition.reserves,
            one_on_each: requirement.limit() == 1,
            stays_in_zone: index.tasks_of(relocatable.service).len() > 1,
            admitted: index.admitted_classes(requirement),
            relocatable,
        }
    }
}

/// How far the emptying is.
#[derive(Clone)]
pub(super) struct State<'f, 'a> {
    pub(super) floor: &'f Floor<'a>,
    /// Whether it holds tasks, and so stays, as far as was decided.
    is_open: Vec<bool>,
    /// What is left. What leaves is not given back.
    free: Vec<Capacity>,
    /// Tasks that are to come.
    guests: Vec<Vec<usize>>,
    target: Vec<Option<usize>>,
    emptied: Vec<usize>,
    opened: usize,
    /// Of open sites: what they register, and what of it is reserved.
    registered: [u64; 2],
    reserved: [u64; 2],
    /// Of each provider, the open sites.
    open_of_provider: Vec<u32>,
    moves_of_kind: Vec<usize>,
    moves: usize,
    /// Of those that come free, less those that are free and stay no longer so.
    price: i64,
    /// For each of the largest tasks, the site on which room for it is kept.
    kept_for: Vec<Option<usize>>,
    /// How many sites were looked at, to bound the search.
    pub(super) probes: u64,
}

impl<'f, 'a> State<'f, 'a> {
    pub(super) fn new(floor: &'f Floor<'a>) -> Self {
        let is_open: Vec<bool> = floor.sites.iter().map(|site| site.is_fixed || !site.items.is_empty()).collect();
        let mut state = Self {
            floor,
            is_open,
            free: floor.sites.iter().map(|site| site.instance.remaining).collect(),
            guests: vec![Vec::new(); floor.sites.len()],
            target: vec![None; floor.items.len()],
            emptied: Vec::new(),
            opened: 0,
            registered: [0; 2],
            reserved: [0; 2],
            open_of_provider: vec![0; floor.providers.len()],
            moves_of_kind: vec![0; floor.kinds.len()],
            moves: 0,
            price: 0,
            kept_for: Vec::new(),
            probes: 0,
        };
        for site in (0..floor.sites.len()).filter(|site| state.is_open[*site]).collect::<Vec<_>>() {
            state.count_in(site, reserved(floor.sites[site].instance));
        }
        state.kept_for = floor.largest.iter().map(|largest| state.room_for(largest, None)).collect();
        state
    }

    /// How good it is: instances freed, their price, moves saved.
    pub(super) fn worth(&self) -> (usize, i64, std::cmp::Reverse<usize>) {
        (self.freed(), self.price, std::cmp::Reverse(self.moves))
    }

    /// Instances emptied, less those that were free and are no longer.
    pub(super) fn freed(&self) -> usize {
        self.emptied.len().saturating_sub(self.opened)
    }

    /// Those that were free and are to hold tasks.
    pub(super) fn opened_sites(&self) -> Vec<usize> {
        if self.opened == 0 {
            return Vec::new();
        }
        self.open_sites().filter(|site| self.was_empty(*site)).collect()
    }

    pub(super) fn was_empty(&self, site: usize) -> bool {
        !self.floor.sites[site].is_fixed && self.floor.sites[site].items.is_empty()
    }

    pub(super) fn moves(&self) -> usize {
        self.moves
    }

    pub(super) fn emptied(&self) -> &[usize] {
        &self.emptied
    }

    pub(super) fn open_sites(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.floor.sites.len()).filter(|site| self.is_open[*site])
    }

    pub(super) fn closed_sites(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.floor.sites.len()).filter(|site| !self.is_open[*site])
    }

    pub(super) fn target_of(&self, item: usize) -> Option<usize> {
        self.target[item]
    }

    /// Where the tasks that are to come to a site are now, in order.
    pub(super) fn homes_of_guests(&self, site: usize) -> Vec<usize> {
        let mut homes: Vec<usize> = self.guests[site].iter().map(|item| self.floor.items[*item].home).collect();
        homes.sort_unstable();
        homes
    }

    pub(super) fn holds(&self, site: usize) -> usize {
        self.floor.sites[site].items.len() + self.guests[site].len()
    }

    fn count_in(&mut self, site: usize, reserved: [u64; 2]) {
        let registered = registered(self.floor.sites[site].instance);
        for kind in 0..2 {
            self.registered[kind] += registered[kind];
            self.reserved[kind] += reserved[kind];
        }
        if let Some(provider) = self.floor.sites[site].provider {
            self.open_of_provider[provider] += 1;
        }
    }

    /// Makes a site one of those that stay, though it is free or was to come free. What left it stays away.
    pub(super) fn open(&mut self, site: usize) {
        let it = &self.floor.sites[site];
        if self.was_empty(site) {
            self.count_in(site, reserved(it.instance));
            self.opened += 1;
        } else {
            self.count_in(site, it.daemons);
            self.emptied.retain(|emptied| *emptied != site);
        }
        self.price -= it.price;
        self.is_open[site] = true;
        for (number, largest) in self.floor.largest.iter().enumerate() {
            if self.kept_for[number].is_none() {
                self.kept_for[number] = self.room_for(largest, None);
            }
        }
    }

    /// Takes back that a site is emptied.
    pub(super) fn restore(&mut self, site: usize) {
        self.open(site);
        for item in &self.floor.sites[site].items {
            self.send(*item, None);
        }
    }

    /// Sends all tasks of a site elsewhere; if that can't be, nothing is changed, and the reason is told.
    pub(super) fn empty(&mut self, site: usize) -> Result<(), Kept> {
        let floor = self.floor;
        let it = &floor.sites[site];
        if it.is_fixed {
            return Err(Kept::FixedTasks);
        }
        if !floor.is_wished(site) {
            return Err(Kept::NotInPlan);
        }
        self.check_minimum(site)?;
        self.check_headroom(site)?;
        let mut leaving: Vec<usize> = it
            .items
            .iter()
            .copied()
            .filter(|item| self.target[*item].is_none())
            .chain(self.guests[site].clone())
            .collect();
        self.check_limits(site, &leaving)?;
        leaving.sort_unstable_by_key(|item| (std::cmp::Reverse(floor.volume_of_item(*item)), *item));
        self.is_open[site] = false;
        let kept_for = self.kept_for.clone();
        for (number, largest) in floor.largest.iter().enumerate() {
            if self.kept_for[number].is_none_or(|kept| kept == site) {
                self.kept_for[number] = self.room_for(largest, Some(site));
            }
        }
        let mut placed: Vec<(usize, Option<usize>)> = Vec::new();
        let mut why = if self.kept_for.contains(&None) { Err(Kept::LargestTask) } else { Ok(()) };
        for item in leaving {
            let Some(to) = self.best_target(item) else {
                why = Err(Kept::NoRoom);
                break;
            };
            if why.is_err() {
                break;
            }
            placed.push((item, self.target[item]));
            self.send(item, Some(to));
        }
        if why.is_err() {
            for (item, before) in placed.into_iter().rev() {
                self.send(item, before);
            }
            self.is_open[site] = true;
            self.kept_for = kept_for;
            return why;
        }
        let (registered, reserved) = (registered(it.instance), self.stays_on(site));
        for kind in 0..2 {
            self.registered[kind] -= registered[kind];
            self.reserved[kind] = self.reserved[kind].saturating_sub(reserved[kind]);
        }
        if let Some(provider) = it.provider {
            self.open_of_provider[provider] -= 1;
        }
        if self.was_empty(site) {
            self.opened -= 1;
        } else {
            self.emptied.push(site);
        }
        self.price += it.price;
        Ok(())
    }

    /// Its group keeps so many instances anyway: of those that are free already too.
    fn check_minimum(&self, site: usize) -> Result<(), Kept> {
        let Some(number) = self.floor.sites[site].provider else { return Ok(()) };
        let provider = &self.floor.providers[number];
        if self.open_of_provider[number] > provider.minimum {
            return Ok(());
        }
        Err(Kept::Minimum(provider.name.clone(), provider.minimum))
    }

    fn check_headroom(&self, site: usize) -> Result<(), Kept> {
        if self.open_sites().nth(1).is_none() {
            return Err(Kept::NoRoom);
        }
        let (registered, stays) = (registered(self.floor.sites[site].instance), self.stays_on(site));
        let used = 10_000_u64.saturating_sub(self.floor.headroom_hundredths);
        let keeps = |kind: usize| {
            let reserved = self.reserved[kind].saturating_sub(stays[kind]);
            u128::from(reserved) * 10_000 <= u128::from(self.registered[kind] - registered[kind]) * u128::from(used)
        };
        if keeps(0) && keeps(1) { Ok(()) } else { Err(Kept::Headroom) }
    }

    fn check_limits(&self, site: usize, leaving: &[usize]) -> Result<(), Kept> {
        let floor = self.floor;
        let mut more: BTreeMap<usize, usize> = BTreeMap::new();
        for item in leaving.iter().filter(|item| floor.items[**item].home == site) {
            *more.entry(floor.items[*item].kind).or_default() += 1;
        }
        if self.moves + more.values().sum::<usize>() > floor.max_moves {
            return Err(Kept::MaxMoves);
        }
        if more.iter().any(|(kind, more)| self.moves_of_kind[*kind] + more > floor.kinds[*kind].relocatable.max_moves) {
            return Err(Kept::MaxMoves);
        }
        let changed = self.moves_of_kind.iter().filter(|moves| **moves > 0).count();
        let new = more.keys().filter(|kind| self.moves_of_kind[**kind] == 0).count();
        if changed + new > floor.max_services { Err(Kept::MaxServices) } else { Ok(()) }
    }

    /// The open site that an item fills up the most.
    fn best_target(&mut self, item: usize) -> Option<usize> {
        let floor = self.floor;
        let Item { kind, home, .. } = &floor.items[item];
        let size = &floor.kinds[*kind].size;
        let sites =
            if floor.kinds[*kind].stays_in_zone { &floor.zones[floor.sites[*home].zone] } else { &floor.all_sites };
        self.probes += sites.len() as u64;
        let mut best: Option<(u64, usize)> = None;
        let wished = floor.wished.as_ref().map(|wished| wished.get(&item).copied());
        let is_wished = |site: &usize| wished.is_none_or(|wished| wished == Some(*site) || site == home);
        for site in sites.iter().copied().filter(|site| self.is_open[*site] && is_wished(site)) {
            if site == *home {
                return Some(site);
            }
            let free = &self.free[site];
            if !free.holds(size) {
                continue;
            }
            let left = less(free, size);
            let volume = floor.volume(&left);
            if best.is_none_or(|(least, _)| volume < least) && self.admits(site, *kind) && self.keeps_room(site, &left)
            {
                best = Some((volume, site));
            }
        }
        best.map(|(_, site)| site)
    }

    /// Whether a task of this kind may go there, as far as that is not about amounts.
    fn admits(&self, site: usize, kind: usize) -> bool {
        let floor = self.floor;
        let (it, kind_of_task) = (&floor.sites[site], &floor.kinds[kind]);
        if !kind_of_task.admitted.get(it.class).is_some_and(|is_admitted| *is_admitted) {
            return false;
        }
        let guests = || self.guests[site].iter().map(|item| floor.items[*item].kind);
        if kind_of_task.one_on_each {
            let has_one = kind_of_task.relocatable.part.tasks.contains_key(&it.instance.arn);
            if has_one || guests().any(|guest| guest == kind) {
                return false;
            }
        }
        let definition = kind_of_task.relocatable.definition;
        if kind_of_task.relocatable.part.requirement.taken_port(it.instance).is_some() {
            return false;
        }
        let clashes = |guest: usize| {
            let other = floor.kinds[guest].relocatable.definition;
            let share = |one: &BTreeSet<u16>, other: &BTreeSet<u16>| !one.is_disjoint(other);
            share(&definition.tcp_host_ports, &other.tcp_host_ports)
                || share(&definition.udp_host_ports, &other.udp_host_ports)
        };
        if guests().any(clashes) {
            return false;
        }
        if !definition.takes_network_interface {
            return true;
        }
        let Some(limit) = network_interfaces_for_tasks(it.instance) else { return true };
        let coming =
            guests().filter(|guest| floor.kinds[*guest].relocatable.definition.takes_network_interface).count();
        limit as usize > it.interfaces + coming
    }

    /// Points an item at a site; at none, or its home, where it stays.
    fn send(&mut self, item: usize, to: Option<usize>) {
        let floor = self.floor;
        let Item { kind, home, .. } = &floor.items[item];
        let size = &floor.kinds[*kind].size;
        if let Some(before) = self.target[item].take() {
            self.guests[before].retain(|guest| *guest != item);
            let free = &mut self.free[before];
            *free = Capacity {
                cpu_units: free.cpu_units + size.cpu_units,
                memory_mib: free.memory_mib + size.memory_mib,
                gpus: free.gpus + size.gpus,
            };
            self.moves -= 1;
            self.moves_of_kind[*kind] -= 1;
        }
        let Some(to) = to.filter(|to| to != home) else { return };
        self.free[to] = less(&self.free[to], size);
        self.guests[to].push(item);
        self.target[item] = Some(to);
        self.moves += 1;
        self.moves_of_kind[*kind] += 1;
    }

    /// What is reserved on a site by what doesn't leave it.
    fn stays_on(&self, site: usize) -> [u64; 2] {
        let it = &self.floor.sites[site];
        if self.was_empty(site) { reserved(it.instance) } else { it.daemons }
    }

    /// Whether what is left there is enough for what room is kept for.
    fn keeps_room(&self, site: usize, left: &Capacity) -> bool {
        let kept = self.kept_for.iter().zip(&self.floor.largest);
        kept.filter(|(kept, _)| **kept == Some(site)).all(|(_, largest)| left.holds(&largest.size))
    }

    /// The open site, other than `not`, that has room for the largest task and the least beyond.
    fn room_for(&self, largest: &Largest, not: Option<usize>) -> Option<usize> {
        let admits = |site: &usize| {
            let class = self.floor.sites[*site].class;
            Some(*site) != not
                && largest.admitted.get(class).is_some_and(|is_admitted| *is_admitted)
                && self.free[*site].holds(&largest.size)
        };
        self.open_sites().filter(admits).min_by_key(|site| self.floor.volume(&self.free[*site]))
    }
}

fn registered(instance: &ContainerInstance) -> [u64; 2] {
    RESOURCES.map(|of| u64::from(of(&instance.registered)))
}

fn reserved(instance: &ContainerInstance) -> [u64; 2] {
    RESOURCES.map(|of| u64::from(of(&instance.registered).saturating_sub(of(&instance.remaining))))
}
