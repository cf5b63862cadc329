//! Small and medium clusters in which instances could come free, and which the job frees.

use std::fmt::Write;

use ecs_rebalancer::planning::{
    consolidate::consolidation,
    policy::{Mode, Percent, Policy},
};
use serde_json::json;

use crate::{chance::Chance, machines::drawing, testing};

const CASES: u64 = 1_000;

/// Prints them all: each drawing with the headroom, the freed instances, and the moves as (service, from, to).
pub(crate) fn print() {
    for seed in 0..CASES {
        let mut chance = Chance(seed);
        let drawing = with_daemons(&drawing(&mut chance), chance.below(3) == 0);
        let headroom_percent = [0, 10, 10, 20][chance.index(4)];
        let policy = Policy {
            mode: Mode::Consolidate,
            steer: true,
            headroom: Percent::from_hundredths(headroom_percent * 100),
            max_moves: u32::MAX,
            max_services: u32::MAX,
            ..Policy::default()
        };
        let consolidation = consolidation(&testing::cluster(&drawing), &policy, testing::NOW);
        let freed: Vec<&str> = consolidation.freed.iter().map(|freed| freed.instance.short()).collect();
        let moves: Vec<_> = (consolidation.freed.iter().flat_map(|freed| &freed.moves))
            .map(|(name, it)| (name.to_string(), it.from.short(), it.to.short()))
            .collect();
        println!(
            "{}",
            json!({
                "seed": seed,
                "headroom_percent": headroom_percent,
                "drawing": drawing,
                "freed": freed,
                "moves": moves,
            })
        );
    }
}

/// The same with a daemon's task on each instance, which is larger by that, if they are wanted.
fn with_daemons(drawing: &str, are_wanted: bool) -> String {
    if !are_wanted {
        return drawing.to_owned();
    }
    let mut with = String::new();
    for line in drawing.lines() {
        let _ = match (line.split_once(" cpu="), line.starts_with("service")) {
            (Some((before, after)), false) => {
                let (cpu, rest) = after.split_once(" memory=").unwrap_or((after, ""));
                let (memory, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let more = |amount: &str, by: u32| amount.parse().map_or(by, |amount: u32| amount + by);
                writeln!(with, "{before} log cpu={} memory={} {rest}", more(cpu, 64), more(memory, 128))
            }
            _ => writeln!(with, "{line}"),
        };
    }
    with + "service log cpu=64 memory=128 daemon=true\n"
}
