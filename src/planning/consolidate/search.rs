//! In which order instances are emptied, and how an outcome is bettered.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{emptying::Emptying, problem::Problem};

/// How many sites may be tried and looked at in all while an outcome is bettered: about a second's work. A count, so that
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

    /// The sites that may be emptied at all, in this order.
    fn of(self, problem: &Problem<'_>) -> Vec<usize> {
        let mut sites: Vec<usize> = (0..problem.sites.len()).filter(|site| problem.can_empty(*site)).collect();
        sites.sort_by_cached_key(|site| (self.key(problem, *site), *site));
        sites
    }
}

/// The best that is found.
pub(super) fn best<'f, 'a>(problem: &'f Problem<'a>) -> Emptying<'f, 'a> {
    let start = Emptying::new(problem);
    let mut best = start.clone();
    if let Some(wished) = &problem.wished {
        for site in wished.values() {
            if best.was_empty(*site) && best.holds(*site) == 0 && best.closed_sites().any(|closed| closed == *site) {
                best.open(*site);
            }
        }
        best.empty_all(&Order::FewestTasks.of(problem), None);
        best.close_idle();
        return best;
    }
    // Where a largest task has room nowhere, nothing comes free unless free ones are opened.
    let orders = if start.lacks_room_for_largest() { &[][..] } else { &Order::ALL };
    for order in orders {
        let mut emptying = start.clone();
        emptying.empty_all(&order.of(problem), None);
        take_better(&mut best, emptying);
    }
    let [smallest_first, least_first] = [Order::Smallest, Order::LeastReserved].map(|order| order.of(problem));
    // A large instance that joined late may hold what many small ones do: so with all free ones of some size and above open. The
    // smaller the least of them, the more must be closed again: once that frees fewer, smaller ones are not tried.
    for least in sizes_to_open(&start) {
        let mut freed = 0;
        for order in [&smallest_first, &least_first] {
            let mut emptying = start.clone();
            let large: Vec<usize> =
                emptying.closed_sites().filter(|site| problem.volume_of_site(*site) >= least).collect();
            for site in &large {
                emptying.open(*site);
            }
            emptying.empty_all(order, None);
            emptying.close(large);
            freed = freed.max(emptying.freed());
            take_better(&mut best, emptying);
        }
        if freed < best.freed() {
            break;
        }
    }
    let mut budget = BUDGET;
    while best.better(&least_first, &mut budget) {}
    loop {
        best.save_moves();
        let (before, freed) = (best.mark(), best.freed());
        best.empty_all(&least_first, None);
        best.close(best.opened_sites().collect());
        if best.freed() <= freed {
            best.go_back(before);
            return best;
        }
    }
}

/// Some of the sizes that free instances have, from the largest on.
fn sizes_to_open(start: &Emptying<'_, '_>) -> Vec<u64> {
    let mut sizes: Vec<u64> = start.closed_sites().map(|site| start.problem.volume_of_site(site)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut places: Vec<usize> = (0..4).rev().map(|quarter| sizes.len() * quarter / 4).collect();
    places.dedup();
    places.into_iter().filter_map(|place| sizes.get(place).copied()).collect()
}

fn take_better<'f, 'a>(best: &mut Emptying<'f, 'a>, other: Emptying<'f, 'a>) {
    if other.freed() > 0 && other.worth() > best.worth() {
        *best = other;
    }
}

impl Emptying<'_, '_> {
    /// Opens one instance that is free where two others come free by that; tells whether there is one.
    fn better(&mut self, order: &[usize], budget: &mut u64) -> bool {
        // One of each kind: they are all alike.
        let mut closed: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for site in self.closed_sites() {
            closed.entry(self.problem.likeness(site)).or_insert(site);
        }
        let mut closed: Vec<usize> = closed.into_values().collect();
        closed.sort_by_key(|site| (Reverse(self.problem.volume_of_site(*site)), *site));
        for site in closed {
            if *budget == 0 {
                return false;
            }
            let (before, freed) = (self.mark(), self.freed());
            self.probes = self.problem.sites.len() as u64;
            self.open(site);
            self.empty_all(order, Some(site));
            self.close(vec![site]);
            *budget = budget.saturating_sub(self.probes);
            if self.freed() > freed {
                return true;
            }
            self.go_back(before);
        }
        false
    }

    /// Empties as many as can be, in that order; not the one that is kept.
    fn empty_all(&mut self, order: &[usize], kept: Option<usize>) {
        for site in order.iter().copied().filter(|site| Some(*site) != kept) {
            if self.is_open(site) {
                // Why one stays is told when all is decided.
                drop(self.empty(site));
            }
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
            let Some(idle) = self.opened_sites().find(|site| self.holds(*site) == 0) else { return };
            if self.empty(idle).is_ok() || self.seat(idle) {
                continue;
            }
            let Some(last) = self.emptied().last().copied() else { return };
            self.restore(last);
        }
    }

    /// Where one instance was emptied into one that was free, nothing is won, and all its moves are saved.
    fn save_moves(&mut self) {
        for opened in self.opened_sites().collect::<Vec<_>>() {
            let mut homes = self.homes_of_guests(opened);
            homes.dedup();
            for home in homes {
                if !self.emptied().contains(&home) {
                    continue;
                }
                let (before, freed, moves) = (self.mark(), self.freed(), self.moves());
                self.restore(home);
                if self.empty(opened).is_ok() {
                    self.close_idle();
                    if self.freed() == freed && self.moves() < moves {
                        break;
                    }
                }
                self.go_back(before);
            }
        }
    }
}
