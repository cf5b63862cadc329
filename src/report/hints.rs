//! What a setting would change: the first question after a dry run that moves less than its reader hoped for.

use std::collections::BTreeSet;

use super::{Hint, counted, tasks};
use crate::planning::{
    imbalance::Measure,
    levelling,
    model::{Cluster, Timestamp},
    plan::{Aim, Plan},
    planner::{definitions_needed, plan},
    policy::{Mode, Policy},
    reason::LeftAlone,
};

/// The hints for a plan; none where nothing was measured.
pub(super) fn of(
    cluster: &Cluster,
    found: Option<&Measure>,
    planned: &Plan,
    policy: &Policy,
    now: Option<Timestamp>,
) -> Vec<Hint> {
    let (Some(found), Some(now)) = (found, now) else { return Vec::new() };
    if policy.mode == Mode::Consolidate || policy.reviewed.is_some() {
        return Vec::new();
    }
    [
        levelling_waits(planned, policy),
        steering(cluster, found, planned, policy, now),
        threshold(found, planned, policy),
        limits(planned, policy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The load is uneven, and services are to be spread first: a limit of the run leaves some for later, or they are steered, and then
/// what comes after them is planned by the run that finds them spread.
fn levelling_waits(planned: &Plan, policy: &Policy) -> Option<Hint> {
    if !levelling::is_due(&planned.predicted, policy) {
        return None;
    }
    let uneven = format!("{}. The load is evened out once every service is spread; ", uneven_load(planned, policy));
    let is_limit = |reason: &LeftAlone| matches!(reason, LeftAlone::MaxServices(_) | LeftAlone::MaxMoves(_));
    let spreads = planned.services.iter().any(|service| service.aim == Aim::Spread);
    if policy.steer && spreads && !planned.left_alone.values().any(is_limit) {
        let sentence = format!("{uneven}with REBALANCER_STEER=true that is left to the next run");
        return Some(Hint { setting: "REBALANCER_STEER=true".to_owned(), sentence });
    }
    let (waits_for, limit) = planned.left_alone.values().find_map(|reason| match reason {
        LeftAlone::MaxServices(services) => Some(("REBALANCER_MAX_SERVICES", services)),
        LeftAlone::MaxMoves(moves) => Some(("REBALANCER_MAX_MOVES", moves)),
        _ => None,
    })?;
    let sentence = format!("{uneven}{waits_for}, which is {limit}, leaves that to a later run");
    Some(Hint { setting: waits_for.to_owned(), sentence })
}

fn uneven_load(planned: &Plan, policy: &Policy) -> String {
    let percent = planned.predicted.load_imbalance.percent();
    format!("LoadImbalance is {percent:.1} %, at or above its threshold of {} %", policy.load_threshold)
}

/// Full and idle container instances, or tasks that fit nowhere, which only steering cures.
fn steering(cluster: &Cluster, found: &Measure, planned: &Plan, policy: &Policy, now: Timestamp) -> Option<Hint> {
    let setting = "REBALANCER_STEER=true";
    if policy.steer {
        return None;
    }
    let lacking: u32 = planned
        .left_alone
        .values()
        .map(|reason| match reason {
            LeftAlone::NeedsSteering { tasks } => *tasks,
            _ => 0,
        })
        .sum();
    let over = planned.predicted.load_imbalance.reaches(policy.load_threshold);
    if lacking == 0 && !over {
        return None;
    }
    let mut sentence = String::new();
    if over {
        sentence += &format!("{}; ", uneven_load(planned, policy));
    }
    if lacking > 0 {
        sentence += &format!("{} on no container instance; ", counted(lacking as usize, "task fits", "tasks fit"));
    }
    let steered = Policy { steer: true, ..policy.clone() };
    let more = more_moves(cluster, found, planned, &steered, now);
    sentence += &match more {
        Some(0) => return None,
        Some(more) if over && found.empty_instances > 0 => format!(
            "{setting} would move {more} more {}, which uses the {}",
            if more == 1 { "task" } else { "tasks" },
            counted(found.empty_instances as usize, "idle container instance", "idle container instances")
        ),
        Some(more) => format!("{setting} would move {more} more {}", if more == 1 { "task" } else { "tasks" }),
        // Nothing was planned with it, so nothing is promised.
        None if over => {
            format!("{setting} may move tasks from full to idle container instances; a dry run with it tells")
        }
        None => format!("{setting} may move tasks of other services so that they fit; a dry run with it tells"),
    };
    Some(Hint { setting: setting.to_owned(), sentence })
}

/// Services below the threshold.
fn threshold(found: &Measure, planned: &Plan, policy: &Policy) -> Option<Hint> {
    let is_below = |reason: &LeftAlone| matches!(reason, LeftAlone::BelowThreshold(_));
    let below = planned.left_alone.iter().filter(|(_, reason)| is_below(reason)).map(|(name, _)| name);
    let spreads = below.filter_map(|name| found.services.get(name)?.spread.as_ref().ok());
    let movable: Vec<u32> = spreads.map(|spread| spread.misplaced_tasks.saturating_sub(spread.stuck_tasks())).collect();
    if movable.is_empty() {
        return None;
    }
    let setting = "REBALANCER_THRESHOLD=0";
    let services = counted(movable.len(), "service has misplaced tasks", "services have misplaced tasks");
    let most = tasks(movable.iter().sum::<u32>() as usize);
    Some(Hint {
        setting: setting.to_owned(),
        sentence: format!(
            "{services}, below the threshold of {} %; {setting} would move at most {most} more",
            policy.threshold
        ),
    })
}

/// Services that a limit of the run keeps out.
fn limits(planned: &Plan, policy: &Policy) -> Option<Hint> {
    let of = |wanted: fn(&LeftAlone) -> bool| planned.left_alone.values().filter(|reason| wanted(reason)).count();
    let services = of(|reason| matches!(reason, LeftAlone::MaxServices(_)));
    let moves = of(|reason| matches!(reason, LeftAlone::MaxMoves(_)));
    let (number, name, limit) = if services > 0 {
        (services, "REBALANCER_MAX_SERVICES", policy.max_services)
    } else if moves > 0 {
        (moves, "REBALANCER_MAX_MOVES", policy.max_moves)
    } else {
        return None;
    };
    let services = counted(number, "service waits", "services wait");
    Some(Hint { setting: name.to_owned(), sentence: format!("{services} for a later run: {name} is {limit}") })
}

/// How many more moves a plan under another policy has; none where that would need definitions that were not read.
fn more_moves(cluster: &Cluster, found: &Measure, planned: &Plan, policy: &Policy, now: Timestamp) -> Option<usize> {
    let needed: BTreeSet<_> = definitions_needed(cluster, found, policy, now)
        .into_iter()
        .filter_map(|name| cluster.services.get(&name))
        .map(|service| &service.task_definition)
        .filter(|arn| !cluster.task_definitions.contains_key(*arn))
        .collect();
    if !needed.is_empty() {
        return None;
    }
    let other = plan(cluster, found, policy, now);
    Some(other.moves().count().saturating_sub(planned.moves().count()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{
        imbalance::measure,
        testing::{self, NOW},
    };

    /// The hints for a plan of the cluster as it is drawn.
    fn hints(drawing: &str, policy: &Policy) -> Vec<String> {
        let cluster = testing::cluster(drawing);
        let found = measure(&cluster, policy, NOW);
        let planned = plan(&cluster, &found, policy, NOW);
        of(&cluster, Some(&found), &planned, policy, Some(NOW)).into_iter().map(|hint| hint.sentence).collect()
    }

    #[test]
    fn a_steered_run_that_spreads_says_that_the_load_is_left_to_the_next() {
        let uneven = "a i-1 web web one two six\na i-2\nservice web cpu=64 memory=128\nservice one cpu=512\nservice two cpu=512\n\
                      service six cpu=512";
        let steered = Policy { steer: true, ..Policy::default() };
        let told = hints(uneven, &steered);
        let [hint] = &told[..] else { panic!("{told:?}") };
        assert!(
            hint.ends_with("once every service is spread; with REBALANCER_STEER=true that is left to the next run"),
            "{hint}"
        );
        // Nothing is to be spread, so the load is evened out now.
        let spread = uneven.replacen("web web", "web", 1);
        assert_eq!(hints(&spread, &steered), Vec::<String>::new());
    }
}
