//! Clearing without steering: how likely ECS's own choice leads the tasks of an instance that is to be cleared elsewhere.
//!
//! An example: a service has one task in each of two zones. ECS places the next one in either, on any instance without one of its
//! tasks. If the task in zone a is to leave its instance, just the places in zone a are good ones: elsewhere the zones would hold
//! two and none. With five places in each zone, one of which is to be cleared as well, that is 4 good places of 10.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mover::Mover,
    tries::{Instances, PLACES_FOR_A_CLEARING_ONE, Prospect, Purpose},
};
use crate::planning::{
    model::{ContainerInstanceArn, Task},
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
        Self { index, instances: Instances::new(index, Purpose::Clear(cleared)), paths: BTreeMap::new() }
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
            |to: &usize| *to != from && self.instances.may_fill(*to) && mover.keeps_spread(field, occupancy, from, *to);
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
