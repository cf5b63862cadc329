//! What others would have done to the same cluster, beside what the job does.

use ecs_rebalancer::{
    config::{Clusters, Config},
    rehearsal::{Policy, Rehearsal, compare},
    report::{Report, compared, html, text},
};
use ecs_simulator::{Options, snapshot::Snapshot};

use crate::support::{config, in_simulated_time};

/// The reference cluster's report with all other policies beside it.
pub(crate) fn beside_others() -> Report {
    let snapshot = Snapshot::reference_cluster();
    let config = Config { clusters: Clusters::Named(vec![snapshot.cluster_name().to_owned()]), ..config("") };
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, Options::default()).unwrap();
        let mut report = rehearsal.run(&config, snapshot.cluster_name(), "rehearsal").await;
        for policy in [Policy::OtherSteering, Policy::Redeploy, Policy::Seed] {
            let other = compare(policy, &snapshot, Options::default(), &config).await.unwrap();
            report.rehearsal.as_mut().unwrap().instead.push(other);
        }
        report
    })
}

#[test]
fn redeploying_restarts_every_task_and_the_job_just_the_misplaced_one() {
    let report = beside_others();
    let told: Vec<(&str, u32)> = compared(&report).iter().map(|it| (it.policy, it.restarted)).collect();
    assert_eq!(told, [("ecs-rebalancer", 1), ("steering", 1), ("redeploy", 2), ("reference arch.", 2)]);
    for column in compared(&report) {
        let lowest = column.lowest.unwrap();
        assert_eq!((lowest.healthy, lowest.desired), (2, 2), "{}", column.policy);
        assert!(column.requests > 0 && column.simulated_seconds > 0, "{}", column.policy);
    }
    let left: Vec<(u32, u32)> = compared(&report).iter().map(|it| (it.misplaced_left, it.empty_instances)).collect();
    assert_eq!(left[..2], [(0, 0), (0, 0)]);
    let text = text::render(&report, false);
    assert!(text.contains("ecs-rebalancer  steering  redeploy  reference arch.") && text.contains("2 of 2"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(html::document(&report).contains("reference arch."));
}

#[test]
fn without_others_there_is_no_comparison() {
    let mut report = beside_others();
    report.rehearsal.as_mut().unwrap().instead.clear();
    assert_eq!(compared(&report), []);
    assert!(!text::render(&report, false).contains("on the same cluster"));
}
