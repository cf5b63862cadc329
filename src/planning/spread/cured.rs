//! How many of a service's next tasks land where one is missing.
//!
//! An example, zones a and b, `a: 4`, `b: 0`: two are misplaced. The next two tasks go to zone b, and each of them cures one; a third
//! would cure none.

use super::layout::{Layout, Ties};
use crate::planning::model::TaskArn;

/// Whether a task may go.
pub(in crate::planning) type MayGo<'f> = &'f dyn Fn(&TaskArn) -> bool;

/// How many of the next tasks land where one is missing.
pub(super) fn curing_surge(layout: &Layout<'_>, may_go: MayGo<'_>, most: u32, ties: Ties) -> u32 {
    let before = layout.missing();
    let movable = layout.all_tasks().filter(|task| may_go(task)).count();
    let most = most.min(before).min(u32::try_from(movable).unwrap_or(u32::MAX));
    let places = layout.predict(most, ties);
    let cures_all = |number: u32| before.saturating_sub(layout.missing_after(&places[..number as usize])) >= number;
    // As long as each new task cures one misplaced task; beyond that a restart would be for nothing. If so many do, fewer do.
    let (mut number, mut too_many) = (0, u32::try_from(places.len()).unwrap_or(u32::MAX).saturating_add(1));
    while too_many - number > 1 {
        let middle = number + (too_many - number) / 2;
        *(if cures_all(middle) { &mut number } else { &mut too_many }) = middle;
    }
    number
}
