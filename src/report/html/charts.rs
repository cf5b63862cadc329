//! The timeline: running and healthy tasks against what was desired and the least that was allowed.

use std::borrow::Cow;

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::{counted, grouped, scrolled, section};
use crate::report::{COMPARED, Comparison, Moment, Played, PlayedService, Report, WatchedService, compared};

const SIZE: (u32, u32) = (760, 260);
/// More charts than this are for nobody; the table has every service.
const CHARTS: usize = 12;

/// The lines, each in a colour that the style sheet replaces by that of light or dark.
const DESIRED: RGBColor = RGBColor(1, 0, 1);
const RUNNING: RGBColor = RGBColor(1, 0, 2);
const HEALTHY: RGBColor = RGBColor(1, 0, 3);
const LEAST: RGBColor = RGBColor(1, 0, 4);
const GRID: RGBColor = RGBColor(1, 0, 5);

/// All services together, some of them each, and a table of them all.
pub(super) fn render(report: &Report) -> Markup {
    let Some(played) = &report.rehearsal else { return watched(&report.pictures.watched) };
    let columns = compared(report);
    if played.services.is_empty() && columns.is_empty() && report.dry_run {
        return html! {};
    }
    let content = html! {
        @if played.services.is_empty() {
            p { "No task was started or stopped." }
        } @else {
            (key(true))
            (figures(&busiest(&played.services).into_iter().map(Line::played).collect::<Vec<_>>()))
            (scrolled("What happened to each service", &table(played)))
        }
        @if !columns.is_empty() { (comparison(&columns)) }
    };
    section("timeline", "How it went, second by second", &content)
}

/// The same of a real run, as far as its looks saw it.
fn watched(services: &[WatchedService]) -> Markup {
    let mut lines: Vec<Line<'_>> = services.iter().map(Line::watched).collect();
    if lines.is_empty() {
        return html! {};
    }
    lines.sort_by_key(|line| (std::cmp::Reverse(line.moments.len()), line.title));
    let content = html! {
        p { "As the run saw it each few seconds." }
        (key(false))
        (figures(&lines))
    };
    section("timeline", "How it went, second by second", &content)
}

/// All services together, and the first of them each.
fn figures(lines: &[Line<'_>]) -> Markup {
    html! {
        (figure(&together(lines)))
        @if lines.len() > 1 {
            details {
                summary { "Each service" @if lines.len() > CHARTS { ": the " (CHARTS) " that changed most" } }
                @for line in lines.iter().take(CHARTS) { (figure(line)) }
            }
        }
    }
}

fn key(shows_healthy: bool) -> Markup {
    html! {
        ul.legend aria-label="Lines" {
            li { span.line.desired aria-hidden="true" {} "desired count in force" }
            li { span.line.running aria-hidden="true" {} "running" }
            @if shows_healthy { li { span.line.healthy aria-hidden="true" {} "healthy" } }
            li { span.line.least aria-hidden="true" {} "least that may be healthy (minimumHealthyPercent)" }
        }
    }
}

fn busiest(services: &[PlayedService]) -> Vec<&PlayedService> {
    let mut busiest: Vec<&PlayedService> = services.iter().collect();
    busiest.sort_by(|a, b| (b.stopped + b.started, &a.name).cmp(&(a.stopped + a.started, &b.name)));
    busiest
}

/// One of a moment's counts.
type Part = fn(&Moment) -> u32;

/// What one chart shows.
struct Line<'a> {
    title: &'a str,
    moments: Cow<'a, [Moment]>,
    least: u32,
    shows_healthy: bool,
}

impl<'a> Line<'a> {
    fn played(service: &'a PlayedService) -> Self {
        let moments = Cow::Borrowed(service.moments.as_slice());
        Self { title: &service.name, moments, least: service.minimum_healthy, shows_healthy: true }
    }

    fn watched(service: &'a WatchedService) -> Self {
        let moments = Cow::Borrowed(service.moments.as_slice());
        Self { title: &service.name, moments, least: service.minimum_healthy, shows_healthy: false }
    }
}

/// The sums over services, at each moment that one of them changed.
fn together(services: &[Line<'_>]) -> Line<'static> {
    let mut times: Vec<u64> = services.iter().flat_map(|it| it.moments.iter().map(|moment| moment.seconds)).collect();
    times.sort_unstable();
    times.dedup();
    let mut next = vec![0; services.len()];
    let moments = times.into_iter().map(|seconds| {
        let mut sum = Moment { seconds, desired: 0, running: 0, healthy: 0 };
        for (service, next) in services.iter().zip(&mut next) {
            while service.moments.get(*next + 1).is_some_and(|moment| moment.seconds <= seconds) {
                *next += 1;
            }
            if let Some(moment) = service.moments.get(*next) {
                sum.desired += moment.desired;
                sum.running += moment.running;
                sum.healthy += moment.healthy;
            }
        }
        sum
    });
    Line {
        title: "All services that were changed, together",
        moments: moments.collect(),
        least: services.iter().map(|it| it.least).sum(),
        shows_healthy: services.iter().all(|it| it.shows_healthy),
    }
}

fn figure(line: &Line<'_>) -> Markup {
    let Some(svg) = drawn(line) else { return html! {} };
    html! {
        figure {
            figcaption { (line.title) ": " (never_below(line)) }
            div.scroll.chart role="region" aria-label=(format!("Timeline of {}", line.title)) tabindex="0" { (PreEscaped(svg)) }
        }
    }
}

/// How low it came, and whether the run took it there.
fn never_below(line: &Line<'_>) -> String {
    let what = if line.shows_healthy { "healthy" } else { "running" };
    let lowest = line.moments.iter().map(|moment| moment.healthy).min().unwrap_or(0);
    let (desired, found) = line.moments.first().map_or((0, 0), |first| (first.desired, first.healthy));
    let told = if lowest >= found && found < desired {
        let found = counted(found as usize, "task was", "tasks were");
        format!("{found} {what} as found, of {} desired, and never fewer", grouped(desired as usize))
    } else {
        let (one, many) =
            if line.shows_healthy { ("healthy task", "healthy tasks") } else { ("running task", "running tasks") };
        format!("never below {} of {} desired", counted(lowest as usize, one, many), grouped(desired as usize))
    };
    format!("{told}; minimumHealthyPercent allows {}", grouped(line.least as usize))
}

/// The chart as SVG; its text stays text.
fn drawn(line: &Line<'_>) -> Option<String> {
    let end = line.moments.last()?.seconds + 5;
    let counts = || line.moments.iter().flat_map(|moment| [moment.desired, moment.running, moment.healthy]);
    let (most, fewest) = (counts().max()?, counts().min()?.min(line.least));
    let margin = ((most - fewest) / 8).max(1);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(0..end, fewest.saturating_sub(margin)..most + margin)
            .ok()?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(("sans-serif", 13))
            .y_labels(6)
            .x_labels(8)
            .x_label_formatter(&|seconds| format!("{}:{:02}", seconds / 60, seconds % 60))
            .x_desc("minutes:seconds")
            .y_desc("tasks")
            .draw()
            .ok()?;
        let lines: [(RGBColor, u32, Part); 3] =
            [(DESIRED, 2, |it| it.desired), (RUNNING, 2, |it| it.running), (HEALTHY, 3, |it| it.healthy)];
        for (colour, width, part) in lines.into_iter().take(if line.shows_healthy { 3 } else { 2 }) {
            chart.draw_series(LineSeries::new(steps(&line.moments, part, end), colour.stroke_width(width))).ok()?;
        }
        chart.draw_series(LineSeries::new([(0, line.least), (end, line.least)], LEAST.stroke_width(2))).ok()?;
        area.present().ok()?;
    }
    Some(svg)
}

/// A count holds until it changes.
fn steps(moments: &[Moment], part: Part, end: u64) -> Vec<(u64, u32)> {
    let mut points: Vec<(u64, u32)> = Vec::new();
    for moment in moments {
        let now = part(moment);
        match points.last() {
            Some((_, before)) if *before == now => continue,
            Some((_, before)) => points.push((moment.seconds, *before)),
            None => {}
        }
        points.push((moment.seconds, now));
    }
    if let Some((_, last)) = points.last().copied() {
        points.push((end, last));
    }
    points
}

fn table(played: &Played) -> Markup {
    html! {
        table {
            caption { span { (counted(played.services.len(), "service", "services")) " in " (played.simulated_seconds) " simulated seconds" } }
            thead {
                tr {
                    th scope="col" { "Service" }
                    th scope="col" { "Desired" }
                    th scope="col" { "Minimum healthy" }
                    th scope="col" { "Lowest healthy" }
                    th scope="col" { "Started" }
                    th scope="col" { "Stopped" }
                }
            }
            tbody {
                @for service in &played.services {
                    tr {
                        th scope="row" { (service.name) }
                        td { (service.desired) }
                        td { (service.minimum_healthy) }
                        td {
                            (service.lowest_healthy)
                            @match service.below_its_minimum() {
                                Some(true) => " as found",
                                Some(false) => strong.bad { " below the minimum" },
                                None => "",
                            }
                        }
                        td { (service.started) }
                        td { (service.stopped) }
                    }
                }
            }
        }
    }
}

fn comparison(columns: &[Comparison]) -> Markup {
    let table = html! {
        table {
            caption { span { "On the same cluster, under the same chance" } }
            thead { tr { td {} @for column in columns { th scope="col" { (column.policy) } } } }
            tbody {
                @for (name, figure) in COMPARED {
                    tr { th scope="row" { (name) } @for column in columns { td { (figure(column)) } } }
                }
            }
        }
    };
    scrolled("Comparison with other policies", &table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missing_as_found_is_not_laid_at_the_run_s_door() {
        let told = |healthy: &[u32]| {
            let moments: Vec<Moment> = healthy
                .iter()
                .zip(0..)
                .map(|(healthy, seconds)| Moment { seconds, desired: 73, running: 73, healthy: *healthy })
                .collect();
            never_below(&Line { title: "web", moments: moments.into(), least: 70, shows_healthy: true })
        };
        assert_eq!(told(&[73, 75, 73]), "never below 73 healthy tasks of 73 desired; minimumHealthyPercent allows 70");
        assert_eq!(
            told(&[71, 73, 71]),
            "71 tasks were healthy as found, of 73 desired, and never fewer; minimumHealthyPercent allows 70"
        );
        assert_eq!(told(&[71, 70]), "never below 70 healthy tasks of 73 desired; minimumHealthyPercent allows 70");
        assert_eq!(
            told(&[1, 2]),
            "1 task was healthy as found, of 73 desired, and never fewer; minimumHealthyPercent allows 70"
        );
        assert_eq!(told(&[73, 1]), "never below 1 healthy task of 73 desired; minimumHealthyPercent allows 70");
    }
}
