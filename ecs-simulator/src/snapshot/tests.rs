//! Snapshots: what is left out, what is pasted, and what can't be read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Snapshot;

fn document() -> Value {
    json!({
        "cluster": {"clusterName": "c", "clusterArn": "arn:aws:ecs:eu-west-1:111122223333:cluster/c"},
        "containerInstances": [{
            "containerInstanceArn": "arn:i-1",
            "registeredResources": [{"name": "CPU", "integerValue": 1024}, {"name": "PORTS", "stringSetValue": ["22"]}],
            "attributes": [{"name": "ecs.availability-zone", "value": "eu-west-1a"}],
            "registeredAt": "2026-01-01T00:00:00+01:00",
            "capacityProviderName": "od",
        }],
        "capacityProviders": [{"name": "od", "autoScalingGroupProvider": {
            "autoScalingGroupArn": "arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:1:autoScalingGroupName/g",
            "managedScaling": {"status": "ENABLED", "targetCapacity": 90},
        }}],
        "autoScalingGroups": [{"AutoScalingGroupName": "g", "MinSize": 1, "MaxSize": 3, "DesiredCapacity": 1}],
        "services": [{
            "serviceName": "web",
            "taskDefinition": "arn:td/web:1",
            "desiredCount": 1,
            "placementStrategy": [{"type": "spread", "field": "instanceId"}],
            "placementConstraints": [{"type": "memberOf", "expression": "attribute:a == b"}],
            "deploymentConfiguration": {"minimumHealthyPercent": 100},
            "deployments": [{"id": "ecs-svc/1"}],
            "loadBalancers": [{"targetGroupArn": "arn:tg"}],
        }],
        "tasks": [{"taskArn": "arn:t-1", "group": "service:web", "containerInstanceArn": "arn:i-1", "startedAt": 1_767_225_600.5}],
        "taskDefinitions": [{"taskDefinitionArn": "arn:td/web:1", "containerDefinitions": [{"name": "a", "memory": 64}]}],
    })
}

#[test]
fn what_is_left_out_is_at_its_default() {
    let snapshot = Snapshot::from_value(&document()).unwrap();
    let state = &snapshot.state;
    let service = &state.services["web"];
    assert_eq!((service.minimum_healthy_percent, service.maximum_percent), (100, 200));
    assert_eq!((service.status.as_str(), service.scheduling_strategy.as_str()), ("ACTIVE", "REPLICA"));
    assert_eq!(service.deployments[0].rollout_state, "COMPLETED");
    let instance = &state.instances["arn:i-1"];
    assert_eq!((instance.status.as_str(), instance.agent_connected, instance.cpu), ("ACTIVE", true, 1024));
    let task = &state.tasks["arn:t-1"];
    assert_eq!((task.started_by.as_str(), task.definition.as_str()), ("ecs-svc/1", "arn:td/web:1"));
    assert_eq!(snapshot.newest.0, 1_767_225_600_500);
    assert_eq!(Snapshot::from_json("{}").unwrap().cluster_name(), "default");
    assert_eq!(snapshot.region(), "eu-west-1");
}

#[test]
fn what_the_snapshot_says_is_free_stays_free() {
    let mut document = document();
    document["containerInstances"][0]["remainingResources"] = json!([{"name": "CPU", "integerValue": 100}]);
    let snapshot = Snapshot::from_value(&document).unwrap();
    assert_eq!(snapshot.state.instances["arn:i-1"].other_cpu, 924);
}

#[test]
fn gpus_of_running_tasks_are_taken_and_the_snapshot_says_which() {
    let mut document = document();
    let gpus = json!([{"name": "GPU", "stringSetValue": ["g0", "g1", "g2", "g3"]}]);
    document["containerInstances"][0]["registeredResources"] = gpus;
    document["containerInstances"][0]["remainingResources"] = json!([{"name": "GPU", "stringSetValue": ["g0", "g3"]}]);
    document["taskDefinitions"][0]["containerDefinitions"][0]["resourceRequirements"] =
        json!([{"type": "GPU", "value": "1"}]);
    let snapshot = Snapshot::from_value(&document).unwrap();
    // One is the task's; the other one that isn't free is somebody's who is not known here.
    assert_eq!(snapshot.state.tasks["arn:t-1"].gpus, ["g1"]);
    assert_eq!(snapshot.state.instances["arn:i-1"].other_gpus, ["g2"]);
}

/// Where, what stands there, and how the complaint begins.
type Case<'a> = (&'static str, Value, &'a str);

fn check(cases: Vec<Case<'_>>) {
    for (pointer, value, expected) in cases {
        let mut document = document();
        set(&mut document, pointer, value);
        let error = Snapshot::from_value(&document).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{pointer}: {error}");
    }
}

#[test]
fn what_cannot_be_read_of_cluster_and_instances_names_its_place() {
    check(vec![
        ("/cluster", json!(1), "cluster: expected an object, not 1"),
        ("/cluster/clusterName", json!({}), "cluster.clusterName: expected text, not {}"),
        ("/cluster/tags", json!([{}]), "cluster.tags[0].key: expected text, not nothing"),
        ("/more", json!([]), "more: unknown; a snapshot has cluster, containerInstances, services, tasks"),
        ("/containerInstances", json!({}), "containerInstances: expected a list, not {}"),
        ("/containerInstances/0", json!("i"), "containerInstances[0]: expected an object, not \"i\""),
        (
            "/containerInstances/0/containerInstanceArn",
            json!(""),
            "containerInstances[0].containerInstanceArn: expected text, not \"\"",
        ),
        (
            "/containerInstances/0/agentConnected",
            json!("yes"),
            "containerInstances[0].agentConnected: expected true or",
        ),
        (
            "/containerInstances/0/registeredResources/0/integerValue",
            json!(-1),
            "containerInstances[0].registeredResources[0].integerValue: expected a whole number",
        ),
        (
            "/containerInstances/0/registeredResources/1/stringSetValue/0",
            json!("99999"),
            "containerInstances[0].registeredResources: \"99999\" is no port",
        ),
        (
            "/containerInstances/0/attributes/0/name",
            Value::Null,
            "containerInstances[0].attributes[0].name: expected text",
        ),
        (
            "/containerInstances/0/registeredAt",
            json!("yesterday"),
            "containerInstances[0].registeredAt: expected seconds since 1970 or an ISO 8601 date",
        ),
        ("/containerInstances/0/versionInfo", json!(1), "containerInstances[0].versionInfo: expected an object"),
    ]);
}

#[test]
fn what_cannot_be_read_of_capacity_providers_and_groups_names_its_place() {
    let of_group = "capacityProviders[0].autoScalingGroupProvider";
    check(vec![
        ("/capacityProviders/0/name", json!(1), "capacityProviders[0].name: expected text, not 1"),
        ("/capacityProviders/0/autoScalingGroupProvider", json!(1), &format!("{of_group}: expected an object")),
        (
            "/capacityProviders/0/autoScalingGroupProvider/autoScalingGroupArn",
            json!(""),
            &format!("{of_group}.autoScalingGroupArn: expected text"),
        ),
        (
            "/capacityProviders/0/autoScalingGroupProvider/managedScaling/targetCapacity",
            json!(0),
            &format!("{of_group}.managedScaling.targetCapacity: expected a percentage from 1 to 100, not 0"),
        ),
        ("/autoScalingGroups/0", json!("g"), "autoScalingGroups[0]: expected an object"),
        ("/autoScalingGroups/0/MinSize", json!(-1), "autoScalingGroups[0].MinSize: expected a whole number"),
    ]);
}

#[test]
fn what_cannot_be_read_of_services_names_its_place() {
    check(vec![
        ("/services/0/serviceName", Value::Null, "services[0].serviceName: expected text, not nothing"),
        ("/services/0/taskDefinition", Value::Null, "services[0].taskDefinition: expected text, not nothing"),
        ("/services/0/desiredCount", json!(1.5), "services[0].desiredCount: expected a whole number"),
        ("/services/0/desiredCount", json!(99_999_999_999_u64), "services[0].desiredCount: expected a whole number"),
        (
            "/services/0/placementStrategy",
            json!([{}, {}, {}, {}, {}, {}]),
            "services[0].placementStrategy: at most 5 placement strategies are allowed",
        ),
        ("/services/0/deploymentConfiguration", json!([]), "services[0].deploymentConfiguration: expected an object"),
        (
            "/services/0/deploymentConfiguration/minimumHealthyPercent",
            json!("half"),
            "services[0].deploymentConfiguration.minimumHealthyPercent: expected a whole number",
        ),
        ("/services/0/deployments/0/id", Value::Null, "services[0].deployments[0].id: expected text"),
        ("/services/0/loadBalancers/0", json!({}), "services[0].loadBalancers[0].loadBalancerName: expected text"),
        ("/services/0/events", json!([1]), "services[0].events[0]: expected an object"),
    ]);
}

#[test]
fn what_cannot_be_read_of_tasks_and_their_definitions_names_its_place() {
    check(vec![
        ("/tasks/0/startedAt", json!(1e300), "tasks[0].startedAt: expected seconds since 1970"),
        ("/taskDefinitions/0/taskDefinitionArn", Value::Null, "taskDefinitions[0].taskDefinitionArn: expected text"),
        (
            "/taskDefinitions/0/containerDefinitions/0/portMappings",
            json!([{"hostPort": 70_000}]),
            "taskDefinitions[0].containerDefinitions[0].portMappings[0].hostPort: expected a port",
        ),
        (
            "/taskDefinitions/0/placementConstraints",
            json!([{"type": "distinctInstance"}]),
            "taskDefinitions[0].placementConstraints[0].expression: expected text",
        ),
    ]);
}

#[test]
fn what_is_there_twice_is_refused() {
    for key in super::LISTS.into_iter().filter(|key| *key != "protectedTasks") {
        let mut document = document();
        let first = document[key][0].clone();
        document[key].as_array_mut().unwrap().push(first);
        let error = Snapshot::from_value(&document).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{key}[1]: is there twice")), "{error}");
    }
}

#[test]
fn text_that_is_no_json_or_no_object_is_refused() {
    for text in ["", "{", "[]", "1", "null", "\"a\"", "{\"tasks\": [}"] {
        assert!(Snapshot::from_json(text).is_err(), "{text}");
    }
    // Far deeper than any stack would carry.
    assert!(Snapshot::from_json(&"[".repeat(1 << 20)).is_err());
}

/// Sets what a JSON pointer names, or adds it to the object around it.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
}

/// Every place of a document, as JSON pointers.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    if !here.is_empty() {
        all.push(here.to_owned());
    }
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                places(value, &format!("{here}/{index}"), all);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                places(value, &format!("{here}/{key}"), all);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_stands_at_any_place_nothing_panics(place: prop::sample::Index, kind in 0_usize..8) {
        let mut all = Vec::new();
        places(&document(), "", &mut all);
        let wrong = [
            json!(null), json!(true), json!(-1), json!(i32::MAX), json!(""), json!("ä/:?"), json!([[]]), json!({"a": {}}),
        ];
        let mut document = document();
        set(&mut document, place.get::<String>(&all), wrong[kind].clone());
        if let Ok(snapshot) = Snapshot::from_value(&document) {
            let mut simulator = crate::Simulator::new(&snapshot, crate::Options::default()).unwrap();
            simulator.pass(crate::Moment(simulator.start().0 + 600_000));
        }
    }
}

#[test]
fn answers_of_the_cli_pasted_whole_read_as_their_lists_do() {
    let plain = document();
    let mut pasted = plain.clone();
    pasted["cluster"] = json!({"clusters": [plain["cluster"]], "failures": []});
    pasted["containerInstances"] = json!({"containerInstances": plain["containerInstances"], "failures": []});
    // Ten services, a hundred tasks are all that one answer holds.
    pasted["services"] = json!([{"services": plain["services"], "failures": []}, {"services": []}]);
    pasted["tasks"] = json!([{"tasks": [], "failures": []}, {"tasks": plain["tasks"]}]);
    pasted["capacityProviders"] = json!({"capacityProviders": plain["capacityProviders"], "failures": []});
    pasted["autoScalingGroups"] = json!({"AutoScalingGroups": plain["autoScalingGroups"]});
    pasted["taskDefinitions"] = json!([{"taskDefinition": plain["taskDefinitions"][0], "tags": []}]);
    let (plain, pasted) = (Snapshot::from_value(&plain).unwrap(), Snapshot::from_value(&pasted).unwrap());
    assert_eq!(format!("{:?}", pasted.state.tasks), format!("{:?}", plain.state.tasks));
    assert_eq!(format!("{:?}", pasted.state.services), format!("{:?}", plain.state.services));
    let groups = |snapshot: &Snapshot| format!("{:?}", snapshot.state.auto_scaling_groups);
    assert_eq!(groups(&pasted), groups(&plain));
    assert_eq!(pasted.state.auto_scaling_groups["g"].minimum, 1);
    assert_eq!(pasted.state.instances.len(), 1);
    assert_eq!(pasted.cluster_name(), "c");
}

#[test]
fn what_is_wrong_within_a_pasted_answer_names_its_place() {
    check(vec![
        ("/services", json!({"services": [{"serviceName": 1}]}), "services.services[0].serviceName: expected text"),
        (
            "/services",
            json!([{"services": [{"serviceName": 1}]}]),
            "services[0].services[0].serviceName: expected text",
        ),
        ("/tasks", json!({"tasks": 1}), "tasks.tasks: expected a list, not 1"),
        ("/cluster", json!({"clusters": []}), "cluster.clusters: expected one cluster, not []"),
        ("/takenAt", json!("today"), "takenAt: expected seconds since 1970 or an ISO 8601 date"),
    ]);
}

#[test]
fn the_clock_starts_when_the_snapshot_was_taken_and_no_date_in_it_is_later() {
    let mut document = document();
    let newest = Snapshot::from_value(&document).unwrap().newest;
    for (taken, expected) in [(1_800_000_000, 1_800_000_000_000), (1, newest.0)] {
        document["takenAt"] = json!(taken);
        assert_eq!(Snapshot::from_value(&document).unwrap().newest.0, expected);
    }
}

#[test]
fn what_a_newer_ecs_says_is_kept_and_noted() {
    for (pointer, value, note) in [
        ("/containerInstances/0/status", json!("UP"), "containerInstances[0].status: is kept"),
        ("/capacityProviders/0/status", json!("UP"), "capacityProviders[0].status: is kept"),
        ("/services/0/launchType", json!("EC3"), "services[0].launchType: is kept"),
        ("/services/0/placementStrategy/0/type", json!("scatter"), "services[0].placementStrategy[0].type: is kept"),
        ("/services/0/placementStrategy/0/field", json!("rack"), "services[0].placementStrategy[0].field: is kept"),
        (
            "/services/0/placementConstraints/0/expression",
            json!("attribute:state =~ ^(?!drain).*$"),
            "services[0].placementConstraints[0].expression: is kept, but isn't understood",
        ),
        ("/services/0/deployments/0/rolloutState", json!("DONE"), "services[0].deployments[0].rolloutState: is kept"),
        (
            "/tasks/0/group",
            json!("service:api"),
            "tasks[0].group: is kept, though the snapshot doesn't hold this service",
        ),
        (
            "/tasks/0/containerInstanceArn",
            json!("arn:i-2"),
            "tasks[0].containerInstanceArn: is kept, though the snapshot doesn't hold this instance",
        ),
        ("/tasks/0/lastStatus", json!("WALKING"), "tasks[0].lastStatus: is kept"),
        ("/tasks/0/healthStatus", json!("ILL"), "tasks[0].healthStatus: is kept"),
        (
            "/containerInstances/0/healthStatus",
            json!({"overallStatus": "ILL"}),
            "containerInstances[0].healthStatus.overallStatus: is kept",
        ),
        ("/taskDefinitions/0/networkMode", json!("wifi"), "taskDefinitions[0].networkMode: is kept"),
    ] {
        let mut document = document();
        document["tasks"][0]["taskDefinitionArn"] = json!("arn:td/web:1");
        set(&mut document, pointer, value);
        let snapshot = Snapshot::from_value(&document).unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        let [noted] = snapshot.notes() else { panic!("{pointer}: {:?}", snapshot.notes()) };
        assert!(noted.starts_with(note), "{pointer}: {noted}");
    }
    assert_eq!(Snapshot::from_value(&document()).unwrap().notes(), Vec::<String>::new());
}

#[test]
fn numbers_and_truths_may_be_text_and_one_answer_is_a_document() {
    let mut text = document();
    for (pointer, value) in [
        ("/services/0/desiredCount", json!("1")),
        ("/containerInstances/0/agentConnected", json!("true")),
        ("/tasks/0/startedAt", json!("1760000000.5")),
    ] {
        set(&mut text, pointer, value);
    }
    let snapshot = Snapshot::from_value(&text).unwrap();
    assert_eq!(snapshot.notes(), Vec::<String>::new());
    let definition = &document()["taskDefinitions"][0];
    for (answer, definitions) in [
        (json!({"taskDefinition": definition, "tags": []}), 1),
        (json!({"taskDefinitions": {"taskDefinition": definition, "tags": []}}), 1),
        (json!({"clusters": [{"clusterName": "prod"}], "failures": []}), 0),
        (json!({"containerInstances": document()["containerInstances"], "failures": []}), 0),
    ] {
        let snapshot = Snapshot::from_value(&answer).unwrap_or_else(|error| panic!("{answer}: {error:#}"));
        assert_eq!(snapshot.state.definitions.len(), definitions, "{answer}");
    }
}

#[test]
fn protection_is_read_as_get_task_protection_answers() {
    let mut document = document();
    let task = document["tasks"][0]["taskArn"].clone();
    document["protectedTasks"] = json!({"protectedTasks": [
        {"taskArn": task, "protectionEnabled": true, "expirationDate": 1_900_000_000},
        {"taskArn": "arn:gone", "protectionEnabled": true, "expirationDate": 1_900_000_000},
    ], "failures": []});
    let snapshot = Snapshot::from_value(&document).unwrap();
    let known = &snapshot.state.tasks[task.as_str().unwrap()];
    assert_eq!(known.protected_until.map(|until| until.0), Some(1_900_000_000_000));
    assert_eq!(snapshot.notes().len(), 1, "{:?}", snapshot.notes());
}
