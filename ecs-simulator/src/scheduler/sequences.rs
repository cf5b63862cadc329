//! Would the simulator produce this? Sequences of events as time-stamped public logs of 2017 to 2026 have them, with their
//! intervals: each is played under several seeds, and none may fall outside.

use serde_json::{Value, json};

use crate::testing::Bench;

const BEHIND: &str = "a i-1 web web\nb i-2\nservice web lb=true";
const SEEDS: u64 = 12;

/// What a service told since its first moment here, oldest first, without its ids: `(seconds, what)`.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
fn told(bench: &mut Bench) -> Vec<(f64, String)> {
    let start = bench.simulator.start().0 as f64 / 1000.0;
    let service = bench.service("web");
    let mut events: Vec<(f64, String)> = service["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["createdAt"].as_f64().unwrap() - start, short(event["message"].as_str().unwrap())))
        .collect();
    events.reverse();
    events
}

/// The verb of an event, and how many it is about.
fn short(message: &str) -> String {
    let (_, rest) = message.split_once(") ").unwrap();
    let rest = rest.strip_prefix("(deployment ").and_then(|rest| rest.split_once(") ")).map_or(rest, |(_, rest)| rest);
    rest.split(" in (target-group").next().unwrap().split(':').next().unwrap().trim_end_matches('.').to_owned()
}

/// When something was told first from a second on.
#[track_caller]
fn at(events: &[(f64, String)], from: f64, what: &str) -> f64 {
    let found = events.iter().find(|(at, told)| *at >= from && told == what);
    found.unwrap_or_else(|| panic!("{what} is missing from {from} on in {events:#?}")).0
}

#[track_caller]
fn within(span: f64, low: f64, high: f64, what: &str) {
    assert!((low..=high).contains(&span), "{what}: {span} s, where logs have {low} to {high}");
}

#[test]
fn a_rolling_deployment_behind_a_load_balancer() {
    for (delay, seconds) in [("30s", (38.0, 75.0)), ("300s", (308.0, 410.0))] {
        for seed in 0..SEEDS {
            let behaviour = ["target-checks=2x10s", &format!("deregistration-delay={delay}")];
            let mut bench = Bench::seeded(BEHIND, &behaviour, &[], seed);
            bench.wait(60);
            bench.update("web", json!({"forceNewDeployment": true}));
            bench.wait(900);
            let events = told(&mut bench);
            let order: Vec<&str> = events.iter().map(|(_, what)| what.as_str()).collect();
            let started = at(&events, 60.0, order.first().unwrap());
            within(started - 60.0, 4.0, 30.0, "update to first start");
            let registered = events.iter().find(|(_, what)| what.starts_with("registered")).unwrap().0;
            within(registered - started, 16.0, 65.0, "start to registered");
            let stopped = events.iter().find(|(_, what)| what.starts_with("has stopped")).unwrap().0;
            within(stopped - registered, 10.0, 72.0, "registered to stop of the old");
            let last_stop = events.iter().rfind(|(_, what)| what.starts_with("has stopped")).unwrap().0;
            let off = events.iter().find(|(_, what)| what.starts_with("deregistered")).unwrap().0;
            within(off - stopped, 8.0, 14.0, "stop to deregistered");
            let draining = events.iter().find(|(_, what)| what.starts_with("has begun draining")).unwrap().0;
            within(draining - off, 0.0, 1.0, "deregistered to draining");
            let completed = at(&events, stopped, "deployment completed");
            within(completed - last_stop, seconds.0, seconds.1, "stop to deployment completed");
            let steady = at(&events, completed, "has reached a steady state");
            within(steady - completed, 8.0, 14.0, "completed to steady");
            assert!(
                events.iter().all(|(at, what)| what != "has reached a steady state" || *at >= completed),
                "{events:#?}"
            );
        }
    }
}

#[test]
fn until_2021_tasks_were_drained_before_they_were_said_to_be_stopped() {
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded(BEHIND, &["stop-order=until-2021", "deregistration-delay=30s"], &[], seed);
        bench.update("web", json!({"desiredCount": 1}));
        bench.wait(300);
        let events = told(&mut bench);
        let (off, draining, stopped) = (
            at(&events, 0.0, "deregistered 1 targets"),
            at(&events, 0.0, "has begun draining connections on 1 tasks"),
            at(&events, 0.0, "has stopped 1 running tasks"),
        );
        within(draining - off, 0.0, 1.0, "deregistered to draining");
        within(stopped - draining, 30.0, 45.0, "draining to stopped");
    }
}

#[test]
fn somebody_stops_a_task_and_the_scheduler_reacts_half_a_minute_later() {
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded(BEHIND, &[], &[], seed);
        bench.wait(60);
        let task = bench.simulator.service("web").unwrap().tasks.into_keys().next().unwrap();
        bench.ecs("StopTask", &json!({"task": task})).unwrap();
        bench.wait(120);
        let events = told(&mut bench);
        within(at(&events, 0.0, "has started 1 tasks") - 60.0, 25.0, 42.0, "StopTask to replacement");
        within(at(&events, 0.0, "deregistered 1 targets") - 60.0, 25.0, 42.0, "StopTask to deregistered");
        assert!(
            events.iter().all(|(_, what)| !what.starts_with("has stopped")),
            "it wasn't the scheduler: {events:#?}"
        );
    }
}

#[test]
fn without_load_balancer_and_checks_a_started_task_is_soon_steady() {
    let mut quick = 0;
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded("a i-1 web\nb i-2", &[], &[], seed);
        bench.update("web", json!({"desiredCount": 2}));
        bench.wait(120);
        let events = told(&mut bench);
        let span = at(&events, 0.0, "has reached a steady state") - at(&events, 0.0, "has started 1 tasks");
        within(span, 8.0, 40.0, "start to steady");
        quick += u32::from(span <= 13.0);
    }
    assert!(quick > 0, "logs have 10 to 13 s");
}

#[test]
fn a_steady_state_is_told_again_every_six_hours() {
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded("a i-1 web\nb i-2", &[], &[], seed);
        bench.update("web", json!({"desiredCount": 2}));
        bench.wait(13 * 3600);
        let steady: Vec<f64> = told(&mut bench)
            .into_iter()
            .filter(|(_, what)| what == "has reached a steady state")
            .map(|(at, _)| at)
            .collect();
        // Before the change the service may have been due to be told so.
        let gaps: Vec<f64> = steady.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let last = gaps.last().unwrap();
        within(*last, 21_612.0, 21_629.0, "steady to steady");
    }
}

#[test]
fn a_look_tells_of_all_its_tasks_in_one_line() {
    let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web desired=2");
    bench.update("web", json!({"desiredCount": 8}));
    bench.wait(120);
    let message = bench.service("web")["events"][1]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("(service web) has started 6 tasks: (task "), "{message}");
    assert_eq!(message.matches("(task ").count(), 6, "{message}");
    bench.update("web", json!({"desiredCount": 3}));
    bench.wait(60);
    let events = told(&mut bench);
    assert!(events.iter().any(|(_, what)| what == "has stopped 5 running tasks"), "{events:#?}");
}

#[test]
fn a_target_that_fails_its_checks_is_told_and_replaced() {
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded(BEHIND, &["target-checks=2x10s"], &["failing-targets=1"], seed);
        bench.update("web", json!({"desiredCount": 3}));
        bench.wait(80);
        bench.simulator.calm();
        bench.wait(300);
        let events = told(&mut bench);
        let sick = events.iter().find(|(_, what)| what.contains("is unhealthy")).unwrap().0;
        within(at(&events, sick, "has started 1 tasks") - sick, 8.0, 35.0, "unhealthy to replacement");
        let replaced = "Amazon ECS replaced 1 tasks due to an unhealthy status";
        assert!(events.iter().any(|(_, what)| what == replaced), "{events:#?}");
        assert_eq!(bench.simulator.service("web").unwrap().tasks.len(), 3);
    }
}

#[test]
fn at_a_maximum_of_100_percent_the_replacement_waits_for_what_drains() {
    for seed in 0..SEEDS {
        let drawing = "a i-1 web\nb i-2\nservice web lb=true min=0 max=100";
        let mut bench = Bench::seeded(drawing, &["deregistration-delay=0s"], &[], seed);
        bench.update("web", json!({"forceNewDeployment": true}));
        bench.wait(300);
        let events = told(&mut bench);
        let span = at(&events, 0.0, "has started 1 tasks") - at(&events, 0.0, "has stopped 1 running tasks");
        within(span, 16.0, 50.0, "stop to replacement");
        assert_eq!(bench.simulator.timeline().services()["web"].most_tasks, 1);
    }
}

#[test]
fn a_new_deployment_asks_for_nothing_until_the_scheduler_has_looked() {
    let mut bench = Bench::new(BEHIND);
    bench.wait(60);
    bench.update("web", json!({"forceNewDeployment": true}));
    let counts = |service: &Value| -> Vec<(String, u64)> {
        let deployments = service["deployments"].as_array().unwrap();
        let of = |it: &Value| (it["status"].as_str().unwrap().to_owned(), it["desiredCount"].as_u64().unwrap());
        deployments.iter().map(of).collect()
    };
    let both = |primary, active| vec![("PRIMARY".to_owned(), primary), ("ACTIVE".to_owned(), active)];
    assert_eq!(counts(&bench.service("web")), both(0, 2));
    bench.wait(15);
    assert_eq!(counts(&bench.service("web")), both(2, 2));
}

#[test]
fn a_scale_in_is_steady_before_its_targets_are_drained() {
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded(BEHIND, &["deregistration-delay=300s"], &[], seed);
        bench.update("web", json!({"desiredCount": 1}));
        bench.wait(120);
        let events = told(&mut bench);
        let draining = at(&events, 0.0, "has begun draining connections on 1 tasks");
        within(at(&events, draining, "has reached a steady state") - draining, 8.0, 14.0, "draining to steady");
        let listed = bench.ecs("ListTasks", &json!({"serviceName": "web", "desiredStatus": "STOPPED"})).unwrap();
        let described = bench.ecs("DescribeTasks", &json!({"tasks": listed["taskArns"]})).unwrap();
        assert_eq!(described["tasks"][0]["lastStatus"], "DEACTIVATING", "its connections are drained meanwhile");
    }
}

#[test]
fn a_task_placed_beside_one_that_drains_waits_until_it_fits() {
    let drawing = "a i-1 web big memory=1500\nservice web memory=512 lb=true\nservice big memory=900 lb=true";
    for seed in 0..SEEDS {
        let mut bench = Bench::seeded(drawing, &["deregistration-delay=300s"], &[], seed);
        bench.update("big", json!({"desiredCount": 0}));
        bench.wait(60);
        bench.update("web", json!({"desiredCount": 2}));
        bench.wait(120);
        assert_eq!(bench.service("web")["pendingCount"], 1, "it is placed on what is about to be free");
        bench.wait(200);
        assert_eq!(bench.service("web")["runningCount"], 2);
    }
}

#[test]
fn zone_rebalancing_tells_each_of_its_steps() {
    let mut bench = Bench::new("a i-1 web web web\nb i-2\nservice web azrebalancing=true");
    bench.wait(600);
    let messages: Vec<String> = bench.service("web")["events"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|event| event["message"].as_str().unwrap().split(" (task").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        messages,
        [
            "(service web) is not AZ balanced with 3 tasks in us-east-1a, 0 tasks in us-east-1b. AZ Rebalancing in progress.",
            "(service web) has started 1 tasks in us-east-1b to AZ Rebalance:",
            "(service web) has stopped 1 running tasks in us-east-1a due to AZ rebalancing:",
            "(service web) is AZ balanced with 2 tasks in us-east-1a, 1 tasks in us-east-1b.",
            "(service web) has reached a steady state.",
        ]
    );
}
