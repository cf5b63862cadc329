//! Do tasks that aren't healthy yet go first in a scale-in?

use super::short;
use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Look, Plan, Task},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "scale-in-unhealthy-first",
    assumption: "A scale-in may stop a task that isn't healthy yet before all others, so the job lowers a count only once the new \
                 tasks are healthy.",
    harm: "No harm while the job waits. An owner's scale-in during a surge may take the replacement away.",
    notices: "It compares which tasks went with which were meant, and undoes a step whose replacement is gone.",
    belief: Belief::Open("API, healthCheckGracePeriodSeconds, says that they 'might' be stopped"),
    setting: Setting::Behaviour("scale-in-unhealthy-first"),
    values: &[("yes", "the task that isn't healthy yet went each time"), ("no", "others went, too")],
    calls: 600,
    minutes: 15,
    work: |lab| Box::pin(work(lab)),
};

/// By chance the newest would go so often in one of 4,000 cases, or more rarely.
const ROUNDS: usize = 6;

async fn work(lab: &Lab<'_>) -> Outcome {
    let even = i32::try_from(lab.instances().await?.len()).unwrap_or(i32::MAX);
    // One instance has two tasks; the next task makes it two instances.
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: even + 1,
        strategy: &["spread:instanceId"],
        ..Plan::default()
    };
    let (service, mut look) = lab.make(&plan).await?;
    let mut seen = Vec::new();
    // Whether the newest goes anyway.
    let mut others_went = false;
    for _ in 0..ROUNDS {
        let (newest, _) = lab.raise_by_one(&service, &look).await?;
        let healthy = lab.steady(&service, look.desired + 1).await?;
        let (gone, _) = lab.lower_by_one(&service, &healthy).await?;
        seen.push(told("healthy", &newest, &gone));
        look = lab.steady(&service, look.desired).await?;
        if gone.arn != newest.arn {
            others_went = true;
            break;
        }
    }
    if !others_went {
        return Err(Stop::not_settled(format!("the newest goes, healthy or not: {}", seen.join("; "))));
    }
    for _ in 0..ROUNDS {
        let (newest, raised) = lab.raise_by_one(&service, &look).await?;
        let (gone, after) = lab.lower_by_one(&service, &raised).await?;
        seen.push(told("not healthy yet", &newest, &gone));
        if gone.arn != newest.arn {
            confirmed(&after, &newest)?;
            return Ok(Found { value: "no".to_owned(), seen });
        }
        look = lab.steady(&service, look.desired).await?;
    }
    Ok(Found { value: "yes".to_owned(), seen })
}

fn told(state: &str, newest: &Task, gone: &Task) -> String {
    let who = if gone.arn == newest.arn { "it went" } else { "another went" };
    format!("the newest was {state}: {who} ({})", short(&gone.arn))
}

fn confirmed(after: &Look, newest: &Task) -> Result<(), Stop> {
    if after.tasks.contains_key(&newest.arn) {
        Ok(())
    } else {
        Err(Stop::contradiction("one task less", format!("another went, and {} is gone as well", newest.arn)))
    }
}
