//! What is remembered of each change: what came of it, or that nobody knows.

use std::collections::BTreeSet;

use super::{NAMES, Phase, Surge};
use crate::planning::{
    model::Timestamp,
    notes::is_steering,
    strategy::{Action, Distrust, Done, Ending, Failure, FailureKind, REFUSALS, Seen, fence::Written},
};

impl Surge {
    /// ECS said that it is done.
    pub(super) fn remember_done(&mut self, action: &Action, result: &Done, seen: &Seen<'_>) {
        self.record.touched = true;
        self.refusals = 0;
        match action {
            Action::Note(note) => {
                let cluster = seen.cluster;
                if let Some(service) = seen.service {
                    let misplaced = self.left(cluster, &service.name);
                    self.first_misplaced.get_or_insert(misplaced);
                    self.idle_rounds = if misplaced < self.misplaced { 0 } else { self.idle_rounds + 1 };
                    self.misplaced = self.misplaced.min(misplaced);
                }
                self.old_tasks = seen.tasks.iter().flat_map(|tasks| tasks.all.keys().cloned()).collect();
                self.note = Some(note.clone());
                self.written = Some(Written { run_id: self.run_id.clone(), at: seen.now });
                (self.is_surely_written, self.is_cleared) = (true, false);
                self.phase = Phase::Noted(self.proposed.take().map_or_else(BTreeSet::new, |(_, targets)| targets));
            }
            // A look may show it for a while yet: it is known as this run's until the end.
            Action::ClearNote => {
                self.note = None;
                self.is_surely_written = false;
                self.is_cleared = true;
                // By now it is known of all whether they are protected, and none is by this run.
                self.ours.retain(|_, until| until.is_some());
            }
            Action::NoteLast(_) => self.is_last_noted = true,
            Action::SetDesiredCount(count, constraints) => {
                if let Some(constraints) = constraints {
                    self.constrained = constraints.iter().any(is_steering);
                }
                let Some((from, to)) = self.note().map(|note| (note.from, note.to)) else { return };
                if *count == to {
                    self.is_raised = true;
                    self.record.left_raised = Some((to, from));
                    self.phase = Phase::Raised(seen.now);
                } else {
                    (self.lowered_at, self.is_lowering_shown) = (Some(seen.now), false);
                    self.record.left_raised = (*count > from).then_some((*count, from));
                    self.phase = match &self.phase {
                        Phase::Chosen { victims, ending, .. } => Self::lowered(seen, victims, ending.as_ref()),
                        Phase::Lowered { victims, before, ending, .. } => Phase::Lowered {
                            since: seen.now,
                            victims: victims.clone(),
                            before: before.clone(),
                            ending: ending.clone(),
                        },
                        phase => phase.clone(),
                    };
                }
            }
            Action::SetConstraints(_) => self.constrained = false,
            Action::PutTarget(instances, _) => {
                self.targets.extend(instances.iter().cloned());
                self.put.extend(instances.iter().cloned());
            }
            Action::DeleteTarget(instances) => {
                self.targets.retain(|instance| !instances.contains(instance));
                self.put.retain(|instance| !instances.contains(instance));
            }
            Action::Protect(..) => self.remember_protected(result, seen),
            // A request to protect that was not answered may take effect yet, and protect them anew.
            Action::Unprotect(tasks) if self.is_unsettled(seen) => {
                self.ours.extend(tasks.iter().map(|task| (task.clone(), None)));
            }
            Action::Unprotect(tasks) => self.ours.retain(|task, _| !tasks.contains(task)),
            // Not this strategy's.
            Action::Stop(_) | Action::ForceNewDeployment | Action::NewRevision(_) | Action::Deploy(_) => {}
        }
    }

    /// A call failed, or was not answered.
    pub(super) fn remember_failed(&mut self, action: Option<&Action>, failure: &Failure, seen: &Seen<'_>) {
        self.failure = Some(failure.text.clone());
        if let Some(action) = action {
            self.record.touched = true;
            self.proposed = None;
            let may_be_done = matches!(failure.kind, FailureKind::Unanswered | FailureKind::Unclear);
            if may_be_done {
                let within = i64::try_from(failure.kind.shows_within().as_millis()).unwrap_or(i64::MAX);
                self.unsettled_until = self.unsettled_until.max(Some(Timestamp(seen.now.0.saturating_add(within))));
            }
            match action {
                Action::Note(note) if may_be_done => {
                    // It may be there: then it is this run's to take away.
                    self.note.get_or_insert_with(|| note.clone());
                    self.written = Some(Written { run_id: self.run_id.clone(), at: seen.now });
                }
                Action::SetDesiredCount(count, constraints) if may_be_done => {
                    let note = self.note().map(|note| (note.from, note.to));
                    if let Some((from, to)) = note.filter(|(_, to)| to == count) {
                        self.is_raised = true;
                        self.record.left_raised = Some((to, from));
                        self.constrained |= constraints.is_some();
                    }
                }
                Action::PutTarget(instances, _) => self.targets.extend(instances.iter().cloned()),
                Action::Protect(tasks, _) => {
                    self.protected_at = Some(seen.now);
                    if failure.kind == FailureKind::Unanswered {
                        self.in_doubt.extend(tasks.iter().cloned());
                    }
                    for task in tasks {
                        let until = failure.before.protected.get(task).copied();
                        self.ours.entry(task.clone()).and_modify(|known| *known = until.or(*known)).or_insert(until);
                    }
                }
                Action::NoteLast(_) => self.is_last_noted = true,
                _ => {}
            }
        }
        if failure.kind == FailureKind::Refused {
            self.refusals += 1;
            if self.refusals >= REFUSALS {
                self.refusals = 0;
                self.give_up(seen);
            }
        }
    }

    /// What became of a request to protect.
    fn remember_protected(&mut self, result: &Done, seen: &Seen<'_>) {
        self.protected_at = Some(seen.now);
        for (task, until) in &result.protected {
            self.ours.insert(task.clone(), Some(*until));
        }
        // One that has gone meanwhile is MISSING, and is lost anyway: then the next look has another picture.
        let refused: Vec<String> = result
            .refused
            .iter()
            .filter(|(_, reason)| *reason != "MISSING")
            .map(|(task, reason)| format!("{} ({reason})", task.short()))
            .take(NAMES)
            .collect();
        if !refused.is_empty()
            && let Phase::Raised(since) = &self.phase
        {
            let ending = Some(Ending::Distrust(Distrust::ProtectionRefused(refused.join(", "))));
            self.phase = Phase::Chosen { since: *since, victims: BTreeSet::new(), waits: false, ending };
        }
    }
}
