//! Machines: which tasks go from full container instances to idle ones until `LoadImbalance` is under its threshold, by few
//! moves, with no service's spread made worse.
//!
//! A spread that is even in tasks may be uneven in what they reserve: a service with fewer tasks than instances is spread
//! wherever they sit, so that a third of a fleet may stand idle with nothing misplaced. Each move is the one that evens out
//! the most at that moment; a move that evens out next to nothing is not worth a restart.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    imbalance::Measure,
    model::{Capacity, Cluster, ContainerInstance, ContainerInstanceArn, ServiceName, Task, Timestamp},
    placement::Index,
    planner::Move,
    policy::{Mode, Policy},
    relocation::{Relocatable, relocatable},
    spread::leaf,
};

/// A move is not worth a restart unless it evens out this part of what an average task reserves.
const WORTHWHILE_PART: i128 = 4;

/// Whether machines are to be evened out: it is wanted and allowed, and no task is misplaced that could be moved.
pub fn is_due(found: &Measure, policy: &Policy) -> bool {
    policy.mode == Mode::Spread
        && policy.steer
        && found.misplaced_tasks <= found.stuck_tasks
        && found.load_imbalance.reaches(policy.load_threshold)
}

/// The moves, at most `policy.max_moves` of at most `policy.max_services` services, by service in the order of their first
/// move. The cluster's task definitions must have been read, those of all services that may move: one whose definition is
/// missing stays.
pub fn moves(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Vec<(ServiceName, Vec<Move>)> {
    let index = Index::new(cluster);
    let field = Field::new(cluster, policy);
    let groups = groups(&index, policy, now, &field);
    let plans = WEIGHTS.map(|weights| {
        let mut field = Field { weights, ..field.clone() };
        let moves = with_weights(groups.clone(), &mut field, policy);
        let number: usize = moves.iter().map(|(_, moves)| moves.len()).sum();
        // What is under the threshold with the fewest moves; else what comes closest.
        ((field.above(), number), moves)
    });
    plans.into_iter().min_by_key(|(cost, _)| *cost).map(|(_, moves)| moves).unwrap_or_default()
}

/// The moves, each the one that evens out the most by these weights of CPU and memory.
fn with_weights(mut groups: Vec<Group<'_>>, field: &mut Field<'_>, policy: &Policy) -> Vec<(ServiceName, Vec<Move>)> {
    let mut queue: BinaryHeap<(i128, Reverse<usize>)> = BinaryHeap::new();
    for (number, group) in groups.iter().enumerate() {
        if let Some(pair) = field.best(group) {
            queue.push((pair.worth, Reverse(number)));
        }
    }
    let mut taken: Vec<(ServiceName, Vec<Move>)> = Vec::new();
    let mut moves_left = policy.max_moves;
    while let Some((_, Reverse(number))) = queue.pop() {
        if moves_left == 0 || field.is_even() {
            break;
        }
        let group = &groups[number];
        let place = taken.iter().position(|(name, _)| *name == group.service);
        let made = place.map_or(0, |place| taken[place].1.len());
        if made >= group.max_moves || (place.is_none() && taken.len() >= policy.max_services as usize) {
            continue;
        }
        let Some(pair) = field.best(group) else { continue };
        // What others moved since may have made it worth less: then another may come first. It never makes it worth more.
        if queue.peek().is_some_and(|(next, _)| pair.worth < *next) {
            queue.push((pair.worth, Reverse(number)));
            continue;
        }
        field.shift(group, &pair);
        let group = &mut groups[number];
        let Some(a_move) = group.shift(field, &pair) else { continue };
        let place = place.unwrap_or_else(|| {
            taken.push((group.service.clone(), Vec::new()));
            taken.len() - 1
        });
        taken[place].1.push(a_move);
        moves_left -= 1;
        if let Some(next) = field.best(&groups[number]) {
            queue.push((next.worth, Reverse(number)));
        }
    }
    taken
}

/// How much an evenness of CPU and one of memory count beside each other. Both have to come below the threshold, and which of
/// them is the harder one depends on the cluster: all are tried.
const WEIGHTS: [[i128; 2]; 5] = [[4, 4], [2, 4], [1, 4], [4, 2], [4, 1]];

/// One resource, over all usable instances. Everything is multiplied by Σ registered, so that all stays whole.
#[derive(Clone, Copy, Debug)]
struct Resource {
    reserved: i128,
    registered: i128,
    /// Σ max(0, reservedᵢ·Σ registered − Σ reserved·registeredᵢ).
    excess: i128,
    /// What that must come below.
    limit: i128,
}

impl Resource {
    fn is_even(&self) -> bool {
        self.excess < self.limit || self.excess == 0
    }
}

/// The larger of the two, in parts of a thousand millions.
fn imbalance(resources: &[Resource; 2]) -> i128 {
    let of = |resource: &Resource| resource.excess * 1_000_000_000 / (resource.reserved * resource.registered).max(1);
    of(&resources[0]).max(of(&resources[1]))
}

/// The container instances as they fill and empty.
#[derive(Clone)]
struct Field<'a> {
    instances: Vec<&'a ContainerInstance>,
    number_of: BTreeMap<&'a ContainerInstanceArn, usize>,
    /// What each holds beyond its share, CPU and memory; below nothing where it holds less.
    beyond: Vec<[i128; 2]>,
    /// What is left of each. What leaves is not given back: so the moves may be made in any order.
    free: Vec<Capacity>,
    resources: [Resource; 2],
    weights: [i128; 2],
    /// The least that a move has to be worth.
    worthwhile: i128,
}

const RESOURCES: [fn(&Capacity) -> u32; 2] = [|capacity| capacity.cpu_units, |capacity| capacity.memory_mib];

impl<'a> Field<'a> {
    fn new(cluster: &'a Cluster, policy: &Policy) -> Self {
        let instances: Vec<&ContainerInstance> =
            cluster.container_instances.values().map(|it| &**it).filter(|instance| instance.is_usable()).collect();
        let number_of = instances.iter().enumerate().map(|(number, instance)| (&instance.arn, number)).collect();
        let reserved = |instance: &ContainerInstance, of: fn(&Capacity) -> u32| {
            i128::from(of(&instance.registered).saturating_sub(of(&instance.remaining)))
        };
        let mut beyond = vec![[0; 2]; instances.len()];
        let mut resources = [Resource { reserved: 0, registered: 0, excess: 0, limit: 0 }; 2];
        for (kind, of) in RESOURCES.into_iter().enumerate() {
            let all: i128 = instances.iter().map(|instance| reserved(instance, of)).sum();
            let registered: i128 = instances.iter().map(|instance| i128::from(of(&instance.registered))).sum();
            let mut excess = 0;
            for (instance, beyond) in instances.iter().zip(&mut beyond) {
                beyond[kind] = reserved(instance, of) * registered - all * i128::from(of(&instance.registered));
                excess += beyond[kind].max(0);
            }
            let limit = all * registered * i128::from(policy.load_threshold.hundredths()) / 10_000;
            resources[kind] = Resource { reserved: all, registered, excess, limit };
        }
        let free = instances.iter().map(|instance| instance.remaining).collect();
        let tasks = i128::try_from(cluster.tasks.len()).unwrap_or(i128::MAX).max(1);
        let worthwhile = (4_000_000 / WORTHWHILE_PART / tasks).max(1);
        Self { instances, number_of, beyond, free, resources, weights: WEIGHTS[0], worthwhile }
    }

    fn is_even(&self) -> bool {
        self.resources.iter().all(Resource::is_even)
    }

    /// By how much of all reservations, in millionths, it is above the threshold.
    fn above(&self) -> i128 {
        let of = |resource: &Resource| {
            let above = (resource.excess - resource.limit).max(0);
            if resource.is_even() {
                0
            } else {
                1 + above * 1_000_000 / (resource.reserved * resource.registered).max(1)
            }
        };
        self.resources.iter().map(of).sum()
    }

    /// By how much all excesses shrink when a task of that size leaves; grow when it comes, which is less than nothing.
    fn change(&self, number: usize, size: &Capacity, comes: bool) -> [i128; 2] {
        let mut change = [0; 2];
        for (kind, of) in RESOURCES.into_iter().enumerate() {
            let before = self.beyond[number][kind];
            let moved = i128::from(of(size)) * self.resources[kind].registered;
            let after = if comes { before + moved } else { before - moved };
            change[kind] = before.max(0) - after.max(0);
        }
        change
    }

    /// What a change is worth: the part of all reservations that it evens out, in millionths, of what is uneven still.
    fn worth(&self, change: [i128; 2]) -> i128 {
        let of = |kind: usize| {
            let resource = &self.resources[kind];
            let whole = resource.reserved * resource.registered;
            if resource.is_even() || whole == 0 { 0 } else { change[kind] * self.weights[kind] * 1_000_000 / whole }
        };
        of(0) + of(1)
    }

    /// The move of the group that evens out the most, if one is worth a restart.
    fn best(&self, group: &Group<'_>) -> Option<Pair> {
        // An instance that gives must have more of the service's tasks than the one that takes, where instances are told apart.
        let mut givers: BTreeMap<u32, (i128, usize)> = BTreeMap::new();
        let mut takers: BTreeMap<u32, (i128, usize)> = BTreeMap::new();
        for (number, tasks) in &group.tasks {
            let count = if group.tells_instances_apart { *tasks } else { 0 };
            if group.movable.get(number).is_some_and(|tasks| !tasks.is_empty()) {
                let candidate = (self.worth(self.change(*number, &group.size, false)), *number);
                let best = givers.entry(count).or_insert(candidate);
                *best = if candidate.0 > best.0 { candidate } else { *best };
            }
            let has_room =
                *tasks < group.limit && self.free[*number].holds(&group.size) && !group.full.contains(number);
            if has_room {
                let candidate = (self.worth(self.change(*number, &group.size, true)), *number);
                let best = takers.entry(count).or_insert(candidate);
                *best = if candidate.0 > best.0 { candidate } else { *best };
            }
        }
        let pairs = givers.iter().flat_map(|(of, giver)| {
            let fewer = takers.iter().filter(move |(to, _)| !group.tells_instances_apart || to < &of);
            fewer.map(|(_, taker)| Pair { worth: giver.0 + taker.0, from: giver.1, to: taker.1 })
        });
        let best =
            pairs.filter(|pair| pair.from != pair.to).max_by_key(|pair| (pair.worth, Reverse((pair.from, pair.to))))?;
        (best.worth >= self.worthwhile && self.is_sound(group, &best)).then_some(best)
    }

    /// Whether a move leaves what is under the threshold there, and the cluster's imbalance, which is the larger of the two, no
    /// larger.
    fn is_sound(&self, group: &Group<'_>, pair: &Pair) -> bool {
        let (leaves, comes) = (self.change(pair.from, &group.size, false), self.change(pair.to, &group.size, true));
        let mut after = self.resources;
        for (kind, resource) in after.iter_mut().enumerate() {
            resource.excess -= leaves[kind] + comes[kind];
        }
        let stays_even = self.resources.iter().zip(&after).all(|(before, after)| !before.is_even() || after.is_even());
        stays_even && imbalance(&after) <= imbalance(&self.resources)
    }

    fn shift(&mut self, group: &Group<'_>, pair: &Pair) {
        for (number, comes) in [(pair.from, false), (pair.to, true)] {
            let change = self.change(number, &group.size, comes);
            for (kind, of) in RESOURCES.into_iter().enumerate() {
                let moved = i128::from(of(&group.size)) * self.resources[kind].registered;
                self.beyond[number][kind] += if comes { moved } else { -moved };
                self.resources[kind].excess -= change[kind];
            }
        }
        let free = &mut self.free[pair.to];
        free.cpu_units = free.cpu_units.saturating_sub(group.size.cpu_units);
        free.memory_mib = free.memory_mib.saturating_sub(group.size.memory_mib);
        free.gpus = free.gpus.saturating_sub(group.size.gpus);
    }
}

/// A move, by the instances' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    worth: i128,
    from: usize,
    to: usize,
}

/// The tasks of one service in one domain inside which they may be anywhere, as far as its spread goes.
#[derive(Clone)]
struct Group<'a> {
    service: ServiceName,
    size: Capacity,
    limit: u32,
    max_moves: usize,
    tells_instances_apart: bool,
    /// Where none of its tasks fits, whatever the size: ports, network interfaces.
    full: BTreeSet<usize>,
    /// Whether its tasks bring a network interface each: how many fit is known for one more only.
    brings_interfaces: bool,
    /// The service's tasks on each eligible instance of the domain.
    tasks: BTreeMap<usize, u32>,
    /// Those that may go, oldest first: the youngest goes first.
    movable: BTreeMap<usize, Vec<&'a Task>>,
}

impl Group<'_> {
    fn shift(&mut self, field: &Field<'_>, pair: &Pair) -> Option<Move> {
        let task = self.movable.get_mut(&pair.from)?.pop()?;
        *self.tasks.entry(pair.from).or_default() -= 1;
        *self.tasks.entry(pair.to).or_default() += 1;
        if self.brings_interfaces {
            self.full.insert(pair.to);
        }
        let (from, to) = (field.instances[pair.from].arn.clone(), field.instances[pair.to].arn.clone());
        Some(Move { task: task.arn.clone(), from, to })
    }
}

/// All groups of all services that may be moved, steered and spread.
fn groups<'a>(index: &Index<'a>, policy: &Policy, now: Timestamp, field: &Field<'a>) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    for relocatable in relocatable(index, policy, now).iter().filter(|relocatable| relocatable.is_spread()) {
        let Relocatable { service, part, definition, max_moves } = relocatable;
        let mut by_domain: BTreeMap<Vec<&str>, Group<'a>> = BTreeMap::new();
        for instance in index.eligible(&part.requirement) {
            let Some(number) = field.number_of.get(&instance.arn).copied() else { continue };
            let mut domain = leaf(part, instance);
            if part.levels.instance {
                domain.pop();
            }
            let group = by_domain.entry(domain).or_insert_with(|| Group {
                service: service.name.clone(),
                size: definition.reserves,
                limit: part.requirement.limit(),
                max_moves: *max_moves,
                tells_instances_apart: part.levels.instance,
                full: BTreeSet::new(),
                brings_interfaces: definition.takes_network_interface,
                tasks: BTreeMap::new(),
                movable: BTreeMap::new(),
            });
            group.tasks.insert(number, part.tasks.get(&instance.arn).copied().unwrap_or(0));
            if relocatable.room(index, instance) == 0 {
                group.full.insert(number);
            }
            group.movable.insert(number, relocatable.tasks_on(index, instance));
        }
        groups.extend(by_domain.into_values());
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        imbalance::{measure, misplaced},
        policy::Percent,
        testing::{NOW, cluster},
        view,
    };

    fn steered(load_threshold: u32) -> Policy {
        let load_threshold = Percent::from_hundredths(load_threshold * 100);
        Policy { steer: true, load_threshold, ..Policy::default() }
    }

    /// The moves, as `s0:i-1>i-2`, and the percent of load imbalance before and after them.
    fn check(drawing: &str, load_threshold: u32, expected: &str) {
        let mut cluster = cluster(drawing);
        let policy = steered(load_threshold);
        let before = measure(&cluster, &policy, NOW).load_imbalance.percent();
        let mut shown = String::new();
        for (service, moves) in moves(&cluster, &policy, NOW) {
            for a_move in &moves {
                write!(shown, "{service}:{}>{} ", a_move.from.short(), a_move.to.short()).unwrap();
                make(&mut cluster, a_move);
            }
        }
        let after = measure(&cluster, &policy, NOW).load_imbalance.percent();
        assert_eq!(format!("{shown}{before:.0} {after:.0}"), expected, "{drawing}");
    }

    fn make(cluster: &mut Cluster, a_move: &Move) {
        let foreseen = cluster.tasks.keys().filter(|task| task.as_str().starts_with("foreseen/")).count();
        view::relocate(cluster, &a_move.task, &a_move.to, foreseen);
    }

    #[test]
    fn the_move_that_evens_out_the_most_comes_first_and_none_goes_beyond_the_threshold() {
        let sizes =
            "service s0 desired=1 memory=2048\nservice s1 desired=1 memory=1024\nservice s2 desired=1 memory=1024";
        check(&format!("a i-1 s0 s1 s2\na i-2\n{sizes}"), 25, "s0:i-1>i-2 50 17");
        check(&format!("a i-1 s0 s1 s2\na i-2\n{sizes}"), 60, "50 50");
        // Between zones a service keeps its spread; within one there is nobody to take it.
        check("a i-1 s0 s1\nb i-2 s0 s1\nservice s0\nservice s1", 0, "0 0");
        check("a i-1 s0 s1\nb i-2\nservice s0 desired=1\nservice s1 desired=1", 25, "50 50");
    }

    #[test]
    fn what_may_not_move_or_has_no_room_stays() {
        let one_full = "a i-1 s0 s1\na i-2";
        check(&format!("{one_full}\nservice s0 desired=1\nservice s1 desired=1"), 25, "s0:i-1>i-2 50 0");
        check(
            &format!("{one_full}\nservice s0 desired=1 tag.ecs-rebalancer:enabled=false\nservice s1 desired=1"),
            25,
            "s1:i-1>i-2 50 0",
        );
        check(&format!("{one_full} memory=100\nservice s0 desired=1\nservice s1 desired=1"), 25, "50 50");
        check(&format!("{one_full}\nservice s0 desired=1 strategy=binpack:memory\nservice s1 desired=2"), 25, "50 50");
    }

    proptest! {
        #[test]
        fn no_spread_gets_worse_and_every_task_has_room(
            drawing in crate::planning::planner::tests::drawing(),
            load_threshold in 0..60_u32,
        ) {
            let mut cluster = cluster(&drawing);
            let policy = steered(load_threshold);
            let before = measure(&cluster, &policy, NOW);
            let spread: Vec<u32> = cluster.services.keys().map(|name| misplaced(&cluster, name)).collect();
            let mut gone = BTreeSet::new();
            for (service, moves) in moves(&cluster, &policy, NOW) {
                for a_move in moves {
                    prop_assert!(gone.insert(a_move.task.clone()), "{} goes twice", a_move.task.short());
                    let definition = &cluster.task_definitions[&cluster.services[&service].task_definition];
                    prop_assert!(cluster.container_instances[&a_move.to].remaining.holds(&definition.reserves));
                    make(&mut cluster, &a_move);
                }
            }
            let after = measure(&cluster, &policy, NOW);
            for (name, before) in cluster.services.keys().zip(spread) {
                prop_assert!(misplaced(&cluster, name) <= before, "{name}");
            }
            prop_assert!(after.load_imbalance.percent() <= before.load_imbalance.percent() + 1e-9);
        }
    }
}
