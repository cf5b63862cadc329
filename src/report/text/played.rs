//! What a rehearsal shows: the steps as they happened, and how low each service ever was.

use super::Paint;
use crate::report::{Comparison, Moment, Played, PlayedService};

/// More steps than this are for the HTML report.
const STEPS: usize = 20;

/// The steps, the lowest counts, the comparison.
pub(super) fn render(played: &Played, misplaced_left: u32, paint: &Paint) -> String {
    if played.services.is_empty() && played.instead.is_none() {
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
    for service in &played.services {
        let PlayedService { name, lowest_healthy, desired, minimum_healthy, started, stopped, .. } = service;
        let style = if lowest_healthy < minimum_healthy { &paint.bad } else { &paint.good };
        let lowest = style.apply_to(format!("never below {lowest_healthy} of {desired} healthy"));
        let name = console::truncate_str(name, 22, "…");
        text.push_str(&format!("  {name:22}  {lowest}; {started} started, {stopped} stopped\n"));
    }
    if let Some(instead) = &played.instead {
        text.push_str(&compared(played, misplaced_left, instead));
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

fn compared(played: &Played, misplaced_left: u32, instead: &Comparison) -> String {
    let mut text = format!("\n  {:44}{:>14}{:>18}\n", "", "ecs-rebalancer", "redeployment");
    let mut row = |name: &str, ours: String, theirs: String| {
        text.push_str(&format!("  {name:44}{ours:>14}{theirs:>18}\n"));
    };
    row("tasks restarted", played.tasks_stopped.to_string(), instead.restarted.to_string());
    row("misplaced tasks left", misplaced_left.to_string(), instead.misplaced_left.to_string());
    row("seconds on the simulated clock", played.simulated_seconds.to_string(), instead.simulated_seconds.to_string());
    if instead.unfinished_services > 0 {
        row("services whose deployment got stuck", "0".to_owned(), instead.unfinished_services.to_string());
    }
    text
}
