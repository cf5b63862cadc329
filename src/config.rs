//! Strings → the settings of a run, all problems at once. Handed the variables; never reads the environment itself.

mod contradictions;
mod files;
mod problems;
mod reviewed;
mod sdk;
mod settings;
mod values;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

pub(crate) use self::values::log_targets;
pub use self::{
    files::is_one_file,
    problems::{Problem, Problems},
    sdk::Retries,
    settings::{GROUPS, Group, Setting, VARIABLES},
};
use crate::{
    planning::{model::ContainerInstanceArn, policy::Policy},
    report::Configured,
};

/// Every variable of ours begins so.
pub const PREFIX: &str = "REBALANCER_";
/// Where a task on ECS can ask about itself [developer guide, "Amazon ECS task metadata endpoint version 4"].
pub const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// Where the environment names a proxy, in capitals or not. The SDK's HTTP client reaches proxies over plain HTTP.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

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
    /// A level, or a filter of tracing's; known to be one.
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
    /// The base address of the task metadata endpoint, on ECS; there wherever the clusters are `OwnTasks`.
    pub metadata_uri: Option<String>,
    /// How often the SDK tries a call.
    pub retries: Retries,
}

/// On which clusters a run works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// These, by name or ARN, one after the other; at least one, each once.
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

impl Default for Config {
    /// What holds where no variable says otherwise. The defaults of planning's own settings stand with them, in `Policy`.
    fn default() -> Self {
        Self {
            clusters: Clusters::OwnTasks,
            policy: Policy::default(),
            dry_run: false,
            metrics: MetricsScope::Imbalanced,
            metric_namespace: "ECSRebalancer".to_owned(),
            log: "info".to_owned(),
            log_format: None,
            reports: Vec::new(),
            snapshot: None,
            plan: None,
            trigger_instance: None,
            metadata_uri: None,
            retries: Retries::default(),
        }
    }
}

impl Config {
    /// Reads the configuration from variables, of which only ours and the metadata endpoint's count, and some of the SDK's.
    ///
    /// # Errors
    /// All that is wrong with it: what can't be read first, then in the order of `VARIABLES`, then the SDK's, then what doesn't go
    /// together.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Problems> {
        let variables = variables.into_iter().collect();
        let mut problems = Vec::new();
        let given = readable(&variables, &mut problems);
        let mut config = Self::default();
        config.read(&given, &mut problems);
        config.retries = Retries::read(&variables, &mut problems);
        let wrong: BTreeSet<String> = problems.iter().map(|problem| problem.variable.clone()).collect();
        problems.extend(contradictions::of(&config, &wrong));
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    /// In which form the log is asked for, whatever else is wrong with the configuration.
    pub fn log_format_of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Option<LogFormat> {
        let (mut config, mut problems) = (Self::default(), Vec::new());
        let given = readable(&variables.into_iter().collect(), &mut problems);
        config.read(&given, &mut problems);
        config.log_format
    }

    /// Each variable and what holds. None of them is a secret: those are AWS's SDK's own.
    pub fn in_force(&self) -> Vec<Configured> {
        let row = |setting: &Setting| Configured {
            name: setting.name,
            value: setting.text(self),
            is_default: setting.text(self) == setting.text(&Self::default()),
        };
        VARIABLES.iter().map(row).collect()
    }

    fn read(&mut self, given: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
        // envy knows the variables without their prefix, in lower case.
        let ours: BTreeMap<String, String> = match envy::prefixed(PREFIX).from_iter(given.clone()) {
            Ok(ours) => ours,
            Err(error) => return problems.push(Problem::new(PREFIX, error.to_string())),
        };
        for setting in &VARIABLES {
            let Some(text) = ours.get(&setting.key()) else { continue };
            if let Err(wrong) = (setting.set)(self, text) {
                problems.push(Problem::new(setting.name, format!("is {text:?}, but {wrong}")));
            }
        }
        if let Some(text) = given.get(METADATA_VARIABLE) {
            match values::metadata_uri(text) {
                Ok(uri) => self.metadata_uri = Some(uri),
                Err(wrong) => problems.push(Problem::new(METADATA_VARIABLE, format!("is {text:?}, but {wrong}"))),
            }
        }
    }
}

/// The variables that concern us and hold something, trimmed; the others are problems, or nobody's business.
fn readable(variables: &BTreeMap<OsString, OsString>, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut given = BTreeMap::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if let Some(meant) = settings::meant(&name) {
            problems.push(Problem::new(&name, format!("is no variable of ecs-rebalancer; the nearest is {meant}")));
            continue;
        }
        if PROXY_VARIABLES.contains(&name.to_uppercase().as_str()) {
            // It may hold a password, so it is not shown.
            if value.to_string_lossy().trim().starts_with("https://") {
                problems.push(Problem::new(&name, "is an https:// address; give an http:// address of the proxy"));
            }
            continue;
        }
        if !name.starts_with(PREFIX) && name != METADATA_VARIABLE {
            continue;
        }
        match value.to_str().map(str::trim) {
            None => problems.push(Problem::new(&name, format!("is {}, which is not UTF-8", value.display()))),
            Some("") => {}
            Some(text) => drop(given.insert(name, text.to_owned())),
        }
    }
    given
}
