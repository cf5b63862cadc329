//! In which order instances are emptied, and how an outcome is bettered.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{emptying::Emptying, problem::Problem};

/// How many sites may be copied, tried and looked at in all while an outcome is bettered: about a second's work. A count, so that
/// the same cluster gives the same plan on any machine.
const BUDGET: u64 = 20_000_000;

/// Which instance is emptied first.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// That with the fewest tasks; of equal ones the most expensive.
    FewestTasks,
    /// That of whose room the least is reserved; of equal ones the most expensive.
    Emptiest,
    /// That with the least to be placed elsewhere.
    LeastReserved,
    /// The smallest: where headroom is what stops it, the most instances come free.
    Smallest,
    /// The one that costs the most for what it holds.
    Dearest,
}

impl Order {
    const ALL: [Self; 5] = [Self::FewestTasks, Self::Emptiest, Self::LeastReserved, Self::Smallest, Self::Dearest];

    /// The least comes first.
    fn key(self, problem: &Problem<'_>, site: usize) -> (u128, Reverse<i64>) {
        let it = &problem.sites[site];
        let volume: u128 = it.items.iter().map(|item| u128::from(problem.volume_of_item(*item))).sum();
        let registered = u128::from(problem.volume_of_site(site));
        let price = u128::try_from(it.price).unwrap_or(1).max(1);
        let key = match self {
            Self::FewestTasks => it.items.len() as u128,
            Self::Emptiest => volume * 1_000 / registered.max(1),
            Self::LeastReserved => volume,
            Self::Smallest => registered,
            Self::Dearest => volume / price,
        };
        (key, Reverse(it.price))
    }
}

/// The best that is found.
pub(super) fn best<'f, 'a>(problem: &'f Problem<'a>) -> Emptying<'f, 'a> {
    let mut best = Emptying::new(problem);
    if let Some(wished) = &problem.wished {
        for site in wished.values() {
            if best.was_empty(*site) && best.holds(*site) == 0 && best.closed_sites().any(|closed| closed == *site) {
                best.open(*site);
            }
        }
        best.empty_all(Order::FewestTasks, None);
        best.close_idle();
        return best;
    }
    for order in Order::ALL {
        let mut emptying = Emptying::new(problem);
        emptying.empty_all(order, None);
        take_better(&mut best, emptying);
    }
    // A large instance that joined late may hold what many small ones do: so with all free ones of some size and above open.
    for least in sizes_to_open(problem) {
        for order in [Order::Smallest, Order::LeastReserved] {
            let mut emptying = Emptying::new(problem);
            let large: Vec<usize> =
                emptying.closed_sites().filter(|site| problem.volume_of_site(*site) >= least).collect();
            for site in &large {
                emptying.open(*site);
            }
            emptying.empty_all(order, None);
            emptying.close(large);
            take_better(&mut best, emptying);
        }
    }
    let mut budget = BUDGET;
    while let Some(next) = bettered(&best, &mut budget) {
        best = next;
    }
    loop {
        best.save_moves();
        let mut next = best.clone();
        next.empty_all(Order::LeastReserved, None);
        next.close(next.opened_sites());
        if next.freed() <= best.freed() {
            return best;
        }
        best = next;
    }
}

/// Some of the sizes that free instances have, from the smallest on.
fn sizes_to_open(problem: &Problem<'_>) -> Vec<u64> {
    let start = Emptying::new(problem);
    let mut sizes: Vec<u64> = start.closed_sites().map(|site| problem.volume_of_site(site)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut places: Vec<usize> = (0..4).map(|quarter| sizes.len() * quarter / 4).collect();
    places.dedup();
    places.into_iter().filter_map(|place| sizes.get(place).copied()).collect()
}

fn take_better<'f, 'a>(best: &mut Emptying<'f, 'a>, other: Emptying<'f, 'a>) {
    if other.freed() > 0 && other.worth() > best.worth() {
        *best = other;
    }
}

/// Opens one instance that is free where two others come free by that.
fn bettered<'f, 'a>(best: &Emptying<'f, 'a>, budget: &mut u64) -> Option<Emptying<'f, 'a>> {
    // One of each kind: they are all alike.
    let mut closed: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for site in best.closed_sites() {
        closed.entry(best.problem.likeness(site)).or_insert(site);
    }
    let mut closed: Vec<usize> = closed.into_values().collect();
    closed.sort_by_key(|site| (Reverse(best.problem.volume_of_site(*site)), *site));
    for site in closed {
        if *budget == 0 {
            return None;
        }
        let mut next = best.clone();
        next.probes = best.problem.sites.len() as u64;
        next.open(site);
        next.empty_all(Order::LeastReserved, Some(site));
        next.close(vec![site]);
        *budget = budget.saturating_sub(next.probes);
        if next.freed() > best.freed() {
            return Some(next);
        }
    }
    None
}

impl Emptying<'_, '_> {
    /// Empties as many as can be, in that order; not the one that is kept.
    fn empty_all(&mut self, order: Order, kept: Option<usize>) {
        let mut sites: Vec<usize> =
            self.open_sites().filter(|site| Some(*site) != kept && self.problem.can_empty(*site)).collect();
        sites.sort_by_cached_key(|site| (order.key(self.problem, *site), *site));
        for site in sites {
            // Why one stays is told when all is decided.
            drop(self.empty(site));
        }
    }

    /// Closes again what was opened, as far as it isn't needed: what holds the least first.
    fn close(&mut self, mut opened: Vec<usize>) {
        opened.sort_by_key(|site| (self.holds(*site), self.problem.volume_of_site(*site), *site));
        for site in opened {
            drop(self.empty(site));
        }
        self.close_idle();
    }

    /// One that holds nothing would be removed like any other free one, so it may not be what headroom rests on: it gets one of
    /// the tasks that go elsewhere; rather less is emptied.
    fn close_idle(&mut self) {
        loop {
            let Some(idle) = self.opened_sites().into_iter().find(|site| self.holds(*site) == 0) else { return };
            if self.empty(idle).is_ok() || self.seat(idle) {
                continue;
            }
            let Some(last) = self.emptied().last().copied() else { return };
            self.restore(last);
        }
    }

    /// Where one instance was emptied into one that was free, nothing is won, and all its moves are saved.
    fn save_moves(&mut self) {
        for opened in self.opened_sites() {
            let mut homes = self.homes_of_guests(opened);
            homes.dedup();
            for home in homes {
                if !self.emptied().contains(&home) {
                    continue;
                }
                let mut other = self.clone();
                other.restore(home);
                if other.empty(opened).is_err() {
                    continue;
                }
                other.close_idle();
                if other.freed() == self.freed() && other.moves() < self.moves() {
                    *self = other;
                    break;
                }
            }
        }
    }
}
