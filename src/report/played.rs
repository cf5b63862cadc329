//! What a rehearsal adds to the report: what happened to the services meanwhile.

use serde::Serialize;

/// What happened in a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Played {
    /// How long it took on the simulated clock.
    pub simulated_seconds: u64,
    /// Over all services.
    pub tasks_started: u32,
    /// Over all services.
    pub tasks_stopped: u32,
    /// The services of which tasks were started or stopped.
    pub services: Vec<PlayedService>,
    /// What another policy would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Comparison>,
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

/// What another policy did to the same cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Which.
    pub policy: &'static str,
    /// Tasks that were stopped.
    pub restarted: u32,
    /// Misplaced tasks that are left.
    pub misplaced_left: u32,
    /// Services whose deployment was not through in two hours.
    pub unfinished_services: u32,
    /// How long it took on the simulated clock.
    pub simulated_seconds: u64,
}
