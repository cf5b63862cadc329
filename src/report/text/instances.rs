//! The picture: a bar for each container instance, or, where there are many, for each degree of fullness; now and, beside it, as
//! the plan or the run left it.

use super::{
    Paint,
    layout::{pad, width, wrapped},
    percent,
};
use crate::report::{FarFromMean, InstanceReport, Report, Summary, container_instances};

/// More than this many bars are no picture any more.
const BARS: usize = 24;
/// A full bar, where there is one in a line.
const BAR_WIDTH: usize = 32;
/// What is said behind an instance on which ECS places no tasks.
const NOT_USABLE: &str = "  not usable";
/// A shorter bar shows nothing.
const NARROWEST_BAR: usize = 6;
/// What follows a bar beside another: how full an instance is, and its tasks.
const FILL_WIDTH: usize = 13;
/// Between a time's column and the next.
const GAP: usize = 2;
/// Upper bounds of the degrees of fullness, in percent, beside "empty".
const DEGREES: [u32; 5] = [20, 40, 60, 80, 100];

/// The container instances at one time, and what that time is called.
type State<'a> = (&'static str, &'a [InstanceReport]);

/// Draws the instances.
pub(super) fn render(report: &Report, summary: &Summary, paint: &Paint) -> String {
    let head = format!(
        "{}; {} of CPU and {} of memory are reserved",
        container_instances(summary.container_instances),
        percent(summary.cpu_reservation_percent),
        percent(summary.memory_reservation_percent)
    );
    let after: State<'_> = ("after", &report.pictures.after);
    let predicted: State<'_> = ("predicted", &report.pictures.predicted);
    let is_told = |(_, instances): &State<'_>| !instances.is_empty() && !report.plan.is_empty();
    let later = Some(after).filter(is_told).or(Some(predicted).filter(is_told));
    let states: Vec<State<'_>> = [("found", &*report.pictures.found)].into_iter().chain(later).collect();
    let fits = states.iter().all(|(_, instances)| instances.len() <= BARS);
    let picture = if fits { each(&states, paint) } else { by_fullness(&states, paint) };
    let far = report.far_from_mean.iter().flat_map(FarFromMean::lines);
    let far: String = far.map(|(side, told)| wrapped("  ", &format!("{side}: {told}"), paint)).collect();
    wrapped("", &head, paint) + &picture + &far
}

/// As wide as the bars of so many columns can be behind what a line begins with.
fn bar_width(states: &[State<'_>], indent: usize, fill: usize, width: usize) -> usize {
    let columns = states.len();
    (width.saturating_sub(indent).saturating_sub((columns - 1) * GAP) / columns)
        .saturating_sub(fill)
        .clamp(1, BAR_WIDTH)
}

/// A line with the name of each time over its column, where there are several.
fn heads(states: &[State<'_>], indent: usize, head: impl Fn(&str) -> String) -> String {
    if states.len() == 1 {
        return String::new();
    }
    let heads: String = states.iter().map(|(name, _)| head(name)).collect();
    format!("{:indent$}{}\n", "", heads.trim_end())
}

fn each(states: &[State<'_>], paint: &Paint) -> String {
    let mut rows: Vec<&InstanceReport> = states.iter().flat_map(|(_, instances)| *instances).collect();
    rows.sort_by_key(|row| (&row.availability_zone, &row.name, &row.arn));
    rows.dedup_by_key(|row| &row.arn);
    let widest = |part: fn(&InstanceReport) -> &str| rows.iter().map(|row| width(part(row))).max().unwrap_or(0);
    let zone_width = widest(|instance| &instance.availability_zone);
    let name_width = widest(|instance| &instance.name);
    // Where the screen is narrow, an instance's name stands above its bars.
    let beside = zone_width + name_width + 6;
    let remark = if rows.iter().all(|row| row.usable) { 0 } else { width(NOT_USABLE) };
    let picture = paint.picture.saturating_sub(remark);
    let is_above = beside + states.len() * (NARROWEST_BAR + FILL_WIDTH + GAP) > picture;
    let indent = if is_above { 4 } else { beside };
    let bar_width = bar_width(states, indent, FILL_WIDTH, picture);
    let column = bar_width + FILL_WIDTH + GAP;
    let mut text = heads(states, indent, |name| format!("{name:0$}{1:>7}  ", bar_width + 6, "tasks"));
    for row in rows {
        let mut line = if is_above {
            format!("  {}  {}\n    ", row.availability_zone, row.name)
        } else {
            format!("  {}  {}  ", pad(&row.availability_zone, zone_width), pad(&row.name, name_width))
        };
        for (_, instances) in states {
            let instance = instances.iter().find(|instance| instance.arn == row.arn);
            line.push_str(&match instance {
                None => format!("{:column$}", "not there"),
                Some(instance) if states.len() == 1 => alone(instance, bar_width, paint),
                Some(instance) => format!("{} {:>6}  ", fill(instance, bar_width, paint), instance.running_tasks),
            });
        }
        text.push_str(line.trim_end());
        text.push_str(if row.usable { "" } else { NOT_USABLE });
        text.push('\n');
    }
    text
}

/// An instance that has the line to itself.
fn alone(instance: &InstanceReport, bar_width: usize, paint: &Paint) -> String {
    let noun = if instance.running_tasks == 1 { "task" } else { "tasks" };
    format!("{}  {} {noun}", fill(instance, bar_width, paint), instance.running_tasks)
}

/// A bar, and how full it is.
fn fill(instance: &InstanceReport, width: usize, paint: &Paint) -> String {
    let filled = (reserved(instance) as usize * width).div_ceil(100);
    format!("{} {:>5}", bar(filled.min(width), width, paint), format!("{} %", reserved(instance)))
}

fn by_fullness(states: &[State<'_>], paint: &Paint) -> String {
    let mut degrees = vec!["empty".to_owned()];
    let mut lower = 0;
    for upper in DEGREES {
        degrees.push(format!("{lower} to {upper} %"));
        lower = upper;
    }
    let counts: Vec<Vec<usize>> = states.iter().map(|(_, instances)| counted(instances)).collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let (indent, fill, noun) = (16, 6, " instances");
    let width = bar_width(states, indent + noun.len(), fill, paint.picture);
    let mut text = heads(states, indent, |name| format!("{name:0$}", width + fill + GAP));
    for (degree, name) in degrees.iter().enumerate() {
        text.push_str(&format!("  {name:>12}"));
        for counts in &counts {
            let bar = bar((counts[degree] * width).div_ceil(most), width, paint);
            text.push_str(&format!("  {bar} {:>5}", counts[degree]));
        }
        text.push_str(noun);
        text.push('\n');
    }
    text
}

/// How many instances are empty, and how many are of each degree.
fn counted(instances: &[InstanceReport]) -> Vec<usize> {
    let mut counts = vec![0; DEGREES.len() + 1];
    for instance in instances {
        let degree = || DEGREES.iter().position(|upper| reserved(instance) <= *upper).unwrap_or(DEGREES.len() - 1);
        counts[if instance.running_tasks == 0 { 0 } else { 1 + degree() }] += 1;
    }
    counts
}

/// The larger of reserved CPU and memory: what the next task would run into.
fn reserved(instance: &InstanceReport) -> u32 {
    instance.reserved_cpu_percent.max(instance.reserved_memory_percent)
}

fn bar(filled: usize, width: usize, paint: &Paint) -> String {
    format!("{}{}", "█".repeat(filled), paint.quiet.apply_to("░".repeat(width - filled)))
}
