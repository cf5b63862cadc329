//! Bad answers at every moment of a run: a failed look ends nothing. By the run's own deadline everything is as it was; where the
//! trouble outlasts that, the note stays, the report says what is left, and the next run restores it.

use std::time::Duration;

use ecs_rebalancer::{rehearsal::Rehearsal, report::Outcome};

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, rehearse, snapshot};

/// A strategy or a mode, on the smallest cluster that shows it.
struct Case {
    settings: &'static str,
    drawing: &'static str,
    /// How long an undisturbed run goes on, roughly.
    seconds: u64,
    /// Whether it ends with as few misplaced tasks as that: trouble must not keep it from its end.
    has_moves: bool,
}

const CASES: [Case; 6] = [
    Case {
        settings: "STRATEGY=surge",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4",
        seconds: 140,
        has_moves: true,
    },
    Case {
        settings: "STRATEGY=surge STEER=true",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4",
        seconds: 140,
        has_moves: true,
    },
    Case {
        settings: "STRATEGY=stop",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 min=50",
        seconds: 100,
        has_moves: true,
    },
    Case {
        settings: "STRATEGY=redeploy",
        drawing: "a i-1 web web\nb i-2\nservice web desired=2",
        seconds: 90,
        has_moves: false,
    },
    Case {
        settings: "MODE=consolidate STEER=true",
        drawing: "a i-1 web web x\na i-2 web\nb i-3 web x\nb i-4 x\nservice web desired=4\nservice x desired=3",
        seconds: 140,
        has_moves: true,
    },
    Case {
        settings: "STEER=true",
        drawing: "a i-1 web cpu=1024\na i-2 full cpu=1024\na i-3 api cpu=512\na i-4 cpu=256\nservice big desired=1 cpu=1024\n\
                  service web desired=1 cpu=512\nservice api desired=1 cpu=256\nservice full desired=1 cpu=1024",
        seconds: 220,
        has_moves: true,
    },
];

/// What is answered, from one second on until another.
const TROUBLES: [(&str, u64); 10] = [
    ("outage=ecs", 1),
    ("outage=ecs", 8),
    ("outage=ecs", 60),
    ("outage=DescribeServices", 8),
    ("outage=UpdateService", 30),
    ("expired-token=all", 2),
    ("html-page=ecs", 6),
    ("half-body=DescribeServices", 6),
    ("empty-answer=DescribeServices", 6),
    ("missing=DescribeServices", 6),
];

fn desired(rehearsal: &Rehearsal) -> Vec<(String, u32)> {
    let simulator = rehearsal.simulator();
    let names = simulator.service_names();
    names.into_iter().map(|name| (name.clone(), simulator.service(&name).unwrap().desired_count)).collect()
}

/// A run whose answers are bad from `from` on, for so many seconds.
fn play(case: &Case, trouble: &str, from: u64, seconds: u64) {
    in_simulated_time(async {
        let fault = format!("{trouble}:{from}-{}", from + seconds);
        let rehearsal = Rehearsal::new(&snapshot(case.drawing), options(from, &[], &[&fault])).unwrap();
        let before = desired(&rehearsal);
        let settings = config(&format!("{} THRESHOLD=0 COOLDOWN=0 DEADLINE=12m TASK_TIMEOUT=3m", case.settings));
        let report = rehearsal.run(&settings, CLUSTER, "run-1").await;
        let what = format!("{} {fault}: {report:#?}", case.settings);
        assert!(report.duration_seconds <= 720.0, "{what}");
        assert_eq!(desired(&rehearsal), before, "{what}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
        assert!(report.left_raised.is_empty(), "{what}");
        let (started, stopped) = {
            let simulator = rehearsal.simulator();
            (simulator.timeline().tasks_started(), simulator.timeline().tasks_stopped())
        };
        if case.has_moves && !case.settings.contains("redeploy") {
            // `big` starts by itself once it has a place.
            let own = u32::from(case.drawing.contains("big"));
            let told = report.moved() + report.starts_in_vain;
            assert!((told..=told + own).contains(&started), "{started} were started, {told} are told: {what}");
            assert!(stopped >= report.moved(), "{stopped} were stopped: {what}");
        }
    });
}

/// CI plays each second poll; here it is one in some.
fn step() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of this one test")]
    let every = std::env::var("OUTAGES").is_ok_and(|value| value == "all");
    if every { 5 } else { 35 }
}

/// A new task without a check counts as healthy 40 s after it was first seen running, whether looks failed meanwhile or not.
#[test]
fn a_failed_look_lets_no_task_wait_anew() {
    let stop = CASES.iter().find(|case| case.settings == "STRATEGY=stop").unwrap();
    play(stop, "outage=ecs", 93, 60);
}

#[test]
fn a_bad_answer_ends_nothing() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for case in CASES.iter().skip(half).step_by(2) {
                    for (trouble, seconds) in TROUBLES {
                        for from in (3..case.seconds).step_by(usize::try_from(step()).unwrap_or(5)) {
                            play(case, trouble, from, seconds);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn what_outlasts_the_run_is_told_with_its_numbers_and_the_next_run_restores_it() {
    for case in CASES.iter().filter(|case| case.has_moves) {
        for from in (8_u32..100).step_by(usize::try_from(step()).unwrap_or(5)) {
            in_simulated_time(async {
                let fault = format!("outage=ecs:{from}-100000");
                let rehearsal = Rehearsal::new(&snapshot(case.drawing), options(from.into(), &[], &[&fault])).unwrap();
                let before = desired(&rehearsal);
                let settings = config(&format!("{} THRESHOLD=0 COOLDOWN=0 DEADLINE=3m TASK_TIMEOUT=1m", case.settings));
                let report = rehearsal.run(&settings, CLUSTER, "run-1").await;
                let what = format!("{} {fault}: {report:#?}", case.settings);
                assert!(report.duration_seconds <= 180.5, "{what}");
                if report.duration_seconds < f64::from(from) {
                    // It had ended before.
                    return;
                }
                assert_eq!((report.outcome, report.exit_status()), (Outcome::Failed, 1), "{what}");
                for ((name, count), (_, meant)) in desired(&rehearsal).iter().zip(&before) {
                    let told = report.left_raised.iter().find(|left| left.service == *name);
                    let told = told.map_or(*meant, |left| left.count);
                    assert_eq!(told, *count, "{name} is at {count}, and {meant} is meant: {what}");
                    let has_note =
                        rehearsal.simulator().service(name).unwrap().tags.contains_key("ecs-rebalancer:surge");
                    assert!(count == meant || has_note, "{name} has no note: {what}");
                }
                rehearsal.simulator().calm();
                tokio::time::sleep(Duration::from_mins(15)).await;
                let next = rehearsal.run(&settings, CLUSTER, "run-2").await;
                let what = format!("{what}\nand then {next:#?}");
                assert_eq!(desired(&rehearsal), before, "{what}");
                assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
            });
        }
    }
}

/// A new task without a check is taken for healthy after 40 s: nobody may wait that long where the time comes to end.
#[test]
fn a_deadline_that_comes_while_a_step_waits_leaves_time_to_undo_it() {
    for case in CASES.iter().filter(|case| case.has_moves) {
        for deadline in (120..300).step_by(7) {
            let settings = format!("{} THRESHOLD=0 COOLDOWN=0 TASK_TIMEOUT=1m DEADLINE={deadline}s", case.settings);
            let (report, rehearsal) = rehearse(case.drawing, &settings, options(deadline, &[], &[]));
            assert!(report.left_raised.is_empty(), "{settings}: {report:#?}");
            assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{settings}: {report:#?}");
        }
    }
}
