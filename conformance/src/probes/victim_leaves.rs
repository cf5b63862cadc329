//! When does a task that is on its way out leave runningCount, ListTasks and its target group?

use std::time::Duration;

use aws_sdk_ecs::types::DesiredStatus;
use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, not_shown},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "victim-leaves",
    assumption: "A task that is to stop is in ListTasks no more as soon as that is decided; runningCount may still count it while its \
                 targets drain, so the job counts by ListTasks.",
    harm: "No harm while it counts by ListTasks. By runningCount each step would take five minutes longer.",
    notices: "It waits until the tasks that were to go are gone, and tells which were not in time.",
    belief: Belief::Observed("public logs of 2017 count it, those of 2025 and 2026 don't; nothing is documented"),
    setting: Setting::Behaviour("running-counts"),
    values: &[
        ("wanted", "runningCount counts it no more while its targets drain"),
        ("draining-too", "runningCount counts it until they are drained"),
    ],
    calls: 310,
    // Its target group's drain takes five minutes, which the simulator's takes not.
    minutes: 10,
    work: |lab| Box::pin(work(lab)),
};

const BETWEEN: Duration = Duration::from_secs(2);
/// So many readings of a kind tell.
const ENOUGH: usize = 4;

/// What is read at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    seconds: u64,
    running: i32,
    listed: usize,
    draining: usize,
}

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan {
        definition: &lab.stack.task_definitions.web,
        count: 2,
        has_targets: true,
        drains_slowly: true,
        ..Plan::default()
    };
    let service = lab.create(&plan).await?;
    let before = lab.at_rest(&service, 2).await?;
    lab.set_count(&service, 1).await?;
    lab.tell(&format!("{service}: one of its two tasks to leave"));
    let began = Instant::now();
    let mut readings: Vec<Reading> = Vec::new();
    loop {
        let reading = read(lab, &service, began).await?;
        let was_draining = readings.iter().any(|reading| reading.draining > 0);
        readings.push(reading);
        let ended =
            readings.iter().rev().take(3).all(|last| last.draining == 0 && last.listed == 1 && last.running == 1);
        if was_draining && ended {
            break;
        }
        if began.elapsed() > lab.patience() {
            return Err(Stop::not_settled(format!(
                "DescribeTargetHealth: no target drains, or one does for ever: {reading:?}"
            )));
        }
        lab.pause(BETWEEN).await;
    }
    let after = lab.running(&service, 1).await?;
    let gone = before.tasks.keys().find(|arn| !after.tasks.contains_key(*arn)).cloned();
    let Some(gone) = gone else { return Err(Stop::contradiction("one task less", after.shown())) };
    lab.stopped(&gone).await?;
    let first = |is_it: &dyn Fn(&Reading) -> bool| readings.iter().find(|it| is_it(it)).map_or(0, |it| it.seconds);
    let drained = readings.iter().rposition(|reading| reading.draining > 0).map_or(0, |last| readings[last].seconds);
    let seen = vec![format!(
        "after so many seconds: out of ListTasks {}, out of runningCount {}, its target draining from {} to {drained}",
        first(&|it| it.listed == 1),
        first(&|it| it.running == 1),
        first(&|it| it.draining > 0),
    )];
    let during = || readings.iter().filter(|reading| reading.draining > 0 && reading.listed == 1);
    let counted = during().filter(|reading| reading.running == 2).count();
    let not_counted = during().filter(|reading| reading.running == 1).count();
    match (counted, not_counted) {
        (0 | 1, ENOUGH..) => Ok(Found { value: "wanted".to_owned(), seen }),
        (ENOUGH.., 0 | 1) => Ok(Found { value: "draining-too".to_owned(), seen }),
        (counted, not_counted) if counted + not_counted > ENOUGH => Err(Stop::contradiction(
            "runningCount while a target drains",
            format!("{counted} readings count the task, and {not_counted} don't; {}", seen.join("; ")),
        )),
        _ => {
            Err(Stop::not_settled(format!("DescribeTargetHealth: it drained too soon to be seen: {}", seen.join("; "))))
        }
    }
}

async fn read(lab: &Lab<'_>, service: &str, began: Instant) -> Result<Reading, Stop> {
    let described = lab.described(service).await?.ok_or_else(|| not_shown(service))?;
    let listed = lab.list(service, DesiredStatus::Running).await?.len();
    let states = lab.targets(&lab.stack.target_groups[1]).await?;
    let draining = states.get("draining").copied().unwrap_or(0);
    Ok(Reading { seconds: began.elapsed().as_secs(), running: described.running_count(), listed, draining })
}
