//! Where a plan names each task that goes, and where to.

use std::collections::{BTreeMap, BTreeSet};

use crate::planning::{
    model::{Cluster, ContainerInstanceArn, ServiceName, TaskArn},
    planner::Move,
    steering::Steering,
    step::Tasks,
};

/// The moves of one service, and what is remembered while they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocations {
    moves: Vec<Move>,
    /// The service's tasks at the beginning of a round: whatever else runs later is new.
    old_tasks: BTreeSet<TaskArn>,
    /// Whether its tasks go where others have just left: that room may take a while until it is free.
    pub(super) room_comes_later: bool,
}

impl Relocations {
    pub(super) fn new(moves: Vec<Move>, room_comes_later: bool) -> Self {
        Self { moves, old_tasks: BTreeSet::new(), room_comes_later }
    }

    /// Those that are still to be made: their tasks are where they were.
    pub(super) fn outstanding<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = &'a Move> {
        self.moves.iter().filter(|a_move| {
            cluster.tasks.get(&a_move.task).is_some_and(|task| task.container_instance.as_ref() == Some(&a_move.from))
        })
    }

    /// Remembers what ran before a round.
    pub(super) fn begin_round(&mut self, cluster: &Cluster, service: &ServiceName) {
        let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(service));
        self.old_tasks = of_it.map(|task| task.arn.clone()).collect();
    }

    /// The tasks that may go: before a round all that are to; in one, for each task that started somewhere one that was to go
    /// there, for ECS may have had the choice.
    pub(super) fn may_go<'a>(&'a self, cluster: &'a Cluster, tasks: &Tasks, in_a_round: bool) -> BTreeSet<&'a TaskArn> {
        let mut started: BTreeMap<&ContainerInstanceArn, u32> = BTreeMap::new();
        let new = tasks.all.values().filter(|task| !self.old_tasks.contains(&task.arn));
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
    pub(super) fn wait_for_others(&self, cluster: &Cluster, steering: &Steering) -> bool {
        let taken = self.outstanding(cluster).filter(|a_move| steering.others_targets.contains(&a_move.to)).count();
        taken * 4 > self.outstanding(cluster).count() * 3
    }

    /// How many of the tasks each instance is to get, of those that may go; where others steer to now, none as yet.
    pub(super) fn wanted(
        &self,
        cluster: &Cluster,
        barred: &BTreeSet<TaskArn>,
        steering: &Steering,
    ) -> BTreeMap<ContainerInstanceArn, u32> {
        let mut wanted = BTreeMap::new();
        for a_move in self.outstanding(cluster) {
            if !barred.contains(&a_move.task) && !steering.others_targets.contains(&a_move.to) {
                *wanted.entry(a_move.to.clone()).or_default() += 1;
            }
        }
        wanted
    }
}
