//! What was met on the way, the requests that were made, and the configuration in force.

use maud::{Markup, html};

use super::{scrolled, section};
use crate::report::Report;

/// Errors and notes, before all else.
pub(super) fn notes(report: &Report) -> Markup {
    if report.errors.is_empty() && report.warnings.is_empty() {
        return html! {};
    }
    let content = html! {
        ul.notes {
            @for error in &report.errors { li.error { strong { "Error: " } (error) } }
            @for warning in &report.warnings { li { strong { "Note: " } (warning) } }
        }
    };
    section("notes", "What went wrong, or is worth knowing", &content)
}

/// Attempts by operation.
pub(super) fn requests(report: &Report) -> Markup {
    let table = html! {
        table {
            caption.vh { "Requests by operation" }
            thead { tr { th scope="col" { "Operation" } th scope="col" { "Requests" } } }
            tbody {
                @for (operation, number) in &report.api_calls { tr { th scope="row" { (operation) } td { (number) } } }
                tr.total { th scope="row" { "All" } td { (report.api_calls.values().sum::<u64>()) } }
            }
        }
    };
    section("requests", "Requests made", &scrolled("Requests by operation", &table))
}

/// Every variable; what was set stands out.
pub(super) fn configuration(report: &Report) -> Markup {
    if report.pictures.configuration.is_empty() {
        return html! {};
    }
    let table = html! {
        table {
            caption.vh { "Configuration in force" }
            thead { tr { th scope="col" { "Variable" } th.text scope="col" { "Value" } th.text scope="col" { "Set by" } } }
            tbody {
                @for setting in &report.pictures.configuration {
                    tr {
                        th scope="row" { code { (setting.name) } }
                        td.text { (setting.value) }
                        td.text { @if setting.is_default { "default" } @else { strong { "this run" } } }
                    }
                }
            }
        }
    };
    section("configuration", "Configuration in force", &scrolled("Variables and their values", &table))
}
