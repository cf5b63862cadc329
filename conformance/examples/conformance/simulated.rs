//! A simulated cluster like the one that Terraform makes, reached by the SDK's clients within this process, in simulated time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use conformance::{connection::FarSide, stack::Stack};
use ecs_simulator::{Answer, Moment, Options, Simulator, snapshot::Snapshot};
use http::{Request, Response};
use tokio::time::{Instant, sleep};

/// A request to AWS from the same Region and back.
const LATENCY: Duration = Duration::from_millis(30);

/// Runs a future on a clock that stands still but for what is waited for.
pub(crate) fn in_simulated_time<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        // Timers go off at whole milliseconds since the runtime was made, and the clock was stopped a moment later.
        sleep(Duration::from_millis(1)).await;
        future.await
    }))
}

/// How the load balancer of the stack is set up.
pub(crate) const BALANCER: [&str; 2] = ["deregistration-delay=30s", "target-checks=2x10s"];

/// One of its capacity providers scales by itself; idle instances go after a quarter of an hour, as ECS documents it.
pub(crate) const SCALING: [&str; 1] = ["managed-scaling=900"];

/// The stack that the simulated cluster is.
pub(crate) fn stack() -> Result<Stack> {
    Stack::from_json(include_str!("stack.json"))
}

/// The simulated cluster; only within [`in_simulated_time`].
#[derive(Clone)]
pub(crate) struct Cluster {
    simulator: Arc<Mutex<Simulator>>,
    start: Moment,
    since: Instant,
}

impl Cluster {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let snapshot = Snapshot::from_json(include_str!("cluster.json"))?;
        let simulator = Simulator::new(&snapshot, options)?;
        Ok(Self { start: simulator.start(), simulator: Arc::new(Mutex::new(simulator)), since: Instant::now() })
    }

    /// What the clients call.
    pub(crate) fn far_side(&self) -> FarSide {
        let this = self.clone();
        Arc::new(move |request| {
            let this = this.clone();
            Box::pin(async move { this.answer(request).await })
        })
    }

    /// The answer to a request, or none where the connection broke.
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        sleep(LATENCY / 2).await;
        let now = self.now();
        let held = self.simulator().delay(&request, now);
        sleep(held.request).await;
        let now = self.now();
        let answer = self.simulator().respond(&request, now);
        sleep(held.answer + LATENCY / 2).await;
        match answer {
            Answer::Response(response) => Some(response),
            Answer::Dropped => None,
        }
    }

    pub(crate) fn simulator(&self) -> MutexGuard<'_, Simulator> {
        self.simulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment(self.start.0.saturating_add(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }
}
