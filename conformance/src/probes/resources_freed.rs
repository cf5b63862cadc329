//! When is what a task reserves free again?

use std::collections::BTreeSet;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "resources-freed",
    assumption: "What a task reserves counts as free on its instance as soon as the task is told to stop.",
    harm: "A replacement that the plan puts on a full instance waits until the old task is gone, or goes elsewhere.",
    notices: "It waits for each new task up to the deadline, and measures again after each step.",
    belief: Belief::Documented("AWS, what's new, July 2023; agents before 1.74.1 keep it until the task has stopped"),
    setting: Setting::Behaviour("resources-freed"),
    values: &[
        ("when-stopping", "remainingResources grow while the task drains"),
        ("when-stopped", "remainingResources grow once the task has stopped"),
    ],
    calls: 250,
    minutes: 5,
    work: |lab| Box::pin(work(lab)),
};

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.web, count: 2, has_targets: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    let look = lab.at_rest(&service, 2).await?;
    let before = lab.instances().await?;
    let (gone, _) = lab.lower_by_one(&service, &look).await?;
    let free = |instances: &[crate::lab::Instance]| {
        instances.iter().find(|instance| instance.arn == gone.instance).map(|instance| instance.free_memory)
    };
    // Read again and again while it drains.
    let mut meanwhile = BTreeSet::new();
    for _ in 0..3 {
        let instances = lab.instances().await?;
        if lab.describe(&gone.arn).await?.stopped.is_some() {
            break;
        }
        meanwhile.insert(free(&instances));
    }
    lab.stopped(&gone.arn).await?;
    let after = lab.instances().await?;
    let (before, after) = (free(&before), free(&after));
    if before >= after {
        return Err(Stop::contradiction(
            format!("what is free on {} before and after a task there", gone.instance),
            format!("{before:?} MiB, then {after:?} MiB"),
        ));
    }
    let Some(meanwhile) = Some(&meanwhile).filter(|seen| seen.len() == 1).and_then(|seen| seen.first().copied()) else {
        return Err(Stop::not_settled(format!("while the task stopped, {meanwhile:?} MiB were free")));
    };
    let seen =
        vec![format!("free memory in MiB: {before:?} before, {meanwhile:?} while it drained, {after:?} afterwards")];
    if meanwhile == after {
        Ok(Found { value: "when-stopping".to_owned(), seen })
    } else if meanwhile == before {
        Ok(Found { value: "when-stopped".to_owned(), seen })
    } else {
        Err(Stop::contradiction("what is free while a task drains", seen.join("; ")))
    }
}
