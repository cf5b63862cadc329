//! What a rehearsal adds to the report: what happened to the services meanwhile.

use serde::Serialize;

use crate::execute::Counts;

/// What happened in a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Played {
    /// How long it took on the simulated clock.
    pub simulated_seconds: u64,
    /// Over all services.
    pub tasks_started: u32,
    /// Over all services.
    pub tasks_stopped: u32,
    /// The services of which tasks were started or stopped.
    pub services: Vec<PlayedService>,
    /// What other policies would have done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<Comparison>,
}

impl Played {
    /// The service that came closest to having nothing healthy.
    pub fn lowest(&self) -> Option<Lowest> {
        let share = |it: &PlayedService| u64::from(it.lowest_healthy) * 1_000_000 / u64::from(it.desired.max(1));
        let lowest = self.services.iter().min_by_key(|service| share(service))?;
        Some(Lowest { service: lowest.name.clone(), healthy: lowest.lowest_healthy, desired: lowest.desired })
    }
}

/// How low the lowest of all services ever was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lowest {
    /// Which.
    pub service: String,
    /// The fewest healthy tasks at any moment.
    pub healthy: u32,
    /// What its owner asked for.
    pub desired: u32,
}

/// What happened to one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlayedService {
    /// Its name.
    pub name: String,
    /// The fewest healthy tasks at any moment.
    pub lowest_healthy: u32,
    /// What its owner asked for.
    pub desired: u32,
    /// ⌈desired × minimumHealthyPercent⌉.
    pub minimum_healthy: u32,
    /// Tasks started.
    pub started: u32,
    /// Tasks stopped.
    pub stopped: u32,
    /// Its counts at each change. For people's pictures only.
    #[serde(skip)]
    pub moments: Vec<Moment>,
}

impl PlayedService {
    /// Whether it ever had fewer healthy tasks than its minimum, and then, whether it was found so.
    pub fn below_its_minimum(&self) -> Option<bool> {
        let as_found = self.moments.first().is_some_and(|first| first.healthy <= self.lowest_healthy);
        (self.lowest_healthy < self.minimum_healthy).then_some(as_found)
    }
}

/// What a run saw of a service in hand, each time that it looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedService {
    /// Its name.
    pub name: String,
    /// ⌈desired × minimumHealthyPercent⌉.
    pub minimum_healthy: u32,
    /// Its counts. How many of the running are healthy is looked at now and then only, so here all of them are.
    pub moments: Vec<Moment>,
}

impl WatchedService {
    pub(super) fn of(name: &str, counts: &[Counts]) -> Self {
        let moments = counts.iter().map(|it| Moment {
            seconds: it.at.as_secs(),
            desired: it.desired,
            running: it.running,
            healthy: it.running,
        });
        // What its owner asked for is what it began with.
        let minimum_healthy = counts.first().map_or(0, |first| first.least);
        Self { name: name.to_owned(), minimum_healthy, moments: moments.collect() }
    }
}

/// A service's counts, from one moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since the start.
    pub seconds: u64,
    /// The desired count.
    pub desired: u32,
    /// Tasks in RUNNING.
    pub running: u32,
    /// Those of them that are healthy.
    pub healthy: u32,
}

/// What a policy did to the same cluster under the same chance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Which, in a word or two.
    pub policy: &'static str,
    /// Tasks that were stopped.
    pub restarted: u32,
    /// Those of them that were started just before, and landed where they helped nothing.
    pub starts_in_vain: u32,
    /// Misplaced tasks that are left.
    pub misplaced_left: u32,
    /// The load imbalance at the end.
    pub load_imbalance_percent: f64,
    /// Usable container instances without a task that is not a daemon's, at the end.
    pub empty_instances: u32,
    /// How low the lowest service ever was; none where nothing was touched.
    pub lowest: Option<Lowest>,
    /// Services whose deployment was refused, or didn't come to its end.
    pub unfinished_services: u32,
    /// How long it took on the simulated clock.
    pub simulated_seconds: u64,
    /// Requests made.
    pub requests: u64,
}

impl Comparison {
    /// What a run did in a rehearsal.
    pub fn of(policy: &'static str, report: &super::Report, played: &Played) -> Self {
        let left = report.after.as_ref().or(report.before.as_ref());
        Self {
            policy,
            restarted: played.tasks_stopped,
            starts_in_vain: report.starts_in_vain,
            misplaced_left: left.map_or(0, |left| left.misplaced_tasks),
            load_imbalance_percent: left.map_or(0.0, |left| left.load_imbalance_percent),
            empty_instances: left.map_or(0, |left| left.empty_instances),
            lowest: played.lowest(),
            unfinished_services: 0,
            simulated_seconds: played.simulated_seconds,
            requests: report.api_calls.values().sum(),
        }
    }
}

/// The columns of a comparison: this run, and what else was tried.
pub fn compared(report: &super::Report) -> Vec<Comparison> {
    let Some(played) = report.rehearsal.as_ref().filter(|played| !played.instead.is_empty()) else { return Vec::new() };
    let ours = Comparison::of("ecs-rebalancer", report, played);
    [ours].into_iter().chain(played.instead.iter().cloned()).collect()
}

/// A row of a comparison: its name, and each policy's figure.
type Row = (&'static str, fn(&Comparison) -> String);

/// What a comparison tells of each policy.
pub const COMPARED: [Row; 9] = [
    ("tasks restarted", |it| it.restarted.to_string()),
    ("of them started in vain", |it| it.starts_in_vain.to_string()),
    ("misplaced tasks left", |it| it.misplaced_left.to_string()),
    ("load imbalance left", |it| format!("{:.1} %", it.load_imbalance_percent)),
    ("empty instances left", |it| it.empty_instances.to_string()),
    ("lowest healthy of desired", |it| {
        it.lowest
            .as_ref()
            .map_or_else(|| "untouched".to_owned(), |lowest| format!("{} of {}", lowest.healthy, lowest.desired))
    }),
    ("services not deployed", |it| it.unfinished_services.to_string()),
    ("simulated time, seconds", |it| it.simulated_seconds.to_string()),
    ("requests", |it| it.requests.to_string()),
];
