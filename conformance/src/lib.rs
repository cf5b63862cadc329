//! How sure are we? Each assumption about Amazon ECS that the job rests on, as a probe that settles it.
//!
//! A probe makes services of its own, changes them, looks at what ECS makes of that, and says which of the known ways ECS
//! behaves. It sees nothing but the SDK's answers and a clock, so that it runs alike on the simulator, on any emulator and on
//! an account. This crate knows neither the job nor the simulator; its tests have each probe find what the simulator was set to.
//!
//! - [`probe`]: what a probe is; [`probes`]: all of them; [`finding`]: what one can find
//! - [`connection`]: the SDK's clients, and a record of what was asked and answered
//! - [`stack`]: the cluster that is probed; [`lab`]: services made in it, looked at, and taken away
//! - [`odds`]: which of several worlds fits what was seen
//! - [`runner`]: the probes one after another; [`findings`]: what they found, for people and for programs
//! - [`page`]: the tables of the book's page

pub mod connection;
pub mod finding;
pub mod findings;
pub mod lab;
pub mod odds;
pub mod page;
pub mod probe;
pub mod probes;
pub mod runner;
pub mod stack;
