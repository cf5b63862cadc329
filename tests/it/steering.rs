//! Steering: a constraint for a while brings each replacement just where a task is missing, and nothing of it stays.

use ecs_rebalancer::report::{Outcome, Report};

use crate::support::{leftovers, options, rehearse, spread_of};

struct Case {
    drawing: &'static str,
    behaviour: &'static [&'static str],
    settings: &'static str,
    /// The restarts that steering needs: one for each misplaced task.
    restarts: u32,
    /// Whether ECS's own choice would not do as well.
    steers: bool,
}

const CASES: [Case; 5] = [
    // ECS, read literally in one place of its documents, goes on filling the fullest instance.
    Case {
        drawing: "a i-1 web web web web\na i-2\na i-3\nservice web desired=4",
        behaviour: &["default-strategy=most"],
        settings: "",
        restarts: 2,
        steers: true,
    },
    // Tasks are missing in zone a, but zone b has fewer.
    Case {
        drawing: "a i-1 web web web web\na i-2\nb i-3 web web web\nservice web desired=7",
        behaviour: &[],
        settings: "SURGE=50",
        restarts: 2,
        steers: true,
    },
    Case {
        drawing: "a i-1 web web web web\na i-2\nb i-3 web web web\nservice web desired=7",
        behaviour: &["default-strategy=random", "scale-in=random"],
        settings: "SURGE=1",
        restarts: 2,
        steers: true,
    },
    // Zone b keeps its three: that is ECS's own to even out.
    Case {
        drawing: "a i-1 web web web web\na i-2\nb i-3 web web web\nservice web desired=7 azrebalancing=true",
        behaviour: &["default-strategy=most"],
        settings: "",
        restarts: 2,
        steers: true,
    },
    // ECS puts both where they are missing by itself.
    Case {
        drawing: "a i-1 web web web web\nb i-2\nservice web desired=4 strategy=spread:attribute:ecs.availability-zone,binpack:memory \
                  constraint=memberOf:attribute:rack+!=+x",
        behaviour: &[],
        settings: "",
        restarts: 2,
        steers: false,
    },
];

fn calls(report: &Report, call: &str) -> u64 {
    report.api_calls.iter().filter(|(name, _)| name.ends_with(call)).map(|(_, calls)| *calls).sum()
}

#[test]
fn each_misplaced_task_costs_one_restart_wherever_ecs_alone_would_place_it() {
    for Case { drawing, behaviour, settings, restarts, steers } in &CASES {
        for seed in 0..5 {
            let settings = format!("STRATEGY=surge STEER=true {settings}");
            let (report, rehearsal) = rehearse(drawing, &settings, options(seed, behaviour, &[]));
            let what = format!("{}\n{drawing}\n{report:#?}", spread_of(&rehearsal, "web"));
            assert_eq!(report.outcome, Outcome::Rebalanced, "{what}");
            let simulator = rehearsal.simulator();
            let history = &simulator.timeline().services()["web"];
            // While the count is raised, zone a has two tasks more than zone b. A service that is steady then has its zones evened
            // out by ECS, once for each task that the job moves: that costs a restart, and may make the job's move.
            let own = if drawing.contains("azrebalancing") { *restarts } else { 0 };
            assert!((*restarts..=restarts + own).contains(&history.started), "{what}");
            assert_eq!(history.started, history.stopped, "{what}");
            let moved = report.moved();
            assert!((restarts - own..=*restarts).contains(&moved), "{what}");
            assert_eq!(report.after.as_ref().unwrap().misplaced_tasks, 0, "{what}");
            assert!(history.lowest_healthy >= simulator.service("web").unwrap().desired_count, "{what}");
            let steered = ["PutAttributes", "DeleteAttributes"].map(|call| calls(&report, call) > 0);
            assert_eq!(steered, [*steers; 2], "{what}");
            drop(simulator);
            assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
        }
    }
}

/// An instance has ten attributes of its owner's at most: the two replacements are steered to those that have space for one.
#[test]
fn no_instance_is_steered_to_that_may_have_no_more_attributes() {
    let ten: String = (0..10).map(|number| format!(" attr.own-{number}=x")).collect();
    for (full, expected) in [("i-2", "i-1=2 i-3=1 i-4=1"), ("none", "i-1=1 i-2=1 i-3=1 i-4=1")] {
        let instances = ["i-1 web web web web", "i-2", "i-3", "i-4"].map(|instance| {
            let attributes = if instance == full { &*ten } else { "" };
            format!("a {instance}{attributes}\n")
        });
        let drawing = format!("{}service web desired=4", instances.concat());
        let options = options(0, &["default-strategy=most"], &[]);
        let (report, rehearsal) = rehearse(&drawing, "STRATEGY=surge STEER=true", options);
        assert_eq!(report.errors, Vec::<String>::new(), "{full}: {report:#?}");
        assert_eq!(spread_of(&rehearsal, "web"), expected, "{full}: {report:#?}");
        assert!(calls(&report, "PutAttributes") > 0);
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    }
}

#[test]
fn without_steering_no_attribute_and_no_constraint_is_set() {
    let (report, rehearsal) = rehearse(CASES[0].drawing, "STRATEGY=surge", options(0, CASES[0].behaviour, &[]));
    assert_eq!(calls(&report, "PutAttributes"), 0);
    assert!(report.after.as_ref().unwrap().misplaced_tasks > 0, "else the case shows nothing: {report:?}");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn two_services_share_an_instance_that_came_back() {
    let drawing = "a i-1 web web api api\nb i-2\nservice web desired=2\nservice api desired=2";
    let (report, rehearsal) = rehearse(drawing, "STEER=true", options(0, &[], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:?}");
    for service in ["web", "api"] {
        assert_eq!(spread_of(&rehearsal, service), "i-1=1 i-2=1");
    }
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn two_services_with_different_targets_do_not_take_each_other_s() {
    let drawing = "a i-1 web web web\na i-2 api api api\na i-3\nservice web desired=3 cpu=100 constraint=memberOf:attribute:side+!=+api\n\
                   service api desired=3 cpu=100";
    let (report, rehearsal) = rehearse(drawing, "STEER=true SURGE=100", options(0, &["default-strategy=most"], &[]));
    assert_eq!(report.outcome, Outcome::Rebalanced, "{report:?}");
    for service in ["web", "api"] {
        assert_eq!(spread_of(&rehearsal, service), "i-1=1 i-2=1 i-3=1");
    }
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn what_is_left_of_an_earlier_run_is_found_without_its_note() {
    let drawing = "a i-1 web web\nb i-2 attr.ecs-rebalancer.target=old\nc i-3 api\nservice web desired=2 \
                   constraint=memberOf:attribute:ecs-rebalancer.target+==+old";
    for settings in ["", "STEER=true", "EXCLUDE=web"] {
        let (report, rehearsal) = rehearse(drawing, settings, options(0, &[], &[]));
        assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 1, "{report:?}");
        let constraints = rehearsal.simulator().service("web").unwrap().placement_constraints;
        assert!(constraints.is_empty(), "{settings}: {report:?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{settings}");
    }
    let alone = "a i-1 web\nb i-2 attr.ecs-rebalancer.target=old";
    let (_, rehearsal) = rehearse(alone, "", options(0, &[], &[]));
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn a_replacement_that_never_becomes_healthy_leaves_nothing_behind() {
    for faults in [&["broken-image=0"][..], &["foreign-deployment=20"], &["foreign-count=20"], &["delete-service=20"]] {
        let settings = "STRATEGY=surge STEER=true TASK_TIMEOUT=2m";
        let (_, rehearsal) = rehearse(CASES[0].drawing, settings, options(0, &[], faults));
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{faults:?}");
    }
}

/// DeleteAttributes refuses all of a request in which one container instance is gone.
#[test]
fn an_instance_that_is_lost_while_it_is_steered_to_keeps_no_attribute_on_the_others() {
    let drawing = "a i-1 web web web web web web web web\na i-2\na i-3\na i-4\nservice web desired=8";
    let mut lost_on_the_way = 0;
    for seconds in 1..60 {
        let fault = format!("lose-instance={seconds}");
        let settings = "STRATEGY=surge STEER=true SURGE=50";
        let (report, rehearsal) = rehearse(drawing, settings, options(seconds, &["default-strategy=most"], &[&fault]));
        let what = format!("lost after {seconds} s: {report:#?}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
        lost_on_the_way += u32::from(calls(&report, "DeleteAttributes") > calls(&report, "PutAttributes"));
    }
    assert!(lost_on_the_way > 0);
}
