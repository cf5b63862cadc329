//! The job as a task of the cluster itself, on launch type EC2: its own task is never counted, moved or in the way, wherever it is.

use std::time::Duration;

use bytes::Bytes;
use ecs_rebalancer::{
    rehearsal::Rehearsal,
    report::{Outcome, Report},
    run::{self, Edge},
    shutdown::Shutdown,
};
use ecs_simulator::Answer;
use http::Request;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of};

/// What another client asks ECS for, as any client asks it; nothing where ECS refuses.
pub(crate) fn ask(rehearsal: &Rehearsal, operation: &str, input: &Value) -> Option<Value> {
    let request = Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
        .body(Bytes::from(input.to_string()))
        .unwrap();
    let now = rehearsal.now();
    let Answer::Response(response) = rehearsal.simulator().respond(&request, now) else { return None };
    response.status().is_success().then(|| serde_json::from_slice(response.body()).unwrap())
}

pub(crate) fn register_own_definition(rehearsal: &Rehearsal) {
    let container = json!({"name": "ecs-rebalancer", "image": "ecs-rebalancer:1", "cpu": 256, "memory": 512});
    let definition = json!({"family": "ecs-rebalancer", "networkMode": "bridge", "containerDefinitions": [container]});
    ask(rehearsal, "RegisterTaskDefinition", &definition).unwrap();
}

/// Starts the job's own task on a container instance, as ECS does on launch type EC2; its ARN.
pub(crate) fn start_own_task(rehearsal: &Rehearsal, instance: &str) -> String {
    let input = json!({"cluster": CLUSTER, "taskDefinition": "ecs-rebalancer", "containerInstances": [arn(instance)]});
    let started = ask(rehearsal, "StartTask", &input).unwrap();
    started["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
}

pub(crate) fn arn(instance: &str) -> String {
    format!("arn:aws:ecs:us-east-1:111122223333:container-instance/{CLUSTER}/{instance}")
}

/// What became of a run.
struct Played {
    report: Report,
    rehearsal: Rehearsal,
    /// The own task, as ECS describes it.
    own: Value,
}

/// A run whose own task is on an instance; somebody drains that meanwhile, or doesn't.
fn play(drawing: &str, settings: &str, instance: &str, drains_after: Option<Duration>) -> Played {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        register_own_definition(&rehearsal);
        let own_task = start_own_task(&rehearsal, instance);
        sleep(Duration::from_secs(30)).await;
        let edge = rehearsal.edge("run-1", Shutdown::never()).await;
        let edge = Edge { own_task: Some(own_task.as_str().into()), ..edge };
        let settings = config(settings);
        let drain = async {
            if let Some(after) = drains_after {
                sleep(after).await;
                assert!(rehearsal.simulator().drain_instance(&arn(instance)));
            }
        };
        let (report, ()) = tokio::join!(run::run(&settings, CLUSTER, &edge), drain);
        let described = ask(&rehearsal, "DescribeTasks", &json!({"cluster": CLUSTER, "tasks": [own_task]})).unwrap();
        for call in ["StopTask", "UpdateTaskProtection", "GetTaskProtection"] {
            assert!(!rehearsal.simulator().targets_of(call).contains(&own_task), "{call} named the own task");
        }
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{report:#?}");
        Played { report, rehearsal, own: described["tasks"][0].clone() }
    })
}

fn freed(report: &Report) -> Vec<(String, Option<bool>)> {
    let freed = report.consolidation.iter().flat_map(|consolidation| &consolidation.freed);
    freed.map(|freed| (freed.name().to_owned(), freed.is_free)).collect()
}

/// Two zones of two instances each, of which one would do.
const HALF_EMPTY: &str = "a i-1 web web api log\na i-2 web log\nb i-3 web web log\nb i-4 api log web\n\
                          service web\nservice api\nservice log daemon=true";

#[test]
fn an_instance_comes_free_though_the_job_itself_runs_on_it() {
    for instance in ["i-1", "i-2", "i-3", "i-4"] {
        let Played { report, rehearsal, own } = play(HALF_EMPTY, "MODE=consolidate STEER=true", instance, None);
        assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
        let expected = ["i-2", "i-3"].map(|name| (name.to_owned(), Some(true)));
        assert_eq!(freed(&report), expected, "with the job on {instance}: {report:#?}");
        assert_eq!((&own["desiredStatus"], &own["containerInstanceArn"]), (&json!("RUNNING"), &json!(arn(instance))));
        assert_eq!(report.before.as_ref().map(|before| before.running_tasks), Some(12), "{report:#?}");
        for (service, desired) in [("web", 6), ("api", 2)] {
            assert_eq!(rehearsal.simulator().service(service).unwrap().desired_count, desired);
        }
    }
}

#[test]
fn tasks_are_spread_as_if_the_job_s_own_were_not_there() {
    for instance in ["i-1", "i-2"] {
        let Played { report, rehearsal, own } = play("a i-1 web web web web\na i-2", "", instance, None);
        assert_eq!(report.outcome, Outcome::Rebalanced, "{report:#?}");
        assert_eq!(spread_of(&rehearsal, "web"), "i-1=2 i-2=2");
        assert_eq!(own["desiredStatus"], "RUNNING");
    }
}

/// ECS stops no task that belongs to no service when its instance is drained, so the run goes on.
#[test]
fn a_run_whose_instance_is_drained_comes_to_its_end() {
    for seconds in [1, 20, 40, 60, 90, 120] {
        let drawing = "a i-1 web web web web\na i-2 api\na i-3";
        let Played { report, rehearsal, own } = play(drawing, "", "i-1", Some(Duration::from_secs(seconds)));
        assert_eq!(own["desiredStatus"], "RUNNING", "{report:#?}");
        for (service, desired) in [("web", 4), ("api", 1)] {
            assert_eq!(rehearsal.simulator().service(service).unwrap().desired_count, desired, "{report:#?}");
        }
        // What it drains of the service that is being moved is told; before and after that nothing is wrong.
        let is_at_work = (21..=180).contains(&seconds);
        assert!(is_at_work || report.errors.is_empty(), "{report:#?}");
    }
}
