//! The scheduler's rules, each on a drawn cluster.

use serde_json::{Value, json};

use crate::testing::Bench;

const THREE: &str = "a i-1 web web\nb i-2 web\na i-3\nservice web strategy=spread:instanceId";

/// Draws, lets the scheduler settle, changes the service `web`, waits long enough, and looks where its tasks are.
fn check(drawing: &str, changes: Value, expected: &str) {
    let mut bench = Bench::new(drawing);
    bench.wait(30);
    if !changes.is_null() {
        bench.update("web", changes);
    }
    bench.wait(600);
    assert_eq!(bench.placed("web"), expected, "{drawing}");
}

#[test]
fn a_steady_service_is_left_as_it_is() {
    check(THREE, Value::Null, "i-1: 2, i-2: 1");
    check("a i-1 web web\nb i-2\nservice web controller=EXTERNAL", Value::Null, "i-1: 2");
    check("a i-1 web web\nb i-2\nservice web controller=CODE_DEPLOY", Value::Null, "i-1: 2");
}

#[test]
fn one_more_goes_where_the_strategy_asks() {
    check(THREE, json!({"desiredCount": 4}), "i-1: 2, i-2: 1, i-3: 1");
    let zones = "a i-1 web\nb i-2 web web\na i-3\nservice web strategy=spread:attribute:ecs.availability-zone,spread:instanceId";
    check(zones, json!({"desiredCount": 4}), "i-1: 1, i-2: 2, i-3: 1");
    let packed = "a i-1 web web other\nb i-2 web\nservice web strategy=binpack:memory";
    check(packed, json!({"desiredCount": 4}), "i-1: 3, i-2: 1");
    let default = "a i-1 web web\na i-2\nb i-3 web web web";
    check(default, json!({"desiredCount": 6}), "i-1: 2, i-2: 1, i-3: 3");
}

#[test]
fn constraints_room_and_ports_bind() {
    let distinct = "a i-1 web\nb i-2\nservice web constraint=distinctInstance";
    check(distinct, json!({"desiredCount": 3}), "i-1: 1, i-2: 1");
    let member = "a i-1 web\nb i-2 attr.kind=new\nservice web constraint=memberOf:attribute:kind==new";
    check(member, json!({"desiredCount": 3}), "i-1: 1, i-2: 2");
    check("a i-1 web cpu=512\nb i-2 cpu=256", json!({"desiredCount": 9}), "i-1: 2, i-2: 1");
    check("a i-1 web\nb i-2\nservice web port=8080", json!({"desiredCount": 3}), "i-1: 1, i-2: 1");
    check("a i-1 web\nb i-2 agent=false\nc i-3 status=DRAINING", json!({"desiredCount": 3}), "i-1: 3");
}

#[test]
fn scale_in_keeps_the_best_spread_and_whatever_is_protected() {
    check(THREE, json!({"desiredCount": 2}), "i-1: 1, i-2: 1");
    check("a i-1 web* web*\nb i-2 web", json!({"desiredCount": 2}), "i-1: 2");
    // More protected than desired: nothing else can go.
    check("a i-1 web* web*\nb i-2 web", json!({"desiredCount": 1}), "i-1: 2");
}

#[test]
fn fargate_tasks_take_no_instance() {
    check("a i-1 web\nservice web launch=FARGATE", json!({"desiredCount": 2}), "-: 2");
}

#[test]
fn daemons_come_to_every_instance_and_are_replaced() {
    let drawing = "a i-1 web\nb i-2 web\nservice web daemon=true";
    let mut bench = Bench::with(drawing, &[], &["join-instance=60"]);
    bench.wait(300);
    let view = bench.simulator.service("web").unwrap();
    assert_eq!(view.tasks.len(), 3, "{}", bench.placed("web"));
    let arn = view.tasks.into_keys().next().unwrap();
    bench.ecs("StopTask", &json!({"task": arn})).unwrap();
    bench.wait(300);
    assert_eq!(bench.simulator.service("web").unwrap().tasks.len(), 3, "{}", bench.placed("web"));
    assert_eq!(bench.service("web")["desiredCount"], 3);
    bench.update("web", json!({"forceNewDeployment": true}));
    bench.wait(600);
    let service = bench.service("web");
    assert_eq!(service["deployments"].as_array().unwrap().len(), 1, "{service}");
    assert_eq!(service["runningCount"], 3);
}

#[test]
fn a_stopped_task_is_replaced() {
    let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web strategy=spread:instanceId");
    let arn = bench.simulator.service("web").unwrap().tasks.into_keys().next().unwrap();
    bench.ecs("StopTask", &json!({"task": arn})).unwrap();
    bench.wait(5);
    assert_eq!(bench.placed("web"), "i-1: 1");
    bench.wait(60);
    assert_eq!(bench.placed("web"), "i-1: 1, i-2: 1");
}

#[test]
fn a_deployment_replaces_every_task_and_never_goes_below_the_minimum() {
    for (minimum, maximum) in [(100, 200), (50, 100), (100, 150), (0, 100)] {
        let drawing = format!("a i-1 web web\nb i-2 web web\nservice web min={minimum} max={maximum} check=true");
        let mut bench = Bench::new(&drawing);
        let before = bench.simulator.service("web").unwrap().tasks;
        bench.update("web", json!({"forceNewDeployment": true}));
        bench.wait(900);
        let after = bench.simulator.service("web").unwrap().tasks;
        assert_eq!(after.len(), 4, "{minimum}/{maximum}");
        assert!(after.keys().all(|arn| !before.contains_key(arn)), "{minimum}/{maximum}: an old task is left");
        let history = &bench.simulator.timeline().services()["web"];
        assert!(history.lowest_healthy >= 4 * minimum / 100, "{minimum}/{maximum}: {}", history.lowest_healthy);
        let most = history.counts.iter().map(|counts| counts.running).max().unwrap();
        assert!(most <= 4 * maximum / 100, "{minimum}/{maximum}: {most} running");
        let service = bench.service("web");
        assert_eq!(service["deployments"][0]["rolloutState"], "COMPLETED", "{service}");
    }
}

#[test]
fn a_draining_instance_is_emptied_within_the_percentages() {
    let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web check=true");
    bench.ecs("UpdateContainerInstancesState", &json!({"containerInstances": ["i-1"], "status": "DRAINING"})).unwrap();
    bench.wait(300);
    assert_eq!(bench.placed("web"), "i-2: 2");
    assert_eq!(bench.simulator.timeline().services()["web"].lowest_healthy, 2);
}

#[test]
fn a_broken_deployment_is_rolled_back_by_its_circuit_breaker() {
    let mut bench =
        Bench::with("a i-1 web web\nb i-2\nservice web breaker=rollback check=true", &[], &["failing-start=1"]);
    bench.update("web", json!({"forceNewDeployment": true}));
    bench.wait(900);
    let service = bench.service("web");
    let messages = service["events"].to_string();
    assert!(messages.contains("deployment failed: tasks failed to start"), "{messages}");
    assert_eq!(bench.simulator.timeline().services()["web"].lowest_healthy, 2);
}

#[test]
fn zones_are_evened_out_where_the_service_has_ecs_do_it() {
    check("a i-1 web web web\nb i-2\nservice web azrebalancing=true", Value::Null, "i-1: 2, i-2: 1");
    check("a i-1 web web web\nb i-2\nservice web", Value::Null, "i-1: 3");
}

#[test]
fn a_deleted_service_loses_its_tasks() {
    let mut bench = Bench::new("a i-1 web web");
    assert!(bench.ecs("DeleteService", &json!({"service": "web"})).is_err());
    bench.ecs("DeleteService", &json!({"service": "web", "force": true})).unwrap();
    bench.wait(300);
    assert_eq!(bench.service("web")["status"], "INACTIVE");
    assert_eq!(bench.placed("web"), "");
}

#[test]
fn scale_in_under_binpack_empties_the_emptier_instance() {
    let drawing = "a i-1 web web other\nb i-2 web\nservice web strategy=binpack:memory";
    check(drawing, json!({"desiredCount": 2}), "i-1: 2");
    let by_cpu = "a i-1 web\nb i-2 web web\nservice web strategy=binpack:cpu";
    check(by_cpu, json!({"desiredCount": 2}), "i-2: 2");
}

#[test]
fn what_is_under_way_in_a_snapshot_goes_on() {
    let mut bench = Bench::new("a i-1 web web?\nb i-2\nservice web check=true");
    assert_eq!(bench.service("web")["pendingCount"], 1);
    bench.wait(120);
    let service = bench.service("web");
    assert_eq!((&service["runningCount"], &service["pendingCount"]), (&json!(2), &json!(0)), "{service}");
}

#[test]
fn an_unchecked_sidecar_keeps_the_task_unknown_and_the_service_steady() {
    let mut bench = Bench::new("a i-1 web web\nb i-2\nservice web check=true sidecar=true");
    bench.update("web", json!({"desiredCount": 3}));
    bench.wait(300);
    assert_eq!(bench.simulator.timeline().services()["web"].counts.last().unwrap().healthy, 3);
    let tasks: Vec<String> = bench.simulator.service("web").unwrap().tasks.into_keys().collect();
    let answer = bench.ecs("DescribeTasks", &json!({"tasks": tasks})).unwrap();
    for task in answer["tasks"].as_array().unwrap() {
        assert_eq!(task["healthStatus"], "UNKNOWN", "{task}");
        assert_eq!(task["containers"][0]["healthStatus"], "HEALTHY", "{task}");
        assert_eq!(task["containers"][1]["healthStatus"], "UNKNOWN", "{task}");
    }
}

#[test]
fn capacity_providers_get_their_base_and_then_by_weight() {
    let mut bench = Bench::new("a i-1 provider=od\nb i-2 provider=spot\nservice web desired=0");
    let strategy =
        json!([{"capacityProvider": "od", "base": 2, "weight": 1}, {"capacityProvider": "spot", "weight": 3}]);
    bench.update("web", json!({"desiredCount": 10, "capacityProviderStrategy": strategy}));
    bench.wait(300);
    assert_eq!(bench.placed("web"), "i-1: 4, i-2: 6");
}

#[test]
fn which_changes_deploy_and_which_do_not() {
    for (changes, deploys) in [
        (json!({"desiredCount": 3}), false),
        (json!({"placementStrategy": [{"type": "random"}]}), false),
        (json!({"placementConstraints": [{"type": "distinctInstance"}]}), false),
        (json!({"deploymentConfiguration": {"minimumHealthyPercent": 50}}), false),
        (json!({"healthCheckGracePeriodSeconds": 5}), false),
        (json!({"availabilityZoneRebalancing": "ENABLED"}), false),
        (json!({"taskDefinition": "web:1"}), false),
        (json!({"taskDefinition": "other:1"}), true),
        (json!({"forceNewDeployment": true}), true),
        (json!({"loadBalancers": []}), true),
        (json!({"networkConfiguration": {}}), true),
    ] {
        let mut bench = Bench::new("a i-1 web web other\nb i-2");
        bench.update("web", changes.clone());
        let deployments = bench.service("web")["deployments"].as_array().unwrap().len();
        assert_eq!(deployments, 1 + usize::from(deploys), "{changes}");
    }
}

#[test]
fn omitted_members_stay_and_an_empty_list_removes() {
    let mut bench = Bench::new("a i-1 web\nservice web strategy=spread:instanceId constraint=distinctInstance");
    bench.update("web", json!({"desiredCount": 1}));
    let service = bench.service("web");
    assert_eq!(service["placementStrategy"], json!([{"type": "spread", "field": "instanceId"}]));
    assert_eq!(service["placementConstraints"], json!([{"type": "distinctInstance"}]));
    bench.update("web", json!({"placementConstraints": []}));
    let service = bench.service("web");
    assert_eq!(service["placementStrategy"], json!([{"type": "spread", "field": "instanceId"}]));
    assert_eq!(service["placementConstraints"], json!([]));
}

#[test]
fn under_every_behaviour_a_service_comes_to_its_count_and_stays_above_its_minimum() {
    let drawing = "a i-1 web web web\nb i-2 web\nc i-3\nservice web min=75 lb=true";
    for switch in crate::behaviour::SWITCHES {
        for value in switch.values {
            let setting = format!("{}={value}", switch.name);
            let mut bench = Bench::with(drawing, &[&setting], &[]);
            for (changes, count) in [
                (json!({"desiredCount": 6}), 6),
                (json!({"forceNewDeployment": true}), 6),
                (json!({"desiredCount": 4}), 4),
            ] {
                bench.update("web", changes);
                bench.wait(3600);
                let service = bench.service("web");
                assert_eq!(service["runningCount"], count, "{setting}");
                assert_eq!(service["deployments"].as_array().unwrap().len(), 1, "{setting}");
                assert_eq!(service["deployments"][0]["rolloutState"], "COMPLETED", "{setting}");
            }
            let history = &bench.simulator.timeline().services()["web"];
            for counts in history.counts.iter().filter(|counts| counts.desired == 4) {
                assert!(counts.healthy >= counts.minimum_healthy, "{setting}: {counts:?}");
            }
            assert!(history.lowest_healthy >= 3, "{setting}: {}", history.lowest_healthy);
        }
    }
}

#[test]
fn a_stopped_task_can_be_described_for_an_hour() {
    let mut bench = Bench::new("a i-1 web web");
    let arn = bench.simulator.service("web").unwrap().tasks.into_keys().next().unwrap();
    bench.ecs("StopTask", &json!({"task": arn, "reason": "why not"})).unwrap();
    bench.wait(3_500);
    let answer = bench.ecs("DescribeTasks", &json!({"tasks": [arn]})).unwrap();
    assert_eq!(answer["tasks"][0]["lastStatus"], "STOPPED");
    assert_eq!(answer["tasks"][0]["stoppedReason"], "why not");
    assert_eq!(answer["tasks"][0]["stopCode"], "UserInitiated");
    bench.wait(200);
    assert_eq!(bench.ecs("DescribeTasks", &json!({"tasks": [arn]})).unwrap()["failures"][0]["reason"], "MISSING");
}

#[test]
fn changed_placement_binds_at_once_or_at_the_next_deployment() {
    let drawing = "a i-1 web\nb i-2\nservice web strategy=spread:instanceId";
    let only = json!([{"type": "memberOf", "expression": "ec2InstanceId == i-1"}]);
    for (setting, expected) in [("at-once", "i-1: 2"), ("next-deployment", "i-1: 1, i-2: 1")] {
        let mut bench = Bench::with(drawing, &[&format!("constraints-bind={setting}")], &[]);
        bench.update("web", json!({"desiredCount": 2, "placementConstraints": only}));
        assert_eq!(bench.service("web")["placementConstraints"], only, "{setting}");
        bench.wait(120);
        assert_eq!(bench.placed("web"), expected, "{setting}");
        bench.update("web", json!({"forceNewDeployment": true}));
        bench.wait(600);
        assert_eq!(bench.placed("web"), "i-1: 2", "{setting}");
    }
}

#[test]
fn ties_are_broken_as_the_switch_says() {
    let drawing = "a i-1 big\na i-2 -x -x -x\na i-3 -x\na i-4 -x -x cpu=8192 memory=32768\nservice web desired=0\n\
                   service big memory=8192";
    for (setting, expected) in [
        ("first", "i-1"),
        ("last", "i-4"),
        ("most-free-memory", "i-4"),
        ("fewest-tasks", "i-1"),
        ("oldest", "i-1"),
        ("fullest", "i-1"),
    ] {
        let mut bench = Bench::with(drawing, &[&format!("ties={setting}")], &[]);
        bench.update("web", json!({"desiredCount": 1}));
        bench.wait(60);
        assert_eq!(bench.placed("web"), format!("{expected}: 1"), "{setting}");
    }
}

#[test]
fn whether_a_spread_counts_other_providers_tasks_is_a_switch() {
    // The next task is spot's by weight; zone b has two of the service's tasks, none of them spot's.
    let drawing =
        "a i-1 provider=od\nb i-2 provider=od\na i-3 provider=spot\nb i-4 provider=spot\nservice web desired=0";
    for (setting, own) in [("all", false), ("own", true)] {
        let behaviour = [format!("spread-across-providers={setting}"), "ties=first".to_owned()];
        let behaviour: Vec<&str> = behaviour.iter().map(String::as_str).collect();
        let mut bench = Bench::with(drawing, &behaviour, &[]);
        let strategy =
            json!([{"capacityProvider": "od", "base": 1, "weight": 0}, {"capacityProvider": "spot", "weight": 1}]);
        bench.update("web", json!({"desiredCount": 2, "capacityProviderStrategy": strategy}));
        bench.wait(60);
        // The first goes to zone a; the second, spot's first, to b where all count, else to a again.
        assert_eq!(bench.placed("web"), if own { "i-1: 1, i-3: 1" } else { "i-1: 1, i-4: 1" }, "{setting}");
    }
}

#[test]
fn ec2_tasks_stay_off_external_instances_and_external_ones_on_them() {
    let drawing = "a i-1\na mi-1 attr.ecs.capability.external=\nservice web desired=0 launch=EC2\n\
                   service edge desired=0 launch=EXTERNAL";
    let mut bench = Bench::new(drawing);
    for service in ["web", "edge"] {
        bench.update(service, json!({"desiredCount": 3}));
    }
    bench.wait(120);
    assert_eq!((bench.placed("web"), bench.placed("edge")), ("i-1: 3".to_owned(), "mi-1: 3".to_owned()));
}

#[test]
fn only_tasks_of_its_capacity_provider_go_to_a_managed_instance() {
    let instances = "a i-1\na i-2 provider=od\nb i-3 m provider=mi\nb i-4 provider=mi\nprovider mi managed=true";
    let mut bench = Bench::new(&format!("{instances}\nservice web desired=0\nservice m provider=mi"));
    for service in ["web", "m"] {
        bench.update(service, json!({"desiredCount": 2}));
    }
    bench.wait(120);
    assert_eq!((bench.placed("web"), bench.placed("m")), ("i-1: 1, i-2: 1".to_owned(), "i-3: 1, i-4: 1".to_owned()));
}

#[test]
fn interfaces_subnets_and_gpus_bind() {
    check(
        "a i-1 web type=m5.large\nb i-2 type=t2.micro\nservice web awsvpc=true",
        json!({"desiredCount": 9}),
        "i-1: 2, i-2: 1",
    );
    let trunk = "a i-1 web type=c5.large attr.ecs.awsvpc-trunk-id=eni-1 cpu=9999\nservice web awsvpc=true";
    check(trunk, json!({"desiredCount": 20}), "i-1: 10");
    let subnets = "a i-1 web attr.ecs.subnet-id=s-a\nb i-2 attr.ecs.subnet-id=s-b\nc i-3 attr.ecs.subnet-id=s-c\n\
                   service web awsvpc=true subnets=s-a,s-b";
    check(subnets, json!({"desiredCount": 4}), "i-1: 2, i-2: 2");
    let all = "a i-1 gpus=4\nb i-2 gpus=2\nc i-3\nservice web desired=0 gpu=ALL";
    check(all, json!({"desiredCount": 4}), "i-1: 1, i-2: 1");
    let share = "a i-1 gpus=1\nb i-2\nservice web desired=0 gpu=share";
    check(share, json!({"desiredCount": 3}), "i-1: 3");
}

#[test]
fn blue_and_green_swap_their_target_groups_with_each_deployment() {
    let drawing = "a i-1 web web\nb i-2\nservice web lb=pair";
    for (live, first) in [("first", ["web", "web-2"]), ("second", ["web-2", "web"])] {
        let mut bench = Bench::with(drawing, &[&format!("live-target-group={live}"), "target-checks=2x10s"], &[]);
        let healthy = |bench: &mut Bench, group: &str| {
            let arn =
                format!("arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/{group}/0123456789abcdef");
            let answer = bench.query("2015-12-01", "DescribeTargetHealth", &format!("TargetGroupArn={arn}"));
            answer.matches("<State>healthy</State>").count()
        };
        let [blue, green] = first;
        assert_eq!((healthy(&mut bench, blue), healthy(&mut bench, green)), (2, 0), "{live}");
        bench.update("web", json!({"forceNewDeployment": true}));
        bench.wait(900);
        assert_eq!((healthy(&mut bench, blue), healthy(&mut bench, green)), (0, 2), "{live}");
        assert_eq!(bench.simulator.timeline().services()["web"].most_tasks, 4, "all of both are there for a while");
        assert_eq!(bench.service("web")["deployments"].as_array().unwrap().len(), 1);
        bench.update("web", json!({"forceNewDeployment": true}));
        bench.wait(900);
        assert_eq!((healthy(&mut bench, blue), healthy(&mut bench, green)), (2, 0), "{live}");
    }
}

#[test]
fn what_isn_t_allowed_is_refused_and_what_is_applied_is_answered() {
    let mut bench = Bench::new("a i-1 log\nservice log daemon=true");
    let error = bench.ecs("UpdateService", &json!({"service": "log", "desiredCount": 2})).unwrap_err();
    assert_eq!(error, "InvalidParameterException: The daemon scheduling strategy does not support a desired count.");
    let arn = bench.service("log")["serviceArn"].clone();
    let tags = json!({"resourceArn": arn, "tags": [{"key": "aws:mine", "value": "x"}]});
    assert!(bench.ecs("TagResource", &tags).unwrap_err().contains("reserved for AWS"));
    let attribute = json!({"name": "kind", "value": "new", "targetId": "i-1"});
    let answer = bench.ecs("PutAttributes", &json!({"attributes": [attribute]})).unwrap();
    assert_eq!((&answer["attributes"][0]["name"], &answer["attributes"][0]["value"]), (&json!("kind"), &json!("new")));
}

#[test]
fn an_instance_has_ten_custom_attributes_at_most_beside_those_of_its_agent() {
    let eleven: String = (0..11).map(|number| format!(" attr.own-{number}=x")).collect();
    let mut bench = Bench::new(&format!("a i-1 attr.rack=r1\na i-2\na i-3{eleven}"));
    let put = |bench: &mut Bench, instance: &str, names: &[&str]| {
        let one = |name: &&str| json!({"name": name, "value": "x", "targetId": instance});
        bench.ecs("PutAttributes", &json!({"attributes": names.iter().map(one).collect::<Vec<_>>()})).map(drop)
    };
    assert_eq!(put(&mut bench, "i-1", &["a", "b", "c", "d", "e", "f", "g", "h", "i"]), Ok(()));
    let refused = put(&mut bench, "i-1", &["j"]).unwrap_err();
    assert_eq!(refused, "AttributeLimitExceededException: You can apply up to 10 custom attributes for each resource.");
    assert_eq!(put(&mut bench, "i-1", &["rack", "a"]), Ok(()), "one that is there is written anew");
    assert_eq!(
        put(&mut bench, "i-2", &["j"]),
        Ok(()),
        "the others are not asked, though i-3's snapshot gives it too many"
    );
}

#[test]
fn a_protected_task_holds_up_a_drain_or_not() {
    for (switch, expected) in [("held-up", "i-1: 1"), ("stopped", "i-2: 1")] {
        let mut bench =
            Bench::with("a i-1 web*\nb i-2\nservice web desired=1", &[&format!("drain-of-protected={switch}")], &[]);
        let first = bench.simulator.instances().remove(0);
        assert!(bench.simulator.drain_instance(&first));
        bench.wait(600);
        assert!(bench.placed("web").contains(expected), "{switch}: {}", bench.placed("web"));
    }
}
