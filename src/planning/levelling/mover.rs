//! A service whose tasks may move: where they are, and which of their moves leave it as spread as it is.

use std::{
    cell::OnceCell,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::field::Field;
use crate::planning::{
    model::{Capacity, ContainerInstance, PlacementStrategy, Task},
    placement::{
        Index, Levels,
        occupancy::{Demand, Holding, Occupancy, Paths, count},
    },
    provider_parts::is_placed,
    relocation::{Relocatable, may_go},
};

/// Looks begin that far apart, at instances that have nothing to do with each other.
const STRIDE: usize = 2_654_435_761;

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
    pub(super) first_takers: BTreeMap<Vec<u32>, Option<(i128, usize)>>,
    /// See [`Mover::domains_below`].
    domains_below: OnceCell<BTreeMap<u32, u32>>,
    /// The domains of the first level that its tasks may be in.
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
            zones_stay: relocatable.service.availability_zone_rebalancing && levels.begin_with_zones(),
            movable,
            first_takers: BTreeMap::new(),
            domains_below: OnceCell::new(),
            first_domains: OnceCell::new(),
            paths,
        })
    }

    /// Whether one of its tasks may go from one instance to another as far as its spread goes: it gets no worse.
    ///
    /// At the first level at which the two lie in different domains the one that gives must have more. Below it, it must be one
    /// of the fullest that gives, and one of the emptiest that takes.
    pub(super) fn keeps_spread(&self, field: &Field<'_>, occupancy: &Occupancy<'_>, from: usize, to: usize) -> bool {
        let (source, target) = (self.paths.of(from), self.paths.of(to));
        let Some(level) = source.iter().zip(target).position(|(one, other)| one != other) else { return true };
        let crowd = |domain: u32| occupancy.within(self.service, domain);
        if crowd(source[level]) <= crowd(target[level]) || (level == 0 && self.zones_stay) {
            return false;
        }
        (level + 1..source.len())
            .all(|level| self.is_fullest(occupancy, source, level) && self.is_emptiest(field, occupancy, target, level))
    }

    /// What decides about where a task may go from an instance, where instances are told apart: of two with the same, either
    /// both have somewhere to go or neither.
    pub(super) fn origin(&self, occupancy: &Occupancy<'_>, from: usize) -> Option<Vec<u32>> {
        let mut path = self.paths.of(from).to_vec();
        let last = path.last_mut().filter(|_| self.relocatable.part.levels.instance)?;
        *last = occupancy.within(self.service, *last);
        Some(path)
    }

    fn is_fullest(&self, occupancy: &Occupancy<'_>, path: &[u32], level: usize) -> bool {
        occupancy.within(self.service, path[level]) >= occupancy.most_below(self.service, path[level - 1])
    }

    fn is_emptiest(&self, field: &Field<'_>, occupancy: &Occupancy<'_>, path: &[u32], level: usize) -> bool {
        let crowd = occupancy.within(self.service, path[level]);
        // A domain that is full counts as one that isn't.
        crowd == 0 || {
            let domains = self.domains_below(field).get(&path[level - 1]).copied().unwrap_or(0);
            crowd <= occupancy.fewest_below(self.service, path[level - 1], domains)
        }
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

    pub(super) fn may_be_on(&self, field: &Field<'_>, instance: usize) -> bool {
        match &self.eligible {
            Eligible::Classes(classes) => classes[field.class_of[instance]],
            Eligible::Instances(instances) => instances.contains(&instance),
        }
    }

    /// The container instances on which ECS may place the next task, by its documented rules: of those that may take one and have
    /// capacity, those in the domains with the fewest tasks of the service, level by level. Where the strategy goes on with
    /// `binpack`, the fullest of these. Which of them ECS takes is not documented.
    pub(super) fn next_places(&self, field: &Field<'_>, occupancy: &Occupancy<'a>) -> Vec<usize> {
        self.some_next_places(field, occupancy, usize::MAX)
    }

    /// So many of these, or all where there are fewer. It is by chance which: a look begins at another instance for each service, and
    /// for each of its moves.
    pub(super) fn some_next_places(&self, field: &Field<'_>, occupancy: &Occupancy<'a>, most: usize) -> Vec<usize> {
        let packed_by = self.relocatable.service.placement_strategy.iter().find_map(|entry| match entry {
            PlacementStrategy::Binpack(field) => Some(field.as_str()),
            _ => None,
        });
        let packed_by = packed_by.filter(|_| !self.relocatable.part.levels.instance);
        let most = if packed_by.is_some() { usize::MAX } else { most };
        let mut places = self.least_crowded(field, occupancy, most);
        if let Some(packed_by) = packed_by {
            let free = |place: &usize| {
                let free = occupancy.holdings()[*place].free();
                if packed_by.eq_ignore_ascii_case("cpu") { free.cpu_units } else { free.memory_mib }
            };
            let least = places.iter().map(free).min();
            places.retain(|place| Some(free(place)) == least);
        }
        places
    }

    /// So many instances that may take one more task, have capacity for it, and lie in the domains with the fewest tasks of the
    /// service, level by level.
    fn least_crowded(&self, field: &Field<'_>, occupancy: &Occupancy<'a>, most: usize) -> Vec<usize> {
        let (mut places, mut crowds) = (Vec::new(), Vec::new());
        let is_asked_for_some = most < usize::MAX;
        let fewest = is_asked_for_some.then(|| self.fewest_conceivable(field, occupancy));
        let number = field.instances.len();
        let moved = self.relocatable.max_moves - self.moves_left;
        let first = (self.service + moved).wrapping_mul(STRIDE) % number.max(1);
        let (before, from_there) = field.mixed.split_at(first);
        let in_turn: &mut dyn Iterator<Item = usize> =
            if is_asked_for_some { &mut from_there.iter().chain(before).copied() } else { &mut (0..number) };
        let within = occupancy.within_each(self.service);
        let crowds_at = |place: usize| self.paths.of(place).iter().map(|domain| within[*domain as usize]);
        for place in in_turn {
            // How crowded a place is rules out the most, and is told the quickest.
            let order = if places.is_empty() { Ordering::Less } else { crowds_at(place).cmp(crowds.iter().copied()) };
            if order.is_gt() || !self.may_be_on(field, place) || !self.has_room_on(occupancy, place) {
                continue;
            }
            if order.is_lt() {
                places.clear();
                crowds = crowds_at(place).collect();
            }
            places.push(place);
            if places.len() >= most && fewest.as_ref() == Some(&crowds) {
                break;
            }
        }
        places
    }

    /// No instance lies in domains with fewer tasks of the service than these, level by level.
    fn fewest_conceivable(&self, field: &Field<'_>, occupancy: &Occupancy<'a>) -> Vec<u32> {
        let Some(depth) = (!field.instances.is_empty()).then(|| self.paths.of(0).len()) else { return Vec::new() };
        let mut fewest = vec![0; depth];
        if let Some(first) = fewest.first_mut() {
            let domains = self.first_domains.get_or_init(|| {
                let eligible = (0..field.instances.len()).filter(|instance| self.may_be_on(field, *instance));
                eligible.map(|instance| self.paths.of(instance)[0]).collect()
            });
            *first = domains.iter().map(|domain| occupancy.within(self.service, *domain)).min().unwrap_or(0);
        }
        fewest
    }

    /// How many of its tasks are in the domains around a place, level by level.
    fn crowds<'c>(&'c self, occupancy: &'c Occupancy<'a>, place: usize) -> impl Iterator<Item = u32> + 'c {
        self.paths.of(place).iter().map(|domain| occupancy.within(self.service, *domain))
    }

    /// Whether as many of its tasks are on one instance, and in the domains around it, as on another and around that.
    pub(super) fn is_as_crowded(&self, occupancy: &Occupancy<'a>, one: usize, other: usize) -> bool {
        self.crowds(occupancy, one).eq(self.crowds(occupancy, other))
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
        self.first_takers.clear();
        count(&mut self.movable, from, false);
        occupancy.depart(self.service, from);
        occupancy.add(self.service, self.demand, to);
    }

    /// One more of its tasks stays on an instance for now.
    pub(super) fn stay(&mut self, occupancy: &mut Occupancy<'a>, on: usize) {
        self.first_takers.clear();
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
        self.first_takers.clear();
    }

    /// Takes that move back.
    pub(super) fn unshift(&mut self, occupancy: &mut Occupancy<'a>, from: usize, to: usize) {
        self.moves_left += 1;
        self.first_takers.clear();
        count(&mut self.movable, from, true);
        occupancy.remove(self.service, self.demand, to);
        occupancy.come_back(self.service, from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        policy::{Percent, Policy},
        relocation::relocatable,
        testing::{NOW, cluster},
    };

    proptest! {
        #[test]
        fn the_next_task_may_come_where_the_fewest_are_and_some_of_these_places_are_among_them(
            drawing in crate::planning::planner::tests::drawing(),
            moves in proptest::collection::vec((0..100_usize, 0..100_usize, 0..100_usize), 1..20),
        ) {
            let cluster = cluster(&drawing);
            let index = Index::new(&cluster);
            let services = relocatable(&index, &Policy::default(), NOW);
            let (mut occupancy, mut paths) = (Occupancy::read(&index), BTreeMap::new());
            let field = Field::new(&index, Percent::from_hundredths(1_000));
            let mut movers: Vec<Mover<'_, '_>> =
                services.iter().filter_map(|it| Mover::new(&index, &mut occupancy, it, &mut paths)).collect();
            for (mover, from, to) in moves {
                for mover in &movers {
                    let may_come = |place: &usize| {
                        mover.may_be_on(&field, *place) && mover.has_room_on(&occupancy, *place)
                    };
                    let crowds = |place: &usize| mover.crowds(&occupancy, *place).collect::<Vec<_>>();
                    let all: Vec<usize> = (0..field.instances.len()).filter(may_come).collect();
                    let fewest = all.iter().map(crowds).min();
                    let of_these: Vec<usize> =
                        all.into_iter().filter(|place| Some(crowds(place)) == fewest).collect();
                    prop_assert_eq!(&mover.least_crowded(&field, &occupancy, usize::MAX), &of_these);
                    for most in 1..3 {
                        let some = mover.least_crowded(&field, &occupancy, most);
                        prop_assert!(some.iter().all(|place| of_these.contains(place)), "{:?} of {:?}", some, of_these);
                        prop_assert!(some.len() >= most.min(of_these.len()), "{:?} of {:?}", some, of_these);
                    }
                }
                let number = mover % movers.len().max(1);
                let Some(mover) = movers.get_mut(number) else { break };
                let origins: Vec<usize> = mover.movable.keys().copied().collect();
                let places = mover.next_places(&field, &occupancy);
                if origins.is_empty() || places.is_empty() || mover.moves_left == 0 {
                    continue;
                }
                mover.shift(&mut occupancy, origins[from % origins.len()], places[to % places.len()]);
            }
        }
    }
}
