//! What the tests share: a drawn cluster, a run on it, and what must hold afterwards.

use std::collections::BTreeMap;

use ecs_rebalancer::{
    config::Config,
    rehearsal::{self, Rehearsal},
    report::Report,
};
use ecs_simulator::{
    Options, Simulator,
    behaviour::{Behaviour, SWITCHES},
    drawing::Drawing,
    faults::Faults,
    snapshot::Snapshot,
};

/// The name of every drawn cluster.
pub(crate) const CLUSTER: &str = "test";

/// Settings of the environment, `NAME=VALUE` with blanks between, without the prefix.
pub(crate) fn config(settings: &str) -> Config {
    let ours = settings.split_whitespace().map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        (format!("REBALANCER_{name}").into(), value.into())
    });
    Config::from_variables(ours.chain([("REBALANCER_CLUSTER".into(), CLUSTER.into())])).unwrap()
}

pub(crate) fn snapshot(drawing: &str) -> Snapshot {
    Snapshot::from_drawing(CLUSTER, &Drawing::parse(drawing).unwrap()).unwrap()
}

/// Target groups as those have them who care about the length of deployments; the defaults take minutes. What is set later holds.
const SHORT: [&str; 2] = ["target-checks=2x10s", "deregistration-delay=30s"];

pub(crate) fn options(seed: u64, behaviour: &[&str], faults: &[&str]) -> Options {
    Options {
        seed,
        behaviour: Behaviour::from_settings(&[&SHORT[..], behaviour].concat()).unwrap(),
        faults: Faults::from_settings(faults).unwrap(),
    }
}

/// Every value of every switch under which a constraint steers the tasks of the step that set it. Where it takes effect only at
/// the next deployment, nothing can be steered.
pub(crate) fn steerable_behaviours() -> impl Iterator<Item = String> {
    behaviours().filter(|setting| setting != NO_STEERING)
}

/// Every value of every switch.
pub(crate) fn behaviours() -> impl Iterator<Item = String> {
    SWITCHES.iter().flat_map(|switch| switch.values.iter().map(|value| format!("{}={value}", switch.name)))
}

/// The one under which it can't.
pub(crate) const NO_STEERING: &str = "constraints-bind=next-deployment";

/// Runs a future on tokio's paused clock.
pub(crate) fn in_simulated_time<T>(future: impl Future<Output = T>) -> T {
    rehearsal::in_simulated_time(future).unwrap()
}

/// A drawn cluster, and one run on it.
pub(crate) fn rehearse(drawing: &str, settings: &str, options: Options) -> (Report, Rehearsal) {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options).unwrap();
        let report = rehearsal.run(&config(settings), CLUSTER, "run-1").await;
        (report, rehearsal)
    })
}

/// The tasks of a service by instance, as `i-1=2 i-2=1`.
pub(crate) fn spread_of(rehearsal: &Rehearsal, service: &str) -> String {
    spread_in(&rehearsal.simulator(), service)
}

/// The same, of a simulator.
pub(crate) fn spread_in(simulator: &Simulator, service: &str) -> String {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for instance in simulator.service(service).unwrap().tasks.values() {
        *counts.entry(instance.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
    }
    counts.iter().map(|(instance, tasks)| format!("{instance}={tasks}")).collect::<Vec<_>>().join(" ")
}

/// What must hold of every service after a run that came to its end, whatever happened: nothing of ours is left.
pub(crate) fn leftovers(rehearsal: &Rehearsal, own_protection: &[&str]) -> Vec<String> {
    leftovers_in(&rehearsal.simulator(), own_protection)
}

/// The same, of a simulator.
pub(crate) fn leftovers_in(simulator: &Simulator, own_protection: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    for name in simulator.service_names() {
        let Some(service) = simulator.service(&name) else { continue };
        // One that is deleted can't be tagged any more, and has nothing left to restore.
        if service.status != "INACTIVE" && service.tags.contains_key("ecs-rebalancer:surge") {
            left.push(format!("{name}: surge tag {}", service.tags["ecs-rebalancer:surge"]));
        }
        // A service that is being deleted can't be updated any more.
        let is_active = service.status == "ACTIVE";
        if is_active
            && service.placement_constraints.iter().any(|(_, expression)| expression.contains("ecs-rebalancer"))
        {
            left.push(format!("{name}: constraint"));
        }
        for task in &service.protected {
            if !own_protection.iter().any(|own| task.ends_with(own)) {
                left.push(format!("{name}: protection of {task}"));
            }
        }
    }
    for instance in simulator.instances_with_attribute("ecs-rebalancer.target").keys() {
        left.push(format!("attribute on {instance}"));
    }
    for (tag, lease) in simulator.cluster_tags() {
        if tag.starts_with("ecs-rebalancer:lease-") {
            left.push(format!("{tag} {lease}"));
        }
    }
    left
}
