//! What a dry run says about the time of a run, beside the time that the run takes.

use ecs_rebalancer::report::Report;
use ecs_simulator::{Options, behaviour::Behaviour, faults::Faults};

use crate::support::rehearse;

/// With Elastic Load Balancing's own health checks and delays, other than in most tests.
pub(crate) fn by_default(seed: u64) -> Options {
    let none: [&str; 0] = [];
    let behaviour = Behaviour::from_settings(&none).unwrap();
    Options { seed, behaviour, faults: Faults::from_settings(&none).unwrap() }
}

fn run(drawing: &str, settings: &str) -> Report {
    rehearse(drawing, &format!("{settings} LOAD_THRESHOLD=100 DEADLINE=1h TASK_TIMEOUT=15m"), by_default(1)).0
}

#[test]
fn a_dry_run_tells_about_how_long_the_run_takes() {
    let two = "a i-1 web web\nb i-2\nservice web strategy=spread:instanceId";
    let eight = "a i-1 web web web web web web web web\nb i-2\nservice web strategy=spread:instanceId";
    let six = "a i-1 a a b b c c d d e e f f cpu=8192 memory=32768\nb i-2 cpu=8192 memory=32768";
    for (what, drawing) in [("one task", two), ("four of eight", eight), ("six services", six)] {
        for checks in ["", " lb=true", " check=true"] {
            for strategy in ["surge", "stop", "redeploy"] {
                let minimum = if strategy == "stop" { " min=50" } else { "" };
                let drawing = match what {
                    "six services" => ["a", "b", "c", "d", "e", "f"]
                        .iter()
                        .fold(drawing.to_owned(), |all, name| format!("{all}\nservice {name}{checks}{minimum}")),
                    _ => format!("{drawing}{checks}{minimum}"),
                };
                let settings = format!("STRATEGY={strategy}");
                let told = run(&drawing, &format!("{settings} DRY_RUN=true")).estimate.unwrap().seconds;
                let report = run(&drawing, &settings);
                let share = report.duration_seconds / f64::from(u32::try_from(told).unwrap());
                assert!(
                    (0.75..1.25).contains(&share),
                    "{what}{checks} {strategy}: {told} s, and {} s",
                    report.duration_seconds
                );
            }
        }
    }
}
