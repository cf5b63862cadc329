//! Small and medium clusters in which every service is spread and machines are uneven, and the job's moves for each.

use std::{collections::BTreeMap, fmt::Write};

use ecs_rebalancer::planning::{
    imbalance::measure,
    planner::plan,
    policy::{Percent, Policy},
};
use serde_json::json;

use crate::{chance::Chance, testing};

const CASES: usize = 1_000;

/// Prints them all: each drawing with the threshold, and the moves as (service, from, to).
pub(crate) fn print() {
    let mut cases = 0;
    for seed in 0.. {
        if cases == CASES {
            break;
        }
        let mut chance = Chance(seed);
        let drawing = drawing(&mut chance);
        let threshold_percent = threshold_percent(&mut chance);
        let policy = Policy {
            steer: true,
            load_threshold: Percent::from_hundredths(threshold_percent * 100),
            max_moves: u32::MAX,
            max_services: u32::MAX,
            ..Policy::default()
        };
        let cluster = testing::cluster(&drawing);
        let found = measure(&cluster, &policy, testing::NOW);
        // Machines come after spread; and what is under the threshold is left as it is.
        if found.misplaced_tasks > 0 || !found.load_imbalance.reaches(policy.load_threshold) {
            continue;
        }
        cases += 1;
        let planned = plan(&cluster, &found, &policy, testing::NOW);
        let moves: Vec<_> =
            planned.moves().map(|(name, it)| (name.to_string(), it.from.short(), it.to.short())).collect();
        println!(
            "{}",
            json!({ "seed": seed, "threshold_percent": threshold_percent, "drawing": drawing, "moves": moves })
        );
    }
}

/// Which load imbalance the job is to come under.
pub(crate) fn threshold_percent(chance: &mut Chance) -> u32 {
    [15, 20, 25, 25, 30, 40][chance.index(6)]
}

/// What a drawing says of an instance, and what is free of it meanwhile.
pub(crate) struct Instance {
    zone: &'static str,
    cpu: u32,
    memory: u32,
    fits: bool,
    /// It came when most tasks were placed already.
    is_late: bool,
    pub(crate) tasks: Vec<String>,
    free_cpu: u32,
    free_memory: u32,
    port_is_taken: bool,
}

impl Instance {
    /// Its line in the drawing.
    pub(crate) fn line(&self, number: usize) -> String {
        let Self { zone, cpu, memory, fits, tasks, .. } = self;
        let tasks = tasks.iter().map(|task| format!(" {task}")).collect::<String>();
        format!("{zone} i-{number}{tasks} cpu={cpu} memory={memory} attr.fits={fits}\n")
    }
}

/// What a drawing says of a service.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) cpu: u32,
    pub(crate) memory: u32,
    pub(crate) spreads_over: [bool; 2],
    pub(crate) is_constrained: bool,
    pub(crate) one_on_each: bool,
    pub(crate) has_port: bool,
}

/// Up to 40 instances of up to two sizes in up to 3 zones, and up to 15 services of different sizes. Each task was placed where
/// its service had the fewest, on instances that came late only where no other would do.
pub(crate) fn drawing(chance: &mut Chance) -> String {
    let mut instances = instances(chance);
    let mut text = String::new();
    for number in 0..2 + chance.below(14) {
        let (service, line) = service(chance, number);
        let most = [2, 4, instances.len(), 2 * instances.len()][chance.index(4)];
        for _ in 0..=chance.index(most) {
            place(chance, &mut instances, &service);
        }
        let _ = writeln!(text, "{line}");
    }
    let mut drawing = String::new();
    for (number, instance) in instances.iter().enumerate() {
        drawing += &instance.line(number);
    }
    drawing + &text
}

/// Up to 40 empty instances.
pub(crate) fn instances(chance: &mut Chance) -> Vec<Instance> {
    let zones = 1 + chance.index(3);
    let number = 3 + if chance.below(3) == 0 { chance.below(38) } else { chance.below(10) };
    let sizes = [(2048, 4096), (4096, 8192), (4096, 16384)];
    let sizes = [sizes[chance.index(3)], sizes[chance.index(3)]];
    let late_of_ten = 2 + chance.below(6);
    (0..number)
        .map(|_| {
            let (cpu, memory) = sizes[chance.index(2)];
            Instance {
                zone: ["a", "b", "c"][chance.index(zones)],
                cpu,
                memory,
                fits: chance.below(8) > 0,
                is_late: chance.below(10) < late_of_ten,
                tasks: Vec::new(),
                free_cpu: cpu,
                free_memory: memory,
                port_is_taken: false,
            }
        })
        .collect()
}

/// A service, and its line in the drawing.
pub(crate) fn service(chance: &mut Chance, number: u64) -> (Service, String) {
    let (cpu, memory) = ([64, 128, 128, 256, 512][chance.index(5)], [128, 256, 256, 512, 768, 1024][chance.index(6)]);
    let (strategy, spreads_over) = [
        ("spread:attribute:ecs.availability-zone,spread:instanceId", [true, true]),
        ("spread:attribute:ecs.availability-zone,spread:instanceId", [true, true]),
        ("spread:instanceId", [false, true]),
        ("spread:attribute:ecs.availability-zone,binpack:memory", [true, false]),
        ("spread:attribute:ecs.availability-zone", [true, false]),
    ][chance.index(5)];
    let is_constrained = chance.below(5) == 0;
    let is_distinct = chance.below(6) == 0;
    let has_port = chance.below(8) == 0;
    let name = format!("s{number}");
    let mut line = format!("service {name} cpu={cpu} memory={memory} strategy={strategy}");
    let constraints = [(is_constrained, "memberOf:attribute:fits_==_true"), (is_distinct, "distinctInstance")];
    let constraints: Vec<&str> = constraints.iter().filter(|(is_set, _)| *is_set).map(|(_, text)| *text).collect();
    if !constraints.is_empty() {
        let _ = write!(line, " constraint={}", constraints.join(","));
    }
    if has_port {
        line += " port=8080";
    }
    line += match chance.below(24) {
        0..3 => " tag.ecs-rebalancer:enabled=false",
        3 => " pending=1",
        4..6 => " tag.ecs-rebalancer:max-moves=1",
        6..9 => " azrebalancing=true",
        _ => "",
    };
    let one_on_each = is_distinct || has_port;
    (Service { name, cpu, memory, spreads_over, is_constrained, one_on_each, has_port }, line)
}

/// Puts one more task of the service where it has the fewest.
pub(crate) fn place(chance: &mut Chance, instances: &mut [Instance], service: &Service) {
    let on = |instance: &Instance| instance.tasks.iter().filter(|task| **task == service.name).count();
    let mut in_zone: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances.iter() {
        *in_zone.entry(instance.zone).or_default() += on(instance);
    }
    let fewest = |instance: &Instance| {
        let [zones, machines] = service.spreads_over;
        (if zones { in_zone[instance.zone] } else { 0 }, if machines { on(instance) } else { 0 })
    };
    let takes = |instance: &&mut Instance| {
        instance.free_cpu >= service.cpu
            && instance.free_memory >= service.memory
            && (instance.fits || !service.is_constrained)
            && !(service.one_on_each && on(instance) > 0)
            && !(service.has_port && instance.port_is_taken)
    };
    let chosen = instances
        .iter_mut()
        .filter(takes)
        .min_by_key(|instance| (fewest(instance), instance.is_late, chance.below(1_000)));
    if let Some(instance) = chosen {
        instance.tasks.push(service.name.clone());
        instance.free_cpu -= service.cpu;
        instance.free_memory -= service.memory;
        instance.port_is_taken |= service.has_port;
    }
}
