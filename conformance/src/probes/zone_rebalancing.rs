//! What does zone rebalancing do beside a count that was just lowered, beside protection, and beside a count that is raised?

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{BETWEEN_READS, Instance, Lab, Look, Plan, Told},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "zone-rebalancing",
    assumption: "ECS evens out the zones of a service that asks for it once it is steady, spares protected tasks, and gives up when \
                 somebody changes the count; its events tell when it begins and ends.",
    harm: "The job and ECS move tasks at once. A service is left alone for longer than it needs to be, or not for long enough.",
    notices: "It leaves a service alone while ECS evens out its zones, compares which tasks went with which were meant, and measures \
              again.",
    belief: Belief::Documented(
        "developer guide, service-rebalancing; what a changed count does to it meanwhile is written nowhere",
    ),
    setting: Setting::Behaviour("zone-rebalancing-beside-counts"),
    values: &[
        ("stops", "a count raised meanwhile ends it before the zones are even"),
        ("goes-on", "it goes on until the zones are even"),
    ],
    calls: 420,
    minutes: 10,
    work: |lab| Box::pin(work(lab)),
};

/// After it was held up it begins anew within this time, or not before protection ends.
const ANEW: Duration = Duration::from_mins(2);
/// So often rebalancing is waited for, to raise a count meanwhile.
const ATTEMPTS: u32 = 3;
const BEGUN: &str = "AZ Rebalancing in progress";
const EVEN: &str = "is AZ balanced with";
const STOPPED: &str = "stopped AZ Rebalancing";
const BLOCKED: &str = "was unable to AZ Rebalance";

async fn work(lab: &Lab<'_>) -> Outcome {
    lab.has_protection().await?;
    let instances = lab.instances().await?;
    let Some(zone) = instances.first().map(|instance| instance.zone.clone()) else {
        return Err(Stop::not_settled("there is no instance"));
    };
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count: 4,
        strategy: &["spread:attribute:ecs.availability-zone", "spread:instanceId"],
        evens_zones: true,
        ..Plan::default()
    };
    let (service, mut look) = lab.make(&plan).await?;
    let mut seen = Vec::new();

    // Beside a count that was just lowered, with protection: it begins, and a protected task ends it.
    let kept = crowded(lab, &service, &look, &instances, &zone).await?;
    let before = lab.told(&service).await?;
    lab.set_count(&service, 2).await?;
    let told = lab
        .until_told(&service, "zone rebalancing that protection ends", &before, |it| {
            it.contains(BLOCKED) || it.contains(EVEN)
        })
        .await?;
    if told.iter().any(|told| told.message.contains(EVEN)) {
        return Err(Stop::contradiction("two protected tasks of one zone, and no more", texts(&told)));
    }
    seen.push(format!("protected: {}", texts(&told)));
    for arn in &kept {
        if !lab.describe(arn).await?.is_wanted {
            return Err(Stop::contradiction(format!("{arn} to be protected"), texts(&told)));
        }
    }

    // Without protection: it goes on to its end, once it has begun anew.
    let blocked = lab.told(&service).await?;
    let began = Instant::now();
    while began.elapsed() < ANEW
        && !lab.told_since(&service, &blocked).await?.iter().any(|it| it.message.contains(BEGUN))
    {
        lab.pause(BETWEEN_READS).await;
    }
    let before = blocked;
    lab.protect(&refs(&kept), false).await?;
    let is_even = |now: &Look| now.has_running(2) && zones(now, &instances).values().all(|tasks| *tasks == 1);
    lab.until(&service, "even zones", is_even).await?;
    look = lab.steady(&service, 2).await?;
    let told = lab.told_since(&service, &before).await?;
    if !is_even(&look) {
        return Err(Stop::contradiction("the zones of two tasks, once even, to stay so", look.shown()));
    }
    seen.push(format!("without protection: {}", texts(&told)));

    // Beside a count that is raised while it is under way.
    let before = raised(lab, &service, &instances, &zone).await?;
    let told = lab.until_told(&service, "what a raised count makes of it", &before, ended).await?;
    seen.push(format!("beside a raised count: {}", texts(&told)));
    let end = told.iter().find(|told| ended(&told.message)).map(|told| told.message.clone()).unwrap_or_default();
    let after = lab.steady(&service, 4).await?;
    if zones(&after, &instances).values().any(|tasks| *tasks != 2) {
        return Err(Stop::contradiction("four tasks spread over two zones", after.shown()));
    }
    if end.contains(STOPPED) {
        Ok(Found { value: "stops".to_owned(), seen })
    } else if end.contains(EVEN) {
        Ok(Found { value: "goes-on".to_owned(), seen })
    } else {
        Err(Stop::contradiction("zone rebalancing of tasks without protection, beside a raised count", end))
    }
}

fn ended(told: &str) -> bool {
    told.contains(EVEN) || told.contains(STOPPED) || told.contains(BLOCKED)
}

/// Raises the count while zones are being evened out. What was told by then.
async fn raised(lab: &Lab<'_>, service: &str, instances: &[Instance], zone: &str) -> Result<Vec<Told>, Stop> {
    for _ in 0..ATTEMPTS {
        lab.set_count(service, 4).await?;
        let look = lab.steady(service, 4).await?;
        let kept = crowded(lab, service, &look, instances, zone).await?;
        lab.set_count(service, 2).await?;
        let others: Vec<&String> = look.tasks.keys().filter(|arn| !kept.contains(arn)).collect();
        let are_gone = |now: &Look| others.iter().all(|arn| !now.tasks.contains_key(*arn));
        lab.until(service, "the tasks without protection to go", are_gone).await?;
        lab.protect(&refs(&kept), false).await?;
        if let Some(told) = under_way(lab, service, instances).await? {
            lab.set_count(service, 4).await?;
            return Ok(told);
        }
    }
    Err(Stop::not_settled(format!(
        "DescribeServices: {ATTEMPTS} times the zones were even before a count could be raised"
    )))
}

/// What was told by the moment in which rebalancing has begun and hasn't ended; none where the zones were even before that.
async fn under_way(lab: &Lab<'_>, service: &str, instances: &[Instance]) -> Result<Option<Vec<Told>>, Stop> {
    let began = Instant::now();
    lab.tell(&format!("{service}: zone rebalancing to begin"));
    loop {
        let told = lab.told(service).await?;
        let last = told.iter().rev().find(|told| told.message.contains(BEGUN) || ended(&told.message));
        if last.is_some_and(|told| told.message.contains(BEGUN)) {
            return Ok(Some(told));
        }
        let look = lab.look(service).await?;
        if look.has_running(2) && zones(&look, instances).values().all(|tasks| *tasks == 1) {
            return Ok(None);
        }
        if began.elapsed() > lab.patience() {
            return Err(Stop::not_settled(format!("DescribeServices: no zone rebalancing begins: {}", texts(&told))));
        }
        lab.pause(BETWEEN_READS).await;
    }
}

/// Two tasks in each zone; those of one zone are protected. Which they are.
async fn crowded(
    lab: &Lab<'_>,
    service: &str,
    look: &Look,
    instances: &[Instance],
    zone: &str,
) -> Result<Vec<String>, Stop> {
    let counts = zones(look, instances);
    if counts.len() != 2 || counts.values().any(|tasks| *tasks != 2) {
        return Err(Stop::contradiction(
            format!("four tasks of {service} spread over two zones"),
            format!("{counts:?}"),
        ));
    }
    let is_there = |arn: &str| instances.iter().any(|instance| instance.arn == arn && instance.zone == zone);
    let there = look.tasks.values().filter(|task| is_there(&task.instance));
    let kept: Vec<String> = there.map(|task| task.arn.clone()).collect();
    lab.protect(&refs(&kept), true).await?;
    lab.is_protected(&refs(&kept), true).await?;
    Ok(kept)
}

fn refs(arns: &[String]) -> Vec<&str> {
    arns.iter().map(String::as_str).collect()
}

/// How many tasks are in each zone.
fn zones(look: &Look, instances: &[Instance]) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for instance in instances {
        *zones.entry(instance.zone.clone()).or_default() += look.on(&instance.arn);
    }
    zones
}

fn texts(told: &[Told]) -> String {
    super::timed(told)
}
