//! Mode `spread`: where ECS will put a service's next tasks, which of its tasks should go, and how many moves help.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    domains::Domain,
    imbalance,
    model::{Capacity, Cluster, ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task, TaskArn},
    parts::{Part, Shapes, nest, parts, room},
    placement::Index,
    step::Tasks,
};

/// The misplaced tasks of one service; nothing where it is not measured.
pub fn misplaced(cluster: &Cluster, service: &ServiceName) -> u32 {
    imbalance::misplaced(cluster, service)
}

/// Which tasks should go, so that of those that stay the fewest are misplaced: on the fullest instance among equal ones, the
/// youngest there. Never one that is spared, nor one that isn't ready or sits where ECS wouldn't place it.
pub fn victims(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    number: u32,
) -> BTreeSet<TaskArn> {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return BTreeSet::new() };
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for part in &view.parts {
        let total = part.placed.saturating_sub(view.share_of(part, number));
        let surplus = surplus(&index, part, total);
        for task in tasks.ready.iter().filter(|task| !spared.contains(*task)).filter_map(|arn| tasks.all.get(arn)) {
            let Some(instance) = task.container_instance.as_ref().and_then(|arn| part.instance(&index, arn)) else {
                continue;
            };
            if task.capacity_provider.as_deref() == part.requirement.provider() {
                candidates.push(Candidate::new(task, instance, part));
            }
        }
        choose(&mut candidates, &surplus);
    }
    candidates.sort_by(Candidate::order);
    candidates.into_iter().take(number as usize).map(|candidate| candidate.task.arn.clone()).collect()
}

/// How many tasks, at most `most`, are worth starting on top now: each of them lands, by ECS's documented rules, where one
/// is missing, so that as many old ones can go and as many fewer are misplaced.
pub fn worthwhile_surge(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, most: u32) -> u32 {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return 0 };
    let before: u32 = view.parts.iter().map(|part| part.domains.missing(part.placed)).sum();
    let movable = view.service_tasks(&index).filter(|task| !spared.contains(&task.arn)).count();
    let most = most.min(before).min(u32::try_from(movable).unwrap_or(u32::MAX));
    let places = view.predict(&index, most);
    let cures_all = |number: u32| {
        let mut placed = BTreeMap::new();
        for place in places.iter().take(number as usize) {
            *placed.entry(place.clone()).or_default() += 1;
        }
        let after: u32 = view.parts.iter().map(|part| missing_after(&index, part, &placed)).sum();
        before.saturating_sub(after) >= number
    };
    // As long as each new task cures one misplaced task; beyond that a restart would be for nothing. Halving finds a number
    // that does in a few tries; the next round goes on from there.
    let mut number = u32::try_from(places.len()).unwrap_or(u32::MAX);
    while number > 0 && !cures_all(number) {
        number /= 2;
    }
    number
}

/// Where ECS will put the service's next tasks, by its documented rules: of the instances that may take one and have room,
/// those in the domain with the fewest tasks of the service, level by level. Fewer than asked where room runs out.
/// Which of several equal ones it takes is not documented; here it is the one with the most room, then by ARN.
pub fn placements(cluster: &Cluster, service: &ServiceName, number: u32) -> Vec<ContainerInstanceArn> {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return Vec::new() };
    view.predict(&index, number)
}

/// A service with its parts.
struct View<'a> {
    service: &'a Service,
    parts: Vec<Part<'a>>,
}

impl<'a> View<'a> {
    fn new(index: &Index<'a>, service: &ServiceName) -> Option<Self> {
        let service = index.cluster.services.get(service)?;
        let definition = index.cluster.task_definitions.get(&service.task_definition);
        let parts = parts(index, service, definition, &mut Shapes::default()).ok()?;
        Some(Self { service, parts })
    }

    fn service_tasks<'b>(&'b self, index: &'b Index<'a>) -> impl Iterator<Item = &'a Task> + 'b {
        index.tasks_of(self.service).iter().copied()
    }

    /// How many of `number` victims belong to a part: all, where there is but one; else by its share of the tasks.
    fn share_of(&self, part: &Part<'_>, number: u32) -> u32 {
        let all: u32 = self.parts.iter().map(|part| part.placed).sum();
        let share = u64::from(number) * u64::from(part.placed) / u64::from(all.max(1));
        if self.parts.len() == 1 { number } else { u32::try_from(share).unwrap_or(number) }
    }

    /// The instances of the next so many tasks.
    fn predict(&self, index: &Index<'a>, number: u32) -> Vec<ContainerInstanceArn> {
        // New tasks go to the provider that is the furthest below its share; the largest part is the best guess.
        let Some(part) = self.parts.iter().max_by_key(|part| part.placed) else { return Vec::new() };
        let mut spots = spots(index, self.service, part);
        let mut placed = Vec::new();
        while placed.len() < number as usize {
            let Some(chosen) = next_spot(&spots) else { break };
            spots[chosen].room -= 1;
            let path = spots[chosen].path.clone();
            for spot in &mut spots {
                let shared = spot.path.iter().zip(&path).take_while(|(one, other)| one == other).count();
                for tasks in &mut spot.tasks[..shared] {
                    *tasks += 1;
                }
            }
            placed.push(spots[chosen].instance.arn.clone());
        }
        placed
    }
}

/// An instance that may take a task.
struct Spot<'a> {
    instance: &'a ContainerInstance,
    /// Its domains, level by level.
    path: Vec<&'a str>,
    /// The service's tasks in each of these.
    tasks: Vec<u32>,
    room: u32,
}

fn spots<'a>(index: &Index<'a>, service: &Service, part: &Part<'a>) -> Vec<Spot<'a>> {
    let mut tasks_by_path: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    let path_of = |instance: &'a ContainerInstance| {
        let mut path = part.levels.path(instance);
        if part.levels.instance {
            path.push(instance.arn.as_str());
        }
        path
    };
    let eligible = index.eligible(&part.requirement);
    for instance in &eligible {
        let tasks = part.tasks.get(&instance.arn).copied().unwrap_or(0);
        let path = path_of(instance);
        for depth in 0..path.len() {
            *tasks_by_path.entry(path[..=depth].to_vec()).or_default() += tasks;
        }
    }
    eligible
        .into_iter()
        .map(|instance| {
            let path = path_of(instance);
            let tasks = (0..path.len()).map(|depth| tasks_by_path.get(&path[..=depth]).copied().unwrap_or(0)).collect();
            Spot { instance, path, tasks, room: room(index, service, part, instance) }
        })
        .collect()
}

fn next_spot(spots: &[Spot<'_>]) -> Option<usize> {
    (0..spots.len()).filter(|index| spots[*index].room > 0).min_by(|a, b| {
        let (a, b) = (&spots[*a], &spots[*b]);
        let by_room = (b.room, &a.instance.arn).cmp(&(a.room, &b.instance.arn));
        a.tasks.cmp(&b.tasks).then(by_room)
    })
}

/// What is missing of the part's tasks, if those that are placed stay and as many others go.
fn missing_after(index: &Index<'_>, part: &Part<'_>, placed: &BTreeMap<ContainerInstanceArn, u32>) -> u32 {
    let extra = |arn: &ContainerInstanceArn| placed.get(arn).copied().unwrap_or(0);
    tree(index, part, &extra).missing(part.placed)
}

/// How many tasks each instance, or zone and the like, has beyond a balanced arrangement of `total` tasks.
fn surplus<'a>(index: &Index<'a>, part: &Part<'a>, total: u32) -> BTreeMap<Vec<&'a str>, u32> {
    let mut have: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for (arn, tasks) in &part.tasks {
        if let Some(instance) = index.cluster.container_instances.get(*arn) {
            *have.entry(leaf(part, instance)).or_default() += tasks;
        }
    }
    let mut wanted: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for (leaf, tasks) in tree(index, part, &|_| 0).arrange(total) {
        *wanted.entry(leaf).or_default() += tasks;
    }
    have.into_iter()
        .map(|(leaf, tasks)| {
            let surplus = tasks.saturating_sub(wanted.get(&leaf).copied().unwrap_or(0));
            (leaf, surplus)
        })
        .collect()
}

/// The part's domains with each instance told apart. Among equal choices the emptier instance gets more.
fn tree<'a>(index: &Index<'a>, part: &Part<'a>, extra: &dyn Fn(&ContainerInstanceArn) -> u32) -> Domain<Vec<&'a str>> {
    let limit = part.requirement.limit();
    let mut last: BTreeMap<Vec<&str>, Vec<Domain<Vec<&'a str>>>> = BTreeMap::new();
    for instance in index.eligible(&part.requirement) {
        let tasks = part.tasks.get(&instance.arn).copied().unwrap_or(0).saturating_add(extra(&instance.arn));
        let domain = Domain::last(leaf(part, instance), tasks, limit, fullness(instance));
        let domains = last.entry(part.levels.path(instance)).or_default();
        match domains.last_mut() {
            Some(same) if !part.levels.instance => same.join(&domain),
            _ => domains.push(domain),
        }
    }
    nest(last, part.levels.instance)
}

/// The domain of the last level that an instance lies in, by the whole path.
fn leaf<'a>(part: &Part<'_>, instance: &'a ContainerInstance) -> Vec<&'a str> {
    let mut path = part.levels.path(instance);
    if part.levels.instance {
        path.push(instance.arn.as_str());
    }
    path
}

/// How full an instance is, in millionths, by the resource that is reserved the most.
fn fullness(instance: &ContainerInstance) -> u64 {
    let part = |of: fn(&Capacity) -> u32| {
        let registered = u64::from(of(&instance.registered));
        (registered - u64::from(of(&instance.remaining)).min(registered)) * 1_000_000 / registered.max(1)
    };
    part(|capacity| capacity.cpu_units).max(part(|capacity| capacity.memory_mib))
}

/// A task that may go.
struct Candidate<'a> {
    task: &'a Task,
    leaf: Vec<&'a str>,
    fullness: u64,
    /// How many of its domain's surplus go before it; none when it is not of the surplus.
    rank: Option<u32>,
}

impl<'a> Candidate<'a> {
    fn new(task: &'a Task, instance: &'a ContainerInstance, part: &Part<'_>) -> Self {
        Self { task, leaf: leaf(part, instance), fullness: fullness(instance), rank: None }
    }

    /// Of the surplus first; the fullest instance first, the youngest task first, at last by ARN.
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        (a.rank.is_none().cmp(&b.rank.is_none()))
            .then_with(|| b.fullness.cmp(&a.fullness))
            .then_with(|| b.task.started_at.cmp(&a.task.started_at))
            .then_with(|| a.task.arn.cmp(&b.task.arn))
    }
}

/// Marks the tasks that make up each domain's surplus.
fn choose(candidates: &mut [Candidate<'_>], surplus: &BTreeMap<Vec<&str>, u32>) {
    candidates.sort_by(Candidate::order);
    let mut taken: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for candidate in candidates.iter_mut() {
        let Some(surplus) = surplus.get(&candidate.leaf) else { continue };
        let taken = taken.entry(candidate.leaf.clone()).or_default();
        if *taken < *surplus {
            candidate.rank = Some(*taken);
            *taken += 1;
        }
    }
}
