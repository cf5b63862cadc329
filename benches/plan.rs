//! How long the measure and the plan take as clusters grow to ECS's quotas: 5,000 container instances, 5,000 services.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ecs_rebalancer::planning::{
    consolidate::consolidation,
    imbalance::{definitions_needed, measure},
    levelling,
    planner::plan,
    policy::{Mode, Percent, Policy},
};

#[path = "../src/planning"]
mod planning {
    pub(crate) use ecs_rebalancer::planning::model;
    /// The builder of drawn clusters that the planner's own tests use.
    #[expect(clippy::unwrap_used, reason = "made for tests; a bench may fail by panicking as well")]
    pub(crate) mod testing;
}
use planning::testing::{self, NOW};

mod fleet;
#[path = "fleet/spread.rs"]
mod spread;
use fleet::fleet;
use spread::spread;

fn fleets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fleet");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    let drawn = [10, 1_000, 5_000].map(|instances| (instances.to_string(), fleet(instances, 3, 100)));
    let full = ("5000-full".to_owned(), fleet(5_000, 3, 0));
    let production = testing::production().map(|cluster| ("production".to_owned(), cluster));
    for (name, cluster) in drawn.into_iter().chain([full]).chain(production) {
        let policy = Policy::default();
        let found = measure(&cluster, &policy, NOW);
        eprintln!(
            "{name}: {} instances, {} services, {} tasks, {} misplaced, {} stuck",
            cluster.container_instances.len(),
            cluster.services.len(),
            cluster.tasks.len(),
            found.misplaced_tasks,
            found.stuck_tasks
        );
        // Per task, so that what grows faster than the cluster shows.
        group.throughput(Throughput::Elements(cluster.tasks.len() as u64));
        group.bench_with_input(BenchmarkId::new("definitions_needed", &name), &cluster, |bencher, cluster| {
            bencher.iter(|| definitions_needed(black_box(cluster), &policy, NOW, usize::MAX));
        });
        group.bench_with_input(BenchmarkId::new("measure", &name), &cluster, |bencher, cluster| {
            bencher.iter(|| measure(black_box(cluster), &policy, NOW));
        });
        group.bench_with_input(BenchmarkId::new("plan", &name), &cluster, |bencher, cluster| {
            bencher.iter(|| plan(black_box(cluster), &found, &policy, NOW));
        });
        if name == "production" {
            let levelled = unlimited(&policy);
            let spread = Policy { load_threshold: Percent::from_hundredths(10_000), ..levelled.clone() };
            let steered = Policy { steer: true, ..spread.clone() };
            for (mode, policy) in [("spread", spread), ("steered", steered), ("levelled", levelled)] {
                group.bench_with_input(
                    BenchmarkId::new(format!("{mode}-unlimited"), &name),
                    &cluster,
                    |bencher, cluster| {
                        bencher.iter(|| plan(black_box(cluster), &found, &policy, NOW));
                    },
                );
            }
        }
    }
}

/// Without a run's limits, which keep the time that it takes to plan for a large cluster short.
fn unlimited(policy: &Policy) -> Policy {
    let threshold = Percent::from_hundredths(0);
    Policy { threshold, max_moves: u32::MAX, max_services: u32::MAX, ..policy.clone() }
}

/// The moves that even out machines: as many as one run makes unless it is told otherwise, and on the real fleet all.
fn machines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machines");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(3));
    let one_run = Policy { steer: true, ..Policy::default() };
    let unlimited = unlimited(&one_run);
    let drawn = [1_000, 5_000].map(|instances| (instances.to_string(), fleet(instances, 3, 100)));
    let production = testing::production().map(|cluster| ("production".to_owned(), spread(cluster, &unlimited)));
    for (name, cluster) in drawn.into_iter().chain(production) {
        for (limits, policy) in limits(&name, &one_run, &unlimited) {
            let moves = levelling::steered_moves(&cluster, policy, NOW);
            eprintln!("{name}, {limits}: {} moves", moves.iter().map(|(_, moves)| moves.len()).sum::<usize>());
            group.bench_with_input(BenchmarkId::new(limits, &name), &cluster, |bencher, cluster| {
                bencher.iter(|| levelling::steered_moves(black_box(cluster), policy, NOW));
            });
        }
    }
}

/// The instances that come free: as many as one run empties unless it is told otherwise, and on the real fleet all that can.
fn consolidate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("consolidate");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(3));
    let one_run = Policy { mode: Mode::Consolidate, steer: true, ..Policy::default() };
    let unlimited = unlimited(&one_run);
    let drawn = [1_000, 5_000].map(|instances| (instances.to_string(), fleet(instances, 1, 20)));
    let production = testing::production().map(|cluster| ("production".to_owned(), cluster));
    for (name, cluster) in drawn.into_iter().chain(production) {
        for (limits, policy) in limits(&name, &one_run, &unlimited) {
            let freed = consolidation(&cluster, policy, NOW).freed;
            let moves = freed.iter().map(|freed| freed.moves.len()).sum::<usize>();
            eprintln!("{name}, {limits}: {} instances come free by {moves} moves", freed.len());
            // Per task, so that what grows faster than the cluster shows.
            group.throughput(Throughput::Elements(cluster.tasks.len() as u64));
            group.bench_with_input(BenchmarkId::new(limits, &name), &cluster, |bencher, cluster| {
                bencher.iter(|| consolidation(black_box(cluster), policy, NOW));
            });
        }
    }
}

/// The limits that a cluster is planned with. `peak PLAN unlimited` plans once what takes too long to be planned again and again.
fn limits<'a>(name: &str, one_run: &'a Policy, unlimited: &'a Policy) -> Vec<(&'static str, &'a Policy)> {
    let mut limits = vec![("one-run", one_run)];
    if name == "production" {
        limits.push(("unlimited", unlimited));
    }
    limits
}

criterion_group!(benches, fleets, machines, consolidate);
criterion_main!(benches);
