//! Of a task whose target fails: does its replacement start first, or does it stop first?

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, Task},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "unhealthy-order",
    assumption: "ECS starts the replacement of a task whose target is unhealthy before it stops that task, where maximumPercent allows.",
    harm: "A service has fewer tasks than the job counts on while a step is under way.",
    notices: "It looks again before each step, and leaves a service alone that has an unhealthy task.",
    belief: Belief::Documented("developer guide, ecs_services; API, HealthCheck, has it the other way round"),
    setting: Setting::Behaviour("unhealthy"),
    values: &[
        ("replacement-first", "a new task was there before the unhealthy one was told to stop"),
        ("stop-first", "none was"),
    ],
    calls: 210,
    minutes: 4,
    work: |lab| Box::pin(work(lab)),
};

const COUNT: i32 = 2;
const BETWEEN: Duration = Duration::from_secs(5);
/// ECS's scheduler acts in looks about ten seconds apart: what comes within this time comes at the same one.
const AT_ONCE: i64 = 1_000;

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan =
        Plan { definition: &lab.stack.task_definitions.deaf, count: COUNT, has_targets: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    let first = lab.running(&service, COUNT).await?;
    lab.tell(&format!("{service}: a task whose target fails to be replaced"));
    let began = Instant::now();
    let mut known: BTreeMap<String, Task> = first.tasks.clone();
    let gone: Vec<Task> = loop {
        lab.pause(BETWEEN).await;
        let look = lab.look(&service).await?;
        known.extend(look.tasks.clone());
        let mut gone = Vec::new();
        for arn in first.tasks.keys().filter(|arn| !look.tasks.contains_key(*arn)) {
            gone.push(lab.describe(arn).await?);
        }
        let is_replaced = look.tasks.keys().any(|arn| !first.tasks.contains_key(arn));
        if is_replaced && !gone.is_empty() {
            break gone;
        }
        if began.elapsed() > lab.patience() {
            return Err(Stop::not_settled(format!("CreateService: no task is replaced: {}", look.shown())));
        }
    };
    let Some(stopping) = gone.iter().filter_map(|task| task.stopping).min() else {
        return Err(Stop::contradiction("a task that is listed no more", format!("it is to run: {gone:?}")));
    };
    let new = known.values().filter(|task| !first.tasks.contains_key(&task.arn)).map(|task| task.created).min();
    let Some(new) = new else { return Err(Stop::not_settled("there is no new task")) };
    let again = lab.describe(&gone[0].arn).await?;
    if again.stopping != gone[0].stopping {
        return Err(Stop::contradiction(format!("when {} was told to stop", again.arn), "one moment, then another"));
    }
    let told = lab.told(&service).await?;
    if !told.iter().any(|told| told.message.contains("is unhealthy in (target-group")) {
        return Err(Stop::not_settled(format!(
            "DescribeServices: nothing was told of a target: {}",
            super::timed(&told)
        )));
    }
    let seen = vec![
        format!("the first new task was created {} ms after the first unhealthy one was told to stop", new - stopping),
        super::timed(&told),
    ];
    let value = if new + AT_ONCE < stopping { "replacement-first" } else { "stop-first" };
    Ok(Found { value: value.to_owned(), seen })
}
