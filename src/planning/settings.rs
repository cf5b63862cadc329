//! What a service's owner says by tags, over the run's own settings.

use std::time::Duration;

use super::{
    model::Service,
    policy::{Percent, Policy, Strategy},
    reason::TagProblem,
};

/// As the variable REBALANCER_TASK_TIMEOUT may be set.
const SHORTEST_TASK_TIMEOUT: Duration = Duration::from_mins(1);
const LONGEST_TASK_TIMEOUT: Duration = Duration::from_hours(2);

/// The settings in force for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// `ecs-rebalancer:enabled`.
    pub enabled: bool,
    /// `ecs-rebalancer:strategy`.
    pub strategy: Strategy,
    /// `ecs-rebalancer:threshold`.
    pub threshold: Percent,
    /// `ecs-rebalancer:max-moves`; the run's own limit holds beside it.
    pub max_moves: u32,
    /// `ecs-rebalancer:move-data`: tasks that keep data on their container instance or on a volume of their own may be moved.
    pub move_data: bool,
    /// `ecs-rebalancer:task-timeout`: how long one of its tasks may take until it is healthy.
    pub task_timeout: Option<Duration>,
}

impl ServiceSettings {
    /// Reads the owner's tags.
    ///
    /// # Errors
    /// The first tag that can't be read: then nobody knows what the owner wants.
    pub fn of(service: &Service, policy: &Policy) -> Result<Self, TagProblem> {
        let read = |key: &'static str| service.tags.get(key).map(|value| value.trim());
        let mut settings = Self {
            enabled: true,
            strategy: policy.strategy,
            threshold: policy.threshold,
            max_moves: policy.max_moves,
            move_data: false,
            task_timeout: None,
        };
        let problem = |key, value: &str, allowed| Err(TagProblem { key, value: value.to_owned(), allowed });
        let key = "ecs-rebalancer:enabled";
        match read(key) {
            None | Some("true") => {}
            Some("false") => settings.enabled = false,
            Some(value) => return problem(key, value, "true or false"),
        }
        let key = "ecs-rebalancer:strategy";
        if let Some(value) = read(key) {
            match Strategy::parse(value) {
                Some(strategy) => settings.strategy = strategy,
                None => return problem(key, value, "auto, surge, stop, redeploy or revision"),
            }
        }
        let key = "ecs-rebalancer:threshold";
        if let Some(value) = read(key) {
            match Percent::parse(value) {
                Some(threshold) => settings.threshold = threshold,
                None => return problem(key, value, "a number from 0 to 100"),
            }
        }
        let key = "ecs-rebalancer:max-moves";
        if let Some(value) = read(key) {
            match value.parse() {
                Ok(max_moves) => settings.max_moves = policy.max_moves.min(max_moves),
                Err(_) => return problem(key, value, "a whole number"),
            }
        }
        let key = "ecs-rebalancer:move-data";
        match read(key) {
            None | Some("false") => {}
            Some("true") => settings.move_data = true,
            Some(value) => return problem(key, value, "true or false"),
        }
        let key = "ecs-rebalancer:task-timeout";
        if let Some(value) = read(key) {
            let allowed = SHORTEST_TASK_TIMEOUT..=LONGEST_TASK_TIMEOUT;
            match humantime::parse_duration(value) {
                Ok(timeout) if allowed.contains(&timeout) => settings.task_timeout = Some(timeout),
                _ => return problem(key, value, "a duration from 1m to 2h, as 90s, 10m or 1h"),
            }
        }
        Ok(settings)
    }
}
