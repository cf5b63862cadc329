//! A switch for each thing on which ECS's documents contradict each other or are silent, with both sources.

use anyhow::{Context, Result, bail};

/// One switch: its name, its values (the first is the default), and where the values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// As it is given, `NAME=VALUE`.
    pub name: &'static str,
    /// The first is the default.
    pub values: &'static [&'static str],
    /// What is open, and who says what.
    pub sources: &'static str,
}

/// Every switch.
pub const SWITCHES: [Switch; 27] = [
    Switch {
        name: "scale-in",
        values: &["best-spread", "zones-then-random", "oldest", "newest", "random"],
        sources: "Which task does scale-in stop? best-spread: developer guide, ecs_service-options. zones-then-random: \
                  developer guide, task-placement-strategies. oldest, newest, random: nobody documents an order.",
    },
    Switch {
        name: "default-strategy",
        values: &["fewest", "most", "random"],
        sources: "Without a strategy, within the best zone: fewest tasks of the service (ecs_service-options, placement), \
                  most (ecs_service-options, scale-in read literally), random (task-placement-strategies).",
    },
    Switch {
        name: "ties",
        values: &["random", "first", "last", "most-free-memory", "fewest-tasks", "oldest", "fullest"],
        sources: "Which of several equal instances is taken: nothing documented. first, last: by ARN; oldest: registered first; \
                  fullest: with the least free memory, the worst for whoever wants to even out load.",
    },
    Switch {
        name: "spread-across-providers",
        values: &["all", "own"],
        sources: "Whether a spread counts the service's tasks of all its capacity providers. all: developer guide, \
                  task-placement-strategies, 'tasks of that service'. own: nothing says how it goes with a provider strategy.",
    },
    Switch {
        name: "maximum-percent-counts",
        values: &["stopping-too", "running-and-pending"],
        sources: "stopping-too: developer guide, update-service-parameters; public logs. running-and-pending: API, \
                  DeploymentConfiguration.",
    },
    Switch {
        name: "desired-count-deploys",
        values: &["no", "yes"],
        sources: "no: API, UpdateService. yes: developer guide of 2023, ecs_services (the rollout state shows IN_PROGRESS).",
    },
    Switch {
        name: "constraints-bind",
        values: &["at-once", "next-deployment"],
        sources: "When a changed placementConstraints or placementStrategy takes effect. at-once: API, UpdateService, 'doesn't \
                  trigger a new service deployment'. next-deployment: AWS, what's new, March 2020; Terraform's aws_ecs_service.",
    },
    Switch {
        name: "unhealthy",
        values: &["replacement-first", "stop-first"],
        sources: "replacement-first: developer guide, ecs_services. stop-first: API, HealthCheck.",
    },
    Switch {
        name: "back-off-ceiling",
        values: &["27m", "15m"],
        sources: "27m: developer guide, service-throttle-logic. 15m: the same of 2023.",
    },
    Switch {
        name: "circuit-breaker-minimum",
        values: &["3", "10"],
        sources: "3: developer guide, deployment-circuit-breaker. 10: the same of 2023.",
    },
    Switch {
        name: "resources-freed",
        values: &["when-stopping", "when-stopped"],
        sources: "when-stopping: AWS, what's new, July 2023. when-stopped: agents before 1.74.1.",
    },
    Switch {
        name: "stop-reaction",
        values: &["30s", "0s", "10s", "40s"],
        sources: "How long after StopTask the scheduler starts the replacement: about 30 s in public logs, else nothing.",
    },
    Switch {
        name: "deregistration-delay",
        values: &["300s", "0s", "30s"],
        sources: "How long targets drain: 300 s unless the target group says otherwise (API of Elastic Load Balancing); most who \
                  care about the length of deployments shorten it.",
    },
    Switch {
        name: "target-checks",
        values: &["5x30s", "2x10s", "5x10s"],
        sources: "How many checks a new target has to pass, and how far apart they are: 5 and 30 s unless the target group says \
                  otherwise (ECS developer guide, load-balancer-healthcheck).",
    },
    Switch {
        name: "stop-order",
        values: &["since-2025", "until-2021"],
        sources: "Whether the scheduler says that it has stopped tasks before their targets are taken off and drained (public logs \
                  since 2025), or after that (until 2021).",
    },
    Switch {
        name: "live-target-group",
        values: &["first", "second"],
        sources: "In which of a pair of target groups the tasks of a service with blue/green, linear or canary deployments are when \
                  the simulation begins: DescribeServices doesn't tell, and public reports have either from the first deployment on.",
    },
    Switch {
        name: "stop-of-protected",
        values: &["allowed", "refused"],
        sources: "Whether StopTask is refused for a protected task: nothing documented.",
    },
    Switch {
        name: "drain-of-protected",
        values: &["held-up", "stopped"],
        sources: "Whether a protected task on a DRAINING container instance stays until its protection ends. held-up: the developer guide \
                  says so of Managed Instances, and users report drains that hang (roadmap#2467, #2685). stopped: of EC2 nothing is \
                  documented.",
    },
    Switch {
        name: "spread-counts",
        values: &["all-revisions", "own-revision", "stopping-too"],
        sources: "Which tasks a spread counts: the old revision's too (agent#685); which states: nothing documented.",
    },
    Switch {
        name: "scale-in-unhealthy-first",
        values: &["yes", "no"],
        sources: "Whether tasks that aren't healthy yet go first in a scale-in: API, healthCheckGracePeriodSeconds, says 'might'.",
    },
    Switch {
        name: "running-counts",
        values: &["wanted", "draining-too"],
        sources: "Whether runningCount counts a task that is to stop while its targets drain. wanted: public logs of 2025 and 2026. \
                  draining-too: those of 2017.",
    },
    Switch {
        name: "zone-rebalancing-beside-counts",
        values: &["stops", "goes-on"],
        sources: "What becomes of zone rebalancing when somebody changes the desired count meanwhile. stops: the developer guide has an \
                  event for that, and says it of deployments. goes-on: of counts nothing is documented.",
    },
    Switch {
        name: "count-above-maximum",
        values: &["until-registered", "lowered", "stays"],
        sources: "What Application Auto Scaling makes of a desired count above its maximum. until-registered: API, \
                  RegisterScalableTarget, and developer guide, service-auto-scaling: by itself nothing, and any registration moves it \
                  to the maximum. lowered, stays: nobody says so of a registration that only suspends.",
    },
    Switch {
        name: "surge-buys",
        values: &["provisioning", "unplaced", "nothing"],
        sources: "What managed scaling makes of a raised count that fits on no instance. provisioning: developer guide, \
                  cluster-auto-scaling: the tasks wait in PROVISIONING, and an instance is launched. unplaced: it is launched, and the \
                  service says that it can't place the task. nothing: the developer guide says so of tasks without a provider strategy.",
    },
    Switch {
        name: "join-events",
        values: &["once", "several", "repeated"],
        sources: "How many events say that a container instance which joins is ACTIVE and connected. once: one. several: one of its \
                  registration and one of its agent's connection, each with a version of its own (developer guide, \
                  ecs_container_instance_events). repeated: one comes a second time with the same version (developer guide of 2023, \
                  ecs_cwe_events).",
    },
    Switch {
        name: "tag-characters",
        values: &["listed", "any"],
        sources: "Which characters the value of a tag can have. listed: API, TagValue: letters, digits, blanks and _ . : / = + - @. any: \
                  nothing says that others are refused.",
    },
    Switch {
        name: "short-arn-tags",
        values: &["refused", "taken"],
        sources: "Whether TagResource takes a service's ARN without its cluster. refused: developer guide, ecs-account-settings: tags \
                  need the long form. taken: nothing says so of a service that has a long one.",
    },
];

/// The value of every switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour([usize; SWITCHES.len()]);

impl Default for Behaviour {
    fn default() -> Self {
        Self([0; SWITCHES.len()])
    }
}

impl Behaviour {
    /// The defaults, with these settings `NAME=VALUE` over them.
    ///
    /// # Errors
    /// Names the setting, and what there is to choose from.
    pub fn from_settings<S: AsRef<str>>(settings: &[S]) -> Result<Self> {
        let mut behaviour = Self::default();
        for setting in settings {
            let setting = setting.as_ref();
            let (name, value) =
                setting.split_once('=').with_context(|| format!("behaviour {setting:?} is not NAME=VALUE"))?;
            let Some(index) = SWITCHES.iter().position(|switch| switch.name == name) else {
                let names: Vec<&str> = SWITCHES.iter().map(|switch| switch.name).collect();
                bail!("there is no behaviour {name:?}; there are {}", names.join(", "));
            };
            let values = SWITCHES[index].values;
            behaviour.0[index] = values
                .iter()
                .position(|known| *known == value)
                .with_context(|| format!("behaviour {name} can be {}, not {value:?}", values.join(", ")))?;
        }
        Ok(behaviour)
    }

    /// The value of a switch; empty where there is no such switch.
    pub(crate) fn get(&self, name: &str) -> &'static str {
        SWITCHES
            .iter()
            .zip(self.0)
            .find(|(switch, _)| switch.name == name)
            .map_or("", |(switch, value)| switch.values[value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_of_each_switch_can_be_set_and_is_read_back() {
        for switch in SWITCHES {
            assert_eq!(Behaviour::default().get(switch.name), switch.values[0]);
            for value in switch.values {
                let behaviour = Behaviour::from_settings(&[format!("{}={value}", switch.name)]).unwrap();
                assert_eq!(behaviour.get(switch.name), *value);
            }
        }
    }

    #[test]
    fn what_cannot_be_set_says_what_can() {
        for (setting, expected) in [
            ("ties", "behaviour \"ties\" is not NAME=VALUE"),
            (
                "ties=never",
                "behaviour ties can be random, first, last, most-free-memory, fewest-tasks, oldest, fullest, not \"never\"",
            ),
        ] {
            assert_eq!(Behaviour::from_settings(&[setting]).unwrap_err().to_string(), expected);
        }
        let error = Behaviour::from_settings(&["tie=first"]).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no behaviour \"tie\"; there are scale-in, default-strategy, ties"),
            "{error}"
        );
    }
}
