//! What does Application Auto Scaling make of a count above its maximum?

use std::time::Duration;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{BETWEEN_READS, Lab, Plan, READS},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "count-above-maximum",
    assumption: "A desired count above the maximum stays until somebody registers the scalable target again, so a surge may pass it, \
                 and the job registers none.",
    harm: "A surge is cut off half-way: the new task may be what goes.",
    notices: "It compares the desired count with what it wrote, and leaves the service to whoever changed it.",
    belief: Belief::Documented(
        "developer guide, service-auto-scaling, and API, RegisterScalableTarget; nobody is known to have tried one that only suspends",
    ),
    setting: Setting::Behaviour("count-above-maximum"),
    values: &[
        ("until-registered", "it stays until a registration, even one that only suspends, moves it to the maximum"),
        ("lowered", "it is lowered without one"),
        ("stays", "it stays even then"),
    ],
    calls: 300,
    minutes: 7,
    work: |lab| Box::pin(work(lab)),
};

/// The bounds, and a count beyond them.
const BOUNDS: (i32, i32) = (1, 2);
const ABOVE: i32 = 3;
/// Alarms and ECS's scheduler have looked several times by then.
const WATCHED: Duration = Duration::from_mins(2);
const BETWEEN: Duration = Duration::from_secs(10);

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 1, ..Plan::default() };
    let (service, _) = lab.make(&plan).await?;
    lab.register_target(&service, Some(BOUNDS)).await?;
    registered(lab, &service, (BOUNDS.0, BOUNDS.1, false)).await?;
    lab.set_count(&service, ABOVE).await?;
    let alone = watched(lab, &service, "whether a count above the maximum is lowered").await?;
    lab.register_target(&service, None).await?;
    registered(lab, &service, (BOUNDS.0, BOUNDS.1, true)).await?;
    let after = watched(lab, &service, "whether a registration that only suspends lowers it").await?;
    let seen =
        vec![format!("a count of {ABOVE} was {alone} by itself, and {after} after a registration that only suspends")];
    match (alone, after) {
        (ABOVE, 2) => Ok(Found { value: "until-registered".to_owned(), seen }),
        (2, 2) => Ok(Found { value: "lowered".to_owned(), seen }),
        (ABOVE, ABOVE) => Ok(Found { value: "stays".to_owned(), seen }),
        _ => Err(Stop::contradiction(format!("a count of {ABOVE} beside the bounds {BOUNDS:?}"), seen.join("; "))),
    }
}

async fn registered(lab: &Lab<'_>, service: &str, expected: (i32, i32, bool)) -> Result<(), Stop> {
    let mut read = None;
    for _ in 0..READS {
        read = lab.target(service).await?;
        if read == Some(expected) {
            return Ok(());
        }
        lab.pause(BETWEEN_READS).await;
    }
    Err(Stop::contradiction(format!("the scalable target {expected:?} (least, most, suspended)"), format!("{read:?}")))
}

/// The count that it is at the end, and was at the last look before that.
async fn watched(lab: &Lab<'_>, service: &str, what: &str) -> Result<i32, Stop> {
    lab.tell(&format!("{service}: {what}"));
    let looks = WATCHED.as_secs() / BETWEEN.as_secs();
    let mut counts = Vec::new();
    for _ in 0..looks {
        lab.pause(BETWEEN).await;
        counts.push(lab.look(service).await?.desired);
    }
    match counts.as_slice() {
        [.., before, last] if before == last => Ok(*last),
        _ => Err(Stop::contradiction(what.to_owned(), format!("counts of {counts:?}"))),
    }
}
