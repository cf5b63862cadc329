//! How many failed tasks does it take until the circuit breaker ends a deployment?

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Deployment, Lab, Plan, not_shown},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "circuit-breaker-minimum",
    assumption: "The circuit breaker ends a deployment once half as many tasks as desired have failed to start, or three where half is \
                 less.",
    harm: "`redeploy` and `revision` wait longer for a deployment whose tasks can't start than a rehearsal has it.",
    notices: "It reads the deployment's state at each look, tells of a failed one, and waits no longer than its deadline.",
    belief: Belief::Documented("developer guide, deployment-circuit-breaker; that of 2023 has a minimum of ten"),
    setting: Setting::Behaviour("circuit-breaker-minimum"),
    values: &[
        ("3", "a deployment of one task fails with the third failed task"),
        ("10", "it goes on then, and one of five tasks fails with the tenth"),
    ],
    calls: 150,
    minutes: 3,
    work: |lab| Box::pin(work(lab)),
};

const BETWEEN: Duration = Duration::from_secs(5);
/// Tasks of a deployment, and failed ones after which it is watched no more. Half of either number is no more than the least minimum.
/// More at once fail sooner: after each failure ECS waits for longer.
const DEPLOYMENTS: [(i32, i32); 2] = [(1, 4), (5, 15)];

/// What the deployments so far have told of the minimum.
#[derive(Clone, Debug, Default)]
struct Minimum {
    /// It is more than this.
    above: i32,
    /// It is this at most.
    most: Option<i32>,
}

async fn work(lab: &Lab<'_>) -> Outcome {
    let (mut minimum, mut seen) = (Minimum::default(), Vec::new());
    for (count, enough) in DEPLOYMENTS {
        if minimum.most.is_none() {
            seen.push(watch(lab, count, enough, &mut minimum).await?);
        }
    }
    let (above, most) = (minimum.above, minimum.most.unwrap_or(i32::MAX));
    let allows = |value: &str| value.parse().is_ok_and(|known: i32| above < known && known <= most);
    let allowed: Vec<&str> = PROBE.values.iter().map(|(value, _)| *value).filter(|value| allows(value)).collect();
    match allowed[..] {
        [value] if minimum.most.is_some() => Ok(Found { value: value.to_owned(), seen }),
        [] => Err(Stop::contradiction("tasks that can't start, with a circuit breaker", seen.join("; "))),
        _ => Err(Stop::not_settled(format!("DescribeServices: {}", seen.join("; ")))),
    }
}

/// Makes a service that can't start its tasks, and looks on until its deployment fails, or so many tasks have.
async fn watch(lab: &Lab<'_>, count: i32, enough: i32, minimum: &mut Minimum) -> Result<String, Stop> {
    let plan = Plan { definition: &lab.stack.task_definitions.broken, count, breaks: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.tell(&format!("{service}: its deployment to fail"));
    let began = Instant::now();
    loop {
        let look = lab.look(&service).await?;
        let Some(deployment) = look.deployments.first() else { return Err(not_shown(&service)) };
        let Deployment { state, failed_tasks, .. } = deployment.clone();
        let so_far = format!("{failed_tasks} failed tasks of a deployment of {count}: {state}");
        match state.as_str() {
            "FAILED" => minimum.most = Some(failed_tasks),
            // Those of the last round may not have been weighed yet.
            "IN_PROGRESS" => minimum.above = minimum.above.max(failed_tasks - count),
            _ => return Err(Stop::contradiction("tasks that can't start", so_far)),
        }
        if minimum.most.is_some() || failed_tasks >= enough {
            counted(lab, &service, failed_tasks).await?;
            lab.delete(&service).await?;
            return Ok(so_far);
        }
        if began.elapsed() > lab.patience() {
            return Err(Stop::not_settled(format!("CreateService: {so_far}; {}", look.shown())));
        }
        lab.pause(BETWEEN).await;
    }
}

/// Holds what the deployment counts against the tasks that have stopped by themselves.
async fn counted(lab: &Lab<'_>, service: &str, failed_tasks: i32) -> Result<(), Stop> {
    let stopped = lab.history(service).await?.iter().filter(|task| task.stopping.is_some()).count();
    if i32::try_from(stopped).is_ok_and(|stopped| stopped >= failed_tasks) {
        return Ok(());
    }
    let answered = format!("{failed_tasks}, and {stopped} tasks have stopped");
    Err(Stop::contradiction(format!("how many tasks of {service} have failed"), answered))
}
