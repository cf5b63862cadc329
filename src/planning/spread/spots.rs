//! A service's tasks on the container instances one by one, as steering chooses among them.

use std::collections::BTreeMap;

use crate::planning::{
    domains::Domain,
    model::{ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task},
    placement::{Index, Levels},
    provider_parts::{self, ProviderPart, Shapes, how_many_fit, provider_parts_over},
};

/// A service with its parts.
pub(in crate::planning) struct ServiceParts<'a> {
    pub(in crate::planning) service: &'a Service,
    pub(in crate::planning) parts: Vec<ProviderPart<'a>>,
}

impl<'a> ServiceParts<'a> {
    pub(in crate::planning) fn new(index: &Index<'a>, service: &ServiceName) -> Option<Self> {
        let service = index.cluster.services.get(service)?;
        let definition = index.cluster.task_definitions.get(&service.task_definition);
        let levels = Levels::of_movable(service)?;
        let parts = provider_parts_over(&levels, index, service, definition, &mut Shapes::default()).ok()?;
        Some(Self { service, parts })
    }

    pub(in crate::planning) fn service_tasks<'b>(
        &'b self,
        index: &'b Index<'a>,
    ) -> impl Iterator<Item = &'a Task> + 'b {
        index.tasks_of(self.service).iter().copied()
    }
}

/// Where the next so many tasks go, if they can go to these only.
pub(in crate::planning) fn fill(mut spots: Vec<Spot<'_>>, number: u32) -> Vec<&ContainerInstance> {
    let mut placed = Vec::new();
    while placed.len() < number as usize {
        let Some(chosen) = next_spot(&spots) else { break };
        take(&mut spots, chosen);
        placed.push(spots[chosen].instance);
    }
    placed
}

/// Puts a task on a spot.
pub(in crate::planning) fn take(spots: &mut [Spot<'_>], chosen: usize) {
    spots[chosen].fitting -= 1;
    let path = spots[chosen].path.clone();
    for spot in spots {
        let shared = spot.path.iter().zip(&path).take_while(|(one, other)| one == other).count();
        for tasks in &mut spot.tasks[..shared] {
            *tasks += 1;
        }
    }
}

/// The spots of which ECS takes one for the next task; which one is its own choice.
pub(in crate::planning) fn equal_spots(spots: &[Spot<'_>]) -> Vec<usize> {
    let with_room = || (0..spots.len()).filter(|spot| spots[*spot].fitting > 0);
    let least = with_room().map(|spot| &spots[spot].tasks).min();
    with_room().filter(|spot| Some(&spots[*spot].tasks) == least).collect()
}

/// An instance that may take a task.
#[derive(Clone)]
pub(in crate::planning) struct Spot<'a> {
    pub(in crate::planning) instance: &'a ContainerInstance,
    /// Its domains, level by level.
    path: Vec<&'a str>,
    /// The service's tasks in each of these.
    tasks: Vec<u32>,
    pub(in crate::planning) fitting: u32,
}

pub(in crate::planning) fn spots<'a>(index: &Index<'a>, service: &Service, part: &ProviderPart<'a>) -> Vec<Spot<'a>> {
    let mut tasks_by_path: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    let eligible = index.eligible(&part.requirement);
    for instance in &eligible {
        let tasks = part.tasks.get(&instance.arn).copied().unwrap_or(0);
        let path = part.levels.leaf(instance);
        for depth in 0..path.len() {
            *tasks_by_path.entry(path[..=depth].to_vec()).or_default() += tasks;
        }
    }
    for (instance, tasks) in part.away(index) {
        let path = part.levels.leaf(instance);
        for depth in 0..path.len() {
            *tasks_by_path.entry(path[..=depth].to_vec()).or_default() += tasks;
        }
    }
    eligible
        .into_iter()
        .map(|instance| {
            let path = part.levels.leaf(instance);
            let tasks = (0..path.len()).map(|depth| tasks_by_path.get(&path[..=depth]).copied().unwrap_or(0)).collect();
            Spot { instance, path, tasks, fitting: how_many_fit(index, service, &part.requirement, instance) }
        })
        .collect()
}

/// The one with the fewest tasks, level by level; of equal ones that with the most free capacity, then by ARN.
fn next_spot(spots: &[Spot<'_>]) -> Option<usize> {
    (0..spots.len()).filter(|index| spots[*index].fitting > 0).min_by(|a, b| {
        let (a, b) = (&spots[*a], &spots[*b]);
        let by_room = (b.fitting, &a.instance.arn).cmp(&(a.fitting, &b.instance.arn));
        a.tasks.cmp(&b.tasks).then(by_room)
    })
}

/// The part's tasks by domain of the last level.
pub(in crate::planning) fn tasks_by_leaf<'a>(
    index: &Index<'a>,
    part: &ProviderPart<'a>,
) -> BTreeMap<Vec<&'a str>, u32> {
    let mut tasks_by_leaf: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for (arn, tasks) in part.tasks.iter().chain(&part.away) {
        if let Some(instance) = index.cluster.container_instances.get(*arn) {
            *tasks_by_leaf.entry(part.levels.leaf(instance)).or_default() += tasks;
        }
    }
    tasks_by_leaf
}

/// The part's domains with each instance told apart, and `extra` tasks on them.
pub(in crate::planning) fn tree<'a>(
    index: &Index<'a>,
    part: &ProviderPart<'a>,
    extra: &dyn Fn(&ContainerInstanceArn) -> u32,
) -> Domain<Vec<&'a str>> {
    provider_parts::tree(index, part, &|instance, there| there.saturating_add(extra(&instance.arn)))
}
