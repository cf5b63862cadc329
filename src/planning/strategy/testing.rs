//! What the tables of the strategies share: what is shown of a service, in words, and a step in words.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Limits, Need, Seen, Step, Stop, Stopped, Tasks, promised::Promised};
use crate::planning::{
    levelling::Tally,
    model::{Cluster, ContainerInstanceArn, Service, ServiceEvent, ServiceName, ServiceStatus, TaskArn, Timestamp},
    notes::steering_constraint,
    policy::Policy,
    testing::{self, NOW},
};

/// A service as it is shown: all that a [`Seen`] borrows, and the limits.
pub(super) struct Shown {
    pub(super) cluster: Cluster,
    pub(super) service: Option<Service>,
    pub(super) tasks: Option<Tasks>,
    protections: BTreeMap<TaskArn, Option<Timestamp>>,
    stopped: BTreeMap<TaskArn, Stopped>,
    stopping: Option<BTreeSet<TaskArn>>,
    freed: BTreeMap<ContainerInstanceArn, BTreeSet<Timestamp>>,
    stale_seconds: Option<i64>,
    slow_seconds: i64,
    fresh_instances: BTreeSet<ContainerInstanceArn>,
    promised: Vec<Promised>,
    pub(super) limits: Limits,
}

/// The `number`th drawn task.
pub(super) fn task(number: &str) -> TaskArn {
    format!("arn:aws:ecs:eu-central-1:111122223333:task/drawn/{number:0>5}").as_str().into()
}

/// Tasks as `1,2,5`.
pub(super) fn numbers(list: &str) -> BTreeSet<TaskArn> {
    list.split(',').filter(|number| !number.is_empty()).map(task).collect()
}

/// So many seconds before the moment of all tests.
pub(super) fn ago(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1_000)
}

impl Shown {
    /// A drawing's service `web`, with these words over what the drawing says:
    ///
    /// `desired= running= pending=` (counts), `unready=1,2` (and nobody says since when they run) `protected=1` (by anybody, until
    /// in an hour) `ends=1` (protected until in 20 minutes) `gone=1` (listed no more) `died=1` `scaled-in=1` (why they are gone),
    /// `stops-still=1` (it drains), `stopping=7,8|unseen` (asked to stop by somebody before), `freed=i-2:SECONDS,SECONDS|unseen`
    /// (tasks that were told to stop there had stopped so long ago, else nothing was), `tasks=unseen protections=unseen instances=unseen`, `tag=VALUE`
    /// (of the note, `_` for a blank), `failed=SECONDS` (ago, an event), `deployments=2 status=draining constraint=VALUE
    /// stale=SECONDS` (old look) `slow=SECONDS` (the newest look was asked for so long ago), `gone-service`, and the limits
    /// `stop=signal|deadline moves= lease=lapsed enabled=false last-chance steer in-vain= others-try fits=no`, and of others
    /// `others-target=i-2` (another service is steered there) and `promised=SERVICE:TASKS` (so many are asked for, unsteered).
    pub(super) fn new(drawing: &str, words: &str) -> Self {
        let mut cluster = testing::cluster(drawing);
        let name = ServiceName::from("web");
        let mut limits = unlimited();
        let mut service = cluster.services[&name].clone();
        let (mut sees_tasks, mut sees_protections, mut is_there) = (true, true, true);
        let (mut unready, mut stopped, mut stale_seconds) = (BTreeSet::new(), BTreeMap::new(), None);
        let mut slow_seconds = 0;
        let mut promised = Vec::new();
        let mut stopping = Some(BTreeSet::new());
        let mut freed: BTreeMap<_, _> =
            cluster.container_instances.keys().map(|arn| (arn.clone(), BTreeSet::new())).collect();
        let mut fresh_instances: BTreeSet<_> = freed.keys().cloned().collect();
        let mut protected: BTreeMap<TaskArn, Timestamp> = BTreeMap::new();
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u32>().unwrap();
            match key {
                "desired" => service.desired_count = number(),
                "running" => service.running_count = number(),
                "pending" => service.pending_count = number(),
                "unready" => unready = numbers(value),
                "protected" => protected.extend(numbers(value).into_iter().map(|task| (task, ago(-3_600)))),
                "ends" => protected.extend(numbers(value).into_iter().map(|task| (task, ago(-1_200)))),
                "gone" => cluster.tasks.retain(|task, _| !numbers(value).contains(task)),
                "stops-still" => stopped.extend(numbers(value).into_iter().map(|task| (task, Stopped::default()))),
                "died" => stopped.extend(numbers(value).into_iter().map(|task| {
                    (
                        task,
                        Stopped { is_over: true, code: "EssentialContainerExited".to_owned(), reason: String::new() },
                    )
                })),
                "scaled-in" => stopped.extend(numbers(value).into_iter().map(|task| {
                    let reason = "Scaling activity initiated by (deployment ecs-svc/1)".to_owned();
                    (task, Stopped { is_over: true, code: "ServiceSchedulerInitiated".to_owned(), reason })
                })),
                "stopping" => stopping = (value != "unseen").then(|| numbers(value)),
                "freed" => match value.split_once(':') {
                    Some((place, seconds)) => {
                        let stops = seconds.split(',').map(|seconds| ago(seconds.parse().unwrap()));
                        freed.insert(place.into(), stops.collect());
                    }
                    None => freed.clear(),
                },
                "tasks" => sees_tasks = false,
                "protections" => sees_protections = false,
                "instances" => fresh_instances.clear(),
                "tag" => drop(service.tags.insert("ecs-rebalancer:surge".to_owned(), value.replace('_', " "))),
                "failed" => {
                    let message = "was unable to place a task".to_owned();
                    service.newest_failure = Some(ServiceEvent { at: ago(i64::from(number())), message });
                }
                "deployments" => {
                    let another = service.deployments[0].clone();
                    service.deployments.push(another);
                }
                "status" => service.status = ServiceStatus::Draining,
                "constraint" => service.placement_constraints.push(steering_constraint(value)),
                "stale" => stale_seconds = Some(i64::from(number())),
                "slow" => slow_seconds = i64::from(number()),
                "gone-service" => is_there = false,
                "promised" => {
                    let (name, tasks) = value.split_once(':').unwrap();
                    let (name, tasks) = (name.into(), tasks.parse().unwrap());
                    promised.push(Promised { name, tasks, targets: BTreeSet::new() });
                }
                _ => limit(&mut limits, key, value),
            }
        }
        cluster.services.insert(name.clone(), service.clone());
        let mut tasks = Tasks::all_ready(&cluster, &name);
        tasks.ready.retain(|task| !unready.contains(task));
        let late = tasks.all.values_mut().filter(|task| unready.contains(&task.arn));
        late.for_each(|task| task.started_at = None);
        let of_it = if sees_protections { tasks.all.keys().cloned().collect() } else { BTreeSet::new() };
        let protections = of_it.into_iter().map(|task| (task.clone(), protected.get(&task).copied())).collect();
        let (tasks, service) = (sees_tasks.then_some(tasks), is_there.then_some(service));
        Self {
            cluster,
            service,
            tasks,
            protections,
            stopped,
            stopping,
            freed,
            stale_seconds,
            slow_seconds,
            fresh_instances,
            promised,
            limits,
        }
    }

    /// What a strategy is shown.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            now: NOW,
            looked_at: ago(self.stale_seconds.unwrap_or(self.slow_seconds)),
            is_fresh: self.stale_seconds.is_none(),
            service: self.service.as_ref(),
            tasks: self.tasks.as_ref(),
            protections: self.protections.clone(),
            stopped: self.stopped.clone(),
            stopping: self.stopping.clone(),
            freed: self.freed.clone(),
            fresh_instances: self.fresh_instances.clone(),
            cluster: &self.cluster,
            promised: &self.promised,
        }
    }
}

/// What limits a step where a table says nothing of that.
pub(super) fn unlimited() -> Limits {
    let policy = Policy::default();
    Limits {
        moves: 50,
        surge: policy.surge,
        task_timeout: policy.task_timeout,
        protect_minutes: 20,
        stop: None,
        fits: true,
        is_last_chance: false,
        holds_lease: true,
        steers: false,
        others_targets: BTreeSet::new(),
        load_threshold: policy.load_threshold,
        in_vain: 4,
        tally: Tally::default(),
        others_try: false,
        reviewed: None,
        is_enabled: true,
    }
}

/// Takes over a limit that a table names.
fn limit(limits: &mut Limits, key: &str, value: &str) {
    match key {
        "stop" => limits.stop = Some(if value == "signal" { Stop::Signal } else { Stop::Deadline }),
        "moves" => limits.moves = value.parse().unwrap(),
        "lease" => limits.holds_lease = false,
        "enabled" => limits.is_enabled = false,
        "last-chance" => limits.is_last_chance = true,
        "steer" => limits.steers = true,
        "others-target" => drop(limits.others_targets.insert(value.into())),
        "in-vain" => limits.in_vain = value.parse().unwrap(),
        "fits" => limits.fits = false,
        "others-try" => limits.others_try = true,
        _ => panic!("{key} says nothing"),
    }
}

/// A step in words.
pub(super) fn told(step: &Step) -> String {
    let tasks = |tasks: &mut dyn Iterator<Item = &TaskArn>| {
        tasks.map(|task| task.short().trim_start_matches('0').to_owned()).collect::<Vec<_>>().join(",")
    };
    match step {
        Step::See(Need::Tasks) => "see tasks".to_owned(),
        Step::See(Need::Protections(asked)) => format!("see protections {}", tasks(&mut asked.iter())),
        Step::See(Need::Stopped(asked)) => format!("see why {} stopped", tasks(&mut asked.iter())),
        Step::See(Need::Stopping) => "see who is stopping".to_owned(),
        Step::See(Need::Freed(_)) => "see when others have stopped there".to_owned(),
        Step::See(Need::Instances(_)) => "see instances".to_owned(),
        Step::Wait(None) => "wait".to_owned(),
        Step::Wait(Some(span)) => format!("wait {} s", span.as_secs()),
        Step::Done(ending) => format!("done: {ending}"),
        Step::Act(action) => match action {
            Action::Note(note) => {
                let steered = if note.steer.is_some() { ", steered" } else { "" };
                format!("note {} to {}{steered}", note.from, note.to)
            }
            Action::ClearNote => "clear note".to_owned(),
            Action::NoteLast(last) => format!("note last, misses {}", last.misses),
            Action::SetDesiredCount(count, None) => format!("count {count}"),
            Action::SetDesiredCount(count, Some(all)) => format!("count {count}, constraints {}", all.len()),
            Action::SetConstraints(all) => format!("constraints {}", all.len()),
            Action::PutTarget(instances, _) => format!("attribute on {}", instances.len()),
            Action::DeleteTarget(instances) => format!("attribute off {}", instances.len()),
            Action::Protect(asked, _) => format!("protect {}", tasks(&mut asked.iter())),
            Action::Unprotect(asked) => format!("unprotect {}", tasks(&mut asked.iter())),
            Action::Stop(asked) => format!("stop {}", tasks(&mut asked.iter())),
            Action::ForceNewDeployment => "deploy anew".to_owned(),
            Action::NewRevision(_) => "deploy a new revision".to_owned(),
            Action::Deploy(_) => "deploy the old revision".to_owned(),
        },
    }
}
