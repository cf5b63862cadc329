//! The container instances as they fill and empty: what each holds beyond its share, and what a change of that is worth.

use std::collections::BTreeSet;

use crate::planning::{
    model::{Capacity, ContainerInstance},
    placement::Index,
    policy::Percent,
};

/// How much an evenness of CPU and one of memory count beside each other.
pub(super) type Weights = [i128; 2];

/// All that is reserved, in the unit in which worth is counted.
const WHOLE: i128 = 1 << 40;
/// Worth is figured by multiplying and shifting by so much, which is quicker than dividing.
const SHIFT: u32 = 64;

const RESOURCES: [fn(&Capacity) -> u32; 2] = [|capacity| capacity.cpu_units, |capacity| capacity.memory_mib];

/// One resource, over all usable instances. Everything is multiplied by Σ registered, so that all stays whole.
#[derive(Clone, Copy, Debug)]
struct Resource {
    registered: i128,
    /// Σ reserved · Σ registered.
    whole: i128,
    /// Σ max(0, reservedᵢ·Σ registered − Σ reserved·registeredᵢ).
    excess: i128,
    /// What that must come below.
    limit: i128,
}

impl Resource {
    fn is_even(&self) -> bool {
        self.excess < self.limit || self.excess == 0
    }

    /// By how much the excess has to shrink.
    fn needs(&self) -> i128 {
        if self.is_even() { 0 } else { (self.excess - self.limit + 1).min(self.excess) }
    }

    fn worth(&self) -> i128 {
        if self.whole == 0 { 0 } else { (WHOLE << SHIFT) / self.whole }
    }
}

/// The container instances.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) instances: Vec<&'a ContainerInstance>,
    /// The class of each: instances that are alike in all that a static requirement asks.
    pub(super) class_of: Vec<Option<usize>>,
    /// What each holds beyond its share, CPU and memory; below nothing where it holds less.
    beyond: Vec<[i128; 2]>,
    resources: [Resource; 2],
    factors: [i128; 2],
    /// The numbers of all instances, the emptiest first.
    pub(super) by_emptiness: BTreeSet<(i128, usize)>,
}

/// How the excesses shrink; grow, where less than nothing.
pub(super) type Change = [i128; 2];

impl<'a> Field<'a> {
    pub(super) fn new(index: &Index<'a>, load_threshold: Percent) -> Self {
        let cluster = index.cluster;
        let instances: Vec<&ContainerInstance> =
            cluster.container_instances.values().map(|it| &**it).filter(|instance| instance.is_usable()).collect();
        let reserved = |instance: &ContainerInstance, of: fn(&Capacity) -> u32| {
            i128::from(of(&instance.registered).saturating_sub(of(&instance.remaining)))
        };
        let mut beyond = vec![[0; 2]; instances.len()];
        let mut resources = [Resource { registered: 0, whole: 0, excess: 0, limit: 0 }; 2];
        for (kind, of) in RESOURCES.into_iter().enumerate() {
            let all: i128 = instances.iter().map(|instance| reserved(instance, of)).sum();
            let registered: i128 = instances.iter().map(|instance| i128::from(of(&instance.registered))).sum();
            let mut excess = 0;
            for (instance, beyond) in instances.iter().zip(&mut beyond) {
                beyond[kind] = reserved(instance, of) * registered - all * i128::from(of(&instance.registered));
                excess += beyond[kind].max(0);
            }
            let whole = all * registered;
            let hundredths = whole * i128::from(load_threshold.hundredths());
            // The excess is whole, so it is below the limit if it is below the next whole number.
            resources[kind] = Resource { registered, whole, excess, limit: (hundredths + 9_999) / 10_000 };
        }
        let class_of = instances.iter().map(|instance| index.class_of(&instance.arn)).collect();
        let factors = resources.map(|resource| resource.worth());
        let mut field = Self { instances, class_of, beyond, resources, factors, by_emptiness: BTreeSet::new() };
        field.by_emptiness = (0..field.instances.len()).map(|number| (field.fullness(number), number)).collect();
        field
    }

    /// What an average task reserves, if its CPU and memory are weighed alike.
    pub(super) fn average_worth(tasks: usize, weight: i128) -> i128 {
        WHOLE * weight / i128::try_from(tasks).unwrap_or(i128::MAX).max(1)
    }

    pub(super) fn is_even(&self) -> bool {
        self.resources.iter().all(Resource::is_even)
    }

    /// By how much it is above the threshold, both resources together; nothing where it is under it.
    pub(super) fn above(&self) -> i128 {
        self.resources.iter().zip(self.factors).map(|(resource, factor)| scaled(resource.needs(), factor, 1)).sum()
    }

    /// How the excesses shrink when a task of that size leaves, or comes.
    pub(super) fn change(&self, number: usize, size: &Capacity, comes: bool) -> Change {
        let mut change = [0; 2];
        for (kind, of) in RESOURCES.into_iter().enumerate() {
            let before = self.beyond[number][kind];
            let moved = i128::from(of(size)) * self.resources[kind].registered;
            let after = if comes { before + moved } else { before - moved };
            change[kind] = before.max(0) - after.max(0);
        }
        change
    }

    /// How much CPU and memory count beside each other, so much together: that counts more which is farther above its threshold,
    /// so that both come under it at about the same time.
    pub(super) fn weights(&self, together: i128) -> Weights {
        let needs = [0, 1].map(|kind| scaled(self.resources[kind].needs(), self.factors[kind], 1));
        let squares = needs.map(|need| need * need);
        let all = squares[0] + squares[1];
        if all == 0 { [together / 2; 2] } else { squares.map(|square| together * square / all) }
    }

    /// What a change is worth: the part of all reservations that it evens out, as far as that is needed still.
    pub(super) fn worth(&self, change: Change, weights: Weights) -> i128 {
        let of = |kind: usize| {
            let needs = self.resources[kind].needs();
            if needs == 0 { 0 } else { scaled(change[kind].min(needs), self.factors[kind], weights[kind]) }
        };
        of(0) + of(1)
    }

    /// Whether a change brings it under the threshold.
    pub(super) fn is_even_after(&self, change: Change) -> bool {
        self.after(change).iter().all(Resource::is_even)
    }

    fn after(&self, change: Change) -> [Resource; 2] {
        let mut after = self.resources;
        for (resource, change) in after.iter_mut().zip(change) {
            resource.excess -= change;
        }
        after
    }

    /// Whether a change leaves what is under the threshold there, and the cluster's imbalance, which is the larger of the two,
    /// no larger.
    pub(super) fn is_sound(&self, change: Change) -> bool {
        let after = self.after(change);
        let stays_even = self.resources.iter().zip(&after).all(|(before, after)| !before.is_even() || after.is_even());
        stays_even && self.imbalance(&after) <= self.imbalance(&self.resources)
    }

    fn imbalance(&self, resources: &[Resource; 2]) -> i128 {
        scaled(resources[0].excess, self.factors[0], 1).max(scaled(resources[1].excess, self.factors[1], 1))
    }

    /// Moves a task.
    pub(super) fn shift(&mut self, size: &Capacity, from: usize, to: usize) {
        for (number, comes) in [(from, false), (to, true)] {
            self.by_emptiness.remove(&(self.fullness(number), number));
            let change = self.change(number, size, comes);
            for (kind, of) in RESOURCES.into_iter().enumerate() {
                let moved = i128::from(of(size)) * self.resources[kind].registered;
                self.beyond[number][kind] += if comes { moved } else { -moved };
                self.resources[kind].excess -= change[kind];
            }
            self.by_emptiness.insert((self.fullness(number), number));
        }
    }

    /// What an instance holds beyond its share, of the resource of which that is more.
    pub(super) fn fullness(&self, number: usize) -> i128 {
        let [cpu, memory] = self.beyond[number];
        scaled(cpu, self.factors[0], 1).max(scaled(memory, self.factors[1], 1))
    }

    /// The fewest moves that could bring both excesses under their limits, if each of these changes were open, and none made
    /// another smaller.
    pub(super) fn fewest(&self, changes: &[Change]) -> usize {
        let of = |kind: usize| {
            let mut sizes: Vec<i128> = changes.iter().map(|change| change[kind]).collect();
            sizes.sort_by(|a, b| b.cmp(a));
            let mut needs = self.resources[kind].needs();
            let needed = sizes.into_iter().take_while(|size| {
                let is_needed = needs > 0;
                needs -= size;
                is_needed
            });
            needed.count()
        };
        of(0).max(of(1))
    }
}

fn scaled(amount: i128, factor: i128, weight: i128) -> i128 {
    ((amount * factor) >> SHIFT) * weight
}
