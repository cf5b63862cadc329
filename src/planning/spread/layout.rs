//! One service's tasks over its domains, in numbers, as tasks are put there and taken away: what all questions about its spread
//! are asked of.
//!
//! An example, zones a and b, spread over zones and then container instances: `a: 3 1`, `b: 0 0`. The layout has one group for each
//! zone, with two sites in each. Two tasks are misplaced. The next task goes to a site of zone b, since that zone has fewer tasks.
//!
//! Of the container instances without a task of the service, only those are sites that ECS or a balanced arrangement would come to
//! before all others: as many as there are tasks to give, of those with the most capacity, the least, and the least in use. A
//! balanced arrangement never gives two tasks to one instance while another that can take one has none, and ECS takes one of the
//! first, so the rest can change nothing. A question costs what the service has, and not what the cluster has.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    eligible::{Chooser, Eligible},
    site::{Site, how_many_fit},
};
use crate::planning::{
    domains::Domain,
    model::{ContainerInstance, ContainerInstanceArn, Service, TaskArn, Timestamp},
    placement::{
        Index, Levels, Requirement,
        occupancy::{Demand, Holding, Occupancy},
    },
    provider_parts::{is_placed, nest},
};

/// A service's tasks, all of which are on one capacity provider, or on none.
#[derive(Clone)]
pub(in crate::planning) struct Layout<'a> {
    /// What each new task takes.
    demand: Demand<'a>,
    /// How many tasks one container instance can hold at most, whatever its size.
    limit: u32,
    /// Whether the container instance is the last level.
    by_instance: bool,
    pub(super) groups: Vec<Group<'a>>,
    /// The tasks in each domain above the instance.
    pub(super) crowds: Vec<u32>,
    /// The tasks on container instances that may take the service's tasks.
    pub(super) tasks: BTreeMap<TaskArn, Placed<'a>>,
    /// The others: without a place, or where they stay.
    elsewhere: BTreeSet<TaskArn>,
    /// All tasks that count.
    pub(super) placed: u32,
}

/// A task, and where it is.
#[derive(Clone)]
pub(super) struct Placed<'a> {
    pub(super) started_at: Option<Timestamp>,
    demand: Demand<'a>,
    pub(super) place: Place,
}

/// The container instances that lie in the same domains, but for the instance itself.
#[derive(Clone)]
pub(super) struct Group<'a> {
    path: Rc<[&'a str]>,
    /// The domain of each level above the instance, by its number.
    pub(super) domains: Rc<[usize]>,
    pub(super) sites: Vec<Site<'a>>,
    /// How many sites have so many tasks, and could have so many.
    alike: BTreeMap<(u32, u32), u32>,
    /// The number of its first domain of the last level.
    first_leaf: usize,
}

/// Which of several instances that are equal for ECS is taken to be the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::planning) enum Ties {
    /// The one with the most free capacity, then by ARN.
    MostFree,
    /// The other way round: what holds both ways hardly hangs on it.
    LeastFree,
}

/// A container instance of a layout: the numbers of a group and of a site in it.
pub(in crate::planning) type Place = (usize, usize);

impl<'a> Layout<'a> {
    /// A service as the ledger has it, with its tasks as they were read, to be asked about at most `more` further tasks at once; none
    /// where nothing is known of where its tasks may go, where no task counts, and where its tasks are on several capacity providers.
    pub(in crate::planning) fn of(
        ledger: &Occupancy<'a>,
        index: &Index<'a>,
        eligible: &mut Eligible<'a>,
        service: &'a Service,
        more: usize,
    ) -> Option<Self> {
        let definition = index.cluster.task_definitions.get(&service.task_definition);
        let levels = Levels::of_movable(service)?;
        let tasks = index.tasks_of(service);
        let placed = || index.numbered_tasks_of(service).filter(|(task, _)| is_placed(task));
        let providers: BTreeSet<Option<&str>> = placed().map(|(task, _)| task.capacity_provider.as_deref()).collect();
        let provider = providers.first().filter(|_| providers.len() == 1)?;
        let requirement = Requirement::new(service, definition, *provider).ok()?;
        let mut on: BTreeMap<usize, u32> = BTreeMap::new();
        let mut away: BTreeMap<&'a ContainerInstanceArn, (&'a ContainerInstance, u32)> = BTreeMap::new();
        for (task, number) in placed() {
            if let Some(number) = number {
                *on.entry(number).or_default() += 1;
            } else if let Some(arn) = &task.container_instance
                && let Some(instance) = index.cluster.container_instances.get(arn)
                && instance.is_away()
                && index.would_admit(&requirement, instance)
            {
                away.entry(arn).or_insert((instance, 0)).1 += 1;
            }
        }
        let number = ledger.service(&service.name)?;
        let (demand, limit) = (requirement.demand(), requirement.limit());
        let keep = tasks.len().saturating_add(more);
        let (levels, requirement, on) = (&levels, &requirement, &on);
        let chooser = Chooser { ledger, index, service, levels, requirement, demand, limit, number, on, keep };
        let mut sites = chooser.by_path(eligible);
        for (instance, tasks) in away.into_values() {
            let site = Site {
                number: usize::MAX,
                holding: Holding::read(instance, None),
                held: tasks,
                tasks,
                fitting: 0,
                limit: tasks,
                most: tasks,
                is_away: true,
            };
            sites.entry(levels.path(instance).into()).or_default().push(site);
        }
        let mut layout = Self {
            demand,
            limit,
            by_instance: levels.instance,
            groups: Vec::new(),
            crowds: Vec::new(),
            tasks: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            placed: 0,
        };
        layout.group(sites);
        layout.know(service, index);
        Some(layout)
    }

    fn group(&mut self, sites: BTreeMap<Rc<[&'a str]>, Vec<Site<'a>>>) {
        let mut number_of: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
        let mut first_leaf = 0;
        for (path, sites) in sites.into_iter().filter(|(_, sites)| !sites.is_empty()) {
            let number = |depth: usize| {
                let next = number_of.len();
                *number_of.entry(path[..depth].to_vec()).or_insert(next)
            };
            let domains: Rc<[usize]> = (1..=path.len()).map(number).collect();
            let tasks: u32 = sites.iter().map(|site| site.tasks).sum();
            self.crowds.resize(number_of.len(), 0);
            for domain in domains.iter() {
                self.crowds[*domain] += tasks;
            }
            self.placed += tasks;
            let mut alike: BTreeMap<(u32, u32), u32> = BTreeMap::new();
            for site in &sites {
                *alike.entry((site.tasks, site.most(self.limit))).or_default() += 1;
            }
            let leaves = if self.by_instance { sites.len() } else { 1 };
            self.groups.push(Group { path, domains, sites, alike, first_leaf });
            first_leaf += leaves;
        }
    }

    fn know(&mut self, service: &Service, index: &Index<'a>) {
        let mut places: BTreeMap<usize, Place> = BTreeMap::new();
        for (number, group) in self.groups.iter().enumerate() {
            let staying = group.sites.iter().enumerate().filter(|(_, it)| !it.is_away);
            places.extend(staying.map(|(site, it)| (it.number, (number, site))));
        }
        for (task, number) in index.numbered_tasks_of(service) {
            if let Some(place) = number.and_then(|number| places.get(&number)).filter(|_| is_placed(task)) {
                let demand = Demand::of_task(task, index.cluster.task_definitions.get(&task.task_definition));
                self.tasks.insert(task.arn.clone(), Placed { started_at: task.started_at, demand, place: *place });
            } else {
                self.elsewhere.insert(task.arn.clone());
            }
        }
    }

    /// All tasks that are known, wherever they are.
    pub(in crate::planning) fn all_tasks(&self) -> impl Iterator<Item = &TaskArn> {
        self.tasks.keys().chain(&self.elsewhere)
    }

    /// Where a task is; none where that counts in no domain.
    pub(in crate::planning) fn instance_of(&self, task: &TaskArn) -> Option<&'a ContainerInstanceArn> {
        self.tasks.get(task).map(|placed| self.arn_of(placed.place))
    }

    /// The container instance of a place.
    pub(in crate::planning) fn instance_at(&self, place: Place) -> &'a ContainerInstance {
        self.site(place).holding.instance()
    }

    /// The ARN of a place's container instance.
    pub(in crate::planning) fn arn_of(&self, place: Place) -> &'a ContainerInstanceArn {
        &self.instance_at(place).arn
    }

    /// A new task starts there, or would.
    pub(in crate::planning) fn put(&mut self, arn: TaskArn, place: Place) {
        let (demand, started_at) = (self.demand, Some(Timestamp(i64::MAX)));
        self.change(place, &demand, true);
        self.tasks.insert(arn, Placed { started_at, demand, place });
    }

    /// A task goes, or would.
    pub(in crate::planning) fn take(&mut self, arn: &TaskArn) {
        if let Some(Placed { demand, place, .. }) = self.tasks.remove(arn) {
            self.change(place, &demand, false);
        }
    }

    fn change(&mut self, (group, site): Place, demand: &Demand<'a>, comes: bool) {
        let count = |tasks: &mut u32| *tasks = if comes { *tasks + 1 } else { tasks.saturating_sub(1) };
        let group = &mut self.groups[group];
        for domain in group.domains.iter() {
            count(&mut self.crowds[*domain]);
        }
        count(&mut self.placed);
        let site = &mut group.sites[site];
        let before = (site.tasks, site.most(self.limit));
        count(&mut site.tasks);
        count(&mut site.held);
        site.holding.change(demand, comes);
        site.fitting = how_many_fit(&site.holding, site.held, &self.demand, site.limit);
        let after = (site.tasks, site.most(self.limit));
        exchange(&mut group.alike, before, after);
    }

    /// What is missing of a balanced arrangement of its tasks: how many are misplaced.
    pub(in crate::planning) fn missing(&self) -> u32 {
        self.tree(|group| self.domains(&group.alike)).missing(self.placed)
    }

    /// What is missing of as many tasks as there are, if those that are put there stay and as many others go.
    pub(super) fn missing_after(&self, put: &[Place]) -> u32 {
        let mut extra: BTreeMap<Place, u32> = BTreeMap::new();
        for place in put {
            *extra.entry(*place).or_default() += 1;
        }
        let mut groups: Vec<BTreeMap<(u32, u32), u32>> = self.groups.iter().map(|group| group.alike.clone()).collect();
        for ((group, site), more) in extra {
            let site = &self.groups[group].sites[site];
            let before = (site.tasks, site.most(self.limit));
            exchange(&mut groups[group], before, (before.0 + more, before.1));
        }
        let mut groups = groups.iter();
        self.tree(|_| groups.next().map(|alike| self.domains(alike)).unwrap_or_default()).missing(self.placed)
    }

    /// The domains of the last level in one of the level before, by how many are alike.
    fn domains(&self, alike: &BTreeMap<(u32, u32), u32>) -> Vec<Domain<()>> {
        let each = alike.iter().map(|((tasks, most), number)| Domain::alike_last((), *tasks, *most, *number));
        if self.by_instance {
            return each.collect();
        }
        let sum = |of: fn(&(u32, u32)) -> u32| {
            alike.iter().map(|(site, number)| of(site).saturating_mul(*number)).fold(0, u32::saturating_add)
        };
        vec![Domain::last((), sum(|(tasks, _)| *tasks), sum(|(_, most)| *most), 0)]
    }

    /// A balanced arrangement of so many tasks with the fewest missing, by the first place of each domain of the last level.
    pub(super) fn arrange(&self, total: u32) -> Vec<(Place, u32)> {
        self.tree_of_places().arrange(total)
    }

    /// The same of as many tasks as there are, where each domain of the first level keeps as many as it has.
    pub(super) fn arrange_within(&self) -> Vec<(Place, u32)> {
        let tree = self.tree_of_places();
        tree.arrange_within_as(&tree)
    }

    /// Each domain of the last level, by its first place.
    fn tree_of_places(&self) -> Domain<Place> {
        let mut number = 0;
        let domains = |group: &Group<'a>| {
            let sites = group.sites.iter().enumerate().map(|(place, site)| {
                let preference = if site.is_away { u64::MAX } else { site.fullness() };
                Domain::last((number, place), site.tasks, site.most(self.limit), preference)
            });
            let domains = if self.by_instance {
                sites.collect()
            } else {
                let whole = sites.reduce(|mut whole, site| {
                    whole.join(&site);
                    whole
                });
                whole.into_iter().collect()
            };
            number += 1;
            domains
        };
        self.tree(domains)
    }

    fn tree<Id: Clone>(&self, mut last: impl FnMut(&Group<'a>) -> Vec<Domain<Id>>) -> Domain<Id> {
        let by_path = self.groups.iter().map(|group| (group.path.to_vec(), last(group)));
        nest(by_path.collect(), self.by_instance)
    }

    /// Whether the container instance is the last level.
    pub(super) fn is_by_instance(&self) -> bool {
        self.by_instance
    }

    /// The number of the domain of the last level that a place lies in.
    pub(super) fn leaf(&self, (group, site): Place) -> usize {
        self.groups[group].first_leaf + if self.by_instance { site } else { 0 }
    }

    /// How many of these there are.
    pub(super) fn leaves(&self) -> usize {
        let of_last = |group: &Group<'a>| if self.by_instance { group.sites.len() } else { 1 };
        self.groups.last().map_or(0, |group| group.first_leaf + of_last(group))
    }

    /// The tasks in each domain of the last level, by its number.
    pub(super) fn tasks_by_leaf(&self) -> Vec<u32> {
        let mut tasks = vec![0; self.leaves()];
        for place in self.places() {
            tasks[self.leaf(place)] += self.site(place).tasks;
        }
        tasks
    }

    /// Whether two places lie in the same domain of the level before the last.
    pub(super) fn is_beside(&self, one: Place, other: Place) -> bool {
        let [one, other] = [one, other].map(|(group, _)| &self.groups[group].path[..]);
        let levels = if self.by_instance { one.len() } else { one.len().saturating_sub(1) };
        one[..levels] == other[..levels]
    }

    /// All places.
    fn places(&self) -> impl Iterator<Item = Place> {
        let of_group = |(number, group): (usize, &Group<'a>)| (0..group.sites.len()).map(move |site| (number, site));
        self.groups.iter().enumerate().flat_map(of_group)
    }

    /// Those with free capacity for one more task.
    pub(super) fn with_room(&self) -> impl Iterator<Item = Place> {
        self.places().filter(|place| self.site(*place).fitting > 0)
    }

    /// What is at a place.
    pub(super) fn site(&self, (group, site): Place) -> &Site<'a> {
        &self.groups[group].sites[site]
    }

    /// The domain of the first level that a place lies in; none where there is no level at all.
    pub(super) fn first_domain(&self, place: Place) -> Option<FirstDomain> {
        let above = self.groups[place.0].domains.first().map(|domain| FirstDomain::Above(*domain));
        above.or_else(|| self.by_instance.then(|| FirstDomain::Instance(self.leaf(place))))
    }

    /// How many domains of the first level there are, as far as they are told apart.
    pub(super) fn first_domains(&self) -> usize {
        let above: BTreeSet<_> = self.groups.iter().filter_map(|group| group.domains.first()).collect();
        if above.is_empty() && self.by_instance { self.leaves() } else { above.len() }
    }
}

/// A domain of the first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FirstDomain {
    /// One above the instance, by its number.
    Above(usize),
    /// A container instance, by the number of its domain.
    Instance(usize),
}

/// One site is no longer like those, but like these.
fn exchange(alike: &mut BTreeMap<(u32, u32), u32>, before: (u32, u32), after: (u32, u32)) {
    if let Some(number) = alike.get_mut(&before) {
        *number -= 1;
        if *number == 0 {
            alike.remove(&before);
        }
    }
    *alike.entry(after).or_default() += 1;
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{imbalance, model::Cluster, planner, testing};

    /// Asks something of service `web` as it is drawn, which is about at most `more` further tasks.
    pub(in crate::planning::spread) fn ask<Answer>(
        drawing: &str,
        more: usize,
        ask: impl FnOnce(Layout<'_>) -> Answer,
    ) -> Answer {
        ask_of(&testing::cluster(drawing), "web", more, ask).unwrap()
    }

    pub(in crate::planning::spread) fn ask_of<Answer>(
        cluster: &Cluster,
        service: &str,
        more: usize,
        ask: impl FnOnce(Layout<'_>) -> Answer,
    ) -> Option<Answer> {
        let index = Index::new(cluster);
        let ledger = Occupancy::read(&index);
        let service = cluster.services.get(&service.into())?;
        Layout::of(&ledger, &index, &mut Eligible::default(), service, more).map(ask)
    }

    impl Layout<'_> {
        /// What is so of each site, zone by zone.
        pub(in crate::planning::spread) fn shown(&self, of: impl Fn(&Site<'_>) -> String) -> String {
            let group = |group: &Group<'_>| {
                let sites: Vec<String> = group.sites.iter().map(&of).collect();
                format!("{}: {}", group.path.join("/"), sites.join(" "))
            };
            self.groups.iter().map(group).collect::<Vec<_>>().join(", ")
        }
    }

    /// The tasks on each site, zone by zone: `a: 3 1, b: 0 0`.
    fn shown(layout: &Layout<'_>) -> String {
        layout.shown(|site| site.tasks.to_string())
    }

    #[test]
    fn a_layout_has_a_group_for_each_path_of_domains_and_changes_with_its_tasks() {
        ask("a i-1 web web web\na i-2 web\nb i-3\nb i-4", 2, |mut layout| {
            assert_eq!((shown(&layout).as_str(), layout.missing()), ("a: 3 1, b: 0 0", 2));
            let task = layout.tasks.keys().next().unwrap().clone();
            layout.put("new".into(), (1, 0));
            layout.take(&task);
            assert_eq!((shown(&layout).as_str(), layout.missing()), ("a: 2 1, b: 1 0", 1));
            layout.take(&"new".into());
            assert_eq!(shown(&layout), "a: 2 1, b: 0 0");
        });
    }

    #[test]
    fn of_idle_container_instances_only_those_are_sites_that_can_matter() {
        let idle: String = (0..50).map(|number| format!("\nb j-{number}")).collect();
        // One task, and two more: three with the most capacity, three with the least, three that are the least full.
        ask(&format!("a i-1 web{idle}"), 2, |layout| {
            assert_eq!(layout.groups.iter().map(|group| group.sites.len()).collect::<Vec<_>>(), [1, 6]);
        });
        // Too small for a task, or without capacity beside daemons: none of them takes part.
        ask("a i-1 web\na i-2 cpu=100\nservice web cpu=1000", 2, |layout| assert_eq!(shown(&layout), "a: 1"));
    }

    #[test]
    fn an_instance_takes_as_many_as_its_constraints_allow_and_more_once_some_have_gone() {
        let fitting = |layout: &Layout<'_>| layout.shown(|site| site.fitting.min(9).to_string());
        let two = "service web constraint=memberOf:runningTasksCount_<_3";
        ask(&format!("a i-1 web web web web\na i-2 api\na i-3\n{two}"), 4, |mut layout| {
            assert_eq!(fitting(&layout), "a: 0 2 3");
            layout.put("new".into(), (0, 1));
            assert_eq!(fitting(&layout), "a: 0 1 3");
            for task in layout.tasks.keys().cloned().collect::<Vec<_>>() {
                layout.take(&task);
            }
            assert_eq!(fitting(&layout), "a: 3 2 3");
        });
    }

    #[test]
    fn tasks_on_several_capacity_providers_have_no_layout() {
        let cluster = testing::cluster("a i-1 web\na i-2\nservice api");
        assert!(ask_of(&cluster, "api", 1, |_| ()).is_none(), "without a task");
        assert!(ask_of(&cluster, "web", 1, |_| ()).is_some());
    }

    proptest! {
        /// The measure goes through all container instances of the cluster; the layout holds a few of them.
        #[test]
        fn as_many_are_missing_as_are_measured(drawing in planner::tests::drawing()) {
            let cluster = testing::cluster(&drawing);
            for name in cluster.services.keys() {
                let measured = imbalance::misplaced(&cluster, name);
                if Levels::of(&cluster.services[name]).is_ok()
                    && let Some(missing) = ask_of(&cluster, name.as_str(), 1, |layout| layout.missing())
                {
                    prop_assert_eq!(missing, measured, "{}", name);
                }
            }
        }

        #[test]
        fn what_comes_and_goes_leaves_it_as_it_was(drawing in planner::tests::drawing(), number in 1..6_u32) {
            let cluster = testing::cluster(&drawing);
            for name in cluster.services.keys() {
                let back = ask_of(&cluster, name.as_str(), 6, |layout| {
                    let mut changed = layout.clone();
                    let places = changed.predict(number, Ties::MostFree);
                    let foreseen = changed.missing_after(&places);
                    let placed = changed.placed;
                    for (number, place) in places.iter().enumerate() {
                        changed.put(format!("new/{number}").as_str().into(), *place);
                    }
                    // What is asked of a change that is not made is what is so once it is made.
                    let made = changed.tree(|group| changed.domains(&group.alike)).missing(placed);
                    for number in 0..places.len() {
                        changed.take(&format!("new/{number}").as_str().into());
                    }
                    let same = |one: &Layout<'_>, other: &Layout<'_>| {
                        shown(one) == shown(other) && one.crowds == other.crowds && one.placed == other.placed
                            && one.groups.iter().zip(&other.groups).all(|(one, other)| {
                                one.alike == other.alike
                                    && one.sites.iter().zip(&other.sites).all(|(one, other)| {
                                        one.holding == other.holding && one.fitting == other.fitting && one.held == other.held
                                    })
                            })
                    };
                    (foreseen == made, same(&changed, &layout))
                });
                prop_assert!(back.is_none_or(|(foreseen, same)| foreseen && same), "{}", name);
            }
        }
    }
}
