//! The measure: how unevenly tasks sit, in whole numbers until the last division.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    bounds::on_top,
    domains::Domain,
    eligibility::{
        blocked, by_deploying, may_surge, no_deployment, no_slack, no_surge, only_by_surge, unmeasured,
        would_be_blocked,
    },
    load::Load,
    model::{Cluster, SchedulingStrategy, Service, ServiceName, TaskDefinitionArn, TaskStatus, Timestamp},
    placement::{Index, are_zones_left_to_ecs},
    policy::{Policy, Share},
    protection::{kept_misplaced, protected},
    provider_parts::{ProviderPart, Shapes, nest, provider_parts, put},
    providers::shared_out,
    reason::{Blocked, Unmeasured},
    several::{self, cells},
    sharing::{self, Cell},
    shortage::lacking_capacity,
};

/// What was measured of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Of each service.
    pub services: BTreeMap<ServiceName, ServiceMeasure>,
    /// Tasks in RUNNING, those without a service included.
    pub running_tasks: u32,
    /// Misplaced tasks ÷ running tasks of the services that were measured.
    pub task_imbalance: Share,
    /// The sum over the services.
    pub misplaced_tasks: u32,
    /// The sum over the services.
    pub stuck_tasks: u32,
    /// Of the worst service.
    pub task_skew: u32,
    /// The larger of the two below.
    pub load_imbalance: Share,
    /// The share of all reserved CPU that would have to move until all are reserved in proportion.
    pub cpu_load_imbalance: Share,
    /// The same for memory.
    pub memory_load_imbalance: Share,
    /// Usable ones: ACTIVE, agent connected.
    pub container_instances: u32,
    /// Usable ones without a task that is not a daemon's.
    pub empty_instances: u32,
    /// Reserved ÷ registered over the usable instances.
    pub cpu_reservation: Share,
    /// Reserved ÷ registered over the usable instances.
    pub memory_reservation: Share,
}

/// What was measured of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMeasure {
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// How they are spread, or why that was not measured.
    pub spread: Result<Spread, Unmeasured>,
}

/// How a service's tasks are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The smallest number of tasks that must move until the service is spread as its placement strategy asks.
    pub misplaced_tasks: u32,
    /// Tasks that have a place: running, or on their way there.
    pub placed_tasks: u32,
    /// Those of the misplaced that can't be moved now, by the reason; the counts add up to at most `misplaced_tasks`.
    pub stuck: BTreeMap<Blocked, u32>,
    /// Why no task can be started on top of the others; then only other strategies move tasks.
    pub no_surge: Option<Blocked>,
    /// Most minus fewest tasks over the domains of the first level at which they differ by more than one; else of the first.
    pub skew: u32,
    /// Domains of the last level, over the eligible instances.
    pub domains: u32,
}

impl Spread {
    /// The misplaced tasks that can't be moved now.
    pub fn stuck_tasks(&self) -> u32 {
        self.stuck.values().sum()
    }
}

impl ServiceMeasure {
    /// Misplaced tasks ÷ running tasks; nothing of nothing where the spread was not measured.
    pub fn task_imbalance(&self) -> Share {
        match &self.spread {
            Ok(spread) => Share::new(spread.misplaced_tasks.into(), spread.placed_tasks.into()),
            Err(_) => Share::default(),
        }
    }
}

/// Which task definitions the measure needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionsNeeded {
    /// To be read.
    pub read: BTreeSet<TaskDefinitionArn>,
    /// Left out, since those of worse services come first.
    pub left_out: BTreeSet<TaskDefinitionArn>,
}

/// The task definitions that have to be read before `measure` can be exact, at most `most` of them, and some daemons' more: first
/// those of services that may be moved, and of these the ones with the most misplaced tasks, as far as that can be told without
/// them.
///
/// Without its task definition a service is taken to be able to run on every instance that its own constraints admit. A task
/// definition can only narrow that down: instances fall away, and those that stay may be limited to one task. If the service
/// is balanced over all of them, it is balanced over any part of them that holds its tasks, and so its definition doesn't
/// matter: at each level the domains have either q or q + 1 tasks, or are full. If q is at least one, all of them hold tasks
/// and none falls away; if q is nothing, those that fall away are empty and the rest still differ by one at most. A limit
/// makes more domains full, which asks for less.
pub fn definitions_needed(cluster: &Cluster, policy: &Policy, now: Timestamp, most: usize) -> DefinitionsNeeded {
    let index = Index::new(cluster);
    let mut shapes = Shapes::default();
    let mut uneven: Vec<(bool, Reverse<u32>, &Service)> = Vec::new();
    for service in cluster.services.values() {
        let tasks = index.tasks_of(service);
        if unmeasured(service, tasks).is_some() {
            continue;
        }
        let Ok(parts) = provider_parts(&index, service, None, &mut shapes) else { continue };
        let misplaced = missing(&index, &parts);
        // With several providers the argument above doesn't hold: what is full decides what others get.
        if parts.len() > 1 || misplaced > 0 {
            let is_blocked = would_be_blocked(service, tasks, policy, now).is_some();
            uneven.push((is_blocked, Reverse(misplaced), service));
        }
    }
    uneven.sort_by_key(|(is_blocked, misplaced, service)| (*is_blocked, *misplaced, &service.name));
    let mut needed = DefinitionsNeeded::default();
    for (.., service) in uneven {
        let definition = &service.task_definition;
        let has_place = needed.read.len() < most || needed.read.contains(definition);
        let which = if has_place { &mut needed.read } else { &mut needed.left_out };
        which.insert(definition.clone());
    }
    // What an instance could hold, it holds beside daemons.
    if !needed.read.is_empty() {
        let is_daemon = |service: &&Service| service.scheduling_strategy == SchedulingStrategy::Daemon;
        let daemons = cluster.services.values().filter(is_daemon);
        needed.read.extend(daemons.map(|service| service.task_definition.clone()));
    }
    needed
}

/// Measures a cluster whose needed task definitions were read.
pub fn measure(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Measure {
    measure_indexed(&Index::new(cluster), policy, now)
}

/// The same, of a cluster that is indexed already.
pub fn measure_indexed(index: &Index<'_>, policy: &Policy, now: Timestamp) -> Measure {
    let cluster = index.cluster;
    let mut shapes = Shapes::default();
    let services: BTreeMap<ServiceName, ServiceMeasure> = cluster
        .services
        .values()
        .map(|service| {
            let tasks = index.tasks_of(service);
            let measure = ServiceMeasure {
                running_tasks: count(tasks.iter().filter(|task| task.last_status == TaskStatus::Running).count()),
                spread: spread(index, service, policy, now, &mut shapes),
            };
            (service.name.clone(), measure)
        })
        .collect();
    let spreads = || services.values().filter_map(|service| service.spread.as_ref().ok());
    let usable = || index.instances.iter().copied();
    let cpu = Load::of(usable(), |capacity| capacity.cpu_units);
    let memory = Load::of(usable(), |capacity| capacity.memory_mib);
    let (cpu_load_imbalance, memory_load_imbalance) = (cpu.imbalance(), memory.imbalance());
    Measure {
        running_tasks: count(cluster.tasks.values().filter(|task| task.last_status == TaskStatus::Running).count()),
        task_imbalance: Share::new(
            spreads().map(|spread| u64::from(spread.misplaced_tasks)).sum(),
            spreads().map(|spread| u64::from(spread.placed_tasks)).sum(),
        ),
        misplaced_tasks: spreads().map(|spread| spread.misplaced_tasks).sum(),
        stuck_tasks: spreads().map(Spread::stuck_tasks).sum(),
        task_skew: spreads().map(|spread| spread.skew).max().unwrap_or(0),
        load_imbalance: cpu_load_imbalance.larger(memory_load_imbalance),
        cpu_load_imbalance,
        memory_load_imbalance,
        container_instances: count(index.instances.len()),
        empty_instances: count(index.empty_instances()),
        cpu_reservation: cpu.reservation(),
        memory_reservation: memory.reservation(),
        services,
    }
}

/// The misplaced tasks of one service; nothing where it is not measured.
pub fn misplaced(cluster: &Cluster, service: &ServiceName) -> u32 {
    let index = Index::new(cluster);
    let Some(service) = cluster.services.get(service) else { return 0 };
    let definition = cluster.task_definitions.get(&service.task_definition);
    provider_parts(&index, service, definition, &mut Shapes::default()).map_or(0, |parts| missing(&index, &parts))
}

fn spread(
    index: &Index<'_>,
    service: &Service,
    policy: &Policy,
    now: Timestamp,
    shapes: &mut Shapes,
) -> Result<Spread, Unmeasured> {
    let tasks = index.tasks_of(service);
    if let Some(reason) = unmeasured(service, tasks) {
        return Err(reason);
    }
    let definition = index.cluster.task_definitions.get(&service.task_definition);
    let parts = provider_parts(index, service, definition, shapes)?;
    let misplaced_tasks = missing(index, &parts);
    let mut spread = Spread {
        misplaced_tasks,
        placed_tasks: parts.iter().map(|part| part.placed).sum(),
        stuck: BTreeMap::new(),
        no_surge: None,
        skew: skew(index, &parts),
        domains: parts.iter().map(|part| part.domains.last_domains()).sum(),
    };
    if misplaced_tasks > 0 {
        let requirements = parts.iter().map(|part| &part.requirement);
        spread.no_surge = no_surge(index, service, definition, requirements);
        spread.stuck = stuck(index, service, &parts, misplaced_tasks, spread.no_surge.as_ref(), policy, now);
    }
    Ok(spread)
}

/// Which of the misplaced tasks can't be moved now, by the reason that comes first.
fn stuck(
    index: &Index<'_>,
    service: &Service,
    parts: &[ProviderPart<'_>],
    misplaced: u32,
    no_surge: Option<&Blocked>,
    policy: &Policy,
    now: Timestamp,
) -> BTreeMap<Blocked, u32> {
    let definition = index.cluster.task_definitions.get(&service.task_definition);
    if definition.is_none() && index.cluster.unread_definitions.contains(&service.task_definition) {
        let reason = would_be_blocked(service, index.tasks_of(service), policy, now);
        return BTreeMap::from([(reason.unwrap_or(Blocked::DefinitionNotRead), misplaced)]);
    }
    if let Some(reason) = blocked(service, definition, index.tasks_of(service), policy, now) {
        return BTreeMap::from([(reason, misplaced)]);
    }
    let shared_out = shared_out(index, service).filter(|_| !by_deploying(service, policy));
    if let Some(reason) = shared_out.clone()
        && (no_surge.is_some() || !is_helped_by_surge(index, service, policy))
    {
        return BTreeMap::from([(reason, misplaced)]);
    }
    if let Some(reason) = no_surge.filter(|_| only_by_surge(service, policy)) {
        return BTreeMap::from([(reason.clone(), misplaced)]);
    }
    if let Some(reason) = no_slack(service, policy) {
        return BTreeMap::from([(reason, misplaced)]);
    }
    if let Some(reason) = no_deployment(service).filter(|_| by_deploying(service, policy)) {
        return BTreeMap::from([(reason, misplaced)]);
    }
    let protected = protected(index, service);
    if protected > 0 && by_deploying(service, policy) {
        // A deployment would wait for as long as they are protected.
        return BTreeMap::from([(Blocked::Protected(protected), misplaced)]);
    }
    let mut stuck = BTreeMap::new();
    let mut rest = misplaced;
    let zones_stay = are_zones_left_to_ecs(service);
    if zones_stay {
        // Each zone's count is left to ECS; what is ours is to even out inside the zones.
        let within_zones: u32 = parts.iter().map(|part| part.domains.missing_within_as(&part.domains)).sum();
        let between = misplaced.saturating_sub(within_zones);
        if between > 0 {
            stuck.insert(Blocked::LeftToZoneRebalancing, between);
            rest -= between;
        }
    }
    // Over several providers a part's own arrangement says nothing about the whole.
    let parts = if shared_out.is_some() { &[] } else { parts };
    for part in parts.iter().filter(|_| protected > 0) {
        let kept = kept_misplaced(index, service, part, zones_stay).min(rest);
        if kept > 0 {
            *stuck.entry(Blocked::Protected(protected)).or_default() += kept;
            rest -= kept;
        }
    }
    for part in parts {
        if let Some((tasks, shortage)) = lacking_capacity(index, service, part, zones_stay)
            && rest > 0
        {
            *stuck.entry(Blocked::NoRoom(shortage)).or_default() += tasks.min(rest);
            rest -= tasks.min(rest);
        }
    }
    stuck
}

/// Whether a surge of a service over several capacity providers could move a task.
fn is_helped_by_surge(index: &Index<'_>, service: &Service, policy: &Policy) -> bool {
    let protected = index.tasks_of(service).iter().filter(|task| task.is_protected).map(|task| task.arn.clone());
    let surge = policy.surge.of_at_least_one(service.desired_count);
    let most = several::at_once(service, index.tasks_of(service), surge).min(on_top(service));
    may_surge(service, policy) && !several::worthwhile(index, service, &protected.collect(), most).is_empty()
}

/// How many tasks of all parts must move. Several providers' tasks spread over all of their instances together.
fn missing(index: &Index<'_>, parts: &[ProviderPart<'_>]) -> u32 {
    match parts {
        [] => 0,
        [part] => part.domains.missing(part.placed),
        parts => sharing::missing(&parts.iter().map(|part| cells(index, part)).collect::<Vec<_>>()),
    }
}

/// Most minus fewest tasks over the domains of all parts together.
fn skew(index: &Index<'_>, parts: &[ProviderPart<'_>]) -> u32 {
    let [first, _, ..] = parts else { return parts.first().map_or(0, |part| part.domains.skew()) };
    let all: Vec<Cell> = parts.iter().flat_map(|part| cells(index, part)).collect();
    let mut last: BTreeMap<Vec<&str>, Vec<Domain<()>>> = BTreeMap::new();
    for cell in &all {
        let depth = first.levels.attributes.len();
        let path = cell.path[..depth].iter().map(String::as_str).collect();
        put(last.entry(path).or_default(), Domain::last((), cell.tasks, cell.most, 0), first.levels.instance);
    }
    nest(last, first.levels.instance).skew()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
