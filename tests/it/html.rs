//! The HTML report of whole runs: what is in it, whatever the cluster is called and however large it is.

use std::collections::BTreeSet;

use ecs_rebalancer::{
    config::{Clusters, Config},
    rehearsal::Rehearsal,
    report::{Report, html},
};
use ecs_simulator::{Options, snapshot::Snapshot};
use serde_json::json;

use crate::support::{config, in_simulated_time, options, rehearse};

/// What each page must hold, or a reader misses something.
#[track_caller]
fn check(report: &Report, holds: &[&str]) -> String {
    let page = html::document(report);
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
    for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
        // The namespace of SVG is a name, and fetches nothing.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(forbidden), "{forbidden} in a page that stands alone");
    }
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for part in holds {
        assert!(page.contains(part), "{part} is missing");
    }
    page
}

#[test]
fn a_small_cluster_s_page_shows_every_instance_before_and_after() {
    let (report, _) = rehearse("a i-1 web web\nb i-2\nservice web lb=true", "", options(0, &[], &[]));
    check(
        &report,
        &[
            "rebalanced",
            "1 task moved, 0 misplaced tasks are left",
            "<span class=\"c p1\">2</span>",
            "<span class=\"c m1\">0</span>",
            "<span class=\"c n0\">1</span>",
            "never below 2 healthy tasks of 2 desired",
            "<svg ",
            "UpdateService",
            "REBALANCER_MAX_MOVES",
        ],
    );
}

#[test]
fn a_real_run_s_page_has_the_timeline_that_its_looks_saw() {
    let (mut report, _) = rehearse("a i-1 web web\nb i-2\nservice web lb=true", "", options(0, &[], &[]));
    report.rehearsal = None;
    let counts: Vec<(u32, u32)> =
        report.pictures.watched[0].moments.iter().map(|it| (it.desired, it.running)).collect();
    // The desired count is lowered some seconds before the scheduler looks and stops a task.
    assert_eq!(counts, [(2, 2), (3, 2), (3, 3), (2, 3), (2, 2)]);
    let page = check(&report, &["never below 2 running tasks of 2 desired", "<svg "]);
    assert!(!page.contains("A rehearsal on"));
}

#[test]
fn a_dry_run_s_page_shows_what_is_predicted_and_a_failed_one_what_failed() {
    let drawing = "a i-1 web web\nb i-2\nservice web lb=true";
    let (planned, _) = rehearse(drawing, "DRY_RUN=true", options(0, &[], &[]));
    check(&planned, &["A dry run: nothing was changed.", "as found, then predicted", "<span class=\"c n0\">1</span>"]);
    let (failed, _) = rehearse(drawing, "", options(0, &[], &["broken-image=0"]));
    check(&failed, &["<strong>Error: </strong>web: the last step was undone", "not moved by surge: "]);
}

#[test]
fn a_run_that_read_nothing_has_a_page_too() {
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&Snapshot::reference_cluster(), Options::default()).unwrap();
        rehearsal.run(&config(""), "elsewhere", "run-1").await
    });
    check(&report, &["failed", "Error: ", "elsewhere"]);
}

#[test]
fn names_are_text_whatever_they_hold() {
    let hostile = "<script>alert('&\"')</script>";
    let tasks = [1, 2].map(|number| {
        json!({"taskArn": format!("arn:t-{number}"), "group": format!("service:{hostile}"), "containerInstanceArn": "arn:i-1"})
    });
    let snapshot = json!({
        "cluster": {"clusterName": hostile},
        "containerInstances": [
            {"containerInstanceArn": "arn:i-1", "ec2InstanceId": hostile, "attributes": [{"name": "ecs.availability-zone", "value": hostile}],
             "registeredResources": [{"name": "CPU", "integerValue": 4096}, {"name": "MEMORY", "integerValue": 8192}]},
            {"containerInstanceArn": "arn:i-2", "attributes": [{"name": "ecs.availability-zone", "value": "b"}],
             "registeredResources": [{"name": "CPU", "integerValue": 4096}, {"name": "MEMORY", "integerValue": 8192}]},
        ],
        "services": [{"serviceName": hostile, "taskDefinition": "arn:td/web:1", "desiredCount": 2,
            "placementStrategy": [{"type": "spread", "field": "instanceId"}]}],
    "tasks": tasks,
    });
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&Snapshot::from_value(&snapshot).unwrap(), Options::default()).unwrap();
        let config = Config { clusters: Clusters::Named(vec![hostile.to_owned()]), dry_run: true, ..config("") };
        rehearsal.run(&config, hostile, "run-1").await
    });
    let page = check(&report, &["&lt;script&gt;"]);
    assert_eq!(page.matches("alert").count(), page.matches("alert('&amp;").count());
}

#[test]
fn many_instances_are_shown_by_zone_and_fullness() {
    let drawing: String = (0..40)
        .map(|number| format!("{} i-{number}{}\n", ["a", "b"][number % 2], if number < 20 { " web web" } else { "" }))
        .collect();
    let (report, _) = rehearse(&format!("{drawing}service web"), "MAX_MOVES=1", options(0, &[], &[]));
    let page = check(
        &report,
        &[
            "under half of the mean of ",
            "empty (10)",
            "us-east-1b: each of the 20 container instances",
            "40 container instances by fullness",
        ],
    );
    assert!(page.contains("the limit of moves"), "why the rest was left");
}

#[test]
fn of_very_many_uneven_services_the_worst_are_pictured() {
    let names: Vec<String> = (10..55).map(|number| format!("s{number} s{number}")).collect();
    let (report, _) = rehearse(&format!("a i-1 {}\nb i-2", names.join(" ")), "DRY_RUN=true", options(0, &[], &[]));
    let compared = report.pictures.found[0].tasks.values().filter(|tasks| tasks.even_hundredths.is_some());
    assert_eq!(compared.count(), 40);
    let page = html::document(&report);
    assert!(page.contains("and 5 more"), "{page}");
}
