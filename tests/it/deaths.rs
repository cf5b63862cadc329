//! The run dies before and after every single request, or an answer is lost: after the next run nothing is left of it.

use std::time::Duration;

use ecs_rebalancer::{
    rehearsal::{Death, DeathMoment, Rehearsal},
    report::{Outcome, Summary},
};

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of};

/// The lease of a run with this deadline lapses after eleven minutes; its protection, by itself, after fifteen.
const SETTINGS: &str = "DEADLINE=6m TASK_TIMEOUT=90s COOLDOWN=0";
const UNTIL_THE_NEXT_RUN: Duration = Duration::from_secs(750);

struct Case {
    name: &'static str,
    settings: &'static str,
    drawing: &'static str,
    /// How many tasks of `web` there are to be, and how few at the least there may be meanwhile.
    desired: u32,
    floor: u32,
    own_protection: &'static [&'static str],
    /// What is found at the end.
    is_done: fn(&Summary) -> bool,
}

fn is_spread(found: &Summary) -> bool {
    found.misplaced_tasks == 0
}

const CASES: [Case; 10] = [
    Case {
        name: "surge",
        settings: "STRATEGY=surge",
        drawing: "a i-1 web* web web web\nb i-2\nc i-3\nservice web desired=4",
        desired: 4,
        floor: 4,
        own_protection: &["web-1"],
        is_done: is_spread,
    },
    Case {
        name: "steered surge",
        settings: "STRATEGY=surge STEER=true SURGE=50",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 constraint=memberOf:attribute:rack+!=+x",
        desired: 4,
        floor: 4,
        own_protection: &[],
        is_done: is_spread,
    },
    Case {
        name: "stop",
        settings: "STRATEGY=stop",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 min=50",
        desired: 4,
        floor: 2,
        own_protection: &[],
        is_done: is_spread,
    },
    Case {
        name: "redeploy",
        settings: "STRATEGY=redeploy",
        drawing: "a i-1 web web\nb i-2\nservice web desired=2",
        desired: 2,
        floor: 2,
        own_protection: &[],
        is_done: is_spread,
    },
    Case {
        name: "revision",
        settings: "STRATEGY=revision",
        drawing: "a i-1 web web\nb i-2\nservice web desired=2",
        desired: 2,
        floor: 2,
        own_protection: &[],
        is_done: is_spread,
    },
    Case {
        name: "machines",
        settings: "STEER=true",
        drawing: "a i-1 web web x y\na i-2\na i-3\nservice web desired=2 strategy=spread:attribute:ecs.availability-zone\n\
                  service x desired=1\nservice y desired=1",
        desired: 2,
        floor: 2,
        own_protection: &[],
        is_done: |found| found.misplaced_tasks == 0 && found.load_imbalance_percent < 34.0,
    },
    Case {
        name: "consolidate",
        settings: "MODE=consolidate STEER=true",
        drawing: "a i-1 web web x\na i-2 web\nb i-3 web x\nb i-4 x\nservice web desired=4\nservice x desired=3",
        desired: 4,
        floor: 4,
        own_protection: &[],
        is_done: |found| found.empty_instances == 2,
    },
    // By ECS's own choice, which packs these tasks itself.
    Case {
        name: "consolidate without steering",
        settings: "MODE=consolidate",
        drawing: "a i-1 web web web\na i-2 web\na i-3 web\nservice web desired=5 strategy=binpack:memory",
        desired: 5,
        floor: 5,
        own_protection: &[],
        is_done: |found| found.empty_instances == 2,
    },
    // One that makes room for another, which makes room for `big`: `web` and the others are moved, nothing is done to `big`.
    Case {
        name: "making room",
        settings: "STEER=true",
        drawing: "a i-1 web cpu=1024\na i-2 full cpu=1024\na i-3 api cpu=512\na i-4 cpu=256\nservice big desired=1 cpu=1024\n\
                  service web desired=1 cpu=512\nservice api desired=1 cpu=256\nservice full desired=1 cpu=1024",
        desired: 1,
        floor: 1,
        own_protection: &[],
        // `big` runs too.
        is_done: |found| found.running_tasks == 4,
    },
    // The same by ECS's own choice: the next task of `web` lands on i-2 or on i-3.
    Case {
        name: "making room without steering",
        settings: "",
        drawing: "a i-1 web cpu=1024\na i-2 cpu=512\na i-3 cpu=512\nb i-4 web cpu=512\nservice big desired=1 cpu=1024\n\
                  service web desired=2 cpu=512",
        desired: 2,
        floor: 2,
        own_protection: &[],
        // `big` runs too.
        is_done: |found| found.running_tasks == 3,
    },
];

/// Plays one death; gives whether the run was over before it.
fn play(case: &Case, death: Death) -> bool {
    in_simulated_time(async {
        let settings = config(&format!("{SETTINGS} {}", case.settings));
        let behaviour = ["spread-counts=own-revision"];
        let rehearsal = Rehearsal::new(&snapshot(case.drawing), options(death.request, &behaviour, &[])).unwrap();
        let constraints = rehearsal.simulator().service("web").unwrap().placement_constraints;
        let (_, requests) = rehearsal.run_until_death(&settings, CLUSTER, "run-1", death).await;
        tokio::time::sleep(UNTIL_THE_NEXT_RUN).await;
        // Two runs: where moves of the first did not count as begun, the second may have only cleared up.
        let second = rehearsal.run(&settings, CLUSTER, "run-2").await;
        if second.outcome == Outcome::Interrupted {
            // It healed what the first had left, and came to its deadline before it was through.
            tokio::time::sleep(UNTIL_THE_NEXT_RUN).await;
            rehearsal.run(&settings, CLUSTER, "run-2b").await;
        }
        // Its deadline may come while a task starts for which capacity was made.
        tokio::time::sleep(Duration::from_mins(1)).await;
        let report = rehearsal.run(&config("DRY_RUN=true"), CLUSTER, "run-3").await;
        let what = format!("{} {death:?}: {report:#?}", case.name);
        assert_eq!(leftovers(&rehearsal, case.own_protection), Vec::<String>::new(), "{what}");
        assert!((case.is_done)(report.before.as_ref().unwrap()), "{}\n{what}", spread_of(&rehearsal, "web"));
        let simulator = rehearsal.simulator();
        assert_eq!(simulator.service("web").unwrap().placement_constraints, constraints, "{what}");
        assert_eq!(simulator.service("web").unwrap().desired_count, case.desired, "{what}");
        let lowest = simulator.timeline().services()["web"].lowest_healthy;
        assert!(lowest >= case.floor, "fell to {lowest}: {what}");
        requests < death.request
    })
}

fn play_all(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    for moment in [DeathMoment::Before, DeathMoment::After, DeathMoment::AnswerLost] {
        let last = (1..10_000).find(|request| play(case, Death { request: *request, moment })).unwrap();
        assert!(last > 20, "{name} makes more than {last} requests");
    }
}

#[test]
fn evening_out_machines_survives_death_at_every_request() {
    play_all("machines");
}

#[test]
fn consolidation_survives_death_at_every_request() {
    play_all("consolidate");
    play_all("consolidate without steering");
}

#[test]
fn surge_survives_death_at_every_request() {
    play_all("surge");
}

#[test]
fn a_steered_surge_survives_death_at_every_request() {
    play_all("steered surge");
}

#[test]
fn stop_survives_death_at_every_request() {
    play_all("stop");
}

#[test]
fn redeploy_survives_death_at_every_request() {
    play_all("redeploy");
}

#[test]
fn making_room_survives_death_at_every_request() {
    play_all("making room");
    play_all("making room without steering");
}

#[test]
fn revision_survives_death_at_every_request() {
    play_all("revision");
}
