//! The table of settings: each row is all there is to one, its name, default, meaning and reader.

use std::fmt;

use super::{
    Clusters, Config, LogFormat, MetricsScope, PREFIX,
    values::{self, Bounds, Choices, Wrong, hours, minutes, seconds},
};
use crate::planning::policy::{Mode, Strategy};

/// A prefix of so few slips was meant to be ours: a letter left out, added, exchanged or in the wrong place.
const SLIPS_IN_THE_PREFIX: usize = 2;

/// What a setting is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Which cluster, and which of its services.
    Cluster,
    /// When a cluster counts as unbalanced.
    Aim,
    /// How tasks are moved, or that none is.
    Way,
    /// How much one run may do, and for how long.
    Limits,
    /// What the run publishes and writes.
    Output,
}

/// The groups, in the order in which they are listed.
pub const GROUPS: [(Group, &str); 5] = [
    (Group::Cluster, "WHICH CLUSTER, WHICH SERVICES"),
    (Group::Aim, "WHAT COUNTS AS UNBALANCED"),
    (Group::Way, "HOW TASKS ARE MOVED"),
    (Group::Limits, "LIMITS OF ONE RUN"),
    (Group::Output, "METRICS, LOG, REPORT"),
];

/// One setting.
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// Under which heading `--help` and the book list it.
    pub group: Group,
    /// What it is for, as the book says it.
    pub meaning: &'static str,
    /// How what a configuration holds reads in a table; of the default one, what holds where the variable is not set.
    shown: fn(&Config) -> String,
    /// Reads the variable's text into its place.
    pub(super) set: fn(&mut Config, &str) -> Result<(), Wrong>,
}

impl Setting {
    /// What holds where the variable is not set, as the book says it.
    pub fn default_text(&self) -> String {
        (self.shown)(&Config::default())
    }

    /// What holds in a run, as a report says it.
    pub fn text(&self, config: &Config) -> String {
        (self.shown)(config).replace('`', "")
    }

    /// The name as envy gives it.
    pub(super) fn key(&self) -> String {
        self.name.trim_start_matches(PREFIX).to_lowercase()
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}

const MODES: Choices<Mode> = Choices(&[("spread", Mode::Spread), ("consolidate", Mode::Consolidate)]);
const STRATEGIES: Choices<Strategy> = Choices(&[
    ("auto", Strategy::Auto),
    ("surge", Strategy::Surge),
    ("stop", Strategy::Stop),
    ("redeploy", Strategy::Redeploy),
    ("revision", Strategy::Revision),
]);
const BOOLEANS: Choices<bool> = Choices(&[("true", true), ("false", false)]);
const SCOPES: Choices<MetricsScope> = Choices(&[
    ("off", MetricsScope::Off),
    ("cluster", MetricsScope::Cluster),
    ("imbalanced", MetricsScope::Imbalanced),
    ("all", MetricsScope::All),
]);
const FORMATS: Choices<LogFormat> = Choices(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

/// A run that may move nothing is a dry run, which has its own variable. At most more than any one run can get done:
/// UpdateService is granted 5 times a second [General Reference, "Amazon ECS endpoints and quotas"], so some 10,000 times
/// within an hour at two calls a step.
const MOVES: Bounds<u32> = Bounds { least: 1, most: 10_000 };
/// ECS takes at most 5,000 services a cluster [General Reference, "Amazon ECS endpoints and quotas"].
const SERVICES: Bounds<u32> = Bounds { least: 1, most: 5_000 };
/// ECS's token bucket for UpdateService holds 50 [developer guide, "Request throttling for the Amazon ECS API"]; more at the
/// same time would only wait for each other.
const PARALLEL: Bounds<u32> = Bounds { least: 1, most: 50 };
/// None is allowed, for a first try by hand. Beyond a week a service would in effect be switched off, for which there is
/// the tag `ecs-rebalancer:enabled`.
const COOLDOWN: Bounds = Bounds { least: seconds(0), most: hours(7 * 24) };
/// A task without health checks counts as healthy 40 s after RUNNING, so in less than a minute nothing can be done. Beyond two
/// hours a start that hangs would only hold up, and cost, what stands beside it.
const TASK_TIMEOUT: Bounds = Bounds { least: minutes(1), most: hours(2) };
/// Longer than one replacement may take. At most half of the 48 hours that task protection can last [API,
/// UpdateTaskProtection], for what a run protects must outlive it.
const DEADLINE: Bounds = Bounds { least: minutes(2), most: hours(24) };

/// Every variable, in the order in which the book lists them.
pub const VARIABLES: [Setting; 25] = [
    Setting {
        name: "REBALANCER_CLUSTER",
        group: Group::Cluster,
        shown: |config| match &config.clusters {
            Clusters::Named(clusters) => clusters.join(", "),
            Clusters::OwnTasks => {
                "on ECS the cluster that the job's own task runs in (task metadata endpoint v4), else \
                                   required"
                    .to_owned()
            }
        },
        meaning: "cluster name or ARN; several, comma-separated, are read side by side and acted on one after the other",
        set: |config, text| {
            config.clusters = Clusters::Named(values::clusters(text)?);
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_MODE",
        group: Group::Aim,
        shown: |config| MODES.code(config.policy.mode),
        meaning: "`spread` evens tasks out as each service's placement strategy asks; `consolidate` packs tasks so that \
                  whole container instances come free",
        set: |config, text| {
            config.policy.mode = MODES.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_THRESHOLD",
        group: Group::Aim,
        shown: |config| values::percent_text(config.policy.threshold),
        meaning: "percent: a service is rebalanced when its own `TaskImbalance` has reached this, or when the cluster's has; \
                  it is then brought to zero misplaced tasks, not to just under the threshold",
        set: |config, text| {
            config.policy.threshold = values::percent(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_LOAD_THRESHOLD",
        group: Group::Aim,
        shown: |config| values::percent_text(config.policy.load_threshold),
        meaning: "percent: at or above this `LoadImbalance` tasks move from full to idle container instances, once every service is spread; `100`: never",
        set: |config, text| {
            config.policy.load_threshold = values::percent(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_HEADROOM",
        group: Group::Aim,
        shown: |config| values::percent_text(config.policy.headroom),
        meaning: "percent: in mode `consolidate` the container instances that stay keep this share of their CPU and memory \
                  free, and enough for the largest task",
        set: |config, text| {
            config.policy.headroom = values::percent(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_STRATEGY",
        group: Group::Way,
        shown: |config| STRATEGIES.code(config.policy.strategy),
        meaning: "`auto`, `surge`, `stop`, `redeploy` or `revision`: how tasks are moved",
        set: |config, text| {
            config.policy.strategy = STRATEGIES.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_STEER",
        group: Group::Way,
        shown: |config| BOOLEANS.code(config.policy.steer),
        meaning: "allow a temporary placement constraint on a service while its replacements start, so that they land where \
                  the plan wants them",
        set: |config, text| {
            config.policy.steer = BOOLEANS.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_DRY_RUN",
        group: Group::Way,
        shown: |config| BOOLEANS.code(config.dry_run),
        meaning: "measure, publish and plan, change nothing",
        set: |config, text| {
            config.dry_run = BOOLEANS.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_INCLUDE",
        group: Group::Cluster,
        shown: |config| listed(&config.policy.services.include, "all"),
        meaning: "service names, `*` and `?` as wildcards; exclude wins",
        set: |config, text| {
            config.policy.services.include = values::patterns(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_EXCLUDE",
        group: Group::Cluster,
        shown: |config| listed(&config.policy.services.exclude, "none"),
        meaning: "service names, `*` and `?` as wildcards; exclude wins",
        set: |config, text| {
            config.policy.services.exclude = values::patterns(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_MAX_MOVES",
        group: Group::Limits,
        shown: |config| values::code(config.policy.max_moves),
        meaning: "the most task moves in one run, over all services",
        set: |config, text| {
            let hint = Some("to change nothing, set REBALANCER_DRY_RUN=true").filter(|_| text == "0");
            config.policy.max_moves = MOVES.read(text).map_err(|wrong| wrong.or_hint(hint))?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_MAX_SERVICES",
        group: Group::Limits,
        shown: |config| values::code(config.policy.max_services),
        meaning: "the most services changed in one run",
        set: |config, text| {
            config.policy.max_services = SERVICES.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_PARALLEL",
        group: Group::Limits,
        shown: |config| values::code(config.policy.parallel),
        meaning: "the most services changed at the same time",
        set: |config, text| {
            config.policy.parallel = PARALLEL.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_SURGE",
        group: Group::Limits,
        shown: |config| values::percent_text(config.policy.surge),
        meaning: "percent of a service's desired count (at least one task) that is started on top of it at a time",
        set: |config, text| {
            config.policy.surge = values::percent(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_COOLDOWN",
        group: Group::Limits,
        shown: |config| values::duration_text(config.policy.cooldown),
        meaning: "a service whose newest deployment or newest rebalancing is younger than this is left alone",
        set: |config, text| {
            config.policy.cooldown = COOLDOWN.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_TASK_TIMEOUT",
        group: Group::Limits,
        shown: |config| values::duration_text(config.policy.task_timeout),
        meaning: "how long a replacement may take until it is healthy; then the step is undone. Beside a task that still stops its \
                  time counts from when that has stopped, for five minutes more at most",
        set: |config, text| {
            config.policy.task_timeout = TASK_TIMEOUT.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_DEADLINE",
        group: Group::Limits,
        shown: |config| values::duration_text(config.policy.deadline),
        meaning: "the run ends by then; no step is begun that could not end before",
        set: |config, text| {
            config.policy.deadline = DEADLINE.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_METRICS",
        group: Group::Output,
        shown: |config| SCOPES.code(config.metrics),
        meaning: "`off`; `cluster` metrics only; also those of `imbalanced` services; of `all` services (each metric of each \
                  service is billed)",
        set: |config, text| {
            config.metrics = SCOPES.read(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_METRIC_NAMESPACE",
        group: Group::Output,
        shown: |config| values::code(&config.metric_namespace),
        meaning: "CloudWatch namespace; names beginning `AWS/` are refused",
        set: |config, text| {
            config.metric_namespace = values::metric_namespace(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_LOG",
        group: Group::Output,
        shown: |config| values::code(&config.log),
        meaning: "level of this program's own events, or a tracing filter; other crates only by name, as `info,aws_config=debug`",
        set: |config, text| {
            config.log = values::log_filter(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_LOG_FORMAT",
        group: Group::Output,
        shown: |config| match config.log_format {
            Some(format) => FORMATS.code(format),
            None => "`text` on a terminal, else `json`".to_owned(),
        },
        meaning: "`text` or `json`",
        set: |config, text| {
            config.log_format = Some(FORMATS.read(text)?);
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_REPORT",
        group: Group::Output,
        shown: |config| {
            let files: Vec<_> = config.reports.iter().map(|report| report.path.display()).collect();
            listed(&files, "none")
        },
        meaning: "files (`.json`, `.html`) to write the run's report to",
        set: |config, text| {
            config.reports = values::reports(text)?;
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_SNAPSHOT",
        group: Group::Output,
        shown: |config| listed(config.snapshot.as_ref().map(|file| file.display()).as_slice(), "none"),
        meaning: "a file to write the cluster's snapshot to, for a rehearsal",
        set: |config, text| {
            config.snapshot = Some(text.into());
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_PLAN",
        group: Group::Way,
        shown: |config| listed(config.plan.as_ref().map(|file| file.display()).as_slice(), "none"),
        meaning: "a report of an earlier dry run, reviewed: only moves planned there are made, and only where the cluster \
                  still matches",
        set: |config, text| {
            config.plan = Some(values::plan(text)?);
            Ok(())
        },
    },
    Setting {
        name: "REBALANCER_TRIGGER_INSTANCE",
        group: Group::Cluster,
        shown: |config| listed(config.trigger_instance.as_slice(), "none"),
        meaning: "the container instance ARN of the event that launched the run; the run goes on only if that instance has \
                  just become usable: ACTIVE, agent connected, and no running or pending task on it save those of daemons and of the job's own task definition family",
        set: |config, text| {
            config.trigger_instance = Some(values::container_instance(text)?);
            Ok(())
        },
    },
];

/// Things with commas between, or the word for none.
fn listed(things: &[impl fmt::Display], none: &str) -> String {
    if things.is_empty() {
        return none.to_owned();
    }
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The known name that a variable's was most likely meant to be, where it is none of ours: `REBALANCER_DRYRUN`, and also
/// `REBALANCE_DRY_RUN`, whose dry run would be a real one if it were passed over.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    if VARIABLES.iter().any(|setting| setting.name == name) {
        return None;
    }
    // The prefix would make all names alike.
    let keys = || VARIABLES.iter().map(|setting| setting.name.trim_start_matches(PREFIX));
    let meant = if let Some(key) = name.strip_prefix(PREFIX) {
        values::nearest(&key.to_uppercase(), keys())
    } else {
        let name = name.to_uppercase().replace('-', "_");
        let (prefix, key) = name.strip_prefix("ECS_").unwrap_or(&name).split_once('_')?;
        let slips = strsim::damerau_levenshtein(prefix, PREFIX.trim_end_matches('_'));
        // `BALANCER_LOG` is another program's.
        let is_ours = prefix.starts_with('R') && slips <= SLIPS_IN_THE_PREFIX;
        values::nearest_by_a_slip(key, keys()).filter(|_| is_ours)
    };
    VARIABLES.iter().map(|setting| setting.name).find(|name| meant == Some(name.trim_start_matches(PREFIX)))
}
