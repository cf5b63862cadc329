//! Services whose own tasks close the container instances that they are on to more of them: they are spread like any other.

use ecs_rebalancer::report::Outcome;

use crate::support::{leftovers, options, rehearse, spread_of};

#[test]
fn an_uneven_service_whose_constraint_its_own_tasks_break_is_spread_again() {
    let one_each = ["not(task:group+==+service:web)", "task:group+!=+service:web", "task:group+!~+service:web"];
    for (instances, constraints, misplaced, expected) in [
        // At most one on each, as ECS has placed them while zone b was away.
        ("a i-1 web\na i-2 web\na i-3 web\na i-4 web\nb i-5\nb i-6\n", &one_each[..], 2, 4),
        // Somebody has set it since.
        ("a i-1 web web web\na i-2\nb i-3\n", &one_each, 2, 3),
        // Beside the two of `api` no more than one.
        (
            "a i-1 web web web web\nb i-2 api api\nb i-3\nservice api desired=2 strategy=binpack:memory\n",
            &["runningTasksCount+<+3", "runningTasksCount+<=+2"],
            2,
            3,
        ),
    ] {
        for constraint in constraints {
            for settings in ["STRATEGY=surge", "STRATEGY=surge STEER=true", "STRATEGY=surge SURGE=100"] {
                let desired = instances.matches("web").count();
                let drawing = format!("{instances}service web desired={desired} constraint=memberOf:{constraint}");
                let (report, rehearsal) = rehearse(&drawing, settings, options(1, &[], &[]));
                let what = format!("{settings}: {}\n{drawing}\n{report:#?}", spread_of(&rehearsal, "web"));
                assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, misplaced, "{what}");
                assert_eq!((&report.errors, report.outcome), (&Vec::new(), Outcome::Rebalanced), "{what}");
                assert_eq!(report.after.as_ref().unwrap().misplaced_tasks, 0, "{what}");
                assert_eq!(report.moved(), misplaced, "{what}");
                assert_eq!(spread_of(&rehearsal, "web").split(' ').count(), expected, "{what}");
                let simulator = rehearsal.simulator();
                let history = &simulator.timeline().services()["web"];
                assert!(history.lowest_healthy >= simulator.service("web").unwrap().desired_count, "{what}");
                drop(simulator);
                assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
            }
        }
    }
}
