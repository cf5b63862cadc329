//! Making things and taking them away, as somebody does who tries the simulator out.

use serde_json::{Value, json};

use crate::testing::Bench;

const TWO: &str = "a i-1 cpu=512\nb i-2 cpu=512 attr.kind=new\na i-3 status=DRAINING\nservice web desired=0 cpu=256";

#[test]
fn a_new_service_is_placed_and_what_cannot_be_is_refused() {
    let mut bench = Bench::new(TWO);
    let wish =
        json!({"serviceName": "api", "taskDefinition": "web", "desiredCount": 2, "tags": [{"key": "k", "value": "v"}]});
    let service = bench.ecs("CreateService", &wish).unwrap()["service"].clone();
    assert_eq!((&service["runningCount"], &service["availabilityZoneRebalancing"]), (&json!(0), &json!("ENABLED")));
    assert_eq!(service["tags"], wish["tags"]);
    bench.wait(120);
    assert_eq!(bench.placed("api"), "i-1: 1, i-2: 1");
    assert_eq!(bench.service("api")["deployments"][0]["rolloutState"], "COMPLETED");
    for (bad, expected) in [
        (wish.clone(), "InvalidParameterException: Creation of service was not idempotent."),
        (json!({"serviceName": "a b", "taskDefinition": "web"}), "InvalidParameterException: serviceName"),
        (json!({"serviceName": "b", "taskDefinition": "no"}), "ClientException: TaskDefinition not found."),
        (
            json!({"serviceName": "b", "taskDefinition": "web", "desiredCount": -1}),
            "InvalidParameterException: desired",
        ),
        (json!({"serviceName": "b"}), "InvalidParameterException: taskDefinition"),
    ] {
        let refused = bench.ecs("CreateService", &bad).unwrap_err();
        assert!(refused.starts_with(expected), "{bad}: {refused}");
    }
    let packed = json!({"serviceName": "packed", "taskDefinition": "web", "placementStrategy": [{"type": "binpack", "field": "cpu"}]});
    assert_eq!(bench.ecs("CreateService", &packed).unwrap()["service"]["availabilityZoneRebalancing"], "DISABLED");
}

/// Runs standalone tasks, and tells how many started and why the others did not.
fn check(operation: &str, input: Value, started: usize, failures: &[&str]) {
    let mut bench = Bench::new(TWO);
    let mut wish = input;
    wish["taskDefinition"] = json!("web");
    let answer = bench.ecs(operation, &wish).unwrap();
    let reasons: Vec<&str> =
        answer["failures"].as_array().unwrap().iter().map(|failure| failure["reason"].as_str().unwrap()).collect();
    assert_eq!((answer["tasks"].as_array().unwrap().len(), reasons.as_slice()), (started, failures), "{wish}");
    bench.wait(60);
    let running = bench.ecs("ListTasks", &json!({"family": "web"})).unwrap();
    assert_eq!(running["taskArns"].as_array().unwrap().len(), started, "{wish}");
}

#[test]
fn standalone_tasks_go_where_there_is_room_and_else_say_why_not() {
    check("RunTask", json!({}), 1, &[]);
    check("RunTask", json!({"count": 4}), 4, &[]);
    check("RunTask", json!({"count": 5}), 4, &["RESOURCE:CPU"]);
    check("RunTask", json!({"count": 3, "placementConstraints": [{"type": "distinctInstance"}]}), 2, &["ATTRIBUTE"]);
    let member = json!([{"type": "memberOf", "expression": "attribute:kind == new"}]);
    check("RunTask", json!({"count": 3, "placementConstraints": member}), 2, &["RESOURCE:CPU"]);
    check("RunTask", json!({"count": 9, "launchType": "FARGATE"}), 9, &[]);
    check("StartTask", json!({"containerInstances": ["i-1", "no", "i-2"]}), 2, &["MISSING"]);
    check("StartTask", json!({"containerInstances": ["i-3"]}), 0, &["ATTRIBUTE"]);
}

#[test]
fn a_spread_of_standalone_tasks_counts_their_group() {
    let mut bench = Bench::new(TWO);
    let spread = json!([{"type": "spread", "field": "instanceId"}]);
    for _ in 0..2 {
        bench.ecs("RunTask", &json!({"taskDefinition": "web", "group": "g", "placementStrategy": spread})).unwrap();
    }
    for instance in ["i-1", "i-2"] {
        let there = bench.ecs("ListTasks", &json!({"containerInstance": instance})).unwrap();
        assert_eq!(there["taskArns"].as_array().unwrap().len(), 1, "{instance}");
    }
    assert!(bench.ecs("RunTask", &json!({"taskDefinition": "web", "group": "service:web"})).is_err());
    assert!(bench.ecs("RunTask", &json!({"taskDefinition": "web", "count": 11})).is_err());
}

#[test]
fn an_instance_that_is_deregistered_takes_its_tasks_along_only_by_force() {
    let mut bench = Bench::new("a i-1 web web\nb i-2");
    let i1 = json!({"containerInstance": "i-1"});
    assert!(bench.ecs("DeregisterContainerInstance", &i1).is_err());
    let gone = bench.ecs("DeregisterContainerInstance", &json!({"containerInstance": "i-1", "force": true})).unwrap();
    assert_eq!(gone["containerInstance"]["status"], "INACTIVE");
    bench.wait(60);
    assert_eq!(bench.placed("web"), "i-2: 2");
    let listed = bench.ecs("ListContainerInstances", &json!({})).unwrap();
    assert_eq!(listed["containerInstanceArns"].as_array().unwrap().len(), 1);
}

#[test]
fn a_revision_s_number_is_never_given_twice() {
    let mut bench = Bench::new(TWO);
    let definition = json!({"family": "web", "containerDefinitions": [{"name": "c", "memory": 64}]});
    let newest = |answer: Value| answer["taskDefinition"]["revision"].clone();
    assert_eq!(newest(bench.ecs("RegisterTaskDefinition", &definition).unwrap()), 2);
    bench.ecs("DeregisterTaskDefinition", &json!({"taskDefinition": "web:2"})).unwrap();
    // The family is its newest ACTIVE revision; an INACTIVE one is still described, by its number.
    for (id, revision, status) in [("web", 1, "ACTIVE"), ("web:2", 2, "INACTIVE")] {
        let answer =
            bench.ecs("DescribeTaskDefinition", &json!({"taskDefinition": id})).unwrap()["taskDefinition"].clone();
        assert_eq!((&answer["revision"], &answer["status"]), (&json!(revision), &json!(status)), "{id}");
    }
    assert_eq!(newest(bench.ecs("RegisterTaskDefinition", &definition).unwrap()), 3);
    assert_eq!(bench.ecs("ListTaskDefinitionFamilies", &json!({})).unwrap()["families"], json!(["web"]));
}

#[test]
fn a_cluster_that_is_made_again_is_the_one_that_is_there() {
    let mut bench = Bench::new("a i-1 web");
    let tags = json!([{"key": "team", "value": "a"}]);
    let made = bench.ecs("CreateCluster", &json!({"tags": tags, "settings": []})).unwrap();
    assert_eq!(made["cluster"]["clusterName"], "default");
    assert_eq!((&made["cluster"]["status"], &made["cluster"]["tags"]), (&json!("ACTIVE"), &tags));
    assert_eq!(made["cluster"]["runningTasksCount"], 1);
    let other = bench.ecs("CreateCluster", &json!({"clusterName": "other"})).unwrap_err();
    assert_eq!(other, "LimitExceededException: One cluster is simulated, and its name is default.");
    let settings = json!([{"name": "containerInsights", "value": "enabled"}]);
    let refused = bench.ecs("CreateCluster", &json!({"settings": settings})).unwrap_err();
    assert_eq!(refused, "InvalidParameterException: settings of CreateCluster is not simulated.");
}
