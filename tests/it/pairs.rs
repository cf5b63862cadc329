//! Two runs that start within moments of each other while the writes of their leases come late: never both at work, and the counts
//! are right.
//!
//! `PAIR=N` plays one of them alone.

use std::{collections::BTreeSet, time::Duration};

use ecs_rebalancer::{
    rehearsal::Rehearsal,
    report::{Outcome, Report},
};
use ecs_simulator::timeline::By;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of};

const PAIRS: u64 = 200;
/// The longest that a write is held, in seconds.
const LONGEST_HELD: u64 = 40;
const DRAWING: &str = "a i-1 web web web web\na i-2\nservice web desired=4 check=true";
// A step's own notes may be held as well, so it has its time.
const SETTINGS: &str = "THRESHOLD=0 COOLDOWN=0 DEADLINE=15m TASK_TIMEOUT=3m";
/// Longer than any lease of these runs.
const LATER: Duration = Duration::from_mins(30);

/// What came of a pair.
struct Pair {
    /// The runs that changed the count, each as often as it took its turn.
    at_work: Vec<String>,
    outcomes: [Outcome; 2],
}

fn play(seed: u64) -> Pair {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut held = Vec::new();
    // A key is written by either run, as one that asks and as one that holds; what is not answered is written anew.
    for number in 1..=6 {
        if random.random_range(0..3) > 0 {
            held.push(format!("held-request=TagResource:#{number}:{}", random.random_range(0..=LONGEST_HELD)));
        }
    }
    if random.random_range(0..3) == 0 {
        held.push(format!("held-request=UntagResource:#1:{}", random.random_range(0..=LONGEST_HELD)));
    }
    let after = Duration::from_millis(random.random_range(0..15_000));
    // Which of them has the lower name decides between two that ask.
    let names = if random.random_range(0..2) == 0 { ["run-1", "run-2"] } else { ["run-2", "run-1"] };
    let what = format!("PAIR={seed} {names:?} {after:?} apart, {held:?}");
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(DRAWING), options(seed, &[], &held)).unwrap();
        let settings = config(SETTINGS);
        let second = async {
            sleep(after).await;
            rehearsal.run(&settings, CLUSTER, names[1]).await
        };
        let reports: [Report; 2] = tokio::join!(rehearsal.run(&settings, CLUSTER, names[0]), second).into();
        let mut at_work: Vec<String> = Vec::new();
        let mut highest = 0;
        for change in &rehearsal.simulator().timeline().services()["web"].count_changes {
            let By::Caller(run) = &change.by else { panic!("{change:?} is nobody's: {what}") };
            highest = highest.max(change.to);
            if at_work.last() != Some(run) {
                at_work.push(run.clone());
            }
        }
        let what = format!("{what}\n{reports:#?}");
        let each: BTreeSet<&String> = at_work.iter().collect();
        assert_eq!(each.len(), at_work.len(), "they were at work by turns: {at_work:?} {what}");
        assert_eq!(rehearsal.simulator().service("web").unwrap().desired_count, 4, "{what}");
        assert!(highest <= 5, "at {highest} tasks, of which a quarter may be started at a time: {what}");
        for report in &reports {
            assert!(report.errors.is_empty() && report.left_raised.is_empty(), "{what}");
            let has_acted = at_work.contains(&report.run_id);
            assert!(has_acted || report.services.iter().all(|service| service.moved == 0), "{what}");
            assert!(!(has_acted && report.outcome == Outcome::Skipped), "{what}");
        }
        sleep(LATER).await;
        let last = rehearsal.run(&settings, CLUSTER, "run-3").await;
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{last:#?}\n{what}");
        assert_eq!(spread_of(&rehearsal, "web"), "i-1=2 i-2=2", "{last:#?}\n{what}");
        Pair { at_work, outcomes: reports.map(|report| report.outcome) }
    })
}

#[test]
fn two_runs_are_never_both_at_work_however_late_their_leases_are_written() {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of this one test")]
    if let Ok(pair) = std::env::var("PAIR") {
        play(pair.parse().unwrap());
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let pairs: Vec<Pair> = std::thread::scope(|scope| {
        let play_some = |thread: u64| (0..PAIRS).filter(move |pair| pair % threads == thread).map(play).collect();
        let played: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || -> Vec<Pair> { play_some(thread) })).collect();
        played.into_iter().flat_map(|played| played.join().unwrap()).collect()
    });
    let gave_way = pairs.iter().filter(|pair| pair.outcomes.contains(&Outcome::Skipped)).count();
    let worked = pairs.iter().filter(|pair| !pair.at_work.is_empty()).count();
    assert!(gave_way > 100 && worked > 150, "of {gave_way} pairs one gave way, and {worked} did something");
}
