//! Medium clusters with one service that counts, and the measure of each.

use std::fmt::Write;

use ecs_rebalancer::planning::{imbalance::measure, policy::Policy};
use serde_json::json;

use crate::{chance::Chance, testing};

const CASES: u64 = 200;

/// Prints them all.
pub(crate) fn print() {
    for seed in 0..CASES {
        let drawing = drawing(&mut Chance(seed));
        let measure = measure(&testing::cluster(&drawing), &Policy::default(), testing::NOW);
        println!(
            "{}",
            json!({
                "seed": seed,
                "drawing": drawing,
                "misplaced": measure.misplaced_tasks,
                "stuck": measure.stuck_tasks,
            })
        );
    }
}

/// One service on up to 90 instances in up to 3 zones; some hold nothing, some are full, some it may not use.
fn drawing(chance: &mut Chance) -> String {
    let mut drawing = String::new();
    let zones = 1 + chance.index(3);
    let [share, depth, room] = [1 + chance.below(4), 1 + chance.below(5), chance.below(4)];
    let one_on_each = chance.below(4) == 0;
    for number in 0..=5 + chance.below(85) {
        let zone = ["a", "b", "c"][chance.index(zones)];
        let tasks = if chance.below(5) < share { chance.below(depth + 1) } else { 0 };
        let tasks = if one_on_each { tasks.min(1) } else { tasks };
        let others = chance.below(3);
        let size = tasks + others + chance.below(room + 1);
        let fits = chance.below(10) > 0;
        let drawn = " web".repeat(usize::try_from(tasks).unwrap_or_default())
            + &" other".repeat(usize::try_from(others).unwrap_or_default());
        let _ = writeln!(drawing, "{zone} i-{number}{drawn} cpu={} attr.fits={fits}", size * 256);
    }
    let strategy = [
        "spread:attribute:ecs.availability-zone,spread:instanceId",
        "spread:instanceId",
        "spread:attribute:ecs.availability-zone",
    ][chance.index(3)];
    let distinct = if one_on_each { ",distinctInstance" } else { "" };
    let _ = writeln!(
        drawing,
        "service web strategy={strategy} constraint=memberOf:attribute:fits_==_true{distinct}\nservice other strategy=random"
    );
    drawing
}
