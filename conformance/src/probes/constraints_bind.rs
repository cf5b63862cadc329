//! When do a changed constraint and a changed strategy take effect?

use std::time::Duration;

use super::short;
use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, member_of, on, strategy_of},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "constraints-bind",
    assumption: "A placement constraint or strategy that UpdateService changes holds for the next task that the service starts.",
    harm: "`REBALANCER_STEER` steers nothing: each new task goes where ECS's strategy has it, and may have to be undone.",
    notices: "A new task sits where the constraint forbids it. The run undoes that step, says so, steers nothing more, and \
              counts a miss.",
    belief: Belief::Open(
        "API, UpdateService: it 'doesn't trigger a new service deployment'; AWS in March 2020 and Terraform's \
         aws_ecs_service: it takes effect at the next deployment",
    ),
    setting: Setting::Behaviour("constraints-bind"),
    values: &[
        ("at-once", "the next task goes where the new constraint has it"),
        ("next-deployment", "the next task goes where the old one has it"),
    ],
    calls: 420,
    minutes: 10,
    work: |lab| Box::pin(work(lab)),
};

/// How the constraint and the count are changed.
const WAYS: [(&str, Option<Duration>); 3] = [
    ("in one call", None),
    ("in two calls, one after the other", Some(Duration::ZERO)),
    ("in two calls, 30 s apart", Some(Duration::from_secs(30))),
];

async fn work(lab: &Lab<'_>) -> Outcome {
    let instances = lab.instances().await?;
    let (Some(old), Some(new)) = (instances.first(), instances.last()) else {
        return Err(Stop::not_settled("there are no instances"));
    };
    if old.arn == new.arn {
        return Err(Stop::not_settled("it takes two instances"));
    }
    let mut found: Vec<(String, &'static str)> = Vec::new();
    for (way, between) in WAYS {
        let plan = Plan {
            definition: &lab.stack.task_definitions.tiny,
            count: 1,
            constraint: Some(on(old)),
            ..Plan::default()
        };
        let (service, before) = lab.make(&plan).await?;
        if before.on(&old.arn) != 1 {
            return Err(Stop::contradiction(format!("a service on {} alone", old.arn), before.shown()));
        }
        let constraint = member_of(&on(new));
        match between {
            None => {
                lab.update(&service, |request| request.placement_constraints(constraint).desired_count(2)).await?;
            }
            Some(between) => {
                lab.update(&service, |request| request.placement_constraints(constraint)).await?;
                lab.pause(between).await;
                lab.set_count(&service, 2).await?;
            }
        }
        let after = lab.running(&service, 2).await?;
        let value = match (after.on(&old.arn), after.on(&new.arn)) {
            (1, 1) => "at-once",
            (2, 0) => "next-deployment",
            _ => return Err(Stop::contradiction(format!("a task on {}", short(&new.arn)), after.shown())),
        };
        found.push((format!("constraint {way}"), value));
        lab.delete(&service).await?;
    }
    found.push(("strategy in one call".to_owned(), strategy(lab).await?));
    let seen: Vec<String> = found.iter().map(|(way, value)| format!("{way}: {value}")).collect();
    let value = found[0].1;
    if found.iter().all(|(_, other)| *other == value) {
        Ok(Found { value: value.to_owned(), seen })
    } else {
        Err(Stop::contradiction("another constraint, and another strategy, and one task more", seen.join("; ")))
    }
}

/// Packed, the second task sits beside the first; spread, it doesn't.
async fn strategy(lab: &Lab<'_>) -> Result<&'static str, Stop> {
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: 2,
        strategy: &["binpack:memory"],
        ..Plan::default()
    };
    let (service, before) = lab.make(&plan).await?;
    let instances: Vec<&str> = before.tasks.values().map(|task| task.instance.as_str()).collect();
    let [one, other] = instances[..] else { return Err(Stop::not_settled("there are not two tasks")) };
    if one != other {
        return Err(Stop::contradiction("two tasks by binpack on memory", "one on each of two instances"));
    }
    let spread = strategy_of("spread:instanceId");
    lab.update(&service, |request| request.placement_strategy(spread).desired_count(3)).await?;
    let after = lab.running(&service, 3).await?;
    Ok(if after.on(one) == 3 { "next-deployment" } else { "at-once" })
}
