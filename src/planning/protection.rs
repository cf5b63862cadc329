//! Protection from scale-in: which of a service's misplaced tasks stay because the tasks that would have to go are protected.
//!
//! An example, three container instances with `3 0 0` tasks: one on each is balanced, so two of the three must go. If two of
//! them are protected, one of the two misplaced tasks is stuck.

use std::collections::BTreeMap;

use super::{
    domains::Domain,
    model::{ContainerInstance, ContainerInstanceArn, Service},
    parts::{Part, is_placed, nest, put},
    placement::Index,
};

/// How many of a service's tasks are protected.
pub fn protected(index: &Index<'_>, service: &Service) -> u32 {
    let tasks = index.tasks_of(service).iter().filter(|task| task.is_protected).count();
    u32::try_from(tasks).unwrap_or(u32::MAX)
}

/// How many protected tasks of a part are too many where they are, in the balanced arrangement that has the fewest of them.
/// Where `zones_stay`, each domain of the first level keeps its number of tasks.
pub fn kept_misplaced(index: &Index<'_>, service: &Service, part: &Part<'_>, zones_stay: bool) -> u32 {
    let mut protected: BTreeMap<&ContainerInstanceArn, u32> = BTreeMap::new();
    let of_part = |provider: Option<&str>| provider == part.requirement.provider();
    for task in index.tasks_of(service).iter().filter(|task| task.is_protected && is_placed(task)) {
        if let Some(instance) = task.container_instance.as_ref().filter(|arn| part.tasks.contains_key(*arn))
            && of_part(task.capacity_provider.as_deref())
        {
            *protected.entry(instance).or_default() += 1;
        }
    }
    if protected.is_empty() {
        return 0;
    }
    let missing = |tasks: &dyn Fn(&ContainerInstance) -> u32| {
        let tree = tree(index, part, tasks);
        if zones_stay { tree.missing_within_as(&part.domains) } else { tree.missing(part.placed) }
    };
    // Without a task, all that have a place are missing. A protected task fills one of these places, or is one too many.
    let places = missing(&|_| 0);
    let unfilled = missing(&|instance| protected.get(&instance.arn).copied().unwrap_or(0));
    let all: u32 = protected.values().sum();
    (unfilled + all).saturating_sub(places)
}

/// A part's domains with other tasks on its container instances.
fn tree(index: &Index<'_>, part: &Part<'_>, tasks: &dyn Fn(&ContainerInstance) -> u32) -> Domain<()> {
    let mut last: BTreeMap<Vec<&str>, Vec<Domain<()>>> = BTreeMap::new();
    for instance in index.eligible(&part.requirement) {
        let there = part.tasks.get(&instance.arn).copied().unwrap_or(0);
        let domain = Domain::last((), tasks(instance), index.most(&part.requirement, instance, there), 0);
        put(last.entry(part.levels.path(instance)).or_default(), domain, part.levels.instance);
    }
    for (arn, there) in &part.away {
        if let Some(instance) = index.cluster.container_instances.get(*arn) {
            let domain = Domain::last((), tasks(instance), *there, 0);
            put(last.entry(part.levels.path(instance)).or_default(), domain, part.levels.instance);
        }
    }
    nest(last, part.levels.instance)
}
