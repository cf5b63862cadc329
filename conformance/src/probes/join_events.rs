//! How many events does a container instance send when it joins, and with what versions?

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Instance, Lab},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "join-events",
    assumption: "An instance that joins may send several events that say it is ACTIVE and connected, so each starts a run, and all but \
                 one of these find nothing to do.",
    harm: "More runs start. Each ends after four requests if it finds another run under way, or tasks on the instance.",
    notices: "Such a run says why it did nothing.",
    belief: Belief::Documented(
        "developer guide, ecs_container_instance_events; how many of them come is written nowhere",
    ),
    setting: Setting::Behaviour("join-events"),
    values: &[
        ("once", "one event matches the rule's pattern"),
        ("several", "several do, each with a version of its own"),
        ("repeated", "one comes again with the same version"),
    ],
    calls: 130,
    minutes: 10,
    work: |lab| Box::pin(work(lab)),
};

/// After the instance is there.
const WATCHED: Duration = Duration::from_mins(3);
const BETWEEN: Duration = Duration::from_secs(10);
/// What the queue holds from before is taken out in so many calls.
const EMPTYING: u32 = 100;

async fn work(lab: &Lab<'_>) -> Outcome {
    let mut left = EMPTYING;
    while left > 0 && !lab.received().await?.is_empty() {
        left -= 1;
    }
    let before = lab.instances().await?;
    lab.want_instances(1).await?;
    lab.tell("an instance to join");
    let began = Instant::now();
    let joined: Instance = loop {
        let now = lab.instances().await?;
        let mut new = now.into_iter().filter(|one| !before.iter().any(|known| known.arn == one.arn));
        if let Some(instance) = new.next() {
            break instance;
        }
        if began.elapsed() > lab.patience() {
            let seconds = lab.patience().as_secs();
            return Err(Stop::not_settled(format!(
                "SetDesiredCapacity: {seconds} s were not enough for an instance to join"
            )));
        }
        lab.pause(BETWEEN).await;
    };
    lab.tell("what EventBridge tells of it");
    let watched = Instant::now();
    let mut messages = BTreeMap::new();
    while watched.elapsed() < WATCHED {
        messages.extend(lab.received().await?);
        lab.pause(BETWEEN).await;
    }
    let (mut versions, mut seen) = (Vec::new(), Vec::new());
    for text in messages.values() {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        let detail = &event["detail"];
        if detail["containerInstanceArn"] != joined.arn.as_str() {
            continue;
        }
        let matches = detail["status"] == "ACTIVE" && detail["agentConnected"] == true;
        let version = detail["version"].as_u64().unwrap_or_default();
        seen.push(format!(
            "version {version}, {} at {}",
            if matches { "connected" } else { "not connected" },
            event["time"]
        ));
        if matches {
            versions.push(version);
        }
    }
    let described = lab.version(&joined.arn).await?;
    if let Some(newer) = versions.iter().find(|version| **version > described) {
        let answered = format!("{described} now, where an event had {newer} before: {}", seen.join("; "));
        return Err(Stop::contradiction(format!("the version of {}", joined.arn), answered));
    }
    let all = versions.len();
    versions.sort_unstable();
    versions.dedup();
    match (all, versions.len()) {
        (0, _) => Err(Stop::not_settled(format!("ReceiveMessage: no event tells of {}", joined.arn))),
        (1, _) => Ok(Found { value: "once".to_owned(), seen }),
        (all, different) if all == different => Ok(Found { value: "several".to_owned(), seen }),
        _ => Ok(Found { value: "repeated".to_owned(), seen }),
    }
}
