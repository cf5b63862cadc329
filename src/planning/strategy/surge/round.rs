//! What a round is: how many tasks it starts, and where they are steered to; or why there is none.

use std::collections::BTreeSet;

use super::{
    Phase, Surge, Turn, change_by_others, count,
    goal::{Goal, Tries},
    taken_off,
};
use crate::planning::{
    bounds::ceiling,
    model::{Cluster, ContainerInstanceArn, Service, TaskArn},
    notes::{SPARED_TASKS, SurgeNote},
    plan::PATIENCE,
    several, spread,
    steering::{self, NextRound, Targets, Way},
    strategy::{
        Action, Ending, Limits, Need, Seen, Step, Stop, Tasks,
        promised::{self, with_promised},
    },
    view,
};

impl Surge {
    /// Begins a round, or ends it all.
    pub(super) fn begin(&mut self, service: &Service, seen: &Seen<'_>, limits: &Limits) -> Turn {
        self.proposed = None;
        let end = |ending| Turn::Go(Phase::Clearing(ending));
        if self.is_taken_off {
            return end(Ending::OthersChanged(taken_off()));
        }
        if let Some(stop) = limits.stop {
            return end(Ending::Limit(stop));
        }
        if !limits.fits {
            return end(Ending::Limit(Stop::Deadline));
        }
        if !limits.is_enabled {
            return end(Ending::OptedOut);
        }
        if let Some(what) = change_by_others(service) {
            return end(Ending::OthersChanged(what));
        }
        // A request of the round before that was not answered must not take effect in this one.
        if self.is_unsettled(seen) {
            return Turn::Take(Step::Wait(None));
        }
        if let Some(relocations) = self.goal.moves()
            && relocations.wait_for_others(seen.cluster, &limits.others_targets)
        {
            return Turn::Take(Step::Wait(None));
        }
        // Reads need not agree: a later one may be older. A count that this run has lowered is nobody's to begin from.
        let was_raised = self.note().is_some_and(|note| service.desired_count == note.to);
        if was_raised && self.has_just_lowered(seen) {
            return Turn::Take(Step::Wait(None));
        }
        let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
        let crowded = with_promised(seen.cluster, seen.promised);
        let misplaced = self.left(&crowded, &service.name);
        if misplaced == 0 {
            return end(self.goal.reached());
        }
        if self.goal.tries().is_some_and(Tries::is_given_up) {
            return end(Ending::LandedBadly);
        }
        if self.goal.tries().is_some() && limits.in_vain == 0 {
            // Tries of others that are under way may land well, and then more may be tried.
            let waits = limits.others_try;
            return if waits { Turn::Take(Step::Wait(None)) } else { end(Ending::Limit(Stop::InVain)) };
        }
        if self.goal.tries().is_none() && misplaced >= self.misplaced && self.idle_rounds >= PATIENCE {
            return end(Ending::NoHelp { misplaced });
        }
        if limits.moves == 0 {
            return end(Ending::Limit(Stop::Moves));
        }
        if let Some(unread) = seen.unread(self.not_ours(tasks)) {
            return Turn::Take(Step::See(unread));
        }
        if !self.knows_leaving {
            let Some(stopping) = &seen.stopping else { return Turn::Take(Step::See(Need::Stopping)) };
            self.record.leaving.extend(stopping.iter().cloned());
            self.knows_leaving = true;
        }
        let leaving: BTreeSet<TaskArn> =
            self.record.leaving.iter().filter(|task| !seen.stopped.contains_key(*task)).cloned().collect();
        if !leaving.is_empty() {
            return Turn::Take(Step::See(Need::Stopped(leaving)));
        }
        match self.next_round(&crowded, service, tasks, seen, limits, misplaced) {
            Ok((note, targets)) => {
                if let Some(unread) = seen.unread_instances(targets.iter().cloned()) {
                    return Turn::Take(Step::See(unread));
                }
                self.proposed = Some((note.clone(), targets));
                Turn::Take(Step::Act(Action::Note(note)))
            }
            Err(turn) => turn,
        }
    }

    /// How many tasks a round starts, and where they are steered to; or why there is none.
    fn next_round(
        &self,
        crowded: &Cluster,
        service: &Service,
        tasks: &Tasks,
        seen: &Seen<'_>,
        limits: &Limits,
        misplaced: u32,
    ) -> Result<(SurgeNote, BTreeSet<ContainerInstanceArn>), Turn> {
        let end = |ending| Turn::Go(Phase::Clearing(ending));
        let protections = self.protections(seen);
        let spared: BTreeSet<TaskArn> =
            protections.keys().filter(|task| !self.ours.contains_key(*task)).cloned().collect();
        if spared.len() > SPARED_TASKS {
            let why = format!("the application protects {} of its tasks, more than can be noted", spared.len());
            return Err(end(Ending::Undone(why)));
        }
        let barred = self.barred(crowded, limits, service, tasks, &spared);
        let is_stopping = |task: &&TaskArn| seen.stopped.get(*task).is_none_or(|it| !it.is_over);
        let stopping = self.record.leaving.iter().filter(is_stopping).count();
        let above = ceiling(service).saturating_sub(count(tasks.all.len())).saturating_sub(count(stopping));
        if above == 0 {
            // What goes still counts for maximumPercent.
            let waits = stopping > 0;
            return Err(if waits { Turn::Take(Step::Wait(None)) } else { end(Ending::NoHelp { misplaced }) });
        }
        let surge = limits.surge.of_at_least_one(service.desired_count);
        let most =
            several::at_once(service, &several::tasks_of(crowded, &service.name), surge).min(limits.moves).min(above);
        // What the last round did not cure, ECS chose otherwise than foreseen: now it is left no choice.
        let is_careful = misplaced >= self.misplaced;
        let round = NextRound {
            cluster: crowded,
            service: &service.name,
            spared: &barred,
            most,
            is_careful,
            taken: &limits.others_targets,
        };
        let targets = self.targets_of_round(&round, seen, limits)?;
        let (surge, targets, steer) = match targets {
            Some(targets) => (count(targets.places.len()), targets.instances, Some(self.steer_value.clone())),
            // Left to ECS, none of these would go where it is to.
            None if self.goal.moves().is_some() => return Err(end(Ending::NoHelp { misplaced })),
            None if let Some(tries) = self.goal.tries() => {
                let starts = tries.starts(crowded, &service.name, &barred, most, limits);
                if starts == 0 {
                    return Err(end(tries.ends_early(misplaced)));
                }
                (starts, BTreeSet::new(), None)
            }
            None => (spread::paced_surge(crowded, &service.name, &barred, most), BTreeSet::new(), None),
        };
        if surge == 0 || !self.can_help(crowded, service, &barred, &spared, surge, misplaced) {
            return Err(end(Ending::NoHelp { misplaced }));
        }
        let note = SurgeNote {
            from: service.desired_count,
            to: service.desired_count.saturating_add(surge),
            run_id: self.run_id.clone(),
            at: seen.now,
            protect_minutes: limits.protect_minutes,
            spared: spared.iter().map(SurgeNote::beginning_of).collect(),
            steer,
        };
        Ok((note, targets))
    }

    /// Where a round is steered to, if it is; else that it has to wait for others, whose tasks have no place yet.
    fn targets_of_round(
        &self,
        round: &NextRound<'_>,
        seen: &Seen<'_>,
        limits: &Limits,
    ) -> Result<Option<Targets>, Turn> {
        if !limits.steers || self.goal.tries().is_some() {
            return Ok(None);
        }
        let targets = if let Some(relocations) = self.goal.moves() {
            let wanted = relocations.wanted(round.cluster, round.spared, round.taken);
            steering::to(round.cluster, round.service, &wanted, round.most)
        } else {
            // What is promised to others stands in the round's cluster already; ECS knows nothing of it.
            let may_take = steering::could_take(seen.cluster, round.service, round.taken);
            match round.way(may_take) {
                Way::Steered(targets) => Some(targets),
                Way::Unsteered => None,
                Way::UnsteeredLater => return Err(Turn::Take(Step::Wait(None))),
            }
        };
        // What ECS places for others by its own choice may take the very capacity that is steered to: it comes first.
        let waits = |targets: &Targets| promised::may_come_to(seen.cluster, seen.promised, &targets.instances);
        if targets.as_ref().is_some_and(waits) { Err(Turn::Take(Step::Wait(None))) } else { Ok(targets) }
    }

    /// Whether after such a round fewer are misplaced, where the application protects tasks: what would have to go may be just
    /// those.
    fn can_help(
        &self,
        crowded: &Cluster,
        service: &Service,
        barred: &BTreeSet<TaskArn>,
        spared: &BTreeSet<TaskArn>,
        surge: u32,
        misplaced: u32,
    ) -> bool {
        // Over several capacity providers that is part of the question how many are worth starting.
        if spared.is_empty() || !matches!(self.goal, Goal::Spread) || several::is_shared_out(crowded, &service.name) {
            return true;
        }
        let mut foreseen = crowded.clone();
        let mut barred = barred.clone();
        for (number, place) in spread::placements(crowded, &service.name, surge).iter().enumerate() {
            if let Some(task) = view::foreseen(&foreseen, &service.name, place, number) {
                barred.insert(task.arn.clone());
                view::insert(&mut foreseen, task);
            }
        }
        let tasks = Tasks::all_ready(&foreseen, &service.name);
        let victims = spread::victims(&foreseen, &service.name, &tasks, &barred, surge);
        for victim in &victims {
            view::remove(&mut foreseen, victim);
        }
        victims.len() == surge as usize && spread::misplaced(&foreseen, &service.name) < misplaced
    }
}
