//! Clearing without steering: how likely ECS's own choice leads the tasks of an instance that is to be cleared elsewhere.
//!
//! An example: a service has one task in each of two zones. ECS places the next one in either, on any instance without one of its
//! tasks. If the task in zone a is to leave its instance, just the places in zone a are good ones: elsewhere the zones would hold
//! two and none. With five places in each zone, one of which is to be cleared as well, that is 4 good places of 10.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FEWEST_IN_VAIN, MOVES_FOR_ONE_IN_VAIN,
    mover::Mover,
    tries::{Instances, PLACES_FOR_A_CLEARING_ONE, Purpose},
};
use crate::planning::{
    bounds::on_top,
    model::{Service, ServiceName},
    placement::Index,
    policy::Policy,
    relocation::Relocatable,
};

/// On how many instances ECS may place a service's next task, and which of these are good ones.
type Places = (usize, Vec<usize>);

/// Where a service's next task may land for one that leaves an instance.
pub(in crate::planning) struct Chances<'b, 'a> {
    index: &'b Index<'a>,
    instances: Instances<'a>,
    /// By service, and by what decides about them of the instance that is left.
    seen: BTreeMap<(&'a ServiceName, Vec<u32>), Places>,
}

impl<'b, 'a> Chances<'b, 'a> {
    /// As the cluster is.
    pub(in crate::planning) fn new(index: &'b Index<'a>) -> Self {
        let purpose = Purpose::Clear { instances: &BTreeSet::new(), packs: false };
        Self { index, instances: Instances::new(index, purpose), seen: BTreeMap::new() }
    }

    /// On which container instances a new task of a service is a good one for a task that leaves that instance: none of them where
    /// ECS is more likely to place it on others.
    pub(in crate::planning) fn good_places(&mut self, relocatable: &Relocatable<'a>, from: usize) -> Vec<usize> {
        let Self { index, instances, seen } = self;
        let Some(mover) = Mover::new(index, &mut instances.occupancy, relocatable, &mut BTreeMap::new()) else {
            return Vec::new();
        };
        let key = mover.origin(&instances.occupancy, from).unwrap_or_else(|| mover.domain_of(from).to_vec());
        let (places, good) = seen.entry((&relocatable.service.name, key)).or_insert_with(|| {
            let crowds = mover.crowds(&instances.field, &instances.occupancy);
            let places = crowds.next_places();
            let is_good = |to: &usize| instances.may_fill(*to) && instances.keeps_spread(&crowds, from, *to);
            (places.len(), places.into_iter().filter(is_good).collect())
        });
        let good: Vec<usize> = good.iter().copied().filter(|to| *to != from).collect();
        if good.len() * PLACES_FOR_A_CLEARING_ONE < *places { Vec::new() } else { good }
    }
}

/// Instances that are cleared one after the other, each wholly or not at all.
///
/// So many tasks of a service as are started at once are placed before any of its tasks leaves. Later ones may be placed where those
/// were: so what has left gives its capacity back from then on.
pub(in crate::planning) struct Clearing<'b, 'a> {
    instances: Instances<'a>,
    movers: BTreeMap<&'a ServiceName, Mover<'b, 'a>>,
    policy: &'b Policy,
    cleared: Cleared<'a>,
}

/// What leaves the instances that are cleared so far.
#[derive(Clone, Default)]
struct Cleared<'a> {
    /// How many tasks, by service.
    leaving: BTreeMap<&'a ServiceName, u32>,
    /// How many tasks are expected to be started in vain, by service, in hundredths.
    in_vain_hundredths: BTreeMap<&'a ServiceName, u32>,
    /// Tasks that hold their capacity still, each by its service and where it is.
    holding: Vec<(&'a ServiceName, usize)>,
}

impl<'b, 'a> Clearing<'b, 'a> {
    /// Tasks of these services leave instances, and none of theirs may stay on those that are kept clear.
    pub(in crate::planning) fn new(
        index: &'b Index<'a>,
        relocatable: impl Iterator<Item = &'b Relocatable<'a>>,
        purpose: Purpose<'_>,
        policy: &'b Policy,
    ) -> Self {
        let mut instances = Instances::new(index, purpose);
        let mut paths = BTreeMap::new();
        let movers = relocatable
            .filter_map(|one| Some((&one.service.name, Mover::new(index, &mut instances.occupancy, one, &mut paths)?)));
        let movers = movers.collect();
        Self { instances, movers, policy, cleared: Cleared::default() }
    }

    /// How many tasks are expected to be started in vain, by service, in hundredths.
    pub(in crate::planning) fn in_vain_hundredths(&self) -> BTreeMap<ServiceName, u32> {
        self.cleared.in_vain_hundredths.iter().map(|(name, in_vain)| ((*name).clone(), *in_vain)).collect()
    }

    /// Clears an instance of so many tasks of each service; false, and nothing is done, where ECS's own choice is not likely enough
    /// to lead all of them elsewhere, or where that takes more starts than the run may make.
    pub(in crate::planning) fn clear(&mut self, from: usize, tasks: &BTreeMap<&'a ServiceName, u32>) -> bool {
        let (before, mark) = (self.cleared.clone(), self.instances.occupancy.mark());
        let are_likely = tasks.iter().all(|(name, number)| self.leave(name, from, *number));
        let leaving: u32 = self.cleared.leaving.values().sum();
        let in_vain: u32 = self.cleared.in_vain_hundredths.values().sum();
        let most = FEWEST_IN_VAIN.max(leaving / MOVES_FOR_ONE_IN_VAIN);
        if are_likely && in_vain <= most * 100 && leaving + in_vain.div_ceil(100) <= self.policy.max_moves {
            return true;
        }
        self.cleared = before;
        self.instances.occupancy.undo_to(mark);
        for name in tasks.keys() {
            if let Some(mover) = self.movers.get_mut(name) {
                mover.start_over(self.cleared.leaving.get(name).copied().unwrap_or(0));
            }
        }
        false
    }

    fn leave(&mut self, name: &'a ServiceName, from: usize, tasks: u32) -> bool {
        for left in (1..=tasks).rev() {
            let Some(service) = self.movers.get(name).map(|mover| mover.relocatable.service) else { return false };
            let leaving = self.cleared.leaving.get(name).copied().unwrap_or(0);
            let is_later = leaving > 0 && leaving % at_once(service, self.policy) == 0;
            if is_later || (leaving == 0 && self.cleared.leaving.len() >= self.policy.parallel as usize) {
                self.give_back();
            }
            let Some(mover) = self.movers.get_mut(name) else { return false };
            mover.movable = BTreeMap::from([(from, left)]);
            let Some(prospect) = self.instances.prospect(mover) else { return false };
            let ((from, to), in_vain) = (prospect.a_move(), prospect.of_a_move().in_vain_hundredths());
            mover.shift(&mut self.instances.occupancy, from, to);
            self.cleared.holding.push((name, from));
            *self.cleared.leaving.entry(name).or_default() += 1;
            *self.cleared.in_vain_hundredths.entry(name).or_default() += u32::try_from(in_vain).unwrap_or(u32::MAX);
        }
        true
    }

    /// All that has moved gives back the capacity where it was.
    fn give_back(&mut self) {
        for (service, from) in std::mem::take(&mut self.cleared.holding) {
            if let Some(mover) = self.movers.get_mut(service) {
                mover.give_back(&mut self.instances.occupancy, from);
            }
        }
    }
}

/// How many of a service's tasks are started at once.
fn at_once(service: &Service, policy: &Policy) -> u32 {
    policy.surge.of_at_least_one(service.desired_count).min(on_top(service)).max(1)
}
