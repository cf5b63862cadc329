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

mod by_choice;
mod emptying;
mod largest;
pub mod price;
mod problem;
mod search;

use std::collections::{BTreeMap, BTreeSet};

pub use self::by_choice::{ByChoice, by_choice};
use self::{emptying::Emptying, problem::Problem, search::best};
use super::{
    model::{Cluster, ContainerInstanceArn, ServiceName, Timestamp},
    placement::Index,
    plan::{Consolidation, Freed, Move},
    policy::Policy,
    reason::{Fixed, Kept},
    relocation::one_relocatable,
};

/// Which instances come free, within the policy's limits. The cluster's task definitions must have been read: tasks of a
/// service whose definition is missing stay.
pub fn consolidation(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Consolidation {
    consolidation_indexed(&Index::new(cluster), policy, now)
}

/// The same, of a cluster that is indexed already.
pub fn consolidation_indexed(index: &Index<'_>, policy: &Policy, now: Timestamp) -> Consolidation {
    let (mut relocatable, mut fixed) = (Vec::new(), BTreeMap::new());
    for service in index.cluster.services.values() {
        match one_relocatable(index, service, policy, now) {
            Ok(one) if !one.part.requirement.is_static() => {
                drop(fixed.insert(service.name.clone(), Fixed::LooksAtOthers));
            }
            Ok(one) => relocatable.push(one),
            Err(Fixed::Daemon) => {}
            Err(why) => drop(fixed.insert(service.name.clone(), why)),
        }
    }
    let problem = Problem::new(index, relocatable, policy);
    let best = best(&problem);
    Consolidation { freed: freed(&problem, &best), kept: kept(best), fixed }
}

/// The emptied instances with their moves, in the order of emptying.
fn freed(problem: &Problem<'_>, emptying: &Emptying<'_, '_>) -> Vec<Freed> {
    let arn = |site: usize| &problem.sites[site].instance.arn;
    let of_site = |site: &usize| {
        let moves = problem.sites[*site].items.iter().filter_map(|item| {
            let (mover, task) = (&problem.movers[problem.items[*item].mover], problem.items[*item].task);
            let to = arn(emptying.target_of(*item)?).clone();
            let a_move = Move { task: task.arn.clone(), from: arn(*site).clone(), to };
            Some((mover.relocatable.service.name.clone(), a_move))
        });
        Freed { instance: arn(*site).clone(), moves: moves.collect() }
    };
    emptying.emptied().iter().map(of_site).filter(|freed| !freed.moves.is_empty()).collect()
}

/// Why the rest stays: what stands in the way of each alone.
fn kept(mut emptying: Emptying<'_, '_>) -> BTreeMap<Kept, u32> {
    let mut kept = BTreeMap::new();
    for site in emptying.open_sites().collect::<Vec<_>>() {
        let before = emptying.mark();
        match emptying.empty(site) {
            Err(why) => *kept.entry(why).or_default() += 1,
            Ok(()) => emptying.go_back(before),
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
