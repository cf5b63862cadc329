//! What time it is: the moment that the run began, and how long ago that is.

use std::time::Duration;

use tokio::time::Instant;

use crate::planning::model::Timestamp;

/// The moment that the run began, and how long ago that is by tokio's clock: real, or simulated where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that shows `began` now.
    pub fn starting_at(began: Timestamp) -> Self {
        Self { began, since: Instant::now() }
    }

    /// How long the clock has run.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.at(self.elapsed())
    }

    /// The time when the clock had run so long.
    pub fn at(&self, elapsed: Duration) -> Timestamp {
        Timestamp(self.began.0.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)))
    }
}
