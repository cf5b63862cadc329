//! (cluster, policy, now) → what is moved, and for all that is left alone the reason.

mod rounds;

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    bounds::may_stop_first,
    consolidate::{self, ByChoice, by_choice, consolidation_indexed},
    eligibility::by_deploying,
    imbalance::{Measure, Spread, measure_indexed},
    levelling::{self, Levelled, SoFar, Tally},
    making_room::{self, Making},
    model::{Cluster, ContainerInstanceArn, Service, ServiceName, Task, TaskArn, Timestamp},
    notes::{LAST_TAG, SURGE_TAG},
    placement::Index,
    policy::{Mode, Policy, Strategy},
    provider_parts::fullness,
    reason::{Blocked, Fixed, LeftAlone, Outdated},
    relocation::{ByMovability, Relocatable, by_movability, relocatable},
    settings::ServiceSettings,
    view,
};
use rounds::{Course, Foreseen};

pub use super::plan::{Aim, Move, Plan, ServicePlan, Turn};

/// The services whose task definitions must be read, beside those that the measure needs, before `plan` can look for what may
/// be moved, those first that matter the most: those that lack tasks, to see whether these fit; and where tasks are sent elsewhere
/// one by one, all others, the ones with the most tasks on full container instances first.
pub fn definitions_needed(cluster: &Cluster, found: &Measure, policy: &Policy, now: Timestamp) -> Vec<ServiceName> {
    let relocates = || match policy.mode {
        Mode::Spread => levelling::is_due(found, policy),
        Mode::Consolidate => true,
    };
    let short = making_room::may_be_helped(cluster, policy, now);
    let are_all_needed = !short.is_empty() || relocates();
    let others = if are_all_needed { by_tasks_on_full_instances(cluster) } else { Vec::new() };
    let others: Vec<ServiceName> = others.into_iter().filter(|name| !short.contains(name)).collect();
    short.into_iter().chain(others).collect()
}

/// All services, those first with the most tasks on container instances that are fuller than the average.
fn by_tasks_on_full_instances(cluster: &Cluster) -> Vec<ServiceName> {
    let usable = cluster.container_instances.values().filter(|instance| instance.is_usable());
    let fullness: BTreeMap<&ContainerInstanceArn, u64> = usable.map(|it| (&it.arn, fullness(it))).collect();
    let average = fullness.values().sum::<u64>() / (fullness.len() as u64).max(1);
    let is_on_full = |task: &Task| {
        let on = task.container_instance.as_ref().and_then(|arn| fullness.get(arn));
        on.is_some_and(|fullness| *fullness > average)
    };
    let mut on_full: BTreeMap<&ServiceName, u32> = cluster.services.keys().map(|name| (name, 0)).collect();
    for task in cluster.tasks.values().filter(|task| is_on_full(task)) {
        if let Some(tasks) = task.service.as_ref().and_then(|name| on_full.get_mut(name)) {
            *tasks += 1;
        }
    }
    let mut services: Vec<(&ServiceName, u32)> = on_full.into_iter().collect();
    services.sort_by_key(|(name, tasks)| (Reverse(*tasks), *name));
    services.into_iter().map(|(name, _)| name.clone()).collect()
}

/// The tasks of which must be known whether they are protected from scale-in before a plan is followed: all tasks of the services
/// that it moves, for what is protected stays and what isn't goes in its stead.
pub fn protections_needed(cluster: &Cluster, planned: &Plan) -> impl Iterator<Item = TaskArn> {
    let moved: BTreeSet<&ServiceName> = planned.services.iter().map(|service| &service.name).collect();
    let of_it =
        cluster.tasks.values().filter(move |task| task.service.as_ref().is_some_and(|name| moved.contains(name)));
    of_it.map(|task| task.arn.clone())
}

/// Plans a run on a cluster that was measured.
pub fn plan(cluster: &Cluster, found: &Measure, policy: &Policy, now: Timestamp) -> Plan {
    let making = making_room::plan(cluster, policy, now);
    match policy.mode {
        Mode::Spread => spread_out(cluster, found, policy, now, making),
        Mode::Consolidate => consolidate(cluster, found, policy, now, making),
    }
}

/// Packs tasks so that container instances come free. Where room is to be made first, just that: what can come free is seen
/// once the tasks that it is made for are there.
fn consolidate(cluster: &Cluster, found: &Measure, policy: &Policy, now: Timestamp, making: Making) -> Plan {
    let Making { rooms, movers, left_alone: not_helped, places, kept_clear } = making;
    let index = Index::new(cluster);
    let mut foreseen = cluster.clone();
    let mut left_alone = BTreeMap::new();
    let (services, places, consolidation) = if movers.is_empty() {
        let steered = consolidation_indexed(&index, policy, now);
        let (planned, by_choice) = if policy.steer {
            (steered, None)
        } else {
            let ByChoice { consolidation, kept_clear, in_vain_hundredths } = by_choice(&index, steered, policy, now);
            (consolidation, Some((kept_clear, in_vain_hundredths)))
        };
        left_alone.extend(planned.fixed.iter().map(|(name, why)| (name.clone(), LeftAlone::Fixed(why.clone()))));
        let freed = consolidate::by_service(&planned.freed);
        let mut services = relocations(&mut foreseen, freed, Aim::Consolidation);
        if let Some((kept_clear, in_vain)) = by_choice {
            let tried = services.into_iter().map(|planned| {
                let in_vain = in_vain.get(&planned.name).copied().unwrap_or(0);
                ServicePlan { kept_clear: Some(kept_clear.clone()), ..with_tries(planned, in_vain, cluster, policy) }
            });
            services = tried.collect();
        }
        (services, Vec::new(), Some(planned))
    } else {
        (make_room(&mut foreseen, movers, &places, kept_clear.as_ref(), policy), places, None)
    };
    for (name, service) in &found.services {
        if service.spread.as_ref().is_ok_and(|spread| spread.misplaced_tasks > 0) {
            left_alone.entry(name.clone()).or_insert(LeftAlone::Consolidating);
        }
    }
    left_alone.extend(not_helped);
    for service in &services {
        left_alone.remove(&service.name);
    }
    let predicted = measure_indexed(&index.after(&foreseen), policy, now);
    Plan { services, rooms, places, left_alone, consolidation, predicted }
}

/// Brings tasks to where each service's placement strategy asks for them.
fn spread_out(cluster: &Cluster, found: &Measure, policy: &Policy, now: Timestamp, making: Making) -> Plan {
    let mut foreseen = cluster.clone();
    let Making { rooms, movers, left_alone: not_helped, places, kept_clear } = making;
    let mut services = make_room(&mut foreseen, movers, &places, kept_clear.as_ref(), policy);
    let in_hand: BTreeSet<ServiceName> = services.iter().map(|service| service.name.clone()).collect();
    let mut left_alone = BTreeMap::new();
    let mut candidates: Vec<(&Service, &Spread, ServiceSettings, Strategy)> = Vec::new();
    for (name, service_measure) in &found.services {
        let (Ok(spread), Some(service)) = (&service_measure.spread, cluster.services.get(name)) else { continue };
        if spread.misplaced_tasks == 0 || in_hand.contains(name) {
            continue;
        }
        match candidate(service, spread, found, policy) {
            Ok((settings, strategy)) => candidates.push((service, spread, settings, strategy)),
            Err(reason) => drop(left_alone.insert(name.clone(), reason)),
        }
    }
    candidates.sort_by(|a, b| worth(b).cmp(&worth(a)).then_with(|| a.0.name.cmp(&b.0.name)));
    let spent: usize = services.iter().map(|service| service.moves.len()).sum();
    let mut moves_left = policy.max_moves.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX));
    let base =
        if services.is_empty() && places.is_empty() { Cow::Borrowed(cluster) } else { Cow::Owned(foreseen.clone()) };
    let index = Index::new(&base);
    let mut foreseen = Foreseen::new(&index, foreseen);
    for (service, spread, settings, strategy) in candidates {
        let name = &service.name;
        if services.len() >= policy.max_services as usize {
            left_alone.insert(name.clone(), LeftAlone::MaxServices(policy.max_services));
            continue;
        }
        let reviewed = match &policy.reviewed {
            None => None,
            Some(reviewed) => {
                let now = foreseen.rounds(name, strategy, u32::MAX, policy, None).course.moves;
                match reviewed.admits(&foreseen.cluster, service, strategy, &now) {
                    Ok(tasks) => Some(tasks),
                    Err(reason) => {
                        left_alone.insert(name.clone(), reason);
                        continue;
                    }
                }
            }
        };
        let reviewed_moves = reviewed.as_ref().map_or(u32::MAX, |tasks| u32::try_from(tasks.len()).unwrap_or(u32::MAX));
        let allowance = moves_left.min(settings.max_moves).min(reviewed_moves);
        if allowance == 0 {
            left_alone.insert(name.clone(), LeftAlone::MaxMoves(policy.max_moves.min(settings.max_moves)));
            continue;
        }
        // Which tasks may go says how many were reviewed; one that is only foreseen may move on beside them.
        let within = moves_left.min(settings.max_moves);
        let rounds = foreseen.rounds(name, strategy, within, policy, reviewed.as_ref());
        let Course { moves, restarted_again, in_vain, .. } = foreseen.make(name, rounds);
        if moves.is_empty() {
            let outdated = LeftAlone::PlanOutdated(Outdated::NoHelp);
            left_alone.insert(name.clone(), if reviewed.is_some() { outdated } else { no_move(spread) });
            continue;
        }
        let service = ServicePlan {
            name: name.clone(),
            strategy,
            moves,
            restarted_again,
            allowance,
            aim: Aim::Spread,
            in_vain_hundredths: in_vain.saturating_mul(100),
            kept_clear: None,
        };
        moves_left = moves_left.saturating_sub(service.restarts());
        services.push(service);
    }
    let mut foreseen = foreseen.cluster;
    // A limit that keeps a service from being spread keeps levelling from being begun.
    let waits = |reason: &LeftAlone| matches!(reason, LeftAlone::MaxServices(_) | LeftAlone::MaxMoves(_));
    let planned: BTreeSet<ServiceName> = services.iter().map(|service| service.name.clone()).collect();
    let is_held_up = left_alone.values().any(waits) || levelling::waits_until(cluster, now).is_some();
    if !is_held_up && levelling::is_due(found, policy) {
        let Level { services: levelled, fixed_for_good } = level(&mut foreseen, &services, policy, now);
        for (name, why) in fixed_for_good.into_iter().filter(|(name, _)| !planned.contains(name)) {
            left_alone.entry(name).or_insert(LeftAlone::Fixed(why));
        }
        services.extend(levelled);
    }
    left_alone.extend(not_helped);
    // What is below its threshold is not spread, but its tasks may be the ones that level the load.
    for service in &services {
        left_alone.remove(&service.name);
    }
    let predicted = measure_indexed(&index.after(&foreseen), policy, now);
    Plan { services, rooms, places, left_alone, consolidation: None, predicted }
}

/// What levelling does.
struct Level {
    services: Vec<ServicePlan>,
    /// The services that can't take part, whatever comes.
    fixed_for_good: Vec<(ServiceName, Fixed)>,
}

/// Tasks go to emptier container instances, once every service is spread: by ECS's choice in the same run, steered in the next.
fn level(foreseen: &mut Cluster, planned: &[ServicePlan], policy: &Policy, now: Timestamp) -> Level {
    let index = Index::new(foreseen);
    let ByMovability { relocatable, fixed_for_good } = by_movability(&index, policy, now);
    if policy.steer {
        let moves =
            if planned.is_empty() { levelling::steered_moves_of(&index, &relocatable, policy) } else { Vec::new() };
        return Level { services: relocations(foreseen, moves, Aim::Steered), fixed_for_good };
    }
    let spent: usize = planned.iter().map(|service| service.moves.len()).sum();
    let in_vain: u32 = planned.iter().map(|service| service.in_vain_hundredths.div_ceil(100)).sum();
    let moved = planned.iter().map(|service| (service.name.clone(), service.moves.len())).collect();
    let spent = u32::try_from(spent).unwrap_or(u32::MAX);
    let so_far =
        SoFar { moved, tally: Tally::new(spent, in_vain, 0).after(foreseen.unspent_moves), given_up: BTreeSet::new() };
    let levelled = tries(&index, &relocatable, policy, spent.saturating_add(in_vain), &so_far);
    Level { services: tried(foreseen, levelled, policy), fixed_for_good }
}

/// What levelling goes on with, by what has come of its first tries. The run has started so many tasks. That it has just moved
/// some of a service is no reason to leave that alone.
pub fn level_again(
    cluster: &Cluster,
    policy: &Policy,
    now: Timestamp,
    starts: u32,
    so_far: &SoFar,
) -> Vec<ServicePlan> {
    let mut cluster = cluster.clone();
    for (name, _) in so_far.moved.iter().filter(|(_, moves)| **moves > 0) {
        if let Some(service) = cluster.services.get_mut(name) {
            service.tags.remove(LAST_TAG);
            // Taken off as the last thing, and not looked at again.
            service.tags.remove(SURGE_TAG);
        }
    }
    let index = Index::new(&cluster);
    let levelled = tries(&index, &relocatable(&index, policy, now), policy, starts, so_far);
    tried(&mut cluster, levelled, policy)
}

/// What is worth a try in a run that has started so many tasks.
fn tries<'a>(
    index: &Index<'a>,
    relocatable: &[Relocatable<'a>],
    policy: &Policy,
    starts: u32,
    so_far: &SoFar,
) -> Vec<Levelled> {
    let services = u32::try_from(so_far.moved.len()).unwrap_or(u32::MAX);
    let left = Policy {
        max_moves: policy.max_moves.saturating_sub(starts),
        max_services: policy.max_services.saturating_sub(services),
        ..policy.clone()
    };
    levelling::tries(index, relocatable, &left, so_far)
}

fn tried(foreseen: &mut Cluster, levelled: Vec<Levelled>, policy: &Policy) -> Vec<ServicePlan> {
    let in_vain: Vec<u32> = levelled.iter().map(|of_service| of_service.in_vain_hundredths).collect();
    let moves = levelled.into_iter().map(|of_service| (of_service.service, of_service.moves)).collect();
    let planned = relocations(foreseen, moves, Aim::Level).into_iter().zip(in_vain);
    planned.map(|(planned, in_vain)| with_tries(planned, in_vain, foreseen, policy)).collect()
}

/// Tasks that make room, and those that are expected to start there.
fn make_room(
    foreseen: &mut Cluster,
    movers: Vec<making_room::ServiceMoves>,
    places: &[(ServiceName, ContainerInstanceArn)],
    kept_clear: Option<&BTreeSet<ContainerInstanceArn>>,
    policy: &Policy,
) -> Vec<ServicePlan> {
    for (number, a_move) in movers.iter().flat_map(|movers| &movers.moves).enumerate() {
        view::relocate(foreseen, &a_move.task, &a_move.to, number);
    }
    view::start(foreseen, places);
    let of_service = |movers: making_room::ServiceMoves| {
        let making_room::ServiceMoves { service, moves, waits, in_vain_hundredths } = movers;
        let planned = relocation(service, moves, Aim::Room { waits });
        match kept_clear {
            Some(_) => ServicePlan {
                kept_clear: kept_clear.cloned(),
                ..with_tries(planned, in_vain_hundredths, foreseen, policy)
            },
            None => planned,
        }
    };
    movers.into_iter().map(of_service).collect()
}

/// The same where a task is started as ECS's own choice has it, and stays if it landed well: beside its moves, the service may start
/// the tasks of two tries in vain.
fn with_tries(planned: ServicePlan, in_vain_hundredths: u32, cluster: &Cluster, policy: &Policy) -> ServicePlan {
    let desired = cluster.services.get(&planned.name).map_or(0, |service| service.desired_count);
    let tried = levelling::TRIES.saturating_mul(policy.surge.of_at_least_one(desired));
    let tried = tried.max(in_vain_hundredths.div_ceil(100));
    ServicePlan { allowance: planned.allowance.saturating_add(tried), in_vain_hundredths, ..planned }
}

/// What is done to the services of which just these tasks go just there.
fn relocations(foreseen: &mut Cluster, planned: Vec<(ServiceName, Vec<Move>)>, aim: Aim) -> Vec<ServicePlan> {
    let before = foreseen.tasks.keys().filter(|task| view::is_foreseen(task)).count();
    for (number, a_move) in planned.iter().flat_map(|(_, moves)| moves).enumerate() {
        view::relocate(foreseen, &a_move.task, &a_move.to, before + number);
    }
    planned.into_iter().map(|(name, moves)| relocation(name, moves, aim)).collect()
}

fn relocation(name: ServiceName, moves: Vec<Move>, aim: Aim) -> ServicePlan {
    let allowance = u32::try_from(moves.len()).unwrap_or(u32::MAX);
    let strategy = Strategy::Surge;
    ServicePlan { name, strategy, moves, restarted_again: 0, allowance, aim, in_vain_hundredths: 0, kept_clear: None }
}

/// Whether a service may be taken, and how.
fn candidate(
    service: &Service,
    spread: &Spread,
    found: &Measure,
    policy: &Policy,
) -> Result<(ServiceSettings, Strategy), LeftAlone> {
    if let Some(reason) = spread.stuck.keys().find(|reason| reason.is_of_whole_service(by_deploying(service, policy))) {
        return Err(LeftAlone::Blocked(reason.clone()));
    }
    let settings =
        ServiceSettings::of(service, policy).map_err(|problem| LeftAlone::Blocked(Blocked::UnreadableTag(problem)))?;
    let share = super::policy::Share::new(spread.misplaced_tasks.into(), spread.placed_tasks.into());
    if !share.reaches(settings.threshold) && !found.task_imbalance.reaches(settings.threshold) {
        return Err(LeftAlone::BelowThreshold(settings.threshold));
    }
    let is_stuck = spread.stuck_tasks() >= spread.misplaced_tasks || spread.no_surge.is_some();
    match settings.strategy {
        Strategy::Auto if !is_stuck => Ok((settings, Strategy::Surge)),
        Strategy::Auto if may_stop_first(service) => Ok((settings, Strategy::Stop)),
        Strategy::Auto | Strategy::Surge if is_stuck => Err(stuck(spread)),
        strategy => Ok((settings, strategy)),
    }
}

/// What a service whose misplaced tasks are stuck is left alone for.
fn stuck(spread: &Spread) -> LeftAlone {
    spread.stuck.keys().next().cloned().map_or(LeftAlone::NoHelp, LeftAlone::Blocked)
}

/// Why no move is planned for a service that might be moved. Where all that is misplaced is stuck, stopping first is tried, since
/// it takes no capacity on top; if that doesn't help either, what they are stuck for is still the reason.
fn no_move(spread: &Spread) -> LeftAlone {
    if spread.stuck_tasks() >= spread.misplaced_tasks { stuck(spread) } else { LeftAlone::NoHelp }
}

/// Misplaced tasks cured for each task restarted, in thousandths; among equals the one with more to cure.
fn worth((service, spread, _, strategy): &(&Service, &Spread, ServiceSettings, Strategy)) -> (u64, u32) {
    let cured = u64::from(spread.misplaced_tasks.saturating_sub(spread.stuck_tasks()));
    let restarted = match strategy {
        Strategy::Auto | Strategy::Surge | Strategy::Stop => cured.max(1),
        Strategy::Redeploy | Strategy::Revision => u64::from(service.desired_count.max(1)),
    };
    (cured * 1000 / restarted, spread.misplaced_tasks)
}

#[cfg(test)]
pub(super) mod tests;
