//! The report for machines: the whole of it for a file, and lines of the log for standard output.

use std::io;

use serde_json::json;

use super::{Action, Outcome, Report, ServiceReport};
use crate::{
    line::{Level, Origin},
    planning::model::Timestamp,
};

/// The most errors and warnings that the last line names; the report's file has all.
const FIRST_ERRORS: usize = 5;

/// Indented, for a file.
///
/// # Errors
/// None in practice: the report holds nothing that JSON can't.
pub fn document(report: &Report) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

/// Lines of the log: each service that is moved or left alone, each planned and each made move, and last a summary.
pub fn lines(report: &Report) -> impl Iterator<Item = String> {
    let origin = Origin { at: report.ended.unwrap_or(Timestamp(0)), run_id: &report.run_id, cluster: &report.cluster };
    let services = report.services.iter().filter(|service| is_told(service));
    let services = services.map(move |service| origin.line(Level::Info, "service", &of_service(service)));
    let moves = report.plan.iter().map(move |it| {
        let (from, to) = (it.from.name(), it.to.name());
        let fields = json!({
            "service": it.service, "task": it.task, "from": from, "to": to, "state": "planned",
            "from_container_instance": it.from.container_instance, "to_container_instance": it.to.container_instance,
        });
        origin.line(Level::Info, "move", &fields)
    });
    let made = report.moves_made.iter().map(move |it| {
        let (from, to) = (it.from.name(), it.to.as_ref().map(super::Place::name));
        let fields = json!({
            "service": it.service, "task": it.task, "from": from, "to": to, "state": "made",
            "from_container_instance": it.from.container_instance,
            "to_container_instance": it.to.as_ref().map(|to| &to.container_instance),
        });
        origin.line(Level::Info, "move", &fields)
    });
    services.chain(moves).chain(made).chain(std::iter::once_with(move || summary(report, origin)))
}

/// Whether a line tells of the service: it is moved, or left alone.
fn is_told(service: &ServiceReport) -> bool {
    match service.action {
        Action::Rebalance | Action::MakeRoom | Action::LeaveAlone => true,
        // Spread, and would be left alone.
        Action::None => !service.reason_code.is_empty(),
        Action::NotMeasured => false,
    }
}

fn of_service(service: &ServiceReport) -> serde_json::Value {
    json!({
        "name": service.name,
        "action": service.action,
        "strategy": service.strategy,
        "reason_code": service.reason_code,
        "reason": service.reason,
        "running_tasks": service.running_tasks,
        "misplaced_tasks": service.misplaced_tasks,
        "stuck_tasks": service.stuck_tasks,
        "planned_moves": service.planned_moves,
        "moved": service.moved,
    })
}

fn summary(report: &Report, origin: Origin<'_>) -> String {
    let level = match report.outcome {
        Outcome::Failed => Level::Error,
        Outcome::Interrupted | Outcome::Unchanged => Level::Warn,
        Outcome::Skipped | Outcome::Planned | Outcome::Rebalanced | Outcome::Balanced => Level::Info,
    };
    let figures = |summary: &Option<super::Summary>| {
        summary.as_ref().map(|it| {
            json!({
                "misplaced_tasks": it.misplaced_tasks,
                "stuck_tasks": it.stuck_tasks,
                "task_imbalance_percent": it.task_imbalance_percent,
                "load_imbalance_percent": it.load_imbalance_percent,
                "running_tasks": it.running_tasks,
                "container_instances": it.container_instances,
                "empty_instances": it.empty_instances,
            })
        })
    };
    let first = |sentences: &[String]| sentences.iter().take(FIRST_ERRORS).cloned().collect::<Vec<_>>();
    let fields = json!({
        "outcome": report.outcome,
        "outcome_reason": report.outcome_reason,
        "mode": report.mode,
        "dry_run": report.dry_run,
        "trigger": report.trigger,
        "before": figures(&report.before),
        "predicted": figures(&report.predicted),
        "after": figures(&report.after),
        "planned_moves": report.plan.len(),
        "moved": report.moved(),
        "services_moved": report.services.iter().filter(|service| service.moved > 0).count(),
        "services_left_alone": report.left_alone(),
        "left_raised": report.left_raised.len(),
        "starts_in_vain": report.starts_in_vain,
        "requests": report.api_calls.values().sum::<u64>(),
        "duration_seconds": report.duration_seconds,
        "errors": first(&report.errors).join("\n"),
        "warnings": first(&report.warnings).join("\n"),
        "hint": report.hints.first().map(|hint| &hint.sentence),
    });
    origin.line(level, "summary", &fields)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        line::{LONGEST_LINE, MOST_FIELDS, fields_of},
        report::text::tests::report,
    };

    #[test]
    fn no_line_is_too_long_for_cloudwatch_or_has_too_many_fields_for_logs_insights() {
        let mut report = report("a-service-whose-name-has-quite-some-letters-");
        let (service, a_move) = (report.services[1].clone(), report.plan[0].clone());
        report.services = vec![ServiceReport { reason: "because ".repeat(2_000), ..service }; 5_000];
        report.plan = vec![a_move; 10_000];
        report.errors = vec!["an error with many words ".repeat(500); 10_000];
        let lines: Vec<String> = lines(&report).collect();
        assert_eq!(lines.len(), 15_001);
        for line in &lines {
            assert!(line.len() <= LONGEST_LINE && !line.contains('\n'), "{} bytes: {line}", line.len());
            let read: Value = serde_json::from_str(line).unwrap();
            assert!(fields_of(&read) <= MOST_FIELDS, "{} fields: {line}", fields_of(&read));
            for field in ["timestamp", "level", "message", "run_id", "cluster"] {
                assert!(read[field].is_string(), "{field} of {line}");
            }
        }
        let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!((&last["message"], &last["planned_moves"]), (&"summary".into(), &10_000.into()));
    }
}
