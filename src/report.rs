//! What was found, planned and done, as data; the modules below only render it.

mod consolidation;
pub mod html;
mod instances;
pub mod json;
mod played;
pub mod text;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

pub use self::consolidation::{ConsolidationReport, FreedInstance, KeptInstances};
pub use self::played::{COMPARED, Comparison, Lowest, Moment, Played, PlayedService, WatchedService, compared};
use crate::{
    aws::read::Vanished,
    config::{ReportFile, ReportFormat},
    execute::{Finished, Watched},
    planning::{
        imbalance::{Measure, ServiceMeasure},
        model::{Cluster, ServiceName},
        plan::{Plan, Room},
        policy::{Mode, Policy, Share},
        reason::LeftAlone,
        strategy::{Ending, Stop},
    },
};

/// The report of one run on one cluster, in the contract's names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Report {
    /// Which run this was; its marks in the cluster carry the same.
    pub run_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// `spread` or `consolidate`.
    pub mode: &'static str,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The container instance whose event launched the run.
    pub trigger: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended that way, in a sentence.
    pub outcome_reason: String,
    /// What was found.
    pub before: Option<Summary>,
    /// What the plan comes to.
    pub predicted: Option<Summary>,
    /// What is left.
    pub after: Option<Summary>,
    /// The services that are left at a desired count that their owners did not set; the next run restores it.
    pub left_raised: Vec<LeftRaised>,
    /// Tasks that were started and went again.
    pub starts_in_vain: u32,
    /// Every service, by name.
    pub services: Vec<ServiceReport>,
    /// Every container instance, by zone and name. For people's pictures only: JSON has what the contract lists.
    #[serde(skip)]
    pub container_instances: Vec<InstanceReport>,
    /// The same after the run, where something was done.
    #[serde(skip)]
    pub container_instances_after: Vec<InstanceReport>,
    /// The same as the plan comes to, where there is one.
    #[serde(skip)]
    pub container_instances_predicted: Vec<InstanceReport>,
    /// What the run saw of the services in hand as it went on. For people's pictures only.
    #[serde(skip)]
    pub watched: Vec<WatchedService>,
    /// Each variable and what held. For people's pictures only.
    #[serde(skip)]
    pub configuration: Vec<Configured>,
    /// Every move that is planned.
    pub plan: Vec<PlannedMove>,
    /// Which container instances come free, in mode `consolidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consolidation: Option<ConsolidationReport>,
    /// Attempts by operation.
    pub api_calls: BTreeMap<String, u64>,
    /// How long the run took.
    pub duration_seconds: f64,
    /// What failed, a sentence each.
    pub errors: Vec<String>,
    /// What was met and is worth knowing, a sentence each.
    pub warnings: Vec<String>,
    /// Whether more is left than was predicted, for no reason that the run knows of.
    #[serde(skip)]
    pub differs_unexplained: bool,
    /// Whether a service ended otherwise than planned, which explains that more is left than was predicted.
    #[serde(skip)]
    is_explained: bool,
    /// Whether the deadline ended it for a service.
    #[serde(skip)]
    ended_by_deadline: bool,
    /// For whom room was made, as an appendix to the reason.
    #[serde(skip)]
    made_room: String,
    /// What happened to the services, where the cluster was simulated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Played>,
}

/// Writes reports to files: one each, or where there are several clusters, one each for every cluster, with its name before
/// the file's ending.
///
/// # Errors
/// Names the file.
pub fn write(reports: &[Report], files: &[ReportFile]) -> Result<()> {
    for (report, file) in reports.iter().flat_map(|report| files.iter().map(move |file| (report, file))) {
        let path = if reports.len() > 1 {
            let ending = file.path.extension().unwrap_or_default().to_string_lossy().into_owned();
            file.path.with_extension(format!("{}.{ending}", report.cluster))
        } else {
            file.path.clone()
        };
        let content = match file.format {
            ReportFormat::Json => json::document(report)?,
            ReportFormat::Html => html::document(report),
        };
        std::fs::write(&path, content).with_context(|| format!("cannot write the report to {}", path.display()))?;
    }
    Ok(())
}

/// How a run ended: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The run was not wanted: another is at work, or its trigger is none.
    Skipped,
    /// Something failed, or a service is left raised.
    Failed,
    /// A signal or the deadline ended it.
    Interrupted,
    /// A dry run found something to move.
    Planned,
    /// At least one task was moved.
    Rebalanced,
    /// Some tasks were to be moved, and none was.
    Unchanged,
    /// Nothing was to be moved.
    Balanced,
}

/// A service that is left at a desired count that its owner did not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftRaised {
    /// The service.
    pub service: String,
    /// The desired count that it is left at.
    pub count: u32,
    /// The desired count that is meant.
    pub count_meant: u32,
}

/// A cluster's figures at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Misplaced tasks ÷ running tasks of services that spread × 100.
    pub task_imbalance_percent: f64,
    /// The smallest number of tasks that must move.
    pub misplaced_tasks: u32,
    /// Those of them that can't be moved now.
    pub stuck_tasks: u32,
    /// Of the worst service.
    pub task_skew: u32,
    /// The larger of the two below.
    pub load_imbalance_percent: f64,
    /// The share of reserved CPU that would have to move.
    pub cpu_load_imbalance_percent: f64,
    /// The share of reserved memory that would have to move.
    pub memory_load_imbalance_percent: f64,
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// Usable ones.
    pub container_instances: u32,
    /// Usable ones without a task that is not a daemon's.
    pub empty_instances: u32,
    /// Reserved ÷ registered.
    pub cpu_reservation_percent: f64,
    /// Reserved ÷ registered.
    pub memory_reservation_percent: f64,
}

impl Summary {
    /// The figures of a measure.
    pub fn of(measure: &Measure) -> Self {
        Self {
            task_imbalance_percent: shown(measure.task_imbalance),
            misplaced_tasks: measure.misplaced_tasks,
            stuck_tasks: measure.stuck_tasks,
            task_skew: measure.task_skew,
            load_imbalance_percent: shown(measure.load_imbalance),
            cpu_load_imbalance_percent: shown(measure.cpu_load_imbalance),
            memory_load_imbalance_percent: shown(measure.memory_load_imbalance),
            running_tasks: measure.running_tasks,
            container_instances: measure.container_instances,
            empty_instances: measure.empty_instances,
            cpu_reservation_percent: shown(measure.cpu_reservation),
            memory_reservation_percent: shown(measure.memory_reservation),
        }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// Misplaced ÷ running × 100.
    pub task_imbalance_percent: f64,
    /// The smallest number of tasks that must move; 0 where that was not measured.
    pub misplaced_tasks: u32,
    /// Those of them that can't be moved now.
    pub stuck_tasks: u32,
    /// Most minus fewest tasks over its domains.
    pub task_skew: u32,
    /// Tasks in RUNNING.
    pub running_tasks: u32,
    /// What was, or would be, done.
    pub action: Action,
    /// Why, in a sentence.
    pub reason: String,
    /// Why, in a word that doesn't change; empty where nothing is left alone.
    pub reason_code: &'static str,
    /// Moves in the plan.
    pub planned_moves: u32,
    /// Moves made.
    pub moved: u32,
}

/// What is done about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Tasks of it move.
    Rebalance,
    /// Tasks of it fit nowhere, and tasks of others move so that it has room.
    MakeRoom,
    /// It has misplaced tasks and is left alone.
    LeaveAlone,
    /// It is spread as it asks.
    None,
    /// It doesn't ask to be spread.
    NotMeasured,
}

/// One container instance, as pictures show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceReport {
    /// Its zone.
    pub availability_zone: String,
    /// Its EC2 id, or the end of its ARN where it has none.
    pub name: String,
    /// Whether ECS would place tasks on it.
    pub usable: bool,
    /// Tasks in RUNNING or on their way there.
    pub running_tasks: u32,
    /// Rounded up, so that only what is empty shows as 0.
    pub reserved_cpu_percent: u32,
    /// Rounded up, so that only what is empty shows as 0.
    pub reserved_memory_percent: u32,
    /// Its ARN.
    pub arn: String,
    /// The tasks of each service on it, and of those services that are uneven, what an even arrangement would give it.
    pub tasks: BTreeMap<String, TasksOfService>,
}

/// One service's tasks on one container instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TasksOfService {
    /// Tasks in RUNNING or on their way there.
    pub running: u32,
    /// What an even arrangement would put here, in hundredths; none where the service is spread, or isn't measured.
    pub even_hundredths: Option<u32>,
}

/// One setting of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The variable.
    pub name: &'static str,
    /// What held.
    pub value: String,
    /// Whether that is what holds where nothing is set.
    pub is_default: bool,
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedMove {
    /// The service.
    pub service: String,
    /// The task that goes, its ARN.
    pub task: String,
    /// The container instance that it leaves, its ARN.
    pub from: String,
    /// The container instance where its replacement is expected, its ARN.
    pub to: String,
}

/// What a report is made of, beside the measure.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which run.
    pub run_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The mode in force.
    pub mode: Mode,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The container instance whose event launched the run.
    pub trigger: Option<String>,
    /// Each variable and what holds.
    pub configuration: Vec<Configured>,
}

impl Report {
    /// An empty report, to be filled as the run goes on.
    pub fn new(facts: Facts) -> Self {
        Self {
            run_id: facts.run_id,
            cluster: facts.cluster,
            mode: match facts.mode {
                Mode::Spread => "spread",
                Mode::Consolidate => "consolidate",
            },
            dry_run: facts.dry_run,
            trigger: facts.trigger,
            outcome: Outcome::Failed,
            outcome_reason: String::new(),
            before: None,
            predicted: None,
            after: None,
            left_raised: Vec::new(),
            starts_in_vain: 0,
            services: Vec::new(),
            container_instances: Vec::new(),
            container_instances_after: Vec::new(),
            container_instances_predicted: Vec::new(),
            watched: Vec::new(),
            configuration: facts.configuration,
            plan: Vec::new(),
            consolidation: None,
            api_calls: BTreeMap::new(),
            duration_seconds: 0.0,
            errors: Vec::new(),
            warnings: Vec::new(),
            differs_unexplained: false,
            is_explained: false,
            ended_by_deadline: false,
            made_room: String::new(),
            rehearsal: None,
        }
    }

    /// Takes over what was measured before anything moved.
    pub fn found(&mut self, cluster: &Cluster, measure: &Measure) {
        self.container_instances = instances::of(cluster, measure);
        self.before = Some(Summary::of(measure));
        self.services = measure.services.iter().map(|(name, service)| service_report(name, service)).collect();
    }

    /// Takes over what was met while reading.
    pub fn met(&mut self, vanished: &[Vanished], oddities: Vec<String>) {
        let gone =
            vanished.iter().map(|gone| format!("{} was listed, but could not be described: {}", gone.arn, gone.reason));
        self.warn(gone.chain(oddities).collect());
    }

    /// Takes over a plan. If nothing follows, that is how the run ends.
    pub fn planned(&mut self, cluster: &Cluster, plan: &Plan, policy: &Policy) {
        self.predicted = Some(Summary::of(&plan.predicted));
        self.container_instances_predicted = instances::after(cluster, plan);
        self.plan = plan
            .moves()
            .map(|(service, a_move)| PlannedMove {
                service: service.to_string(),
                task: a_move.task.to_string(),
                from: a_move.from.to_string(),
                to: a_move.to.to_string(),
            })
            .collect();
        for service in &mut self.services {
            let name = ServiceName::from(service.name.as_str());
            if let Some(planned) = plan.services.iter().find(|planned| planned.name == name) {
                service.action = Action::Rebalance;
                service.planned_moves = u32::try_from(planned.moves.len()).unwrap_or(u32::MAX);
                let made_for: Vec<&str> = plan
                    .rooms
                    .iter()
                    .filter(|room| room.movers.contains(&name))
                    .map(|room| room.service.as_str())
                    .collect();
                if !made_for.is_empty() {
                    service.reason = format!("to make room for {}", made_for.join(", "));
                } else if service.stuck_tasks == 0 {
                    service.reason = String::new();
                }
            } else if let Some(room) = plan.rooms.iter().find(|room| room.service == name) {
                service.action = Action::MakeRoom;
                service.reason = room_reason(room);
            } else if let Some(reason) = plan.left_alone.get(&name) {
                service.action = Action::LeaveAlone;
                service.reason = reason.to_string();
                service.reason_code = reason.code();
            }
        }
        self.consolidation = ConsolidationReport::planned(cluster, plan);
        let misplaced = self.before.as_ref().map_or(0, |before| before.misplaced_tasks);
        let moves = self.plan.len();
        let threshold = policy.threshold;
        let lacks_room =
            |reason: &&LeftAlone| matches!(reason, LeftAlone::NeedsSteering { .. } | LeftAlone::NoRoomToMake { .. });
        let without_room = plan.left_alone.values().filter(lacks_room).count();
        let mut of_spread = plan.left_alone.values().filter(|reason| !lacks_room(reason));
        let below = of_spread.all(|reason| matches!(reason, LeftAlone::BelowThreshold(_)));
        if let Some(consolidation) = &self.consolidation {
            let instances = container_instances(consolidation.number());
            if moves == 0 {
                self.conclude(Outcome::Balanced, "no container instance can be set free".to_owned());
            } else {
                let used = consolidation.used(self.before.as_ref(), &plan.predicted);
                self.conclude(
                    Outcome::Planned,
                    format!("{instances} would come free, by {} moved{used}", tasks(moves)),
                );
            }
        } else if misplaced == 0 && moves == 0 && without_room > 0 {
            let services = counted(without_room, "service lacks", "services lack");
            self.conclude(Outcome::Balanced, format!("no task is misplaced; {services} tasks that fit nowhere"));
        } else if misplaced == 0 && moves == 0 {
            self.conclude(Outcome::Balanced, "no task is misplaced".to_owned());
        } else if moves > 0 {
            let services = plan.services.len();
            self.conclude(
                Outcome::Planned,
                format!("{} of {} would move", tasks(moves), counted(services, "service", "services")),
            );
        } else if below {
            let reason = format!("{} misplaced, below the threshold of {threshold} %", tasks(misplaced as usize));
            self.conclude(Outcome::Balanced, reason);
        } else {
            let reason = format!("{} misplaced, of which none can be moved now", tasks(misplaced as usize));
            self.conclude(Outcome::Unchanged, reason);
        }
    }

    /// Takes over what was seen of the services in hand.
    pub fn watched(&mut self, watched: &Watched) {
        self.watched = watched.iter().map(|(name, counts)| WatchedService::of(name.as_str(), counts)).collect();
    }

    /// Takes over what was measured after an earlier run's leftovers were cleared: of the services, what was done stays.
    pub fn found_after_recovery(&mut self, cluster: &Cluster, measure: &Measure) {
        let moved: BTreeMap<String, u32> =
            self.services.iter().map(|service| (service.name.clone(), service.moved)).collect();
        self.found(cluster, measure);
        for service in &mut self.services {
            service.moved = moved.get(&service.name).copied().unwrap_or(0);
        }
    }

    /// Takes over what was done, before it is seen what it came to.
    pub fn did(&mut self, finished: &[Finished]) {
        for done in finished {
            let failed = done.ending.is_failure();
            if failed {
                self.error(format!("{}: {}", done.name, done.ending));
            } else if done.recovery {
                self.warn(vec![format!("{}: {}", done.name, done.ending)]);
            }
            let remarks = done.record.remarks.iter().map(|remark| format!("{}: {remark}", done.name));
            self.warn(remarks.collect());
            if let Some((count, count_meant)) = done.record.left_raised {
                let name = done.name.to_string();
                self.error(format!(
                    "{name} is left at {count} tasks, and {count_meant} are meant; the next run restores that"
                ));
                self.left_raised.push(LeftRaised { service: name, count, count_meant });
            }
            self.starts_in_vain += done.record.in_vain;
            self.ended_by_deadline |= done.ending == Ending::Limit(Stop::Deadline);
            if let Some(service) = self.services.iter_mut().find(|service| service.name == done.name.as_str()) {
                service.moved += done.record.moved();
                // What a task was moved for says more than that it went.
                let says_what_for = done.ending == Ending::Relocated && !service.reason.is_empty();
                if (!done.recovery || failed) && !says_what_for {
                    service.reason = done.ending.to_string();
                }
            }
        }
        let of_plan: Vec<&Finished> = finished.iter().filter(|done| !done.recovery).collect();
        // Where a service ended otherwise than planned, that explains why more is left than was predicted.
        self.is_explained = finished.iter().any(|done| !done.ending.is_as_planned());
        self.made_room = rooms(finished);
        let moved = finished.iter().map(|done| done.record.moved()).sum::<u32>();
        if moved > 0 {
            self.conclude(Outcome::Rebalanced, format!("{} moved", tasks(moved as usize)));
        } else if !of_plan.is_empty() {
            self.conclude(Outcome::Unchanged, format!("none of {} was moved", tasks(self.plan.len())));
        }
    }

    /// Takes over how the cluster is after the run.
    pub fn looked_again(&mut self, cluster: &Cluster, after: &Measure) {
        self.after = Some(Summary::of(after));
        self.container_instances_after = instances::of(cluster, after);
        let moved: u32 = self.services.iter().map(|service| service.moved).sum();
        let left = after.misplaced_tasks;
        let predicted = self.predicted.as_ref().map_or(left, |predicted| predicted.misplaced_tasks);
        if left > predicted && !self.is_explained {
            self.differs_unexplained = true;
            self.warnings.push(format!(
                "{left} misplaced tasks are left where {predicted} were predicted, though every service in hand ended spread: \
                 something else changed the cluster meanwhile"
            ));
        }
        let came_of_it = match &mut self.consolidation {
            None => format!("{} moved, {left} misplaced are left", tasks(moved as usize)),
            Some(consolidation) => {
                consolidation.done(cluster);
                let (free, planned) = (consolidation.number(), consolidation.freed.len());
                if free < planned && !self.is_explained {
                    self.differs_unexplained = true;
                    self.warnings.push(format!(
                        "{} hold tasks again, though all of theirs were moved: ECS placed others there meanwhile",
                        container_instances(planned - free)
                    ));
                }
                format!("{} moved, {free} of {} came free", tasks(moved as usize), container_instances(planned))
            }
        };
        self.outcome_reason = format!("{came_of_it}{}", self.made_room);
    }

    /// Tasks still misplaced at the end that by the settings were to be moved: not stuck, not below the threshold, not left out.
    pub fn misplaced_left(&self) -> u32 {
        let of_service = |service: &ServiceReport| match service.action {
            Action::Rebalance | Action::MakeRoom => {
                service.misplaced_tasks.saturating_sub(service.stuck_tasks).saturating_sub(service.moved)
            }
            // A limit of the run's leaves it for a later one.
            Action::LeaveAlone if matches!(service.reason_code, "max-services" | "max-moves") => {
                service.misplaced_tasks.saturating_sub(service.stuck_tasks)
            }
            Action::LeaveAlone | Action::None | Action::NotMeasured => 0,
        };
        if self.mode == "consolidate" { 0 } else { self.services.iter().map(of_service).sum() }
    }

    /// Takes over what is worth knowing, once.
    pub fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                tracing::warn!(cluster = self.cluster, "{warning}");
                self.warnings.push(warning);
            }
        }
    }

    fn error(&mut self, error: String) {
        tracing::error!(cluster = self.cluster, "{error}");
        self.errors.push(error);
    }

    /// Says how the run ends.
    pub fn conclude(&mut self, outcome: Outcome, reason: String) {
        self.outcome = outcome;
        self.outcome_reason = reason;
    }

    /// Something failed that ends the run, or that nobody would learn of otherwise.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.error(format!("{error:#}"));
    }

    /// Services with misplaced tasks, or with tasks in the way of a consolidation, that were left alone.
    pub fn left_alone(&self) -> u32 {
        let is_left_alone = |service: &&ServiceReport| {
            service.action == Action::LeaveAlone && (service.misplaced_tasks > 0 || self.consolidation.is_some())
        };
        let left_alone = self.services.iter().filter(is_left_alone).count();
        u32::try_from(left_alone).unwrap_or(u32::MAX)
    }

    /// The status that the process ends with.
    pub fn exit_status(&self) -> u8 {
        match self.outcome {
            Outcome::Failed => 1,
            Outcome::Skipped
            | Outcome::Interrupted
            | Outcome::Planned
            | Outcome::Rebalanced
            | Outcome::Unchanged
            | Outcome::Balanced => 0,
        }
    }

    /// Closes the report: what failed, and then what ended the run early, goes before what it came to.
    pub fn finish(&mut self, duration: Duration, api_calls: BTreeMap<String, u64>, was_told_to_end: bool) {
        let came_to = std::mem::take(&mut self.outcome_reason);
        let after = |what: &str| if came_to.is_empty() { what.to_owned() } else { format!("{came_to}; {what}") };
        (self.outcome, self.outcome_reason) = match self.outcome {
            _ if !self.errors.is_empty() => (Outcome::Failed, after("see the errors")),
            Outcome::Skipped | Outcome::Interrupted => (self.outcome, came_to),
            _ if was_told_to_end => (Outcome::Interrupted, after("the run was told to end (SIGTERM)")),
            _ if self.ended_by_deadline => {
                (Outcome::Interrupted, after("the run's deadline (REBALANCER_DEADLINE) had come"))
            }
            outcome => (outcome, came_to),
        };
        self.duration_seconds = (duration.as_secs_f64() * 1000.0).round() / 1000.0;
        self.api_calls = api_calls;
    }
}

/// For whom room was made, as an appendix.
fn rooms(finished: &[Finished]) -> String {
    let started = finished.iter().filter_map(|done| match done.ending {
        Ending::Started { tasks: started } => {
            Some(format!("; made room for {}: {} started", done.name, tasks(started as usize)))
        }
        _ => None,
    });
    started.collect()
}

fn room_reason(room: &Room) -> String {
    let lacking = counted(room.lacking as usize, "task fits nowhere", "tasks fit nowhere");
    let movers: Vec<&str> = room.movers.iter().map(ServiceName::as_str).collect();
    let (moved, movers) = (tasks(room.moves as usize), movers.join(", "));
    if room.moves == 0 {
        format!("{lacking}; room for {} of them is left of what is made for others", room.tasks)
    } else if room.tasks == room.lacking {
        format!("{lacking}; {moved} of {movers} would make room")
    } else {
        format!("{lacking}; {moved} of {movers} would make room for {} of them", room.tasks)
    }
}

fn tasks(number: usize) -> String {
    counted(number, "task", "tasks")
}

fn container_instances(number: usize) -> String {
    counted(number, "container instance", "container instances")
}

fn counted(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

fn service_report(name: &ServiceName, measure: &ServiceMeasure) -> ServiceReport {
    let mut report = ServiceReport {
        name: name.to_string(),
        task_imbalance_percent: shown(measure.task_imbalance()),
        misplaced_tasks: 0,
        stuck_tasks: 0,
        task_skew: 0,
        running_tasks: measure.running_tasks,
        action: Action::NotMeasured,
        reason: String::new(),
        reason_code: "",
        planned_moves: 0,
        moved: 0,
    };
    match &measure.spread {
        Err(unmeasured) => {
            report.reason = unmeasured.to_string();
            report.reason_code = unmeasured.code();
        }
        Ok(spread) => {
            report.misplaced_tasks = spread.misplaced_tasks;
            report.stuck_tasks = spread.stuck_tasks();
            report.task_skew = spread.skew;
            let stuck: Vec<String> = spread.stuck.keys().map(ToString::to_string).collect();
            (report.action, report.reason) = match (spread.misplaced_tasks, report.stuck_tasks) {
                (0, _) => (Action::None, "spread as its placement strategy asks".to_owned()),
                (misplaced, stuck_tasks) if stuck_tasks >= misplaced => (Action::LeaveAlone, stuck.join("; ")),
                (_, 0) => (Action::Rebalance, String::new()),
                (_, stuck_tasks) => (Action::Rebalance, format!("{stuck_tasks} stuck: {}", stuck.join("; "))),
            };
        }
    }
    report
}

/// Two decimals are what a person reads; more would only differ between machines' printing.
fn shown(share: Share) -> f64 {
    (share.percent() * 100.0).round() / 100.0
}
