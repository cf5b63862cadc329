//! How many of a service's next tasks land where one is missing.
//!
//! An example, zones a and b, `a: 4`, `b: 0`: two are misplaced. The next two tasks go to zone b, and each of them cures one; a third
//! would cure none.

use super::layout::{Layout, Ties};
use crate::planning::model::TaskArn;

/// Whether a task may go.
pub(in crate::planning) type MayGo<'f> = &'f dyn Fn(&TaskArn) -> bool;

/// How many misplaced tasks `most` starts could cure at the best: one each, as long as tasks may go.
pub(in crate::planning) fn curable(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    movable(layout, may_go, most.min(layout.missing()))
}

/// How many tasks may go, `most` at most.
pub(super) fn movable(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    let movable = layout.all_tasks().filter(|task| may_go(task)).take(most as usize).count();
    u32::try_from(movable).unwrap_or(u32::MAX)
}

/// How many of the next tasks land where one is missing, whichever of equal container instances ECS takes.
pub(in crate::planning) fn surely_curing_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    let either = [Ties::MostFree, Ties::LeastFree].map(|ties| curing_surge(layout, may_go, most, ties));
    either.into_iter().min().unwrap_or(0)
}

/// Whether as many of the next tasks as are missing land where one is missing.
pub(super) fn cures_all(layout: &Layout<'_>, may_go: MayGo<'_>, ties: Ties) -> bool {
    let missing = layout.missing();
    movable(layout, may_go, missing) == missing && layout.missing_after(&layout.predict(missing, ties)) == 0
}

/// How many of the next tasks land where one is missing.
pub(super) fn curing_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32, ties: Ties) -> u32 {
    let before = layout.missing();
    let most = curable(layout, may_go, most);
    if most == 0 {
        return 0;
    }
    let places = layout.predict(most, ties);
    let cures_all = |number: u32| before.saturating_sub(layout.missing_after(&places[..number as usize])) >= number;
    // As long as each new task cures one misplaced task; beyond that a restart would be for nothing. If so many do, fewer do.
    // Most often all do.
    let (mut number, mut too_many) = (0, u32::try_from(places.len()).unwrap_or(u32::MAX));
    if cures_all(too_many) {
        return too_many;
    }
    while too_many - number > 1 {
        let middle = number + (too_many - number) / 2;
        *(if cures_all(middle) { &mut number } else { &mut too_many }) = middle;
    }
    number
}
