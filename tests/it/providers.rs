//! What a run that consolidates reads of capacity providers and their Auto Scaling groups, and how it goes on where it may not.

use std::{collections::BTreeSet, fs};

use ecs_rebalancer::{aws::providers::capacity_providers, config::Config, rehearsal::Rehearsal, shutdown::Shutdown};
use ecs_simulator::{Options, snapshot::Snapshot};
use serde_json::{Value, json};

use crate::{
    snapshot::folder,
    support::{CLUSTER, config, in_simulated_time, options, rehearse, snapshot},
};

const DRAWING: &str = "a i-1 web web provider=od\nb i-2 provider=od\nb i-3 provider=spot\nc i-4\nprovider od minimum=2\nprovider spot scaling=DISABLED";

/// What is read of these providers, and what could not be, as `od managed 2`, `! cannot read ...`.
fn read(cluster: &Snapshot, names: &[&str], denied: &[&str], faults: &[&str]) -> Vec<String> {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(cluster, options(0, &[], faults)).unwrap();
        for operation in denied {
            rehearsal.simulator().deny(operation);
        }
        let edge = rehearsal.edge("run-1", Shutdown::never()).await;
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (providers, warnings) = capacity_providers(&edge.clients, CLUSTER, &names).await.unwrap();
        let shown = providers.values().map(|provider| {
            let scaling = if provider.managed_scaling { "managed" } else { "unmanaged" };
            let minimum = provider.minimum_instances.map_or("?".to_owned(), |minimum| minimum.to_string());
            format!("{} {scaling} {minimum}", provider.name)
        });
        shown.chain(warnings.into_iter().map(|warning| format!("! {warning}"))).collect()
    })
}

#[test]
fn scaling_and_the_fewest_instances_are_read() {
    assert_eq!(read(&snapshot(DRAWING), &["od", "spot"], &[], &[]), ["od managed 2", "spot unmanaged 0"]);
    assert_eq!(read(&snapshot(DRAWING), &[], &[], &[]), Vec::<String>::new());
    assert_eq!(
        read(&snapshot(DRAWING), &["od", "gone"], &[], &[]),
        ["od managed 2", "! container instances name capacity provider gone, which ECS can't describe: MISSING"]
    );
}

#[test]
fn more_than_a_page_of_either_is_read_whole() {
    let drawing: String = (100..220)
        .map(|number| format!("a i-{number} provider=p{number}\nprovider p{number} minimum={number}\n"))
        .collect();
    let names: Vec<String> = (100..220).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected: Vec<String> = (100..220).map(|number| format!("p{number} managed {number}")).collect();
    assert_eq!(read(&snapshot(&drawing), &names, &[], &[]), expected);
    assert_eq!(read(&snapshot(&drawing), &names, &[], &["throttle=0.3", "error=0.1", "drop=0.1"]), expected);
}

#[test]
fn what_may_not_be_read_is_told_with_what_to_grant() {
    let denied = read(&snapshot(DRAWING), &["od", "spot"], &["DescribeCapacityProviders"], &[]);
    let [warning] = denied.as_slice() else { panic!("{denied:?}") };
    assert!(
        warning.starts_with(
            "! cannot read capacity providers od, spot (cluster test): DescribeCapacityProviders: AccessDeniedException: "
        ),
        "{warning}"
    );
    assert!(warning.ends_with("; grant ecs:DescribeCapacityProviders to the task role"), "{warning}");

    let denied = read(&snapshot(DRAWING), &["od", "spot"], &["DescribeAutoScalingGroups"], &[]);
    let [od, spot, warning] = denied.as_slice() else { panic!("{denied:?}") };
    assert_eq!([od, spot], ["od managed ?", "spot unmanaged ?"]);
    let beginning = "! cannot read how few instances Auto Scaling groups od, spot keep (cluster test): \
                     DescribeAutoScalingGroups: AccessDenied: ";
    assert!(warning.starts_with(beginning), "{warning}");
    assert!(warning.ends_with("; grant autoscaling:DescribeAutoScalingGroups to the task role"), "{warning}");
}

#[test]
fn a_provider_of_no_group_is_read_as_far_as_it_goes() {
    let mut document = json!({
        "cluster": {"clusterName": CLUSTER},
        "containerInstances": [{"containerInstanceArn": "arn:i-1", "capacityProviderName": "mi"}],
        "capacityProviders": [{"name": "mi", "managedInstancesProvider": {}}],
    });
    assert_eq!(read(&Snapshot::from_value(&document).unwrap(), &["mi"], &[], &[]), ["mi unmanaged ?"]);
    document["capacityProviders"][0]["autoScalingGroupProvider"] = json!({"autoScalingGroupArn": "ecs/group of mi"});
    assert_eq!(read(&Snapshot::from_value(&document).unwrap(), &["mi"], &[], &[]), ["mi unmanaged 0"]);
}

#[test]
fn a_run_reads_them_only_to_consolidate_or_level_and_goes_on_where_it_may_not() {
    let calls = |settings: &str| {
        let (report, _) = rehearse(DRAWING, settings, Options::default());
        assert_eq!(report.errors, Vec::<String>::new());
        let of = |operation: &str| report.api_calls.get(operation).copied().unwrap_or(0);
        (of("DescribeCapacityProviders"), of("DescribeAutoScalingGroups"))
    };
    assert_eq!(calls("DRY_RUN=true LOAD_THRESHOLD=100"), (0, 0));
    assert_eq!(calls("DRY_RUN=true"), (1, 1), "of the empty ones it must be known whether they go");
    assert_eq!(calls("DRY_RUN=true MODE=consolidate STEER=true"), (1, 1));
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(DRAWING), Options::default()).unwrap();
        rehearsal.simulator().deny("DescribeAutoScalingGroups");
        let report = rehearsal.run(&config("DRY_RUN=true MODE=consolidate STEER=true"), CLUSTER, "run-1").await;
        assert_eq!(report.errors, Vec::<String>::new());
        assert!(
            report
                .warnings
                .iter()
                .any(|it| it.ends_with("grant autoscaling:DescribeAutoScalingGroups to the task role")),
            "{:?}",
            report.warnings
        );
    });
}

#[test]
fn a_service_without_a_capacity_provider_is_not_sent_to_managed_instances() {
    let drawing = "a i-1 web web\na i-2 web web\nb i-3 m provider=mi\nprovider mi managed=true\nservice m provider=mi\n\
                   service web strategy=spread:attribute:ecs.availability-zone";
    let (report, _) = rehearse(drawing, "LOAD_THRESHOLD=100", Options::default());
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!((report.before.as_ref().unwrap().misplaced_tasks, report.api_calls.get("UpdateService")), (0, None));
    assert_eq!(report.api_calls.get("DescribeCapacityProviders"), None, "the tasks tell enough");
}

#[test]
fn a_snapshot_has_what_a_run_read_of_them_and_is_read_back() {
    let written = |settings: &str| -> String {
        let file = folder("providers").join(format!("{}.json", settings.len()));
        let with = Config { snapshot: Some(file.clone()), ..config(settings) };
        in_simulated_time(async {
            let rehearsal = Rehearsal::new(&snapshot(DRAWING), Options::default()).unwrap();
            let report = rehearsal.run(&with, CLUSTER, "run-1").await;
            assert_eq!(report.errors, Vec::<String>::new());
        });
        fs::read_to_string(file).unwrap()
    };
    let text = written("DRY_RUN=true MODE=consolidate STEER=true");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["capacityProviders"][1]["autoScalingGroupProvider"]["managedScaling"]["status"], "DISABLED");
    assert_eq!(document["autoScalingGroups"][0]["MinSize"], 2);
    let again = Snapshot::from_json(&text).unwrap();
    assert_eq!(read(&again, &["od", "spot"], &[], &[]), ["od managed 2", "spot unmanaged 0"]);

    let spreading: Value = serde_json::from_str(&written("DRY_RUN=true LOAD_THRESHOLD=100")).unwrap();
    assert!(spreading.get("capacityProviders").is_none() && spreading.get("autoScalingGroups").is_none());
}
