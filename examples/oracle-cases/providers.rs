//! Clusters with one service that is shared out over one to four capacity providers, and the measure of each.

use std::{fmt::Write, sync::Arc};

use ecs_rebalancer::planning::{imbalance::measure, model::ProviderShare, policy::Policy};
use serde_json::json;

use crate::{chance::Chance, testing};

const CASES: u64 = 1_000;

/// Prints them all.
pub(crate) fn print() {
    for seed in 0..CASES {
        let chance = &mut Chance(seed);
        let providers = 1 + chance.below(4);
        let drawing = drawing(chance, providers);
        let mut cluster = testing::cluster(&drawing);
        for task in cluster.tasks.values_mut() {
            let instance = task.container_instance.as_ref().and_then(|arn| cluster.container_instances.get(arn));
            Arc::make_mut(task).capacity_provider = instance.and_then(|it| it.capacity_provider.clone());
        }
        for service in cluster.services.values_mut() {
            let share = |number: u64| ProviderShare {
                provider: format!("p{number}"),
                base: u32::from(number == 0) * 2,
                weight: 1,
            };
            service.capacity_provider_strategy = (0..providers).map(share).collect();
        }
        let measure = measure(&cluster, &Policy::default(), testing::NOW);
        println!("{}", json!({ "seed": seed, "drawing": drawing, "misplaced": measure.misplaced_tasks }));
    }
}

/// One service on up to a dozen instances in up to 3 zones, each of one provider; some are full.
fn drawing(chance: &mut Chance, providers: u64) -> String {
    let mut drawing = String::new();
    let zones = 1 + chance.index(3);
    for number in 0..=1 + chance.below(11) {
        let zone = ["a", "b", "c"][chance.index(zones)];
        let tasks = if chance.below(2) == 0 { chance.below(4) } else { 0 };
        let size = (tasks + chance.below(4)).max(1);
        let drawn = " web".repeat(usize::try_from(tasks).unwrap_or_default());
        let provider = chance.below(providers);
        let _ = writeln!(drawing, "{zone} i-{number}{drawn} cpu={} provider=p{provider}", size * 256);
    }
    let strategy = [
        "spread:attribute:ecs.availability-zone,spread:instanceId",
        "spread:instanceId",
        "spread:attribute:ecs.availability-zone",
    ][chance.index(3)];
    let _ = writeln!(drawing, "service web strategy={strategy}");
    drawing
}
