//! What the services in hand have asked for, so that no two are promised the same, and no limit is passed.

use std::collections::{BTreeMap, BTreeSet};

use crate::planning::{
    model::{ContainerInstanceArn, ServiceName},
    strategy::{Strategy, promised::Promised},
};

/// What each service in hand holds.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: BTreeMap<ServiceName, Entry>,
    /// Starts of services that are no longer in hand.
    spent: u32,
}

#[derive(Debug)]
struct Entry {
    promised: Option<Promised>,
    targets: BTreeSet<ContainerInstanceArn>,
    starts: u32,
}

impl Board {
    /// Takes over what a service holds now.
    pub(super) fn note(&mut self, name: &ServiceName, strategy: &dyn Strategy) {
        let starts = strategy.record().starts().saturating_add(strategy.starts_under_way());
        let entry = Entry { promised: strategy.promised(), targets: strategy.targets(), starts };
        self.entries.insert(name.clone(), entry);
    }

    /// The service is in hand no longer.
    pub(super) fn forget(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.remove(name) {
            self.spent = self.spent.saturating_add(entry.starts);
        }
    }

    /// Task starts, made and under way, over all services.
    pub(super) fn starts(&self) -> u32 {
        self.entries.values().map(|entry| entry.starts).fold(self.spent, u32::saturating_add)
    }

    /// What the others are promised.
    pub(super) fn promised_to_others(&self, name: &ServiceName) -> Vec<Promised> {
        self.others(name).filter_map(|entry| entry.promised.clone()).collect()
    }

    /// Where the others steer to.
    pub(super) fn targets_of_others(&self, name: &ServiceName) -> BTreeSet<ContainerInstanceArn> {
        self.others(name).flat_map(|entry| entry.targets.iter().cloned()).collect()
    }

    fn others(&self, name: &ServiceName) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |(other, _)| *other != name).map(|(_, entry)| entry)
    }
}
