//! Mode `consolidate`: which container instances come free of tasks, and where their tasks go, so that as few instances as can
//! be hold all of them.
//!
//! An instance is emptied wholly or not at all. What its tasks may take is the room that others have now: what leaves an
//! instance that stays gives none, so that the moves may be made in any order, and a run that ends early has done no harm. A
//! service keeps the number of its tasks in each availability zone; daemons' tasks stay where they are and hold nothing.
//!
//! To find the fewest instances is to pack bins of several sizes in several dimensions, which nobody does exactly at this size.
//! So instances are emptied greedily, in each of several orders, and the best outcome is bettered for as long as a fixed number
//! of trials lasts.

mod floor;
mod largest;
mod price;
mod search;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use self::{floor::Floor, search::best, state::State};
use super::{
    model::{Cluster, ContainerInstanceArn, ServiceName, Timestamp},
    placement::Index,
    planner::Move,
    policy::Policy,
    relocation::{Fixed, one_relocatable},
};

/// What is to be done so that instances come free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consolidation {
    /// The instances that come free, in the order in which they are emptied.
    pub freed: Vec<Freed>,
    /// Why the others that hold tasks stay, and how many stay for each reason.
    pub kept: BTreeMap<Kept, u32>,
    /// The services whose tasks can't be sent elsewhere, and why.
    pub fixed: BTreeMap<ServiceName, Fixed>,
}

/// A container instance that comes free, and the moves of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The instance.
    pub instance: ContainerInstanceArn,
    /// Each task's move.
    pub moves: Vec<(ServiceName, Move)>,
}

/// Why an instance that holds tasks is not emptied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// It holds tasks that can't be sent elsewhere: those of no service, or of one that is left alone.
    FixedTasks,
    /// For some of its tasks there is no room on those that stay.
    NoRoom,
    /// Those that stay would have less free than `REBALANCER_HEADROOM`.
    Headroom,
    /// None that stays would have room for the largest task.
    LargestTask,
    /// Its capacity provider keeps that many instances whether they hold tasks or not.
    Minimum(String, u32),
    /// `REBALANCER_MAX_MOVES`, or a service's own limit.
    MaxMoves,
    /// `REBALANCER_MAX_SERVICES`.
    MaxServices,
    /// A reviewed plan is followed, which doesn't empty it just so.
    NotInPlan,
}

impl Kept {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FixedTasks => "fixed-tasks",
            Self::NoRoom => "no-room",
            Self::Headroom => "headroom",
            Self::LargestTask => "largest-task",
            Self::Minimum(..) => "minimum",
            Self::MaxMoves => "max-moves",
            Self::MaxServices => "max-services",
            Self::NotInPlan => "not-in-plan",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedTasks => formatter.write_str("with tasks that can't be sent elsewhere"),
            Self::NoRoom => formatter.write_str("with tasks for which there is no room on others"),
            Self::Headroom => formatter.write_str("needed as headroom (REBALANCER_HEADROOM)"),
            Self::LargestTask => formatter.write_str("needed so that the largest task has room"),
            Self::Minimum(provider, instances) => {
                write!(formatter, "among the {instances} that capacity provider {provider} keeps")
            }
            Self::NotInPlan => formatter.write_str("not emptied so in the reviewed plan (REBALANCER_PLAN)"),
            Self::MaxMoves => formatter.write_str("with more tasks than may be moved (REBALANCER_MAX_MOVES, or a tag)"),
            Self::MaxServices => {
                formatter.write_str("with tasks of more services than may be changed (REBALANCER_MAX_SERVICES)")
            }
        }
    }
}

/// Which instances come free, within the policy's limits. The cluster's task definitions must have been read: tasks of a
/// service whose definition is missing stay.
pub fn consolidation(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Consolidation {
    let index = Index::new(cluster);
    let (mut relocatable, mut fixed) = (Vec::new(), BTreeMap::new());
    for service in cluster.services.values() {
        match one_relocatable(&index, service, policy, now) {
            Ok(one) if !one.part.requirement.is_static() => {
                drop(fixed.insert(service.name.clone(), Fixed::LooksAtOthers));
            }
            Ok(one) => relocatable.push(one),
            Err(Fixed::Daemon) => {}
            Err(why) => drop(fixed.insert(service.name.clone(), why)),
        }
    }
    let floor = Floor::new(&index, relocatable, policy);
    let best = best(&floor);
    Consolidation { freed: freed(&floor, &best), kept: kept(&best), fixed }
}

/// The emptied instances with their moves, in the order of emptying.
fn freed(floor: &Floor<'_>, state: &State<'_, '_>) -> Vec<Freed> {
    let arn = |site: usize| &floor.sites[site].instance.arn;
    let of_site = |site: &usize| {
        let moves = floor.sites[*site].items.iter().filter_map(|item| {
            let (kind, task) = (&floor.kinds[floor.items[*item].kind], floor.items[*item].task);
            let to = arn(state.target_of(*item)?).clone();
            let a_move = Move { task: task.arn.clone(), from: arn(*site).clone(), to };
            Some((kind.relocatable.service.name.clone(), a_move))
        });
        Freed { instance: arn(*site).clone(), moves: moves.collect() }
    };
    state.emptied().iter().map(of_site).filter(|freed| !freed.moves.is_empty()).collect()
}

/// Why the rest stays: what stands in the way of each alone.
fn kept(state: &State<'_, '_>) -> BTreeMap<Kept, u32> {
    let mut kept = BTreeMap::new();
    // A copy for each would be as many copies of the whole cluster; what is refused leaves no trace.
    let mut trial = state.clone();
    for site in state.open_sites() {
        match trial.empty(site) {
            Err(why) => *kept.entry(why).or_default() += 1,
            Ok(()) => trial = state.clone(),
        }
    }
    kept
}

/// By service, in the order of the services' first moves, each service's moves in the order in which instances are emptied.
pub fn by_service(freed: &[Freed]) -> Vec<(ServiceName, Vec<Move>)> {
    let mut by_service: Vec<(ServiceName, Vec<Move>)> = Vec::new();
    let mut place_of: BTreeMap<ServiceName, usize> = BTreeMap::new();
    for (service, a_move) in freed.iter().flat_map(|freed| &freed.moves) {
        let place = *place_of.entry(service.clone()).or_insert_with(|| {
            by_service.push((service.clone(), Vec::new()));
            by_service.len() - 1
        });
        by_service[place].1.push(a_move.clone());
    }
    by_service
}

/// Of these, the instances that hold no task but those of daemons now, or are gone.
pub fn came_free(
    cluster: &Cluster,
    planned: impl Iterator<Item = ContainerInstanceArn>,
) -> BTreeSet<ContainerInstanceArn> {
    let index = Index::new(cluster);
    let is_free = |arn: &ContainerInstanceArn| {
        cluster.container_instances.get(arn).is_none_or(|instance| index.is_empty(instance))
    };
    planned.filter(is_free).collect()
}

#[cfg(test)]
mod tests;
