//! The statuses that the process ends with; scripts and alarms are written against them.

/// The run did what it should, including nothing.
pub const DONE: u8 = 0;
/// Something failed; what, is in the log. Every service is left whole.
pub const FAILED: u8 = 1;
/// The configuration is wrong, and nothing was called.
pub const MISCONFIGURED: u8 = 2;
/// Ended by SIGTERM (128 + 15, as shells count), every service left whole.
pub const TERMINATED: u8 = 143;
