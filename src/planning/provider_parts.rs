//! A service's tasks over its domains: one part for each capacity provider, since their tasks are spread apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    domains::Domain,
    model::{ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task, TaskDefinition, TaskStatus},
    placement::{
        Index, Levels, Requirement,
        occupancy::{Demand, Holding},
    },
    reason::Unmeasured,
};

/// A service's tasks on one capacity provider, or on none.
#[derive(Debug)]
pub struct ProviderPart<'a> {
    /// What they spread over.
    pub levels: Levels,
    /// What they ask.
    pub requirement: Requirement<'a>,
    /// The domains with the tasks that are there. Instances that are alike are not told apart.
    pub domains: Domain<()>,
    /// Tasks by the number of an eligible instance. Tasks elsewhere are ECS's own business.
    pub tasks: BTreeMap<usize, u32>,
    /// Tasks by instance whose agent is disconnected: they count where they are, and neither go nor get company.
    pub away: BTreeMap<&'a ContainerInstanceArn, u32>,
    /// The sum of both.
    pub placed: u32,
    shape: Rc<Shape>,
}

impl<'a> ProviderPart<'a> {
    /// How many instances are eligible, by the number of their path and by how many tasks each could hold beside daemons alone.
    pub fn eligible(&self) -> impl Iterator<Item = (usize, u32, u32)> + '_ {
        self.shape.instances.iter().map(|((path, _, most), number)| (*path, *most, *number))
    }

    /// The part's tasks on eligible instances, and these instances.
    pub fn placed<'b>(
        &'b self,
        index: &'b Index<'a>,
        service: &Service,
    ) -> impl Iterator<Item = (&'a ContainerInstance, &'a Task)> + 'b {
        let is_its = |task: &Task| is_placed(task) && task.capacity_provider.as_deref() == self.requirement.provider();
        let tasks = index.numbered_tasks_of(service).filter(move |(task, _)| is_its(task));
        tasks.filter_map(|(task, number)| {
            let number = number.filter(|number| self.tasks.contains_key(number))?;
            Some((index.instances[number], task))
        })
    }

    /// All instances that its tasks count on, each with how many.
    pub fn counts<'b>(&'b self, index: &'b Index<'a>) -> impl Iterator<Item = (&'a ContainerInstance, u32)> + 'b {
        self.tasks.iter().map(|(number, tasks)| (index.instances[*number], *tasks)).chain(self.away(index))
    }

    /// The instances whose agent is disconnected, each with its tasks of the part.
    pub fn away<'b>(&'b self, index: &'b Index<'a>) -> impl Iterator<Item = (&'a ContainerInstance, u32)> + 'b {
        let instances = &index.cluster.container_instances;
        self.away.iter().filter_map(|(arn, tasks)| Some((&**instances.get(*arn)?, *tasks)))
    }
}

/// Of a part what decides where its tasks may go; the domains, which take the most memory, are left out.
#[derive(Debug)]
pub struct Placements<'a> {
    /// What the tasks spread over.
    pub levels: Levels,
    /// What they ask.
    pub requirement: Requirement<'a>,
    /// Tasks by the number of an eligible instance.
    pub tasks: BTreeMap<usize, u32>,
}

impl<'a> ProviderPart<'a> {
    /// Without its domains.
    pub fn placements(self) -> Placements<'a> {
        let Self { levels, requirement, tasks, .. } = self;
        Placements { levels, requirement, tasks }
    }
}

/// A service with its parts.
pub struct ServiceParts<'a> {
    /// The service.
    pub service: &'a Service,
    /// One for each capacity provider.
    pub parts: Vec<ProviderPart<'a>>,
}

impl<'a> ServiceParts<'a> {
    /// Of a service whose tasks may be sent elsewhere; none where it can't be measured.
    pub fn new(index: &Index<'a>, service: &ServiceName) -> Option<Self> {
        let service = index.cluster.services.get(service)?;
        let definition = index.cluster.task_definitions.get(&service.task_definition);
        let levels = Levels::of_movable(service)?;
        let parts = provider_parts_over(&levels, index, service, definition, &mut Shapes::default()).ok()?;
        Some(Self { service, parts })
    }

    /// All its tasks.
    pub fn service_tasks<'b>(&'b self, index: &'b Index<'a>) -> impl Iterator<Item = &'a Task> + 'b {
        index.tasks_of(self.service).iter().copied()
    }
}

/// How many eligible instances each path of domains has: shared by all services that ask the same.
#[derive(Debug, Default)]
pub struct Shapes(BTreeMap<ShapeKey, Rc<Shape>>);

type ShapeKey = (Levels, Vec<super::model::PlacementConstraint>, [Option<String>; 2], BTreeSet<String>);

#[derive(Debug)]
struct Shape {
    eligible: Eligible,
    /// How many are alike, as long as none of them has a task.
    instances: BTreeMap<Alike, u32>,
}

/// What instances share that are alike: the number of their path, the tasks on each, and how many each could hold.
type Alike = (usize, u32, u32);

#[derive(Debug)]
enum Eligible {
    Classes(Vec<bool>),
    Instances(BTreeSet<usize>),
}

/// Whether a task counts as being where it is: its place is decided, and so is not its end.
pub fn is_placed(task: &Task) -> bool {
    matches!(task.last_status, TaskStatus::Running | TaskStatus::Activating | TaskStatus::Pending)
}

/// A service's parts, as its placement strategy asks them to be spread.
///
/// # Errors
/// Why the service can't be measured.
pub fn provider_parts<'a>(
    index: &Index<'a>,
    service: &Service,
    definition: Option<&'a TaskDefinition>,
    shapes: &mut Shapes,
) -> Result<Vec<ProviderPart<'a>>, Unmeasured> {
    provider_parts_over(&Levels::of(service)?, index, service, definition, shapes)
}

/// A service's parts over levels of our choice.
///
/// # Errors
/// A constraint that can't be understood.
pub fn provider_parts_over<'a>(
    levels: &Levels,
    index: &Index<'a>,
    service: &Service,
    definition: Option<&'a TaskDefinition>,
    shapes: &mut Shapes,
) -> Result<Vec<ProviderPart<'a>>, Unmeasured> {
    let mut tasks_by_provider: BTreeMap<Option<&str>, Counts<'a>> = BTreeMap::new();
    for (task, number) in index.numbered_tasks_of(service).filter(|(task, _)| is_placed(task)) {
        let counts = tasks_by_provider.entry(task.capacity_provider.as_deref()).or_default();
        match (number, &task.container_instance) {
            (Some(number), _) => *counts.usable.entry(number).or_default() += 1,
            (None, Some(other)) => *counts.others.entry(other).or_default() += 1,
            (None, None) => {}
        }
    }
    tasks_by_provider
        .into_iter()
        .map(|(provider, counts)| {
            let requirement = Requirement::new(service, definition, provider)?;
            Ok(part(index, service, levels.clone(), requirement, counts, shapes))
        })
        .collect()
}

/// How many tasks are on each instance.
#[derive(Default)]
struct Counts<'a> {
    /// On usable ones, by their numbers.
    usable: BTreeMap<usize, u32>,
    /// On the others.
    others: BTreeMap<&'a ContainerInstanceArn, u32>,
}

fn part<'a>(
    index: &Index<'a>,
    service: &Service,
    levels: Levels,
    requirement: Requirement<'a>,
    counts: Counts<'a>,
    shapes: &mut Shapes,
) -> ProviderPart<'a> {
    let new = || Rc::new(Shape::new(index, &levels, &requirement));
    // A task definition's own demands are nobody else's; the rest is shared by most services.
    let shape = if requirement.has_definition() {
        new()
    } else {
        let of_it = [requirement.provider(), requirement.own_group()].map(|it| it.map(str::to_owned));
        let key = (levels.clone(), service.placement_constraints.clone(), of_it, service.subnets.clone());
        Rc::clone(shapes.0.entry(key).or_insert_with(new))
    };
    let classes = index.domains(&levels);
    let mut alike = shape.instances.clone();
    let Counts { usable: mut tasks, others: mut away } = counts;
    tasks.retain(|instance, there| {
        let class = index.class_of(*instance);
        if !shape.admits(class, *instance) {
            return false;
        }
        let (path, most) = (classes.path_of(class), index.most(&requirement, *instance, 0));
        if let Some(number) = alike.get_mut(&(path, 0, most)) {
            *number = number.saturating_sub(1);
        }
        *alike.entry((path, *there, requirement.most_where(*there, most))).or_default() += 1;
        true
    });
    away.retain(|arn, _| {
        let instance = index.cluster.container_instances.get(*arn).filter(|instance| instance.is_away());
        instance.is_some_and(|instance| index.would_admit(&requirement, instance))
    });
    let mut others: BTreeMap<Vec<&str>, Vec<Domain<()>>> = BTreeMap::new();
    for (arn, there) in &away {
        let Some(instance) = index.cluster.container_instances.get(*arn) else { continue };
        let path = levels.path(instance);
        match classes.number_of(&path) {
            Some(path) => *alike.entry((path, *there, *there)).or_default() += 1,
            None => put(others.entry(path).or_default(), Domain::last((), *there, *there, 0), levels.instance),
        }
    }
    let mut known: Vec<Vec<Domain<()>>> = vec![Vec::new(); classes.paths.len()];
    for ((path, tasks, most), number) in alike {
        let domain = if levels.instance {
            Domain::alike_last((), tasks, most, number)
        } else {
            Domain::last((), tasks.saturating_mul(number), most.saturating_mul(number), 0)
        };
        put(&mut known[path], domain, levels.instance);
    }
    let known = classes.paths.iter().cloned().zip(known).filter(|(_, domains)| !domains.is_empty());
    let last = known.chain(others).collect();
    let placed = tasks.values().chain(away.values()).fold(0, |sum: u32, tasks| sum.saturating_add(*tasks));
    ProviderPart { domains: nest(last, levels.instance), levels, requirement, tasks, away, placed, shape }
}

/// Puts a domain of an instance beside others of its path; where instances are not told apart, into the one that they are.
pub fn put<Id: Clone>(domains: &mut Vec<Domain<Id>>, domain: Domain<Id>, tells_instances_apart: bool) {
    match domains.last_mut() {
        Some(same) if !tells_instances_apart => same.join(&domain),
        _ => domains.push(domain),
    }
}

/// How many more tasks of a service that ask that fit on a usable instance now.
pub fn how_many_fit(index: &Index<'_>, service: &Service, requirement: &Requirement<'_>, instance: usize) -> u32 {
    if requirement.limit() == 1 {
        let of_it = |task: &&Task| task.service.as_ref() == Some(&service.name);
        if index.tasks_on_number(instance).iter().any(of_it) {
            return 0;
        }
    }
    let demand = requirement.demand();
    if !index.instances[instance].remaining.holds(&demand.reserves) {
        return 0;
    }
    let fitting = holding(index, &demand, instance).how_many_fit(&demand);
    fitting.min(requirement.limit()).min(index.more_allowed(requirement, instance))
}

/// The part's domains with each instance told apart, and with other tasks on them: so many as `tasks` says of an instance and of
/// how many are there. Among equal choices the emptier instance gets more.
pub fn tree<'a>(
    index: &Index<'a>,
    part: &ProviderPart<'a>,
    tasks: &dyn Fn(&ContainerInstance, u32) -> u32,
) -> Domain<Vec<&'a str>> {
    let mut last: BTreeMap<Vec<&str>, Vec<Domain<Vec<&'a str>>>> = BTreeMap::new();
    let mut add = |instance: &'a ContainerInstance, there: u32, most: u32, preference: u64| {
        let domain = Domain::last(part.levels.leaf(instance), tasks(instance, there), most, preference);
        put(last.entry(part.levels.path(instance)).or_default(), domain, part.levels.instance);
    };
    for number in index.eligible(&part.requirement) {
        let (instance, there) = (index.instances[number], part.tasks.get(&number).copied().unwrap_or(0));
        add(instance, there, index.most(&part.requirement, number, there), fullness(instance));
    }
    for (instance, there) in part.away(index) {
        add(instance, there, there, u64::MAX);
    }
    nest(last, part.levels.instance)
}

/// How full an instance is, in millionths, by the resource that is reserved the most.
pub fn fullness(instance: &ContainerInstance) -> u64 {
    Holding::read(instance, None).fullness()
}

/// A usable instance for whoever asks that; its network interfaces are counted only where one is asked.
pub fn holding<'a>(index: &Index<'a>, demand: &Demand<'_>, instance: usize) -> Holding<'a> {
    Holding::read(index.instances[instance], demand.takes_interface.then(|| index.interfaces_on(instance)))
}

/// Puts domains of the last level under those of the levels before, by their paths.
pub fn nest<Id: Clone>(last: BTreeMap<Vec<&str>, Vec<Domain<Id>>>, instance_is_last: bool) -> Domain<Id> {
    // A path's last attribute is a domain itself; where it is the last level, its one domain stands for it.
    let mut nodes: BTreeMap<Vec<&str>, Domain<Id>> = last
        .into_iter()
        .filter_map(|(path, mut domains)| {
            let domain = if instance_is_last { Domain::level(domains) } else { domains.pop()? };
            Some((path, domain))
        })
        .collect();
    loop {
        let depth = nodes.keys().map(Vec::len).max().unwrap_or(0);
        if depth == 0 {
            return nodes.into_values().next().unwrap_or_else(|| Domain::level(Vec::new()));
        }
        let mut above: BTreeMap<Vec<&str>, Vec<Domain<Id>>> = BTreeMap::new();
        for (mut path, domain) in nodes {
            path.pop();
            above.entry(path).or_default().push(domain);
        }
        nodes = above.into_iter().map(|(path, domains)| (path, Domain::level(domains))).collect();
    }
}

impl Shape {
    fn new(index: &Index<'_>, levels: &Levels, requirement: &Requirement<'_>) -> Self {
        let domains = index.domains(levels);
        let mut instances: BTreeMap<Alike, u32> = BTreeMap::new();
        let mut admitted = vec![false; index.classes().len()];
        let mut one_by_one = BTreeSet::new();
        for class in index.eligible_classes(requirement) {
            let Some(first) = class.instances.first() else { continue };
            let alike = (domains.path_of(class.number), 0, index.most(requirement, *first, 0));
            *instances.entry(alike).or_default() += u32::try_from(class.instances.len()).unwrap_or(u32::MAX);
            admitted[class.number] = true;
            if !requirement.is_static() {
                one_by_one.extend(class.instances.iter().copied());
            }
        }
        let eligible =
            if requirement.is_static() { Eligible::Classes(admitted) } else { Eligible::Instances(one_by_one) };
        Self { eligible, instances }
    }

    fn admits(&self, class: usize, instance: usize) -> bool {
        match &self.eligible {
            Eligible::Classes(admitted) => admitted[class],
            Eligible::Instances(instances) => instances.contains(&instance),
        }
    }
}
