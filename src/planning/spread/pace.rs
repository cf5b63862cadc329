//! How many tasks are worth starting on top now.
//!
//! An example, zones a and b, `a: 6`, `b: 2`, at most three at a time: two of the eight are misplaced. ECS puts the next two tasks
//! into zone b, where they are missing, so two are worth starting; a third would go to either zone, and its restart would be for
//! nothing.

use std::collections::BTreeSet;

use super::{
    cured::{MayGo, cures_all, curing_surge},
    layout::{Layout, Place, Ties},
    victims::{Leaving, Order, best, choose, goes_on, without},
};
use crate::planning::model::TaskArn;

/// An investment is an eighth of what is misplaced: it costs that many restarts more, and as many fewer rounds.
const INVESTMENT: u32 = 8;

/// Zones are fewer; a service that spreads over instances alone has as many domains as there are instances.
const MANY_DOMAINS: usize = 6;

/// How many are worth starting, however many rounds that takes: see [`super::paced_surge`].
pub(super) fn worthwhile_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    let number = curing_surge(layout, may_go, most, Ties::MostFree);
    let misplaced = layout.missing();
    if number > 0 || misplaced == 0 || most == 0 {
        return number;
    }
    let places = layout.predict((misplaced / INVESTMENT).clamp(1, most), Ties::MostFree);
    if places.is_empty() {
        return 0;
    }
    let foreseen = started(layout, &places);
    let investment = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let victims = choose(&foreseen, &|task| may_go(task) && !is_tried(task), investment, Order::Needy);
    // Where too few may go, a task that was started would have to go again itself.
    let all_go = victims.len() == places.len();
    if all_go && goes_on(&without(&foreseen, &victims)) { investment } else { 0 }
}

/// A round: where tasks start, and which go for them, where that was looked at already.
pub(in crate::planning) struct Paced {
    /// Where ECS will put as many as are worth starting.
    pub(in crate::planning) places: Vec<Place>,
    /// What [`victims`] says once these have started.
    pub(in crate::planning) victims: Option<BTreeSet<TaskArn>>,
}

impl Paced {
    /// How many tasks start.
    pub(in crate::planning) fn number(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }
}

/// See [`super::paced_surge`].
pub(in crate::planning) fn paced_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> Paced {
    let number = worthwhile_surge(layout, may_go, most);
    let mut places = layout.predict(number, Ties::MostFree);
    let misplaced = layout.missing();
    if misplaced <= number {
        return Paced { places, victims: None };
    }
    // Fewer of one than there are domains make it even again; where there are many, the search isn't worth its while.
    let domains = Some(layout.first_domains()).filter(|domains| *domains <= MANY_DOMAINS).unwrap_or(0);
    let fewest = places.len().saturating_sub(domains.saturating_sub(1)).max(1);
    for number in (fewest..=places.len()).rev() {
        let left = misplaced.saturating_sub(u32::try_from(number).unwrap_or(u32::MAX));
        if (1..=most).contains(&left)
            && let Some(victims) = ends_with_next(layout, may_go, &places[..number])
        {
            places.truncate(number);
            return Paced { places, victims: Some(victims) };
        }
    }
    Paced { places, victims: None }
}

/// The tasks that go in a round whose new ones come to these places, if after it one more, whichever of equal instances ECS takes,
/// cures all that is left.
fn ends_with_next(layout: &Layout<'_>, may_go: MayGo<'_>, places: &[Place]) -> Option<BTreeSet<TaskArn>> {
    let foreseen = started(layout, places);
    let may_go = |task: &TaskArn| may_go(task) && !is_tried(task);
    let Leaving { tasks, after } = best(&foreseen, &may_go, u32::try_from(places.len()).unwrap_or(u32::MAX));
    let ends = [Ties::MostFree, Ties::LeastFree].into_iter().all(|ties| cures_all(&after, &may_go, ties));
    ends.then(|| tasks.into_iter().cloned().collect())
}

/// How the names of tasks begin that are only tried out.
const TRIED: &str = "tried/";

fn is_tried(task: &TaskArn) -> bool {
    task.as_str().starts_with(TRIED)
}

/// The service with new tasks running in these places.
pub(super) fn started<'a>(layout: &Layout<'a>, places: &[Place]) -> Layout<'a> {
    let mut foreseen = layout.clone();
    for (number, place) in places.iter().enumerate() {
        foreseen.put(TaskArn::from(format!("{TRIED}{number}").as_str()), *place);
    }
    foreseen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::spread::layout::tests::ask;

    /// How many of at most `most` tasks of `web` are worth starting, and how many of these where a round less is worth more.
    #[track_caller]
    fn check(drawing: &str, most: u32, expected: (u32, u32)) {
        let all = |_: &TaskArn| true;
        let found = ask(drawing, most as usize * 2 + 1, |layout| {
            (worthwhile_surge(&layout, &all, most), paced_surge(&layout, &all, most).number())
        });
        assert_eq!(found, expected, "{drawing}");
    }

    #[test]
    fn as_many_are_worth_starting_as_cure_one_misplaced_task_each() {
        let zones = "service web strategy=spread:attribute:ecs.availability-zone";
        check(&format!("a i-1 web web web web web web\nb i-2 web web\n{zones}"), 3, (2, 2));
        check(&format!("a i-1 web web web web\nb i-2\n{zones}"), 3, (2, 2));
        check(&format!("a i-1 web web\nb i-2 web web\n{zones}"), 3, (0, 0));
    }

    #[test]
    fn where_the_next_tasks_cure_none_a_few_are_invested() {
        // Zone a has one less than b, and none of its instances lacks a task: only after a start there is it c's turn.
        check("a i-1 web web web\na i-2 web\nb i-3 web web web web web", 2, (1, 1));
    }

    #[test]
    fn none_is_worth_starting_where_none_may_go() {
        let none = |_: &TaskArn| false;
        let surge = ask("a i-1 web web\nb i-2", 3, |layout| worthwhile_surge(&layout, &none, 1));
        assert_eq!(surge, 0);
    }
}
