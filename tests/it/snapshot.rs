//! A snapshot that the job wrote is the cluster: rehearsed, it comes to the same plan.

use std::{fs, path::PathBuf};

use ecs_rebalancer::{config::Config, rehearsal::Rehearsal, report::Report};
use ecs_simulator::{Options, snapshot::Snapshot};
use serde_json::json;

use crate::{
    storm::case,
    support::{CLUSTER, config, in_simulated_time, options, snapshot},
};

/// A folder of its own for each test's files.
pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(snapshot: &Snapshot, config: &Config) -> Report {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(snapshot, options(0, &[], &[])).unwrap();
        rehearsal.run(config, snapshot.cluster_name(), "run-1").await
    })
}

/// The plan and the measure of a cluster, and of the snapshot that the job wrote of it, are the same.
#[track_caller]
fn check(name: &str, cluster: &Snapshot, settings: &str) {
    check_with(name, cluster, config(settings));
}

/// The same, with a whole configuration.
#[track_caller]
pub(crate) fn check_with(name: &str, cluster: &Snapshot, config: Config) {
    let file = folder("snapshots").join(format!("{name}.json"));
    let dry = Config { dry_run: true, snapshot: Some(file.clone()), ..config };
    let there = run(cluster, &dry);
    let written = Snapshot::from_json(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written.cluster_name(), cluster.cluster_name());
    let rehearsed = run(&written, &Config { snapshot: None, ..dry });
    assert_eq!(rehearsed.plan, there.plan, "{name}");
    assert_eq!(rehearsed.before, there.before, "{name}");
    assert_eq!(rehearsed.predicted, there.predicted, "{name}");
    assert_eq!(rehearsed.services, there.services, "{name}");
    assert_eq!(rehearsed.errors, Vec::<String>::new(), "{name}");
}

#[test]
fn a_snapshot_that_the_job_wrote_is_rehearsed_to_the_same_plan() {
    check("reference", &Snapshot::reference_cluster(), "");
    let drawings = [
        ("balanced", "a i-1 web\nb i-2 web\nservice web desired=2"),
        (
            "zones",
            "a i-1 web web web\na i-2 web\nb i-3\nc i-4 api status=DRAINING\nservice web desired=4 strategy=spread:attribute:ecs.availability-zone",
        ),
        ("opted-out", "a i-1 web web\nb i-2\nservice web desired=2 tag.ecs-rebalancer:enabled=false"),
        (
            "tight",
            "a i-1 web web api cpu=1024\nb i-2 cpu=300\nservice web desired=2 cpu=256\nservice api desired=1 cpu=512",
        ),
        (
            "constrained",
            "a i-1 web web attr.rack=r1\nb i-2 attr.rack=r1\nc i-3\nservice web constraint=memberOf:attribute:rack+==+r1 lb=true check=true",
        ),
    ];
    for (name, drawing) in drawings {
        check(name, &snapshot(drawing), "");
    }
    // Two of three instances are empty, and no task is sent to the one that is impaired.
    check("impaired", &snapshot("a i-1 s0 s1 s2\na i-2 impaired=true\na i-3"), "STEER=true LOAD_THRESHOLD=10");
}

#[test]
fn a_snapshot_of_any_cluster_that_the_storm_draws_comes_to_the_same_plan() {
    for seed in 0..50 {
        let case = case(seed);
        check(&format!("storm-{seed}"), &snapshot(&case.drawing), &case.settings);
    }
}

#[test]
fn the_fleet_s_snapshot_comes_to_the_fleet_s_plan() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/production.json");
    let Ok(text) = fs::read_to_string(path) else {
        println!("skipped: {path} is absent");
        return;
    };
    check("fleet", &Snapshot::from_json(&text).unwrap(), "MAX_MOVES=1000 MAX_SERVICES=100 DEADLINE=2h THRESHOLD=0");
}

#[test]
fn it_needs_but_to_read_and_a_file_that_cannot_be_written_moves_nothing() {
    let file = folder("snapshots").join("read-only.json");
    let drawing = "a i-1 web web api\nb i-2\nservice web\nservice api";
    let with = Config { dry_run: true, snapshot: Some(file.clone()), ..config("METRICS=off") };
    let report = run(&snapshot(drawing), &with);
    let reads = ["List", "Describe", "GetTaskProtection"];
    assert!(
        report.api_calls.keys().all(|call| reads.iter().any(|read| call.starts_with(read))),
        "{:?}",
        report.api_calls
    );
    assert!(
        fs::read_to_string(&file).unwrap().contains("task-definition/api:1"),
        "api is even, and its definition is there"
    );
    let nowhere = Config { snapshot: Some(folder("snapshots").join("absent/x.json")), ..config("") };
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), Options::default()).unwrap();
        let report = rehearsal.run(&nowhere, CLUSTER, "run-1").await;
        assert_eq!(report.exit_status(), 1);
        assert!(report.errors[0].contains("cannot write the snapshot to"), "{:?}", report.errors);
        assert_eq!(rehearsal.simulator().timeline().tasks_started(), 0);
    });
}

#[test]
fn secrets_that_the_cluster_holds_are_not_in_the_file() {
    const SECRET: &str = "hunter2";
    let document = json!({
        "cluster": {"clusterName": CLUSTER},
        "containerInstances": [{"containerInstanceArn": "arn:i-1", "tags": [{"key": "k", "value": SECRET}]}],
        "services": [{"serviceName": "web", "taskDefinition": "arn:td/web:1", "desiredCount": 1,
            "tags": [{"key": "k", "value": SECRET}]}],
        "tasks": [{"taskArn": "arn:t-1", "group": "service:web", "containerInstanceArn": "arn:i-1", "stoppedReason": SECRET,
            "tags": [{"key": "k", "value": SECRET}]}],
        "taskDefinitions": [{"taskDefinitionArn": "arn:td/web:1", "containerDefinitions": [{
            "name": "app", "image": "app", "memory": 64, "command": [SECRET], "entryPoint": [SECRET],
            "environment": [{"name": "PASSWORD", "value": SECRET}], "environmentFiles": [{"type": "s3", "value": SECRET}],
            "secrets": [{"name": "TOKEN", "valueFrom": SECRET}], "credentialSpecs": [SECRET],
            "dockerLabels": {"label": SECRET}, "repositoryCredentials": {"credentialsParameter": SECRET},
            "logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": SECRET}},
            "healthCheck": {"command": ["CMD-SHELL", SECRET]},
        }]}],
    });
    let file = folder("snapshots").join("secrets.json");
    let with = Config { dry_run: true, snapshot: Some(file.clone()), ..config("") };
    let report = run(&Snapshot::from_value(&document).unwrap(), &with);
    assert_eq!(report.errors, Vec::<String>::new());
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("arn:td/web:1") && written.contains("\"memory\": 64"), "{written}");
    assert!(!written.contains(SECRET), "{written}");
}
