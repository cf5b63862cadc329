//! Clusters, drawn, with what the job says of each: one JSON object a line, for the integer programs of `tests/peers`.
//!
//! `oracle-cases spread` is for `oracle.py`, `oracle-cases machines` for `oracle_machines.py`, and so on.

mod chance;
mod consolidation;
mod levelling;
mod machines;
mod production;
mod providers;
mod room;
mod spread;

#[path = "../../src/planning"]
mod planning {
    pub(crate) use ecs_rebalancer::planning::model;
    /// The builder of drawn clusters that the planner's own tests use.
    #[expect(clippy::unwrap_used, reason = "made for tests, of which this is one")]
    pub(crate) mod testing;
}
use planning::testing;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("spread") => spread::print(),
        Some("consolidation") => consolidation::print(),
        Some("levelling") => {
            let cases = std::env::args().nth(2).map_or(Ok(1_000), |number| number.parse());
            levelling::print(cases.expect("levelling takes a number of clusters"));
        }
        Some("machines") => machines::print(),
        Some("production") => production::print(),
        Some("providers") => providers::print(),
        Some("room") => room::print(),
        _ => {
            eprintln!("usage: oracle-cases spread|machines|levelling [NUMBER]|production|providers|consolidation|room");
            std::process::exit(2);
        }
    }
}
