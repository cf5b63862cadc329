//! What is promised to the services in hand: tasks that are asked for and have no place yet.

use std::{borrow::Cow, collections::BTreeSet};

use crate::planning::{
    model::{Cluster, ContainerInstanceArn, ServiceName},
    spread, steering, view,
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

impl Promised {
    /// How many of its tasks have no place yet.
    fn without_place(&self, cluster: &Cluster) -> u32 {
        let there = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(&self.name)).count();
        self.tasks.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX))
    }
}

/// Whether a task that is asked for, and that ECS places by its own choice, may yet come to one of these container instances.
pub(super) fn may_come_to(
    cluster: &Cluster,
    promised: &[Promised],
    instances: &BTreeSet<ContainerInstanceArn>,
) -> bool {
    promised.iter().any(|of_service| {
        let is_open = of_service.targets.is_empty() && of_service.without_place(cluster) > 0;
        is_open && steering::could_take(cluster, &of_service.name, instances)
    })
}

/// The cluster with those tasks of other services in hand in it that are asked for and have no place yet, where they are
/// expected: so that two services are not promised the same capacity.
pub fn with_promised<'a>(cluster: &'a Cluster, promised: &[Promised]) -> Cow<'a, Cluster> {
    let mut crowded = Cow::Borrowed(cluster);
    for of_service in promised {
        let (Promised { name, targets, .. }, missing) = (of_service, of_service.without_place(cluster));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing::cluster;

    #[test]
    fn only_a_task_without_a_place_that_ecs_places_by_its_own_choice_may_come_to_an_instance() {
        let cluster = cluster("a i-1 web\na i-2\nservice web desired=1");
        let may_come = |tasks: u32, targets: &[&str]| {
            let targets = targets.iter().map(|name| (*name).into()).collect();
            let promised = Promised { name: "web".into(), tasks, targets };
            may_come_to(&cluster, &[promised], &["i-2".into()].into())
        };
        assert!(may_come(2, &[]));
        assert!(!may_come(1, &[]), "all have a place");
        assert!(!may_come(2, &["i-1"]), "steered elsewhere");
    }
}
