//! A simulated control plane.

pub mod drawing;
