//! The most memory that a process has in use while it plans at ECS's quotas: 5,000 container instances, 5,000 services, and
//! 100,000 tasks. Each plan is made in a process of its own, within a run's usual limits, or, as `peak PLAN unlimited`, without;
//! one JSON object a line.

use std::{env, fs, process::Command, time::Instant};

use ecs_rebalancer::planning::{
    consolidate::consolidation,
    imbalance::measure,
    levelling,
    planner::plan,
    policy::{Mode, Percent, Policy},
};
use serde_json::json;

#[path = "../src/planning"]
mod planning {
    pub(crate) use ecs_rebalancer::planning::model;
    /// The builder of drawn clusters that the planner's own tests use.
    #[expect(
        clippy::unwrap_used,
        dead_code,
        reason = "made for tests, which need more of it; a bench may fail by panicking"
    )]
    pub(crate) mod testing;
}
use planning::testing::{self, NOW};

mod fleet;
use fleet::fleet;

const INSTANCES: usize = 5_000;
const PLANS: [&str; 3] = ["spread", "machines", "consolidate"];

fn main() {
    let asked = env::args().nth(1).unwrap_or_default();
    if PLANS.contains(&asked.as_str()) {
        return print(&asked);
    }
    let itself = env::current_exe().expect("a program knows its path");
    for plan in PLANS {
        let status = Command::new(&itself).arg(plan).status().expect("it starts");
        assert!(status.success(), "{plan}: {status}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time that passes")]
fn print(what: &str) {
    // Two of three instances came back empty; to consolidate, all are in use.
    let cluster = fleet(INSTANCES, if what == "consolidate" { 1 } else { 3 }, 20);
    let policy = Policy {
        mode: if what == "consolidate" { Mode::Consolidate } else { Mode::Spread },
        steer: what != "spread",
        threshold: Percent::from_hundredths(0),
        ..Policy::default()
    };
    let policy = if env::args().nth(2).as_deref() == Some("unlimited") {
        Policy { max_moves: u32::MAX, max_services: u32::MAX, ..policy }
    } else {
        policy
    };
    // What drawing the cluster took is not the plan's; the cluster itself is part of both.
    fs::write("/proc/self/clear_refs", "5").expect("Linux forgets the peak so far");
    let cluster_bytes = bytes("VmRSS");
    let began = Instant::now();
    let moves: usize = match what {
        "consolidate" => consolidation(&cluster, &policy, NOW).freed.iter().map(|freed| freed.moves.len()).sum(),
        "machines" => levelling::steered_moves(&cluster, &policy, NOW).iter().map(|(_, moves)| moves.len()).sum(),
        _ => plan(&cluster, &measure(&cluster, &policy, NOW), &policy, NOW).moves().count(),
    };
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "plan": what,
            "tasks": cluster.tasks.len(),
            "moves": moves,
            "seconds": seconds,
            "cluster_bytes": cluster_bytes,
            "peak_bytes": bytes("VmHWM"),
        })
    );
}

/// One of the figures that Linux keeps of this process.
fn bytes(figure: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with(figure)).expect("it is there");
    let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kibibytes.expect("it is a number") * 1024
}
