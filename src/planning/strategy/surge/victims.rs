//! Who goes, who must not, and whose protection is whose.

use std::collections::{BTreeMap, BTreeSet};

use super::{Phase, Surge, count, goal::Tries, is_on_active};
use crate::planning::{
    levelling::BestToGo,
    model::{Cluster, ContainerInstanceArn, Service, Task, TaskArn, Timestamp},
    notes::SurgeNote,
    several, spread,
    strategy::{Limits, Need, Seen, Tasks},
};

impl Surge {
    /// What is not to go: what the application protects, what a reviewed plan doesn't hold, and where tasks are to go elsewhere
    /// one by one, all but those for which there is a place now.
    pub(super) fn barred(
        &self,
        cluster: &Cluster,
        limits: &Limits,
        service: &Service,
        tasks: &Tasks,
        spared: &BTreeSet<TaskArn>,
    ) -> BTreeSet<TaskArn> {
        let mut barred = spared.clone();
        if let (Some(reviewed), false) = (&limits.reviewed, self.recovery) {
            barred.extend(reviewed.barred(cluster, &service.name, tasks));
        }
        if let Some(relocations) = self.goal.moves() {
            let in_a_round = !matches!(self.phase, Phase::Between);
            let go = relocations.may_go(cluster, tasks, &self.old_tasks, in_a_round);
            barred.extend(tasks.all.keys().filter(|task| !go.contains(*task)).cloned());
        }
        if let Some(tries) = self.goal.tries() {
            barred.extend(tasks.all.keys().filter(|task| !tries.may_go(cluster, task)).cloned());
        }
        barred
    }

    /// Who goes: first those that are not ready, youngest first; then those whose going leaves the fewest misplaced. And whether one
    /// that landed well is among them, since a better landing is waited for.
    #[expect(clippy::too_many_arguments, reason = "all that the choice depends on")]
    pub(super) fn victims(
        &self,
        cluster: &Cluster,
        service: &Service,
        tasks: &Tasks,
        spared: &BTreeSet<TaskArn>,
        barred: &BTreeSet<TaskArn>,
        note: &SurgeNote,
        limits: &Limits,
    ) -> (BTreeSet<TaskArn>, bool) {
        let excess = tasks.all.len().saturating_sub(note.from as usize);
        let youngest_first = |a: &&Task, b: &&Task| b.created_at.cmp(&a.created_at).then_with(|| a.arn.cmp(&b.arn));
        let mut unready: Vec<&Task> =
            tasks.all.values().filter(|task| !tasks.ready.contains(&task.arn) && !spared.contains(&task.arn)).collect();
        unready.sort_by(youngest_first);
        let mut victims: BTreeSet<TaskArn> = unready.into_iter().take(excess).map(|task| task.arn.clone()).collect();
        let more = count(excess - victims.len());
        let is_shared_out = several::is_shared_out(cluster, &service.name);
        let mut waits = false;
        if let Some(tries) = self.goal.tries() {
            let best = tries.best_to_go(cluster, &service.name, tasks, &self.old_tasks, barred, limits);
            waits = best.waits;
            let still = |goes: &TaskArn| !victims.contains(goes);
            let best = BestToGo {
                old: best.old.into_iter().filter(still).collect(),
                new: best.new.into_iter().filter(still).collect(),
                ..best
            };
            victims.extend(Tries::victims(best, spared, more));
        } else if is_shared_out {
            let old = self.old_of(tasks, note);
            victims.extend(several::victims(cluster, &service.name, tasks, &old, barred, more));
        } else {
            victims.extend(spread::victims(cluster, &service.name, tasks, barred, more));
        }
        // Where what may go has gone by itself meanwhile, the newest go again, and the service is as it was.
        let is_chosen = barred.len() > spared.len() || self.goal.tries().is_some() || is_shared_out;
        let mut newest: Vec<&Task> =
            tasks.all.values().filter(|task| is_chosen && !spared.contains(&task.arn)).collect();
        newest.sort_by(youngest_first);
        for task in newest {
            if victims.len() >= excess {
                break;
            }
            victims.insert(task.arn.clone());
        }
        (victims, waits)
    }

    /// The tasks that were there before a round. Of a dead run's round only its beginning is known.
    fn old_of(&self, tasks: &Tasks, note: &SurgeNote) -> BTreeSet<TaskArn> {
        if !self.recovery {
            return self.old_tasks.clone();
        }
        let is_old = |task: &&Task| task.created_at.is_none_or(|created| created < note.at);
        tasks.all.values().filter(is_old).map(|task| task.arn.clone()).collect()
    }

    /// The tasks that this run didn't protect for sure: whether anybody did must be read.
    pub(super) fn not_ours<'a>(&'a self, tasks: &'a Tasks) -> impl Iterator<Item = &'a TaskArn> {
        tasks.all.keys().filter(|task| !matches!(self.ours.get(*task), Some(Some(_))))
    }

    /// How many tasks the application protects where they drain: ECS may scale nothing in as long as these stay.
    ///
    /// # Errors
    /// What must be seen.
    pub(super) fn protected_where_it_drains(&self, tasks: &Tasks, seen: &Seen<'_>) -> Result<u32, Need> {
        if let Some(unread) = seen.unread_instances(tasks.places().map(|(_, place)| place)) {
            return Err(unread);
        }
        let drains = |(_, place): &(TaskArn, ContainerInstanceArn)| !is_on_active(seen.cluster, Some(place));
        let draining: Vec<TaskArn> = tasks.places().filter(drains).map(|(task, _)| task).collect();
        if let Some(unread) = seen.unread(draining.iter()) {
            return Err(unread);
        }
        let protections = self.protections(seen);
        let ours = self.our_protections(&protections);
        let is_applications = |task: &&TaskArn| protections.contains_key(*task) && !ours.contains(*task);
        Ok(count(draining.iter().filter(is_applications).count()))
    }

    /// Until when tasks are protected: as was read now, and else as this run protected them.
    pub(super) fn protections(&self, seen: &Seen<'_>) -> BTreeMap<TaskArn, Timestamp> {
        let known = |(task, until): (&TaskArn, &Option<Timestamp>)| Some((task.clone(), (*until)?));
        let mut protections: BTreeMap<TaskArn, Timestamp> = self.ours.iter().filter_map(known).collect();
        for (task, until) in &seen.protections {
            match until {
                Some(until) => protections.insert(task.clone(), *until),
                None => protections.remove(task),
            };
        }
        protections
    }

    /// Which protections are this run's, or those of the run that left the note. An application's own stay.
    pub(super) fn our_protections(&self, protections: &BTreeMap<TaskArn, Timestamp>) -> BTreeSet<TaskArn> {
        let note = self.note.as_ref();
        let spares = |task: &TaskArn| note.is_some_and(|note| note.spares(task));
        let is_ours = |task: &TaskArn, until: Timestamp| match (self.ours.get(task), note) {
            // The application has protected it anew since, and that is its own.
            (Some(Some(ours)), _) if until == *ours || !self.in_doubt.contains(task) => until == *ours,
            // It was asked for, and the answer was lost.
            (Some(_), _) => !spares(task),
            (None, Some(note)) if self.recovery => !note.spares(task) && note.may_have_set(until),
            (None, _) => false,
        };
        protections.iter().filter(|(task, until)| is_ours(task, **until)).map(|(task, _)| task.clone()).collect()
    }
}
