//! Container instances are looked at a second time before the first change: what was so for a moment only moves no task.

use std::time::Duration;

use ecs_rebalancer::rehearsal::Rehearsal;
use ecs_simulator::Simulator;

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of};

/// What has become of two tasks on one of three instances, where this happens 15 s after the run's begin.
fn after(what: fn(&mut Simulator, &str) -> bool) -> (u32, String, u32) {
    in_simulated_time(async {
        let drawing = "a i-1 web web\nb i-2\nb i-3 status=DRAINING";
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        let settings = config("LOAD_THRESHOLD=100");
        let happens = async {
            tokio::time::sleep(Duration::from_secs(15)).await;
            let mut simulator = rehearsal.simulator();
            let instance = simulator.instances().into_iter().find(|arn| arn.ends_with("/i-2")).unwrap();
            assert!(what(&mut simulator, &instance));
        };
        let (report, ()) = tokio::join!(rehearsal.run(&settings, CLUSTER, "run-1"), happens);
        assert_eq!(report.errors, Vec::<String>::new());
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
        let moved = report.moved();
        let started = rehearsal.simulator().timeline().tasks_started();
        (moved, spread_of(&rehearsal, "web"), started)
    })
}

#[test]
fn a_plan_rests_on_no_instance_that_has_changed_since_the_cluster_was_read() {
    assert_eq!(after(|_, _| true), (1, "i-1=1 i-2=1".to_owned(), 1), "nothing happens");
    assert_eq!(after(|simulator, instance| simulator.connect_agent(instance, false)), (0, "i-1=2".to_owned(), 0));
    assert_eq!(after(Simulator::drain_instance), (0, "i-1=2".to_owned(), 0));
}
