//! Which task does a scale-in stop?

use std::{cmp::Reverse, collections::BTreeSet};

use super::{least, short};
use crate::{
    finding::{Outcome, Stop},
    lab::{Lab, Look, Plan, Task},
    odds::Odds,
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "scale-in",
    assumption: "Nothing: among tasks without protection a scale-in may stop any, so the job protects all but those that are to go.",
    harm: "No harm while protection holds. What an owner's own scale-in leaves behind depends on it.",
    notices: "After each scale-in it compares which tasks went with which were meant.",
    belief: Belief::Open(
        "developer guide: the task whose removal leaves the best spread (ecs_service-options), or any of the fullest zone \
         (task-placement-strategies)",
    ),
    setting: Setting::Behaviour("scale-in"),
    values: &[
        ("best-spread", "one of the instance that has the most of the service's"),
        ("zones-then-random", "any of the zone that has the most"),
        ("oldest", "the oldest"),
        ("newest", "the newest"),
        ("random", "any"),
    ],
    calls: 1_500,
    minutes: 29,
    work: |lab| Box::pin(work(lab)),
};

/// Tasks that are taken away one after the other, at most.
const ROUNDS: usize = 40;

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
    let zone_of = |task: &Task| {
        let instance = instances.iter().find(|instance| instance.arn == task.instance);
        instance.map(|instance| instance.zone.clone()).unwrap_or_default()
    };
    // Each on an instance of its own; the next is the second of its instance.
    let even = i32::try_from(instances.len()).unwrap_or(i32::MAX);
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: even,
        strategy: &["spread:instanceId"],
        ..Plan::default()
    };
    if even < 3 {
        return Err(Stop::not_settled("it takes three instances"));
    }
    let (service, mut look) = lab.make(&plan).await?;
    let worlds: Vec<&'static str> = PROBE.values.iter().map(|(value, _)| *value).collect();
    let mut odds = Odds::new(&worlds);
    for _ in 0..ROUNDS {
        if odds.is_decided() {
            break;
        }
        while look.desired <= even {
            look = lab.raise_by_one(&service, &look).await?.1;
        }
        // Healthy ones alone: those that aren't may go first, whatever else holds.
        look = lab.steady(&service, look.desired).await?;
        let (task, after) = lab.lower_by_one(&service, &look).await?;
        let zone = |task: &Task| look.tasks.values().filter(|other| zone_of(other) == zone_of(task)).count();
        odds.saw(&layout(&look), &task.arn, |world| match world {
            "best-spread" => those(&look, |task| Reverse(look.on(&task.instance))),
            "zones-then-random" => those(&look, |task| Reverse(zone(task))),
            "oldest" => those(&look, |task| task.created),
            "newest" => those(&look, |task| Reverse(task.created)),
            _ => those(&look, |_| 0),
        });
        lab.tell(&format!("{service}: a task of {} went", short(&task.instance)));
        look = after;
    }
    odds.outcome()
}

fn those<K: Ord>(look: &Look, key: impl Fn(&Task) -> K) -> BTreeSet<String> {
    least(look.tasks.values(), key).into_iter().map(|task| task.arn.clone()).collect()
}

/// The tasks by instance, oldest first.
fn layout(look: &Look) -> String {
    let mut tasks: Vec<&Task> = look.tasks.values().collect();
    tasks.sort_by_key(|task| (task.instance.clone(), task.created));
    let shown = tasks.iter().map(|task| format!("{}@{}", short(&task.arn), short(&task.instance)));
    format!("one less of {}", shown.collect::<Vec<_>>().join(" "))
}
