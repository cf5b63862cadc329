//! What a plan foresees of one service: round by round, tasks start where ECS will put them, and old ones go.
//!
//! An example, at most two at a time: `a: 4`, `b: 0`. Two start in zone b, the two youngest of zone a go, and `a: 2`, `b: 2` is
//! left: two moves, in one round.

use std::collections::{BTreeMap, BTreeSet};

use crate::planning::{
    bounds::on_top,
    model::{Cluster, ContainerInstanceArn, Service, ServiceName, Task, TaskArn},
    placement::{
        Index, Requirement,
        occupancy::{Demand, Occupancy},
    },
    plan::{Move, PATIENCE},
    policy::{Policy, Strategy},
    providers,
    relevant::keep_relevant,
    several,
    spread::{self, Eligible, Layout, Paced, Place},
    steering::{NextRound, RoundOf, Way},
    tasks::Tasks,
    view,
};

/// Rounds of a surge that are foreseen: more than any service needs, since one of two rounds cures at least one of its tasks.
const ROUNDS: usize = 10_000;

/// The cluster as the plan goes along.
pub(super) struct Foreseen<'i, 'a> {
    index: &'i Index<'a>,
    ledger: Occupancy<'a>,
    eligible: Eligible<'a>,
    pub(super) cluster: Cluster,
}

/// What comes of a service's rounds.
pub(super) struct Rounds {
    pub(super) course: Course,
    /// The tasks that are foreseen at the end.
    new: Vec<Task>,
    /// The service's other tasks that are still there.
    old: BTreeSet<TaskArn>,
}

/// Who may go, and how many at once.
struct Terms<'p> {
    most: u32,
    /// Whether an earlier round helped nothing.
    is_careful: bool,
    may_go: &'p dyn Fn(&TaskArn) -> bool,
}

/// A service as it is foreseen between two rounds.
trait Between: Clone {
    fn misplaced(&self) -> u32;

    /// Plays one round, and tells whether it moves anything.
    fn round(&mut self, terms: &Terms<'_>, course: &mut Course) -> bool;

    fn end(self, course: Course) -> Rounds;
}

impl<'i, 'a> Foreseen<'i, 'a> {
    /// `cluster` is what `index` was made of.
    pub(super) fn new(index: &'i Index<'a>, cluster: Cluster) -> Self {
        Self { index, ledger: Occupancy::read(index), eligible: Eligible::default(), cluster }
    }

    /// Plays a service's rounds through: with any of its tasks, or just with those that were reviewed.
    pub(super) fn rounds(
        &mut self,
        name: &ServiceName,
        strategy: Strategy,
        allowance: u32,
        policy: &Policy,
        reviewed: Option<&BTreeSet<TaskArn>>,
    ) -> Rounds {
        let none = || Rounds { course: Course::default(), new: Vec::new(), old: BTreeSet::new() };
        let Some(service) = self.index.cluster.services.get(name) else { return none() };
        let starts_first = matches!(strategy, Strategy::Surge | Strategy::Auto);
        let tasks = self.index.tasks_of(service);
        let surge = several::at_once(service, tasks, policy.surge.of_at_least_one(service.desired_count));
        let protected: BTreeSet<&TaskArn> =
            tasks.iter().filter(|task| task.is_protected).map(|task| &task.arn).collect();
        let may_go = |task: &TaskArn| {
            // One that is foreseen stands for one that was reviewed.
            !protected.contains(task)
                && reviewed.is_none_or(|reviewed| reviewed.contains(task) || view::is_foreseen(task))
        };
        let at_once = if starts_first { surge.min(on_top(service)) } else { u32::MAX };
        let terms = Terms { most: at_once, is_careful: false, may_go: &may_go };
        let is_shared_out = providers::several(service, tasks).is_some();
        let steers = policy.steer && starts_first;
        let (cluster, index) = (&self.cluster, self.index);
        if is_shared_out || !asks_nothing_of_others(index, service) {
            return play(OnCluster::new(cluster, name, surge, is_shared_out, steers), terms, allowance);
        }
        let more = (surge as usize).saturating_mul(2).saturating_add(1);
        let Some(layout) = Layout::of(&self.ledger, index, &mut self.eligible, service, more) else { return none() };
        // A task that is foreseen already has another number.
        play(OnLayout { index, service, layout, number: tasks.len(), steers }, terms, allowance)
    }

    /// Makes what came of a service's rounds.
    pub(super) fn make(&mut self, name: &ServiceName, rounds: Rounds) -> Course {
        let Some(service) = self.index.cluster.services.get(name) else { return rounds.course };
        for task in self.index.tasks_of(service).iter().filter(|task| !rounds.old.contains(&task.arn)) {
            self.settle(name, task, false);
            view::remove(&mut self.cluster, &task.arn);
        }
        for task in rounds.new {
            self.settle(name, &task, true);
            view::insert(&mut self.cluster, task);
        }
        rounds.course
    }

    /// Enters in the ledger that a task comes or goes.
    fn settle(&mut self, name: &ServiceName, task: &Task, comes: bool) {
        let instance = task.container_instance.as_ref().and_then(|arn| self.ledger.instance(arn));
        if let (Some(service), Some(instance)) = (self.ledger.service(name), instance) {
            let demand = Demand::of_task(task, self.index.cluster.task_definitions.get(&task.task_definition));
            if comes {
                self.ledger.add(service, demand, instance);
            } else {
                self.ledger.remove(service, demand, instance);
            }
        }
    }
}

/// Whether where a service's tasks may go doesn't hang on where other tasks are, but for the capacity that these take.
fn asks_nothing_of_others(index: &Index<'_>, service: &Service) -> bool {
    let definition = index.cluster.task_definitions.get(&service.task_definition);
    Requirement::new(service, definition, None).is_ok_and(|requirement| requirement.is_static())
}

/// Plays rounds as long as they help.
fn play(mut now: impl Between, mut terms: Terms<'_>, allowance: u32) -> Rounds {
    let at_once = terms.most;
    let (mut best, mut patience) = (u32::MAX, 0);
    let mut course = Course::default();
    // As it was when the fewest were misplaced: rounds that helped nothing are not planned.
    let mut reached = (now.clone(), course.clone());
    for _ in 0..ROUNDS {
        let misplaced = now.misplaced();
        if misplaced < best {
            (best, patience, reached) = (misplaced, 0, (now.clone(), course.clone()));
        } else {
            patience += 1;
        }
        if misplaced == 0 || patience > PATIENCE {
            break;
        }
        terms.most = at_once.min(allowance.saturating_sub(course.restarts()));
        terms.is_careful = patience > 0;
        if !now.round(&terms, &mut course) {
            break;
        }
    }
    let (reached, course) = reached;
    reached.end(course.ended())
}

/// A service whose tasks ECS places by what each container instance has and has free.
#[derive(Clone)]
struct OnLayout<'i, 'a> {
    index: &'i Index<'a>,
    service: &'a Service,
    layout: Layout<'a>,
    steers: bool,
    /// So many tasks were foreseen.
    number: usize,
}

impl OnLayout<'_, '_> {
    /// Where the next tasks start, and which go for them where that was looked at already.
    fn starts(&self, terms: &Terms<'_>) -> (Vec<Place>, Option<BTreeSet<TaskArn>>) {
        if self.steers {
            let definition = self.index.cluster.task_definitions.get(&self.service.task_definition);
            let &Terms { most, is_careful, may_go } = terms;
            let round =
                RoundOf { service: self.service, definition, may_go, most, is_careful, taken: &BTreeSet::new() };
            if let Way::Steered(aimed) = round.way(&self.layout, false) {
                return (aimed.places, None);
            }
        }
        let Paced { places, victims } = spread::paced_surge_in(&self.layout, terms.may_go, terms.most);
        (places, victims)
    }
}

impl Between for OnLayout<'_, '_> {
    fn misplaced(&self) -> u32 {
        self.layout.missing()
    }

    fn round(&mut self, terms: &Terms<'_>, course: &mut Course) -> bool {
        let (places, victims) = self.starts(terms);
        let mut new: Vec<TaskArn> = Vec::new();
        for place in places {
            self.number += 1;
            let arn = view::foreseen_arn(&self.service.name, self.number);
            self.layout.put(arn.clone(), place);
            new.push(arn);
        }
        let victims = victims.unwrap_or_else(|| {
            let started: BTreeSet<&TaskArn> = new.iter().collect();
            let may_go = |task: &TaskArn| (terms.may_go)(task) && !started.contains(task);
            spread::victims_in(&self.layout, &may_go, u32::try_from(new.len()).unwrap_or(u32::MAX))
        });
        let moves_any = !new.is_empty();
        for (victim, replacement) in victims.iter().zip(new) {
            let places = (self.layout.instance_of(victim).cloned(), self.layout.instance_of(&replacement).cloned());
            if let (Some(from), Some(to)) = places {
                course.replace(victim, from, replacement, to);
            }
            self.layout.take(victim);
        }
        moves_any
    }

    fn end(self, course: Course) -> Rounds {
        let model = self.index.tasks_of(self.service).first().copied();
        let (foreseen, old): (Vec<&TaskArn>, Vec<_>) =
            self.layout.all_tasks().partition(|task| view::is_foreseen(task));
        let new = foreseen.into_iter().filter_map(|task| {
            let instance = self.layout.instance_of(task)?;
            Some(view::stand_in(self.index.cluster, self.service, model, instance, task.clone()))
        });
        Rounds { course, new: new.collect(), old: old.into_iter().cloned().collect() }
    }
}

/// A service of which each question is asked of the cluster as it is then: one over several capacity providers, and one whose tasks
/// go by where others are.
#[derive(Clone)]
struct OnCluster<'p> {
    name: &'p ServiceName,
    cluster: Cluster,
    is_shared_out: bool,
    steers: bool,
    /// So many tasks were foreseen.
    number: usize,
}

impl<'p> OnCluster<'p> {
    fn new(cluster: &Cluster, name: &'p ServiceName, surge: u32, is_shared_out: bool, steers: bool) -> Self {
        let mut cluster = view::alone(cluster, name).into_owned();
        let tasks = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(name)).count();
        keep_relevant(&mut cluster, name, tasks + surge as usize + 1);
        Self { name, cluster, is_shared_out, steers, number: tasks }
    }

    /// Tasks start there, or would; these are their names.
    fn start(&mut self, places: impl Iterator<Item = (Option<String>, ContainerInstanceArn)>) -> Vec<Started> {
        let mut new = Vec::new();
        for (provider, place) in places {
            self.number += 1;
            let Some(task) = view::foreseen(&self.cluster, self.name, &place, self.number) else { continue };
            new.push(Started { task: task.arn.clone(), provider: provider.clone(), place });
            let capacity_provider = provider.or_else(|| task.capacity_provider.clone());
            view::insert(&mut self.cluster, Task { capacity_provider, ..task });
        }
        new
    }

    /// Plays one round of a service over several capacity providers; tells whether it moves anything.
    fn shared_round(&mut self, barred: &BTreeSet<TaskArn>, most: u32, course: &mut Course) -> bool {
        let starts = several::starts(&self.cluster, self.name, barred, most);
        let old: BTreeSet<TaskArn> = Tasks::all_ready(&self.cluster, self.name).all.into_keys().collect();
        let mut new = self.start(starts.into_iter().map(|(provider, place)| (Some(provider), place)));
        if new.is_empty() {
            return false;
        }
        let surge = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let tasks = Tasks::all_ready(&self.cluster, self.name);
        let victims = several::victims(&self.cluster, self.name, &tasks, &old, barred, surge);
        let mut in_vain = 0;
        new.retain(|started| !victims.contains(&started.task));
        for victim in &victims {
            let Some(task) = self.cluster.tasks.get(victim).cloned() else { continue };
            if old.contains(victim) {
                let stays = new.iter().position(|started| started.provider == task.capacity_provider);
                if let (Some(stays), Some(from)) = (stays, task.container_instance.clone()) {
                    let Started { task: replacement, place, .. } = new.remove(stays);
                    course.replace(victim, from, replacement, place);
                }
            } else {
                in_vain += 1;
            }
            view::remove(&mut self.cluster, victim);
        }
        course.in_vain += in_vain;
        in_vain < surge
    }
}

/// A task that is foreseen, its capacity provider where that was chosen, and its container instance.
struct Started {
    task: TaskArn,
    provider: Option<String>,
    place: ContainerInstanceArn,
}

impl Between for OnCluster<'_> {
    fn misplaced(&self) -> u32 {
        spread::misplaced(&self.cluster, self.name)
    }

    fn round(&mut self, terms: &Terms<'_>, course: &mut Course) -> bool {
        let (cluster, name, most) = (&self.cluster, self.name, terms.most);
        let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(name));
        let mut barred: BTreeSet<TaskArn> =
            of_it.map(|task| &task.arn).filter(|task| !(terms.may_go)(task)).cloned().collect();
        if self.is_shared_out {
            return self.shared_round(&barred, most, course);
        }
        let way = if self.steers {
            let (spared, taken) = (&barred, &BTreeSet::new());
            NextRound { cluster, service: name, spared, most, is_careful: terms.is_careful, taken }.way(false)
        } else {
            Way::Unsteered
        };
        let places = match way {
            Way::Steered(targets) => targets.places,
            Way::Unsteered | Way::UnsteeredLater => {
                spread::placements(cluster, name, spread::paced_surge(cluster, name, &barred, most))
            }
        };
        let new = self.start(places.into_iter().map(|place| (None, place)));
        let surge = u32::try_from(new.len()).unwrap_or(u32::MAX);
        barred.extend(new.iter().map(|started| started.task.clone()));
        let tasks = Tasks::all_ready(&self.cluster, name);
        for (victim, Started { task, place, .. }) in
            spread::victims(&self.cluster, name, &tasks, &barred, surge).iter().zip(new)
        {
            let from = self.cluster.tasks.get(victim).and_then(|task| task.container_instance.clone());
            if let Some(from) = from {
                course.replace(victim, from, task, place);
            }
            view::remove(&mut self.cluster, victim);
        }
        surge > 0
    }

    fn end(self, course: Course) -> Rounds {
        let of_it = self.cluster.tasks.into_values().filter(|task| task.service.as_ref() == Some(self.name));
        let (foreseen, old): (Vec<_>, Vec<_>) = of_it.partition(|task| view::is_foreseen(&task.arn));
        let new = foreseen.into_iter().map(|task| Task::clone(&task)).collect();
        Rounds { course, new, old: old.into_iter().map(|task| task.arn.clone()).collect() }
    }
}

/// What comes of a service's rounds: where each of its tasks goes, by way of however many replacements.
#[derive(Clone, Default)]
pub(super) struct Course {
    pub(super) moves: Vec<Move>,
    /// The number of the move that each task which is foreseen ends.
    ends: BTreeMap<TaskArn, usize>,
    /// Restarts beyond one for each move.
    pub(super) restarted_again: u32,
    /// Tasks that are started and go again themselves.
    pub(super) in_vain: u32,
}

impl Course {
    fn restarts(&self) -> u32 {
        u32::try_from(self.moves.len()).unwrap_or(u32::MAX).saturating_add(self.restarted_again)
    }

    /// A task goes, and this replacement stays on that container instance. If the task was itself foreseen, its move ends there.
    fn replace(&mut self, task: &TaskArn, from: ContainerInstanceArn, replacement: TaskArn, to: ContainerInstanceArn) {
        let begun = self.ends.remove(task);
        if let Some(a_move) = begun.and_then(|number| self.moves.get_mut(number)) {
            a_move.to = to;
        } else if !view::is_foreseen(task) {
            self.ends.insert(replacement, self.moves.len());
            self.moves.push(Move { task: task.clone(), from, to });
            return;
        }
        // Of a task for which room is made first no move is told, but it starts twice.
        self.restarted_again += 1;
        self.ends.extend(begun.map(|number| (replacement, number)));
    }

    /// Without the moves that lead back to where they began: those are restarts, and nothing else.
    fn ended(mut self) -> Self {
        let all = self.restarts();
        self.moves.retain(|a_move| a_move.from != a_move.to);
        self.restarted_again += all - self.restarts();
        self
    }
}
