//! The measure of a service whose tasks are shared out over several capacity providers.
//!
//! Its spread counts all of its tasks, whatever their provider; but each provider keeps as many as it has, on its own container
//! instances. So what is balanced without regard to them may be out of reach. Meant is the arrangement that is as even as can be,
//! level by level: first the first level's domains, by the sum of the squares of their tasks; then, inside each of these, the next
//! level's, by how far that sum lies above the least one for as many tasks; and of all such the one that needs the fewest moves.
//! With one provider that is just the balanced arrangement of `domains`.
//!
//! It is found as a flow of least cost from the providers through the instances and their domains: from how the tasks sit, one
//! unit after another goes round a cycle that makes it cheaper, until there is none.

use std::{collections::BTreeMap, ops::RangeInclusive};

/// One provider's tasks in one domain of the last level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The domain, level by level.
    pub path: Vec<String>,
    /// How many of the provider's tasks are there.
    pub tasks: u32,
    /// How many of them could be.
    pub most: u32,
    /// How few and how many of them there may be in the end.
    pub within: RangeInclusive<u32>,
}

/// Rounds are as many as tasks that move, and a few that put right what earlier ones did; this is far more.
const ROUNDS: u32 = 100_000;

/// The fewest of all providers' tasks that must move; each of `providers` is one provider's cells.
pub fn missing(providers: &[Vec<Cell>]) -> u32 {
    Flow::at_its_best(providers).moved()
}

/// As even an arrangement as can be: for each cell of each provider, how many tasks it has in the end.
pub fn arrange(providers: &[Vec<Cell>]) -> Vec<Vec<u32>> {
    let flow = Flow::at_its_best(providers);
    let mut ends = flow.arcs.iter().filter(|arc| matches!(arc.cost, Cost::Move(_))).map(|arc| arc.tasks);
    providers.iter().map(|cells| ends.by_ref().take(cells.len()).collect()).collect()
}

/// A way from one node to another, and how many tasks go it.
struct Arc {
    from: usize,
    to: usize,
    tasks: u32,
    fewest: u32,
    most: u32,
    cost: Cost,
}

enum Cost {
    /// One for each task beyond those that were there.
    Move(u32),
    /// Of the tasks of a domain: their square, so many times; less the least sum of squares inside it, so many times.
    Crowd { weight: i128, inside: i128, limits: Vec<u32> },
}

impl Arc {
    /// What one more costs beside so many.
    fn one_more(&self, tasks: u32) -> i128 {
        match &self.cost {
            Cost::Move(before) => i128::from(tasks >= *before),
            Cost::Crowd { weight, inside, limits } => {
                let square = 2 * i128::from(tasks) + 1;
                // The next task goes to the emptiest domain inside that is not full.
                let least = if limits.is_empty() { 0 } else { 2 * i128::from(water_level(limits, tasks)) + 1 };
                weight * square - inside * least
            }
        }
    }
}

/// The largest number of tasks that each can have, or be full with less, so that no more than `total` are given out.
fn water_level(limits: &[u32], total: u32) -> u32 {
    let held = |level: u32| limits.iter().map(|limit| u64::from(level.min(*limit))).sum::<u64>();
    let (mut low, mut high) = (0, total);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if held(middle) <= u64::from(total) { low = middle } else { high = middle - 1 }
    }
    low
}

struct Flow {
    nodes: usize,
    arcs: Vec<Arc>,
}

impl Flow {
    fn at_its_best(providers: &[Vec<Cell>]) -> Self {
        let mut flow = Self::new(providers);
        for _ in 0..ROUNDS {
            if !flow.improve() {
                break;
            }
        }
        flow
    }

    fn new(providers: &[Vec<Cell>]) -> Self {
        let cells = || providers.iter().flatten();
        let depth = cells().map(|cell| cell.path.len()).max().unwrap_or(0);
        // Every domain of every level, with its tasks and how many it could have.
        let mut domains: BTreeMap<&[String], (u32, u32)> = BTreeMap::new();
        for cell in cells() {
            for level in 0..=cell.path.len() {
                let (tasks, most) = domains.entry(&cell.path[..level]).or_default();
                *tasks = tasks.saturating_add(cell.tasks);
                *most = most.saturating_add(cell.most);
            }
        }
        let node_of: BTreeMap<&[String], usize> =
            domains.keys().enumerate().map(|(node, path)| (*path, node)).collect();
        let all = domains.get(&[][..]).map_or(0, |(tasks, _)| i128::from(*tasks));
        // Each level counts for more than all that comes after it.
        let weight = |level: usize| {
            let levels_after = u32::try_from(depth.saturating_sub(level)).unwrap_or(0);
            (all + 1).saturating_mul((all * all + 1).saturating_pow(levels_after))
        };
        let mut limits: BTreeMap<&[String], Vec<u32>> = BTreeMap::new();
        for (path, (_, most)) in &domains {
            if let Some((_, parent)) = path.split_last() {
                limits.entry(parent).or_default().push(*most);
            }
        }
        let mut arcs = Vec::new();
        for (path, (tasks, most)) in &domains {
            let Some((_, parent)) = path.split_last() else { continue };
            let limits = limits.remove(path).unwrap_or_default();
            let inside = if limits.is_empty() { 0 } else { weight(path.len() + 1) };
            arcs.push(Arc {
                from: node_of[path],
                to: node_of[parent],
                tasks: *tasks,
                fewest: 0,
                most: *most,
                cost: Cost::Crowd { weight: weight(path.len()), inside, limits },
            });
        }
        for (number, cells) in providers.iter().enumerate() {
            for cell in cells {
                arcs.push(Arc {
                    from: domains.len() + number,
                    to: node_of[cell.path.as_slice()],
                    tasks: cell.tasks,
                    fewest: *cell.within.start(),
                    most: *cell.within.end(),
                    cost: Cost::Move(cell.tasks),
                });
            }
        }
        Self { nodes: domains.len() + providers.len(), arcs }
    }

    /// Sends one task round a cycle that costs less than nothing; whether there was one.
    fn improve(&mut self) -> bool {
        let mut distance = vec![0_i128; self.nodes];
        // By which arc a node is reached, and whether forwards.
        let mut by: Vec<Option<(usize, bool)>> = vec![None; self.nodes];
        let mut last = None;
        for _ in 0..=self.nodes {
            last = None;
            for (number, arc) in self.arcs.iter().enumerate() {
                if arc.tasks < arc.most {
                    let reached = distance[arc.from] + arc.one_more(arc.tasks);
                    if reached < distance[arc.to] {
                        (distance[arc.to], by[arc.to], last) = (reached, Some((number, true)), Some(arc.to));
                    }
                }
                if arc.tasks > arc.fewest {
                    let reached = distance[arc.to] - arc.one_more(arc.tasks - 1);
                    if reached < distance[arc.from] {
                        (distance[arc.from], by[arc.from], last) = (reached, Some((number, false)), Some(arc.from));
                    }
                }
            }
            if last.is_none() {
                return false;
            }
        }
        let Some(mut node) = last else { return false };
        let before = |flow: &Self, node: usize| {
            by[node].map(|(arc, forwards)| if forwards { flow.arcs[arc].from } else { flow.arcs[arc].to })
        };
        // So far back, it is on the cycle for sure.
        for _ in 0..self.nodes {
            node = before(self, node).unwrap_or(node);
        }
        let start = node;
        loop {
            let (Some((arc, forwards)), Some(from)) = (by[node], before(self, node)) else { return false };
            let tasks = &mut self.arcs[arc].tasks;
            *tasks = if forwards { *tasks + 1 } else { *tasks - 1 };
            node = from;
            if node == start {
                return true;
            }
        }
    }

    fn moved(&self) -> u32 {
        let moved = self.arcs.iter().map(|arc| match arc.cost {
            Cost::Move(before) => arc.tasks.saturating_sub(before),
            Cost::Crowd { .. } => 0,
        });
        moved.fold(0, u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::domains::Domain;

    /// Providers' cells as `zone/instance=tasks`, providers with a blank between, cells with a comma.
    fn providers(text: &str) -> Vec<Vec<Cell>> {
        let cell = |cell: &str| {
            let (path, tasks) = cell.split_once('=').unwrap();
            Cell {
                path: path.split('/').map(str::to_owned).collect(),
                tasks: tasks.parse().unwrap(),
                most: 99,
                within: 0..=99,
            }
        };
        text.split_whitespace().map(|provider| provider.split(',').map(cell).collect()).collect()
    }

    #[test]
    fn each_provider_keeps_its_tasks() {
        for (text, expected) in [
            // Zones two and two: the on-demand tasks have one instance, and there they stay.
            ("a/1=2 a/2=0,b/3=2", 0),
            ("a/1=1,b/2=1 a/3=2,b/4=0", 1),
            ("a/1=2,b/2=0 a/3=2,b/4=2", 1),
            // Both in zone a, one of each could go to b: one does.
            ("a/1=1,b/2=0 a/3=1,b/4=0", 1),
            // Only the second can go anywhere.
            ("a/1=2 a/2=2,b/3=0", 2),
            ("a/1=4 a/2=2,b/3=0", 2),
            ("a/1=3,b/2=0 a/3=0,b/4=3", 2),
            // One provider a zone: nothing can be done about a zone with more.
            ("a/1=3 b/2=1", 0),
            ("a/1=3,a/2=0 b/3=1", 1),
        ] {
            assert_eq!(missing(&providers(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_domain_that_is_full_gets_no_more() {
        let mut full = providers("a/1=4,b/2=0 a/3=0,b/4=0");
        full[0][1].most = 1;
        full[0][1].within = 0..=1;
        assert_eq!(missing(&full), 1);
    }

    /// Zones, instances, providers and tasks of a small case.
    fn case() -> impl Strategy<Value = Vec<Vec<Cell>>> {
        let cell = (0..2_usize, 0..4_u32, 0..3_u32, 0..3_usize);
        prop::collection::vec(cell, 1..6).prop_map(|cells| {
            let mut providers = vec![Vec::new(); 3];
            for (number, (zone, tasks, room, provider)) in cells.into_iter().enumerate() {
                let path = vec![["a", "b"][zone].to_owned(), number.to_string()];
                providers[provider].push(Cell { path, tasks, most: tasks + room, within: 0..=tasks + room });
            }
            providers
        })
    }

    fn zone_totals(cells: &[&Cell], tasks: &[u32]) -> [u32; 2] {
        ["a", "b"]
            .map(|zone| cells.iter().zip(tasks).filter(|(cell, _)| cell.path[0] == zone).map(|(_, tasks)| *tasks).sum())
    }

    /// The least sum of squares of so many tasks over the cells of a zone, by trying.
    fn least(limits: &[u32], total: u32) -> u64 {
        let mut tasks = vec![0; limits.len()];
        for _ in 0..total {
            let open = (0..limits.len()).filter(|cell| tasks[*cell] < limits[*cell]);
            let emptiest = open.min_by_key(|cell| tasks[*cell]).unwrap();
            tasks[emptiest] += 1;
        }
        tasks.iter().map(|tasks| u64::from(*tasks) * u64::from(*tasks)).sum()
    }

    /// Tries every arrangement that leaves each provider its tasks.
    fn by_trying(providers: &[Vec<Cell>]) -> u32 {
        let cells: Vec<&Cell> = providers.iter().flatten().collect();
        let owner: Vec<usize> =
            providers.iter().enumerate().flat_map(|(number, cells)| cells.iter().map(move |_| number)).collect();
        let totals: Vec<u32> = providers.iter().map(|cells| cells.iter().map(|cell| cell.tasks).sum()).collect();
        let mut best = (u64::MAX, u64::MAX, u32::MAX);
        let mut tasks = vec![0; cells.len()];
        loop {
            let kept = (0..providers.len()).all(|provider| {
                let of_it = tasks.iter().zip(&owner).filter(|(_, owner)| **owner == provider);
                of_it.map(|(tasks, _)| *tasks).sum::<u32>() == totals[provider]
            });
            if kept {
                let zones = zone_totals(&cells, &tasks);
                let first = zones.iter().map(|total| u64::from(*total) * u64::from(*total)).sum();
                let second: u64 = ["a", "b"]
                    .iter()
                    .zip(zones)
                    .map(|(zone, total)| {
                        let of_zone = || cells.iter().zip(&tasks).filter(|(cell, _)| cell.path[0] == **zone);
                        let sum: u64 = of_zone().map(|(_, tasks)| u64::from(*tasks) * u64::from(*tasks)).sum();
                        let limits: Vec<u32> = of_zone().map(|(cell, _)| cell.most).collect();
                        sum - least(&limits, total)
                    })
                    .sum();
                let moves = cells
                    .iter()
                    .zip(&tasks)
                    .map(|(cell, tasks): (&&Cell, &u32)| tasks.saturating_sub(cell.tasks))
                    .sum();
                best = best.min((first, second, moves));
            }
            let Some(cell) = (0..cells.len()).find(|cell| tasks[*cell] < cells[*cell].most) else { return best.2 };
            tasks[..cell].fill(0);
            tasks[cell] += 1;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn it_is_what_trying_every_arrangement_finds(case in case()) {
            prop_assert_eq!(missing(&case), by_trying(&case));
        }

        #[test]
        fn with_one_provider_it_is_the_balanced_arrangement(mut case in case()) {
            let all: Vec<Cell> = case.drain(..).flatten().collect();
            let zone = |zone: &str| {
                let of_zone = all.iter().filter(|cell| cell.path[0] == zone);
                Domain::level(of_zone.map(|cell| Domain::last((), cell.tasks, cell.most, 0)).collect())
            };
            let zones = ["a", "b"].into_iter().filter(|name| all.iter().any(|cell| cell.path[0] == *name));
            let tree = Domain::level(zones.map(zone).collect());
            let total = all.iter().map(|cell| cell.tasks).sum();
            prop_assert_eq!(missing(&[all]), tree.missing(total));
        }
    }
}
