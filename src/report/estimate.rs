//! About what a plan costs: restarts, time, services below their desired count.

use super::Estimate;
use crate::planning::{
    model::Cluster,
    plan::{Plan, ServicePlan},
    policy::{Policy, Strategy},
};

/// A round of `surge`: some 5 s until a task runs, and 40 s until a task without any health check counts as healthy. With a load
/// balancer the deregistration delay comes on top, which a plan doesn't know.
const SECONDS_A_ROUND: u64 = 45;

/// What a plan costs.
pub(super) fn of(cluster: &Cluster, plan: &Plan, policy: &Policy) -> Estimate {
    let each = plan.services.iter().map(|planned| cost(cluster, planned, policy));
    let (restarts, rounds): (Vec<u32>, Vec<u64>) = each.unzip();
    // Services are changed side by side, so many at a time; none ends before its own rounds are through.
    let side_by_side = rounds.iter().sum::<u64>().div_ceil(u64::from(policy.parallel.max(1)));
    let longest = rounds.iter().copied().max().unwrap_or(0);
    let below = plan.services.iter().filter(|planned| goes_below(cluster, planned)).count();
    let in_vain: u32 = plan.services.iter().map(|planned| planned.in_vain_hundredths).sum();
    Estimate {
        restarts: restarts.iter().sum(),
        starts_in_vain: in_vain.div_ceil(100),
        seconds: longest.max(side_by_side) * SECONDS_A_ROUND,
        services_below_desired: u32::try_from(below).unwrap_or(u32::MAX),
    }
}

/// Restarts and rounds of one service.
fn cost(cluster: &Cluster, planned: &ServicePlan, policy: &Policy) -> (u32, u64) {
    let desired = cluster.services.get(&planned.name).map_or(0, |service| service.desired_count);
    let moves = u32::try_from(planned.moves.len()).unwrap_or(u32::MAX);
    let (restarts, at_a_time) = match planned.strategy {
        Strategy::Redeploy | Strategy::Revision => (desired, desired),
        Strategy::Auto | Strategy::Surge | Strategy::Stop => (moves, policy.surge.of_at_least_one(desired)),
    };
    (restarts, u64::from(restarts.div_ceil(at_a_time.max(1))))
}

/// Whether a strategy has fewer tasks than desired meanwhile: `stop` always, a deployment where its minimum allows that.
fn goes_below(cluster: &Cluster, planned: &ServicePlan) -> bool {
    match planned.strategy {
        Strategy::Stop => true,
        Strategy::Redeploy | Strategy::Revision => {
            cluster.services.get(&planned.name).is_some_and(|service| service.minimum_healthy_percent < 100)
        }
        Strategy::Auto | Strategy::Surge => false,
    }
}
