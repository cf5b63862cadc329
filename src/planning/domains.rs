//! A service's domains as a tree, and the balanced arrangement of its tasks over them that needs the fewest moves.
//!
//! An example, zones a and b, three instances, four tasks (`a: 3 1`, `b: 0`): a balanced arrangement gives each zone two
//! tasks, zone a's instances one each and b's only instance two: two tasks of the first instance must move. With
//! `distinctInstance` zone b is full with one task, so zone a keeps three, of which its two instances can hold two...
//! and one task has no place at all.

use std::cmp::Reverse;

/// One domain, with all that lies within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain<Id> {
    /// What is in it.
    pub content: Content<Id>,
    /// How many tasks it can hold at all; `distinctInstance` and static host ports limit an instance to one.
    pub limit: u32,
    /// Among equal choices the domain with the lowest number gets more tasks.
    pub preference: u64,
}

/// What a domain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<Id> {
    /// A domain of the last level.
    Last {
        /// Tasks that count as being there.
        tasks: u32,
        /// How many domains that are alike this one stands for.
        alike: u32,
        /// Which it is; several that are alike have one name.
        id: Id,
    },
    /// The domains of the next level.
    Level(Vec<Domain<Id>>),
}

/// The tasks that are missing, for a total and for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    total: u64,
    one_more: u64,
}

impl<Id: Clone> Domain<Id> {
    /// A domain of the last level.
    pub fn last(id: Id, tasks: u32, limit: u32, preference: u64) -> Self {
        Self { content: Content::Last { tasks, alike: 1, id }, limit, preference }
    }

    /// Adds another piece of the same domain of the last level.
    pub fn join(&mut self, piece: &Self) {
        if let (Content::Last { tasks, .. }, Content::Last { tasks: more, .. }) = (&mut self.content, &piece.content) {
            *tasks = tasks.saturating_add(*more);
        }
        self.limit = self.limit.saturating_add(piece.limit);
        self.preference = self.preference.min(piece.preference);
    }

    /// Several domains of the last level that are alike.
    pub fn alike_last(id: Id, tasks: u32, limit: u32, alike: u32) -> Self {
        Self { content: Content::Last { tasks, alike, id }, limit, preference: 0 }
    }

    /// A domain of domains.
    pub fn level(domains: Vec<Self>) -> Self {
        let limit =
            domains.iter().map(|domain| domain.limit.saturating_mul(domain.alike())).fold(0, u32::saturating_add);
        let preference = domains.iter().map(|domain| domain.preference).min().unwrap_or(u64::MAX);
        Self { content: Content::Level(domains), limit, preference }
    }

    /// The smallest number of tasks that are missing from a balanced arrangement of `total` tasks, over all of these: how
    /// many must move there. What exceeds the domain's limit has no place and is not counted.
    pub fn missing(&self, total: u32) -> u32 {
        u32::try_from(self.missing_twice(total.min(self.limit)).total).unwrap_or(u32::MAX)
    }

    /// A balanced arrangement of `total` tasks with the fewest missing, as tasks by domain of the last level. Domains that
    /// are alike come several times.
    pub fn arrange(&self, total: u32) -> Vec<(Id, u32)> {
        let mut arrangement = Vec::new();
        self.arrange_into(total.min(self.limit), &mut arrangement);
        arrangement
    }

    /// The tasks in it.
    pub fn tasks(&self) -> u32 {
        match &self.content {
            Content::Last { tasks, .. } => *tasks,
            Content::Level(domains) => {
                domains.iter().map(|domain| domain.tasks().saturating_mul(domain.alike())).fold(0, u32::saturating_add)
            }
        }
    }

    /// What is missing inside the domains of the first level, if each is to have as many tasks as it has in `other`, which is
    /// the same tree, perhaps with other tasks.
    pub fn missing_within_as<Other: Clone>(&self, other: &Domain<Other>) -> u32 {
        self.first_level_with(other).map(|(domain, other)| domain.missing(other.tasks())).sum()
    }

    /// A balanced arrangement inside each domain of the first level of as many tasks as it has in `other`.
    pub fn arrange_within_as<Other: Clone>(&self, other: &Domain<Other>) -> Vec<(Id, u32)> {
        self.first_level_with(other).flat_map(|(domain, other)| domain.arrange(other.tasks())).collect()
    }

    fn first_level_with<'a, Other>(
        &'a self,
        other: &'a Domain<Other>,
    ) -> impl Iterator<Item = (&'a Self, &'a Domain<Other>)> {
        match (&self.content, &other.content) {
            (Content::Level(domains), Content::Level(others)) => domains.iter().zip(others),
            (Content::Last { .. }, _) | (_, Content::Last { .. }) => [].iter().zip(&[]),
        }
    }

    /// Most minus fewest tasks over the domains of the first level at which they differ by more than one (full ones apart);
    /// else of the first level.
    pub fn skew(&self) -> u32 {
        let Content::Level(domains) = &self.content else { return 0 };
        let occurs = || domains.iter().filter(|domain| domain.alike() > 0);
        let most = occurs().map(Self::tasks).max().unwrap_or(0);
        let fewest = occurs().filter(|domain| domain.tasks() < domain.limit).map(Self::tasks).min().unwrap_or(most);
        let skew = most.saturating_sub(fewest);
        if skew > 1 { skew } else { occurs().map(Self::skew).max().unwrap_or(0).max(skew) }
    }

    /// How many domains the last level has.
    pub fn last_domains(&self) -> u32 {
        match &self.content {
            Content::Last { alike, .. } => *alike,
            Content::Level(domains) => domains.iter().map(Self::last_domains).fold(0, u32::saturating_add),
        }
    }

    fn alike(&self) -> u32 {
        match &self.content {
            Content::Last { alike, .. } => *alike,
            Content::Level(_) => 1,
        }
    }

    /// Both answers at once: whoever gives its parts `q` or `q + 1` tasks asks each for just these two, so that the whole
    /// tree is gone through once.
    fn missing_twice(&self, total: u32) -> Missing {
        match &self.content {
            Content::Last { tasks, .. } => {
                let missing = |total: u32| u64::from(total.saturating_sub(*tasks));
                Missing { total: missing(total), one_more: missing(total.saturating_add(1)) }
            }
            Content::Level(domains) => {
                let (level, rest) = water_level(domains, total);
                let mut missing = 0;
                let mut more = Vec::new();
                for domain in domains {
                    let share = level.min(domain.limit);
                    let answer = domain.missing_twice(share);
                    missing += answer.total * u64::from(domain.alike());
                    if domain.limit > level {
                        more.push((answer.one_more - answer.total, domain.alike()));
                    }
                }
                more.sort_unstable();
                Missing { total: missing + cheapest(&more, rest), one_more: missing + cheapest(&more, rest + 1) }
            }
        }
    }

    fn arrange_into(&self, total: u32, arrangement: &mut Vec<(Id, u32)>) {
        match &self.content {
            Content::Last { id, .. } => arrangement.push((id.clone(), total)),
            Content::Level(domains) => {
                let (level, mut rest) = water_level(domains, total);
                let mut order: Vec<(u64, u64, Reverse<u32>, usize)> = domains
                    .iter()
                    .enumerate()
                    .filter(|(_, domain)| domain.limit > level)
                    .map(|(index, domain)| {
                        let answer = domain.missing_twice(level);
                        // Last, what has more keeps more: an instance that joins takes from its own zone.
                        (answer.one_more - answer.total, domain.preference, Reverse(domain.tasks()), index)
                    })
                    .collect();
                order.sort_unstable();
                let mut with_more = vec![0_u32; domains.len()];
                for (_, _, _, index) in order {
                    let granted = rest.min(u64::from(domains[index].alike()));
                    with_more[index] = u32::try_from(granted).unwrap_or(u32::MAX);
                    rest -= granted;
                }
                for (domain, with_more) in domains.iter().zip(with_more) {
                    for nth in 0..domain.alike() {
                        let share = level.min(domain.limit) + u32::from(nth < with_more);
                        domain.arrange_into(share, arrangement);
                    }
                }
            }
        }
    }
}

/// The largest number of tasks that every domain can have, or be full with less, so that no more than `total` are given out, and
/// how many are left then. These go to domains that are not full, one each: no two differ by more than one, except where one is full.
fn water_level<Id: Clone>(domains: &[Domain<Id>], total: u32) -> (u32, u64) {
    let mut level = 0;
    loop {
        let (mut held, mut open) = (0, 0);
        for domain in domains {
            let alike = u64::from(domain.alike());
            held += u64::from(level.min(domain.limit)) * alike;
            open += if domain.limit > level { alike } else { 0 };
        }
        // Each that is not full gets as many more as there are for all of these; if one is full before, others can get more still.
        let rest = u64::from(total) - held;
        match rest.checked_div(open).and_then(|more| u32::try_from(more).ok()) {
            None | Some(0) => return (level, rest),
            Some(more) => level += more,
        }
    }
}

/// The sum of the `number` smallest costs, of which each comes several times.
fn cheapest(costs: &[(u64, u32)], mut number: u64) -> u64 {
    let mut sum = 0;
    for (cost, times) in costs {
        let taken = number.min(u64::from(*times));
        sum += taken * cost;
        number -= taken;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(tasks: &[u32], limit: u32) -> Domain<usize> {
        Domain::level(tasks.iter().enumerate().map(|(id, tasks)| Domain::last(id, *tasks, limit, 0)).collect())
    }

    #[test]
    fn on_one_level_the_missing_are_those_below_the_floor_and_the_ceilings_go_to_the_fullest() {
        for (tasks, expected) in [
            (&[2, 0][..], 1),
            (&[4, 0, 0, 0], 3),
            (&[3, 3, 0], 2),
            (&[1, 1, 1, 0], 0),
            (&[2, 2, 1], 0),
            (&[5, 2, 2], 2),
            (&[], 0),
        ] {
            let total = tasks.iter().sum();
            assert_eq!(level(tasks, u32::MAX).missing(total), expected, "{tasks:?}");
        }
    }

    #[test]
    fn zones_come_before_instances() {
        let zones = Domain::level(vec![level(&[3, 1], u32::MAX), level(&[0], u32::MAX)]);
        assert_eq!(zones.missing(4), 2);
        let full = Domain::level(vec![level(&[1, 1], 1), level(&[0], 1)]);
        assert_eq!(full.missing(2), 1, "one to the other zone");
        let full = Domain::level(vec![level(&[1, 1, 1, 0], 1), level(&[1], 1)]);
        assert_eq!(full.missing(4), 0, "the other zone is full");
    }

    #[test]
    fn what_has_no_place_is_not_missing() {
        assert_eq!(level(&[3, 0], 1).missing(3), 1);
    }

    #[test]
    fn the_arrangement_is_balanced_and_prefers_the_emptier_among_equals() {
        let mut domain = level(&[2, 0, 0], u32::MAX);
        if let Content::Level(domains) = &mut domain.content {
            domains[1].preference = 9;
        }
        assert_eq!(domain.arrange(2), [(0, 1), (1, 0), (2, 1)]);
        assert_eq!(domain.arrange(5), [(0, 2), (1, 1), (2, 2)]);
    }
}
