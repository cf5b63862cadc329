//! Clearing without steering: how likely ECS's own choice leads the tasks of an instance that is to be cleared elsewhere.
//!
//! An example: a service has one task in each of two zones. ECS places the next one in either, on any instance without one of its
//! tasks. If the task in zone a is to leave its instance, just the places in zone a are good ones: elsewhere the zones would hold
//! two and none. With five places in each zone, one of which is to be cleared as well, that is 4 good places of 10.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FEWEST_IN_VAIN, MOVES_FOR_ONE_IN_VAIN,
    mover::Mover,
    tries::{Instances, PLACES_FOR_A_CLEARING_ONE, Prospect, Purpose},
};
use crate::planning::{
    model::{ContainerInstanceArn, ServiceName, Task},
    placement::{Index, Levels, occupancy::Paths},
    relocation::Relocatable,
};

/// What may come of one more task of a service where just these instances are to be cleared.
pub(in crate::planning) struct Chances<'b, 'a> {
    index: &'b Index<'a>,
    instances: Instances<'a>,
    paths: BTreeMap<Levels, std::rc::Rc<Paths>>,
}

impl<'b, 'a> Chances<'b, 'a> {
    /// As the cluster is.
    pub(in crate::planning) fn new(index: &'b Index<'a>, cleared: &BTreeSet<ContainerInstanceArn>) -> Self {
        Self {
            index,
            instances: Instances::new(index, Purpose::Clear { instances: cleared, packs: false }),
            paths: BTreeMap::new(),
        }
    }

    /// On which container instances a new task of a service is a good one for a task that leaves that instance: none of them where
    /// ECS is more likely to place it on others.
    pub(in crate::planning) fn good_places(&mut self, relocatable: &Relocatable<'a>, from: usize) -> Vec<usize> {
        let Some(mover) = Mover::new(self.index, &mut self.instances.occupancy, relocatable, &mut self.paths) else {
            return Vec::new();
        };
        let (field, occupancy) = (&self.instances.field, &self.instances.occupancy);
        let places = mover.next_places(field, occupancy);
        let is_good =
            |to: &usize| *to != from && self.instances.may_fill(*to) && self.instances.keeps_spread(&mover, from, *to);
        let good: Vec<usize> = places.iter().copied().filter(is_good).collect();
        if good.len() * PLACES_FOR_A_CLEARING_ONE < places.len() { Vec::new() } else { good }
    }

    /// How many tasks of a service are expected to be started in vain, in hundredths, until these of its tasks are gone; none where
    /// that is not to be expected at all.
    pub(in crate::planning) fn in_vain_hundredths(
        &mut self,
        relocatable: &Relocatable<'a>,
        leave: &[&Task],
    ) -> Option<u32> {
        let Self { index, instances, paths } = self;
        let mut mover = Mover::new(index, &mut instances.occupancy, relocatable, paths)?;
        instances.restrict(&mut mover, |task| leave.iter().any(|leaves| leaves.arn == task.arn));
        let mut in_vain = 0;
        for _ in leave {
            let prospect: Prospect = instances.prospect(&mover)?;
            in_vain += prospect.of_a_move().in_vain_hundredths();
            let (from, to) = prospect.a_move();
            instances.shift(&mut mover, from, to);
        }
        Some(u32::try_from(in_vain).unwrap_or(u32::MAX))
    }
}

/// Instances that are cleared one after the other, each wholly or not at all, while tasks are packed.
pub(in crate::planning) struct Clearing<'b, 'a> {
    instances: Instances<'a>,
    movers: BTreeMap<&'a ServiceName, Mover<'b, 'a>>,
    moves: u32,
    /// How many tasks are expected to be started in vain, by service, in hundredths.
    pub(in crate::planning) in_vain_hundredths: BTreeMap<ServiceName, u32>,
}

impl<'b, 'a> Clearing<'b, 'a> {
    /// Tasks of these services leave instances, and none of theirs may come to those that are kept clear.
    pub(in crate::planning) fn new(
        index: &'b Index<'a>,
        relocatable: &'b [Relocatable<'a>],
        kept_clear: &BTreeSet<ContainerInstanceArn>,
    ) -> Self {
        let mut instances = Instances::new(index, Purpose::Clear { instances: kept_clear, packs: true });
        let mut paths = BTreeMap::new();
        let movers = relocatable
            .iter()
            .filter_map(|one| Some((&one.service.name, Mover::new(index, &mut instances.occupancy, one, &mut paths)?)));
        let movers = movers.collect();
        Self { instances, movers, moves: 0, in_vain_hundredths: BTreeMap::new() }
    }

    /// Clears an instance of these tasks, so many of each service; false, and nothing is done, where ECS's own choice is not likely
    /// enough to lead all of them elsewhere.
    pub(in crate::planning) fn clear(&mut self, from: usize, tasks: &BTreeMap<&ServiceName, u32>) -> bool {
        let before = self.in_vain_hundredths.clone();
        let mut made: Vec<(&ServiceName, usize)> = Vec::new();
        let all: u32 = tasks.values().sum();
        let mut is_likely = true;
        'services: for (name, number) in tasks {
            let Some(mover) = self.movers.get_mut(*name) else {
                is_likely = false;
                break;
            };
            mover.movable = BTreeMap::from([(from, *number)]);
            for _ in 0..*number {
                let Some(prospect) = self.instances.prospect(mover) else {
                    is_likely = false;
                    break 'services;
                };
                let (_, to) = prospect.a_move();
                *self.in_vain_hundredths.entry((*name).clone()).or_default() +=
                    u32::try_from(prospect.of_a_move().in_vain_hundredths()).unwrap_or(u32::MAX);
                mover.shift(&mut self.instances.occupancy, from, to);
                made.push((*name, to));
            }
        }
        let most = FEWEST_IN_VAIN.max((self.moves + all) / MOVES_FOR_ONE_IN_VAIN) * 100;
        if is_likely && self.in_vain_hundredths.values().sum::<u32>() <= most {
            self.moves += all;
            return true;
        }
        for (name, to) in made.into_iter().rev() {
            if let Some(mover) = self.movers.get_mut(name) {
                mover.unshift(&mut self.instances.occupancy, from, to);
            }
        }
        self.in_vain_hundredths = before;
        false
    }
}
