//! Machines: with every service spread, tasks go from full container instances to idle ones, and no spread gets worse.

use ecs_rebalancer::report::{Outcome, Report};
use ecs_simulator::behaviour::SWITCHES;

use crate::support::{leftovers, options, rehearse, spread_of};

/// Four services of one task each: spread wherever that is, and all on one instance.
const ONE_FULL: &str = "a i-1 s0 s1 s2 s3\na i-2\na i-3\nservice s0 desired=1\nservice s1 desired=1\nservice s2 desired=1\n\
                        service s3 desired=1";

fn moved(report: &Report) -> u32 {
    report.services.iter().map(|service| service.moved).sum()
}

#[test]
fn idle_instances_get_tasks_until_the_threshold_is_met_with_one_restart_each() {
    let (report, rehearsal) = rehearse(ONE_FULL, "STEER=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
    let (before, after) = (report.before.as_ref().unwrap(), report.after.as_ref().unwrap());
    assert!(before.load_imbalance_percent > 66.0 && after.load_imbalance_percent < 25.0, "{after:?}");
    assert_eq!(Some(after), report.predicted.as_ref(), "what was predicted came");
    assert_eq!((moved(&report), after.misplaced_tasks), (2, 0), "{report:#?}");
    let simulator = rehearsal.simulator();
    assert_eq!((simulator.timeline().tasks_started(), simulator.timeline().tasks_stopped()), (2, 2));
    for (name, history) in simulator.timeline().services() {
        assert!(history.lowest_healthy >= 1, "{name}");
    }
    drop(simulator);
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn without_steering_or_below_the_threshold_machines_are_left_as_they_are() {
    for settings in ["", "STEER=true LOAD_THRESHOLD=70", "STEER=true STRATEGY=stop"] {
        let (report, _) = rehearse(ONE_FULL, settings, options(0, &[], &[]));
        assert_eq!((report.outcome, moved(&report)), (Outcome::Balanced, 0), "{settings}: {report:#?}");
    }
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
fn it_holds_under_every_behaviour_and_whatever_goes_wrong() {
    let every = SWITCHES.iter().flat_map(|switch| switch.values.iter().map(|value| format!("{}={value}", switch.name)));
    for behaviour in every {
        let (report, rehearsal) = rehearse(ONE_FULL, "STEER=true", options(1, &[&behaviour], &[]));
        let after = report.after.as_ref().unwrap();
        assert!(after.load_imbalance_percent < 25.0 && after.misplaced_tasks == 0, "{behaviour}: {report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{behaviour}");
    }
    for fault in ["throttle=0.2", "error=0.1", "drop=0.1", "lost-answer=0.1", "failing-start=0.5", "stale-reads=8"] {
        let (report, rehearsal) = rehearse(ONE_FULL, "STEER=true TASK_TIMEOUT=2m", options(2, &[], &[fault]));
        for (name, history) in rehearsal.simulator().timeline().services() {
            assert!(history.lowest_healthy >= 1, "{fault} {name}: {report:#?}");
        }
    }
}
