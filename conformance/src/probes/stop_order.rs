//! Does the scheduler tell of a stopped task before its targets are taken off, or after they are drained?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "stop-order",
    assumption: "In a scale-in a task's targets are taken off the load balancer and drain before the task is told to stop.",
    harm: "Requests fail while tasks are moved.",
    notices: "It waits until the old task is gone before the next step; that requests fail it can't see.",
    belief: Belief::Observed(
        "public logs since 2025 tell of the stop first, then of the targets; those until 2021 the other way round",
    ),
    setting: Setting::Behaviour("stop-order"),
    values: &[
        (
            "since-2025",
            "'has stopped' is told before 'deregistered'; the stop signal comes after the drain all the same",
        ),
        ("until-2021", "'deregistered' is told before 'has stopped'"),
    ],
    calls: 250,
    minutes: 5,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.web, count: 2, has_targets: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    let before = lab.at_rest(&service, 2).await?;
    let (gone, _) = lab.lower_by_one(&service, &before).await?;
    lab.stopped(&gone.arn).await?;
    let after = lab.at_rest(&service, 1).await?;
    let new = &after.events[before.events.len().min(after.events.len())..];
    let place = |what: &str| new.iter().position(|event| event.contains(what));
    let seen = new.to_vec();
    match (place(" has stopped "), place(" deregistered ")) {
        (Some(stopped), Some(taken_off)) if stopped < taken_off => Ok(Found { value: "since-2025".to_owned(), seen }),
        (Some(_), Some(_)) => Ok(Found { value: "until-2021".to_owned(), seen }),
        _ => Err(Stop::not_settled(format!("the service told of no stop or of no target: {}", seen.join("; ")))),
    }
}
