//! How many of a service's next tasks land where one is missing.
//!
//! An example, zones a and b, `a: 4`, `b: 0`: two are misplaced. The next two tasks go to zone b, and each of them cures one; a third
//! would cure none.

use super::layout::{Layout, Ties};
use crate::planning::model::TaskArn;

/// Whether a task may go.
pub(in crate::planning) type MayGo<'f> = &'f dyn Fn(&TaskArn) -> bool;

/// How many misplaced tasks `most` starts could cure at the best: one each, as long as tasks may go.
pub(super) fn curable(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    let most = most.min(layout.missing());
    let movable = layout.all_tasks().filter(|task| may_go(task)).take(most as usize).count();
    u32::try_from(movable).unwrap_or(u32::MAX)
}

/// Whether `most` of the next tasks cure as many misplaced ones as so many starts could at the best, whichever of equal container
/// instances ECS takes: then nothing is won by sending them elsewhere.
pub(in crate::planning) fn cures_all_it_could(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> bool {
    surely_curing_surge(layout, may_go, most) == curable(layout, may_go, most)
}

/// How many of the next tasks land where one is missing, whichever of equal container instances ECS takes.
pub(super) fn surely_curing_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32) -> u32 {
    let either = [Ties::MostFree, Ties::LeastFree].map(|ties| curing_surge(layout, may_go, most, ties));
    either.into_iter().min().unwrap_or(0)
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
