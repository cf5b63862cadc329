//! The strategy `stop`: stop misplaced tasks, as many at a time as minimumHealthyPercent permits; ECS starts replacements.
//!
//! StopTask consults no minimum [API, StopTask], so the floor is kept here. Nothing of it has to be undone: ECS replaces what is
//! stopped, whoever watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Action, CONSISTENCY, Done, Ending, Failure, FailureKind, Limits, Need, REFUSALS, Record, Seen, Step, Stop,
    Strategy, Tasks, fence, last_note, start_wait,
};
use crate::planning::{
    bounds::floor,
    model::{ContainerInstanceArn, Service, TaskArn, Timestamp},
    spread, words,
};

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is stopped, or what was stopped is replaced.
    Between,
    /// These tasks were stopped, the last of them then; so many were misplaced before. Where no answer says that any was stopped,
    /// that is `in_doubt` for so long.
    Stopped { since: Timestamp, victims: BTreeSet<TaskArn>, before: u32, in_doubt: Option<Duration> },
    /// Nothing more is to be changed.
    Over(Ending),
}

/// What a run remembers of a service in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopTasks {
    phase: Phase,
    /// When it was first looked at.
    began: Option<Timestamp>,
    /// The tasks when the last ones were stopped, and where they were.
    old: BTreeMap<TaskArn, ContainerInstanceArn>,
    first_misplaced: Option<u32>,
    /// What was misplaced when the tasks that are to be stopped were chosen.
    chosen_at: u32,
    refusals: u32,
    failure: Option<String>,
    is_last_noted: bool,
    record: Record,
}

impl StopTasks {
    /// A service that nothing was done to yet.
    pub fn new() -> Self {
        Self {
            phase: Phase::Between,
            began: None,
            old: BTreeMap::new(),
            first_misplaced: None,
            chosen_at: 0,
            refusals: 0,
            failure: None,
            is_last_noted: false,
            record: Record::default(),
        }
    }

    fn turn(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        if let Phase::Over(ending) = &self.phase {
            return self.end(ending.clone(), service, seen);
        }
        if let fence::Whose::Anothers(run) = fence::whose(service, None, seen) {
            return self.end(Ending::AnothersNote(run), service, seen);
        }
        if service.deployments.len() > 1 {
            return self.end(Ending::OthersChanged("a deployment began".to_owned()), service, seen);
        }
        if service.running_count < service.desired_count {
            return self.wait(service, seen, limits);
        }
        let Some(tasks) = seen.tasks else { return Step::See(Need::Tasks) };
        let is_listed = |victims: &BTreeSet<TaskArn>| victims.iter().any(|task| tasks.all.contains_key(task));
        if let Phase::Stopped { since, victims, in_doubt, .. } = &self.phase
            && is_listed(victims)
        {
            // What was stopped a moment ago may still be listed as running.
            if seen.since(*since) < in_doubt.unwrap_or(CONSISTENCY) {
                return Step::Wait(None);
            }
            if in_doubt.is_some() {
                // Nothing was stopped: one bad answer is no reason to end.
                self.phase = Phase::Between;
            }
        }
        if tasks.ready.len() < service.desired_count as usize {
            return self.wait(service, seen, limits);
        }
        self.settle(tasks);
        if let Some(stop) = limits.stop {
            return self.end(Ending::Limit(stop), service, seen);
        }
        if !limits.is_enabled {
            return self.end(Ending::OptedOut, service, seen);
        }
        self.stop_some(service, tasks, seen, limits)
    }

    fn stop_some(&mut self, service: &Service, tasks: &Tasks, seen: &Seen<'_>, limits: &Limits) -> Step {
        let misplaced = spread::misplaced(seen.cluster, &service.name);
        self.first_misplaced.get_or_insert(misplaced);
        match self.phase {
            _ if misplaced == 0 => return self.end(Ending::Spread, service, seen),
            Phase::Stopped { before, .. } if misplaced >= before => {
                return self.end(Ending::NoHelp { misplaced }, service, seen);
            }
            _ if limits.moves == 0 => return self.end(Ending::Limit(Stop::Moves), service, seen),
            Phase::Between | Phase::Stopped { .. } | Phase::Over(_) => {}
        }
        if let Some(unread) = seen.unread(tasks.all.keys()) {
            return Step::See(unread);
        }
        // StopTask is not refused for a protected task (AWS's own example of task protection ends one so), so such a task is
        // never stopped.
        let protected = seen.protections.iter().filter(|(_, until)| until.is_some());
        let mut spared: BTreeSet<_> = protected.map(|(task, _)| task.clone()).collect();
        if let Some(reviewed) = &limits.reviewed {
            spared.extend(reviewed.barred(seen.cluster, &service.name, tasks));
        }
        let slack = u32::try_from(tasks.ready.len()).unwrap_or(u32::MAX).saturating_sub(floor(service));
        let most = misplaced.min(slack).min(limits.moves);
        // An application may protect just those that are too many: what is left to stop would only be replaced where it is.
        let victims: Vec<_> =
            spread::worthwhile_stops(seen.cluster, &service.name, tasks, &spared, most).into_iter().collect();
        if victims.is_empty() {
            return self.end(Ending::NoHelp { misplaced }, service, seen);
        }
        if !limits.holds_lease {
            return self.end(
                Ending::Failed("the run's lease has lapsed, so it changes nothing any more".to_owned()),
                service,
                seen,
            );
        }
        self.chosen_at = misplaced;
        Step::Act(Action::Stop(victims))
    }

    /// Waits for the replacements, or says why not any longer.
    fn wait(&self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Phase::Stopped { since, .. } = &self.phase else {
            // A look just after the cluster was read may be older than that.
            if self.began.is_some_and(|began| seen.since(began) < CONSISTENCY) && limits.stop.is_none() {
                return Step::Wait(None);
            }
            let (running, desired) = (service.running_count, service.desired_count);
            // What runs need not be healthy.
            let fewer = match seen.tasks {
                Some(tasks) if running >= desired => words::counted(tasks.ready.len(), "is healthy", "are healthy"),
                _ => words::counted(running, "runs", "run"),
            };
            return self.end(Ending::OthersChanged(format!("of {desired} desired, {fewer}")), service, seen);
        };
        if limits.stop == Some(Stop::Signal) {
            // ECS replaces what was stopped, whoever watches.
            return self.end(Ending::Limit(Stop::Signal), service, seen);
        }
        if let Some(failure) = service.newest_failure.as_ref().filter(|failure| failure.at >= *since) {
            return self.end(Ending::Undone(failure.message.clone()), service, seen);
        }
        match start_wait::is_over(*since, |task| !self.old.contains_key(task), seen, limits) {
            Ok(false) => Step::Wait(None),
            Ok(true) => self.end(Ending::Undone(start_wait::told(seen.since(*since))), service, seen),
            Err(unseen) => Step::See(unseen),
        }
    }

    /// Records which tasks went and where their replacements are.
    fn settle(&mut self, tasks: &Tasks) {
        let Phase::Stopped { victims, .. } = &self.phase else { return };
        let new = tasks.all.values().filter(|task| !self.old.contains_key(&task.arn));
        let places = new.filter_map(|task| task.container_instance.clone()).collect();
        let went: Vec<_> =
            victims.iter().filter_map(|victim| Some((victim.clone(), self.old.remove(victim)?))).collect();
        self.record.replaced(went, places);
    }

    /// Notes how it went, where that says something, and ends.
    fn end(&self, ending: Ending, service: &Service, seen: &Seen<'_>) -> Step {
        let helped = self.first_misplaced.is_some_and(|first| spread::misplaced(seen.cluster, &service.name) < first);
        match last_note(&ending, helped, service, seen.now) {
            Some(note) if self.record.touched && !self.is_last_noted => Step::Act(Action::NoteLast(note)),
            _ => Step::Done(ending),
        }
    }

    /// Takes over that tasks were stopped.
    fn stopped(&mut self, stopped: &[TaskArn], in_doubt: Option<Duration>, seen: &Seen<'_>) {
        if stopped.is_empty() {
            return;
        }
        self.old = seen.tasks.iter().flat_map(|tasks| tasks.places()).collect();
        let victims = stopped.iter().cloned().collect();
        self.phase = Phase::Stopped { since: seen.now, victims, before: self.chosen_at, in_doubt };
    }
}

impl Default for StopTasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for StopTasks {
    fn next(&mut self, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Some(service) = seen.service else { return Step::Done(Ending::Gone) };
        self.began.get_or_insert(seen.now);
        if !seen.is_fresh {
            if !limits.is_last_chance {
                return Step::Wait(None);
            }
            return Step::Done(self.abandoned(None));
        }
        self.turn(service, seen, limits)
    }

    fn done(&mut self, action: &Action, result: &Done, seen: &Seen<'_>) {
        self.record.touched = true;
        self.refusals = 0;
        match action {
            Action::Stop(_) => self.stopped(&result.stopped, None, seen),
            Action::NoteLast(_) => self.is_last_noted = true,
            _ => {}
        }
    }

    fn failed(&mut self, action: Option<&Action>, failure: &Failure, seen: &Seen<'_>) {
        self.failure = Some(failure.text.clone());
        match action {
            Some(Action::Stop(victims)) => {
                self.record.touched = true;
                // One that was not answered may have been stopped as well: then it is this run's doing.
                let mut stopped = failure.before.stopped.clone();
                let in_doubt = stopped.is_empty().then(|| failure.kind.shows_within());
                if matches!(failure.kind, FailureKind::Unanswered | FailureKind::Unclear) {
                    stopped
                        .extend(victims.iter().filter(|task| !failure.before.stopped.contains(task)).take(1).cloned());
                }
                self.stopped(&stopped, in_doubt, seen);
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

    fn starts_under_way(&self) -> u32 {
        match &self.phase {
            Phase::Stopped { victims, .. } => {
                let left = victims.iter().filter(|task| self.old.contains_key(*task)).count();
                u32::try_from(left).unwrap_or(u32::MAX)
            }
            Phase::Between | Phase::Over(_) => 0,
        }
    }

    fn waits_for(&self, service: Option<&Service>, tasks: Option<&Tasks>) -> String {
        match &self.phase {
            Phase::Between | Phase::Over(_) => "being looked at".to_owned(),
            Phase::Stopped { .. } => super::healthy_of(service.map_or(0, |it| it.desired_count), service, tasks),
        }
    }

    fn abandoned(&self, failure: Option<&str>) -> Ending {
        let why = failure.or(self.failure.as_deref()).unwrap_or("the time was up before all replacements were healthy");
        Ending::Failed(format!("{why}; ECS replaces the stopped tasks by itself"))
    }
}

#[cfg(test)]
mod tests;
