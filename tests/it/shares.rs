//! Services over one to four capacity providers: after a run each has as many of the tasks as ECS's rule gives it.

use std::{collections::BTreeMap, fmt::Write};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{leftovers, options, rehearse};

/// What a developer waits for; `SHARES=N` plays so many.
const CLUSTERS: u64 = 60;

/// One entry of a capacity provider strategy.
#[derive(Clone, Copy, Debug)]
struct Entry {
    base: usize,
    weight: usize,
}

/// How many of `tasks` each provider gets, by ECS's documented rule: first the base, then one by one to the provider that has the
/// fewest beyond its base for its weight.
fn by_rule(strategy: &[Entry], tasks: usize) -> Vec<usize> {
    let mut shares = vec![0; strategy.len()];
    for _ in 0..tasks {
        let lacks = (0..strategy.len()).find(|number| shares[*number] < strategy[*number].base);
        let next = lacks.or_else(|| {
            let weighted = (0..strategy.len()).filter(|number| strategy[*number].weight > 0);
            let beyond = |number: usize| shares[number] - strategy[number].base + 1;
            weighted.min_by(|one, other| {
                (beyond(*one) * strategy[*other].weight).cmp(&(beyond(*other) * strategy[*one].weight))
            })
        });
        shares[next.unwrap()] += 1;
    }
    shares
}

/// A service whose tasks lie anywhere on the container instances of their providers.
fn drawing(random: &mut ChaCha8Rng) -> (String, Vec<usize>) {
    let providers = random.random_range(1..=4_usize);
    let mut strategy: Vec<Entry> =
        (0..providers).map(|_| Entry { base: 0, weight: random.random_range(0..4) }).collect();
    // One of them may have a base [API, CapacityProviderStrategyItem], and one has a weight.
    strategy[random.random_range(0..providers)].base = random.random_range(0..3);
    strategy[random.random_range(0..providers)].weight = random.random_range(1..4);
    let shares = by_rule(&strategy, random.random_range(2..12));
    let mut instances: Vec<(usize, usize)> = Vec::new();
    let mut drawn = String::new();
    for (provider, share) in shares.iter().enumerate() {
        let first = instances.len();
        instances.extend((0..random.random_range(1..4)).map(|_| (provider, 0)));
        for _ in 0..*share {
            let last = instances.len();
            instances[random.random_range(first..last)].1 += 1;
        }
    }
    for (number, (provider, tasks)) in instances.iter().enumerate() {
        let zone = ["a", "b", "c"][random.random_range(0..3)];
        let tasks = " web".repeat(*tasks);
        writeln!(drawn, "{zone} i-{number}{tasks} provider=p{provider} cpu=8192 memory=32768").unwrap();
    }
    let entry = |(number, entry): (usize, &Entry)| format!("p{number}:{}:{}", entry.weight, entry.base);
    let providers = strategy.iter().enumerate().map(entry).collect::<Vec<_>>().join(",");
    let spread =
        if random.random() { "spread:attribute:ecs.availability-zone,spread:instanceId" } else { "spread:instanceId" };
    write!(drawn, "service web provider={providers} strategy={spread}").unwrap();
    (drawn, shares)
}

#[test]
fn after_a_run_each_provider_s_share_is_as_base_and_weight_give_it() {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of this one test")]
    let clusters = std::env::var("SHARES").map_or(CLUSTERS, |number| number.parse().unwrap());
    let (mut moved, mut cured) = (0, 0);
    for seed in 0..clusters {
        let (drawing, by_rule) = drawing(&mut ChaCha8Rng::seed_from_u64(seed));
        let (report, rehearsal) =
            rehearse(&drawing, "THRESHOLD=0 LOAD_THRESHOLD=100 MAX_MOVES=100", options(seed, &[], &[]));
        let what = format!("seed {seed}\n{drawing}\n{:?}", report.services);
        let simulator = rehearsal.simulator();
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in simulator.service("web").unwrap().tasks.values() {
            let name = instance.rsplit('/').next().unwrap();
            let line = drawing.lines().find(|line| line.split(' ').nth(1) == Some(name)).unwrap();
            let provider = line.split(' ').find_map(|word| word.strip_prefix("provider=")).unwrap();
            *shares.entry(provider).or_default() += 1;
        }
        for (number, share) in by_rule.iter().enumerate() {
            assert_eq!(shares.get(&*format!("p{number}")).copied().unwrap_or(0), *share, "of p{number}, {what}");
        }
        let desired = simulator.service("web").unwrap().desired_count;
        let lowest = simulator.timeline().services().get("web").map_or(desired, |history| history.lowest_healthy);
        assert!(lowest >= desired, "{lowest} of {desired}, {what}");
        drop(simulator);
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{what}");
        let before = report.before.as_ref().unwrap().misplaced_tasks;
        let after = report.after.as_ref().map_or(before, |after| after.misplaced_tasks);
        assert!(after <= before, "{after} misplaced after {before}, {what}");
        moved += report.moved();
        cured += before - after;
    }
    println!("{cured} misplaced tasks cured by {moved} moves");
    assert!(cured > 0 && moved <= cured * 2, "{cured} cured by {moved} moves");
}
