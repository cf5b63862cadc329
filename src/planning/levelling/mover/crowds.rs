//! How a service's tasks are spread now: where the next one may come, and which of its moves leave it as spread as it is.
//!
//! An example, spread over zones and then container instances, `a: 2 1`, `b: 1 0`: the next task may come to the second instance of
//! zone b. A task of the first instance may go there as well, since zone a has more tasks than zone b and no instance of it has more
//! than that one. None may go from zone b to zone a.

use std::cmp::Ordering;

use super::Mover;
use crate::planning::{levelling::field::Field, model::PlacementStrategy, placement::occupancy::Occupancy};

/// Looks begin that far apart, at instances that have nothing to do with each other.
const STRIDE: usize = 2_654_435_761;

/// A service's tasks in each domain, laid side by side.
pub(in crate::planning::levelling) struct Crowds<'m, 'b, 'a> {
    pub(in crate::planning::levelling) mover: &'m Mover<'b, 'a>,
    field: &'m Field<'a>,
    occupancy: &'m Occupancy<'a>,
    /// By the number of a domain.
    within: Vec<u32>,
}

impl<'m, 'b, 'a> Crowds<'m, 'b, 'a> {
    pub(super) fn new(mover: &'m Mover<'b, 'a>, field: &'m Field<'a>, occupancy: &'m Occupancy<'a>) -> Self {
        Self { mover, field, occupancy, within: occupancy.within_each(mover.service) }
    }

    /// How many tasks are in the domains around a place, level by level.
    fn around(&self, place: usize) -> impl Iterator<Item = u32> + '_ {
        self.mover.paths.of(place).iter().map(|domain| self.within[*domain as usize])
    }

    /// Whether as many tasks are on one instance, and in the domains around it, as on another and around that.
    pub(in crate::planning::levelling) fn are_alike(&self, one: usize, other: usize) -> bool {
        self.around(one).eq(self.around(other))
    }

    /// Whether one more task may come to an instance, and fits there.
    pub(in crate::planning::levelling) fn may_come(&self, to: usize) -> bool {
        self.mover.may_be_on(self.field, to) && self.mover.has_room_on(self.occupancy, to)
    }

    /// Whether a task may go from one instance to another, and fits there.
    pub(in crate::planning::levelling) fn is_open(&self, from: usize, to: usize) -> bool {
        to != from && self.keep_spread(from, to) && self.may_come(to)
    }

    /// Whether a task may go from one instance to another as far as its spread goes: it gets no worse.
    ///
    /// At the first level at which the two lie in different domains the one that gives must have more. Below it, it must be one
    /// of the fullest that gives, and one of the emptiest that takes.
    pub(in crate::planning::levelling) fn keep_spread(&self, from: usize, to: usize) -> bool {
        let (source, target) = (self.mover.paths.of(from), self.mover.paths.of(to));
        let Some(level) = source.iter().zip(target).position(|(one, other)| one != other) else { return true };
        let crowd = |domain: u32| self.within[domain as usize];
        if crowd(source[level]) <= crowd(target[level]) || (level == 0 && self.mover.zones_stay) {
            return false;
        }
        (level + 1..source.len()).all(|level| self.is_emptiest(target, level) && self.is_fullest(source, level))
    }

    fn is_fullest(&self, path: &[u32], level: usize) -> bool {
        self.within[path[level] as usize] >= self.occupancy.most_below(self.mover.service, path[level - 1])
    }

    fn is_emptiest(&self, path: &[u32], level: usize) -> bool {
        let crowd = self.within[path[level] as usize];
        // A domain that is full counts as one that isn't.
        crowd == 0 || {
            let domains = self.mover.domains_below(self.field).get(&path[level - 1]).copied().unwrap_or(0);
            crowd <= self.occupancy.fewest_below(self.mover.service, path[level - 1], domains)
        }
    }

    /// The container instances on which ECS may place the next task, by its documented rules: of those that may take one and have
    /// capacity, those in the domains with the fewest tasks of the service, level by level. Where the strategy goes on with
    /// `binpack`, the fullest of these. Which of them ECS takes is not documented.
    pub(in crate::planning::levelling) fn next_places(&self) -> Vec<usize> {
        self.some_next_places(usize::MAX)
    }

    /// So many of these, or all where there are fewer. It is by chance which: a look begins at another instance for each service, and
    /// for each of its moves.
    pub(in crate::planning::levelling) fn some_next_places(&self, most: usize) -> Vec<usize> {
        let Mover { relocatable, .. } = self.mover;
        let packed_by = relocatable.service.placement_strategy.iter().find_map(|entry| match entry {
            PlacementStrategy::Binpack(field) => Some(field.as_str()),
            _ => None,
        });
        let packed_by = packed_by.filter(|_| !relocatable.part.levels.instance);
        let most = if packed_by.is_some() { usize::MAX } else { most };
        let mut places = self.least_crowded(most);
        if let Some(packed_by) = packed_by {
            let free = |place: &usize| {
                let free = self.occupancy.holdings()[*place].free();
                if packed_by.eq_ignore_ascii_case("cpu") { free.cpu_units } else { free.memory_mib }
            };
            let least = places.iter().map(free).min();
            places.retain(|place| Some(free(place)) == least);
        }
        places
    }

    /// So many instances that may take one more task, have capacity for it, and lie in the domains with the fewest tasks of the
    /// service, level by level.
    fn least_crowded(&self, most: usize) -> Vec<usize> {
        let Self { mover, field, occupancy, .. } = self;
        let number = field.instances.len();
        if most == usize::MAX {
            let whatever_is_free = || self.least_crowded_of(0..number, most, |place| mover.may_be_on(field, place));
            let least = mover.least_crowded.get_or_init(whatever_is_free).iter().copied();
            let places: Vec<usize> = least.filter(|place| mover.has_room_on(occupancy, *place)).collect();
            if !places.is_empty() {
                return places;
            }
            return self.least_crowded_of(0..number, most, |place| self.may_come(place));
        }
        let moved = mover.relocatable.max_moves - mover.moves_left;
        let first = (mover.service + moved).wrapping_mul(STRIDE) % number.max(1);
        let (before, from_there) = field.mixed.split_at(first);
        self.least_crowded_of(from_there.iter().chain(before).copied(), most, |place| self.may_come(place))
    }

    /// The same of these that may take one.
    fn least_crowded_of(
        &self,
        in_turn: impl Iterator<Item = usize>,
        most: usize,
        may_take_one: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let (mut places, mut crowds) = (Vec::new(), Vec::new());
        let fewest = (most < usize::MAX).then(|| self.fewest_conceivable());
        for place in in_turn {
            // How crowded a place is rules out the most, and is told the quickest.
            let order = if places.is_empty() { Ordering::Less } else { self.around(place).cmp(crowds.iter().copied()) };
            if order.is_gt() || !may_take_one(place) {
                continue;
            }
            if order.is_lt() {
                places.clear();
                crowds = self.around(place).collect();
            }
            places.push(place);
            if places.len() >= most && fewest.as_ref() == Some(&crowds) {
                break;
            }
        }
        places
    }

    /// No instance lies in domains with fewer tasks of the service than these, level by level.
    fn fewest_conceivable(&self) -> Vec<u32> {
        let Some(depth) = (!self.field.instances.is_empty()).then(|| self.mover.paths.of(0).len()) else {
            return Vec::new();
        };
        let mut fewest = vec![0; depth];
        if let Some(first) = fewest.first_mut() {
            let domains = self.mover.first_domains(self.field);
            *first = domains.iter().map(|domain| self.within[*domain as usize]).min().unwrap_or(0);
        }
        fewest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::collections::BTreeMap;

    use super::*;
    use crate::planning::{
        placement::Index,
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
                    let now = mover.crowds(&field, &occupancy);
                    let may_come = |place: &usize| {
                        mover.may_be_on(&field, *place) && mover.has_room_on(&occupancy, *place)
                    };
                    let crowds = |place: &usize| now.around(*place).collect::<Vec<_>>();
                    let all: Vec<usize> = (0..field.instances.len()).filter(may_come).collect();
                    let fewest = all.iter().map(crowds).min();
                    let of_these: Vec<usize> =
                        all.into_iter().filter(|place| Some(crowds(place)) == fewest).collect();
                    prop_assert_eq!(&now.least_crowded(usize::MAX), &of_these);
                    for most in 1..3 {
                        let some = now.least_crowded(most);
                        prop_assert!(some.iter().all(|place| of_these.contains(place)), "{:?} of {:?}", some, of_these);
                        prop_assert!(some.len() >= most.min(of_these.len()), "{:?} of {:?}", some, of_these);
                    }
                }
                let number = mover % movers.len().max(1);
                let Some(mover) = movers.get_mut(number) else { break };
                let origins: Vec<usize> = mover.movable.keys().copied().collect();
                let places = mover.crowds(&field, &occupancy).next_places();
                if origins.is_empty() || places.is_empty() || mover.moves_left == 0 {
                    continue;
                }
                mover.shift(&mut occupancy, origins[from % origins.len()], places[to % places.len()]);
            }
        }
    }
}
