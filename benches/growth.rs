//! How what a plan costs grows with the cluster: one plan of one mode, in a process of its own, so that its instructions can be
//! counted. `growth MODE FLEET INSTANCES [MOVES]` plans once, at most so many moves, and prints one JSON object; with 0 moves it only
//! draws the cluster, whose cost is to be taken off. Without arguments all of them are planned, one after another.

use std::{env, fmt::Write, process::Command, time::Instant};

use ecs_rebalancer::planning::{
    imbalance::measure,
    model::Cluster,
    planner::plan,
    policy::{Mode, Percent, Policy},
};
use serde_json::json;

#[path = "../src/planning"]
mod planning {
    pub(crate) use ecs_rebalancer::planning::model;
    /// The builder of drawn clusters that the planner's own tests use.
    #[expect(clippy::unwrap_used, reason = "made for tests; a bench may fail by panicking")]
    pub(crate) mod testing;
}
use planning::testing::{self, NOW};

mod fleet;
#[path = "fleet/spread.rs"]
mod spread;
use spread::spread;

/// What is planned on which clusters of which sizes.
const PLANS: [(&str, &str, usize); 18] = [
    ("spread", "production", 0),
    ("spread", "one-service", 1_000),
    ("spread", "wide", 1_000),
    ("spread", "wide", 5_000),
    ("spread", "uniform", 1_000),
    ("spread", "uniform", 5_000),
    ("levelled", "production", 0),
    ("levelled", "idle", 1_000),
    ("levelled", "idle", 5_000),
    ("steered", "production", 0),
    ("steered", "wide", 1_000),
    ("steered", "wide", 5_000),
    ("machines", "production", 0),
    ("machines", "wide", 1_000),
    ("machines", "wide", 5_000),
    ("consolidate", "production", 0),
    ("consolidate", "wide", 1_000),
    ("consolidate", "wide", 5_000),
];

fn main() {
    let asked: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [mode, fleet, instances, rest @ ..] = asked.as_slice() {
        let most = rest.first().map_or(u32::MAX, |most| most.parse().expect("a number of moves"));
        return print(mode, fleet, instances.parse().expect("a number of instances"), most);
    }
    let itself = env::current_exe().expect("a program knows its path");
    for (mode, fleet, instances) in PLANS {
        let status = Command::new(&itself).args([mode, fleet, &instances.to_string()]).status().expect("it starts");
        assert!(status.success(), "{mode} {fleet} {instances}: {status}");
    }
}

fn drawn(mode: &str, fleet: &str, instances: usize) -> Cluster {
    // Two of three instances came back empty, so that services are uneven in earnest; to consolidate, all are in use.
    let one_of = if mode == "consolidate" { 1 } else { 3 };
    match fleet {
        "wide" => fleet::fleet(instances, one_of, 20),
        "uniform" => uniform(instances, one_of),
        // Three of four instances came back empty, in all zones: once services are spread, the load isn't even. Where a plan's limits
        // left no moves to levelling, levelling wouldn't be measured.
        "idle" => spread(fleet::drawn(instances, 4, "", &|_| 140), &spreading()),
        "one-service" => one_service(instances, 5),
        "production" => testing::production().expect("the snapshot is beside the project"),
        other => panic!("no fleet is called {other}"),
    }
}

/// A plan that spreads each service, and levels nothing.
fn spreading() -> Policy {
    Policy {
        threshold: Percent::from_hundredths(0),
        load_threshold: Percent::from_hundredths(10_000),
        max_moves: u32::MAX,
        max_services: u32::MAX,
        ..Policy::default()
    }
}

/// As `fleet`, with container instances that are all of one size, as those of one Auto Scaling group.
fn uniform(instances: usize, one_of: usize) -> Cluster {
    fleet::drawn(instances, one_of, "", &|_| 140)
}

/// One service of so many tasks an instance, all of them in the first of two zones.
fn one_service(instances: usize, tasks_each: usize) -> Cluster {
    let mut drawing = String::new();
    for number in 0..instances {
        let (zone, tasks) = if number % 2 == 0 { ("a", " web".repeat(tasks_each * 2)) } else { ("b", String::new()) };
        let _ = writeln!(drawing, "{zone} i-{number:05} cpu=65536 memory=131072{tasks}");
    }
    testing::cluster(&drawing)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time that passes")]
fn print(mode: &str, fleet: &str, instances: usize, most: u32) {
    let cluster = drawn(mode, fleet, instances);
    let policy = Policy {
        mode: if mode == "consolidate" { Mode::Consolidate } else { Mode::Spread },
        steer: !matches!(mode, "spread" | "levelled"),
        threshold: Percent::from_hundredths(0),
        load_threshold: match (mode, fleet) {
            ("machines" | "levelled", "production") => Policy::default().load_threshold,
            ("machines" | "levelled", _) => Percent::from_hundredths(500),
            _ => Percent::from_hundredths(10_000),
        },
        max_moves: most,
        max_services: u32::MAX,
        ..Policy::default()
    };
    if most == 0 {
        return;
    }
    let began = Instant::now();
    let moves = if mode == "machines" {
        let moves = ecs_rebalancer::planning::levelling::steered_moves(&cluster, &policy, NOW);
        moves.iter().map(|(_, moves)| moves.len()).sum()
    } else {
        plan(&cluster, &measure(&cluster, &policy, NOW), &policy, NOW).moves().count()
    };
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    let tasks = cluster.tasks.len();
    println!(
        "{}",
        json!({"mode": mode, "fleet": fleet, "instances": instances, "tasks": tasks, "moves": moves, "milliseconds": milliseconds})
    );
}
