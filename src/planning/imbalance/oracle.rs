//! The measure against the definition itself: on small clusters every arrangement is tried.

use std::{collections::BTreeMap, fmt::Write};

use proptest::prelude::*;

use super::*;
use crate::planning::{
    testing::{self, NOW},
    view,
};

/// What a service spreads over, as ECS writes it and as the place of the domain in an instance's path.
const STRATEGIES: [(&str, &[usize], bool); 5] = [
    ("spread:attribute:ecs.availability-zone,spread:instanceId", &[0], true),
    ("spread:instanceId", &[], true),
    ("spread:attribute:ecs.availability-zone", &[0], false),
    ("spread:attribute:rack,spread:attribute:ecs.availability-zone,spread:host,binpack:cpu", &[1, 0], true),
    ("spread:attribute:ecs.availability-zone,spread:attribute:rack", &[0, 1], false),
];

/// One instance, and the tasks on it.
#[derive(Clone, Debug)]
struct Machine {
    /// Its zone and rack; the first of each stands for none.
    path: [usize; 2],
    /// Whether the service's constraint admits it.
    admitted: bool,
    /// Tasks of the service.
    tasks: u32,
    /// How many of them are protected from scale-in.
    protected: u32,
    /// Tasks of another service.
    others: u32,
    /// Further tasks of either for which there is room.
    room: u32,
}

/// One service on a small cluster.
#[derive(Clone, Debug)]
struct Case {
    machines: Vec<Machine>,
    strategy: usize,
    one_on_each: Option<&'static str>,
    zones_left_to_ecs: bool,
}

fn machine() -> impl Strategy<Value = Machine> {
    let tasks = prop_oneof![3 => Just(0_u32), 3 => Just(1), 2 => Just(2), 1 => Just(3)];
    let admitted = prop::bool::weighted(0.85);
    let path = [0..3_usize, 0..2];
    (path, admitted, tasks, 0..2_u32, 0..3_u32).prop_map(|(path, admitted, tasks, others, room)| Machine {
        path,
        admitted,
        tasks,
        protected: 0,
        others,
        room,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let one_on_each = prop_oneof![
        4 => Just(None),
        1 => Just(Some("constraint=distinctInstance")),
        1 => Just(Some("constraint=memberOf:not(task:group_==_service:web)")),
        1 => Just(Some("port=8080")),
    ];
    let machines = prop::collection::vec(machine(), 1..6);
    (machines, 0..STRATEGIES.len(), one_on_each, any::<bool>()).prop_map(
        |(machines, strategy, one_on_each, zones_left_to_ecs)| Case {
            machines,
            strategy,
            one_on_each,
            zones_left_to_ecs,
        },
    )
}

/// The same, where no instance has more tasks than it may: ECS wouldn't have placed them.
fn legal_case() -> impl Strategy<Value = Case> {
    case().prop_map(|mut case| {
        if case.one_on_each.is_some() {
            case.machines.iter_mut().for_each(|machine| machine.tasks = machine.tasks.min(1));
        }
        case
    })
}

impl Case {
    fn drawing(&self) -> String {
        let mut drawing = String::new();
        for (number, machine) in self.machines.iter().enumerate() {
            let Machine { path, admitted, tasks, protected: _, others, room } = machine;
            let zone = ["-", "a", "b"][path[0]];
            let rack = ["", " attr.rack=r1"][path[1]];
            let tasks_drawn = " web".repeat(*tasks as usize) + &" other".repeat(*others as usize);
            let cpu = 256 * (tasks + others + room);
            writeln!(drawing, "{zone} i-{number}{tasks_drawn} cpu={cpu} attr.fits={admitted}{rack}").unwrap();
        }
        let constraint = "constraint=memberOf:attribute:fits_==_true";
        let one_on_each = self.one_on_each.unwrap_or_default();
        let constraints = match one_on_each.strip_prefix("constraint=") {
            Some(another) => format!("{constraint},{another}"),
            None => format!("{constraint} {one_on_each}"),
        };
        let strategy = STRATEGIES[self.strategy].0;
        writeln!(drawing, "service web strategy={strategy} {constraints} azrebalancing={}", self.zones_left_to_ecs)
            .unwrap();
        drawing
    }

    /// The domains of the last level: path, tasks, the most it can hold, and how many more fit now.
    fn leaves(&self) -> Vec<Leaf> {
        let (_, levels, instances_are_last) = STRATEGIES[self.strategy];
        let mut leaves: BTreeMap<Vec<usize>, Leaf> = BTreeMap::new();
        for (number, machine) in self.machines.iter().enumerate() {
            let size = machine.tasks + machine.others + machine.room;
            if !machine.admitted || size == 0 {
                continue;
            }
            let mut path: Vec<usize> = levels.iter().map(|level| machine.path[*level]).collect();
            path.extend(instances_are_last.then_some(number));
            let leaf = leaves.entry(path.clone()).or_insert(Leaf { path, tasks: 0, protected: 0, most: 0, room: 0 });
            leaf.tasks += machine.tasks;
            leaf.protected += machine.protected;
            if self.one_on_each.is_some() {
                leaf.most += 1;
                leaf.room += if machine.tasks == 0 { machine.room.min(1) } else { 0 };
            } else {
                // 256 CPU units and 512 of 8,192 MiB a task.
                leaf.most += size.min(16);
                leaf.room += machine.room;
            }
        }
        leaves.into_values().collect()
    }
}

#[derive(Clone, Debug)]
struct Leaf {
    path: Vec<usize>,
    tasks: u32,
    protected: u32,
    most: u32,
    room: u32,
}

/// Of all balanced arrangements of `total` tasks, the fewest tasks that are more than `have` on their leaf.
fn fewest_missing(leaves: &[Leaf], total: u32, have: &dyn Fn(&Leaf) -> u32) -> u32 {
    let capacity = leaves.iter().fold(0_u32, |sum, leaf| sum.saturating_add(leaf.most));
    let mut fewest = u32::MAX;
    let mut arrangement = Vec::new();
    for_each_arrangement(leaves, total.min(capacity), &mut arrangement, &mut |arrangement| {
        if is_balanced(leaves, arrangement, 0) {
            let missing = leaves.iter().zip(arrangement).map(|(leaf, tasks)| tasks.saturating_sub(have(leaf))).sum();
            fewest = fewest.min(missing);
        }
    });
    fewest
}

fn for_each_arrangement(leaves: &[Leaf], total: u32, chosen: &mut Vec<u32>, visit: &mut dyn FnMut(&[u32])) {
    let Some(leaf) = leaves.get(chosen.len()) else {
        if total == 0 {
            visit(chosen);
        }
        return;
    };
    for tasks in 0..=total.min(leaf.most) {
        chosen.push(tasks);
        for_each_arrangement(leaves, total - tasks, chosen, visit);
        chosen.pop();
    }
}

/// At each level no two domains differ by more than one task, except where the smaller is full; inside each likewise.
fn is_balanced(leaves: &[Leaf], arrangement: &[u32], depth: usize) -> bool {
    let mut domains: BTreeMap<usize, (Vec<Leaf>, Vec<u32>)> = BTreeMap::new();
    for (leaf, tasks) in leaves.iter().zip(arrangement) {
        let Some(name) = leaf.path.get(depth) else { return true };
        let domain = domains.entry(*name).or_default();
        domain.0.push(leaf.clone());
        domain.1.push(*tasks);
    }
    let tasks = |domain: &(Vec<Leaf>, Vec<u32>)| domain.1.iter().sum::<u32>();
    let most = |domain: &(Vec<Leaf>, Vec<u32>)| domain.0.iter().fold(0_u32, |sum, leaf| sum.saturating_add(leaf.most));
    let pairs_agree = domains.values().all(|smaller| {
        let is_full = tasks(smaller) == most(smaller);
        is_full || domains.values().all(|other| tasks(other) <= tasks(smaller) + 1)
    });
    pairs_agree && domains.values().all(|(leaves, tasks)| is_balanced(leaves, tasks, depth + 1))
}

/// What is missing when each zone keeps its tasks.
fn fewest_missing_within_zones(leaves: &[Leaf], have: &dyn Fn(&Leaf) -> u32) -> u32 {
    let mut zones: BTreeMap<usize, Vec<Leaf>> = BTreeMap::new();
    for leaf in leaves {
        zones.entry(leaf.path[0]).or_default().push(Leaf { path: leaf.path[1..].to_vec(), ..leaf.clone() });
    }
    zones.values().map(|zone| fewest_missing(zone, zone.iter().map(|leaf| leaf.tasks).sum(), have)).sum()
}

fn spread_of_web(cluster: &Cluster) -> Result<Spread, Unmeasured> {
    measure(cluster, &Policy::default(), NOW).services[&"web".into()].spread.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn misplaced_and_stuck_are_the_fewest_over_all_balanced_arrangements(case in case()) {
        let cluster = testing::cluster(&case.drawing());
        let leaves = case.leaves();
        let total = leaves.iter().map(|leaf| leaf.tasks).sum();
        let spread = spread_of_web(&cluster).unwrap();
        let misplaced = fewest_missing(&leaves, total, &|leaf| leaf.tasks);
        prop_assert_eq!(spread.misplaced_tasks, misplaced, "misplaced");

        let with_room = |leaf: &Leaf| leaf.tasks + leaf.room;
        let zones_come_first = STRATEGIES[case.strategy].1.first() == Some(&0);
        let (between, lacking_capacity) = if case.zones_left_to_ecs && zones_come_first {
            let within = fewest_missing_within_zones(&leaves, &|leaf| leaf.tasks).min(misplaced);
            (misplaced - within, fewest_missing_within_zones(&leaves, &with_room).min(within))
        } else {
            (0, fewest_missing(&leaves, total, &with_room))
        };
        for (reason, tasks) in &spread.stuck {
            match reason {
                Blocked::LeftToZoneRebalancing => prop_assert_eq!(*tasks, between, "left to ECS"),
                Blocked::NoRoom(_) => prop_assert_eq!(*tasks, lacking_capacity, "no room"),
                other => prop_assert!(false, "unexpected: {other}"),
            }
        }
        prop_assert_eq!(spread.stuck_tasks(), between + lacking_capacity, "stuck");
    }

    #[test]
    fn a_service_is_balanced_exactly_when_its_skew_is_at_most_one(case in legal_case()) {
        let leaves = case.leaves();
        let arrangement: Vec<u32> = leaves.iter().map(|leaf| leaf.tasks).collect();
        let is_balanced = is_balanced(&leaves, &arrangement, 0);
        let spread = spread_of_web(&testing::cluster(&case.drawing())).unwrap();
        prop_assert_eq!(spread.misplaced_tasks == 0, is_balanced);
        prop_assert_eq!(spread.skew <= 1, is_balanced, "skew {}", spread.skew);
    }

    #[test]
    fn a_task_definition_that_need_not_be_read_changes_nothing(case in legal_case()) {
        let cluster = testing::cluster(&case.drawing());
        let mut unread = cluster.clone();
        unread.task_definitions.clear();
        if definitions_needed(&unread, &Policy::default(), NOW, usize::MAX).read.is_empty() {
            let misplaced = |cluster: &Cluster| spread_of_web(cluster).unwrap().misplaced_tasks;
            prop_assert_eq!((misplaced(&unread), misplaced(&cluster)), (0, 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_protected_tasks_that_are_too_many_are_the_fewest_over_all_balanced_arrangements(
        case in legal_case(),
        parts in prop::collection::vec(0..4_u32, 5),
    ) {
        let mut cluster = testing::cluster(&case.drawing());
        let (mut case, mut numbers, mut before) = (case, Vec::new(), 0);
        for (machine, part) in case.machines.iter_mut().zip(&parts) {
            machine.protected = machine.tasks.min(*part);
            numbers.extend((1..=machine.protected as usize).map(|task| before + task));
            before += (machine.tasks + machine.others) as usize;
        }
        view::protect_numbers(&mut cluster, &numbers);
        let leaves = case.leaves();
        let on = |leaf: &Leaf| leaf.protected;
        let total = leaves.iter().map(|leaf| leaf.tasks).sum();
        let spread = spread_of_web(&cluster).unwrap();
        let zones_come_first = STRATEGIES[case.strategy].1.first() == Some(&0);
        let zones_stay = case.zones_left_to_ecs && zones_come_first;
        // Each task that is placed has its place in a balanced arrangement: those that no protected task fills are filled by others.
        let all: u32 = leaves.iter().map(on).sum();
        let too_many = |unfilled: u32, places: u32| unfilled + all - places;
        let expected = if zones_stay {
            too_many(fewest_missing_within_zones(&leaves, &on), fewest_missing_within_zones(&leaves, &|_| 0))
        } else {
            too_many(fewest_missing(&leaves, total, &on), fewest_missing(&leaves, total, &|_| 0))
        };
        let between = spread.stuck.get(&Blocked::LeftToZoneRebalancing).copied().unwrap_or(0);
        let expected = expected.min(spread.misplaced_tasks - between);
        let told: u32 =
            spread.stuck.iter().filter(|(why, _)| why.code() == "protected").map(|(_, tasks)| tasks).sum();
        prop_assert_eq!(told, expected);
        prop_assert!(spread.stuck_tasks() <= spread.misplaced_tasks);
    }
}

proptest! {
    #[test]
    fn what_an_instance_is_called_changes_nothing(case in case()) {
        let drawing = case.drawing();
        // In the other order.
        let renamed = (0..5).fold(drawing.clone(), |text, number| text.replace(&format!("i-{number}"), &format!("j-{}", 9 - number)));
        let figures = |drawing: &str| {
            let spread = spread_of_web(&testing::cluster(drawing)).unwrap();
            (spread.misplaced_tasks, spread.stuck_tasks(), spread.skew, spread.domains)
        };
        prop_assert_eq!(figures(&renamed), figures(&drawing));
    }

    #[test]
    fn more_room_leaves_no_more_tasks_stuck(case in case(), chosen in any::<prop::sample::Index>()) {
        let stuck = |case: &Case| spread_of_web(&testing::cluster(&case.drawing())).unwrap().stuck_tasks();
        let mut roomier = case.clone();
        let number = chosen.index(case.machines.len());
        let machine = &mut roomier.machines[number];
        // Others leave: a larger instance could hold more, so that more would be missing there.
        prop_assume!(machine.others > 0);
        machine.others -= 1;
        machine.room += 1;
        prop_assert!(stuck(&roomier) <= stuck(&case), "{} then {}", stuck(&case), stuck(&roomier));
    }

    #[test]
    fn an_instance_that_may_not_take_the_tasks_changes_nothing(case in case(), room in 0..3_u32) {
        let mut larger = case.clone();
        larger.machines.push(Machine { path: [1, 1], admitted: false, tasks: 0, protected: 0, others: 1, room });
        let spread = |case: &Case| spread_of_web(&testing::cluster(&case.drawing())).unwrap();
        prop_assert_eq!(spread(&larger), spread(&case));
    }
}
