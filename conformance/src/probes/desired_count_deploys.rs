//! Which changes of a service start a deployment?

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_ecs::{
    operation::update_service::builders::UpdateServiceFluentBuilder,
    types::{AvailabilityZoneRebalancing, DeploymentConfiguration, PropagateTags},
};

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Look, Plan, member_of, strategy_of},
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
    calls: 750,
    minutes: 12,
    work: |lab| Box::pin(work(lab)),
};

/// A change of a service.
type Change = fn(UpdateServiceFluentBuilder) -> UpdateServiceFluentBuilder;

/// Those that start no deployment. [API, UpdateService]
const WITHOUT: [(&str, Change); 6] = [
    ("placementStrategy", |request| request.placement_strategy(strategy_of("binpack:memory"))),
    ("placementConstraints", |request| request.placement_constraints(member_of("attribute:ecs.os-type == linux"))),
    ("deploymentConfiguration", |request| {
        request.deployment_configuration(DeploymentConfiguration::builder().maximum_percent(150).build())
    }),
    ("availabilityZoneRebalancing", |request| {
        request.availability_zone_rebalancing(AvailabilityZoneRebalancing::Disabled)
    }),
    ("enableECSManagedTags", |request| request.enable_ecs_managed_tags(true)),
    ("propagateTags", |request| request.propagate_tags(PropagateTags::TaskDefinition)),
];

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
    // What the API says of the others: these start none.
    for (what, change) in WITHOUT {
        let steady = lab.look(&service).await?;
        lab.update(&service, change).await?;
        if deploys(lab, &service, &steady).await? {
            return Err(Stop::contradiction(format!("{what} alone"), "a deployment"));
        }
        seen.push(format!("{what}: no deployment"));
    }
    // And these do, so that a probe that sees nothing isn't taken for ECS that does nothing.
    lab.update(&service, |request| request.force_new_deployment(true)).await?;
    if !deploys(lab, &service, &before).await? {
        return Err(Stop::contradiction("a new deployment by forceNewDeployment", "none"));
    }
    seen.push("forceNewDeployment: a deployment".to_owned());
    let steady = lab.steady(&service, 2).await?;
    lab.update(&service, |request| request.task_definition(&lab.stack.task_definitions.heavy)).await?;
    if !deploys(lab, &service, &steady).await? {
        return Err(Stop::contradiction("another task definition", "no deployment"));
    }
    seen.push("taskDefinition: a deployment".to_owned());
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
        if look.is_deployed_since(before) || !look.is_complete() {
            return Ok(true);
        }
    }
    Ok(false)
}
