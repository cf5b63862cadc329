//! Which container instances are sites of a service's layout.
//!
//! The container instances that may take a service's tasks are looked up once for all services that ask the same. They are kept in
//! order: by how many more such tasks fit, and by how full they are. So the sites of a service cost what it has and what has changed
//! since the last look, and not what the cluster has.
//!
//! An example: a service has one task, on i-1, and its layout is to be asked about one more. Of the idle container instances two are
//! kept from each end: the two on which the most tasks fit, the two on which the fewest fit, and the two that are the least full.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    rc::Rc,
};

use super::site::{Site, how_many_fit};
use crate::planning::{
    model::{Capacity, PlacementConstraint, Service, TaskDefinition},
    placement::{
        Index, Levels, Requirement,
        occupancy::{Demand, Occupancy},
    },
};

/// So many entries are kept for each instance of the cluster: where each service has demands of its own, nothing would be shared.
const MOST_KEPT: usize = 32;

/// The container instances that services with the same demands may use, looked up once for all of them. It goes along with one
/// ledger, of which no change is undone.
#[derive(Default)]
pub(in crate::planning) struct Eligible<'a> {
    known: BTreeMap<Asked<'a>, Vec<Alike<'a>>>,
    /// How many entries all of these have.
    size: usize,
}

type Asked<'a> = (
    Levels,
    (Vec<&'a PlacementConstraint>, &'a BTreeSet<String>, Option<&'a str>),
    Option<(&'a BTreeMap<String, Option<String>>, [Option<&'a str>; 2], [&'a BTreeSet<u16>; 2])>,
);

/// Container instances on one path.
struct Alike<'a> {
    path: Rc<[&'a str]>,
    /// Their numbers in the ledger, in order.
    instances: Vec<usize>,
    by_fullness: Option<Order<u64>>,
    /// By how many more tasks fit, the most first, for tasks of each size; without those on which none fits.
    by_fitting: BTreeMap<Size, Order<Reverse<u32>>>,
}

/// What a task takes, and whether a network interface is a part of it.
type Size = (Capacity, bool);

/// Container instances by a key, the least first; those that have none are left out.
struct Order<Key> {
    /// Of each instance, by its place among those that are alike.
    keys: Vec<Option<Key>>,
    sorted: BTreeSet<(Key, usize)>,
    /// The place in the ledger's log that they stand for.
    at: usize,
}

impl<Key: Ord + Copy> Order<Key> {
    fn new(instances: &[usize], ledger: &Occupancy<'_>, key: impl Fn(usize) -> Option<Key>) -> Self {
        let keys: Vec<Option<Key>> = instances.iter().map(|number| key(*number)).collect();
        let sorted = keys.iter().enumerate().filter_map(|(place, key)| Some(((*key)?, place))).collect();
        Self { keys, sorted, at: ledger.mark() }
    }

    /// Takes over what has changed in the ledger.
    fn follow(&mut self, instances: &[usize], ledger: &Occupancy<'_>, key: impl Fn(usize) -> Option<Key>) {
        for number in ledger.changed_since(self.at) {
            let Ok(place) = instances.binary_search(&number) else { continue };
            let (before, after) = (self.keys[place], key(number));
            if before == after {
                continue;
            }
            self.keys[place] = after;
            if let Some(key) = before {
                self.sorted.remove(&(key, place));
            }
            self.sorted.extend(after.map(|key| (key, place)));
        }
        self.at = ledger.mark();
    }

    /// The places of the instances, in order.
    fn places(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.sorted.iter().map(|(_, place)| *place)
    }
}

impl<'a> Alike<'a> {
    fn new(path: Vec<&'a str>, mut instances: Vec<usize>) -> Self {
        instances.sort_unstable();
        Self { path: path.into(), instances, by_fullness: None, by_fitting: BTreeMap::new() }
    }

    /// How many entries it has.
    fn size(&self) -> usize {
        self.instances.len() * (1 + usize::from(self.by_fullness.is_some()) + self.by_fitting.len())
    }
}

/// The container instances that a requirement admits, whatever their size.
fn by_path<'a>(index: &Index<'a>, levels: &Levels, requirement: &Requirement<'a>) -> Vec<Alike<'a>> {
    let mut by_path: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
    for number in index.eligible_whatever_size(requirement) {
        by_path.entry(levels.path(index.instances[number])).or_default().push(number);
    }
    by_path.into_iter().map(|(path, instances)| Alike::new(path, instances)).collect()
}

/// Chooses the sites of a service.
pub(super) struct Chooser<'l, 'a> {
    pub(super) ledger: &'l Occupancy<'a>,
    pub(super) index: &'l Index<'a>,
    pub(super) service: &'a Service,
    pub(super) levels: &'l Levels,
    pub(super) requirement: &'l Requirement<'a>,
    pub(super) demand: Demand<'a>,
    pub(super) limit: u32,
    /// The number of the service in the ledger.
    pub(super) number: usize,
    /// Its tasks, by the numbers of their container instances.
    pub(super) on: &'l BTreeMap<usize, u32>,
    /// So many tasks are given at most.
    pub(super) keep: usize,
}

impl<'a> Chooser<'_, 'a> {
    /// The sites on each path: the container instances with tasks, and of the others as many as can matter.
    pub(super) fn by_path(&self, eligible: &mut Eligible<'a>) -> BTreeMap<Rc<[&'a str]>, Vec<Site<'a>>> {
        let look_up = || by_path(self.index, self.levels, self.requirement);
        let mut sites_of = |alike: &mut Alike<'a>| (Rc::clone(&alike.path), self.sites(alike));
        if !self.requirement.is_static() {
            return look_up().iter_mut().map(sites_of).collect();
        }
        if eligible.size > MOST_KEPT * self.ledger.holdings().len() {
            *eligible = Eligible::default();
        }
        let Eligible { known, size } = eligible;
        let mut before = 0;
        let alike = match known.entry(self.asked()) {
            Entry::Vacant(entry) => entry.insert(look_up()),
            Entry::Occupied(entry) => {
                before = entry.get().iter().map(Alike::size).sum();
                entry.into_mut()
            }
        };
        let sites = alike.iter_mut().map(&mut sites_of).collect();
        *size += alike.iter().map(Alike::size).sum::<usize>() - before;
        sites
    }

    fn asked(&self) -> Asked<'a> {
        let definition = self.index.cluster.task_definitions.get(&self.service.task_definition);
        let of_definition = definition.into_iter().flat_map(|definition| &definition.placement_constraints);
        let constraints = self.service.placement_constraints.iter().chain(of_definition).collect();
        (
            self.levels.clone(),
            (constraints, &self.service.subnets, self.requirement.provider()),
            definition.map(|definition| {
                let TaskDefinition { required_attributes, os_family, cpu_architecture, .. } = definition;
                let ports = [&definition.tcp_host_ports, &definition.udp_host_ports];
                (required_attributes, [os_family.as_deref(), cpu_architecture.as_deref()], ports)
            }),
        )
    }

    fn sites(&self, alike: &mut Alike<'a>) -> Vec<Site<'a>> {
        let Alike { instances, by_fullness, by_fitting, .. } = alike;
        let holdings = self.ledger.holdings();
        let is_idle = |number: &usize| {
            !self.on.contains_key(number) && holdings[*number].instance().registered.holds(&self.demand.reserves)
        };
        let mut numbers: Vec<usize> =
            self.on.keys().filter(|number| instances.binary_search(number).is_ok()).copied().collect();
        let idle = || instances.iter().copied().filter(is_idle);
        if idle().nth(self.keep).is_none() {
            numbers.extend(idle());
        } else {
            let fullness = |number: usize| Some(holdings[number].fullness());
            let by_fullness = by_fullness.get_or_insert_with(|| Order::new(instances, self.ledger, fullness));
            by_fullness.follow(instances, self.ledger, fullness);
            let fitting = |number: usize| {
                let fitting = holdings[number].how_many_fit(&self.demand).min(self.limit_on(number));
                (fitting > 0).then_some(Reverse(fitting))
            };
            let by_fitting = by_fitting
                .entry((self.demand.reserves, self.demand.takes_interface))
                .or_insert_with(|| Order::new(instances, self.ledger, fitting));
            by_fitting.follow(instances, self.ledger, fitting);
            let number_of = |place: usize| instances[place];
            // Where one task is all that it may have, one that still stops takes that.
            let has_room = |number: &usize| is_idle(number) && self.held(*number) < self.limit_on(*number);
            let fitting = || by_fitting.places().map(number_of).filter(has_room);
            numbers.extend(fitting().take(self.keep));
            numbers.extend(fitting().rev().take(self.keep));
            // What daemons fill alone takes part in no arrangement.
            let may_have_some = |number: &usize| is_idle(number) && self.most(*number) > 0;
            numbers.extend(by_fullness.places().map(number_of).filter(may_have_some).take(self.keep));
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| self.site(number)).collect()
    }

    fn site(&self, number: usize) -> Site<'a> {
        let (holding, held) = (self.ledger.holdings()[number].clone(), self.held(number));
        let limit = self.limit_on(number);
        Site {
            number,
            held,
            tasks: self.on.get(&number).copied().unwrap_or(0),
            fitting: how_many_fit(&holding, held, &self.demand, limit),
            holding,
            limit,
            most: self.most(number),
            is_away: false,
        }
    }

    /// How many of the service's tasks hold capacity there.
    fn held(&self, number: usize) -> u32 {
        self.ledger.held(self.number, number)
    }

    /// How many of its tasks may be there, by its constraints and static host ports.
    fn limit_on(&self, number: usize) -> u32 {
        self.limit.min(self.index.allowed(self.requirement, number))
    }

    fn most(&self, number: usize) -> u32 {
        self.index.most(self.requirement, number, 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{
        model::ServiceName,
        planner,
        spread::layout::{Layout, Ties},
        testing,
    };

    /// The sites of a service's layout that is to be asked about one more task: `a: i-1 i-3, b: i-4`.
    fn shown<'a>(
        ledger: &Occupancy<'a>,
        index: &Index<'a>,
        eligible: &mut Eligible<'a>,
        service: &ServiceName,
    ) -> String {
        let layout = Layout::of(ledger, index, eligible, &index.cluster.services[service], 1);
        layout.map_or_else(String::new, |layout| layout.shown(|site| site.holding.instance().arn.short().to_owned()))
    }

    #[test]
    fn the_first_of_each_order_are_kept_and_follow_what_changes() {
        // One task, and one more: two with the most capacity, the two with the least, the two that are the least full.
        let mut drawing = "a i-1 web\nservice web cpu=1000".to_owned();
        for number in 0..20 {
            drawing.push_str(&format!("\nb j-{number:02} cpu={}", 1000 * (number % 5 + 1)));
        }
        let cluster = testing::cluster(&drawing);
        let index = Index::new(&cluster);
        let (mut ledger, mut eligible) = (Occupancy::read(&index), Eligible::default());
        let web = ServiceName::from("web");
        assert_eq!(shown(&ledger, &index, &mut eligible, &web), "a: i-1, b: j-00 j-01 j-04 j-09 j-10 j-15");
        // j-00 is full now, and j-04 has no more capacity than those of the next size.
        let definition = cluster.task_definitions.values().next();
        for instance in [1, 5] {
            ledger.add(0, Demand::of(definition), instance);
        }
        assert_eq!(shown(&ledger, &index, &mut eligible, &web), "a: i-1, b: j-01 j-02 j-09 j-10 j-14 j-15");
    }

    proptest! {
        #[test]
        fn they_are_the_same_as_looked_up_anew(
            drawing in planner::tests::drawing(),
            starts in prop::collection::vec((0..9_usize, 0..9_usize), 1..20),
        ) {
            let cluster = testing::cluster(&drawing);
            let index = Index::new(&cluster);
            let (mut ledger, mut eligible) = (Occupancy::read(&index), Eligible::default());
            let names: Vec<&ServiceName> = cluster.services.keys().collect();
            for (asked, starting) in starts {
                let asked = names[asked % names.len()];
                let kept = shown(&ledger, &index, &mut eligible, asked);
                prop_assert_eq!(kept, shown(&ledger, &index, &mut Eligible::default(), asked), "{}", asked);
                let service = &cluster.services[names[starting % names.len()]];
                let layout = Layout::of(&ledger, &index, &mut eligible, service, 1);
                let place = layout.as_ref().and_then(|it| Some(it.arn_of(*it.predict(1, Ties::MostFree).first()?)));
                if let (Some(number), Some(instance)) = (ledger.service(&service.name), place) {
                    let instance = ledger.instance(instance).unwrap();
                    ledger.add(number, Demand::of(cluster.task_definitions.get(&service.task_definition)), instance);
                }
            }
        }
    }
}
