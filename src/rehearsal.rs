//! The job as shipped on a simulated cluster in this process, under a simulated clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use ecs_simulator::{Answer, Moment, Options, Simulator, snapshot::Snapshot};
use tokio::time::Instant;

use crate::{
    aws::{Clients, in_process::FarSide},
    config::Config,
    planning::model::Timestamp,
    progress::Progress,
    report::Report,
    run::{self, Clock, Edge},
    shutdown::Shutdown,
};

/// A request to AWS from the same Region and back.
pub const LATENCY: Duration = Duration::from_millis(30);

/// A simulated cluster, and a clock that starts when it does.
///
/// Only within a tokio runtime whose clock is paused: then waiting takes no time.
#[derive(Clone)]
pub struct Rehearsal {
    simulator: Arc<Mutex<Simulator>>,
    start: Moment,
    since: Instant,
}

impl Rehearsal {
    /// A cluster as the snapshot has it.
    ///
    /// # Errors
    /// Names the place in the snapshot that makes no sense.
    pub fn new(snapshot: &Snapshot, options: Options) -> Result<Self> {
        let simulator = Simulator::new(snapshot, options)?;
        let start = simulator.start();
        Ok(Self { simulator: Arc::new(Mutex::new(simulator)), start, since: Instant::now() })
    }

    /// Runs the job on one cluster.
    pub async fn run(&self, config: &Config, cluster: &str, run_id: &str) -> Report {
        run::run(config, cluster, &self.edge(run_id).await).await
    }

    /// What a run on this cluster is handed.
    pub async fn edge(&self, run_id: &str) -> Edge {
        Edge {
            clients: Clients::in_process(self.far_side(), LATENCY, "us-east-1").await,
            clock: Clock::starting_at(Timestamp(self.now().0)),
            run_id: run_id.to_owned(),
            own_task: None,
            progress: Progress::silent(),
            shutdown: Shutdown::never(),
        }
    }

    /// The simulator, to look into.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        self.simulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulated time.
    pub fn now(&self) -> Moment {
        let elapsed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Moment(self.start.0.saturating_add(elapsed))
    }

    fn far_side(&self) -> FarSide {
        let this = self.clone();
        Arc::new(move |request| match this.simulator().respond(&request, this.now()) {
            Answer::Response(response) => Some(response),
            Answer::Dropped => None,
        })
    }
}
