//! What a surge moves tasks for.

use std::collections::BTreeSet;

use super::{Limits, Relocations, Tasks, count};
use crate::planning::{
    levelling::{self, BestToGo, Purpose, TRIES},
    model::{Cluster, ContainerInstanceArn, ServiceName, TaskArn},
    moves::Move,
    strategy::Ending,
};

/// What a surge moves tasks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The service's spread: what is misplaced goes.
    Spread,
    /// A plan names each task that goes and where to.
    Moves(Relocations),
    /// Tasks are started where ECS puts them, and the best of old and new tasks stay.
    Tries(Tries),
}

impl Goal {
    pub(super) fn moves(&self) -> Option<&Relocations> {
        match self {
            Self::Moves(relocations) => Some(relocations),
            Self::Spread | Self::Tries(_) => None,
        }
    }

    pub(super) fn tries(&self) -> Option<&Tries> {
        match self {
            Self::Tries(tries) => Some(tries),
            Self::Spread | Self::Moves(_) => None,
        }
    }

    /// How it ends when nothing is left to be moved.
    pub(super) fn reached(&self) -> Ending {
        match self {
            Self::Spread => Ending::Spread,
            Self::Moves(_) => Ending::Relocated,
            Self::Tries(tries) => tries.reached(),
        }
    }
}

/// A service's tries, and what has come of them so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tries {
    sought: Sought,
    /// Tries in a row of which nothing came.
    in_vain: u32,
    /// Whether something came of the newest try.
    has_just_landed: bool,
    /// Whether what landed well in the newest try is to go, since a better landing is waited for.
    waits: bool,
    /// Whether one was waited for before.
    has_waited: bool,
}

/// What new tasks are good for where they landed well.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sought {
    /// They even out the load. So many moves were planned, and so many new tasks landed well and stayed. Where a plan was reviewed,
    /// `only` these tasks may go for them.
    Load { planned: u32, landed: u32, only: Option<BTreeSet<TaskArn>> },
    /// For each of them one of these tasks may leave its container instance. On those that are kept clear none of them may stay.
    /// Where tasks are packed, their service keeps its tasks of each zone; else it stays as spread as it is.
    Clear { moves: Relocations, kept_clear: BTreeSet<ContainerInstanceArn>, packs: bool },
}

impl Tries {
    pub(super) fn to_level(planned: u32, only: Option<BTreeSet<TaskArn>>) -> Self {
        Self::new(Sought::Load { planned, landed: 0, only })
    }

    pub(super) fn to_clear(moves: Vec<Move>, kept_clear: BTreeSet<ContainerInstanceArn>, packs: bool) -> Self {
        Self::new(Sought::Clear { moves: Relocations::new(moves, false), kept_clear, packs })
    }

    fn new(sought: Sought) -> Self {
        Self { sought, in_vain: 0, has_just_landed: false, waits: false, has_waited: false }
    }

    /// Moves that are still to be made.
    pub(super) fn left(&self, cluster: &Cluster) -> u32 {
        match &self.sought {
            Sought::Load { planned, landed, .. } => planned.saturating_sub(*landed),
            Sought::Clear { moves, .. } => count(moves.outstanding(cluster).count()),
        }
    }

    fn reached(&self) -> Ending {
        match &self.sought {
            Sought::Load { .. } => Ending::Levelled,
            Sought::Clear { .. } => Ending::Cleared,
        }
    }

    /// How it ends when no further try is worth it.
    pub(super) fn ends_early(&self, left: u32) -> Ending {
        match &self.sought {
            Sought::Load { .. } => Ending::Levelled,
            Sought::Clear { .. } => Ending::NotLikely { left },
        }
    }

    /// Whether a task may go, as far as its service's tries say.
    pub(super) fn may_go(&self, cluster: &Cluster, task: &TaskArn) -> bool {
        match &self.sought {
            Sought::Load { only, .. } => only.as_ref().is_none_or(|only| only.contains(task)),
            Sought::Clear { moves, .. } => moves.outstanding(cluster).any(|a_move| a_move.task == *task),
        }
    }

    fn purpose(&self, limits: &Limits) -> Purpose<'_> {
        match &self.sought {
            Sought::Load { .. } => Purpose::Load(limits.load_threshold),
            Sought::Clear { kept_clear, packs, .. } => Purpose::Clear { instances: kept_clear, packs: *packs },
        }
    }

    /// Whether it is tried no more: ECS put the new tasks where they are no better.
    pub(super) fn is_given_up(&self) -> bool {
        self.in_vain >= TRIES
    }

    /// It is chosen who goes after the newest try: perhaps what landed well too, since a better landing is waited for.
    pub(super) fn chosen(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// A try is over, and so many of its tasks stay. One after which a better landing is waited for is none of those of which
    /// nothing came.
    pub(super) fn tried(&mut self, landed_now: u32) {
        if let Sought::Load { landed, .. } = &mut self.sought {
            *landed = landed.saturating_add(landed_now);
        }
        self.has_just_landed = landed_now > 0;
        self.in_vain = match self.has_just_landed {
            true => 0,
            false if self.waits => self.in_vain,
            false => self.in_vain + 1,
        };
        self.has_waited |= self.waits;
    }

    /// Who goes of all tasks once the new ones are placed.
    pub(super) fn best_to_go(
        &self,
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
        // Once nothing has come of a try, or one has waited for another, what lands well stays.
        let is_choosy = self.in_vain == 0 && !self.has_waited && matches!(self.sought, Sought::Load { .. });
        let free_in_vain = if is_choosy { limits.tally.free_in_vain() } else { 0 };
        levelling::best_to_go(cluster, name, tasks, &new, &may_go, self.purpose(limits), free_in_vain)
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
        levelling::worthwhile_starts(crowded, name, barred, most, self.left(crowded), self.purpose(limits), tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_given_up_after_two_tries_in_a_row_of_which_nothing_came() {
        // What came of each try: a task stays, none does, or what landed well goes since a better landing is waited for.
        for (tries, is_given_up) in
            [("no", false), ("no no", true), ("no yes no", false), ("waits no", false), ("waits no no", true)]
        {
            let mut goal = Tries::to_level(9, None);
            for came_of_it in tries.split(' ') {
                goal.chosen(came_of_it == "waits");
                goal.tried(u32::from(came_of_it == "yes"));
            }
            assert_eq!(goal.is_given_up(), is_given_up, "{tries}");
        }
    }
}
