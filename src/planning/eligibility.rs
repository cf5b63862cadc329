//! May this service, this task, be moved now? Every guard is here, none elsewhere; each says its reason.

use std::fmt;

/// Why a service's spread is not measured: it doesn't ask to be spread, or there is nothing for it to be uneven on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmeasured {
    /// One task on every instance: ECS's own business.
    Daemon,
}

impl fmt::Display for Unmeasured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => formatter.write_str("a daemon runs one task on every container instance"),
        }
    }
}

/// Why misplaced tasks can't be moved now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// The owner's tag `ecs-rebalancer:enabled` is `false`.
    OptedOut,
}

impl fmt::Display for Blocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptedOut => formatter.write_str("its tag ecs-rebalancer:enabled is false"),
        }
    }
}
