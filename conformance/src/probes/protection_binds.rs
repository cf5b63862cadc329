//! Does a protection hold for the very next scale-in?

use std::{collections::BTreeMap, time::Duration};

use super::short;
use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, Task},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "protection-binds",
    assumption: "Once UpdateTaskProtection has answered, the next lower desired count spares the protected tasks.",
    harm: "A surge ends the wrong tasks: a replacement goes, or a task that nobody meant to move.",
    notices: "After each scale-in it compares which tasks went with which were meant, and measures again.",
    belief: Belief::Documented(
        "developer guide, task-scale-in-protection, and AWS's examples of it; how soon it holds is written nowhere",
    ),
    setting: Setting::Fault("late-protection"),
    values: &[
        ("0", "at once: no protected task was stopped, however soon after"),
        ("20", "within 20 s: protected tasks were stopped, but none that had been protected for 20 s"),
    ],
    calls: 1_100,
    minutes: 28,
    work: |lab| Box::pin(work(lab)),
};

/// Seconds between UpdateTaskProtection's answer and UpdateService, and how often.
const WAITS: [(u64, u32); 6] = [(0, 6), (1, 3), (2, 3), (5, 3), (10, 3), (20, 3)];

/// An earlier protection that has ended holds no more by then, even if its end is late.
const FORGOTTEN: Duration = Duration::from_secs(30);

async fn work(lab: &Lab<'_>) -> Outcome {
    lab.has_protection().await?;
    let even = i32::try_from(lab.instances().await?.len()).unwrap_or(i32::MAX);
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: even + 1,
        strategy: &["spread:instanceId"],
        ..Plan::default()
    };
    let (service, mut look) = lab.make(&plan).await?;
    let mut seen = Vec::new();
    let mut lost_after = BTreeMap::<u64, u32>::new();
    for (seconds, rounds) in WAITS {
        for _ in 0..rounds {
            // One that stands alone on its instance, neither the newest nor the oldest where there is a choice: without protection
            // another would go.
            let mut alone: Vec<&Task> = look.tasks.values().filter(|task| look.on(&task.instance) == 1).collect();
            alone.sort_by_key(|task| task.created);
            let Some(victim) = alone.get(alone.len() / 2).map(|task| (*task).clone()) else {
                return Err(Stop::not_settled(format!("no task is alone on its instance: {}", look.shown())));
            };
            let others: Vec<&str> = look.tasks.keys().map(String::as_str).filter(|arn| *arn != victim.arn).collect();
            lab.protect(&others, true).await?;
            lab.pause(Duration::from_secs(seconds)).await;
            let (gone, after) = lab.lower_by_one(&service, &look).await?;
            // Else it says nothing that one of them went.
            let kept: Vec<&str> = others.into_iter().filter(|arn| *arn != gone.arn).collect();
            lab.is_protected(&kept, true).await?;
            let held = gone.arn == victim.arn;
            *lost_after.entry(seconds).or_default() += u32::from(!held);
            seen.push(format!(
                "{seconds} s after: {}",
                if held { "the task without protection went".to_owned() } else { format!("{} went", short(&gone.arn)) }
            ));
            let left: Vec<&str> = after.tasks.keys().map(String::as_str).collect();
            lab.protect(&left, false).await?;
            look = if after.desired < even {
                lab.set_count(&service, even + 1).await?;
                lab.steady(&service, even + 1).await?
            } else {
                lab.pause(FORGOTTEN).await;
                after
            };
        }
    }
    let lost: u32 = lost_after.values().sum();
    match lost_after.get(&20).copied().unwrap_or(0) {
        0 if lost == 0 => Ok(Found { value: "0".to_owned(), seen }),
        0 => Ok(Found { value: "20".to_owned(), seen }),
        _ => Err(Stop::contradiction(
            "protected tasks to be spared, 20 s after UpdateTaskProtection had answered",
            seen.join("; "),
        )),
    }
}
