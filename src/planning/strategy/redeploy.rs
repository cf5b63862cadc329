//! The strategies `redeploy` and `revision`: ECS replaces every task; then it is measured again, and nothing is promised.
//!
//! During a deployment the old revision's tasks count in the spread \[agent#685\], so it may leave or even make skew.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Action, CONSISTENCY, Done, Ending, Failure, FailureKind, Limits, Need, REFUSALS, Record, Seen, Step, Stop,
    Strategy, Tasks, fence, last_note, start_wait,
};
use crate::planning::{
    eligibility::no_deployment,
    model::{ContainerInstanceArn, Service, TaskArn, Timestamp},
    spread,
};

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is begun.
    Begin,
    /// A deployment was asked for.
    Deploying {
        /// When.
        since: Timestamp,
        /// The deployment before it.
        before: String,
        /// The task definition before it.
        definition: String,
        /// The task definition that it deploys; none where none was asked to be deployed after all.
        own: Option<String>,
        /// Whether the service was moved back to that.
        is_taken_back: bool,
        /// What was seen to fail.
        failed: Option<String>,
        /// Whether ECS answered that it begins; where not, for so long it may begin yet.
        in_doubt: Option<Duration>,
    },
    /// Nothing more is to be changed.
    Over(Ending),
}

/// Whether the task definition is registered anew, or just deployed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `forceNewDeployment`.
    Redeploy,
    /// A new, identical revision.
    Revision,
}

/// What a run remembers of a service in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeploy {
    kind: Kind,
    phase: Phase,
    /// The tasks before the deployment, and where they were.
    old: BTreeMap<TaskArn, ContainerInstanceArn>,
    first_misplaced: Option<u32>,
    refusals: u32,
    failure: Option<String>,
    is_last_noted: bool,
    record: Record,
}

impl Redeploy {
    /// A service that nothing was done to yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            phase: Phase::Begin,
            old: BTreeMap::new(),
            first_misplaced: None,
            refusals: 0,
            failure: None,
            is_last_noted: false,
            record: Record::default(),
        }
    }

    fn begin(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        if let Some(stop) = limits.stop {
            return self.end(Ending::Limit(stop), service, seen);
        }
        if !limits.is_enabled {
            return self.end(Ending::OptedOut, service, seen);
        }
        if let fence::Whose::Anothers(run) = fence::whose(service, None, seen) {
            return self.end(Ending::AnothersNote(run), service, seen);
        }
        if service.deployments.len() > 1 {
            return self.end(Ending::OthersChanged("a deployment began".to_owned()), service, seen);
        }
        // The counts may have changed since it was planned.
        if let Some(blocked) = no_deployment(service) {
            return self.end(Ending::Blocked(blocked), service, seen);
        }
        let Some(tasks) = seen.tasks else { return Step::See(Need::Tasks) };
        if let Some(unread) = seen.unread(tasks.all.keys()) {
            return Step::See(unread);
        }
        // A deployment doesn't replace a protected task, and is not over before it has.
        let protected = seen.protections.values().filter(|until| until.is_some()).count();
        if protected > 0 {
            let tasks = u32::try_from(protected).unwrap_or(u32::MAX);
            return self.end(Ending::Protected { tasks }, service, seen);
        }
        if !limits.holds_lease {
            let why = "the run's lease has lapsed, so it changes nothing any more";
            return self.end(Ending::Failed(why.to_owned()), service, seen);
        }
        self.first_misplaced.get_or_insert_with(|| spread::misplaced(seen.cluster, &service.name));
        Step::Act(match self.kind {
            Kind::Redeploy => Action::ForceNewDeployment,
            Kind::Revision => Action::NewRevision(service.task_definition.to_string()),
        })
    }

    fn follow(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Phase::Deploying { since, before, definition, own, is_taken_back, failed, in_doubt } = &mut self.phase
        else {
            return Step::Wait(None);
        };
        // What somebody else deploys meanwhile is neither judged by this run's measure nor taken back.
        let now = service.task_definition.as_str();
        if now != definition && own.as_deref() != Some(now) {
            let what = format!("{now} was deployed");
            return self.end(Ending::OthersChanged(what), service, seen);
        }
        let primary = service.deployments.iter().find(|deployment| deployment.status == "PRIMARY");
        let waited = seen.since(*since);
        if primary.is_none_or(|primary| primary.id == *before) && failed.is_none() {
            if waited < in_doubt.unwrap_or(CONSISTENCY) {
                return Step::Wait(None);
            }
            if in_doubt.is_some() {
                // It did not begin: one bad answer is no reason to end.
                self.phase = Phase::Begin;
                return self.begin(service, seen, limits);
            }
            let why = "the new deployment was not seen to begin";
            return self.end(Ending::Failed(why.to_owned()), service, seen);
        }
        if failed.is_none() {
            *failed = failure(service, *since);
        }
        let (since, definition, is_taken_back, failed) = (*since, definition.clone(), *is_taken_back, failed.clone());
        self.judge(service, seen, &definition, is_taken_back, failed.as_deref(), since, limits)
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of one deployment")]
    fn judge(
        &mut self,
        service: &Service,
        seen: &Seen<'_>,
        definition: &str,
        is_taken_back: bool,
        failed: Option<&str>,
        since: Timestamp,
        limits: &Limits,
    ) -> Step {
        let is_over = service.deployments.len() == 1
            && service.deployments.iter().all(|deployment| deployment.rollout_state != "IN_PROGRESS");
        if is_over && failed.is_none() {
            // Every task is another than before, and where it is decides whether that helped.
            let Some(tasks) = seen.tasks else { return Step::See(Need::Tasks) };
            self.settle(tasks);
            let misplaced = spread::misplaced(seen.cluster, &service.name);
            let ending = if misplaced == 0 { Ending::Spread } else { Ending::NoHelp { misplaced } };
            return self.end(ending, service, seen);
        }
        let late = || format!("the deployment did not complete within {} s", seen.since(since).as_secs());
        let why = failed.map_or_else(late, str::to_owned);
        let is_changed = service.task_definition.as_str() != definition;
        if is_over && failed.is_some() && !is_changed {
            let ending = Ending::DeploymentFailed(format!("{why}; the service is back at {definition}"));
            return self.end(ending, service, seen);
        }
        // A deployment that makes no progress is taken back, as far as that can be: to the task definition from before.
        if is_changed && !is_taken_back && self.kind == Kind::Revision && limits.holds_lease {
            let is_stuck = failed.is_some()
                || match self.makes_no_progress(since, service, seen, limits) {
                    Ok(makes_none) => makes_none,
                    Err(unseen) => return Step::See(unseen),
                };
            if is_stuck {
                return Step::Act(Action::Deploy(definition.to_owned()));
            }
        }
        match limits.stop {
            // Nobody knows that it fails, and ECS carries it to its end.
            Some(Stop::Signal) if failed.is_none() => self.end(Ending::Limit(Stop::Signal), service, seen),
            Some(Stop::Signal | Stop::Deadline) => {
                self.end(Ending::DeploymentFailed(format!("{why}; ECS goes on with it by itself")), service, seen)
            }
            None | Some(Stop::Moves | Stop::InVain | Stop::Distrust) => Step::Wait(None),
        }
    }

    /// Whether its new tasks have had their time, and it still waits for one of them.
    fn makes_no_progress(
        &self,
        since: Timestamp,
        service: &Service,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Result<bool, Need> {
        let is_new = |task: &TaskArn| !self.old.contains_key(task);
        if service.running_count > service.desired_count || !start_wait::is_over(since, is_new, seen, limits)? {
            return Ok(false);
        }
        let tasks = seen.tasks.ok_or(Need::Tasks)?;
        Ok(!self.only_drains(tasks, service))
    }

    /// Whether all of the service's tasks are new and ready: then the deployment waits for nothing but the old ones' connections,
    /// which a load balancer drains for five minutes unless it is told otherwise.
    fn only_drains(&self, tasks: &Tasks, service: &Service) -> bool {
        let is_new = |task: &TaskArn| !self.old.contains_key(task) && tasks.ready.contains(task);
        tasks.all.len() >= service.desired_count as usize && tasks.all.keys().all(is_new)
    }

    /// Notes how it went, where that says something, and ends.
    fn end(&self, ending: Ending, service: &Service, seen: &Seen<'_>) -> Step {
        let helped = self.first_misplaced.is_some_and(|first| spread::misplaced(seen.cluster, &service.name) < first);
        match last_note(&ending, helped, service, seen.now) {
            Some(note) if self.record.touched && !self.is_last_noted => Step::Act(Action::NoteLast(note)),
            _ => Step::Done(ending),
        }
    }

    /// Records which tasks went and where those are that started instead.
    fn settle(&mut self, tasks: &Tasks) {
        let new = tasks.all.values().filter(|task| !self.old.contains_key(&task.arn));
        let places = new.filter_map(|task| task.container_instance.clone()).collect();
        let went = std::mem::take(&mut self.old).into_iter().filter(|(task, _)| !tasks.all.contains_key(task));
        self.record.replaced(went, places);
    }

    /// A deployment was asked for: of this revision, or of the same task definition.
    fn asked(&mut self, in_doubt: Option<Duration>, revision: Option<&str>, seen: &Seen<'_>) {
        let Some(service) = seen.service else { return };
        self.old = seen.tasks.iter().flat_map(|tasks| tasks.places()).collect();
        let primary = service.deployments.iter().find(|deployment| deployment.status == "PRIMARY");
        self.phase = Phase::Deploying {
            since: seen.now,
            before: primary.map_or_else(String::new, |primary| primary.id.clone()),
            definition: service.task_definition.to_string(),
            own: revision.map(str::to_owned),
            is_taken_back: false,
            failed: None,
            in_doubt,
        };
    }
}

impl Strategy for Redeploy {
    fn next(&mut self, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Some(service) = seen.service else { return Step::Done(Ending::Gone) };
        if !seen.is_fresh {
            return if limits.is_last_chance { Step::Done(self.abandoned(None)) } else { Step::Wait(None) };
        }
        match &self.phase {
            Phase::Begin => self.begin(service, seen, limits),
            Phase::Deploying { .. } => self.follow(service, seen, limits),
            Phase::Over(ending) => self.end(ending.clone(), service, seen),
        }
    }

    fn done(&mut self, action: &Action, result: &Done, seen: &Seen<'_>) {
        self.record.touched = true;
        self.refusals = 0;
        match action {
            Action::ForceNewDeployment | Action::NewRevision(_) => self.asked(None, result.revision.as_deref(), seen),
            Action::Deploy(_) => {
                if let Phase::Deploying { is_taken_back, failed, .. } = &mut self.phase {
                    *is_taken_back = true;
                    failed.get_or_insert_with(|| "the deployment did not complete in time".to_owned());
                }
            }
            Action::NoteLast(_) => self.is_last_noted = true,
            _ => {}
        }
    }

    fn failed(&mut self, action: Option<&Action>, failure: &Failure, seen: &Seen<'_>) {
        self.failure = Some(failure.text.clone());
        match action {
            // It may have begun: asking again would begin another.
            Some(Action::ForceNewDeployment | Action::NewRevision(_))
                if matches!(failure.kind, FailureKind::Unanswered | FailureKind::Unclear) =>
            {
                self.record.touched = true;
                self.asked(Some(failure.kind.shows_within()), failure.before.revision.as_deref(), seen);
            }
            Some(Action::NoteLast(_)) => self.is_last_noted = true,
            _ => {}
        }
        if failure.kind == FailureKind::Refused {
            self.refusals += 1;
            if self.refusals >= REFUSALS {
                self.phase = Phase::Over(Ending::Failed(failure.text.clone()));
            }
        }
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn waits_for(&self, _service: Option<&Service>, _tasks: Option<&Tasks>) -> String {
        "its deployment to be through".to_owned()
    }

    fn abandoned(&self, failure: Option<&str>) -> Ending {
        let why = failure.or(self.failure.as_deref()).unwrap_or("the time was up before the deployment was through");
        match &self.phase {
            Phase::Deploying { .. } => Ending::DeploymentFailed(format!("{why}; ECS goes on with it by itself")),
            Phase::Begin | Phase::Over(_) => Ending::Failed(why.to_owned()),
        }
    }
}

fn failure(service: &Service, since: Timestamp) -> Option<String> {
    if service.deployments.iter().any(|deployment| deployment.rollout_state == "FAILED") {
        return Some("the deployment failed".to_owned());
    }
    service.newest_failure.as_ref().filter(|failure| failure.at >= since).map(|failure| failure.message.clone())
}

#[cfg(test)]
mod tests;
