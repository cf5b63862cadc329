//! Steering: on which container instances a service's next tasks are missing, so that a constraint can send them just there.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    model::{Cluster, ContainerInstance, ContainerInstanceArn, Service, ServiceName, TaskArn, TaskDefinition},
    next_task::{Spot, equal_spots, spots, take},
    notes::{TARGET_ATTRIBUTE, owners_constraints},
    placement::{Index, are_zones_left_to_ecs},
    provider_parts::{ProviderPart, ServiceParts, how_many_fit},
    spread::{self, Aimed, Layout, MOST_TARGETS, MayGo, Sought},
    view,
};

/// A task has at most so many constraints, those of its task definition included [API, UpdateService].
const MOST_CONSTRAINTS: usize = 10;

/// An instance has at most so many attributes beside those that its agent registers for ECS [API, PutAttributes].
const MOST_CUSTOM_ATTRIBUTES: usize = 10;

/// Whether tasks may be steered to an instance: ECS's health checks don't find it impaired, and it may get the attribute that steers.
pub(super) fn may_be_target(instance: &ContainerInstance) -> bool {
    let is_custom = |name: &&String| !name.starts_with("ecs.") && !name.starts_with("com.amazonaws.ecs.");
    let has_space = || {
        instance.attributes.contains_key(TARGET_ATTRIBUTE)
            || instance.attributes.keys().filter(is_custom).count() < MOST_CUSTOM_ATTRIBUTES
    };
    !instance.is_impaired && has_space()
}

/// Where a round's tasks are to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The instances that may take them.
    pub instances: BTreeSet<ContainerInstanceArn>,
    /// Task by task, where ECS is expected to put it among these.
    pub places: Vec<ContainerInstanceArn>,
}

/// How the next tasks of a service that is to be spread, and may be steered, come to where they are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way<To = Targets> {
    /// Steered to these.
    Steered(To),
    /// By ECS's own choice.
    Unsteered,
    /// By ECS's own choice, once other services have got the capacity that they are steered to: it might take that.
    UnsteeredLater,
}

/// A round of a service that is to begin: what its way is asked of.
#[derive(Clone, Copy, Debug)]
pub struct NextRound<'r> {
    /// The cluster as it is.
    pub cluster: &'r Cluster,
    /// The service.
    pub service: &'r ServiceName,
    /// Tasks of it that may not go.
    pub spared: &'r BTreeSet<TaskArn>,
    /// At most so many tasks start.
    pub most: u32,
    /// Whether ECS was seen to choose otherwise than foreseen.
    pub is_careful: bool,
    /// The targets of other services: an instance is one service's target at a time.
    pub taken: &'r BTreeSet<ContainerInstanceArn>,
}

impl NextRound<'_> {
    /// Which way cures the most misplaced tasks; of equal ones ECS's own choice, as long as that cures one with each task,
    /// whichever of equal container instances it takes, unless it `may_take_from_others` what they are steered to. A round that
    /// is careful is steered; and so is that of a service without a placement strategy, of which ECS's documents say in three
    /// ways where its next task goes.
    ///
    /// An example: zone a has six tasks and zone b two. ECS puts the next two tasks into zone b, and so would steering: it is
    /// spared.
    pub fn way(&self, may_take_from_others: bool) -> Way {
        let asked = self.asked(|round, layout| match round.way(layout, may_take_from_others) {
            Way::Steered(aimed) => Way::Steered(named(layout, &aimed)),
            Way::Unsteered => Way::Unsteered,
            Way::UnsteeredLater => Way::UnsteeredLater,
        });
        asked.unwrap_or(if may_take_from_others { Way::UnsteeredLater } else { Way::Unsteered })
    }

    /// The targets of the next tasks, each of which cures a misplaced one; none where the service can't be steered, or where no
    /// instance on which a task is missing has capacity for it.
    pub fn targets(&self) -> Option<Targets> {
        self.asked(|round, layout| round.targets(layout).map(|aimed| named(layout, &aimed))).flatten()
    }

    fn asked<Answer>(&self, ask: impl FnOnce(&RoundOf<'_>, &Layout<'_>) -> Answer) -> Option<Answer> {
        let service = self.cluster.services.get(self.service)?;
        let may_go = |task: &TaskArn| !self.spared.contains(task);
        let round = RoundOf {
            service,
            definition: self.cluster.task_definitions.get(&service.task_definition),
            may_go: &may_go,
            most: self.most,
            is_careful: self.is_careful,
            taken: self.taken,
        };
        // Those that are taken may be the very ones that would be asked about.
        let taken = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        spread::asked(self.cluster, self.service, self.most.saturating_add(taken), |layout| ask(&round, layout))
    }
}

/// The names of what is aimed at.
fn named(layout: &Layout<'_>, aimed: &Aimed) -> Targets {
    let name = |place: &_| layout.arn_of(*place).clone();
    Targets { instances: aimed.targets.iter().map(name).collect(), places: aimed.places.iter().map(name).collect() }
}

/// The next round of a service that is asked about on its layout.
pub(super) struct RoundOf<'r> {
    pub(super) service: &'r Service,
    pub(super) definition: Option<&'r TaskDefinition>,
    /// The tasks that may go.
    pub(super) may_go: MayGo<'r>,
    /// At most so many tasks start.
    pub(super) most: u32,
    /// Whether ECS was seen to choose otherwise than foreseen.
    pub(super) is_careful: bool,
    /// The targets of other services.
    pub(super) taken: &'r BTreeSet<ContainerInstanceArn>,
}

impl RoundOf<'_> {
    /// See [`NextRound::way`].
    pub(super) fn way(&self, layout: &Layout<'_>, may_take_from_others: bool) -> Way<Aimed> {
        let without = if may_take_from_others { Way::UnsteeredLater } else { Way::Unsteered };
        if self.is_careful || self.service.placement_strategy.is_empty() {
            return self.targets(layout).map_or(without, Way::Steered);
        }
        let unsteered = spread::surely_curing_surge_in(layout, self.may_go, self.most);
        // The targets cost more to find, and are found only where they could do better.
        if !may_take_from_others && unsteered == spread::curable_in(layout, self.may_go, self.most) {
            return without;
        }
        let Some(aimed) = self.targets(layout) else { return without };
        match (unsteered as usize).cmp(&aimed.places.len()) {
            Ordering::Less => Way::Steered(aimed),
            Ordering::Equal if may_take_from_others => Way::Steered(aimed),
            Ordering::Equal | Ordering::Greater => without,
        }
    }

    fn targets(&self, layout: &Layout<'_>) -> Option<Aimed> {
        if !may_have_one_more_constraint(self.service, self.definition) {
            return None;
        }
        // Nearly all may be, so only those are asked that were chosen.
        let aimed = self.targets_but(layout, &|_| false)?;
        if aimed.targets.iter().all(|place| may_be_target(layout.instance_at(*place))) {
            return Some(aimed);
        }
        self.targets_but(layout, &|instance| !may_be_target(instance))
    }

    /// Leaves out those that can't be targets.
    fn targets_but(&self, layout: &Layout<'_>, cannot: &dyn Fn(&ContainerInstance) -> bool) -> Option<Aimed> {
        let sought = Sought {
            may_go: self.may_go,
            most: self.most,
            is_careful: self.is_careful,
            zones_stay: are_zones_left_to_ecs(self.service),
            is_taken: &|instance| self.taken.contains(&instance.arn) || cannot(instance),
        };
        spread::targets_in(layout, &sought)
    }
}

/// Whether ECS could put a service's next task on one of these instances.
pub fn could_take(cluster: &Cluster, service: &ServiceName, instances: &BTreeSet<ContainerInstanceArn>) -> bool {
    if instances.is_empty() {
        return false;
    }
    let index = Index::new(cluster);
    let Some(service_parts) = ServiceParts::new(&index, service) else { return false };
    let admits = |number: &usize| instances.contains(&index.instances[*number].arn);
    service_parts.parts.iter().any(|part| {
        let mut eligible = index.eligible(&part.requirement).into_iter().filter(admits);
        eligible.any(|number| how_many_fit(&index, service_parts.service, &part.requirement, number) > 0)
    })
}

/// The targets of at most `most` next tasks, where it is known how many each instance is to get. Several only where ECS, which
/// chooses among them, gives none more than that.
pub fn to(
    cluster: &Cluster,
    service: &ServiceName,
    wanted: &BTreeMap<ContainerInstanceArn, u32>,
    most: u32,
) -> Option<Targets> {
    let cluster = &*view::alone(cluster, service);
    let index = Index::new(cluster);
    let service_parts = ServiceParts::new(&index, service)?;
    let part = steerable_part(cluster, &service_parts)?;
    let mut spots = spots(&index, service_parts.service, part);
    spots.retain(|spot| spot.fitting > 0 && wanted.contains_key(&spot.instance.arn) && may_be_target(spot.instance));
    spots.sort_by(|a, b| a.instance.arn.cmp(&b.instance.arn));
    let wants = |spot: &&Spot<'_>| wanted.get(&spot.instance.arn).copied().unwrap_or(0).min(spot.fitting);
    let alone = vec![spots.iter().rev().max_by_key(wants)?.clone()];
    let mut choices = vec![alone];
    // How ECS chooses among several where it packs, or draws lots, is not foreseen here.
    if !part.levels.are_none() {
        let mut beside: BTreeMap<Vec<&str>, Vec<Spot<'_>>> = BTreeMap::new();
        for spot in &spots {
            let mut path = part.levels.leaf(spot.instance);
            path.pop();
            beside.entry(path).or_default().push(spot.clone());
        }
        choices.extend(beside.into_values());
        choices.push(spots);
    }
    choices.into_iter().filter_map(|spots| just(spots, wanted, most)).max_by_key(|targets| targets.places.len())
}

/// The first of these spots that take `most` tasks together, and as many tasks as ECS is sure to give none of them one more
/// than is wanted there.
fn just(mut spots: Vec<Spot<'_>>, wanted: &BTreeMap<ContainerInstanceArn, u32>, most: u32) -> Option<Targets> {
    let (mut number, mut taken) = (0, 0);
    while taken < spots.len().min(MOST_TARGETS) && number < most {
        let spot = &spots[taken];
        number += wanted.get(&spot.instance.arn).copied().unwrap_or(0).min(spot.fitting).min(most - number);
        taken += 1;
    }
    spots.truncate(taken);
    let instances = spots.iter().map(|spot| spot.instance.arn.clone()).collect();
    let mut left = wanted.clone();
    let mut places = Vec::new();
    // As many as are sure: whichever of several equal ones ECS takes for a task, each of them must want one more.
    for _ in 0..number {
        let equal = equal_spots(&spots);
        let wants = |spot: &usize| left.get(&spots[*spot].instance.arn).is_some_and(|left| *left > 0);
        let Some(chosen) = equal.first().copied().filter(|_| equal.iter().all(wants)) else { break };
        let place = spots[chosen].instance.arn.clone();
        *left.get_mut(&place)? -= 1;
        places.push(place);
        take(&mut spots, chosen);
    }
    (!places.is_empty()).then_some(Targets { instances, places })
}

/// The part of a service that can be steered, if it can: its only one, since which capacity provider takes the next task is
/// ECS's choice, and one without a target would leave it without a place.
pub(super) fn steerable_part<'b, 'a>(
    cluster: &Cluster,
    service_parts: &'b ServiceParts<'a>,
) -> Option<&'b ProviderPart<'a>> {
    let [part] = service_parts.parts.as_slice() else { return None };
    let service = service_parts.service;
    may_have_one_more_constraint(service, cluster.task_definitions.get(&service.task_definition)).then_some(part)
}

/// Whether a service may have one constraint more, those of its task definition counted in.
fn may_have_one_more_constraint(service: &Service, definition: Option<&TaskDefinition>) -> bool {
    let of_definition = definition.map_or(0, |definition| definition.placement_constraints.len());
    owners_constraints(&service.placement_constraints).len() + of_definition < MOST_CONSTRAINTS
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::planning::testing::cluster;

    /// What keeps tasks from being steered to an instance: its health, or that it has ten attributes of its owner's already.
    pub(in crate::planning) const NO_TARGET: [&str; 2] =
        ["impaired=true", "attr.a0= attr.a1= attr.a2= attr.a3= attr.a4= attr.a5= attr.a6= attr.a7= attr.a8= attr.a9="];

    /// Asks something of a round of service `web`.
    fn of_web<Answer>(
        cluster: &Cluster,
        most: u32,
        is_careful: bool,
        ask: impl FnOnce(&NextRound<'_>) -> Answer,
    ) -> Answer {
        let (service, spared, taken) = ("web".into(), BTreeSet::new(), BTreeSet::new());
        ask(&NextRound { cluster, service: &service, spared: &spared, most, is_careful, taken: &taken })
    }

    /// Where at most `most` of service `web`'s next tasks are steered to, as `i-2 i-3*2`, the number where it isn't one.
    fn check(drawing: &str, most: u32, is_careful: bool, expected: &str) {
        let cluster = cluster(drawing);
        let places = of_web(&cluster, most, is_careful, |round| round.targets().map(|targets| targets.places));
        let mut tasks_on: BTreeMap<&str, u32> = BTreeMap::new();
        for place in places.iter().flatten() {
            *tasks_on.entry(place.short()).or_default() += 1;
        }
        let shown: Vec<String> = tasks_on
            .iter()
            .map(|(place, tasks)| if *tasks == 1 { (*place).to_owned() } else { format!("{place}*{tasks}") })
            .collect();
        assert_eq!(shown.join(" "), expected, "{drawing}");
    }

    #[test]
    fn tasks_are_steered_to_where_they_are_missing_and_nowhere_else() {
        let one_empty = "a i-1 web web web web\na i-2\nb i-3 web web web";
        check(one_empty, 9, false, "i-2*2");
        check(one_empty, 1, false, "i-2");
        let two_empty = "a i-1 web web web web\na i-2\na i-3";
        check(two_empty, 9, false, "i-2 i-3");
        check(two_empty, 9, true, "i-2");
        check("a i-1 web web\nb i-2 web web", 9, false, "");
        // One that is too small takes no part: two and two is even.
        check("a i-1 web web web web\na i-2\na i-3 cpu=100\nservice web cpu=1000", 9, false, "i-2*2");
    }

    /// How at most nine of service `web`'s next tasks come to where they are missing; as `check` shows it, where they are steered.
    fn check_way(drawing: &str, may_take_from_others: bool, expected: &str) {
        let shown = match of_web(&cluster(drawing), 9, false, |round| round.way(may_take_from_others)) {
            Way::Steered(targets) => format!("{} steered", targets.places.len()),
            Way::Unsteered => "unsteered".to_owned(),
            Way::UnsteeredLater => "unsteered later".to_owned(),
        };
        assert_eq!(shown, expected, "{drawing}");
    }

    #[test]
    fn none_is_steered_where_ecs_puts_as_many_where_they_are_missing() {
        let zones = "service web strategy=spread:attribute:ecs.availability-zone";
        let missing_in_b = format!("a i-1 web web web web web web\nb i-2 web web\n{zones}");
        check_way(&missing_in_b, false, "unsteered");
        check_way(&missing_in_b, true, "2 steered");
        // ECS begins with zones b and c, and that cures one; i-2 lacks two of zone a's.
        let both = "service web strategy=spread:attribute:ecs.availability-zone,spread:instanceId";
        let missing_in_a = format!("a i-1 web web web web\na i-2\nb i-3 web web web\nc i-4 web web web\n{both}");
        check_way(&missing_in_a, false, "2 steered");
        check_way(&missing_in_a, true, "2 steered");
        check_way(
            &format!("a i-1 web web web web web\na i-2\nb i-3 web web web web web\nb i-4\n{both}"),
            false,
            "unsteered",
        );
        check_way(&format!("a i-1 web web\nb i-2 web web\n{both}"), false, "unsteered");
        // Without a placement strategy nobody is sure where ECS puts them.
        check_way("a i-1 web web web web\na i-2", false, "2 steered");
    }

    #[test]
    fn ecs_could_take_what_a_service_may_be_placed_on_and_has_capacity() {
        let cluster = cluster("a i-1 web\na i-2\na i-3 cpu=100\nservice web cpu=1000");
        let could_take = |instances: &[&str]| {
            could_take(&cluster, &"web".into(), &instances.iter().map(|name| (*name).into()).collect())
        };
        assert!(could_take(&["i-2"]));
        assert!(could_take(&["i-2", "i-3"]));
        assert!(!could_take(&["i-3"]), "too small");
        assert!(!could_take(&[]));
    }

    #[test]
    fn what_ecs_would_put_elsewhere_among_the_targets_is_left_to_later_rounds() {
        // Both empty instances lack two, but ECS would fill the emptier zone first.
        check("a i-1 web web web\na i-2\nb i-3 web web web web web\nb i-4\nc i-5 web web web web", 9, false, "i-2*2");
    }

    #[test]
    fn under_zone_rebalancing_each_zone_keeps_its_tasks() {
        check("a i-1 web web web web\na i-2\nb i-3\nservice web azrebalancing=true", 9, false, "i-2*2");
    }

    #[test]
    fn none_is_steered_to_what_is_impaired_or_can_get_no_attribute() {
        for no_target in NO_TARGET {
            check(&format!("a i-1 web web web web\na i-2\na i-3 {no_target}"), 9, false, "i-2");
            let drawn = cluster(&format!("a i-1 web\na i-2 {no_target}\na i-3"));
            let wanted = |on: &str| BTreeMap::from([(on.into(), 1)]);
            let is_target = |on: &str| to(&drawn, &"web".into(), &wanted(on), 1).is_some();
            assert_eq!(["i-2", "i-3"].map(is_target), [false, true], "{no_target}");
        }
    }

    #[test]
    fn ten_constraints_leave_no_room_for_ours() {
        let ten = ["memberOf:attribute:rack_!=_x"; 10].join(",");
        check(&format!("a i-1 web web\na i-2\nservice web constraint={ten}"), 9, false, "");
    }
}
