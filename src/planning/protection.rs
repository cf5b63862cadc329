//! Protection from scale-in: which of a service's misplaced tasks stay because the tasks that would have to go are protected.
//!
//! An example, three container instances with `3 0 0` tasks: one on each is balanced, so two of the three must go. If two of
//! them are protected, one of the two misplaced tasks is stuck.

use std::collections::BTreeMap;

use super::{
    model::{ContainerInstance, ContainerInstanceArn, Service},
    placement::Index,
    provider_parts::{ProviderPart, tree},
};

/// How many of a service's tasks are protected.
pub fn protected(index: &Index<'_>, service: &Service) -> u32 {
    let tasks = index.tasks_of(service).iter().filter(|task| task.is_protected).count();
    u32::try_from(tasks).unwrap_or(u32::MAX)
}

/// How many protected tasks of a part are too many where they are, in the balanced arrangement that has the fewest of them.
/// Where `zones_stay`, each domain of the first level keeps its number of tasks.
pub fn kept_misplaced(index: &Index<'_>, service: &Service, part: &ProviderPart<'_>, zones_stay: bool) -> u32 {
    let mut protected: BTreeMap<&ContainerInstanceArn, u32> = BTreeMap::new();
    for (instance, _) in part.placed(index, service).filter(|(_, task)| task.is_protected) {
        *protected.entry(&instance.arn).or_default() += 1;
    }
    if protected.is_empty() {
        return 0;
    }
    let missing = |tasks: &dyn Fn(&ContainerInstance) -> u32| {
        let tree = tree(index, part, &|instance, _| tasks(instance));
        if zones_stay { tree.missing_within_as(&part.domains) } else { tree.missing(part.placed) }
    };
    // Without a task, all that have a place are missing. A protected task fills one of these places, or is one too many.
    let places = missing(&|_| 0);
    let unfilled = missing(&|instance| protected.get(&instance.arn).copied().unwrap_or(0));
    let all: u32 = protected.values().sum();
    (unfilled + all).saturating_sub(places)
}
