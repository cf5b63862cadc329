//! Making room: a service lacks tasks because none fits anywhere, though the cluster has room enough in pieces. Which tasks of
//! other services have to go elsewhere so that it fits.
//!
//! Nothing is done to the service itself: once there is room, ECS places its task. Moves go where was room from the start, never
//! onto an instance that is being cleared; so all moves can be made in any order, but for chains, in which one makes room
//! for another.
//!
//! Steered, a task goes just where it is planned to. Without steering its replacement starts where ECS puts it: it stays where that
//! is a good place, and else it goes again. So just those tasks are planned to go for which at least half of the places that ECS may
//! choose are good ones, and there are no chains.

mod problem;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    problem::{Placing, Problem, Trial},
    search::{Limits, Search},
};
use super::{
    eligibility::{lacking_tasks, not_helped, unmeasured},
    model::{Cluster, ContainerInstanceArn, Service, ServiceName, Timestamp},
    placement::Index,
    plan::Move,
    policy::Policy,
    reason::LeftAlone,
    shortage::would_take_one,
};

pub use super::plan::Room;

/// What is planned for the services whose tasks fit nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Making {
    /// Those for which room is made.
    pub rooms: Vec<Room>,
    /// The moves, by service in the order in which they were thought of.
    pub movers: Vec<ServiceMoves>,
    /// Those for which none is made, and why.
    pub left_alone: BTreeMap<ServiceName, LeftAlone>,
    /// Where each lacking task is expected, of those that had room without any move as well.
    pub places: Vec<(ServiceName, ContainerInstanceArn)>,
    /// Without steering, the instances that tasks leave: no new one of theirs may stay there.
    pub kept_clear: Option<BTreeSet<ContainerInstanceArn>>,
}

/// The tasks of one service that go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMoves {
    /// The service.
    pub service: ServiceName,
    /// Task by task.
    pub moves: Vec<Move>,
    /// Whether one of them goes where others have to leave first.
    pub waits: bool,
    /// How many tasks are expected to be started in vain, in hundredths.
    pub in_vain_hundredths: u32,
}

/// The services that lack tasks, as far as can be told without their task definitions, and against whose help nothing stands.
pub fn may_be_helped(cluster: &Cluster, policy: &Policy, now: Timestamp) -> BTreeSet<ServiceName> {
    if !may_be_short(cluster) {
        return BTreeSet::new();
    }
    let index = Index::new(cluster);
    let helped = short(&index).filter(|service| not_helped(service, index.tasks_of(service), policy, now).is_none());
    helped.map(|service| service.name.clone()).collect()
}

/// Whether a look at the services alone tells that none lacks a task: on most clusters, most of the time.
fn may_be_short(cluster: &Cluster) -> bool {
    cluster.services.values().any(|service| service.desired_count > service.running_count)
}

/// The services that lack tasks which ECS would have to place on container instances.
fn short<'a>(index: &Index<'a>) -> impl Iterator<Item = &'a Service> {
    index.cluster.services.values().filter(|service| {
        let tasks = index.tasks_of(service);
        lacking_tasks(service, tasks) > 0 && unmeasured(service, tasks).is_none()
    })
}

/// The fewest moves, service by service, at most `policy.max_moves` of at most `policy.max_services` services.
pub fn plan(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Making {
    let mut making = Making::default();
    if !may_be_short(cluster) {
        return making;
    }
    let index = Index::new(cluster);
    let mut services: Vec<&Service> = short(&index).collect();
    if services.is_empty() {
        return making;
    }
    // The one that lacks the larger part of its tasks has waited the more urgently.
    let has =
        |service: &Service| index.tasks_of(service).len() as u64 * 1_000 / u64::from(service.desired_count.max(1));
    services.sort_by_key(|service| (has(service), &service.name));
    let problem = Problem::new(&index, policy, now, &services.iter().map(|service| &service.name).collect());
    let mut trial = Trial::default();
    for service in services {
        trial = make_room(&problem, trial, service, policy, now, &mut making);
    }
    making.movers = movers(&problem, &trial);
    making.kept_clear = (!problem.steers()).then(|| problem.cleared(&trial.moves));
    making
}

fn make_room<'a>(
    problem: &Problem<'a>,
    before: Trial<'a>,
    service: &'a Service,
    policy: &Policy,
    now: Timestamp,
    making: &mut Making,
) -> Trial<'a> {
    let tasks = problem.index.tasks_of(service);
    let lacking = lacking_tasks(service, tasks);
    let not_helped = not_helped(service, tasks, policy, now);
    let leave_alone = |making: &mut Making, reason: LeftAlone| {
        if not_helped.is_none() {
            making.left_alone.insert(service.name.clone(), reason);
        }
    };
    let told = || service.newest_failure.as_ref().map(|event| event.message.clone());
    let Some(placing) = Placing::of(problem.index, service) else {
        if told().is_some() && !policy.steer {
            leave_alone(making, LeftAlone::NeedsSteering { tasks: lacking });
        }
        return before;
    };
    // What fits is ECS's to place, whoever the service is; and that room is then nobody else's.
    let moves = if not_helped.is_none() { policy.max_moves as usize } else { 0 };
    let search = Search::new(problem, &placing, Limits { moves, services: policy.max_services as usize });
    let (mut trial, mut made, mut fitting, mut places) = (before.clone(), 0, 0, Vec::new());
    while made + fitting < lacking {
        let Some(found) = search.one_more(&trial) else { break };
        if found.trial.moves.len() > trial.moves.len() && problem.in_vain_hundredths(&found.trial.moves).is_none() {
            break;
        }
        let is_made = found.trial.is_cleared(found.place);
        *(if is_made { &mut made } else { &mut fitting }) += 1;
        places.push((service.name.clone(), problem.instances[found.place].arn.clone()));
        trial = found.trial;
    }
    let nowhere = lacking - fitting;
    if nowhere == 0 {
        making.places.extend(places);
        return trial;
    }
    let moves = &trial.moves[before.moves.len()..];
    let is_reviewed = |task_move: &problem::TaskMove<'a>| {
        let planned = policy.reviewed.as_ref().map(|reviewed| reviewed.services.get(problem.name(task_move.mover)));
        planned.is_none_or(|planned| {
            planned.is_some_and(|planned| planned.moves.iter().any(|it| *it == problem.a_move(task_move)))
        })
    };
    if made == 0 {
        let by_steering = not_helped.is_none() && !policy.steer && can_be_steered(problem.index, service, policy, now);
        let mut disconnected = would_take_one(problem.index, service, &placing.requirement);
        let disconnected = disconnected.next().map(|instance| instance.label().to_owned());
        let reason = LeftAlone::NoRoomToMake { tasks: nowhere, told: told(), disconnected };
        leave_alone(making, if by_steering { LeftAlone::NeedsSteering { tasks: nowhere } } else { reason });
    } else if !moves.iter().all(is_reviewed) {
        leave_alone(making, LeftAlone::NotInPlan);
        return before;
    } else {
        making.rooms.push(Room {
            service: service.name.clone(),
            tasks: made,
            lacking: nowhere,
            wanted: service.desired_count - (nowhere - made),
            // What is left of others' room is there once theirs is.
            movers: if moves.is_empty() { &trial.moves } else { moves }
                .iter()
                .map(|task_move| problem.name(task_move.mover).clone())
                .collect(),
            moves: count(moves.len()),
        });
    }
    making.places.extend(places);
    trial
}

/// Whether room for a task could be made if tasks were steered.
fn can_be_steered(index: &Index<'_>, service: &Service, policy: &Policy, now: Timestamp) -> bool {
    let steered = Policy { steer: true, ..policy.clone() };
    let services = short(index).map(|service| &service.name).collect();
    let problem = Problem::new(index, &steered, now, &services);
    let limits = Limits { moves: policy.max_moves as usize, services: policy.max_services as usize };
    let placing = index.cluster.services.get(&service.name).and_then(|service| Placing::of(index, service));
    placing.is_some_and(|placing| Search::new(&problem, &placing, limits).one_more(&Trial::default()).is_some())
}

fn movers<'a>(problem: &Problem<'a>, trial: &Trial<'a>) -> Vec<ServiceMoves> {
    let mut movers: Vec<(usize, ServiceMoves)> = Vec::new();
    let in_vain = problem.in_vain_hundredths(&trial.moves).unwrap_or_default();
    for task_move in &trial.moves {
        let a_move = problem.a_move(task_move);
        if let Some((_, movers)) = movers.iter_mut().find(|(mover, _)| *mover == task_move.mover) {
            movers.moves.push(a_move);
        } else {
            let waits = trial.second.contains(&task_move.mover);
            let service = problem.name(task_move.mover).clone();
            let in_vain_hundredths = in_vain.get(&service).copied().unwrap_or(0);
            movers.push((task_move.mover, ServiceMoves { service, moves: vec![a_move], waits, in_vain_hundredths }));
        }
    }
    movers.into_iter().map(|(_, movers)| movers).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
