//! Clusters as large as wanted, up to ECS's quotas.

use std::fmt::Write;

use ecs_rebalancer::planning::model::Cluster;

use crate::testing;

/// A cluster of so many container instances in three zones, a service for each, and twenty tasks a service.
///
/// Of so many instances one holds tasks: with two of three that came back empty services are uneven in earnest. Each instance
/// has room for so many more tasks; without any, a batch job's task fills the empty ones.
pub(crate) fn fleet(instances: usize, one_of: usize, room: usize) -> Cluster {
    let batch = if room == 0 { " batch" } else { "" };
    drawn(instances, one_of, batch, &|tasks| tasks + batch.len().min(1) + room)
}

/// The same, where `size` says how many tasks an instance has room for in all, by those that it holds.
pub(crate) fn drawn(instances: usize, one_of: usize, batch: &str, size: &dyn Fn(usize) -> usize) -> Cluster {
    let mut tasks = vec![String::new(); instances];
    let mut chance = 1_u64;
    for number in 0..instances * 20 {
        // Knuth's linear congruential generator: the same numbers in every run.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chosen = usize::try_from(chance >> 33).unwrap_or_default() % instances;
        let _ = write!(tasks[chosen / one_of * one_of], " service-{}", number / 20);
    }
    let mut drawing = "service batch strategy=random\n".to_owned();
    for (number, tasks) in tasks.iter().enumerate() {
        let zone = ["a", "b", "c"][number % 3];
        let size = size(tasks.split_whitespace().count());
        let (cpu, memory) = (size * 256, size * 512);
        let trunk = format!("attr.ecs.awsvpc-trunk-id=trunk-{number:05}");
        let _ = writeln!(drawing, "{zone} i-{number:05} type=m5.large {trunk} cpu={cpu} memory={memory}{tasks}{batch}");
    }
    testing::cluster(&drawing)
}
