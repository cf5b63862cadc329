//! Each guard, by a drawn cluster that it keeps from being moved.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use wildmatch::WildMatch;

use super::*;
use crate::planning::{
    imbalance::measure,
    model::{Deployment, Devices, Volume, VolumeKind},
    notes::LAST_TAG,
    testing::{self, NOW},
};

/// Two of four tasks misplaced, nothing in their way but what `spoil` does; what keeps them, and the sentence for it.
fn blocked_after(spoil: impl FnOnce(&mut Cluster, &mut Policy)) -> Option<(&'static str, String)> {
    let mut cluster = testing::cluster("a i-1 web web web web\na i-2");
    let mut policy = Policy::default();
    spoil(&mut cluster, &mut policy);
    let spread = measure(&cluster, &policy, NOW).services[&"web".into()].spread.clone().unwrap();
    assert_eq!(spread.misplaced_tasks, 2, "no guard changes what is measured");
    let stuck = spread.stuck.first_key_value().map(|(reason, tasks)| (reason.code(), reason.to_string(), *tasks));
    stuck.map(|(code, sentence, tasks)| {
        assert_eq!(tasks, 2, "a guard of the service's keeps all of them");
        (code, sentence)
    })
}

fn check(code: &'static str, sentence: &str, spoil: impl FnOnce(&mut Cluster, &mut Policy)) {
    assert_eq!(blocked_after(spoil), Some((code, sentence.to_owned())));
}

fn check_service(code: &'static str, sentence: &str, spoil: impl FnOnce(&mut Service)) {
    check(code, sentence, |cluster, _| spoil(web(cluster)));
}

fn web(cluster: &mut Cluster) -> &mut Service {
    cluster.services.get_mut(&"web".into()).unwrap()
}

fn first_task(cluster: &mut Cluster) -> &mut Task {
    Arc::make_mut(cluster.tasks.values_mut().next().unwrap())
}

fn tagged(key: &str, value: &str) -> impl FnOnce(&mut Service) + use<> {
    let (key, value) = (key.to_owned(), value.to_owned());
    move |service| drop(service.tags.insert(key, value))
}

#[test]
fn nothing_keeps_a_service_that_is_well() {
    assert_eq!(blocked_after(|_, _| {}), None);
    assert_eq!(blocked_after(|cluster, _| tagged("ecs-rebalancer:enabled", " true ")(web(cluster))), None);
    // A service behind a Classic Load Balancer has no rollout state.
    assert_eq!(blocked_after(|cluster, _| web(cluster).deployments[0].rollout_state.clear()), None);
    // A steady blue/green service is like any other.
    let steady = |cluster: &mut Cluster, _: &mut Policy| {
        web(cluster).deployment_strategy = DeploymentStrategy::Shifting("BLUE_GREEN".to_owned());
    };
    assert_eq!(blocked_after(steady), None);
}

#[test]
fn the_owner_has_the_last_word() {
    check("not-included", "not among REBALANCER_INCLUDE, or among REBALANCER_EXCLUDE", |_, policy| {
        policy.services.include = vec![WildMatch::new("api-*")];
    });
    check("not-included", "not among REBALANCER_INCLUDE, or among REBALANCER_EXCLUDE", |_, policy| {
        policy.services.exclude = vec![WildMatch::new("w?b")];
    });
    check_service("opted-out", "its tag ecs-rebalancer:enabled is false", tagged("ecs-rebalancer:enabled", "false"));
    for (key, value, allowed) in [
        ("ecs-rebalancer:enabled", "no", "true or false"),
        ("ecs-rebalancer:strategy", "shuffle", "auto, surge, stop, redeploy or revision"),
        ("ecs-rebalancer:threshold", "101", "a number from 0 to 100"),
        ("ecs-rebalancer:threshold", "10%", "a number from 0 to 100"),
        ("ecs-rebalancer:max-moves", "-1", "a whole number"),
        ("ecs-rebalancer:move-data", "yes", "true or false"),
        ("ecs-rebalancer:task-timeout", "5", "a duration from 1m to 2h, as 90s, 10m or 1h"),
        ("ecs-rebalancer:task-timeout", "30s", "a duration from 1m to 2h, as 90s, 10m or 1h"),
    ] {
        let sentence = format!("its tag {key} is {value:?}, where {allowed} is allowed");
        check_service("unreadable-tag", &sentence, tagged(key, value));
    }
}

#[test]
fn who_else_decides_about_its_tasks() {
    let status = |status| move |service: &mut Service| service.status = status;
    check_service("not-active", "the service is being deleted", status(ServiceStatus::Draining));
    check_service("not-active", "the service is deleted", status(ServiceStatus::Inactive));
    check_service(
        "not-active",
        "the service is in the unknown state \"PAUSED\"",
        status(ServiceStatus::Unknown("PAUSED".to_owned())),
    );
    check_service("managed-by-ecs", "an express service is managed by ECS", |service| service.managed_by_ecs = true);
    for (controller, name) in [
        (DeploymentController::CodeDeploy, "CODE_DEPLOY"),
        (DeploymentController::External, "EXTERNAL"),
        (DeploymentController::Unknown("SPINNAKER".to_owned()), "SPINNAKER"),
    ] {
        let sentence = format!("its deployment controller is {name}");
        check_service("deployment-controller", &sentence, |service| service.deployment_controller = controller);
    }
    check_service("short-arn", "its ARN has the old short form, which can't be tagged", |service| {
        service.arn = "arn:aws:ecs:eu-central-1:111122223333:service/web".to_owned();
    });
}

#[test]
fn tasks_that_keep_data_stay_unless_their_owner_says_otherwise() {
    let volume = |kind| Volume { name: "data".to_owned(), kind, is_read_only: false };
    let keeps = |cluster: &mut Cluster| {
        let definition = cluster.task_definitions.values_mut().next().unwrap();
        definition.volumes = vec![volume(VolumeKind::HostPath("/data".to_owned()))];
    };
    let sentence = "its tasks keep data on /data of their container instance; its tag ecs-rebalancer:move-data=true allows moving them";
    check("keeps-data", sentence, |cluster, _| keeps(cluster));
    check("keeps-data", sentence, |cluster, _| {
        keeps(cluster);
        tagged("ecs-rebalancer:move-data", "false")(web(cluster));
    });
    let allowed = |cluster: &mut Cluster, _: &mut Policy| {
        keeps(cluster);
        tagged("ecs-rebalancer:move-data", "true")(web(cluster));
    };
    assert_eq!(blocked_after(allowed), None);
    check(
        "unknown-task-definition",
        "its task definition can't be read, so nobody knows what its tasks take and keep",
        |cluster, _| cluster.task_definitions.clear(),
    );
}

#[test]
fn a_deployment_under_way_or_not_done() {
    let under_way = "a deployment is under way";
    check_service("deploying", under_way, |service| {
        let mut older = service.deployments[0].clone();
        older.status = "ACTIVE".to_owned();
        service.deployments.push(older);
    });
    check_service("deploying", under_way, |service| service.task_sets = 1);
    let rollout =
        |state: &'static str| move |service: &mut Service| service.deployments[0].rollout_state = state.into();
    check_service("deploying", under_way, rollout("IN_PROGRESS"));
    check_service("deployment-failed", "its newest deployment is FAILED", rollout("FAILED"));
    check_service("deployment-failed", "its newest deployment is PONDERING", rollout("PONDERING"));
    check("old-tasks", "1 of its tasks is from an older deployment", |cluster, _| {
        first_task(cluster).started_by = "ecs-svc/older".into();
    });
    check_service("marked-by-run", "another run is at work on it, or left something behind", tagged(SURGE_TAG, "?"));
}

#[test]
fn a_service_that_is_not_settled() {
    let rebalances = |minutes_ago: i64, enabled: bool| {
        move |service: &mut Service| {
            service.availability_zone_rebalancing = enabled;
            service.availability_zone_rebalancing_began = Some(Timestamp(NOW.0 - minutes_ago * 60_000));
        }
    };
    let sentence = "ECS is evening out its zones just now";
    check_service("zone-rebalancing-in-progress", sentence, rebalances(1, true));
    check_service("zone-rebalancing-in-progress", sentence, rebalances(29, true));
    assert_eq!(blocked_after(|cluster, _| rebalances(1, false)(web(cluster))), None, "switched off since");
    assert_eq!(
        blocked_after(|cluster, _| rebalances(30, true)(web(cluster))),
        None,
        "given up without a word, and inside the one zone nothing is left to ECS"
    );
    check_service("pending", "1 of its tasks is starting", |service| service.pending_count = 1);
    for status in [TaskStatus::Pending, TaskStatus::Activating] {
        check("pending", "1 of its tasks is starting", |cluster, _| first_task(cluster).last_status = status);
    }
    check_service("counts-differ", "4 tasks run, and the desired count is 5", |service| service.desired_count = 5);
    check_service("counts-differ", "4 tasks run, and the desired count is 3", |service| service.desired_count = 3);
    check("unhealthy", "1 of its tasks is unhealthy", |cluster, _| first_task(cluster).health = Health::Unhealthy);
}

#[test]
fn a_service_that_changed_a_short_while_ago() {
    let ago = |milliseconds: i64| Timestamp(NOW.0 - milliseconds);
    let deployed = |at: Timestamp| {
        move |service: &mut Service| {
            let deployment = Deployment { created_at: Some(at), ..service.deployments[0].clone() };
            service.deployments = vec![deployment];
        }
    };
    check_service("too-young", "it changed within the cooldown, which lasts 1 s more", deployed(ago(599_001)));
    assert_eq!(blocked_after(|cluster, _| deployed(ago(600_000))(web(cluster))), None);
    let last = |at: Timestamp, misses| tagged(LAST_TAG, &LastNote { at, misses }.to_string());
    check_service("too-young", "it changed within the cooldown, which lasts 540 s more", last(ago(60_000), 0));
    assert_eq!(blocked_after(|cluster, _| last(ago(600_000), 0)(web(cluster))), None);
    // Twice as long each time, up to a day.
    for (misses, minutes) in [(1, 20), (2, 40), (3, 80), (8, 24 * 60), (u32::MAX, 24 * 60)] {
        let sentence = format!(
            "moving did not help in the last {}; left alone for {} s more",
            if misses == 1 { "run".to_owned() } else { format!("{misses} runs") },
            minutes * 60 - 60
        );
        check_service("backing-off", &sentence, last(ago(60_000), misses));
        assert_eq!(blocked_after(|cluster, _| last(ago(minutes * 60_000), misses)(web(cluster))), None);
    }
    check("backing-off", "moving did not help in the last run; left alone for 60 s more", |cluster, policy| {
        policy.cooldown = Duration::ZERO;
        last(ago(60_000), 1)(web(cluster));
    });
    // A note that is not the job's own keeps nobody.
    assert_eq!(blocked_after(|cluster, _| tagged(LAST_TAG, "yesterday")(web(cluster))), None);
}

#[test]
fn what_was_written_in_the_future_keeps_no_service_but_by_a_clock_that_is_a_little_ahead() {
    let written = |minutes: i64, misses| LastNote { at: Timestamp(NOW.0 + minutes * 60_000), misses }.to_string();
    let sentence = "it changed within the cooldown, which lasts 900 s more";
    check_service("too-young", sentence, tagged(LAST_TAG, &written(5, 0)));
    for (minutes, misses) in [(6, 0), (6, 3), (24 * 60, 0), (10 * 365 * 24 * 60, 1)] {
        let future = written(minutes, misses);
        assert_eq!(blocked_after(|cluster, _| tagged(LAST_TAG, &future)(web(cluster))), None, "{future}");
    }
}

#[test]
fn what_cannot_be_started_on_top_of_the_others() {
    let at_maximum = "its maximumPercent of 100 allows no task above its desired count of 4";
    check_service("at-maximum", at_maximum, |service| service.maximum_percent = 100);
    check_service("at-maximum", "its maximumPercent of 124 allows no task above its desired count of 4", |service| {
        service.maximum_percent = 124;
    });
    assert_eq!(blocked_after(|cluster, _| web(cluster).maximum_percent = 125), None);
    // `auto` stops first where that is allowed; other strategies don't ask.
    let may_stop = |cluster: &mut Cluster, _: &mut Policy| {
        web(cluster).maximum_percent = 100;
        web(cluster).minimum_healthy_percent = 50;
    };
    assert_eq!(blocked_after(may_stop), None);
    for strategy in ["stop", "redeploy", "revision"] {
        let other = |cluster: &mut Cluster, policy: &mut Policy| {
            may_stop(cluster, policy);
            tagged("ecs-rebalancer:strategy", strategy)(web(cluster));
        };
        assert_eq!(blocked_after(other), None, "{strategy}");
    }
    for strategy in ["redeploy", "revision"] {
        for (minimum, maximum) in [(100, 100), (100, 124), (76, 124)] {
            let sentence = format!(
                "its maximumPercent of {maximum} allows no task above its desired count of 4, and its \
                 minimumHealthyPercent of {minimum} none below: a deployment would stand still"
            );
            check_service("at-maximum", &sentence, |service| {
                (service.minimum_healthy_percent, service.maximum_percent) = (minimum, maximum);
                tagged("ecs-rebalancer:strategy", strategy)(service);
            });
        }
        let goes_forward = |cluster: &mut Cluster, _: &mut Policy| {
            web(cluster).maximum_percent = 125;
            tagged("ecs-rebalancer:strategy", strategy)(web(cluster));
        };
        assert_eq!(blocked_after(goes_forward), None, "{strategy}");
    }
    check_service(
        "no-slack",
        "strategy stop, and its minimumHealthyPercent of 100 allows no task fewer",
        tagged("ecs-rebalancer:strategy", "stop"),
    );
    check("at-maximum", at_maximum, |cluster, policy| {
        may_stop(cluster, policy);
        tagged("ecs-rebalancer:strategy", "surge")(web(cluster));
    });
    let agent = |version: &'static str| {
        move |cluster: &mut Cluster, _: &mut Policy| {
            let instance = cluster.container_instances.get_mut(&"i-2".into()).unwrap();
            Arc::make_mut(instance).agent_version = version.to_owned();
        }
    };
    for version in ["1.64.0", "1.9.0", "0.99.1"] {
        let sentence = format!("the container agent {version} on i-2 can't protect tasks from scale-in; 1.65.0 can");
        check("old-agent", &sentence, agent(version));
    }
    for version in ["1.65.0", "1.100.2", "2.0.0", "", "unknown"] {
        assert_eq!(blocked_after(agent(version)), None, "{version}");
    }
    let sentence = "only VPC Lattice knows which of its tasks are healthy; a container health check would tell";
    check_service("health-elsewhere", sentence, |service| service.has_health_elsewhere = true);
    let sentence =
        "only its Classic Load Balancer knows which of its tasks are healthy; a container health check would tell";
    check_service("health-elsewhere", sentence, |service| service.classic_load_balancers.push("lb-1".to_owned()));
    let checked = |cluster: &mut Cluster, _: &mut Policy| {
        web(cluster).has_health_elsewhere = true;
        cluster.task_definitions.values_mut().next().unwrap().checked_containers.insert("web".to_owned());
    };
    assert_eq!(blocked_after(checked), None);
}

#[test]
fn a_step_that_would_not_end_within_the_deadline_is_not_begun() {
    let sentence = "a new task may take 960 s until it is healthy: REBALANCER_DEADLINE must be 17m at least";
    check_service("deadline-too-short", sentence, |service| service.health_check_grace_period_seconds = 900);
    let sentence = "a new task may take 1200 s until it is healthy: REBALANCER_DEADLINE must be 21m at least";
    check_service("deadline-too-short", sentence, tagged("ecs-rebalancer:task-timeout", "20m"));
    let longer = |cluster: &mut Cluster, policy: &mut Policy| {
        web(cluster).health_check_grace_period_seconds = 900;
        policy.deadline = Duration::from_mins(17);
    };
    assert_eq!(blocked_after(longer), None);
    let owner = |cluster: &mut Cluster, _: &mut Policy| {
        web(cluster).health_check_grace_period_seconds = 900;
        tagged("ecs-rebalancer:task-timeout", "8m")(web(cluster));
    };
    assert_eq!(blocked_after(owner), None, "its owner knows better");
}

#[test]
fn devices_that_cannot_be_counted() {
    let devices = |devices| {
        move |cluster: &mut Cluster, _: &mut Policy| {
            cluster.task_definitions.values_mut().next().unwrap().devices = Some(devices);
        }
    };
    check("gpus", "its containers take a part of a GPU, which this job can't count", devices(Devices::SharedGpu));
    for (kind, what) in [
        (Devices::Neuron, "AWS Neuron devices"),
        (Devices::InferenceAccelerators, "Elastic Inference accelerators"),
        (Devices::Unknown, "devices of an unknown type"),
    ] {
        let (mut cluster, mut policy) = (testing::cluster("a i-1 web web web web\na i-2"), Policy::default());
        devices(kind)(&mut cluster, &mut policy);
        let why = measure(&cluster, &policy, NOW).services[&"web".into()].spread.clone().unwrap_err();
        let sentence =
            format!("its containers take {what}, and ECS doesn't tell which container instances have some left");
        assert_eq!((why.code(), why.to_string()), ("devices", sentence));
    }
}

#[test]
fn of_several_reasons_the_owner_s_comes_first() {
    check("opted-out", "its tag ecs-rebalancer:enabled is false", |cluster, _| {
        let service = web(cluster);
        service.status = ServiceStatus::Draining;
        service.pending_count = 1;
        tagged("ecs-rebalancer:enabled", "false")(service);
    });
}

#[test]
fn a_run_that_an_instance_launched_goes_on_only_when_that_instance_has_just_become_usable() {
    let cluster = testing::cluster(
        "a i-new\na i-log log\na i-busy web log\na i-away agent=false\na i-leaving status=DRAINING\nservice log daemon=true",
    );
    for (arn, expected) in [
        ("i-new", Ok(())),
        ("i-log", Ok(())),
        ("i-busy", Err("container instance i-busy has tasks already: it has not just joined".to_owned())),
        ("i-away", Err("container instance i-away is not ACTIVE with its agent connected".to_owned())),
        ("i-leaving", Err("container instance i-leaving is not ACTIVE with its agent connected".to_owned())),
        ("i-gone", Err("container instance i-gone is not in the cluster (any more)".to_owned())),
    ] {
        assert_eq!(trigger(&cluster, &arn.into()), expected);
    }
}

#[test]
fn codes_are_told_apart_and_fit_for_machines() {
    let codes: Vec<&str> = Unmeasured::examples()
        .iter()
        .map(Unmeasured::code)
        .chain(Blocked::examples().iter().map(Blocked::code))
        .collect();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{codes:?}");
    let is_plain = |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    assert!(codes.iter().all(is_plain), "{codes:?}");
}

#[test]
fn sentences_end_where_they_end() {
    let sentences = Unmeasured::examples()
        .iter()
        .map(ToString::to_string)
        .chain(Blocked::examples().iter().map(ToString::to_string))
        .collect::<Vec<_>>();
    for sentence in sentences {
        assert!(!sentence.is_empty() && !sentence.ends_with(['.', ' ']) && !sentence.contains("  "), "{sentence:?}");
    }
}
