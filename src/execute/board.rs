//! What the services in hand have asked for, so that no two are promised the same, and no limit is passed.

use std::collections::{BTreeMap, BTreeSet};

use super::Spent;
use crate::planning::{
    levelling::{FEWEST_IN_VAIN, MOVES_FOR_ONE_IN_VAIN, Tally},
    model::{ContainerInstanceArn, ServiceName},
    strategy::{Strategy, promised::Promised},
};

/// What each service in hand holds.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: BTreeMap<ServiceName, Entry>,
    /// On services that are no longer in hand.
    spent: Spent,
}

#[derive(Debug)]
struct Entry {
    promised: Option<Promised>,
    targets: BTreeSet<ContainerInstanceArn>,
    spent: Spent,
    starts_under_way: u32,
    tries_under_way: u32,
}

impl Board {
    /// Takes over what a service holds now.
    pub(super) fn note(&mut self, name: &ServiceName, strategy: &dyn Strategy) {
        let entry = Entry {
            promised: strategy.promised(),
            targets: strategy.targets(),
            spent: Spent::of(strategy.record()),
            starts_under_way: strategy.starts_under_way(),
            tries_under_way: strategy.tries_under_way(),
        };
        self.entries.insert(name.clone(), entry);
    }

    /// The service is in hand no longer.
    pub(super) fn forget(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.remove(name) {
            self.spent = self.spent.with(entry.spent);
        }
    }

    /// Task starts, made and under way, over all services.
    pub(super) fn starts(&self) -> u32 {
        let under_way = self.entries.values().map(|entry| entry.starts_under_way);
        under_way.fold(self.spent().starts(), u32::saturating_add)
    }

    /// How many more tasks may be started of which nothing may come, where so much was spent before these.
    pub(super) fn may_be_in_vain(&self, before: Spent) -> u32 {
        let spent = self.spent().with(before);
        let may_be = spent.in_vain.saturating_add(self.tries_under_way());
        FEWEST_IN_VAIN.max(spent.moved / MOVES_FOR_ONE_IN_VAIN).saturating_sub(may_be)
    }

    /// What the run's moves and tries have come to, where so much was spent before these.
    pub(super) fn tally(&self, before: Spent) -> Tally {
        let Spent { moved, in_vain } = self.spent().with(before);
        Tally::new(moved, in_vain, self.tries_under_way())
    }

    fn tries_under_way(&self) -> u32 {
        self.entries.values().map(|entry| entry.tries_under_way).fold(0, u32::saturating_add)
    }

    /// Whether others have tries under way.
    pub(super) fn others_try(&self, name: &ServiceName) -> bool {
        self.others(name).any(|entry| entry.tries_under_way > 0)
    }

    /// What the others are promised.
    pub(super) fn promised_to_others(&self, name: &ServiceName) -> Vec<Promised> {
        self.others(name).filter_map(|entry| entry.promised.clone()).collect()
    }

    /// Where the others steer to.
    pub(super) fn targets_of_others(&self, name: &ServiceName) -> BTreeSet<ContainerInstanceArn> {
        self.others(name).flat_map(|entry| entry.targets.iter().cloned()).collect()
    }

    fn spent(&self) -> Spent {
        self.entries.values().fold(self.spent, |spent, entry| spent.with(entry.spent))
    }

    fn others(&self, name: &ServiceName) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |(other, _)| *other != name).map(|(_, entry)| entry)
    }
}
