//! Consolidate: container instances come free, one restart a task, and managed scaling takes them away.

use std::time::Duration;

use ecs_rebalancer::{
    rehearsal::Rehearsal,
    report::{Outcome, Report, Summary},
};

use crate::support::{
    CLUSTER, NO_STEERING, behaviours, config, in_simulated_time, leftovers, options, rehearse, snapshot, spread_of,
    steerable_behaviours,
};

/// Two zones of two instances each, of which one would do.
const HALF_EMPTY: &str = "a i-1 web web api log\na i-2 web log\nb i-3 web web log\nb i-4 api log web\n\
                          service web\nservice api\nservice log daemon=true";
const SETTINGS: &str = "MODE=consolidate STEER=true";

/// As `i-2 i-4`, those that came free; `i-2?` where a task is still there.
fn freed(report: &Report) -> String {
    let freed = report.consolidation.iter().flat_map(|consolidation| &consolidation.freed);
    let names = freed.map(|freed| format!("{}{}", freed.name(), if freed.is_free == Some(true) { "" } else { "?" }));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn whole_instances_come_free_with_one_restart_a_task_and_each_zone_keeps_its_tasks() {
    let (report, rehearsal) = rehearse(HALF_EMPTY, SETTINGS, options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
    assert_eq!(freed(&report), "i-2 i-3", "{report:#?}");
    assert_eq!(report.moved(), 3, "{report:#?}");
    let figures =
        |summary: &Summary| (summary.empty_instances, summary.misplaced_tasks, summary.load_imbalance_percent.round());
    assert_eq!(report.after.as_ref().map(figures), report.predicted.as_ref().map(figures), "what was predicted came");
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=3 i-4=3");
    let simulator = rehearsal.simulator();
    assert_eq!((simulator.timeline().tasks_started(), simulator.timeline().tasks_stopped()), (3, 3));
    for name in ["web", "api"] {
        let history = &simulator.timeline().services()[name];
        assert!(history.lowest_healthy >= simulator.service(name).unwrap().desired_count, "{name}");
    }
    assert!(simulator.requests().get("ecs:UpdateContainerInstancesState").is_none(), "DRAINING is not ours to set");
    drop(simulator);
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn without_steering_those_come_free_whose_tasks_ecs_packs_elsewhere_itself() {
    let packed = "a i-1 web web web\na i-2 web api\na i-3 web\nservice web strategy=binpack:memory\n\
                  service api desired=1 strategy=spread:instanceId";
    let mut in_part = Vec::new();
    for behaviour in behaviours() {
        let (report, rehearsal) = rehearse(packed, "MODE=consolidate", options(0, &[&behaviour], &[]));
        let what = format!("{behaviour}: {report:#?}");
        let simulator = rehearsal.simulator();
        for name in ["web", "api"] {
            let history = &simulator.timeline().services()[name];
            assert!(history.lowest_healthy >= simulator.service(name).unwrap().desired_count, "{what}");
        }
        drop(simulator);
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
        assert_eq!(report.outcome, Outcome::Rebalanced, "{what}");
        assert!(report.starts_in_vain <= 2, "{what}");
        match freed(&report).as_str() {
            "i-3 i-2" => {}
            "i-3 i-2?" => in_part.push(behaviour),
            freed => panic!("{freed} {what}"),
        }
    }
    // Of two instances that have none of its tasks, ECS takes the one that is to come free for the next task of `api`, twice.
    assert_eq!(in_part, ["ties=last", "ties=most-free-memory", "ties=fewest-tasks"]);
}

#[test]
fn without_steering_too_each_zone_keeps_its_tasks() {
    // The second task of `web` is on an instance whose agent is disconnected: it counts all the same.
    let drawing = "a i-1 web\na i-2 x x x x\nb i-3 y y y y\nb i-4 web agent=false\n\
                   service web desired=2 strategy=spread:attribute:ecs.availability-zone\n\
                   service x tag.ecs-rebalancer:enabled=false\nservice y tag.ecs-rebalancer:enabled=false";
    for seed in 0..6 {
        let (report, rehearsal) = rehearse(drawing, "MODE=consolidate HEADROOM=0", options(seed, &[], &[]));
        let spread = spread_of(&rehearsal, "web");
        assert!(["i-1=1 i-4=1", "i-2=1 i-4=1"].contains(&spread.as_str()), "{seed}: {spread} {report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{seed}");
    }
}

#[test]
fn without_steering_a_dry_run_says_that_it_would_set_instances_free() {
    // ECS places the next task of `web` on the empty instance.
    let spread = "a i-1 web web\na i-2 web\na i-3\nservice web strategy=spread:instanceId";
    for (settings, reason, codes) in [
        ("", "no container instance can be set free without steering", vec!["needs-steering", "no-room"]),
        ("STEER=true", "1 container instance would come free, by 1 task moved", vec!["no-room"]),
    ] {
        let settings = format!("MODE=consolidate HEADROOM=0 DRY_RUN=true {settings}");
        let (report, _) = rehearse(spread, &settings, options(0, &[], &[]));
        assert_eq!(report.outcome_reason, reason);
        let mut kept: Vec<_> = report.consolidation.iter().flat_map(|it| &it.kept).map(|it| it.reason_code).collect();
        kept.sort_unstable();
        assert_eq!(kept, codes, "{report:#?}");
    }
}

#[test]
fn a_dry_run_tells_what_would_come_free_and_why_the_rest_stays() {
    let (report, rehearsal) = rehearse(HALF_EMPTY, &format!("{SETTINGS} DRY_RUN=true"), options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Planned);
    assert_eq!(report.outcome_reason, "2 container instances would come free, by 3 tasks moved");
    let kept: Vec<_> = report
        .consolidation
        .iter()
        .flat_map(|it| &it.kept)
        .map(|it| (it.container_instances, it.reason_code))
        .collect();
    assert_eq!(kept, [(2, "no-room")]);
    assert_eq!(rehearsal.simulator().timeline().tasks_started(), 0);
    // The whole limit: what would need a move more is left whole.
    let (report, _) = rehearse(HALF_EMPTY, &format!("{SETTINGS} DRY_RUN=true MAX_MOVES=2"), options(0, &[], &[]));
    assert_eq!(report.outcome_reason, "1 container instance would come free, by 1 task moved");
}

#[test]
fn managed_scaling_takes_the_free_instances_down_to_the_minimum_and_no_more_are_emptied() {
    let play = |minimum: u32| {
        let drawing = format!(
            "provider od minimum={minimum}\na i-1 web web web provider=od\na i-2 web provider=od\na i-3 web provider=od\n\
             a i-4 web provider=od\nservice web provider=od"
        );
        in_simulated_time(async {
            let rehearsal = Rehearsal::new(&snapshot(&drawing), options(0, &[], &["managed-scaling=900"])).unwrap();
            let report = rehearsal.run(&config(SETTINGS), CLUSTER, "run-1").await;
            tokio::time::sleep(Duration::from_mins(40)).await;
            let after = rehearsal.run(&config("DRY_RUN=true"), CLUSTER, "run-2").await;
            let left = after.before.unwrap();
            (freed(&report), left.container_instances, left.running_tasks)
        })
    };
    assert_eq!(play(0), ("i-2 i-3 i-4".to_owned(), 1, 6));
    assert_eq!(play(3), ("i-2".to_owned(), 3, 6));
    assert_eq!(play(4), (String::new(), 4, 6));
}

#[test]
fn what_ecs_packs_is_packed_too() {
    let drawing = "a i-1 web web\na i-2 web\na i-3 web\nservice web strategy=binpack:memory";
    let (report, rehearsal) = rehearse(drawing, SETTINGS, options(0, &[], &[]));
    assert_eq!(freed(&report), "i-2 i-3", "{report:#?}");
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=4");
}

#[test]
fn where_nothing_can_be_steered_every_service_is_left_as_it_was() {
    let (report, rehearsal) = rehearse(HALF_EMPTY, SETTINGS, options(1, &[NO_STEERING], &[]));
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{report:#?}");
    let simulator = rehearsal.simulator();
    for (name, desired) in [("web", 6), ("api", 2)] {
        assert_eq!(simulator.service(name).unwrap().desired_count, desired, "{name}");
        if let Some(history) = simulator.timeline().services().get(name) {
            assert!(history.lowest_healthy >= desired, "{name}: {report:#?}");
        }
    }
}

#[test]
fn it_holds_under_every_behaviour_and_whatever_goes_wrong() {
    for behaviour in steerable_behaviours() {
        let (report, rehearsal) = rehearse(HALF_EMPTY, SETTINGS, options(1, &[&behaviour], &[]));
        assert_eq!(freed(&report), "i-2 i-3", "{behaviour}: {report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{behaviour}");
    }
    for fault in ["throttle=0.2", "error=0.1", "drop=0.1", "lost-answer=0.1", "failing-start=0.5", "stale-reads=8"] {
        let settings = format!("{SETTINGS} TASK_TIMEOUT=2m");
        let (report, rehearsal) = rehearse(HALF_EMPTY, &settings, options(2, &[], &[fault]));
        let simulator = rehearsal.simulator();
        for name in ["web", "api"] {
            let lowest = simulator.timeline().services()[name].lowest_healthy;
            assert!(lowest >= simulator.service(name).unwrap().desired_count, "{fault} {name} {lowest}: {report:#?}");
        }
    }
}
