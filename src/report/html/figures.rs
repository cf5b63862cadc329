//! The figures at a glance: found, predicted, after.

use maud::{Markup, html};

use super::{counted, grouped, section};
use crate::report::{Report, Summary};

type Figure = (&'static str, fn(&Summary) -> String, &'static str);

const FIGURES: [Figure; 10] = [
    (
        "Misplaced tasks",
        |it| grouped(it.misplaced_tasks as usize),
        "the fewest that must move until every service is spread",
    ),
    ("of them stuck", |it| grouped(it.stuck_tasks as usize), "can’t be moved now; why: under “Services”"),
    ("Task imbalance", |it| percent(it.task_imbalance_percent), "misplaced ÷ running tasks, of services that spread"),
    ("Largest skew", |it| it.task_skew.to_string(), "most minus fewest tasks of one service over its domains"),
    ("Load imbalance", |it| percent(it.load_imbalance_percent), "share of the reservations that would have to move"),
    ("Empty instances", |it| grouped(it.empty_instances as usize), "without a task that is not a daemon’s"),
    ("Usable instances", |it| grouped(it.container_instances as usize), ""),
    ("Running tasks", |it| grouped(it.running_tasks as usize), ""),
    ("CPU reserved", |it| percent(it.cpu_reservation_percent), "of what usable instances have"),
    ("Memory reserved", |it| percent(it.memory_reservation_percent), "of what usable instances have"),
];

/// The headline cards, and the table.
pub(super) fn render(report: &Report) -> Markup {
    let Some(before) = &report.before else { return html! {} };
    let columns: Vec<(&str, &Summary)> =
        [("Found", Some(before)), ("Predicted", report.predicted.as_ref()), ("After", report.after.as_ref())]
            .into_iter()
            .filter_map(|(name, summary)| Some((name, summary?)))
            .collect();
    // What the run is about.
    let headlines =
        if report.consolidation.is_some() { [5, 6, 7, 4] } else { [0, 2, 3, 5] }.map(|number| FIGURES[number]);
    let last = columns.last().filter(|_| columns.len() > 1);
    let content = html! {
        ul.cards {
            @for (name, value, _) in headlines {
                li {
                    span { (name) }
                    strong {
                        (value(before))
                        @if let Some((when, after)) = last {
                            span aria-hidden="true" { " → " }
                            span.vh { ", " (when.to_lowercase()) " " }
                            (value(after))
                        }
                    }
                }
            }
            @if let Some((moved, restarted)) = moved(report) {
                li { span { "Tasks moved" } strong { (moved) } @if let Some(restarted) = restarted { small { (restarted) } } }
            }
        }
        table.figures {
            caption.vh { "The cluster’s figures" }
            thead { tr { td {} @for (name, _) in &columns { th scope="col" { (name) } } th.wide scope="col" { "What it means" } } }
            tbody {
                @for (name, value, meaning) in FIGURES {
                    tr {
                        th scope="row" { (name) }
                        @for (_, summary) in &columns { td { (value(summary)) } }
                        td.wide { (meaning) }
                    }
                }
            }
        }
    };
    section("figures", "At a glance", &content)
}

/// What was moved, and in a rehearsal what was restarted for it.
fn moved(report: &Report) -> Option<(String, Option<String>)> {
    report.after.as_ref()?;
    let moved = report.moved();
    let restarted = report
        .rehearsal
        .as_ref()
        .map(|played| counted(played.tasks_stopped as usize, "task stopped in all", "tasks stopped in all"));
    Some((grouped(moved as usize), restarted))
}

fn percent(value: f64) -> String {
    format!("{value:.1}\u{a0}%")
}
