//! The strategy `surge`: start a few more, wait until they are healthy, protect all but the victims, scale in, look again.
//!
//! Why no service is left worse than it was found:
//! - What is about to be done is noted on the service first, so that the next run can finish or undo it
//!   ([`SurgeNote`]). The note goes last, once the desired count, constraint, attribute and protection are as before.
//! - The desired count is only ever raised, and lowered to what it was: never below what its owner set. It is lowered only if it
//!   reads just what this run wrote; whatever else it reads is somebody else's, and stands.
//! - Each change passes the [fence] first: this run's note, and this run's lease.
//! - A request that was not answered may take effect later. Until it can't any more, the note stays and the service is looked at.
//! - A failed look changes nothing: the service is looked at again. Only where the run's time is over without a fresh look, the
//!   last one, at most a minute old, is ground for taking the constraint off and for a scale-in that was ready.
//!
//! Every change to a count, a constraint, an attribute or a protection is made in this file. The modules below decide what it is
//! to be: `round` how many tasks are started and where, `replacements` how long they are waited for, `victims` who goes; and
//! `answers` remembers what came of each change.

mod answers;
mod goal;
mod recovery;
mod relocations;
mod replacements;
mod round;
#[cfg(test)]
mod tests;
mod victims;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

pub use self::recovery::Leftover;
use self::{
    goal::{Goal, Tries},
    relocations::Relocations,
};
use super::{
    Action, CONSISTENCY, Distrust, Done, Ending, Failure, Limits, Need, OLDEST_LOOK, Record, SCHEDULER_INTERVAL, Seen,
    Step, Stop, Stopped, Strategy, Tasks,
    fence::{self, Whose, Written},
    last_note,
    promised::{Promised, with_promised},
};
use crate::planning::{
    model::{
        Cluster, ContainerInstanceArn, ContainerInstanceStatus, Service, ServiceName, ServiceStatus, Task, TaskArn,
        Timestamp,
    },
    moves::Move,
    notes::{SurgeNote, is_steering, owners_constraints, steer_value, steering_constraint},
    spread, words,
};

/// How long after a scale-in its victims may still be listed, before that is given up on.
const SCALE_IN_TIMEOUT: Duration = Duration::from_mins(3);
/// Phases that may be gone through without anything to be seen or done between them.
const TRANSITIONS: usize = 8;
/// The names of tasks that a message gives at most.
const NAMES: usize = 5;

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Between two rounds, or before the first; nothing is raised.
    Between,
    /// A dead run left its note: it is to be seen whether the cluster bears it out.
    Recovering,
    /// The note is written; the desired count is to be raised. Where it steers, these instances are to carry the attribute.
    Noted(BTreeSet<ContainerInstanceArn>),
    /// The desired count is raised, since then.
    Raised(Timestamp),
    /// All but the victims are protected; the desired count, raised since then, is to be lowered. Perhaps a victim landed well, and a
    /// better landing is waited for. Perhaps that is the end.
    Chosen { since: Timestamp, victims: BTreeSet<TaskArn>, waits: bool, ending: Option<Ending> },
    /// The desired count is lowered, since then. Perhaps that is the end.
    Lowered {
        since: Timestamp,
        victims: BTreeSet<TaskArn>,
        before: BTreeMap<TaskArn, ContainerInstanceArn>,
        ending: Option<Ending>,
    },
    /// What was set is to be cleared, then it ends so.
    Clearing(Ending),
    /// Nothing more is to be changed.
    Over(Ending),
}

/// What a run remembers of a service in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; most of their combinations occur")]
pub struct Surge {
    name: ServiceName,
    run_id: String,
    phase: Phase,
    /// The note in force.
    note: Option<SurgeNote>,
    /// Who wrote it, and when.
    written: Option<Written>,
    /// Whether ECS said that it is written, and nobody was asked to take it away since.
    is_surely_written: bool,
    /// Whether this run has taken it away.
    is_cleared: bool,
    /// Whether somebody else took it off.
    is_taken_off: bool,
    /// The protections that this run asked for, and until when they last as ECS said; none where its answer was lost.
    ours: BTreeMap<TaskArn, Option<Timestamp>>,
    /// Those of them of which one request was not answered: it may take effect later, and then the protection lasts longer.
    in_doubt: BTreeSet<TaskArn>,
    /// When the newest of them was set.
    protected_at: Option<Timestamp>,
    /// The container instances that this run put the attribute on, or tried to.
    targets: BTreeSet<ContainerInstanceArn>,
    /// Those of them that have it.
    put: BTreeSet<ContainerInstanceArn>,
    /// Whether the service may have the constraint that asks for it.
    constrained: bool,
    /// Whether the desired count may be raised by this run.
    is_raised: bool,
    /// The round that is about to be noted, and where it steers to.
    proposed: Option<(SurgeNote, BTreeSet<ContainerInstanceArn>)>,
    /// The value of the attribute that it steers by.
    steer_value: String,
    goal: Goal,
    /// The tasks at the beginning of a round: whatever else runs later is new.
    old_tasks: BTreeSet<TaskArn>,
    /// Among which tasks the victims were chosen, once they were: whatever runs later is protected by nobody.
    chosen_among: Option<BTreeSet<TaskArn>>,
    /// Whether it is known which tasks were stopping before the first round.
    knows_leaving: bool,
    /// The fewest tasks still to be moved at the beginning of a round, and how many these were at first.
    misplaced: u32,
    first_misplaced: Option<u32>,
    /// Rounds in a row that cured nothing.
    idle_rounds: u32,
    /// Until when a change may take effect of which nobody knows whether it was made.
    unsettled_until: Option<Timestamp>,
    /// When this run lowered the desired count last, and whether a look has shown it since.
    lowered_at: Option<Timestamp>,
    is_lowering_shown: bool,
    /// Calls in a row that AWS refused.
    refusals: u32,
    /// The newest failure.
    failure: Option<String>,
    is_last_noted: bool,
    recovery: bool,
    record: Record,
}

/// What follows at once, or what is asked of whoever carries it out.
enum Turn {
    Go(Phase),
    Take(Step),
}

impl Surge {
    /// A service that nothing was done to yet.
    pub fn new(run_id: &str, service: &ServiceName) -> Self {
        Self {
            name: service.clone(),
            run_id: run_id.to_owned(),
            phase: Phase::Between,
            note: None,
            written: None,
            is_surely_written: false,
            is_cleared: false,
            is_taken_off: false,
            ours: BTreeMap::new(),
            in_doubt: BTreeSet::new(),
            protected_at: None,
            targets: BTreeSet::new(),
            put: BTreeSet::new(),
            constrained: false,
            is_raised: false,
            proposed: None,
            steer_value: steer_value(run_id, service),
            goal: Goal::Spread,
            old_tasks: BTreeSet::new(),
            chosen_among: None,
            knows_leaving: false,
            misplaced: u32::MAX,
            first_misplaced: None,
            idle_rounds: 0,
            unsettled_until: None,
            lowered_at: None,
            is_lowering_shown: false,
            refusals: 0,
            failure: None,
            is_last_noted: false,
            recovery: false,
            record: Record::default(),
        }
    }

    /// A service of which just these tasks are to go just there. Where they go, others may have to leave first: then the capacity
    /// `comes_later`.
    pub fn relocating(run_id: &str, service: &ServiceName, moves: Vec<Move>, comes_later: bool) -> Self {
        Self { goal: Goal::Moves(Relocations::new(moves, comes_later)), ..Self::new(run_id, service) }
    }

    /// A service whose tasks go from full to emptier container instances as ECS's own choice allows, at most so many of them;
    /// where a plan was reviewed, `only` these.
    pub fn levelling(run_id: &str, service: &ServiceName, moves: u32, only: Option<BTreeSet<TaskArn>>) -> Self {
        Self { goal: Goal::Tries(Tries::to_level(moves, only)), ..Self::new(run_id, service) }
    }

    /// A service of which just these tasks are to go, elsewhere as ECS's own choice allows: on those container instances that are
    /// kept clear no new one may stay. Where it `packs` them, the service keeps its tasks of each zone, and else its spread.
    pub fn clearing(
        run_id: &str,
        service: &ServiceName,
        moves: Vec<Move>,
        kept_clear: BTreeSet<ContainerInstanceArn>,
        packs: bool,
    ) -> Self {
        Self { goal: Goal::Tries(Tries::to_clear(moves, kept_clear, packs)), ..Self::new(run_id, service) }
    }

    /// The same service once more in one run: these of its tasks may still be stopping.
    #[must_use]
    pub fn after(mut self, leaving: impl IntoIterator<Item = TaskArn>) -> Self {
        self.record.leaving.extend(leaving);
        self
    }

    /// The note in force. Every phase that asks for it has one; a default one would only stand still.
    fn note(&self) -> Option<&SurgeNote> {
        self.note.as_ref()
    }

    /// Whether the service may carry this run's note.
    fn is_noted(&self) -> bool {
        self.written.is_some() && !self.is_cleared
    }

    /// How many tasks are to be moved still.
    fn left(&self, cluster: &Cluster, service: &ServiceName) -> u32 {
        match &self.goal {
            Goal::Spread => spread::misplaced(cluster, service),
            Goal::Moves(relocations) => count(relocations.outstanding(cluster).count()),
            Goal::Tries(tries) => tries.left(cluster),
        }
    }

    fn turn(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Turn {
        match &self.phase {
            Phase::Between => self.begin(service, seen, limits),
            Phase::Recovering => self.recover(service, seen),
            Phase::Noted(targets) => self.raise(targets, service, seen, limits),
            Phase::Raised(since) => self.wait_for_replacements(*since, service, seen, limits),
            Phase::Chosen { since, victims, ending, .. } => self.lower(*since, victims, ending.as_ref(), service, seen),
            Phase::Lowered { since, victims, before, ending } => {
                self.wait_for_scale_in(*since, victims, before, ending.as_ref(), service, seen)
            }
            Phase::Clearing(ending) => self.clear(ending, service, seen),
            Phase::Over(ending) => Turn::Take(Step::Done(ending.clone())),
        }
    }

    /// Goes on in another phase, remembering what that means.
    fn enter(&mut self, phase: Phase, seen: &Seen<'_>) {
        if let (Phase::Lowered { before, ending, .. }, Some(tasks)) = (&self.phase, seen.tasks)
            && matches!(phase, Phase::Between | Phase::Clearing(_))
        {
            let (before, is_distrusted) = (before.clone(), matches!(ending, Some(Ending::Distrust(_))));
            if !self.recovery {
                self.settle_round(&before, is_distrusted, tasks);
            }
            // A request to raise that was not answered may take effect yet.
            self.is_raised = self.is_unsettled(seen);
            if !self.is_raised {
                self.record.left_raised = None;
            }
        }
        if let (Phase::Chosen { waits, .. }, Some(tasks)) = (&phase, seen.tasks) {
            self.chosen_among = Some(tasks.all.keys().cloned().collect());
            if let Goal::Tries(tries) = &mut self.goal {
                tries.chosen(*waits);
            }
        }
        self.phase = phase;
    }

    /// Records what a round came to: which tasks went, and which of the new ones stay.
    fn settle_round(&mut self, before: &BTreeMap<TaskArn, ContainerInstanceArn>, is_distrusted: bool, tasks: &Tasks) {
        let gone: Vec<(&TaskArn, &ContainerInstanceArn)> =
            before.iter().filter(|(task, _)| !tasks.all.contains_key(*task)).collect();
        if is_distrusted && !gone.is_empty() {
            let went: Vec<&TaskArn> = gone.iter().map(|(task, _)| *task).collect();
            self.record.remarks.push(format!("ECS chose itself which tasks went: {}", names(&went)));
        }
        self.record.leaving.extend(gone.iter().map(|(task, _)| (*task).clone()));
        let (old, new): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(task, _)| self.old_tasks.contains(*task));
        let stayed = tasks.all.values().filter(|task| !self.old_tasks.contains(&task.arn));
        let places = stayed.filter_map(|task| task.container_instance.clone()).collect();
        self.record.in_vain += count(new.len());
        if let Goal::Tries(tries) = &mut self.goal {
            tries.tried(count(old.len()));
        }
        self.record.replaced(old.into_iter().map(|(task, from)| (task.clone(), from.clone())), places);
    }

    /// What is left raised, by the newest look; a look that may be too early says nothing.
    fn see_count(&mut self, service: &Service, seen: &Seen<'_>) {
        let Some((from, to)) = self.note().map(|note| (note.from, note.to)) else {
            self.record.left_raised = None;
            return;
        };
        self.is_lowering_shown |= matches!(self.phase, Phase::Lowered { .. }) && service.desired_count == from;
        if !self.is_raised || matches!(self.phase, Phase::Recovering) {
            return;
        }
        if service.desired_count == to {
            self.record.left_raised = Some((to, from));
        } else if !matches!(self.phase, Phase::Raised(since) if seen.since(since) < CONSISTENCY) {
            self.record.left_raised = None;
        }
    }

    /// Raises the desired count; before that, where it steers, puts the attribute on the container instances.
    fn raise(
        &self,
        targets: &BTreeSet<ContainerInstanceArn>,
        service: &Service,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Turn {
        let Some(note) = self.note() else { return Turn::Go(Phase::Between) };
        if let Some(what) = change_by_others(service) {
            return Turn::Go(Phase::Clearing(Ending::OthersChanged(what)));
        }
        match service.desired_count {
            // Done, but the answer was lost.
            count if count == note.to && self.is_raised => Turn::Go(Phase::Raised(note.at)),
            // As it was before the last round's scale-in.
            count if count == note.to && self.has_just_lowered(seen) => Turn::Take(Step::Wait(None)),
            count if count != note.from => Turn::Go(Phase::Clearing(others_set(count))),
            _ if self.is_taken_off => Turn::Go(Phase::Clearing(Ending::OthersChanged(taken_off()))),
            _ if limits.stop.is_some() => {
                Turn::Go(Phase::Clearing(Ending::Limit(limits.stop.unwrap_or(Stop::Deadline))))
            }
            _ => {
                let Some(value) = &note.steer else {
                    return Turn::Take(Step::Act(Action::SetDesiredCount(note.to, None)));
                };
                if !targets.is_subset(&self.put) {
                    return Turn::Take(Step::Act(Action::PutTarget(targets.clone(), value.clone())));
                }
                let mut constraints = owners_constraints(&service.placement_constraints);
                constraints.push(steering_constraint(value));
                Turn::Take(Step::Act(Action::SetDesiredCount(note.to, Some(constraints))))
            }
        }
    }

    /// Chooses the victims, and protects all others.
    #[expect(clippy::too_many_arguments, reason = "all that the choice depends on")]
    fn choose(
        &self,
        since: Timestamp,
        note: &SurgeNote,
        trouble: Option<Ending>,
        service: &Service,
        tasks: &Tasks,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Turn {
        if let Some(unread) = seen.unread(self.not_ours(tasks)) {
            return Turn::Take(Step::See(unread));
        }
        // What drains is ECS's own to move; protected, it would stay.
        if let Some(unread) = seen.unread_instances(tasks.places().map(|(_, place)| place)) {
            return Turn::Take(Step::See(unread));
        }
        let protections = self.protections(seen);
        let ours = self.our_protections(&protections);
        let spared: BTreeSet<TaskArn> = protections.keys().filter(|task| !ours.contains(*task)).cloned().collect();
        let crowded = with_promised(seen.cluster, seen.promised);
        let barred = self.barred(&crowded, limits, service, tasks, &spared);
        let (victims, waits) = self.victims(&crowded, service, tasks, &spared, &barred, note, limits);
        let unprotect: Vec<TaskArn> = victims.intersection(&ours).cloned().collect();
        // The application may have protected it anew since, and then it is its own.
        if let Some(unread) = seen.unread(unprotect.iter()) {
            return Turn::Take(Step::See(unread));
        }
        if !unprotect.is_empty() {
            return Turn::Take(Step::Act(Action::Unprotect(unprotect)));
        }
        let stays = |task: &&Task| is_on_active(seen.cluster, task.container_instance.as_ref());
        let unprotected: Vec<TaskArn> = tasks
            .all
            .values()
            .filter(stays)
            .map(|task| &task.arn)
            .filter(|task| !victims.contains(*task) && !protections.contains_key(*task))
            .cloned()
            .collect();
        if unprotected.is_empty() {
            let ending = if self.recovery { Some(Ending::Recovered) } else { trouble };
            return Turn::Go(Phase::Chosen { since, victims, waits, ending });
        }
        Turn::Take(Step::Act(Action::Protect(unprotected, limits.protect_minutes)))
    }

    /// Lowers the desired count, once the scheduler knows of the protection.
    fn lower(
        &self,
        since: Timestamp,
        victims: &BTreeSet<TaskArn>,
        ending: Option<&Ending>,
        service: &Service,
        seen: &Seen<'_>,
    ) -> Turn {
        let Some(note) = self.note() else { return Turn::Go(Phase::Between) };
        match service.desired_count {
            count if count == note.from => {
                // What was raised a moment ago may not be read yet.
                if seen.since(since) < CONSISTENCY && !self.is_unsettled(seen) {
                    return Turn::Take(Step::Wait(None));
                }
                Turn::Go(Self::lowered(seen, victims, ending))
            }
            count if count != note.to => Turn::Go(Phase::Clearing(others_raised(count, note))),
            // A task was lost since: its replacement must not be what the scale-in takes.
            _ if service.running_count < note.to && ending.is_none() => Turn::Go(Phase::Raised(since)),
            _ => {
                let known = self.protected_at.map_or(SCHEDULER_INTERVAL, |at| seen.since(at));
                let waits = SCHEDULER_INTERVAL.saturating_sub(known);
                // Where nobody is protected, there is nothing to wait for.
                if !waits.is_zero() && !victims.is_empty() {
                    return Turn::Take(Step::Wait(Some(waits)));
                }
                // Who goes is compared with who was meant to.
                let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
                // One that came since, as where its container instance drains, must not be what the scale-in takes either.
                let has_come = |task| self.chosen_among.as_ref().is_some_and(|among| !among.contains(task));
                if ending.is_none() && tasks.all.keys().any(has_come) {
                    return Turn::Go(Phase::Raised(since));
                }
                Turn::Take(Step::Act(self.scale_in(note, service)))
            }
        }
    }

    /// Back to the count of before; the same call takes our constraint off. Where that is off already, the constraints are the
    /// owner's alone, and perhaps not those of the last look any more.
    fn scale_in(&self, note: &SurgeNote, service: &Service) -> Action {
        let is_steered = self.constrained || service.placement_constraints.iter().any(is_steering);
        Action::SetDesiredCount(note.from, is_steered.then(|| owners_constraints(&service.placement_constraints)))
    }

    fn lowered(seen: &Seen<'_>, victims: &BTreeSet<TaskArn>, ending: Option<&Ending>) -> Phase {
        let before = seen.tasks.iter().flat_map(|tasks| tasks.places()).collect();
        Phase::Lowered { since: seen.now, victims: victims.clone(), before, ending: ending.cloned() }
    }

    /// Waits for the victims to go, and compares who went with who was meant.
    fn wait_for_scale_in(
        &self,
        since: Timestamp,
        victims: &BTreeSet<TaskArn>,
        before: &BTreeMap<TaskArn, ContainerInstanceArn>,
        ending: Option<&Ending>,
        service: &Service,
        seen: &Seen<'_>,
    ) -> Turn {
        let Some(note) = self.note() else { return Turn::Go(Phase::Between) };
        match service.desired_count {
            count if count == note.from => {}
            count if count == note.to && seen.since(since) < CONSISTENCY => return Turn::Take(Step::Wait(None)),
            // Once the lower count was there, whoever raised it again was somebody else.
            count if count == note.to && (!self.is_lowering_shown || self.is_unsettled(seen)) => {
                return Turn::Take(Step::Act(self.scale_in(note, service)));
            }
            count => return Turn::Go(Phase::Clearing(others_set(count))),
        }
        if let Some(step) = self.unsteer(service, seen) {
            return Turn::Take(step);
        }
        let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
        let is_over = tasks.all.len() <= note.from as usize;
        let stayed = victims.iter().filter(|task| tasks.all.contains_key(*task)).count();
        let gone = before.keys().filter(|task| !tasks.all.contains_key(*task));
        // What drained was not protected, for it is ECS's own to move: see [`Self::choose`].
        let was_protected = |task: &TaskArn| is_on_active(seen.cluster, before.get(task));
        let others_gone: BTreeSet<TaskArn> =
            gone.filter(|task| !victims.contains(*task) && was_protected(task)).cloned().collect();
        if !others_gone.is_empty() && stayed > 0 {
            // One may have been drained since it was looked at.
            let on: BTreeSet<ContainerInstanceArn> =
                others_gone.iter().filter_map(|task| before.get(task)).cloned().collect();
            if let Some(unread) = seen.unread_instances(on) {
                return Turn::Take(Step::See(unread));
            }
            let untold: BTreeSet<TaskArn> =
                others_gone.iter().filter(|task| !seen.stopped.contains_key(*task)).cloned().collect();
            if !untold.is_empty() {
                return Turn::Take(Step::See(Need::Stopped(untold)));
            }
            // One that died, or whose container instance was lost, is no fault of the scale-in's.
            let is_taken = |task: &&TaskArn| seen.stopped.get(*task).is_some_and(Stopped::is_scale_in);
            let taken: Vec<&TaskArn> = others_gone.iter().filter(is_taken).collect();
            if !taken.is_empty() {
                let what = format!("{} of {} went instead of the chosen ones", names(&taken), service.name);
                return Turn::Go(Phase::Clearing(Ending::Distrust(Distrust::WrongTasksStopped(what))));
            }
        }
        if !is_over {
            if seen.since(since) < SCALE_IN_TIMEOUT {
                return Turn::Take(Step::Wait(None));
            }
            let holding_up = match self.protected_where_it_drains(tasks, seen) {
                Ok(holding_up) => holding_up,
                Err(unread) => return Turn::Take(Step::See(unread)),
            };
            let mut why =
                format!("ECS did not scale in to {} within {} s", words::tasks(note.from), SCALE_IN_TIMEOUT.as_secs());
            if holding_up > 0 {
                let held_up = words::tasks(holding_up);
                let _ = write!(why, ": its application protects {held_up} on a draining container instance");
            }
            return Turn::Go(Phase::Clearing(ending.cloned().unwrap_or(Ending::Undone(why))));
        }
        match ending {
            Some(ending) => Turn::Go(Phase::Clearing(ending.clone())),
            None => Turn::Go(Phase::Between),
        }
    }

    /// Takes away what was set: what steers and protection first, the note last, so that a run that dies between finds it.
    fn clear(&self, ending: &Ending, service: &Service, seen: &Seen<'_>) -> Turn {
        if let Some(note) = self.note()
            && self.is_raised
            && service.desired_count == note.to
            && service.status == ServiceStatus::Active
            && !matches!(ending, Ending::NotBorneOut(_))
        {
            // The request that raised it had not been answered, and has taken effect since.
            return Turn::Go(Phase::Chosen {
                since: note.at,
                victims: BTreeSet::new(),
                waits: false,
                ending: Some(ending.clone()),
            });
        }
        if let Some(step) = self.unsteer(service, seen) {
            return Turn::Take(step);
        }
        if self.note.is_some() || !self.ours.is_empty() {
            let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
            if let Some(unread) =
                seen.unread(tasks.all.keys().filter(|task| self.recovery || self.ours.contains_key(*task)))
            {
                return Turn::Take(Step::See(unread));
            }
            let mut ours = self.our_protections(&self.protections(seen));
            ours.retain(|task| tasks.all.contains_key(task));
            if !ours.is_empty() {
                return Turn::Take(Step::Act(Action::Unprotect(ours.into_iter().collect())));
            }
        }
        if self.is_unsettled(seen) {
            return Turn::Take(Step::Wait(None));
        }
        if self.written.is_some() && !self.is_cleared {
            return Turn::Take(Step::Act(Action::ClearNote));
        }
        self.end(ending, service, seen)
    }

    /// Notes how it went, where that says something, and ends.
    fn end(&self, ending: &Ending, service: &Service, seen: &Seen<'_>) -> Turn {
        let helped = self.first_misplaced.is_some_and(|first| self.left(seen.cluster, &service.name) < first);
        let note = last_note(ending, helped, service, seen.now);
        match note {
            Some(note) if self.record.touched && !self.is_last_noted && !self.recovery => {
                Turn::Take(Step::Act(Action::NoteLast(note)))
            }
            _ => Turn::Take(Step::Done(ending.clone())),
        }
    }

    /// Takes off what steers: first the constraint, then the attribute that it asks for, since without that no task has a place.
    fn unsteer(&self, service: &Service, seen: &Seen<'_>) -> Option<Step> {
        let is_steered = self.constrained || service.placement_constraints.iter().any(is_steering);
        // UpdateService refuses a service that is being deleted.
        if is_steered && service.status == ServiceStatus::Active {
            let constraints = owners_constraints(&service.placement_constraints);
            return Some(Step::Act(Action::SetConstraints(constraints)));
        }
        // A request that puts it on may still be on its way.
        if !self.targets.is_empty() && matches!(self.phase, Phase::Clearing(_)) && self.is_unsettled(seen) {
            return Some(Step::Wait(None));
        }
        (!self.targets.is_empty()).then(|| Step::Act(Action::DeleteTarget(self.targets.clone())))
    }

    /// Whether a request may still take effect of which nobody knows what came of it.
    fn is_unsettled(&self, seen: &Seen<'_>) -> bool {
        self.unsettled_until.is_some_and(|until| seen.now < until)
    }

    /// Whether a look may still show the desired count from before it was lowered.
    fn has_just_lowered(&self, seen: &Seen<'_>) -> bool {
        self.lowered_at.is_some_and(|at| seen.since(at) < CONSISTENCY)
    }

    /// Passes the fence, where the step is a change.
    fn fenced(&mut self, step: Step, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Step::Act(action) = &step else { return step };
        if !limits.holds_lease {
            return self.unfinished("the run's lease has lapsed, so it changes nothing any more");
        }
        // The answer, or a call after it, took so long that somebody else may have set it meanwhile.
        let overwrites = matches!(action, Action::SetDesiredCount(..) | Action::SetConstraints(_));
        if overwrites && seen.since(seen.looked_at) >= OLDEST_LOOK {
            return Step::Wait(Some(Duration::ZERO));
        }
        // A look from before the note was written can't show it.
        if self.written.as_ref().is_some_and(|written| written.at >= seen.looked_at) {
            return step;
        }
        // It was to be written, and perhaps it wasn't: it is written again, or taken away.
        let may_be_absent = self.is_cleared || !self.is_surely_written && !self.recovery;
        match fence::whose(service, self.written.as_ref(), seen) {
            Whose::Ours => step,
            Whose::NotShownYet | Whose::TakenOff if may_be_absent => step,
            Whose::NotShownYet => Step::Wait(None),
            Whose::Anothers(run) => {
                self.phase = Phase::Over(Ending::AnothersNote(run.clone()));
                Step::Done(Ending::AnothersNote(run))
            }
            Whose::TakenOff => {
                self.is_taken_off = true;
                if matches!(action, Action::SetDesiredCount(..) if matches!(self.phase, Phase::Noted(_))) {
                    self.phase = Phase::Clearing(Ending::OthersChanged(taken_off()));
                    return Step::Wait(Some(Duration::ZERO));
                }
                step
            }
        }
    }

    /// The run's time is over and the last look is an old one: only what that look makes sure of is done.
    fn blind(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Step {
        if !limits.is_last_chance {
            return Step::Wait(None);
        }
        let shows_ours = fence::whose(service, self.written.as_ref(), seen) == Whose::Ours;
        if let Some(note) = self.note()
            && seen.since(seen.looked_at) <= OLDEST_LOOK
            && shows_ours
            && limits.holds_lease
            && service.status == ServiceStatus::Active
        {
            let owners = owners_constraints(&service.placement_constraints);
            let shows_just_ours_added = note.steer.as_ref().is_some_and(|value| {
                let mut with_ours = owners.clone();
                with_ours.push(steering_constraint(value));
                service.placement_constraints == with_ours
            });
            let constraints = (self.constrained && shows_just_ours_added).then_some(owners);
            let is_known = self.protected_at.is_none_or(|at| seen.since(at) >= SCHEDULER_INTERVAL);
            match &self.phase {
                Phase::Chosen { victims, .. }
                    if service.desired_count == note.to && !victims.is_empty() && is_known =>
                {
                    return Step::Act(Action::SetDesiredCount(note.from, constraints));
                }
                _ => {
                    if let Some(constraints) = constraints {
                        return Step::Act(Action::SetConstraints(constraints));
                    }
                }
            }
        }
        self.unfinished("the service could not be looked at any more")
    }

    fn unfinished(&mut self, why: &str) -> Step {
        let failure = self.failure.as_ref().map_or_else(String::new, |failure| format!(": {failure}"));
        let is_noted = self.is_noted() || self.constrained || !self.targets.is_empty();
        let ending = if is_noted {
            Ending::Unfinished(format!("{why}{failure}"))
        } else {
            Ending::Failed(format!("{why}{failure}"))
        };
        self.phase = Phase::Over(ending.clone());
        Step::Done(ending)
    }

    /// What was begun is taken back, as far as that goes: AWS refuses the same call again and again.
    fn give_up(&mut self, seen: &Seen<'_>) {
        let why = self.failure.clone().unwrap_or_default();
        let desired = seen.service.map(|service| service.desired_count);
        let is_at_surge = self.note().is_some_and(|note| desired == Some(note.to));
        self.phase = match &self.phase {
            // Without protection ECS chooses who goes: the spread may suffer, the count does not.
            Phase::Raised(since) if is_at_surge => Phase::Chosen {
                since: *since,
                victims: BTreeSet::new(),
                waits: false,
                ending: Some(Ending::Failed(why)),
            },
            Phase::Between | Phase::Recovering | Phase::Clearing(_) | Phase::Over(_) | Phase::Chosen { .. } => {
                Phase::Over(if self.is_noted() { Ending::Unfinished(why) } else { Ending::Failed(why) })
            }
            Phase::Raised(_) | Phase::Noted(_) | Phase::Lowered { .. } => Phase::Clearing(Ending::Failed(why)),
        };
    }
}

impl Strategy for Surge {
    fn next(&mut self, seen: &Seen<'_>, limits: &Limits) -> Step {
        let Some(service) = seen.service else {
            self.record.left_raised = None;
            if self.targets.is_empty() || !limits.holds_lease {
                return Step::Done(Ending::Gone);
            }
            return Step::Act(Action::DeleteTarget(self.targets.clone()));
        };
        if !seen.is_fresh {
            return self.blind(service, seen, limits);
        }
        self.see_count(service, seen);
        for _ in 0..TRANSITIONS {
            match self.turn(service, seen, limits) {
                Turn::Go(phase) => self.enter(phase, seen),
                Turn::Take(step) => return self.fenced(step, service, seen, limits),
            }
        }
        Step::Wait(None)
    }

    fn done(&mut self, action: &Action, result: &Done, seen: &Seen<'_>) {
        self.remember_done(action, result, seen);
    }

    fn failed(&mut self, action: Option<&Action>, failure: &Failure, seen: &Seen<'_>) {
        self.remember_failed(action, failure, seen);
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn promised(&self) -> Option<Promised> {
        let to = |to| Some(Promised { name: self.name.clone(), tasks: to, targets: self.targets() });
        match &self.phase {
            Phase::Between => self.proposed.as_ref().and_then(|(note, _)| to(note.to)),
            Phase::Noted(_) | Phase::Raised(_) | Phase::Chosen { .. } => self.note().and_then(|note| to(note.to)),
            Phase::Recovering | Phase::Lowered { .. } | Phase::Clearing(_) | Phase::Over(_) => None,
        }
    }

    fn targets(&self) -> BTreeSet<ContainerInstanceArn> {
        match (&self.phase, &self.proposed) {
            (Phase::Noted(planned), _) | (Phase::Between, Some((_, planned))) => {
                self.targets.union(planned).cloned().collect()
            }
            _ => self.targets.clone(),
        }
    }

    fn starts_under_way(&self) -> u32 {
        match &self.phase {
            Phase::Between => self.proposed.as_ref().map_or(0, |(note, _)| note.added()),
            Phase::Noted(_) | Phase::Raised(_) | Phase::Chosen { .. } | Phase::Lowered { .. } => {
                self.note().map_or(0, SurgeNote::added)
            }
            Phase::Recovering | Phase::Clearing(_) | Phase::Over(_) => 0,
        }
    }

    fn tries_under_way(&self) -> u32 {
        if self.goal.tries().is_some() { self.starts_under_way() } else { 0 }
    }

    fn waits_for(&self, service: Option<&Service>, tasks: Option<&Tasks>) -> String {
        let Some(note) = self.note() else { return "being looked at".to_owned() };
        match &self.phase {
            Phase::Between | Phase::Recovering => "being looked at".to_owned(),
            Phase::Noted(_) => format!("{} to be started", words::counted(note.added(), "more task", "more tasks")),
            Phase::Raised(_) => super::healthy_of(note.to, service, tasks),
            Phase::Chosen { .. } => format!("to go back to {}", words::tasks(note.from)),
            Phase::Lowered { .. } => format!("{} to go", words::tasks(note.added())),
            Phase::Clearing(_) | Phase::Over(_) => "being cleared up".to_owned(),
        }
    }

    fn is_recovery(&self) -> bool {
        self.recovery
    }

    fn abandoned(&self, failure: Option<&str>) -> Ending {
        let why = failure.or(self.failure.as_deref()).unwrap_or("the time was up before the last step was finished");
        match &self.phase {
            Phase::Over(ending) => ending.clone(),
            _ if !self.is_noted() && !self.constrained && self.targets.is_empty() && self.ours.is_empty() => {
                Ending::Failed(why.to_owned())
            }
            _ => Ending::Unfinished(why.to_owned()),
        }
    }
}

/// Whether a task's container instance is ACTIVE: on any other it is ECS's own to move, and is not protected.
fn is_on_active(cluster: &Cluster, instance: Option<&ContainerInstanceArn>) -> bool {
    let instance = instance.and_then(|arn| cluster.container_instances.get(arn));
    instance.is_some_and(|instance| instance.status == ContainerInstanceStatus::Active)
}

/// What somebody else is doing to the service, if they are.
fn change_by_others(service: &Service) -> Option<String> {
    if service.status != ServiceStatus::Active {
        return Some("the service is being deleted".to_owned());
    }
    (service.deployments.len() > 1).then(|| "a deployment began".to_owned())
}

fn taken_off() -> String {
    "somebody took the run's note off the service (a terraform apply that owns all of its tags does; see ignore_tags)"
        .to_owned()
}

fn others_set(count: u32) -> Ending {
    Ending::OthersChanged(format!("the desired count was set to {count}"))
}

/// Somebody else has set a count while this run's was up: a part of it may be this run's.
fn others_raised(count: u32, note: &SurgeNote) -> Ending {
    if count > note.from {
        Ending::CountChanged { count, ours: note.added().min(count - note.from) }
    } else {
        others_set(count)
    }
}

fn names(tasks: &[&TaskArn]) -> String {
    let more = tasks.len().saturating_sub(NAMES);
    let named: Vec<&str> = tasks.iter().take(NAMES).map(|task| task.short()).collect();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
