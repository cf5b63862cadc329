//! Where the tasks are: services as rows, container instances by zone as columns, counts as colour, before and after.

mod columns;

use std::collections::BTreeMap;

use maud::{Markup, html};

use self::columns::{Column, level};
use super::{afterwards, counted, scrolled, section};
use crate::report::{InstanceReport, Report, ServiceReport, instances::PICTURED};

/// Rows of services that are spread: at ECS's quotas the page would be tens of megabytes.
const MOST_EVEN: usize = 200;

/// The uneven services; the others on demand.
pub(super) fn render(report: &Report) -> Markup {
    if report.pictures.found.is_empty() || report.services.is_empty() {
        return html! {};
    }
    let after = afterwards(report);
    let matrix = Matrix::new(&report.pictures.found, after.map(|(instances, _)| instances));
    let (mut uneven, mut even): (Vec<&ServiceReport>, Vec<&ServiceReport>) =
        report.services.iter().partition(|service| service.misplaced_tasks > 0 || service.moved > 0);
    uneven.sort_by(|a, b| (b.misplaced_tasks, b.task_skew, &a.name).cmp(&(a.misplaced_tasks, a.task_skew, &b.name)));
    even.sort_by(|a, b| (b.task_skew, &a.name).cmp(&(a.task_skew, &b.name)));
    let when = after.map_or("found", |(_, when)| when);
    let content = html! {
        p {
            "Each number is a count of tasks"
            @if after.is_some() { "; where it changed: as found, then " (when) }
            ". "
            @if matrix.is_aggregated { "Container instances are grouped by zone and by how full they were found, in percent; below that stands their number. " }
            "The colour compares it with an even arrangement, as the service’s placement strategy asks for."
        }
        (legend())
        @if uneven.is_empty() {
            p { "No service has misplaced tasks." }
        } @else {
            (matrix.on_screen("Services with misplaced tasks", &uneven, PICTURED))
            (matrix.in_print(&uneven, PICTURED))
        }
        @if !even.is_empty() {
            details {
                summary { (counted(even.len(), "service has", "services have")) " no misplaced tasks" }
                (matrix.on_screen("Services without misplaced tasks", &even, MOST_EVEN))
            }
        }
    };
    section("matrix", "Where the tasks are", &content)
}

fn legend() -> Markup {
    html! {
        ul.legend aria-label="Colours" {
            @for (class, meaning) in [
                ("p2", "far more than even"),
                ("p1", "more"),
                ("n0", "even"),
                ("m1", "fewer"),
                ("m2", "far fewer"),
            ] {
                li { span class=(format!("c {class}")) aria-hidden="true" { "n" } " " (meaning) }
            }
        }
    }
}

/// A service's tasks in one column.
#[derive(Clone, Copy, Default)]
struct Count {
    tasks: u32,
    even_hundredths: u32,
}

/// The counts of all services.
struct Matrix {
    columns: Vec<Column>,
    is_aggregated: bool,
    /// Of each service, by column: as found, and after.
    counts: BTreeMap<String, Vec<[Count; 2]>>,
    has_after: bool,
}

impl Matrix {
    fn new(before: &[InstanceReport], after: Option<&[InstanceReport]>) -> Self {
        let (columns, is_aggregated) = columns::of(before, after.unwrap_or_default());
        let mut counts: BTreeMap<String, Vec<[Count; 2]>> = BTreeMap::new();
        let number = columns.len();
        for (index, column) in columns.iter().enumerate() {
            let mut add = |instances: &[InstanceReport], when: usize| {
                for instance in instances.iter().filter(|instance| column.instances.contains(&instance.arn)) {
                    for (service, tasks) in &instance.tasks {
                        let row =
                            counts.entry(service.clone()).or_insert_with(|| vec![<[Count; 2]>::default(); number]);
                        let cell = &mut row[index][when];
                        cell.tasks += tasks.running;
                        // A service that is spread is even wherever it is.
                        cell.even_hundredths += tasks.even_hundredths.unwrap_or(tasks.running * 100);
                    }
                }
            };
            add(before, 0);
            add(after.unwrap_or(before), 1);
        }
        Self { columns, is_aggregated, counts, has_after: after.is_some() }
    }

    /// All zones side by side.
    fn on_screen(&self, caption: &str, services: &[&ServiceReport], most: usize) -> Markup {
        let zones = columns::zones(&self.columns);
        let zones: Vec<&str> = zones.into_iter().map(|(zone, _)| zone).collect();
        html! { div.screen { (scrolled(&format!("{caption}, by container instance"), &self.table(caption, services, most, &zones))) } }
    }

    /// A table a zone: paper doesn't scroll.
    fn in_print(&self, services: &[&ServiceReport], most: usize) -> Markup {
        html! {
            div.paper {
                @for (zone, _) in columns::zones(&self.columns) { (self.table(&format!("Zone {zone}"), services, most, &[zone])) }
            }
        }
    }

    fn table(&self, caption: &str, services: &[&ServiceReport], most: usize, zones: &[&str]) -> Markup {
        let columns: Vec<(usize, &Column)> =
            self.columns.iter().enumerate().filter(|(_, column)| zones.contains(&column.zone.as_str())).collect();
        let span = |zone: &str| columns.iter().filter(|(_, column)| column.zone == zone).count() + 1;
        let more = services.len().saturating_sub(most);
        html! {
            table.matrix.grouped[self.is_aggregated] {
                caption { span { (caption) } }
                thead {
                    tr {
                        th scope="col" rowspan="2" { "Service" }
                        th scope="col" rowspan="2" { "Tasks" }
                        th scope="col" rowspan="2" { "Mis­placed" }
                        @for zone in zones { th.zone scope="colgroup" colspan=(span(zone)) { (zone) } }
                    }
                    tr {
                        @for (_, column) in &columns {
                            @if column.begins_zone { th.zone scope="col" { "all" } }
                            th scope="col" {
                                abbr title=(column.name) { (column.head) }
                                @if self.is_aggregated { br; small { (column.instances.len()) } }
                            }
                        }
                    }
                }
                tbody {
                    @for service in services.iter().take(most) { (self.row(service, &columns)) }
                }
                @if more > 0 {
                    tfoot { tr { th scope="row" { "and " (counted(more, "more", "more")) } td colspan=(columns.len() + zones.len() + 2) {} } }
                }
            }
        }
    }

    fn row(&self, service: &ServiceReport, columns: &[(usize, &Column)]) -> Markup {
        let nothing = vec![<[Count; 2]>::default(); self.columns.len()];
        let counts = self.counts.get(&service.name).unwrap_or(&nothing);
        html! {
            tr {
                th scope="row" { (service.name) }
                td { (service.running_tasks) }
                td { (service.misplaced_tasks) }
                @for (index, column) in columns {
                    @if column.begins_zone { td.zone.all { (self.change(self.of_zone(&column.zone, counts))) } }
                    td { (self.change(counts[*index])) }
                }
            }
        }
    }
}

impl Matrix {
    /// A service's tasks in a whole zone.
    fn of_zone(&self, zone: &str, counts: &[[Count; 2]]) -> [Count; 2] {
        let of_zone = self.columns.iter().zip(counts).filter(|(column, _)| column.zone == zone);
        of_zone.fold(<[Count; 2]>::default(), |sum, (_, count)| {
            [0, 1].map(|when| Count {
                tasks: sum[when].tasks + count[when].tasks,
                even_hundredths: sum[when].even_hundredths + count[when].even_hundredths,
            })
        })
    }

    /// A count, and what became of it.
    fn change(&self, [found, then]: [Count; 2]) -> Markup {
        html! {
            (chip(found))
            @if self.has_after && then.tasks != found.tasks { span.to { span.arrow { "→" } (chip(then)) } }
        }
    }
}

fn chip(count: Count) -> Markup {
    html! { span class=(format!("c {}", level(count.tasks, count.even_hundredths))) { (count.tasks) } }
}
