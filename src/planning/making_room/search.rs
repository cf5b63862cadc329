//! The fewest moves that give one task a place: which tasks leave an instance, and where each of them goes.

use std::{
    cell::{Cell, OnceCell},
    cmp::Reverse,
    collections::BTreeMap,
};

use super::problem::{Placing, Problem, TaskMove, Trial};
use crate::planning::{model::Capacity, steering::may_be_target};

/// More moves for one task are not looked for: so many restarts for one more task are no bargain.
const MOST_MOVES: usize = 12;
/// Moves for one task where one of them needs another before it: the instances to think of are a product.
const MOST_MOVES_CHAINED: usize = 4;
/// Of the places for a mover so many are tried. More than there are moves: so whoever has so many finds one that no other takes.
const HOMES: usize = 32;
/// Sets of leaving tasks that are thought of for one instance; a few hundred are all there are on most.
const TRIES_ON_ONE: u32 = 500;
/// The same over all instances for one task, so that a plan for a cluster of 5,000 instances takes seconds at the worst.
const TRIES: u32 = 20_000;

/// What may still be moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) moves: usize,
    pub(super) services: usize,
}

/// Instances where a mover would fit once a task of another one has gone, by the domain inside which its tasks may be anywhere.
type SecondHomes<'a> = BTreeMap<Vec<&'a str>, Vec<usize>>;

/// A service that needs places, and the instances that may give one.
pub(super) struct Search<'g, 'a> {
    problem: &'g Problem<'a>,
    placing: &'g Placing<'a>,
    limits: Limits,
    places: Vec<(usize, Vec<&'a str>)>,
    tries: Cell<u32>,
    /// Where a mover would fit once a single other task has gone from there.
    second_homes: Vec<OnceCell<SecondHomes<'a>>>,
    /// Instances from which a single task could go, with the most that this could leave free.
    loosened: OnceCell<Vec<(usize, Capacity)>>,
}

/// One place that was found.
pub(super) struct Found<'a> {
    /// What has changed by then, the task in its place included.
    pub(super) trial: Trial<'a>,
    pub(super) place: usize,
}

/// An instance that may be cleared, as far as is known of it.
struct Candidate {
    number: usize,
    least: usize,
    /// Which movers can leave it, those that free the most first; not looked up yet where none.
    movers: Option<Vec<usize>>,
    tries: u32,
}

impl<'g, 'a> Search<'g, 'a> {
    pub(super) fn new(problem: &'g Problem<'a>, placing: &'g Placing<'a>, limits: Limits) -> Self {
        let eligible = problem.eligible(placing).into_iter();
        let places = eligible.map(|number| (number, placing.path(problem.instances[number]))).collect();
        let tries = Cell::new(0);
        let second_homes = problem.movers.iter().map(|_| OnceCell::new()).collect();
        let loosened = OnceCell::new();
        Self { problem, placing, limits, places, tries, second_homes, loosened }
    }

    /// A place for one task more, with the fewest moves; among equals where the service has the fewest tasks, level by level.
    pub(super) fn one_more(&self, trial: &Trial<'a>) -> Option<Found<'a>> {
        self.tries.set(0);
        let order = self.by_crowd(trial);
        if let Some(place) = order.iter().copied().find(|number| self.problem.has_room(trial, self.placing, *number)) {
            return Some(self.found(trial.clone(), place));
        }
        let left = self.limits.moves.saturating_sub(trial.moves.len());
        let candidates = || {
            let candidate = |number: usize| {
                let movers = self.problem.movable(trial, number).map(|(mover, _)| mover);
                let least = self.least_moves(trial, number, movers.filter(|mover| self.may_move(trial, *mover)));
                Some(Candidate { number, least: least?, movers: None, tries: 0 })
            };
            // For an impaired instance nothing is moved: no task is to start there.
            let healthy = order.iter().copied().filter(|number| !self.problem.instances[*number].is_impaired);
            healthy.filter_map(candidate).collect::<Vec<_>>()
        };
        self.clear_one(trial, candidates(), 1..=left.min(MOST_MOVES), false).or_else(|| {
            // Without steering nobody can say that a task goes where another one has just left.
            if !self.problem.steers() {
                return None;
            }
            self.tries.set(0);
            self.clear_one(trial, candidates(), 2..=left.min(MOST_MOVES_CHAINED), true)
        })
    }

    fn found(&self, mut trial: Trial<'a>, place: usize) -> Found<'a> {
        self.problem.arrive(&mut trial, self.placing, place);
        Found { trial, place }
    }

    /// The instances that may take the task, those first where the service has the fewest, level by level.
    fn by_crowd(&self, trial: &Trial<'a>) -> Vec<usize> {
        let mut crowds: BTreeMap<&[&str], i64> = BTreeMap::new();
        for (number, path) in &self.places {
            let present = self.problem.present(trial, self.placing.service, *number);
            for depth in 1..=path.len() {
                *crowds.entry(&path[..depth]).or_default() += present;
            }
        }
        let mut order: Vec<(Vec<i64>, usize)> = self
            .places
            .iter()
            .map(|(number, path)| ((1..=path.len()).map(|depth| crowds[&path[..depth]]).collect(), *number))
            .collect();
        order.sort();
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// The first of the candidates that can be cleared by the fewest moves.
    fn clear_one(
        &self,
        trial: &Trial<'a>,
        mut candidates: Vec<Candidate>,
        costs: std::ops::RangeInclusive<usize>,
        chained: bool,
    ) -> Option<Found<'a>> {
        for cost in costs {
            let leaving = if chained { cost - 1 } else { cost };
            for candidate in candidates.iter_mut().filter(|candidate| candidate.least <= leaving) {
                let number = candidate.number;
                if candidate.movers.is_none() {
                    let movers = self.movers_that_can_leave(trial, number, chained);
                    match self.least_moves(trial, number, movers.iter().copied()) {
                        Some(least) => candidate.least = least,
                        None => candidate.least = usize::MAX,
                    }
                    candidate.movers = Some(movers);
                    if candidate.least > leaving {
                        continue;
                    }
                }
                let movers = candidate.movers.as_deref().unwrap_or_default();
                let mut clearing = Clearing { search: self, number, movers, chained, leaving: Vec::new(), tries: 0 };
                let cleared = clearing.dig(trial, 0, leaving);
                candidate.tries += clearing.tries;
                self.tries.set(self.tries.get() + clearing.tries);
                if let Some(cleared) = cleared {
                    return Some(self.found(cleared, number));
                }
                if candidate.tries > TRIES_ON_ONE {
                    candidate.least = usize::MAX;
                }
                if self.tries.get() > TRIES {
                    return None;
                }
            }
        }
        None
    }

    /// How many tasks of these movers have to leave at least; none where all of them would not be enough.
    fn least_moves(&self, trial: &Trial<'a>, number: usize, movers: impl Iterator<Item = usize>) -> Option<usize> {
        let counts: BTreeMap<usize, usize> =
            self.problem.movable(trial, number).map(|(mover, tasks)| (mover, tasks.len())).collect();
        let sizes: Vec<(Capacity, usize)> = movers
            .filter_map(|mover| {
                let placing = &self.problem.movers[mover].placing;
                Some((placing.definition.reserves, *counts.get(&mover)?))
            })
            .collect();
        if sizes.iter().all(|(_, tasks)| *tasks == 0) {
            return None;
        }
        let lacks = self.problem.holding(trial, number).lacks(&self.placing.requirement.demand());
        let mut least = 1;
        for of in RESOURCES {
            let mut of_each: Vec<(u32, usize)> = sizes.iter().map(|(size, tasks)| (of(size), *tasks)).collect();
            of_each.sort_by_key(|(size, _)| Reverse(*size));
            least = least.max(fewest(&of_each, of(&lacks))?);
        }
        Some(least)
    }

    fn movers_that_can_leave(&self, trial: &Trial<'a>, number: usize, chained: bool) -> Vec<usize> {
        let lacks = self.problem.holding(trial, number).lacks(&self.placing.requirement.demand());
        let share = |mover: usize| -> u64 {
            let size = self.problem.movers[mover].placing.definition.reserves;
            let part = |of: fn(&Capacity) -> u32| {
                if of(&lacks) == 0 { 0 } else { u64::from(of(&size).min(of(&lacks))) * 1000 / u64::from(of(&lacks)) }
            };
            RESOURCES.iter().map(|of| part(*of)).sum()
        };
        let has_second_home = |mover: usize| {
            let homes = self.second_homes(mover);
            let homes = homes.get(&self.problem.domain(mover, number));
            homes.is_some_and(|homes| homes.iter().any(|home| *home != number))
        };
        let mut movers: Vec<usize> = self
            .problem
            .movable(trial, number)
            .map(|(mover, _)| mover)
            .filter(|mover| self.may_move(trial, *mover))
            .filter(|mover| self.has_home(*mover, number) || (chained && has_second_home(*mover)))
            .collect();
        movers.sort_by_key(|mover| (Reverse(share(*mover)), *mover));
        movers
    }

    /// Where a mover may go to from an instance, as things stand then. `from_has` is how many of its tasks are there before.
    fn homes(&self, trial: &Trial<'a>, mover: usize, from: usize, from_has: i64) -> Vec<usize> {
        let homes = self.problem.homes(mover, from);
        let is_first = trial.moves_of.get(&mover) == Some(&1);
        let homes = homes.iter().copied().filter(|to| is_first || self.problem.is_same_domain(mover, from, *to));
        homes.filter(|to| self.may_take(trial, mover, from, from_has, *to)).take(HOMES).collect()
    }

    fn may_take(&self, trial: &Trial<'a>, mover: usize, from: usize, from_has: i64, to: usize) -> bool {
        let placing = &self.problem.movers[mover].placing;
        to != from
            && !trial.is_cleared(to)
            && self.problem.has_room(trial, placing, to)
            && self.keeps_spread(trial, mover, from_has, to)
    }

    /// Whoever tells instances apart is spread no worse where the one that takes has fewer of its tasks than the one that gives.
    fn keeps_spread(&self, trial: &Trial<'a>, mover: usize, from_has: i64, to: usize) -> bool {
        let placing = &self.problem.movers[mover].placing;
        !placing.levels.instance || self.problem.present(trial, placing.service, to) < from_has
    }

    /// Whether one more task of a mover may go, as far as limits go.
    fn may_move(&self, trial: &Trial<'a>, mover: usize) -> bool {
        let spent = trial.moves_of.get(&mover).copied();
        spent.unwrap_or(0) < self.problem.movers[mover].relocatable.max_moves
            && (spent.is_some() || trial.moves_of.len() < self.limits.services)
    }

    fn second_homes(&self, mover: usize) -> &SecondHomes<'a> {
        self.second_homes[mover].get_or_init(|| {
            let placing = &self.problem.movers[mover].placing;
            let admitted = self.problem.index.admitted_classes(&placing.requirement);
            let mut homes: SecondHomes<'a> = BTreeMap::new();
            for (number, free) in self.loosened.get_or_init(|| self.loosened()) {
                let is_admitted = || admitted[self.problem.index.class_of(*number)];
                let may_be_target = || may_be_target(self.problem.instances[*number]);
                if free.holds(&placing.definition.reserves) && is_admitted() && may_be_target() {
                    homes.entry(self.problem.domain(mover, *number)).or_default().push(*number);
                }
            }
            homes
        })
    }

    fn loosened(&self) -> Vec<(usize, Capacity)> {
        let untouched = Trial::default();
        let loosened = (0..self.problem.instances.len()).filter_map(|number| {
            let free = self.problem.instances[number].remaining;
            let going = self.problem.movable(&untouched, number).map(|(mover, _)| mover);
            let sizes = going
                .filter(|mover| self.has_home(*mover, number))
                .map(|mover| self.problem.movers[mover].placing.definition.reserves);
            let most = sizes.reduce(|a, b| each(a, b, u32::max))?;
            Some((number, each(free, most, u32::saturating_add)))
        });
        loosened.collect()
    }

    /// Whether there is a place for a mover's task that leaves an instance.
    fn has_home(&self, mover: usize, from: usize) -> bool {
        self.problem.homes(mover, from).iter().any(|home| *home != from)
    }
}

/// One instance as it is cleared.
struct Clearing<'s, 'g, 'a> {
    search: &'s Search<'g, 'a>,
    number: usize,
    movers: &'s [usize],
    /// Whether one of those that leave goes where another one leaves first.
    chained: bool,
    /// The movers whose tasks leave, one entry for each task.
    leaving: Vec<TaskMove<'a>>,
    tries: u32,
}

impl<'a> Clearing<'_, '_, 'a> {
    /// Lets so many more tasks leave, of the movers from there on, until the task that needs it has room.
    fn dig(&mut self, trial: &Trial<'a>, from_mover: usize, left: usize) -> Option<Trial<'a>> {
        let Self { search, number, movers, .. } = *self;
        let problem = search.problem;
        self.tries += 1;
        if problem.has_room(trial, search.placing, number) {
            // With fewer than were to leave: that was thought of before.
            return if left == 0 { self.place(trial, 0, !self.chained) } else { None };
        }
        if left == 0 || self.tries > TRIES_ON_ONE {
            return None;
        }
        let still = movers[from_mover..].iter().copied();
        if search.least_moves(trial, number, still).is_none_or(|least| least > left) {
            return None;
        }
        for (position, mover) in movers.iter().enumerate().skip(from_mover) {
            if !search.may_move(trial, *mover) {
                continue;
            }
            let mut after = trial.clone();
            let Some(task) = problem.leave(&mut after, *mover, number) else { continue };
            self.leaving.push(TaskMove { mover: *mover, task: &task.arn, from: number, to: number });
            let cleared = self.dig(&after, position, left - 1);
            self.leaving.pop();
            if cleared.is_some() {
                return cleared;
            }
        }
        None
    }

    /// Finds a place for each of those that leave, from the `next` one on.
    fn place(&mut self, trial: &Trial<'a>, next: usize, is_chain_used: bool) -> Option<Trial<'a>> {
        let search = self.search;
        let problem = search.problem;
        self.tries += 1;
        let Some(task_move) = self.leaving.get(next).cloned() else { return is_chain_used.then(|| trial.clone()) };
        if self.tries > TRIES_ON_ONE {
            return None;
        }
        let placing = &problem.movers[task_move.mover].placing;
        // Those of the same service that have no place yet are there still.
        let waiting = self.leaving[next..].iter().filter(|other| other.mover == task_move.mover).count();
        let from_has =
            problem.present(trial, placing.service, self.number) + i64::try_from(waiting).unwrap_or(i64::MAX);
        for to in search.homes(trial, task_move.mover, self.number, from_has) {
            let mut after = trial.clone();
            problem.arrive(&mut after, placing, to);
            after.moves.push(TaskMove { to, ..task_move.clone() });
            if let Some(placed) = self.place(&after, next + 1, is_chain_used) {
                return Some(placed);
            }
        }
        if is_chain_used { None } else { self.place_by_chain(trial, next, &task_move, from_has) }
    }

    /// Finds a place where a task of another mover leaves first.
    fn place_by_chain(
        &mut self,
        trial: &Trial<'a>,
        next: usize,
        task_move: &TaskMove<'a>,
        from_has: i64,
    ) -> Option<Trial<'a>> {
        let search = self.search;
        let problem = search.problem;
        let placing = &problem.movers[task_move.mover].placing;
        let domain = problem.domain(task_move.mover, self.number);
        if trial.first.contains(&task_move.mover) {
            return None;
        }
        let homes = search.second_homes(task_move.mover);
        for between in homes.get(&domain).map(Vec::as_slice).unwrap_or_default().iter().copied() {
            let is_sound = between != self.number
                && !trial.is_cleared(between)
                && search.keeps_spread(trial, task_move.mover, from_has, between);
            if !is_sound {
                continue;
            }
            for other in problem.movable(trial, between).map(|(other, _)| other).collect::<Vec<_>>() {
                self.tries += 1;
                if self.tries > TRIES_ON_ONE {
                    return None;
                }
                if other == task_move.mover || trial.second.contains(&other) || !search.may_move(trial, other) {
                    continue;
                }
                // Whoever leaves as well is to leave in the second turn only if it goes where others leave.
                let others_asker = &problem.movers[other].placing;
                let has = problem.present(trial, others_asker.service, between);
                let mut loosened = trial.clone();
                let Some(task) = problem.leave(&mut loosened, other, between) else { continue };
                if !problem.has_room(&loosened, placing, between) {
                    continue;
                }
                loosened.first.insert(other);
                loosened.second.insert(task_move.mover);
                for to in search.homes(&loosened, other, between, has) {
                    let mut after = loosened.clone();
                    problem.arrive(&mut after, others_asker, to);
                    after.moves.push(TaskMove { mover: other, task: &task.arn, from: between, to });
                    problem.arrive(&mut after, placing, between);
                    after.moves.push(TaskMove { to: between, ..task_move.clone() });
                    if let Some(placed) = self.place(&after, next + 1, true) {
                        return Some(placed);
                    }
                }
            }
        }
        None
    }
}

const RESOURCES: [fn(&Capacity) -> u32; 3] =
    [|capacity| capacity.cpu_units, |capacity| capacity.memory_mib, |capacity| capacity.gpus];

fn each(a: Capacity, b: Capacity, of: fn(u32, u32) -> u32) -> Capacity {
    Capacity {
        cpu_units: of(a.cpu_units, b.cpu_units),
        memory_mib: of(a.memory_mib, b.memory_mib),
        gpus: of(a.gpus, b.gpus),
    }
}

/// How many of these sizes, the largest first, make up what is lacking; none where all of them don't.
fn fewest(sizes: &[(u32, usize)], lacking: u32) -> Option<usize> {
    let (mut number, mut lacking) = (0, u64::from(lacking));
    for (size, tasks) in sizes {
        if lacking == 0 {
            break;
        }
        let taken = lacking.div_ceil(u64::from(*size).max(1)).min(*tasks as u64);
        lacking = lacking.saturating_sub(taken * u64::from(*size));
        number += usize::try_from(taken).unwrap_or(usize::MAX);
    }
    (lacking == 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::fewest;

    #[test]
    fn the_largest_come_first_and_no_more_than_there_are() {
        assert_eq!(fewest(&[(300, 2), (100, 5)], 0), Some(0));
        assert_eq!(fewest(&[(300, 2), (100, 5)], 300), Some(1));
        assert_eq!(fewest(&[(300, 2), (100, 5)], 750), Some(4));
        assert_eq!(fewest(&[(300, 2), (100, 5)], 1_101), None);
        assert_eq!(fewest(&[(0, 9)], 1), None);
    }
}
