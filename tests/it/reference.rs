//! The reference architecture's cluster, and small ones like it: one run, whole.

use std::{collections::BTreeSet, time::Duration};

use ecs_rebalancer::{rehearsal::Rehearsal, report::Outcome};

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, rehearse, snapshot, spread_of};

const RETURNED: &str = "a i-1 web web\nb i-2\nservice web lb=true";

#[test]
fn an_instance_that_came_back_gets_its_task_with_one_start_and_one_stop() {
    let (report, rehearsal) = rehearse(RETURNED, "", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:?}");
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=1 i-2=1");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    let simulator = rehearsal.simulator();
    let history = &simulator.timeline().services()["web"];
    assert_eq!((history.started, history.stopped, history.lowest_healthy), (1, 1, 2));
}

#[test]
fn a_dry_run_plans_the_move_and_changes_nothing() {
    let (report, rehearsal) = rehearse(RETURNED, "DRY_RUN=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Planned, "{report:?}");
    assert_eq!(report.plan.len(), 1);
    assert!(
        report.plan[0].from.container_instance.ends_with("/i-1") && report.plan[0].to.name() == "i-2",
        "{:?}",
        report.plan
    );
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=2");
    let changing = ["UpdateService", "StopTask", "TagResource", "UpdateTaskProtection"];
    assert!(report.api_calls.keys().all(|call| !changing.contains(&call.as_str())), "{:?}", report.api_calls);
}

#[test]
fn each_strategy_ends_spread_and_leaves_nothing_behind() {
    for (strategy, service) in [("surge", ""), ("stop", "min=50"), ("redeploy", ""), ("revision", "")] {
        let drawing = format!("a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 {service}");
        let (report, rehearsal) =
            rehearse(&drawing, &format!("STRATEGY={strategy}"), options(1, &["spread-counts=own-revision"], &[]));
        assert_eq!(report.outcome, Outcome::Rebalanced, "{strategy}: {report:?}");
        assert_eq!(report.after.as_ref().unwrap().misplaced_tasks, 0, "{strategy}: {}", spread_of(&rehearsal, "web"));
        assert_eq!(report.services[0].reason, "spread", "{strategy}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{strategy}");
        let lowest = rehearsal.simulator().timeline().services()["web"].lowest_healthy;
        let floor = if strategy == "stop" { 2 } else { 4 };
        assert!(lowest >= floor, "{strategy}: {lowest}");
    }
}

#[test]
fn an_application_s_own_protection_is_never_touched_and_its_task_never_goes() {
    let drawing = "a i-1 web* web* web\nb i-2\nc i-3\nservice web desired=3";
    let (report, rehearsal) = rehearse(drawing, "", options(3, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:?}");
    assert_eq!(spread_of(&rehearsal, "web").split(' ').count(), 2, "{}", spread_of(&rehearsal, "web"));
    let protected = rehearsal.simulator().service("web").unwrap().protected;
    assert_eq!(protected.len(), 2, "{protected:?}");
    assert!(protected.iter().all(|task| task.ends_with("web-1") || task.ends_with("web-2")), "{protected:?}");
}

/// ECS may stop such a task, or wait with every scale-in until its protection ends. Neither keeps the service at a raised desired
/// count, whenever the container instance begins to drain.
#[test]
fn a_protected_task_on_a_draining_instance_keeps_no_desired_count_raised() {
    let drawings = [
        ("a i-1 web web web web\nb i-2 web*\nc i-3\nb i-4\nservice web desired=5", "i-2"),
        ("a i-1 web* web web web\nb i-2 web\nc i-3\nb i-4\nservice web desired=5", "i-1"),
    ];
    let mut told = BTreeSet::new();
    for behaviour in ["drain-of-protected=held-up", "drain-of-protected=stopped"] {
        for ((drawing, drained), after) in
            drawings.iter().flat_map(|it| [0, 30, 50, 70, 90, 120].map(|after| (it, after)))
        {
            let (report, rehearsal) = in_simulated_time(async {
                let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[behaviour], &[])).unwrap();
                let settings = config("LOAD_THRESHOLD=100");
                let drain = async {
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    let instances = rehearsal.simulator().instances();
                    let instance = instances.iter().find(|arn| arn.ends_with(drained)).unwrap();
                    assert!(rehearsal.simulator().drain_instance(instance));
                };
                let (report, ()) = tokio::join!(rehearsal.run(&settings, CLUSTER, "run-1"), drain);
                (report, rehearsal)
            });
            let what = format!("{behaviour} {drained} {after}: {report:#?}");
            assert_eq!(rehearsal.simulator().service("web").unwrap().desired_count, 5, "{what}");
            assert_eq!(leftovers(&rehearsal, &["web-1", "web-5"]), Vec::<String>::new(), "{what}");
            assert!(report.duration_seconds < 400.0, "it waited until its deadline: {what}");
            assert!(behaviour.ends_with("held-up") || report.errors.is_empty(), "{what}");
            told.extend(report.errors);
        }
    }
    let expected = "web: the last step was undone: ECS did not scale in to 5 tasks within 180 s: its application protects 1 task \
                    on a draining container instance";
    assert_eq!(told, BTreeSet::from([expected.to_owned()]));
}

#[test]
fn what_an_application_protects_is_known_before_anything_is_planned() {
    // Both zones that lack a task lack it because the tasks that would have to go are protected.
    let drawing = "a i-1 web* web* web*\nb i-2\nc i-3\nservice web desired=3";
    for (settings, outcome) in [("DRY_RUN=true", Outcome::Unchanged), ("", Outcome::Unchanged)] {
        let (report, rehearsal) = rehearse(drawing, settings, options(0, &[], &[]));
        assert_eq!(report.outcome, outcome, "{settings}: {report:?}");
        let service = &report.services[0];
        assert_eq!((service.misplaced_tasks, service.stuck_tasks), (2, 2), "{service:?}");
        assert_eq!(service.reason, "3 of its tasks are protected from scale-in", "{settings}");
        assert!(report.plan.is_empty(), "{:?}", report.plan);
        assert_eq!(rehearsal.simulator().timeline().services()["web"].started, 0, "{settings}");
    }
    // One may go, and the dry run says so.
    let drawing = "a i-1 web* web* web\nb i-2\nc i-3\nservice web desired=3";
    let (report, _) = rehearse(drawing, "DRY_RUN=true", options(0, &[], &[]));
    assert_eq!((report.services[0].misplaced_tasks, report.services[0].stuck_tasks), (2, 1), "{:?}", report.services);
    assert_eq!(report.plan.len(), 1, "{:?}", report.plan);
    assert!(report.plan[0].task.ends_with("web-3"), "{:?}", report.plan);
    // A deployment would wait for as long as they are protected.
    for strategy in ["redeploy", "revision"] {
        let (report, rehearsal) = rehearse(drawing, &format!("STRATEGY={strategy}"), options(0, &[], &[]));
        assert_eq!(report.outcome, Outcome::Unchanged, "{strategy}: {report:?}");
        assert_eq!(report.services[0].reason, "2 of its tasks are protected from scale-in", "{strategy}");
        assert_eq!(rehearsal.simulator().timeline().services()["web"].started, 0, "{strategy}");
    }
}

#[test]
fn a_broken_image_ends_as_it_began() {
    for strategy in ["surge", "stop", "revision"] {
        let drawing = "a i-1 web web web web\nb i-2\nservice web desired=4 min=50";
        let settings = format!("STRATEGY={strategy} TASK_TIMEOUT=2m");
        let (report, rehearsal) = rehearse(drawing, &settings, options(0, &[], &["broken-image=0"]));
        assert_eq!(report.outcome, Outcome::Failed, "{strategy}: {report:?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{strategy}");
        let service = rehearsal.simulator().service("web").unwrap();
        assert_eq!(service.desired_count, 4, "{strategy}");
        assert!(service.task_definition.ends_with(":1"), "{strategy}: {}", service.task_definition);
        let lowest = rehearsal.simulator().timeline().services()["web"].lowest_healthy;
        // A deployment may go down to minimumHealthyPercent by ECS's own rules, and so may `stop`.
        assert!(lowest >= if strategy == "surge" { 4 } else { 2 }, "{strategy}: {lowest}");
    }
}

/// 950 services with two tasks each, all of them on one of two container instances; the last fifty have four there.
#[test]
fn of_more_services_than_definitions_are_read_the_worst_are_taken_and_the_others_say_so() {
    let mut tasks = String::new();
    for number in 0..950 {
        let of_it = if number < 900 { 2 } else { 4 };
        tasks.push_str(&format!(" s{number:03}").repeat(of_it));
    }
    let drawing = format!("a i-1 cpu=4000000 memory=4000000{tasks}\nb i-2 cpu=4000000 memory=4000000");
    for settings in ["DRY_RUN=true LOAD_THRESHOLD=100", "DRY_RUN=true"] {
        let (report, _) = rehearse(&drawing, settings, options(0, &[], &[]));
        let read: u64 =
            report.api_calls.iter().filter(|(call, _)| call.ends_with("DescribeTaskDefinition")).map(|(_, n)| n).sum();
        assert_eq!(read, 900, "{settings}");
        let unread: Vec<&str> = report
            .services
            .iter()
            .filter(|service| service.reason_code == "definition-not-read")
            .map(|service| service.name.as_str())
            .collect();
        // Those with two misplaced tasks come first, and then the others in the order of their names.
        assert_eq!((unread.len(), unread.first(), unread.last()), (50, Some(&"s850"), Some(&"s899")), "{settings}");
        assert_eq!(report.before.as_ref().unwrap().stuck_tasks, 50);
    }
}
