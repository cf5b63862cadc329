//! One run: read the cluster, measure, plan, act, look again, publish, report.

mod lease;
mod trigger;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use self::lease::{Held, Taken};

use crate::{
    aws::{Clients, Target, providers, publish, read},
    clock::Clock,
    config::Config,
    execute::{self, Bounds},
    line::iso_8601,
    metrics::{self, Done},
    planning::{
        imbalance::{Measure, measure},
        levelling,
        model::{Cluster, ContainerInstance, ContainerInstanceArn, ServiceName, ServiceStatus, TaskArn, Timestamp},
        notes::{self, MODE_TAG, ModeNote, SURGE_TAG, SurgeNote, TARGET_ATTRIBUTE, is_steering, is_target},
        planner::{Plan, definitions_needed, plan, protections_needed},
        policy::Mode,
        providers::tell_managed_instances,
        second_look,
        settings::unreadable_tags,
        strategy::{Failure, FailureKind, surge::Leftover},
        view,
    },
    progress::{Progress, TELLS_EVERY},
    report::{Facts, Outcome, Report},
    shutdown::Shutdown,
};

/// A cluster whose container instances are others at each second look is planned for as it is, after so many.
const LOOKS_TWICE: usize = 3;
/// Between two looks at the container instances, where one fails.
const LOOKS_AGAIN: Duration = Duration::from_secs(5);

/// What a run is handed from outside, so that a test or a rehearsal can hand it something else.
#[derive(Debug)]
pub struct Edge {
    /// The clients of AWS's services.
    pub clients: Clients,
    /// What time it is.
    pub clock: Clock,
    /// When the run's time began, by the clock: with the process, or where a cluster had to wait for others, with its turn.
    pub began: Duration,
    /// Which run this is; its marks in the cluster carry it.
    pub run_id: String,
    /// The task that the job itself runs in; kept out of every count and move.
    pub own_task: Option<TaskArn>,
    /// Shows how far the reading is.
    pub progress: Rc<Progress>,
    /// Tells when the run is to end.
    pub shutdown: Shutdown,
    /// Held by the cluster that is acted on: one after the other.
    pub turn: Arc<Mutex<()>>,
}

impl Edge {
    /// All that a run is handed.
    pub fn new(
        clients: Clients,
        clock: Clock,
        run_id: String,
        own_task: Option<TaskArn>,
        progress: Progress,
        shutdown: Shutdown,
    ) -> Self {
        let (began, progress, turn) = (Duration::ZERO, Rc::new(progress), Arc::default());
        Self { clients, clock, began, run_id, own_task, progress, shutdown, turn }
    }

    /// What another cluster's run is handed at the same time.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            clients: self.clients.beside(),
            clock: self.clock,
            began: self.began,
            run_id: self.run_id.clone(),
            own_task: self.own_task.clone(),
            progress: Rc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
            turn: Arc::clone(&self.turn),
        }
    }
}

/// Runs on one cluster. Whatever fails is in the report; the report always comes.
pub async fn run(config: &Config, cluster: &str, edge: &Edge) -> Report {
    let began = edge.began;
    let mut report = Report::new(Facts {
        run_id: edge.run_id.clone(),
        cluster: cluster.rsplit('/').next().unwrap_or(cluster).to_owned(),
        mode: config.policy.mode,
        dry_run: config.dry_run,
        trigger: config.trigger_instance.as_ref().map(ToString::to_string),
        configuration: config.in_force(),
    });
    report.began = Some(edge.clock.at(began));
    edge.clients.region().clone_into(&mut report.region);
    let clients = edge.clients.ending_with(edge.shutdown.clone());
    let left = config.policy.deadline.saturating_sub(edge.clock.elapsed().saturating_sub(began));
    clients.patience.set_deadline(Instant::now() + left);
    let target = Target { clients: &clients, cluster };
    let run =
        OneRun { config, edge, target, began: Cell::new(began), read_at: Cell::new(began), found: RefCell::default() };
    if let Err(error) = Box::pin(run.carry_out(&mut report)).await {
        report.fail(&error);
    }
    clients.patience.allow_last_calls();
    if let Some(found) = run.found.take()
        && let Err(error) = Box::pin(run.publish(&found, &report)).await
    {
        report.fail(&error);
    }
    edge.progress.done();
    report.finish(edge.clock.elapsed().saturating_sub(began), clients.observer.take(), edge.shutdown.is_asked());
    report
}

/// One run on one cluster.
struct OneRun<'a> {
    config: &'a Config,
    edge: &'a Edge,
    target: Target<'a>,
    /// When the cluster's own time began.
    began: Cell<Duration>,
    /// When the cluster was last read, by the same clock.
    read_at: Cell<Duration>,
    /// What was measured before anything was moved.
    found: RefCell<Option<Measure>>,
}

impl OneRun<'_> {
    /// Whatever it ends with, what was measured and done stands in the report by then.
    async fn carry_out(&self, report: &mut Report) -> Result<()> {
        let shutdown = &self.edge.shutdown;
        if let Some(instance) = &self.config.trigger_instance {
            let unwanted = trigger::unwanted(self.target, instance, self.edge.own_task.as_ref());
            let Some(unwanted) = shutdown.unless_asked(unwanted).await else {
                report.conclude(Outcome::Interrupted, ended_reading());
                return Ok(());
            };
            if let Some(why) = unwanted? {
                report.conclude(Outcome::Skipped, why);
                return Ok(());
            }
            if !self.config.dry_run {
                return Box::pin(self.carry_out_for_event(report)).await;
            }
        }
        let Some(looked) = shutdown.unless_asked(Box::pin(self.look(report))).await else {
            report.conclude(Outcome::Interrupted, ended_reading());
            return Ok(());
        };
        let mut looked = looked?;
        if self.is_done(&looked, report).await? {
            return Ok(());
        }
        let Some((_turn, has_waited)) = shutdown.unless_asked(self.turn()).await else {
            report.conclude(Outcome::Interrupted, "the run was ended before it was this cluster's turn".to_owned());
            return Ok(());
        };
        if has_waited {
            // What was seen is old by now.
            let Some(anew) = shutdown.unless_asked(Box::pin(self.look(report))).await else {
                report.conclude(Outcome::Interrupted, ended_reading());
                return Ok(());
            };
            looked = anew?;
            if self.is_done(&looked, report).await? {
                return Ok(());
            }
        }
        let Some(lease) = self.take_lease(report).await? else { return Ok(()) };
        let acted = Box::pin(self.act_under(&lease, &mut looked, report)).await;
        self.give_back(lease, acted).await
    }

    /// A run that an event started takes the lease before it reads the cluster: of many container instances that join at once
    /// each starts a run, and one of those runs reads all, the others next to nothing.
    async fn carry_out_for_event(&self, report: &mut Report) -> Result<()> {
        let shutdown = &self.edge.shutdown;
        let turn = async {
            tokio::time::sleep(trigger::stagger(&self.edge.run_id)).await;
            self.turn().await
        };
        let Some(_turn) = shutdown.unless_asked(turn).await else {
            report.conclude(Outcome::Interrupted, ended_reading());
            return Ok(());
        };
        let Some(lease) = self.take_lease(report).await? else { return Ok(()) };
        let acted = Box::pin(async {
            let Some(looked) = shutdown.unless_asked(Box::pin(self.look(report))).await else {
                report.conclude(Outcome::Interrupted, ended_reading());
                return Ok(());
            };
            let mut looked = looked?;
            if self.is_done(&looked, report).await? {
                Ok(())
            } else {
                self.act_under(&lease, &mut looked, report).await
            }
        })
        .await;
        self.give_back(lease, acted).await
    }

    /// Waits for this cluster's turn; gives whether it had to. Then its time begins there.
    async fn turn(&self) -> (MutexGuard<'_, ()>, bool) {
        if let Ok(turn) = self.edge.turn.try_lock() {
            return (turn, false);
        }
        let turn = self.edge.turn.lock().await;
        self.began.set(self.edge.clock.elapsed());
        self.target.clients.patience.set_deadline(Instant::now() + self.config.policy.deadline);
        (turn, true)
    }

    /// The lease on the cluster; none where that is another run's, or this one was told to end.
    async fn take_lease(&self, report: &mut Report) -> Result<Option<Held>> {
        let Edge { run_id, clock, shutdown, .. } = self.edge;
        let deadline = self.config.policy.deadline;
        let (taken, told) = Box::pin(lease::take(self.target, run_id, *clock, deadline, shutdown)).await?;
        report.warn(told);
        match taken {
            Taken::Held(lease) => return Ok(Some(lease)),
            Taken::Withdrawn(other) => {
                let who = other.map_or_else(|| "another run".to_owned(), |other| format!("run {other}"));
                report.conclude(Outcome::Skipped, format!("{who} is at work on the cluster"));
            }
            Taken::Ended => {
                report.conclude(Outcome::Interrupted, "the run was told to end before it changed anything".to_owned());
            }
        }
        Ok(None)
    }

    /// Acts, with the lease, on what was seen.
    async fn act_under(&self, lease: &Held, looked: &mut Looked, report: &mut Report) -> Result<()> {
        if self.config.policy.mode == Mode::Consolidate && !looked.planned.services.is_empty() {
            let note = ModeNote::Consolidated(self.now());
            if let Err(failure) = lease.note_mode(self.target, note).await {
                report.warn(vec![format!("{failure}; a run in mode spread may undo what is packed now")]);
            }
        }
        let acted = Box::pin(self.act(looked, report)).await;
        let has_tried = report.moved() > 0 || report.starts_in_vain > 0;
        if let Some(unspent_moves) = looked.cluster.unspent_moves
            && has_tried
            && !self.edge.shutdown.is_asked()
        {
            let note = ModeNote::Levelled { at: self.now(), unspent_moves };
            if let Err(failure) = lease.note_mode(self.target, note).await {
                report.warn(vec![format!("{failure}; the next run doesn't know how many moves this one made")]);
            }
        }
        acted
    }

    /// Gives the lease back, whatever became of the work.
    async fn give_back(&self, lease: Held, acted: Result<()>) -> Result<()> {
        self.target.clients.patience.allow_last_calls();
        let released = lease.release(self.target).await;
        acted?;
        released?;
        Ok(())
    }

    /// Reads, measures and plans.
    async fn look(&self, report: &mut Report) -> Result<Looked> {
        let mut cluster = Box::pin(self.read_first(report)).await?;
        let found = measure(&cluster, &self.config.policy, self.now());
        report.found(&cluster, &found);
        report.warn(notes::impossible_lasts(cluster.services.values(), self.now()));
        report.warn(unreadable_tags(cluster.services.values(), &self.config.policy));
        let leftovers = Leftovers::of(&cluster, self.now());
        if let Some(reviewed) = &self.config.policy.reviewed
            && reviewed.cluster != report.cluster
        {
            bail!("REBALANCER_PLAN is of cluster {}, and this is {}", reviewed.cluster, report.cluster);
        }
        let planned = self.plan(&mut cluster, found, report).await?;
        Ok(Looked { cluster, planned, leftovers })
    }

    /// Whether there is nothing to act on, or nothing may be; then that is reported.
    async fn is_done(&self, looked: &Looked, report: &mut Report) -> Result<bool> {
        if self.config.dry_run {
            report.warn(looked.leftovers.told());
            self.planned(&looked.cluster, &looked.planned, report);
            return Ok(true);
        }
        if looked.leftovers.is_empty() && looked.planned.services.is_empty() {
            self.planned(&looked.cluster, &looked.planned, report);
            report.warn(lease::sweep(self.target, self.now()).await?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Clears what an earlier run left, carries the plan out, and measures again. What was done is in the report before anything
    /// else is tried.
    async fn act(&self, looked: &mut Looked, report: &mut Report) -> Result<()> {
        let Looked { cluster, planned, leftovers } = looked;
        let policy = &self.config.policy;
        let watched = RefCell::default();
        let bounds = Bounds {
            policy,
            clock: self.edge.clock,
            began: self.began.get(),
            shutdown: self.edge.shutdown.clone(),
            run_id: &self.edge.run_id,
            progress: &self.edge.progress,
            watched: &watched,
        };
        if !leftovers.is_empty() {
            self.read_definitions(cluster, leftovers.services.keys(), usize::MAX).await?;
            let recovered =
                execute::recover(self.target, cluster, std::mem::take(&mut leftovers.services), &bounds).await;
            report.did(&recovered);
            let Some(anew) = self.edge.shutdown.unless_asked(self.read_to_plan(report)).await else {
                report.conclude(Outcome::Interrupted, "the run was told to end".to_owned());
                return Ok(());
            };
            *cluster = anew?;
            self.sweep_targets(cluster).await?;
            *planned = self.plan_anew(cluster, report).await?;
        }
        if !planned.services.is_empty() {
            let look = Box::pin(self.look_twice(cluster, planned, &bounds, report));
            let Some(looked) = self.edge.shutdown.unless_asked(look).await else {
                report.conclude(Outcome::Interrupted, "the run was told to end before it changed anything".to_owned());
                return Ok(());
            };
            looked?;
        }
        self.planned(cluster, planned, report);
        let finished = execute::execute(self.target, cluster, planned, &bounds).await;
        report.did(&finished);
        let (moved, in_vain) = (report.moved(), report.starts_in_vain);
        cluster.unspent_moves = cluster.unspent_moves.map(|earlier| levelling::unspent_moves(earlier, moved, in_vain));
        self.edge.progress.done();
        report.watched(&watched.borrow());
        if finished.is_empty() {
            return Ok(());
        }
        // After a signal nothing is read any more but what must be.
        let Some(after) = self.edge.shutdown.unless_asked(self.read(report)).await else { return Ok(()) };
        match after {
            Ok(mut after) => {
                let measured = measure(&after, policy, self.now());
                carry_over(cluster, &mut after);
                report.looked_again(&after, &measured, policy, self.now());
            }
            Err(error) => report.fail(&error.context("what was moved is reported, but not what came of it")),
        }
        Ok(())
    }

    /// Waits until some time after the cluster was read, and tells so meanwhile.
    async fn wait_for_second_look(&self, bounds: &Bounds<'_>) {
        loop {
            let since = self.edge.clock.elapsed().saturating_sub(self.read_at.get());
            let left = second_look::AFTER.saturating_sub(since).min(bounds.until_last_start());
            if left.is_zero() {
                return;
            }
            let reason = "container instances are looked at a second time before anything is changed";
            tracing::info!(reason, seconds_left = left.as_secs(), "waiting");
            tokio::time::sleep(left.min(TELLS_EVERY)).await;
        }
    }

    /// Looks at the container instances a second time before the first change, and where they are others than a while ago, reads,
    /// measures and plans anew. An agent that reconnects just now is no reason to move tasks.
    async fn look_twice(
        &self,
        cluster: &mut Cluster,
        planned: &mut Plan,
        bounds: &Bounds<'_>,
        report: &mut Report,
    ) -> Result<()> {
        for _ in 0..LOOKS_TWICE {
            self.wait_for_second_look(bounds).await;
            if bounds.until_last_start().is_zero() {
                // Nothing is begun any more, and each service is told why.
                return Ok(());
            }
            let listed: Vec<ContainerInstanceArn> = cluster.container_instances.keys().cloned().collect();
            let seen = self.container_instances(&listed, bounds).await?;
            let seen = seen.into_iter().map(|instance| (instance.arn.clone(), Arc::new(instance))).collect();
            let changes = second_look::changes(&cluster.container_instances, &seen);
            let [first, others @ ..] = changes.as_slice() else { return Ok(()) };
            let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
            tracing::info!(reason = %format!("{first}{more}"), "the cluster is read again: it changed after it was read");
            *cluster = self.read_to_plan(report).await?;
            *planned = self.plan_anew(cluster, report).await?;
            if planned.services.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at container instances; one look that fails ends nothing.
    async fn container_instances(
        &self,
        listed: &[ContainerInstanceArn],
        bounds: &Bounds<'_>,
    ) -> Result<Vec<ContainerInstance>, Failure> {
        loop {
            match self.target.container_instances(listed).await {
                Err(failure) if failure.kind != FailureKind::Refused && !bounds.until_last_start().is_zero() => {
                    tracing::info!(reason = %failure, "a call failed; looking again");
                    tokio::time::sleep(LOOKS_AGAIN.min(bounds.until_last_start())).await;
                }
                looked => return looked,
            }
        }
    }

    /// Measures and plans a cluster that was read again.
    async fn plan_anew(&self, cluster: &mut Cluster, report: &mut Report) -> Result<Plan> {
        let found = measure(cluster, &self.config.policy, self.now());
        report.found_again(cluster, &found);
        self.plan(cluster, found, report).await
    }

    /// Plans; reads before what planning needs and the measure did not. Which tasks are protected is asked of the services that
    /// would be moved; where some are, that is another measure, and perhaps another plan.
    async fn plan(&self, cluster: &mut Cluster, found: Measure, report: &mut Report) -> Result<Plan> {
        let policy = &self.config.policy;
        let levels = levelling::is_due(&found, policy);
        let names = definitions_needed(cluster, &found, policy, self.now());
        self.found.replace(Some(found.clone()));
        if !names.is_empty() {
            // What comes free is told of all services or of none; of what is spread and levelled, the worst come first.
            let most = match policy.mode {
                Mode::Spread => read::MOST_DEFINITIONS.saturating_sub(cluster.task_definitions.len()),
                Mode::Consolidate => usize::MAX,
            };
            self.read_definitions(cluster, names.iter(), most).await?;
        }
        if levels {
            self.read_to_level(cluster, report).await?;
        }
        let mut planned = plan(cluster, &found, policy, self.now());
        let mut asked: BTreeSet<TaskArn> = BTreeSet::new();
        loop {
            let unasked: Vec<TaskArn> =
                protections_needed(cluster, &planned).filter(|task| !asked.contains(task)).collect();
            if unasked.is_empty() {
                return Ok(planned);
            }
            let protected = match self.target.protections(&unasked).await {
                Ok(protected) => protected,
                Err(failure) => {
                    report.warn(vec![format!("{failure}; a task that its application protects may be in the plan")]);
                    return Ok(planned);
                }
            };
            asked.extend(unasked);
            if !view::protect(cluster, protected.keys()) {
                continue;
            }
            let found = measure(cluster, policy, self.now());
            report.found_again(cluster, &found);
            planned = plan(cluster, &found, policy, self.now());
            self.found.replace(Some(found));
        }
    }

    /// Reports a plan, and what a reviewed one holds that is not in it.
    fn planned(&self, cluster: &Cluster, planned: &Plan, report: &mut Report) {
        report.planned(cluster, planned, &self.config.policy);
        if let Some(reviewed) = &self.config.policy.reviewed {
            report.warnings.extend(reviewed.not_made(cluster, planned));
        }
    }

    /// Reads the cluster as it is found, and writes its snapshot where one is wanted, before anything is decided or moved.
    async fn read_first(&self, report: &mut Report) -> Result<Cluster> {
        let Some(path) = &self.config.snapshot else { return self.read_to_plan(report).await };
        let Edge { own_task, progress, .. } = self.edge;
        let clients = self.target.clients;
        clients.observer.keep_answers();
        let cluster = self.read_to_plan(report).await?;
        // The measure needs the definitions of uneven services only; a rehearsal needs them all, and the run goes on without.
        let named = cluster.services.values().map(|service| &service.task_definition);
        let named = named.chain(cluster.tasks.values().map(|task| &task.task_definition));
        let missing = named.filter(|arn| !cluster.task_definitions.contains_key(*arn)).cloned().collect();
        read::task_definitions(clients, missing, progress).await.context("cannot read all that a snapshot needs")?;
        // So it is with protection. The plan asks again of the services that it would move, and of no others: a run that writes a
        // snapshot measures and plans as one that doesn't.
        let of_services = cluster.tasks.values().filter(|task| task.service.is_some());
        let of_services: Vec<TaskArn> = of_services.map(|task| task.arn.clone()).collect();
        if let Err(failure) = self.target.protections(&of_services).await {
            report.warn(vec![format!("{failure}; the snapshot doesn't tell which tasks are protected")]);
        }
        progress.done();
        let snapshot = clients.observer.take_snapshot(&report.cluster, own_task.as_ref(), self.now());
        std::fs::write(path, format!("{snapshot:#}\n"))
            .with_context(|| format!("cannot write the snapshot to {} (REBALANCER_SNAPSHOT)", path.display()))?;
        tracing::info!(file = %path.display(), "the cluster's snapshot is written");
        Ok(cluster)
    }

    /// Reads the cluster, and what a plan needs beyond the measure.
    async fn read_to_plan(&self, report: &mut Report) -> Result<Cluster> {
        let mut cluster = self.read(report).await?;
        if self.config.policy.mode == Mode::Consolidate {
            let instances = cluster.container_instances.values();
            let names: BTreeSet<String> = instances.filter_map(|it| it.capacity_provider.clone()).collect();
            let read = providers::capacity_providers(self.target.clients, &cluster.name, &names).await?;
            let (capacity_providers, warnings) = read;
            cluster.capacity_providers = capacity_providers;
            tell_managed_instances(&mut cluster);
            report.met(&[], warnings);
        }
        Ok(cluster)
    }

    /// What levelling must know beside the cluster: whether its tasks were packed not long ago, and what becomes of empty
    /// container instances.
    async fn read_to_level(&self, cluster: &mut Cluster, report: &mut Report) -> Result<()> {
        let warning = match self.target.cluster_tags().await {
            Err(failure) => Some(format!("{failure}; whether tasks were packed not long ago is not known")),
            Ok((_, tags)) => match ModeNote::of(&tags, self.now()) {
                Ok(note) => {
                    levelling::take_over(cluster, note, self.now());
                    None
                }
                Err(impossible) => Some(format!(
                    "the cluster's tag {MODE_TAG} is no note of a run: {impossible}; it is ignored, take it off"
                )),
            },
        };
        report.warn(warning.into_iter().collect());
        if let Some(until) = levelling::waits_until(cluster, self.now()) {
            report.warn(vec![format!(
                "LoadImbalance is over its threshold, but a run in mode consolidate packed tasks less than a day ago; \
                 they are not moved from full to idle container instances before {}",
                iso_8601(until)
            )]);
        }
        let names = levelling::providers_needed(cluster);
        if !names.is_empty() {
            let (providers, warnings) =
                providers::capacity_providers(self.target.clients, &cluster.name, &names).await?;
            cluster.capacity_providers.extend(providers);
            tell_managed_instances(cluster);
            report.met(&[], warnings);
        }
        Ok(())
    }

    async fn read(&self, report: &mut Report) -> Result<Cluster> {
        let Self { edge, target, .. } = self;
        let (own_task, policy) = (edge.own_task.as_ref(), &self.config.policy);
        let reading =
            read::cluster(target.clients, target.cluster, own_task, policy, self.now(), &edge.progress).await?;
        report.met(&reading.vanished, reading.oddities);
        self.read_at.set(edge.clock.elapsed());
        Ok(reading.cluster)
    }

    /// The measure needs only the task definitions of uneven services; a recovery needs those of its own, and whoever evens out
    /// machines or makes room needs all, `most` of them at most.
    async fn read_definitions(
        &self,
        cluster: &mut Cluster,
        names: impl Iterator<Item = &ServiceName>,
        most: usize,
    ) -> Result<()> {
        let mut missing = BTreeSet::new();
        for definition in names.filter_map(|name| cluster.services.get(name)).map(|service| &service.task_definition) {
            if missing.len() < most && !cluster.task_definitions.contains_key(definition) {
                missing.insert(definition.clone());
            }
        }
        let (definitions, _) = read::task_definitions(self.target.clients, missing, &self.edge.progress)
            .await
            .context("cannot read how large the tasks of all services in question are")?;
        cluster.task_definitions.extend(definitions.into_iter().map(|definition| (definition.arn.clone(), definition)));
        Ok(())
    }

    /// Takes off the attributes that an earlier run steered by, unless a service could not be freed of the constraint that asks
    /// for them: without them none of its tasks would have a place.
    async fn sweep_targets(&self, cluster: &Cluster) -> Result<()> {
        let is_constrained = cluster.services.values().any(|service| {
            service.status == ServiceStatus::Active && service.placement_constraints.iter().any(is_steering)
        });
        if is_constrained {
            return Ok(());
        }
        let instances = Leftovers::of(cluster, self.now()).instances;
        Ok(self.target.delete_attribute(&instances, TARGET_ATTRIBUTE).await?)
    }

    async fn publish(&self, found: &Measure, report: &Report) -> Result<()> {
        let done = Done {
            tasks_moved: report.moved(),
            services_rebalanced: count(report.services.iter().filter(|service| service.moved > 0).count()),
            services_skipped: report.left_alone(),
            failures: count(report.errors.len()) + u32::from(report.differs_unexplained),
            starts_in_vain: report.starts_in_vain,
            misplaced_left: report.misplaced_left(),
        };
        let points = metrics::data_points(&report.cluster, found, done, self.elapsed(), self.config.metrics);
        publish::publish(self.target.clients, &self.config.metric_namespace, &points, self.now()).await
    }

    fn now(&self) -> Timestamp {
        self.edge.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.edge.clock.elapsed().saturating_sub(self.began.get())
    }
}

/// What was seen of a cluster, and what is to be done.
struct Looked {
    cluster: Cluster,
    planned: Plan,
    leftovers: Leftovers,
}

/// What earlier runs left.
struct Leftovers {
    /// On services.
    services: BTreeMap<ServiceName, Leftover>,
    /// Container instances with the attribute that steers.
    instances: Vec<ContainerInstanceArn>,
}

impl Leftovers {
    fn of(cluster: &Cluster, now: Timestamp) -> Self {
        let services = cluster.services.values().filter_map(|service| {
            let is_steered =
                service.status == ServiceStatus::Active && service.placement_constraints.iter().any(is_steering);
            let leftover = match SurgeNote::of(service, now) {
                Ok(Some(note)) => Some(Leftover::Note(note)),
                Err(impossible) => Some(Leftover::Impossible(impossible.to_string())),
                Ok(None) => is_steered.then_some(Leftover::Constraint),
            };
            Some((service.name.clone(), leftover?))
        });
        let instances = cluster.container_instances.values().filter(|instance| is_target(instance));
        Self { services: services.collect(), instances: instances.map(|instance| instance.arn.clone()).collect() }
    }

    /// What a dry run says of them.
    fn told(&self) -> Vec<String> {
        let tell = |(name, leftover): (&ServiceName, &Leftover)| match leftover {
            Leftover::Note(_) | Leftover::Constraint => {
                format!("an earlier run left a note or constraint on {name}; the next run that is no dry run clears it")
            }
            Leftover::Impossible(what) => {
                format!(
                    "the tag {SURGE_TAG} of {name} is no note of a run: {what}; the next run that is no dry run takes it off"
                )
            }
        };
        self.services.iter().map(tell).collect()
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.instances.is_empty()
    }
}

/// Takes over what planning read of a cluster beside the measure, and what a later reading did not.
fn carry_over(cluster: &Cluster, after: &mut Cluster) {
    for (arn, definition) in &cluster.task_definitions {
        after.task_definitions.entry(arn.clone()).or_insert_with(|| definition.clone());
    }
    for (name, provider) in &cluster.capacity_providers {
        after.capacity_providers.entry(name.clone()).or_insert_with(|| provider.clone());
    }
    tell_managed_instances(after);
    after.consolidated_at = cluster.consolidated_at;
    after.unspent_moves = cluster.unspent_moves;
}

fn ended_reading() -> String {
    "the run was told to end while it read the cluster".to_owned()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
