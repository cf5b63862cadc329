//! The strategy `stop`: stop misplaced tasks, as many at a time as minimumHealthyPercent permits; ECS starts replacements.
//!
//! StopTask consults no minimum [API, StopTask], so the floor is kept here.

use std::{collections::BTreeSet, time::Duration};

use super::{
    model::{Cluster, Service, Timestamp},
    planner::floor,
    reviewed::Reviewed,
    spread,
    step::{Action, Ending, Seen, Step, Stop, Tasks, What},
};

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is stopped.
    Between,
    /// Tasks were stopped then; so many were misplaced before.
    Stopped(Timestamp, u32),
}

/// What a step may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<'a> {
    /// Tasks that may still be moved.
    pub moves: u32,
    /// How long a replacement may take until it is healthy.
    pub task_timeout: Duration,
    /// Whether and why nothing new is begun.
    pub stop: Option<Stop>,
    /// A reviewed plan: nothing else goes.
    pub reviewed: Option<&'a Reviewed>,
}

/// The next step for a service.
pub fn next(phase: &Phase, cluster: &Cluster, seen: &Seen, limits: Limits<'_>) -> Step<Phase> {
    let Some(service) = &seen.service else { return Step::Done(Ending::Gone) };
    if service.deployments.len() > 1 {
        return Step::Done(Ending::OthersChanged("a deployment began".to_owned()));
    }
    if service.running_count < service.desired_count {
        return wait(phase, service, seen, limits);
    }
    let Some(tasks) = &seen.tasks else { return Step::See(What::Tasks) };
    if tasks.ready.len() < service.desired_count as usize {
        return wait(phase, service, seen, limits);
    }
    if let Some(stop) = limits.stop {
        return Step::Done(Ending::Limit(stop));
    }
    stop_some(phase, cluster, service, tasks, seen, limits)
}

fn stop_some(
    phase: &Phase,
    cluster: &Cluster,
    service: &Service,
    tasks: &Tasks,
    seen: &Seen,
    limits: Limits<'_>,
) -> Step<Phase> {
    let misplaced = spread::misplaced(cluster, &service.name);
    match phase {
        _ if misplaced == 0 => return Step::Done(Ending::Spread),
        Phase::Stopped(_, before) if misplaced >= *before => return Step::Done(Ending::NoHelp { misplaced }),
        _ if limits.moves == 0 => return Step::Done(Ending::Limit(Stop::Moves)),
        Phase::Between | Phase::Stopped(..) => {}
    }
    if let Some(unread) = seen.unread(tasks.all.keys()) {
        return Step::See(unread);
    }
    // Nothing documents that StopTask is refused for a protected task, so such a task is never stopped.
    let protected = seen.protections.iter().filter(|(_, until)| until.is_some());
    let mut spared: BTreeSet<_> = protected.map(|(task, _)| task.clone()).collect();
    if let Some(reviewed) = limits.reviewed {
        spared.extend(reviewed.barred(&service.name, tasks));
    }
    let slack = u32::try_from(tasks.ready.len()).unwrap_or(u32::MAX).saturating_sub(floor(service));
    let number = spread::worthwhile_surge(cluster, &service.name, &spared, misplaced.min(slack).min(limits.moves));
    let victims: Vec<_> = spread::victims(cluster, &service.name, tasks, &spared, number).into_iter().collect();
    if victims.is_empty() {
        return Step::Done(Ending::NoHelp { misplaced });
    }
    Step::Act(Action::Stop(victims), Phase::Stopped(seen.at, misplaced))
}

/// Waits for the replacements, or says why not any longer.
fn wait(phase: &Phase, service: &Service, seen: &Seen, limits: Limits<'_>) -> Step<Phase> {
    let Phase::Stopped(since, _) = phase else {
        let (running, desired) = (service.running_count, service.desired_count);
        let what = format!("{running} of {desired} tasks run healthy");
        return Step::Done(Ending::OthersChanged(what));
    };
    if let Some(failure) = service.newest_failure.as_ref().filter(|failure| failure.at >= *since) {
        return Step::Done(Ending::Undone(failure.message.clone()));
    }
    let waited = u128::try_from(seen.at.milliseconds_since(*since)).unwrap_or(0);
    if waited >= limits.task_timeout.as_millis() {
        let seconds = limits.task_timeout.as_secs();
        return Step::Done(Ending::Undone(format!("the new tasks were not healthy within {seconds} s")));
    }
    Step::Wait
}
