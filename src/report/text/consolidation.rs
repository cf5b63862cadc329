//! Which container instances come free, and why the others stay.

use comfy_table::{CellAlignment, ContentArrangement, Table, Width, presets};

use super::{Paint, WIDTH, wrapped};
use crate::report::consolidation::{ConsolidationReport, FreedInstance};

/// More rows than this are for the JSON report.
const ROWS: usize = 12;

/// The table, and the reasons.
pub(super) fn render(consolidation: &ConsolidationReport, paint: &Paint) -> String {
    let mut text = String::new();
    let freed = &consolidation.freed;
    if !freed.is_empty() {
        text.push_str(&table(&freed[..freed.len().min(ROWS)], paint));
        if freed.len() > ROWS {
            text.push_str(&format!("  and {} more\n", freed.len() - ROWS));
        }
        text.push('\n');
    }
    for kept in &consolidation.kept {
        let number = kept.container_instances;
        let label =
            if number == 1 { "  1 instance stays: ".to_owned() } else { format!("  {number} instances stay: ") };
        text.push_str(&wrapped(&label, &kept.reason));
    }
    text
}

fn table(freed: &[FreedInstance], paint: &Paint) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX));
    let head = ["set free", "type", "tasks", "then"];
    table.set_header(head.map(|word| paint.strong.apply_to(word).to_string()));
    for instance in freed {
        let state = match instance.is_free {
            Some(false) => "still holds tasks: the next run goes on".to_owned(),
            _ => then(instance),
        };
        let row = [instance.name().to_owned(), instance.instance_type.clone(), instance.moves.to_string(), state];
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(comfy_table::ColumnConstraint::UpperBoundary(Width::Fixed(28)));
    }
    table.lines().map(|line| format!(" {}\n", line.trim_end())).collect()
}

/// What becomes of a free instance.
pub(in crate::report) fn then(instance: &FreedInstance) -> String {
    match &instance.capacity_provider {
        Some(provider) if instance.removed_by_managed_scaling => format!("removed by {provider}'s managed scaling"),
        Some(provider) => format!("yours to remove ({provider}: no managed scaling)"),
        None => "yours to remove (no capacity provider)".to_owned(),
    }
}
