//! Which of a service's tasks should go, so that of those that stay the fewest are misplaced.
//!
//! An example, zones a and b, spread over zones and then instances; `a: 3 1`, `b: 1`, and one task has to go. A balanced
//! arrangement of the four that stay gives each zone two. Zone a has four, two too many, and of its instances the first has the
//! most: the youngest task there goes, and `a: 2 1`, `b: 1` is left, with one task misplaced where there were two.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    cured::{MayGo, curing_surge},
    layout::{FirstDomain, Layout, Place, Ties},
};
use crate::planning::model::{TaskArn, Timestamp};

/// From where victims are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The fullest domain.
    Even,
    /// The domain of the first level that is the fullest once it has what is missing there.
    Expecting,
    /// The domain of the first level in which the most tasks are missing.
    Needy,
}

/// See [`super::victims`].
pub(in crate::planning) fn victims(layout: &Layout<'_>, may_go: MayGo<'_>, number: u32) -> BTreeSet<TaskArn> {
    best(layout, may_go, number).tasks.into_iter().cloned().collect()
}

/// Tasks that may go together.
pub(super) struct Leaving<'l, 'a> {
    pub(super) tasks: Vec<&'l TaskArn>,
    /// The service once these are gone.
    pub(super) after: Layout<'a>,
}

/// Those of [`victims`].
pub(super) fn best<'l, 'a>(layout: &'l Layout<'a>, may_go: MayGo<'_>, number: u32) -> Leaving<'l, 'a> {
    let going = Going::new(layout, may_go, number);
    let by = |order: Order| {
        let tasks = going.choose(layout, number, order);
        Leaving { after: without(layout, &tasks), tasks }
    };
    let even = by(Order::Even);
    if number == 0 {
        return even;
    }
    let left = left_after_next(&even.after, number);
    if left > 0 {
        let expecting = by(Order::Expecting);
        if left_after_next(&expecting.after, number) < left && goes_on(&expecting.after) {
            return expecting;
        }
    }
    if goes_on(&even.after) {
        return even;
    }
    let needy = by(Order::Needy);
    if goes_on(&needy.after) { needy } else { even }
}

/// How many of the misplaced tasks that a round of `number` could cure it will not.
fn left_after_next(layout: &Layout<'_>, number: u32) -> u32 {
    let most = layout.missing().min(number);
    most - curing_surge(layout, &|_| true, most, Ties::MostFree)
}

/// The service once these are gone.
pub(super) fn without<'a>(layout: &Layout<'a>, gone: &[&TaskArn]) -> Layout<'a> {
    let mut foreseen = layout.clone();
    for task in gone {
        foreseen.take(task);
    }
    foreseen
}

/// Whether nothing is misplaced, or the next task will land where one is missing.
pub(super) fn goes_on(layout: &Layout<'_>) -> bool {
    layout.missing() == 0 || next_one_cures(layout)
}

/// Whether the next task cures a misplaced one, whichever of several equal instances ECS takes: that choice is its own.
fn next_one_cures(layout: &Layout<'_>) -> bool {
    let (equals, before) = (layout.equals(), layout.missing());
    !equals.is_empty() && equals.iter().all(|place| layout.missing_after(&[*place]) < before)
}

/// So many of the tasks that may go, one after another.
pub(super) fn choose<'l>(layout: &'l Layout<'_>, may_go: MayGo<'_>, number: u32, order: Order) -> Vec<&'l TaskArn> {
    Going::new(layout, may_go, number).choose(layout, number, order)
}

/// The tasks of a service against a balanced arrangement.
struct Balance {
    /// How many each domain of the last level has too many, by its number.
    surplus: Vec<u32>,
    /// How many are missing in each domain of the first level.
    needs: BTreeMap<FirstDomain, u32>,
}

impl Balance {
    /// Against a balanced arrangement of `total` tasks.
    fn of(layout: &Layout<'_>, total: u32) -> Self {
        let mut surplus = layout.tasks_by_leaf();
        let mut needs: BTreeMap<FirstDomain, u32> = BTreeMap::new();
        for (place, wanted) in layout.arrange(total) {
            let has = &mut surplus[layout.leaf(place)];
            if let (Some(domain), true) = (layout.first_domain(place), wanted > *has) {
                *needs.entry(domain).or_default() += wanted - *has;
            }
            *has = has.saturating_sub(wanted);
        }
        Self { surplus, needs }
    }
}

/// A task that may go. Of equal ones that on the fullest container instance goes, then the youngest, at last by ARN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'l> {
    /// Whether its domain has too many, and it is one of those.
    is_surplus: bool,
    fullness: u64,
    started_at: Option<Timestamp>,
    arn: Reverse<&'l TaskArn>,
}

/// The domain of the last level from which the next task of a group goes: the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head<'l> {
    is_surplus: bool,
    /// How many tasks are missing in its domain of the first level, where that counts before all else.
    need: u32,
    /// The tasks on the container instance, where that is the last level.
    on_instance: u32,
    candidate: Candidate<'l>,
    place: Place,
}

/// The tasks that may go, in whatever order domains come.
struct Going<'l> {
    /// Of each domain of the last level, by its number, those that may go: the one that goes first at the end.
    leaves: Vec<Vec<Candidate<'l>>>,
    /// How many are missing in each domain of the first level.
    needs: BTreeMap<FirstDomain, u32>,
}

impl<'l> Going<'l> {
    /// Against a balanced arrangement of the tasks that are left when `number` of them have gone.
    fn new(layout: &'l Layout<'_>, may_go: MayGo<'_>, number: u32) -> Self {
        let Balance { surplus, needs } = Balance::of(layout, layout.placed.saturating_sub(number));
        let mut leaves: Vec<Vec<Candidate<'l>>> = vec![Vec::new(); layout.leaves()];
        for (arn, placed) in layout.tasks.iter().filter(|(arn, _)| may_go(arn)) {
            let (group, site) = placed.place;
            let fullness = layout.groups[group].sites[site].fullness();
            let candidate = Candidate { is_surplus: false, fullness, started_at: placed.started_at, arn: Reverse(arn) };
            leaves[layout.leaf(placed.place)].push(candidate);
        }
        for (candidates, too_many) in leaves.iter_mut().zip(surplus) {
            candidates.sort_unstable();
            for candidate in candidates.iter_mut().rev().take(too_many as usize) {
                candidate.is_surplus = true;
            }
        }
        Self { leaves, needs }
    }

    fn choose(&self, layout: &Layout<'_>, number: u32, order: Order) -> Vec<&'l TaskArn> {
        let mut queues = Queues::new(self, layout, order);
        (0..number).map_while(|_| queues.next(layout)).collect()
    }
}

/// The tasks that may go as they take their turns, by group and domain of the last level.
struct Queues<'g, 'l> {
    going: &'g Going<'l>,
    order: Order,
    /// How many of each domain of the last level have not gone.
    left: Vec<usize>,
    heads: Vec<BinaryHeap<Head<'l>>>,
    /// The tasks in each domain above the instance, and what is expected to come there.
    crowds: Vec<u32>,
    /// The tasks on each container instance, where that is the last level, and what is expected to come there.
    on_instances: Vec<u32>,
}

impl<'g, 'l> Queues<'g, 'l> {
    fn new(going: &'g Going<'l>, layout: &Layout<'_>, order: Order) -> Self {
        let mut queues = Self {
            going,
            order,
            left: going.leaves.iter().map(Vec::len).collect(),
            heads: layout.groups.iter().map(|_| BinaryHeap::new()).collect(),
            crowds: layout.crowds.clone(),
            on_instances: vec![0; layout.leaves()],
        };
        if order == Order::Expecting {
            for (domain, missing) in &going.needs {
                match domain {
                    FirstDomain::Above(domain) => queues.crowds[*domain] += missing,
                    FirstDomain::Instance(leaf) => queues.on_instances[*leaf] += missing,
                }
            }
        }
        for (number, group) in layout.groups.iter().enumerate() {
            let sites = if layout.is_by_instance() { group.sites.len() } else { 1 };
            for place in (0..sites).map(|site| (number, site)) {
                if layout.is_by_instance() {
                    queues.on_instances[layout.leaf(place)] += group.sites[place.1].tasks;
                }
                queues.line_up(layout, place);
            }
        }
        queues
    }

    /// The next task that may go from a domain of the last level takes its turn among those of its group.
    fn line_up(&mut self, layout: &Layout<'_>, place: Place) {
        let leaf = layout.leaf(place);
        let Some(candidate) = self.going.leaves[leaf][..self.left[leaf]].last().copied() else { return };
        let needs = layout.first_domain(place).filter(|_| self.order == Order::Needy);
        let need = needs.and_then(|domain| self.going.needs.get(&domain)).copied().unwrap_or(0);
        let (is_surplus, on_instance) = (candidate.is_surplus, self.on_instances[leaf]);
        self.heads[place.0].push(Head { is_surplus, need, on_instance, candidate, place });
    }

    /// Who goes next: of the surplus, from the fullest domain level by level, the fullest instance, the youngest task.
    fn next(&mut self, layout: &Layout<'_>) -> Option<&'l TaskArn> {
        let crowds = |group: usize| layout.groups[group].domains.iter().map(|domain| self.crowds[*domain]);
        let heads = self.heads.iter().enumerate().filter_map(|(group, heads)| Some((group, *heads.peek()?)));
        let (group, _) = heads.max_by(|(one, a), (other, b)| {
            (a.is_surplus, a.need)
                .cmp(&(b.is_surplus, b.need))
                .then_with(|| crowds(*one).cmp(crowds(*other)))
                .then_with(|| (a.on_instance, a.candidate).cmp(&(b.on_instance, b.candidate)))
        })?;
        let Head { candidate, place, .. } = self.heads[group].pop()?;
        let leaf = layout.leaf(place);
        self.left[leaf] -= 1;
        for domain in layout.groups[group].domains.iter() {
            self.crowds[*domain] -= 1;
        }
        if layout.is_by_instance() {
            self.on_instances[leaf] -= 1;
        }
        self.line_up(layout, place);
        Some(candidate.arn.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::spread::layout::tests::ask;

    /// From where so many tasks of `web` go, as `i-1*2 i-3`.
    #[track_caller]
    fn check(drawing: &str, number: u32, expected: &str) {
        let shown = ask(drawing, number as usize + 1, |layout| {
            let mut from: BTreeMap<String, u32> = BTreeMap::new();
            for task in victims(&layout, &|_| true, number) {
                *from.entry(layout.instance_of(&task).unwrap().short().to_owned()).or_default() += 1;
            }
            let each = |(instance, tasks): (&String, &u32)| match tasks {
                1 => instance.clone(),
                _ => format!("{instance}*{tasks}"),
            };
            from.iter().map(each).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown, expected, "{drawing}");
    }

    #[test]
    fn they_go_from_where_there_are_too_many() {
        check("a i-1 web web web\na i-2 web\nb i-3 web", 1, "i-1");
        check("a i-1 web web web web\na i-2 web\nb i-3 web", 3, "i-1*3");
        check("a i-1 web web\nb i-2 web web", 2, "i-1 i-2");
        // More than there are: all.
        check("a i-1 web\nb i-2 web", 5, "i-1 i-2");
    }

    #[test]
    fn none_goes_that_may_not() {
        let gone = ask("a i-1 web web web\nb i-2 web", 2, |layout| {
            let spared = layout.tasks.keys().next().unwrap().clone();
            let all: BTreeSet<TaskArn> = layout.tasks.keys().cloned().collect();
            let gone = victims(&layout, &|task| *task != spared, 4);
            all.difference(&gone).cloned().collect::<Vec<_>>() == [spared]
        });
        assert!(gone);
    }
}
