//! What happened to each service: the counts at every change, and the lowest ever.

use std::collections::BTreeMap;

use crate::moment::Moment;

/// The header by which a client says who it is; its changes of a desired count are told by this name.
pub const CALLER: &str = "x-simulated-caller";

/// A service's counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// When they became so.
    pub at: Moment,
    /// The desired count in force.
    pub desired: u32,
    /// Tasks in RUNNING.
    pub running: u32,
    /// Those of them that ECS takes for healthy.
    pub healthy: u32,
    /// The floor of a deployment: ⌈desired × minimumHealthyPercent⌉.
    pub minimum_healthy: u32,
}

/// Somebody sets a desired count, perhaps to what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountChange {
    /// When.
    pub at: Moment,
    /// Who.
    pub by: By,
    /// What it was.
    pub from: u32,
    /// What it is from now on.
    pub to: u32,
}

/// Who changes a desired count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A client, by what it says in the header [`CALLER`]; empty where it says nothing.
    Caller(String),
    /// Somebody at a console: a test, or a fault.
    Person,
    /// Application Auto Scaling.
    AutoScaling,
}

/// A task was started though the service had as many as its maximumPercent allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// When.
    pub at: Moment,
    /// Its tasks that were not STOPPED, the new one among them. Those that were stopped by hand (StopTask) are left out: ECS starts
    /// another in their stead while they stop.
    pub tasks: u32,
    /// ⌊maximumPercent × desired count ÷ 100⌋, the desired count being the one before a client raised it.
    pub limit: u32,
}

/// What happened to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// At each change, oldest first.
    pub counts: Vec<Counts>,
    /// The fewest healthy tasks at any moment.
    pub lowest_healthy: u32,
    /// The fewest running tasks at any moment.
    pub lowest_running: u32,
    /// Tasks started.
    pub started: u32,
    /// When each of them was placed.
    pub starts: Vec<Moment>,
    /// Tasks whose end was decided.
    pub stopped: u32,
    /// Each time that somebody set the desired count.
    pub count_changes: Vec<CountChange>,
    /// The most tasks that were not STOPPED (on their way in, RUNNING, on their way out) just after a start.
    pub most_tasks: u32,
    /// Starts beyond what maximumPercent allows, old revisions' and draining tasks counted too.
    pub excesses: Vec<Excess>,
}

impl History {
    /// The desired count as it would be without what clients have raised it by and not lowered again. A client that lowers it
    /// below that lowers this too; who else sets it, sets both.
    pub fn count_before_raise(&self) -> Option<u32> {
        let first = self.count_changes.first()?.from;
        Some(self.count_changes.iter().fold(first, |count, change| match change.by {
            By::Caller(_) => count.min(change.to),
            By::Person | By::AutoScaling => change.to,
        }))
    }
}

/// What happened, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline(pub(crate) BTreeMap<String, History>);

impl Timeline {
    /// The services, by name.
    pub fn services(&self) -> &BTreeMap<String, History> {
        &self.0
    }

    /// Tasks started, over all services.
    pub fn tasks_started(&self) -> u32 {
        self.0.values().map(|history| history.started).sum()
    }

    /// Tasks whose end was decided, over all services.
    pub fn tasks_stopped(&self) -> u32 {
        self.0.values().map(|history| history.stopped).sum()
    }

    pub(crate) fn note(&mut self, service: &str, counts: Counts) {
        let history = self.0.entry(service.to_owned()).or_insert_with(|| History {
            lowest_healthy: counts.healthy,
            lowest_running: counts.running,
            ..History::default()
        });
        history.lowest_healthy = history.lowest_healthy.min(counts.healthy);
        history.lowest_running = history.lowest_running.min(counts.running);
        let is_new = history.counts.last().is_none_or(|last| Counts { at: counts.at, ..*last } != counts);
        if is_new {
            history.counts.push(counts);
        }
    }

    pub(crate) fn set_count(&mut self, service: &str, change: CountChange) {
        self.0.entry(service.to_owned()).or_default().count_changes.push(change);
    }

    /// A task more, with which there are so many, of which so many were stopped by hand; so many are allowed.
    pub(crate) fn started(
        &mut self,
        service: &str,
        at: Moment,
        tasks: u32,
        stopped_by_hand: u32,
        limit: impl FnOnce(Option<u32>) -> u32,
    ) {
        let history = self.0.entry(service.to_owned()).or_default();
        history.started += 1;
        history.starts.push(at);
        history.most_tasks = history.most_tasks.max(tasks);
        let limit = limit(history.count_before_raise());
        let tasks = tasks.saturating_sub(stopped_by_hand);
        if tasks > limit {
            history.excesses.push(Excess { at, tasks, limit });
        }
    }

    pub(crate) fn stopped(&mut self, service: &str) {
        self.0.entry(service.to_owned()).or_default().stopped += 1;
    }
}
