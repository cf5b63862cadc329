//! The container instances, services and tasks, and the limits: what doesn't change while instances are emptied.

use std::collections::BTreeMap;

use super::{
    largest::{Largest, RESOURCES, largest},
    price::prices,
};
use crate::planning::{
    model::{Capacity, ContainerInstance, ContainerInstanceArn, Task},
    moves::Reviewed,
    placement::{
        Index,
        occupancy::{Demand, Holding},
    },
    policy::Policy,
    relocation::Relocatable,
    steering::may_be_target,
};

/// What doesn't change: instances, services, tasks, limits.
pub(super) struct Problem<'a> {
    pub(super) sites: Vec<Site<'a>>,
    /// The sites without a task but those of daemons.
    pub(super) free: Vec<usize>,
    /// The sites as they were read.
    pub(super) holdings: Vec<Holding<'a>>,
    pub(super) movers: Vec<Mover<'a>>,
    pub(super) items: Vec<Item<'a>>,
    /// The items, those that reserve the least first.
    pub(super) smallest_items_first: Vec<usize>,
    /// How many zones the sites are in.
    pub(super) zones: usize,
    /// Services that ask the most CPU, or the most memory: room for one of each is kept.
    pub(super) largest: Vec<Largest>,
    /// What a CPU unit, a mebibyte and a GPU weigh beside each other: all that is registered of one weighs as much as all of
    /// another.
    pub(super) weights: [u64; 3],
    /// Where a reviewed plan sends each task, if one is followed: no other goes, and none elsewhere.
    pub(super) wished: Option<BTreeMap<usize, usize>>,
    pub(super) headroom_hundredths: u64,
    pub(super) max_moves: usize,
    pub(super) max_services: usize,
    pub(super) providers: Vec<Provider>,
}

/// A usable container instance; all of them have the numbers that they have in the index.
pub(super) struct Site<'a> {
    pub(super) instance: &'a ContainerInstance,
    /// The tasks that may be sent elsewhere.
    pub(super) items: Vec<usize>,
    pub(super) price: i64,
    /// What those of daemons reserve.
    pub(super) daemons: [u64; 2],
    /// Whether it holds tasks that stay.
    pub(super) is_fixed: bool,
    /// Whether tasks may be sent there.
    pub(super) may_be_target: bool,
    pub(super) zone: usize,
    pub(super) class: usize,
    pub(super) provider: Option<usize>,
}

/// A service whose tasks may be sent elsewhere.
pub(super) struct Mover<'a> {
    pub(super) relocatable: Relocatable<'a>,
    pub(super) demand: Demand<'a>,
    /// Whether an instance takes one of its tasks at most.
    pub(super) one_on_each: bool,
    /// Whether each zone keeps its number of tasks.
    pub(super) stays_in_zone: bool,
    /// By class of instances.
    pub(super) admitted: Vec<bool>,
    /// How much one of its tasks reserves, all resources together.
    volume: u64,
}

/// A task that may be sent elsewhere.
pub(super) struct Item<'a> {
    pub(super) mover: usize,
    pub(super) task: &'a Task,
    pub(super) home: usize,
}

/// Where a reviewed plan sends tasks that are still where they were, of services that are as large as they were.
fn wished(reviewed: &Reviewed, sites: &[Site<'_>], movers: &[Mover<'_>], items: &[Item<'_>]) -> BTreeMap<usize, usize> {
    let site_of: BTreeMap<&ContainerInstanceArn, usize> =
        sites.iter().enumerate().map(|(number, site)| (&site.instance.arn, number)).collect();
    let target = |item: &Item<'_>| {
        let service = movers[item.mover].relocatable.service;
        let planned = reviewed.services.get(&service.name)?;
        let a_move = planned.moves.iter().find(|a_move| a_move.task == item.task.arn)?;
        let holds = planned.outdated(service).is_none() && sites[item.home].instance.arn == a_move.from;
        site_of.get(&a_move.to).copied().filter(|_| holds)
    };
    items.iter().enumerate().filter_map(|(number, item)| Some((number, target(item)?))).collect()
}

pub(super) struct Provider {
    pub(super) name: String,
    pub(super) minimum: u32,
}

impl<'a> Problem<'a> {
    pub(super) fn new(index: &Index<'a>, relocatable: Vec<Relocatable<'a>>, policy: &Policy) -> Self {
        let cluster = index.cluster;
        let weights = weights(&index.instances);
        let movers: Vec<Mover<'a>> = relocatable.into_iter().map(|one| Mover::new(index, one, weights)).collect();
        let mover_of: BTreeMap<&str, usize> = movers
            .iter()
            .enumerate()
            .map(|(number, mover)| (mover.relocatable.service.name.as_str(), number))
            .collect();
        let usable = &index.instances;
        let mut providers: Vec<Provider> = Vec::new();
        let mut zone_numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut sites, mut items): (Vec<Site<'a>>, Vec<Item<'a>>) = (Vec::new(), Vec::new());
        for (number, (instance, price)) in usable.iter().copied().zip(prices(usable)).enumerate() {
            let next = zone_numbers.len();
            let zone = *zone_numbers.entry(instance.availability_zone()).or_insert(next);
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
                is_fixed: false,
                may_be_target: if policy.steer { may_be_target(instance) } else { !instance.is_impaired },
                zone,
                class: index.class_of(number),
                provider,
            };
            for task in index.tasks_on_number(number) {
                // One that is where its service may not be any more counts nowhere, so that none is started for it.
                let counts = |mover: usize| movers[mover].relocatable.part.tasks.contains_key(&number);
                match task.service.as_ref().and_then(|name| mover_of.get(name.as_str())) {
                    Some(mover) if !task.is_protected && counts(*mover) => {
                        site.items.push(items.len());
                        items.push(Item { mover: *mover, task, home: number });
                    }
                    None if index.is_daemon(task) => {
                        let definition = cluster.task_definitions.get(&task.task_definition);
                        for (sum, of) in site.daemons.iter_mut().zip(RESOURCES) {
                            *sum += definition.map_or(0, |definition| u64::from(of(&definition.reserves)));
                        }
                    }
                    Some(_) | None => site.is_fixed = true,
                }
            }
            sites.push(site);
        }
        let wished = policy.reviewed.as_ref().map(|reviewed| wished(reviewed, &sites, &movers, &items));
        let mut smallest_items_first: Vec<usize> = (0..items.len()).collect();
        smallest_items_first.sort_by_key(|item| movers[items[*item].mover].volume);
        Self {
            largest: largest(index),
            weights,
            headroom_hundredths: u64::from(policy.headroom.hundredths()),
            max_moves: policy.max_moves as usize,
            max_services: policy.max_services as usize,
            holdings: (0..sites.len()).map(|site| holding(index, site)).collect(),
            free: (0..sites.len()).filter(|site| !sites[*site].is_fixed && sites[*site].items.is_empty()).collect(),
            sites,
            movers,
            items,
            smallest_items_first,
            zones: zone_numbers.len(),
            wished,
            providers,
        }
    }

    /// How much that is, all together.
    pub(super) fn volume(&self, capacity: &Capacity) -> u64 {
        volume(self.weights, capacity)
    }

    /// What a task reserves.
    pub(super) fn volume_of_item(&self, item: usize) -> u64 {
        self.movers[self.items[item].mover].volume
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

fn weights(instances: &[&ContainerInstance]) -> [u64; 3] {
    [RESOURCES[0], RESOURCES[1], |capacity: &Capacity| capacity.gpus].map(|of| {
        let all: u64 = instances.iter().map(|instance| u64::from(of(&instance.registered))).sum();
        (1_u64 << 44).checked_div(all).unwrap_or(0)
    })
}

fn volume(weights: [u64; 3], capacity: &Capacity) -> u64 {
    let amounts = [capacity.cpu_units, capacity.memory_mib, capacity.gpus];
    amounts.iter().zip(weights).map(|(amount, weight)| u64::from(*amount) * weight).sum()
}

fn holding<'a>(index: &Index<'a>, site: usize) -> Holding<'a> {
    Holding::read(index.instances[site], Some(index.interfaces_on(site)))
}

impl<'a> Mover<'a> {
    fn new(index: &Index<'a>, relocatable: Relocatable<'a>, weights: [u64; 3]) -> Self {
        let requirement = &relocatable.part.requirement;
        Self {
            demand: requirement.demand(),
            one_on_each: requirement.limit() == 1,
            stays_in_zone: index.tasks_of(relocatable.service).len() > 1,
            admitted: index.admitted_classes(requirement),
            volume: volume(weights, &requirement.reserves()),
            relocatable,
        }
    }
}
