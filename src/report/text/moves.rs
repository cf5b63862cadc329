//! What a dry run answers first: which tasks would move, from where to where, what that costs, and what a setting would change.

use super::{
    Paint,
    layout::{Row, left, table, wrapped},
};
use crate::report::{Estimate, Report, counted, tasks};

/// More moves than this are for the report's file.
const ROWS: usize = 20;

/// The moves and their cost; nothing where moves were made already.
pub(super) fn render(report: &Report, paint: &Paint) -> String {
    if report.after.is_some() || report.plan.is_empty() {
        return String::new();
    }
    let rows: Vec<Row> = report
        .plan
        .iter()
        .take(ROWS)
        .map(|it| {
            let task: String = it.task.rsplit('/').next().unwrap_or_default().chars().take(8).collect();
            let cells = vec![task, it.from.name().to_owned(), it.to.name().to_owned()];
            Row { name: it.service.clone(), cells, paragraph: String::new() }
        })
        .collect();
    let columns = [left("task"), left("from"), left("to")];
    let mut text = table("would move", &columns, "", &rows, paint);
    if report.plan.len() > ROWS {
        text += &wrapped(
            "  ",
            &format!("and {} more (REBALANCER_REPORT=plan.json lists all)", report.plan.len() - ROWS),
            paint,
        );
    }
    text.push('\n');
    if let Some(estimate) = &report.estimate {
        text += &wrapped("  ", &cost(estimate), paint);
    }
    text
}

/// In one sentence.
pub(in crate::report) fn cost(estimate: &Estimate) -> String {
    let below = match estimate.services_below_desired {
        0 => "no service goes below its desired count".to_owned(),
        number => {
            let services = counted(number as usize, "service goes", "services go");
            format!("{services} below the desired count for a while, never below minimumHealthyPercent")
        }
    };
    let restarts = tasks(estimate.restarts as usize);
    let verb = if estimate.restarts == 1 { "restarts" } else { "restart" };
    let in_vain = match estimate.starts_in_vain {
        0 => String::new(),
        number => format!(", about {} in vain", counted(number as usize, "start is", "starts are")),
    };
    format!("{restarts} {verb}{in_vain}, in about {}; {below}.", duration(estimate.seconds))
}

/// `45 s`, `4 min`, `2 h`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5_400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

/// What a setting would change.
pub(super) fn hints(report: &Report, paint: &Paint) -> String {
    report.hints.iter().map(|hint| wrapped("  hint: ", &format!("{}.", hint.sentence), paint)).collect()
}
