//! A cluster once every service is spread: what evens out machines comes after that.

use ecs_rebalancer::planning::{imbalance::measure, model::Cluster, planner::plan, policy::Policy, view::relocate};

use crate::testing::NOW;

/// The same cluster with the moves of one plan made, each at once.
pub(crate) fn spread(mut cluster: Cluster, policy: &Policy) -> Cluster {
    let planned = plan(&cluster, &measure(&cluster, policy, NOW), policy, NOW);
    for (number, (_, a_move)) in planned.moves().enumerate() {
        relocate(&mut cluster, &a_move.task, &a_move.to, number);
    }
    cluster
}
