//! How large are ECS's token buckets, and how fast do they fill?

use std::time::Duration;

use aws_sdk_ecs::config::{Builder, retry::RetryConfig};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Refusal, attempt},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "rates",
    assumption: "ECS answers so many calls of a class at once, and so many a second from then on, as its guide lists them.",
    harm: "A run is throttled, or takes tokens that deployments and people need at the same time.",
    notices: "The SDK retries throttled calls, the job slows down to half the rate, and the report counts them.",
    belief: Belief::Documented("developer guide, request-throttling; each account may have other limits"),
    setting: Setting::Nothing,
    values: &[
        ("service reads 100/20", "calls at once, and calls a second"),
        ("task definition reads 50/20", "the same"),
        ("task protection 200/80", "the same"),
    ],
    calls: 4_000,
    minutes: 2,
    work: |lab| Box::pin(work(lab)),
};

/// More than any bucket of these holds.
const BURST: usize = 260;
/// After the burst calls go out so often, more than any bucket of these fills.
const BATCH: usize = 12;
const BETWEEN: Duration = Duration::from_millis(100);
/// So many batches tell the rate to one call a second.
const BATCHES: u32 = 80;

/// A burst is known to so many calls.
const ROUNDED_TO: u64 = 5;
/// Every bucket is full after that: 200 tokens at 20 a second.
const FILLING: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Class {
    ServiceReads,
    DefinitionReads,
    Protection,
}

async fn work(lab: &Lab<'_>) -> Outcome {
    lab.has_protection().await?;
    let mut seen = Vec::new();
    for (class, name) in [
        (Class::ServiceReads, "service reads"),
        (Class::DefinitionReads, "task definition reads"),
        (Class::Protection, "task protection"),
    ] {
        lab.pause(FILLING).await;
        lab.tell(&format!("{name}: calls until ECS throttles them"));
        let (burst, rate) = bucket(lab, class).await?;
        seen.push(format!("{name} {burst}/{rate}"));
    }
    Ok(Found { value: seen.join(", "), seen })
}

/// How many calls are answered at once, and how many a second from then on.
async fn bucket(lab: &Lab<'_>, class: Class) -> Result<(u64, u64), Stop> {
    let began = Instant::now();
    let at_once = answered(lab, class, BURST).await?;
    if at_once == BURST as u64 {
        return Err(Stop::not_settled(format!("{BURST} calls at once were not throttled")));
    }
    let empty = Instant::now();
    let mut later = 0;
    for batch in 1..=BATCHES {
        sleep_until(empty + BETWEEN * batch).await;
        later += answered(lab, class, BATCH).await?;
    }
    let after = millis(empty.elapsed());
    if later == u64::from(BATCHES) * BATCH as u64 {
        return Err(Stop::not_settled("calls at a higher rate than any bucket fills were not throttled"));
    }
    let rate = (later * 1000 + after / 2) / after.max(1);
    // What came in while the burst was under way was not there at its beginning.
    let meanwhile = rate * millis(empty - began) / 1000;
    // How much of that time lay between the first arrival and the last isn't known, so a few more or less say nothing.
    Ok(((at_once.saturating_sub(meanwhile) + ROUNDED_TO / 2) / ROUNDED_TO * ROUNDED_TO, rate))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Of so many calls at once, how many were not throttled.
async fn answered(lab: &Lab<'_>, class: Class, calls: usize) -> Result<u64, Stop> {
    let mut answered = 0;
    for refusal in join_all((0..calls).map(|_| ask(lab, class))).await {
        match refusal? {
            None => answered += 1,
            Some(refusal) if refusal.code == "ThrottlingException" => {}
            Some(refusal) => return Err(Stop::not_settled(format!("{}: {}", refusal.code, refusal.message))),
        }
    }
    Ok(answered)
}

/// A call that reads next to nothing, and isn't tried again.
async fn ask(lab: &Lab<'_>, class: Class) -> Result<Option<Refusal>, Stop> {
    let once = || Builder::new().retry_config(RetryConfig::disabled());
    let cluster = &lab.stack.cluster;
    Ok(match class {
        Class::ServiceReads => {
            let request = lab.ecs().describe_services().cluster(cluster).services("none");
            attempt("DescribeServices", request.customize().config_override(once()).send()).await?.err()
        }
        Class::DefinitionReads => {
            let request = lab.ecs().describe_task_definition().task_definition(&lab.stack.task_definitions.tiny);
            attempt("DescribeTaskDefinition", request.customize().config_override(once()).send()).await?.err()
        }
        Class::Protection => {
            let request = lab.ecs().get_task_protection().cluster(cluster).tasks(crate::lab::NO_TASK);
            attempt("GetTaskProtection", request.customize().config_override(once()).send()).await?.err()
        }
    })
}
