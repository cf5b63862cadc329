//! The report for people: 80 columns, the picture first, then the worst services, then why the rest was left alone.

mod consolidation;
mod instances;
mod played;
mod services;

use console::Style;

pub(super) use self::consolidation::then;

use super::{Outcome, Report, Summary, compared};

/// The width that every terminal, log and mail can show.
const WIDTH: usize = 80;

/// Colours, or none.
#[derive(Clone, Debug)]
struct Paint {
    good: Style,
    bad: Style,
    quiet: Style,
    strong: Style,
}

impl Paint {
    fn new(colour: bool) -> Self {
        let style = || Style::new().force_styling(colour);
        Self { good: style().green(), bad: style().red(), quiet: style().dim(), strong: style().bold() }
    }
}

/// The report as text, each line ending in a newline. Colour is for a terminal that has any, and never with `NO_COLOR`.
pub fn render(report: &Report, colour: bool) -> String {
    let paint = Paint::new(colour);
    let mut text = String::new();
    if let Some(before) = &report.before {
        text.push_str(&instances::render(report, before, &paint));
        text.push('\n');
        text.push_str(&figures(report, before));
        text.push('\n');
        if let Some(consolidation) = &report.consolidation {
            text.push_str(&consolidation::render(consolidation, &paint));
            text.push('\n');
        }
        text.push_str(&services::render(&report.services, &paint));
    }
    if let Some(played) = &report.rehearsal {
        if !text.ends_with("\n\n") {
            text.push('\n');
        }
        text.push_str(&played::render(played, &compared(report), &paint));
    }
    // One empty line, whichever part came last.
    text.truncate(text.trim_end().len());
    text.push_str(if text.is_empty() { "\n" } else { "\n\n" });
    for warning in &report.warnings {
        text.push_str(&wrapped("  note: ", warning));
    }
    for error in &report.errors {
        text.push_str(&wrapped("  error: ", error));
    }
    text.push_str(&outcome(report, &paint));
    text
}

fn figures(report: &Report, before: &Summary) -> String {
    let columns: Vec<(&str, &Summary)> =
        [("found", Some(before)), ("predicted", report.predicted.as_ref()), ("after", report.after.as_ref())]
            .into_iter()
            .filter_map(|(name, summary)| Some((name, summary?)))
            .collect();
    let mut text = String::new();
    if columns.len() > 1 {
        text.push_str(&format!("{:26}", ""));
        for (name, _) in &columns {
            text.push_str(&format!("{name:>12}"));
        }
        text.push('\n');
    }
    let mut row = |name: &str, value: &dyn Fn(&Summary) -> String, remark: &str| {
        text.push_str(&format!("  {name:24}"));
        for (_, summary) in &columns {
            text.push_str(&format!("{:>12}", value(summary)));
        }
        if columns.len() == 1 {
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
    let (word, style) = match report.outcome {
        Outcome::Balanced => ("balanced", &paint.good),
        Outcome::Rebalanced => ("rebalanced", &paint.good),
        Outcome::Planned => ("planned", &paint.strong),
        Outcome::Skipped => ("skipped", &paint.strong),
        Outcome::Interrupted => ("interrupted", &paint.strong),
        Outcome::Unchanged => ("unchanged", &paint.strong),
        Outcome::Failed => ("failed", &paint.bad),
    };
    let mut text = wrapped(&format!("{}: ", style.apply_to(word)), &report.outcome_reason);
    let requests: u64 = report.api_calls.values().sum();
    let line = format!(
        "cluster {}, {requests} requests, {} s, run {}",
        report.cluster, report.duration_seconds, report.run_id
    );
    text.push_str(&format!("{}\n", paint.quiet.apply_to(line)));
    text
}

/// A paragraph with a hanging indent as wide as its label.
fn wrapped(label: &str, paragraph: &str) -> String {
    let indent = console::measure_text_width(label);
    let mut lines = vec![label.to_owned()];
    let mut width = indent;
    for word in paragraph.split_whitespace() {
        let word_width = console::measure_text_width(word);
        if width > indent && width + 1 + word_width > WIDTH {
            lines.push(" ".repeat(indent));
            width = indent;
        }
        if let Some(line) = lines.last_mut() {
            if width > indent {
                line.push(' ');
                width += 1;
            }
            line.push_str(word);
        }
        width += word_width;
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn percent(value: f64) -> String {
    format!("{value:.1} %")
}
