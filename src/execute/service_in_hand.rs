//! One service in hand: shows its strategy what it asks to see, does what it asks to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Bounds, Finished, LAST_CHANCE, POLL, SOON, Shared, act, look};
use crate::{
    aws::look::Sighting,
    planning::{
        bounds::{fits, start_wait},
        making_room::Room,
        model::{Cluster, ContainerInstanceArn, Service, ServiceName, TaskArn, Timestamp},
        planner::{Aim, ServicePlan},
        policy,
        settings::ServiceSettings,
        strategy::{
            Action, CONSISTENCY, Ending, Failure, Limits, Need, Record, Seen, Step, Stop, Stopped, Strategy, Tasks,
            arrival::Arrival,
            redeploy::{Kind, Redeploy},
            stop::StopTasks,
            surge::{Leftover, Surge},
        },
        view,
    },
};

/// Steps by one look; a chain longer than this goes on at the next one.
const STEPS: usize = 16;
/// A service that is MISSING in so many looks over half a minute is gone; one such answer may lag.
const MISSING_LOOKS: u32 = 3;

/// A service in hand.
pub(super) struct ServiceInHand {
    pub(super) name: ServiceName,
    strategy: Box<dyn Strategy>,
    /// Task starts that the limits leave it.
    allowance: u32,
    /// As it was seen last; none when it is gone.
    service: Option<Service>,
    looked_at: Timestamp,
    is_fresh: bool,
    /// Since when it is MISSING, and in how many looks.
    missing: Option<(Timestamp, u32)>,
    known: Option<Tasks>,
    /// When this run first saw each task in RUNNING: a look that failed takes nothing from that.
    running_since: BTreeMap<TaskArn, Timestamp>,
    failure: Option<String>,
    failures: u32,
    pub(super) wakes_at: Instant,
    ending: Option<Ending>,
}

/// What is asked for by one look, beside the service itself.
#[derive(Default)]
struct Asked {
    has_tasks: bool,
    protections: BTreeMap<TaskArn, Option<Timestamp>>,
    stopped: BTreeMap<TaskArn, Stopped>,
    stopping: Option<BTreeSet<TaskArn>>,
    freed: BTreeMap<ContainerInstanceArn, BTreeSet<Timestamp>>,
    fresh_instances: BTreeSet<ContainerInstanceArn>,
}

impl Asked {
    /// What was read of protections before is read no more where that was changed since.
    fn take_over(&mut self, action: &Action) {
        match action {
            Action::Protect(tasks, _) => self.protections.retain(|task, _| !tasks.contains(task)),
            Action::Unprotect(tasks) => self.protections.extend(tasks.iter().map(|task| (task.clone(), None))),
            _ => {}
        }
    }
}

impl ServiceInHand {
    /// A service that a plan moves; none where the cluster doesn't have it. The run may have moved tasks of it before.
    pub(super) fn planned(
        plan: &ServicePlan,
        cluster: &Cluster,
        before: &[Finished],
        bounds: &Bounds<'_>,
    ) -> Option<Self> {
        let of_it = before.iter().filter(|done| done.name == plan.name);
        let leaving: BTreeSet<TaskArn> = of_it.flat_map(|done| done.record.leaving.iter().cloned()).collect();
        let relocating = |waits| match &plan.kept_clear {
            Some(instances) => {
                let packs = plan.aim == Aim::Consolidation;
                Surge::clearing(bounds.run_id, &plan.name, plan.moves.clone(), instances.clone(), packs)
            }
            None => Surge::relocating(bounds.run_id, &plan.name, plan.moves.clone(), waits),
        };
        let strategy: Box<dyn Strategy> = match plan.strategy {
            policy::Strategy::Auto | policy::Strategy::Surge => Box::new(
                match plan.aim {
                    Aim::Level => {
                        let moves = u32::try_from(plan.moves.len()).unwrap_or(u32::MAX);
                        let is_reviewed = bounds.policy.reviewed.is_some();
                        let only = is_reviewed.then(|| plan.moves.iter().map(|it| it.task.clone()).collect());
                        Surge::levelling(bounds.run_id, &plan.name, moves, only)
                    }
                    Aim::Spread => Surge::new(bounds.run_id, &plan.name),
                    Aim::Steered | Aim::Consolidation => relocating(false),
                    Aim::Room { waits } => relocating(waits),
                }
                .after(leaving),
            ),
            policy::Strategy::Stop => Box::new(StopTasks::new()),
            policy::Strategy::Redeploy => Box::new(Redeploy::new(Kind::Redeploy)),
            policy::Strategy::Revision => Box::new(Redeploy::new(Kind::Revision)),
        };
        Some(Self::new(cluster.services.get(&plan.name)?, strategy, plan.allowance, bounds))
    }

    /// A service for which room was made: nothing is done to it, but it is seen whether its tasks start.
    pub(super) fn awaited(room: &Room, cluster: &Cluster, bounds: &Bounds<'_>) -> Option<Self> {
        let strategy = Box::new(Arrival::new(room.tasks, room.wanted));
        Some(Self::new(cluster.services.get(&room.service)?, strategy, 0, bounds))
    }

    /// A service on which an earlier run left something.
    pub(super) fn recovered(service: &Service, leftover: Leftover, bounds: &Bounds<'_>) -> Self {
        Self::new(service, Box::new(Surge::recovered(bounds.run_id, service, leftover)), 0, bounds)
    }

    fn new(service: &Service, strategy: Box<dyn Strategy>, allowance: u32, bounds: &Bounds<'_>) -> Self {
        Self {
            name: service.name.clone(),
            strategy,
            allowance,
            service: Some(service.clone()),
            looked_at: bounds.clock.now(),
            is_fresh: false,
            missing: None,
            known: None,
            running_since: BTreeMap::new(),
            failure: None,
            failures: 0,
            wakes_at: Instant::now(),
            ending: None,
        }
    }

    pub(super) fn is_recovery(&self) -> bool {
        self.strategy.is_recovery()
    }

    /// What it waits for, as `web: 3 of 4 tasks healthy`.
    pub(super) fn waits_for(&self) -> String {
        format!("{}: {}", self.name, self.strategy.waits_for(self.service.as_ref(), self.known.as_ref()))
    }

    pub(super) fn never_begun(self, ending: Ending) -> Finished {
        Finished { name: self.name, ending, record: Record::default(), recovery: false }
    }

    /// What is left of it when the time is over.
    pub(super) fn abandoned(self) -> Finished {
        let ending = self.strategy.abandoned(self.failure.as_deref());
        self.finished(ending)
    }

    /// How it ended; where it didn't, it waits on.
    pub(super) fn into_finished_or(mut self, waiting: &mut Vec<Self>) -> Option<Finished> {
        if let Some(ending) = self.ending.take() {
            return Some(self.finished(ending));
        }
        waiting.push(self);
        None
    }

    fn finished(self, ending: Ending) -> Finished {
        let (record, recovery) = (self.strategy.record().clone(), self.strategy.is_recovery());
        tracing::info!(service = self.name.as_str(), moved = record.moved(), reason = %ending, "done with a service");
        Finished { name: self.name, ending, record, recovery }
    }

    /// Takes over what a look showed, or that it failed.
    pub(super) fn take_look(
        &mut self,
        sightings: &Result<BTreeMap<ServiceName, Sighting>, Failure>,
        asked_at: Timestamp,
        shared: &Shared<'_>,
    ) {
        let now = shared.bounds.clock.now();
        self.is_fresh = false;
        match sightings.as_ref().map(|sightings| sightings.get(&self.name)) {
            Ok(Some(Sighting::There(service))) => {
                shared.bounds.watch(service);
                self.missing = None;
                self.service = Some(Service::clone(service));
                (self.looked_at, self.is_fresh) = (asked_at, true);
            }
            Ok(Some(Sighting::Deleted)) => self.service = None,
            Ok(Some(Sighting::Missing) | None) => {
                let (since, looks) = self.missing.map_or((now, 1), |(since, looks)| (since, looks + 1));
                self.missing = Some((since, looks));
                let span = Duration::from_millis(u64::try_from(now.milliseconds_since(since)).unwrap_or(0));
                if looks >= MISSING_LOOKS && span >= CONSISTENCY {
                    self.service = None;
                }
            }
            Err(failure) => self.fail(None, failure, &Asked::default(), shared),
        }
    }

    /// Takes as many steps as can be taken by one look, and says when the next look is.
    pub(super) async fn take_steps(&mut self, shared: &Shared<'_>) {
        let mut asked = Asked::default();
        for _ in 0..STEPS {
            let step = self.next(&asked, shared);
            shared.board.borrow_mut().note(&self.name, &*self.strategy);
            match step {
                Step::Wait(after) => return self.wake_in(after.unwrap_or(POLL), shared),
                Step::Done(ending) => {
                    self.ending = Some(ending);
                    return;
                }
                Step::See(need) => {
                    if let Err(failure) = self.see(need, &mut asked, shared).await {
                        self.fail(None, &failure, &asked, shared);
                        return self.wake_after_failure(shared);
                    }
                }
                Step::Act(action) => {
                    let service = self.service.as_ref();
                    let arn = service.map(|service| service.arn.clone()).unwrap_or_default();
                    let done = act::act(&action, &self.name, &arn, shared).await;
                    match done {
                        Ok(done) => {
                            self.failures = 0;
                            asked.take_over(&action);
                            self.with_seen(&asked, shared, |strategy, seen| strategy.done(&action, &done, seen));
                        }
                        Err(failure) => {
                            self.fail(Some(&action), &failure, &asked, shared);
                            shared.board.borrow_mut().note(&self.name, &*self.strategy);
                            return self.wake_after_failure(shared);
                        }
                    }
                    shared.board.borrow_mut().note(&self.name, &*self.strategy);
                    if !action.leaves_the_look_valid() {
                        let after =
                            if act::is_seen_soon(&action, service_count(self.service.as_ref())) { SOON } else { POLL };
                        return self.wake_in(after, shared);
                    }
                }
            }
        }
        self.wake_in(SOON, shared);
    }

    fn next(&mut self, asked: &Asked, shared: &Shared<'_>) -> Step {
        let limits = self.limits(shared);
        self.with_seen(asked, shared, |strategy, seen| strategy.next(seen, &limits))
    }

    /// Shows the strategy what is known now.
    fn with_seen<T>(
        &mut self,
        asked: &Asked,
        shared: &Shared<'_>,
        what: impl FnOnce(&mut dyn Strategy, &Seen<'_>) -> T,
    ) -> T {
        let cluster = shared.cluster.borrow();
        let promised = shared.board.borrow().promised_to_others(&self.name);
        let seen = Seen {
            now: shared.bounds.clock.now(),
            looked_at: self.looked_at,
            is_fresh: self.is_fresh,
            service: self.service.as_ref(),
            tasks: self.known.as_ref().filter(|_| asked.has_tasks),
            protections: asked.protections.clone(),
            stopped: asked.stopped.clone(),
            stopping: asked.stopping.clone(),
            freed: asked.freed.clone(),
            fresh_instances: asked.fresh_instances.clone(),
            cluster: &cluster,
            promised: &promised,
        };
        what(&mut *self.strategy, &seen)
    }

    fn limits(&self, shared: &Shared<'_>) -> Limits {
        let Shared { bounds, trust, .. } = shared;
        let board = shared.board.borrow();
        let own = self.strategy.record().starts().saturating_add(self.strategy.starts_under_way());
        let moves = (bounds.policy.max_moves.saturating_sub(shared.before.starts()))
            .saturating_sub(board.starts())
            .min(self.allowance.saturating_sub(own));
        let patience = &shared.target.clients.patience;
        let left = patience.end().map(|end| end.saturating_duration_since(Instant::now()));
        let settings = self.service.as_ref().and_then(|service| ServiceSettings::of(service, bounds.policy).ok());
        let task_timeout = match (&self.service, &settings) {
            (Some(service), Some(settings)) => start_wait(service, settings, bounds.policy),
            _ => bounds.policy.task_timeout,
        };
        let distrusted = trust.stopped_protected.get() && !self.is_recovery();
        Limits {
            moves,
            surge: bounds.policy.surge,
            task_timeout,
            protect_minutes: bounds.protect_minutes(),
            stop: bounds.stop().or(distrusted.then_some(Stop::Distrust)),
            fits: match (&self.service, &settings) {
                (Some(service), Some(settings)) => {
                    let cluster = shared.cluster.borrow();
                    let definition = cluster.task_definitions.get(&service.task_definition);
                    fits(service, definition, settings, bounds.until_last_start())
                }
                _ => true,
            },
            is_last_chance: left.is_some_and(|left| left < LAST_CHANCE),
            holds_lease: patience.may_write(),
            steers: bounds.policy.steer && !trust.steered_elsewhere.get(),
            others_targets: board.targets_of_others(&self.name),
            load_threshold: bounds.policy.load_threshold,
            in_vain: board.may_be_in_vain(shared.before),
            tally: board.tally(shared.before).after(shared.cluster.borrow().unspent_moves),
            others_try: board.others_try(&self.name),
            reviewed: bounds.policy.reviewed.clone(),
            is_enabled: settings.is_some_and(|settings| settings.enabled),
        }
    }

    async fn see(&mut self, need: Need, asked: &mut Asked, shared: &Shared<'_>) -> Result<(), Failure> {
        let Some(service) = &self.service else { return Ok(()) };
        let target = shared.target;
        match need {
            Need::Tasks => {
                let known = self.known.take().unwrap_or_default();
                let known = Tasks { running_since: self.running_since.clone(), ..known };
                let tasks = look::tasks(known, service, shared).await?;
                view::see(&mut shared.cluster.borrow_mut(), service, &tasks.all);
                self.running_since.clone_from(&tasks.running_since);
                self.known = Some(tasks);
                asked.has_tasks = true;
            }
            Need::Protections(tasks) => {
                let listed: Vec<TaskArn> = tasks.into_iter().collect();
                let protected = target.protections(&listed).await?;
                let read = listed.into_iter().map(|task| (protected.get(&task).copied(), task));
                asked.protections.extend(read.map(|(until, task)| (task, until)));
            }
            Need::Stopped(tasks) => {
                let listed: Vec<TaskArn> = tasks.into_iter().collect();
                asked.stopped.extend(target.stopped(&listed).await?);
            }
            Need::Stopping => asked.stopping = Some(target.stopping(&service.name).await?),
            Need::Freed(instances) => {
                for instance in instances {
                    let freed = target.stops_on(&instance, shared.bounds.clock.now()).await?;
                    asked.freed.insert(instance, freed);
                }
            }
            Need::Instances(instances) => {
                let listed: Vec<ContainerInstanceArn> = instances.iter().cloned().collect();
                let seen = target.container_instances(&listed).await?;
                look::take_over_instances(&mut shared.cluster.borrow_mut(), &listed, seen);
                asked.fresh_instances.extend(instances);
            }
        }
        Ok(())
    }

    /// A call failed; the strategy is told, and looks again.
    fn fail(&mut self, action: Option<&Action>, failure: &Failure, asked: &Asked, shared: &Shared<'_>) {
        tracing::warn!(service = self.name.as_str(), reason = failure.text, "a call failed; looking again");
        self.failures += 1;
        // It may have been about a task that is gone: the next look is a full one.
        self.known = None;
        self.failure = Some(failure.text.clone());
        let asked = Asked { has_tasks: false, ..Asked { protections: asked.protections.clone(), ..Asked::default() } };
        self.with_seen(&asked, shared, |strategy, seen| strategy.failed(action, failure, seen));
    }

    fn wake_after_failure(&mut self, shared: &Shared<'_>) {
        self.wake_in(if self.failures > 1 { POLL } else { SOON }, shared);
    }

    /// At a whole second from the run's begin, so that others that are due then are looked at by the same request; and soon where
    /// the run is about to end. A long wait ends when the time comes from which steps are undone: that takes time, too.
    fn wake_in(&mut self, after: Duration, shared: &Shared<'_>) {
        let elapsed = shared.bounds.elapsed();
        let after =
            if shared.bounds.stop().is_some() { after.min(SOON) } else { after.min(shared.bounds.until_last_start()) };
        let due = elapsed + after;
        let seconds = due.as_secs() + u64::from(due.subsec_nanos() > 0);
        self.wakes_at = Instant::now() + Duration::from_secs(seconds).saturating_sub(elapsed);
    }
}

fn service_count(service: Option<&Service>) -> u32 {
    service.map_or(0, |service| service.desired_count)
}
