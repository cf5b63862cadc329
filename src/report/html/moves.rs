//! Every planned move: which task goes, from where, and where its replacement is expected.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{counted, scrolled, section};
use crate::report::{InstanceReport, Place, PlannedMove, Report, text::cost};

/// More moves than this are shown on demand.
const OPEN: usize = 30;

/// What the plan costs, and what a setting would change.
pub(super) fn answer(report: &Report) -> Markup {
    let estimate = report.estimate.filter(|_| report.after.is_none() && !report.plan.is_empty());
    if estimate.is_none() && report.hints.is_empty() {
        return html! {};
    }
    let content = html! {
        @if let Some(estimate) = &estimate { p { (cost(estimate)) } }
        @if !report.hints.is_empty() { ul.notes { @for hint in &report.hints { li { strong { "Hint: " } (hint.sentence) "." } } } }
    };
    section("answer", "What the run would do", &content)
}

/// The table, folded where it is long.
pub(super) fn render(report: &Report) -> Markup {
    if report.plan.is_empty() {
        return html! {};
    }
    let known: BTreeMap<&str, &InstanceReport> =
        report.pictures.found.iter().map(|instance| (instance.arn.as_str(), instance)).collect();
    let moves = scrolled("Planned moves", &table(&report.plan, &known));
    let content = html! {
        p { "As planned; where ECS puts a replacement is ECS’s choice." }
        @if report.plan.len() > OPEN {
            details { summary { "All " (counted(report.plan.len(), "move", "moves")) } (moves) }
        } @else {
            (moves)
        }
    };
    section("moves", "Moves", &content)
}

fn table(moves: &[PlannedMove], known: &BTreeMap<&str, &InstanceReport>) -> Markup {
    let place = |place: &Place| {
        let instance = known.get(place.container_instance.as_str());
        html! {
            (instance.map_or_else(|| place.name(), |instance| &instance.name))
            @if let Some(instance) = instance { " " span.whole { "(" (instance.availability_zone) ")" } }
        }
    };
    html! {
        table {
            caption.vh { "Planned moves" }
            thead { tr { th scope="col" { "Service" } th.text scope="col" { "Task" } th.text scope="col" { "From" } th.text scope="col" { "To" } } }
            tbody {
                @for PlannedMove { service, task, from, to } in moves {
                    tr {
                        th.name scope="row" { (service) }
                        td.text { code.whole title=(short(task)) { (short(task).chars().take(8).collect::<String>()) } }
                        td.text { (place(from)) }
                        td.text { (place(to)) }
                    }
                }
            }
        }
    }
}

fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
