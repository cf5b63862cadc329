//! The clusters of [`crate::machines`], on each of which the job is played without steering: where its tasks are in the end.

use std::collections::BTreeMap;

use ecs_rebalancer::{
    config::Config,
    planning::{
        imbalance::measure,
        policy::{Percent, Policy},
    },
    rehearsal::{Rehearsal, in_simulated_time},
    report::Report,
};
use ecs_simulator::{Options, behaviour::Behaviour, drawing::Drawing, faults::Faults, snapshot::Snapshot};
use serde_json::json;

use crate::{chance::Chance, machines, testing};

const CLUSTER: &str = "drawn";

/// Prints so many: each drawing with the threshold, how many tasks moved and how many were started in vain, and the tasks of
/// each container instance afterwards.
pub(crate) fn print(most: usize) {
    let mut cases = 0;
    for seed in 0.. {
        if cases == most {
            break;
        }
        let mut chance = Chance(seed);
        let drawing = machines::drawing(&mut chance);
        let threshold_percent = machines::threshold_percent(&mut chance);
        let policy = Policy { load_threshold: Percent::from_hundredths(threshold_percent * 100), ..Policy::default() };
        let found = measure(&testing::cluster(&drawing), &policy, testing::NOW);
        // A service that is being deployed can be drawn for the planner alone.
        let can_be_played = !drawing.contains(" pending=");
        if !can_be_played || found.misplaced_tasks > 0 || !found.load_imbalance.reaches(policy.load_threshold) {
            continue;
        }
        cases += 1;
        let (report, after) = played(seed, &drawing, threshold_percent);
        println!(
            "{}",
            json!({
                "seed": seed, "threshold_percent": threshold_percent, "drawing": drawing,
                "moves": report.moved(), "starts_in_vain": report.starts_in_vain, "after": after,
            })
        );
    }
}

/// A run whose limits are lifted, and each container instance with its tasks' services.
fn played(seed: u64, drawing: &str, threshold_percent: u32) -> (Report, BTreeMap<String, Vec<String>>) {
    let settings = [
        ("CLUSTER", CLUSTER),
        ("LOAD_THRESHOLD", &threshold_percent.to_string()),
        ("MAX_MOVES", "10000"),
        ("MAX_SERVICES", "1000"),
        ("DEADLINE", "12h"),
    ];
    let settings = settings.map(|(name, value)| (format!("REBALANCER_{name}").into(), value.into()));
    let config = Config::from_variables(settings).expect("the settings are right");
    let drawing = Drawing::parse(&as_the_simulator_writes_it(drawing)).expect("it is a drawing");
    let snapshot = Snapshot::from_drawing(CLUSTER, &drawing).expect("it is a cluster");
    let options = Options { seed, behaviour: Behaviour::default(), faults: Faults::default() };
    let played = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, options).expect("the cluster can be played");
        let report = rehearsal.run(&config, CLUSTER, "run-1").await;
        let simulator = rehearsal.simulator();
        let mut after: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in simulator.service_names() {
            for instance in simulator.service(&name).iter().flat_map(|service| service.tasks.values()) {
                let instance = instance.rsplit('/').next().unwrap_or(instance);
                after.entry(instance.to_owned()).or_default().push(name.clone());
            }
        }
        (report, after)
    });
    played.expect("simulated time passes")
}

/// A drawing for the planner, as the simulator reads it: there a blank in a constraint is `+`, and between two stands `;`.
fn as_the_simulator_writes_it(drawing: &str) -> String {
    let of_word = |word: &str| match word.strip_prefix("constraint=") {
        Some(constraints) => format!("constraint={}", constraints.replace('_', "+").replace(',', ";")),
        None => word.to_owned(),
    };
    let of_line = |line: &str| line.split(' ').map(of_word).collect::<Vec<_>>().join(" ");
    drawing.lines().map(of_line).collect::<Vec<_>>().join("\n")
}
