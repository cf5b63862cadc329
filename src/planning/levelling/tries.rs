//! Levelling without steering: tasks are started where ECS puts them, and the best of old and new tasks stay.
//!
//! A try starts one task more and then lets one go. If the new task landed well, a task on a fuller container instance goes; if
//! it landed badly, the new one goes itself, it was started in vain, and nothing that ran before was touched. So a try is worth
//! it where most of the container instances that ECS may choose are good ones; and, in a run most of whose tries landed well, where
//! some of them are.
//!
//! An example: a service has one task, on an instance that is 90 % reserved. The next task may land on any of ten instances of
//! two other zones. Nine of them are at 10 %, and one is at 90 %. A try succeeds with a chance of 9 in 10: on average ten tries
//! make nine moves, and one of the ten tasks is started in vain.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    FEWEST_IN_VAIN, MOVES_FOR_ONE_IN_VAIN, NEVER,
    field::{Amounts, Change, Field, Weights},
    mover::{Crowds, Mover},
};
use crate::planning::{
    model::{Cluster, ContainerInstance, ContainerInstanceArn, ServiceName, Task, TaskArn},
    placement::{Index, occupancy::Occupancy},
    plan::Move,
    policy::{Percent, Policy},
    provider_parts::ServiceParts,
    reason::Unlevelled,
    relocation::Relocatable,
    tasks::Tasks,
};

/// So much CPU and memory count together.
const WEIGHT: i64 = 128;
/// A move is not worth a restart unless it evens out this part of what an average task reserves. That is little: a start that lands
/// where it evens out something is better kept than started in vain.
const WORTHWHILE_PART: i64 = 64;
/// At least one of so many container instances that ECS may choose must be a good one, whatever landed well before.
const PLACES_FOR_A_GOOD_ONE: usize = 4;
/// Where instances are to be cleared, one of so many: of two tries, at least one is to lead a task elsewhere with a chance of 3 in 4.
pub(super) const PLACES_FOR_A_CLEARING_ONE: usize = 2;
/// What comes of a start on the real fleet, in hundredths.
const USUAL_LANDED: u64 = 60;
const USUAL_IN_VAIN: u64 = 40;
/// A start in vain weighs as much as so many moves when services are compared: it helps nobody. On the real fleet the run comes
/// under its threshold with less than half as many starts in vain as moves.
const WEIGHT_IN_VAIN: usize = 64;
/// As long as a run may start some in vain whatever it moves, one weighs no more than a move: then a move that evens out much is
/// worth some of these.
const WEIGHT_IN_VAIN_AT_FIRST: usize = 1;
/// As long as that is so, a new task stays only where it is worth so many percent of what the best place for it would be: a start
/// in vain stops no task that ran before. So a run makes fewer moves: in a thousand random clusters 1.3 times the fewest, and not
/// 1.5 times. Where one steered move would do, it makes 1.28 on average. Any way without steering needs 1.20 there, unless it gives
/// up (`tests/peers/oracle_levelling.py`).
const GOOD_ENOUGH_PERCENT: i64 = 65;
/// From so many container instances of a service, the fullest ones, a task is looked for that may go.
const MOST_ORIGINS: usize = 16;
/// A cluster of more container instances is planned roughly: else the time that it takes grows faster than the cluster. On the real
/// fleet, which has 1,523, a rough plan would cost a run some 15 more starts in vain.
const MOST_PLANNED_EXACTLY: usize = 1_600;
/// In a rough plan so many of the container instances that ECS may choose stand for all of them. At 5,000 instances, for 10,000 moves,
/// 4,031 starts in vain are to be expected then; 4,344 if 512 stand for all, which takes twice as long.
const MOST_PLACES: usize = 128;
/// In a rough plan a move is made if it is worth this part of what another promised before, in hundredths.
const NEARLY_THE_BEST_PERCENT: i64 = 90;

/// What makes the place where a new task landed a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'p> {
    /// The load, which is to come under this threshold, gets more even.
    Load(Percent),
    /// None of these container instances got it: tasks are to leave them, and for each new task elsewhere one of them may.
    Clear {
        /// These.
        instances: &'p BTreeSet<ContainerInstanceArn>,
        /// Whether tasks are packed: then a service keeps its tasks of each zone, and else it stays as spread as it is.
        packs: bool,
    },
}

/// What levelling means to do with one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levelled {
    /// The service.
    pub service: ServiceName,
    /// The tasks that are to go, each with an instance on which its successor may land: one of the good ones.
    pub moves: Vec<Move>,
    /// How many tasks are expected to be started in vain, in hundredths.
    pub in_vain_hundredths: u32,
}

/// What a run's tries have come to, in hundredths of a task, since what is under way counts as it is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    landed: u64,
    in_vain: u64,
    /// Moves of earlier runs against which no start in vain has been set.
    unspent: u64,
}

impl Tally {
    /// So many tasks landed well and so many were started in vain. Those that are under way count as the one and the other by
    /// what is usual.
    pub fn new(landed: u32, in_vain: u32, under_way: u32) -> Self {
        let [landed, in_vain, under_way] = [landed, in_vain, under_way].map(u64::from);
        let (landed, in_vain) = (landed * 100 + under_way * USUAL_LANDED, in_vain * 100 + under_way * USUAL_IN_VAIN);
        Self { landed, in_vain, unspent: 0 }
    }

    /// The same where earlier runs have left so many moves against which no start in vain has been set.
    #[must_use]
    pub fn after(self, unspent_moves: Option<u32>) -> Self {
        Self { unspent: u64::from(unspent_moves.unwrap_or(0)) * 100, ..self }
    }

    /// Whether so much more leaves it at one start in vain for two moves, those that earlier runs left included. Where a good landing is as likely as a
    /// bad one, the first few in vain are allowed in any case.
    pub(super) fn permits(self, more: Self) -> bool {
        let after = self.with(more);
        more.pays_for_itself()
            || after.pays_for_itself()
            || (more.in_vain <= more.landed && after.in_vain <= u64::from(FEWEST_IN_VAIN) * 100)
    }

    /// How many more tasks the run may start in vain whatever it moves. None, where earlier runs have left moves for that: these are
    /// for tries that would not be made otherwise.
    pub fn free_in_vain(self) -> u32 {
        let in_vain = u32::try_from(self.in_vain.div_ceil(100)).unwrap_or(u32::MAX);
        if self.unspent > 0 { 0 } else { FEWEST_IN_VAIN.saturating_sub(in_vain) }
    }

    /// How many tasks were started in vain.
    pub(super) fn in_vain_hundredths(self) -> u64 {
        self.in_vain
    }

    /// Whether there are two moves for one start in vain, or more.
    fn pays_for_itself(self) -> bool {
        self.in_vain * u64::from(MOVES_FOR_ONE_IN_VAIN) <= self.landed + self.unspent
    }

    fn with(self, more: Self) -> Self {
        Self { landed: self.landed + more.landed, in_vain: self.in_vain + more.in_vain, ..self }
    }
}

/// What a run has done before its next tries are planned.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    /// How many tasks it has moved, of each service of which it has moved any or tried to.
    pub moved: BTreeMap<ServiceName, usize>,
    /// The services that are tried no more.
    pub given_up: BTreeSet<ServiceName>,
    /// What its moves and tries have come to.
    pub tally: Tally,
}

/// Of the services that may be moved those that are worth a try, at most `policy.max_services` of them, and at most `policy.max_moves` moves, until the load
/// is under the threshold. The move that evens out the most for each task that is started comes first. Where a plan was
/// reviewed, just the tasks of its moves that hold still. The tasks that are foreseen instead of those that the run has moved stay.
pub(in crate::planning) fn tries<'a>(
    index: &Index<'a>,
    relocatable: &[Relocatable<'a>],
    policy: &Policy,
    so_far: &SoFar,
) -> Vec<Levelled> {
    planned(index, relocatable, policy, so_far, index.cluster.container_instances.len() > MOST_PLANNED_EXACTLY)
}

fn planned<'a>(
    index: &Index<'a>,
    relocatable: &[Relocatable<'a>],
    policy: &Policy,
    so_far: &SoFar,
    is_rough: bool,
) -> Vec<Levelled> {
    let SoFar { moved: done, given_up, tally } = so_far;
    let mut tally = *tally;
    // Where a plan was reviewed, just the tasks of those moves that hold still. To where each goes is ECS's choice.
    let holding = policy.reviewed.as_ref().map(|reviewed| reviewed.to_level(index.cluster));
    let may_go = |task: &Task| holding.as_ref().is_none_or(|holding| holding.contains(&task.arn));
    let nearly_percent = if is_rough { NEARLY_THE_BEST_PERCENT } else { 100 };
    let mut instances = Instances { is_rough, ..Instances::new(index, Purpose::Load(policy.load_threshold)) };
    let mut paths = BTreeMap::new();
    let spread = relocatable.iter().filter(|it| it.is_spread() && !given_up.contains(&it.service.name));
    let mut movers: Vec<Mover<'_, '_>> = spread
        .filter_map(|relocatable| {
            let mut mover = Mover::new(index, &mut instances.occupancy, relocatable, &mut paths)?;
            let service = relocatable.service;
            mover.moves_left = mover.moves_left.saturating_sub(done.get(&service.name).copied().unwrap_or(0));
            mover.restrict(may_go);
            Some(mover)
        })
        .collect();
    let mut queue: BinaryHeap<(i64, Reverse<usize>)> = BinaryHeap::new();
    // What was last seen of each, and how many moves were left then: as long as none is made, that holds.
    let mut seen: Vec<(u32, Option<Prospect>)> = Vec::new();
    for (number, mover) in movers.iter().enumerate() {
        let prospect = instances.prospect(mover);
        queue.extend(prospect.map(|prospect| (prospect.worth_for_its_cost(tally), Reverse(number))));
        seen.push((policy.max_moves, prospect));
    }
    // Those that would be worth a try if more had landed well before.
    let mut later: Vec<(i64, Reverse<usize>)> = Vec::new();
    let mut tally_then = tally;
    let mut levelled: BTreeMap<usize, (usize, Levelled)> = BTreeMap::new();
    // The instances that tasks of each service are to leave.
    let mut vacated: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let (mut moves_left, mut others) = (policy.max_moves, 0);
    loop {
        let Some((_, Reverse(number))) = queue.pop() else {
            if tally == tally_then || later.is_empty() {
                break;
            }
            tally_then = tally;
            queue.extend(later.drain(..));
            continue;
        };
        if moves_left == 0 || instances.field.is_even() {
            break;
        }
        let is_another =
            !levelled.contains_key(&number) && !done.contains_key(&movers[number].relocatable.service.name);
        if is_another && others >= policy.max_services {
            continue;
        }
        if seen[number].0 != moves_left {
            seen[number] = (moves_left, instances.prospect(&movers[number]));
        }
        let Some(prospect) = seen[number].1 else { continue };
        // What others moved since may have made it worth less: then another may come first.
        let worth = prospect.worth_for_its_cost(tally);
        if queue.peek().is_some_and(|(next, _)| worth * 100 < *next * nearly_percent) {
            queue.push((worth, Reverse(number)));
            continue;
        }
        let a_move = prospect.of_a_move();
        if !tally.permits(a_move) {
            later.push((worth, Reverse(number)));
            continue;
        }
        let mover = &mut movers[number];
        let Prospect { from, to, .. } = prospect;
        let [from_instance, to_instance] = [from, to].map(|number| instances.field.instances[number]);
        let order = levelled.len();
        let (_, of_it) = levelled.entry(number).or_insert_with(|| {
            let service = mover.relocatable.service.name.clone();
            (order, Levelled { service, moves: Vec::new(), in_vain_hundredths: 0 })
        });
        // Where others have left, ECS may place the next one too. That is foreseen, but doesn't decide: those that are started at once
        // are placed before any leaves.
        let crowds = mover.crowds(&instances.field, &instances.occupancy);
        let vacated = vacated.entry(number).or_default();
        let is_one_more =
            |place: &&usize| crowds.are_alike(**place, to) && !mover.has_room_on(&instances.occupancy, **place);
        let in_vain = prospect.in_vain_of_a_move(vacated.iter().filter(is_one_more).count());
        let goes = |task: &Task| of_it.moves.iter().any(|a_move| a_move.task == task.arn);
        let mut youngest_first = mover.tasks_on(from_instance).into_iter().rev();
        let youngest = youngest_first.find(|task| !goes(task) && may_go(task));
        let Some(task) = youngest.map(|task| task.arn.clone()) else { continue };
        of_it.moves.push(Move { task, from: from_instance.arn.clone(), to: to_instance.arn.clone() });
        vacated.push(from);
        of_it.in_vain_hundredths += u32::try_from(in_vain).unwrap_or(u32::MAX);
        tally = tally.with(a_move);
        moves_left -= 1;
        others += u32::from(is_another);
        instances.shift(mover, from, to);
        queue.push((worth, Reverse(number)));
    }
    let mut levelled: Vec<(usize, Levelled)> =
        levelled.into_values().filter(|(_, levelled)| !levelled.moves.is_empty()).collect();
    levelled.sort_by_key(|(order, _)| *order);
    levelled.into_iter().map(|(_, levelled)| levelled).collect()
}

/// How many tasks of a service are worth starting on top now: at most `most`, and so many that `wanted` of them are expected to
/// land well. None of its tasks that are `barred` can go. The run's tries have come to the tally so far; without one, just those
/// are that are worth it whatever came of others. Where instances are to be cleared, that was weighed before, and no tally counts.
///
/// It is better to start many at once than one after another. Those that landed badly keep ECS from choosing the same container
/// instances again until all are placed, and no instance is vacated before.
pub fn worthwhile_starts(
    cluster: &Cluster,
    service: &ServiceName,
    barred: &BTreeSet<TaskArn>,
    most: u32,
    wanted: u32,
    purpose: Purpose<'_>,
    mut tally: Option<Tally>,
) -> u32 {
    let index = Index::new(cluster);
    let mut instances = Instances::new(&index, purpose);
    let Some(relocatable) = in_hand(&index, service) else { return 0 };
    let Some(mut mover) = Mover::new(&index, &mut instances.occupancy, &relocatable, &mut BTreeMap::new()) else {
        return 0;
    };
    mover.restrict(|task| !barred.contains(&task.arn));
    let (mut starts, mut landed) = (0, 0);
    while starts < most && landed < u64::from(wanted) * 100 {
        let Some(prospect) = instances.prospect(&mover) else { break };
        let a_start = prospect.of_a_start();
        let is_worth_it = || tally.map_or(a_start.pays_for_itself(), |tally| tally.permits(a_start));
        if matches!(purpose, Purpose::Load(_)) && !is_worth_it() {
            break;
        }
        tally = tally.map(|tally| tally.with(a_start));
        let well_before = to_the_nearest(landed);
        landed += a_start.landed;
        starts += 1;
        if to_the_nearest(landed) > well_before {
            instances.shift(&mut mover, prospect.from, prospect.to);
        } else if let Some(bad) = prospect.bad {
            mover.stay(&mut instances.occupancy, bad);
        }
    }
    starts
}

/// Who goes, so that the best of old and new tasks stay: for each new task that landed well, the old one that is worth the
/// most; and the other new ones. `may_go` are the old tasks that may. Of the new tasks that landed well, `free_in_vain` may go
/// where the best place would have been worth much more.
pub fn best_to_go(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    new: &BTreeSet<TaskArn>,
    may_go: &BTreeSet<TaskArn>,
    purpose: Purpose<'_>,
    mut free_in_vain: u32,
) -> BestToGo {
    let mut before = cluster.clone();
    for task in new {
        crate::planning::view::remove(&mut before, task);
    }
    let (mut left, mut not_good_enough) = (new.clone(), BTreeSet::new());
    let mut old = BTreeSet::new();
    let index = Index::new(&before);
    let mut instances = Instances::new(&index, purpose);
    if let Some(relocatable) = in_hand(&index, service)
        && let Some(mut mover) = Mover::new(&index, &mut instances.occupancy, &relocatable, &mut BTreeMap::new())
    {
        mover.restrict(|task| may_go.contains(&task.arn));
        loop {
            let crowds = mover.crowds(&instances.field, &instances.occupancy);
            let landed = left.iter().filter_map(|arn| {
                let place = tasks.all.get(arn)?.container_instance.as_ref()?;
                let to = instances.occupancy.instance(place)?;
                let (worth, from) = instances.best_origin(&crowds, to)?;
                Some((worth, Reverse(arn.clone()), from, to))
            });
            let Some((worth, Reverse(stays), from, to)) = landed.max() else { break };
            if free_in_vain > 0 && !instances.is_good_enough(&mover, worth) {
                free_in_vain -= 1;
                left.remove(&stays);
                not_good_enough.insert(stays);
                continue;
            }
            let goes = mover.tasks_on(instances.field.instances[from]).into_iter().rev();
            let goes = goes.map(|task| &task.arn).find(|task| may_go.contains(*task) && !old.contains(*task));
            let Some(goes) = goes.cloned() else { break };
            old.insert(goes);
            left.remove(&stays);
            instances.shift(&mut mover, from, to);
        }
    }
    // Where some have gone by themselves meanwhile fewer go: first those that are nowhere of use.
    let mut new: Vec<TaskArn> = left.union(&not_good_enough).cloned().collect();
    new.sort_by_cached_key(|arn| {
        let place = tasks.all.get(arn).and_then(|task| task.container_instance.as_ref());
        place.and_then(|place| instances.occupancy.instance(place)).is_some_and(|place| instances.may_fill(place))
    });
    BestToGo { old, new, waits: !not_good_enough.is_empty() }
}

/// The tasks that go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestToGo {
    /// Those that ran before: each is replaced by a new one that landed well.
    pub old: BTreeSet<TaskArn>,
    /// The new ones that did not, in the order in which they go.
    pub new: Vec<TaskArn>,
    /// Whether one of them landed well, and goes since it is worth it to wait for a better landing.
    pub waits: bool,
}

/// A service in hand, whatever would keep it from being taken now.
pub(super) fn in_hand<'a>(index: &Index<'a>, service: &ServiceName) -> Option<Relocatable<'a>> {
    let mut service_parts = ServiceParts::new(index, service)?;
    let part = service_parts.parts.pop().filter(|_| service_parts.parts.is_empty())?.placements();
    let definition = index.cluster.task_definitions.get(&service_parts.service.task_definition)?;
    Some(Relocatable { service: service_parts.service, part, definition, max_moves: usize::MAX })
}

/// What may come of one more task of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prospect {
    /// On how many container instances ECS may place it.
    places: usize,
    /// On how many of them it stays, since another task goes.
    good: usize,
    /// What all of these are worth.
    worth: i64,
    /// What the best of them is worth.
    best: i64,
    /// One of them, in the middle by worth; and from where a task goes then.
    to: usize,
    from: usize,
    /// One of those where it doesn't stay.
    bad: Option<usize>,
}

impl Prospect {
    /// What is expected of a start, by what it costs: a move, or a start in vain.
    fn worth_for_its_cost(&self, tally: Tally) -> i64 {
        let weight = if tally.free_in_vain() > 0 { WEIGHT_IN_VAIN_AT_FIRST } else { WEIGHT_IN_VAIN };
        let cost = self.good + weight * (self.places - self.good);
        self.worth / i64::try_from(cost).unwrap_or(i64::MAX).max(1)
    }

    /// What comes of one start, each place being as likely as any other.
    fn of_a_start(&self) -> Tally {
        let landed = part_of(self.good, self.places);
        Tally { landed, in_vain: 100 - landed, unspent: 0 }
    }

    /// What comes of as many starts as it takes until one lands well.
    pub(super) fn of_a_move(&self) -> Tally {
        Tally { landed: 100, in_vain: self.in_vain_of_a_move(0), unspent: 0 }
    }

    /// One of the moves that are as good as any.
    pub(super) fn a_move(&self) -> (usize, usize) {
        (self.from, self.to)
    }

    /// How many are started in vain, in hundredths, until one lands well, with so many more places where landing is no good.
    fn in_vain_of_a_move(&self, more_places: usize) -> u64 {
        part_of(self.places - self.good + more_places, self.good)
    }
}

/// So many tasks, of hundredths of them.
fn to_the_nearest(hundredths: u64) -> u64 {
    (hundredths + 50) / 100
}

fn part_of(part: usize, whole: usize) -> u64 {
    u64::try_from(part * 100 / whole.max(1)).unwrap_or(u64::MAX)
}

/// The container instances, and what the tasks on them reserve.
pub(super) struct Instances<'a> {
    pub(super) field: Field<'a>,
    pub(super) occupancy: Occupancy<'a>,
    /// Whether a task may stay on each.
    may_fill: Vec<bool>,
    /// The least that a move has to be worth.
    least: i64,
    /// How much CPU and memory count beside each other, as the field is now.
    weights: Weights,
    /// Whether instances are to be cleared, so that one good place is as good as another.
    clears: bool,
    /// Whether tasks are packed.
    packs: bool,
    /// Whether some of the instances that ECS may choose stand for all of them.
    is_rough: bool,
}

/// Container instances that are alike for a service's spread.
struct Alike {
    /// From where a task may go when a new one stays on one of them.
    origins: Vec<Origin>,
    /// Those of the instances that are alike that are among these.
    are_from: Vec<usize>,
    /// The best of those that make the same difference: for a new task on any other instance no other of them is better.
    bests: Vec<Origin>,
    /// The best of all by the difference that a new task makes. On most instances it makes none: they are far below their share.
    by_difference: BTreeMap<Change, Option<(i64, usize)>>,
}

impl Alike {
    /// An instance that a task may leave is one of them if it is as crowded as they are.
    fn new(origins: Vec<Origin>, is_as_crowded: impl Fn(usize) -> bool) -> Self {
        let are_from = origins.iter().map(|origin| origin.from.0).filter(|from| is_as_crowded(*from)).collect();
        let mut bests: Vec<Origin> = Vec::new();
        for origin in &origins {
            match bests.iter_mut().find(|best| best.leaves == origin.leaves) {
                Some(best) if (best.stays_good, best.from) < (origin.stays_good, origin.from) => *best = *origin,
                Some(_) => {}
                None => bests.push(*origin),
            }
        }
        Self { origins, are_from, bests, by_difference: BTreeMap::new() }
    }
}

/// A container instance that a task may leave.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    stays_good: (Reverse<i64>, bool),
    from: Reverse<usize>,
    leaves: Change,
}

impl<'a> Instances<'a> {
    pub(super) fn new(index: &Index<'a>, purpose: Purpose<'_>) -> Self {
        let (load_threshold, cleared) = match purpose {
            Purpose::Load(threshold) => (threshold, None),
            Purpose::Clear { instances, .. } => (NEVER, Some(instances)),
        };
        let field = Field::new(index, load_threshold);
        let is_cleared = |instance: &ContainerInstance| cleared.is_some_and(|cleared| cleared.contains(&instance.arn));
        // To make capacity an empty instance may be filled, whatever managed scaling would do with it: steering fills it as well.
        let may_be_filled = |instance: &ContainerInstance| match purpose {
            Purpose::Load(_) => not_filled(index, instance).is_none(),
            Purpose::Clear { .. } => !instance.is_impaired,
        };
        let may_fill = |instance: &&ContainerInstance| !is_cleared(instance) && may_be_filled(instance);
        let may_fill = field.instances.iter().map(may_fill).collect();
        let least = Field::average_worth(index.cluster.tasks.len(), WEIGHT / 2) / WORTHWHILE_PART;
        let weights = field.weights(WEIGHT);
        let (occupancy, clears) = (Occupancy::read(index), cleared.is_some());
        let packs = matches!(purpose, Purpose::Clear { packs: true, .. });
        Self { field, occupancy, may_fill, least: least.max(1), weights, clears, packs, is_rough: false }
    }

    /// Whether a new task may stay on an instance.
    pub(super) fn may_fill(&self, to: usize) -> bool {
        self.may_fill[to]
    }

    fn shift(&mut self, mover: &mut Mover<'_, 'a>, from: usize, to: usize) {
        mover.shift(&mut self.occupancy, from, to);
        self.field.shift(&mover.size, from, to);
        self.weights = self.field.weights(WEIGHT);
    }

    /// What may come of one more task; none where that isn't worth a try.
    pub(super) fn prospect(&self, mover: &Mover<'_, 'a>) -> Option<Prospect> {
        if mover.moves_left == 0 || mover.movable.is_empty() || (!self.clears && self.field.is_even()) {
            return None;
        }
        let most = if self.is_rough { MOST_PLACES } else { usize::MAX };
        let crowds = mover.crowds(&self.field, &self.occupancy);
        let places = crowds.some_next_places(most);
        // Container instances of one domain, all of which have equally many of the service's tasks, are alike for its spread; where
        // tasks are packed, those of one zone are.
        let mut alike = BTreeMap::<(Option<u32>, Option<&str>), Alike>::new();
        let leaving = self.leaving(mover);
        let comes = self.field.amounts(&mover.size);
        let (mut good, mut bad) = (Vec::<(i64, usize, usize)>::with_capacity(places.len()), None);
        for to in places.iter().copied() {
            let domain = (mover.domain_of(to).last().copied(), self.packs.then(|| self.zone(to)));
            let new = || Alike::new(self.origins(&crowds, &leaving, to), |from| crowds.are_alike(from, to));
            match self.best_of_alike(alike.entry(domain).or_insert_with(new), to, comes) {
                Some((worth, from)) => good.push((worth, from, to)),
                None => bad = bad.or(Some(to)),
            }
        }
        let places_for_a_good_one = if self.clears { PLACES_FOR_A_CLEARING_ONE } else { PLACES_FOR_A_GOOD_ONE };
        if good.is_empty() || good.len() * places_for_a_good_one < places.len() {
            return None;
        }
        let worth = good.iter().map(|(worth, ..)| worth).sum();
        let best = good.iter().map(|(worth, ..)| *worth).max().unwrap_or(0);
        let middle = good.len() / 2;
        let (_, (_, from, to), _) = good.select_nth_unstable(middle);
        let (from, to) = (*from, *to);
        Some(Prospect { places: places.len(), good: good.len(), worth, best, from, to, bad })
    }

    /// What a new task on an instance is worth at best, and from where another goes then: looked for once for all instances on which it
    /// makes the same difference.
    fn best_of_alike(&self, alike: &mut Alike, to: usize, comes: Amounts) -> Option<(i64, usize)> {
        if !self.may_fill[to] {
            return None;
        }
        let Alike { origins, are_from, bests, by_difference } = alike;
        let difference = self.field.change_by(to, comes);
        if are_from.contains(&to) {
            return self.best_by(origins, to, difference);
        }
        *by_difference.entry(difference).or_insert_with(|| self.best_by(bests, to, difference))
    }

    /// Whether a landing that is worth that much is good enough beside those that one more task may have.
    fn is_good_enough(&self, mover: &Mover<'_, 'a>, worth: i64) -> bool {
        let best = self.prospect(mover).map_or(0, |prospect| prospect.best);
        worth * 100 >= best * GOOD_ENOUGH_PERCENT
    }

    /// The container instances that a task may leave, and what that is worth: the most first.
    fn leaving(&self, mover: &Mover<'_, 'a>) -> Vec<(i64, usize)> {
        let task = self.field.parts(&mover.size);
        let worth = |from: &usize| (self.field.worth_of_leaving(*from, task, self.weights), *from);
        let mut leaving: Vec<(i64, usize)> = mover.movable.keys().map(worth).collect();
        leaving.sort_by_key(|(worth, _)| Reverse(*worth));
        leaving
    }

    /// From where a task may go when a new one stays on that instance: the best of those that it may leave.
    fn origins(&self, crowds: &Crowds<'_, '_, 'a>, leaving: &[(i64, usize)], to: usize) -> Vec<Origin> {
        let mover = crowds.mover;
        let tells_not_apart = self.packs || !mover.relocatable.part.levels.instance;
        let mut origins: Vec<(i64, Origin)> = Vec::new();
        // What a task's leaving is worth is known, whether it keeps the spread is not: so the best instances are asked first.
        for (worth, from) in leaving.iter().copied() {
            if origins.get(MOST_ORIGINS - 1).is_some_and(|(last, _)| worth < *last) {
                break;
            }
            // Where instances are not told apart, a task may leave the instance itself when a new one stays on another one of the domain.
            if (from != to || tells_not_apart) && self.keeps_spread(crowds, from, to) {
                origins.push((worth, self.origin(mover, from)));
            }
        }
        let key = |(worth, origin): &(i64, Origin)| Reverse((*worth, origin.stays_good, origin.from));
        if origins.len() > MOST_ORIGINS {
            origins.select_nth_unstable_by_key(MOST_ORIGINS, key);
            origins.truncate(MOST_ORIGINS);
        }
        origins.into_iter().map(|(_, origin)| origin).collect()
    }

    /// Whether a task may go from one instance to another as far as its service's spread goes.
    pub(super) fn keeps_spread(&self, crowds: &Crowds<'_, '_, 'a>, from: usize, to: usize) -> bool {
        if self.packs {
            crowds.mover.is_only_task() || self.zone(from) == self.zone(to)
        } else {
            crowds.keep_spread(from, to)
        }
    }

    fn zone(&self, number: usize) -> &str {
        self.field.instances[number].availability_zone()
    }

    pub(super) fn origin(&self, mover: &Mover<'_, 'a>, from: usize) -> Origin {
        Origin {
            stays_good: self.stays_a_good_place(mover, from),
            from: Reverse(from),
            leaves: self.field.change(from, &mover.size, false),
        }
    }

    /// How little an instance becomes one more place where landing is no good, once a task has left it. One that is hardly above
    /// its share is a good place, or nearly one, as soon as one or two have left it, and ECS may choose it anyway. From one that is
    /// full up to now ECS keeps away until a task leaves it.
    fn stays_a_good_place(&self, mover: &Mover<'_, 'a>, from: usize) -> (Reverse<i64>, bool) {
        (Reverse(self.field.fullness(from)), self.occupancy.holdings()[from].free().holds(&mover.size))
    }

    /// What a new task on an instance is worth at best, and from where another goes then.
    pub(super) fn best_origin(&self, crowds: &Crowds<'_, '_, 'a>, to: usize) -> Option<(i64, usize)> {
        self.best_of(crowds.mover, &self.origins(crowds, &self.leaving(crowds.mover), to), to)
    }

    pub(super) fn best_of(&self, mover: &Mover<'_, 'a>, origins: &[Origin], to: usize) -> Option<(i64, usize)> {
        let difference = self.field.change(to, &mover.size, true);
        self.best_by(origins, to, difference).filter(|_| self.may_fill[to])
    }

    /// The same where the new task makes that difference.
    fn best_by(&self, origins: &[Origin], to: usize, difference: Change) -> Option<(i64, usize)> {
        let others = origins.iter().filter(|origin| origin.from.0 != to);
        if self.clears {
            return others.map(|origin| (origin.stays_good, origin.from)).max().map(|(_, Reverse(from))| (1, from));
        }
        let worth = |origin: &Origin| {
            let change = [origin.leaves[0] + difference[0], origin.leaves[1] + difference[1]];
            let worth = self.field.worth(change, self.weights);
            let is_worth_it = worth >= self.least || worth > 0 && self.field.is_even_after(change);
            (is_worth_it && self.field.is_sound(change)).then_some((worth, origin.stays_good, origin.from))
        };
        others.filter_map(worth).max().map(|(worth, _, Reverse(from))| (worth, from))
    }
}

/// Why no task may stay on a container instance. Not on one that ECS calls impaired; nor on an empty one that managed scaling
/// would take away: filling it would keep it for ever.
pub(super) fn not_filled(index: &Index<'_>, instance: &ContainerInstance) -> Option<Unlevelled> {
    if instance.is_impaired {
        return Some(Unlevelled::Impaired);
    }
    let name = instance.capacity_provider.as_deref().filter(|_| index.is_empty(instance))?;
    let provider = index.cluster.capacity_providers.get(name);
    let of_it = index.cluster.container_instances.values();
    let of_it = || of_it.clone().filter(|instance| instance.capacity_provider.as_deref() == Some(name)).count();
    let stays = provider.is_some_and(|provider| {
        !provider.managed_scaling || provider.minimum_instances.is_some_and(|minimum| of_it() <= minimum as usize)
    });
    (!stays).then(|| Unlevelled::ManagedScaling(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{
        model::CapacityProvider,
        relocation::relocatable,
        testing::{NOW, cluster},
    };

    fn tries_on(cluster: &Cluster, policy: &Policy, so_far: &SoFar, is_rough: bool) -> Vec<Levelled> {
        let index = Index::new(cluster);
        planned(&index, &relocatable(&index, policy, NOW), policy, so_far, is_rough)
    }

    /// The planned moves, as `s0:i-1>i-2`, and how many starts in vain are expected, in hundredths.
    #[track_caller]
    fn check(drawing: &str, expected: &str) {
        let levelled = tries_on(&cluster(drawing), &Policy::default(), &SoFar::default(), false);
        let mut shown: Vec<String> = Vec::new();
        for of_service in &levelled {
            let moves = of_service.moves.iter();
            shown.extend(moves.map(|it| format!("{}:{}>{}", of_service.service, it.from.short(), it.to.short())));
        }
        let in_vain: u32 = levelled.iter().map(|of_service| of_service.in_vain_hundredths).sum();
        assert_eq!(format!("{} {in_vain}", shown.join(" ")), expected, "{drawing}");
    }

    const ONE_FULL: &str = "a i-1 s0 s1 s2 s3";
    const ALONE: &str = "service s0 desired=1\nservice s1 desired=1\nservice s2 desired=1\nservice s3 desired=1";

    #[test]
    fn tasks_leave_a_full_instance_as_long_as_most_landings_are_good_ones() {
        // Each of the two empty instances is a good one.
        check(&format!("{ONE_FULL}\na i-2\na i-3\n{ALONE}"), "s0:i-1>i-3 s3:i-1>i-2 0");
        // Nowhere to go but where it is full, or nowhere at all.
        check(&format!("{ONE_FULL}\n{ALONE}"), " 0");
        check(&format!("{ONE_FULL}\na i-2 memory=100\n{ALONE}"), " 0");
    }

    #[test]
    fn a_rough_plan_comes_as_far_as_an_exact_one_with_about_as_many_moves() {
        // 200 of 800 instances have four tasks each, 600 have none: ECS may choose more places than a rough plan looks at.
        let mut drawing = String::new();
        for number in 0..800 {
            let tasks = if number % 4 == 0 {
                format!(" s{0} s{1} s{1} s{2}", number, number / 40, number / 8)
            } else {
                String::new()
            };
            drawing.push_str(&format!("a i-{number:03}{tasks}\n"));
        }
        let cluster = cluster(&drawing);
        let policy = Policy { max_moves: u32::MAX, max_services: u32::MAX, ..Policy::default() };
        let [exact, rough] = [false, true].map(|is_rough| {
            let planned = tries_on(&cluster, &policy, &SoFar::default(), is_rough);
            let moves: Vec<Move> = planned.into_iter().flat_map(|it| it.moves).collect();
            let mut after = cluster.clone();
            for (number, a_move) in moves.iter().enumerate() {
                crate::planning::view::relocate(&mut after, &a_move.task, &a_move.to, number);
            }
            let found = crate::planning::imbalance::measure(&after, &policy, NOW);
            (moves.len(), found.load_imbalance.percent())
        });
        assert!(exact.0 > 100 && (rough.1 - exact.1).abs() < 1.0, "{exact:?} {rough:?}");
        assert!(rough.0.abs_diff(exact.0) * 20 <= exact.0, "{exact:?} {rough:?}");
    }

    #[test]
    fn what_would_even_out_memory_and_make_cpu_as_uneven_as_that_was_is_not_tried() {
        // The fifth of the memory that is above its share on i-3 may go to i-5, but i-5's CPU would be used up then.
        let drawing = "a i-1 s0 cpu=256\nb i-2 s1 cpu=512\na i-3 s0 s2 cpu=1024\na i-4 s0 cpu=512\na i-5 cpu=256\n\
                       service s0 strategy=spread:instanceId\nservice s1 strategy=binpack:memory\nservice s2 strategy=binpack:memory";
        let policy = Policy { load_threshold: Percent::from_hundredths(500), ..Policy::default() };
        assert_eq!(tries_on(&cluster(drawing), &policy, &SoFar::default(), false), []);
        // With a little more CPU there, something is gained.
        let more = drawing.replace("a i-5 cpu=256", "a i-5 cpu=512");
        assert_eq!(tries_on(&cluster(&more), &policy, &SoFar::default(), false).len(), 1);
    }

    #[test]
    fn a_try_is_not_worth_it_where_ecs_may_choose_more_bad_instances_than_good_ones() {
        let others = "tag.ecs-rebalancer:enabled=false";
        // One good landing of two, then one of three.
        let half = format!(
            "a i-1 web x1\na i-2\na i-3 x3\nservice web desired=1 cpu=500 memory=1000\n\
             service x1 cpu=3500 memory=7000 {others}\nservice x3 cpu=3400 memory=6800 {others}"
        );
        check(&half, "web:i-1>i-2 100");
        let third = format!("{half}\na i-4 x4\nservice x4 cpu=3400 memory=6800 {others}");
        check(&third, " 0");
    }

    #[test]
    fn a_run_whose_tries_landed_well_tries_where_fewer_places_are_good() {
        let others = "tag.ecs-rebalancer:enabled=false";
        // One good landing of three.
        let third = format!(
            "a i-1 web x1\na i-2\na i-3 x3\na i-4 x4\nservice web desired=1 cpu=500 memory=1000\n\
             service x1 cpu=3500 memory=7000 {others}\nservice x3 cpu=3400 memory=6800 {others}\n\
             service x4 cpu=3400 memory=6800 {others}"
        );
        let planned = |landed, in_vain, given_up: &[&str]| {
            let given_up = given_up.iter().map(|name| ServiceName::from(*name)).collect();
            let so_far = SoFar { tally: Tally::new(landed, in_vain, 0), given_up, ..SoFar::default() };
            tries_on(&cluster(&third), &Policy::default(), &so_far, false).len()
        };
        // Two starts in vain are to be expected until one lands well: that leaves one for two moves, and then no more.
        assert_eq!([planned(0, 0, &[]), planned(3, 0, &[]), planned(3, 1, &[]), planned(5, 1, &[])], [0, 1, 0, 1]);
        assert_eq!(planned(5, 1, &["web"]), 0, "what was given up is not planned again");
        let after = |unspent| {
            let so_far = SoFar { tally: Tally::default().after(unspent), ..SoFar::default() };
            tries_on(&cluster(&third), &Policy::default(), &so_far, false).len()
        };
        assert_eq!([None, Some(2), Some(3)].map(after), [0, 0, 1], "what earlier runs earned counts as well");
    }

    #[test]
    fn of_equal_moves_the_one_comes_first_that_leaves_ecs_no_more_bad_places() {
        // i-1 has no capacity for one more as long as both of its tasks stay; i-2 has.
        let others = "tag.ecs-rebalancer:enabled=false";
        let drawing = "a i-1 web x1\na i-2 web x2\na i-3\na i-4\nservice web desired=2 cpu=1000 memory=2000";
        check(
            &format!(
                "{drawing}\nservice x1 desired=1 cpu=3000 memory=6000 {others}\n\
                 service x2 desired=1 cpu=2000 memory=4000 {others}"
            ),
            "web:i-2>i-4 web:i-1>i-3 100",
        );
    }

    #[test]
    fn so_many_are_started_at_once_that_as_many_as_wanted_are_expected_to_land_well() {
        let others = "tag.ecs-rebalancer:enabled=false";
        // Four tasks on full instances. ECS may place the next one on any of four idle instances and four busy ones.
        let mut drawing = String::new();
        for number in 1..=4 {
            drawing += &format!("a i-{number} web full\na i-1{number}\na i-2{number} busy\n");
        }
        drawing += &format!(
            "service web cpu=1000 memory=2000\nservice full cpu=3000 memory=6000 {others}\n\
             service busy cpu=2900 memory=5800 {others}"
        );
        let cluster = cluster(&drawing);
        let starts = |most, wanted, tally| {
            worthwhile_starts(
                &cluster,
                &"web".into(),
                &BTreeSet::new(),
                most,
                wanted,
                Purpose::Load(Percent::from_hundredths(1_000)),
                tally,
            )
        };
        let earned = Some(Tally::new(100, 0, 0));
        assert_eq!([1, 2, 4].map(|wanted| starts(10, wanted, earned)), [3, 4, 8]);
        assert_eq!(starts(3, 4, earned), 3, "no more than may be");
        assert_eq!(starts(10, 4, None), 0, "each for itself is not worth it");
    }

    #[test]
    fn what_needs_it_more_is_levelled_first() {
        // Memory is farther from even than CPU: of two tasks that weigh as much together, the one goes that reserves more of it.
        let drawing = "a i-1 cpu-heavy memory-heavy x\na i-2 y\n\
            service cpu-heavy desired=1 cpu=150 memory=100\nservice memory-heavy desired=1 cpu=20 memory=650\n\
            service x desired=1 cpu=1130 memory=5650 tag.ecs-rebalancer:enabled=false\n\
            service y desired=1 cpu=100 memory=100 tag.ecs-rebalancer:enabled=false";
        check(drawing, "memory-heavy:i-1>i-2 cpu-heavy:i-1>i-2 0");
    }

    #[test]
    fn no_spread_gets_worse_and_zones_that_ecs_evens_out_keep_their_tasks() {
        check("a i-1 s0 s1\nb i-2\nservice s0 desired=1\nservice s1 desired=1", "s0:i-1>i-2 0");
        let stays = "azrebalancing=true";
        check(&format!("a i-1 s0 s1\nb i-2\nservice s0 desired=1 {stays}\nservice s1 desired=1 {stays}"), " 0");
        // Each zone has one of web's tasks: only an instance of the same zone takes its next task and lets one of them go.
        check("a i-1 web x x x\na i-2\nb i-3 web\nservice x strategy=binpack:memory", "web:i-1>i-2 0");
    }

    #[test]
    fn what_managed_scaling_would_take_away_and_what_is_impaired_is_not_filled() {
        let with = |settings: &str| format!("{ONE_FULL}\na i-2 {settings}\n{ALONE}");
        check(&with("impaired=true"), " 0");
        // Nothing is known of the provider: it may take the instance away.
        check(&with("provider=od"), " 0");
        for (managed, minimum, expected) in [(true, Some(1), 2), (true, Some(0), 0), (true, None, 0), (false, None, 2)]
        {
            let mut cluster = cluster(&with("provider=od"));
            let name = "od".to_owned();
            let provider = CapacityProvider {
                name: name.clone(),
                has_managed_instances: false,
                managed_scaling: managed,
                minimum_instances: minimum,
            };
            cluster.capacity_providers.insert(name, provider);
            let levelled = tries_on(&cluster, &Policy::default(), &SoFar::default(), false);
            let moves = levelled.iter().flat_map(|of_service| &of_service.moves);
            assert_eq!(moves.count(), expected, "{managed} {minimum:?}");
        }
    }

    #[test]
    fn ecs_packs_inside_of_a_zone_where_the_strategy_says_so() {
        // The next task goes to the fullest instance of the emptiest zone, which is i-3, and not to the empty one.
        let services = "service s0 desired=1 strategy=spread:attribute:ecs.availability-zone,binpack:memory\n\
                        service x strategy=binpack:memory";
        check(&format!("a i-1 s0 x x x\nb i-2\nb i-3 x x x\n{services}"), " 0");
        check(&format!("a i-1 s0 x x x\nb i-2\n{services}"), "s0:i-1>i-2 0");
    }

    #[test]
    fn as_long_as_starts_in_vain_are_free_just_what_is_good_enough_stays() {
        // All have 9 tasks of 16 that fit: on i-3 one more evens out a quarter of what it does on i-2.
        let landed_on = |place: &str| {
            let web = |number: &str| if number == place { " web" } else { "" };
            cluster(&format!(
                "a i-1 web x x x\na i-2{}\na i-3 x x{}\na i-4 x x x\nservice web desired=1\nservice x strategy=binpack:memory",
                web("2"),
                web("3")
            ))
        };
        for (place, free_in_vain, stays) in [("2", 0, true), ("2", 1, true), ("3", 0, true), ("3", 1, false)] {
            let cluster = landed_on(place);
            let name = ServiceName::from("web");
            let tasks = Tasks::all_ready(&cluster, &name);
            let of_it: Vec<TaskArn> = tasks.all.keys().cloned().collect();
            let (old, new) = (BTreeSet::from([of_it[0].clone()]), BTreeSet::from([of_it[1].clone()]));
            let threshold = Purpose::Load(Percent::from_hundredths(1_000));
            let best = best_to_go(&cluster, &name, &tasks, &new, &old, threshold, free_in_vain);
            let shown = (best.old == old, best.new.is_empty(), best.waits);
            assert_eq!(shown, (stays, stays, !stays), "i-{place} {free_in_vain}: {best:?}");
        }
        let free = |landed, in_vain, under_way| Tally::new(landed, in_vain, under_way).free_in_vain();
        assert_eq!([free(0, 0, 0), free(9, 3, 0), free(0, 0, 2), free(0, 4, 0), free(20, 9, 0)], [4, 1, 3, 0, 0]);
        assert_eq!([None, Some(0), Some(1)].map(|moves| Tally::default().after(moves).free_in_vain()), [4, 4, 0]);
    }

    #[test]
    fn of_new_tasks_for_which_no_other_leaves_the_one_goes_first_that_is_nowhere_of_use() {
        for (first, second) in [("i-1", "i-2"), ("i-2", "i-1")] {
            let cluster = cluster(&format!("a {first} web\na {second} web\nservice web desired=1"));
            let name = ServiceName::from("web");
            let tasks = Tasks::all_ready(&cluster, &name);
            let new: BTreeSet<TaskArn> = tasks.all.keys().cloned().collect();
            let kept_clear = BTreeSet::from(["i-1".into()]);
            let purpose = Purpose::Clear { instances: &kept_clear, packs: false };
            let best = best_to_go(&cluster, &name, &tasks, &new, &BTreeSet::new(), purpose, 0);
            let places: Vec<&str> =
                best.new.iter().map(|task| tasks.all[task].container_instance.as_ref().unwrap().short()).collect();
            assert_eq!(places, ["i-1", "i-2"]);
        }
    }

    #[test]
    fn after_a_landing_the_best_of_old_and_new_tasks_stay() {
        let drawing = |place: &str| {
            let with = |number: &str| if number == place { " web" } else { "" };
            format!(
                "a i-1 web x x x{}\na i-2{}\na i-3 x x x{}\nservice web desired=1\nservice x strategy=binpack:memory",
                with("1"),
                with("2"),
                with("3")
            )
        };
        for (place, expected) in [("2", "old"), ("3", "new"), ("1", "new")] {
            let cluster = cluster(&drawing(place));
            let name = ServiceName::from("web");
            let tasks = Tasks::all_ready(&cluster, &name);
            let mut of_it: Vec<&Task> = tasks.all.values().collect();
            of_it.sort_by_key(|task| task.arn.clone());
            let (old, new) = (of_it[0].arn.clone(), of_it[1].arn.clone());
            let threshold = Purpose::Load(Percent::from_hundredths(1_000));
            let best = best_to_go(&cluster, &name, &tasks, &[new.clone()].into(), &[old.clone()].into(), threshold, 0);
            let goes = if best.old.contains(&old) { "old" } else { "new" };
            assert_eq!((goes, best.old.len() + best.new.len()), (expected, 1), "landed on i-{place}: {best:?}");
            // One that may not go makes no landing a good one.
            let best = best_to_go(&cluster, &name, &tasks, &[new.clone()].into(), &BTreeSet::new(), threshold, 0);
            assert_eq!(best, BestToGo { old: BTreeSet::new(), new: [new].into(), waits: false });
        }
    }
}
