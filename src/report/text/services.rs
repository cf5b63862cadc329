//! The services, worst first; those that need nothing are only counted.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Paint,
    layout::{Row, right, table, wrapped},
};
use crate::report::{Action, Report, ServiceReport, counted};

/// More rows than this are for the JSON report.
const ROWS: usize = 20;

/// The table, and what is not in it.
pub(super) fn render(report: &Report, paint: &Paint) -> String {
    let services = &report.services;
    let mut text = String::new();
    let mut uneven: Vec<&ServiceReport> =
        services.iter().filter(|service| service.misplaced_tasks > 0 || is_told(service.action)).collect();
    uneven.sort_by_key(|service| (Reverse((service.misplaced_tasks, service.planned_moves)), &service.name));
    if !uneven.is_empty() {
        let columns = [right("tasks"), right("misplaced"), right("stuck"), right("skew")];
        let rows: Vec<Row> = uneven.iter().take(ROWS).map(|service| row(service, report)).collect();
        text.push_str(&table("service", &columns, "what is done, and why", &rows, paint));
        text.push('\n');
        if uneven.len() > ROWS {
            text.push_str(&format!("  and {} more\n", counted(uneven.len() - ROWS, "service", "services")));
        }
    }
    let of_action = |action| services.iter().filter(move |service| service.action == action);
    let even = of_action(Action::None).count();
    if even > 0 {
        let spread =
            format!("{} as the placement strategy asks", counted(even, "service is spread", "services are spread"));
        text.push_str(&wrapped("  ", &spread, paint));
    }
    let would_be = services.iter().filter(|service| service.would_be_left_alone().is_some());
    let reasons = by_reason(would_be, |service| service.would_be_left_alone().unwrap_or_default());
    for (reason, names) in reasons {
        let label = format!("  {} of them would be left alone: ", names.len());
        text.push_str(&wrapped(&label, &format!("{reason} ({})", some(&names)), paint));
    }
    for (reason, names) in by_reason(of_action(Action::NotMeasured), |service| service.reason.as_str()) {
        let label = format!("  {}: ", counted(names.len(), "service is not measured", "services are not measured"));
        text.push_str(&wrapped(&label, &format!("{reason} ({})", some(&names)), paint));
    }
    text
}

/// The names of services, by what is told of them.
fn by_reason<'a>(
    services: impl Iterator<Item = &'a ServiceReport>,
    reason: fn(&ServiceReport) -> &str,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for service in services {
        reasons.entry(reason(service)).or_default().push(&service.name);
    }
    reasons
}

/// Whether something is done for a service, or a reason holds against that.
fn is_told(action: Action) -> bool {
    match action {
        Action::Rebalance | Action::MakeRoom | Action::LeaveAlone => true,
        Action::None | Action::NotMeasured => false,
    }
}

fn row(service: &ServiceReport, report: &Report) -> Row {
    let has_acted = report.after.is_some();
    let mut paragraph = match service.action {
        Action::Rebalance if service.moved > 0 => format!("{} moved", service.moved),
        Action::Rebalance if has_acted => "not moved".to_owned(),
        Action::Rebalance => format!("{} to be moved", service.planned_moves),
        Action::MakeRoom => "gets capacity".to_owned(),
        Action::LeaveAlone => "left alone".to_owned(),
        Action::None | Action::NotMeasured => String::new(),
    };
    if service.action == Action::Rebalance
        && let Some(strategy) = service.strategy
    {
        paragraph += &format!(" by {strategy}");
    }
    // An error is told once, below.
    if report
        .errors
        .iter()
        .any(|error| error.strip_prefix(service.name.as_str()).is_some_and(|rest| rest.starts_with(": ")))
    {
        paragraph += ": see the errors";
    } else if !service.reason.is_empty() {
        paragraph += &format!(": {}", service.reason);
    }
    let cells = [service.running_tasks, service.misplaced_tasks, service.stuck_tasks, service.task_skew];
    Row { name: service.name.clone(), cells: cells.iter().map(ToString::to_string).collect(), paragraph }
}

/// The first few names.
pub(crate) fn some<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
