//! What a surge moves tasks for.

use std::collections::BTreeSet;

use super::{Limits, Relocations, Tasks};
use crate::planning::{
    levelling::{self, BestToGo, TRIES},
    model::{Cluster, ServiceName, TaskArn},
    strategy::Ending,
};

/// What a surge moves tasks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The service's spread: what is misplaced goes.
    Spread,
    /// A plan names each task that goes and where to.
    Moves(Relocations),
    /// The load of the container instances: the best of old and new tasks stay.
    Level(Level),
}

impl Goal {
    pub(super) fn moves(&self) -> Option<&Relocations> {
        match self {
            Self::Moves(relocations) => Some(relocations),
            Self::Spread | Self::Level(_) => None,
        }
    }

    pub(super) fn level(&self) -> Option<&Level> {
        match self {
            Self::Level(level) => Some(level),
            Self::Spread | Self::Moves(_) => None,
        }
    }

    /// How it ends when nothing is left to be moved.
    pub(super) fn reached(&self) -> Ending {
        match self {
            Self::Spread => Ending::Spread,
            Self::Moves(_) => Ending::Relocated,
            Self::Level(_) => Ending::Levelled,
        }
    }
}

/// What has come of a service's tries so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// How many moves were planned.
    planned: u32,
    /// New tasks that landed well, and stayed.
    landed: u32,
    /// Tries in a row of which nothing came.
    tries_in_vain: u32,
    /// Whether something came of the newest try.
    has_just_landed: bool,
}

impl Level {
    pub(super) fn new(planned: u32) -> Self {
        Self { planned, landed: 0, tries_in_vain: 0, has_just_landed: false }
    }

    /// Moves that are still to be made.
    pub(super) fn left(&self) -> u32 {
        self.planned.saturating_sub(self.landed)
    }

    /// Whether it is tried no more: ECS put the new tasks where they are no better.
    pub(super) fn is_given_up(&self) -> bool {
        self.tries_in_vain >= TRIES
    }

    /// A try is over, and so many of its tasks stay.
    pub(super) fn tried(&mut self, landed: u32) {
        self.landed = self.landed.saturating_add(landed);
        self.has_just_landed = landed > 0;
        self.tries_in_vain = if self.has_just_landed { 0 } else { self.tries_in_vain + 1 };
    }

    /// Who goes of all tasks once the new ones are placed.
    pub(super) fn best_to_go(
        cluster: &Cluster,
        name: &ServiceName,
        tasks: &Tasks,
        old_tasks: &BTreeSet<TaskArn>,
        barred: &BTreeSet<TaskArn>,
        limits: &Limits,
    ) -> BestToGo {
        let of = |wanted: &dyn Fn(&TaskArn) -> bool| tasks.all.keys().filter(|task| wanted(task)).cloned().collect();
        let new: BTreeSet<TaskArn> = of(&|task| !old_tasks.contains(task));
        let may_go: BTreeSet<TaskArn> =
            of(&|task| old_tasks.contains(task) && !barred.contains(task) && tasks.ready.contains(task));
        levelling::best_to_go(cluster, name, tasks, &new, &may_go, limits.load_threshold)
    }

    /// Whom of these a scale-in by `number` takes: all of them, where nothing else has gone meanwhile; else new ones stay first.
    pub(super) fn victims(best: BestToGo, spared: &BTreeSet<TaskArn>, number: u32) -> BTreeSet<TaskArn> {
        let new = best.new.into_iter().filter(|task| !spared.contains(task));
        best.old.into_iter().chain(new).take(number as usize).collect()
    }

    /// How many tasks the next try starts. That the service's tries were weighed against others' is so for the first: later ones go
    /// on only where that is worth it by itself, and else all services are planned again.
    pub(super) fn starts(
        &self,
        crowded: &Cluster,
        name: &ServiceName,
        barred: &BTreeSet<TaskArn>,
        most: u32,
        limits: &Limits,
    ) -> u32 {
        let most = most.min(limits.in_vain);
        let tally = (!self.has_just_landed).then_some(limits.tally);
        levelling::worthwhile_starts(crowded, name, barred, most, self.left(), limits.load_threshold, tally)
    }
}
