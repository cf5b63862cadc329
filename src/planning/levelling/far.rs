//! Which container instances stay far from the mean, and why.
//!
//! An instance's share is the larger of its reserved CPU and memory, as parts of what is registered; the mean is that of all
//! usable instances. Those are told of that have less than half of the mean, or more than twice.
//!
//! An example: three instances at 80, 30 and 10 % have 40 % on average. The last has less than half of that. If its only reason
//! is that `LoadImbalance` (a share of all reservations) lies below its threshold, that is what its owner reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    NEVER, is_due,
    mover::Mover,
    tries::{Instances, Purpose, Tally, in_hand, not_filled},
    waits_until,
};
use crate::planning::{
    imbalance::Measure,
    model::{Cluster, ContainerInstance, ContainerInstanceArn, ServiceName, Timestamp},
    placement::Index,
    policy::{Mode, Percent, Policy},
    reason::{Blocked, Fixed, Unlevelled},
    relocation::{Relocatable, one_relocatable},
};

/// The container instances that are far from the mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarFromMean {
    /// What the usable instances have reserved on average.
    pub mean: Percent,
    /// Those under half of it, the emptiest first.
    pub under_half: Vec<FarInstance>,
    /// Those over twice of it, the fullest first.
    pub over_twice: Vec<FarInstance>,
}

/// One of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarInstance {
    /// The container instance.
    pub instance: ContainerInstanceArn,
    /// What it has reserved.
    pub reserved: Percent,
    /// Why it stays so.
    pub why: Unlevelled,
}

/// Those of a cluster that was measured so. Nothing in mode `consolidate`, where tasks are packed, or without a usable instance.
pub fn far_from_mean(cluster: &Cluster, measure: &Measure, policy: &Policy, now: Timestamp) -> Option<FarFromMean> {
    let usable = cluster.container_instances.values().filter(|instance| instance.is_usable());
    let shares: Vec<(&ContainerInstance, u32)> = usable.map(|instance| (&**instance, reserved(instance))).collect();
    if policy.mode == Mode::Consolidate || shares.is_empty() {
        return None;
    }
    let all: u64 = shares.iter().map(|(_, share)| u64::from(*share)).sum();
    let number = u64::try_from(shares.len()).unwrap_or(u64::MAX);
    let is_under_half = |share: u32| u64::from(share) * number * 2 < all;
    let is_over_twice = |share: u32| u64::from(share) * number > all * 2;
    let of_side = |is_far: &dyn Fn(u32) -> bool| -> Vec<(&ContainerInstance, u32)> {
        shares.iter().copied().filter(|(_, share)| is_far(*share)).collect()
    };
    let (mut idle, mut full) = (of_side(&is_under_half), of_side(&is_over_twice));
    idle.sort_by_key(|(instance, share)| (*share, &instance.arn));
    full.sort_by_key(|(instance, share)| (u32::MAX - share, &instance.arn));
    let told = |instances: &[(&ContainerInstance, u32)], why: &dyn Fn(&ContainerInstance) -> Unlevelled| {
        let told = instances.iter().map(|(instance, share)| FarInstance {
            instance: instance.arn.clone(),
            reserved: Percent::from_hundredths(*share),
            why: why(instance),
        });
        told.collect()
    };
    let (under_half, over_twice) = if let Some(why) = in_general(cluster, measure, policy, now) {
        let why_idle = |it: &ContainerInstance| if it.is_impaired { Unlevelled::Impaired } else { why.clone() };
        (told(&idle, &why_idle), told(&full, &|_| why.clone()))
    } else {
        let index = Index::new(cluster);
        let chances = Chances::of(&index, policy, now, &idle, &full);
        (told(&idle, &|it| chances.why_idle(it)), told(&full, &|it| chances.why_full(it)))
    };
    let mean = Percent::from_hundredths(u32::try_from(all / number).unwrap_or(u32::MAX));
    Some(FarFromMean { mean, under_half, over_twice })
}

/// The larger share of CPU and memory that is reserved, in hundredths of a percent, rounded up.
fn reserved(instance: &ContainerInstance) -> u32 {
    instance.reserved_hundredths(|it| it.cpu_units).max(instance.reserved_hundredths(|it| it.memory_mib))
}

/// Why nothing is levelled at all.
fn in_general(cluster: &Cluster, measure: &Measure, policy: &Policy, now: Timestamp) -> Option<Unlevelled> {
    if policy.load_threshold >= NEVER {
        Some(Unlevelled::SwitchedOff)
    } else if !is_due(measure, policy) {
        Some(Unlevelled::BelowThreshold(policy.load_threshold))
    } else if waits_until(cluster, now).is_some() {
        Some(Unlevelled::Packed)
    } else {
        policy.reviewed.is_some().then_some(Unlevelled::NotInPlan)
    }
}

/// What could be done about each of the instances that are far from the mean.
struct Chances<'b, 'a> {
    index: &'b Index<'a>,
    policy: &'b Policy,
    /// What a run has earned before its first try.
    tally: Tally,
    /// Those that some task could go to, and whether ECS would be likely enough to put one there.
    take: BTreeMap<&'a ContainerInstanceArn, bool>,
    /// Those that some task could leave, and whether it would be likely enough to land well.
    give: BTreeMap<&'a ContainerInstanceArn, bool>,
    /// Those with tasks that may be moved.
    have_movable: BTreeSet<&'a ContainerInstanceArn>,
    /// The services of whose tasks nobody knows how large they are, since their definitions were not read.
    unread: BTreeSet<&'a ServiceName>,
}

impl<'b, 'a> Chances<'b, 'a> {
    fn of(
        index: &'b Index<'a>,
        policy: &'b Policy,
        now: Timestamp,
        idle: &[(&'a ContainerInstance, u32)],
        full: &[(&'a ContainerInstance, u32)],
    ) -> Self {
        let mut chances = Self {
            index,
            policy,
            tally: Tally::default().after(index.cluster.unspent_moves),
            take: BTreeMap::new(),
            give: BTreeMap::new(),
            have_movable: BTreeSet::new(),
            unread: BTreeSet::new(),
        };
        let mut movable: Vec<Relocatable<'a>> = Vec::new();
        for service in index.cluster.services.values() {
            match one_relocatable(index, service, policy, now) {
                Ok(relocatable) => movable.push(relocatable),
                // This passes by itself.
                Err(Fixed::Blocked(Blocked::TooYoung { .. } | Blocked::BackingOff { .. })) => {
                    movable.extend(in_hand(index, &service.name));
                }
                Err(Fixed::UnknownSize) => {
                    chances.unread.insert(&service.name);
                }
                Err(_) => {}
            }
        }
        movable.retain(Relocatable::is_spread);
        let mut instances = Instances::new(index, Purpose::Load(policy.load_threshold));
        let mut paths = BTreeMap::new();
        for relocatable in &movable {
            if let Some(mover) = Mover::new(index, &mut instances.occupancy, relocatable, &mut paths) {
                chances.look_at(&instances, &mover, idle, full);
            }
        }
        chances
    }

    /// What one service's tasks could do.
    fn look_at(
        &mut self,
        instances: &Instances<'a>,
        mover: &Mover<'_, 'a>,
        idle: &[(&'a ContainerInstance, u32)],
        full: &[(&'a ContainerInstance, u32)],
    ) {
        let (field, occupancy) = (&instances.field, &instances.occupancy);
        let number = |instance: &ContainerInstance| occupancy.instance(&instance.arn);
        let is_worth_a_try = instances.prospect(mover).is_some_and(|it| self.tally.permits(it.of_a_move()));
        let crowds = mover.crowds(field, occupancy);
        let places = if is_worth_a_try { crowds.next_places() } else { Vec::new() };
        let is_settled = |chances: &BTreeMap<&ContainerInstanceArn, bool>, arn| {
            chances.get(arn).is_some_and(|is_likely| *is_likely || !is_worth_a_try)
        };
        for (instance, _) in idle {
            let Some(to) = number(instance).filter(|to| crowds.may_come(*to)) else { continue };
            if !is_settled(&self.take, &instance.arn) && instances.best_origin(&crowds, to).is_some() {
                *self.take.entry(&instance.arn).or_default() |= places.contains(&to);
            }
        }
        for (instance, _) in full {
            let Some(from) = number(instance).filter(|from| mover.movable.contains_key(from)) else { continue };
            self.have_movable.insert(&instance.arn);
            let helps = |to: usize| {
                crowds.is_open(from, to) && instances.best_of(mover, &[instances.origin(mover, from)], to).is_some()
            };
            if is_settled(&self.give, &instance.arn) {
                continue;
            }
            if places.iter().any(|to| helps(*to)) {
                self.give.insert(&instance.arn, true);
            } else if field.by_emptiness.iter().any(|(_, to)| helps(*to)) {
                self.give.entry(&instance.arn).or_default();
            }
        }
    }

    fn why_idle(&self, instance: &ContainerInstance) -> Unlevelled {
        if let Some(why) = not_filled(self.index, instance) {
            return why;
        }
        match self.take.get(&instance.arn) {
            Some(is_likely) => self.could_be_levelled(*is_likely),
            None if self.unread.is_empty() => Unlevelled::NoTaskFits,
            None => Unlevelled::Later,
        }
    }

    fn why_full(&self, instance: &ContainerInstance) -> Unlevelled {
        let is_unread = |service: &ServiceName| self.unread.contains(service);
        let mut services = self.index.tasks_on(&instance.arn).iter().filter_map(|task| task.service.as_ref());
        match self.give.get(&instance.arn) {
            Some(is_likely) => self.could_be_levelled(*is_likely),
            None if services.any(is_unread) => Unlevelled::Later,
            None if self.have_movable.contains(&instance.arn) => Unlevelled::NoPlace,
            None => Unlevelled::NoTaskMayGo,
        }
    }

    fn could_be_levelled(&self, is_likely: bool) -> Unlevelled {
        if is_likely || self.policy.steer { Unlevelled::Later } else { Unlevelled::NeedsSteering }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{
        imbalance::measure,
        moves::Reviewed,
        testing::{NOW, cluster},
    };

    /// Each instance that is far from the mean, as `i-1 10 % code`.
    fn far(drawing: &str, policy: &Policy) -> Vec<String> {
        told(&cluster(drawing), policy)
    }

    fn told(cluster: &Cluster, policy: &Policy) -> Vec<String> {
        let Some(far) = far_from_mean(cluster, &measure(cluster, policy, NOW), policy, NOW) else { return Vec::new() };
        let instances = far.under_half.iter().chain(&far.over_twice);
        instances.map(|it| format!("{} {} % {}", it.instance.short(), it.reserved, it.why.code())).collect()
    }

    fn at(load_threshold: u32) -> Policy {
        Policy { load_threshold: Percent::from_hundredths(load_threshold * 100), ..Policy::default() }
    }

    /// Three instances at 75, 25 and 0 %: 33 % on average.
    const THREE: &str = "a i-1 s0 s1 s2\na i-2 s3\na i-3\nservice s0 memory=2048\nservice s1 memory=2048\n\
                         service s2 memory=2048\nservice s3 memory=2048";

    #[test]
    fn an_instance_is_far_at_less_than_half_or_more_than_twice_of_the_mean() {
        assert_eq!(far(THREE, &at(60)), ["i-3 0 % below-threshold", "i-1 75 % below-threshold"]);
        // 75, 50 and 25 %: 50 % on average, and the half of that is not less than half.
        assert_eq!(far("a i-1 s s s\na i-2 s s\na i-3 s\nservice s memory=2048", &at(60)), [""; 0]);
        assert_eq!(far("a i-1\na i-2", &at(60)), [""; 0], "nothing is reserved");
        let not_usable = format!("{THREE}\na i-4 status=DRAINING");
        assert_eq!(far(&not_usable, &at(60)).len(), 2, "one that takes no tasks doesn't count");
        let consolidating = Policy { mode: Mode::Consolidate, ..at(60) };
        assert_eq!(far(THREE, &consolidating), [""; 0]);
    }

    #[test]
    fn each_has_the_reason_that_keeps_it_there() {
        let three = |what: &str| format!("{THREE}{what}");
        let opted_out = THREE.replace("memory=2048", "memory=2048 tag.ecs-rebalancer:enabled=false");
        let impaired = THREE.replace("a i-3", "a i-3 impaired=true");
        // Nothing is known of the provider: it may take the instance away.
        let of_provider = THREE.replace("a i-3", "a i-3 provider=od");
        let too_small =
            "a i-1 s0 s1\na i-2 memory=1000\na i-3 memory=1000\nservice s0 memory=4096\nservice s1 memory=2048";
        // ECS may place web's next task on any of three instances, and only on i-2 does it help.
        let unlikely = "a i-1 web x1\na i-2\na i-3 x3\na i-4 x3\nservice web desired=1 cpu=500 memory=1000\n\
             service x1 cpu=3500 memory=7000 tag.ecs-rebalancer:enabled=false\n\
             service x3 cpu=3400 memory=6800 tag.ecs-rebalancer:enabled=false";
        let steered = Policy { steer: true, ..at(10) };
        for (drawing, policy, expected) in [
            (three(""), at(100), "i-3 0 % switched-off, i-1 75 % switched-off"),
            (three(""), at(10), "i-3 0 % later, i-1 75 % later"),
            (opted_out, at(10), "i-3 0 % no-task-fits, i-1 75 % no-task-may-go"),
            (impaired.clone(), at(10), "i-3 0 % impaired, i-1 75 % later"),
            (impaired, at(60), "i-3 0 % impaired, i-1 75 % below-threshold"),
            (of_provider.clone(), at(10), "i-3 0 % managed-scaling, i-1 75 % later"),
            (of_provider, at(60), "i-3 0 % below-threshold, i-1 75 % below-threshold"),
            (too_small.to_owned(), at(10), "i-2 0 % no-task-fits, i-3 0 % no-task-fits, i-1 75 % no-place"),
            (unlikely.to_owned(), at(10), "i-2 0 % needs-steering"),
            (unlikely.to_owned(), steered, "i-2 0 % later"),
        ] {
            assert_eq!(far(&drawing, &policy).join(", "), expected, "{drawing}");
        }
        let mut packed = cluster(THREE);
        packed.consolidated_at = Some(NOW);
        assert_eq!(told(&packed, &at(10)), ["i-3 0 % packed", "i-1 75 % packed"]);
        let mut unread = cluster(THREE);
        unread.task_definitions.clear();
        assert_eq!(told(&unread, &at(10)), ["i-3 0 % later", "i-1 75 % later"], "nobody has looked at their sizes");
        let none = Reviewed { cluster: "drawn".to_owned(), services: BTreeMap::new() };
        let reviewed = Policy { reviewed: Some(none), ..at(10) };
        assert_eq!(told(&cluster(THREE), &reviewed), ["i-3 0 % not-in-plan", "i-1 75 % not-in-plan"]);
    }
}
