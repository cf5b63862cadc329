//! The job as shipped on a simulated cluster in this process, under a simulated clock.

mod seed_policy;

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use ecs_simulator::{Answer, CALLER, Moment, Options, Simulator, snapshot::Snapshot};
use http::{HeaderValue, Request, Response};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};

use crate::{
    aws::{Clients, in_process::FarSide},
    clock::Clock,
    config::Config,
    planning::{model::Timestamp, policy::Strategy},
    progress::Progress,
    report::{Comparison, Moment as Shown, Played, PlayedService, Report},
    run::{self, Edge},
    shutdown::Shutdown,
};

/// A request to AWS from the same Region and back.
pub const LATENCY: Duration = Duration::from_millis(30);

/// Runs a future, within which rehearsals are played, on a clock that stands still but for what is waited for: waiting takes no
/// time.
///
/// # Errors
/// When the runtime can't be started.
pub fn in_simulated_time<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async {
        // Timers go off at whole milliseconds since the runtime was made, and the clock was stopped a moment later: from here on
        // the two agree, so that the same is played on however busy a machine.
        tokio::time::sleep(Duration::from_millis(1)).await;
        future.await
    }))
}

/// A simulated cluster, and a clock that starts when it does.
///
/// Only within [`in_simulated_time`].
#[derive(Clone)]
pub struct Rehearsal {
    simulator: Arc<Mutex<Simulator>>,
    start: Moment,
    since: Instant,
    latency: Duration,
}

/// At which of a run's requests the run dies, or merely the answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// The request, from 1 on.
    pub request: u64,
    /// Before or after it took effect.
    pub moment: DeathMoment,
}

/// When the death comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathMoment {
    /// The request never arrives, and the run is gone.
    Before,
    /// The request takes effect, and the run is gone.
    After,
    /// The request takes effect, the answer is lost, and the run goes on.
    AnswerLost,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rehearsal").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// A cluster as the snapshot has it.
    ///
    /// # Errors
    /// Names the place in the snapshot that makes no sense.
    pub fn new(snapshot: &Snapshot, options: Options) -> Result<Self> {
        // The SDK waits between attempts by this chance, each thread's own: of one seed, everything is the same again.
        fastrand::seed(options.seed);
        let simulator = Simulator::new(snapshot, options)?;
        let start = simulator.start();
        Ok(Self { simulator: Arc::new(Mutex::new(simulator)), start, since: Instant::now(), latency: LATENCY })
    }

    /// The same cluster as others reach it, whose requests and answers together take so long on their way.
    #[must_use]
    pub fn at_latency(&self, latency: Duration) -> Self {
        Self { latency, ..self.clone() }
    }

    /// Runs the job on one cluster, and adds to its report what happened to the services.
    pub async fn run(&self, config: &Config, cluster: &str, run_id: &str) -> Report {
        self.run_showing(config, cluster, run_id, Progress::silent()).await
    }

    /// The same, and shows how far it is.
    pub async fn run_showing(&self, config: &Config, cluster: &str, run_id: &str, progress: Progress) -> Report {
        let edge = Edge { progress: progress.into(), ..self.edge(run_id, Shutdown::never()).await };
        let mut report = run::run(config, cluster, &edge).await;
        report.rehearsal = Some(self.played());
        report
    }

    /// What happened so far.
    fn played(&self) -> Played {
        let simulator = self.simulator();
        let timeline = simulator.timeline();
        let touched = timeline.services().iter().filter(|(_, history)| history.started + history.stopped > 0);
        let services = touched
            .map(|(name, history)| {
                // What its owner asked for is what it began with.
                let first = history.counts.first();
                PlayedService {
                    name: name.clone(),
                    lowest_healthy: history.lowest_healthy,
                    desired: first.map_or(0, |counts| counts.desired),
                    minimum_healthy: first.map_or(0, |counts| counts.minimum_healthy),
                    started: history.started,
                    stopped: history.stopped,
                    moments: history
                        .counts
                        .iter()
                        .map(|counts| Shown {
                            seconds: u64::try_from((counts.at.0 - self.start.0) / 1000).unwrap_or(0),
                            desired: counts.desired,
                            running: counts.running,
                            healthy: counts.healthy,
                        })
                        .collect(),
                }
            })
            .collect();
        Played {
            simulated_seconds: self.since.elapsed().as_secs(),
            tasks_started: timeline.tasks_started(),
            tasks_stopped: timeline.tasks_stopped(),
            services,
            instead: Vec::new(),
        }
    }

    /// Runs the job on one cluster until it ends or dies; then there is no report. Gives as well how many requests it made.
    pub async fn run_until_death(
        &self,
        config: &Config,
        cluster: &str,
        run_id: &str,
        death: Death,
    ) -> (Option<Report>, u64) {
        let (requests, died) = (Arc::new(Mutex::new(0)), Arc::new(Notify::new()));
        let far_side = self.mortal_far_side(run_id, death, Arc::clone(&requests), Arc::clone(&died));
        let edge = Edge {
            clients: Clients::in_process(far_side, "us-east-1").await,
            ..self.edge(run_id, Shutdown::never()).await
        };
        let report = tokio::select! {
            biased;
            report = run::run(config, cluster, &edge) => Some(report),
            () = died.notified() => None,
        };
        let requests = *requests.lock().unwrap_or_else(PoisonError::into_inner);
        (report, requests)
    }

    /// What a run on this cluster is handed.
    pub async fn edge(&self, run_id: &str, shutdown: Shutdown) -> Edge {
        let clients = Clients::in_process(self.far_side(run_id), "us-east-1").await;
        let clock = Clock::starting_at(Timestamp(self.now().0));
        Edge::new(clients, clock, run_id.to_owned(), None, Progress::silent(), shutdown)
    }

    /// The simulator, to look into, with everything done that is due by now.
    ///
    /// # Panics
    ///
    /// When it is being looked into already: all of a rehearsal is one thread's, which would wait for itself for ever.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        let mut simulator = match self.simulator.try_lock() {
            Ok(simulator) => simulator,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("the simulator is looked into while it is looked into"),
        };
        simulator.pass(self.now());
        simulator
    }

    /// The simulated time.
    pub fn now(&self) -> Moment {
        let elapsed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        Moment(self.start.0.saturating_add(elapsed))
    }

    fn far_side(&self, caller: &str) -> FarSide {
        let (this, caller) = (self.clone(), caller.to_owned());
        Arc::new(move |request| {
            let answer = this.send(request, &caller, |this, request| this.respond(&request));
            Box::pin(async move { answer.await.ok().flatten() })
        })
    }

    fn mortal_far_side(&self, caller: &str, death: Death, requests: Arc<Mutex<u64>>, died: Arc<Notify>) -> FarSide {
        let (this, caller) = (self.clone(), caller.to_owned());
        Arc::new(move |request| {
            let number = {
                let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
                let is_dead = death.moment != DeathMoment::AnswerLost && *requests >= death.request;
                if is_dead {
                    return Box::pin(async { None });
                }
                *requests += 1;
                *requests
            };
            let died = Arc::clone(&died);
            let answer = this.send(request, &caller, move |this, request| {
                if number != death.request {
                    return this.respond(&request);
                }
                if death.moment != DeathMoment::Before {
                    this.respond(&request);
                }
                if death.moment != DeathMoment::AnswerLost {
                    died.notify_one();
                }
                None
            });
            Box::pin(async move { answer.await.ok().flatten() })
        })
    }

    /// Has a request go its way. It arrives and takes effect when its time comes, even if nobody waits for the answer any more.
    fn send<T: Send + 'static>(
        &self,
        mut request: Request<Bytes>,
        caller: &str,
        arrive: impl FnOnce(&Self, Request<Bytes>) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        if let Ok(caller) = HeaderValue::from_str(caller) {
            request.headers_mut().insert(CALLER, caller);
        }
        let (answer_it, answer) = oneshot::channel();
        let this = self.clone();
        tokio::spawn(async move {
            sleep(this.latency / 2).await;
            let held = this.simulator().delay(&request, this.now());
            wait(held.request).await;
            let answer = arrive(&this, request);
            wait(held.answer).await;
            sleep(this.latency / 2).await;
            // A caller that is gone takes nothing back.
            drop(answer_it.send(answer));
        });
        answer
    }

    fn respond(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        match self.simulator().respond(request, self.now()) {
            Answer::Response(response) => Some(response),
            Answer::Dropped => None,
        }
    }
}

/// Even a sleep of no time takes a turn, in which others would come first.
async fn wait(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

/// Another policy to play on the same cluster, to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// This job with steering; without it, where the run itself steers.
    OtherSteering,
    /// This job with the strategy `redeploy`.
    Redeploy,
    /// The reference architecture: an identical new revision for every service.
    Seed,
}

impl Policy {
    /// What it is called in a comparison with a run.
    pub fn name(self, config: &Config) -> &'static str {
        match self {
            Self::OtherSteering if config.policy.steer => "unsteered",
            Self::OtherSteering => "steering",
            Self::Redeploy => "redeploy",
            Self::Seed => "reference arch.",
        }
    }
}

/// Plays another policy on the same cluster under the same chance.
///
/// # Errors
/// When the snapshot makes no sense, or the simulated ECS refuses a call.
pub async fn compare(policy: Policy, snapshot: &Snapshot, options: Options, config: &Config) -> Result<Comparison> {
    let name = policy.name(config);
    let mut other = Config { snapshot: None, ..config.clone() };
    match policy {
        Policy::Seed => return seed_policy::play(name, snapshot, options, config).await,
        Policy::Redeploy => other.policy.strategy = Strategy::Redeploy,
        Policy::OtherSteering => other.policy.steer = !config.policy.steer,
    }
    let rehearsal = Rehearsal::new(snapshot, options)?;
    let report = rehearsal.run(&other, snapshot.cluster_name(), name).await;
    let unfinished_services = count(report.errors.len());
    Ok(Comparison { unfinished_services, ..Comparison::of(name, &report, &rehearsal.played()) })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
