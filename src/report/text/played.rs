//! What a rehearsal shows: the steps as they happened, and how low each service ever was.

use super::{Paint, WIDTH};
use crate::report::{COMPARED, Comparison, Moment, Played, PlayedService};

/// More steps than this are for the HTML report.
const STEPS: usize = 20;

/// The steps, the lowest counts, the comparison.
pub(super) fn render(played: &Played, compared: &[Comparison], paint: &Paint) -> String {
    if played.services.is_empty() && compared.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    let steps: Vec<(&str, Moment)> = played.services.iter().flat_map(turning_points).collect();
    if !steps.is_empty() {
        text.push_str(&format!(
            "{}\n",
            paint.strong.apply_to(format!(
                "  {:>7}  {:28}{:>9}{:>9}{:>9}",
                "second", "service", "desired", "running", "healthy"
            ))
        ));
    }
    for (service, moment) in steps.iter().take(STEPS) {
        let service = console::truncate_str(service, 28, "…");
        text.push_str(&format!(
            "  {:>7}  {service:28}{:>9}{:>9}{:>9}\n",
            moment.seconds, moment.desired, moment.running, moment.healthy
        ));
    }
    if steps.len() > STEPS {
        text.push_str(&format!("  {:>7}  and {} more steps\n", "…", steps.len() - STEPS));
    }
    text.push('\n');
    let lowest: Vec<(&str, String)> =
        played.services.iter().map(|service| (&*service.name, lowest(service, paint))).collect();
    // As much of each name as leaves the line its width.
    let widest = lowest.iter().map(|(_, lowest)| console::measure_text_width(lowest)).max().unwrap_or(0);
    let room = WIDTH.saturating_sub(widest + 4).min(22);
    for (name, lowest) in lowest {
        let name = console::truncate_str(name, room, "…");
        text.push_str(&format!("  {name:room$}  {lowest}\n"));
    }
    if !compared.is_empty() {
        text.push_str(&side_by_side(compared, paint));
    }
    text
}

/// The moments at which the desired count changed, and how each of these phases ended.
fn turning_points(service: &PlayedService) -> Vec<(&str, Moment)> {
    let moments = &service.moments;
    let mut shown: Vec<(&str, Moment)> = Vec::new();
    for (index, moment) in moments.iter().enumerate() {
        let next = moments.get(index + 1);
        let is_first_of_phase = index == 0 || moments[index - 1].desired != moment.desired;
        let is_last_of_phase = next.is_none_or(|next| next.desired != moment.desired);
        if is_first_of_phase || is_last_of_phase {
            shown.push((&service.name, *moment));
        }
    }
    shown
}

/// How low a service came, and what that took.
fn lowest(service: &PlayedService, paint: &Paint) -> String {
    let PlayedService { lowest_healthy, desired, minimum_healthy, started, stopped, .. } = service;
    let style = if lowest_healthy < minimum_healthy { &paint.bad } else { &paint.good };
    let lowest = style.apply_to(format!("never below {lowest_healthy} of {desired} healthy"));
    format!("{lowest}; {started} started, {stopped} stopped")
}

fn side_by_side(compared: &[Comparison], paint: &Paint) -> String {
    let head: String = compared.iter().map(|it| format!("{:>16}", it.policy)).collect();
    let mut text = format!("\n{}\n", paint.strong.apply_to(format!("  {:27}{head}", "on the same cluster")));
    for (name, figure) in COMPARED {
        let figures: String = compared.iter().map(|it| format!("{:>16}", figure(it))).collect();
        text.push_str(&format!("  {name:27}{figures}\n"));
    }
    text
}
