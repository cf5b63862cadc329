//! What was found, planned and done, as data; the modules below only fill and render it.

mod clean;
mod consolidation;
mod contract;
mod done;
mod estimate;
mod far;
mod hints;
pub mod html;
mod instances;
pub mod json;
mod pictures;
mod planned;
mod played;
pub mod text;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use serde::{Serialize, Serializer};

pub use self::consolidation::{ConsolidationReport, EmptyInstance, FreedInstance, KeptInstances};
use self::contract::shown;
pub use self::contract::{
    Action, Estimate, Hint, LeftRaised, MadeMove, Outcome, Place, PlannedMove, ServiceReport, Summary,
};
pub use self::far::{FarFromMean, FarInstance};
pub use self::pictures::{Configured, InstanceReport, Pictures, TasksOfService};
pub use self::played::{COMPARED, Comparison, Lowest, Moment, Played, PlayedService, WatchedService, compared};
use crate::{
    arguments::VERSION,
    aws::read::Vanished,
    config::{ReportFile, ReportFormat},
    exit, line,
    planning::{
        imbalance::Measure,
        model::Timestamp,
        policy::Mode,
        words::{container_instances, counted, tasks},
    },
};

/// The report of one run on one cluster, in the contract's names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Report {
    /// Which run this was; its marks in the cluster carry the same.
    pub run_id: String,
    /// The version of the job.
    pub version: &'static str,
    /// The cluster's name.
    #[serde(skip)]
    pub cluster: String,
    /// The cluster's ARN; its name where the run ended before that was known.
    #[serde(rename = "cluster")]
    pub cluster_arn: String,
    /// The Region; empty where the run ended before that was known.
    pub region: String,
    /// The AWS account; empty where the run ended before that was known.
    pub account: String,
    /// When the run began.
    #[serde(serialize_with = "moment")]
    pub began: Option<Timestamp>,
    /// When the run ended.
    #[serde(serialize_with = "moment")]
    pub ended: Option<Timestamp>,
    /// `spread` or `consolidate`.
    pub mode: &'static str,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The container instance whose event launched the run.
    pub trigger: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended that way, in a sentence.
    pub outcome_reason: String,
    /// Services that are left with another count than their owner's.
    pub left_raised: Vec<LeftRaised>,
    /// Tasks that were started and went again.
    pub starts_in_vain: u32,
    /// What the plan costs.
    pub estimate: Option<Estimate>,
    /// What a setting would change.
    pub hints: Vec<Hint>,
    /// What was found.
    pub before: Option<Summary>,
    /// What the plan comes to.
    pub predicted: Option<Summary>,
    /// What is left.
    pub after: Option<Summary>,
    /// Which container instances are left far from the mean, and why; none in mode `consolidate`, and where the run did not see what
    /// it left.
    pub far_from_mean: Option<FarFromMean>,
    /// Every service, by name.
    pub services: Vec<ServiceReport>,
    /// For people's pictures only: JSON has what the contract lists.
    #[serde(skip)]
    pub pictures: Pictures,
    /// Every move that is planned.
    pub plan: Vec<PlannedMove>,
    /// Every move that was made.
    pub moves_made: Vec<MadeMove>,
    /// Which container instances come free, in mode `consolidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consolidation: Option<ConsolidationReport>,
    /// Attempts by operation.
    pub api_calls: BTreeMap<String, u64>,
    /// How long the run took.
    pub duration_seconds: f64,
    /// What failed, a sentence each.
    pub errors: Vec<String>,
    /// What was met and is worth knowing, a sentence each.
    pub warnings: Vec<String>,
    /// Whether more is left than was predicted, for no reason that the run knows of.
    #[serde(skip)]
    pub differs_unexplained: bool,
    /// Whether a service ended otherwise than planned, which explains that more is left than was predicted.
    #[serde(skip)]
    is_explained: bool,
    /// Whether the deadline ended it for a service.
    #[serde(skip)]
    ended_by_deadline: bool,
    /// For whom capacity was made, as an appendix to the reason.
    #[serde(skip)]
    made_room: String,
    /// What was measured before anything moved; hints are made of it.
    #[serde(skip)]
    measure: Option<Measure>,
    /// What happened to the services, where the cluster was simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Played>,
}

/// What a report is made of, beside the measure.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which run.
    pub run_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The mode in force.
    pub mode: Mode,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The container instance whose event launched the run.
    pub trigger: Option<String>,
    /// Each variable and what holds.
    pub configuration: Vec<Configured>,
}

impl Report {
    /// An empty report, to be filled as the run goes on.
    pub fn new(facts: Facts) -> Self {
        Self {
            run_id: facts.run_id,
            version: VERSION,
            cluster_arn: facts.cluster.clone(),
            cluster: facts.cluster,
            region: String::new(),
            account: String::new(),
            began: None,
            ended: None,
            mode: match facts.mode {
                Mode::Spread => "spread",
                Mode::Consolidate => "consolidate",
            },
            dry_run: facts.dry_run,
            trigger: facts.trigger,
            outcome: Outcome::Failed,
            outcome_reason: String::new(),
            left_raised: Vec::new(),
            starts_in_vain: 0,
            estimate: None,
            hints: Vec::new(),
            before: None,
            predicted: None,
            after: None,
            far_from_mean: None,
            services: Vec::new(),
            pictures: Pictures { configuration: facts.configuration, ..Pictures::default() },
            plan: Vec::new(),
            moves_made: Vec::new(),
            consolidation: None,
            api_calls: BTreeMap::new(),
            duration_seconds: 0.0,
            errors: Vec::new(),
            warnings: Vec::new(),
            differs_unexplained: false,
            is_explained: false,
            ended_by_deadline: false,
            made_room: String::new(),
            measure: None,
            rehearsal: None,
        }
    }

    /// Takes over what was met while reading.
    pub fn met(&mut self, vanished: &[Vanished], oddities: Vec<String>) {
        let gone =
            vanished.iter().map(|gone| format!("{} was listed, but could not be described: {}", gone.arn, gone.reason));
        self.warn(gone.chain(oddities).collect());
    }

    /// Takes over what is worth knowing, once.
    pub fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                tracing::warn!("{warning}");
                self.warnings.push(warning);
            }
        }
    }

    fn error(&mut self, error: String) {
        tracing::error!("{error}");
        self.errors.push(error);
    }

    /// Says how the run ends.
    pub fn conclude(&mut self, outcome: Outcome, reason: String) {
        self.outcome = outcome;
        self.outcome_reason = reason;
    }

    /// Something failed that ends the run, or that nobody would learn of otherwise.
    pub fn fail(&mut self, error: &anyhow::Error) {
        let mut told = format!("{error:#}");
        if told.contains("ClusterNotFoundException") {
            told += &format!(
                "; Region {} has no cluster of that name: check REBALANCER_CLUSTER and AWS_REGION",
                self.region
            );
        }
        self.error(told);
    }

    /// How many tasks were moved.
    pub fn moved(&self) -> u32 {
        self.services.iter().map(|service| service.moved).sum()
    }

    /// Services with misplaced tasks, or with tasks in the way of a consolidation, that were left alone.
    pub fn left_alone(&self) -> u32 {
        let is_left_alone = |service: &&ServiceReport| {
            service.action == Action::LeaveAlone && (service.misplaced_tasks > 0 || self.consolidation.is_some())
        };
        let left_alone = self.services.iter().filter(is_left_alone).count();
        u32::try_from(left_alone).unwrap_or(u32::MAX)
    }

    /// The status that the process ends with.
    pub fn exit_status(&self) -> u8 {
        match self.outcome {
            Outcome::Failed => exit::FAILED,
            Outcome::Skipped
            | Outcome::Interrupted
            | Outcome::Planned
            | Outcome::Rebalanced
            | Outcome::Unchanged
            | Outcome::Balanced => exit::DONE,
        }
    }

    /// Closes the report: what failed, and then what ended the run early, goes before what it came to.
    pub fn finish(&mut self, duration: Duration, api_calls: BTreeMap<String, u64>, was_told_to_end: bool) {
        let came_to = std::mem::take(&mut self.outcome_reason);
        let after = |what: &str| if came_to.is_empty() { what.to_owned() } else { format!("{came_to}; {what}") };
        (self.outcome, self.outcome_reason) = match self.outcome {
            _ if !self.errors.is_empty() => (Outcome::Failed, after("see the errors")),
            Outcome::Skipped | Outcome::Interrupted => (self.outcome, came_to),
            _ if was_told_to_end => (Outcome::Interrupted, after("the run was told to end (SIGTERM)")),
            _ if self.ended_by_deadline => {
                (Outcome::Interrupted, after("the run's deadline (REBALANCER_DEADLINE) had come"))
            }
            outcome => (outcome, came_to),
        };
        self.duration_seconds = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
        self.api_calls = api_calls;
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.ended = self.began.map(|began| Timestamp(began.0.saturating_add(milliseconds)));
    }
}

/// As ISO 8601, in UTC.
#[expect(clippy::ref_option, reason = "serde hands the field so")]
fn moment<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(line::iso_8601).serialize(serializer)
}

/// Writes reports to files: one each, or where there are several clusters, one each for every cluster, with its name before
/// the file's ending.
///
/// # Errors
/// Names the first file that can't be written. The others are.
pub fn write(reports: &[Report], files: &[ReportFile]) -> Result<()> {
    let mut written = Ok(());
    for (report, file) in reports.iter().flat_map(|report| files.iter().map(move |file| (report, file))) {
        let path = if reports.len() > 1 {
            let ending = file.path.extension().unwrap_or_default().to_string_lossy().into_owned();
            file.path.with_extension(format!("{}.{ending}", report.cluster))
        } else {
            file.path.clone()
        };
        let content = match file.format {
            ReportFormat::Json => json::document(report).map_err(anyhow::Error::from),
            ReportFormat::Html => Ok(html::document(report)),
        };
        let one = content.and_then(|content| {
            std::fs::write(&path, content).with_context(|| format!("cannot write the report to {}", path.display()))
        });
        written = written.and(one);
    }
    written
}
