//! The production fleet once every service is spread, as a drawing, and the job's moves that even out its machines.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use ecs_rebalancer::planning::{
    imbalance::measure,
    model::Cluster,
    planner::{Aim, plan},
    policy::{Percent, Policy},
    view,
};
use serde_json::json;

use crate::testing;

const THRESHOLD_PERCENT: u32 = 25;

/// Prints it, if its snapshot is there.
pub(crate) fn print() {
    let Some(mut cluster) = testing::production() else { return };
    let policy = Policy {
        steer: true,
        threshold: Percent::from_hundredths(0),
        load_threshold: Percent::from_hundredths(THRESHOLD_PERCENT * 100),
        max_moves: u32::MAX,
        max_services: u32::MAX,
        cooldown: Duration::ZERO,
        ..Policy::default()
    };
    let spread = plan(&cluster, &measure(&cluster, &policy, testing::NOW), &policy, testing::NOW);
    for (number, (_, a_move)) in spread.moves().enumerate() {
        view::relocate(&mut cluster, &a_move.task, &a_move.to, number);
    }
    let found = measure(&cluster, &policy, testing::NOW);
    let planned = plan(&cluster, &found, &policy, testing::NOW);
    assert!(planned.services.iter().all(|service| service.aim == Aim::Steered), "it is spread");
    let moves: Vec<_> = planned.moves().map(|(name, it)| (name.to_string(), it.from.short(), it.to.short())).collect();
    println!("{}", json!({ "threshold_percent": THRESHOLD_PERCENT, "drawing": drawing(&cluster), "moves": moves }));
}

/// What decides about its machines; every service is at ECS's default strategy.
fn drawing(cluster: &Cluster) -> String {
    let mut tasks_on: BTreeMap<&str, String> = BTreeMap::new();
    for task in cluster.tasks.values() {
        if let (Some(service), Some(instance)) = (&task.service, &task.container_instance) {
            let _ = write!(tasks_on.entry(instance.short()).or_default(), " {service}");
        }
    }
    let mut drawing = String::new();
    for instance in cluster.container_instances.values() {
        let zone = instance.attribute("ecs.availability-zone").unwrap_or("-");
        let tasks = tasks_on.get(instance.arn.short()).map_or("", String::as_str);
        let size = instance.registered;
        let _ = writeln!(
            drawing,
            "{zone} {}{tasks} cpu={} memory={} gpus={}",
            instance.arn.short(),
            size.cpu_units,
            size.memory_mib,
            size.gpus
        );
    }
    for service in cluster.services.values() {
        let Some(definition) = cluster.task_definitions.get(&service.task_definition) else { continue };
        let size = definition.reserves;
        let _ = writeln!(
            drawing,
            "service {} cpu={} memory={} gpus={}",
            service.name, size.cpu_units, size.memory_mib, size.gpus
        );
    }
    drawing
}
