//! What a service's owner says by tags, over the run's own settings.

use std::time::Duration;

use super::{
    model::Service,
    notes::{LAST_TAG, SURGE_TAG},
    policy::{Percent, Policy, Strategy},
    reason::TagProblem,
};

/// As the variable REBALANCER_TASK_TIMEOUT may be set.
const SHORTEST_TASK_TIMEOUT: Duration = Duration::from_mins(1);
const LONGEST_TASK_TIMEOUT: Duration = Duration::from_hours(2);

/// How all tags begin that are read.
const PREFIX: &str = "ecs-rebalancer:";
const ENABLED: &str = "ecs-rebalancer:enabled";
const STRATEGY: &str = "ecs-rebalancer:strategy";
const THRESHOLD: &str = "ecs-rebalancer:threshold";
const MAX_MOVES: &str = "ecs-rebalancer:max-moves";
const MOVE_DATA: &str = "ecs-rebalancer:move-data";
const TASK_TIMEOUT: &str = "ecs-rebalancer:task-timeout";
/// The tags that an owner may set.
const OWNERS: &[&str] = &[ENABLED, STRATEGY, THRESHOLD, MAX_MOVES, MOVE_DATA, TASK_TIMEOUT];

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
        // `Enabled` or `enable` may be the owner's way to say that the service is to be left alone.
        let is_unknown = |key: &&String| {
            key.starts_with(PREFIX) && ![SURGE_TAG, LAST_TAG].contains(&key.as_str()) && !OWNERS.contains(&key.as_str())
        };
        if let Some(key) = service.tags.keys().find(is_unknown) {
            return Err(TagProblem::Key { key: key.clone(), allowed: OWNERS });
        }
        let problem = |key, value: &str, allowed| Err(TagProblem::Value { key, value: value.to_owned(), allowed });
        let key = ENABLED;
        match read(key) {
            None | Some("true") => {}
            Some("false") => settings.enabled = false,
            Some(value) => return problem(key, value, "true or false"),
        }
        let key = STRATEGY;
        if let Some(value) = read(key) {
            match Strategy::parse(value) {
                Some(strategy) => settings.strategy = strategy,
                None => return problem(key, value, "auto, surge, stop, redeploy or revision"),
            }
        }
        let key = THRESHOLD;
        if let Some(value) = read(key) {
            match Percent::parse(value) {
                Some(threshold) => settings.threshold = threshold,
                None => return problem(key, value, "a number from 0 to 100"),
            }
        }
        let key = MAX_MOVES;
        if let Some(value) = read(key) {
            match value.parse() {
                Ok(max_moves) => settings.max_moves = policy.max_moves.min(max_moves),
                Err(_) => return problem(key, value, "a whole number"),
            }
        }
        let key = MOVE_DATA;
        match read(key) {
            None | Some("false") => {}
            Some("true") => settings.move_data = true,
            Some(value) => return problem(key, value, "true or false"),
        }
        let key = TASK_TIMEOUT;
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

/// What is said of the tags that can't be read, which keep their services alone.
pub fn unreadable_tags<'a>(services: impl Iterator<Item = &'a Service>, policy: &Policy) -> Vec<String> {
    let tell = |service: &Service| {
        let problem = ServiceSettings::of(service, policy).err()?;
        Some(format!("{} is left alone, since nobody knows what its owner wants: {problem}", service.name))
    };
    services.filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    /// What is said of a service with this tag.
    fn told(key: &str, value: &str) -> String {
        let mut cluster = testing::cluster("a i-1 web");
        let web = cluster.services.get_mut(&"web".into()).unwrap();
        web.tags.insert(key.to_owned(), value.to_owned());
        unreadable_tags(cluster.services.values(), &Policy::default()).join("\n")
    }

    #[test]
    fn a_tag_that_is_not_known_or_not_readable_is_told_and_others_are_nobodys() {
        let known = "ecs-rebalancer:enabled, ecs-rebalancer:strategy, ecs-rebalancer:threshold, ecs-rebalancer:max-moves, \
                     ecs-rebalancer:move-data, ecs-rebalancer:task-timeout";
        for key in ["Enabled", "enabeld", "max_moves", "strategie", ""] {
            let expected = format!(
                "web is left alone, since nobody knows what its owner wants: its tag ecs-rebalancer:{key} is none of {known}"
            );
            assert_eq!(told(&format!("ecs-rebalancer:{key}"), "false"), expected);
        }
        let expected = "web is left alone, since nobody knows what its owner wants: its tag ecs-rebalancer:enabled is \
                        \"False\", where true or false is allowed";
        assert_eq!(told("ecs-rebalancer:enabled", "False"), expected);
        for (key, value) in [
            ("ecs-rebalancer:enabled", "false"),
            ("ecs-rebalancer:last", "at=1 misses=0"),
            ("team", "ecs-rebalancer:x"),
        ] {
            assert_eq!(told(key, value), "", "{key}");
        }
    }
}
