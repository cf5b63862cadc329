//! The strategy `surge`: start a few more, wait until they are healthy, protect all but the victims, scale in, look again.
//!
//! Each step leaves the service whole if it is the last, and the next one follows from what is seen: the tag
//! `ecs-rebalancer:surge` and the desired count tell a later run where this one died.

mod relocations;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use self::relocations::Relocations;
use super::{
    marks::{SPARED_TASKS, SurgeMark, is_steering, owners_constraints, steer_value, steering_constraint},
    model::{
        Cluster, ContainerInstanceArn, ContainerInstanceStatus, Service, ServiceName, ServiceStatus, Task, TaskArn,
        Timestamp,
    },
    planner::{Move, PATIENCE},
    reviewed::Reviewed,
    spread,
    steering::{self, Steering},
    step::{Action, Ending, Seen, Step, Stop, Tasks, What},
};

/// ECS is eventually consistent: what was just written may not be read yet.
const CONSISTENCY: Duration = Duration::from_secs(30);
/// How long after a scale-in its victims may still be counted as running, before that is given up on.
const SCALE_IN_TIMEOUT: Duration = Duration::from_mins(3);

/// Where a service in hand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two rounds, or before the first; nothing is raised.
    Between,
    /// The note is written; the desired count is to be raised. Where it steers, these instances are to carry the attribute.
    Marked(SurgeMark, BTreeSet<ContainerInstanceArn>),
    /// The desired count is raised, since then.
    Raised(SurgeMark, Timestamp),
    /// All but the victims are protected; the desired count, raised since then, is to be lowered. Perhaps that is the end.
    Protected(SurgeMark, Timestamp, Option<Ending>),
    /// The desired count is lowered, since then. Perhaps that is the end.
    Lowered(SurgeMark, Timestamp, Option<Ending>),
    /// What was set is to be cleared, then it ends so.
    Clearing(Option<SurgeMark>, Ending),
}

/// What a run remembers of a service in hand. All of it but the limits could be seen in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The run.
    pub run_id: String,
    /// Where it stands.
    pub phase: Phase,
    /// The protections that this run set, and until when they last as ECS said.
    pub ours: BTreeMap<TaskArn, Timestamp>,
    /// The container instances that this run put the attribute on, or tried to: of several requests the first may be answered,
    /// and the next one not.
    pub targets: BTreeSet<ContainerInstanceArn>,
    /// Those of them that have it.
    pub put: BTreeSet<ContainerInstanceArn>,
    /// Whether the service may have the constraint that asks for it.
    pub constrained: bool,
    /// Tasks moved so far.
    pub moved: u32,
    /// The value of the attribute that it steers by.
    pub steer_value: String,
    /// Where a plan names each task that goes and where to: these. Else what is misplaced goes.
    pub relocations: Option<Relocations>,
    /// The fewest tasks still to be moved at the beginning of a round.
    pub misplaced: u32,
    /// Rounds in a row that cured nothing.
    pub idle_rounds: u32,
}

impl Progress {
    /// A service that nothing was done to yet.
    pub fn new(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            phase: Phase::Between,
            ours: BTreeMap::new(),
            targets: BTreeSet::new(),
            put: BTreeSet::new(),
            constrained: false,
            moved: 0,
            steer_value: steer_value(run_id),
            relocations: None,
            misplaced: u32::MAX,
            idle_rounds: 0,
        }
    }

    /// A service of which just these tasks are to go just there. `number` tells it from the others of the run: with a value of
    /// its own it can steer while others steer elsewhere.
    /// Where they go, others may have to leave first: then the room `comes_later`.
    pub fn relocating(run_id: &str, number: usize, moves: Vec<Move>, comes_later: bool) -> Self {
        let steer_value = format!("{}x{number}", steer_value(run_id));
        Self { relocations: Some(Relocations::new(moves, comes_later)), steer_value, ..Self::new(run_id) }
    }

    /// How many tasks are to be moved still.
    fn left(&self, cluster: &Cluster, service: &ServiceName) -> u32 {
        match &self.relocations {
            Some(relocations) => u32::try_from(relocations.outstanding(cluster).count()).unwrap_or(u32::MAX),
            None => spread::misplaced(cluster, service),
        }
    }

    /// A service on which an earlier run left its note, or only its constraint. Attributes are swept up for all at once.
    pub fn recovered(run_id: &str, mark: Option<SurgeMark>, service: &Service) -> Self {
        let Some(mark) = mark else {
            return Self { phase: Phase::Clearing(None, Ending::Recovered), ..Self::new(run_id) };
        };
        let (since, constrained) = (mark.at, mark.steer.is_some());
        let phase = if service.desired_count == mark.to {
            Phase::Raised(mark, since)
        } else if service.desired_count == mark.from {
            Phase::Lowered(mark, since, Some(Ending::Recovered))
        } else {
            let what = format!("the desired count was set to {}", service.desired_count);
            Phase::Clearing(Some(mark), Ending::OthersChanged(what))
        };
        Self { phase, constrained, ..Self::new(run_id) }
    }

    /// Whether the next step may choose places or victims, and so depends on what is promised to others; most looks only wait.
    pub fn chooses_next(&self, seen: &Seen) -> bool {
        match &self.phase {
            Phase::Between | Phase::Lowered(..) | Phase::Raised(..) => seen.tasks.is_some(),
            Phase::Marked(..) | Phase::Protected(..) | Phase::Clearing(..) => false,
        }
    }

    /// The tasks that this run didn't protect: whether anybody did must be read.
    fn not_ours<'a>(&'a self, tasks: &'a Tasks) -> impl Iterator<Item = &'a TaskArn> {
        tasks.all.keys().filter(|task| !self.ours.contains_key(*task))
    }

    /// Goes on in another phase, remembering what that means.
    pub fn enter(&mut self, phase: Phase, cluster: &Cluster, name: &ServiceName) {
        match (&self.phase, &phase) {
            // The same round still, after one more call.
            (Phase::Marked(..), Phase::Marked(..)) | (Phase::Lowered(..), Phase::Lowered(..)) => {}
            (_, Phase::Marked(..)) => {
                let misplaced = self.left(cluster, name);
                self.idle_rounds = if misplaced < self.misplaced { 0 } else { self.idle_rounds + 1 };
                self.misplaced = self.misplaced.min(misplaced);
                if let Some(relocations) = &mut self.relocations {
                    relocations.begin_round(cluster, name);
                }
            }
            (_, Phase::Lowered(mark, _, None)) => self.moved += mark.to - mark.from,
            _ => {}
        }
        self.phase = phase;
    }
}

/// What a round may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks that may still be moved.
    pub moves: u32,
    /// Tasks that may be started on top at a time.
    pub surge: u32,
    /// How long a new task may take until it is healthy.
    pub task_timeout: Duration,
    /// How long our protection lasts.
    pub protect_minutes: u32,
    /// Whether and why nothing new is begun.
    pub stop: Option<Stop>,
    /// How it may steer; none where it may not.
    pub steering: Option<Steering>,
    /// A reviewed plan: nothing else goes.
    pub reviewed: Option<Reviewed>,
}

/// The next step for a service.
pub fn next(progress: &Progress, cluster: &Cluster, seen: &Seen, limits: &Limits) -> Step<Phase> {
    let Some(service) = &seen.service else {
        return if progress.targets.is_empty() {
            Step::Done(Ending::Gone)
        } else {
            Step::Act(Action::DeleteTarget(progress.targets.clone()), progress.phase.clone())
        };
    };
    match &progress.phase {
        Phase::Between => begin(progress, None, None, cluster, service, seen, limits),
        Phase::Marked(mark, targets) => raise(progress, mark, targets, service, seen),
        Phase::Raised(mark, since) => await_replacements(progress, cluster, mark, *since, service, seen, limits),
        Phase::Protected(mark, since, ending) => lower(mark, *since, ending.as_ref(), service, seen),
        Phase::Lowered(mark, since, ending) => {
            if let Some(step) = unsteer(progress, service) {
                return step;
            }
            if let Some(step) = await_scale_in(mark, *since, ending.as_ref(), service, seen) {
                return step;
            }
            begin(progress, Some(mark), ending.as_ref(), cluster, service, seen, limits)
        }
        Phase::Clearing(mark, ending) => clear(progress, mark.as_ref(), ending, service, seen),
    }
}

/// Begins a round, or ends it all. `mark` is the note of the round before.
fn begin(
    progress: &Progress,
    mark: Option<&SurgeMark>,
    ending: Option<&Ending>,
    cluster: &Cluster,
    service: &Service,
    seen: &Seen,
    limits: &Limits,
) -> Step<Phase> {
    let end = |ending| Step::Go(Phase::Clearing(mark.cloned(), ending));
    if let Some(ending) = ending {
        return end(ending.clone());
    }
    if let Some(stop) = limits.stop {
        return end(Ending::Limit(stop));
    }
    if let Some(what) = change_by_others(service) {
        return end(Ending::OthersChanged(what));
    }
    if let (Some(relocations), Some(steering)) = (&progress.relocations, &limits.steering)
        && relocations.wait_for_others(cluster, steering)
    {
        return Step::Wait;
    }
    let Some(tasks) = &seen.tasks else { return Step::See(What::Tasks) };
    let misplaced = progress.left(cluster, &service.name);
    if misplaced == 0 {
        return end(if progress.relocations.is_some() { Ending::Relocated } else { Ending::Spread });
    }
    if misplaced >= progress.misplaced && progress.idle_rounds >= PATIENCE {
        return end(Ending::NoHelp { misplaced });
    }
    if limits.moves == 0 {
        return end(Ending::Limit(Stop::Moves));
    }
    if let Some(unread) = seen.unread(progress.not_ours(tasks)) {
        return Step::See(unread);
    }
    let protections = protections(progress, seen);
    let spared: BTreeSet<TaskArn> =
        protections.keys().filter(|task| !progress.ours.contains_key(*task)).cloned().collect();
    if spared.len() > SPARED_TASKS {
        let why = format!("{} tasks are protected by the application, too many to note", spared.len());
        return end(Ending::Undone(why));
    }
    let barred = barred(progress, cluster, limits, service, tasks, &spared);
    let most = limits.surge.min(limits.moves);
    // What the last round did not cure, ECS chose otherwise than foreseen: now it is left no choice.
    let is_careful = misplaced >= progress.misplaced;
    let targets = limits.steering.as_ref().and_then(|steering| {
        let targets = match &progress.relocations {
            Some(relocations) => {
                let wanted = relocations.wanted(cluster, &barred, steering);
                steering::to(cluster, &service.name, &wanted, most)?
            }
            None => steering::targets(cluster, &service.name, &barred, most, is_careful)?,
        };
        Some((steering, targets))
    });
    let (surge, targets, steer) = match targets {
        // An instance has the attribute for all or for none: what others wait for must not take our tasks.
        Some((steering, targets)) if !steering.is_free_for(&targets.instances) => return Step::Wait,
        Some((steering, targets)) => {
            (u32::try_from(targets.places.len()).unwrap_or(u32::MAX), targets.instances, Some(steering.value.clone()))
        }
        // Left to ECS, none of these would go where it is to.
        None if progress.relocations.is_some() => return end(Ending::NoHelp { misplaced }),
        None => (spread::paced_surge(cluster, &service.name, &barred, most), BTreeSet::new(), None),
    };
    if surge == 0 {
        return end(Ending::NoHelp { misplaced });
    }
    let mark = SurgeMark {
        from: service.desired_count,
        to: service.desired_count + surge,
        run_id: progress.run_id.clone(),
        at: seen.at,
        protect_minutes: limits.protect_minutes,
        spared: spared.iter().map(SurgeMark::beginning_of).collect(),
        steer,
    };
    Step::Act(Action::Mark(mark.clone()), Phase::Marked(mark, targets))
}

fn raise(
    progress: &Progress,
    mark: &SurgeMark,
    targets: &BTreeSet<ContainerInstanceArn>,
    service: &Service,
    seen: &Seen,
) -> Step<Phase> {
    if let Some(what) = change_by_others(service) {
        return Step::Go(Phase::Clearing(Some(mark.clone()), Ending::OthersChanged(what)));
    }
    match service.desired_count {
        count if count == mark.from => {
            let Some(value) = &mark.steer else {
                return Step::Act(Action::SetDesiredCount(mark.to, None), Phase::Raised(mark.clone(), seen.at));
            };
            if !targets.is_subset(&progress.put) {
                return Step::Act(Action::PutTarget(targets.clone(), value.clone()), progress.phase.clone());
            }
            let mut constraints = owners_constraints(&service.placement_constraints);
            constraints.push(steering_constraint(value));
            Step::Act(Action::SetDesiredCount(mark.to, Some(constraints)), Phase::Raised(mark.clone(), seen.at))
        }
        // Done, but the answer was lost.
        count if count == mark.to => Step::Go(Phase::Raised(mark.clone(), seen.at)),
        count => Step::Go(Phase::Clearing(Some(mark.clone()), others_set(count))),
    }
}

fn await_replacements(
    progress: &Progress,
    cluster: &Cluster,
    mark: &SurgeMark,
    since: Timestamp,
    service: &Service,
    seen: &Seen,
    limits: &Limits,
) -> Step<Phase> {
    if service.desired_count != mark.to {
        if service.desired_count == mark.from && is_within(CONSISTENCY, since, seen.at) {
            return Step::Wait;
        }
        return Step::Go(Phase::Clearing(Some(mark.clone()), others_set(service.desired_count)));
    }
    if let Some(what) = change_by_others(service) {
        // A deployment replaces the tasks anyway; what is ours is the count.
        let ending = Ending::OthersChanged(what);
        return Step::Act(scale_in(mark, service), Phase::Clearing(Some(mark.clone()), ending));
    }
    let trouble = trouble(progress, service, seen, limits);
    if service.running_count < mark.to && trouble.is_none() {
        return Step::Wait;
    }
    let Some(tasks) = &seen.tasks else { return Step::See(What::Tasks) };
    if tasks.ready.len() < mark.to as usize && trouble.is_none() {
        return Step::Wait;
    }
    if let Some(unread) = seen.unread(progress.not_ours(tasks)) {
        return Step::See(unread);
    }
    let protections = protections(progress, seen);
    let ours = our_protections(progress, Some(mark), &protections);
    let spared: BTreeSet<TaskArn> = protections.keys().filter(|task| !ours.contains(*task)).cloned().collect();
    let barred = barred(progress, cluster, limits, service, tasks, &spared);
    let victims = victims(cluster, service, tasks, &spared, &barred, mark);
    let unprotect: Vec<TaskArn> = victims.intersection(&ours).cloned().collect();
    // The application may have protected it anew since, and then it is its own.
    if let Some(unread) = seen.unread(unprotect.iter()) {
        return Step::See(unread);
    }
    if !unprotect.is_empty() {
        return Step::Act(Action::Unprotect(unprotect), progress.phase.clone());
    }
    let ending = if mark.run_id == progress.run_id { trouble } else { Some(Ending::Recovered) };
    let phase = Phase::Protected(mark.clone(), since, ending);
    // What drains is ECS's own to move; protected, it would stay.
    let stays = |task: &&Task| {
        let instance = task.container_instance.as_ref().and_then(|arn| cluster.container_instances.get(arn));
        instance.is_none_or(|instance| instance.status != ContainerInstanceStatus::Draining)
    };
    let unprotected: Vec<TaskArn> = tasks
        .all
        .values()
        .filter(stays)
        .map(|task| &task.arn)
        .filter(|task| !victims.contains(*task) && !protections.contains_key(*task))
        .cloned()
        .collect();
    if unprotected.is_empty() {
        return Step::Go(phase);
    }
    Step::Act(Action::Protect(unprotected, limits.protect_minutes), phase)
}

fn lower(mark: &SurgeMark, since: Timestamp, ending: Option<&Ending>, service: &Service, seen: &Seen) -> Step<Phase> {
    let lowered = Phase::Lowered(mark.clone(), seen.at, ending.cloned());
    match service.desired_count {
        // A task was lost since: its replacement must not be what the scale-in takes.
        count if count == mark.to && service.running_count < mark.to && ending.is_none() => {
            Step::Go(Phase::Raised(mark.clone(), since))
        }
        count if count == mark.to => Step::Act(scale_in(mark, service), lowered),
        count if count == mark.from => Step::Go(lowered),
        count => Step::Go(Phase::Clearing(Some(mark.clone()), others_set(count))),
    }
}

/// Back to the count of before; the same call takes our constraint off.
fn scale_in(mark: &SurgeMark, service: &Service) -> Action {
    let is_steered = mark.steer.is_some() || service.placement_constraints.iter().any(is_steering);
    Action::SetDesiredCount(mark.from, is_steered.then(|| owners_constraints(&service.placement_constraints)))
}

/// Takes off what steers: first the constraint, then the attribute that it asks for, since without that no task has a place.
fn unsteer(progress: &Progress, service: &Service) -> Option<Step<Phase>> {
    let is_steered = progress.constrained || service.placement_constraints.iter().any(is_steering);
    // UpdateService refuses a service that is being deleted.
    if is_steered && service.status == ServiceStatus::Active {
        let constraints = owners_constraints(&service.placement_constraints);
        return Some(Step::Act(Action::SetConstraints(constraints), progress.phase.clone()));
    }
    (!progress.targets.is_empty())
        .then(|| Step::Act(Action::DeleteTarget(progress.targets.clone()), progress.phase.clone()))
}

/// Waits for the victims to go; none when they are gone.
fn await_scale_in(
    mark: &SurgeMark,
    since: Timestamp,
    ending: Option<&Ending>,
    service: &Service,
    seen: &Seen,
) -> Option<Step<Phase>> {
    match service.desired_count {
        count if count == mark.from => {}
        count if count == mark.to && is_within(CONSISTENCY, since, seen.at) => return Some(Step::Wait),
        count if count == mark.to => {
            let lowered = Phase::Lowered(mark.clone(), seen.at, ending.cloned());
            return Some(Step::Act(scale_in(mark, service), lowered));
        }
        count => return Some(Step::Go(Phase::Clearing(Some(mark.clone()), others_set(count)))),
    }
    if service.running_count <= mark.from && service.pending_count == 0 {
        return None;
    }
    if is_within(SCALE_IN_TIMEOUT, since, seen.at) {
        return Some(Step::Wait);
    }
    let why = format!("ECS did not scale in to {} tasks within {} s", mark.from, SCALE_IN_TIMEOUT.as_secs());
    Some(Step::Go(Phase::Clearing(Some(mark.clone()), Ending::Undone(why))))
}

/// Takes away what was set: what steers and protection first, the note last, so that a run that dies between finds it.
fn clear(
    progress: &Progress,
    mark: Option<&SurgeMark>,
    ending: &Ending,
    service: &Service,
    seen: &Seen,
) -> Step<Phase> {
    if let Some(step) = unsteer(progress, service) {
        return step;
    }
    if mark.is_some() || !progress.ours.is_empty() {
        let Some(tasks) = &seen.tasks else { return Step::See(What::Tasks) };
        let is_anothers = mark.is_some_and(|mark| mark.run_id != progress.run_id);
        if let Some(unread) =
            seen.unread(tasks.all.keys().filter(|task| is_anothers || progress.ours.contains_key(*task)))
        {
            return Step::See(unread);
        }
        let protections = protections(progress, seen);
        let mut ours = our_protections(progress, mark, &protections);
        ours.retain(|task| tasks.all.contains_key(task));
        if !ours.is_empty() {
            return Step::Act(Action::Unprotect(ours.into_iter().collect()), progress.phase.clone());
        }
    }
    if mark.is_some() && service.tags.contains_key(super::marks::SURGE_TAG) {
        return Step::Act(Action::ClearMark, Phase::Clearing(None, ending.clone()));
    }
    Step::Done(ending.clone())
}

/// What is not to go: what the application protects, what a reviewed plan doesn't name, and where tasks are to go elsewhere one
/// by one, all but those for which there is a place now.
fn barred(
    progress: &Progress,
    cluster: &Cluster,
    limits: &Limits,
    service: &Service,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
) -> BTreeSet<TaskArn> {
    let mut barred = spared.clone();
    if let Some(reviewed) = &limits.reviewed {
        barred.extend(reviewed.barred(&service.name, tasks));
    }
    if let Some(relocations) = &progress.relocations {
        let go = relocations.may_go(cluster, tasks, !progress.targets.is_empty());
        barred.extend(tasks.all.keys().filter(|task| !go.contains(*task)).cloned());
    }
    barred
}

/// Who goes: first those that are not ready, youngest first; then those whose going leaves the fewest misplaced.
fn victims(
    cluster: &Cluster,
    service: &Service,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    barred: &BTreeSet<TaskArn>,
    mark: &SurgeMark,
) -> BTreeSet<TaskArn> {
    let excess = tasks.all.len().saturating_sub(mark.from as usize);
    let mut unready: Vec<_> =
        tasks.all.values().filter(|task| !tasks.ready.contains(&task.arn) && !spared.contains(&task.arn)).collect();
    unready.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.arn.cmp(&b.arn)));
    let mut victims: BTreeSet<TaskArn> = unready.into_iter().take(excess).map(|task| task.arn.clone()).collect();
    let more = u32::try_from(excess - victims.len()).unwrap_or(u32::MAX);
    victims.extend(spread::victims(cluster, &service.name, tasks, barred, more));
    // Where what may go has gone by itself meanwhile, the newest go again, and the service is as it was.
    let is_chosen = barred.len() > spared.len();
    let mut newest: Vec<_> = tasks.all.values().filter(|task| is_chosen && !spared.contains(&task.arn)).collect();
    newest.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.arn.cmp(&b.arn)));
    for task in newest {
        if victims.len() >= excess {
            break;
        }
        victims.insert(task.arn.clone());
    }
    victims
}

/// Why the replacements are waited for no longer.
fn trouble(progress: &Progress, service: &Service, seen: &Seen, limits: &Limits) -> Option<Ending> {
    let Phase::Raised(mark, since) = &progress.phase else { return None };
    if let Some(stop) = limits.stop {
        return Some(Ending::Limit(stop));
    }
    // A new attribute takes a moment until ECS places by it, and room that others leave until it is free: a first failure to
    // place says nothing yet.
    let may_be_early = progress.relocations.as_ref().is_some_and(|it| it.room_comes_later)
        || mark.steer.is_some() && is_within(CONSISTENCY, *since, seen.at);
    if let Some(failure) = &service.newest_failure
        && failure.at >= mark.at
        && !may_be_early
    {
        return Some(Ending::Undone(failure.message.clone()));
    }
    let timeout = limits.task_timeout;
    (!is_within(timeout, *since, seen.at))
        .then(|| Ending::Undone(format!("the new tasks were not healthy within {} s", timeout.as_secs())))
}

/// Until when tasks are protected: as was read now, and else as this run protected them.
fn protections(progress: &Progress, seen: &Seen) -> BTreeMap<TaskArn, Timestamp> {
    let mut protections = progress.ours.clone();
    for (task, until) in &seen.protections {
        match until {
            Some(until) => protections.insert(task.clone(), *until),
            None => protections.remove(task),
        };
    }
    protections
}

/// Which protections are this run's, or those of the run that left the note. An application's own stay.
fn our_protections(
    progress: &Progress,
    mark: Option<&SurgeMark>,
    protections: &BTreeMap<TaskArn, Timestamp>,
) -> BTreeSet<TaskArn> {
    let is_ours = |task: &TaskArn, until: Timestamp| match (progress.ours.get(task), mark) {
        // The application has protected it anew since, and that is its own.
        (Some(ours), _) => until == *ours,
        (None, Some(mark)) if mark.run_id != progress.run_id => !mark.spares(task) && is_from(mark, until),
        (None, _) => false,
    };
    protections.iter().filter(|(task, until)| is_ours(task, **until)).map(|(task, _)| task.clone()).collect()
}

/// Whether a protection that ends then may have been set by the run that wrote the note: within its own lifetime, which is
/// shorter than the protection that it set.
fn is_from(mark: &SurgeMark, until: Timestamp) -> bool {
    let lasts = i64::from(mark.protect_minutes) * 60_000;
    let earliest = mark.at.0 + lasts - 60_000;
    (earliest..=earliest + lasts).contains(&until.0)
}

/// What somebody else is doing to the service, if they are.
fn change_by_others(service: &Service) -> Option<String> {
    if service.status != ServiceStatus::Active {
        return Some("the service is being deleted".to_owned());
    }
    (service.deployments.len() > 1).then(|| "a deployment began".to_owned())
}

fn others_set(count: u32) -> Ending {
    Ending::OthersChanged(format!("the desired count was set to {count}"))
}

fn is_within(span: Duration, since: Timestamp, now: Timestamp) -> bool {
    u128::try_from(now.milliseconds_since(since)).map_or(true, |milliseconds| milliseconds < span.as_millis())
}
