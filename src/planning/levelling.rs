//! Levelling: which tasks go from full container instances to idle ones until `LoadImbalance` is under its threshold, with no
//! service's spread made worse.
//!
//! If a service has fewer tasks than there are instances, one task per instance already counts as spread. So a fleet can have
//! idle instances and no misplaced tasks. There are two ways to put those to work:
//! - `tries`: a task is started where ECS puts it, and the best of old and new tasks stay. This is the default;
//! - [`steered_moves`]: a temporary placement constraint sends each new task just where it is wanted. How near the number of moves
//!   comes to the fewest that would do is held to an integer program (`tests/peers/oracle_machines.py`).

use std::{collections::BTreeSet, time::Duration};

mod clearing;
mod far;
mod field;
mod mover;
mod steered;
mod tries;

use super::{
    imbalance::Measure,
    model::{Cluster, ServiceName, Timestamp},
    notes::{MOST_UNSPENT_MOVES, ModeNote, milliseconds},
    placement::Index,
    plan::Move,
    policy::{Mode, Percent, Policy},
    relocation::{Relocatable, relocatable},
};
pub(super) use clearing::{Chances, Clearing};
pub use far::{FarFromMean, FarInstance, far_from_mean};
use steered::Search;
pub(super) use tries::tries;
pub use tries::{BestToGo, Levelled, Purpose, SoFar, Tally, best_to_go, worthwhile_starts};

/// At this threshold nothing is levelled, whatever the load.
const NEVER: Percent = Percent::from_hundredths(10_000);

/// Tries of a service, one after another, of which nothing came: then it is left alone for this run.
pub const TRIES: u32 = 2;

/// So many tasks may be started in vain by a run in any case.
pub const FEWEST_IN_VAIN: u32 = 4;
/// And more, one for so many that are moved.
pub const MOVES_FOR_ONE_IN_VAIN: u32 = 2;

/// What earlier runs have earned is forgotten so long after the last of them: the cluster may be another by then.
const EARNED_LASTS: Duration = Duration::from_hours(7 * 24);

/// So long after a run in mode `consolidate` nothing is levelled: by turns, each would undo what the other did.
const AFTER_CONSOLIDATION: Duration = Duration::from_hours(24);

/// When levelling may begin again, where tasks were packed not long ago.
pub fn waits_until(cluster: &Cluster, now: Timestamp) -> Option<Timestamp> {
    let until = cluster.consolidated_at?.0.saturating_add(i64::try_from(AFTER_CONSOLIDATION.as_millis()).unwrap_or(0));
    (until > now.0).then_some(Timestamp(until))
}

/// What a run leaves to later ones, beside what earlier runs left to it: moves against which no start in vain has been set yet.
///
/// A run may start one task in vain for two moves. Near its threshold a cluster has few sure tries left, and a run with usual limits
/// makes few moves: by itself it would earn no less sure try, and the load would stay where it is. An example: 40 moves and 12 starts
/// in vain leave 16 moves, so the next run may make a less sure try, of which 8 starts in vain are to be expected, at once.
pub fn unspent_moves(earlier: u32, moved: u32, in_vain: u32) -> u32 {
    let earned = earlier.saturating_add(moved);
    earned.saturating_sub(in_vain.saturating_mul(MOVES_FOR_ONE_IN_VAIN)).min(MOST_UNSPENT_MOVES)
}

/// Takes over what the cluster's note of the last mode says. While levelling waits after a run in mode `consolidate`, nothing is
/// known of moves that are unspent: so nothing is noted over it.
pub fn take_over(cluster: &mut Cluster, note: Option<ModeNote>, now: Timestamp) {
    let (consolidated_at, unspent) = match note {
        Some(ModeNote::Consolidated(at)) => (Some(at), 0),
        Some(ModeNote::Levelled { at, unspent_moves }) => {
            let counts = now.milliseconds_since(at) < milliseconds(EARNED_LASTS);
            (None, if counts { unspent_moves } else { 0 })
        }
        None => (None, 0),
    };
    cluster.consolidated_at = consolidated_at;
    cluster.unspent_moves = waits_until(cluster, now).is_none().then_some(unspent);
}

/// The capacity providers whose empty container instances levelling may fill or not: it must be known what they do with these.
pub fn providers_needed(cluster: &Cluster) -> BTreeSet<String> {
    let index = Index::new(cluster);
    let instances = cluster.container_instances.values().filter(|instance| instance.is_usable());
    instances.filter(|instance| index.is_empty(instance)).filter_map(|it| it.capacity_provider.clone()).collect()
}

/// Whether container instances are to be levelled as far as their load goes.
pub fn is_due(found: &Measure, policy: &Policy) -> bool {
    policy.mode == Mode::Spread && policy.load_threshold < NEVER && found.load_imbalance.reaches(policy.load_threshold)
}

/// The moves of a steered levelling, at most `policy.max_moves` of at most `policy.max_services` services, by service in the
/// order of their first move. The cluster's task definitions must have been read, those of all services that may move: one whose
/// definition is missing stays. Where a plan was reviewed, those of its moves that hold still.
pub fn steered_moves(cluster: &Cluster, policy: &Policy, now: Timestamp) -> Vec<(ServiceName, Vec<Move>)> {
    let index = Index::new(cluster);
    steered_moves_of(&index, &relocatable(&index, policy, now), policy)
}

/// The same of these services, which are all that may be moved.
pub(super) fn steered_moves_of<'a>(
    index: &Index<'a>,
    relocatable: &[Relocatable<'a>],
    policy: &Policy,
) -> Vec<(ServiceName, Vec<Move>)> {
    let mut search = Search::new(index, relocatable.iter().filter(|it| it.is_spread()), policy);
    if let Some(reviewed) = &policy.reviewed {
        return search.follow(reviewed);
    }
    search.find_moves();
    search.moves()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write};

    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        imbalance::{measure, misplaced},
        policy::Percent,
        steering::tests::NO_TARGET,
        testing::{NOW, cluster},
        view,
    };

    fn steered(load_threshold: u32) -> Policy {
        let load_threshold = Percent::from_hundredths(load_threshold * 100);
        Policy { steer: true, load_threshold, ..Policy::default() }
    }

    /// The moves, as `s0:i-1>i-2`, and the percent of load imbalance before and after them.
    fn check(drawing: &str, load_threshold: u32, expected: &str) {
        let mut cluster = cluster(drawing);
        let policy = steered(load_threshold);
        let before = measure(&cluster, &policy, NOW).load_imbalance.percent();
        let mut shown = String::new();
        for (service, moves) in steered_moves(&cluster, &policy, NOW) {
            for a_move in &moves {
                write!(shown, "{service}:{}>{} ", a_move.from.short(), a_move.to.short()).unwrap();
                make(&mut cluster, a_move);
            }
        }
        let after = measure(&cluster, &policy, NOW).load_imbalance.percent();
        assert_eq!(format!("{shown}{before:.0} {after:.0}"), expected, "{drawing}");
    }

    fn make(cluster: &mut Cluster, a_move: &Move) {
        let foreseen = cluster.tasks.keys().filter(|task| view::is_foreseen(task)).count();
        view::relocate(cluster, &a_move.task, &a_move.to, foreseen);
    }

    #[test]
    fn the_move_that_evens_out_the_most_comes_first_and_none_goes_beyond_the_threshold() {
        let sizes =
            "service s0 desired=1 memory=2048\nservice s1 desired=1 memory=1024\nservice s2 desired=1 memory=1024";
        check(&format!("a i-1 s0 s1 s2\na i-2\n{sizes}"), 25, "s0:i-1>i-2 50 17");
        check(&format!("a i-1 s0 s1 s2\na i-2\n{sizes}"), 60, "50 50");
        check("a i-1 s0 s1\nb i-2 s0 s1\nservice s0\nservice s1", 0, "0 0");
    }

    #[test]
    fn a_task_changes_zones_where_that_leaves_its_service_as_spread_and_ecs_does_not_even_them_itself() {
        let one_full = "a i-1 s0 s1\nb i-2\nservice s0 desired=1";
        check(&format!("{one_full}\nservice s1 desired=1"), 25, "s0:i-1>i-2 50 0");
        let stays = "azrebalancing=true";
        check(&format!("{one_full} {stays}\nservice s1 desired=1"), 25, "s1:i-1>i-2 50 0");
        check(&format!("{one_full} {stays}\nservice s1 desired=1 {stays}"), 25, "50 50");
        // Two of three in one zone may be in the other; one of two may not.
        check(
            "a i-1 s0 x x\na i-2 s0 x x\nb i-3 s0\nservice s0\nservice x strategy=binpack:memory",
            10,
            "s0:i-1>i-3 19 10",
        );
        check("a i-1 s0 s0\nb i-2 s0\nb i-3 s0\nservice s0", 10, "17 17");
    }

    #[test]
    fn two_replacements_do_not_want_the_same_port() {
        let two_full = "a i-1 s0 x\na i-2 s1 x\na i-3 cpu=40960 memory=81920\nservice x strategy=binpack:memory";
        check(&format!("{two_full}\nservice s0\nservice s1"), 20, "s0:i-1>i-3 s1:i-2>i-3 83 33");
        check(&format!("{two_full}\nservice s0 port=80\nservice s1 port=80"), 20, "s0:i-1>i-3 83 58");
    }

    #[test]
    fn fewer_moves_are_looked_for_than_the_largest_first_would_need() {
        // Half of 19 is wanted, give or take 5 %: 7, 1 and 1, or both 5s.
        let sizes: String = [(0, 7), (1, 5), (2, 5), (3, 1), (4, 1)]
            .map(|(number, size)| format!("\nservice s{number} desired=1 cpu={size}0 memory={size}00"))
            .concat();
        check(&format!("a i-1 s0 s1 s2 s3 s4\na i-2{sizes}"), 5, "s1:i-1>i-2 s2:i-1>i-2 50 3");
    }

    #[test]
    fn what_may_not_move_or_has_no_room_stays() {
        let one_full = "a i-1 s0 s1\na i-2";
        check(&format!("{one_full}\nservice s0 desired=1\nservice s1 desired=1"), 25, "s0:i-1>i-2 50 0");
        check(
            &format!("{one_full}\nservice s0 desired=1 tag.ecs-rebalancer:enabled=false\nservice s1 desired=1"),
            25,
            "s1:i-1>i-2 50 0",
        );
        for no_target in NO_TARGET {
            check(&format!("{one_full} {no_target}\nservice s0 desired=1\nservice s1 desired=1"), 25, "50 50");
        }
        let both = "service s1 desired=1\nservice s0 desired=1 constraint=memberOf:";
        check(&format!("{one_full}\n{both}not(task:group_==_service:s0)"), 25, "s0:i-1>i-2 50 0");
        check(&format!("{one_full}\n{both}runningTasksCount_<_9"), 25, "s1:i-1>i-2 50 0");
        check(&format!("{one_full} memory=100\nservice s0 desired=1\nservice s1 desired=1"), 25, "50 50");
        check(&format!("{one_full}\nservice s0 desired=1 strategy=binpack:memory\nservice s1 desired=2"), 25, "50 50");
    }

    proptest! {
        #[test]
        fn no_spread_gets_worse_and_every_task_has_room(
            drawing in crate::planning::planner::tests::drawing(),
            load_threshold in 0..60_u32,
        ) {
            let mut cluster = cluster(&drawing);
            let policy = steered(load_threshold);
            let before = measure(&cluster, &policy, NOW);
            let spread: Vec<u32> = cluster.services.keys().map(|name| misplaced(&cluster, name)).collect();
            let mut gone = BTreeSet::new();
            for (service, moves) in steered_moves(&cluster, &policy, NOW) {
                for a_move in moves {
                    prop_assert!(gone.insert(a_move.task.clone()), "{} goes twice", a_move.task.short());
                    let definition = &cluster.task_definitions[&cluster.services[&service].task_definition];
                    prop_assert!(cluster.container_instances[&a_move.to].remaining.holds(&definition.reserves));
                    make(&mut cluster, &a_move);
                }
            }
            let after = measure(&cluster, &policy, NOW);
            for (name, before) in cluster.services.keys().zip(spread) {
                prop_assert!(misplaced(&cluster, name) <= before, "{name}");
            }
            prop_assert!(after.load_imbalance.percent() <= before.load_imbalance.percent() + 1e-9);
        }
    }
}
