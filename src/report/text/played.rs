//! What a rehearsal shows: the steps as they happened, and how low each service ever was.

use std::cmp::Reverse;

use super::{
    Paint,
    layout::{Row, left, pad, pad_left, right, table, width},
};
use crate::report::{COMPARED, Comparison, Moment, Played, PlayedService, counted};

/// More steps than this are for the HTML report.
const STEPS: usize = 20;
/// More services than this are for the HTML report.
const SERVICES: usize = 20;

/// The steps, the lowest counts, the comparison.
pub(super) fn render(played: &Played, compared: &[Comparison], paint: &Paint) -> String {
    if played.services.is_empty() && compared.is_empty() {
        return String::new();
    }
    // Those that changed most come first.
    let mut services: Vec<&PlayedService> = played.services.iter().collect();
    services.sort_by_key(|service| (Reverse(service.started.max(service.stopped)), &service.name));
    let steps: Vec<(&str, Moment)> = services.iter().flat_map(|service| turning_points(service)).collect();
    let mut text = String::new();
    if !steps.is_empty() {
        let rows: Vec<Row> = steps.iter().take(STEPS).map(|(service, moment)| step(service, moment)).collect();
        let columns = [right("second"), right("desired"), right("running"), right("healthy")];
        text += &table("service", &columns, "", &rows, paint);
        if steps.len() > STEPS {
            text += &format!("  and {}\n", counted(steps.len() - STEPS, "more step", "more steps"));
        }
        text.push('\n');
    }
    if !services.is_empty() {
        let rows: Vec<Row> = services.iter().take(SERVICES).map(|service| lowest(service)).collect();
        let columns = [left("lowest healthy"), right("started"), right("stopped")];
        text += &table("service", &columns, "", &rows, paint);
        if services.len() > SERVICES {
            text += &format!("  and {}\n", counted(services.len() - SERVICES, "more service", "more services"));
        }
    }
    if !compared.is_empty() {
        text += &side_by_side(compared, paint);
    }
    text
}

fn step(service: &str, moment: &Moment) -> Row {
    let cells = [moment.seconds, moment.desired.into(), moment.running.into(), moment.healthy.into()];
    Row { name: service.to_owned(), cells: cells.map(|cell| cell.to_string()).to_vec(), paragraph: String::new() }
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
fn lowest(service: &PlayedService) -> Row {
    let PlayedService { name, lowest_healthy, desired, started, stopped, .. } = service;
    let below = match service.below_its_minimum() {
        Some(true) => ", as found",
        Some(false) => ", below its minimum",
        None => "",
    };
    let cells = vec![format!("{lowest_healthy} of {desired}{below}"), started.to_string(), stopped.to_string()];
    Row { name: name.clone(), cells, paragraph: String::new() }
}

fn side_by_side(compared: &[Comparison], paint: &Paint) -> String {
    let label = COMPARED.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let column = |of: &Comparison| {
        let cells = COMPARED.iter().map(|(_, figure)| width(&figure(of)));
        cells.chain([width(of.policy)]).max().unwrap_or(0) + 2
    };
    let columns: Vec<usize> = compared.iter().map(column).collect();
    // Where the screen is narrow, what is compared stands above its figures.
    let is_above = 2 + label + columns.iter().sum::<usize>() > paint.width;
    let begin = |name: &str| if is_above { format!("  {name}\n   ") } else { format!("  {}", pad(name, label)) };
    let cells = |cell: &dyn Fn(&Comparison) -> String| -> String {
        compared.iter().zip(&columns).map(|(it, column)| pad_left(&cell(it), *column)).collect()
    };
    let head = if is_above { "   ".to_owned() } else { begin("on the same cluster") };
    let mut text = format!("\n{}\n", paint.strong.apply_to(format!("{head}{}", cells(&|it| it.policy.to_owned()))));
    for (name, figure) in COMPARED {
        text += &format!("{}{}\n", begin(name), cells(&|it| figure(it)));
    }
    text
}
