//! Medium clusters, drawn, with what the measure says of each: one JSON object a line, for `tests/peers/oracle.py`.

use std::fmt::Write;

use ecs_rebalancer::planning::{imbalance::measure, policy::Policy};
use serde_json::json;

#[path = "../src/planning"]
mod planning {
    pub(crate) use ecs_rebalancer::planning::model;
    /// The builder of drawn clusters that the planner's own tests use.
    #[expect(dead_code, clippy::unwrap_used, reason = "made for tests, of which this is one")]
    pub(crate) mod testing;
}
use planning::testing;

const CASES: u64 = 200;

fn main() {
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
    let zones = 1 + chance.below(3);
    let [share, depth, room] = [1 + chance.below(4), 1 + chance.below(5), chance.below(4)];
    let one_on_each = chance.below(4) == 0;
    for number in 0..=5 + chance.below(85) {
        let zone = ["a", "b", "c"][usize::try_from(chance.below(zones)).unwrap_or_default()];
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
    ][usize::try_from(chance.below(3)).unwrap_or_default()];
    let distinct = if one_on_each { ",distinctInstance" } else { "" };
    let _ = writeln!(
        drawing,
        "service web strategy={strategy} constraint=memberOf:attribute:fits_==_true{distinct}\nservice other strategy=random"
    );
    drawing
}

/// Vigna's SplitMix64: a seed's numbers are the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
