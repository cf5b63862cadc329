//! Groups by name, in pages, and what is refused.

use serde_json::json;

use crate::{Moment, Options, Simulator, snapshot::Snapshot, testing::Bench};

const DRAWING: &str = "a i-1 web provider=od type=c5.large\nb i-2 log provider=od\nb i-3 provider=spot\nc i-4\nservice log daemon=true\nprovider od minimum=1 maximum=9 scaling=DISABLED target=80";

/// What stands within an element, each time that it is there.
fn within(answer: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    answer.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

fn ask(bench: &mut Bench, parameters: &str) -> String {
    bench.query("2011-01-01", "DescribeAutoScalingGroups", parameters)
}

#[test]
fn a_group_is_what_its_provider_s_instances_are() {
    let mut bench = Bench::new(DRAWING);
    let answer = ask(&mut bench, "AutoScalingGroupNames.member.1=od&AutoScalingGroupNames.member.2=nobody");
    for (element, expected) in [
        ("AutoScalingGroupName", vec!["od"]),
        ("MinSize", vec!["1"]),
        ("MaxSize", vec!["9"]),
        ("DesiredCapacity", vec!["2"]),
        ("InstanceId", vec!["i-1", "i-2"]),
        ("InstanceType", vec!["c5.large", "m5.xlarge"]),
        ("ProtectedFromScaleIn", vec!["true", "false"]),
        ("NextToken", vec![]),
    ] {
        assert_eq!(within(&answer, element), expected, "{element} in {answer}");
    }
    assert!(within(&answer, "CreatedTime")[0].starts_with("2025-"), "{answer}");
    assert!(
        answer.starts_with(
            "<DescribeAutoScalingGroupsResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\">"
        )
    );
}

#[test]
fn without_names_all_groups_come_in_pages() {
    let mut bench = Bench::new(DRAWING);
    assert_eq!(within(&ask(&mut bench, ""), "AutoScalingGroupName"), ["od", "spot"]);
    let first = ask(&mut bench, "MaxRecords=1");
    assert_eq!(within(&first, "AutoScalingGroupName"), ["od"]);
    let second = ask(&mut bench, &format!("MaxRecords=1&NextToken={}", within(&first, "NextToken")[0]));
    assert_eq!(within(&second, "AutoScalingGroupName"), ["spot"]);
    assert_eq!(within(&second, "NextToken"), Vec::<String>::new());
    // What no snapshot tells.
    assert_eq!(within(&second, "MinSize"), ["0"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut bench = Bench::new(DRAWING);
    for (parameters, code) in [
        ("NextToken=never", "InvalidNextToken"),
        ("MaxRecords=0", "ValidationError"),
        ("MaxRecords=101", "ValidationError"),
        ("MaxRecords=1&AutoScalingGroupNames.member.1=od&AutoScalingGroupNames.member.2=spot", "ValidationError"),
        ("AutoScalingGroupNames=od", "ValidationError"),
        ("Filters.member.1.Name=tag-key", "ValidationError"),
    ] {
        assert_eq!(within(&ask(&mut bench, parameters), "Code"), [code], "{parameters}");
    }
    let answer = bench.query("2011-01-01", "TerminateInstanceInAutoScalingGroup", "");
    assert_eq!(within(&answer, "Code"), ["InvalidAction"], "{answer}");
}

#[test]
fn capacity_providers_name_their_groups() {
    let mut bench = Bench::new(DRAWING);
    let all = bench.ecs("DescribeCapacityProviders", &json!({"cluster": "default"})).unwrap();
    let names: Vec<&str> =
        all["capacityProviders"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["FARGATE", "FARGATE_SPOT", "od", "spot"]);
    let asked =
        json!({"capacityProviders": ["od", "nobody", "arn:aws:ecs:us-east-1:111122223333:capacity-provider/spot"]});
    let answer = bench.ecs("DescribeCapacityProviders", &asked).unwrap();
    assert_eq!(answer["failures"], json!([{"arn": "nobody", "reason": "MISSING"}]));
    let found = &answer["capacityProviders"];
    assert_eq!(found[0]["type"], "EC2_AUTOSCALING");
    let of_group = &found[0]["autoScalingGroupProvider"];
    assert_eq!(of_group["managedScaling"], json!({"status": "DISABLED", "targetCapacity": 80}));
    assert!(of_group["autoScalingGroupArn"].as_str().unwrap().ends_with(":autoScalingGroupName/od"), "{of_group}");
    assert_eq!(found[1]["autoScalingGroupProvider"]["managedScaling"]["status"], "ENABLED", "as nothing else is told");
}

#[test]
fn ten_capacity_providers_are_a_page() {
    let drawing: String = (10..24).map(|number| format!("a i-{number} provider=p{number}\n")).collect();
    let mut bench = Bench::new(&drawing);
    let names: Vec<String> = (10..24).map(|number| format!("p{number}")).collect();
    let first = bench.ecs("DescribeCapacityProviders", &json!({"capacityProviders": names})).unwrap();
    assert_eq!(first["capacityProviders"].as_array().map(Vec::len), Some(10));
    let rest = json!({"capacityProviders": names, "nextToken": first["nextToken"]});
    let second = bench.ecs("DescribeCapacityProviders", &rest).unwrap();
    assert_eq!(second["capacityProviders"].as_array().map(Vec::len), Some(4));
    assert!(second["nextToken"].is_null());
    assert!(bench.ecs("DescribeCapacityProviders", &json!({"maxResults": 11})).is_err());
}

#[test]
fn what_a_snapshot_tells_holds_in_the_shapes_of_both_apis() {
    let group = "arn:aws:autoscaling:eu-west-1:444455556666:autoScalingGroup:1b2c:autoScalingGroupName/ecs/on demand";
    let document = json!({
        "cluster": {"clusterName": "default"},
        "containerInstances": [{"containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/default/i-1", "capacityProviderName": "od"}],
        "capacityProviders": {"capacityProviders": [
            {"name": "od", "status": "ACTIVE", "autoScalingGroupProvider": {"autoScalingGroupArn": group, "managedScaling": {"status": "ENABLED", "targetCapacity": 90}}},
            {"name": "mi", "managedInstancesProvider": {}},
        ], "failures": []},
        "autoScalingGroups": {"AutoScalingGroups": [
            {"AutoScalingGroupName": "ecs/on demand", "AutoScalingGroupARN": group, "MinSize": 2, "MaxSize": 5, "DesiredCapacity": 3},
        ]},
    });
    let simulator = Simulator::new(&Snapshot::from_value(&document).unwrap(), Options::default()).unwrap();
    let mut bench = Bench { simulator, now: Moment(i64::MAX / 2) };
    let answer = ask(&mut bench, "");
    assert_eq!(within(&answer, "AutoScalingGroupARN"), [group]);
    assert_eq!(
        (within(&answer, "MinSize"), within(&answer, "DesiredCapacity")),
        (vec!["2".to_owned()], vec!["3".to_owned()])
    );
    let providers = bench.ecs("DescribeCapacityProviders", &json!({"capacityProviders": ["mi", "od"]})).unwrap();
    assert_eq!(providers["capacityProviders"][0]["type"], "MANAGED_INSTANCES");
    assert_eq!(providers["capacityProviders"][1]["autoScalingGroupProvider"]["autoScalingGroupArn"], group);
    assert_eq!(providers["capacityProviders"][1]["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"], 90);
}

#[test]
fn a_group_is_scaled_down_and_up() {
    let drawing = "a i-1 web provider=od\nb i-2 provider=od\nb i-3 provider=od\nservice web\nprovider od minimum=1 maximum=4 scaling=DISABLED";
    let mut bench = Bench::new(drawing);
    let set = |bench: &mut Bench, wanted: u32| {
        bench.query("2011-01-01", "SetDesiredCapacity", &format!("AutoScalingGroupName=od&DesiredCapacity={wanted}"))
    };
    let instances = |bench: &mut Bench| within(&ask(bench, ""), "InstanceId");
    for (wanted, told) in [(0, "is below min value 1"), (5, "is above max value 4")] {
        assert!(set(&mut bench, wanted).contains(told), "{wanted}");
    }
    assert!(set(&mut bench, 2).starts_with("<SetDesiredCapacityResponse"));
    assert_eq!(instances(&mut bench), ["i-1", "i-3"], "the one with a task is protected, and zones stay even");
    set(&mut bench, 4);
    bench.wait(30);
    assert_eq!(instances(&mut bench).len(), 2, "an instance takes a minute at least");
    bench.wait(180);
    assert_eq!(instances(&mut bench).len(), 4);
    let zones = within(&ask(&mut bench, ""), "AvailabilityZone");
    assert_eq!(zones.iter().filter(|zone| *zone == "us-east-1a").count(), 2, "{zones:?}");
    // Launched and no more wanted.
    set(&mut bench, 2);
    set(&mut bench, 3);
    set(&mut bench, 2);
    bench.wait(300);
    assert_eq!(instances(&mut bench).len(), 2);
    let unknown = "AutoScalingGroupName=none&DesiredCapacity=2";
    assert!(
        bench.query("2011-01-01", "SetDesiredCapacity", unknown).contains("AutoScalingGroup name not found - none")
    );
}
