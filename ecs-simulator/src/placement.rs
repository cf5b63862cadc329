//! Where a task goes: instances that fit, that meet the constraints, that meet the strategies, then one of them.
//! [ECS developer guide, "How Amazon ECS places tasks on container instances"]

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    network,
    query::Query,
    state::{Definition, Gpus, Instance, Status, Task},
    world::World,
};

/// What is to be placed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// The group whose tasks a spread counts: a service's, or that of standalone tasks.
    pub(crate) group: &'a str,
    /// Type and field of each; none means the default of its kind.
    pub(crate) strategy: &'a [(String, String)],
    /// Type and expression of each.
    pub(crate) constraints: &'a [(String, String)],
    /// Each with weight and base.
    pub(crate) providers: &'a [(String, u32, u32)],
    /// The deployment or person that starts it.
    pub(crate) started_by: &'a str,
    /// The one zone that will do.
    pub(crate) zone: Option<&'a str>,
    /// The subnets of tasks with an interface of their own; none where they aren't told.
    pub(crate) subnets: &'a [String],
    /// Whether the task is for instances outside of EC2.
    pub(crate) external: bool,
}

/// Why there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPlace {
    /// An instance that would do but for what it lacks.
    pub(crate) closest: Option<(String, Short)>,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Cpu,
    Memory,
    Gpus,
    Ports,
    Interfaces,
}

impl NoPlace {
    /// In the words of a service event. [ECS developer guide, "Amazon ECS service event messages"]
    pub(crate) fn event(&self, service: &str) -> String {
        let closest = self.closest.as_ref().map_or_else(String::new, |(arn, short)| {
            let what = match short {
                Short::Cpu => "has insufficient CPU units available",
                Short::Memory => "has insufficient memory available",
                Short::Gpus => "has insufficient GPU resource available",
                Short::Ports => "is already using a port required by your task",
                Short::Interfaces => "encountered error \"RESOURCE:ENI\"",
            };
            let id = arn.rsplit('/').next().unwrap_or_default();
            format!(" The closest matching (container-instance {id}) {what}.")
        });
        format!(
            "(service {service}) was unable to place a task because no container instance met all of its requirements.{closest}"
        )
    }

    /// As `RunTask` has it among its failures. [ECS developer guide, "API failure reasons"]
    pub(crate) fn failure(&self) -> &'static str {
        match self.closest.as_ref().map(|(_, short)| short) {
            None => "ATTRIBUTE",
            Some(Short::Cpu) => "RESOURCE:CPU",
            Some(Short::Memory) => "RESOURCE:MEMORY",
            Some(Short::Gpus) => "RESOURCE:GPU",
            Some(Short::Ports) => "RESOURCE:PORTS",
            Some(Short::Interfaces) => "RESOURCE:ENI",
        }
    }
}

/// The attribute of an instance outside of EC2. [ECS developer guide, "External instances"]
const EXTERNAL: &str = "ecs.capability.external";

/// The zones of these subnets, as far as the instances tell. [ECS developer guide, "API failure reasons", LOCATION]
fn zones_of(world: &World, subnets: &[String]) -> BTreeSet<String> {
    let is_in_one = |instance: &&Instance| {
        let subnet = instance.attributes.get("ecs.subnet-id").and_then(Option::as_deref);
        subnet.is_some_and(|subnet| subnets.iter().any(|known| known == subnet))
    };
    world.state.instances.values().filter(is_in_one).map(|instance| zone_of(instance).to_owned()).collect()
}

/// Chooses an instance for the next task.
pub(crate) fn choose(world: &mut World, wish: &Wish<'_>, definition: &Definition) -> Result<String, NoPlace> {
    let constraints: Vec<Query> = wish
        .constraints
        .iter()
        .filter(|(kind, _)| kind == "memberOf")
        .map(|(_, expression)| expression)
        .chain(&definition.constraints)
        .filter_map(|expression| Query::parse(expression).ok())
        .collect();
    let distinct = wish.constraints.iter().any(|(kind, _)| kind == "distinctInstance");
    let provider = next_provider(world, wish);
    let zones = if definition.awsvpc { zones_of(world, wish.subnets) } else { BTreeSet::new() };
    let mut closest = None;
    let mut candidates: Vec<String> = Vec::new();
    for instance in world.state.instances.values() {
        if instance.status != "ACTIVE" || !instance.agent_connected {
            continue;
        }
        let has_one = || world.state.instance_tasks(&instance.arn).any(|task| task.wanted && task.group == wish.group);
        let suits = match provider {
            Some(provider) => instance.capacity_provider.as_deref() == Some(provider),
            // Managed Instances take only tasks of a capacity provider strategy. [API, LaunchType]
            None => !world.state.is_managed(instance),
        } && wish.zone.is_none_or(|zone| zone_of(instance) == zone)
            && (zones.is_empty() || zones.contains(zone_of(instance)))
            && instance.attributes.contains_key(EXTERNAL) == wish.external
            && attributes_suit(instance, definition)
            && constraints.iter().all(|query| query.holds(instance, &world.state))
            && !(distinct && has_one());
        if !suits {
            continue;
        }
        match lacks(world, instance, definition) {
            None => candidates.push(instance.arn.clone()),
            Some(what) => closest = Some((instance.arn.clone(), what)),
        }
    }
    if candidates.is_empty() {
        return Err(NoPlace { closest });
    }
    let by_default =
        [("spread".to_owned(), "attribute:ecs.availability-zone".to_owned()), ("default".to_owned(), String::new())];
    // Standalone tasks are spread at random by default [developer guide of 2023, scheduling_tasks].
    let is_service = wish.group.starts_with("service:");
    let strategies = if wish.strategy.is_empty() && is_service { &by_default[..] } else { wish.strategy };
    for (kind, field) in strategies {
        candidates = prefer(world, wish, definition, kind, field, candidates);
    }
    let index = break_tie(world, &candidates);
    Ok(candidates.swap_remove(index))
}

/// Which of those that are left after the last strategy.
fn break_tie(world: &mut World, candidates: &[String]) -> usize {
    let last = candidates.len() - 1;
    let free = |arn: &String| i64::from(world.free(&world.state.instances[arn]).1);
    let tasks = |arn: &String| world.state.instance_tasks(arn).filter(|task| task.wanted).count();
    let registered = |arn: &String| world.state.instances[arn].registered_at;
    let numbered = || candidates.iter().enumerate();
    let found = match world.options.behaviour.get("ties") {
        "first" => Some(0),
        "last" => Some(last),
        "most-free-memory" => numbered().min_by_key(|(_, arn)| -free(arn)).map(|(index, _)| index),
        "fewest-tasks" => numbered().min_by_key(|(_, arn)| tasks(arn)).map(|(index, _)| index),
        "oldest" => numbered().min_by_key(|(_, arn)| registered(arn)).map(|(index, _)| index),
        "fullest" => numbered().min_by_key(|(_, arn)| free(arn)).map(|(index, _)| index),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let chosen = world.between(0, i64::try_from(last).unwrap_or(0));
        usize::try_from(chosen).unwrap_or(0)
    })
}

/// The tasks of a group that are not STOPPED.
fn tasks_of<'a>(world: &'a World, group: &str) -> Vec<&'a Task> {
    if let Some(service) = group.strip_prefix("service:") {
        return world.state.service_tasks(service).collect();
    }
    let tasks = world.state.tasks.values();
    tasks.filter(|task| task.group == group && task.status != Status::Stopped).collect()
}

/// The capacity provider of the next task: first each one's base, then by weight; the earlier of equal ones.
/// [API, CapacityProviderStrategyItem]
fn next_provider<'a>(world: &World, wish: &Wish<'a>) -> Option<&'a str> {
    if wish.providers.len() < 2 {
        return wish.providers.first().map(|(name, ..)| name.as_str());
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for task in tasks_of(world, wish.group).into_iter().filter(|task| task.wanted) {
        *counts.entry(task.capacity_provider.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let below_base = wish.providers.iter().find(|(name, _, base)| count(name) < u64::from(*base));
    // Fullness beyond the base is tasks ÷ weight, compared without dividing.
    let beyond = |(name, _, base): &(String, u32, u32)| count(name) - u64::from(*base).min(count(name));
    let by_weight = || {
        let weighted = wish.providers.iter().filter(|(_, weight, _)| *weight > 0);
        weighted.min_by(|one, other| (beyond(one) * u64::from(other.1)).cmp(&(beyond(other) * u64::from(one.1))))
    };
    below_base.or_else(by_weight).or(wish.providers.first()).map(|(name, ..)| name.as_str())
}

/// The best of the candidates by one strategy.
fn prefer(
    world: &World,
    wish: &Wish<'_>,
    definition: &Definition,
    kind: &str,
    field: &str,
    candidates: Vec<String>,
) -> Vec<String> {
    let behaviour = world.options.behaviour.get("default-strategy");
    match (kind, field, behaviour) {
        ("spread", ..) | ("default", _, "fewest" | "most") => {
            let field = if kind == "default" { "instanceId" } else { field };
            let counts = counts(world, wish, field);
            let key = |arn: &String| {
                let instance = &world.state.instances[arn];
                let count = i64::from(counts.get(domain(instance, field)).copied().unwrap_or(0));
                if kind == "default" && behaviour == "most" { -count } else { count }
            };
            best(candidates, key)
        }
        ("binpack", field, _) => best(candidates, |arn| {
            let (cpu, memory) = world.free(&world.state.instances[arn]);
            if field.eq_ignore_ascii_case("cpu") {
                i64::from(cpu) - i64::from(definition.cpu)
            } else {
                i64::from(memory) - i64::from(definition.memory)
            }
        }),
        _ => candidates,
    }
}

fn best(candidates: Vec<String>, key: impl Fn(&String) -> i64) -> Vec<String> {
    let lowest = candidates.iter().map(&key).min();
    candidates.into_iter().filter(|candidate| Some(key(candidate)) == lowest).collect()
}

/// The group's tasks by domain.
fn counts<'a>(world: &'a World, wish: &Wish<'_>, field: &str) -> BTreeMap<&'a str, u32> {
    let behaviour = world.options.behaviour.get("spread-counts");
    let counts_it = |task: &&Task| match behaviour {
        "stopping-too" => true,
        "own-revision" => task.wanted && task.started_by == wish.started_by,
        _ => task.wanted,
    };
    let mut counts = BTreeMap::new();
    // Whether tasks of other capacity providers count is another question.
    let provider = match world.options.behaviour.get("spread-across-providers") {
        "own" => next_provider(world, wish),
        _ => None,
    };
    let is_of_it = |task: &&Task| provider.is_none_or(|name| task.capacity_provider.as_deref() == Some(name));
    for task in tasks_of(world, wish.group).into_iter().filter(counts_it).filter(is_of_it) {
        if let Some(instance) = task.instance.as_ref().and_then(|arn| world.state.instances.get(arn)) {
            *counts.entry(domain(instance, field)).or_default() += 1;
        }
    }
    counts
}

/// The domain of a field that an instance is in.
pub(crate) fn domain<'a>(instance: &'a Instance, field: &str) -> &'a str {
    match field.strip_prefix("attribute:") {
        None => &instance.arn,
        Some(name) => instance.attributes.get(name).and_then(Option::as_deref).unwrap_or(""),
    }
}

pub(crate) fn zone_of(instance: &Instance) -> &str {
    domain(instance, "attribute:ecs.availability-zone")
}

fn attributes_suit(instance: &Instance, definition: &Definition) -> bool {
    definition.required_attributes.iter().all(|(name, value)| match (instance.attributes.get(name), value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(has), asked) => has == asked,
    })
}

/// What is short on an instance.
fn lacks(world: &World, instance: &Instance, definition: &Definition) -> Option<Short> {
    let (cpu, memory) = world.free(instance);
    if cpu < definition.cpu {
        return Some(Short::Cpu);
    }
    if memory < definition.memory {
        return Some(Short::Memory);
    }
    let counts_stopping = world.stopping_counts();
    let there = || world.state.instance_tasks(&instance.arn).filter(move |task| task.wanted || counts_stopping);
    let gpus = instance.other_gpus.len() + there().map(|task| task.gpus.len()).sum::<usize>();
    let shares = |task: &Task| world.state.definitions.get(&task.definition).is_some_and(|it| it.gpus == Gpus::Shared);
    let left = instance.gpus.len().saturating_sub(gpus);
    // Those that share do so on one that nobody has for itself.
    let left_alone = left.saturating_sub(usize::from(there().any(shares)));
    let has_gpus = match definition.gpus {
        Gpus::Number(number) => number as usize <= left_alone,
        Gpus::All => left_alone > 0 && left_alone == instance.gpus.len(),
        Gpus::Shared => left > 0,
        Gpus::OtherDevices => false,
    };
    if !has_gpus {
        return Some(Short::Gpus);
    }
    let taken = |port: &u16| {
        instance.ports.contains(port)
            || there().any(|task| {
                world.state.definitions.get(&task.definition).is_some_and(|other| other.ports.contains(port))
            })
    };
    let taken_udp = |port: &u16| {
        instance.udp_ports.contains(port)
            || there().any(|task| {
                world.state.definitions.get(&task.definition).is_some_and(|other| other.udp_ports.contains(port))
            })
    };
    if definition.ports.iter().any(taken) || definition.udp_ports.iter().any(taken_udp) {
        return Some(Short::Ports);
    }
    if definition.awsvpc {
        let limit = network::most_interfaces(instance);
        let interfaces = there()
            .filter(|task| world.state.definitions.get(&task.definition).is_some_and(|other| other.awsvpc))
            .count();
        if interfaces >= limit {
            return Some(Short::Interfaces);
        }
    }
    None
}
