//! The report for people's browsers: one self-contained file that needs neither a script nor the network.

mod charts;
mod consolidation;
mod figures;
mod instances;
mod matrix;
mod moves;
mod rest;
mod services;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{InstanceReport, Report, clean};
use crate::{line::iso_8601, planning::model::Timestamp};

/// Light, dark, narrow and printed.
const STYLE: &str = include_str!("html/style.css");
/// More container instances than this are shown by zone and fullness, each alone on demand.
const EACH: usize = 24;

/// The whole document.
pub fn document(report: &Report) -> String {
    let report = &clean::clean(report);
    let title = format!("{}: {}", report.cluster, report.outcome.word());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – ecs-rebalancer" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "To the report" }
                (head(report))
                main #main tabindex="-1" {
                    (rest::notes(report))
                    (moves::answer(report))
                    (figures::render(report))
                    (consolidation::render(report))
                    (matrix::render(report))
                    (instances::render(report))
                    (charts::render(report))
                    (services::render(report))
                    (moves::render(report))
                    (rest::requests(report))
                    (rest::configuration(report))
                }
                footer { p { "Written by ecs-rebalancer " (env!("CARGO_PKG_VERSION")) ". Run " code { (report.run_id) } "." } }
            }
        }
    };
    page.into_string()
}

fn head(report: &Report) -> Markup {
    let requests: u64 = report.api_calls.values().sum();
    html! {
        header {
            h1 { "Cluster " (report.cluster) }
            p.outcome {
                strong class=(format!("badge {}", report.outcome.word())) { (report.outcome.word()) }
                " " (report.outcome_reason) "."
            }
            p.facts {
                @if !report.region.is_empty() { "Region " (report.region) ", account " (report.account) ". " }
                @if let Some(began) = report.began { "Began " (date(began)) " UTC. " }
                @if report.dry_run { "A dry run: nothing was changed. " }
                @if report.rehearsal.is_some() { "A rehearsal on a simulated cluster. " }
                "Mode " (report.mode) ", " (requests) " requests, " (report.duration_seconds) " s."
                @if let Some(trigger) = &report.trigger { " Launched by " code { (trigger) } "." }
            }
        }
    }
}

/// `2026-05-04 12:00:00`.
fn date(at: Timestamp) -> String {
    iso_8601(at).chars().take(19).collect::<String>().replace('T', " ")
}

/// What came of the cluster, or would: the instances, and the word for it.
fn afterwards(report: &Report) -> Option<(&[InstanceReport], &'static str)> {
    let (after, predicted) = (&report.pictures.after, &report.pictures.predicted);
    if !after.is_empty() {
        Some((after, "after"))
    } else if !predicted.is_empty() && !report.plan.is_empty() {
        Some((predicted, "predicted"))
    } else {
        None
    }
}

/// A part of the page with its heading.
fn section(id: &str, heading: &str, content: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (heading) }
            (content)
        }
    }
}

/// What may be wider than the page scrolls by itself, with the keyboard too.
fn scrolled(label: &str, content: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (content) } }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(number)) }
}

/// `3863` as `3,863`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
