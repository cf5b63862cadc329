//! What a service's owner says by tags, over the run's own settings.

use super::{
    model::Service,
    policy::{Percent, Policy, Strategy},
    reason::TagProblem,
};

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
}

impl ServiceSettings {
    /// Reads the owner's tags.
    ///
    /// # Errors
    /// The first tag that can't be read: then nobody knows what the owner wants.
    pub fn of(service: &Service, policy: &Policy) -> Result<Self, TagProblem> {
        let read = |key: &'static str| service.tags.get(key).map(|value| value.trim());
        let mut settings =
            Self { enabled: true, strategy: policy.strategy, threshold: policy.threshold, max_moves: policy.max_moves };
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
        Ok(settings)
    }
}
