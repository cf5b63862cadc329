//! One container instance of a service's layout, in numbers.
//!
//! An example: two of the service's tasks are on it, one of which still stops, and three more fit. Two hold capacity there, and one
//! counts for the spread.

use crate::planning::placement::occupancy::{Demand, Holding};

/// A container instance.
#[derive(Clone)]
pub(super) struct Site<'a> {
    /// In the order of their ARNs.
    pub(super) number: usize,
    pub(super) holding: Holding<'a>,
    /// The service's tasks that hold capacity there.
    pub(super) held: u32,
    /// Those that count for the spread.
    pub(super) tasks: u32,
    /// How many more fit now.
    pub(super) fitting: u32,
    /// How many of the service's tasks may be there, by its constraints and static host ports.
    pub(super) limit: u32,
    /// How many it could hold beside daemons alone.
    pub(super) most: u32,
    /// Its agent is disconnected: its tasks count where they are, and neither go nor get company.
    pub(super) is_away: bool,
}

impl Site<'_> {
    /// How many tasks it could have where one may hold so many; one that holds more than it should is full.
    pub(super) fn most(&self, limit: u32) -> u32 {
        if self.is_away { self.most } else { limit.min(self.most.max(self.tasks)) }
    }

    /// How full it is, in millionths.
    pub(super) fn fullness(&self) -> u64 {
        self.holding.fullness()
    }

    /// How many more tasks fit, and its number in the order of ARNs.
    pub(super) fn offer(&self) -> (u32, usize) {
        (self.fitting, self.number)
    }
}

/// How many more tasks fit on an instance on which so many of the service hold capacity, and at most so many may be.
pub(super) fn how_many_fit(holding: &Holding<'_>, held: u32, demand: &Demand<'_>, limit: u32) -> u32 {
    holding.how_many_fit(demand).min(limit.saturating_sub(held))
}
