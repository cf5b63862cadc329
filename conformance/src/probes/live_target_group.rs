//! Which target group has the tasks after each deployment that swaps them?

use aws_sdk_ecs::types::DeploymentStrategy;
use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{BETWEEN_READS, Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "live-target-group",
    assumption: "Of the two target groups of a service with blue/green, linear or canary deployments either may have its tasks.",
    harm: "No harm while a task counts as healthy that is healthy in either. A job that looked at one alone would wait for ever.",
    notices: "It looks at both, and undoes a step whose new task is healthy in neither.",
    belief: Belief::Observed(
        "public reports have either from the first deployment on; API, ServiceRevision, tells which",
    ),
    setting: Setting::Behaviour("live-target-group"),
    values: &[
        ("first", "the first after the first deployment, and the other after the second"),
        ("second", "the alternate one after the first deployment, and the other after the second"),
    ],
    calls: 850,
    minutes: 14,
    work: |lab| Box::pin(work(lab)),
};

const STRATEGIES: [DeploymentStrategy; 3] =
    [DeploymentStrategy::BlueGreen, DeploymentStrategy::Linear, DeploymentStrategy::Canary];
const COUNT: i32 = 1;

async fn work(lab: &Lab<'_>) -> Outcome {
    let mut found = Vec::new();
    for strategy in STRATEGIES {
        let plan = Plan {
            definition: &lab.stack.task_definitions.web,
            count: COUNT,
            swaps: Some(strategy.clone()),
            ..Plan::default()
        };
        let service = lab.create(&plan).await?;
        let before = lab.at_rest(&service, COUNT).await?;
        let first = live(lab, &service).await?;
        lab.update(&service, |request| request.force_new_deployment(true)).await?;
        lab.until(&service, "the second deployment", |now| {
            now.has_running(COUNT)
                && now.is_complete()
                && now.is_deployed_since(&before)
                && now.tasks.keys().all(|arn| !before.tasks.contains_key(arn))
        })
        .await?;
        lab.at_rest(&service, COUNT).await?;
        let second = live(lab, &service).await?;
        found.push((strategy.as_str().to_owned(), [first, second]));
        let tasks = lab.look(&service).await?.tasks;
        lab.delete(&service).await?;
        for arn in tasks.keys() {
            lab.stopped(arn).await?;
        }
    }
    let named = |index: &usize| if *index == 0 { "the first group" } else { "the alternate group" };
    let seen: Vec<String> = found
        .iter()
        .map(|(strategy, [first, second])| format!("{strategy}: {}, then {}", named(first), named(second)))
        .collect();
    if found.iter().all(|(_, live)| *live == [0, 1]) {
        Ok(Found { value: "first".to_owned(), seen })
    } else if found.iter().all(|(_, live)| *live == [1, 0]) {
        Ok(Found { value: "second".to_owned(), seen })
    } else {
        Err(Stop::contradiction("which group has the tasks after each of two deployments", seen.join("; ")))
    }
}

/// Which group has as many healthy targets as there are tasks, while the other has none that is in use; seen twice in a row.
async fn live(lab: &Lab<'_>, service: &str) -> Result<usize, Stop> {
    let began = Instant::now();
    lab.tell(&format!("{service}: which target group has its tasks"));
    let mut before = None;
    loop {
        let mut healthy = [0, 0];
        let mut used = [0, 0];
        for (index, group) in lab.stack.swap.target_groups.iter().enumerate() {
            let states = lab.targets(group).await?;
            healthy[index] = states.get("healthy").copied().unwrap_or(0);
            used[index] = states.iter().filter(|(state, _)| *state != "draining").map(|(_, number)| number).sum();
        }
        let count = usize::try_from(COUNT).unwrap_or(0);
        let now = match (healthy, used) {
            ([tasks, 0], [_, 0]) if tasks == count => Some(0),
            ([0, tasks], [0, _]) if tasks == count => Some(1),
            _ => None,
        };
        match now {
            Some(group) if before == now => return Ok(group),
            _ => before = now,
        }
        if began.elapsed() > lab.patience() {
            return Err(Stop::not_settled(format!(
                "DescribeTargetHealth: the groups of {service} have {used:?} targets, {healthy:?} of them healthy"
            )));
        }
        lab.pause(BETWEEN_READS).await;
    }
}
