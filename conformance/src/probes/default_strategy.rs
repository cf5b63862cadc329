//! Without a placement strategy, which instance of the best zone is taken?

use std::collections::BTreeMap;

use super::{arns, least, short};
use crate::{
    finding::Outcome,
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
    calls: 800,
    minutes: 12,
    work: |lab| Box::pin(work(lab)),
};

/// Tasks that are placed one after the other, at most.
const PLACEMENTS: i32 = 24;

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
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
    odds.outcome()
}
