//! Why a container instance stays far from the mean.

use std::fmt;

use crate::planning::policy::Percent;

/// Why a container instance stays at less than half, or at more than twice, of what the cluster's instances have reserved on
/// average.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unlevelled {
    /// `LoadImbalance` is below this threshold.
    BelowThreshold(Percent),
    /// `REBALANCER_LOAD_THRESHOLD=100`.
    SwitchedOff,
    /// A run in mode `consolidate` packed tasks less than a day ago.
    Packed,
    /// A reviewed plan is followed, which leaves it so.
    NotInPlan,
    /// ECS calls its health IMPAIRED.
    Impaired,
    /// It is empty, and managed scaling of this capacity provider may take it away.
    ManagedScaling(String),
    /// None of its tasks may be moved.
    NoTaskMayGo,
    /// No other container instance could take one of its tasks so that the load gets more even.
    NoPlace,
    /// No task that may be moved could go there so that the load gets more even.
    NoTaskFits,
    /// Only steering would do it.
    NeedsSteering,
    /// Tasks could be moved there or from there, or the services that could are in their cooldown.
    Later,
}

impl Unlevelled {
    /// A short name for machines, which doesn't change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BelowThreshold(_) => "below-threshold",
            Self::SwitchedOff => "switched-off",
            Self::Packed => "packed",
            Self::NotInPlan => "not-in-plan",
            Self::Impaired => "impaired",
            Self::ManagedScaling(_) => "managed-scaling",
            Self::NoTaskMayGo => "no-task-may-go",
            Self::NoPlace => "no-place",
            Self::NoTaskFits => "no-task-fits",
            Self::NeedsSteering => "needs-steering",
            Self::Later => "later",
        }
    }

    /// One of each, for tests that the documents name them all.
    pub fn examples() -> Vec<Self> {
        vec![
            Self::BelowThreshold(Percent::from_hundredths(2_500)),
            Self::SwitchedOff,
            Self::Packed,
            Self::NotInPlan,
            Self::Impaired,
            Self::ManagedScaling("od".to_owned()),
            Self::NoTaskMayGo,
            Self::NoPlace,
            Self::NoTaskFits,
            Self::NeedsSteering,
            Self::Later,
        ]
    }
}

impl fmt::Display for Unlevelled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowThreshold(threshold) => {
                write!(formatter, "LoadImbalance is below REBALANCER_LOAD_THRESHOLD ({threshold} %)")
            }
            Self::SwitchedOff => formatter.write_str("REBALANCER_LOAD_THRESHOLD=100 turns levelling off"),
            Self::Packed => formatter.write_str("a run in mode consolidate packed tasks less than a day ago"),
            Self::NotInPlan => formatter.write_str("the reviewed plan leaves it so (REBALANCER_PLAN)"),
            Self::Impaired => formatter.write_str("ECS calls its health IMPAIRED"),
            Self::ManagedScaling(provider) => {
                write!(formatter, "empty, and managed scaling of capacity provider {provider} may take it away")
            }
            Self::NoTaskMayGo => formatter.write_str("none of its tasks may be moved"),
            Self::NoPlace => {
                formatter.write_str("no other could take one of its tasks so that the load gets more even")
            }
            Self::NoTaskFits => {
                formatter.write_str("no task that may be moved could go there so that the load gets more even")
            }
            Self::NeedsSteering => formatter.write_str(
                "ECS would place too few new tasks where they help; REBALANCER_STEER=true would send them there",
            ),
            Self::Later => formatter.write_str(
                "a later run may go on: this one had reached a limit, or the services are in their cooldown",
            ),
        }
    }
}
