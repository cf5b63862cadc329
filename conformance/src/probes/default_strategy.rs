//! Without a placement strategy, which instance of the best zone is taken?

use std::collections::{BTreeMap, BTreeSet};

use super::{arns, least, short};
use crate::{
    finding::{Outcome, Stop},
    lab::{Instance, Lab, Plan},
    odds::Odds,
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "default-strategy",
    assumption: "Without a placement strategy a new task goes to the zone with the fewest of the service, and there to the \
                 instance with the fewest.",
    harm: "A surge of such a service puts tasks where the plan doesn't expect them, and may even nothing out.",
    notices: "After each step it measures again, and undoes a step that left the service more uneven than before.",
    belief: Belief::Documented(
        "developer guide, ecs_service-options; its page task-placement-strategies can be read as a random choice within the zone",
    ),
    setting: Setting::Behaviour("default-strategy"),
    values: &[
        ("fewest", "the instance with the fewest tasks of the service"),
        ("most", "the instance with the most"),
        ("random", "any instance of the zone"),
    ],
    calls: 900,
    minutes: 12,
    work: |lab| Box::pin(work(lab)),
};

/// Tasks that are placed one after the other, at most.
const PLACEMENTS: i32 = 24;
/// What stands on the two instances of each zone beforehand, heavy tasks and tiny ones: so the one with the most memory free isn't the
/// one with the fewest tasks, and neither is the one with the fewest of the service for long.
const BALLAST: [(i32, i32); 2] = [(2, 0), (0, 8)];
/// Services that are made anew, at most, to see whether ECS always begins with the same instance.
const BEGINNINGS: u32 = 10;

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
    let mut before = BTreeMap::<&str, usize>::new();
    for instance in &instances {
        let place = before.entry(instance.zone.as_str()).or_default();
        lab.load(instance, BALLAST[*place % BALLAST.len()]).await?;
        *place += 1;
    }
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 1, ..Plan::default() };
    let (service, mut look) = lab.make(&plan).await?;
    let mut odds = Odds::new(&["fewest", "most", "random"]);
    while look.desired <= PLACEMENTS && !odds.is_decided() {
        let (task, after) = lab.raise_by_one(&service, &look).await?;
        let of_zone = |zone: &str| instances.iter().filter(|one| one.zone == zone).map(|one| look.on(&one.arn)).sum();
        let zones: BTreeMap<&str, usize> =
            instances.iter().map(|instance| (instance.zone.as_str(), of_zone(&instance.zone))).collect();
        let best: Vec<&Instance> = least(&instances, |instance| zones.get(instance.zone.as_str()).copied());
        odds.saw(&format!("task {}", after.desired), &task.instance, |world| match world {
            "fewest" => arns(least(best.iter().copied(), |instance| look.on(&instance.arn))),
            "most" => arns(least(best.iter().copied(), |instance| std::cmp::Reverse(look.on(&instance.arn)))),
            _ => arns(best.iter().copied()),
        });
        lab.tell(&format!("{service}: task {} went to {}", after.desired, short(&task.instance)));
        look = after;
    }
    let found = odds.outcome()?;
    if found.value == "most" {
        begins_anywhere(lab, &instances).await?;
    }
    Ok(found)
}

/// Whether services begin on one instance of a zone or on the other. Where they always begin on the same one, that may be a rule among
/// equals, and no sign of the service's own tasks.
async fn begins_anywhere(lab: &Lab<'_>, instances: &[Instance]) -> Result<(), Stop> {
    let mut begun = BTreeMap::<&str, BTreeSet<String>>::new();
    for _ in 0..BEGINNINGS {
        let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 2, ..Plan::default() };
        let service = lab.create(&plan).await?;
        let look = lab.running(&service, 2).await?;
        for instance in instances.iter().filter(|instance| look.on(&instance.arn) > 0) {
            begun.entry(&instance.zone).or_default().insert(instance.arn.clone());
        }
        lab.delete(&service).await?;
        // The next one finds the instances as this one did.
        for arn in look.tasks.keys() {
            lab.stopped(arn).await?;
        }
        if begun.values().any(|instances| instances.len() > 1) {
            return Ok(());
        }
    }
    Err(Stop::not_settled(format!(
        "every service takes the same instance of a zone from its first task on: that may be a rule among equals, {begun:?}"
    )))
}
