//! What counts for maximumPercent?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "maximum-percent-counts",
    assumption: "Tasks that are stopping count for maximumPercent, so a service at its maximum starts nothing until they are gone.",
    harm: "The job plans for steps that take longer than they need, or ECS starts more than the owner's maximum.",
    notices: "It waits for each new task up to the deadline, and plans with what ECS lets it start.",
    belief: Belief::Open(
        "developer guide, update-service-parameters: PENDING, RUNNING or STOPPING; API, DeploymentConfiguration: RUNNING or PENDING",
    ),
    setting: Setting::Behaviour("maximum-percent-counts"),
    values: &[
        ("stopping-too", "a replacement starts once the old task is gone"),
        ("running-and-pending", "a replacement starts while the old task drains"),
    ],
    calls: 300,
    minutes: 5,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    // One task may be missing, and none may be added: the old one goes first.
    let plan = Plan {
        definition: &lab.stack.task_definitions.web,
        count: 2,
        has_targets: true,
        percents: Some((50, 100)),
        ..Plan::default()
    };
    let service = lab.create(&plan).await?;
    let before = lab.at_rest(&service, 2).await?;
    lab.update(&service, |request| request.force_new_deployment(true)).await?;
    let after = lab
        .until(&service, "a task of the new deployment", |look| {
            look.tasks.keys().any(|arn| !before.tasks.contains_key(arn))
        })
        .await?;
    let new = after.tasks.values().filter(|task| !before.tasks.contains_key(&task.arn)).map(|task| task.created).min();
    let Some(new) = new else { return Err(Stop::not_settled("there is no new task")) };
    let mut stopping = Vec::new();
    for arn in before.tasks.keys() {
        let task = lab.describe(arn).await?;
        if let Some(since) = task.stopping.filter(|since| *since <= new) {
            stopping.push((since, task.stopped, task.arn));
        }
    }
    stopping.sort();
    let Some((since, stopped, arn)) = stopping.first() else {
        return Err(Stop::contradiction(
            "a new deployment with maximumPercent 100",
            "a new task, before any old one was told to stop".to_owned(),
        ));
    };
    let again = lab.describe(arn).await?;
    if again.stopping != Some(*since) {
        return Err(Stop::contradiction(format!("when {arn} was told to stop"), "one moment, then another"));
    }
    let drained = stopped.is_some_and(|stopped| stopped <= new);
    let seen = vec![format!(
        "the replacement was created {} s after the old task was told to stop, {}",
        (new - since) / 1000,
        if drained { "when it was gone" } else { "while it drained" }
    )];
    Ok(Found { value: if drained { "stopping-too" } else { "running-and-pending" }.to_owned(), seen })
}
