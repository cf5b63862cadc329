//! Strings → the settings of a run, all problems at once. Handed the variables; never reads the environment itself.

mod parse;
pub mod variables;

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use serde::Deserialize;

use self::parse::Reader;
use crate::planning::{model::ContainerInstanceArn, policy::Policy};

/// Every variable of ours begins so.
pub const PREFIX: &str = "REBALANCER_";
/// Where the container agent tells a task about itself, where there is one [developer guide, task metadata endpoint v4].
const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// The settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// On which clusters.
    pub clusters: Clusters,
    /// What is moved, and how.
    pub policy: Policy,
    /// Measure, publish and plan; change nothing.
    pub dry_run: bool,
    /// What is published.
    pub metrics: MetricsScope,
    /// Where it is published.
    pub metric_namespace: String,
    /// A level, or a filter of tracing's.
    pub log: String,
    /// How the log looks; none: as its reader needs it.
    pub log_format: Option<LogFormat>,
    /// Files for the report.
    pub reports: Vec<ReportFile>,
    /// A file for the cluster's snapshot.
    pub snapshot: Option<PathBuf>,
    /// A reviewed report, whose moves alone are made.
    pub plan: Option<PathBuf>,
    /// The container instance whose event launched the run.
    pub trigger_instance: Option<ContainerInstanceArn>,
    /// The base address of the task metadata endpoint, on ECS.
    pub metadata_uri: Option<String>,
}

/// On which clusters a run works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// These, one after the other.
    Named(Vec<String>),
    /// That of the job's own task, which its metadata endpoint tells.
    OwnTasks,
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsScope {
    /// Nothing.
    Off,
    /// The cluster's metrics.
    Cluster,
    /// The cluster's, and those of services with misplaced tasks.
    Imbalanced,
    /// The cluster's, and those of every service that is measured.
    All,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, an object a line.
    Json,
}

/// A file for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    /// Where.
    pub path: PathBuf,
    /// In which form.
    pub format: ReportFormat,
}

/// The form of a report, by its file's ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// `.json`
    Json,
    /// `.html`
    Html,
}

/// All that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: String,
    /// What it holds, and what is allowed.
    pub sentence: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let end = if number > 0 { "\n" } else { "" };
            write!(formatter, "{end}{}: {}", problem.variable, problem.sentence)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The variables as they stand, by their names without the prefix.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    cluster: Option<String>,
    mode: Option<String>,
    threshold: Option<String>,
    load_threshold: Option<String>,
    strategy: Option<String>,
    steer: Option<String>,
    dry_run: Option<String>,
    include: Option<String>,
    exclude: Option<String>,
    max_moves: Option<String>,
    max_services: Option<String>,
    parallel: Option<String>,
    surge: Option<String>,
    cooldown: Option<String>,
    task_timeout: Option<String>,
    deadline: Option<String>,
    metrics: Option<String>,
    metric_namespace: Option<String>,
    log: Option<String>,
    log_format: Option<String>,
    report: Option<String>,
    snapshot: Option<String>,
    plan: Option<String>,
    trigger_instance: Option<String>,
}

impl Config {
    /// Reads the configuration from variables, of which only ours and the metadata endpoint's count.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut ours = BTreeMap::new();
        let mut metadata_uri = None;
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let is_ours = name.starts_with(PREFIX);
            if !is_ours && name != METADATA_VARIABLE {
                continue;
            }
            match value.into_string() {
                Err(_) => problems.push(parse::problem(name, "its value is not UTF-8")),
                // An empty value counts as unset.
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) if is_ours => drop(ours.insert(name.to_owned(), value)),
                Ok(value) => metadata_uri = Some(value),
            }
        }
        problems.extend(ours.keys().filter_map(|name| variables::unknown(name)));
        let raw: Raw = match envy::prefixed(PREFIX).from_iter(ours) {
            Ok(raw) => raw,
            Err(error) => {
                problems.push(parse::problem(PREFIX, &error.to_string()));
                return Err(Problems(problems));
            }
        };
        let mut reader = Reader { problems };
        let config = assemble(&raw, metadata_uri, &mut reader);
        if reader.problems.is_empty() {
            return Ok(config);
        }
        reader.problems.sort_by(|a, b| a.variable.cmp(&b.variable));
        Err(Problems(reader.problems))
    }
}

fn assemble(raw: &Raw, metadata_uri: Option<String>, reader: &mut Reader) -> Config {
    let default = Policy::default();
    let policy = Policy {
        mode: reader.read("MODE", raw.mode.as_ref(), default.mode, parse::mode),
        threshold: reader.read("THRESHOLD", raw.threshold.as_ref(), default.threshold, parse::percent),
        load_threshold: reader.read(
            "LOAD_THRESHOLD",
            raw.load_threshold.as_ref(),
            default.load_threshold,
            parse::percent,
        ),
        strategy: reader.read("STRATEGY", raw.strategy.as_ref(), default.strategy, parse::strategy),
        steer: reader.read("STEER", raw.steer.as_ref(), default.steer, parse::truth),
        services: crate::planning::policy::ServiceFilter {
            include: reader.read("INCLUDE", raw.include.as_ref(), Vec::new(), parse::patterns),
            exclude: reader.read("EXCLUDE", raw.exclude.as_ref(), Vec::new(), parse::patterns),
        },
        max_moves: reader
            .read("MAX_MOVES", raw.max_moves.as_ref(), default.max_moves, |text| parse::number(text, 1, 100_000)),
        max_services: reader.read("MAX_SERVICES", raw.max_services.as_ref(), default.max_services, |text| {
            parse::number(text, 1, 5_000)
        }),
        parallel: reader.read("PARALLEL", raw.parallel.as_ref(), default.parallel, |text| parse::number(text, 1, 50)),
        surge: reader.read("SURGE", raw.surge.as_ref(), default.surge, parse::percent),
        cooldown: reader
            .read("COOLDOWN", raw.cooldown.as_ref(), default.cooldown, |text| parse::duration(text, 0, 24 * 3_600)),
        task_timeout: reader.read("TASK_TIMEOUT", raw.task_timeout.as_ref(), default.task_timeout, |text| {
            parse::duration(text, 30, 3_600)
        }),
        deadline: reader
            .read("DEADLINE", raw.deadline.as_ref(), default.deadline, |text| parse::duration(text, 60, 24 * 3_600)),
    };
    if policy.task_timeout >= policy.deadline {
        reader.complain(
            "TASK_TIMEOUT",
            &format!(
                "a replacement may take {} and the whole run only {} (REBALANCER_DEADLINE); make it shorter than that",
                humantime::format_duration(policy.task_timeout),
                humantime::format_duration(policy.deadline),
            ),
        );
    }
    let clusters = match &raw.cluster {
        Some(_) => Clusters::Named(reader.read("CLUSTER", raw.cluster.as_ref(), Vec::new(), parse::clusters)),
        None => Clusters::OwnTasks,
    };
    if clusters == Clusters::OwnTasks && metadata_uri.is_none() {
        reader.complain(
            "CLUSTER",
            "is not set, and only on ECS does it default to the job's own cluster; set it to a cluster's name or ARN",
        );
    }
    Config {
        clusters,
        policy,
        dry_run: reader.read("DRY_RUN", raw.dry_run.as_ref(), false, parse::truth),
        metrics: reader.read("METRICS", raw.metrics.as_ref(), MetricsScope::Imbalanced, parse::metrics),
        metric_namespace: reader.read(
            "METRIC_NAMESPACE",
            raw.metric_namespace.as_ref(),
            "ECSRebalancer".to_owned(),
            parse::namespace,
        ),
        log: reader.read("LOG", raw.log.as_ref(), "info".to_owned(), parse::log_filter),
        log_format: reader.read("LOG_FORMAT", raw.log_format.as_ref(), None, |text| parse::log_format(text).map(Some)),
        reports: reader.read("REPORT", raw.report.as_ref(), Vec::new(), parse::reports),
        snapshot: raw.snapshot.as_ref().map(PathBuf::from),
        plan: reader.read("PLAN", raw.plan.as_ref(), None, |text| parse::plan(text).map(Some)),
        trigger_instance: reader
            .read("TRIGGER_INSTANCE", raw.trigger_instance.as_ref(), None, |text| parse::instance(text).map(Some)),
        metadata_uri,
    }
}
