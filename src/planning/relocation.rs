//! Relocation: which tasks may be sent to a container instance of our choice, by a surge that is steered.

use std::iter;

use super::{
    eligibility::{blocked, no_surge, unmeasured},
    model::{ContainerInstance, Service, ServiceName, Task, TaskDefinition, Timestamp},
    placement::{Index, Levels},
    policy::{Policy, Strategy},
    provider_parts::{Placements, ServiceParts, is_placed},
    providers::shared_out,
    reason::{Blocked, Fixed, Unmeasured},
    settings::ServiceSettings,
    steering::steerable_part,
    view::is_foreseen,
};

/// A service whose tasks may be sent elsewhere one by one.
#[derive(Debug)]
pub(super) struct Relocatable<'a> {
    pub(super) service: &'a Service,
    /// What its tasks ask of an instance, and where they are.
    pub(super) part: Placements<'a>,
    pub(super) definition: &'a TaskDefinition,
    /// How many its owner and the run's limits allow.
    pub(super) max_moves: usize,
}

impl<'a> Relocatable<'a> {
    /// Whether its owner asks that it be spread: else ECS packs it, or draws lots.
    pub(super) fn is_spread(&self) -> bool {
        Levels::of(self.service).is_ok()
    }

    /// Whether it has one task alone, and is to have no other: that is as spread in any domain.
    pub(super) fn is_only_task(&self, index: &Index<'_>) -> bool {
        self.service.desired_count <= 1 && index.tasks_of(self.service).len() <= 1
    }

    /// Its tasks on an instance that may go, oldest first: the youngest goes first.
    pub(super) fn tasks_on(&self, index: &Index<'a>, instance: &ContainerInstance) -> Vec<&'a Task> {
        let of_it = |task: &&Task| task.service.as_ref() == Some(&self.service.name) && may_go(task);
        let mut tasks: Vec<&Task> = index.tasks_on(&instance.arn).iter().copied().filter(of_it).collect();
        tasks.sort_by(|a, b| (a.created_at, &b.arn).cmp(&(b.created_at, &a.arn)));
        tasks
    }
}

/// Whether a task may be sent elsewhere, if its service's tasks may: it is there, and not only foreseen.
pub(super) fn may_go(task: &Task) -> bool {
    is_placed(task) && !task.is_protected && !is_foreseen(&task.arn)
}

/// All services that may be moved now, start their replacements first, and can be steered. One whose task definition was not
/// read, so that nobody knows how large its tasks are, stays.
pub(super) fn relocatable<'a>(index: &Index<'a>, policy: &Policy, now: Timestamp) -> Vec<Relocatable<'a>> {
    by_movability(index, policy, now).relocatable
}

/// The services by whether they may be moved.
pub(super) struct ByMovability<'a> {
    /// Those of [`relocatable`].
    pub(super) relocatable: Vec<Relocatable<'a>>,
    /// Those that a lasting reason keeps where they are, whatever their container instances hold.
    pub(super) fixed_for_good: Vec<(ServiceName, Fixed)>,
}

/// All services that may be moved now, and why others never may.
pub(super) fn by_movability<'a>(index: &Index<'a>, policy: &Policy, now: Timestamp) -> ByMovability<'a> {
    let mut sorted = ByMovability { relocatable: Vec::new(), fixed_for_good: Vec::new() };
    for service in index.cluster.services.values() {
        match one_relocatable(index, service, policy, now) {
            Ok(one) => sorted.relocatable.push(one),
            Err(Fixed::Blocked(why)) if why.lasts() => {
                sorted.fixed_for_good.push((service.name.clone(), Fixed::Blocked(why)));
            }
            Err(_) => {}
        }
    }
    sorted
}

/// One of these, or why it isn't.
pub(super) fn one_relocatable<'a>(
    index: &Index<'a>,
    service: &'a Service,
    policy: &Policy,
    now: Timestamp,
) -> Result<Relocatable<'a>, Fixed> {
    let tasks = index.tasks_of(service);
    match unmeasured(service, tasks) {
        Some(Unmeasured::Daemon) => return Err(Fixed::Daemon),
        Some(why) => return Err(Fixed::Elsewhere(why)),
        None => {}
    }
    let definition = index.cluster.task_definitions.get(&service.task_definition).ok_or(Fixed::UnknownSize)?;
    if let Some(why) = blocked(service, Some(definition), tasks, policy, now) {
        return Err(Fixed::Blocked(why));
    }
    if let Some(why) = shared_out(index, service) {
        return Err(Fixed::Blocked(why));
    }
    let settings =
        ServiceSettings::of(service, policy).map_err(|problem| Fixed::Blocked(Blocked::UnreadableTag(problem)))?;
    if !matches!(settings.strategy, Strategy::Auto | Strategy::Surge) {
        return Err(Fixed::Strategy(settings.strategy));
    }
    let mut service_parts = ServiceParts::new(index, &service.name).ok_or(Fixed::Unsteerable)?;
    steerable_part(index.cluster, &service_parts).ok_or(Fixed::Unsteerable)?;
    let part = service_parts.parts.pop().ok_or(Fixed::Unsteerable)?.placements();
    if let Some(why) = no_surge(index, service, Some(definition), iter::once(&part.requirement)) {
        return Err(Fixed::Blocked(why));
    }
    // How many tasks an instance may have changes there with every task that comes or goes, and is not followed move by move.
    let is_limited = |instance: usize| index.allowed(&part.requirement, instance) < u32::MAX;
    if part.requirement.looks_at_tasks() && index.eligible(&part.requirement).into_iter().any(is_limited) {
        return Err(Fixed::LooksAtOthers);
    }
    Ok(Relocatable { service, part, definition, max_moves: settings.max_moves as usize })
}
