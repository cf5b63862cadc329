//! Which container instances come free, and why the others stay.

use super::{
    Paint,
    layout::{Row, left, right, table, wrapped},
};
use crate::report::{
    consolidation::{ConsolidationReport, FreedInstance},
    counted,
};

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
    if let Some(empty) = consolidation.empty_already() {
        text.push_str(&wrapped("  ", &empty, paint));
    }
    let cost = consolidation.cost_of_freed();
    if !cost.is_empty() {
        text.push_str(&wrapped("  ", &format!("{}{cost}", freed_number(consolidation)), paint));
    }
    for kept in &consolidation.kept {
        let label = format!("  {}: ", counted(kept.container_instances, "instance stays", "instances stay"));
        text.push_str(&wrapped(&label, &kept.reason, paint));
    }
    text
}

/// As the beginning of a sentence.
pub(in crate::report) fn freed_number(consolidation: &ConsolidationReport) -> String {
    counted(consolidation.number(), "container instance is set free", "container instances are set free")
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
