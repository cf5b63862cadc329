//! One service in hand: sees what its strategy asks to see, does what it asks to do.

mod in_flight;
mod waits;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::{Context, Result};

use self::in_flight::{InFlight, with_others_in_flight};
use super::look;
use crate::{
    aws::act::{ServiceChange, Target},
    planning::{
        arrival,
        making_room::Room,
        marks::{LAST_TAG, LastMark, SURGE_TAG, SurgeMark, TARGET_ATTRIBUTE, is_steering},
        model::{
            Cluster, ContainerInstanceArn, Service, ServiceName, TaskArn, TaskDefinition, TaskDefinitionArn, Timestamp,
        },
        planner::{Aim, ServicePlan, surge_size},
        policy::{Policy, Strategy},
        redeploy,
        steering::Steering,
        step::{Action, Ending, Seen, Step, Stop, Tasks, What},
        stop, surge, view,
    },
};

/// Steps without a pause; a chain longer than this goes on at the next look.
const STEPS: usize = 16;
/// A call that fails so often is given up on; each time the SDK has tried it several times itself.
const FAILURES: u32 = 3;

/// What a round of steps may use, and what else is going on.
pub(super) struct Round<'a> {
    pub(super) target: Target<'a>,
    pub(super) now: Timestamp,
    pub(super) policy: &'a Policy,
    pub(super) protect_minutes: u32,
    pub(super) stop: Option<Stop>,
    pub(super) moves_left: u32,
    /// Other services in hand that have tasks asked for.
    pub(super) others: Vec<InFlight>,
    /// The container instances that carry the attribute by which others steer, or are about to.
    pub(super) others_targets: BTreeSet<ContainerInstanceArn>,
}

/// How it ended for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The service.
    pub name: ServiceName,
    /// How.
    pub ending: Ending,
    /// Tasks moved.
    pub moved: u32,
    /// Whether it was only cleared up after an earlier run.
    pub recovery: bool,
}

/// A service in hand.
pub(super) struct Hand {
    pub(super) name: ServiceName,
    allowance: u32,
    work: Work,
    service: Option<Service>,
    known: Option<Tasks>,
    /// What was seen when it last had to wait though all tasks were ready.
    waiting: Option<Seen>,
    failures: u32,
    failure: Option<String>,
    touched: bool,
    /// Whether what it did last is seen soon, and is all that it waits for.
    goes_on_soon: bool,
    finished: Option<Ending>,
    recovery: bool,
}

enum Work {
    Surge(Box<surge::Progress>),
    Stop { phase: stop::Phase, moved: u32 },
    Redeploy { kind: redeploy::Kind, phase: redeploy::Phase },
    Arrival { phase: arrival::Phase, awaited: arrival::Awaited },
}

/// What is remembered once an action was done.
type Then = Box<dyn FnOnce(&mut Work, &Cluster, &ServiceName)>;

/// A step of any strategy, with the way to go on.
enum Next {
    See(What),
    Wait,
    Act(Action, Then),
    Go,
    Done(Ending),
}

impl Hand {
    pub(super) fn planned(number: usize, plan: &ServicePlan, run_id: &str) -> Self {
        let work = match plan.strategy {
            Strategy::Auto | Strategy::Surge => Work::Surge(Box::new(match plan.aim {
                Aim::Spread => surge::Progress::new(run_id),
                Aim::Machines | Aim::Consolidation => {
                    surge::Progress::relocating(run_id, number, plan.moves.clone(), false)
                }
                Aim::Room { waits } => surge::Progress::relocating(run_id, number, plan.moves.clone(), waits),
            })),
            Strategy::Stop => Work::Stop { phase: stop::Phase::Between, moved: 0 },
            Strategy::Redeploy => Work::Redeploy { kind: redeploy::Kind::Redeploy, phase: redeploy::Phase::Begin },
            Strategy::Revision => Work::Redeploy { kind: redeploy::Kind::Revision, phase: redeploy::Phase::Begin },
        };
        Self::new(plan.name.clone(), plan.allowance, work, false)
    }

    /// A service for which room was made: nothing is done to it, but it is seen whether its tasks start.
    pub(super) fn awaited(room: &Room) -> Self {
        let awaited = arrival::Awaited { tasks: room.tasks, wanted: room.wanted };
        Self::new(room.service.clone(), 0, Work::Arrival { phase: arrival::Phase::Begin, awaited }, false)
    }

    pub(super) fn recovered(service: &Service, mark: Option<SurgeMark>, run_id: &str) -> Self {
        let work = Work::Surge(Box::new(surge::Progress::recovered(run_id, mark, service)));
        Self::new(service.name.clone(), 0, work, true)
    }

    fn new(name: ServiceName, allowance: u32, work: Work, recovery: bool) -> Self {
        Self {
            name,
            allowance,
            work,
            service: None,
            known: None,
            waiting: None,
            failures: 0,
            failure: None,
            touched: false,
            goes_on_soon: false,
            finished: None,
            recovery,
        }
    }

    pub(super) fn is_recovery(&self) -> bool {
        self.recovery
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// The last victims are given the time to stop, before it is measured how things are.
    fn is_clearing(&self) -> bool {
        matches!(&self.work, Work::Surge(progress) if matches!(progress.phase, surge::Phase::Clearing(..)))
    }

    /// Whether the next look is worthwhile in a moment already.
    pub(super) fn goes_on_soon(&self) -> bool {
        self.goes_on_soon
    }

    pub(super) fn into_finished(self) -> Option<Finished> {
        let moved = self.moved();
        Some(Finished { name: self.name, ending: self.finished?, moved, recovery: self.recovery })
    }

    pub(super) fn never_begun(self, stop: Stop) -> Finished {
        Finished { name: self.name, ending: Ending::Limit(stop), moved: 0, recovery: self.recovery }
    }

    /// What is left of it when the time is up.
    pub(super) fn abandon(self) -> Finished {
        let moved = self.moved();
        let why =
            self.failure.clone().unwrap_or_else(|| "the time was up before the last step was finished".to_owned());
        let ending = Ending::Failed(format!("{why}; the next run clears what is left"));
        Finished { name: self.name, ending, moved, recovery: self.recovery }
    }

    fn moved(&self) -> u32 {
        match &self.work {
            Work::Surge(progress) => progress.moved,
            Work::Stop { moved, .. } => *moved,
            Work::Redeploy { .. } | Work::Arrival { .. } => 0,
        }
    }

    /// Moves made, and those under way.
    pub(super) fn moves_spent(&self) -> u32 {
        self.moved() + self.surge_under_way().map_or(0, |mark| mark.to - mark.from)
    }

    fn surge_under_way(&self) -> Option<&SurgeMark> {
        match &self.work {
            Work::Surge(progress) => match &progress.phase {
                surge::Phase::Marked(mark, _) | surge::Phase::Raised(mark, _) | surge::Phase::Protected(mark, ..) => {
                    Some(mark)
                }
                surge::Phase::Between | surge::Phase::Lowered(..) | surge::Phase::Clearing(..) => None,
            },
            Work::Stop { .. } | Work::Redeploy { .. } | Work::Arrival { .. } => None,
        }
    }

    /// Tasks that are asked for.
    pub(super) fn in_flight(&self) -> Option<InFlight> {
        let mark = self.surge_under_way()?;
        Some(InFlight { name: self.name.clone(), tasks: mark.to, targets: self.targets() })
    }

    /// The container instances that it steers to, or is about to.
    pub(super) fn targets(&self) -> BTreeSet<ContainerInstanceArn> {
        let Work::Surge(progress) = &self.work else { return BTreeSet::new() };
        let mut targets = progress.targets.clone();
        if let surge::Phase::Marked(_, planned) = &progress.phase {
            targets.extend(planned.iter().cloned());
        }
        targets
    }

    /// Takes as many steps as can be taken now.
    pub(super) async fn take_steps(&mut self, cluster: &mut Cluster, service: Option<Service>, round: &Round<'_>) {
        self.service.clone_from(&service);
        let mut seen = match self.waiting.take() {
            // Nothing was done to it and nothing happened to it: it is as it was.
            Some(seen) if seen.service == service => Seen { at: round.now, ..seen },
            _ => Seen { at: round.now, service, tasks: None, protections: BTreeMap::new() },
        };
        let mut acted = false;
        self.goes_on_soon = false;
        for _ in 0..STEPS {
            match self.next(cluster, &seen, round) {
                Next::Wait if acted => return,
                Next::Wait => {
                    let all_are_ready = seen.tasks.as_ref().is_some_and(|tasks| tasks.ready.len() == tasks.all.len());
                    self.waiting = all_are_ready.then_some(seen);
                    return;
                }
                Next::Go => {}
                Next::Done(ending) => return self.finish(ending, &seen, round).await,
                Next::See(what) => {
                    if let Err(error) = self.see(what, cluster, &mut seen, round).await {
                        return self.fail(&error, &seen);
                    }
                }
                Next::Act(action, then) => {
                    if let Err(error) = self.act(&action, cluster, round).await {
                        return self.fail(&error, &seen);
                    }
                    acted = true;
                    self.failures = 0;
                    then(&mut self.work, cluster, &self.name);
                    if !goes_on_after(&action) {
                        let desired = self.service.as_ref().map_or(0, |service| service.desired_count);
                        self.goes_on_soon = !self.is_clearing() && goes_on_soon_after(&action, desired);
                        return;
                    }
                }
            }
        }
    }

    fn next(&mut self, cluster: &Cluster, seen: &Seen, round: &Round<'_>) -> Next {
        // What an earlier run began is finished as that run meant it.
        let reviewed = round.policy.reviewed.as_ref().filter(|_| !self.recovery);
        let moves = round.moves_left.min(self.allowance.saturating_sub(self.moves_spent()));
        match &mut self.work {
            Work::Surge(progress) => {
                let desired = seen.service.as_ref().map_or(0, |service| service.desired_count);
                let limits = surge::Limits {
                    moves,
                    surge: surge_size(desired, round.policy),
                    task_timeout: round.policy.task_timeout,
                    protect_minutes: round.protect_minutes,
                    stop: round.stop,
                    steering: round.policy.steer.then(|| Steering {
                        value: progress.steer_value.clone(),
                        has_own_value: progress.relocations.is_some(),
                        others_targets: round.others_targets.clone(),
                    }),
                    reviewed: reviewed.cloned(),
                };
                let crowded = if progress.chooses_next(seen) {
                    with_others_in_flight(cluster, &round.others)
                } else {
                    Cow::Borrowed(cluster)
                };
                match surge::next(progress, &crowded, seen, &limits) {
                    Step::See(what) => Next::See(what),
                    Step::Wait => Next::Wait,
                    Step::Done(ending) => Next::Done(ending),
                    Step::Go(phase) => {
                        progress.enter(phase, cluster, &self.name);
                        Next::Go
                    }
                    Step::Act(action, phase) => Next::Act(
                        action,
                        Box::new(|work, cluster, name| {
                            if let Work::Surge(progress) = work {
                                progress.enter(phase, cluster, name);
                            }
                        }),
                    ),
                }
            }
            Work::Stop { phase, .. } => {
                let (task_timeout, stop) = (round.policy.task_timeout, round.stop);
                let limits = stop::Limits { moves, task_timeout, stop, reviewed };
                match stop::next(phase, cluster, seen, limits) {
                    Step::See(what) => Next::See(what),
                    Step::Wait => Next::Wait,
                    Step::Done(ending) => Next::Done(ending),
                    Step::Go(next) => {
                        *phase = next;
                        Next::Go
                    }
                    Step::Act(action, next) => {
                        let victims = if let Action::Stop(tasks) = &action { tasks.len() } else { 0 };
                        let victims = u32::try_from(victims).unwrap_or(u32::MAX);
                        Next::Act(action, Box::new(move |work, _, _| *work = after_stop(work, next, victims)))
                    }
                }
            }
            Work::Arrival { phase, awaited } => {
                match arrival::next(*phase, *awaited, seen, round.policy.task_timeout, round.stop) {
                    Step::See(what) => Next::See(what),
                    Step::Wait => Next::Wait,
                    Step::Done(ending) => Next::Done(ending),
                    Step::Go(next) => {
                        *phase = next;
                        Next::Go
                    }
                    Step::Act(action, next) => Next::Act(
                        action,
                        Box::new(move |work, _, _| {
                            if let Work::Arrival { phase, .. } = work {
                                *phase = next;
                            }
                        }),
                    ),
                }
            }
            Work::Redeploy { kind, phase } => {
                let timeout = round.policy.task_timeout;
                match redeploy::next(*kind, phase, cluster, seen, timeout, round.stop) {
                    Step::See(what) => Next::See(what),
                    Step::Wait => Next::Wait,
                    Step::Done(ending) => Next::Done(ending),
                    Step::Go(next) => {
                        *phase = next;
                        Next::Go
                    }
                    Step::Act(action, next) => Next::Act(
                        action,
                        Box::new(|work, _, _| {
                            if let Work::Redeploy { phase, .. } = work {
                                *phase = next;
                            }
                        }),
                    ),
                }
            }
        }
    }

    async fn see(&mut self, what: What, cluster: &mut Cluster, seen: &mut Seen, round: &Round<'_>) -> Result<()> {
        let Some(service) = &seen.service else { return Ok(()) };
        match what {
            What::Tasks => {
                let tasks = look::tasks(self.known.take().unwrap_or_default(), cluster, service, round).await?;
                view::see(cluster, service, &tasks.all);
                self.known = Some(tasks.clone());
                seen.tasks = Some(tasks);
            }
            What::Protections(tasks) => {
                let asked: Vec<TaskArn> = tasks.into_iter().collect();
                let protected = round.target.protections(&asked).await?;
                let read = asked.into_iter().map(|task| (protected.get(&task).copied(), task));
                seen.protections.extend(read.map(|(until, task)| (task, until)));
            }
        }
        Ok(())
    }

    async fn act(&mut self, action: &Action, cluster: &mut Cluster, round: &Round<'_>) -> Result<()> {
        let target = round.target;
        let service = self.service.as_ref().or_else(|| cluster.services.get(&self.name));
        let arn = service.map(|service| service.arn.clone()).context("the service is gone")?;
        let name = self.name.as_str();
        self.touched = true;
        match action {
            Action::Mark(mark) => {
                tracing::info!(service = name, from = mark.from, to = mark.to, "starting tasks on top");
                target.tag(&arn, SURGE_TAG, &mark.to_string()).await
            }
            Action::ClearMark => target.untag(&arn, SURGE_TAG).await,
            Action::NoteLast(last) => target.tag(&arn, LAST_TAG, &last.to_string()).await,
            Action::SetDesiredCount(count, constraints) => {
                tracing::info!(service = name, desired_count = count, "setting the desired count");
                let change = ServiceChange {
                    desired_count: Some(*count),
                    placement_constraints: constraints.clone(),
                    ..ServiceChange::default()
                };
                self.constrain(&change, round).await
            }
            Action::SetConstraints(constraints) => {
                tracing::info!(service = name, "restoring the placement constraints");
                let change =
                    ServiceChange { placement_constraints: Some(constraints.clone()), ..ServiceChange::default() };
                self.constrain(&change, round).await
            }
            Action::PutTarget(instances, value) => {
                tracing::info!(service = name, container_instances = instances.len(), "steering");
                let listed: Vec<_> = instances.iter().cloned().collect();
                if let Work::Surge(progress) = &mut self.work {
                    progress.targets.extend(listed.iter().cloned());
                }
                target.put_attribute(&listed, TARGET_ATTRIBUTE, value).await?;
                if let Work::Surge(progress) = &mut self.work {
                    progress.put.extend(listed);
                }
                Ok(())
            }
            Action::DeleteTarget(instances) => {
                // Where another service steers to the same instance, it is for that one to take the attribute off.
                let listed: Vec<_> = instances.difference(&round.others_targets).cloned().collect();
                target.delete_attribute(&listed, TARGET_ATTRIBUTE).await?;
                if let Work::Surge(progress) = &mut self.work {
                    progress.targets.retain(|instance| !instances.contains(instance));
                    progress.put.retain(|instance| !instances.contains(instance));
                }
                Ok(())
            }
            Action::Protect(tasks, minutes) => {
                let mut protected = BTreeMap::new();
                let done = target.protect(tasks, *minutes, &mut protected).await;
                if let Work::Surge(progress) = &mut self.work {
                    progress.ours.extend(protected);
                }
                done
            }
            Action::Unprotect(tasks) => {
                target.unprotect(tasks).await?;
                if let Work::Surge(progress) = &mut self.work {
                    progress.ours.retain(|task, _| !tasks.contains(task));
                }
                Ok(())
            }
            Action::Stop(tasks) => {
                for task in tasks {
                    tracing::info!(service = name, task = task.short(), "stopping a misplaced task");
                    target.stop_task(task).await?;
                }
                Ok(())
            }
            Action::ForceNewDeployment => {
                tracing::info!(service = name, "deploying anew");
                let change = ServiceChange { force_new_deployment: true, ..ServiceChange::default() };
                target.update_service(&self.name, &change).await
            }
            Action::NewRevision(definition) => {
                let revision = target.register_identical_revision(definition).await?;
                tracing::info!(service = name, revision, "deploying an identical revision");
                let known = cluster.task_definitions.values().find(|known| known.arn.as_str() == definition.as_str());
                if let Some(known) = known.cloned() {
                    let arn = TaskDefinitionArn::from(revision.as_str());
                    cluster.task_definitions.insert(arn.clone(), TaskDefinition { arn, ..known });
                }
                let change = ServiceChange { task_definition: Some(revision), ..ServiceChange::default() };
                target.update_service(&self.name, &change).await
            }
            Action::Deploy(definition) => {
                tracing::info!(service = name, definition, "going back to the task definition from before");
                let change = ServiceChange { task_definition: Some(definition.clone()), ..ServiceChange::default() };
                target.update_service(&self.name, &change).await
            }
        }
    }

    /// Changes a service, and remembers whether it may have the constraint that steers now.
    async fn constrain(&mut self, change: &ServiceChange, round: &Round<'_>) -> Result<()> {
        let steers = change.placement_constraints.as_ref().map(|constraints| constraints.iter().any(is_steering));
        if let (Some(true), Work::Surge(progress)) = (steers, &mut self.work) {
            progress.constrained = true;
        }
        round.target.update_service(&self.name, change).await?;
        if let (Some(false), Work::Surge(progress)) = (steers, &mut self.work) {
            progress.constrained = false;
        }
        Ok(())
    }

    /// A call failed. It is tried again at the next looks; then what was begun is taken back, as far as that goes.
    fn fail(&mut self, error: &anyhow::Error, seen: &Seen) {
        tracing::warn!(service = self.name.as_str(), "{error:#}");
        self.failures += 1;
        // It may have been about a task that is gone: the next look is a full one.
        self.known = None;
        self.failure = Some(format!("{error:#}"));
        if self.failures < FAILURES {
            return;
        }
        self.failures = 0;
        let ending = Ending::Failed(format!("{error:#}"));
        let Work::Surge(progress) = &mut self.work else {
            self.finished = Some(ending);
            return;
        };
        let desired = seen.service.as_ref().map(|service| service.desired_count);
        progress.phase = match &progress.phase {
            // Without protection ECS chooses who goes: the spread may suffer, the count does not.
            surge::Phase::Raised(mark, since) | surge::Phase::Protected(mark, since, _) if desired == Some(mark.to) => {
                surge::Phase::Protected(mark.clone(), *since, Some(ending))
            }
            surge::Phase::Marked(mark, _) | surge::Phase::Lowered(mark, ..) => {
                surge::Phase::Clearing(Some(mark.clone()), ending)
            }
            _ => {
                self.finished = Some(ending);
                return;
            }
        };
    }

    /// Notes how it went, for the runs to come.
    async fn finish(&mut self, ending: Ending, seen: &Seen, round: &Round<'_>) {
        let helped = match &ending {
            Ending::Spread | Ending::Relocated | Ending::Limit(_) => Some(true),
            Ending::NoHelp { .. } | Ending::Undone(_) | Ending::DeploymentFailed(_) | Ending::NotStarted { .. } => {
                Some(false)
            }
            Ending::Started { .. }
            | Ending::RoomNotMade(_)
            | Ending::Recovered
            | Ending::OthersChanged(_)
            | Ending::Gone
            | Ending::Failed(_) => None,
        };
        // Where room was made in vain, it is not to be made again and again.
        let is_noted = self.touched || matches!(ending, Ending::NotStarted { .. });
        if let (Some(helped), Some(service), true) = (helped, &seen.service, is_noted) {
            let before =
                service.tags.get(LAST_TAG).and_then(|value| LastMark::parse(value)).map_or(0, |last| last.misses);
            let misses = if helped { 0 } else { before.saturating_add(1) };
            let last = LastMark { at: round.now, misses };
            if let Err(error) = round.target.tag(&service.arn, LAST_TAG, &last.to_string()).await {
                tracing::warn!(service = self.name.as_str(), "{error:#}");
            }
        }
        tracing::info!(service = self.name.as_str(), moved = self.moved(), reason = %ending, "done with a service");
        self.finished = Some(ending);
    }
}

fn after_stop(work: &Work, phase: stop::Phase, victims: u32) -> Work {
    let before = if let Work::Stop { moved, .. } = work { *moved } else { 0 };
    Work::Stop { phase, moved: before + victims }
}

/// Whether the next step may follow at once; after all others the service must be seen anew.
fn goes_on_after(action: &Action) -> bool {
    match action {
        Action::Mark(_) | Action::ClearMark | Action::NoteLast(_) | Action::PutTarget(..) | Action::DeleteTarget(_) => {
            true
        }
        Action::SetDesiredCount(..)
        | Action::SetConstraints(_)
        | Action::Protect(..)
        | Action::Unprotect(_)
        | Action::Stop(_)
        | Action::ForceNewDeployment
        | Action::NewRevision(_)
        | Action::Deploy(_) => false,
    }
}

/// Whether the next look need not wait for tasks to start: protection holds at once, and tasks that are stopped are no longer
/// counted within seconds.
fn goes_on_soon_after(action: &Action, desired: u32) -> bool {
    match action {
        Action::Protect(..) | Action::Unprotect(_) => true,
        Action::SetDesiredCount(count, _) => *count < desired,
        Action::Mark(_)
        | Action::ClearMark
        | Action::NoteLast(_)
        | Action::SetConstraints(_)
        | Action::PutTarget(..)
        | Action::DeleteTarget(_)
        | Action::Stop(_)
        | Action::ForceNewDeployment
        | Action::NewRevision(_)
        | Action::Deploy(_) => false,
    }
}
