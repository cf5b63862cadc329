//! Which container instances come free, and why the others stay.

use maud::{Markup, html};

use super::{Report, counted, scrolled, section};
use crate::report::{consolidation::FreedInstance, text};

/// Up to so many are shown at once; the others on demand.
const ROWS: usize = 12;

/// The section; nothing in another mode.
pub(super) fn render(report: &Report) -> Markup {
    let Some(consolidation) = &report.consolidation else { return html! {} };
    let (first, more) = consolidation.freed.split_at(consolidation.freed.len().min(ROWS));
    let cost = consolidation.cost_of_freed();
    let content = html! {
        @if let Some(empty) = consolidation.empty_already() {
            p { (empty) "." }
            details {
                summary { "Each of them" }
                p { (consolidation.empty.iter().map(|instance| instance.name.as_str()).collect::<Vec<_>>().join(", ")) }
            }
        }
        @if !cost.is_empty() { p { (text::freed_number(consolidation)) (cost) "." } }
        @if first.is_empty() {
            p { "None can be set free." }
        } @else {
            (scrolled("Container instances set free, the first of them", &table(first)))
        }
        @if !more.is_empty() {
            details {
                summary { (counted(more.len(), "more instance", "more instances")) }
                (scrolled("More container instances set free", &table(more)))
            }
        }
        @if !consolidation.kept.is_empty() {
            h3 { "What stays" }
            ul {
                @for kept in &consolidation.kept {
                    li { (counted(kept.container_instances as usize, "instance", "instances")) ": " (kept.reason) }
                }
            }
        }
    };
    section("set-free", "Container instances set free", &content)
}

fn table(freed: &[FreedInstance]) -> Markup {
    html! {
        table {
            caption.vh { "Container instances set free, in the order in which they are emptied" }
            thead { tr {
                th scope="col" { "Instance" } th.text scope="col" { "Type" } th scope="col" { "Tasks moved" } th.text scope="col" { "State" } th.text scope="col" { "Then" }
            } }
            tbody {
                @for instance in freed {
                    tr {
                        th scope="row" { (instance.name()) }
                        td.text { (instance.instance_type) }
                        td { (instance.moves) }
                        td.text { @match instance.is_free { Some(true) => "free", Some(false) => "still holds tasks", None => "planned" } }
                        td.text { (text::then(instance)) }
                    }
                }
            }
        }
    }
}
