//! Each fault between a client and the control plane, on a drawn cluster.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{Answer, Delay, Moment, testing::Bench, timeline::By};

const TWO: &str = "a i-1 web web\nb i-2\nservice web strategy=spread:instanceId";

fn request(operation: &str, input: &Value) -> Request<Bytes> {
    let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
    Request::post("/").header("x-amz-target", target).body(Bytes::from(input.to_string())).unwrap()
}

/// Status, content type and body of an answer.
fn raw(bench: &mut Bench, operation: &str, input: &Value) -> (u16, String, String) {
    let Answer::Response(response) = bench.simulator.respond(&request(operation, input), bench.now) else { panic!() };
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), kind, String::from_utf8(response.body().to_vec()).unwrap())
}

#[test]
fn an_outage_lasts_as_long_as_it_is_set_and_nothing_takes_effect() {
    let mut bench = Bench::with(TWO, &[], &["outage=UpdateService:10-30", "outage=ecs:60-70"]);
    let raise = json!({"service": "web", "desiredCount": 3});
    bench.wait(10);
    let (status, _, body) = raw(&mut bench, "UpdateService", &raise);
    assert_eq!((status, body.contains("ServerException")), (500, true), "{body}");
    assert_eq!(bench.service("web")["desiredCount"], 2);
    bench.wait(20);
    assert_eq!(raw(&mut bench, "UpdateService", &raise).0, 200);
    bench.wait(30);
    assert_eq!(raw(&mut bench, "ListServices", &json!({})).0, 500);
    bench.wait(10);
    assert_eq!(bench.service("web")["desiredCount"], 3);
}

#[test]
fn wrong_answers_are_told_from_ecs_s_own() {
    let faults = [
        "expired-token=DescribeServices:#1",
        "html-page=DescribeServices:#2",
        "html-error=DescribeServices:#3",
        "half-body=DescribeServices:#4",
        "empty-answer=DescribeServices:#5",
        "missing=DescribeServices:#6",
    ];
    let mut bench = Bench::with(TWO, &[], &faults);
    let asked = json!({"services": ["web"]});
    let mut shown = || raw(&mut bench, "DescribeServices", &asked);
    let (status, _, body) = shown();
    assert_eq!((status, body.contains("\"__type\":\"ExpiredTokenException\"")), (400, true), "{body}");
    let (status, kind, body) = shown();
    assert_eq!((status, kind.as_str(), body.starts_with("<html>")), (200, "text/html", true));
    let (status, kind, _) = shown();
    assert_eq!((status, kind.as_str()), (503, "text/html"));
    let (status, _, body) = shown();
    assert_eq!((status, serde_json::from_str::<Value>(&body).is_err()), (200, true), "{body}");
    assert_eq!(shown().2, "{}");
    let body: Value = serde_json::from_str(&shown().2).unwrap();
    assert_eq!(body, json!({"services": [], "failures": [{"arn": "web", "reason": "MISSING"}]}));
    assert_eq!(bench.service("web")["desiredCount"], 2, "the seventh answer is ECS's again");
}

#[test]
fn half_a_body_comes_after_the_effect_and_a_page_instead_of_it() {
    for (fault, count) in [("half-body", 3), ("empty-answer", 3), ("html-page", 2), ("expired-token", 2)] {
        let mut bench = Bench::with(TWO, &[], &[&format!("{fault}=UpdateService:#1")]);
        raw(&mut bench, "UpdateService", &json!({"service": "web", "desiredCount": 3}));
        assert_eq!(bench.service("web")["desiredCount"], count, "{fault}");
    }
}

#[test]
fn requests_and_answers_are_held_by_number_by_time_and_by_share() {
    let delays = |faults: &[&str], seconds: &[i64]| -> Vec<Delay> {
        let mut bench = Bench::with(TWO, &[], faults);
        let start = bench.now;
        let asked = request("TagResource", &json!({}));
        seconds.iter().map(|second| bench.simulator.delay(&asked, Moment(start.0 + second * 1000))).collect()
    };
    let held = |request, answer| Delay { request: Duration::from_secs(request), answer: Duration::from_secs(answer) };
    assert_eq!(delays(&["held-request=TagResource:#2:25"], &[0, 1, 2]), [held(0, 0), held(25, 0), held(0, 0)]);
    assert_eq!(delays(&["held-answer=all:1-2:31"], &[0, 1, 2]), [held(0, 0), held(0, 31), held(0, 0)]);
    assert_eq!(delays(&["held-request=StopTask:#1:25"], &[0]), [held(0, 0)]);
    let shared = delays(&["held-requests=0.5", "held-answers=0.5"], &[0; 400]);
    let requests: Vec<f64> = shared.iter().map(|it| it.request.as_secs_f64()).filter(|it| *it > 0.0).collect();
    let answers = shared.iter().filter(|it| !it.answer.is_zero()).count();
    assert!((150..250).contains(&requests.len()) && (150..250).contains(&answers), "{} {answers}", requests.len());
    assert!(requests.iter().all(|seconds| *seconds <= 40.0) && requests.iter().any(|seconds| *seconds > 35.0));
    assert_eq!(shared, delays(&["held-requests=0.5", "held-answers=0.5"], &[0; 400]), "the seed decides");
}

#[test]
fn reads_lag_behind_and_show_one_moment_whole() {
    let mut bench = Bench::with(TWO, &[], &["reads-lag=10"]);
    let cluster = bench.simulator.world.state.cluster_arn.clone();
    bench.wait(60);
    bench.update("web", json!({"desiredCount": 3}));
    bench.ecs("TagResource", &json!({"resourceArn": cluster, "tags": [{"key": "a", "value": "b"}]})).unwrap();
    let look = |bench: &mut Bench| {
        let tags = bench.ecs("DescribeClusters", &json!({"clusters": ["default"], "include": ["TAGS"]})).unwrap();
        let tasks = bench.ecs("ListTasks", &json!({"serviceName": "web"})).unwrap();
        let tasks = tasks["taskArns"].as_array().unwrap().len();
        (bench.service("web")["desiredCount"].clone(), tasks, tags["clusters"][0]["tags"].as_array().unwrap().len())
    };
    assert_eq!(look(&mut bench), (json!(2), 2, 0));
    bench.wait(9);
    assert_eq!(look(&mut bench), (json!(2), 2, 0), "the third task was started meanwhile");
    assert_eq!(bench.simulator.service("web").unwrap().tasks.len(), 3);
    bench.wait(1);
    assert_eq!(look(&mut bench), (json!(3), 2, 1));
    bench.wait(10);
    assert_eq!(look(&mut bench), (json!(3), 3, 1));
    let drawn = Bench::with(TWO, &[], &["reads-lag=0-15"]).service("web")["desiredCount"].clone();
    assert_eq!(drawn, 2);
}

#[test]
fn protection_may_come_late_or_be_refused() {
    for (late, kept) in [("late-protection=0", true), ("late-protection=30", false)] {
        let mut bench = Bench::with("a i-1 web web\nb i-2\nservice web", &["ties=first"], &[late]);
        let tasks: Vec<String> = bench.simulator.service("web").unwrap().tasks.into_keys().collect();
        let answer = bench.ecs("UpdateTaskProtection", &json!({"tasks": tasks, "protectionEnabled": true})).unwrap();
        assert_eq!(answer["failures"], json!([]));
        bench.update("web", json!({"desiredCount": 1}));
        bench.wait(60);
        assert_eq!(bench.simulator.service("web").unwrap().tasks.len() == 2, kept, "{late}");
    }
    let mut bench = Bench::with(TWO, &[], &["refused-protection=1"]);
    let tasks: Vec<String> = bench.simulator.service("web").unwrap().tasks.into_keys().collect();
    let answer = bench.ecs("UpdateTaskProtection", &json!({"tasks": tasks, "protectionEnabled": true})).unwrap();
    assert_eq!(answer["protectedTasks"], json!([]));
    for failure in answer["failures"].as_array().unwrap() {
        assert!(["DEPLOYMENT_BLOCKED", "TASK_NOT_VALID"].contains(&failure["reason"].as_str().unwrap()), "{failure}");
    }
    assert_eq!(bench.simulator.service("web").unwrap().protected, Vec::<String>::new());
    bench.ecs("UpdateTaskProtection", &json!({"tasks": tasks, "protectionEnabled": false})).unwrap();
}

#[test]
fn the_caller_of_a_change_is_told_and_starts_beyond_the_maximum_too() {
    let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web max=150");
    let mut raise = request("UpdateService", &json!({"service": "web", "desiredCount": 4}));
    raise.headers_mut().insert(crate::CALLER, "run-7".parse().unwrap());
    bench.simulator.respond(&raise, bench.now);
    bench.wait(60);
    let history = &bench.simulator.timeline().services()["web"];
    assert_eq!(history.count_changes[0].by, By::Caller("run-7".to_owned()));
    let excesses: Vec<_> = history.excesses.iter().map(|excess| (excess.tasks, excess.limit)).collect();
    assert_eq!((excesses, history.most_tasks), (vec![(4, 3)], 4));
    assert!(bench.simulator.set_desired_count("web", 8));
    bench.wait(60);
    let history = &bench.simulator.timeline().services()["web"];
    assert_eq!((history.excesses.len(), history.most_tasks), (1, 8), "who owns the service may set any count");
}

#[test]
fn what_replaces_a_task_that_was_stopped_by_hand_is_no_start_beyond_the_maximum() {
    let mut bench = Bench::with("a i-1 web web web web web web\nservice web max=100", &["stop-reaction=0s"], &[]);
    let tasks: Vec<String> = bench.simulator.service("web").unwrap().tasks.into_keys().collect();
    for task in &tasks {
        bench.ecs("StopTask", &json!({"task": task})).unwrap();
        bench.wait(2);
    }
    bench.wait(120);
    let history = &bench.simulator.timeline().services()["web"];
    assert!(history.most_tasks > 6, "some started while others were stopping: {}", history.most_tasks);
    assert_eq!(history.excesses, []);
}
