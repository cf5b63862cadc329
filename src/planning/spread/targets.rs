//! On which container instances a service's next tasks are missing, so that a constraint can send them just there.
//!
//! An example, zones a and b, spread over zones and then container instances: `a: 4 0`, `b: 3`. The empty instance of zone a lacks
//! two tasks. ECS puts the next task into zone b, which has fewer. If that instance is the only target, ECS puts the next two there,
//! and each of them cures a misplaced one.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    cured::{MayGo, movable},
    layout::{Layout, Place},
};
use crate::planning::model::ContainerInstance;

/// PutAttributes takes ten instances a call. The bucket that it shares with StopTask and others holds 100 calls and gains 40 a
/// second: half of it a round.
pub(in crate::planning) const MOST_TARGETS: usize = 500;

/// The round that targets are looked for.
pub(in crate::planning) struct Sought<'r> {
    /// The tasks that may go.
    pub(in crate::planning) may_go: MayGo<'r>,
    /// At most so many tasks start.
    pub(in crate::planning) most: u32,
    /// Whether ECS was seen to choose otherwise than foreseen.
    pub(in crate::planning) is_careful: bool,
    /// Whether ECS's own zone rebalancing decides how many tasks each zone has.
    pub(in crate::planning) zones_stay: bool,
    /// What can't be a target: those of other services, for one, since an instance is one service's target at a time.
    pub(in crate::planning) is_taken: &'r dyn Fn(&ContainerInstance) -> bool,
}

/// Where a round's tasks are to start.
pub(in crate::planning) struct Aimed {
    /// The container instances that may take them.
    pub(in crate::planning) targets: Vec<Place>,
    /// Task by task, where ECS is expected to put it among these.
    pub(in crate::planning) places: Vec<Place>,
}

/// A domain of the last level in which tasks are missing: one of its places, and how many it lacks and has room for.
#[derive(Clone, Copy)]
struct Missing {
    place: Place,
    lacks: u32,
}

/// The targets of the next tasks, each of which cures a misplaced one; none where no container instance on which a task is missing
/// has capacity for it.
///
/// Among the targets it is ECS that chooses, by the service's strategy. So there are several domains among them only where
/// that gives each no more than it lacks: first all that are needed are tried, then those that lie next to the one with the
/// most missing, then that one. A round that is careful begins with the last, which leaves ECS no choice.
pub(in crate::planning) fn targets(layout: &Layout<'_>, sought: &Sought<'_>) -> Option<Aimed> {
    let most = movable(layout, sought.may_go, sought.most);
    let spots = spots(layout, sought.is_taken);
    let missing = missing(layout, &spots, sought.zones_stay);
    let first = *missing.first()?;
    let all = |_: &&Missing| true;
    let beside = |it: &&Missing| layout.is_beside(it.place, first.place);
    let alone = |it: &&Missing| it.place == first.place;
    let choices: [&dyn Fn(&&Missing) -> bool; 3] = [&all, &beside, &alone];
    let choices = if sought.is_careful { &choices[2..] } else { &choices[..] };
    choices.iter().find_map(|admits| among(layout, &spots, missing.iter().filter(admits), most))
}

/// The container instances that may be targets, those with the most free capacity first.
fn spots(layout: &Layout<'_>, is_taken: &dyn Fn(&ContainerInstance) -> bool) -> Vec<Place> {
    let mut spots: Vec<Place> = layout.with_room().filter(|place| !is_taken(layout.instance_at(*place))).collect();
    spots.sort_by_key(|place| {
        let (fitting, number) = layout.site(*place).offer();
        (Reverse(fitting), number)
    });
    spots
}

/// How many tasks each domain of the last level lacks and has room for, the most first.
fn missing(layout: &Layout<'_>, spots: &[Place], zones_stay: bool) -> Vec<Missing> {
    // What zones have is left to ECS's own zone rebalancing, or it and we would undo each other.
    let wanted = if zones_stay { layout.arrange_within() } else { layout.arrange(layout.placed) };
    let have = layout.tasks_by_leaf();
    let mut room = vec![0_u32; layout.leaves()];
    for spot in spots {
        let room = &mut room[layout.leaf(*spot)];
        *room = room.saturating_add(layout.site(*spot).offer().0);
    }
    let mut missing: Vec<Missing> = wanted
        .into_iter()
        .map(|(place, wanted)| {
            let leaf = layout.leaf(place);
            Missing { place, lacks: wanted.saturating_sub(have[leaf]).min(room[leaf]) }
        })
        .filter(|it| it.lacks > 0)
        .collect();
    missing.sort_by_key(|it| (Reverse(it.lacks), it.place));
    missing
}

/// The targets in the first of these domains that lack `most` tasks together; none if ECS would give one more than it lacks.
fn among<'m>(
    layout: &Layout<'_>,
    spots: &[Place],
    missing: impl Iterator<Item = &'m Missing>,
    most: u32,
) -> Option<Aimed> {
    let mut lacks: BTreeMap<usize, u32> = BTreeMap::new();
    let mut number = 0;
    for it in missing {
        if number >= most || lacks.len() >= MOST_TARGETS {
            break;
        }
        number = most.min(number.saturating_add(it.lacks));
        lacks.insert(layout.leaf(it.place), it.lacks);
    }
    let is_one = |place: &&Place| lacks.contains_key(&layout.leaf(**place));
    let targets: Vec<Place> = spots.iter().filter(is_one).take(MOST_TARGETS).copied().collect();
    let places = layout.predict_among(&targets, number);
    for place in &places {
        let lacks = lacks.get_mut(&layout.leaf(*place))?;
        *lacks = lacks.checked_sub(1)?;
    }
    (!places.is_empty()).then_some(Aimed { targets, places })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        model::ContainerInstanceArn,
        next_task,
        placement::Index,
        planner,
        provider_parts::ServiceParts,
        spread::layout::tests::{ask, ask_of},
        testing,
    };

    fn sought(most: u32, is_careful: bool, is_taken: &dyn Fn(&ContainerInstance) -> bool) -> Sought<'_> {
        Sought { may_go: &|_| true, most, is_careful, zones_stay: false, is_taken }
    }

    /// Where at most nine of `web`'s next tasks are sent, and the targets that ECS chooses among: `i-2 i-2 of i-2`.
    #[track_caller]
    fn check(drawing: &str, sought: &Sought<'_>, expected: &str) {
        let shown = ask(drawing, 9, |layout| {
            targets(&layout, sought).map(|aimed| {
                let [places, targets] = [aimed.places, aimed.targets].map(|places| {
                    places.iter().map(|place| layout.arn_of(*place).short()).collect::<Vec<_>>().join(" ")
                });
                format!("{places} of {targets}")
            })
        });
        assert_eq!(shown.unwrap_or_default(), expected, "{drawing}");
    }

    #[test]
    fn a_domain_that_lacks_tasks_gets_as_many_and_no_more() {
        let [free, careful] = [false, true].map(|is_careful| sought(9, is_careful, &|_| false));
        let drawing = "a i-1 web web web web\na i-2\nb i-3 web web web";
        check(drawing, &free, "i-2 i-2 of i-2");
        check(drawing, &sought(1, false, &|_| false), "i-2 of i-2");
        check(drawing, &Sought { may_go: &|_| false, ..free }, "");
        let two = "a i-1 web web web web\na i-2\na i-3";
        check(two, &free, "i-2 i-3 of i-2 i-3");
        check(two, &careful, "i-2 of i-2");
        // Zone b's instances are one domain: all of them are targets.
        let zones = "service web strategy=spread:attribute:ecs.availability-zone";
        check(&format!("a i-1 web web web web\nb i-2\nb i-3\n{zones}"), &free, "i-2 i-3 of i-2 i-3");
    }

    #[test]
    fn the_targets_of_others_are_left_to_them() {
        let is_taken = |instance: &ContainerInstance| instance.arn.short() == "i-2";
        check("a i-1 web web web web\na i-2\na i-3", &sought(9, false, &is_taken), "i-3 of i-3");
        check("a i-1 web web web web\na i-2", &sought(9, false, &is_taken), "");
    }

    #[test]
    fn zones_that_ecs_evens_out_itself_keep_their_tasks() {
        let free = sought(9, false, &|_| false);
        let drawing = "a i-1 web web web web\na i-2\nb i-3";
        check(drawing, &Sought { zones_stay: true, ..free }, "i-2 i-2 of i-2");
    }

    proptest! {
        /// Among the targets ECS goes by its own rule, which [`next_task`] tells apart from the layout.
        #[test]
        fn each_task_lands_as_foreseen_and_cures_a_misplaced_one(
            drawing in planner::tests::drawing(),
            most in 1..6_u32,
            is_careful in any::<bool>(),
            taken in prop::collection::btree_set(0..12_usize, 0..4),
        ) {
            let cluster = testing::cluster(&drawing);
            let index = Index::new(&cluster);
            let taken: BTreeSet<&ContainerInstanceArn> =
                taken.iter().filter_map(|number| cluster.container_instances.keys().nth(*number)).collect();
            let is_taken = |instance: &ContainerInstance| taken.contains(&instance.arn);
            for name in cluster.services.keys() {
                let aimed = ask_of(&cluster, name.as_str(), most as usize + taken.len(), |layout| {
                    let aimed = targets(&layout, &sought(most, is_careful, &is_taken))?;
                    let cured = layout.missing() - layout.missing_after(&aimed.places);
                    let [targets, places] = [aimed.targets, aimed.places].map(|places| {
                        places.into_iter().map(|place| layout.arn_of(place).clone()).collect::<Vec<_>>()
                    });
                    Some((targets, places, cured))
                });
                let Some((targets, places, cured)) = aimed.flatten() else { continue };
                prop_assert!(!places.is_empty() && places.len() <= most as usize, "{}", name);
                prop_assert_eq!(places.len(), cured as usize, "{}", name);
                prop_assert!(!targets.iter().any(|arn| taken.contains(arn)), "{}", name);
                let ServiceParts { service, parts } = ServiceParts::new(&index, name).unwrap();
                let mut spots = next_task::spots(&index, service, &parts[0]);
                spots.retain(|spot| targets.contains(&spot.instance.arn));
                let number = u32::try_from(places.len()).unwrap();
                let told: Vec<_> = next_task::fill(spots, number).iter().map(|instance| instance.arn.clone()).collect();
                prop_assert_eq!(places, told, "{}", name);
            }
        }
    }
}
