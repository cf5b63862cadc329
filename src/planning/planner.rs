//! (cluster, policy, now) → what is moved, and for all that is left alone the reason.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bounds::{floor, may_stop_first, on_top},
    consolidate::{self, consolidation},
    eligibility::by_deploying,
    imbalance::{Measure, Spread, measure},
    levelling,
    making_room::{self, Making},
    model::{Cluster, ContainerInstanceArn, Service, ServiceName, Task, TaskArn, Timestamp},
    policy::{Mode, Policy, Strategy},
    reason::{Blocked, LeftAlone, Outdated},
    relocation::fixed_for_good,
    settings::ServiceSettings,
    several, spread, steering,
    tasks::Tasks,
    thin::thin,
    view,
};

pub use super::plan::{Aim, Move, Plan, ServicePlan, Turn};

/// Rounds of a surge that are foreseen: more than any service needs, since one of two rounds cures at least one of its tasks.
const ROUNDS: usize = 10_000;

/// The services whose task definitions must be read, beside those that the measure needs, before `plan` can look for what may
/// be moved: all, where tasks are sent elsewhere one by one; else of those that lack tasks, to see whether these fit.
pub fn definitions_needed(
    cluster: &Cluster,
    found: &Measure,
    policy: &Policy,
    now: Timestamp,
) -> BTreeSet<ServiceName> {
    let relocates = || match policy.mode {
        Mode::Spread => levelling::is_due(found, policy),
        Mode::Consolidate => true,
    };
    let short = making_room::may_be_helped(cluster, policy, now);
    let helps = policy.steer && !short.is_empty();
    if helps || relocates() { cluster.services.keys().cloned().collect() } else { short }
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
    let Making { rooms, movers, left_alone: not_helped, places } = making;
    let mut foreseen = cluster.clone();
    let mut left_alone = BTreeMap::new();
    let (services, places, consolidation) = if movers.is_empty() {
        let planned = consolidation(cluster, policy, now);
        left_alone.extend(planned.fixed.iter().map(|(name, why)| (name.clone(), LeftAlone::Fixed(why.clone()))));
        let freed = consolidate::by_service(&planned.freed);
        (relocations(&mut foreseen, freed, Aim::Consolidation), Vec::new(), Some(planned))
    } else {
        (make_room(&mut foreseen, movers, &places), places, None)
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
    Plan { services, rooms, places, left_alone, consolidation, predicted: measure(&foreseen, policy, now) }
}

/// Brings tasks to where each service's placement strategy asks for them.
fn spread_out(cluster: &Cluster, found: &Measure, policy: &Policy, now: Timestamp, making: Making) -> Plan {
    let mut foreseen = cluster.clone();
    let Making { rooms, movers, left_alone: not_helped, places } = making;
    let mut services = make_room(&mut foreseen, movers, &places);
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
    for (service, _, settings, strategy) in candidates {
        let name = &service.name;
        if services.len() >= policy.max_services as usize {
            left_alone.insert(name.clone(), LeftAlone::MaxServices(policy.max_services));
            continue;
        }
        let reviewed = match &policy.reviewed {
            None => None,
            Some(reviewed) => {
                let now = foresee(&mut foreseen.clone(), name, strategy, u32::MAX, policy, None).moves;
                match reviewed.admits(&foreseen, service, strategy, &now) {
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
        let Course { moves, restarted_again, in_vain, .. } =
            foresee(&mut foreseen, name, strategy, within, policy, reviewed.as_ref());
        if moves.is_empty() {
            let outdated = LeftAlone::PlanOutdated(Outdated::NoHelp);
            left_alone.insert(name.clone(), if reviewed.is_some() { outdated } else { LeftAlone::NoHelp });
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
        };
        moves_left = moves_left.saturating_sub(service.restarts());
        services.push(service);
    }
    // A limit that keeps a service from being spread keeps levelling from being begun.
    let waits = |reason: &LeftAlone| matches!(reason, LeftAlone::MaxServices(_) | LeftAlone::MaxMoves(_));
    let is_held_up = left_alone.values().any(waits) || levelling::waits_until(cluster, now).is_some();
    if !is_held_up && levelling::is_due(found, policy) {
        let fixed = fixed_for_good(&foreseen, policy, now).into_iter();
        for (name, why) in fixed.filter(|(name, _)| !in_plan(&services, name)) {
            left_alone.entry(name).or_insert(LeftAlone::Fixed(why));
        }
        services.extend(level(&mut foreseen, &services, policy, now));
    }
    left_alone.extend(not_helped);
    // What is below its threshold is not spread, but its tasks may be the ones that level the load.
    left_alone.retain(|name, _| !in_plan(&services, name));
    let predicted = measure(&foreseen, policy, now);
    Plan { services, rooms, places, left_alone, consolidation: None, predicted }
}

/// Tasks go to emptier container instances, once every service is spread: by ECS's choice in the same run, steered in the next.
fn level(foreseen: &mut Cluster, planned: &[ServicePlan], policy: &Policy, now: Timestamp) -> Vec<ServicePlan> {
    if policy.steer {
        if !planned.is_empty() {
            return Vec::new();
        }
        let moves = levelling::steered_moves(foreseen, policy, now);
        return relocations(foreseen, moves, Aim::Steered);
    }
    let spent: usize = planned.iter().map(|service| service.moves.len()).sum();
    let done = planned.iter().map(|service| (service.name.clone(), service.moves.len())).collect();
    try_to_level(foreseen, policy, now, u32::try_from(spent).unwrap_or(u32::MAX), &done)
}

/// What levelling goes on with, by what has come of its first tries. The run has started so many tasks, and moved so many of
/// each of these services.
pub fn level_again(
    cluster: &Cluster,
    policy: &Policy,
    now: Timestamp,
    starts: u32,
    done: &BTreeMap<ServiceName, usize>,
) -> Vec<ServicePlan> {
    try_to_level(&mut cluster.clone(), policy, now, starts, done)
}

fn try_to_level(
    foreseen: &mut Cluster,
    policy: &Policy,
    now: Timestamp,
    starts: u32,
    done: &BTreeMap<ServiceName, usize>,
) -> Vec<ServicePlan> {
    let services = u32::try_from(done.len()).unwrap_or(u32::MAX);
    let left = Policy {
        max_moves: policy.max_moves.saturating_sub(starts),
        max_services: policy.max_services.saturating_sub(services),
        ..policy.clone()
    };
    let levelled = levelling::tries(foreseen, &left, now, done);
    let in_vain: Vec<u32> = levelled.iter().map(|of_service| of_service.in_vain_hundredths).collect();
    let moves = levelled.into_iter().map(|of_service| (of_service.service, of_service.moves)).collect();
    let mut services = relocations(foreseen, moves, Aim::Level);
    for (service, in_vain_hundredths) in services.iter_mut().zip(in_vain) {
        let desired = foreseen.services.get(&service.name).map_or(0, |service| service.desired_count);
        let tried = levelling::TRIES.saturating_mul(policy.surge.of_at_least_one(desired));
        service.allowance = service.allowance.saturating_add(tried);
        service.in_vain_hundredths = in_vain_hundredths;
    }
    services
}

fn in_plan(services: &[ServicePlan], name: &ServiceName) -> bool {
    services.iter().any(|service| service.name == *name)
}

/// Tasks that make room, and those that are expected to start there.
fn make_room(
    foreseen: &mut Cluster,
    movers: Vec<making_room::Movers>,
    places: &[(ServiceName, ContainerInstanceArn)],
) -> Vec<ServicePlan> {
    for (number, a_move) in movers.iter().flat_map(|movers| &movers.moves).enumerate() {
        view::relocate(foreseen, &a_move.task, &a_move.to, number);
    }
    view::start(foreseen, places);
    let of_service = |movers: making_room::Movers| {
        let making_room::Movers { service: name, moves, waits } = movers;
        let allowance = u32::try_from(moves.len()).unwrap_or(u32::MAX);
        ServicePlan {
            name,
            strategy: Strategy::Surge,
            moves,
            restarted_again: 0,
            allowance,
            aim: Aim::Room { waits },
            in_vain_hundredths: 0,
        }
    };
    movers.into_iter().map(of_service).collect()
}

/// What is done to the services of which just these tasks go just there.
fn relocations(foreseen: &mut Cluster, planned: Vec<(ServiceName, Vec<Move>)>, aim: Aim) -> Vec<ServicePlan> {
    let before = foreseen.tasks.keys().filter(|task| view::is_foreseen(task)).count();
    for (number, a_move) in planned.iter().flat_map(|(_, moves)| moves).enumerate() {
        view::relocate(foreseen, &a_move.task, &a_move.to, before + number);
    }
    let of_service = |(name, moves): (ServiceName, Vec<Move>)| {
        let allowance = u32::try_from(moves.len()).unwrap_or(u32::MAX);
        let strategy = Strategy::Surge;
        ServicePlan { name, strategy, moves, restarted_again: 0, allowance, aim, in_vain_hundredths: 0 }
    };
    planned.into_iter().map(of_service).collect()
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
    let no_room = || spread.stuck.keys().next().cloned().map_or(LeftAlone::NoHelp, LeftAlone::Blocked);
    match settings.strategy {
        Strategy::Auto if !is_stuck => Ok((settings, Strategy::Surge)),
        Strategy::Auto if may_stop_first(service) => Ok((settings, Strategy::Stop)),
        Strategy::Auto | Strategy::Surge if is_stuck => Err(no_room()),
        Strategy::Stop if floor(service) >= service.desired_count => {
            Err(LeftAlone::Blocked(Blocked::NoSlack(service.minimum_healthy_percent)))
        }
        strategy => Ok((settings, strategy)),
    }
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

/// Plays a service's steps through, and gives the moves that come of them: of any task, or just of those that were reviewed.
fn foresee(
    cluster: &mut Cluster,
    name: &ServiceName,
    strategy: Strategy,
    allowance: u32,
    policy: &Policy,
    reviewed: Option<&BTreeSet<TaskArn>>,
) -> Course {
    let mut course = Course::default();
    let mut number = 0;
    let Some(service) = cluster.services.get(name).cloned() else { return course };
    let desired = service.desired_count;
    let mut alone = view::alone(cluster, name).into_owned();
    let foreseen = &mut alone;
    let tasks = foreseen.tasks.values().filter(|task| task.service.as_ref() == Some(name)).count();
    let surge = several::at_once(foreseen, &service, policy.surge.of_at_least_one(desired));
    thin(foreseen, name, tasks + surge as usize + 1);
    let is_shared_out = several::is_shared_out(foreseen, name);
    let (mut best, mut patience) = (u32::MAX, 0);
    // The service's tasks when the fewest were misplaced, and the moves until then: rounds that helped nothing are not planned.
    let mut reached = (Tasks::all_ready(foreseen, name), course.clone());
    for _ in 0..ROUNDS {
        let misplaced = spread::misplaced(foreseen, name);
        if misplaced < best {
            (best, patience, reached) = (misplaced, 0, (Tasks::all_ready(foreseen, name), course.clone()));
        } else {
            patience += 1;
        }
        if misplaced == 0 || patience > super::plan::PATIENCE {
            break;
        }
        let left = allowance.saturating_sub(course.restarts());
        let most = match strategy {
            Strategy::Surge | Strategy::Auto => surge.min(on_top(&service)).min(left),
            Strategy::Stop | Strategy::Redeploy | Strategy::Revision => left,
        };
        let may_go = |task: &Task| {
            // One that is foreseen stands for one that was reviewed.
            !task.is_protected
                && reviewed.is_none_or(|reviewed| reviewed.contains(&task.arn) || view::is_foreseen(&task.arn))
        };
        let of_it = foreseen.tasks.values().filter(|task| task.service.as_ref() == Some(name));
        let barred: BTreeSet<TaskArn> = of_it.filter(|task| !may_go(task)).map(|task| task.arn.clone()).collect();
        if is_shared_out {
            if shared_round(foreseen, name, &barred, most, &mut number, &mut course) {
                continue;
            }
            break;
        }
        let steers = policy.steer && matches!(strategy, Strategy::Surge | Strategy::Auto);
        let targets = if steers {
            steering::targets(foreseen, name, &barred, most, patience > 0, &BTreeSet::new())
        } else {
            None
        };
        let places = targets.map_or_else(
            || spread::placements(foreseen, name, spread::paced_surge(foreseen, name, &barred, most)),
            |targets| targets.places,
        );
        let surge = u32::try_from(places.len()).unwrap_or(u32::MAX);
        if surge == 0 {
            break;
        }
        let mut spared = barred;
        let mut new: Vec<(TaskArn, ContainerInstanceArn)> = Vec::new();
        for place in places {
            number += 1;
            if let Some(task) = view::foreseen(foreseen, name, &place, number) {
                spared.insert(task.arn.clone());
                new.push((task.arn.clone(), place));
                view::insert(foreseen, task);
            }
        }
        let victims = spread::victims(foreseen, name, &Tasks::all_ready(foreseen, name), &spared, surge);
        for (victim, (replacement, place)) in victims.iter().zip(new) {
            course.replace(foreseen, victim, replacement, place);
            view::remove(foreseen, victim);
        }
    }
    let (tasks, course) = reached;
    view::see(cluster, &service, &tasks.all);
    course.ended()
}

/// What comes of a service's rounds: where each of its tasks goes, by way of however many replacements.
#[derive(Clone, Default)]
struct Course {
    moves: Vec<Move>,
    /// The number of the move that each task which is foreseen ends.
    ends: BTreeMap<TaskArn, usize>,
    /// Restarts beyond one for each move.
    restarted_again: u32,
    /// Tasks that are started and go again themselves.
    in_vain: u32,
}

impl Course {
    fn restarts(&self) -> u32 {
        u32::try_from(self.moves.len()).unwrap_or(u32::MAX).saturating_add(self.restarted_again)
    }

    /// A task goes, and this replacement stays on that container instance. If the task was itself foreseen, its move ends there.
    fn replace(&mut self, foreseen: &Cluster, task: &TaskArn, replacement: TaskArn, to: ContainerInstanceArn) {
        let Some(from) = foreseen.tasks.get(task).and_then(|task| task.container_instance.clone()) else { return };
        let begun = self.ends.remove(task);
        if let Some(a_move) = begun.and_then(|number| self.moves.get_mut(number)) {
            a_move.to = to;
        } else if !view::is_foreseen(task) {
            self.ends.insert(replacement, self.moves.len());
            self.moves.push(Move { task: task.clone(), from, to });
            return;
        }
        // Of a task for which room is made first no move is told, but it starts twice.
        self.restarted_again += 1;
        self.ends.extend(begun.map(|number| (replacement, number)));
    }

    /// Without the moves that lead back to where they began: those are restarts, and nothing else.
    fn ended(mut self) -> Self {
        let all = self.restarts();
        self.moves.retain(|a_move| a_move.from != a_move.to);
        self.restarted_again += all - self.restarts();
        self
    }
}

/// Plays one round of a service over several capacity providers; tells whether it moves anything.
fn shared_round(
    foreseen: &mut Cluster,
    name: &ServiceName,
    barred: &BTreeSet<TaskArn>,
    most: u32,
    number: &mut usize,
    course: &mut Course,
) -> bool {
    let starts = several::starts(foreseen, name, barred, most);
    let old: BTreeSet<TaskArn> = Tasks::all_ready(foreseen, name).all.into_keys().collect();
    let mut new: Vec<(TaskArn, String, ContainerInstanceArn)> = Vec::new();
    for (provider, place) in starts {
        *number += 1;
        let Some(task) = view::foreseen(foreseen, name, &place, *number) else { continue };
        new.push((task.arn.clone(), provider.clone(), place));
        view::insert(foreseen, Task { capacity_provider: Some(provider), ..task });
    }
    if new.is_empty() {
        return false;
    }
    let surge = u32::try_from(new.len()).unwrap_or(u32::MAX);
    let victims = several::victims(foreseen, name, &Tasks::all_ready(foreseen, name), &old, barred, surge);
    let mut in_vain = 0;
    new.retain(|(task, ..)| !victims.contains(task));
    for victim in &victims {
        let Some(task) = foreseen.tasks.get(victim).cloned() else { continue };
        if old.contains(victim) {
            let in_its_stead =
                new.iter().position(|(_, provider, _)| task.capacity_provider.as_ref() == Some(provider));
            if let Some(stays) = in_its_stead {
                let (replacement, _, to) = new.remove(stays);
                course.replace(foreseen, victim, replacement, to);
            }
        } else {
            in_vain += 1;
        }
        view::remove(foreseen, victim);
    }
    course.in_vain += in_vain;
    in_vain < surge
}

#[cfg(test)]
pub(super) mod tests;
