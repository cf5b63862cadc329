//! Clusters as people have them, beside the project in `../shared/cases`: each with what its README says is right.

use std::{fs, path::Path};

use ecs_rebalancer::{
    config::{Clusters, Config},
    rehearsal::Rehearsal,
    report::{Report, ServiceReport},
};
use ecs_simulator::{behaviour::SWITCHES, snapshot::Snapshot};

use crate::support::{config, in_simulated_time, options};

/// A case's cluster; none where the folder is absent, which is said.
fn case(name: &str) -> Option<Snapshot> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases").join(name).with_extension("json");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return None;
    };
    Some(Snapshot::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error:#}")))
}

/// A run on a case as its README has it: never for the instances' load alone, unless that is said.
fn run_with(cluster: &Snapshot, settings: &str, behaviour: &[&str]) -> (Report, Rehearsal) {
    let load = if settings.contains("LOAD_THRESHOLD") { "" } else { " LOAD_THRESHOLD=100" };
    let name = cluster.cluster_name().to_owned();
    let config = Config { clusters: Clusters::Named(vec![name.clone()]), ..config(&format!("{settings}{load}")) };
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(cluster, options(1, behaviour, &[])).unwrap();
        let report = rehearsal.run(&config, &name, "run-1").await;
        (report, rehearsal)
    })
}

fn run(cluster: &Snapshot, settings: &str) -> (Report, Rehearsal) {
    run_with(cluster, settings, &[])
}

fn service<'a>(report: &'a Report, name: &str) -> &'a ServiceReport {
    report.services.iter().find(|service| service.name == name).unwrap_or_else(|| panic!("no service {name}"))
}

/// Misplaced and stuck before, moves planned, tasks started, errors, and why a service is left alone.
fn told(report: &Report, rehearsal: &Rehearsal, name: &str) -> String {
    let before = report.before.as_ref().unwrap();
    let started = rehearsal.simulator().timeline().tasks_started();
    let (misplaced, stuck, planned) = (before.misplaced_tasks, before.stuck_tasks, report.plan.len());
    let why = service(report, name).reason_code;
    format!("{misplaced} misplaced, {stuck} stuck, {planned} planned, {started} started, {:?} {why}", report.errors)
}

/// Runs a case, dry and in earnest under every value of every switch, and compares what is told each time.
#[track_caller]
fn check(name: &str, service: &str, settings: &str, expected: &str) {
    let Some(cluster) = case(name) else { return };
    let switches =
        SWITCHES.iter().flat_map(|switch| switch.values.iter().map(|value| format!("{}={value}", switch.name)));
    for switch in switches {
        let (report, rehearsal) = run_with(&cluster, settings, &[&switch]);
        assert_eq!(told(&report, &rehearsal, service), expected, "{name} with {switch}");
    }
}

#[test]
fn several_capacity_providers() {
    check("providers-zones-even", "web", "", "0 misplaced, 0 stuck, 0 planned, 0 started, [] ");
    let left_alone = "1 misplaced, 1 stuck, 0 planned, 0 started, [] several-providers";
    check("provider-weights", "web", "", left_alone);
    check("provider-base", "web", "", left_alone);
    let nowhere = "2 misplaced, 2 stuck, 0 planned, 0 started, [] several-providers";
    check("provider-without-instances", "web", "", nowhere);
    let Some(cluster) = case("provider-without-instances") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    let why = &service(&report, "web").reason;
    assert!(why.ends_with("a replacement would go to spot, which has no container instance that takes tasks"), "{why}");
}

#[test]
fn tasks_that_may_not_run_beside_another_or_whose_data_stay_behind() {
    check("maximum-100", "worker", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] at-maximum");
    for load in ["LOAD_THRESHOLD=100", "LOAD_THRESHOLD=0"] {
        let steered = format!("STEER=true {load}");
        let nothing = |why: &str| format!("0 misplaced, 0 stuck, 0 planned, 0 started, [] {why}");
        let (maximum, data) = if load == "LOAD_THRESHOLD=0" { ("at-maximum", "keeps-data") } else { ("", "") };
        check("never-two-singletons", "db0", &steered, &nothing(maximum));
        check("host-path-singletons", "db0", &steered, &nothing(data));
    }
}

#[test]
fn an_agent_that_reconnects_sets_nothing_off() {
    let Some(cluster) = case("agent-blip-8-services") else { return };
    let (report, rehearsal) = run(&cluster, "");
    assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 0);
    assert_eq!(rehearsal.simulator().timeline().tasks_started(), 0);
}

#[test]
fn where_a_task_may_go() {
    check("trunk-ten-of-ten", "web", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] no-room");
    let Some(cluster) = case("interfaces-shared-by-moves") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 3, "what it can never hold is no imbalance");
    assert_eq!(report.plan.len(), 3);
    let (report, _) = run(&cluster, "");
    assert_eq!((service(&report, "web").moved, report.after.as_ref().unwrap().misplaced_tasks), (3, 0));
    assert_eq!(report.errors, Vec::<String>::new());
}

#[test]
fn a_zone_rebalancing_that_is_over_holds_nobody_up() {
    for name in ["az-stopped", "az-now-disabled"] {
        let Some(cluster) = case(name) else { return };
        let (report, _) = run(&cluster, "");
        assert_eq!((report.before.as_ref().unwrap().misplaced_tasks, service(&report, "web").moved), (1, 1), "{name}");
    }
}

#[test]
fn a_slow_starter_is_named_with_the_deadline_that_it_needs() {
    check("slow-start-grace-900", "web", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] deadline-too-short");
    let Some(cluster) = case("slow-start-grace-900") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    let why = &service(&report, "web").reason;
    assert!(why.ends_with("REBALANCER_DEADLINE must be 17m at least"), "{why}");
    let (report, _) = run(&cluster, "DRY_RUN=true DEADLINE=17m");
    assert_eq!(report.plan.len(), 2);
}
