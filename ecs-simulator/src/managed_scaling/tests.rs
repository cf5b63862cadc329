//! When instances go, which, and which never.

use serde_json::json;

use crate::testing::Bench;

/// The instances that ECS lists, by name.
fn listed(bench: &mut Bench) -> String {
    let answer = bench.ecs("ListContainerInstances", &json!({})).unwrap();
    let name = |arn: &serde_json::Value| arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    answer["containerInstanceArns"].as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(drawing: &str, expected: &str) {
    let mut bench = Bench::with(drawing, &[], &["managed-scaling=900"]);
    let before = listed(&mut bench);
    bench.wait(15 * 60 - 1);
    assert_eq!(listed(&mut bench), before, "fifteen minutes have not passed");
    bench.wait(120);
    assert_eq!(listed(&mut bench), expected, "{drawing}");
    bench.wait(3600);
    assert_eq!(listed(&mut bench), expected, "an hour later: {drawing}");
}

const IDLE: &str = "a i-1 web provider=od\nb i-2 provider=od\na i-3 log provider=od\nb i-4 provider=spot\nc i-5\nservice log daemon=true\n";

#[test]
fn instances_without_a_task_of_a_service_go_after_fifteen_minutes() {
    check(IDLE, "i-1 i-5");
    check(&format!("{IDLE}provider od minimum=2"), "i-1 i-2 i-5");
    check(&format!("{IDLE}provider od minimum=3\nprovider spot minimum=1"), "i-1 i-2 i-3 i-4 i-5");
    check(&format!("{IDLE}provider od scaling=DISABLED"), "i-1 i-2 i-3 i-5");
}

#[test]
fn as_many_stay_idle_as_the_target_leaves() {
    check(&format!("{IDLE}provider od target=50"), "i-1 i-2 i-5");
    check(&format!("{IDLE}provider od target=30"), "i-1 i-2 i-3 i-5");
}

#[test]
fn the_fullest_zone_gives_first() {
    check("a i-1 web provider=od\na i-2 provider=od\nb i-3 provider=od\nprovider od minimum=2", "i-1 i-3");
}

#[test]
fn a_standalone_task_keeps_its_instance() {
    check("a i-1 -batch provider=od\nb i-2 provider=od", "i-1");
}

#[test]
fn nothing_goes_unless_it_is_asked_for_and_a_need_in_between_begins_anew() {
    let mut bench = Bench::new(IDLE);
    bench.wait(3600);
    assert_eq!(listed(&mut bench), "i-1 i-2 i-3 i-4 i-5");

    let mut bench = Bench::with("a i-1 web provider=od\nb i-2 provider=od", &[], &["managed-scaling=900"]);
    bench.wait(600);
    bench.update("web", json!({"desiredCount": 2}));
    bench.wait(300);
    bench.update("web", json!({"desiredCount": 1}));
    bench.wait(600);
    assert_eq!(listed(&mut bench), "i-1 i-2", "the second has been without a task for less than ten minutes");
    bench.wait(600);
    assert_eq!(listed(&mut bench).split(' ').count(), 1);
}

#[test]
fn the_group_shrinks_and_the_cluster_no_longer_counts_the_instance() {
    let mut bench = Bench::with(IDLE, &[], &["managed-scaling=60"]);
    bench.wait(600);
    let cluster = bench.ecs("DescribeClusters", &json!({"clusters": ["default"]})).unwrap();
    assert_eq!(cluster["clusters"][0]["registeredContainerInstancesCount"], 2);
    let groups = bench.query("2011-01-01", "DescribeAutoScalingGroups", "");
    assert!(groups.contains("<AutoScalingGroupName>od</AutoScalingGroupName>"), "{groups}");
    assert!(groups.contains("<DesiredCapacity>1</DesiredCapacity>"), "{groups}");
    assert!(
        groups.contains("<InstanceId>i-1</InstanceId>") && !groups.contains("<InstanceId>i-2</InstanceId>"),
        "{groups}"
    );
}
