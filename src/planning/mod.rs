//! Decisions, as pure functions over plain data.
//!
//! Nothing here waits, reads a clock or the environment, logs, fails or knows AWS's SDK: the same cluster, policy and
//! moment give the same answer, byte for byte. Where nothing can be done there is a reason, not an error.
//!
//! Our own few words, beside ECS's:
//! - **domain**: one value of what a service spreads over (a zone, a container instance, any attribute's value);
//! - **misplaced task**: one of the smallest number of tasks that must move until every service is spread;
//! - **skew**: most minus fewest tasks over a service's domains;
//! - **move**: one task replaced by a new one on another container instance;
//! - **surge**: raising a service's desired count for a while, so that its replacements start first.

pub mod bounds;
pub mod consolidate;
pub mod data;
pub mod domains;
pub mod eligibility;
pub mod even_shares;
pub mod imbalance;
pub mod interfaces;
pub mod lease;
pub mod levelling;
pub mod load;
pub mod making_room;
pub mod model;
pub mod moves;
pub mod next_task;
pub mod notes;
pub mod placement;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod protection;
pub mod provider_parts;
pub mod providers;
pub mod query;
pub mod readiness;
pub mod reason;
pub mod relevant;
pub mod relocation;
pub mod reviewed;
pub mod second_look;
pub mod settings;
pub mod several;
pub mod sharing;
pub mod shortage;
pub mod spread;
pub mod steering;
pub mod strategy;
pub mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub mod view;
pub mod words;
