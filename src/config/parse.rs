//! One function a kind of value: text → what it means, or what is allowed.

use std::{path::PathBuf, time::Duration};

use tracing_subscriber::EnvFilter;
use wildmatch::WildMatch;

use super::{LogFormat, MetricsScope, PREFIX, Problem, ReportFile, ReportFormat};
use crate::planning::{
    model::ContainerInstanceArn,
    policy::{Mode, Percent, Strategy},
};

/// Collects the problems while reading on.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// The meaning of a variable, or its default.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        text: Option<&String>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let Some(text) = text else { return default };
        match parse(text.trim()) {
            Ok(value) => value,
            Err(allowed) => {
                self.complain(name, &format!("{text:?} is not {allowed}"));
                default
            }
        }
    }

    pub(super) fn complain(&mut self, name: &str, sentence: &str) {
        self.problems.push(problem(&format!("{PREFIX}{name}"), sentence));
    }
}

pub(super) fn problem(variable: &str, sentence: &str) -> Problem {
    Problem { variable: variable.to_owned(), sentence: sentence.to_owned() }
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "spread" => Ok(Mode::Spread),
        "consolidate" => Ok(Mode::Consolidate),
        _ => Err("spread or consolidate".to_owned()),
    }
}

pub(super) fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::parse(text).ok_or_else(|| "auto, surge, stop, redeploy or revision".to_owned())
}

pub(super) fn percent(text: &str) -> Result<Percent, String> {
    Percent::parse(text).ok_or_else(|| {
        let hint = if text.ends_with('%') { " (leave the % away)" } else { "" };
        format!("a number from 0 to 100 with at most two decimals{hint}")
    })
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

pub(super) fn number(text: &str, low: u32, high: u32) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("a whole number from {low} to {high}"))
}

/// Durations as people write them; the bounds are in seconds.
pub(super) fn duration(text: &str, low: u64, high: u64) -> Result<Duration, String> {
    let allowed = || {
        let shown = |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
        let hint = if text.bytes().all(|byte| byte.is_ascii_digit()) { " (give it a unit)" } else { "" };
        format!("a duration from {} to {}, as 90s, 10m or 1h{hint}", shown(low), shown(high))
    };
    let duration = if text == "0" { Duration::ZERO } else { humantime::parse_duration(text).map_err(|_| allowed())? };
    if (Duration::from_secs(low)..=Duration::from_secs(high)).contains(&duration) {
        Ok(duration)
    } else {
        Err(allowed())
    }
}

pub(super) fn metrics(text: &str) -> Result<MetricsScope, String> {
    match text {
        "off" => Ok(MetricsScope::Off),
        "cluster" => Ok(MetricsScope::Cluster),
        "imbalanced" => Ok(MetricsScope::Imbalanced),
        "all" => Ok(MetricsScope::All),
        _ => Err("off, cluster, imbalanced or all".to_owned()),
    }
}

/// CloudWatch's rules for namespaces [API, PutMetricData].
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if text.starts_with("AWS/") {
        return Err("allowed: names beginning AWS/ are AWS's own".to_owned());
    }
    let fits = text.len() <= 255
        && !text.starts_with(':')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_/#: ".contains(letter));
    if fits { Ok(text.to_owned()) } else { Err("a namespace: up to 255 of letters, digits and . - _ / # :".to_owned()) }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a level (error, warn, info, debug, trace, off) or a tracing filter".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json".to_owned()),
    }
}

pub(super) fn reports(text: &str) -> Result<Vec<ReportFile>, String> {
    let allowed = || "a list of files that end in .json or .html".to_owned();
    list(text, allowed)?
        .into_iter()
        .map(|file| {
            let path = PathBuf::from(file);
            let format = match path.extension().and_then(|ending| ending.to_str()) {
                Some("json") => ReportFormat::Json,
                Some("html") => ReportFormat::Html,
                _ => return Err(allowed()),
            };
            Ok(ReportFile { path, format })
        })
        .collect()
}

pub(super) fn plan(text: &str) -> Result<PathBuf, String> {
    if text.ends_with(".json") {
        Ok(PathBuf::from(text))
    } else {
        Err("a report of an earlier dry run, which ends in .json".to_owned())
    }
}

/// Names of clusters: up to 255 letters, digits, hyphens and underscores [API, CreateCluster]; or their ARNs.
pub(super) fn clusters(text: &str) -> Result<Vec<String>, String> {
    let allowed = || "a cluster's name or ARN, or a list of them".to_owned();
    let clusters: Vec<String> = list(text, allowed)?.into_iter().map(str::to_owned).collect();
    if clusters.iter().all(|cluster| is_name(arn_resource(cluster, "cluster/").unwrap_or(cluster))) {
        return Ok(clusters);
    }
    Err(allowed())
}

pub(super) fn instance(text: &str) -> Result<ContainerInstanceArn, String> {
    match arn_resource(text, "container-instance/") {
        Some(resource) if resource.split('/').all(is_name) => Ok(text.into()),
        _ => Err("a container instance's ARN, as arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID".to_owned()),
    }
}

/// Service names with wildcards: letters, digits, hyphens, underscores [API, CreateService], `*` and `?`.
pub(super) fn patterns(text: &str) -> Result<Vec<WildMatch>, String> {
    let allowed = || "a list of service names, with * and ? as wildcards".to_owned();
    list(text, allowed)?
        .into_iter()
        .map(|pattern| {
            let plain = pattern.replace(['*', '?'], "x");
            if is_name(&plain) { Ok(WildMatch::new(pattern)) } else { Err(allowed()) }
        })
        .collect()
}

fn list(text: &str, allowed: impl Fn() -> String) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.iter().any(|item| item.is_empty()) { Err(allowed()) } else { Ok(items) }
}

fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What an ARN of ECS's names, if it is of that kind.
fn arn_resource<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let mut parts = text.splitn(6, ':');
    let is_ecs = parts.next() == Some("arn") && parts.next()?.starts_with("aws") && parts.next() == Some("ecs");
    let (_region, account) = (parts.next()?, parts.next()?);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    parts.next()?.strip_prefix(kind).filter(|_| is_ecs && is_account)
}
