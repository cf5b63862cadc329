//! Any text as a cluster's snapshot: it is read or refused, and a cluster that was read lives for an hour.
#![no_main]

use ecs_simulator::{Moment, Options, Simulator, snapshot::Snapshot};
use libfuzzer_sys::fuzz_target;

const HOUR_MILLISECONDS: i64 = 3_600_000;

fuzz_target!(|text: &str| {
    let Ok(snapshot) = Snapshot::from_json(text) else { return };
    let Ok(mut simulator) = Simulator::new(&snapshot, Options::default()) else { return };
    let Moment(start) = simulator.start();
    simulator.pass(Moment(start.saturating_add(HOUR_MILLISECONDS)));
});
