//! The container instances as they are emptied one after another, and what must hold meanwhile.

use super::{
    largest::{Largest, RESOURCES},
    problem::{Item, Problem},
};
use crate::planning::{
    model::{Capacity, ContainerInstance},
    placement::occupancy::{Demand, Holding},
    reason::Kept,
};

/// How far the emptying is.
#[derive(Clone)]
pub(super) struct Emptying<'f, 'a> {
    pub(super) problem: &'f Problem<'a>,
    /// Whether it holds tasks, and so stays, as far as was decided.
    is_open: Vec<bool>,
    /// What is left. What leaves is not given back.
    holdings: Vec<Holding<'a>>,
    /// What these have free, side by side: most looks are at sites that lack one resource.
    free: Vec<Capacity>,
    /// The open sites of each zone, by how much each has free: the fullest come first.
    by_free: Vec<Vec<(u64, usize)>>,
    /// Tasks that are to come, in no order.
    guests: Vec<Vec<usize>>,
    target: Vec<Option<usize>>,
    counts: Counts,
    /// What was changed, one after another, to be taken back.
    log: Vec<Change>,
    /// How many sites were tried to be emptied, or looked at for a task: it bounds the search.
    pub(super) probes: u64,
}

/// What follows from the changes and is small, so that it is copied and not changed back.
#[derive(Clone)]
struct Counts {
    emptied: Vec<usize>,
    opened: usize,
    /// Of open sites: what they register, and what of it is reserved.
    registered: [u64; 2],
    reserved: [u64; 2],
    /// Of each provider, the open sites.
    open_of_provider: Vec<u32>,
    moves_of_mover: Vec<usize>,
    /// How many movers have any.
    moved: usize,
    moves: usize,
    /// Of those that come free, less those that are free and stay no longer so.
    price: i64,
    /// For each of the largest tasks, the site on which room for it is kept.
    kept_for: Vec<Option<usize>>,
}

/// One change, as it is remembered to be taken back.
#[derive(Clone, Copy)]
enum Change {
    /// A site is open no longer, or again.
    IsOpen { site: usize, before: bool },
    /// An item goes elsewhere than before.
    Target { item: usize, before: Option<usize> },
}

/// How things were, to come back to that.
pub(super) struct Mark {
    changes: usize,
    counts: Counts,
}

impl<'f, 'a> Emptying<'f, 'a> {
    pub(super) fn new(problem: &'f Problem<'a>) -> Self {
        let is_open: Vec<bool> = problem.sites.iter().map(|site| site.is_fixed || !site.items.is_empty()).collect();
        let mut emptying = Self {
            problem,
            is_open,
            holdings: problem.holdings.clone(),
            free: problem.holdings.iter().map(Holding::free).collect(),
            by_free: vec![Vec::new(); problem.zones],
            guests: vec![Vec::new(); problem.sites.len()],
            target: vec![None; problem.items.len()],
            counts: Counts {
                emptied: Vec::new(),
                opened: 0,
                registered: [0; 2],
                reserved: [0; 2],
                open_of_provider: vec![0; problem.providers.len()],
                moves_of_mover: vec![0; problem.movers.len()],
                moved: 0,
                moves: 0,
                price: 0,
                kept_for: Vec::new(),
            },
            log: Vec::new(),
            probes: 0,
        };
        for site in (0..problem.sites.len()).filter(|site| emptying.is_open[*site]).collect::<Vec<_>>() {
            emptying.count_in(site, reserved(problem.sites[site].instance));
            emptying.list(site, true);
        }
        emptying.counts.kept_for = problem.largest.iter().map(|largest| emptying.room_for(largest, None)).collect();
        emptying
    }

    /// How good it is: instances freed, their price, moves saved.
    pub(super) fn worth(&self) -> (usize, i64, std::cmp::Reverse<usize>) {
        (self.freed(), self.counts.price, std::cmp::Reverse(self.counts.moves))
    }

    /// Instances emptied, less those that were free and are no longer.
    pub(super) fn freed(&self) -> usize {
        self.counts.emptied.len().saturating_sub(self.counts.opened)
    }

    /// Those that were free and are to hold tasks.
    pub(super) fn opened_sites(&self) -> impl Iterator<Item = usize> + '_ {
        self.problem.free.iter().copied().filter(|site| self.is_open[*site]).take(self.counts.opened)
    }

    pub(super) fn was_empty(&self, site: usize) -> bool {
        !self.problem.sites[site].is_fixed && self.problem.sites[site].items.is_empty()
    }

    pub(super) fn moves(&self) -> usize {
        self.counts.moves
    }

    pub(super) fn emptied(&self) -> &[usize] {
        &self.counts.emptied
    }

    pub(super) fn is_open(&self, site: usize) -> bool {
        self.is_open[site]
    }

    pub(super) fn open_sites(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.problem.sites.len()).filter(|site| self.is_open[*site])
    }

    pub(super) fn closed_sites(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.problem.sites.len()).filter(|site| !self.is_open[*site])
    }

    pub(super) fn target_of(&self, item: usize) -> Option<usize> {
        self.target[item]
    }

    /// Where the tasks that are to come to a site are now, in order.
    pub(super) fn homes_of_guests(&self, site: usize) -> Vec<usize> {
        let mut homes: Vec<usize> = self.guests[site].iter().map(|item| self.problem.items[*item].home).collect();
        homes.sort_unstable();
        homes
    }

    pub(super) fn holds(&self, site: usize) -> usize {
        self.problem.sites[site].items.len() + self.guests[site].len()
    }

    fn count_in(&mut self, site: usize, reserved: [u64; 2]) {
        let registered = registered(self.problem.sites[site].instance);
        for resource in 0..2 {
            self.counts.registered[resource] += registered[resource];
            self.counts.reserved[resource] += reserved[resource];
        }
        if let Some(provider) = self.problem.sites[site].provider {
            self.counts.open_of_provider[provider] += 1;
        }
    }

    /// Makes a site one of those that stay, though it is free or was to come free. What left it stays away.
    pub(super) fn open(&mut self, site: usize) {
        let it = &self.problem.sites[site];
        if self.was_empty(site) {
            self.count_in(site, reserved(it.instance));
            self.counts.opened += 1;
        } else {
            self.count_in(site, it.daemons);
            self.counts.emptied.retain(|emptied| *emptied != site);
        }
        self.counts.price -= it.price;
        self.set_open(site, true);
        for (number, largest) in self.problem.largest.iter().enumerate() {
            if self.counts.kept_for[number].is_none() {
                self.counts.kept_for[number] = self.room_for(largest, None);
            }
        }
    }

    /// Takes back that a site is emptied.
    pub(super) fn restore(&mut self, site: usize) {
        self.open(site);
        for item in &self.problem.sites[site].items {
            self.send(*item, None);
        }
    }

    /// Sends all tasks of a site elsewhere; if that can't be, nothing is changed, and the reason is told.
    pub(super) fn empty(&mut self, site: usize) -> Result<(), Kept> {
        self.probes += 1;
        if self.problem.sites[site].is_fixed {
            return Err(Kept::FixedTasks);
        }
        if !self.problem.is_wished(site) {
            return Err(Kept::NotInPlan);
        }
        self.check_minimum(site)?;
        self.check_headroom(site)?;
        self.send_all(site)
    }

    /// The same, once it is known that the cluster can do without the site.
    fn send_all(&mut self, site: usize) -> Result<(), Kept> {
        let problem = self.problem;
        let it = &problem.sites[site];
        let mut leaving: Vec<usize> = it
            .items
            .iter()
            .copied()
            .filter(|item| self.target[*item].is_none())
            .chain(self.guests[site].iter().copied())
            .collect();
        self.check_limits(site, &leaving)?;
        leaving.sort_by_key(|item| (std::cmp::Reverse(problem.volume_of_item(*item)), *item));
        let kept_for = self.counts.kept_for.clone();
        for (number, largest) in problem.largest.iter().enumerate() {
            if self.counts.kept_for[number].is_none_or(|kept| kept == site) {
                self.counts.kept_for[number] = self.room_for(largest, Some(site));
            }
        }
        let mut sent = 0;
        let mut why = if self.counts.kept_for.contains(&None) { Err(Kept::LargestTask) } else { Ok(()) };
        for item in &leaving {
            let Some(to) = self.best_target(*item, site) else {
                why = Err(Kept::NoRoom);
                break;
            };
            if why.is_err() {
                break;
            }
            self.send(*item, Some(to));
            sent += 1;
        }
        if why.is_err() {
            for item in leaving[..sent].iter().rev() {
                self.send(*item, Some(site));
            }
            self.counts.kept_for = kept_for;
            return why;
        }
        self.set_open(site, false);
        let (registered, reserved) = (registered(it.instance), self.stays_on(site));
        for resource in 0..2 {
            self.counts.registered[resource] -= registered[resource];
            self.counts.reserved[resource] = self.counts.reserved[resource].saturating_sub(reserved[resource]);
        }
        if let Some(provider) = it.provider {
            self.counts.open_of_provider[provider] -= 1;
        }
        if self.was_empty(site) {
            self.counts.opened -= 1;
        } else {
            self.counts.emptied.push(site);
        }
        self.counts.price += it.price;
        Ok(())
    }

    /// Its group keeps so many instances anyway: of those that are free already too.
    fn check_minimum(&self, site: usize) -> Result<(), Kept> {
        let Some(number) = self.problem.sites[site].provider else { return Ok(()) };
        let provider = &self.problem.providers[number];
        if self.counts.open_of_provider[number] > provider.minimum {
            return Ok(());
        }
        Err(Kept::Minimum(provider.name.clone(), provider.minimum))
    }

    fn check_headroom(&self, site: usize) -> Result<(), Kept> {
        if self.by_free.iter().map(Vec::len).sum::<usize>() < 2 {
            return Err(Kept::NoRoom);
        }
        let (registered, stays) = (registered(self.problem.sites[site].instance), self.stays_on(site));
        let used = 10_000_u64.saturating_sub(self.problem.headroom_hundredths);
        let keeps = |resource: usize| {
            let reserved = self.counts.reserved[resource].saturating_sub(stays[resource]);
            u128::from(reserved) * 10_000
                <= u128::from(self.counts.registered[resource] - registered[resource]) * u128::from(used)
        };
        if keeps(0) && keeps(1) { Ok(()) } else { Err(Kept::Headroom) }
    }

    fn check_limits(&self, site: usize, leaving: &[usize]) -> Result<(), Kept> {
        let problem = self.problem;
        let of_it = leaving.iter().map(|item| &problem.items[*item]).filter(|item| item.home == site);
        let mut movers: Vec<usize> = of_it.map(|item| item.mover).collect();
        movers.sort_unstable();
        let is_beyond = |of_it: &[usize]| {
            self.counts.moves_of_mover[of_it[0]] + of_it.len() > problem.movers[of_it[0]].relocatable.max_moves
        };
        if self.counts.moves + movers.len() > problem.max_moves || movers.chunk_by(usize::eq).any(is_beyond) {
            return Err(Kept::MaxMoves);
        }
        movers.dedup();
        let new = movers.iter().filter(|mover| self.counts.moves_of_mover[**mover] == 0).count();
        if self.counts.moved + new > problem.max_services { Err(Kept::MaxServices) } else { Ok(()) }
    }

    /// How things are now.
    pub(super) fn mark(&self) -> Mark {
        Mark { changes: self.log.len(), counts: self.counts.clone() }
    }

    /// Takes back all that was changed since then.
    pub(super) fn go_back(&mut self, mark: Mark) {
        while self.log.len() > mark.changes {
            match self.log.pop() {
                Some(Change::IsOpen { site, before }) => self.apply_open(site, before),
                Some(Change::Target { item, before }) => self.apply_target(item, before),
                None => break,
            }
        }
        self.counts = mark.counts;
    }

    fn set_open(&mut self, site: usize, is_open: bool) {
        self.log.push(Change::IsOpen { site, before: !is_open });
        self.apply_open(site, is_open);
    }

    fn apply_open(&mut self, site: usize, is_open: bool) {
        self.is_open[site] = is_open;
        self.list(site, is_open);
    }

    /// Enters a site among the open ones by what it has free now, or takes it out.
    fn list(&mut self, site: usize, is_open: bool) {
        let key = (self.problem.volume(&self.free[site]), site);
        let list = &mut self.by_free[self.problem.sites[site].zone];
        match list.binary_search(&key) {
            Ok(place) if !is_open => drop(list.remove(place)),
            Err(place) if is_open => list.insert(place, key),
            Ok(_) | Err(_) => {}
        }
    }

    /// A task comes to a site, or goes again.
    fn change(&mut self, site: usize, demand: &Demand<'_>, comes: bool) {
        let before = self.free[site];
        self.holdings[site].change(demand, comes);
        self.free[site] = self.holdings[site].free();
        if self.is_open[site] {
            let [before, after] = [before, self.free[site]].map(|free| (self.problem.volume(&free), site));
            relist(&mut self.by_free[self.problem.sites[site].zone], before, after);
        }
    }

    /// The fullest open site of a zone, or of all, that may have so much free and is as asked; of equal ones the first.
    fn fullest(&self, zone: Option<usize>, least: &Capacity, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        let least = self.problem.volume(least);
        let zones = zone.map_or(0..self.problem.zones, |zone| zone..zone + 1);
        let fullest = zones.filter_map(|zone| {
            let list = &self.by_free[zone];
            let first = list.partition_point(|(free, _)| *free < least);
            list[first..].iter().find(|(_, site)| is_it(*site))
        });
        fullest.min().map(|(_, site)| *site)
    }

    /// The open site, other than `not`, that an item fills up the most; its home, if that is one.
    fn best_target(&mut self, item: usize, not: usize) -> Option<usize> {
        let problem = self.problem;
        let Item { mover, home, .. } = &problem.items[item];
        let demand = &problem.movers[*mover].demand;
        if self.is_open[*home] && *home != not {
            return Some(*home);
        }
        let zone = problem.movers[*mover].stays_in_zone.then(|| problem.sites[*home].zone);
        let wished = problem.wished.as_ref().map(|wished| wished.get(&item).copied());
        let (mut looks, free, asked) = (0, &self.free[..], demand.reserves);
        // What a task leaves is what is free less what it asks: so the fullest is filled up the most.
        let best = self.fullest(zone, &asked, |site| {
            looks += 1;
            free[site].holds(&asked)
                && site != not
                && wished.is_none_or(|wished| wished == Some(site))
                && self.holdings[site].free_after(demand).is_some_and(|left| self.keeps_room(site, &left))
                && self.admits(site, *mover)
        });
        self.probes += looks;
        best
    }

    /// Sends one of the tasks that go elsewhere to an open site that has none, the smallest that may; false where none may.
    pub(super) fn seat(&mut self, idle: usize) -> bool {
        let problem = self.problem;
        if problem.wished.is_some() {
            return false;
        }
        self.probes += problem.items.len() as u64;
        let may_go = |item: &usize| {
            let Item { mover, home, .. } = &problem.items[*item];
            let left = || self.holdings[idle].free_after(&problem.movers[*mover].demand);
            self.target[*item].is_some_and(|site| self.holds(site) > 1 || !self.was_empty(site))
                && (!problem.movers[*mover].stays_in_zone || problem.sites[*home].zone == problem.sites[idle].zone)
                && left().is_some_and(|left| self.admits(idle, *mover) && self.keeps_room(idle, &left))
        };
        let smallest = problem.smallest_items_first.iter().copied().find(may_go);
        if let Some(item) = smallest {
            self.send(item, Some(idle));
        }
        smallest.is_some()
    }

    /// Whether a task of this service may go there, as far as that is not about amounts.
    fn admits(&self, site: usize, mover: usize) -> bool {
        let problem = self.problem;
        let (it, asked) = (&problem.sites[site], &problem.movers[mover]);
        if !it.may_be_target || !asked.admitted.get(it.class).is_some_and(|is_admitted| *is_admitted) {
            return false;
        }
        if asked.one_on_each {
            let has_one = asked.relocatable.part.tasks.contains_key(&site);
            if has_one || self.guests[site].iter().any(|item| problem.items[*item].mover == mover) {
                return false;
            }
        }
        self.holdings[site].fits(&asked.demand)
    }

    /// Points an item at a site; at none, or its home, where it stays.
    fn send(&mut self, item: usize, to: Option<usize>) {
        let Item { mover, home, .. } = &self.problem.items[item];
        let (before, to) = (self.target[item], to.filter(|to| to != home));
        self.log.push(Change::Target { item, before });
        self.apply_target(item, to);
        let changed = |moves: usize| moves + usize::from(to.is_some()) - usize::from(before.is_some());
        let moves = self.counts.moves_of_mover[*mover];
        self.counts.moves = changed(self.counts.moves);
        self.counts.moves_of_mover[*mover] = changed(moves);
        self.counts.moved = self.counts.moved + usize::from(changed(moves) > 0) - usize::from(moves > 0);
    }

    fn apply_target(&mut self, item: usize, to: Option<usize>) {
        let demand = &self.problem.movers[self.problem.items[item].mover].demand;
        if let Some(before) = self.target[item] {
            self.guests[before].retain(|guest| *guest != item);
            self.change(before, demand, false);
        }
        if let Some(to) = to {
            self.guests[to].push(item);
            self.change(to, demand, true);
        }
        self.target[item] = to;
    }

    /// What is reserved on a site by what doesn't leave it.
    fn stays_on(&self, site: usize) -> [u64; 2] {
        let it = &self.problem.sites[site];
        if self.was_empty(site) { reserved(it.instance) } else { it.daemons }
    }

    /// Whether a largest task has room nowhere. Emptying gives none, so nothing can come free by itself then.
    pub(super) fn lacks_room_for_largest(&self) -> bool {
        let mut kept = self.counts.kept_for.iter().zip(&self.problem.largest);
        kept.any(|(kept, largest)| kept.is_none() && self.room_for(largest, None).is_none())
    }

    /// Whether what is left there is enough for what room is kept for.
    fn keeps_room(&self, site: usize, left: &Capacity) -> bool {
        let kept = self.counts.kept_for.iter().zip(&self.problem.largest);
        kept.filter(|(kept, _)| **kept == Some(site)).all(|(_, largest)| left.holds(&largest.size))
    }

    /// The open site, other than `not`, that has room for the largest task and the least beyond.
    fn room_for(&self, largest: &Largest, not: Option<usize>) -> Option<usize> {
        self.fullest(None, &largest.size, |site| {
            let class = self.problem.sites[site].class;
            Some(site) != not
                && largest.admitted.get(class).is_some_and(|is_admitted| *is_admitted)
                && self.free[site].holds(&largest.size)
        })
    }
}

/// Gives an entry of a list in order another key, and the place that goes with it.
fn relist(list: &mut [(u64, usize)], before: (u64, usize), after: (u64, usize)) {
    let [from, to] = [before, after].map(|key| list.partition_point(|listed| *listed < key));
    if from < to {
        list.copy_within(from + 1..to, from);
        list[to - 1] = after;
    } else {
        list.copy_within(to..from, to + 1);
        list[to] = after;
    }
}

fn registered(instance: &ContainerInstance) -> [u64; 2] {
    RESOURCES.map(|of| u64::from(of(&instance.registered)))
}

fn reserved(instance: &ContainerInstance) -> [u64; 2] {
    RESOURCES.map(|of| u64::from(instance.reserved(of)))
}
