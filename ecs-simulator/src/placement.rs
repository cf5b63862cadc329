//! Where a task goes: instances that fit, that meet the constraints, that meet the strategies, then one of them.
//! [ECS developer guide, "How Amazon ECS places tasks on container instances"]

use std::collections::BTreeMap;

use crate::{
    engine::Engine,
    query::Query,
    state::{Definition, Instance, Service, Task},
};

/// Chooses an instance for the next task of a service, or says why there is none, in ECS's words.
pub(crate) fn choose(
    engine: &mut Engine,
    service: &Service,
    definition: &Definition,
    zone: Option<&str>,
) -> Result<String, String> {
    let name = &service.name;
    let constraints: Vec<Query> = service
        .placement_constraints
        .iter()
        .filter(|(kind, _)| kind == "memberOf")
        .map(|(_, expression)| expression)
        .chain(&definition.constraints)
        .filter_map(|expression| Query::parse(expression).ok())
        .collect();
    let distinct = service.placement_constraints.iter().any(|(kind, _)| kind == "distinctInstance");
    let provider = next_provider(engine, service);
    let mut closest = None;
    let mut candidates: Vec<&Instance> = Vec::new();
    for instance in engine.state.instances.values() {
        if instance.status != "ACTIVE" || !instance.agent_connected {
            continue;
        }
        let suits = provider.is_none_or(|provider| instance.capacity_provider.as_deref() == Some(provider))
            && zone.is_none_or(|zone| zone_of(instance) == zone)
            && attributes_suit(instance, definition)
            && constraints.iter().all(|query| query.holds(instance, &engine.state))
            && !(distinct
                && engine
                    .state
                    .instance_tasks(&instance.arn)
                    .any(|task| task.wanted && task.service.as_deref() == Some(name)));
        if !suits {
            continue;
        }
        match lacks(engine, instance, definition) {
            None => candidates.push(instance),
            Some(what) => closest = Some((instance.arn.clone(), what)),
        }
    }
    let mut candidates: Vec<String> = candidates.into_iter().map(|instance| instance.arn.clone()).collect();
    if candidates.is_empty() {
        let reason = match closest {
            Some((arn, what)) => format!(
                "no container instance met all of its requirements. The closest matching (container-instance {}) {what}",
                arn.rsplit('/').next().unwrap_or_default()
            ),
            None => "no container instance met all of its requirements".to_owned(),
        };
        return Err(format!("(service {name}) was unable to place a task because {reason}."));
    }
    let by_default =
        [("spread".to_owned(), "attribute:ecs.availability-zone".to_owned()), ("default".to_owned(), String::new())];
    let strategies =
        if service.placement_strategy.is_empty() { &by_default[..] } else { &service.placement_strategy[..] };
    for (kind, field) in strategies {
        candidates = prefer(engine, service, definition, kind, field, candidates);
    }
    let last = candidates.len() - 1;
    let index = match engine.options.behaviour.get("ties") {
        "first" => 0,
        "last" => last,
        _ => usize::try_from(engine.between(0, i64::try_from(last).unwrap_or(0))).unwrap_or(0),
    };
    Ok(candidates.swap_remove(index))
}

/// The capacity provider of the next task: first each one's base, then by weight; the earlier of equal ones.
/// [API, CapacityProviderStrategyItem]
fn next_provider<'a>(engine: &Engine, service: &'a Service) -> Option<&'a str> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for task in engine.state.service_tasks(&service.name).filter(|task| task.wanted) {
        *counts.entry(task.capacity_provider.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let strategy = &service.capacity_provider_strategy;
    let below_base = strategy.iter().find(|(name, _, base)| count(name) < u64::from(*base));
    // Fullness beyond the base is tasks ÷ weight, compared without dividing.
    let beyond = |(name, _, base): &(String, u32, u32)| count(name) - u64::from(*base).min(count(name));
    let by_weight = || {
        let weighted = strategy.iter().filter(|(_, weight, _)| *weight > 0);
        weighted.min_by(|one, other| (beyond(one) * u64::from(other.1)).cmp(&(beyond(other) * u64::from(one.1))))
    };
    below_base.or_else(by_weight).or(strategy.first()).map(|(name, ..)| name.as_str())
}

/// The best of the candidates by one strategy.
fn prefer(
    engine: &Engine,
    service: &Service,
    definition: &Definition,
    kind: &str,
    field: &str,
    candidates: Vec<String>,
) -> Vec<String> {
    let behaviour = engine.options.behaviour.get("default-strategy");
    match (kind, field, behaviour) {
        ("spread", ..) | ("default", _, "fewest" | "most") => {
            let field = if kind == "default" { "instanceId" } else { field };
            let counts = counts(engine, service, field);
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

/// The service's tasks by domain.
fn counts<'a>(engine: &'a Engine, service: &Service, field: &str) -> BTreeMap<&'a str, u32> {
    let behaviour = engine.options.behaviour.get("spread-counts");
    let newest = service.deployments.first().map_or("", |deployment| deployment.id.as_str());
    let counts_it = |task: &&Task| match behaviour {
        "stopping-too" => true,
        "own-revision" => task.wanted && task.started_by == newest,
        _ => task.wanted,
    };
    let mut counts = BTreeMap::new();
    for task in engine.state.service_tasks(&service.name).filter(counts_it) {
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

/// What is short on an instance, in ECS's words.
fn lacks(engine: &Engine, instance: &Instance, definition: &Definition) -> Option<&'static str> {
    let (cpu, memory) = engine.free(instance);
    if cpu < definition.cpu {
        return Some("has insufficient CPU units available");
    }
    if memory < definition.memory {
        return Some("has insufficient memory available");
    }
    let counts_stopping = engine.stopping_counts();
    let there = || engine.state.instance_tasks(&instance.arn).filter(move |task| task.wanted || counts_stopping);
    let gpus = instance.other_gpus.len() + there().map(|task| task.gpus.len()).sum::<usize>();
    if instance.gpus.len() < gpus + definition.gpus as usize {
        return Some("has insufficient GPU resource available");
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
        return Some("is already using a port required by your task");
    }
    if definition.awsvpc {
        let limit = if instance.attributes.contains_key("ecs.awsvpc-trunk-id") { 60 } else { 3 };
        let interfaces = there()
            .filter(|task| engine.state.definitions.get(&task.definition).is_some_and(|other| other.awsvpc))
            .count();
        if interfaces >= limit {
            return Some("encountered error \"RESOURCE:ENI\"");
        }
    }
    None
}
