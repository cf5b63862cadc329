//! How long after StopTask does the scheduler start the replacement?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, call},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "stop-reaction",
    assumption: "After StopTask a service runs with one task less until ECS's scheduler notices, and the job waits for the \
                 replacement.",
    harm: "The strategy `stop` leaves a service below its desired count for longer, or the job waits for longer than it expects.",
    notices: "The report tells how long each step took, and the deadline ends a run that waits.",
    belief: Belief::Observed("public logs show about 30 s"),
    setting: Setting::Behaviour("stop-reaction"),
    values: &[
        ("30s", "the soonest replacement came 20 to 35 s after"),
        ("0s", "less than 9.5 s after"),
        ("10s", "9.5 to 20 s after"),
        ("40s", "more than 35 s after"),
    ],
    calls: 470,
    minutes: 11,
    work: |lab| Box::pin(work(lab)),
};

/// The scheduler looks each ten seconds or so, which comes on top of its reaction: the soonest of so many tells the reaction.
const ROUNDS: usize = 5;

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 2, ..Plan::default() };
    let (service, mut look) = lab.make(&plan).await?;
    let mut delays = Vec::new();
    for _ in 0..ROUNDS {
        let Some(task) = look.tasks.values().next().cloned() else {
            return Err(Stop::not_settled("the service has no task"));
        };
        let request = lab.ecs().stop_task().cluster(&lab.stack.cluster).task(&task.arn).reason("conformance");
        call("StopTask", request.send()).await?;
        let before = look.clone();
        let after = lab
            .until(&service, "a replacement", |look| look.has_running(2) && !look.tasks.contains_key(&task.arn))
            .await?;
        let stopped = lab.describe(&task.arn).await?;
        let new: Vec<i64> = after
            .tasks
            .values()
            .filter(|task| !before.tasks.contains_key(&task.arn))
            .map(|task| task.created)
            .collect();
        let ([created], Some(stopping)) = (&new[..], stopped.stopping) else {
            return Err(Stop::contradiction("one task to stop", format!("{} new tasks: {}", new.len(), after.shown())));
        };
        delays.push(created - stopping);
        look = lab.steady(&service, 2).await?;
    }
    let seen: Vec<String> = delays.iter().map(|delay| format!("{}.{} s", delay / 1000, delay % 1000 / 100)).collect();
    let soonest = delays.iter().min().copied().unwrap_or_default();
    if soonest < 0 {
        return Err(Stop::contradiction(
            "a task to stop",
            format!("its replacement was created before: {}", seen.join(", ")),
        ));
    }
    let value = match soonest {
        ..9_500 => "0s",
        9_500..20_000 => "10s",
        20_000..35_000 => "30s",
        _ => "40s",
    };
    Ok(Found { value: value.to_owned(), seen })
}
