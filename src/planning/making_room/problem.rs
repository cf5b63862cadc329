//! The container instances as tasks leave them, come to them and are promised a place there.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use crate::planning::{
    levelling::{Chances, Clearing, Purpose},
    model::{ContainerInstance, ContainerInstanceArn, Service, ServiceName, Task, TaskArn, TaskDefinition, Timestamp},
    placement::{
        Index, Levels, Requirement,
        occupancy::{Holding, Occupancy},
    },
    plan::Move,
    policy::Policy,
    provider_parts::is_placed,
    providers::several,
    reason::Unmeasured,
    relocation::{Relocatable, may_go, relocatable},
    steering::may_be_target,
};

/// A service, and what a task of it asks of the container instance on which it is placed.
#[derive(Clone, Debug)]
pub(super) struct Placing<'a> {
    pub(super) service: &'a Service,
    pub(super) requirement: Requirement<'a>,
    pub(super) definition: &'a TaskDefinition,
    pub(super) levels: Levels,
}

impl<'a> Placing<'a> {
    /// A service whose next task needs a place; none where nobody knows what it asks, or where that changes as others move.
    pub(super) fn of(index: &Index<'a>, service: &'a Service) -> Option<Self> {
        let definition = index.cluster.task_definitions.get(&service.task_definition)?;
        let tasks = index.tasks_of(service);
        if several(service, tasks).is_some() {
            return None;
        }
        let provider = tasks.iter().find_map(|task| task.capacity_provider.as_deref());
        let requirement = Requirement::new(service, Some(definition), provider).ok()?;
        let levels = match Levels::of(service) {
            Ok(levels) => levels,
            Err(Unmeasured::Binpack | Unmeasured::Random) => Levels::none(),
            Err(_) => return None,
        };
        requirement.is_static().then_some(Self { service, requirement, definition, levels })
    }

    /// The domains of every level that an instance lies in.
    pub(super) fn path(&self, instance: &'a ContainerInstance) -> Vec<&'a str> {
        let mut path = self.levels.path(instance);
        if self.levels.instance {
            path.push(instance.arn.as_str());
        }
        path
    }
}

/// A service whose tasks may be moved to make room.
#[derive(Debug)]
pub(super) struct Mover<'a> {
    pub(super) relocatable: Relocatable<'a>,
    pub(super) placing: Placing<'a>,
    /// Whether the service has one task alone.
    is_only_task: bool,
}

/// Instances that have room for one more task of a mover, by the domain inside which its tasks may be anywhere.
pub(super) type Homes<'a> = BTreeMap<Vec<&'a str>, Rc<[usize]>>;

/// The instances on which a mover's new task may stand in for one that leaves an instance.
type GoodPlaces = BTreeMap<(usize, usize), Rc<[usize]>>;

/// What is left to ECS's own choice, without steering: where it is likely enough to place a mover's next task, if that is to stand in
/// for one that leaves a given instance.
struct ByChoice<'a> {
    chances: RefCell<Chances<'a, 'a>>,
    homes: RefCell<GoodPlaces>,
}

/// What doesn't change while moves are looked for.
pub(super) struct Problem<'a> {
    pub(super) index: &'a Index<'a>,
    policy: &'a Policy,
    pub(super) instances: Vec<&'a ContainerInstance>,
    /// All tasks on each.
    tasks: Vec<&'a [&'a Task]>,
    /// The instances as they were read.
    occupancy: Occupancy<'a>,
    pub(super) movers: Vec<Mover<'a>>,
    /// On each instance, which movers have tasks there, oldest first.
    movable: Vec<Vec<(usize, Vec<&'a Task>)>>,
    /// Looked up once a mover is thought of.
    homes: Vec<OnceCell<Homes<'a>>>,
    /// None where tasks are steered.
    by_choice: Option<ByChoice<'a>>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(
        index: &'a Index<'a>,
        policy: &'a Policy,
        now: Timestamp,
        short: &BTreeSet<&ServiceName>,
    ) -> Self {
        let occupancy = Occupancy::read(index);
        let instances = index.instances.clone();
        let tasks = (0..instances.len()).map(|number| index.tasks_on_number(number)).collect();
        let mut movers = Vec::new();
        let mut movable = vec![Vec::<(usize, Vec<&Task>)>::new(); instances.len()];
        for relocatable in relocatable(index, policy, now) {
            let Relocatable { service, part, definition, .. } = &relocatable;
            if short.contains(&service.name) || !part.requirement.is_static() {
                continue;
            }
            let mut by_instance: BTreeMap<usize, Vec<&Task>> = BTreeMap::new();
            for (task, number) in index.numbered_tasks_of(service).filter(|(task, _)| may_go(task)) {
                // One that is where its service may not be any more counts nowhere, so that none is started for it.
                if let Some(number) = number.filter(|number| part.tasks.contains_key(number)) {
                    by_instance.entry(number).or_default().push(task);
                }
            }
            for (number, mut tasks) in by_instance {
                tasks.sort_by(|a, b| (a.created_at, &b.arn).cmp(&(b.created_at, &a.arn)));
                movable[number].push((movers.len(), tasks));
            }
            let (requirement, levels) = (part.requirement.clone(), part.levels.clone());
            let placing = Placing { service, requirement, definition, levels };
            let is_only_task = relocatable.is_only_task(index);
            movers.push(Mover { relocatable, placing, is_only_task });
        }
        let homes = movers.iter().map(|_| OnceCell::new()).collect();
        let by_choice =
            (!policy.steer).then(|| ByChoice { chances: RefCell::new(Chances::new(index)), homes: RefCell::default() });
        Self { index, policy, instances, tasks, occupancy, movers, movable, homes, by_choice }
    }

    /// Whether tasks are steered to where they go.
    pub(super) fn steers(&self) -> bool {
        self.by_choice.is_none()
    }

    /// A mover's service.
    pub(super) fn name(&self, mover: usize) -> &'a ServiceName {
        &self.movers[mover].placing.service.name
    }

    /// A move as the plan has it.
    pub(super) fn a_move(&self, task_move: &TaskMove<'a>) -> Move {
        let arn = |number: usize| self.instances[number].arn.clone();
        Move { task: task_move.task.clone(), from: arn(task_move.from), to: arn(task_move.to) }
    }

    /// The instances that may take a task of whoever asks, whether they have room or not.
    pub(super) fn eligible(&self, placing: &Placing<'a>) -> Vec<usize> {
        self.index.eligible(&placing.requirement)
    }

    /// The movers with tasks on an instance, and those tasks that have not left it, oldest first.
    pub(super) fn movable<'b>(
        &'b self,
        trial: &'b Trial<'a>,
        number: usize,
    ) -> impl Iterator<Item = (usize, &'b [&'a Task])> {
        self.movable[number].iter().map(move |(mover, tasks)| {
            let gone = trial.gone.get(&(*mover, number)).copied().unwrap_or(0);
            (*mover, &tasks[..tasks.len().saturating_sub(gone)])
        })
    }

    /// The domain inside which a mover's tasks may be anywhere, as far as its spread goes: an only task is as even in any.
    pub(super) fn domain(&self, mover: usize, number: usize) -> Vec<&'a str> {
        let Mover { placing, is_only_task, .. } = &self.movers[mover];
        if *is_only_task { Vec::new() } else { placing.levels.path(self.instances[number]) }
    }

    /// Whether two instances lie in one domain of a mover. ECS's own choice may lead a task to another where that leaves its service as
    /// spread as it is; for the next one that may not be so any more.
    pub(super) fn is_same_domain(&self, mover: usize, one: usize, other: usize) -> bool {
        self.steers() || self.domain(mover, one) == self.domain(mover, other)
    }

    /// Where a task of a mover may go to from an instance, as far as was free from the start: the tightest places first.
    pub(super) fn homes(&self, mover: usize, from: usize) -> Rc<[usize]> {
        let Some(ByChoice { chances, homes }) = &self.by_choice else {
            let homes = self.homes[mover].get_or_init(|| self.find_homes(mover));
            return homes.get(&self.domain(mover, from)).cloned().unwrap_or_default();
        };
        let find = || {
            let good = chances.borrow_mut().good_places(&self.movers[mover].relocatable, from);
            self.tightest_first(&self.movers[mover].placing, good)
        };
        Rc::clone(homes.borrow_mut().entry((mover, from)).or_insert_with(find))
    }

    /// How many tasks are expected to be started in vain, in hundredths, where these are left to ECS's own choice; by service. None
    /// where one of them is not likely to be led elsewhere, or where that takes too many starts. Nothing where tasks are steered.
    pub(super) fn in_vain_hundredths(&self, leave: &[TaskMove<'a>]) -> Option<BTreeMap<ServiceName, u32>> {
        if self.steers() {
            return Some(BTreeMap::new());
        }
        let mut leaving: BTreeMap<usize, BTreeMap<&'a ServiceName, u32>> = BTreeMap::new();
        for task_move in leave {
            *leaving.entry(task_move.from).or_default().entry(self.name(task_move.mover)).or_default() += 1;
        }
        let of_services: BTreeSet<usize> = leave.iter().map(|task_move| task_move.mover).collect();
        let of_services = of_services.into_iter().map(|number| &self.movers[number].relocatable);
        let cleared = self.cleared(leave);
        let purpose = Purpose::Clear { instances: &cleared, packs: false };
        let mut clearing = Clearing::new(self.index, of_services, purpose, self.policy);
        let are_likely = leaving.iter().all(|(from, tasks)| clearing.clear(*from, tasks));
        are_likely.then(|| clearing.in_vain_hundredths())
    }

    /// The instances that tasks leave.
    pub(super) fn cleared(&self, moves: &[TaskMove<'a>]) -> BTreeSet<ContainerInstanceArn> {
        moves.iter().map(|task_move| self.instances[task_move.from].arn.clone()).collect()
    }

    fn find_homes(&self, mover: usize) -> Homes<'a> {
        let placing = &self.movers[mover].placing;
        let mut homes: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        let untouched = Trial::default();
        for class in self.index.eligible_classes(&placing.requirement).filter(|class| class.may_have_room) {
            for number in class.instances.iter().copied() {
                if self.has_room(&untouched, placing, number) && may_be_target(self.instances[number]) {
                    homes.entry(self.domain(mover, number)).or_default().push(number);
                }
            }
        }
        homes.into_iter().map(|(domain, numbers)| (domain, self.tightest_first(placing, numbers))).collect()
    }

    fn tightest_first(&self, placing: &Placing<'a>, mut instances: Vec<usize>) -> Rc<[usize]> {
        let untouched = Trial::default();
        instances.sort_by_cached_key(|number| {
            let free = self.instances[*number].remaining;
            (self.present(&untouched, placing.service, *number), free.memory_mib, free.cpu_units, *number)
        });
        instances.into()
    }

    /// How many of a service's tasks are on an instance.
    pub(super) fn present(&self, trial: &Trial<'a>, service: &Service, number: usize) -> i64 {
        let of_it = |task: &&&Task| task.service.as_ref() == Some(&service.name) && is_placed(task);
        let at_first = self.tasks[number].iter().filter(of_it).count();
        let change = trial.touched.get(&number).and_then(|touched| touched.change.get(service.name.as_str())).copied();
        i64::try_from(at_first).unwrap_or(i64::MAX) + change.unwrap_or(0)
    }

    /// Whether one more task fits on an instance as it is then.
    pub(super) fn has_room(&self, trial: &Trial<'a>, placing: &Placing<'a>, number: usize) -> bool {
        let (holding, demand) = (self.holding(trial, number), placing.requirement.demand());
        // What is short mostly; the rest takes longer to look at.
        if holding.free_after(&demand).is_none() {
            return false;
        }
        let has_one = || self.present(trial, placing.service, number) > 0;
        !(placing.requirement.limit() == 1 && has_one()) && holding.how_many_fit(&demand) > 0
    }

    /// An instance as it is then.
    pub(super) fn holding<'b>(&'b self, trial: &'b Trial<'a>, number: usize) -> &'b Holding<'a> {
        trial.touched.get(&number).map_or(&self.occupancy.holdings()[number], |touched| &touched.holding)
    }

    /// A mover's next task leaves: the youngest.
    pub(super) fn leave(&self, trial: &mut Trial<'a>, mover: usize, number: usize) -> Option<&'a Task> {
        let task =
            self.movable(trial, number).find(|(other, _)| *other == mover).and_then(|(_, tasks)| tasks.last())?;
        let task: &'a Task = task;
        *trial.gone.entry((mover, number)).or_default() += 1;
        *trial.moves_of.entry(mover).or_default() += 1;
        let touched = self.touched(trial, number);
        touched.is_cleared = true;
        change(touched, &self.movers[mover].placing, false);
        Some(task)
    }

    /// A task of whoever asks comes, or is promised the place.
    pub(super) fn arrive(&self, trial: &mut Trial<'a>, placing: &Placing<'a>, number: usize) {
        change(self.touched(trial, number), placing, true);
    }

    fn touched<'b>(&self, trial: &'b mut Trial<'a>, number: usize) -> &'b mut Touched<'a> {
        let untouched = || {
            let holding = self.occupancy.holdings()[number].clone();
            Rc::new(Touched { holding, change: BTreeMap::new(), is_cleared: false })
        };
        Rc::make_mut(trial.touched.entry(number).or_insert_with(untouched))
    }
}

/// What has changed so far. Cheap to clone, to try something out.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial<'a> {
    touched: BTreeMap<usize, Rc<Touched<'a>>>,
    /// How many tasks of a mover have left an instance.
    gone: BTreeMap<(usize, usize), usize>,
    pub(super) moves_of: BTreeMap<usize, usize>,
    pub(super) moves: Vec<TaskMove<'a>>,
    /// ServiceMoves of whom somebody needs that they have moved first.
    pub(super) first: BTreeSet<usize>,
    /// ServiceMoves that go where others have made room for them.
    pub(super) second: BTreeSet<usize>,
}

impl Trial<'_> {
    /// Whether tasks leave an instance: then no others are sent there, so that moves can be made in any order.
    pub(super) fn is_cleared(&self, number: usize) -> bool {
        self.touched.get(&number).is_some_and(|touched| touched.is_cleared)
    }
}

/// One task that goes.
#[derive(Clone, Debug)]
pub(super) struct TaskMove<'a> {
    pub(super) mover: usize,
    pub(super) task: &'a TaskArn,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// An instance that was touched.
#[derive(Clone, Debug)]
struct Touched<'a> {
    holding: Holding<'a>,
    /// Tasks more than at first, by service.
    change: BTreeMap<&'a str, i64>,
    is_cleared: bool,
}

fn change<'a>(touched: &mut Touched<'a>, placing: &Placing<'a>, comes: bool) {
    touched.holding.change(&placing.requirement.demand(), comes);
    *touched.change.entry(placing.service.name.as_str()).or_default() += if comes { 1 } else { -1 };
}
