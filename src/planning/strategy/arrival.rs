//! Arrival: whether the tasks start for which room was made. Nothing is done to their service; ECS places them.

use super::{Action, Done, Ending, Failure, Limits, Need, Record, Seen, Step, Strategy, Tasks};
use crate::planning::{
    bounds::DRAINS,
    model::{Service, Timestamp},
};

/// What a run remembers of a service that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// For so many tasks room was made.
    tasks: u32,
    /// So many the service has once they run.
    wanted: u32,
    /// Waited for since then.
    since: Option<Timestamp>,
    failure: Option<String>,
    is_noted: bool,
    record: Record,
}

impl Arrival {
    /// A service for `tasks` of whose tasks room was made, and that has `wanted` once they run.
    pub fn new(tasks: u32, wanted: u32) -> Self {
        Self { tasks, wanted, since: None, failure: None, is_noted: false, record: Record::default() }
    }
}

impl Strategy for Arrival {
    fn next(&mut self, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Some(service) = seen.service else { return Step::Done(Ending::Gone) };
        let since = *self.since.get_or_insert(seen.now);
        if !seen.is_fresh {
            return if limits.is_last_chance { Step::Done(self.abandoned(None)) } else { Step::Wait(None) };
        }
        if service.desired_count < self.wanted {
            let what = format!("the desired count was set to {}", service.desired_count);
            return Step::Done(Ending::OthersChanged(what));
        }
        if service.running_count >= self.wanted {
            let Some(tasks) = seen.tasks else { return Step::See(Need::Tasks) };
            if tasks.ready.len() >= self.wanted as usize {
                return Step::Done(Ending::Started { tasks: self.tasks });
            }
        }
        if let Some(stop) = limits.stop {
            return Step::Done(Ending::Limit(stop));
        }
        // Only once what made way has drained does a task have its time to become healthy.
        let longest = limits.task_timeout.saturating_add(DRAINS);
        if seen.since(since) < longest {
            return Step::Wait(None);
        }
        let told = service.newest_failure.as_ref().map(|event| event.message.clone());
        let why = told.unwrap_or_else(|| format!("not healthy within {} s", longest.as_secs()));
        let ending = Ending::NotStarted { tasks: self.tasks, why };
        // Where room was made in vain, it is not to be made again and again.
        match super::last_note(&ending, false, service, seen.now) {
            Some(note) if !self.is_noted && limits.holds_lease => Step::Act(Action::NoteLast(note)),
            _ => Step::Done(ending),
        }
    }

    fn done(&mut self, action: &Action, _result: &Done, _seen: &Seen<'_>) {
        self.is_noted |= matches!(action, Action::NoteLast(_));
    }

    fn failed(&mut self, action: Option<&Action>, failure: &Failure, _seen: &Seen<'_>) {
        self.failure = Some(failure.text.clone());
        self.is_noted |= matches!(action, Some(Action::NoteLast(_)));
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn waits_for(&self, service: Option<&Service>, tasks: Option<&Tasks>) -> String {
        super::healthy_of(self.wanted, service, tasks)
    }

    fn abandoned(&self, failure: Option<&str>) -> Ending {
        let why = failure.or(self.failure.as_deref()).unwrap_or("the time was up");
        Ending::NotStarted { tasks: self.tasks, why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests;
