//! The services, worst first; those that need nothing are only counted.

use std::{cmp::Reverse, collections::BTreeMap};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::{Paint, WIDTH, wrapped};
use crate::report::{Action, ServiceReport};

/// More rows than this are for the JSON report.
const ROWS: usize = 20;

/// The table, and what is not in it.
pub(super) fn render(services: &[ServiceReport], paint: &Paint) -> String {
    let mut text = String::new();
    let mut uneven: Vec<&ServiceReport> =
        services.iter().filter(|service| service.misplaced_tasks > 0 || is_told(service.action)).collect();
    uneven.sort_by_key(|service| (Reverse((service.misplaced_tasks, service.planned_moves)), &service.name));
    if !uneven.is_empty() {
        text.push_str(&table(&uneven[..uneven.len().min(ROWS)], paint));
        text.push('\n');
        if uneven.len() > ROWS {
            text.push_str(&format!("  and {} more services\n", uneven.len() - ROWS));
        }
    }
    let even = services.iter().filter(|service| service.action == Action::None).count();
    if even > 0 {
        text.push_str(&format!("  {}\n", counted(even, "is spread", "are spread") + " as the placement strategy asks"));
    }
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for service in services.iter().filter(|service| service.action == Action::NotMeasured) {
        reasons.entry(&service.reason).or_default().push(&service.name);
    }
    for (reason, names) in reasons {
        let label = format!("  {}: ", counted(names.len(), "not measured", "not measured"));
        text.push_str(&wrapped(&label, &format!("{reason} ({})", some(&names))));
    }
    text
}

/// Whether something is done for a service, or a reason holds against that.
fn is_told(action: Action) -> bool {
    match action {
        Action::Rebalance | Action::MakeRoom | Action::LeaveAlone => true,
        Action::None | Action::NotMeasured => false,
    }
}

fn table(services: &[&ServiceReport], paint: &Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX));
    let head = ["service", "tasks", "misplaced", "stuck", "skew", "what is done, and why"];
    table.set_header(head.map(|word| paint.strong.apply_to(word).to_string()));
    for service in services {
        let mut why = match service.action {
            Action::Rebalance if service.moved > 0 => format!("{} moved", service.moved),
            Action::Rebalance => "to be moved".to_owned(),
            Action::MakeRoom => "gets room".to_owned(),
            Action::LeaveAlone => "left alone".to_owned(),
            Action::None | Action::NotMeasured => String::new(),
        };
        if !service.reason.is_empty() {
            why = format!("{why}: {}", service.reason);
        }
        table.add_row([
            service.name.clone(),
            service.running_tasks.to_string(),
            service.misplaced_tasks.to_string(),
            service.stuck_tasks.to_string(),
            service.task_skew.to_string(),
            why,
        ]);
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(28)));
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

fn counted(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 service {one}") } else { format!("{number} services {many}") }
}

/// The first few names.
fn some(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
