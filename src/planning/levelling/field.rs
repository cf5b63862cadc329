//! The container instances as they fill and empty: what each holds beyond its share, and what a change of that is worth.

use std::collections::{BTreeMap, BTreeSet};

use crate::planning::{
    model::{Capacity, ContainerInstance},
    placement::Index,
    policy::Percent,
};

/// How much an evenness of CPU and one of memory count beside each other.
pub(super) type Weights = [i64; 2];

/// All that is reserved, in the unit in which worth is counted.
const WHOLE: i64 = 1 << 40;
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
        if self.whole == 0 { 0 } else { (i128::from(WHOLE) << SHIFT) / self.whole }
    }
}

/// The container instances.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) instances: Vec<&'a ContainerInstance>,
    /// The class of each: instances that are alike in all that a static requirement asks.
    pub(super) class_of: Vec<usize>,
    /// What each holds beyond its share, CPU and memory; below nothing where it holds less.
    beyond: Vec<[i128; 2]>,
    /// The same in the unit in which worth is counted; nothing where it holds less.
    surplus: Vec<Parts>,
    /// By how much each excess has to shrink, in that unit.
    needs: Parts,
    resources: [Resource; 2],
    factors: [i128; 2],
    /// The larger of both excesses, in that unit.
    imbalance: i64,
    /// The numbers of all instances, the emptiest first.
    pub(super) by_emptiness: BTreeSet<(i64, usize)>,
    /// The same mixed: among any that follow each other, full and empty ones have about the shares that they had among all at first.
    pub(super) mixed: Vec<usize>,
}

/// Of CPU and of memory, a part of all that is reserved, in the unit in which worth is counted.
pub(super) type Parts = [i64; 2];

/// Amounts of CPU and of memory, each multiplied by all that is registered of it.
pub(super) type Amounts = [i128; 2];

/// How the excesses shrink; grow, where less than nothing.
pub(super) type Change = [i128; 2];

impl<'a> Field<'a> {
    pub(super) fn new(index: &Index<'a>, load_threshold: Percent) -> Self {
        let instances = index.instances.clone();
        let mut beyond = vec![[0; 2]; instances.len()];
        let mut resources = [Resource { registered: 0, whole: 0, excess: 0, limit: 0 }; 2];
        for (kind, of) in RESOURCES.into_iter().enumerate() {
            let all: i128 = instances.iter().map(|instance| i128::from(instance.reserved(of))).sum();
            let registered: i128 = instances.iter().map(|instance| i128::from(of(&instance.registered))).sum();
            let mut excess = 0;
            for (instance, beyond) in instances.iter().zip(&mut beyond) {
                beyond[kind] =
                    i128::from(instance.reserved(of)) * registered - all * i128::from(of(&instance.registered));
                excess += beyond[kind].max(0);
            }
            let whole = all * registered;
            let hundredths = whole * i128::from(load_threshold.hundredths());
            // The excess is whole, so it is below the limit if it is below the next whole number.
            resources[kind] = Resource { registered, whole, excess, limit: (hundredths + 9_999) / 10_000 };
        }
        let class_of = (0..instances.len()).map(|number| index.class_of(number)).collect();
        let factors = resources.map(|resource| resource.worth());
        let surplus = beyond.iter().map(|beyond| parts(*beyond, factors)).collect();
        let needs = parts(resources.map(|resource| resource.needs()), factors);
        let imbalance = imbalance(&resources, factors);
        let (by_emptiness, mixed) = (BTreeSet::new(), Vec::new());
        let mut field =
            Self { instances, class_of, beyond, surplus, needs, resources, factors, imbalance, by_emptiness, mixed };
        field.by_emptiness = (0..field.instances.len()).map(|number| (field.fullness(number), number)).collect();
        field.mixed = mixed_evenly(&field.by_emptiness.iter().map(|(_, number)| *number).collect::<Vec<_>>());
        field
    }

    /// What an average task reserves, if its CPU and memory are weighed alike.
    pub(super) fn average_worth(tasks: usize, weight: i64) -> i64 {
        WHOLE * weight / i64::try_from(tasks).unwrap_or(i64::MAX).max(1)
    }

    pub(super) fn is_even(&self) -> bool {
        self.resources.iter().all(Resource::is_even)
    }

    /// By how much it is above the threshold, both resources together; nothing where it is under it.
    pub(super) fn above(&self) -> i64 {
        self.needs.iter().sum()
    }

    /// How the excesses shrink when a task of that size leaves, or comes.
    pub(super) fn change(&self, number: usize, size: &Capacity, comes: bool) -> Change {
        let amounts = self.amounts(size);
        self.change_by(number, if comes { amounts } else { amounts.map(|amount| -amount) })
    }

    /// The same when that comes; what is below nothing leaves.
    pub(super) fn change_by(&self, number: usize, comes: Amounts) -> Change {
        let before = self.beyond[number];
        [0, 1].map(|kind| before[kind].max(0) - (before[kind] + comes[kind]).max(0))
    }

    /// How much CPU and memory count beside each other, so much together: that counts more which is farther above its threshold,
    /// so that both come under it at about the same time.
    pub(super) fn weights(&self, together: i64) -> Weights {
        let squares = self.needs.map(|need| i128::from(need) * i128::from(need));
        let all = squares[0] + squares[1];
        if all == 0 {
            return [together / 2; 2];
        }
        squares.map(|square| i64::try_from(i128::from(together) * square / all).unwrap_or(i64::MAX))
    }

    /// What a change is worth: the part of all reservations that it evens out, as far as that is needed still.
    pub(super) fn worth(&self, change: Change, weights: Weights) -> i64 {
        let of = |kind: usize| {
            let shrinks = scaled(change[kind], self.factors[kind]).min(self.needs[kind]);
            if self.resources[kind].is_even() { 0 } else { shrinks * weights[kind] }
        };
        of(0) + of(1)
    }

    /// What a task of that size reserves, in the unit of what an instance holds beyond its share.
    pub(super) fn amounts(&self, size: &Capacity) -> Amounts {
        [0, 1].map(|kind| i128::from(RESOURCES[kind](size)) * self.resources[kind].registered)
    }

    /// What of all that is reserved a task of that size has.
    pub(super) fn parts(&self, size: &Capacity) -> Parts {
        parts(self.amounts(size), self.factors)
    }

    /// What it is worth that a task of which these are the parts leaves: see [`Field::change`] and [`Field::worth`]. An excess
    /// shrinks by no more than the task has and the instance holds beyond its share.
    pub(super) fn worth_of_leaving(&self, number: usize, task: Parts, weights: Weights) -> i64 {
        let surplus = self.surplus[number];
        let of = |kind: usize| task[kind].min(surplus[kind]).min(self.needs[kind]) * weights[kind];
        of(0) + of(1)
    }

    /// Whether it needs more than so many moves if none is worth more than that.
    pub(super) fn needs_more_than(&self, moves: usize, worth: i64, weights: Weights) -> bool {
        let moves = i64::try_from(moves).unwrap_or(i64::MAX);
        // Each worth was rounded down, once for each resource.
        let rounded: i64 = weights.iter().sum();
        moves.saturating_mul(worth + rounded) < self.worth(self.resources.map(|it| it.needs()), weights)
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
    /// no larger. Where that stays as it is, the other must not get larger either: nothing would be gained.
    pub(super) fn is_sound(&self, change: Change) -> bool {
        let after = self.after(change);
        let stays_even = self.resources.iter().zip(&after).all(|(before, after)| !before.is_even() || after.is_even());
        let (imbalance, before) = (imbalance(&after, self.factors), self.imbalance);
        stays_even && (imbalance < before || imbalance == before && change.iter().all(|shrinks| *shrinks >= 0))
    }

    /// Moves a task.
    pub(super) fn shift(&mut self, size: &Capacity, from: usize, to: usize) {
        let amounts = self.amounts(size);
        for (number, comes) in [(from, amounts.map(|amount| -amount)), (to, amounts)] {
            self.by_emptiness.remove(&(self.fullness(number), number));
            let change = self.change_by(number, comes);
            for kind in 0..2 {
                self.beyond[number][kind] += comes[kind];
                self.resources[kind].excess -= change[kind];
            }
            self.surplus[number] = parts(self.beyond[number], self.factors);
            self.by_emptiness.insert((self.fullness(number), number));
        }
        self.needs = parts(self.resources.map(|resource| resource.needs()), self.factors);
        self.imbalance = imbalance(&self.resources, self.factors);
    }

    /// What an instance holds beyond its share, of the resource of which that is more.
    pub(super) fn fullness(&self, number: usize) -> i64 {
        let [cpu, memory] = self.beyond[number];
        scaled(cpu, self.factors[0]).max(scaled(memory, self.factors[1]))
    }

    /// No plan has fewer moves than these: so many would do if each of the changes were open, so many times, and none made another
    /// smaller, and if CPU and memory were one resource, in which they count by their weights. In thousandths of a move.
    pub(super) fn fewest_thousandths(&self, changes: &BTreeMap<Change, u32>, weights: Weights) -> i128 {
        let needs = self.resources.map(|resource| resource.needs());
        let factors = [0, 1].map(|kind| self.factors[kind] * i128::from(weights[kind]));
        let weighed =
            |change: &Change| -> i128 { (0..2).map(|kind| change[kind].min(needs[kind]) * factors[kind]).sum() };
        let mut worths: Vec<(i128, i128)> =
            changes.iter().map(|(change, times)| (weighed(change), i128::from(*times))).collect();
        worths.sort_unstable_by(|a, b| b.cmp(a));
        let (mut needed, mut fewest) = (weighed(&needs), 0);
        for (worth, times) in worths.into_iter().filter(|(worth, _)| *worth > 0) {
            // Rounded up: what is needed beyond a whole number of moves takes one more, however little it is.
            fewest += ((needed.max(0) * 1000 + worth - 1) / worth).min(times * 1000);
            needed -= worth * times;
        }
        fewest
    }
}

/// All of these in an order in which any that follow each other come from all parts of them: by the multiples of the golden ratio,
/// whose fractions are spread as evenly as the seeds of a sunflower.
fn mixed_evenly(numbers: &[usize]) -> Vec<usize> {
    /// 2³² by the golden ratio.
    const GOLDEN: u32 = 2_654_435_769;
    let mut mixed: Vec<(u32, usize)> =
        (0_u32..).map(|rank| rank.wrapping_mul(GOLDEN)).zip(numbers.iter().copied()).collect();
    mixed.sort_unstable();
    mixed.into_iter().map(|(_, number)| number).collect()
}

/// What is above nothing of two amounts, as parts of all that is reserved.
fn parts(amounts: [i128; 2], factors: [i128; 2]) -> Parts {
    [0, 1].map(|kind| scaled(amounts[kind].max(0), factors[kind]))
}

fn imbalance(resources: &[Resource; 2], factors: [i128; 2]) -> i64 {
    scaled(resources[0].excess, factors[0]).max(scaled(resources[1].excess, factors[1]))
}

fn scaled(amount: i128, factor: i128) -> i64 {
    i64::try_from((amount * factor) >> SHIFT).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::testing::cluster;

    #[test]
    fn any_that_follow_each_other_come_from_all_parts() {
        for number in [0, 1, 2, 3, 10, 100, 618, 1_000, 1_001, 5_000] {
            let mixed = mixed_evenly(&(0..number).collect::<Vec<_>>());
            let all: BTreeSet<usize> = mixed.iter().copied().collect();
            assert_eq!((mixed.len(), all.len()), (number, number));
            for some in mixed.windows(128) {
                let of_the_first_quarter = some.iter().filter(|it| **it < number / 4).count();
                assert!((30..=34).contains(&of_the_first_quarter), "{of_the_first_quarter} of 128, of {number}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_to_the_worth_of_leaving_gives_what_the_long_one_does(
            drawing in crate::planning::planner::tests::drawing(),
            load_threshold in 0..100_u32,
            sizes in proptest::collection::vec((0..5_000_u32, 0..20_000_u32), 1..8),
            together in 1..128_i64,
        ) {
            let cluster = cluster(&drawing);
            let mut field = Field::new(&Index::new(&cluster), Percent::from_hundredths(load_threshold * 100));
            for (cpu_units, memory_mib) in sizes {
                let size = Capacity { cpu_units, memory_mib, gpus: 0 };
                let (parts, weights) = (field.parts(&size), field.weights(together));
                for number in 0..field.instances.len() {
                    let worth = field.worth(field.change(number, &size, false), weights);
                    prop_assert_eq!(field.worth_of_leaving(number, parts, weights), worth);
                }
                if field.instances.len() > 1 {
                    field.shift(&size, 0, 1);
                }
            }
        }

        #[test]
        fn as_many_moves_as_were_enough_are_not_called_too_few(
            drawing in crate::planning::planner::tests::drawing(),
            load_threshold in 0..100_u32,
            sizes in proptest::collection::vec((0..5_000_u32, 0..20_000_u32), 1..8),
            together in 1..128_i64,
        ) {
            let cluster = cluster(&drawing);
            let mut field = Field::new(&Index::new(&cluster), Percent::from_hundredths(load_threshold * 100));
            let (at_first, weights) = (field.clone(), field.weights(together));
            let Some((_, fullest)) = field.by_emptiness.last().copied() else { return Ok(()) };
            let mut promised = 0;
            for (number, (cpu_units, memory_mib)) in sizes.into_iter().enumerate() {
                let size = Capacity { cpu_units, memory_mib, gpus: 0 };
                promised = promised.max(at_first.worth_of_leaving(fullest, at_first.parts(&size), weights));
                let Some((_, emptiest)) = field.by_emptiness.first().copied().filter(|it| it.1 != fullest) else { break };
                field.shift(&size, fullest, emptiest);
                prop_assert!(!field.is_even() || !at_first.needs_more_than(number + 1, promised, weights));
            }
        }
    }
}
