//! Every planned move: which task goes, from where, and where its replacement is expected.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{counted, scrolled, section};
use crate::report::{InstanceReport, PlannedMove, Report};

/// More moves than this are shown on demand.
const OPEN: usize = 30;

/// The table, folded where it is long.
pub(super) fn render(report: &Report) -> Markup {
    if report.plan.is_empty() {
        return html! {};
    }
    let known: BTreeMap<&str, &InstanceReport> =
        report.container_instances.iter().map(|instance| (instance.arn.as_str(), instance)).collect();
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
    let place = |arn: &str| match known.get(arn) {
        Some(instance) => format!("{} ({})", instance.name, instance.availability_zone),
        None => short(arn).to_owned(),
    };
    html! {
        table {
            caption.vh { "Planned moves" }
            thead { tr { th scope="col" { "Service" } th.text scope="col" { "Task" } th.text scope="col" { "From" } th.text scope="col" { "To" } } }
            tbody {
                @for PlannedMove { service, task, from, to } in moves {
                    tr {
                        th scope="row" { (service) }
                        td.text { code { (short(task)) } }
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
