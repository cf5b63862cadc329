//! Which of several equal instances is taken?

use std::cmp::Reverse;

use super::{arns, least, short};
use crate::{
    finding::{Outcome, Stop},
    lab::{Instance, Lab, Plan},
    odds::Odds,
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "ties",
    assumption: "Among instances that a strategy holds for equal ECS may take any.",
    harm: "A plan that expected one of them would move tasks that needn't have moved, or leave load where it was.",
    notices: "After each step it measures again, and takes what it finds.",
    belief: Belief::Open("nothing is documented"),
    setting: Setting::Behaviour("ties"),
    values: &[
        ("random", "any of them"),
        ("first", "the first by ARN"),
        ("last", "the last by ARN"),
        ("most-free-memory", "the one with the most memory free"),
        ("fewest-tasks", "the one with the fewest tasks of all services"),
        ("oldest", "the one that registered first"),
        ("fullest", "the one with the least memory free"),
    ],
    calls: 400,
    minutes: 6,
    work: |lab| Box::pin(work(lab)),
};

/// Tasks that are placed one after the other, at most.
const PLACEMENTS: i32 = 16;
/// What stands on the instances beforehand, so that every way orders them otherwise: heavy tasks and tiny ones, by the
/// instance's place in the order of ARNs.
const BALLAST: [(i32, i32); 4] = [(2, 0), (0, 3), (1, 0), (0, 4)];

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
    if instances.len() < BALLAST.len() {
        return Err(Stop::not_settled(format!("it takes {} instances", BALLAST.len())));
    }
    for (instance, ballast) in instances.iter().zip(BALLAST) {
        lab.load(instance, ballast).await?;
    }
    let tiny = &lab.stack.task_definitions.tiny;
    let plan = Plan { definition: tiny, count: 0, strategy: &["spread:instanceId"], ..Plan::default() };
    let service = lab.create(&plan).await?;
    let mut look = lab.running(&service, 0).await?;
    let worlds: Vec<&'static str> = PROBE.values.iter().map(|(value, _)| *value).collect();
    let mut odds = Odds::new(&worlds);
    while look.desired < PLACEMENTS && !odds.is_decided() {
        let instances = lab.instances().await?;
        let (task, after) = lab.raise_by_one(&service, &look).await?;
        let equal: Vec<&Instance> = least(&instances, |instance| look.on(&instance.arn));
        let equal = || equal.iter().copied();
        odds.saw(&format!("task {}", after.desired), &task.instance, |world| match world {
            "first" => arns(least(equal(), |instance| instance.arn.clone())),
            "last" => arns(least(equal(), |instance| Reverse(instance.arn.clone()))),
            "most-free-memory" => arns(least(equal(), |instance| Reverse(instance.free_memory))),
            "fewest-tasks" => arns(least(equal(), |instance| instance.tasks)),
            "oldest" => arns(least(equal(), |instance| instance.registered)),
            "fullest" => arns(least(equal(), |instance| instance.free_memory)),
            _ => arns(equal()),
        });
        lab.tell(&format!("{service}: task {} went to {}", after.desired, short(&task.instance)));
        look = after;
    }
    odds.outcome()
}
