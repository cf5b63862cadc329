//! The job as a whole, driven on the simulator: one binary, a module a feature.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod book;
mod cases;
mod compare;
mod consolidate;
mod contract;
mod deaths;
mod deploy;
mod disturbed;
mod edge;
mod estimate;
mod events;
mod html;
mod imports;
mod log;
mod machines;
mod making_room;
mod mistakes;
mod outages;
mod own_place;
mod own_task;
mod pairs;
mod processes;
mod production;
mod providers;
mod proxied;
mod reference;
mod reviewed;
mod second_look;
mod several;
mod shares;
mod snapshot;
mod steering;
mod storm;
mod support;
mod tidy;
