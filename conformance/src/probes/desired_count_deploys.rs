//! Does a changed desired count start a deployment?

use std::{collections::BTreeSet, time::Duration};

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Look, Plan, strategy_of},
    probe::{Belief, Probe, Setting},
};

/// A deployment shows by then: ECS's scheduler looks each ten seconds or so.
const LOOKS: u32 = 8;
/// Between them.
const BETWEEN: Duration = Duration::from_secs(3);

pub(super) const PROBE: Probe = Probe {
    name: "desired-count-deploys",
    assumption: "UpdateService starts no deployment when it changes the desired count, the placement or the percentages alone.",
    harm: "Each surge would be a deployment: it waits for every task to be healthy, the circuit breaker watches it, and ECS's \
           own scale-in is held up meanwhile.",
    notices: "It waits until the deployment is complete before it goes on, so that a run takes longer.",
    belief: Belief::Documented("API, UpdateService; the developer guide of 2023 says otherwise"),
    setting: Setting::Behaviour("desired-count-deploys"),
    values: &[
        ("no", "the service keeps its one complete deployment"),
        ("yes", "a deployment is under way after each change"),
    ],
    calls: 350,
    minutes: 6,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: 2,
        strategy: &["spread:instanceId"],
        ..Plan::default()
    };
    let (service, before) = lab.make(&plan).await?;
    let mut seen = Vec::new();
    let mut values = BTreeSet::new();
    for count in [3, 2] {
        let steady = lab.look(&service).await?;
        lab.set_count(&service, count).await?;
        let deploys = deploys(lab, &service, &steady).await?;
        seen.push(format!("desiredCount {count}: {}", if deploys { "a deployment" } else { "no deployment" }));
        values.insert(deploys);
        lab.steady(&service, count).await?;
    }
    // What nobody doubts, so that a probe that sees nothing isn't taken for ECS that does nothing.
    let steady = lab.look(&service).await?;
    let strategy = strategy_of("binpack:memory");
    lab.update(&service, |request| request.placement_strategy(strategy)).await?;
    if deploys(lab, &service, &steady).await? {
        return Err(Stop::contradiction("another placement strategy alone", "a deployment"));
    }
    lab.update(&service, |request| request.force_new_deployment(true)).await?;
    if !deploys(lab, &service, &before).await? {
        return Err(Stop::contradiction("a new deployment by forceNewDeployment", "none"));
    }
    let [deploys] = values.into_iter().collect::<Vec<_>>()[..] else {
        return Err(Stop::contradiction("one task more, then one less", seen.join("; ")));
    };
    Ok(Found { value: if deploys { "yes" } else { "no" }.to_owned(), seen })
}

/// Whether a deployment shows that wasn't there, or one that isn't complete.
async fn deploys(lab: &Lab<'_>, service: &str, before: &Look) -> Result<bool, Stop> {
    lab.tell(&format!("{service}: whether a deployment starts"));
    for _ in 0..LOOKS {
        lab.pause(BETWEEN).await;
        let look = lab.look(service).await?;
        let ids = |look: &Look| look.deployments.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        if ids(&look) != ids(before) || !look.is_complete() {
            return Ok(true);
        }
    }
    Ok(false)
}
