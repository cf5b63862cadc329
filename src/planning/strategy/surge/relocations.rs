//! Where a plan names each task that goes, and where to.

use std::collections::{BTreeMap, BTreeSet};

use crate::planning::{
    model::{Cluster, ContainerInstanceArn, TaskArn},
    moves::Move,
    strategy::Tasks,
};

/// The moves of one service, and what is remembered while they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relocations {
    moves: Vec<Move>,
    /// Whether its tasks go where others have just left: that room may take a while until it is free.
    pub(super) room_comes_later: bool,
}

impl Relocations {
    pub(super) fn new(moves: Vec<Move>, room_comes_later: bool) -> Self {
        Self { moves, room_comes_later }
    }

    /// Those that are still to be made: their tasks are where they were.
    pub(super) fn outstanding<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = &'a Move> {
        self.moves.iter().filter(|a_move| {
            cluster.tasks.get(&a_move.task).is_some_and(|task| task.container_instance.as_ref() == Some(&a_move.from))
        })
    }

    /// The tasks that may go: before a round all that are to; in one, for each task that started somewhere one that was to go
    /// there, for ECS may have had the choice. `old_tasks` are those from before the round.
    pub(super) fn may_go<'a>(
        &'a self,
        cluster: &'a Cluster,
        tasks: &Tasks,
        old_tasks: &BTreeSet<TaskArn>,
        in_a_round: bool,
    ) -> BTreeSet<&'a TaskArn> {
        let mut started: BTreeMap<&ContainerInstanceArn, u32> = BTreeMap::new();
        let new = tasks.all.values().filter(|task| !old_tasks.contains(&task.arn));
        for instance in new.filter_map(|task| task.container_instance.as_ref()) {
            *started.entry(instance).or_default() += 1;
        }
        let mut is_replaced = |a_move: &&Move| {
            let left = started.get_mut(&a_move.to).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_some()
        };
        self.outstanding(cluster)
            .filter(|a_move| !in_a_round || is_replaced(a_move))
            .map(|a_move| &a_move.task)
            .collect()
    }

    /// Whether most of the instances that tasks are to go to are steered to by others just now: then a round would cost as many
    /// calls as one that moves them all, and move few.
    pub(super) fn wait_for_others(&self, cluster: &Cluster, others: &BTreeSet<ContainerInstanceArn>) -> bool {
        let taken = self.outstanding(cluster).filter(|a_move| others.contains(&a_move.to)).count();
        taken * 4 > self.outstanding(cluster).count() * 3
    }

    /// How many of the tasks each instance is to get, of those that may go; where others steer to now, none as yet.
    pub(super) fn wanted(
        &self,
        cluster: &Cluster,
        barred: &BTreeSet<TaskArn>,
        taken: &BTreeSet<ContainerInstanceArn>,
    ) -> BTreeMap<ContainerInstanceArn, u32> {
        let mut wanted = BTreeMap::new();
        for a_move in self.outstanding(cluster) {
            if !barred.contains(&a_move.task) && !taken.contains(&a_move.to) {
                *wanted.entry(a_move.to.clone()).or_default() += 1;
            }
        }
        wanted
    }
}
