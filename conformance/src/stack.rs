//! The cluster that is probed: what the Terraform of `examples/conformance` tells of it.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The tag that a cluster bears if it may be probed, and each service that a probe makes.
pub const TAG: &str = "ecs-rebalancer:conformance";
/// What the name of each service that a probe makes begins with.
pub const PREFIX: &str = "ecs-rebalancer-conformance-";

/// A cluster that is there for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Its Region.
    pub region: String,
    /// Its name.
    pub cluster: String,
    /// What it costs an hour, in hundredths of a cent.
    pub hundredths_of_a_cent_an_hour: u64,
    /// Target groups of one load balancer; targets of the second drain for five minutes.
    pub target_groups: [String; 2],
    /// What a service of two target groups needs.
    pub swap: Swap,
    /// Capacity providers, each with half of the instances.
    pub capacity_providers: [String; 2],
    /// A capacity provider that scales by itself, from no instance on.
    pub scaled: Scaled,
    /// The URL of a queue that has the events of the cluster's container instances.
    pub queue: String,
    /// What tasks are started from.
    pub task_definitions: TaskDefinitions,
}

/// What blue/green, linear and canary deployments shift traffic by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// One has the tasks, and the other the next ones.
    pub target_groups: [String; 2],
    /// The listener's rule that forwards to both.
    pub listener_rule: String,
    /// The role by which ECS changes that rule.
    pub role: String,
}

/// A capacity provider with managed scaling, and its group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaled {
    /// The provider's name.
    pub provider: String,
    /// The name of its Auto Scaling group, which has no instance while nobody asks for one.
    pub group: String,
}

/// Task definitions, each with one container, `app`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskDefinitions {
    /// Takes next to nothing, and waits.
    pub tiny: String,
    /// Takes a third of an instance's memory, and waits.
    pub heavy: String,
    /// Takes next to nothing, and serves an empty page on port 80.
    pub web: String,
    /// Takes next to nothing and has port 80, where nobody answers.
    pub deaf: String,
    /// Takes next to nothing, and can't start: its image has no such program.
    pub broken: String,
}

impl Stack {
    /// Reads what `terraform output -json stack` printed.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn from_json(text: &str) -> Result<Self> {
        let stack: Self =
            serde_json::from_str(text).context("this is not what `terraform output -json stack` prints")?;
        ensure!(!stack.cluster.is_empty(), "the cluster has no name");
        Ok(stack)
    }

    /// What the stack costs in so many seconds, in hundredths of a cent.
    pub fn cost(&self, seconds: u64) -> u64 {
        self.hundredths_of_a_cent_an_hour * seconds / 3600
    }
}

/// Hundredths of a cent, as people read them: `4.7 cents`.
pub fn cents(hundredths: u64) -> String {
    format!("{}.{} cents", hundredths / 100, hundredths % 100 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_stack_is_told_with_what_is_missing() {
        let error = format!("{:#}", Stack::from_json("{\"region\": \"eu-west-1\"}").unwrap_err());
        assert!(error.contains("missing field `cluster`"), "{error}");
        let error = format!("{:#}", Stack::from_json("Error: no outputs").unwrap_err());
        assert!(error.contains("terraform output -json stack"), "{error}");
    }

    #[test]
    fn costs_are_told_in_cents() {
        assert_eq!(cents(0), "0.0 cents");
        assert_eq!(cents(1_234), "12.3 cents");
    }
}
