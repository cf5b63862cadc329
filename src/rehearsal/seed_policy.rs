//! What the reference architecture would do instead: every service gets an identical new revision of its task definition, so
//! that ECS replaces every task. Written from its description, to compare with.
//!
//! [AWS, "Rebalancing Amazon ECS Tasks using AWS Lambda"]

use std::time::Duration;

use anyhow::Result;
use ecs_simulator::{Options, snapshot::Snapshot};

use super::Rehearsal;
use crate::{
    aws::{
        Target,
        act::ServiceChange,
        look::{SERVICE_BATCH, Sighting},
    },
    config::Config,
    planning::model::{Service, ServiceName},
    report::{Comparison, Summary},
    shutdown::Shutdown,
};

/// How often it is asked whether the deployments are through.
const POLL: Duration = Duration::from_secs(30);
/// What isn't through by then stays half-way.
const PATIENCE: Duration = Duration::from_hours(2);

/// Plays the policy on the same cluster under the same chance.
///
/// # Errors
/// When the simulated ECS refuses a call.
pub(super) async fn play(
    name: &'static str,
    snapshot: &Snapshot,
    options: Options,
    config: &Config,
) -> Result<Comparison> {
    let rehearsal = Rehearsal::new(snapshot, options)?;
    let edge = rehearsal.edge("seed-policy", Shutdown::never()).await;
    let cluster = snapshot.cluster_name();
    let target = Target { clients: &edge.clients, cluster };
    let names: Vec<_> = rehearsal.simulator().service_names().iter().map(|name| name.as_str().into()).collect();
    let mut refused = 0;
    for service in &services(target, &names).await? {
        let revision = target.register_identical_revision(service.task_definition.as_str()).await?;
        let change = ServiceChange { task_definition: Some(revision), ..ServiceChange::default() };
        // CODE_DEPLOY and external controllers deploy by other calls than UpdateService, which this policy doesn't make.
        if let Err(error) = target.update_service(&service.name, &change).await {
            tracing::info!(service = %service.name, reason = format!("{error:#}"), "the other policy can't deploy it");
            refused += 1;
        }
    }
    while edge.clock.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
        if services(target, &names).await?.iter().all(|service| service.deployments.len() == 1) {
            break;
        }
    }
    let (took, played) = (edge.clock.elapsed(), rehearsal.played());
    let requests = edge.clients.observer.take().values().sum();
    let dry = Config { dry_run: true, snapshot: None, ..config.clone() };
    let after = rehearsal.run(&dry, cluster, "after-the-seed-policy").await;
    let unfinished = services(target, &names).await?.iter().filter(|service| service.deployments.len() > 1).count();
    let left = after.before.as_ref();
    Ok(Comparison {
        policy: name,
        restarted: played.tasks_stopped,
        starts_in_vain: 0,
        misplaced_left: left.map_or(0, |left: &Summary| left.misplaced_tasks),
        load_imbalance_percent: left.map_or(0.0, |left| left.load_imbalance_percent),
        empty_instances: left.map_or(0, |left| left.empty_instances),
        lowest: played.lowest(),
        unfinished_services: super::count(unfinished + refused),
        simulated_seconds: took.as_secs(),
        requests,
    })
}

/// Those of the services that are there.
async fn services(target: Target<'_>, names: &[ServiceName]) -> Result<Vec<Service>> {
    let mut found = Vec::new();
    for batch in names.chunks(SERVICE_BATCH) {
        for sighting in target.services(batch).await?.into_values() {
            if let Sighting::There(service) = sighting {
                found.push(*service);
            }
        }
    }
    Ok(found)
}
