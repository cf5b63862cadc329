//! The wire: envelopes, bodies, errors, pages; and that nothing a client sends makes it panic.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{LARGEST_BODY, cbor};
use crate::{Answer, testing::Bench};

const ECS: &str = "AmazonEC2ContainerServiceV20141113.";
const CLOUDWATCH: &str = "/service/GraniteServiceVersion20100801/operation/";

fn send(request: &Request<Bytes>) -> Response<Bytes> {
    let mut bench = Bench::new("a i-1 web web\nb i-2");
    let now = bench.now;
    match bench.simulator.respond(request, now) {
        Answer::Response(response) => response,
        Answer::Dropped => panic!("no fault was asked for"),
    }
}

fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_cannot_be_understood_is_refused_in_the_services_own_way() {
    let target = |operation: &str| format!("{ECS}{operation}");
    let long = "x".repeat(LARGEST_BODY + 1);
    for (operation, body, status, code) in [
        ("ListTasks", "", 200, ""),
        ("ListTasks", "{}", 200, ""),
        ("ListTasks", "{", 400, "SerializationException"),
        ("ListTasks", "[]", 400, "SerializationException"),
        ("ListTasks", "{\"cluster\": 1}", 400, "InvalidParameterException"),
        ("ListTasks", "{\"cluster\": \"no\"}", 400, "ClusterNotFoundException"),
        ("ListTasks", "{\"serviceName\": \"no\"}", 400, "ServiceNotFoundException"),
        ("ListTasks", "{\"startedBy\": \"x\", \"family\": \"y\"}", 400, "InvalidParameterException"),
        ("ListTasks", "{\"maxResults\": 101}", 400, "InvalidParameterException"),
        ("ListTasks", "{\"nextToken\": \"never given\"}", 400, "InvalidParameterException"),
        ("DescribeServices", "{\"services\": []}", 400, "InvalidParameterException"),
        ("DescribeTaskDefinition", "{\"taskDefinition\": \"no\"}", 400, "ClientException"),
        ("StopTask", "{\"task\": \"no\"}", 400, "InvalidParameterException"),
        ("Frobnicate", "{}", 400, "UnknownOperationException"),
        ("", "{}", 400, "UnknownOperationException"),
        ("ListTasks", &long, 413, "RequestEntityTooLarge"),
    ] {
        let response = send(&post("/", &[("x-amz-target", &target(operation))], body.to_owned()));
        let answer: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(response.status(), status, "{operation} {answer}");
        assert_eq!(answer["__type"].as_str().unwrap_or_default(), code, "{operation} {answer}");
    }
}

#[test]
fn a_body_that_grows_too_large_when_it_is_decompressed_is_refused() {
    let zeros = gzip(&vec![b' '; LARGEST_BODY + 1]);
    assert!(zeros.len() < LARGEST_BODY / 100);
    let target = format!("{ECS}ListTasks");
    let headers = [("x-amz-target", target.as_str()), ("content-encoding", "gzip")];
    assert_eq!(send(&post("/", &headers, zeros)).status(), 413);
    assert_eq!(send(&post("/", &headers, gzip(b"{}"))).status(), 200);
    assert_eq!(send(&post("/", &headers, "no gzip")).status(), 400);
}

#[test]
fn cloudwatch_refuses_in_each_protocol_as_clients_of_it_expect() {
    let bad = json!({"Namespace": "AWS/ECS", "MetricData": [{"MetricName": "a", "Value": 1}]});
    let in_cbor =
        send(&post(&format!("{CLOUDWATCH}PutMetricData"), &[("smithy-protocol", "rpc-v2-cbor")], cbor::encode(&bad)));
    assert_eq!(in_cbor.status(), 400);
    assert_eq!(in_cbor.headers()["smithy-protocol"], "rpc-v2-cbor");
    assert_eq!(in_cbor.headers()["x-amzn-query-error"], "InvalidParameterValue;Sender");
    let answer = cbor::decode(in_cbor.body()).unwrap();
    assert_eq!(answer["__type"], "com.amazonaws.cloudwatch#InvalidParameterValueException");

    let headers = [("x-amz-target", "GraniteServiceVersion20100801.PutMetricData")];
    let in_json = send(&post("/", &headers, bad.to_string()));
    assert_eq!(in_json.headers()["x-amzn-query-error"], "InvalidParameterValue;Sender");
    let answer: Value = serde_json::from_slice(in_json.body()).unwrap();
    assert_eq!(answer["__type"], "com.amazonaws.cloudwatch#InvalidParameterValueException");

    let form = "Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FECS&MetricData.member.1.MetricName=a&MetricData.member.1.Value=1";
    let in_xml = send(&post("/", &[("content-type", "application/x-www-form-urlencoded")], form));
    let text = String::from_utf8_lossy(in_xml.body()).into_owned();
    assert!(text.contains("<Type>Sender</Type><Code>InvalidParameterValue</Code>"), "{text}");
}

#[test]
fn data_that_cloudwatch_refuses_are_refused_whole() {
    let datum = |changes: Value| {
        let mut datum = json!({"MetricName": "a"});
        for (key, value) in changes.as_object().unwrap() {
            datum[key] = value.clone();
        }
        datum
    };
    let many = |number: usize| -> Value { (0..number).map(|_| json!(1)).collect() };
    let dimensions =
        |number: usize| -> Value { (0..number).map(|n| json!({"Name": format!("d{n}"), "Value": "x"})).collect() };
    for (bad, is_bad) in [
        (json!({"Value": 1}), false),
        (json!({"Value": 0.5, "Unit": "Percent"}), false),
        (json!({"Values": [1, 2], "Counts": [3, 4]}), false),
        (json!({"Values": many(150)}), false),
        (json!({"StatisticValues": {"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2}}), false),
        (json!({"Value": 1, "Dimensions": dimensions(30)}), false),
        (json!({}), true),
        (json!({"Value": "NaN"}), true),
        (json!({"Value": "inf"}), true),
        (json!({"Value": 1e300}), true),
        (json!({"Values": many(151)}), true),
        (json!({"Values": [1, 2], "Counts": [3]}), true),
        (json!({"Value": 1, "Values": [1]}), true),
        (json!({"Value": 1, "Unit": "Bananas"}), true),
        (json!({"Value": 1, "Timestamp": 0}), true),
        (json!({"Value": 1, "Dimensions": dimensions(31)}), true),
        (json!({"Value": 1, "Dimensions": [{"Name": "d", "Value": ""}]}), true),
        (json!({"Value": 1, "Dimensions": [{"Name": "d", "Value": "ä"}]}), true),
        (json!({"Value": 1, "MetricName": ""}), true),
    ] {
        let mut bench = Bench::new("a i-1");
        let input = json!({"Namespace": "N", "MetricData": [{"MetricName": "good", "Value": 1}, datum(bad)]});
        let refused = bench.cloudwatch("PutMetricData", &input).is_err();
        assert_eq!(refused, is_bad, "{input}");
        assert_eq!(bench.simulator.metrics().all().is_empty(), is_bad, "{input}");
    }
    let input = json!({"Namespace": "N", "MetricData": (0..1001).map(|_| json!({"MetricName": "a", "Value": 1})).collect::<Vec<_>>()});
    assert!(Bench::new("a i-1").cloudwatch("PutMetricData", &input).is_err());
}

#[test]
fn pages_together_are_the_whole_and_a_full_last_one_has_no_token() {
    let names: String = (1..=30).map(|number| format!("a i-{number} s{number}\n")).collect();
    for (operation, key, size, pages) in [
        ("ListServices", "serviceArns", None, 3),
        ("ListServices", "serviceArns", Some(30), 1),
        ("ListServices", "serviceArns", Some(7), 5),
        ("ListTasks", "taskArns", None, 1),
        ("ListTasks", "taskArns", Some(10), 3),
        ("ListContainerInstances", "containerInstanceArns", Some(29), 2),
        ("ListAttributes", "attributes", Some(50), 2),
    ] {
        let mut bench = Bench::new(&names);
        let mut input = json!({"maxResults": size, "targetType": "container-instance"});
        let (mut seen, mut turns) = (std::collections::BTreeSet::new(), 0);
        loop {
            let answer = bench.ecs(operation, &input).unwrap();
            seen.extend(answer[key].as_array().unwrap().iter().map(ToString::to_string));
            turns += 1;
            if answer["nextToken"].is_null() {
                break;
            }
            input["nextToken"] = answer["nextToken"].clone();
        }
        assert_eq!((seen.len() % 30, turns), (0, pages), "{operation} {size:?}");
    }
}

#[test]
fn batches_have_their_limits_and_name_what_is_missing() {
    let ids = |number: usize| -> Vec<String> { (0..number).map(|number| format!("x{number}")).collect() };
    for (operation, key, limit) in [
        ("DescribeServices", "services", 10),
        ("DescribeTasks", "tasks", 100),
        ("DescribeContainerInstances", "containerInstances", 100),
        ("DescribeClusters", "clusters", 100),
        ("GetTaskProtection", "tasks", 100),
    ] {
        let mut bench = Bench::new("a i-1 web");
        let answer = bench.ecs(operation, &json!({key: ids(limit)})).unwrap();
        assert_eq!(answer["failures"].as_array().unwrap().len(), limit, "{operation}");
        assert_eq!(answer["failures"][0]["reason"], "MISSING", "{operation}");
        let refused = bench.ecs(operation, &json!({key: ids(limit + 1)})).unwrap_err();
        assert!(refused.starts_with("InvalidParameterException"), "{operation}: {refused}");
    }
}

#[test]
fn a_burst_beyond_the_bucket_is_throttled_and_its_refill_is_served() {
    let mut bench = Bench::new("a i-1 web");
    let served = |bench: &mut Bench| (0..120).filter(|_| bench.ecs("ListServices", &json!({})).is_ok()).count();
    assert_eq!(served(&mut bench), 100);
    let refused = bench.ecs("DescribeServices", &json!({"services": ["web"]})).unwrap_err();
    assert_eq!(refused, "ThrottlingException: Rate exceeded");
    bench.wait(1);
    assert_eq!(served(&mut bench), 20);
    assert_eq!(bench.simulator.throttled(), 121);
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["web", "default", "RUNNING", "ACTIVE", "i-1", "attribute:x == y", "TAGS"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

/// Members of requests that the operations look at.
const KEYS: [&str; 32] = [
    "cluster",
    "services",
    "service",
    "tasks",
    "task",
    "maxResults",
    "nextToken",
    "desiredCount",
    "placementStrategy",
    "placementConstraints",
    "type",
    "field",
    "expression",
    "taskDefinition",
    "containerInstances",
    "status",
    "tags",
    "key",
    "value",
    "resourceArn",
    "Namespace",
    "MetricData",
    "MetricName",
    "Value",
    "Values",
    "Dimensions",
    "attributes",
    "name",
    "targetId",
    "family",
    "containerDefinitions",
    "filter",
];

const OPERATIONS: [&str; 32] = [
    "ListClusters",
    "ListServices",
    "ListContainerInstances",
    "ListTasks",
    "ListAttributes",
    "ListTagsForResource",
    "ListTaskDefinitions",
    "ListServiceDeployments",
    "DescribeClusters",
    "DescribeServices",
    "DescribeContainerInstances",
    "DescribeTasks",
    "DescribeTaskDefinition",
    "DescribeCapacityProviders",
    "GetTaskProtection",
    "UpdateService",
    "StopTask",
    "UpdateTaskProtection",
    "TagResource",
    "UntagResource",
    "PutAttributes",
    "DeleteAttributes",
    "UpdateContainerInstancesState",
    "RegisterTaskDefinition",
    "DeleteService",
    "CreateService",
    "RunTask",
    "DescribeServiceDeployments",
    "DeregisterContainerInstance",
    "StartTask",
    "ListTaskDefinitionFamilies",
    "DeregisterTaskDefinition",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_bytes_come_the_answer_is_the_services(
        path in prop::sample::select(vec!["/", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "/x"]),
        target in prop::sample::select(vec!["", "AmazonEC2ContainerServiceV20141113.ListTasks", "GraniteServiceVersion20100801.ListMetrics", "Nobody.Nothing"]),
        encoding in prop::sample::select(vec!["", "gzip", "br"]),
        kind in prop::sample::select(vec!["", "application/x-www-form-urlencoded", "application/cbor"]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let headers = [("x-amz-target", target), ("content-encoding", encoding), ("content-type", kind)];
        let response = send(&post(path, &headers, body));
        prop_assert!(response.status() == 200 || response.status() == 400);
        prop_assert!(response.headers().contains_key("x-amzn-requestid"));
    }

    #[test]
    fn whatever_members_come_the_answer_is_the_services_and_the_cluster_goes_on(
        operation in prop::sample::select(OPERATIONS.to_vec()),
        input in prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), json_values(), 0..8),
    ) {
        let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web lb=true");
        let input = Value::Object(input.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        let _ = bench.ecs(operation, &input);
        let _ = bench.cloudwatch("PutMetricData", &input);
        bench.wait(120);
        let still_there = bench.ecs("DescribeServices", &json!({"services": ["web"]})).is_ok();
        prop_assert!(still_there);
    }
}

#[test]
fn target_groups_are_those_that_services_name() {
    let drawing = "a i-1 web api db\nservice web lb=true\nservice api lb=true awsvpc=true\nservice db";
    let mut bench = Bench::with(drawing, &["target-checks=2x10s"], &[]);
    let mut ask = |parameters: &str| bench.query("2015-12-01", "DescribeTargetGroups", parameters);
    let all = ask("");
    for (told, times) in [
        ("<TargetGroupArn>", 2),
        ("<TargetType>instance</TargetType>", 1),
        ("<TargetType>ip</TargetType>", 1),
        ("<HealthCheckIntervalSeconds>10</HealthCheckIntervalSeconds>", 2),
        ("<HealthCheckTimeoutSeconds>5</HealthCheckTimeoutSeconds>", 2),
        ("<HealthyThresholdCount>2</HealthyThresholdCount>", 2),
        ("<NextMarker>", 0),
    ] {
        assert_eq!(all.matches(told).count(), times, "{told} in {all}");
    }
    let first = ask("PageSize=1");
    let marker = first.split("<NextMarker>").nth(1).unwrap().split('<').next().unwrap();
    let second = ask(&format!("PageSize=1&Marker={marker}"));
    assert_ne!(first.split("<TargetGroupArn>").nth(1), second.split("<TargetGroupArn>").nth(1));
    assert!(ask("Names.member.1=none").contains("TargetGroupNotFound"));
    assert!(ask("Marker=never").contains("ValidationError"));
}
