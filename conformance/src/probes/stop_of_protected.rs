//! Does StopTask stop a protected task?

use std::time::Duration;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, tried},
    probe::{Belief, Probe, Setting},
};

/// A task that is told to stop is to stop by then.
const AFTER: Duration = Duration::from_mins(1);

pub(super) const PROBE: Probe = Probe {
    name: "stop-of-protected",
    assumption: "StopTask stops a protected task, so the job itself has to leave such tasks alone.",
    harm: "No harm while the job asks first: it never stops a protected task. A race between the two calls would cost an \
           application the task that it had protected.",
    notices: "StopTask is refused, and the move is told as failed.",
    belief: Belief::Observed(
        "AWS's examples of task protection say that the console's Stop ends a protected task at once",
    ),
    setting: Setting::Behaviour("stop-of-protected"),
    values: &[("allowed", "the task stops"), ("refused", "StopTask is refused, and the task goes on")],
    calls: 130,
    minutes: 3,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    lab.has_protection().await?;
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 2, ..Plan::default() };
    let (service, look) = lab.make(&plan).await?;
    let Some(task) = look.tasks.values().next().cloned() else {
        return Err(Stop::not_settled("the service has no task"));
    };
    lab.protect(&[&task.arn], true).await?;
    lab.is_protected(&[&task.arn], true).await?;
    let request = lab.ecs().stop_task().cluster(&lab.stack.cluster).task(&task.arn).reason("conformance");
    let refusal = tried("StopTask", request.send()).await?.err();
    lab.tell(&format!("{service}: what becomes of the protected task"));
    lab.pause(AFTER).await;
    let after = lab.describe(&task.arn).await?;
    let again = lab.look(&service).await?;
    if after.is_wanted != again.tasks.contains_key(&task.arn) {
        return Err(Stop::contradiction(
            format!("whether {} is to run", task.arn),
            "ListTasks and DescribeTasks say the opposite".to_owned(),
        ));
    }
    match (refusal, after.is_wanted) {
        (None, false) => Ok(Found { value: "allowed".to_owned(), seen: vec!["the protected task stopped".to_owned()] }),
        (Some(refusal), true) => Ok(Found {
            value: "refused".to_owned(),
            seen: vec![format!("StopTask: {}: {}", refusal.code, refusal.message)],
        }),
        (None, true) => Err(Stop::contradiction(
            "a protected task to stop, and was answered that it does",
            format!("{} s later it was still to run", AFTER.as_secs()),
        )),
        (Some(refusal), false) => Err(Stop::contradiction(
            format!("a protected task to stop, and was answered {}: {}", refusal.code, refusal.message),
            "it stopped all the same".to_owned(),
        )),
    }
}
