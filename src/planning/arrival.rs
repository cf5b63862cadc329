//! Arrival: whether the tasks start for which room was made. Nothing is done to their service; ECS places them.

use std::time::Duration;

use super::{
    model::Timestamp,
    step::{Ending, Seen, Step, Stop, What},
};

/// Where the waiting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not looked at yet.
    Begin,
    /// Waited for since then.
    Waiting(Timestamp),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// For so many tasks room was made.
    pub tasks: u32,
    /// So many the service has once they run.
    pub wanted: u32,
}

/// The next step for a service that has room now.
pub fn next(phase: Phase, awaited: Awaited, seen: &Seen, timeout: Duration, stop: Option<Stop>) -> Step<Phase> {
    let Awaited { tasks: number, wanted } = awaited;
    let Some(service) = &seen.service else { return Step::Done(Ending::Gone) };
    let since = match phase {
        Phase::Begin => return Step::Go(Phase::Waiting(seen.at)),
        Phase::Waiting(since) => since,
    };
    if service.desired_count < wanted {
        let what = format!("the desired count was set to {}", service.desired_count);
        return Step::Done(Ending::OthersChanged(what));
    }
    if service.running_count >= wanted {
        let Some(tasks) = &seen.tasks else { return Step::See(What::Tasks) };
        if tasks.ready.len() >= wanted as usize {
            return Step::Done(Ending::Started { tasks: number });
        }
    }
    if let Some(stop) = stop {
        return Step::Done(Ending::Limit(stop));
    }
    let waited = u128::try_from(seen.at.milliseconds_since(since)).unwrap_or(0);
    if waited < timeout.as_millis() {
        return Step::Wait;
    }
    let told = service.newest_failure.as_ref().map(|event| event.message.clone());
    Step::Done(Ending::NotStarted {
        tasks: number,
        why: told.unwrap_or_else(|| format!("not healthy within {} s", timeout.as_secs())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{
        model::ServiceEvent,
        step::Tasks,
        testing::{NOW, cluster},
    };

    const AWAITED: Awaited = Awaited { tasks: 1, wanted: 2 };

    fn check(drawing: &str, seconds: i64, stop: Option<Stop>, told: Option<&str>, expected: &Step<Phase>) {
        let cluster = cluster(drawing);
        let name = "web".into();
        let service = cluster.services.get(&name).cloned().map(|mut service| {
            service.newest_failure = told.map(|told| ServiceEvent { at: NOW, message: told.to_owned() });
            service
        });
        let seen = Seen {
            at: NOW,
            service,
            tasks: Some(Tasks::all_ready(&cluster, &name)),
            protections: std::collections::BTreeMap::new(),
        };
        let since = Timestamp(NOW.0 - seconds * 1000);
        let next = next(Phase::Waiting(since), AWAITED, &seen, Duration::from_mins(1), stop);
        assert_eq!(next, *expected, "{drawing} after {seconds} s");
    }

    #[test]
    fn it_ends_when_all_run_or_the_time_is_up_or_nobody_wants_them_any_more() {
        let (lacks, has) = ("a i-1 web\nservice web desired=2", "a i-1 web web\nservice web desired=2");
        let not_started = |why: &str| Step::Done(Ending::NotStarted { tasks: 1, why: why.to_owned() });
        check(lacks, 59, None, None, &Step::Wait);
        check(lacks, 60, None, None, &not_started("not healthy within 60 s"));
        check(lacks, 60, None, Some("no place"), &not_started("no place"));
        check(lacks, 0, Some(Stop::Signal), None, &Step::Done(Ending::Limit(Stop::Signal)));
        check(has, 60, Some(Stop::Signal), None, &Step::Done(Ending::Started { tasks: 1 }));
        check("a i-1 api", 0, None, None, &Step::Done(Ending::Gone));
        let less = "the desired count was set to 1".to_owned();
        check("a i-1 web", 0, None, None, &Step::Done(Ending::OthersChanged(less)));
    }
}
