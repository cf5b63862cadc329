//! Measures how unevenly the tasks of an Amazon ECS cluster sit on its container instances, publishes that, and rebalances.

pub mod arguments;
pub mod aws;
pub mod clock;
pub mod config;
pub mod execute;
pub mod exit;
pub mod job;
pub mod line;
pub mod log;
pub mod metrics;
pub mod planning;
pub mod progress;
#[cfg(feature = "rehearsal")]
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod shutdown;
pub mod start;
