//! Seeds: random clusters, strategies, behaviours, faults and orders against the same invariants. A failure prints its seed
//! and its drawing; `STORM_SEED=N` plays that one alone, `STORM_SEEDS=N` that many.

use std::time::Duration;

use ecs_rebalancer::{rehearsal::Rehearsal, report::Outcome};
use ecs_simulator::behaviour::SWITCHES;
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot};

/// What a developer waits for; CI plays more.
const SEEDS: u64 = 200;
/// Longer than any lease of these runs.
const LEASE_LAPSES: Duration = Duration::from_mins(20);
/// What ends a run may take beyond its deadline: the calls that were under way.
const LAST_CALLS_SECONDS: f64 = 60.0;

#[derive(Debug)]
struct Case {
    drawing: String,
    services: Vec<String>,
    settings: String,
    behaviour: Vec<String>,
    faults: Vec<String>,
    second_run: bool,
}

fn pick<'a>(random: &mut impl Rng, from: &[&'a str]) -> &'a str {
    from.choose(random).copied().unwrap_or_default()
}

fn case(seed: u64) -> Case {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let services: Vec<String> = (0..random.random_range(1..=3)).map(|number| format!("s{number}")).collect();
    let mut drawing = String::new();
    let mut tasks = std::collections::BTreeMap::<&str, u32>::new();
    let zones = random.random_range(1..=3);
    for instance in 0..random.random_range(2..=6) {
        let zone = ["a", "b", "c"][random.random_range(0..zones)];
        drawing.push_str(&format!("{zone} i-{instance} "));
        // A third of the instances has just come back.
        let most = if random.random_range(0..3) == 0 { 0 } else { 5 };
        for _ in 0..random.random_range(0..=most) {
            let service = services.choose(random).map_or("s0", String::as_str);
            *tasks.entry(service).or_default() += 1;
            let mark = if random.random_range(0..12) == 0 { "*" } else { "" };
            drawing.push_str(&format!("{service}{mark} "));
        }
        if random.random_range(0..12) == 0 {
            drawing.push_str("status=DRAINING");
        }
        drawing.push('\n');
    }
    for service in &services {
        let minimum = pick(random, &["50", "100"]);
        let more = pick(
            random,
            &[
                "",
                "lb=true",
                "check=true",
                "azrebalancing=true",
                "strategy=spread:instanceId",
                "cpu=900",
                "breaker=rollback",
            ],
        );
        let count = tasks.get(service.as_str()).copied().unwrap_or(0);
        drawing.push_str(&format!("service {service} desired={count} min={minimum} {more}\n"));
    }
    let strategy = pick(random, &["auto", "auto", "surge", "surge", "stop", "redeploy", "revision"]);
    let surge = pick(random, &["1", "25", "100"]);
    let settings =
        format!("STRATEGY={strategy} SURGE={surge} THRESHOLD=0 COOLDOWN=0 DEADLINE=10m TASK_TIMEOUT=3m MAX_MOVES=20");
    let mut behaviour = Vec::new();
    for _ in 0..random.random_range(0..3) {
        if let Some(switch) = SWITCHES.choose(random) {
            behaviour.push(format!("{}={}", switch.name, pick(random, switch.values)));
        }
    }
    let all = [
        "throttle=0.1",
        "error=0.05",
        "drop=0.05",
        "lost-answer=0.05",
        "stale-reads=8",
        "slow-start=3",
        "failing-start=0.3",
        "broken-image=0",
        "lose-instance=60",
        "foreign-deployment=45",
        "foreign-count=30",
        "auto-scaling=40",
        "join-instance=20",
        "delete-service=50",
    ];
    let faults = (0..random.random_range(0..3)).map(|_| pick(random, &all).to_owned()).collect();
    let second_run = random.random_range(0..5) == 0;
    let steer = random.random_range(0..3) == 0;
    Case { drawing, services, settings: format!("{settings} STEER={steer}"), behaviour, faults, second_run }
}

fn play(seed: u64) {
    let case = case(seed);
    in_simulated_time(async {
        let behaviour: Vec<&str> = case.behaviour.iter().map(String::as_str).collect();
        let faults: Vec<&str> = case.faults.iter().map(String::as_str).collect();
        let rehearsal = Rehearsal::new(&snapshot(&case.drawing), options(seed, &behaviour, &faults)).unwrap();
        let settings = config(&case.settings);
        let desired: Vec<u32> =
            case.services.iter().map(|name| rehearsal.simulator().service(name).unwrap().desired_count).collect();
        let own: Vec<Vec<String>> =
            case.services.iter().map(|name| rehearsal.simulator().service(name).unwrap().protected).collect();
        let what = format!("STORM_SEED={seed}\n{case:#?}\n{}", case.drawing);
        let first = rehearsal.run(&settings, CLUSTER, "run-1");
        let report = if case.second_run {
            let second = async {
                tokio::time::sleep(Duration::from_millis(seed % 5_000)).await;
                rehearsal.run(&settings, CLUSTER, "run-2").await
            };
            tokio::join!(first, second).0
        } else {
            first.await
        };
        assert!(report.duration_seconds <= 600.0 + LAST_CALLS_SECONDS, "took {} s\n{what}", report.duration_seconds);
        let moved: u32 = report.services.iter().map(|service| service.moved).sum();
        assert!(moved <= 20, "{moved} moved\n{what}");
        check_floor(&rehearsal, &case, &desired, &what);
        rehearsal.simulator().calm();
        tokio::time::sleep(LEASE_LAPSES).await;
        let second = rehearsal.run(&settings, CLUSTER, "run-3").await;
        let spared: Vec<&str> = own.iter().flatten().map(String::as_str).collect();
        assert_eq!(leftovers(&rehearsal, &spared), Vec::<String>::new(), "{second:#?}\n{what}");
        check_counts(&rehearsal, &case, &desired, &what);
        check_protection(&rehearsal, &case, &own, &what);
        if second.outcome == Outcome::Balanced {
            let before = rehearsal.simulator().requests().clone();
            rehearsal.run(&settings, CLUSTER, "run-4").await;
            let after = rehearsal.simulator().requests().clone();
            for call in [
                "ecs:UpdateService",
                "ecs:StopTask",
                "ecs:TagResource",
                "ecs:UpdateTaskProtection",
                "ecs:PutAttributes",
            ] {
                assert_eq!(before.get(call), after.get(call), "a run after success called {call}\n{what}");
            }
        }
    });
}

fn has(case: &Case, faults: &[&str]) -> bool {
    case.faults.iter().any(|fault| faults.iter().any(|name| fault.starts_with(name)))
}

/// Never below the desired count by our doing; `stop`, `redeploy` and `revision` never below the minimum.
fn check_floor(rehearsal: &Rehearsal, case: &Case, desired: &[u32], what: &str) {
    let drains = case.drawing.contains("DRAINING");
    if drains
        || has(case, &["lose-instance", "broken-image", "failing-start", "delete-service", "foreign", "auto-scaling"])
    {
        return;
    }
    let simulator = rehearsal.simulator();
    for (name, desired) in case.services.iter().zip(desired) {
        let Some(history) = simulator.timeline().services().get(name) else { continue };
        let minimum = history.counts.first().map_or(0, |counts| counts.minimum_healthy);
        let only_surges = case.settings.contains("STRATEGY=surge");
        let floor =
            if only_surges && !case.drawing.contains("azrebalancing") { *desired } else { minimum.min(*desired) };
        assert!(history.lowest_healthy >= floor, "{name} fell to {} of {floor}\n{what}", history.lowest_healthy);
    }
}

fn check_counts(rehearsal: &Rehearsal, case: &Case, desired: &[u32], what: &str) {
    if has(case, &["foreign-count", "auto-scaling", "delete-service"]) {
        return;
    }
    for (name, desired) in case.services.iter().zip(desired) {
        let service = rehearsal.simulator().service(name).unwrap();
        assert_eq!(service.desired_count, *desired, "{name}\n{what}");
    }
}

/// Tasks that the application protected are still there and still protected, unless they or their instance were taken away
/// by somebody else.
fn check_protection(rehearsal: &Rehearsal, case: &Case, own: &[Vec<String>], what: &str) {
    if has(case, &["lose-instance", "delete-service", "auto-scaling", "foreign", "broken-image"])
        || case.drawing.contains("DRAINING")
    {
        return;
    }
    for (name, own) in case.services.iter().zip(own) {
        let service = rehearsal.simulator().service(name).unwrap();
        for task in own {
            assert!(service.protected.contains(task), "{name}: {task} is not protected any more\n{what}");
        }
    }
}

#[test]
fn whatever_comes_the_invariants_hold() {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of this one test")]
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("STORM_SEED") {
        return play(seed);
    }
    let seeds = number("STORM_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (0..seeds).filter(|seed| seed % threads == thread).for_each(play));
        }
    });
}
