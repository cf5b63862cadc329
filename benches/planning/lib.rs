//! The planning code alone, as its bench compiles it.

#[path = "../../src/planning/mod.rs"]
pub mod planning;
