//! The strategies `redeploy` and `revision`: ECS replaces every task; then it is measured again, and nothing is promised.
//!
//! During a deployment the old revision's tasks count in the spread \[agent#685\], so it may leave or even make skew.

use std::time::Duration;

use super::{
    model::{Cluster, Service, Timestamp},
    spread,
    step::{Action, Ending, Seen, Step, Stop, What},
};

/// ECS is eventually consistent: the deployment may not be seen yet.
const CONSISTENCY: Duration = Duration::from_secs(30);

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is begun.
    Begin,
    /// A deployment was asked for.
    Deploying {
        /// When.
        since: Timestamp,
        /// The deployment before it.
        before: String,
        /// The task definition before it.
        definition: String,
        /// What was seen to fail.
        failed: Option<String>,
    },
}

/// Whether the task definition is registered anew, or just deployed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `forceNewDeployment`.
    Redeploy,
    /// A new, identical revision.
    Revision,
}

/// The next step for a service. `timeout`: how long without a healthy new task until the deployment is given up. `stop`:
/// whether and why the run waits no longer.
pub fn next(
    kind: Kind,
    phase: &Phase,
    cluster: &Cluster,
    seen: &Seen,
    timeout: Duration,
    stop: Option<Stop>,
) -> Step<Phase> {
    let Some(service) = &seen.service else { return Step::Done(Ending::Gone) };
    let primary = service.deployments.iter().find(|deployment| deployment.status == "PRIMARY");
    let id = primary.map_or("", |deployment| deployment.id.as_str());
    match phase {
        Phase::Begin if service.deployments.len() > 1 => {
            Step::Done(Ending::OthersChanged("a deployment began".to_owned()))
        }
        Phase::Begin => {
            let action = match kind {
                Kind::Redeploy => Action::ForceNewDeployment,
                Kind::Revision => Action::NewRevision(service.task_definition.to_string()),
            };
            let definition = service.task_definition.to_string();
            Step::Act(action, Phase::Deploying { since: seen.at, before: id.to_owned(), definition, failed: None })
        }
        Phase::Deploying { since, before, definition, failed } => {
            let waited = Duration::from_millis(u64::try_from(seen.at.milliseconds_since(*since)).unwrap_or(0));
            if id == before && failed.is_none() {
                let why = "the new deployment was not seen to begin";
                return if waited < CONSISTENCY { Step::Wait } else { Step::Done(Ending::Failed(why.to_owned())) };
            }
            if let (None, Some(why)) = (failed, failure(service, *since)) {
                let failed = Some(why);
                return Step::Go(Phase::Deploying {
                    since: *since,
                    before: before.clone(),
                    definition: definition.clone(),
                    failed,
                });
            }
            judge(kind, cluster, service, seen, definition, failed.as_ref(), waited, timeout, stop)
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that is known of one deployment")]
fn judge(
    kind: Kind,
    cluster: &Cluster,
    service: &Service,
    seen: &Seen,
    definition: &str,
    failed: Option<&String>,
    waited: Duration,
    timeout: Duration,
    stop: Option<Stop>,
) -> Step<Phase> {
    let is_over = service.deployments.len() == 1
        && service.deployments.iter().all(|deployment| deployment.rollout_state != "IN_PROGRESS");
    if let (true, None) = (is_over, failed) {
        // Every task is another than before, and where it is decides whether that helped.
        if seen.tasks.is_none() {
            return Step::See(What::Tasks);
        }
        let misplaced = spread::misplaced(cluster, &service.name);
        return Step::Done(if misplaced == 0 { Ending::Spread } else { Ending::NoHelp { misplaced } });
    }
    let why =
        failed.cloned().unwrap_or_else(|| format!("the deployment did not complete within {} s", waited.as_secs()));
    // A deployment that makes no progress is taken back, as far as that can be: to the task definition from before.
    let is_stuck = failed.is_some() || (waited >= timeout && service.running_count <= service.desired_count);
    let is_changed = service.task_definition.as_str() != definition;
    if is_over && failed.is_some() && !is_changed {
        return Step::Done(Ending::DeploymentFailed(format!("{why}; the service is back at {definition}")));
    }
    if is_stuck && is_changed && kind == Kind::Revision {
        let since = Timestamp(i64::MAX);
        let phase =
            Phase::Deploying { since, before: String::new(), definition: definition.to_owned(), failed: Some(why) };
        return Step::Act(Action::Deploy(definition.to_owned()), phase);
    }
    match stop {
        None => Step::Wait,
        // Nobody knows that it fails, and ECS carries it to its end.
        Some(Stop::Signal) if failed.is_none() => Step::Done(Ending::Limit(Stop::Signal)),
        Some(_) => Step::Done(Ending::DeploymentFailed(format!("{why}; ECS goes on with it by itself"))),
    }
}

fn failure(service: &Service, since: Timestamp) -> Option<String> {
    if service.deployments.iter().any(|deployment| deployment.rollout_state == "FAILED") {
        return Some("the deployment failed".to_owned());
    }
    service.newest_failure.as_ref().filter(|failure| failure.at >= since).map(|failure| failure.message.clone())
}
