//! Which container instances come free, and why the others stay.

use super::{
    Paint,
    layout::{Row, left, right, table, wrapped},
};
use crate::report::consolidation::{ConsolidationReport, FreedInstance};

/// More rows than this are for the JSON report.
const ROWS: usize = 12;

/// The table, and the reasons.
pub(super) fn render(consolidation: &ConsolidationReport, paint: &Paint) -> String {
    let mut text = String::new();
    let freed = &consolidation.freed;
    if !freed.is_empty() {
        let rows: Vec<Row> = freed.iter().take(ROWS).map(row).collect();
        text.push_str(&table("set free", &[left("type"), right("tasks")], "then", &rows, paint));
        if freed.len() > ROWS {
            text.push_str(&format!("  and {} more\n", freed.len() - ROWS));
        }
        text.push('\n');
    }
    for kept in &consolidation.kept {
        let number = kept.container_instances;
        let label =
            if number == 1 { "  1 instance stays: ".to_owned() } else { format!("  {number} instances stay: ") };
        text.push_str(&wrapped(&label, &kept.reason, paint));
    }
    text
}

fn row(instance: &FreedInstance) -> Row {
    let paragraph = match instance.is_free {
        Some(false) => "still holds tasks: the next run goes on".to_owned(),
        _ => then(instance),
    };
    let cells = vec![instance.instance_type.clone(), instance.moves.to_string()];
    Row { name: instance.name().to_owned(), cells, paragraph }
}

/// What becomes of a free instance.
pub(in crate::report) fn then(instance: &FreedInstance) -> String {
    match &instance.capacity_provider {
        Some(provider) if instance.removed_by_managed_scaling => format!("removed by {provider}'s managed scaling"),
        Some(provider) => format!("yours to remove ({provider}: no managed scaling)"),
        None => "yours to remove (no capacity provider)".to_owned(),
    }
}
