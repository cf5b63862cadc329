//! Which tasks does a spread count: those of the old revision, and those that are stopping?

use std::collections::BTreeSet;

use super::{arns, least, short};
use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Instance, Lab, Plan},
    odds::Odds,
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "spread-counts",
    assumption: "A spread counts the service's tasks of every revision, and none that is stopping.",
    harm: "`redeploy` and `revision` leave tasks more uneven, or less, than the plan says; a new task lands where an old one drains.",
    notices: "It measures again after each step, and never counts on a deployment to even tasks out.",
    belief: Belief::Observed(
        "agent#685: replacements go where the old revision has no task; of tasks that stop nobody says anything",
    ),
    setting: Setting::Behaviour("spread-counts"),
    values: &[
        ("all-revisions", "those of every revision that are to run"),
        ("own-revision", "those of the newest revision that are to run"),
        ("stopping-too", "those of every revision, also while they stop"),
    ],
    calls: 1_500,
    minutes: 22,
    work: |lab| Box::pin(work(lab)),
};

/// Deployments, and scale-ins, at most.
const ROUNDS: usize = 8;

/// What stands on the instances beforehand, heavy tasks and tiny ones: which is the emptiest is the same before and after what the
/// probe's own tasks do, so a rule among equals isn't taken for what a spread counts.
const BALLAST: [(i32, i32); 4] = [(0, 0), (0, 4), (1, 7), (2, 10)];

async fn work(lab: &Lab<'_>) -> Outcome {
    for (instance, ballast) in lab.instances().await?.iter().zip(BALLAST) {
        lab.load(instance, ballast).await?;
    }
    let (counts_old, mut seen) = counts_old(lab).await?;
    let (counts_stopping, more) = counts_stopping(lab).await?;
    seen.extend(more);
    let value = match (counts_old, counts_stopping) {
        (true, false) => "all-revisions",
        (false, false) => "own-revision",
        (true, true) => "stopping-too",
        (false, true) => {
            let saw = format!("tasks that stop count, and those of the old revision don't: {}", seen.join("; "));
            return Err(Stop::contradiction("what a spread counts", saw));
        }
    };
    Ok(Found { value: value.to_owned(), seen })
}

/// A deployment's new tasks avoid the old ones' instances if those count.
async fn counts_old(lab: &Lab<'_>) -> Result<(bool, Vec<String>), Stop> {
    let instances = lab.instances().await?;
    let half = instances.len() / 2;
    let count = i32::try_from(half).unwrap_or(i32::MAX);
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count,
        strategy: &["spread:instanceId"],
        percents: Some((100, 200)),
        ..Plan::default()
    };
    let (service, mut look) = lab.make(&plan).await?;
    let mut odds = Odds::new(&["counted", "not counted"]);
    for _ in 0..ROUNDS {
        if odds.is_decided() {
            break;
        }
        let taken: BTreeSet<String> = look.tasks.values().map(|task| task.instance.clone()).collect();
        lab.update(&service, |request| request.force_new_deployment(true)).await?;
        lab.until(&service, "the new deployment's tasks", |now| {
            now.has_running(count) && now.is_complete() && now.is_deployed_since(&look)
        })
        .await?;
        let after = lab.steady(&service, count).await?;
        let new: BTreeSet<String> = after.tasks.values().map(|task| task.instance.clone()).collect();
        if new.len() != half {
            return Err(Stop::contradiction("a deployment of a service that spreads over instances", after.shown()));
        }
        let all = arns(&instances);
        let free: BTreeSet<String> = all.difference(&taken).cloned().collect();
        odds.saw(&format!("a deployment beside {}", joined(&taken)), &joined(&new), |world| match world {
            "counted" if free.len() == half => BTreeSet::from([joined(&free)]),
            _ => subsets(&all, half),
        });
        look = after;
    }
    let found = odds.outcome()?;
    lab.delete(&service).await?;
    Ok((found.value == "counted", found.seen))
}

fn joined(arns: &BTreeSet<String>) -> String {
    arns.iter().map(|arn| short(arn)).collect::<Vec<_>>().join(" and ")
}

/// So many of these, in every way.
fn subsets(all: &BTreeSet<String>, size: usize) -> BTreeSet<String> {
    let mut found: Vec<BTreeSet<String>> = vec![BTreeSet::new()];
    for one in all {
        let with: Vec<BTreeSet<String>> = found
            .iter()
            .filter(|chosen| chosen.len() < size)
            .map(|chosen| chosen.iter().cloned().chain([one.clone()]).collect())
            .collect();
        found.extend(with);
    }
    found.iter().filter(|chosen| chosen.len() == size).map(joined).collect()
}

/// A new task goes where one drains, unless that one counts.
async fn counts_stopping(lab: &Lab<'_>) -> Result<(bool, Vec<String>), Stop> {
    let instances = lab.instances().await?;
    let count = i32::try_from(instances.len()).unwrap_or(i32::MAX);
    let plan = Plan {
        definition: &lab.stack.task_definitions.web,
        count,
        strategy: &["spread:instanceId"],
        has_targets: true,
        ..Plan::default()
    };
    let service = lab.create(&plan).await?;
    let mut odds = Odds::new(&["counted", "not counted"]);
    for _ in 0..ROUNDS {
        if odds.is_decided() {
            break;
        }
        let look = lab.at_rest(&service, count).await?;
        // All were placed at one look, when none ran.
        if let Some(crowded) = instances.iter().find(|instance| look.on(&instance.arn) != 1) {
            let what = "as many tasks as instances at once, spread over instances: one waits while another is placed";
            return Err(Stop::contradiction(what, format!("{} on {}", look.on(&crowded.arn), short(&crowded.arn))));
        }
        let (gone, after) = lab.lower_by_one(&service, &look).await?;
        let (task, raised) = lab.raise_by_one(&service, &after).await?;
        let old = lab.describe(&gone.arn).await?;
        let free: Vec<&Instance> = least(&instances, |instance| after.on(&instance.arn));
        let counted: Vec<&Instance> =
            least(&instances, |instance| after.on(&instance.arn) + usize::from(instance.arn == gone.instance));
        // Else it had stopped before the new one was placed.
        if old.stopped.is_none_or(|stopped| stopped > task.created) {
            let asked = format!("one more while a task of {} stops", short(&gone.instance));
            odds.saw(&asked, &task.instance, |world| match world {
                "counted" => arns(counted.iter().copied()),
                _ => arns(free.iter().copied()),
            });
        }
        lab.stopped(&gone.arn).await?;
        if raised.desired != count {
            return Err(Stop::contradiction(format!("{count} tasks"), raised.shown()));
        }
        // Even again, wherever the new one went.
        rebalanced(lab, &service, count, &instances).await?;
    }
    let found = odds.outcome()?;
    Ok((found.value == "counted", found.seen))
}

/// One task on each instance again: without the old tasks a deployment finds the instances empty, or fills them anew.
async fn rebalanced(lab: &Lab<'_>, service: &str, count: i32, instances: &[Instance]) -> Result<(), Stop> {
    let look = lab.at_rest(service, count).await?;
    if instances.iter().all(|instance| look.on(&instance.arn) == 1) {
        return Ok(());
    }
    lab.set_count(service, 0).await?;
    lab.running(service, 0).await?;
    for arn in look.tasks.keys() {
        lab.stopped(arn).await?;
    }
    lab.set_count(service, count).await
}
