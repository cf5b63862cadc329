//! One function a kind of value: text → what it means, or what is allowed instead. And back, for tables.

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr, time::Duration};

use tracing_subscriber::filter::Targets;
use wildmatch::WildMatch;

use super::{ReportFile, ReportFormat};
use crate::planning::{model::ContainerInstanceArn, policy::Percent};

/// How alike, from 0 to 1, a word must be to one that is allowed before it is taken for a slip of the pen.
const SLIP_OF_THE_PEN: f64 = 0.8;

/// What is allowed instead of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    allowed: String,
    hint: Option<String>,
}

impl Wrong {
    fn allowed(allowed: impl Into<String>) -> Self {
        Self { allowed: allowed.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// With this hint, where there is one.
    pub(super) fn or_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, hint } = self;
        write!(formatter, "it takes {allowed}")?;
        match hint {
            Some(hint) => write!(formatter, ": {hint}"),
            None => Ok(()),
        }
    }
}

/// Words, and what each means.
pub(super) struct Choices<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Choices<T> {
    pub(super) fn read(&self, text: &str) -> Result<T, Wrong> {
        if let Some((_, meaning)) = self.0.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let words = || self.0.iter().map(|(word, _)| *word);
        let lowercase = text.to_lowercase();
        let meant = match lowercase.as_str() {
            "1" | "yes" | "on" => words().find(|word| *word == "true"),
            "0" | "no" | "off" => words().find(|word| *word == "false"),
            _ => nearest_by_a_slip(&lowercase, words()),
        };
        Err(Wrong::allowed(alternatives(words())).or_hint(meant.map(|word| format!("did you mean {word}?"))))
    }

    /// The word for a meaning, as a table shows it.
    pub(super) fn code(&self, meaning: T) -> String {
        self.0.iter().find(|(_, of_word)| *of_word == meaning).map_or_else(String::new, |(word, _)| code(word))
    }
}

/// `a, b or c`.
fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// The most similar candidate; among equals the last.
pub(super) fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    candidates.max_by(|one, other| strsim::jaro_winkler(one, word).total_cmp(&strsim::jaro_winkler(other, word)))
}

/// The most similar candidate, where it is so similar that the word is a slip of the pen.
pub(super) fn nearest_by_a_slip(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    nearest(word, candidates).filter(|candidate| strsim::jaro_winkler(candidate, word) >= SLIP_OF_THE_PEN)
}

/// From the least to the most that is allowed, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<T = Duration> {
    pub(super) least: T,
    pub(super) most: T,
}

impl Bounds<u32> {
    pub(super) fn read(self, text: &str) -> Result<u32, Wrong> {
        // `parse` alone would take a leading plus.
        let number = text.parse().ok().filter(|_| is_digits(text));
        number
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| Wrong::allowed(format!("a whole number from {} to {}", self.least, self.most)))
    }
}

impl Bounds<Duration> {
    pub(super) fn read(self, text: &str) -> Result<Duration, Wrong> {
        let duration = humantime::parse_duration(text).ok();
        duration.filter(|duration| (self.least..=self.most).contains(duration)).ok_or_else(|| {
            let (least, most) = (humantime::format_duration(self.least), humantime::format_duration(self.most));
            let hint = is_digits(text).then(|| format!("say of which unit, as {text}s or {text}m"));
            Wrong::allowed(format!("a duration from {least} to {most}, as 90s, 10m or 1h")).or_hint(hint)
        })
    }
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

pub(super) const fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

pub(super) fn percent(text: &str) -> Result<Percent, Wrong> {
    Percent::parse(text).ok_or_else(|| {
        let hint = if text.ends_with('%') {
            Some("leave the percent sign away")
        } else if text.contains(',') {
            Some("write decimals with a point")
        } else {
            None
        };
        Wrong::allowed("a number from 0 to 100 with at most two decimals").or_hint(hint)
    })
}

/// CloudWatch's rules for a namespace [API, PutMetricData]; and a prefix that it keeps for AWS's own.
pub(super) fn metric_namespace(text: &str) -> Result<String, Wrong> {
    const LONGEST: usize = 255;
    let wrong = Wrong::allowed("1 to 255 letters, digits and any of . - _ / # :, not beginning with : or AWS/");
    if text.starts_with("AWS/") {
        return Err(wrong.hint("names beginning AWS/ are AWS's own"));
    }
    if let Some(odd) = text.chars().find(|letter| !letter.is_ascii_alphanumeric() && !".-_/#: ".contains(*letter)) {
        return Err(wrong.hint(format!("{odd:?} is not among them")));
    }
    if text.len() > LONGEST {
        return Err(wrong.hint(format!("it has {}", text.len())));
    }
    if text.starts_with(':') { Err(wrong) } else { Ok(text.to_owned()) }
}

/// Where this program's own events come from: the crate's modules.
const OWN: &str = "ecs_rebalancer";

/// A filter as tracing has it. A level alone is for this program's own events: others are shown only where the filter names them.
pub(crate) fn log_targets(text: &str) -> Result<Targets, <Targets as FromStr>::Err> {
    let own = |item: &str| if item.contains('=') { item.to_owned() } else { format!("{OWN}={}", item.to_lowercase()) };
    let items: Vec<String> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(own).collect();
    items.join(",").parse()
}

/// A filter that the log can use, save that a lone word must be a level and a target one that there may be: tracing takes `inof` for
/// the name of a target, and `ecs-rebalancer=debug` for one that has no event, and then shows nothing.
pub(super) fn log_filter(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = || Wrong::allowed(format!("{}, or a filter of tracing's as info,aws_config=debug", LEVELS.join(", ")));
    let is_path = |target: &str| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
        !target.is_empty() && target.chars().all(is_plain)
    };
    for item in text.split(',').map(str::trim) {
        match item.split_once('=') {
            None if !LEVELS.contains(&item.to_lowercase().as_str()) => {
                return Err(wrong().hint(format!("{item:?} is not a level")));
            }
            // What follows a bracket are names of fields.
            Some((target, _)) if !is_path(target.split('[').next().unwrap_or_default()) => {
                let hint = format!("{target:?} is no target, for these are module paths");
                let meant = target.replace('-', "_");
                return Err(wrong().hint(if is_path(&meant) {
                    format!("{hint}: did you mean {meant}?")
                } else {
                    hint
                }));
            }
            Some((_, "")) => return Err(wrong().hint(format!("{item:?} names no level"))),
            None | Some(_) => {}
        }
    }
    match log_targets(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(wrong().hint(error.to_string())),
    }
}

/// Names or ARNs of clusters, each once, all of one Region: a run has one Region's clients.
pub(super) fn clusters(text: &str) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::allowed("names or ARNs of clusters, comma-separated");
    let clusters = list(text, wrong, |item| {
        let is_cluster = Arn::parse(item, "cluster").is_some_and(|arn| is_name(arn.resource)) || is_name(item);
        is_cluster.then(|| item.to_owned())
    })?;
    if let Some(twice) = first_twice(clusters.iter().map(|cluster| short_name(cluster))) {
        return Err(wrong().hint(format!("{twice} is named twice")));
    }
    let regions: BTreeSet<&str> =
        clusters.iter().filter_map(|cluster| Arn::parse(cluster, "cluster")).map(|arn| arn.region).collect();
    if regions.len() > 1 {
        let regions: Vec<&str> = regions.into_iter().collect();
        return Err(wrong().hint(format!("one run works in one Region, and these are in {}", regions.join(" and "))));
    }
    Ok(clusters)
}

/// What people call a cluster, of its name or ARN.
pub(super) fn short_name(cluster: &str) -> &str {
    cluster.rsplit('/').next().unwrap_or(cluster)
}

/// Service names, with `*` for any letters and `?` for any one.
pub(super) fn patterns(text: &str) -> Result<Vec<WildMatch>, Wrong> {
    let wrong = || Wrong::allowed("service names, comma-separated, with * and ? as wildcards");
    list(text, wrong, |item| is_name(&item.replace(['*', '?'], "_")).then(|| WildMatch::new(item)))
}

/// Files for the report, each once, its form told by its ending.
pub(super) fn reports(text: &str) -> Result<Vec<ReportFile>, Wrong> {
    let wrong = || Wrong::allowed("files that end in .json or .html, comma-separated");
    let files = list(text, wrong, |item| {
        let path = PathBuf::from(item);
        let format = match path.extension()?.to_str()? {
            "json" => ReportFormat::Json,
            "html" => ReportFormat::Html,
            _ => return None,
        };
        Some(ReportFile { path, format })
    })?;
    match first_twice(files.iter().map(|file| &file.path)) {
        Some(twice) => Err(wrong().hint(format!("{} is named twice", twice.display()))),
        None => Ok(files),
    }
}

/// The report of a dry run, in the form for machines.
pub(super) fn plan(text: &str) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|ending| ending == "html") {
        return Err(Wrong::allowed("the JSON report of a dry run").hint("this is the one for people"));
    }
    Ok(path)
}

pub(super) fn container_instance(text: &str) -> Result<ContainerInstanceArn, Wrong> {
    if Arn::parse(text, "container-instance").is_some_and(|arn| is_container_instance(arn.resource)) {
        return Ok(text.into());
    }
    let wrong =
        Wrong::allowed("a container instance's ARN, as arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID");
    Err(wrong.or_hint(text.starts_with("i-").then_some("this looks like the id of its EC2 instance")))
}

/// `CLUSTER/ID`, or in an account that still has the short form of ARNs `ID`.
fn is_container_instance(resource: &str) -> bool {
    let mut names = resource.split('/');
    names.by_ref().take(2).all(is_name) && names.next().is_none()
}

/// The container agent's endpoint: plain HTTP on a link-local address, so nothing else is ever asked.
pub(super) fn metadata_uri(text: &str) -> Result<String, Wrong> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Wrong::allowed("what the ECS container agent sets it to, as http://169.254.170.2/v4/ID")),
    }
}

/// The parts of one of ECS's ARNs that matter here: `arn:PARTITION:ecs:REGION:ACCOUNT:KIND/RESOURCE`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arn<'a> {
    pub(super) region: &'a str,
    /// What follows the kind.
    pub(super) resource: &'a str,
}

impl<'a> Arn<'a> {
    /// The ARN, if it is one of that kind.
    pub(super) fn parse(text: &'a str, kind: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "ecs", region, account, path] = parts.as_slice() else { return None };
        let resource = path.strip_prefix(kind)?.strip_prefix('/')?;
        let is_account = account.len() == 12 && is_digits(account);
        let is_whole = partition.starts_with("aws") && is_name(region) && is_account;
        is_whole.then_some(Self { region, resource })
    }
}

/// Up to 255 letters, digits, hyphens and underscores: names of clusters and services [API, CreateCluster, CreateService].
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=255).contains(&text.len()) && text.bytes().all(is_plain)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The items between commas; the first that can't be read is named.
fn list<T>(text: &str, wrong: impl Fn() -> Wrong, item: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Wrong> {
    let one = |text: &str| match text {
        "" => Err(wrong().hint("an item is empty")),
        _ => item(text).ok_or_else(|| wrong().hint(format!("{text:?} is not one"))),
    };
    text.split(',').map(|text| one(text.trim())).collect()
}

fn first_twice<T: Ord + Clone>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.find(|item| !seen.insert(item.clone()))
}

/// As a table shows what a user would write.
pub(super) fn code(value: impl fmt::Display) -> String {
    format!("`{value}`")
}

pub(super) fn percent_text(percent: Percent) -> String {
    code(f64::from(percent.hundredths()) / 100.0)
}

pub(super) fn duration_text(duration: Duration) -> String {
    code(humantime::format_duration(duration))
}
