//! In what order, and when, does the scheduler tell of a scale-in, a deployment, a StopTask?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, Told, call},
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
    calls: 350,
    minutes: 8,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.web, count: 2, has_targets: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    let before = lab.at_rest(&service, 2).await?;
    let known = lab.told(&service).await?;
    let (gone, _) = lab.lower_by_one(&service, &before).await?;
    lab.stopped(&gone.arn).await?;
    lab.at_rest(&service, 1).await?;
    let scaled_in = lab.told_since(&service, &known).await?;
    let value = order(&scaled_in)?;
    let mut seen = vec![format!("a scale-in: {}", super::timed(&scaled_in))];

    // A deployment's old task goes by the same steps.
    let known = lab.told(&service).await?;
    let old = lab.look(&service).await?;
    lab.update(&service, |request| request.force_new_deployment(true)).await?;
    let is_over = |it: &str| it.ends_with("deployment completed.");
    lab.until_told(&service, "a deployment to be completed", &known, is_over).await?;
    for arn in old.tasks.keys() {
        lab.stopped(arn).await?;
    }
    let deployed = lab.told_since(&service, &known).await?;
    seen.push(format!("a deployment: {}", super::timed(&deployed)));
    if order(&deployed)? != value {
        return Err(Stop::contradiction("the order of events in a scale-in, and in a deployment", seen.join("; ")));
    }

    // Nobody waits for the targets of a task that StopTask stops.
    let rest = lab.at_rest(&service, 1).await?;
    let known = lab.told(&service).await?;
    let Some(task) = rest.tasks.keys().next() else { return Err(Stop::not_settled("the service has no task")) };
    let request = lab.ecs().stop_task().cluster(&lab.stack.cluster).task(task).reason("conformance");
    call("StopTask", request.send()).await?;
    lab.until_told(&service, "the replacement of a task that StopTask stopped", &known, |it| {
        it.contains(" registered ")
    })
    .await?;
    let stopped = lab.told_since(&service, &known).await?;
    seen.push(format!("StopTask: {}", super::timed(&stopped)));
    Ok(Found { value: value.to_owned(), seen })
}

fn order(told: &[Told]) -> Result<&'static str, Stop> {
    let place = |what: &str| told.iter().position(|told| told.message.contains(what));
    match (place(" has stopped "), place(" deregistered ")) {
        (Some(stopped), Some(taken_off)) if stopped < taken_off => Ok("since-2025"),
        (Some(_), Some(_)) => Ok("until-2021"),
        _ => Err(Stop::not_settled(format!("the service told of no stop or of no target: {}", super::timed(told)))),
    }
}
