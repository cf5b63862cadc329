//! Runs that an event started: each change of a container instance sends one, so most are not wanted, and those must cost next to
//! nothing, for the account's other clients share ECS's rate limits with them.

use std::{cell::Cell, time::Duration};

use ecs_rebalancer::{
    rehearsal::Rehearsal,
    report::{Outcome, Report},
    run::{self, Edge},
    shutdown::Shutdown,
};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    own_task::{arn, ask, register_own_definition, start_own_task},
    support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot},
};

/// What a run may ask for before it knows that it is not wanted.
const MOST_REQUESTS: u64 = 5;
/// An account that adds many instances in one go.
const AT_ONCE: usize = 25;

/// A run for a container instance's event, in the task of its own that is named.
async fn run_for(
    rehearsal: &Rehearsal,
    instance: &str,
    own_task: Option<&str>,
    run_id: &str,
    settings: &str,
) -> Report {
    let edge = rehearsal.edge(run_id, Shutdown::never()).await;
    let edge = Edge { own_task: own_task.map(Into::into), ..edge };
    let settings = config(&format!("TRIGGER_INSTANCE={} {settings}", arn(instance)));
    run::run(&settings, CLUSTER, &edge).await
}

fn requests(report: &Report) -> u64 {
    report.api_calls.values().sum()
}

/// Another run is at work.
fn hold_the_lease(rehearsal: &Rehearsal) {
    let until = rehearsal.now().0 / 1_000 + 3_600;
    let lease = format!("state=holding until={until}");
    assert!(rehearsal.simulator().set_cluster_tag("ecs-rebalancer:lease-another", Some(&lease)));
}

/// An event's run that is not wanted: why, and how many requests tell it so.
fn check_skipped(drawing: &str, instance: &str, on_it: bool, is_held: bool, reason: &str, expected: u64) {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        register_own_definition(&rehearsal);
        let own_task = on_it.then(|| start_own_task(&rehearsal, instance));
        if is_held {
            hold_the_lease(&rehearsal);
        }
        sleep(Duration::from_secs(10)).await;
        let report = run_for(&rehearsal, instance, own_task.as_deref(), "run-1", "").await;
        assert_eq!((report.outcome, report.outcome_reason.as_str()), (Outcome::Skipped, reason), "{report:#?}");
        assert_eq!(requests(&report), expected, "{:#?}", report.api_calls);
        assert!(expected <= MOST_REQUESTS);
    });
}

#[test]
fn a_run_that_is_not_wanted_ends_after_five_requests_at_most() {
    let drawing = "a i-1 web web web web log\na i-2 web log\na i-3 log\na i-4\na i-5 status=DRAINING\n\
                   a i-6 api api api api api api api api api api api\nservice log daemon=true";
    let has_tasks = |name: &str| format!("container instance {name} has tasks already: it has not just joined");
    let draining = "container instance i-5 is not ACTIVE with its agent connected";
    let gone = "container instance i-9 is not in the cluster (any more)";
    let at_work = "run another is at work on the cluster";
    check_skipped(drawing, "i-9", false, false, gone, 1);
    check_skipped(drawing, "i-5", false, false, draining, 1);
    // So many tasks are not those of daemons.
    check_skipped(drawing, "i-6", false, false, &has_tasks("i-6"), 1);
    check_skipped(drawing, "i-1", false, false, &has_tasks("i-1"), 4);
    check_skipped(drawing, "i-2", true, false, &has_tasks("i-2"), 4);
    check_skipped("a i-4", "i-4", false, true, at_work, 2);
    check_skipped("a i-4", "i-4", true, true, at_work, 4);
    check_skipped(drawing, "i-3", true, true, at_work, 5);
}

#[test]
fn another_run_s_task_is_no_reason_wherever_the_own_one_is() {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot("a i-1 web web web web\na i-2\na i-3"), options(0, &[], &[])).unwrap();
        register_own_definition(&rehearsal);
        let [own, _] = ["i-2", "i-3"].map(|instance| start_own_task(&rehearsal, instance));
        sleep(Duration::from_secs(10)).await;
        let report = run_for(&rehearsal, "i-3", Some(&own), "run-1", "DRY_RUN=true").await;
        assert_eq!(report.outcome, Outcome::Planned, "{report:#?}");
    });
}

/// So many instances at once, each with a daemon's task and the run's own: the dearest way to find out that a run is not wanted.
fn many(tasks: &str) -> String {
    let instances: String = (1..=AT_ONCE).map(|number| format!("a i-{number} {tasks}\n")).collect();
    format!("{instances}service log daemon=true")
}

/// Another client that asks for something of each class five times a second, for as long as it is wanted; how many of its calls
/// were refused, of how many.
async fn another_client(rehearsal: &Rehearsal, is_wanted: &Cell<bool>) -> (u32, u32) {
    let cluster = json!({"cluster": CLUSTER});
    let clusters = json!({"clusters": [CLUSTER], "include": ["TAGS"]});
    let cluster_arn = format!("arn:aws:ecs:us-east-1:111122223333:cluster/{CLUSTER}");
    let tag = json!({"resourceArn": cluster_arn, "tags": [{"key": "team", "value": "web"}]});
    let calls = [
        ("ListTasks", &cluster),
        ("ListServices", &cluster),
        ("DescribeClusters", &clusters),
        ("ListTaskDefinitions", &cluster),
        ("TagResource", &tag),
    ];
    let (mut refused, mut made) = (0, 0);
    while is_wanted.get() {
        for (operation, input) in calls {
            made += 1;
            refused += u32::from(ask(rehearsal, operation, input).is_none());
        }
        sleep(Duration::from_millis(200)).await;
    }
    (refused, made)
}

/// Runs for all instances at once beside another client; each run's report. Nobody may be throttled.
async fn at_once(rehearsal: &Rehearsal, own_tasks: &[Option<String>], settings: &str) -> Vec<Report> {
    let is_wanted = Cell::new(true);
    let runs = async {
        sleep(Duration::from_secs(5)).await;
        // They began in the same second, and their ids end as chance has it.
        let name = |number: usize| {
            let id = format!("20261124T110000Z-{:08x}", number.wrapping_mul(2_654_435_761) & 0xffff_ffff);
            (format!("i-{number}"), id)
        };
        let names: Vec<(String, String)> = (1..=own_tasks.len()).map(name).collect();
        let runs = names.iter().zip(own_tasks);
        let runs = runs.map(|((instance, id), own)| run_for(rehearsal, instance, own.as_deref(), id, settings));
        let reports = join_all(runs).await;
        sleep(Duration::from_secs(20)).await;
        is_wanted.set(false);
        reports
    };
    let (reports, (refused, made)) = tokio::join!(runs, another_client(rehearsal, &is_wanted));
    assert!(made > 500, "{made}");
    assert_eq!((refused, rehearsal.simulator().throttled()), (0, 0), "of {made} calls");
    reports
}

#[test]
fn many_that_are_not_wanted_at_once_throttle_no_other_client() {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(&many("log")), options(0, &[], &[])).unwrap();
        register_own_definition(&rehearsal);
        let own_tasks: Vec<Option<String>> =
            (1..=AT_ONCE).map(|number| Some(start_own_task(&rehearsal, &format!("i-{number}")))).collect();
        hold_the_lease(&rehearsal);
        sleep(Duration::from_mins(1)).await;
        for report in at_once(&rehearsal, &own_tasks, "").await {
            assert_eq!((report.outcome, requests(&report)), (Outcome::Skipped, MOST_REQUESTS), "{report:#?}");
        }
    });
}

#[test]
fn of_many_instances_that_join_at_once_one_s_run_reads_the_cluster() {
    let old: String = (1..=10).map(|number| format!("b old-{number} web web web web api api\n")).collect();
    let joined: String = (1..=AT_ONCE).map(|number| format!("a i-{number}\n")).collect();
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(&format!("{old}{joined}")), options(0, &[], &[])).unwrap();
        let reports = at_once(&rehearsal, &[const { None }; AT_ONCE], "SURGE=100").await;
        let (skipped, others): (Vec<&Report>, Vec<&Report>) =
            reports.iter().partition(|report| report.outcome == Outcome::Skipped);
        assert_eq!(others.iter().map(|report| report.outcome).collect::<Vec<_>>(), [Outcome::Rebalanced]);
        for report in &skipped {
            assert!(requests(report) <= MOST_REQUESTS, "{report:#?}");
        }
        // Most see that another has asked.
        let all: u64 = skipped.iter().map(|report| requests(report)).sum();
        assert!(all <= 3 * AT_ONCE as u64, "{all}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    });
}
