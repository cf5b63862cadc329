//! How full the container instances are, before and after: each, or by degree of fullness with each on demand.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{EACH, afterwards, counted, grouped, scrolled, section};
use crate::report::{FarFromMean, InstanceReport, Report};

/// The degrees of fullness, beside empty: an upper bound in percent, and its name.
const DEGREES: [(u32, &str); 5] =
    [(20, "1 to 20 %"), (40, "21 to 40 %"), (60, "41 to 60 %"), (80, "61 to 80 %"), (u32::MAX, "81 to 100 %")];

/// How full an instance is: a rank, and its name.
pub(super) fn fullness(instance: &InstanceReport) -> (usize, &'static str) {
    let reserved = instance.reserved_cpu_percent.max(instance.reserved_memory_percent);
    if !instance.usable {
        return (0, "not usable");
    }
    if instance.running_tasks == 0 {
        return (1, "empty");
    }
    let degree = DEGREES.iter().position(|(upper, _)| reserved <= *upper).unwrap_or(DEGREES.len() - 1);
    (2 + degree, DEGREES[degree].1)
}

/// Bars for a few, a distribution for many.
pub(super) fn render(report: &Report) -> Markup {
    let found = &report.pictures.found;
    if found.is_empty() {
        return html! {};
    }
    let after = afterwards(report);
    let content = html! {
        @if found.len() <= EACH {
            (scrolled("Container instances", &table(found, after, true)))
        } @else {
            p { "By the larger of reserved CPU and reserved memory." }
            (scrolled("Container instances by fullness", &distribution(found, after)))
            @for (zone, instances) in by_zone(found) {
                details {
                    summary { (zone) ": each of the " (counted(instances.len(), "container instance", "container instances")) }
                    (scrolled(&format!("Container instances of {zone}"), &table(&instances, after, false)))
                }
            }
        }
        @for (side, told) in report.far_from_mean.iter().flat_map(FarFromMean::lines) {
            p { "Instances " b { (side) } ": " (told) "." }
        }
    };
    section("instances", "How full the container instances are", &content)
}

fn by_zone(instances: &[InstanceReport]) -> BTreeMap<&str, Vec<InstanceReport>> {
    let mut zones: BTreeMap<&str, Vec<InstanceReport>> = BTreeMap::new();
    for instance in instances {
        zones.entry(&instance.availability_zone).or_default().push(instance.clone());
    }
    for instances in zones.values_mut() {
        instances.sort_by(|a, b| {
            let load =
                |it: &InstanceReport| (it.reserved_cpu_percent.max(it.reserved_memory_percent), it.running_tasks);
            load(b).cmp(&load(a)).then_with(|| a.name.cmp(&b.name))
        });
    }
    zones
}

type After<'a> = Option<(&'a [InstanceReport], &'static str)>;

fn table(found: &[InstanceReport], after: After<'_>, with_zone_and_bars: bool) -> Markup {
    let later: BTreeMap<&str, &InstanceReport> = after
        .map(|(instances, _)| instances.iter().map(|instance| (instance.arn.as_str(), instance)).collect())
        .unwrap_or_default();
    html! {
        table.instances {
            caption {
                span {
                    "Reserved CPU and memory"
                    @if let Some((_, when)) = after { ", as found and " (when) }
                }
            }
            thead {
                tr {
                    @if with_zone_and_bars { th scope="col" { "Zone" } }
                    th.text scope="col" { "Instance" }
                    th scope="col" { "Tasks" }
                    th.barred[with_zone_and_bars] scope="col" { "CPU" }
                    th.barred[with_zone_and_bars] scope="col" { "Memory" }
                }
            }
            tbody {
                @for instance in found {
                    @let then = later.get(instance.arn.as_str()).copied();
                    tr {
                        @if with_zone_and_bars { td.text { (instance.availability_zone) } }
                        th scope="row" { (instance.name) @if !instance.usable { " (not usable)" } }
                        td { (change(instance.running_tasks, then.map(|it| it.running_tasks), "")) }
                        (share(instance.reserved_cpu_percent, then.map(|it| it.reserved_cpu_percent), with_zone_and_bars))
                        (share(instance.reserved_memory_percent, then.map(|it| it.reserved_memory_percent), with_zone_and_bars))
                    }
                }
            }
        }
    }
}

fn share(found: u32, then: Option<u32>, with_bars: bool) -> Markup {
    html! {
        td.barred[with_bars] {
            @if with_bars {
                span.bars aria-hidden="true" {
                    span.bar.was style=(format!("width:{}%", found.min(100))) {}
                    @if let Some(then) = then { span.bar.is style=(format!("width:{}%", then.min(100))) {} }
                }
            }
            (change(found, then, " %"))
        }
    }
}

/// A figure, or two of them where it changed.
fn change(found: u32, then: Option<u32>, unit: &str) -> String {
    match then {
        Some(then) if then != found => format!("{found} → {then}{unit}"),
        _ => format!("{found}{unit}"),
    }
}

/// Instances by zone, as found and afterwards.
type ByZone<'a> = BTreeMap<&'a str, (u32, u32)>;

fn distribution(found: &[InstanceReport], after: After<'_>) -> Markup {
    let zones: Vec<&str> = by_zone(found).into_keys().collect();
    let mut classes: BTreeMap<(usize, &str), ByZone<'_>> = BTreeMap::new();
    for instance in found {
        classes.entry(fullness(instance)).or_default().entry(&instance.availability_zone).or_default().0 += 1;
    }
    for instance in after.map(|(instances, _)| instances).unwrap_or_default() {
        classes.entry(fullness(instance)).or_default().entry(&instance.availability_zone).or_default().1 += 1;
    }
    let sum = |counts: &ByZone<'_>| counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let most = classes.values().map(|counts| sum(counts).0.max(sum(counts).1)).max().unwrap_or(1).max(1);
    let width = |count: u32| format!("width:{}%", u64::from(count) * 100 / u64::from(most));
    let shown = |(was, is): (u32, u32)| change(was, after.is_some().then_some(is), "");
    html! {
        table.instances {
            caption {
                span {
                    (grouped(found.len())) " container instances by fullness"
                    @if let Some((_, when)) = after { ", as found → " (when) }
                }
            }
            thead {
                tr {
                    th scope="col" { "Reserved" }
                    th.barred scope="col" { "All zones" }
                    @for zone in &zones { th scope="col" { (zone) } }
                }
            }
            tbody {
                @for ((_, name), counts) in &classes {
                    @let (was, is) = sum(counts);
                    tr {
                        th scope="row" { (name) }
                        td.barred {
                            span.bars aria-hidden="true" {
                                span.bar.was style=(width(was)) {}
                                @if after.is_some() { span.bar.is style=(width(is)) {} }
                            }
                            (shown((was, is)))
                        }
                        @for zone in &zones { td { (shown(counts.get(zone).copied().unwrap_or_default())) } }
                    }
                }
            }
        }
    }
}
