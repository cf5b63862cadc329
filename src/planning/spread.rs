//! Mode `spread`: where ECS will put a service's next tasks, which of its tasks should go, and how many moves help.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    domains::Domain,
    imbalance,
    model::{Cluster, ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task, TaskArn},
    parts::{self, Part, Shapes, fullness, parts_over, room},
    placement::{Index, Levels},
    reason::Unmeasured,
    several,
    tasks::Tasks,
    view,
};

/// The misplaced tasks of one service; nothing where it is not measured.
pub fn misplaced(cluster: &Cluster, service: &ServiceName) -> u32 {
    imbalance::misplaced(cluster, service)
}

/// An investment is an eighth of what is misplaced: it costs that many restarts more, and as many fewer rounds.
const INVESTMENT: u32 = 8;

/// Zones are fewer; a service that spreads over instances alone has as many domains as there are instances.
const MANY_DOMAINS: u32 = 6;

/// From here on are numbered the tasks that are foreseen only while something is tried out: a cluster may have others.
const FORESEEN_HERE: usize = 1 << 32;

/// Which tasks should go, so that of those that stay the fewest are misplaced, and on the way there each level of domains
/// stays as even as can be: one after another from the fullest domain, level by level; among equal ones from the fullest
/// instance, the youngest there. Never one that is spared, nor one that isn't ready or sits where ECS wouldn't place it.
///
/// ECS puts the next tasks into the emptiest zone. Where the next round would therefore cure less than it could, the victims are
/// taken as if what is missing were there already: then the zones that miss more are emptier by just that much, and fill first.
/// Where not even the next task would land in a zone in which one is missing, the victims are taken there first.
pub fn victims(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    number: u32,
) -> BTreeSet<TaskArn> {
    let cluster = &view::alone(cluster, service);
    let even = choose(cluster, service, tasks, spared, number, Order::Even);
    if number == 0 {
        return even;
    }
    let left = left_after_next(cluster, service, &even, number);
    if left > 0 {
        let expecting = choose(cluster, service, tasks, spared, number, Order::Expecting);
        if left_after_next(cluster, service, &expecting, number) < left && goes_on_after(cluster, service, &expecting) {
            return expecting;
        }
    }
    if goes_on_after(cluster, service, &even) {
        return even;
    }
    let needy = choose(cluster, service, tasks, spared, number, Order::Needy);
    if goes_on_after(cluster, service, &needy) { needy } else { even }
}

/// How many tasks, at most `most`, are worth starting on top now: each of them lands, by ECS's documented rules, where one
/// is missing, so that as many old ones can go and as many fewer are misplaced. Where none would, a few are worth starting
/// if after them the next ones do: see [`victims`].
pub fn worthwhile_surge(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, most: u32) -> u32 {
    let cluster = &*view::alone(cluster, service);
    let number = curing_surge(cluster, service, spared, most, Ties::MostRoom);
    let misplaced = misplaced(cluster, service);
    if number > 0 || misplaced == 0 || most == 0 {
        return number;
    }
    let investment = (misplaced / INVESTMENT).clamp(1, most);
    let (foreseen, new) = started(cluster, service, investment);
    let placed = u32::try_from(new.len()).unwrap_or(u32::MAX);
    if placed == 0 {
        return 0;
    }
    let spared = spared.union(&new).cloned().collect();
    let victims = choose(&foreseen, service, &Tasks::all_ready(&foreseen, service), &spared, placed, Order::Needy);
    if goes_on_after(&foreseen, service, &victims) { placed } else { 0 }
}

/// As [`worthwhile_surge`], or a few less where that spares a round: the last round can cure all that is left only if its tasks
/// fill the domains of the first level evenly, since in which of several that are equal ECS begins is not known.
pub fn paced_surge(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, most: u32) -> u32 {
    let cluster = &*view::alone(cluster, service);
    if several::is_shared_out(cluster, service) {
        return u32::try_from(several::starts(cluster, service, spared, most).len()).unwrap_or(u32::MAX);
    }
    let number = worthwhile_surge(cluster, service, spared, most);
    let misplaced = misplaced(cluster, service);
    if misplaced <= number {
        return number;
    }
    let domains = {
        let index = Index::new(cluster);
        View::new(&index, service).map_or(0, |view| view.domains(&index))
    };
    let is_next_the_last = |number: &u32| {
        let left = misplaced.saturating_sub(*number);
        (1..=most).contains(&left) && ends_with_next(cluster, service, spared, *number)
    };
    // Fewer of one than there are domains make it even again; where there are many, the search isn't worth its while.
    let fewest = if domains > MANY_DOMAINS { number } else { (number + 1).saturating_sub(domains).max(1) };
    (fewest..=number).rev().find(is_next_the_last).unwrap_or(number)
}

/// Whether after a round of `number` one more, whichever of equal instances ECS takes, cures all that is left.
fn ends_with_next(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, number: u32) -> bool {
    let (foreseen, new) = started(cluster, service, number);
    let spared: BTreeSet<TaskArn> = spared.union(&new).cloned().collect();
    let tasks = Tasks::all_ready(&foreseen, service);
    let foreseen = without(&foreseen, &victims(&foreseen, service, &tasks, &spared, number));
    let left = misplaced(&foreseen, service);
    [Ties::MostRoom, Ties::LeastRoom]
        .into_iter()
        .all(|ties| curing_surge(&foreseen, service, &spared, left, ties) == left)
}

/// The cluster with the service's next tasks running where ECS will put them, and these tasks.
fn started(cluster: &Cluster, service: &ServiceName, number: u32) -> (Cluster, BTreeSet<TaskArn>) {
    let mut foreseen = cluster.clone();
    let mut new = BTreeSet::new();
    for (number, place) in placements(cluster, service, number).iter().enumerate() {
        if let Some(task) = view::foreseen(cluster, service, place, FORESEEN_HERE + number) {
            new.insert(task.arn.clone());
            view::insert(&mut foreseen, task);
        }
    }
    (foreseen, new)
}

/// How many of the next tasks land where one is missing.
fn curing_surge(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, most: u32, ties: Ties) -> u32 {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return 0 };
    let before: u32 = view.parts.iter().map(|part| part.domains.missing(part.placed)).sum();
    let movable = view.service_tasks(&index).filter(|task| !spared.contains(&task.arn)).count();
    let most = most.min(before).min(u32::try_from(movable).unwrap_or(u32::MAX));
    let foreseen = view.predict(&index, most, ties);
    let cures_all = |number: u32| {
        let mut placed = BTreeMap::new();
        for place in foreseen.iter().take(number as usize) {
            *placed.entry(place.clone()).or_default() += 1;
        }
        let after: u32 = view.parts.iter().map(|part| missing_after(&index, part, &placed)).sum();
        before.saturating_sub(after) >= number
    };
    // As long as each new task cures one misplaced task; beyond that a restart would be for nothing. If so many do, fewer do.
    let (mut number, mut too_many) = (0, u32::try_from(foreseen.len()).unwrap_or(u32::MAX).saturating_add(1));
    while too_many - number > 1 {
        let middle = number + (too_many - number) / 2;
        *(if cures_all(middle) { &mut number } else { &mut too_many }) = middle;
    }
    number
}

/// How many of the misplaced tasks that a round of `number` could cure, once these are gone, it will not.
fn left_after_next(cluster: &Cluster, service: &ServiceName, gone: &BTreeSet<TaskArn>, number: u32) -> u32 {
    let foreseen = without(cluster, gone);
    let most = misplaced(&foreseen, service).min(number);
    most - curing_surge(&foreseen, service, &BTreeSet::new(), most, Ties::MostRoom)
}

fn without(cluster: &Cluster, gone: &BTreeSet<TaskArn>) -> Cluster {
    let mut foreseen = cluster.clone();
    for task in gone {
        view::remove(&mut foreseen, task);
    }
    foreseen
}

/// Whether nothing is misplaced once these are gone, or the next task will land where one is missing.
fn goes_on_after(cluster: &Cluster, service: &ServiceName, gone: &BTreeSet<TaskArn>) -> bool {
    let foreseen = without(cluster, gone);
    misplaced(&foreseen, service) == 0 || next_one_cures(&foreseen, service)
}

/// Whether the next task cures a misplaced one, whichever of several equal instances ECS takes: that choice is its own.
fn next_one_cures(cluster: &Cluster, service: &ServiceName) -> bool {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return false };
    let Some(part) = view.largest_part() else { return false };
    let spots = spots(&index, view.service, part);
    let Some(best) = next_spot(&spots, Ties::MostRoom) else { return false };
    let equals = spots.iter().filter(|spot| spot.room > 0 && spot.tasks == spots[best].tasks);
    // Instances of one zone that hold equally many are as good as one another; one of each zone tells.
    let one_of_each: BTreeMap<&[&str], &Spot<'_>> =
        equals.map(|spot| (&spot.path[..spot.path.len().saturating_sub(1)], spot)).collect();
    let before = part.domains.missing(part.placed);
    one_of_each.values().all(|spot| {
        let placed = BTreeMap::from([(spot.instance.arn.clone(), 1)]);
        missing_after(&index, part, &placed) < before
    })
}

/// From where victims are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The fullest domain.
    Even,
    /// The domain of the first level that is the fullest once it has what is missing there.
    Expecting,
    /// The domain of the first level in which the most tasks are missing.
    Needy,
}

fn choose(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    number: u32,
    order: Order,
) -> BTreeSet<TaskArn> {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return BTreeSet::new() };
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut crowds = Crowds::default();
    for part in &view.parts {
        let total = part.placed.saturating_sub(view.share_of(part, number));
        let balance = Balance::of(&index, part, total);
        let mut of_part: Vec<Candidate<'_>> = Vec::new();
        for (instance, tasks) in part.away(&index) {
            let leaf = part.levels.leaf(instance);
            for _ in 0..tasks {
                crowds.join(&leaf);
            }
        }
        for task in tasks.all.values().filter(|task| task.capacity_provider.as_deref() == part.requirement.provider()) {
            let Some(instance) = task.container_instance.as_ref().and_then(|arn| part.instance(&index, arn)) else {
                continue;
            };
            let mut candidate = Candidate::new(task, instance, part, &mut crowds);
            let need = candidate.leaf.first().and_then(|domain| balance.needs.get(domain)).copied().unwrap_or(0);
            match order {
                Order::Even => {}
                Order::Expecting => candidate.expected = need,
                Order::Needy => candidate.need = need,
            }
            if tasks.ready.contains(&task.arn) && !spared.contains(&task.arn) {
                of_part.push(candidate);
            }
        }
        mark_surplus(&mut of_part, &balance.surplus);
        candidates.extend(of_part);
    }
    let mut victims = BTreeSet::new();
    while victims.len() < number as usize {
        let best = (0..candidates.len()).max_by(|a, b| candidates[*a].order(&candidates[*b], &crowds));
        let Some(best) = best else { break };
        let victim = candidates.swap_remove(best);
        crowds.leave(&victim.domains);
        victims.insert(victim.task.arn.clone());
    }
    victims
}

/// Where ECS will put the service's next tasks, by its documented rules: of the instances that may take one and have room,
/// those in the domain with the fewest tasks of the service, level by level. Fewer than asked where room runs out.
/// Which of several equal ones it takes is not documented; here it is the one with the most room, then by ARN.
pub fn placements(cluster: &Cluster, service: &ServiceName, number: u32) -> Vec<ContainerInstanceArn> {
    let index = Index::new(cluster);
    let Some(view) = View::new(&index, service) else { return Vec::new() };
    view.predict(&index, number, Ties::MostRoom)
}

/// A service with its parts.
pub(super) struct View<'a> {
    pub(super) service: &'a Service,
    pub(super) parts: Vec<Part<'a>>,
}

impl<'a> View<'a> {
    pub(super) fn new(index: &Index<'a>, service: &ServiceName) -> Option<Self> {
        let service = index.cluster.services.get(service)?;
        let definition = index.cluster.task_definitions.get(&service.task_definition);
        let levels = match Levels::of(service) {
            Ok(levels) => levels,
            // Nothing of it is misplaced, but its tasks may be sent elsewhere for other reasons.
            Err(Unmeasured::Binpack | Unmeasured::Random) => Levels::none(),
            Err(_) => return None,
        };
        let parts = parts_over(&levels, index, service, definition, &mut Shapes::default()).ok()?;
        Some(Self { service, parts })
    }

    pub(super) fn service_tasks<'b>(&'b self, index: &'b Index<'a>) -> impl Iterator<Item = &'a Task> + 'b {
        index.tasks_of(self.service).iter().copied()
    }

    /// How many of `number` victims belong to a part: all, where there is but one; else by its share of the tasks.
    fn share_of(&self, part: &Part<'_>, number: u32) -> u32 {
        let all: u32 = self.parts.iter().map(|part| part.placed).sum();
        let share = u64::from(number) * u64::from(part.placed) / u64::from(all.max(1));
        if self.parts.len() == 1 { number } else { u32::try_from(share).unwrap_or(number) }
    }

    /// New tasks go to the provider that is the furthest below its share; the largest part is the best guess.
    fn largest_part(&self) -> Option<&Part<'a>> {
        self.parts.iter().max_by_key(|part| part.placed)
    }

    /// The instances of the next so many tasks.
    fn predict(&self, index: &Index<'a>, number: u32, ties: Ties) -> Vec<ContainerInstanceArn> {
        let Some(part) = self.largest_part() else { return Vec::new() };
        let spots = spots(index, self.service, part);
        fill_by(spots, number, ties).into_iter().map(|instance| instance.arn.clone()).collect()
    }

    /// How many domains of the first level the largest part has.
    fn domains(&self, index: &Index<'a>) -> u32 {
        let Some(part) = self.largest_part() else { return 0 };
        let spots = spots(index, self.service, part);
        let domains: BTreeSet<&str> = spots.iter().filter_map(|spot| spot.path.first().copied()).collect();
        u32::try_from(domains.len()).unwrap_or(u32::MAX)
    }
}

/// Where the next so many tasks go, if they can go to these only.
pub(super) fn fill(spots: Vec<Spot<'_>>, number: u32) -> Vec<&ContainerInstance> {
    fill_by(spots, number, Ties::MostRoom)
}

fn fill_by(mut spots: Vec<Spot<'_>>, number: u32, ties: Ties) -> Vec<&ContainerInstance> {
    let mut placed = Vec::new();
    while placed.len() < number as usize {
        let Some(chosen) = next_spot(&spots, ties) else { break };
        take(&mut spots, chosen);
        placed.push(spots[chosen].instance);
    }
    placed
}

/// Puts a task on a spot.
pub(super) fn take(spots: &mut [Spot<'_>], chosen: usize) {
    spots[chosen].room -= 1;
    let path = spots[chosen].path.clone();
    for spot in spots {
        let shared = spot.path.iter().zip(&path).take_while(|(one, other)| one == other).count();
        for tasks in &mut spot.tasks[..shared] {
            *tasks += 1;
        }
    }
}

/// The spots of which ECS takes one for the next task; which one is its own choice.
pub(super) fn equal_spots(spots: &[Spot<'_>]) -> Vec<usize> {
    let with_room = || (0..spots.len()).filter(|spot| spots[*spot].room > 0);
    let least = with_room().map(|spot| &spots[spot].tasks).min();
    with_room().filter(|spot| Some(&spots[*spot].tasks) == least).collect()
}

/// An instance that may take a task.
#[derive(Clone)]
pub(super) struct Spot<'a> {
    pub(super) instance: &'a ContainerInstance,
    /// Its domains, level by level.
    path: Vec<&'a str>,
    /// The service's tasks in each of these.
    tasks: Vec<u32>,
    pub(super) room: u32,
}

pub(super) fn spots<'a>(index: &Index<'a>, service: &Service, part: &Part<'a>) -> Vec<Spot<'a>> {
    let mut tasks_by_path: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    let eligible = index.eligible(&part.requirement);
    for instance in &eligible {
        let tasks = part.tasks.get(&instance.arn).copied().unwrap_or(0);
        let path = part.levels.leaf(instance);
        for depth in 0..path.len() {
            *tasks_by_path.entry(path[..=depth].to_vec()).or_default() += tasks;
        }
    }
    for (instance, tasks) in part.away(index) {
        let path = part.levels.leaf(instance);
        for depth in 0..path.len() {
            *tasks_by_path.entry(path[..=depth].to_vec()).or_default() += tasks;
        }
    }
    eligible
        .into_iter()
        .map(|instance| {
            let path = part.levels.leaf(instance);
            let tasks = (0..path.len()).map(|depth| tasks_by_path.get(&path[..=depth]).copied().unwrap_or(0)).collect();
            Spot { instance, path, tasks, room: room(index, service, &part.requirement, instance) }
        })
        .collect()
}

/// Which of several instances that are equal for ECS is taken to be the next; see [`placements`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ties {
    /// The one with the most room, then by ARN.
    MostRoom,
    /// The other way round: what holds both ways hardly hangs on it.
    LeastRoom,
}

fn next_spot(spots: &[Spot<'_>], ties: Ties) -> Option<usize> {
    (0..spots.len()).filter(|index| spots[*index].room > 0).min_by(|a, b| {
        let (a, b) = (&spots[*a], &spots[*b]);
        let by_room = (b.room, &a.instance.arn).cmp(&(a.room, &b.instance.arn));
        let by_room = if ties == Ties::MostRoom { by_room } else { by_room.reverse() };
        a.tasks.cmp(&b.tasks).then(by_room)
    })
}

/// What is missing of the part's tasks, if those that are placed stay and as many others go.
fn missing_after(index: &Index<'_>, part: &Part<'_>, placed: &BTreeMap<ContainerInstanceArn, u32>) -> u32 {
    let extra = |arn: &ContainerInstanceArn| placed.get(arn).copied().unwrap_or(0);
    tree(index, part, &extra).missing(part.placed)
}

/// A part's tasks against a balanced arrangement.
struct Balance<'a> {
    /// How many each domain of the last level has too many.
    surplus: BTreeMap<Vec<&'a str>, u32>,
    /// How many are missing in each domain of the first level.
    needs: BTreeMap<&'a str, u32>,
}

impl<'a> Balance<'a> {
    /// Against a balanced arrangement of `total` tasks.
    fn of(index: &Index<'a>, part: &Part<'a>, total: u32) -> Self {
        let have = tasks_by_leaf(index, part);
        let wanted: BTreeMap<Vec<&str>, u32> = tree(index, part, &|_| 0).arrange(total).into_iter().collect();
        let mut needs: BTreeMap<&str, u32> = BTreeMap::new();
        for (leaf, wanted) in &wanted {
            let missing = wanted.saturating_sub(have.get(leaf).copied().unwrap_or(0));
            if let (Some(domain), true) = (leaf.first(), missing > 0) {
                *needs.entry(domain).or_default() += missing;
            }
        }
        let surplus = have
            .into_iter()
            .map(|(leaf, tasks)| {
                let surplus = tasks.saturating_sub(wanted.get(&leaf).copied().unwrap_or(0));
                (leaf, surplus)
            })
            .collect();
        Self { surplus, needs }
    }
}

/// The part's tasks by domain of the last level.
pub(super) fn tasks_by_leaf<'a>(index: &Index<'a>, part: &Part<'a>) -> BTreeMap<Vec<&'a str>, u32> {
    let mut tasks_by_leaf: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    for (arn, tasks) in part.tasks.iter().chain(&part.away) {
        if let Some(instance) = index.cluster.container_instances.get(*arn) {
            *tasks_by_leaf.entry(part.levels.leaf(instance)).or_default() += tasks;
        }
    }
    tasks_by_leaf
}

/// The part's domains with each instance told apart, and `extra` tasks on them.
pub(super) fn tree<'a>(
    index: &Index<'a>,
    part: &Part<'a>,
    extra: &dyn Fn(&ContainerInstanceArn) -> u32,
) -> Domain<Vec<&'a str>> {
    parts::tree(index, part, &|instance, there| there.saturating_add(extra(&instance.arn)))
}

/// How many of a service's tasks are in each domain, by numbers that are given to domains as they are met.
#[derive(Default)]
struct Crowds<'a> {
    numbers: BTreeMap<Vec<&'a str>, usize>,
    tasks: Vec<u32>,
}

impl<'a> Crowds<'a> {
    /// Counts a task in the domains of its path, and gives their numbers.
    fn join(&mut self, path: &[&'a str]) -> Vec<usize> {
        (1..=path.len())
            .map(|depth| {
                let next = self.tasks.len();
                let number = *self.numbers.entry(path[..depth].to_vec()).or_insert(next);
                if number == next {
                    self.tasks.push(0);
                }
                self.tasks[number] += 1;
                number
            })
            .collect()
    }

    fn leave(&mut self, domains: &[usize]) {
        for domain in domains {
            self.tasks[*domain] -= 1;
        }
    }
}

/// A task that may go.
struct Candidate<'a> {
    task: &'a Task,
    leaf: Vec<&'a str>,
    domains: Vec<usize>,
    fullness: u64,
    /// Whether its domain has too many, and it is one of those.
    is_surplus: bool,
    /// How many tasks are missing in its domain of the first level, where that counts before all else.
    need: u32,
    /// The same, where they count as being there.
    expected: u32,
}

impl<'a> Candidate<'a> {
    fn new(task: &'a Task, instance: &'a ContainerInstance, part: &Part<'_>, crowds: &mut Crowds<'a>) -> Self {
        let leaf = part.levels.leaf(instance);
        let domains = crowds.join(&leaf);
        Self { task, leaf, domains, fullness: fullness(instance), is_surplus: false, need: 0, expected: 0 }
    }

    /// Who goes first is the greatest: of the surplus, from the fullest domain level by level, the fullest instance, the
    /// youngest task; at last by ARN.
    fn order(&self, other: &Self, crowds: &Crowds<'_>) -> Ordering {
        let crowd = |candidate: &Self| {
            let mut crowd: Vec<u32> = candidate.domains.iter().map(|domain| crowds.tasks[*domain]).collect();
            if let Some(first) = crowd.first_mut() {
                *first += candidate.expected;
            }
            crowd
        };
        (self.is_surplus.cmp(&other.is_surplus))
            .then_with(|| self.need.cmp(&other.need))
            .then_with(|| crowd(self).cmp(&crowd(other)))
            .then_with(|| self.age_order(other))
    }

    fn age_order(&self, other: &Self) -> Ordering {
        (self.fullness.cmp(&other.fullness))
            .then_with(|| self.task.started_at.cmp(&other.task.started_at))
            .then_with(|| other.task.arn.cmp(&self.task.arn))
    }
}

/// Marks the tasks that make up each domain's surplus.
fn mark_surplus(candidates: &mut [Candidate<'_>], surplus: &BTreeMap<Vec<&str>, u32>) {
    candidates.sort_by(|a, b| b.age_order(a));
    let mut left = surplus.clone();
    for candidate in candidates.iter_mut() {
        if let Some(left) = left.get_mut(candidate.leaf.as_slice()).filter(|left| **left > 0) {
            *left -= 1;
            candidate.is_surplus = true;
        }
    }
}
