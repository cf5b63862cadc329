//! One run as a story: read the cluster, measure, plan, act, look again, publish, report.

mod lease;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    aws::{Clients, act::Target, providers, publish, read},
    config::Config,
    execute::{self, Bounds, Finished},
    metrics::{self, Done},
    planning::{
        eligibility::trigger,
        imbalance::{Measure, measure},
        marks::{SURGE_TAG, SurgeMark, TARGET_ATTRIBUTE, is_steering, is_target},
        model::{Cluster, ContainerInstanceArn, ServiceName, ServiceStatus, TaskArn, Timestamp},
        planner::{Plan, definitions_needed, plan},
        policy::Mode,
    },
    progress::Progress,
    report::{Facts, Outcome, Report},
    shutdown::Shutdown,
};

/// What a run is handed from outside, so that a test or a rehearsal can hand it something else.
#[derive(Debug)]
pub struct Edge {
    /// The clients of AWS's services.
    pub clients: Clients,
    /// What time it is.
    pub clock: Clock,
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
        Self { clients, clock, run_id, own_task, progress: Rc::new(progress), shutdown, turn: Arc::default() }
    }

    /// What another cluster's run is handed at the same time.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            clients: self.clients.beside(),
            clock: self.clock,
            run_id: self.run_id.clone(),
            own_task: self.own_task.clone(),
            progress: Rc::clone(&self.progress),
            shutdown: self.shutdown.clone(),
            turn: Arc::clone(&self.turn),
        }
    }
}

/// The moment that the run began, and how long ago that is by tokio's clock: real, or simulated where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that shows `began` now.
    pub fn starting_at(began: Timestamp) -> Self {
        Self { began, since: Instant::now() }
    }

    /// How long the clock has run.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.began.0.saturating_add(i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Runs on one cluster. Whatever fails is in the report; the report always comes.
pub async fn run(config: &Config, cluster: &str, edge: &Edge) -> Report {
    let began = edge.clock.elapsed();
    let mut report = Report::new(Facts {
        run_id: edge.run_id.clone(),
        cluster: cluster.rsplit('/').next().unwrap_or(cluster).to_owned(),
        mode: config.policy.mode,
        dry_run: config.dry_run,
        trigger: config.trigger_instance.as_ref().map(ToString::to_string),
        configuration: config.in_force(),
    });
    let story = Story { config, edge, target: Target { clients: &edge.clients, cluster }, began };
    let measured = match story.tell(&mut report).await {
        Ok(measured) => measured,
        Err(error) => {
            report.fail(&error);
            None
        }
    };
    if let Some(measured) = measured
        && let Err(error) = story.publish(&measured, &report).await
    {
        report.fail(&error);
    }
    edge.progress.done();
    report.finish(story.elapsed(), edge.clients.observer.take());
    report
}

/// One run on one cluster.
struct Story<'a> {
    config: &'a Config,
    edge: &'a Edge,
    target: Target<'a>,
    began: Duration,
}

impl Story<'_> {
    /// Gives what was measured before anything was moved.
    async fn tell(&self, report: &mut Report) -> Result<Option<Measure>> {
        let Some(mut looked) = self.look(report).await? else { return Ok(None) };
        if self.is_done(&looked, report).await? {
            return Ok(Some(looked.found));
        }
        let mut began = self.began;
        let _turn = if let Ok(turn) = self.edge.turn.try_lock() {
            turn
        } else {
            let turn = self.edge.turn.lock().await;
            if self.edge.shutdown.is_asked() {
                report.conclude(Outcome::Skipped, "the run was ended before it was this cluster's turn".to_owned());
                return Ok(Some(looked.found));
            }
            // What was seen is old by now, and this cluster's time begins here.
            began = self.edge.clock.elapsed();
            match self.look(report).await? {
                Some(anew) => looked = anew,
                None => return Ok(Some(looked.found)),
            }
            if self.is_done(&looked, report).await? {
                return Ok(Some(looked.found));
            }
            turn
        };
        let lease = match lease::take(self.target, &self.edge.run_id, self.now(), self.config.policy.deadline).await? {
            Ok(lease) => lease,
            Err(other) => {
                report.conclude(Outcome::Skipped, format!("run {} is at work on the cluster", other.run_id));
                return Ok(Some(looked.found));
            }
        };
        let acted = self.act(&mut looked, began, report).await;
        let released = lease.release(self.target).await;
        acted?;
        released?;
        Ok(Some(looked.found))
    }

    /// Reads, measures and plans; nothing where the run is not to go on.
    async fn look(&self, report: &mut Report) -> Result<Option<Looked>> {
        let mut cluster = Box::pin(self.read_first(report)).await?;
        if let Some(instance) = &self.config.trigger_instance
            && let Err(why) = trigger(&cluster, instance)
        {
            report.conclude(Outcome::Skipped, why);
            return Ok(None);
        }
        let found = measure(&cluster, &self.config.policy, self.now());
        report.found(&cluster, &found);
        let leftovers = Leftovers::of(&cluster);
        if let Some(reviewed) = &self.config.policy.reviewed
            && reviewed.cluster != report.cluster
        {
            bail!("REBALANCER_PLAN is of cluster {}, and this is {}", reviewed.cluster, report.cluster);
        }
        let planned = self.plan(&mut cluster, &found).await?;
        Ok(Some(Looked { cluster, found, planned, leftovers }))
    }

    /// Whether there is nothing to act on, or nothing may be; then that is reported.
    async fn is_done(&self, looked: &Looked, report: &mut Report) -> Result<bool> {
        if self.config.dry_run {
            report.warnings.extend(
                looked
                    .leftovers
                    .services
                    .keys()
                    .map(|name| format!("an earlier run left a note or constraint on {name}; the next run clears it")),
            );
            self.planned(&looked.cluster, &looked.planned, report);
            return Ok(true);
        }
        if looked.leftovers.is_empty() && looked.planned.services.is_empty() {
            self.planned(&looked.cluster, &looked.planned, report);
            lease::sweep(self.target, self.now()).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Clears what an earlier run left, carries the plan out, and measures again.
    async fn act(&self, looked: &mut Looked, began: Duration, report: &mut Report) -> Result<()> {
        let Looked { cluster, found, planned, leftovers } = looked;
        let policy = &self.config.policy;
        let bounds = Bounds {
            policy,
            clock: self.edge.clock,
            began,
            shutdown: self.edge.shutdown.clone(),
            run_id: &self.edge.run_id,
            progress: &self.edge.progress,
            watched: &RefCell::default(),
        };
        let mut finished: Vec<Finished> = Vec::new();
        if !leftovers.is_empty() {
            self.read_definitions(cluster, leftovers.services.keys()).await?;
            finished = execute::recover(self.target, cluster, std::mem::take(&mut leftovers.services), &bounds).await?;
            *cluster = self.read_to_plan(report).await?;
            self.sweep_targets(cluster).await?;
            *found = measure(cluster, policy, self.now());
            report.found(cluster, found);
            *planned = self.plan(cluster, found).await?;
        }
        self.planned(cluster, planned, report);
        finished.extend(execute::execute(self.target, cluster, planned, &bounds).await?);
        self.edge.progress.done();
        report.watched(&bounds.watched.borrow());
        let cluster = self.read(report).await?;
        report.done(&finished, &cluster, &measure(&cluster, policy, self.now()));
        Ok(())
    }

    /// Plans; reads before what planning needs and the measure did not.
    async fn plan(&self, cluster: &mut Cluster, found: &Measure) -> Result<Plan> {
        let names = definitions_needed(cluster, found, &self.config.policy, self.now());
        if !names.is_empty() {
            self.read_definitions(cluster, names.iter()).await?;
        }
        Ok(plan(cluster, found, &self.config.policy, self.now()))
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
        let Edge { clients, own_task, progress, .. } = self.edge;
        clients.observer.keep_answers();
        let cluster = self.read_to_plan(report).await?;
        // The measure needs the definitions of uneven services only; a rehearsal needs them all, and the run goes on without.
        let named = cluster.services.values().map(|service| &service.task_definition);
        let named = named.chain(cluster.tasks.values().map(|task| &task.task_definition));
        let missing = named.filter(|arn| !cluster.task_definitions.contains_key(*arn)).cloned().collect();
        read::task_definitions(clients, missing, progress).await.context("cannot read all that a snapshot needs")?;
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
            let read = providers::capacity_providers(&self.edge.clients, &cluster.name, &names).await?;
            let (capacity_providers, warnings) = read;
            cluster.capacity_providers = capacity_providers;
            report.met(&[], warnings);
        }
        Ok(cluster)
    }

    async fn read(&self, report: &mut Report) -> Result<Cluster> {
        let Self { edge, target, .. } = self;
        let reading = read::cluster(&edge.clients, target.cluster, edge.own_task.as_ref(), &edge.progress).await?;
        report.met(&reading.vanished, reading.oddities);
        Ok(reading.cluster)
    }

    /// The measure needs only the task definitions of uneven services; a recovery needs those of its own, and whoever evens out
    /// machines or makes room needs all.
    async fn read_definitions(&self, cluster: &mut Cluster, names: impl Iterator<Item = &ServiceName>) -> Result<()> {
        let missing = names
            .filter_map(|name| cluster.services.get(name))
            .map(|service| service.task_definition.clone())
            .filter(|arn| !cluster.task_definitions.contains_key(arn))
            .collect();
        let (definitions, _) = read::task_definitions(&self.edge.clients, missing, &self.edge.progress)
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
        self.target.delete_attribute(&Leftovers::of(cluster).instances, TARGET_ATTRIBUTE).await
    }

    async fn publish(&self, found: &Measure, report: &Report) -> Result<()> {
        let done = Done {
            tasks_moved: report.services.iter().map(|service| service.moved).sum(),
            services_rebalanced: count(report.services.iter().filter(|service| service.moved > 0).count()),
            services_skipped: report.left_alone(),
            failures: count(report.errors.len()) + u32::from(report.differs_unexplained),
        };
        let points = metrics::data_points(&report.cluster, found, done, self.elapsed(), self.config.metrics);
        publish::publish(&self.edge.clients, &self.config.metric_namespace, &points, self.now()).await
    }

    fn now(&self) -> Timestamp {
        self.edge.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.edge.clock.elapsed().saturating_sub(self.began)
    }
}

/// What was seen of a cluster, and what is to be done.
struct Looked {
    cluster: Cluster,
    found: Measure,
    planned: Plan,
    leftovers: Leftovers,
}

/// What earlier runs left.
struct Leftovers {
    /// Services with a note, or only with the constraint that steers. A note that can't be read is nobody's to clear, and keeps
    /// the service from being moved.
    services: BTreeMap<ServiceName, Option<SurgeMark>>,
    /// Container instances with the attribute that steers.
    instances: Vec<ContainerInstanceArn>,
}

impl Leftovers {
    fn of(cluster: &Cluster) -> Self {
        let services = cluster.services.values().filter_map(|service| {
            let mark = service.tags.get(SURGE_TAG).and_then(|value| SurgeMark::parse(value));
            let is_steered =
                service.status == ServiceStatus::Active && service.placement_constraints.iter().any(is_steering);
            (mark.is_some() || is_steered).then(|| (service.name.clone(), mark))
        });
        let instances = cluster.container_instances.values().filter(|instance| is_target(instance));
        Self { services: services.collect(), instances: instances.map(|instance| instance.arn.clone()).collect() }
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.instances.is_empty()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
