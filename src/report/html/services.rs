//! What was, or would be, done to each service, and why the rest is left alone.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{counted, scrolled, section};
use crate::report::{Action, Report, ServiceReport};

/// So many names are shown at once; more on demand.
const NAMED: usize = 12;

/// Services with something to say, worst first; the others are counted.
pub(super) fn render(report: &Report) -> Markup {
    let is_told = |service: &&ServiceReport| {
        service.misplaced_tasks > 0
            || !matches!(service.action, Action::None | Action::NotMeasured)
            || service.moved > 0
    };
    let mut told: Vec<&ServiceReport> = report.services.iter().filter(is_told).collect();
    if report.services.is_empty() {
        return html! {};
    }
    told.sort_by(|a, b| (b.misplaced_tasks, &a.name).cmp(&(a.misplaced_tasks, &b.name)));
    let spread = report.services.iter().filter(|service| service.action == Action::None).count();
    let mut unmeasured: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for service in report.services.iter().filter(|service| service.action == Action::NotMeasured) {
        unmeasured.entry((service.reason_code, &service.reason)).or_default().push(&service.name);
    }
    let mut would_be: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (service, why) in report.services.iter().filter_map(|service| Some((service, service.would_be_left_alone()?))) {
        would_be.entry((service.reason_code, why)).or_default().push(&service.name);
    }
    let content = html! {
        @if !told.is_empty() { (scrolled("Services with misplaced tasks", &table(&told, report))) }
        @if spread > 0 { p { (counted(spread, "service is", "services are")) " spread as the placement strategy asks." } }
        @for ((code, reason), names) in would_be {
            details open[names.len() <= NAMED] {
                summary { (counted(names.len(), "service that is spread", "services that are spread")) " would be left alone: " (reason) " (" code { (code) } ")" }
                p { (names.join(", ")) }
            }
        }
        @for ((code, reason), names) in unmeasured {
            details open[names.len() <= NAMED] {
                summary { (counted(names.len(), "service is", "services are")) " not measured: " (reason) " (" code { (code) } ")" }
                p { (names.join(", ")) }
            }
        }
    };
    section("services", "Services, and why some are left alone", &content)
}

fn table(services: &[&ServiceReport], report: &Report) -> Markup {
    html! {
        table {
            caption.vh { "Services of which something is told, the most misplaced tasks first" }
            thead {
                tr {
                    th scope="col" { "Service" }
                    th scope="col" { "Tasks" }
                    th scope="col" { "Misplaced" }
                    th scope="col" { "Stuck" }
                    th scope="col" { "Skew" }
                    th scope="col" { "Planned" }
                    @if report.after.is_some() { th scope="col" { "Moved" } }
                    th.text scope="col" { "What, and why" }
                }
            }
            tbody {
                @for service in services {
                    tr {
                        th.name scope="row" { (service.name) }
                        td { (service.running_tasks) }
                        td { (service.misplaced_tasks) }
                        td { (service.stuck_tasks) }
                        td { (service.task_skew) }
                        td { (service.planned_moves) }
                        @if report.after.is_some() { td { (service.moved) } }
                        td.text.why {
                            (what(service, report))
                            @if service.action == Action::Rebalance { @if let Some(strategy) = service.strategy { " by " (strategy) } }
                            @if !service.reason.is_empty() { ": " (service.reason) }
                            @if !service.reason_code.is_empty() { " (" code { (service.reason_code) } ")" }
                        }
                    }
                }
            }
        }
    }
}

fn what(service: &ServiceReport, report: &Report) -> &'static str {
    match service.action {
        Action::Rebalance if service.moved > 0 => "moved",
        Action::Rebalance if report.after.is_some() => "not moved",
        Action::Rebalance => "to be moved",
        Action::MakeRoom => "gets capacity",
        Action::LeaveAlone => "left alone",
        Action::None => "spread",
        Action::NotMeasured => "not measured",
    }
}
