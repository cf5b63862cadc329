//! Where a task goes: instances that fit, that meet the constraints, that meet the strategies, then one of them.
//! [ECS developer guide, "How Amazon ECS places tasks on container instances"]

use std::collections::BTreeMap;

use crate::{
    engine::Engine,
    query::Query,
    state::{Definition, Instance, Status, Task},
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

/// Chooses an instance for the next task.
pub(crate) fn choose(engine: &mut Engine, wish: &Wish<'_>, definition: &Definition) -> Result<String, NoPlace> {
    let constraints: Vec<Query> = wish
        .constraints
        .iter()
        .filter(|(kind, _)| kind == "memberOf")
        .map(|(_, expression)| expression)
        .chain(&definition.constraints)
        .filter_map(|expression| Query::parse(expression).ok())
        .collect();
    let distinct = wish.constraints.iter().any(|(kind, _)| kind == "distinctInstance");
    let provider = next_provider(engine, wish);
    let mut closest = None;
    let mut candidates: Vec<String> = Vec::new();
    for instance in engine.state.instances.values() {
        if instance.status != "ACTIVE" || !instance.agent_connected {
            continue;
        }
        let has_one = || engine.state.instance_tasks(&instance.arn).any(|task| task.wanted && task.group == wish.group);
        let suits = provider.is_none_or(|provider| instance.capacity_provider.as_deref() == Some(provider))
            && wish.zone.is_none_or(|zone| zone_of(instance) == zone)
            && attributes_suit(instance, definition)
            && constraints.iter().all(|query| query.holds(instance, &engine.state))
            && !(distinct && has_one());
        if !suits {
            continue;
        }
        match lacks(engine, instance, definition) {
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
        candidates = prefer(engine, wish, definition, kind, field, candidates);
    }
    let last = candidates.len() - 1;
    let index = match engine.options.behaviour.get("ties") {
        "first" => 0,
        "last" => last,
        _ => usize::try_from(engine.between(0, i64::try_from(last).unwrap_or(0))).unwrap_or(0),
    };
    Ok(candidates.swap_remove(index))
}

/// The tasks of a group that are not STOPPED.
fn tasks_of<'a>(engine: &'a Engine, group: &str) -> Vec<&'a Task> {
    if let Some(service) = group.strip_prefix("service:") {
        return engine.state.service_tasks(service).collect();
    }
    let tasks = engine.state.tasks.values();
    tasks.filter(|task| task.group == group && task.status != Status::Stopped).collect()
}

/// The capacity provider of the next task: first each one's base, then by weight; the earlier of equal ones.
/// [API, CapacityProviderStrategyItem]
fn next_provider<'a>(engine: &Engine, wish: &Wish<'a>) -> Option<&'a str> {
    if wish.providers.len() < 2 {
        return wish.providers.first().map(|(name, ..)| name.as_str());
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for task in tasks_of(engine, wish.group).into_iter().filter(|task| task.wanted) {
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
    engine: &Engine,
    wish: &Wish<'_>,
    definition: &Definition,
    kind: &str,
    field: &str,
    candidates: Vec<String>,
) -> Vec<String> {
    let behaviour = engine.options.behaviour.get("default-strategy");
    match (kind, field, behaviour) {
        ("spread", ..) | ("default", _, "fewest" | "most") => {
            let field = if kind == "default" { "instanceId" } else { field };
            let counts = counts(engine, wish, field);
            let key = |arn: &String| {
                let instance = &engine.state.instances[arn];
                let count = i64::from(counts.get(domain(instance, field)).copied().unwrap_or(0));
                if kind == "default" && behaviour == "most" { -count } else { count }
            };
            best(candidates, key)
        }
        ("binpack", field, _) => best(candidates, |arn| {
            let (cpu, memory) = engine.free(&engine.state.instances[arn]);
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
fn counts<'a>(engine: &'a Engine, wish: &Wish<'_>, field: &str) -> BTreeMap<&'a str, u32> {
    let behaviour = engine.options.behaviour.get("spread-counts");
    let counts_it = |task: &&Task| match behaviour {
        "stopping-too" => true,
        "own-revision" => task.wanted && task.started_by == wish.started_by,
        _ => task.wanted,
    };
    let mut counts = BTreeMap::new();
    for task in tasks_of(engine, wish.group).into_iter().filter(counts_it) {
        if let Some(instance) = task.instance.as_ref().and_then(|arn| engine.state.instances.get(arn)) {
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
fn lacks(engine: &Engine, instance: &Instance, definition: &Definition) -> Option<Short> {
    let (cpu, memory) = engine.free(instance);
    if cpu < definition.cpu {
        return Some(Short::Cpu);
    }
    if memory < definition.memory {
        return Some(Short::Memory);
    }
    let counts_stopping = engine.stopping_counts();
    let there = || engine.state.instance_tasks(&instance.arn).filter(move |task| task.wanted || counts_stopping);
    let gpus = instance.other_gpus.len() + there().map(|task| task.gpus.len()).sum::<usize>();
    if instance.gpus.len() < gpus + definition.gpus as usize {
        return Some(Short::Gpus);
    }
    let taken = |port: &u16| {
        instance.ports.contains(port)
            || there().any(|task| {
                engine.state.definitions.get(&task.definition).is_some_and(|other| other.ports.contains(port))
            })
    };
    let taken_udp = |port: &u16| {
        instance.udp_ports.contains(port)
            || there().any(|task| {
                engine.state.definitions.get(&task.definition).is_some_and(|other| other.udp_ports.contains(port))
            })
    };
    if definition.ports.iter().any(taken) || definition.udp_ports.iter().any(taken_udp) {
        return Some(Short::Ports);
    }
    if definition.awsvpc {
        let limit = if instance.attributes.contains_key("ecs.awsvpc-trunk-id") { 60 } else { 3 };
        let interfaces = there()
            .filter(|task| engine.state.definitions.get(&task.definition).is_some_and(|other| other.awsvpc))
            .count();
        if interfaces >= limit {
            return Some(Short::Interfaces);
        }
    }
    None
}
