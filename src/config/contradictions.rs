//! Settings that are right one by one and don't go together.

use std::{collections::BTreeSet, path::Path};

use super::{
    Clusters, Config, METADATA_VARIABLE, Problem, is_one_file,
    values::{self, Arn},
};

/// One way in which settings can contradict each other.
struct Rule {
    /// The variable that is told of, and the one that it must go with. Only where both could be read is the rule asked.
    concerns: [&'static str; 2],
    /// The sentence of which the first variable is the subject, where the two contradict each other.
    contradiction: fn(&Config) -> Option<String>,
}

const RULES: [Rule; 10] = [
    Rule { concerns: ["REBALANCER_CLUSTER", METADATA_VARIABLE], contradiction: no_cluster },
    Rule { concerns: ["REBALANCER_TASK_TIMEOUT", "REBALANCER_DEADLINE"], contradiction: no_time_for_a_task },
    Rule { concerns: ["REBALANCER_INCLUDE", "REBALANCER_EXCLUDE"], contradiction: included_and_excluded },
    Rule { concerns: ["REBALANCER_EXCLUDE", "REBALANCER_EXCLUDE"], contradiction: all_excluded },
    Rule { concerns: ["REBALANCER_SNAPSHOT", "REBALANCER_CLUSTER"], contradiction: one_snapshot_of_several },
    Rule { concerns: ["REBALANCER_PLAN", "REBALANCER_CLUSTER"], contradiction: one_plan_for_several },
    Rule { concerns: ["REBALANCER_SNAPSHOT", "REBALANCER_REPORT"], contradiction: snapshot_over_report },
    Rule { concerns: ["REBALANCER_PLAN", "REBALANCER_REPORT"], contradiction: report_or_snapshot_over_plan },
    Rule { concerns: ["REBALANCER_REPORT", "REBALANCER_REPORT"], contradiction: report_over_report },
    Rule { concerns: ["REBALANCER_TRIGGER_INSTANCE", "REBALANCER_CLUSTER"], contradiction: trigger_elsewhere },
];

/// All contradictions among the settings that are not wrong by themselves.
pub(super) fn of(config: &Config, wrong: &BTreeSet<String>) -> Vec<Problem> {
    let could_be_read = |rule: &&Rule| rule.concerns.iter().all(|variable| !wrong.contains(*variable));
    let found = |rule: &Rule| Some(Problem::new(rule.concerns[0], (rule.contradiction)(config)?));
    RULES.iter().filter(could_be_read).filter_map(found).collect()
}

fn named(config: &Config) -> &[String] {
    match &config.clusters {
        Clusters::Named(clusters) => clusters,
        Clusters::OwnTasks => &[],
    }
}

fn no_cluster(config: &Config) -> Option<String> {
    let nowhere = config.clusters == Clusters::OwnTasks && config.metadata_uri.is_none();
    nowhere.then(|| {
        "is not set, and outside ECS there is no default: set it to the name or ARN of the cluster that is meant"
            .to_owned()
    })
}

fn no_time_for_a_task(config: &Config) -> Option<String> {
    let (task_timeout, deadline) = (config.policy.task_timeout, config.policy.deadline);
    (task_timeout >= deadline).then(|| {
        format!(
            "is {}, but must be shorter than REBALANCER_DEADLINE, which is {}: no step would have time to end",
            humantime::format_duration(task_timeout),
            humantime::format_duration(deadline),
        )
    })
}

fn included_and_excluded(config: &Config) -> Option<String> {
    let services = &config.policy.services;
    let both = services.include.iter().find(|pattern| services.exclude.contains(pattern))?;
    Some(format!("holds {both}, and so does REBALANCER_EXCLUDE, which wins: take it out of one of them"))
}

fn all_excluded(config: &Config) -> Option<String> {
    let all =
        config.policy.services.exclude.iter().any(|pattern| pattern.to_string().chars().all(|letter| letter == '*'));
    all.then(|| "holds *, which leaves no service: to change nothing, set REBALANCER_DRY_RUN=true".to_owned())
}

fn one_snapshot_of_several(config: &Config) -> Option<String> {
    let snapshot = config.snapshot.as_ref()?;
    several(config).map(|clusters| format!("is {}, which can hold one cluster, but {clusters}", snapshot.display()))
}

fn one_plan_for_several(config: &Config) -> Option<String> {
    let plan = config.plan.as_ref()?;
    several(config).map(|clusters| format!("is {}, the plan for one cluster, but {clusters}", plan.display()))
}

fn several(config: &Config) -> Option<String> {
    let number = named(config).len();
    (number > 1).then(|| format!("REBALANCER_CLUSTER names {number}: let each have a run of its own"))
}

fn snapshot_over_report(config: &Config) -> Option<String> {
    let snapshot = config.snapshot.as_ref()?;
    let so_is = and_so_is(snapshot, "REBALANCER_REPORT", config.reports.iter().map(|report| report.path.as_path()))?;
    Some(format!("{so_is}: one would overwrite the other"))
}

fn report_or_snapshot_over_plan(config: &Config) -> Option<String> {
    let plan = config.plan.as_ref()?;
    let of_reports = and_so_is(plan, "REBALANCER_REPORT", config.reports.iter().map(|report| report.path.as_path()));
    let so_is =
        of_reports.or_else(|| and_so_is(plan, "REBALANCER_SNAPSHOT", config.snapshot.as_deref().into_iter()))?;
    Some(format!("{so_is}: the reviewed plan would be overwritten"))
}

fn report_over_report(config: &Config) -> Option<String> {
    let paths = || config.reports.iter().map(|report| report.path.as_path());
    let mut pairs = paths().enumerate().flat_map(|(place, one)| paths().skip(place + 1).map(move |other| (one, other)));
    let (one, other) = pairs.find(|(one, other)| is_one_file(one, other))?;
    Some(format!("holds {} and {}, which are one file: one would overwrite the other", one.display(), other.display()))
}

/// That a file is another variable's, too.
fn and_so_is<'p>(path: &Path, variable: &str, mut others: impl Iterator<Item = &'p Path>) -> Option<String> {
    let other = others.find(|other| is_one_file(path, other))?;
    let is_alike = path == other;
    let (path, other) = (path.display(), other.display());
    Some(if is_alike {
        format!("is {path}, and so is {variable}")
    } else {
        format!("is {path}, and {variable} is {other}, which is the same file")
    })
}

fn trigger_elsewhere(config: &Config) -> Option<String> {
    let trigger = config.trigger_instance.as_ref()?;
    let clusters = named(config);
    // The old, short form of the ARN doesn't name the cluster.
    let (cluster, _) = Arn::parse(trigger.as_str(), "container-instance")?.resource.split_once('/')?;
    let elsewhere = !clusters.is_empty() && clusters.iter().all(|named| values::short_name(named) != cluster);
    elsewhere.then(|| {
        format!(
            "is an instance of cluster {cluster}, but REBALANCER_CLUSTER is {}: the run would have nothing to do",
            clusters.join(",")
        )
    })
}
