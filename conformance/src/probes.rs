//! All probes, the short ones first.

mod back_off;
mod circuit_breaker;
mod constraints_bind;
mod count_above_maximum;
mod default_strategy;
mod desired_count_deploys;
mod drain_of_protected;
mod join_events;
mod live_target_group;
mod maximum_percent;
mod protection_binds;
mod rates;
mod reads_lag;
mod resources_freed;
mod scale_in;
mod short_arns;
mod spread_across_providers;
mod spread_counts;
mod stop_of_protected;
mod stop_order;
mod stop_reaction;
mod surge_buys;
mod tag_characters;
mod ties;
mod unhealthy_first;
mod unhealthy_order;
mod victim_leaves;
mod zone_rebalancing;

use std::collections::BTreeSet;

use crate::{
    lab::{Instance, Told},
    probe::Probe,
};

/// Every probe, in the order in which they run.
pub static PROBES: [Probe; 27] = [
    tag_characters::PROBE,
    short_arns::PROBE,
    stop_of_protected::PROBE,
    reads_lag::PROBE,
    stop_order::PROBE,
    resources_freed::PROBE,
    desired_count_deploys::PROBE,
    constraints_bind::PROBE,
    maximum_percent::PROBE,
    unhealthy_order::PROBE,
    circuit_breaker::PROBE,
    count_above_maximum::PROBE,
    drain_of_protected::PROBE,
    victim_leaves::PROBE,
    join_events::PROBE,
    surge_buys::PROBE,
    stop_reaction::PROBE,
    default_strategy::PROBE,
    ties::PROBE,
    spread_across_providers::PROBE,
    unhealthy_first::PROBE,
    zone_rebalancing::PROBE,
    live_target_group::PROBE,
    protection_binds::PROBE,
    spread_counts::PROBE,
    back_off::PROBE,
    scale_in::PROBE,
];

/// The one that takes an account's tokens for a while: only where it is asked for.
pub static RATES: Probe = rates::PROBE;

/// All of them.
pub fn all() -> Vec<&'static Probe> {
    PROBES.iter().collect()
}

/// The probe of this name.
pub fn named(name: &str) -> Option<&'static Probe> {
    PROBES.iter().chain([&RATES]).find(|probe| probe.name == name)
}

/// Those of which `key` is least.
fn least<'a, T, K: Ord>(all: impl IntoIterator<Item = &'a T>, key: impl Fn(&T) -> K) -> Vec<&'a T> {
    let all: Vec<&T> = all.into_iter().collect();
    let least = all.iter().map(|one| key(one)).min();
    all.into_iter().filter(|one| Some(key(one)) == least).collect()
}

/// Their ARNs.
fn arns<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> BTreeSet<String> {
    instances.into_iter().map(|instance| instance.arn.clone()).collect()
}

/// What was told, with the seconds since the first of it.
fn timed(told: &[Told]) -> String {
    let first = told.first().map_or(0, |told| told.at);
    let shown = told.iter().map(|told| format!("{} s: {}", (told.at - first) / 1000, told.message));
    shown.collect::<Vec<_>>().join("; ")
}

/// The last part of an ARN, for people.
fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_probe_says_what_it_is_for() {
        let names: BTreeSet<&str> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        for probe in PROBES.iter().chain([&RATES]) {
            assert!(probe.values.len() > 1, "{} can find but one thing", probe.name);
            assert!(probe.calls > 0 && probe.minutes > 0, "{} costs nothing", probe.name);
            for text in [probe.assumption, probe.harm, probe.notices] {
                assert!(text.ends_with('.'), "{}: {text:?} is no sentence", probe.name);
            }
            // A task set's event names the service twice; names of services end at 255 characters.
            assert!(probe.name.len() <= 40, "{}", probe.name);
        }
    }
}
