//! The picture: a bar for each container instance, or, where there are many, for each degree of fullness.

use super::{Paint, percent};
use crate::report::{InstanceReport, Summary};

/// More than this many bars are no picture any more.
const BARS: usize = 24;
/// A full bar.
const BAR_WIDTH: usize = 32;
/// Upper bounds of the degrees of fullness, in percent, beside "empty".
const DEGREES: [u32; 5] = [20, 40, 60, 80, 100];

/// Draws the instances.
pub(super) fn render(instances: &[InstanceReport], summary: &Summary, paint: &Paint) -> String {
    let head = format!(
        "{} container instances, reserved {} of CPU and {} of memory\n",
        summary.container_instances,
        percent(summary.cpu_reservation_percent),
        percent(summary.memory_reservation_percent)
    );
    head + &if instances.len() <= BARS { each(instances, paint) } else { by_fullness(instances, paint) }
}

fn each(instances: &[InstanceReport], paint: &Paint) -> String {
    let width = |part: fn(&InstanceReport) -> &str| {
        instances.iter().map(|instance| part(instance).chars().count()).max().unwrap_or(0)
    };
    let zone_width = width(|instance| &instance.availability_zone).min(16);
    let name_width = width(|instance| &instance.name).min(20);
    let mut text = String::new();
    for instance in instances {
        let filled = (reserved(instance) as usize * BAR_WIDTH).div_ceil(100);
        let bar = bar(filled.min(BAR_WIDTH), BAR_WIDTH, paint);
        let tasks = match instance.running_tasks {
            1 => "1 task".to_owned(),
            tasks => format!("{tasks} tasks"),
        };
        let mark = if instance.usable { "" } else { "  not usable" };
        text.push_str(&format!(
            "  {:zone_width$}  {:name_width$}  {bar} {:>4}  {tasks}{mark}\n",
            cut(&instance.availability_zone, zone_width),
            cut(&instance.name, name_width),
            format!("{} %", reserved(instance)),
        ));
    }
    text
}

fn by_fullness(instances: &[InstanceReport], paint: &Paint) -> String {
    let mut classes: Vec<(String, usize)> = vec![("empty".to_owned(), 0)];
    let mut lower = 0;
    for upper in DEGREES {
        classes.push((format!("{lower} to {upper} %"), 0));
        lower = upper;
    }
    for instance in instances {
        let class = if instance.running_tasks == 0 {
            0
        } else {
            1 + DEGREES.iter().position(|upper| reserved(instance) <= *upper).unwrap_or(DEGREES.len() - 1)
        };
        classes[class].1 += 1;
    }
    let most = classes.iter().map(|class| class.1).max().unwrap_or(0).max(1);
    classes
        .iter()
        .map(|(name, count)| {
            let bar = bar((count * BAR_WIDTH).div_ceil(most), BAR_WIDTH, paint);
            format!("  {name:>12}  {bar} {count:>5} instances\n")
        })
        .collect()
}

/// The larger of reserved CPU and memory: what the next task would run into.
fn reserved(instance: &InstanceReport) -> u32 {
    instance.reserved_cpu_percent.max(instance.reserved_memory_percent)
}

fn bar(filled: usize, width: usize, paint: &Paint) -> String {
    format!("{}{}", "█".repeat(filled), paint.quiet.apply_to("░".repeat(width - filled)))
}

fn cut(text: &str, width: usize) -> String {
    console::truncate_str(text, width, "…").into_owned()
}
