//! What happened to each service: the counts at every change, and the lowest ever.

use std::collections::BTreeMap;

use crate::Moment;

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
    /// Tasks whose end was decided.
    pub stopped: u32,
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

    pub(crate) fn started(&mut self, service: &str) {
        self.0.entry(service.to_owned()).or_default().started += 1;
    }

    pub(crate) fn stopped(&mut self, service: &str) {
        self.0.entry(service.to_owned()).or_default().stopped += 1;
    }
}
