//! Does what a strategy asks for, and tells it in the log.

use super::Shared;
use crate::{
    aws::{Target, act::ServiceChange, look::Sighting},
    planning::{
        model::{ServiceName, TaskDefinition, TaskDefinitionArn},
        notes::{LAST_TAG, SURGE_TAG, TARGET_ATTRIBUTE},
        strategy::{Action, Done, Failure, FailureKind},
    },
};

/// Carries out one change of a service.
pub(super) async fn act(action: &Action, name: &ServiceName, arn: &str, shared: &Shared<'_>) -> Result<Done, Failure> {
    let (target, service) = (shared.target, name.as_str());
    let nothing = |()| Done::default();
    match action {
        Action::Note(note) => {
            tracing::info!(service, from = note.from, to = note.to, "noting a surge");
            target.tag(arn, SURGE_TAG, &note.to_string()).await.map(nothing)
        }
        Action::ClearNote => {
            tracing::info!(service, "taking the note off");
            target.untag(arn, &[SURGE_TAG.to_owned()]).await.map(nothing)
        }
        Action::NoteLast(last) => target.tag(arn, LAST_TAG, &last.to_string()).await.map(nothing),
        Action::SetDesiredCount(count, constraints) => {
            tracing::info!(service, desired_count = count, "setting the desired count");
            let change = ServiceChange {
                desired_count: Some(*count),
                placement_constraints: constraints.clone(),
                ..ServiceChange::default()
            };
            target.update_service(name, &change).await.map(nothing)
        }
        Action::SetConstraints(constraints) => {
            tracing::info!(service, "restoring the placement constraints");
            let change = ServiceChange { placement_constraints: Some(constraints.clone()), ..ServiceChange::default() };
            target.update_service(name, &change).await.map(nothing)
        }
        Action::PutTarget(instances, value) => {
            tracing::info!(service, container_instances = instances.len(), "steering");
            let listed: Vec<_> = instances.iter().cloned().collect();
            target.put_attribute(&listed, TARGET_ATTRIBUTE, value).await.map(nothing)
        }
        Action::DeleteTarget(instances) => {
            let listed: Vec<_> = instances.iter().cloned().collect();
            target.delete_attribute(&listed, TARGET_ATTRIBUTE).await.map(nothing)
        }
        Action::Protect(tasks, minutes) => {
            tracing::info!(service, tasks = tasks.len(), "protecting the tasks that stay");
            target.set_protection(tasks, Some(*minutes)).await
        }
        Action::Unprotect(tasks) => unprotected(&target.set_protection(tasks, None).await?),
        Action::Stop(tasks) => {
            tracing::info!(service, tasks = tasks.len(), "stopping misplaced tasks");
            target.stop_tasks(tasks).await
        }
        Action::ForceNewDeployment => {
            tracing::info!(service, "deploying anew");
            let change = ServiceChange { force_new_deployment: true, ..ServiceChange::default() };
            target.update_service(name, &change).await.map(nothing)
        }
        Action::NewRevision(definition) => {
            let revision = target.register_identical_revision(definition).await?;
            tracing::info!(service, revision, "deploying an identical revision");
            know_revision(definition, &revision, shared);
            let done = Done { revision: Some(revision.as_str().into()), ..Done::default() };
            let change = ServiceChange { task_definition: Some(revision), ..ServiceChange::default() };
            // Registering may have taken long.
            still_has(definition, name, target).await?;
            match target.update_service(name, &change).await {
                Ok(()) => Ok(done),
                Err(failure) => Err(Failure { before: done, ..failure }),
            }
        }
        Action::Deploy(definition) => {
            tracing::info!(service, definition, "going back to the task definition from before");
            let change = ServiceChange { task_definition: Some(definition.clone()), ..ServiceChange::default() };
            target.update_service(name, &change).await.map(nothing)
        }
    }
}

/// That a service has that task definition still: a copy of it must not be deployed over what somebody has deployed meanwhile.
async fn still_has(definition: &str, name: &ServiceName, target: Target<'_>) -> Result<(), Failure> {
    let seen = target.services(std::slice::from_ref(name)).await?;
    match seen.get(name) {
        Some(Sighting::There(service)) if service.task_definition.as_str() == definition => Ok(()),
        _ => {
            let text = format!("service {name} does not have task definition {definition} any more");
            Err(Failure { text, kind: FailureKind::NotNow, before: Done::default() })
        }
    }
}

/// A task whose protection ECS keeps is no success: its application or its owner would find it protected. One that has gone is.
fn unprotected(done: &Done) -> Result<Done, Failure> {
    let Some((task, reason)) = done.refused.iter().find(|(_, reason)| *reason != "MISSING") else {
        return Ok(Done::default());
    };
    let text = format!("cannot take the protection of task {} away: ECS answers {reason}", task.short());
    Err(Failure { text, kind: FailureKind::Refused, before: Done::default() })
}

/// A revision that is identical to a known one is known as well.
fn know_revision(definition: &str, revision: &str, shared: &Shared<'_>) {
    let mut cluster = shared.cluster.borrow_mut();
    let known = cluster.task_definitions.values().find(|known| known.arn.as_str() == definition);
    if let Some(known) = known.cloned() {
        let arn = TaskDefinitionArn::from(revision);
        cluster.task_definitions.insert(arn.clone(), TaskDefinition { arn, ..known });
    }
}

/// Whether what was done shows within a second or two, and nothing has to start first.
pub(super) fn is_seen_soon(action: &Action, desired: u32) -> bool {
    match action {
        Action::SetDesiredCount(count, _) => *count < desired,
        Action::SetConstraints(_) => true,
        Action::Note(_)
        | Action::ClearNote
        | Action::NoteLast(_)
        | Action::PutTarget(..)
        | Action::DeleteTarget(_)
        | Action::Protect(..)
        | Action::Unprotect(_)
        | Action::Stop(_)
        | Action::ForceNewDeployment
        | Action::NewRevision(_)
        | Action::Deploy(_) => false,
    }
}
