//! A cluster with fewer container instances, for one service: of many that are alike, those that ECS or a plan would come to.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeSet,
};

use super::{
    model::{Cluster, ContainerInstanceArn, ServiceName},
    placement::{Index, Requirement, occupancy::Holding},
};

/// Takes away what can change nothing for the service while it has at most `most` tasks: container instances without one, as
/// long as each class of instances that are alike for it keeps the `most` that come first, in whatever order they are looked at.
///
/// A balanced arrangement of so many tasks never gives two to one instance while another has none, so that it asks for no more
/// instances; and ECS, task by task, takes one of the first. The cluster is as [`super::view::alone`] gives it.
pub fn keep_relevant(cluster: &mut Cluster, service: &ServiceName, most: usize) {
    let Some(kept) = kept(cluster, service, most) else { return };
    cluster.container_instances.retain(|arn, _| kept.contains(arn));
}

/// None where that is all.
fn kept(cluster: &Cluster, service: &ServiceName, most: usize) -> Option<BTreeSet<ContainerInstanceArn>> {
    let service = cluster.services.get(service)?;
    let definition = cluster.task_definitions.get(&service.task_definition);
    let requirement = Requirement::new(service, definition, None).ok()?;
    // Where others' tasks count, no two instances are alike.
    if cluster.container_instances.len() <= most || !requirement.is_static() || requirement.looks_at_addresses() {
        return None;
    }
    let index = Index::new(cluster);
    let holdings: Vec<Holding<'_>> = index.instances.iter().map(|instance| Holding::read(instance, None)).collect();
    let demand = requirement.demand();
    let fitting = |number: usize| holdings[number].how_many_fit(&demand).min(requirement.limit());
    let has_tasks = |number: &usize| !index.tasks_on_number(*number).is_empty();
    let mut kept: BTreeSet<usize> = (0..holdings.len()).filter(has_tasks).collect();
    for class in index.classes() {
        let mut class: Vec<usize> = class.iter().copied().filter(|number| !has_tasks(number)).collect();
        let mut keep = |order: &dyn Fn(&usize, &usize) -> Ordering| {
            if class.len() > most {
                class.select_nth_unstable_by(most, order);
            }
            kept.extend(class.iter().take(most));
        };
        // Numbers are in the order of ARNs.
        keep(&|a, b| (Reverse(fitting(*a)), a).cmp(&(Reverse(fitting(*b)), b)));
        let least = |number: usize| Some(fitting(number)).filter(|fitting| *fitting > 0).unwrap_or(u32::MAX);
        keep(&|a, b| (least(*a), b).cmp(&(least(*b), a)));
        keep(&|a, b| (holdings[*a].fullness(), a).cmp(&(holdings[*b].fullness(), b)));
    }
    let usable = kept.into_iter().map(|number| &index.instances[number].arn);
    let others = cluster.container_instances.values().filter(|instance| !instance.is_usable());
    Some(usable.chain(others.map(|instance| &instance.arn)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::planning::{imbalance, planner, spread, steering, tasks::Tasks, testing, view};

    proptest! {
        #[test]
        fn a_service_fares_on_it_as_on_the_whole_cluster(
            mut drawing in planner::tests::drawing(),
            more in prop::collection::vec((0..3_usize, 0..6_u32, prop::option::of(1..3_u32)), 10..50),
        ) {
            for (number, (zone, cpu, memory)) in more.iter().enumerate() {
                let memory = memory.map_or_else(String::new, |memory| format!(" memory={}", memory * 512));
                writeln!(drawing, "{} j-{number} cpu={}{memory}", ["a", "b", "c"][*zone], cpu * 256).unwrap();
            }
            let cluster = testing::cluster(&drawing);
            let none = BTreeSet::new();
            for name in cluster.services.keys() {
                let whole = view::alone(&cluster, name).into_owned();
                let mut relevant = whole.clone();
                keep_relevant(&mut relevant, name, whole.tasks.len() + 2);
                let on = |cluster: &Cluster| {
                    let tasks = Tasks::all_ready(cluster, name);
                    let (spared, taken) = (&none, &BTreeSet::new());
                    let round =
                        steering::NextRound { cluster, service: name, spared, most: 2, is_careful: false, taken };
                    (
                        imbalance::misplaced(cluster, name),
                        spread::placements(cluster, name, 2),
                        spread::paced_surge(cluster, name, &none, 2),
                        round.targets(),
                        spread::victims(cluster, name, &tasks, &none, 2),
                    )
                };
                prop_assert_eq!(on(&relevant), on(&whole), "{}", name);
            }
        }

        #[test]
        fn much_that_is_alike_goes(idle in 20..60_usize) {
            let mut drawing = "a i-0 web web\n".to_owned();
            for number in 0..idle {
                writeln!(drawing, "b j-{number}").unwrap();
            }
            let mut cluster = testing::cluster(&drawing);
            keep_relevant(&mut cluster, &"web".into(), 3);
            // The one with its tasks, and the three first by name and the three last.
            prop_assert_eq!(cluster.container_instances.len(), 1 + 3 + 3);
        }
    }
}
