//! How long a step waits for its new tasks to become healthy.
//!
//! ECS takes the capacity of a task for free as soon as that task is told to stop. So it may place a new task beside one that
//! still stops, and the new one then waits on its container instance, PENDING, until the other has stopped; behind a load balancer
//! that takes five minutes and more [What's New of July 2023; amazon-ecs-agent#3925]. That is no fault of the new task's: its time
//! counts from when the capacity was free.
//!
//! Example: `web` may take 300 s to start. Its fourth task is asked for at 0 s and placed where a task of `api` drains until
//! 280 s. `web` is waited for until 580 s, not until 300 s.

use std::{collections::BTreeSet, time::Duration};

use super::{Limits, Need, Seen, Tasks};
use crate::planning::{
    bounds::DRAINS,
    model::{ContainerInstanceArn, TaskArn, Timestamp},
};

/// Whether the new tasks, asked for at `since`, have had their time; or what must be seen before that can be said. Whether they are
/// healthy meanwhile is the caller's question.
///
/// # Errors
/// What must be seen.
pub(super) fn is_over(
    since: Timestamp,
    is_new: impl Fn(&TaskArn) -> bool,
    seen: &Seen<'_>,
    limits: &Limits,
) -> Result<bool, Need> {
    let waited = seen.since(since);
    if waited < limits.task_timeout {
        return Ok(false);
    }
    if waited >= limits.task_timeout.saturating_add(DRAINS) {
        return Ok(true);
    }
    let tasks = seen.tasks.ok_or(Need::Tasks)?;
    let late: Vec<_> = unready(tasks, is_new).collect();
    let unknown: BTreeSet<ContainerInstanceArn> =
        late.iter().map(|(place, _)| *place).filter(|place| !seen.freed.contains_key(*place)).cloned().collect();
    if !unknown.is_empty() {
        return Err(Need::Freed(unknown));
    }
    let has_time = |(place, started): &(&ContainerInstanceArn, Option<Timestamp>)| {
        let stops = seen.freed.get(*place).into_iter().flatten();
        // Once it ran, it waited for none that stopped later.
        let awaited = stops.filter(|stop| started.is_none_or(|started| **stop <= started)).max();
        awaited.is_some_and(|stop| seen.since(*stop) < limits.task_timeout)
    };
    Ok(!late.iter().any(has_time))
}

/// Where each new task is that is not healthy yet, and when it reached RUNNING.
fn unready(
    tasks: &Tasks,
    is_new: impl Fn(&TaskArn) -> bool,
) -> impl Iterator<Item = (&ContainerInstanceArn, Option<Timestamp>)> {
    let unready = tasks.all.values().filter(move |task| is_new(&task.arn) && !tasks.ready.contains(&task.arn));
    unready.filter_map(|task| Some((task.container_instance.as_ref()?, task.started_at)))
}

/// How long the new tasks were waited for, as `the new tasks were not healthy within 300 s`.
pub(super) fn told(waited: Duration) -> String {
    format!("the new tasks were not healthy within {} s", waited.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::strategy::testing::{Shown, ago, numbers, task};

    /// The second task is new, and was asked for so many seconds ago. It may take 300 s.
    #[track_caller]
    fn check(words: &str, asked_for: i64, started: Option<i64>, expected: &str) {
        let mut shown = Shown::new("a i-1 web\nb i-2 web\nservice web desired=1", words);
        if let Some(tasks) = &mut shown.tasks {
            tasks.all.get_mut(&task("2")).unwrap().started_at = started.map(ago);
        }
        let is_over = is_over(ago(asked_for), |it| numbers("2").contains(it), &shown.seen(), &shown.limits);
        assert_eq!(format!("{is_over:?}"), expected, "{words} {asked_for} {started:?}");
    }

    #[test]
    fn a_task_that_stands_beside_one_that_stops_has_its_time_once_that_has_stopped() {
        let unready = |more: &str| format!("unready=2 {more}");
        check(&unready(""), 299, None, "Ok(false)");
        check("tasks=unseen", 299, None, "Ok(false)");
        check("tasks=unseen", 300, None, "Err(Tasks)");
        check(&unready("freed=unseen"), 300, None, "Err(Freed({ContainerInstanceArn(\"i-2\")}))");
        // Nothing was told to stop there.
        check(&unready(""), 300, None, "Ok(true)");
        // It still stops, or did until twenty seconds ago; what goes on elsewhere doesn't matter.
        check(&unready("freed=i-2:0"), 300, None, "Ok(false)");
        check(&unready("freed=i-2:20"), 300, None, "Ok(false)");
        check(&unready("freed=i-1:0"), 300, None, "Ok(true)");
        // It runs since, and counts from the stop before that.
        check(&unready("freed=i-2:20"), 300, Some(10), "Ok(false)");
        check(&unready("freed=i-2:299"), 599, Some(290), "Ok(false)");
        check(&unready("freed=i-2:300"), 599, Some(290), "Ok(true)");
        check(&unready("freed=i-2:299,0"), 500, Some(290), "Ok(false)");
        check(&unready("freed=i-2:300,0"), 500, Some(290), "Ok(true)");
        // It ran before anything stopped: it waited for nothing.
        check(&unready("freed=i-2:20"), 300, Some(100), "Ok(true)");
        // Not for ever: a container instance where tasks stop all the time would never be free.
        check(&unready("freed=i-2:0"), 599, None, "Ok(false)");
        check(&unready("freed=i-2:0"), 600, None, "Ok(true)");
        // An old task that is unhealthy is ECS's to replace.
        check("unready=1 freed=i-1:0", 300, None, "Ok(true)");
    }
}
