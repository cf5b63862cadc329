//! Making room: a task fits nowhere, others' tasks go elsewhere, and then it is seen to start.

use std::{collections::BTreeSet, fs, time::Duration};

use ecs_rebalancer::{
    config::Config,
    rehearsal::Rehearsal,
    report::{Action, Outcome, Report, ServiceReport, html, json, text},
};
use ecs_simulator::Options;

use crate::{
    snapshot::folder,
    support::{
        CLUSTER, behaviours, config, in_simulated_time, leftovers, options, rehearse, snapshot, spread_of,
        steerable_behaviours,
    },
};

/// Two instances as the reference architecture has them: each has half of what the next task of `web` asks.
const ONE_MOVE: &str = "a i-1 api cpu=1024\nb i-2 db cpu=1024\na i-3 cpu=256\nservice web desired=1 cpu=1024\n\
                        service api desired=1 cpu=256\nservice db desired=1 cpu=256";
const TWO_MOVES: &str = "a i-1 api db cpu=1024\na i-2 x cpu=1024\na i-3 cpu=256\nservice web desired=1 cpu=1024\n\
                         service x desired=1 cpu=768\nservice api desired=1 cpu=256\nservice db desired=1 cpu=256";
/// `api` is too large for the gap on i-3; `db` leaves it for i-4's.
const CHAIN: &str = "a i-1 api cpu=1024\na i-2 big cpu=1024\na i-3 db cpu=512\na i-4 cpu=256\n\
                     service web desired=1 cpu=1024\nservice api desired=1 cpu=512\nservice db desired=1 cpu=256\n\
                     service big desired=1 cpu=1024";
const CASES: [(&str, u32); 3] = [(ONE_MOVE, 1), (TWO_MOVES, 2), (CHAIN, 2)];

fn web(report: &Report) -> &ServiceReport {
    report.services.iter().find(|service| service.name == "web").unwrap()
}

/// As the job does it: with room made, by so many moves, nobody below what he had.
#[track_caller]
fn check(drawing: &str, moves: u32, settings: &str, options: Options) {
    let what = format!("{drawing}\n{settings} {options:?}");
    let (report, rehearsal) = rehearse(drawing, settings, options);
    assert_eq!(report.outcome, Outcome::Rebalanced, "{what}\n{report:#?}");
    assert_eq!((report.moved(), report.plan.len()), (moves, moves as usize), "{what}\n{report:#?}");
    assert_eq!(web(&report).action, Action::MakeRoom, "{what}");
    assert_eq!(web(&report).reason, "capacity was made: 1 task started", "{what}");
    assert!(report.outcome_reason.ends_with("; made capacity for web: 1 task started"), "{}", report.outcome_reason);
    let (predicted, after) = (report.predicted.as_ref().unwrap(), report.after.as_ref().unwrap());
    assert_eq!(predicted.running_tasks, after.running_tasks, "{what}\n{report:#?}");
    assert_eq!(spread_of(&rehearsal, "web").matches("=1").count(), 1, "{what}");
    for (name, history) in rehearsal.simulator().timeline().services().iter().filter(|(name, _)| *name != "web") {
        assert!(history.lowest_healthy >= 1, "{name}: {what}");
    }
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
    for line in text::render(&report, false).lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
    let page = html::document(&report);
    assert!(page.contains("gets capacity") && page.contains("to make capacity for web"), "{what}");
}

#[test]
fn a_task_that_fits_nowhere_gets_room_and_starts() {
    for (drawing, moves) in CASES {
        check(drawing, moves, "STEER=true", options(0, &[], &[]));
    }
}

#[test]
fn without_steering_too_where_ecs_s_own_choice_leads_tasks_away() {
    let mut not_made = BTreeSet::new();
    for behaviour in behaviours() {
        check(ONE_MOVE, 1, "", options(1, &[&behaviour], &[]));
        // Where ECS chooses otherwise than its documents have it, that is seen, and nothing is left of the tries.
        let (report, rehearsal) = rehearse(TWO_MOVES, "", options(1, &[&behaviour], &[]));
        if report.outcome == Outcome::Rebalanced {
            check(TWO_MOVES, 2, "", options(1, &[&behaviour], &[]));
            continue;
        }
        assert!(web(&report).reason.contains("where they don't help; they went again"), "{behaviour}: {report:#?}");
        assert_eq!((report.outcome, report.moved()), (Outcome::Unchanged, 0), "{behaviour}: {report:#?}");
        assert!(report.starts_in_vain <= 4, "{behaviour}: {report:#?}");
        for service in ["api", "db"] {
            assert!(rehearsal.simulator().timeline().services()[service].lowest_healthy >= 1, "{behaviour}");
        }
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{behaviour}");
        not_made.insert(behaviour);
    }
    // Without a strategy of its own a service's tasks are expected where the fewest of them are, not where most are.
    assert_eq!(not_made, BTreeSet::from(["default-strategy=most".to_owned()]));
}

/// ECS may place the next task of `api` in either of two zones, and only in zone a may one leave i-1 then.
const ONE_OF_TWO: &str = "a i-1 api cpu=1024\na i-2 cpu=256\nb i-3 api cpu=512\nb i-4 cpu=256\n\
                          service web desired=1 cpu=1024\nservice api desired=2 cpu=256";

#[test]
fn a_landing_that_makes_no_room_is_taken_back_and_tried_once_more() {
    let (mut made, mut tried) = (0, BTreeSet::new());
    for seed in 0..20 {
        let (report, rehearsal) = rehearse(ONE_OF_TWO, "", options(seed, &[], &[]));
        let what = format!("{seed}: {report:#?}");
        let is_made = report.moved() == 1;
        made += u32::from(is_made);
        tried.insert((report.starts_in_vain, is_made));
        let (reason, outcome) = if is_made {
            ("capacity was made: 1 task started", Outcome::Rebalanced)
        } else {
            let why = "no capacity was made: api: in 2 tries in a row ECS put the new tasks on container instances where \
                       they don't help; they went again";
            (why, Outcome::Unchanged)
        };
        assert_eq!((web(&report).reason.as_str(), report.outcome), (reason, outcome), "{what}");
        assert_eq!(spread_of(&rehearsal, "api"), if is_made { "i-2=1 i-3=1" } else { "i-1=1 i-3=1" }, "{what}");
        assert!(rehearsal.simulator().timeline().services()["api"].lowest_healthy >= 2, "{what}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
    }
    assert_eq!(tried, BTreeSet::from([(0, true), (1, true), (2, false)]));
    assert!((10..20).contains(&made), "{made} of 20, of which three quarters are to be expected");
}

#[test]
fn a_service_whose_tries_made_no_room_is_not_tried_again_to_level() {
    // `api` may land in either zone. In zone a it makes capacity on i-1; in zone b it would even out i-3, which is full.
    let drawing = "a i-1 api cpu=1024\na i-2 cpu=256\na i-6 cpu=256\nb i-3 api x cpu=512\nb i-4 cpu=1000\nb i-5 cpu=1000\n\
                   service web desired=1 cpu=1024\nservice api desired=2 cpu=256\n\
                   service x desired=1 cpu=256 tag.ecs-rebalancer:enabled=false";
    let mut ended = BTreeSet::new();
    for seed in 0..30 {
        let (report, rehearsal) = rehearse(drawing, "LOAD_THRESHOLD=0", options(seed, &[], &[]));
        let what = format!("{seed}: {report:#?}");
        let is_made = web(&report).reason == "capacity was made: 1 task started";
        if !is_made {
            assert_eq!((report.starts_in_vain, report.moved()), (2, 0), "{what}");
        }
        ended.insert((is_made, report.moved()));
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
    }
    // Where capacity is made, the service may be levelled afterwards.
    assert!(ended.contains(&(false, 0)) && ended.contains(&(true, 2)), "{ended:?}");
}

#[test]
fn without_steering_a_try_that_fails_leaves_nobody_waiting() {
    // Both get capacity by one move of `api`, which lands well with a chance of one in two.
    let drawing = "a i-1 api cpu=1000\na i-2 cpu=1000 memory=1000\nb i-3 api cpu=1000 memory=1000\n\
                   b i-4 cpu=1000 memory=1000\nservice web desired=1 cpu=500 memory=2000\n\
                   service web2 desired=1 cpu=500 memory=2000\nservice api desired=2 cpu=900 memory=256";
    let mut seen = BTreeSet::new();
    for seed in 0..10 {
        let (report, rehearsal) = rehearse(drawing, "", options(seed, &[], &[]));
        let reason = |name: &str| report.services.iter().find(|service| service.name == name).unwrap().reason.clone();
        let is_made = report.moved() == 1;
        let (outcome, begins) = if is_made {
            (Outcome::Rebalanced, "capacity was made")
        } else {
            (Outcome::Unchanged, "no capacity was made")
        };
        assert_eq!(report.outcome, outcome, "{seed}: {report:#?}");
        assert!(["web", "web2"].iter().all(|name| reason(name).starts_with(begins)), "{seed}: {report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{seed}");
        seen.insert(is_made);
    }
    assert_eq!(seen.len(), 2, "both happen");
}

#[test]
fn without_steering_the_plan_holds_whatever_the_instances_are_called() {
    for name in ["i-1", "i-9"] {
        let drawing = format!(
            "a {name} api api cpu=1024\na i-2 cpu=512\na i-3 cpu=512\na i-4 cpu=512\na i-5 cpu=512\n\
             service web desired=1 cpu=1024\n\
             service api desired=2 cpu=512 strategy=spread:attribute:ecs.availability-zone"
        );
        let made = (0..6).filter(|seed| rehearse(&drawing, "", options(*seed, &[], &[])).0.moved() == 2).count();
        assert!(made >= 3, "{name}: {made} of 6");
    }
}

#[test]
fn several_tasks_get_room_one_after_the_other() {
    let drawing = "a i-1 api cpu=1024\na i-2 api cpu=1024\na i-3 api cpu=1024\na i-4 cpu=768\n\
                   service web desired=3 cpu=1024\nservice api desired=3 cpu=256 strategy=spread:attribute:ecs.availability-zone";
    let (report, rehearsal) = rehearse(drawing, "STEER=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
    assert_eq!(web(&report).reason, "capacity was made: 3 tasks started", "{report:#?}");
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=1 i-2=1 i-3=1");
    assert_eq!(spread_of(&rehearsal, "api"), "i-4=3");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn the_rest_is_spread_once_the_room_is_taken() {
    let drawing = format!("{ONE_MOVE}\na i-4 y y y cpu=768\na i-5 cpu=768\nservice y desired=3 cpu=200");
    let (report, rehearsal) = rehearse(&drawing, "STEER=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
    assert_eq!(web(&report).reason, "capacity was made: 1 task started", "{report:#?}");
    assert_eq!(report.after.as_ref().unwrap().misplaced_tasks, 0, "{report:#?}");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn where_nobody_may_move_or_steering_is_needed_it_is_left_with_its_reason() {
    let excluded = "STEER=true EXCLUDE=api,db";
    for (drawing, settings, code) in [
        (CHAIN, "", "needs-steering"),
        (ONE_MOVE, excluded, "no-room-to-make"),
        (ONE_MOVE, "STEER=true EXCLUDE=web", "not-included"),
    ] {
        let (report, rehearsal) = rehearse(drawing, settings, options(0, &[], &[]));
        assert_eq!((web(&report).reason_code, report.moved()), (code, 0), "{settings}: {report:#?}");
        assert_eq!(rehearsal.simulator().requests().get("ecs:UpdateService"), None, "{settings}");
        let shown = text::render(&report, false);
        assert_eq!(shown.contains("1 of its tasks fits"), code != "not-included", "{settings}\n{shown}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_move_and_a_reviewed_plan_is_followed() {
    let file = folder("making-room").join("plan.json");
    let (drawing, moves) = CASES[2];
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        let report = rehearsal.run(&config("STEER=true DRY_RUN=true"), CLUSTER, "run-1").await;
        assert_eq!((report.outcome, report.plan.len()), (Outcome::Planned, moves as usize), "{report:#?}");
        assert_eq!(web(&report).reason, "1 task fits nowhere; 2 tasks of api, db would make capacity");
        fs::write(&file, json::document(&report).unwrap()).unwrap();
        let with_plan = Config { plan: Some(file), ..config("STEER=true") }.ready().unwrap();
        let report = rehearsal.run(&with_plan, CLUSTER, "run-2").await;
        assert_eq!(web(&report).reason, "capacity was made: 1 task started", "{report:#?}");
        assert_eq!((report.moved(), &report.warnings), (moves, &Vec::new()), "{report:#?}");
    });
}

#[test]
fn to_consolidate_too_room_is_made_first() {
    // i-4 could be emptied into i-3 as well.
    let drawing = format!("{ONE_MOVE}\na i-4 y cpu=256\na i-5 cpu=512\nservice y desired=1 cpu=256");
    let settings = "STEER=true MODE=consolidate HEADROOM=0 COOLDOWN=0";
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(&drawing), options(0, &[], &[])).unwrap();
        let report = rehearsal.run(&config(settings), CLUSTER, "run-1").await;
        assert_eq!(web(&report).reason, "capacity was made: 1 task started", "{report:#?}");
        assert_eq!((report.moved(), report.consolidation.is_none()), (1, true), "{report:#?}");
        text::render(&report, false);
        let report = rehearsal.run(&config(settings), CLUSTER, "run-2").await;
        assert!(report.consolidation.is_some(), "{report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    });
}

#[test]
fn it_holds_under_every_behaviour() {
    for behaviour in steerable_behaviours() {
        for (drawing, moves) in CASES {
            check(drawing, moves, "STEER=true", options(1, &[&behaviour], &[]));
        }
    }
}

#[test]
fn whatever_goes_wrong_every_service_is_left_whole() {
    for fault in [
        "throttle=0.2",
        "error=0.1",
        "drop=0.1",
        "lost-answer=0.1",
        "failing-start=0.5",
        "stale-reads=8",
        "slow-start=3",
        "broken-image=0",
        "foreign-count=30",
        "foreign-deployment=30",
        "delete-service=40",
        "join-instance=20",
    ] {
        for seed in 0..3 {
            for (drawing, _) in CASES {
                play(drawing, seed, fault, "STEER=true");
            }
            for drawing in [ONE_MOVE, TWO_MOVES, ONE_OF_TWO] {
                play(drawing, seed, fault, "");
            }
        }
    }
}

/// A run in which something goes wrong, and one after it.
fn play(drawing: &str, seed: u64, fault: &str, settings: &str) {
    let settings = config(&format!("{settings} TASK_TIMEOUT=2m COOLDOWN=0"));
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(seed, &[], &[fault])).unwrap();
        let report = rehearsal.run(&settings, CLUSTER, "run-1").await;
        let what = format!("{fault} {seed}\n{drawing}\n{report:#?}");
        if !fault.starts_with("delete") && !fault.starts_with("foreign") {
            for (name, history) in rehearsal.simulator().timeline().services() {
                assert!(name == "web" || history.lowest_healthy >= 1, "{name}: {what}");
            }
        }
        rehearsal.simulator().calm();
        tokio::time::sleep(Duration::from_mins(20)).await;
        rehearsal.run(&settings, CLUSTER, "run-2").await;
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
    });
}

#[test]
fn a_task_that_does_not_start_though_it_has_room_is_an_error() {
    // From some second on images are broken: the task that gives way has started by then, the one that gets its place has not.
    let broken_from = |second: u32| {
        let fault = format!("broken-image={second}");
        rehearse(ONE_MOVE, "STEER=true TASK_TIMEOUT=2m", options(0, &[], &[&fault]))
    };
    let runs = (1..300).map(broken_from);
    let (report, rehearsal) = runs.into_iter().find(|(report, _)| report.moved() == 1).unwrap();
    assert_eq!(report.outcome, Outcome::Failed, "{report:#?}");
    let expected = "web: capacity was made, but 1 of its tasks was not seen to start: ";
    assert!(report.errors[0].starts_with(expected), "{:?}", report.errors);
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    // Not at once again: it backs off as others do.
    let last = rehearsal.simulator().service("web").unwrap().tags["ecs-rebalancer:last"].clone();
    assert!(last.contains("misses=1"), "{last}");
}
