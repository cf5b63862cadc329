//! Machines: with every service spread, tasks go from full container instances to idle ones, and no spread gets worse.

use std::{fs, time::Duration};

use ecs_rebalancer::{
    config::Config,
    rehearsal::Rehearsal,
    report::{Outcome, json},
};

use crate::{
    snapshot::folder,
    support::{
        CLUSTER, config, in_simulated_time, leftovers, options, rehearse, snapshot, spread_of, steerable_behaviours,
    },
};

/// Four services of one task each: spread wherever that is, and all on one instance.
const ONE_FULL: &str = "a i-1 s0 s1 s2 s3\na i-2\na i-3\nservice s0 desired=1\nservice s1 desired=1\nservice s2 desired=1\n\
                        service s3 desired=1";

#[test]
fn idle_instances_get_tasks_until_the_threshold_is_met_with_one_restart_each() {
    let (report, rehearsal) = rehearse(ONE_FULL, "STEER=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
    let (before, after) = (report.before.as_ref().unwrap(), report.after.as_ref().unwrap());
    assert!(before.load_imbalance_percent > 66.0 && after.load_imbalance_percent < 25.0, "{after:?}");
    assert_eq!(Some(after), report.predicted.as_ref(), "what was predicted came");
    assert_eq!((report.moved(), after.misplaced_tasks), (2, 0), "{report:#?}");
    let simulator = rehearsal.simulator();
    assert_eq!((simulator.timeline().tasks_started(), simulator.timeline().tasks_stopped()), (2, 2));
    for (name, history) in simulator.timeline().services() {
        assert!(history.lowest_healthy >= 1, "{name}");
    }
    drop(simulator);
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn below_the_threshold_or_where_it_is_turned_off_instances_are_left_as_they_are() {
    for settings in
        ["LOAD_THRESHOLD=100", "LOAD_THRESHOLD=70", "STEER=true LOAD_THRESHOLD=70", "STEER=true STRATEGY=stop"]
    {
        let (report, _) = rehearse(ONE_FULL, settings, options(0, &[], &[]));
        assert_eq!((report.outcome, report.moved()), (Outcome::Balanced, 0), "{settings}: {report:#?}");
    }
}

/// What was reviewed on one cluster, done on another: moves, warnings, and where the services' tasks are then.
fn reviewed(name: &str, before: &str, after: &str) -> (u32, Vec<String>, Vec<String>) {
    let file = folder("machines").join(name);
    let settings = config("STEER=true LOAD_THRESHOLD=10");
    let run = |drawing: &str, config: &Config| {
        in_simulated_time(async {
            let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
            let report = rehearsal.run(config, CLUSTER, "run-1").await;
            (report, rehearsal)
        })
    };
    let (planned, _) = run(before, &Config { dry_run: true, ..settings.clone() });
    assert_eq!((planned.outcome, planned.plan.len()), (Outcome::Planned, 2), "{planned:#?}");
    fs::write(&file, json::document(&planned).unwrap()).unwrap();
    let (report, rehearsal) = run(after, &Config { plan: Some(file), ..settings }.ready().unwrap());
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    let places = ["s0", "s1", "s2"].map(|service| format!("{service} {}", spread_of(&rehearsal, service)));
    (report.moved(), report.warnings, places.to_vec())
}

#[test]
fn a_reviewed_plan_is_followed_as_far_as_it_holds() {
    let services = "service s0 desired=1\nservice s1 desired=1\nservice s2 desired=1";
    let before = format!("a i-1 s0 s1 s2\na i-2\na i-3\n{services}");
    let (moves, warnings, places) = reviewed("same.json", &before, &before);
    assert_eq!((moves, warnings), (2, Vec::new()));
    assert_eq!(places, ["s0 i-2=1", "s1 i-3=1", "s2 i-1=1"]);
    // s0 was opted out; i-4 has joined, and nobody has reviewed a move to it.
    let after = format!(
        "a i-1 s0 s1 s2\na i-2\na i-3\na i-4\n{}",
        services.replacen("=1", "=1 tag.ecs-rebalancer:enabled=false", 1)
    );
    let (moves, warnings, places) = reviewed("opted-out.json", &before, &after);
    assert_eq!(warnings, ["s0: 1 of 1 reviewed moves left out: moving what was to go would no longer help"]);
    assert_eq!((moves, places), (1, ["s0 i-1=1", "s1 i-3=1", "s2 i-1=1"].map(str::to_owned).to_vec()));
    // i-3 drains, and s0 was moved by somebody else.
    let after = format!("a i-1 s1 s2\na i-2 s0\na i-3 status=DRAINING\na i-4\n{services}");
    let (moves, warnings, _) = reviewed("drained.json", &before, &after);
    assert_eq!(moves, 0, "{warnings:?}");
    assert_eq!(
        warnings,
        [
            "s0: 1 of 1 reviewed moves left out: what was to go is gone",
            "s1: 1 of 1 reviewed moves left out: i-3 takes no tasks any more",
        ]
    );
}

#[test]
fn a_spread_service_stays_spread() {
    // Zone b is as full as a, but web has one task in each zone, and they stay there.
    let drawing = "a i-1 web api x\na i-2\nb i-3 web api y\nb i-4\nservice web desired=2\nservice api desired=2\n\
                   service x desired=1\nservice y desired=1";
    let (report, rehearsal) = rehearse(drawing, "STEER=true", options(0, &[], &[]));
    let after = report.after.as_ref().unwrap();
    assert_eq!(after.misplaced_tasks, 0, "{report:#?}");
    assert!(after.load_imbalance_percent < 25.0, "{report:#?}");
    for name in ["web", "api"] {
        let spread = spread_of(&rehearsal, name);
        assert!(spread.contains("i-1") || spread.contains("i-2"), "{name}: {spread}");
        assert!(spread.contains("i-3") || spread.contains("i-4"), "{name}: {spread}");
    }
}

#[test]
fn nothing_is_steered_to_an_impaired_instance() {
    let drawing = "a i-1 x0 x1 x2 x3\na i-2 impaired=true\na i-3 x4\na i-4 x5";
    for settings in ["STEER=true LOAD_THRESHOLD=5", "STEER=true MODE=consolidate"] {
        let (report, rehearsal) = rehearse(drawing, settings, options(0, &[], &[]));
        let services = report.services.iter().map(|service| service.name.as_str());
        let there: Vec<String> = services.map(|name| spread_of(&rehearsal, name)).collect();
        assert!(report.services.iter().any(|service| service.moved > 0), "{settings}: {there:?}");
        assert!(there.iter().all(|spread| !spread.contains("i-2")), "{settings}: {there:?}");
    }
}

#[test]
fn it_holds_under_every_behaviour_and_whatever_goes_wrong() {
    for behaviour in steerable_behaviours() {
        in_simulated_time(async {
            let rehearsal = Rehearsal::new(&snapshot(ONE_FULL), options(1, &[&behaviour], &[])).unwrap();
            let report = rehearsal.run(&config("STEER=true"), CLUSTER, "run-1").await;
            // What went may hold its resources until it has stopped.
            tokio::time::sleep(Duration::from_mins(10)).await;
            let later = rehearsal.run(&config("STEER=true DRY_RUN=true"), CLUSTER, "run-2").await;
            let later = later.before.as_ref().unwrap();
            assert!(later.load_imbalance_percent < 25.0 && later.misplaced_tasks == 0, "{behaviour}: {report:#?}");
            assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{behaviour}");
        });
    }
    for fault in ["throttle=0.2", "error=0.1", "drop=0.1", "lost-answer=0.1", "failing-start=0.5", "stale-reads=8"] {
        let (report, rehearsal) = rehearse(ONE_FULL, "STEER=true TASK_TIMEOUT=2m", options(2, &[], &[fault]));
        for (name, history) in rehearsal.simulator().timeline().services() {
            assert!(history.lowest_healthy >= 1, "{fault} {name}: {report:#?}");
        }
    }
}

/// Three full container instances and nine idle ones, and services of fewer tasks than there are instances.
const SINGLES: &str = "a i-01 s0 s1 s2 s3\nb i-02 s4 s5 s6 s7\nc i-03 s8 s9 t0 t1\na i-04\nb i-05\nc i-06\na i-07\nb i-08\n\
                       c i-09\na i-10\nb i-11\nc i-12";

/// By default, without a constraint or an attribute, and whichever of equal container instances ECS takes: an hourly run goes on
/// where bad luck ended the one before.
#[test]
fn idle_instances_get_tasks_by_ecs_s_own_choice() {
    for ties in ["random", "first", "last", "most-free-memory", "fewest-tasks", "oldest"] {
        in_simulated_time(async {
            let behaviour = format!("ties={ties}");
            let rehearsal = Rehearsal::new(&snapshot(SINGLES), options(1, &[&behaviour], &[])).unwrap();
            let settings = config("MAX_MOVES=100 MAX_SERVICES=100 DEADLINE=1h");
            let mut imbalances: Vec<f64> = Vec::new();
            for run in 0..4 {
                let report = rehearsal.run(&settings, CLUSTER, &format!("run-{run}")).await;
                let what = format!("{ties} {run}: {:?} {:?}", report.after, report.services);
                assert!(report.errors.is_empty(), "{:?} {what}", report.errors);
                assert!(
                    report.starts_in_vain <= 4.max(report.moved() / 2),
                    "{} in vain: {what}",
                    report.starts_in_vain
                );
                imbalances.push(report.before.as_ref().unwrap().load_imbalance_percent);
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            assert!(imbalances.windows(2).all(|pair| pair[1] <= pair[0]), "{ties}: {imbalances:?}");
            // By ARN, or by age, ECS takes the same one again and again: once that is full, it is seen and given up.
            if matches!(ties, "random" | "most-free-memory" | "fewest-tasks") {
                assert!(imbalances[3] <= imbalances[0] * 0.6, "{ties}: {imbalances:?}");
            }
            let simulator = rehearsal.simulator();
            for (name, history) in simulator.timeline().services() {
                assert!(history.lowest_healthy >= 1, "{ties} {name}");
            }
            for operation in ["PutAttributes", "StopTask"] {
                assert!(!simulator.requests().contains_key(operation), "{ties} {operation}");
            }
            drop(simulator);
            assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{ties}");
        });
    }
}

/// Where ECS always takes the fullest, nothing that ran before is touched, and the service is left alone for a while.
#[test]
fn where_ecs_chooses_badly_it_is_seen_and_given_up() {
    let drawing =
        "a i-1 s0 x x x\na i-2 x x\na i-3\na i-4\nservice s0 desired=1\nservice x tag.ecs-rebalancer:enabled=false";
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(1, &["ties=fullest"], &[])).unwrap();
        let report = rehearsal.run(&config("LOAD_THRESHOLD=10"), CLUSTER, "run-1").await;
        let what = format!("{:?} {:?}", report.services, report.after);
        assert_eq!((report.outcome, report.moved(), report.starts_in_vain), (Outcome::Unchanged, 0, 2), "{what}");
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!(spread_of(&rehearsal, "s0"), "i-1=1");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
        let again = rehearsal.run(&config("LOAD_THRESHOLD=10"), CLUSTER, "run-2").await;
        assert_eq!((again.starts_in_vain, again.moved()), (0, 0), "it is tried again at once: {:?}", again.services);
    });
}

/// Hourly runs beside managed scaling. Without the job, it takes idle container instances away until the group has its minimum size.
/// With it, just as many are left at any time: none was filled that would have gone, and those at the minimum are put to work.
#[test]
fn beside_managed_scaling_no_instance_is_kept_that_would_have_gone() {
    let drawing = |minimum: u32| {
        let settings = |line: &str| if line.contains("i-") { format!("{line} provider=od") } else { line.to_owned() };
        let instances: Vec<String> = SINGLES.lines().map(|line| settings(line.trim())).collect();
        let services = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "t0", "t1"];
        let services = services.map(|name| format!("service {name} desired=1 provider=od"));
        format!("provider od minimum={minimum}\n{}\n{}", instances.join("\n"), services.join("\n"))
    };
    // How many container instances there are at the start of each run, and what the load imbalance is after the last.
    let play = |minimum: u32, settings: &str| {
        in_simulated_time(async {
            let faults = options(1, &[], &["managed-scaling=900"]);
            let rehearsal = Rehearsal::new(&snapshot(&drawing(minimum)), faults).unwrap();
            let mut instances = Vec::new();
            let mut imbalance = 0.0;
            for run in 0..6 {
                let report = rehearsal.run(&config(settings), CLUSTER, &format!("run-{run}")).await;
                assert_eq!(report.errors, Vec::<String>::new(), "{minimum} {run}");
                let before = report.before.as_ref().unwrap();
                instances.push(before.container_instances);
                imbalance = before.load_imbalance_percent;
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            (instances, imbalance)
        })
    };
    for minimum in [0, 6, 8, 12] {
        let (alone, before) = play(minimum, "DRY_RUN=true");
        let (beside, after) = play(minimum, "MAX_MOVES=100 MAX_SERVICES=100 DEADLINE=30m");
        assert_eq!(beside, alone, "of at least {minimum}");
        assert_eq!(alone[5], minimum.max(3), "of at least {minimum}");
        assert!(if minimum > 3 { after < before } else { after <= before }, "{minimum}: {before} {after}");
    }
}

#[test]
fn levelling_that_waits_for_a_service_at_its_limit_says_so() {
    let drawing = "a i-1 y y y y s0 s1\na i-2\na i-3\nservice y tag.ecs-rebalancer:max-moves=1\nservice s0 desired=1\n\
                   service s1 desired=1";
    let (report, _) = rehearse(drawing, "LOAD_THRESHOLD=0", options(0, &[], &[]));
    let reason = |name: &str| report.services.iter().find(|service| service.name == name).unwrap().reason.clone();
    let limit =
        "the limit of moves (REBALANCER_MAX_MOVES, REBALANCER_PLAN, or the tag ecs-rebalancer:max-moves) is reached";
    assert_eq!((report.moved(), reason("y")), (1, limit.to_owned()), "{report:#?}");
    assert_eq!(reason("s0"), format!("not begun, since others come first: y: {limit}"), "{report:#?}");
}

#[test]
fn a_second_run_after_levelling_starts_nothing() {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(SINGLES), options(4, &[], &[])).unwrap();
        let settings = config("MAX_MOVES=100 MAX_SERVICES=100 COOLDOWN=0 DEADLINE=2h LOAD_THRESHOLD=50");
        let first = rehearsal.run(&settings, CLUSTER, "run-1").await;
        let after = first.after.as_ref().unwrap();
        assert!(first.moved() > 0 && after.load_imbalance_percent < 50.0, "{after:?}");
        tokio::time::sleep(Duration::from_mins(10)).await;
        let started = rehearsal.simulator().timeline().tasks_started();
        let second = rehearsal.run(&settings, CLUSTER, "run-2").await;
        assert_eq!(second.moved(), 0, "{:?}", second.services);
        assert_eq!(rehearsal.simulator().timeline().tasks_started(), started);
    });
}

#[test]
fn within_a_day_after_packing_nothing_is_levelled() {
    in_simulated_time(async {
        let drawing = "a i-1 s0 s1\na i-2 s2\na i-3\nservice s0 desired=1\nservice s1 desired=1\nservice s2 desired=1";
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(3, &[], &[])).unwrap();
        let packed = rehearsal.run(&config("MODE=consolidate STEER=true"), CLUSTER, "run-1").await;
        assert!(packed.moved() > 0, "{packed:#?}");
        let settings = config("COOLDOWN=0");
        let report = rehearsal.run(&settings, CLUSTER, "run-2").await;
        assert_eq!(report.moved(), 0, "{:?}", report.services);
        assert!(
            report.warnings.iter().any(|it| it.contains("a run in mode consolidate packed tasks less than a day ago")),
            "{:?}",
            report.warnings
        );
        tokio::time::sleep(Duration::from_hours(25)).await;
        let report = rehearsal.run(&settings, CLUSTER, "run-3").await;
        assert!(report.moved() > 0, "{:?}", report.services);
    });
}

#[test]
fn a_run_that_only_spreads_leaves_the_note_that_tasks_were_packed() {
    in_simulated_time(async {
        // `web` is misplaced, and the load is uneven.
        let drawing = "a i-1 web web s0 s1 s2\na i-2\nservice web\nservice s0 desired=1\nservice s1 desired=1\n\
                       service s2 desired=1";
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(1, &[], &[])).unwrap();
        let note = format!("mode=consolidate at={}", rehearsal.simulator().start().0 / 1000);
        assert!(rehearsal.simulator().set_cluster_tag("ecs-rebalancer:mode", Some(&note)));
        let report = rehearsal.run(&config("COOLDOWN=0"), CLUSTER, "run-1").await;
        assert_eq!(report.moved(), 1, "{report:#?}");
        assert!(report.warnings.iter().any(|it| it.contains("packed tasks less than a day ago")), "{report:#?}");
        assert_eq!(rehearsal.simulator().cluster_tags()["ecs-rebalancer:mode"], note);
    });
}

#[test]
fn what_a_run_has_earned_is_left_to_the_next() {
    in_simulated_time(async {
        let drawing = "a i-1 s0 s1 s2 s3 s4 s5\na i-2\na i-3\nservice s0 desired=1\nservice s1 desired=1\n\
                       service s2 desired=1\nservice s3 desired=1\nservice s4 desired=1\nservice s5 desired=1";
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(1, &[], &[])).unwrap();
        let mut unspent = 0;
        for run in ["run-1", "run-2"] {
            let report = rehearsal.run(&config("MAX_MOVES=1"), CLUSTER, run).await;
            assert_eq!((report.moved(), &report.warnings[..]), (1, &[][..]), "{report:#?}");
            unspent += 1 - 2 * report.starts_in_vain;
            let tag = rehearsal.simulator().cluster_tags()["ecs-rebalancer:mode"].clone();
            assert!(tag.starts_with("mode=spread at=") && tag.ends_with(&format!(" unspent={unspent}")), "{tag}");
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        // What nobody can have written is told, and stays.
        assert!(rehearsal.simulator().set_cluster_tag("ecs-rebalancer:mode", Some("mode=spread at=0 unspent=9999")));
        let report = rehearsal.run(&config("MAX_MOVES=1"), CLUSTER, "run-3").await;
        assert_eq!(report.moved(), 1, "{report:#?}");
        assert!(report.warnings.iter().any(|it| it.contains("no run leaves so many moves unspent")), "{report:#?}");
        assert_eq!(rehearsal.simulator().cluster_tags()["ecs-rebalancer:mode"], "mode=spread at=0 unspent=9999");
    });
}
