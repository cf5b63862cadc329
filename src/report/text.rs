//! The report for people: the cluster and when, the picture, the figures, what is done, and why the rest is left alone.

mod consolidation;
mod instances;
mod layout;
mod moves;
mod played;
mod services;

use std::collections::BTreeMap;

use console::Style;

pub(super) use self::consolidation::{freed_number, then};
use self::layout::{width, wrapped};
pub(super) use self::{moves::cost, services::some};
use super::{Outcome, Report, Summary, clean, compared, counted};
use crate::line::iso_8601;

/// The width of a page of the book, and of most terminals.
const PAGE: usize = 80;
/// Narrower than this nothing can be laid out.
const NARROWEST: usize = 60;
/// A picture that is wider is not clearer.
const WIDEST_PICTURE: usize = 120;
/// As many services are named for one error.
const NAMED: usize = 5;

/// What the report is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// For a terminal that has any, and never with `NO_COLOR`.
    pub colour: bool,
    /// How wide it is; none where it isn't a terminal: then a sentence is one line.
    pub columns: Option<usize>,
}

impl Screen {
    /// Standard output, as this process has it.
    pub fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        let columns = terminal.size_checked().map(|(_, columns)| usize::from(columns));
        Self { colour: terminal.features().colors_supported(), columns }
    }
}

/// Colours, or none, and widths.
#[derive(Clone, Debug)]
struct Paint {
    good: Style,
    bad: Style,
    quiet: Style,
    strong: Style,
    /// Of a line.
    width: usize,
    /// Of a picture.
    picture: usize,
}

impl Paint {
    fn new(screen: Screen) -> Self {
        let style = || Style::new().force_styling(screen.colour);
        let width = screen.columns.map_or(usize::MAX, |columns| columns.max(NARROWEST));
        Self {
            good: style().green(),
            bad: style().red(),
            quiet: style().dim(),
            strong: style().bold(),
            width,
            picture: screen.columns.map_or(PAGE, |_| width.min(WIDEST_PICTURE)),
        }
    }
}

/// The report as text of a page's width, each line ending in a newline.
pub fn render(report: &Report, colour: bool) -> String {
    on_screen(report, Screen { colour, columns: Some(PAGE) })
}

/// The report as text, as wide as the screen.
pub fn on_screen(report: &Report, screen: Screen) -> String {
    let (report, paint) = (&clean::clean(report), Paint::new(screen));
    let mut text = head(report, &paint);
    if let Some(before) = &report.before {
        text.push_str(&instances::render(report, before, &paint));
        text.push('\n');
        text.push_str(&figures(report, before, &paint));
        text.push('\n');
        if let Some(consolidation) = &report.consolidation {
            text.push_str(&consolidation::render(consolidation, &paint));
            text.push('\n');
        }
        text.push_str(&services::render(report, &paint));
        part(&mut text, &moves::render(report, &paint));
        part(&mut text, &moves::hints(report, &paint));
    }
    if let Some(played) = &report.rehearsal {
        part(&mut text, &played::render(played, &compared(report), &paint));
    }
    let told: String = report.warnings.iter().map(|warning| wrapped("  note: ", warning, &paint)).collect();
    part(&mut text, &(told + &errors(&report.errors, &paint)));
    part(&mut text, &outcome(report, &paint));
    text
}

/// Puts a part behind what is there, one empty line between.
fn part(text: &mut String, part: &str) {
    let part = part.trim_matches('\n');
    if part.is_empty() {
        return;
    }
    text.truncate(text.trim_end().len());
    text.push_str(if text.is_empty() { "" } else { "\n\n" });
    text.push_str(part);
    text.push('\n');
}

/// Which cluster, where, and when.
fn head(report: &Report, paint: &Paint) -> String {
    let mut parts = vec![format!("Cluster {}", report.cluster)];
    parts.extend(Some(report.region.clone()).filter(|region| !region.is_empty()));
    parts.extend(Some(format!("account {}", report.account)).filter(|_| !report.account.is_empty()));
    parts.extend(
        report.began.map(|began| iso_8601(began).chars().take(16).collect::<String>().replace('T', " ") + " UTC"),
    );
    if report.dry_run {
        parts.push("dry run: nothing is changed".to_owned());
    }
    wrapped("", &parts.join(", "), paint) + "\n"
}

/// Each error once, with the services that it is told of.
fn errors(errors: &[String], paint: &Paint) -> String {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for error in errors {
        // A service's error begins with its name, which has no blank in it.
        match error.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
            Some((name, error)) => groups.entry(error).or_default().push(name),
            None => groups.entry(error).or_default().extend(None::<&str>),
        }
    }
    let group = |(error, names): (&str, Vec<&str>)| {
        let names = match names.len() {
            0 => String::new(),
            number if number > NAMED => {
                format!("{} and {}: ", names[..NAMED].join(", "), counted(number - NAMED, "other", "others"))
            }
            _ => format!("{}: ", names.join(", ")),
        };
        wrapped("  error: ", &format!("{names}{error}"), paint)
    };
    groups.into_iter().map(group).collect()
}

fn figures(report: &Report, before: &Summary, paint: &Paint) -> String {
    let columns: Vec<(&str, &Summary)> =
        [("found", Some(before)), ("predicted", report.predicted.as_ref()), ("after", report.after.as_ref())]
            .into_iter()
            .filter_map(|(name, summary)| Some((name, summary?)))
            .collect();
    let mut text = String::new();
    let column = (paint.width.saturating_sub(26) / columns.len().max(1)).clamp(10, 12);
    if columns.len() > 1 {
        text.push_str(&format!("{:26}", ""));
        for (name, _) in &columns {
            text.push_str(&format!("{name:>column$}"));
        }
        text.push('\n');
    }
    let mut row = |name: &str, value: &dyn Fn(&Summary) -> String, remark: &str| {
        text.push_str(&format!("  {name:24}"));
        for (_, summary) in &columns {
            text.push_str(&format!("{:>column$}", value(summary)));
        }
        if columns.len() == 1 && 26 + column + 2 + width(remark) <= paint.width {
            text.push_str(&format!("  {remark}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    row(
        "misplaced tasks",
        &|summary| summary.misplaced_tasks.to_string(),
        &format!("of {} running", before.running_tasks),
    );
    row("  of them stuck", &|summary| summary.stuck_tasks.to_string(), "can't be moved now; why: below");
    row(
        "task imbalance",
        &|summary| percent(summary.task_imbalance_percent),
        "misplaced ÷ running, of services that spread",
    );
    row("largest skew", &|summary| summary.task_skew.to_string(), "most minus fewest tasks of one service");
    row(
        "load imbalance",
        &|summary| percent(summary.load_imbalance_percent),
        &format!("share of reservations to even out (CPU {})", percent(before.cpu_load_imbalance_percent)),
    );
    row(
        "empty instances",
        &|summary| summary.empty_instances.to_string(),
        &format!("of {}", before.container_instances),
    );
    text
}

fn outcome(report: &Report, paint: &Paint) -> String {
    let style = match report.outcome {
        Outcome::Balanced | Outcome::Rebalanced => &paint.good,
        Outcome::Planned | Outcome::Skipped | Outcome::Interrupted | Outcome::Unchanged => &paint.strong,
        Outcome::Failed => &paint.bad,
    };
    let word = report.outcome.word();
    let text = wrapped(&format!("{word}: "), &report.outcome_reason, paint);
    let mut text = text.replacen(word, &style.apply_to(word).to_string(), 1);
    for left in &report.left_raised {
        let sentence = format!(
            "{} is left at desired count {}, and {} is meant; the next run restores it",
            left.service, left.count, left.count_meant
        );
        text += &wrapped("  ", &sentence, paint);
    }
    let requests: u64 = report.api_calls.values().sum();
    let line =
        format!("{}, {} s, run {}", counted(requests, "request", "requests"), report.duration_seconds, report.run_id);
    text.push_str(&format!("{}\n", paint.quiet.apply_to(line)));
    text
}

fn percent(value: f64) -> String {
    format!("{value:.1} %")
}

#[cfg(test)]
pub(super) mod tests;
