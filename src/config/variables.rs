//! The list of variables: what README's table, the Terraform and the check for misspelt names go by.

use super::{PREFIX, Problem, parse::problem};

/// One variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name without the prefix.
    pub name: &'static str,
    /// Its default as a user would write it; empty where there is none.
    pub default: &'static str,
    /// What it is for, in a sentence.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// Every variable, in the order of the contract.
pub const VARIABLES: [Variable; 24] = [
    variable(
        "CLUSTER",
        "",
        "cluster name or ARN; several, comma-separated, are handled one after the other; on ECS the job's own by default",
    ),
    variable(
        "MODE",
        "spread",
        "`spread` evens tasks out as each service's placement strategy asks; `consolidate` packs tasks so that whole instances come free",
    ),
    variable(
        "THRESHOLD",
        "10",
        "percent: a service is rebalanced when its own task imbalance has reached this, or when the cluster's has",
    ),
    variable(
        "LOAD_THRESHOLD",
        "25",
        "percent: machines are evened out when the load imbalance has reached this; only where steering is allowed",
    ),
    variable("STRATEGY", "auto", "`auto`, `surge`, `stop`, `redeploy`, `revision`"),
    variable("STEER", "false", "allow a temporary placement constraint on a service while its replacements start"),
    variable("DRY_RUN", "false", "measure, publish and plan, change nothing"),
    variable("INCLUDE", "", "service names, `*` and `?` as wildcards; all by default"),
    variable("EXCLUDE", "", "service names, `*` and `?` as wildcards; exclude wins"),
    variable("MAX_MOVES", "50", "task moves in one run, over all services"),
    variable("MAX_SERVICES", "10", "services changed in one run"),
    variable("PARALLEL", "4", "services changed at the same time"),
    variable(
        "SURGE",
        "25",
        "percent of a service's desired count (at least one task) that is started on top of it at a time",
    ),
    variable("COOLDOWN", "10m", "a service whose newest deployment or rebalancing is younger than this is left alone"),
    variable("TASK_TIMEOUT", "5m", "how long a replacement may take until it is healthy; then the step is undone"),
    variable("DEADLINE", "15m", "the run ends by then, leaving every service whole"),
    variable(
        "METRICS",
        "imbalanced",
        "`off`; `cluster`; also those of `imbalanced` services; of `all` services (each metric of each service is billed)",
    ),
    variable("METRIC_NAMESPACE", "ECSRebalancer", "CloudWatch namespace; names beginning `AWS/` are refused"),
    variable("LOG", "info", "level, or a tracing filter"),
    variable("LOG_FORMAT", "", "`text` or `json`; on a terminal `text`, else `json` by default"),
    variable("REPORT", "", "files (`.json`, `.html`) to write the run's report to"),
    variable("SNAPSHOT", "", "a file to write the cluster's snapshot to, for a rehearsal"),
    variable("PLAN", "", "a report of an earlier dry run, reviewed: only moves planned there are made"),
    variable("TRIGGER_INSTANCE", "", "the container instance ARN of the event that launched the run"),
];

/// A problem, if a name with our prefix is none of ours.
pub(super) fn unknown(name: &str) -> Option<Problem> {
    let short = name.strip_prefix(PREFIX)?;
    if VARIABLES.iter().any(|variable| variable.name == short) {
        return None;
    }
    let nearest = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .max_by(|a, b| strsim::jaro_winkler(a, short).total_cmp(&strsim::jaro_winkler(b, short)))?;
    Some(problem(name, &format!("is no variable of ecs-rebalancer; did you mean {PREFIX}{nearest}?")))
}
