//! A service whose tasks may move: where they are, and which of their moves leave it as spread as it is.

mod crowds;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::field::Field;
use crate::planning::{
    model::{Capacity, ContainerInstance, Task},
    placement::{
        Index, Levels, are_zones_left_to_ecs,
        occupancy::{Demand, Holding, Occupancy, Paths, count},
    },
    provider_parts::is_placed,
    relocation::{Relocatable, may_go},
};
pub(super) use crowds::Crowds;

/// A service whose tasks may move.
pub(super) struct Mover<'b, 'a> {
    pub(super) relocatable: &'b Relocatable<'a>,
    pub(super) size: Capacity,
    pub(super) moves_left: usize,
    index: &'b Index<'a>,
    /// Its number in the ledger.
    pub(super) service: usize,
    pub(super) demand: Demand<'a>,
    one_at_most: bool,
    paths: Rc<Paths>,
    eligible: Eligible,
    /// ECS evens its zones itself, so each keeps its tasks.
    zones_stay: bool,
    /// How many of those that were there at first may go, on each instance that has any.
    pub(super) movable: BTreeMap<usize, u32>,
    /// The first container instance, from the emptiest on, that a task can go to from an origin, and how full it was; none where
    /// there is none. As long as none of the service's tasks moves, no other becomes one, since what leaves an instance gives no
    /// capacity back: see [`Mover::origin`].
    pub(super) first_takers: BTreeMap<Vec<u32>, Option<(i64, usize)>>,
    /// The container instances that its next task may come to and that lie in the domains with the fewest of its tasks, level by level,
    /// whether they have capacity or not. As long as none of its tasks moves, that holds.
    least_crowded: OnceCell<Vec<usize>>,
    /// See [`Mover::domains_below`].
    domains_below: OnceCell<BTreeMap<u32, u32>>,
    /// See [`Mover::first_domains`].
    first_domains: OnceCell<BTreeSet<u32>>,
}

enum Eligible {
    Classes(Vec<bool>),
    Instances(BTreeSet<usize>),
}

impl<'b, 'a> Mover<'b, 'a> {
    /// Of a service that may be moved. Services that spread over the same levels share their `paths`.
    pub(super) fn new(
        index: &'b Index<'a>,
        occupancy: &mut Occupancy<'a>,
        relocatable: &'b Relocatable<'a>,
        paths: &mut BTreeMap<Levels, Rc<Paths>>,
    ) -> Option<Self> {
        let levels = &relocatable.part.levels;
        let instances = occupancy.holdings().iter().map(Holding::instance);
        let paths = Rc::clone(paths.entry(levels.clone()).or_insert_with(|| Rc::new(Paths::new(instances, levels))));
        let service = occupancy.service(&relocatable.service.name)?;
        let requirement = &relocatable.part.requirement;
        let eligible = if requirement.is_static() {
            Eligible::Classes(index.admitted_classes(requirement))
        } else {
            Eligible::Instances(index.eligible(requirement).into_iter().collect())
        };
        let tasks = relocatable.part.tasks.clone();
        let mut movable = tasks.clone();
        let numbered_tasks = index.numbered_tasks_of(relocatable.service);
        for (_, place) in numbered_tasks.filter(|(task, _)| is_placed(task) && !may_go(task)) {
            if let Some(may_go) = place.and_then(|place| movable.get_mut(&place)) {
                *may_go = may_go.saturating_sub(1);
            }
        }
        movable.retain(|_, may_go| *may_go > 0);
        occupancy.spread_over(service, Rc::clone(&paths), tasks);
        Some(Self {
            relocatable,
            size: relocatable.definition.reserves,
            moves_left: relocatable.max_moves,
            index,
            service,
            demand: requirement.demand(),
            one_at_most: requirement.limit() == 1,
            eligible,
            zones_stay: are_zones_left_to_ecs(relocatable.service),
            movable,
            first_takers: BTreeMap::new(),
            least_crowded: OnceCell::new(),
            domains_below: OnceCell::new(),
            first_domains: OnceCell::new(),
            paths,
        })
    }

    /// Leaves only those of its tasks movable that are among these.
    pub(super) fn restrict(&mut self, is_among: impl Fn(&Task) -> bool) {
        let mut movable = BTreeMap::new();
        for (task, place) in self.index.numbered_tasks_of(self.relocatable.service) {
            if let Some(place) = place.filter(|place| self.movable.contains_key(place))
                && may_go(task)
                && is_among(task)
            {
                *movable.entry(place).or_default() += 1;
            }
        }
        self.movable = movable;
    }

    /// How its tasks are spread now: to be asked about many container instances.
    pub(super) fn crowds<'m>(&'m self, field: &'m Field<'a>, occupancy: &'m Occupancy<'a>) -> Crowds<'m, 'b, 'a> {
        Crowds::new(self, field, occupancy)
    }

    /// What decides about where a task may go from an instance, where instances are told apart: of two with the same, either
    /// both have somewhere to go or neither.
    pub(super) fn origin(&self, occupancy: &Occupancy<'_>, from: usize) -> Option<Vec<u32>> {
        let mut path = self.paths.of(from).to_vec();
        let last = path.last_mut().filter(|_| self.relocatable.part.levels.instance)?;
        *last = occupancy.within(self.service, *last);
        Some(path)
    }

    /// How many domains just below each domain its tasks may be in.
    fn domains_below(&self, field: &Field<'_>) -> &BTreeMap<u32, u32> {
        self.domains_below.get_or_init(|| {
            let eligible = (0..field.instances.len()).filter(|instance| self.may_be_on(field, *instance));
            let paths = eligible.flat_map(|instance| self.paths.of(instance).windows(2));
            let all: BTreeSet<(u32, u32)> = paths.map(|pair| (pair[0], pair[1])).collect();
            let mut domains = BTreeMap::new();
            for (above, _) in all {
                *domains.entry(above).or_default() += 1;
            }
            domains
        })
    }

    /// The domains of the first level that its tasks may be in.
    fn first_domains(&self, field: &Field<'_>) -> &BTreeSet<u32> {
        self.first_domains.get_or_init(|| {
            let first = |instance: usize| self.paths.of(instance)[0];
            let is_by_instance = self.relocatable.part.levels.attributes.is_empty();
            match &self.eligible {
                // All container instances of a class lie in the same domains.
                Eligible::Classes(eligible) if !is_by_instance => {
                    let classes = self.index.classes().iter().zip(eligible).filter(|(_, may_be_on)| **may_be_on);
                    classes.filter_map(|(class, _)| class.first().copied()).map(first).collect()
                }
                _ => (0..field.instances.len()).filter(|it| self.may_be_on(field, *it)).map(first).collect(),
            }
        })
    }

    pub(super) fn may_be_on(&self, field: &Field<'_>, instance: usize) -> bool {
        match &self.eligible {
            Eligible::Classes(classes) => classes[field.class_of[instance]],
            Eligible::Instances(instances) => instances.contains(&instance),
        }
    }

    /// The domain that an instance lies in, instances not told apart.
    pub(super) fn domain_of(&self, instance: usize) -> &[u32] {
        let path = self.paths.of(instance);
        if self.relocatable.part.levels.instance { &path[..path.len() - 1] } else { path }
    }

    /// Whether its service has one task alone.
    pub(super) fn is_only_task(&self) -> bool {
        self.relocatable.is_only_task(self.index)
    }

    /// Whether one more has room there.
    pub(super) fn has_room_on(&self, occupancy: &Occupancy<'a>, instance: usize) -> bool {
        occupancy.fits(self.service, &self.demand, self.one_at_most, instance)
    }

    /// Its tasks that were on an instance at first, oldest first.
    pub(super) fn tasks_on(&self, instance: &ContainerInstance) -> Vec<&'a Task> {
        self.relocatable.tasks_on(self.index, instance)
    }

    /// Moves one of its tasks from one instance to another. What leaves holds its capacity until it is gone: so the moves may be
    /// made in any order.
    pub(super) fn shift(&mut self, occupancy: &mut Occupancy<'a>, from: usize, to: usize) {
        self.moves_left -= 1;
        self.forget();
        count(&mut self.movable, from, false);
        occupancy.depart(self.service, from);
        occupancy.add(self.service, self.demand, to);
    }

    /// What was remembered doesn't hold once one of its tasks has moved.
    fn forget(&mut self) {
        self.first_takers.clear();
        self.least_crowded.take();
    }

    /// One more of its tasks stays on an instance for now.
    pub(super) fn stay(&mut self, occupancy: &mut Occupancy<'a>, on: usize) {
        self.forget();
        occupancy.add(self.service, self.demand, on);
    }

    /// What has moved from an instance is gone, and gives back its capacity there.
    pub(super) fn give_back(&mut self, occupancy: &mut Occupancy<'a>, from: usize) {
        occupancy.come_back(self.service, from);
        occupancy.remove(self.service, self.demand, from);
    }

    /// The ledger was taken back to where so many of its tasks had moved.
    pub(super) fn start_over(&mut self, moves: u32) {
        self.moves_left = self.relocatable.max_moves.saturating_sub(moves as usize);
        self.forget();
    }

    /// Takes that move back.
    pub(super) fn unshift(&mut self, occupancy: &mut Occupancy<'a>, from: usize, to: usize) {
        self.moves_left += 1;
        self.forget();
        count(&mut self.movable, from, true);
        occupancy.remove(self.service, self.demand, to);
        occupancy.come_back(self.service, from);
    }
}
