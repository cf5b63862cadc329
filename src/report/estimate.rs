//! About what a plan costs: restarts, time, services below their desired count.

use std::time::Duration;

use super::Estimate;
use crate::planning::{
    bounds::{DRAINS, floor},
    model::{Cluster, Service},
    plan::{Plan, ServicePlan, Turn},
    policy::{Policy, Strategy},
    readiness::SETTLING,
    second_look,
    strategy::SCHEDULER_INTERVAL,
};

/// From the moment at which ECS places a small task until it runs.
const STARTS: Duration = Duration::from_secs(5);

/// The next look of this job at the service, and the writes that follow it.
const LOOKS: Duration = Duration::from_secs(10);

/// ECS's default health check of a container: every 30 s, the first after as long.
const CONTAINER_CHECK: Duration = Duration::from_secs(30);

/// Elastic Load Balancing's default health check: five in a row, every 30 s.
const TARGET_CHECKS: Duration = Duration::from_secs(5 * 30);

/// What a plan costs.
pub(super) fn of(cluster: &Cluster, plan: &Plan, policy: &Policy) -> Estimate {
    let first = if plan.services.is_empty() { Duration::ZERO } else { second_look::AFTER };
    let (mut restarts, mut time) = (0, first);
    for turn in Turn::ALL {
        let in_turn = plan.services.iter().filter(|planned| planned.turn() == turn);
        let each = in_turn.map(|planned| cost(cluster, planned, policy));
        let (restarted, times): (Vec<u32>, Vec<Duration>) = each.unzip();
        restarts += restarted.iter().sum::<u32>();
        time += until_the_last(times, policy.parallel);
    }
    let below = plan.services.iter().filter(|planned| goes_below(cluster, planned)).count();
    let in_vain: u32 = plan.services.iter().map(|planned| planned.in_vain_hundredths).sum();
    Estimate {
        restarts,
        starts_in_vain: in_vain.div_ceil(100),
        seconds: time.as_secs(),
        services_below_desired: u32::try_from(below).unwrap_or(u32::MAX),
    }
}

/// How long it takes until the last of several services is done, where so many are in hand at a time and each is followed by the
/// next one: six of 85 s, four at a time, take 170 s.
fn until_the_last(times: Vec<Duration>, parallel: u32) -> Duration {
    let mut in_hand = vec![Duration::ZERO; (parallel.max(1) as usize).min(times.len())];
    for time in times {
        if let Some(first_free) = in_hand.iter_mut().min() {
            *first_free += time;
        }
    }
    in_hand.into_iter().max().unwrap_or_default()
}

/// Restarts and time of one service.
fn cost(cluster: &Cluster, planned: &ServicePlan, policy: &Policy) -> (u32, Duration) {
    let Some(service) = cluster.services.get(&planned.name) else { return (0, Duration::ZERO) };
    let desired = service.desired_count;
    let moves = planned.restarts();
    let in_vain = planned.in_vain_hundredths.div_ceil(100);
    let (restarts, at_a_time) = match planned.strategy {
        Strategy::Redeploy | Strategy::Revision => (desired, desired),
        Strategy::Auto | Strategy::Surge => (moves, policy.surge.of_at_least_one(desired)),
        Strategy::Stop => (moves, desired.saturating_sub(floor(service))),
    };
    let drains = match planned.strategy {
        Strategy::Redeploy | Strategy::Revision if !service.target_groups.is_empty() => DRAINS,
        _ => Duration::ZERO,
    };
    let starts = restarts.saturating_add(in_vain);
    // ECS's own choice is seldom just the one that was foreseen: as a rule a service is levelled once more.
    let again = u32::from(planned.turn() == Turn::Levelling);
    (restarts, round(cluster, service) * (starts.div_ceil(at_a_time.max(1)) + again) + drains)
}

/// How long one round takes. ECS looks at the service and starts the new tasks, they become healthy, this job looks and protects
/// those that stay, ECS learns of that and looks once more to stop the others, and this job looks again. With a load balancer
/// that is 195 s, with nothing that checks the tasks 85 s.
fn round(cluster: &Cluster, service: &Service) -> Duration {
    let definition = cluster.task_definitions.get(&service.task_definition);
    let healthy = if !service.target_groups.is_empty() {
        TARGET_CHECKS
    } else if definition.is_some_and(|definition| !definition.checked_containers.is_empty()) {
        CONTAINER_CHECK
    } else {
        SETTLING
    };
    SCHEDULER_INTERVAL + STARTS + healthy + SCHEDULER_INTERVAL + SCHEDULER_INTERVAL + LOOKS
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
