//! The search for few moves: one after another the move that evens out the most; then some are taken back and, as long as that
//! is worth it, fewer are looked for in their place.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    field::{Change, Field, Weights},
    mover::Mover,
};
use crate::planning::{
    model::{ContainerInstanceArn, ServiceName, Task},
    moves::Reviewed,
    placement::{Index, occupancy::Occupancy},
    plan::Move,
    policy::Policy,
    relocation::Relocatable,
    steering::may_be_target,
};

/// Both resources have to come below the threshold, and which of them is the harder one depends on the cluster. So weights from
/// memory alone, nearly, to CPU alone, nearly, are tried: those on both sides of the best so far, at shorter and shorter steps.
const STEPS: [i64; 5] = [32, 16, 8, 4, 2];
/// What is put in the place of moves that were taken back is found by one of these.
const LEANINGS: [i64; 5] = [64, 32, 96, 16, 112];
const MOST_WEIGHT: i64 = 64;
/// A move is not worth a restart unless it evens out this part of what an average task reserves.
const WORTHWHILE_PART: i64 = 4;
/// So many instances with room are looked at for one task, from the emptiest on, unless one is found that it makes no fuller
/// than its share: no other is worth more.
const MOST_TAKERS: usize = 64;
/// A plan is good enough if, for so many moves that no plan can do without, it has one more.
const MOVES_FOR_ONE_MORE: usize = 50;
/// What the first plan may cost, in instances and tasks looked at; and those with other weights together.
const FIRST_LOOKS: u64 = 60_000_000;
const OTHER_LOOKS: u64 = 20_000_000;
/// What the search for a better one may cost.
const SEARCH_LOOKS: u64 = 4_000_000;
/// What both of these may cost once a plan comes under the threshold and has one move beyond what is good enough. Where it has
/// twice as many, that is worth four times as much: there is more to gain, and it is found more easily. For most clusters of some
/// twenty instances that is enough for all of it.
const OTHER_LOOKS_FOR_ONE_LESS: u64 = 60_000;
const SEARCH_LOOKS_FOR_ONE_LESS: u64 = 150_000;
/// What a move costs of these.
const LOOKS_OF_A_MOVE: u64 = 50;
/// In the search, so many instances of services are asked for what is put in the place of these.
const MOST_ASKED: usize = 512;
/// Moves that are taken back at a time.
const MOST_UNDONE: u64 = 8;
/// Attempts that may find nothing better, one after another.
const PATIENCE: u32 = 400;

/// How a plan compares with others: by how much it is above the threshold, then by its moves.
pub(super) type Cost = (i64, usize);

/// The search: the cluster with the moves that are made so far.
pub(super) struct Search<'b, 'a> {
    field: Field<'a>,
    /// Whether tasks may be steered to each instance.
    may_be_target: Vec<bool>,
    occupancy: Occupancy<'a>,
    movers: Vec<Mover<'b, 'a>>,
    made: Vec<Made>,
    moves_of: BTreeMap<usize, usize>,
    most_moves: usize,
    most_services: usize,
    tasks: usize,
    looks: u64,
    /// The services, and the container instances from which tasks of theirs may go.
    origins: Vec<(usize, usize)>,
    /// The container instances that a task has left since a plan was begun, the emptiest first.
    left: BTreeSet<(i64, usize)>,
}

/// A move that is made, by the numbers of service and instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    mover: usize,
    from: usize,
    to: usize,
}

/// Where a task may go, and what that is worth.
#[derive(Clone, Copy, Debug)]
struct Best {
    worth: i64,
    to: usize,
    change: Change,
}

/// By what is promised, services and the container instances from which tasks of theirs may go.
type Promised = BinaryHeap<(i64, Reverse<(usize, usize)>)>;

/// What no plan can pass.
#[derive(Clone, Copy, Debug)]
struct Bound {
    /// Fewer moves can't be enough.
    fewest: usize,
    /// The weights by which that is seen: by them the tasks are worth the least for what is needed.
    leaning: i64,
}

impl Bound {
    /// So few moves are good enough.
    fn enough(self) -> usize {
        self.fewest + self.fewest / MOVES_FOR_ONE_MORE
    }
}

/// How one plan is made.
#[derive(Clone, Copy, Debug)]
struct Manner {
    weights: Weights,
    /// The least that a move has to be worth.
    least: i64,
    /// Moves that may be made.
    most: usize,
    /// Whether these moves are to be enough: a plan that is still above the threshold after them is none.
    is_to_end: bool,
    /// Where it isn't nothing, worth is blurred by it, so that another attempt is another plan.
    blur: u64,
}

impl<'b, 'a> Search<'b, 'a> {
    pub(super) fn new(
        index: &'b Index<'a>,
        relocatable: impl Iterator<Item = &'b Relocatable<'a>>,
        policy: &Policy,
    ) -> Self {
        let field = Field::new(index, policy.load_threshold);
        let mut occupancy = Occupancy::read(index);
        let mut paths = BTreeMap::new();
        let movers: Vec<Mover<'_, '_>> =
            relocatable.filter_map(|it| Mover::new(index, &mut occupancy, it, &mut paths)).collect();
        let of_each = movers.iter().enumerate();
        let origins =
            of_each.flat_map(|(number, mover)| mover.movable.keys().map(move |from| (number, *from))).collect();
        Self {
            may_be_target: field.instances.iter().map(|instance| may_be_target(instance)).collect(),
            field,
            movers,
            occupancy,
            made: Vec::new(),
            moves_of: BTreeMap::new(),
            most_moves: policy.max_moves as usize,
            most_services: policy.max_services as usize,
            tasks: index.cluster.tasks.len(),
            looks: 0,
            origins,
            left: BTreeSet::new(),
        }
    }

    /// Makes the moves of the best plan that is found.
    pub(super) fn find_moves(&mut self) {
        let bound = self.bound();
        let worthwhile = Field::average_worth(self.tasks, MOST_WEIGHT) / WORTHWHILE_PART;
        let declining = self.best_of_all_weights(worthwhile, bound);
        if self.cost() > (0, 0) && !self.field.is_even() && self.made.len() < self.most_moves {
            // What is worth next to nothing is worth it where it brings the cluster under the threshold.
            self.best_of_all_weights(1, bound);
        }
        self.improve(bound);
        if !self.field.is_even() {
            self.undo_all();
            self.make_all(&declining);
        }
    }

    /// Makes the moves of a reviewed plan that hold and help still, as long as they are needed, and gives them by service.
    pub(super) fn follow(&mut self, reviewed: &Reviewed) -> Vec<(ServiceName, Vec<Move>)> {
        let mut followed: BTreeMap<usize, Vec<Move>> = BTreeMap::new();
        let mut left: Vec<(usize, &Move)> = Vec::new();
        for (number, mover) in self.movers.iter().enumerate() {
            let service = mover.relocatable.service;
            let planned = reviewed.services.get(&service.name);
            let holding = planned.filter(|planned| planned.outdated(service).is_none());
            left.extend(holding.into_iter().flat_map(|planned| &planned.moves).map(|a_move| (number, a_move)));
        }
        loop {
            let before = left.len();
            // What evens out nothing yet may, once others are made.
            left.retain(|(number, a_move)| {
                let is_made = self.make_again(*number, a_move);
                if is_made {
                    followed.entry(*number).or_default().push(Move::clone(a_move));
                }
                !is_made
            });
            if left.len() == before {
                break;
            }
        }
        let named =
            followed.into_iter().map(|(number, moves)| (self.movers[number].relocatable.service.name.clone(), moves));
        named.collect()
    }

    /// Makes one move if its task is where it was, may go where it is to, and that evens something out.
    fn make_again(&mut self, number: usize, a_move: &Move) -> bool {
        let (mover, field) = (&self.movers[number], &self.field);
        let place = |arn: &ContainerInstanceArn| self.occupancy.instance(arn);
        let (Some(from), Some(to)) = (place(&a_move.from), place(&a_move.to)) else { return false };
        let is_there = || mover.tasks_on(field.instances[from]).iter().any(|task| task.arn == a_move.task);
        let (leaves, comes) = (field.change(from, &mover.size, false), field.change(to, &mover.size, true));
        let change = [leaves[0] + comes[0], leaves[1] + comes[1]];
        let holds = !field.is_even()
            && self.made.len() < self.most_moves
            && self.may_move(number, from)
            && self.may_be_target[to]
            && is_there()
            && mover.crowds(field, &self.occupancy).is_open(from, to)
            && field.is_sound(change)
            && field.worth(change, weights(MOST_WEIGHT)) > 0;
        if holds {
            self.make(Made { mover: number, from, to });
        }
        holds
    }

    /// The moves by service, in the order of their first move. Of several tasks on one instance the youngest go.
    pub(super) fn moves(&self) -> Vec<(ServiceName, Vec<Move>)> {
        let mut moves: Vec<(usize, Vec<Move>)> = Vec::new();
        let mut left: BTreeMap<(usize, usize), Vec<&Task>> = BTreeMap::new();
        for Made { mover, from, to } in &self.made {
            let of_it = &self.movers[*mover];
            let [from_instance, to_instance] = [*from, *to].map(|number| self.field.instances[number]);
            let left = left.entry((*mover, *from)).or_insert_with(|| of_it.tasks_on(from_instance));
            let Some(task) = left.pop() else { continue };
            let a_move = Move { task: task.arn.clone(), from: from_instance.arn.clone(), to: to_instance.arn.clone() };
            match moves.iter_mut().find(|(other, _)| other == mover) {
                Some((_, of_it)) => of_it.push(a_move),
                None => moves.push((*mover, vec![a_move])),
            }
        }
        let named =
            moves.into_iter().map(|(mover, moves)| (self.movers[mover].relocatable.service.name.clone(), moves));
        named.collect()
    }

    /// The fewest moves that could be enough, by the weights by which these are the most. A plan that is made by the same weights
    /// comes near it.
    fn bound(&self) -> Bound {
        let mut changes: BTreeMap<Change, u32> = BTreeMap::new();
        for mover in &self.movers {
            for (from, tasks) in &mover.movable {
                *changes.entry(self.field.change(*from, &mover.size, false)).or_default() += tasks;
            }
        }
        let by = |leaning| Reverse(self.field.fewest_thousandths(&changes, weights(leaning)));
        let (Reverse(thousandths), leaning) = lowest(MOST_WEIGHT, by);
        Bound { fewest: usize::try_from((thousandths + 999) / 1000).unwrap_or(usize::MAX), leaning }
    }

    fn cost(&self) -> Cost {
        (self.field.above(), self.made.len())
    }

    /// What the search for a better plan than the one that is made may cost: it is either farther above the threshold or has more moves.
    fn looks_for_better(&self, bound: Bound, most: u64, for_one_less: u64) -> u64 {
        let beyond = self.made.len().saturating_sub(bound.enough()) as u64;
        if self.field.is_even() { most.min(beyond * beyond * for_one_less) } else { most }
    }

    /// Makes the best of the plans by all weights, and gives it. Once one needs few enough moves, no more are tried.
    fn best_of_all_weights(&mut self, least: i64, bound: Bound) -> Vec<Made> {
        self.looks = FIRST_LOOKS;
        let mut best: Option<(Cost, Vec<Made>)> = None;
        lowest(bound.leaning, |leaning| {
            // One that needs as many moves as the best is none.
            let (most, is_to_end) = match &best {
                Some(((0, moves), _)) if *moves <= bound.enough() => return (0, *moves),
                Some(((0, moves), _)) => (moves.saturating_sub(1), true),
                _ => (self.most_moves, false),
            };
            self.undo_all();
            self.fill(&Manner { weights: weights(leaning), least, most, is_to_end, blur: 0 });
            let cost = self.cost();
            self.looks = self.looks.min(self.looks_for_better(bound, OTHER_LOOKS, OTHER_LOOKS_FOR_ONE_LESS));
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, self.made.clone()));
            }
            cost
        });
        let (_, moves) = best.unwrap_or_default();
        if self.made != moves {
            self.undo_all();
            self.make_all(&moves);
        }
        moves
    }

    /// Takes some moves back and puts others in their place, as long as looks are left: what is no worse is kept, for from
    /// there another attempt may find something better.
    fn improve(&mut self, bound: Bound) {
        self.looks = self.looks_for_better(bound, SEARCH_LOOKS, SEARCH_LOOKS_FOR_ONE_LESS);
        let mut chance = Chance(0);
        let mut patience = PATIENCE;
        while self.looks > 0 && patience > 0 && (self.made.len() > bound.enough() || !self.field.is_even()) {
            patience -= 1;
            let before = self.cost();
            let undone = self.undo_some(&mut chance);
            let kept = self.made.len();
            let manner = Manner {
                weights: weights(LEANINGS[chance.below(LEANINGS.len() as u64)]),
                least: 1,
                // Above the threshold more moves may help.
                most: if before.0 > 0 { self.most_moves - kept } else { undone.len() },
                is_to_end: before.0 == 0,
                blur: chance.next(),
            };
            self.fill(&manner);
            let after = self.cost();
            if after > before {
                while self.made.len() > kept {
                    self.undo(self.made.len() - 1);
                }
                for made in undone.into_iter().rev() {
                    self.make(made);
                }
            } else if after < before {
                patience = PATIENCE;
            }
        }
    }

    /// Takes some moves back: none whose way back would leave its service less spread than it is.
    fn undo_some(&mut self, chance: &mut Chance) -> Vec<Made> {
        let mut undone = Vec::new();
        for _ in 0..=chance.next() % MOST_UNDONE {
            if self.made.is_empty() {
                break;
            }
            let place = chance.below(self.made.len() as u64);
            let made = self.made[place];
            let crowds = self.movers[made.mover].crowds(&self.field, &self.occupancy);
            if crowds.keep_spread(made.to, made.from) {
                undone.push(self.undo(place));
            }
        }
        undone
    }

    /// One after another the move that is worth the most.
    fn fill(&mut self, manner: &Manner) {
        self.left.clear();
        // What was taken back since may have made room.
        self.movers.iter_mut().for_each(|mover| mover.first_takers.clear());
        let mut queue = self.queue(manner);
        let mut made = 0;
        self.narrow(&mut queue, manner, made);
        while let Some((promised, Reverse((number, from)))) = queue.pop() {
            let left = manner.most - made;
            if left == 0 || self.looks == 0 || self.field.is_even() {
                break;
            }
            if manner.is_to_end && manner.blur == 0 && self.field.needs_more_than(left, promised, manner.weights) {
                break;
            }
            if !self.may_move(number, from) {
                continue;
            }
            let Some(best) = self.best(number, from, manner.weights) else { continue };
            // One after which no more are needed is as good as any other, whatever that is worth.
            let is_last = self.field.is_even_after(best.change);
            if best.worth < manner.least && !is_last {
                continue;
            }
            // What others moved since may have made it worth less: then another may come first. It never makes it worth more.
            let worth = manner.blurred(best.worth, number, from);
            if !is_last && queue.peek().is_some_and(|(next, _)| worth < *next) {
                queue.push((worth, Reverse((number, from))));
                continue;
            }
            self.make(Made { mover: number, from, to: best.to });
            made += 1;
            queue.push((worth, Reverse((number, from))));
            self.narrow(&mut queue, manner, made);
        }
    }

    /// Leaves only those for the last move after which no more may be needed.
    fn narrow(&self, queue: &mut Promised, manner: &Manner, made: usize) {
        if manner.is_to_end && made + 1 == manner.most {
            queue.retain(|(_, Reverse((number, from)))| self.may_be_the_last(*number, *from));
        }
    }

    /// The tasks that may go, that first whose leaving promises the most; where worth is blurred, some of them.
    fn queue(&mut self, manner: &Manner) -> Promised {
        let mut chance = Chance(manner.blur);
        let all = self.origins.len();
        let are_drawn = manner.blur != 0 && all > MOST_ASKED;
        let asked = if are_drawn { MOST_ASKED } else { all };
        let places = (0..asked).map(|place| if are_drawn { chance.below(all as u64) } else { place });
        let promised = places.map(|place| self.origins[place]).filter_map(|(number, from)| {
            let worth = self.field.worth_of_leaving(from, self.field.parts(&self.movers[number].size), manner.weights);
            (worth > 0).then(|| (manner.blurred(worth, number, from), Reverse((number, from))))
        });
        let promised: Vec<_> = promised.collect();
        self.looks = self.looks.saturating_sub(asked as u64);
        promised.into()
    }

    /// Whether limits and what is left of its tasks let one more of the service's go.
    fn may_move(&self, number: usize, from: usize) -> bool {
        let mover = &self.movers[number];
        let is_new = !self.moves_of.contains_key(&number);
        mover.moves_left > 0
            && mover.movable.contains_key(&from)
            && !(is_new && self.moves_of.len() >= self.most_services)
    }

    /// Whether no more moves would be needed if a task left an instance and made no other fuller than its share.
    fn may_be_the_last(&self, number: usize, from: usize) -> bool {
        self.field.is_even_after(self.field.change(from, &self.movers[number].size, false))
    }

    /// Where the task is worth the most.
    fn best(&mut self, number: usize, from: usize, weights: Weights) -> Option<Best> {
        let (mover, field) = (&self.movers[number], &self.field);
        let origin = mover.origin(&self.occupancy, from);
        let known = origin.as_ref().and_then(|origin| mover.first_takers.get(origin)).copied();
        if known == Some(None) {
            return None;
        }
        // Before the first one only those can have come that a task has left since.
        let first = known.flatten().unwrap_or((i64::MIN, 0));
        let places = self.left.range(..first).chain(field.by_emptiness.range(first..));
        let leaves = field.change(from, &mover.size, false);
        let crowds = mover.crowds(field, &self.occupancy);
        let mut best: Option<Best> = None;
        let (mut first_taker, mut looked) = (None, 0);
        for place @ (_, to) in places {
            self.looks = self.looks.saturating_sub(1);
            if !self.may_be_target[*to] || !crowds.is_open(from, *to) {
                continue;
            }
            first_taker.get_or_insert(*place);
            looked += 1;
            let comes = field.change(*to, &mover.size, true);
            let change = [leaves[0] + comes[0], leaves[1] + comes[1]];
            if field.is_sound(change) {
                let worth = field.worth(change, weights);
                if best.is_none_or(|best| worth > best.worth) {
                    best = Some(Best { worth, to: *to, change });
                }
            }
            if comes == [0, 0] || looked == MOST_TAKERS {
                break;
            }
        }
        if let Some(origin) = origin {
            self.movers[number].first_takers.insert(origin, first_taker);
        }
        best
    }

    fn make_all(&mut self, moves: &[Made]) {
        for made in moves {
            self.make(*made);
        }
    }

    fn undo_all(&mut self) {
        while !self.made.is_empty() {
            self.undo(self.made.len() - 1);
        }
    }

    fn make(&mut self, made: Made) {
        self.looks = self.looks.saturating_sub(LOOKS_OF_A_MOVE);
        let mover = &mut self.movers[made.mover];
        mover.shift(&mut self.occupancy, made.from, made.to);
        let place = |field: &Field<'_>, number: usize| (field.fullness(number), number);
        self.left.remove(&place(&self.field, made.from));
        let is_left = self.left.remove(&place(&self.field, made.to));
        self.field.shift(&mover.size, made.from, made.to);
        self.left.insert(place(&self.field, made.from));
        self.left.extend(is_left.then(|| place(&self.field, made.to)));
        *self.moves_of.entry(made.mover).or_default() += 1;
        self.made.push(made);
    }

    fn undo(&mut self, place: usize) -> Made {
        let made = self.made.remove(place);
        let mover = &mut self.movers[made.mover];
        mover.unshift(&mut self.occupancy, made.from, made.to);
        self.field.shift(&mover.size, made.to, made.from);
        if let Some(moves) = self.moves_of.get_mut(&made.mover) {
            *moves -= 1;
            if *moves == 0 {
                self.moves_of.remove(&made.mover);
            }
        }
        made
    }
}

/// The lowest cost, and the leaning that has it: of those on both sides of the best so far, at shorter and shorter steps, from
/// one that is told and from the middle.
fn lowest<C: Ord>(begin: i64, mut cost_of: impl FnMut(i64) -> C) -> (C, i64) {
    let mut best = (cost_of(begin), begin);
    let mut attempt = |best: &mut (C, i64), leaning: i64| {
        let cost = cost_of(leaning);
        if cost < best.0 {
            *best = (cost, leaning);
        }
    };
    if begin != MOST_WEIGHT {
        attempt(&mut best, MOST_WEIGHT);
    }
    for step in STEPS {
        let around = best.1;
        for leaning in [around - step, around + step] {
            if (1..2 * MOST_WEIGHT).contains(&leaning) {
                attempt(&mut best, leaning);
            }
        }
    }
    best
}

/// From memory alone, at nothing, to CPU alone.
fn weights(leaning: i64) -> Weights {
    [leaning.min(MOST_WEIGHT), (2 * MOST_WEIGHT - leaning).min(MOST_WEIGHT)]
}

impl Manner {
    /// From a half to one and a half of the worth, always the same for the same task in one plan.
    fn blurred(&self, worth: i64, mover: usize, from: usize) -> i64 {
        if self.blur == 0 {
            return worth;
        }
        let mut chance = Chance(self.blur ^ ((mover as u64) << 32 | from as u64));
        worth.saturating_mul(512 + i64::try_from(chance.next() % 1024).unwrap_or_default()) / 1024
    }
}

/// Vigna's SplitMix64: numbers that look like chance, and are the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound.max(1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        policy::Percent,
        relocation::relocatable,
        testing::{NOW, cluster},
    };

    proptest! {
        #[test]
        fn no_plan_has_fewer_moves_than_the_bound(
            drawing in crate::planning::planner::tests::drawing(),
            load_threshold in 0..60_u32,
        ) {
            let cluster = cluster(&drawing);
            let load_threshold = Percent::from_hundredths(load_threshold * 100);
            let policy = Policy { steer: true, load_threshold, ..Policy::default() };
            let index = Index::new(&cluster);
            let relocatable = relocatable(&index, &policy, NOW);
            let mut search = Search::new(&index, relocatable.iter(), &policy);
            let bound = search.bound();
            search.find_moves();
            prop_assert!(search.made.len() >= bound.fewest || !search.field.is_even());
        }
    }
}
