//! A service whose tasks may move: where they are, and which of their moves leave it as spread as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::field::Field;
use crate::planning::{
    model::{Capacity, ContainerInstance, Task},
    placement::{Index, Levels},
    relocation::Relocatable,
};

/// The domains that each instance lies in, level by level, as numbers that tell domains apart.
#[derive(Debug)]
pub(super) struct Paths {
    depth: usize,
    /// `depth` numbers for each instance.
    numbers: Vec<u32>,
}

impl Paths {
    pub(super) fn new(field: &Field<'_>, levels: &Levels) -> Self {
        let mut number_of: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
        let depth = levels.attributes.len() + usize::from(levels.instance);
        let mut numbers = Vec::with_capacity(depth * field.instances.len());
        for instance in &field.instances {
            let mut path = levels.path(instance);
            if levels.instance {
                path.push(instance.arn.as_str());
            }
            for depth in 1..=path.len() {
                let next = u32::try_from(number_of.len()).unwrap_or(u32::MAX);
                numbers.push(*number_of.entry(path[..depth].to_vec()).or_insert(next));
            }
        }
        Self { depth, numbers }
    }

    fn of(&self, instance: usize) -> &[u32] {
        &self.numbers[instance * self.depth..(instance + 1) * self.depth]
    }
}

/// A service whose tasks may move.
pub(super) struct Mover<'b, 'a> {
    pub(super) relocatable: &'b Relocatable<'a>,
    pub(super) size: Capacity,
    pub(super) moves_left: usize,
    index: &'b Index<'a>,
    limit: u32,
    paths: Rc<Paths>,
    eligible: Eligible,
    /// ECS evens its zones itself, so each keeps its tasks.
    zones_stay: bool,
    /// How many of its tasks are in each domain that has any.
    crowds: BTreeMap<u32, u32>,
    /// Its tasks on each instance that has any.
    pub(super) tasks: BTreeMap<usize, u32>,
    /// How many of those that were there at first may go, on each instance that has any.
    pub(super) movable: BTreeMap<usize, u32>,
    /// From where a task has nowhere to go, as long as none of the service's tasks moves: see [`Mover::origin`].
    pub(super) barren: BTreeSet<Vec<u32>>,
    /// Where one came whose like are limited by something that is known for one more only.
    full: BTreeSet<usize>,
}

enum Eligible {
    Classes(Vec<bool>),
    Instances(BTreeSet<usize>),
}

impl<'b, 'a> Mover<'b, 'a> {
    pub(super) fn new(
        index: &'b Index<'a>,
        field: &Field<'a>,
        relocatable: &'b Relocatable<'a>,
        paths: Rc<Paths>,
    ) -> Self {
        let requirement = &relocatable.part.requirement;
        let eligible = if requirement.is_static() {
            Eligible::Classes(index.admitted_classes(requirement))
        } else {
            let instances = index.eligible(requirement);
            Eligible::Instances(instances.iter().filter_map(|it| field.number_of.get(&it.arn).copied()).collect())
        };
        let tasks: BTreeMap<usize, u32> = relocatable
            .part
            .tasks
            .iter()
            .filter_map(|(arn, tasks)| Some((field.number_of.get(*arn).copied()?, *tasks)))
            .collect();
        let mut crowds = BTreeMap::new();
        for (instance, tasks) in &tasks {
            for domain in paths.of(*instance) {
                *crowds.entry(*domain).or_default() += tasks;
            }
        }
        Self {
            relocatable,
            size: relocatable.definition.reserves,
            moves_left: relocatable.max_moves,
            index,
            limit: requirement.limit(),
            eligible,
            zones_stay: relocatable.service.availability_zone_rebalancing && relocatable.part.levels.begin_with_zones(),
            crowds,
            movable: tasks.clone(),
            tasks,
            barren: BTreeSet::new(),
            full: BTreeSet::new(),
            paths,
        }
    }

    /// Whether one of its tasks may go from one instance to another as far as its spread goes: it gets no worse.
    ///
    /// At the first level at which the two lie in different domains the one that gives must have more. Below it, it must be one
    /// of the fullest that gives, and one of the emptiest that takes.
    pub(super) fn keeps_spread(&self, field: &Field<'_>, from: usize, to: usize) -> bool {
        let (source, target) = (self.paths.of(from), self.paths.of(to));
        let Some(level) = source.iter().zip(target).position(|(one, other)| one != other) else { return true };
        if self.crowd(source[level]) <= self.crowd(target[level]) || (level == 0 && self.zones_stay) {
            return false;
        }
        (level + 1..source.len()).all(|level| self.is_fullest(source, level) && self.is_emptiest(field, target, level))
    }

    /// What decides about where a task may go from an instance, where instances are told apart: of two with the same, either
    /// both have somewhere to go or neither.
    pub(super) fn origin(&self, from: usize) -> Option<Vec<u32>> {
        let mut path = self.paths.of(from).to_vec();
        let last = path.last_mut().filter(|_| self.relocatable.part.levels.instance)?;
        *last = self.crowd(*last);
        Some(path)
    }

    fn crowd(&self, domain: u32) -> u32 {
        self.crowds.get(&domain).copied().unwrap_or(0)
    }

    fn is_fullest(&self, path: &[u32], level: usize) -> bool {
        let crowd = self.crowd(path[level]);
        let paths = self.tasks.keys().map(|instance| self.paths.of(*instance));
        paths.filter(|other| other[level - 1] == path[level - 1]).all(|other| self.crowd(other[level]) <= crowd)
    }

    fn is_emptiest(&self, field: &Field<'_>, path: &[u32], level: usize) -> bool {
        let crowd = self.crowd(path[level]);
        // With as much as one, all others must be looked at; a domain that is full counts as one that isn't.
        crowd == 0
            || (0..field.instances.len()).all(|other| {
                let other_path = self.paths.of(other);
                other_path[level - 1] != path[level - 1]
                    || self.crowd(other_path[level]) >= crowd
                    || !self.may_be_on(field, other)
            })
    }

    pub(super) fn may_be_on(&self, field: &Field<'_>, instance: usize) -> bool {
        match &self.eligible {
            Eligible::Classes(classes) => field.class_of[instance].is_some_and(|class| classes[class]),
            Eligible::Instances(instances) => instances.contains(&instance),
        }
    }

    /// Whether one more has room there, whatever CPU, memory and GPUs the moves before it took.
    pub(super) fn has_room_on(&self, field: &Field<'_>, instance: usize) -> bool {
        self.tasks.get(&instance).copied().unwrap_or(0) < self.limit
            && !self.full.contains(&instance)
            && self.relocatable.room(self.index, field.instances[instance]) > 0
    }

    /// The static host ports that each of its tasks takes: transport and number.
    pub(super) fn ports(&self) -> impl Iterator<Item = (bool, u16)> + '_ {
        let definition = self.relocatable.definition;
        let tcp = definition.tcp_host_ports.iter().map(|port| (true, *port));
        tcp.chain(definition.udp_host_ports.iter().map(|port| (false, *port)))
    }

    /// Its tasks that were on an instance at first, oldest first.
    pub(super) fn tasks_on(&self, instance: &ContainerInstance) -> Vec<&'a Task> {
        self.relocatable.tasks_on(self.index, instance)
    }

    /// Moves one of its tasks from one instance to another.
    pub(super) fn shift(&mut self, from: usize, to: usize) {
        add(&mut self.movable, from, false);
        self.count(from, to);
        self.moves_left -= 1;
        if self.relocatable.definition.takes_network_interface {
            self.full.insert(to);
        }
    }

    /// Takes that move back.
    pub(super) fn unshift(&mut self, from: usize, to: usize) {
        add(&mut self.movable, from, true);
        self.count(to, from);
        self.moves_left += 1;
        self.full.remove(&to);
    }

    fn count(&mut self, from: usize, to: usize) {
        self.barren.clear();
        for (instance, comes) in [(from, false), (to, true)] {
            add(&mut self.tasks, instance, comes);
            for domain in self.paths.of(instance) {
                add(&mut self.crowds, *domain, comes);
            }
        }
    }
}

/// One more, or one less; nothing where none is left.
fn add<Key: Ord>(counts: &mut BTreeMap<Key, u32>, key: Key, comes: bool) {
    if comes {
        *counts.entry(key).or_default() += 1;
    } else if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
