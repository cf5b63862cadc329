//! Does a spread count the service's tasks of all its capacity providers?

use super::{arns, least, short};
use crate::{
    finding::Outcome,
    lab::{Instance, Lab, Plan},
    odds::Odds,
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "spread-across-providers",
    assumption: "For a service over several capacity providers a spread counts its tasks of all of them.",
    harm: "Tasks that the job takes for misplaced are where ECS puts them again, or the other way round.",
    notices: "It measures again after each step, and undoes a step that left the service more uneven than before.",
    belief: Belief::Open(
        "developer guide, task-placement-strategies: 'tasks of that service'; of a provider strategy nobody says anything",
    ),
    setting: Setting::Behaviour("spread-across-providers"),
    values: &[("all", "those of every provider"), ("own", "those of the provider that the new task goes to")],
    calls: 420,
    minutes: 5,
    work: |lab| Box::pin(work(lab)),
};

/// Tasks that are placed one after the other, at most.
const PLACEMENTS: i32 = 40;

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
    let zone = "spread:attribute:ecs.availability-zone";
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: 0,
        strategy: &[zone],
        over_providers: true,
        ..Plan::default()
    };
    let service = lab.create(&plan).await?;
    let mut look = lab.running(&service, 0).await?;
    let mut odds = Odds::new(&["all", "own"]);
    while look.desired < PLACEMENTS && !odds.is_decided() {
        let (task, after) = lab.raise_by_one(&service, &look).await?;
        let provider = instances.iter().find(|one| one.arn == task.instance).map(|one| one.provider.clone());
        let provider = provider.unwrap_or_default();
        let candidates: Vec<&Instance> = instances.iter().filter(|one| one.provider == provider).collect();
        let in_zone = |zone: &str, own: bool| {
            let there = instances.iter().filter(|one| one.zone == zone && (!own || one.provider == provider));
            there.map(|one| look.on(&one.arn)).sum::<usize>()
        };
        odds.saw(&format!("task {}, of {provider}", after.desired), &task.instance, |world| {
            arns(least(candidates.iter().copied(), |one| in_zone(&one.zone, world == "own")))
        });
        lab.tell(&format!("{service}: task {} went to {}", after.desired, short(&task.instance)));
        look = after;
    }
    odds.outcome()
}
