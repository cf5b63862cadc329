//! Whether the replacements are there, and what makes it pointless to wait for them.

use std::collections::BTreeSet;

use super::{Phase, Surge, Turn, change_by_others, names, others_raised};
use crate::planning::{
    model::{Service, ServiceStatus, Task, TaskArn, TaskStatus, Timestamp},
    notes::SurgeNote,
    strategy::{CONSISTENCY, Distrust, Ending, Limits, Need, Seen, Step, Tasks, start_wait},
};

impl Surge {
    pub(super) fn wait_for_replacements(
        &self,
        since: Timestamp,
        service: &Service,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Turn {
        let Some(note) = self.note() else { return Turn::Go(Phase::Between) };
        if service.desired_count != note.to {
            if service.desired_count == note.from && seen.since(since) < CONSISTENCY {
                return Turn::Take(Step::Wait(None));
            }
            return Turn::Go(Phase::Clearing(others_raised(service.desired_count, note)));
        }
        if let Some(what) = change_by_others(service) {
            if service.status != ServiceStatus::Active {
                return Turn::Go(Phase::Clearing(Ending::OthersChanged(what)));
            }
            // A deployment replaces the tasks anyway; what is this run's is the count.
            let ending = Some(Ending::OthersChanged(what));
            return Turn::Go(Phase::Chosen { since, victims: BTreeSet::new(), waits: false, ending });
        }
        let mut trouble = match self.trouble(note, since, service, seen, limits) {
            Ok(trouble) => trouble,
            Err(unseen) => return Turn::Take(Step::See(unseen)),
        };
        let counted = service.running_count.saturating_add(service.pending_count);
        if note.steer.is_some() && self.constrained && trouble.is_none() {
            if counted < note.to {
                return Turn::Take(Step::Wait(None));
            }
            let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
            if tasks.placed() < note.to as usize {
                return Turn::Take(Step::Wait(None));
            }
            trouble = self.landed_elsewhere(tasks);
            if trouble.is_none() {
                // All have a place: what outlives a killed run is to be the exception.
                return self.unsteer(service, seen).map_or(Turn::Take(Step::Wait(None)), Turn::Take);
            }
        }
        if service.running_count < note.to && trouble.is_none() {
            return Turn::Take(Step::Wait(None));
        }
        let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
        if trouble.is_none() {
            if let Some(step) = self.unsteer(service, seen) {
                return Turn::Take(step);
            }
            if tasks.ready.len() < note.to as usize && !self.all_landed_badly(tasks, service, seen, limits) {
                return Turn::Take(Step::Wait(tasks.settled_in(seen.now)));
            }
        }
        self.choose(since, note, trouble, service, tasks, seen, limits)
    }

    /// Whether each new task runs where it is no better: then none of them has to become healthy before it goes again.
    fn all_landed_badly(&self, tasks: &Tasks, service: &Service, seen: &Seen<'_>, limits: &Limits) -> bool {
        let Some(note) = self.note() else { return false };
        let new: Vec<&Task> = tasks.all.values().filter(|task| !self.old_tasks.contains(&task.arn)).collect();
        let run = |task: &&Task| task.last_status == TaskStatus::Running;
        let are_all_there = new.len() >= note.added() as usize && new.iter().all(run);
        let old_are_ready = self.old_tasks.iter().all(|task| tasks.ready.contains(task));
        self.goal.tries().is_some_and(|tries| {
            // What the application protects is read later; it makes no landing better.
            let barred = || self.barred(seen.cluster, limits, service, tasks, &BTreeSet::new());
            let to_go = |barred| tries.best_to_go(seen.cluster, &self.name, tasks, &self.old_tasks, barred, limits);
            are_all_there && old_are_ready && to_go(&barred()).old.is_empty()
        })
    }

    /// Why the replacements are waited for no longer.
    pub(super) fn trouble(
        &self,
        note: &SurgeNote,
        since: Timestamp,
        service: &Service,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Result<Option<Ending>, Need> {
        if let Some(stop) = limits.stop {
            return Ok(Some(Ending::Limit(stop)));
        }
        // A new attribute takes a moment until ECS places by it, and capacity that others leave until it is free: a first failure
        // to place says nothing yet.
        let may_be_early = self.goal.moves().is_some_and(|it| it.room_comes_later)
            || note.steer.is_some() && seen.since(since) < CONSISTENCY;
        if let Some(failure) = &service.newest_failure
            && failure.at >= note.at
            && !may_be_early
        {
            let message = failure.message.clone();
            // Where ECS puts others' tasks is its own choice: a place that was there when the try was planned may be taken.
            let is_tried = self.goal.tries().is_some();
            return Ok(Some(if is_tried { Ending::NotPlaced(message) } else { Ending::Undone(message) }));
        }
        if seen.tasks.is_some_and(|tasks| tasks.ready.len() >= note.to as usize) {
            return Ok(None);
        }
        let is_over = start_wait::is_over(since, |task| !self.old_tasks.contains(task), seen, limits)?;
        Ok(is_over.then(|| Ending::Undone(start_wait::told(seen.since(since)))))
    }

    /// Whether a new task sits on a container instance that was not meant.
    fn landed_elsewhere(&self, tasks: &Tasks) -> Option<Ending> {
        let is_elsewhere = |task: &&Task| {
            !self.old_tasks.contains(&task.arn)
                && task.container_instance.as_ref().is_some_and(|instance| !self.targets.contains(instance))
        };
        let astray: Vec<&TaskArn> = tasks.all.values().filter(is_elsewhere).map(|task| &task.arn).collect();
        (!self.old_tasks.is_empty() && !astray.is_empty())
            .then(|| Ending::Distrust(Distrust::SteeringMissed(format!("task {}", names(&astray)))))
    }
}
