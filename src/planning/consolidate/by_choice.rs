//! Without steering: which of the instances come free that steering would set free.
//!
//! A task is started where ECS puts it. Where that is an instance of the same zone that stays and holds tasks, the one that is to
//! leave goes; otherwise the new one goes again. An example: ten instances of a zone have one task each of a service that is spread
//! over instances, and two of them are to come free. ECS places the next task on any of the ten, and eight of these are good ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use crate::planning::{
    levelling::{Clearing, Purpose},
    model::{ContainerInstanceArn, ServiceName, Timestamp},
    placement::Index,
    plan::{Consolidation, Freed},
    policy::Policy,
    reason::Kept,
    relocation::{Relocatable, relocatable},
};

/// What is likely to come free by ECS's own choice.
pub struct ByChoice {
    /// The instances, and the others with their reasons.
    pub consolidation: Consolidation,
    /// On which no new task may stay.
    pub kept_clear: BTreeSet<ContainerInstanceArn>,
    /// How many tasks are expected to be started in vain, by service, in hundredths.
    pub in_vain_hundredths: BTreeMap<ServiceName, u32>,
}

/// Of what steering would set free, what is likely to come free without it.
///
/// The more instances are to come free, the fewer are good ones for the tasks that leave them. So it is tried with all, with the
/// first half of them, and so on, and the trial that sets the most free is taken.
pub fn by_choice(index: &Index<'_>, steered: Consolidation, policy: &Policy, now: Timestamp) -> ByChoice {
    let Consolidation { freed, mut kept, fixed } = steered;
    let moved: BTreeSet<&ServiceName> = freed.iter().flat_map(|freed| &freed.moves).map(|(name, _)| name).collect();
    let mut movers: Vec<Relocatable<'_>> = relocatable(index, policy, now);
    movers.retain(|one| moved.contains(&one.service.name));
    let halves = iter::successors(Some(freed.len()), |number| Some(number / 2)).take_while(|number| *number > 0);
    let trials = halves.map(|number| trial(index, &movers, &freed[..number], policy));
    // Among equals the first, in which more were to come free.
    let best = trials.reduce(|best, other| if other.0.len() > best.0.len() { other } else { best });
    let (likely, in_vain_hundredths) = best.unwrap_or_default();
    let mut kept_clear = empty(index);
    kept_clear.extend(likely.iter().map(|freed| freed.instance.clone()));
    let unlikely = u32::try_from(freed.len() - likely.len()).unwrap_or(u32::MAX);
    if unlikely > 0 {
        kept.insert(Kept::NeedsSteering, unlikely);
    }
    ByChoice { consolidation: Consolidation { freed: likely, kept, fixed }, kept_clear, in_vain_hundredths }
}

/// Which of these are likely to come free one after the other where no new task may stay on any of them, and how many starts in vain
/// that takes by service, in hundredths.
fn trial<'a>(
    index: &Index<'a>,
    movers: &[Relocatable<'a>],
    to_be_free: &[Freed],
    policy: &Policy,
) -> (Vec<Freed>, BTreeMap<ServiceName, u32>) {
    let mut kept_clear = empty(index);
    kept_clear.extend(to_be_free.iter().map(|freed| freed.instance.clone()));
    let names: BTreeMap<&ServiceName, &'a ServiceName> =
        movers.iter().map(|one| (&one.service.name, &one.service.name)).collect();
    let purpose = Purpose::Clear { instances: &kept_clear, packs: true };
    let mut clearing = Clearing::new(index, movers.iter(), purpose, policy);
    let is_likely = |freed: &&Freed| {
        let mut tasks: BTreeMap<&'a ServiceName, u32> = BTreeMap::new();
        for (service, _) in &freed.moves {
            let Some(name) = names.get(service) else { return false };
            *tasks.entry(name).or_default() += 1;
        }
        index.number_of(&freed.instance).is_some_and(|from| clearing.clear(from, &tasks))
    };
    let likely = to_be_free.iter().filter(is_likely).cloned().collect();
    (likely, clearing.in_vain_hundredths())
}

/// The instances that hold no tasks but those of daemons: a task that came to one would keep it.
fn empty(index: &Index<'_>) -> BTreeSet<ContainerInstanceArn> {
    let empty = index.instances.iter().filter(|instance| index.is_empty(instance));
    empty.map(|instance| instance.arn.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{
        consolidate::consolidation,
        policy::{Mode, Percent},
        testing::{NOW, cluster},
    };

    /// What comes free, the moves by service with the starts in vain that are expected, in hundredths, and why the rest stays.
    #[track_caller]
    fn check(drawing: &str, expected: &str) {
        let cluster = cluster(drawing);
        let policy = Policy { mode: Mode::Consolidate, headroom: Percent::from_hundredths(0), ..Policy::default() };
        let index = Index::new(&cluster);
        let ByChoice { consolidation, kept_clear, in_vain_hundredths } =
            by_choice(&index, consolidation(&cluster, &policy, NOW), &policy, NOW);
        let mut shown: Vec<String> =
            consolidation.freed.iter().map(|freed| freed.instance.short().to_owned()).collect();
        shown.extend(in_vain_hundredths.iter().map(|(service, in_vain)| format!("{service}:{in_vain}")));
        shown.extend(consolidation.kept.iter().map(|(why, instances)| format!("{}={instances}", why.code())));
        assert_eq!(shown.join(" "), expected, "{drawing}");
        let empty = index.instances.iter().filter(|instance| index.is_empty(instance)).count();
        assert_eq!(kept_clear.len(), consolidation.freed.len() + empty, "{drawing}");
    }

    #[test]
    fn what_ecs_packs_itself_goes_to_the_fullest_that_stays() {
        let packed = "service web cpu=100 memory=1024 strategy=binpack:memory";
        check(&format!("a i-1 web web\na i-2 web\na i-3\n{packed}"), "i-2 web:0 no-room=1");
        // Spread over instances, the next one goes to the empty one.
        let spread = "service web cpu=100 memory=1024 strategy=spread:instanceId";
        check(&format!("a i-1 web web\na i-2 web\na i-3\n{spread}"), "no-room=1 needs-steering=1");
        check(&format!("a i-1 web web\na i-2 web\n{spread}"), "no-room=1 needs-steering=1");
    }

    #[test]
    fn spread_evenly_most_of_the_next_tasks_go_to_instances_that_stay() {
        // One on each of ten. Once one is emptied, ECS places the next task there.
        let mut drawing = String::new();
        for number in 0..10 {
            drawing += &format!("a i-{number} web memory=2048\n");
        }
        drawing += "service web cpu=1 memory=512 strategy=spread:instanceId";
        check(&drawing, "i-0 web:42 headroom=3 needs-steering=6");
    }

    #[test]
    fn no_instance_is_told_apart_by_its_name() {
        // Three times of four the next task lands on the one that stays, or with the names the other way round.
        let spread = "service web cpu=100 memory=1024 strategy=spread:attribute:ecs.availability-zone";
        check(&format!("a i-1 web\na i-2 web web web\n{spread}"), "i-1 web:100 no-room=1");
        check(&format!("a i-1 web web web\na i-2 web\n{spread}"), "i-2 web:100 no-room=1");
    }

    #[test]
    fn starts_in_vain_count_for_the_limit_of_moves() {
        let drawing = "a i-1 web web web web web web\na i-9 web web\na i-2 web web web web web web\n\
                       service web cpu=100 memory=512 strategy=spread:attribute:ecs.availability-zone";
        let of = |max_moves| {
            let cluster = cluster(drawing);
            let policy = Policy { mode: Mode::Consolidate, max_moves, ..Policy::default() };
            let index = Index::new(&cluster);
            by_choice(&index, consolidation(&cluster, &policy, NOW), &policy, NOW).consolidation.freed.len()
        };
        assert_eq!([2, 3].map(of), [0, 1], "two moves, and one start in vain");
    }

    #[test]
    fn each_zone_keeps_its_tasks() {
        let spread = "service web cpu=100 memory=1024 strategy=spread:attribute:ecs.availability-zone";
        // ECS chooses among all three instances, and then, as zone b has more, among the two of zone a.
        check(&format!("a i-1 web web\na i-2 web\nb i-3 web web web\n{spread}"), "no-room=2 needs-steering=1");
        check(&format!("a i-1 web web\na i-2 web\nb i-3 web web web web\n{spread}"), "i-2 web:100 no-room=2");
    }
}
