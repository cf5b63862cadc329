//! Review, then apply: a dry run's report, put to a cluster that has changed since, does just what still holds.

use std::fs;

use ecs_rebalancer::{
    config::Config,
    rehearsal::Rehearsal,
    report::{Outcome, Report, json},
};

use crate::{
    snapshot::folder,
    support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of},
};

/// Six services, each with one task too many on the first instance.
const BEFORE: &str = "
a i-1 web web api api job job log log old old new new cpu=8192 memory=32768
b i-2 cpu=8192 memory=32768
c i-3 cpu=8192 memory=32768
service web
service api
service job
service log
service old
service new";

const SETTINGS: &str = "THRESHOLD=0";

/// What the dry run planned, as a file.
fn plan(test: &str, drawing: &str) -> Config {
    let file = folder("reviewed").join(format!("{test}.json"));
    let report = run(drawing, &Config { dry_run: true, ..config(SETTINGS) }).0;
    assert_eq!(report.outcome, Outcome::Planned);
    fs::write(&file, json::document(&report).unwrap()).unwrap();
    Config { plan: Some(file), ..config(SETTINGS) }.ready().unwrap()
}

fn run(drawing: &str, config: &Config) -> (Report, Rehearsal) {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        let report = rehearsal.run(config, CLUSTER, "run-1").await;
        (report, rehearsal)
    })
}

#[test]
fn an_unchanged_cluster_gets_the_reviewed_plan_whole() {
    let with_plan = plan("unchanged", BEFORE);
    let (report, rehearsal) = run(BEFORE, &with_plan);
    assert_eq!(report.plan.len(), 6);
    assert_eq!(report.after.unwrap().misplaced_tasks, 0, "{:?}", report.services);
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn of_a_plan_for_a_cluster_that_changed_in_five_ways_only_what_still_holds_is_done() {
    let with_plan = plan("changed", BEFORE);
    // web is as it was. api was scaled out; job opted out; log was deleted; old was spread by somebody else; new was deployed
    // under another name; and extra has come since, as uneven as the others were.
    let after = "
a i-1 web web api api job job old cpu=8192 memory=32768
b i-2 api old cpu=8192 memory=32768
c i-3 fresh fresh extra extra cpu=8192 memory=32768
service web
service api desired=3
service job tag.ecs-rebalancer:enabled=false
service old
service fresh
service extra";
    let (report, rehearsal) = run(after, &with_plan);
    let told: Vec<String> = report
        .services
        .iter()
        .map(|service| format!("{} {} {} {}", service.name, service.planned_moves, service.moved, service.reason_code))
        .collect();
    assert_eq!(
        told,
        [
            "api 0 0 plan-outdated",
            "extra 0 0 not-in-plan",
            "fresh 0 0 not-in-plan",
            "job 0 0 opted-out",
            "old 0 0 ",
            "web 1 1 ",
        ]
    );
    // Zones b and c are equal for ECS.
    assert!(["i-1=1 i-2=1", "i-1=1 i-3=1"].contains(&&*spread_of(&rehearsal, "web")));
    for (service, stays) in [("api", "i-1=2 i-2=1"), ("job", "i-1=2"), ("old", "i-1=1 i-2=1"), ("extra", "i-3=2")] {
        assert_eq!(spread_of(&rehearsal, service), stays);
    }
    assert_eq!(
        report.warnings,
        [
            "api: 1 of 1 reviewed moves left out: the reviewed plan no longer holds: its desired count was 2 then and is 3 now",
            "job: 1 of 1 reviewed moves left out: its tag ecs-rebalancer:enabled is false",
            "log: 1 of 1 reviewed moves left out: the service is gone",
            "new: 1 of 1 reviewed moves left out: the service is gone",
            "old: 1 of 1 reviewed moves left out: what was to go is gone",
        ]
    );
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn a_drained_instance_takes_its_moves_out_of_the_plan() {
    let before = "a i-1 web web web web api api api\nb i-2\nc i-3\nservice web\nservice api";
    let with_plan = plan("drained", before);
    // i-3 drains, so one move of web and perhaps one of api lose their aim.
    let after = before.replace("c i-3", "c i-3 status=DRAINING");
    let (report, rehearsal) = run(&after, &with_plan);
    assert!(report.warnings.iter().any(|told| told.ends_with("i-3 takes no tasks any more")), "{:?}", report.warnings);
    let reviewed = with_plan.policy.reviewed.unwrap();
    for moved in &report.plan {
        let planned = &reviewed.services[&moved.service.as_str().into()].moves;
        assert!(planned.iter().any(|it| it.task.as_str() == moved.task), "{moved:?}");
    }
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    // With the stop strategy it is the same.
    let stops = Config {
        policy: ecs_rebalancer::planning::policy::Policy {
            reviewed: Some(reviewed),
            ..config("THRESHOLD=0 STRATEGY=stop").policy
        },
        ..config("")
    };
    let (report, _) = run(&after.replace("service web", "service web min=50"), &stops);
    assert!(report.services.iter().all(|service| service.moved <= service.planned_moves), "{:?}", report.services);
}

#[test]
fn what_was_taken_out_of_the_plan_by_hand_is_not_done() {
    let mut with_plan = plan("by-hand", BEFORE);
    let reviewed = with_plan.policy.reviewed.as_mut().unwrap();
    reviewed.services.retain(|name, _| name.as_str() == "web" || name.as_str() == "log");
    let (report, rehearsal) = run(BEFORE, &with_plan);
    let moved: Vec<&str> = report.services.iter().filter(|it| it.moved > 0).map(|it| it.name.as_str()).collect();
    assert_eq!(moved, ["log", "web"]);
    assert_eq!(rehearsal.simulator().timeline().tasks_stopped(), 2, "one task each, and nothing else");
}

#[test]
fn another_cluster_s_plan_is_followed_nowhere() {
    let mut with_plan = plan("elsewhere", BEFORE);
    with_plan.policy.reviewed.as_mut().unwrap().cluster = "other".to_owned();
    let (report, rehearsal) = run(BEFORE, &with_plan);
    assert_eq!(report.errors, ["REBALANCER_PLAN is of cluster other, and this is test"]);
    assert_eq!(rehearsal.simulator().timeline().tasks_started(), 0);
}
