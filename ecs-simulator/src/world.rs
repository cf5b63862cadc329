//! The simulated world: the state, the clock, the one source of chance, and the agenda of what is to come.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    behaviour::Behaviour,
    faults::Faults,
    moment::Moment,
    queue::Queue,
    state::{Definition, Instance, Service, State},
    timeline::{Counts, Timeline},
};

/// How a simulation goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The only source of chance.
    pub seed: u64,
    /// Where the documents leave room.
    pub behaviour: Behaviour,
    /// What goes wrong.
    pub faults: Faults,
}

/// What becomes due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The service scheduler looks at a service.
    Scheduler(String),
    /// A service that has been steady for six hours is said to be so again.
    Steady(String),
    /// A task goes on from the status that it had in this version of it; an end meanwhile makes that void.
    Task(String, u64),
    /// A task that stopped can no longer be described.
    Forgotten(String),
    /// A task's container health check is decided.
    Health(String),
    /// Its targets' is.
    Target(String),
    /// A task without any check counts as healthy from now on.
    Settled(String),
    /// An EC2 instance that an Auto Scaling group has launched registers.
    Launched(String),
    /// Something from outside.
    Outside(Outside),
}

/// What comes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outside {
    LoseInstance,
    ForeignDeployment,
    ForeignCount,
    AutoScaling,
    JoinInstance,
    DeleteService,
    ManagedScaling,
}

/// The state and what is to come of it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) options: Options,
    pub(crate) timeline: Timeline,
    pub(crate) start: Moment,
    /// From when on the seconds of faults count.
    pub(crate) faults_since: Moment,
    pub(crate) now: Moment,
    pub(crate) random: ChaCha8Rng,
    agenda: BinaryHeap<Reverse<(Moment, u64, Due)>>,
    number: u64,
    pub(crate) scaled_out: bool,
    /// Who makes the call that is being answered.
    pub(crate) caller: String,
    /// The state as it was, oldest first, for reads that lag.
    past: VecDeque<(Moment, State)>,
    /// What EventBridge has of container instances.
    pub(crate) queue: Queue,
}

/// From one look of the scheduler at a service to the next, in milliseconds: about ten seconds, as public logs show.
pub(crate) const LOOKS: (i64, i64) = (8_500, 12_500);
/// From a change to a service that was left alone until its first look.
const FIRST_LOOK: (i64, i64) = (4_000, 12_000);

impl World {
    pub(crate) fn new(state: State, options: Options, start: Moment) -> Self {
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Self {
            state,
            options,
            timeline: Timeline::default(),
            start,
            faults_since: start,
            now: start,
            random,
            agenda: BinaryHeap::new(),
            number: 0,
            scaled_out: false,
            caller: String::new(),
            past: VecDeque::new(),
            queue: Queue::default(),
        }
    }

    /// Takes away all faults, those that are still to come as well.
    pub(crate) fn calm(&mut self) {
        self.options.faults = crate::faults::Faults::default();
        self.agenda.retain(|Reverse((_, _, due))| !matches!(due, Due::Outside(_)));
        self.past.clear();
    }

    /// Has these faults in place of all others; their seconds count from now.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.calm();
        self.options.faults = faults;
        self.faults_since = self.now;
    }

    /// Keeps the state for reads that lag, as far back as they may.
    pub(crate) fn remember(&mut self) {
        let Some((_, most)) = self.options.faults.reads_lag else { return };
        if self.past.back().is_some_and(|(at, _)| *at == self.now) {
            self.past.pop_back();
        }
        self.past.push_back((self.now, self.state.clone()));
        let oldest = Moment(self.now.0 - milliseconds(most));
        while self.past.get(1).is_some_and(|(at, _)| *at <= oldest) {
            self.past.pop_front();
        }
    }

    /// Does something that only reads, on the state that is seen now.
    pub(crate) fn as_seen<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let Some((least, most)) = self.options.faults.reads_lag else { return read(self) };
        let lag = self.between(milliseconds(least), milliseconds(most));
        let then = Moment(self.now.0 - lag);
        let index = self.past.iter().rposition(|(at, _)| *at <= then).unwrap_or(0);
        let Some((_, state)) = self.past.get_mut(index) else { return read(self) };
        std::mem::swap(&mut self.state, state);
        let result = read(self);
        if let Some((_, state)) = self.past.get_mut(index) {
            std::mem::swap(&mut self.state, state);
        }
        result
    }

    /// Takes what is due next, if it is by then; it is as late as that now.
    pub(crate) fn take_due(&mut self, until: Moment) -> Option<Due> {
        let Reverse((at, _, _)) = self.agenda.peek()?;
        if *at > until {
            return None;
        }
        let Reverse((at, _, due)) = self.agenda.pop()?;
        self.now = self.now.max(at);
        Some(due)
    }

    pub(crate) fn due_in(&mut self, milliseconds: i64, due: Due) {
        self.number += 1;
        self.agenda.push(Reverse((Moment(self.now.0 + milliseconds), self.number, due)));
    }

    /// Has a task go on from where it is now in so long.
    pub(crate) fn task_due_in(&mut self, milliseconds: i64, task: &str) {
        if let Some(version) = self.state.tasks.get(task).map(|task| task.version) {
            self.due_in(milliseconds, Due::Task(task.to_owned(), version));
        }
    }

    /// Has the scheduler look at a service before long, if it isn't about to anyway.
    pub(crate) fn wake(&mut self, service: &str) {
        let Some(known) = self.state.services.get(service) else { return };
        let rest = known.last_look.0 + LOOKS.0 - self.now.0;
        let delay = self.between(FIRST_LOOK.0, FIRST_LOOK.1).max(rest);
        self.look_in(service, delay);
    }

    /// Has the scheduler look at a service again, which it is looking at.
    pub(crate) fn look_again(&mut self, service: &str) {
        let delay = self.between(LOOKS.0, LOOKS.1);
        self.look_in(service, delay);
    }

    /// Has the scheduler look at a service in so long, if it isn't about to anyway.
    pub(crate) fn look_in(&mut self, service: &str, milliseconds: i64) {
        let Some(known) = self.state.services.get_mut(service) else { return };
        if !known.is_busy {
            known.is_busy = true;
            self.due_in(milliseconds, Due::Scheduler(service.to_owned()));
        }
    }

    /// An instance has come: daemons have a place there.
    pub(crate) fn wake_daemons(&mut self) {
        let is_daemon = |service: &&Service| service.scheduling_strategy == "DAEMON";
        let names: Vec<String> = self.state.services.values().filter(is_daemon).map(|it| it.name.clone()).collect();
        for name in names {
            self.wake(&name);
        }
    }

    /// Writes a service's counts down.
    pub(crate) fn note_counts(&mut self, name: &str) {
        let Some(service) = self.state.services.get(name) else { return };
        let healthy = self
            .state
            .service_tasks(name)
            .filter(|task| task.is_healthy(service, self.state.definitions.get(&task.definition), self.now))
            .count();
        let minimum = (u64::from(service.desired_count) * u64::from(service.minimum_healthy_percent)).div_ceil(100);
        let counts = Counts {
            at: self.now,
            desired: service.desired_count,
            running: self.state.running(name),
            healthy: crate::state::count(healthy),
            minimum_healthy: u32::try_from(minimum).unwrap_or(u32::MAX),
        };
        self.timeline.note(name, counts);
    }

    pub(crate) fn note_task(&mut self, task: &str) {
        if let Some(service) = self.state.tasks.get(task).and_then(|task| task.service.clone()) {
            self.note_counts(&service);
        }
    }

    /// Appends to a service's events; ECS keeps the newest 100.
    pub(crate) fn tell(&mut self, service: &str, message: String) {
        let (id, at) = (self.id(), self.now);
        if let Some(service) = self.state.services.get_mut(service) {
            // ECS leaves duplicates out until they are resolved or 6 h have passed.
            let repeats = service
                .events
                .front()
                .is_some_and(|newest| newest.message == message && at.0 - newest.at.0 < 6 * 3_600_000);
            if !repeats {
                service.events.push_front(crate::state::Event { id, at, message });
                service.events.truncate(100);
            }
        }
    }

    /// A new id, as ECS writes them.
    pub(crate) fn id(&mut self) -> String {
        format!("{:032x}", self.random.random::<u128>())
    }

    /// A new ARN of this kind, `task` or `container-instance`, and the id at its end.
    pub(crate) fn new_arn(&mut self, kind: &str) -> (String, String) {
        let beginning = self.state.cluster_arn.replace(":cluster/", &format!(":{kind}/"));
        loop {
            let id = self.id();
            let arn = format!("{beginning}/{id}");
            // A snapshot may come from a simulation of the same seed, and then it has these very ids.
            if !self.state.tasks.contains_key(&arn) && !self.state.instances.contains_key(&arn) {
                return (arn, id);
            }
        }
    }

    /// Chance: true in so many of 1 cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random::<f64>() < share
    }

    /// A number of milliseconds between two.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.random.random_range(low..=high)
    }

    /// What is free on an instance: CPU and memory.
    pub(crate) fn free(&self, instance: &Instance) -> (u32, u32) {
        let (cpu, memory) = self.state.reserved(&instance.arn, self.stopping_counts());
        (
            instance.cpu.saturating_sub(instance.other_cpu).saturating_sub(cpu),
            instance.memory.saturating_sub(instance.other_memory).saturating_sub(memory),
        )
    }

    pub(crate) fn stopping_counts(&self) -> bool {
        self.options.behaviour.get("resources-freed") == "when-stopped"
    }

    /// The desired count that DescribeServices shows: for a while perhaps the one from before.
    pub(crate) fn shown_desired_count(&self, service: &Service, now: Moment) -> u32 {
        let (before, since) = service.stale_desired_count;
        let stale = milliseconds(self.options.faults.stale_reads);
        if stale > 0 && now.0 - since.0 < stale { before } else { service.desired_count }
    }

    /// A task definition by ARN, `family:revision` or `family` (the newest ACTIVE one).
    pub(crate) fn definition(&self, id: &str) -> Option<&Definition> {
        if id.contains("arn:") {
            return self.state.definitions.get(id);
        }
        if let Some((family, number)) = id.split_once(':') {
            let number: u32 = number.parse().ok()?;
            return self.revisions(family).into_iter().find(|definition| revision(&definition.arn) == number);
        }
        let active = self.revisions(id).into_iter().filter(|definition| definition.is_active());
        active.max_by_key(|definition| revision(&definition.arn))
    }

    /// The revisions of a family.
    pub(crate) fn revisions(&self, family: &str) -> Vec<&Definition> {
        let is_of_it = |arn: &str| arn.rsplit('/').next().and_then(|name| name.split(':').next()) == Some(family);
        self.state.definitions.values().filter(|definition| is_of_it(&definition.arn)).collect()
    }

    /// The tags of whatever has them.
    pub(crate) fn tags(&self, arn: &str) -> Option<&BTreeMap<String, String>> {
        let state = &self.state;
        if arn == state.cluster_arn {
            return Some(&state.cluster_tags);
        }
        let service = state.services.values().find(|service| service.arn == arn).map(|service| &service.tags);
        service
            .or_else(|| state.tasks.get(arn).map(|task| &task.tags))
            .or_else(|| state.instances.get(arn).map(|instance| &instance.tags))
            .or_else(|| state.definitions.get(arn).map(|definition| &definition.tags))
    }

    /// The same, to be changed.
    pub(crate) fn tags_mut(&mut self, arn: &str) -> Option<&mut BTreeMap<String, String>> {
        let state = &mut self.state;
        if arn == state.cluster_arn {
            return Some(&mut state.cluster_tags);
        }
        if let Some(service) = state.services.values_mut().find(|service| service.arn == arn) {
            return Some(&mut service.tags);
        }
        if let Some(task) = state.tasks.get_mut(arn) {
            return Some(&mut task.tags);
        }
        if let Some(instance) = state.instances.get_mut(arn) {
            return Some(&mut instance.tags);
        }
        state.definitions.get_mut(arn).map(|definition| &mut definition.tags)
    }
}

/// A task definition's revision, from its ARN.
pub(crate) fn revision(arn: &str) -> u32 {
    arn.rsplit(':').next().and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "spans of a rehearsal")]
pub(crate) fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}
