//! The container instances of a cluster as pictures show them, now and as a plan comes to.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{InstanceReport, TasksOfService};
use crate::planning::{
    even_shares,
    imbalance::Measure,
    model::{Cluster, ServiceName},
    plan::Plan,
    view,
};

/// More uneven services than this are no picture any more, and for each all container instances are looked at.
pub(super) const PICTURED: usize = 40;

/// Every container instance, by zone and name.
pub(super) fn of(cluster: &Cluster, measure: &Measure) -> Vec<InstanceReport> {
    let mut tasks: BTreeMap<String, BTreeMap<String, TasksOfService>> = BTreeMap::new();
    for task in cluster.tasks.values() {
        if let (Some(instance), Some(service)) = (&task.container_instance, &task.service) {
            let of_instance = tasks.entry(instance.to_string()).or_default();
            of_instance.entry(service.to_string()).or_default().running += 1;
        }
    }
    for name in most_uneven(measure) {
        let shares = even_shares::even_shares(cluster, name);
        for (instance, of_instance) in &mut tasks {
            // Where nothing of it should be, that is none.
            if let Some(there) = of_instance.get_mut(name.as_str()) {
                there.even_hundredths = Some(shares.get(&instance.as_str().into()).copied().unwrap_or(0));
            }
        }
        for (instance, share) in shares.into_iter().filter(|(_, share)| *share > 0) {
            let there = tasks.entry(instance.to_string()).or_default().entry(name.to_string()).or_default();
            there.even_hundredths = Some(share);
        }
    }
    let mut reports: Vec<InstanceReport> = cluster
        .container_instances
        .values()
        .map(|instance| InstanceReport {
            availability_zone: instance.availability_zone().to_owned(),
            name: instance.label().to_owned(),
            usable: instance.is_usable(),
            running_tasks: instance.running_tasks_count,
            reserved_cpu_percent: instance.reserved_hundredths(|it| it.cpu_units).div_ceil(100),
            reserved_memory_percent: instance.reserved_hundredths(|it| it.memory_mib).div_ceil(100),
            arn: instance.arn.to_string(),
            ec2_instance_id: instance.ec2_instance_id.clone(),
            tasks: tasks.remove(instance.arn.as_str()).unwrap_or_default(),
        })
        .collect();
    reports.sort();
    reports
}

/// The services that are compared with an even arrangement, those first of which the most tasks are misplaced.
fn most_uneven(measure: &Measure) -> impl Iterator<Item = &ServiceName> {
    let spreads = measure.services.iter().filter_map(|(name, service)| Some((name, service.spread.as_ref().ok()?)));
    let mut uneven: Vec<_> = spreads.filter(|(_, spread)| spread.misplaced_tasks > 0).collect();
    uneven.sort_by_key(|(name, spread)| (Reverse((spread.misplaced_tasks, spread.skew)), *name));
    uneven.into_iter().map(|(name, _)| name).take(PICTURED)
}

/// The cluster once the plan's moves are made, each replacement where it is expected.
pub(super) fn foreseen(cluster: &Cluster, plan: &Plan) -> Cluster {
    let mut foreseen = cluster.clone();
    for (number, (_, a_move)) in plan.moves().enumerate() {
        view::relocate(&mut foreseen, &a_move.task, &a_move.to, number);
    }
    view::start(&mut foreseen, &plan.places);
    foreseen
}
