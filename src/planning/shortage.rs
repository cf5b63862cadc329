//! Shortage: which of the missing tasks would find a place now, and what is short where one doesn't.

use std::{collections::BTreeMap, ops::Range};

use super::{
    domains::Domain,
    model::{ContainerInstance, Service},
    placement::{Index, Requirement},
    provider_parts::{ProviderPart, holding, how_many_fit, nest},
    reason::{Resource, Shortage},
};

/// A domain of the last level, with free capacity counted as tasks.
#[derive(Clone, Debug)]
pub struct Place {
    could_have: u32,
    /// Where its instances are in the list of all.
    instances: Range<usize>,
}

/// How many of a part's tasks have no place in a balanced arrangement although they are missing there, and what is short. A
/// target's domain can come as far as its free capacity allows without anything else moving; what is missing then has no place. Where
/// `zones_stay` each domain of the first level keeps its number of tasks.
pub fn lacking_capacity(
    index: &Index<'_>,
    service: &Service,
    part: &ProviderPart<'_>,
    zones_stay: bool,
) -> Option<(u32, Shortage)> {
    let (could_have, instances) = with_room(index, service, part)?;
    let missing =
        if zones_stay { could_have.missing_within_as(&part.domains) } else { could_have.missing(part.placed) };
    if missing == 0 {
        return None;
    }
    let target = if zones_stay { could_have.arrange_within_as(&part.domains) } else { could_have.arrange(part.placed) };
    let mut lacking: Vec<&Place> =
        target.iter().filter(|(place, tasks)| place.could_have < *tasks).map(|(place, _)| place).collect();
    // Those that are alike come one after the other.
    lacking.dedup_by_key(|place| &place.instances);
    Some((missing, shortage(index, service, part, &lacking, &instances)))
}

/// The domains with free capacity counted as tasks: how many a domain could have without anything else moving; and the numbers of
/// all their instances, place by place. None where each group of instances has room for all of the part's tasks, so that none of
/// them lacks a place.
///
/// Not every instance need be looked at, or a service of a few tasks would cost as much as the cluster is large. A group of
/// instances, say a zone's, is to have at most all of the part's tasks. Once more instances than that are known that can take
/// one, none has to take a second, and the others don't matter. Nor need instances be told apart that could have none.
fn with_room(index: &Index<'_>, service: &Service, part: &ProviderPart<'_>) -> Option<(Domain<Place>, Vec<usize>)> {
    let classes = index.domains(&part.levels);
    let mut groups: Vec<Group> = std::iter::repeat_with(Group::default).take(classes.paths.len()).collect();
    let mut others: BTreeMap<Vec<&str>, Group> = BTreeMap::new();
    for (path, most, number) in part.eligible() {
        *groups[path].number.entry(most).or_default() += i64::from(number);
    }
    for (instance, there) in &part.tasks {
        let most = index.most(&part.requirement, *instance, 0);
        let could_have = there.saturating_add(how_many_fit(index, service, &part.requirement, *instance));
        let group = &mut groups[classes.path_of(index.class_of(*instance))];
        *group.number.entry(most).or_default() -= 1;
        let most = part.requirement.most_where(*there, most);
        group.add(Taker { instance: Some(*instance), could_have, most }, part.levels.instance);
    }
    for (arn, there) in &part.away {
        if let Some(instance) = index.cluster.container_instances.get(*arn) {
            let taker = Taker { instance: None, could_have: *there, most: *there };
            let path = part.levels.path(instance);
            let group = match classes.number_of(&path) {
                Some(path) => &mut groups[path],
                None => others.entry(path).or_default(),
            };
            group.add(taker, part.levels.instance);
        }
    }
    let mut open = groups.iter().chain(others.values()).filter(|group| group.is_open(part.placed)).count();
    for class in index.eligible_classes(&part.requirement) {
        if open == 0 {
            break;
        }
        let Some(first) = class.instances.first() else { continue };
        let group = &mut groups[classes.path_of(class.number)];
        let most = index.most(&part.requirement, *first, 0);
        if !class.may_have_room {
            group.without.entry(most).or_default().extend_from_slice(&class.instances);
            continue;
        }
        for instance in class.instances.iter().copied().filter(|instance| !part.tasks.contains_key(instance)) {
            if !group.is_open(part.placed) {
                break;
            }
            let could_have = how_many_fit(index, service, &part.requirement, instance).min(most);
            if could_have > 0 {
                *group.number.entry(most).or_default() -= 1;
                group.add(Taker { instance: Some(instance), could_have, most }, part.levels.instance);
                open -= usize::from(!group.is_open(part.placed));
            } else {
                group.without.entry(most).or_default().push(instance);
            }
        }
    }
    if open == 0 {
        return None;
    }
    let known = classes.paths.iter().cloned().zip(groups).filter(|(_, group)| !group.is_empty());
    let mut instances = Vec::new();
    let domains =
        known.chain(others).map(|(path, group)| (path, group.into_domains(part.levels.instance, &mut instances)));
    Some((nest(domains.collect(), part.levels.instance), instances))
}

/// An instance that could have tasks.
struct Taker {
    /// Its number; none where its agent is disconnected: no more tasks come there.
    instance: Option<usize>,
    /// How many, without anything else moving.
    could_have: u32,
    /// How many beside daemons alone.
    most: u32,
}

/// Instances of one path.
#[derive(Default)]
struct Group {
    with: Vec<Taker>,
    /// How many others there are, by how many tasks each could hold beside daemons alone.
    number: BTreeMap<u32, i64>,
    /// Of these, those that have no free capacity, as far as they were looked at; also some that have tasks already.
    without: BTreeMap<u32, Vec<usize>>,
    /// A number of tasks that they could have for sure, one on each where instances are the last level.
    enough_for: u32,
}

impl Group {
    fn add(&mut self, taker: Taker, one_each: bool) {
        let counts = if one_each { taker.could_have.min(1) } else { taker.could_have };
        self.enough_for = self.enough_for.saturating_add(counts);
        self.with.push(taker);
    }

    /// Whether more of its instances are to be looked at, as long as there are any, where it is to have so many tasks at most.
    fn is_open(&self, most: u32) -> bool {
        !self.is_empty() && self.enough_for <= most
    }

    /// Whether no instance lies there.
    fn is_empty(&self) -> bool {
        self.with.is_empty() && self.number.is_empty()
    }

    /// The domains, whose instances are added to those of others.
    fn into_domains(mut self, tells_instances_apart: bool, all: &mut Vec<usize>) -> Vec<Domain<Place>> {
        let number = |number: i64| u32::try_from(number).unwrap_or(0);
        let mut place = |could_have: u32, instances: &mut dyn Iterator<Item = usize>| {
            let first = all.len();
            all.extend(instances);
            Place { could_have, instances: first..all.len() }
        };
        if !tells_instances_apart {
            let sum = |of: &dyn Fn(&Taker) -> u32| self.with.iter().map(of).fold(0, u32::saturating_add);
            let (could_have, with) = (sum(&|taker| taker.could_have), sum(&|taker| taker.most));
            let others = self.number.iter().map(|(most, others)| most.saturating_mul(number(*others)));
            let most = others.fold(with, u32::saturating_add);
            let without = self.without.into_values().flatten();
            let mut instances = self.with.iter().filter_map(|taker| taker.instance).chain(without);
            return vec![Domain::last(place(could_have, &mut instances), could_have, most, 0)];
        }
        let mut domains: Vec<Domain<Place>> = Vec::with_capacity(self.with.len() + self.number.len());
        for Taker { instance, could_have, most } in self.with {
            domains.push(Domain::last(place(could_have, &mut instance.into_iter()), could_have, most, 0));
        }
        for (most, others) in self.number {
            let instances = self.without.remove(&most).unwrap_or_default();
            let place = place(0, &mut instances.into_iter());
            domains.push(Domain::alike_last(place, 0, most, number(others)));
        }
        domains
    }
}

/// What is short on that of their instances that comes closest to taking one task more than it has capacity for; of equal ones
/// the first in the order of their classes and ARNs.
fn shortage(
    index: &Index<'_>,
    service: &Service,
    part: &ProviderPart<'_>,
    lacking: &[&Place],
    instances: &[usize],
) -> Shortage {
    let demand = part.requirement.demand();
    let mut closest: Option<((u64, Resource, u32), usize)> = None;
    for place in lacking {
        for instance in instances[place.instances.clone()].iter().copied() {
            let fitting =
                if place.could_have == 0 { 0 } else { how_many_fit(index, service, &part.requirement, instance) };
            let short = holding(index, &demand, instance).short(&demand, part.requirement.limit() == 1, fitting);
            let is_closer = closest.is_none_or(|(least, _)| short < least);
            if is_closer && (place.could_have > 0 || !part.tasks.contains_key(&instance)) {
                closest = Some((short, instance));
            }
        }
    }
    // The instances of one place lie in one domain.
    let first = |place: &Place| instances[place.instances.clone()].first().map(|first| index.instances[*first]);
    let is_lacking = |instance: &&ContainerInstance| {
        let path = part.levels.path(instance);
        lacking.iter().filter_map(|place| first(place)).any(|first| part.levels.path(first) == path)
    };
    let disconnected = would_take_one(index, service, &part.requirement).find(is_lacking);
    let disconnected = disconnected.map(|instance| instance.label().to_owned());
    match closest {
        None => Shortage { closest: None, resource: Resource::Instance, by: 1, disconnected },
        Some(((_, resource, by), instance)) => {
            let closest = Some(index.instances[instance].label().to_owned());
            Shortage { closest, resource, by, disconnected }
        }
    }
}

/// The instances that would take one more of a service's tasks if their agents were not disconnected.
pub fn would_take_one<'a, 'b>(
    index: &'b Index<'a>,
    service: &'b Service,
    requirement: &'b Requirement<'_>,
) -> impl Iterator<Item = &'a ContainerInstance> + 'b {
    let has_one = |instance: &ContainerInstance| {
        index.tasks_on(&instance.arn).iter().any(|task| task.service.as_ref() == Some(&service.name))
    };
    let is_alone = requirement.limit() == 1;
    index.away_with_room(requirement).filter(move |instance| !is_alone || !has_one(instance))
}
