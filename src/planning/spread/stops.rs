//! Which tasks are worth stopping now, where ECS starts their replacements only afterwards.
//!
//! An example, zones a and b, `a: 3`, `b: 1`: one is misplaced. If all of zone a's tasks are protected, the one in zone b is the
//! only one that may go; ECS would put its replacement into zone b again. So none is worth stopping.

use std::collections::BTreeSet;

use super::{
    cured::MayGo,
    layout::{Layout, Ties},
    pace::{started, worthwhile_surge},
    victims::{Leaving, best},
};
use crate::planning::model::TaskArn;

/// See [`super::worthwhile_stops`].
pub(super) fn worthwhile_stops(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> BTreeSet<TaskArn> {
    let mut number = worthwhile_surge(layout, may_go, most);
    while number > 0 {
        let leaving = best(layout, may_go, number);
        let fewer = cured(layout, &leaving);
        if leaving.tasks.len() <= fewer as usize {
            return leaving.tasks.into_iter().cloned().collect();
        }
        // Some would go for nothing. That the rest helps by itself is looked at again.
        number = fewer.max(number / 2);
    }
    BTreeSet::new()
}

/// How many fewer are misplaced once these are stopped and replaced.
fn cured(layout: &Layout<'_>, leaving: &Leaving<'_, '_>) -> u32 {
    let stopped = u32::try_from(leaving.tasks.len()).unwrap_or(u32::MAX);
    let places = leaving.after.predict(stopped, Ties::MostFree);
    let unplaced = stopped.saturating_sub(u32::try_from(places.len()).unwrap_or(u32::MAX));
    layout.missing().saturating_sub(started(&leaving.after, &places).missing().saturating_add(unplaced))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::spread::layout::tests::ask;

    /// From where tasks of `web` are stopped, `most` at most, with those on these container instances protected.
    #[track_caller]
    fn check(drawing: &str, protected: &str, most: u32, expected: &str) {
        let shown = ask(drawing, most as usize * 2 + 1, |layout| {
            let on = |task: &TaskArn| layout.instance_of(task).map_or("", |instance| instance.short());
            let may_go = |task: &TaskArn| !protected.split(' ').any(|instance| instance == on(task));
            let stopped = worthwhile_stops(&layout, &may_go, most);
            stopped.iter().map(on).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown, expected, "{drawing}\n{protected}");
    }

    #[test]
    fn none_is_stopped_whose_replacement_would_only_stand_in_for_it() {
        let uneven = "a i-1 web web web\nb i-2 web";
        check(uneven, "", 2, "i-1");
        check(uneven, "i-2", 2, "i-1");
        check(uneven, "i-1", 2, "");
        let two = "a i-1 web web web web web\na i-2 web\nb i-3 web web";
        check(two, "", 4, "i-1 i-1");
        check(two, "i-1", 4, "");
        check("a i-1 web web web\na i-2 web\nb i-3\nb i-4", "i-1", 2, "");
        check("a i-1 web web\nb i-2 web web", "", 4, "");
    }

    #[test]
    fn the_zone_with_the_most_is_not_the_one_that_misses_a_task() {
        // Zone a has one less than b: only where one of b's goes first does a replacement come to i-2.
        check("a i-1 web web web\na i-2\nb i-3 web web web web web", "", 1, "i-3");
    }
}
