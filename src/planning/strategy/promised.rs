//! What is promised to the services in hand: tasks that are asked for and have no place yet.

use std::{borrow::Cow, collections::BTreeSet};

use crate::planning::{
    model::{Cluster, ContainerInstanceArn, ServiceName},
    spread, view,
};

/// What a service in hand is asked to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The service.
    pub name: ServiceName,
    /// The desired count; how many of these the cluster as it was seen holds already is for the caller to find.
    pub tasks: u32,
    /// The container instances that it steers to; none where ECS chooses among all.
    pub targets: BTreeSet<ContainerInstanceArn>,
}

/// The cluster with those tasks of other services in hand in it that are asked for and have no place yet, where they are
/// expected: so that two services are not promised the same capacity.
pub fn with_promised<'a>(cluster: &'a Cluster, promised: &[Promised]) -> Cow<'a, Cluster> {
    let mut crowded = Cow::Borrowed(cluster);
    for Promised { name, tasks, targets } in promised {
        let there = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(name)).count();
        let missing = tasks.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
        let places = if targets.is_empty() {
            spread::placements(&crowded, name, missing)
        } else {
            targets.iter().cycle().take(missing as usize).cloned().collect()
        };
        for (number, place) in places.iter().enumerate() {
            if let Some(task) = view::foreseen(&crowded, name, place, number) {
                view::insert(crowded.to_mut(), task);
            }
        }
    }
    crowded
}
