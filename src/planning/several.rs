//! A service over several capacity providers: how many tasks are worth starting on top, and who goes then.
//!
//! ECS chooses the capacity provider of each task by `base` and `weight`. So each provider keeps as many tasks as it has: of its old
//! and new tasks together as many go as it got. Whichever provider ECS chooses, `base` and `weight` hold as they held before; and a
//! new task that landed where it helps nothing goes itself.
//!
//! An example: provider od has the container instances of zone a, with `2 0` tasks, spot those of zone b, with `1 1`; their weights
//! are equal. ECS puts one of two new tasks on od's empty instance, the other on one of spot's. Then one of the two tasks on od's
//! full instance goes, and spot's new task: one move, and one start in vain.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    model::{Cluster, ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task, TaskArn, TaskDefinition},
    next_task::{self, Crowds, Spot},
    placement::{Index, Levels, Requirement},
    provider_parts::{ProviderPart, Shapes, provider_parts},
    providers,
    sharing::{self, Cell},
    tasks::Tasks,
};

/// A round is worth it as long as it starts at most so many tasks in vain for each that moves.
const IN_VAIN_PER_MOVE: u32 = 4;

/// Where new tasks go: the capacity provider of each, and its container instance.
pub type Starts = Vec<(String, ContainerInstanceArn)>;

/// Whether a service's tasks are on several capacity providers, or may be.
pub fn is_shared_out(cluster: &Cluster, service: &ServiceName) -> bool {
    let tasks = tasks_of(cluster, service);
    cluster.services.get(service).is_some_and(|it| providers::several(it, &tasks).is_some())
}

/// A service's tasks.
pub fn tasks_of<'a>(cluster: &'a Cluster, service: &ServiceName) -> Vec<&'a Task> {
    cluster.tasks.values().map(|task| &**task).filter(|task| task.service.as_ref() == Some(service)).collect()
}

/// How many of its tasks a round of a service may start, where its owner's settings allow `surge`: over several capacity providers
/// enough that each of them comes its turn, if that is not too many.
pub fn at_once(service: &Service, tasks: &[&Task], surge: u32) -> u32 {
    if providers::several(service, tasks).is_none() {
        return surge;
    }
    let weights = || service.capacity_provider_strategy.iter().map(|share| share.weight).filter(|weight| *weight > 0);
    let divisor = weights().fold(0, greatest_common_divisor).max(1);
    surge.max((weights().sum::<u32>() / divisor).min(1 + IN_VAIN_PER_MOVE))
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// Where the next tasks land, by ECS's documented rules, as many of at most `most` as are worth starting now; none where no old
/// task could go for any of them. None of its tasks that are `barred` can go.
pub fn starts(cluster: &Cluster, service: &ServiceName, barred: &BTreeSet<TaskArn>, most: u32) -> Starts {
    let index = Index::new(cluster);
    cluster.services.get(service).map(|it| worthwhile(&index, it, barred, most)).unwrap_or_default()
}

/// The same, of a cluster that is indexed already.
pub fn worthwhile(index: &Index<'_>, service: &Service, barred: &BTreeSet<TaskArn>, most: u32) -> Starts {
    let definition = index.cluster.task_definitions.get(&service.task_definition);
    let Ok(parts) = provider_parts(index, service, definition, &mut Shapes::default()) else { return Starts::new() };
    let (Ok(levels), Some(mut next)) = (Levels::of(service), Next::of(index, service, definition, &parts)) else {
        return Starts::new();
    };
    let mut places = Vec::new();
    while places.len() < most as usize {
        let Some(place) = next.place() else { break };
        places.push(place);
    }
    let is_old = |_: &Task| true;
    let may_go = |task: &Task| !barred.contains(&task.arn);
    let before: Vec<Vec<Cell>> = parts.iter().map(|part| cells_to_go(index, service, part, &is_old, &may_go)).collect();
    let before_it = misplaced(&before);
    // How many fewer are misplaced after so many starts, and how many tasks have moved.
    let cured = |number: usize| {
        let mut cells = before.clone();
        for (provider, instance) in &places[..number] {
            let of_it = parts.iter().position(|part| part.requirement.provider() == Some(*provider));
            let Some(part) = of_it else { continue };
            let path = names(&levels.leaf(instance));
            let known = cells[part].iter().position(|cell| cell.path == path);
            let cell = known.unwrap_or_else(|| {
                let number = index.number_of(&instance.arn);
                let most = number.map_or(0, |number| index.most(&parts[part].requirement, number, 0));
                cells[part].push(Cell { path, tasks: 0, most, within: 0..=0 });
                cells[part].len() - 1
            });
            let within = &mut cells[part][cell].within;
            *within = *within.start()..=within.end() + 1;
        }
        let (arranged, mut moved) = (sharing::arrange(&cells), 0);
        for (cells, arranged) in cells.iter_mut().zip(arranged) {
            for (cell, tasks) in cells.iter_mut().zip(arranged) {
                moved += tasks.saturating_sub(cell.tasks);
                cell.tasks = tasks;
            }
        }
        (before_it.saturating_sub(misplaced(&cells)), moved)
    };
    let (all, _) = cured(places.len());
    let (mut too_few, mut number) = (0, places.len());
    while all > 0 && number - too_few > 1 {
        let middle = too_few + (number - too_few) / 2;
        *(if cured(middle).0 < all { &mut too_few } else { &mut number }) = middle;
    }
    let (_, moved) = cured(number);
    let in_vain = u32::try_from(number).unwrap_or(u32::MAX).saturating_sub(moved);
    if all == 0 || in_vain > moved.saturating_mul(IN_VAIN_PER_MOVE) {
        return Starts::new();
    }
    let told = |(provider, instance): (&str, &ContainerInstance)| (provider.to_owned(), instance.arn.clone());
    places.into_iter().take(number).map(told).collect()
}

/// Who goes, so that each provider keeps as many tasks as it has of the `old` ones, and what stays of old and new tasks is as even as
/// can be with the fewest restarts. None that is `barred`, nor an old one that is not ready.
pub fn victims(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    old: &BTreeSet<TaskArn>,
    barred: &BTreeSet<TaskArn>,
    number: u32,
) -> BTreeSet<TaskArn> {
    let index = Index::new(cluster);
    let Some(service) = cluster.services.get(service) else { return BTreeSet::new() };
    let definition = cluster.task_definitions.get(&service.task_definition);
    let Ok(parts) = provider_parts(&index, service, definition, &mut Shapes::default()) else { return BTreeSet::new() };
    let is_old = |task: &Task| old.contains(&task.arn);
    let may_go = |task: &Task| !barred.contains(&task.arn) && (!is_old(task) || tasks.ready.contains(&task.arn));
    let cells: Vec<Vec<Cell>> = parts.iter().map(|part| cells_to_go(&index, service, part, &is_old, &may_go)).collect();
    let mut arranged = sharing::arrange(&cells);
    let tasks_of = |(cell, tasks): (&Cell, &u32)| Cell { tasks: *tasks, ..cell.clone() };
    let with = |arranged: &[Vec<u32>]| -> Vec<Vec<Cell>> {
        cells.iter().zip(arranged).map(|(cells, arranged)| cells.iter().zip(arranged).map(tasks_of).collect()).collect()
    };
    // As even as can be with these tasks may still be farther from what is balanced: then it stays as it was.
    if misplaced(&with(&arranged)) >= misplaced(&cells) {
        arranged = cells.iter().map(|cells| cells.iter().map(|cell| cell.tasks).collect()).collect();
    }
    let mut victims: Vec<&Task> = Vec::new();
    for ((part, cells), arranged) in parts.iter().zip(&cells).zip(arranged) {
        let mut movable: BTreeMap<Vec<String>, Vec<&Task>> = BTreeMap::new();
        for (instance, task) in part.placed(&index, service).filter(|(_, task)| may_go(task)) {
            movable.entry(names(&part.levels.leaf(instance))).or_default().push(task);
        }
        for (cell, stay) in cells.iter().zip(arranged) {
            let mut of_cell = movable.remove(&cell.path).unwrap_or_default();
            of_cell.sort_by_key(|task| (is_old(task), Reverse(task.started_at), &task.arn));
            let too_many = cell.within.end().saturating_sub(stay);
            victims.extend(of_cell.into_iter().take(too_many as usize));
        }
    }
    victims.sort_by_key(|task| is_old(task));
    victims.into_iter().take(number as usize).map(|task| task.arn.clone()).collect()
}

/// How many tasks are misplaced, if those in each cell may go anywhere.
fn misplaced(providers: &[Vec<Cell>]) -> u32 {
    let free = |cell: &Cell| Cell { within: 0..=cell.most, ..cell.clone() };
    sharing::missing(&providers.iter().map(|cells| cells.iter().map(free).collect()).collect::<Vec<_>>())
}

/// Where one provider's tasks are and could be. Of empty instances that are alike as many as there are tasks.
pub fn cells(index: &Index<'_>, part: &ProviderPart<'_>) -> Vec<Cell> {
    let mut cells: BTreeMap<Vec<&str>, (u32, u32)> = BTreeMap::new();
    let mut empty: BTreeMap<(Vec<&str>, u32), u32> = BTreeMap::new();
    let away = part.away(index).map(|(instance, tasks)| (instance, tasks, tasks));
    let eligible = index.eligible(&part.requirement).into_iter().map(|number| {
        let there = part.tasks.get(&number).copied().unwrap_or(0);
        (index.instances[number], there, index.most(&part.requirement, number, there))
    });
    for (instance, there, most) in eligible.chain(away) {
        if part.levels.instance {
            let alike = empty.entry((part.levels.path(instance), most)).or_default();
            *alike += u32::from(there == 0);
            if there == 0 && *alike > part.placed {
                continue;
            }
        }
        let (tasks, could) = cells.entry(part.levels.leaf(instance)).or_default();
        *tasks += there;
        *could = could.saturating_add(most);
    }
    let cell =
        |(path, (tasks, most)): (Vec<&str>, (u32, u32))| Cell { path: names(&path), tasks, most, within: 0..=most };
    cells.into_iter().map(cell).collect()
}

/// The same, where nothing comes any more: each cell begins with its old tasks, and may end with any of its old and new ones, as far
/// as these may go.
fn cells_to_go(
    index: &Index<'_>,
    service: &Service,
    part: &ProviderPart<'_>,
    is_old: &dyn Fn(&Task) -> bool,
    may_go: &dyn Fn(&Task) -> bool,
) -> Vec<Cell> {
    // Of each cell, its new tasks, and those that may go.
    let mut counted: BTreeMap<Vec<String>, (u32, u32)> = BTreeMap::new();
    for (instance, task) in part.placed(index, service) {
        let (new, go) = counted.entry(names(&part.levels.leaf(instance))).or_default();
        *new += u32::from(!is_old(task));
        *go += u32::from(may_go(task));
    }
    let mut cells = cells(index, part);
    for cell in &mut cells {
        let (new, go) = counted.get(&cell.path).copied().unwrap_or_default();
        let all = cell.tasks;
        cell.tasks = all.saturating_sub(new);
        cell.within = all.saturating_sub(go).min(cell.tasks)..=all;
    }
    cells
}

fn names(path: &[&str]) -> Vec<String> {
    path.iter().map(|domain| (*domain).to_owned()).collect()
}

/// Foresees where one task after another lands: on the provider that comes next by `base` and `weight`, and there by the tasks of
/// the service on all providers.
struct Next<'a> {
    service: &'a Service,
    counts: BTreeMap<&'a str, u32>,
    /// Of each provider.
    spots: BTreeMap<&'a str, Vec<Spot<'a>>>,
}

impl<'a> Next<'a> {
    fn of(
        index: &Index<'a>,
        service: &Service,
        definition: Option<&'a TaskDefinition>,
        parts: &[ProviderPart<'a>],
    ) -> Option<Self> {
        let service = index.cluster.services.get(&service.name)?;
        let levels = Levels::of(service).ok()?;
        let mut crowds = Crowds::new();
        for part in parts {
            next_task::count(&mut crowds, index, &levels, part);
        }
        let mut spots = BTreeMap::new();
        for share in &service.capacity_provider_strategy {
            let requirement = Requirement::new(service, definition, Some(&share.provider)).ok()?;
            let of_it = next_task::spots_among(index, service, &levels, &requirement, &crowds);
            spots.insert(share.provider.as_str(), of_it);
        }
        Some(Self { service, counts: providers::counts(index.tasks_of(service)), spots })
    }

    fn place(&mut self) -> Option<(&'a str, &'a ContainerInstance)> {
        let provider = providers::next(&self.service.capacity_provider_strategy, &self.counts)?;
        let spots = self.spots.get_mut(provider)?;
        let chosen = next_task::next_spot(spots)?;
        spots[chosen].fitting -= 1;
        let (instance, path) = (spots[chosen].instance, spots[chosen].path().to_vec());
        for spots in self.spots.values_mut() {
            next_task::arrive(spots, &path);
        }
        *self.counts.entry(provider).or_default() += 1;
        Some((provider, instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{providers::tests::share_out, testing};

    /// A drawn cluster whose tasks are on their instances' capacity providers; the strategy as `od:0:1 spot:0:1`.
    fn cluster(drawing: &str, strategy: &str) -> Cluster {
        let mut cluster = testing::cluster(drawing);
        share_out(&mut cluster, "web", strategy);
        cluster
    }

    const EVEN: &str = "a i-1 web provider=od\nb i-2 web provider=od\na i-3 web web provider=spot\nb i-4 provider=spot";

    #[test]
    fn as_many_start_as_are_needed_until_one_lands_where_it_helps() {
        let shown = |drawing: &str, strategy: &str, most: u32| {
            let starts = starts(&cluster(drawing, strategy), &"web".into(), &BTreeSet::new(), most);
            starts.iter().map(|(provider, place)| format!("{provider} {place}")).collect::<Vec<_>>().join(", ")
        };
        // The first goes to od, where none is missing; the second to spot's empty instance.
        assert_eq!(shown(EVEN, "od:0:1 spot:0:1", 1), "");
        assert_eq!(shown(EVEN, "od:0:1 spot:0:1", 4), "od i-2, spot i-4");
        assert_eq!(shown(EVEN, "spot:0:1 od:0:1", 4), "spot i-4");
        // Each goes to od.
        assert_eq!(shown(EVEN, "od:0:1", 4), "");
        // One provider a zone, as AWS advises for even zones.
        let zones = "a i-1 web web provider=od\na i-2 provider=od\nb i-3 web provider=spot\nb i-4 web provider=spot";
        assert_eq!(shown(zones, "od:0:1 spot:0:1", 2), "od i-2");
        // Too many in vain for one that moves.
        let rare = "a i-1 web web provider=od\na i-2 provider=od\n".to_owned()
            + "b i-3 web web web web web web web web web web web web provider=spot";
        assert_eq!(shown(&rare, "spot:0:6 od:0:1", 10), "");
        assert_eq!(shown(EVEN, "", 4), "", "its tasks are on providers, and it names a launch type");
    }

    #[test]
    fn each_provider_keeps_as_many_as_it_has() {
        let went = |drawing: &str, new: &[usize], barred: &[usize]| {
            let cluster = cluster(drawing, "od:0:1 spot:0:1");
            let tasks = Tasks::all_ready(&cluster, &"web".into());
            let all: Vec<TaskArn> = tasks.all.keys().cloned().collect();
            let of =
                |numbers: &[usize]| -> BTreeSet<TaskArn> { numbers.iter().map(|it| all[it - 1].clone()).collect() };
            let old: BTreeSet<TaskArn> = all.iter().filter(|task| !of(new).contains(*task)).cloned().collect();
            let number = u32::try_from(new.len()).unwrap();
            let victims = victims(&cluster, &"web".into(), &tasks, &old, &of(barred), number);
            let number_of = |task: &TaskArn| (all.iter().position(|it| it == task).unwrap() + 1).to_string();
            victims.iter().map(number_of).collect::<Vec<_>>().join(" ")
        };
        // od got the third, which helps nothing; spot the sixth, on its empty instance.
        let landed =
            "a i-1 web provider=od\nb i-2 web web provider=od\na i-3 web web provider=spot\nb i-4 web provider=spot";
        assert_eq!(went(landed, &[3, 6], &[]), "3 4");
        // Where the old ones on the full instance may not go, the new one goes itself.
        assert_eq!(went(landed, &[3, 6], &[4, 5]), "3 6");
        // Both went to od: two of its tasks go, and none of spot's.
        let astray =
            "a i-1 web web provider=od\nb i-2 web web provider=od\na i-3 web web provider=spot\nb i-4 provider=spot";
        assert_eq!(went(astray, &[2, 4], &[]), "2 4");
    }
}
