//! A service's tasks as the next ones come, each to where ECS will put it.
//!
//! An example: `a: 1 0`, `b: 0 0`, spread over zones and then container instances. The next task goes to zone b, which has none,
//! and there to the instance with the most free capacity; then each zone has one, and the task after it goes to an empty instance
//! of either.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::layout::{Layout, Place, Ties};

/// Of the sites of each group with free capacity, the next one comes first.
struct Coming {
    crowds: Vec<u32>,
    queues: Vec<BinaryHeap<Reverse<Turn>>>,
    ties: Ties,
}

/// A site: how many tasks are there where that counts; what decides between equal ones; its place in the group, and how many tasks
/// fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    tasks: u32,
    tie: (u32, usize),
    site: usize,
    fitting: u32,
}

impl Turn {
    fn new(tasks: u32, number: usize, site: usize, fitting: u32, ties: Ties) -> Self {
        let tie = match ties {
            Ties::MostFree => (u32::MAX - fitting, number),
            Ties::LeastFree => (fitting, usize::MAX - number),
        };
        Self { tasks, tie, site, fitting }
    }
}

impl Layout<'_> {
    /// The places of the next so many tasks, as ECS's documented rules have it: of the instances that may take one and have capacity
    /// for it, those in the domain with the fewest of the service's tasks, level by level. Fewer than asked where capacity runs out.
    pub(in crate::planning) fn predict(&self, number: u32, ties: Ties) -> Vec<Place> {
        let mut coming = Coming::new(self, ties);
        (0..number).map_while(|_| coming.next(self)).collect()
    }

    /// The same where ECS may choose among these places only; of equal ones it takes the one with the most free capacity.
    pub(super) fn predict_among(&self, places: &[Place], number: u32) -> Vec<Place> {
        let mut coming = Coming::among(self, places.iter().copied(), Ties::MostFree);
        (0..number).map_while(|_| coming.next(self)).collect()
    }

    /// The places that are as good as the best for the next task, one of each domain above the instance.
    pub(super) fn equals(&self) -> Vec<Place> {
        Coming::new(self, Ties::MostFree).equals(self)
    }
}

impl Coming {
    fn new(layout: &Layout<'_>, ties: Ties) -> Self {
        Self::among(layout, layout.with_room(), ties)
    }

    /// `places` have free capacity.
    fn among(layout: &Layout<'_>, places: impl Iterator<Item = Place>, ties: Ties) -> Self {
        let mut turns = vec![Vec::new(); layout.groups.len()];
        for (group, site) in places {
            let it = layout.site((group, site));
            let (fitting, number) = it.offer();
            let tasks = if layout.is_by_instance() { it.tasks } else { 0 };
            turns[group].push(Reverse(Turn::new(tasks, number, site, fitting, ties)));
        }
        Self { crowds: layout.crowds.clone(), queues: turns.into_iter().map(BinaryHeap::from).collect(), ties }
    }

    /// The place of the next task, which is there from now on.
    fn next(&mut self, layout: &Layout<'_>) -> Option<Place> {
        let group = self.best(layout)?;
        let Reverse(turn) = self.queues[group].pop()?;
        for domain in layout.groups[group].domains.iter() {
            self.crowds[*domain] += 1;
        }
        if turn.fitting > 1 {
            let (_, number) = layout.groups[group].sites[turn.site].offer();
            let tasks = turn.tasks + u32::from(layout.is_by_instance());
            self.queues[group].push(Reverse(Turn::new(tasks, number, turn.site, turn.fitting - 1, self.ties)));
        }
        Some((group, turn.site))
    }

    /// One place of each group that is as good for the next task as the best.
    fn equals(&self, layout: &Layout<'_>) -> Vec<Place> {
        let Some(best) = self.best(layout) else { return Vec::new() };
        let fewest = |group: usize| self.queues[group].peek().map(|Reverse(turn)| turn.tasks);
        let is_equal =
            |group: &usize| fewest(*group) == fewest(best) && self.above(layout, *group).eq(self.above(layout, best));
        let place = |group: usize| Some((group, self.queues[group].peek()?.0.site));
        (0..self.queues.len()).filter(is_equal).filter_map(place).collect()
    }

    /// The group that the next task goes to: the one with the fewest tasks, level by level.
    fn best(&self, layout: &Layout<'_>) -> Option<usize> {
        let with_room = (0..self.queues.len()).filter(|group| !self.queues[*group].is_empty());
        let turn = |group: usize| self.queues[group].peek().map(|Reverse(turn)| (turn.tasks, turn.tie));
        let order = |a: &usize, b: &usize| -> Ordering {
            self.above(layout, *a).cmp(self.above(layout, *b)).then_with(|| turn(*a).cmp(&turn(*b)))
        };
        with_room.min_by(order)
    }

    /// How many tasks are in the domains above the instance, level by level.
    fn above<'l>(&'l self, layout: &'l Layout<'_>, group: usize) -> impl Iterator<Item = u32> + 'l {
        layout.groups[group].domains.iter().map(|domain| self.crowds[*domain])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::planning::{
        next_task,
        placement::Index,
        planner,
        provider_parts::ServiceParts,
        spread::layout::{
            Ties,
            tests::{ask, ask_of},
        },
        testing,
    };

    /// Where the next tasks of `web` go, as `i-3 i-4`.
    #[track_caller]
    fn check(drawing: &str, number: u32, expected: &str) {
        let shown = ask(drawing, number as usize, |layout| {
            let places = layout.predict(number, Ties::MostFree).into_iter();
            places.map(|place| layout.arn_of(place).short().to_owned()).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown, expected, "{drawing}");
    }

    #[test]
    fn the_next_task_goes_where_there_are_the_fewest_level_by_level() {
        check("a i-1 web\na i-2\nb i-3\nb i-4", 3, "i-3 i-2 i-4");
        // Of equal ones the one with the most free capacity.
        check("a i-1 web web\na i-2\na i-3 cpu=40960 memory=81920", 1, "i-3");
        // A domain without free capacity is passed over, and where there is none at all the rest of the tasks have no place.
        check("a i-1 web\nb i-2 cpu=1000\nservice web cpu=1000", 5, "i-2 i-1 i-1 i-1");
        let zones = "service web strategy=spread:attribute:ecs.availability-zone";
        check(&format!("a i-1 web web\nb i-2\n{zones}"), 3, "i-2 i-2 i-1");
    }

    #[test]
    fn one_of_each_group_is_as_good_as_the_best() {
        let equals = |drawing: &str| ask(drawing, 1, |layout| layout.equals().len());
        assert_eq!(equals("a i-1 web\na i-2\nb i-3 web\nb i-4"), 2);
        assert_eq!(equals("a i-1 web web\nb i-2 web"), 1);
        // Of several zones that hold equally many each may be taken, instances told apart or not.
        let zones = "service web strategy=spread:attribute:ecs.availability-zone";
        assert_eq!(equals(&format!("a i-1 web\nb i-2 web\nc i-3 web web\n{zones}")), 2);
    }

    proptest! {
        /// [`next_task`] goes through all container instances for each task.
        #[test]
        fn tasks_come_where_the_rule_has_them_as_it_is_told_in_one_file(
            drawing in planner::tests::drawing(), number in 1..9_u32,
        ) {
            let cluster = testing::cluster(&drawing);
            let index = Index::new(&cluster);
            for name in cluster.services.keys() {
                let foreseen = ask_of(&cluster, name.as_str(), number as usize, |layout| {
                    let places = layout.predict(number, Ties::MostFree);
                    places.into_iter().map(|place| layout.arn_of(place).clone()).collect::<Vec<_>>()
                });
                let parts = ServiceParts::new(&index, name);
                if let (Some(foreseen), Some(ServiceParts { service, parts })) = (foreseen, parts)
                    && let [part] = &parts[..]
                {
                    let told = next_task::fill(next_task::spots(&index, service, part), number);
                    prop_assert_eq!(foreseen, told.iter().map(|it| it.arn.clone()).collect::<Vec<_>>(), "{}", name);
                }
            }
        }
    }
}
