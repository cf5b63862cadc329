//! The largest tasks, for which room is kept.

use crate::planning::{
    model::{Capacity, SchedulingStrategy, TaskDefinition},
    placement::{Index, Requirement},
};

/// What the packing is about.
pub(super) const RESOURCES: [fn(&Capacity) -> u32; 2] = [|capacity| capacity.cpu_units, |capacity| capacity.memory_mib];

/// The size of a task for which room is kept, and which classes of instances admit it.
pub(super) struct Largest {
    pub(super) size: Capacity,
    pub(super) admitted: Vec<bool>,
}

/// The tasks that are largest in CPU and in memory, of all services that are not daemons.
pub(super) fn largest(index: &Index<'_>) -> Vec<Largest> {
    let cluster = index.cluster;
    let placed = cluster.services.values().filter(|service| {
        service.scheduling_strategy == SchedulingStrategy::Replica && !index.tasks_of(service).is_empty()
    });
    let sized: Vec<_> =
        placed.filter_map(|service| Some((service, cluster.task_definitions.get(&service.task_definition)?))).collect();
    let by = |of: fn(&Capacity) -> u32| {
        let key = |one: &&(_, &TaskDefinition)| of(&one.1.reserves);
        sized.iter().max_by_key(key).map(|(service, _)| *service)
    };
    let mut services: Vec<_> = RESOURCES.into_iter().filter_map(by).collect();
    services.dedup_by(|one, other| one.name == other.name);
    services
        .into_iter()
        .filter_map(|service| {
            let definition = cluster.task_definitions.get(&service.task_definition)?;
            let requirement = Requirement::new(service, Some(definition), None).ok()?;
            Some(Largest { size: definition.reserves, admitted: index.admitted_classes(&requirement) })
        })
        .collect()
}
