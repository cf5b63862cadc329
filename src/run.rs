//! One run as a story: read the cluster, measure, publish, plan, act, report.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::{
    aws::{Clients, publish, read},
    config::Config,
    metrics::{self, Done},
    planning::{
        imbalance::{self, Measure},
        model::{TaskArn, Timestamp},
        policy::Policy,
    },
    progress::Progress,
    report::{Action, Facts, Outcome, Report},
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
    pub progress: Progress,
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
    });
    if let Err(error) = measure_and_publish(config, cluster, edge, began, &mut report).await {
        fail(&mut report, &error);
    }
    report.finish(edge.clock.elapsed().saturating_sub(began), edge.clients.observer.calls());
    report
}

async fn measure_and_publish(
    config: &Config,
    cluster: &str,
    edge: &Edge,
    began: Duration,
    report: &mut Report,
) -> Result<()> {
    let reading = read::cluster(&edge.clients, cluster, edge.own_task.as_ref(), &edge.progress).await?;
    report.warnings.extend(reading.vanished.iter().map(|gone| format!("{} was listed, then: {}", gone.arn, gone.reason)));
    report.warnings.extend(reading.oddities);
    let now = edge.clock.now();
    let measure = imbalance::measure(&reading.cluster, &config.policy, now);
    report.found(&reading.cluster, &measure);
    conclude(report, &measure, &config.policy);
    let done = Done { services_skipped: left_alone(report), ..Done::default() };
    let duration = edge.clock.elapsed().saturating_sub(began);
    let points = metrics::data_points(&report.cluster, &measure, done, duration, config.metrics);
    if let Err(error) = publish::publish(&edge.clients, &config.metric_namespace, &points, now).await {
        fail(report, &error);
    }
    Ok(())
}

/// What a run that changes nothing comes to.
fn conclude(report: &mut Report, measure: &Measure, policy: &Policy) {
    let over: Vec<&str> = measure
        .services
        .iter()
        .filter(|(_, service)| service.spread.as_ref().is_ok_and(|spread| spread.misplaced_tasks > 0))
        .filter(|(_, service)| {
            measure.task_imbalance.reaches(policy.threshold) || service.task_imbalance().reaches(policy.threshold)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let threshold = f64::from(policy.threshold.hundredths()) / 100.0;
    (report.outcome, report.outcome_reason) = match (over.len(), measure.misplaced_tasks) {
        (0, 0) => (Outcome::Balanced, "no task is misplaced".to_owned()),
        (0, misplaced) => (
            Outcome::Balanced,
            format!("{misplaced} misplaced tasks, but neither the cluster nor a service has reached {threshold} %"),
        ),
        (services, _) => (
            Outcome::Planned,
            format!("{services} services have reached the threshold of {threshold} %, alone or with the cluster"),
        ),
    };
}

fn left_alone(report: &Report) -> u32 {
    let left_alone = report.services.iter().filter(|service| service.action == Action::LeaveAlone).count();
    u32::try_from(left_alone).unwrap_or(u32::MAX)
}

fn fail(report: &mut Report, error: &anyhow::Error) {
    tracing::error!(cluster = report.cluster, "{error:#}");
    report.errors.push(format!("{error:#}"));
    report.outcome = Outcome::Failed;
    report.outcome_reason = "see the errors above; every service is whole".to_owned();
}
