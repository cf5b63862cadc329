//! How long does a service whose tasks can't start wait at most before it starts the next ones?

use std::time::Duration;

use tokio::time::Instant;

use super::timed;
use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan, Task},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "back-off-ceiling",
    assumption: "A service whose tasks fail to start tries again after longer and longer waits, of 27 minutes at most.",
    harm: "No harm to what the job does: it undoes a step whose task doesn't run in time. The service has one task less for longer than a \
           rehearsal shows.",
    notices: "It waits for each new task up to the deadline, and tells what the service said of it.",
    belief: Belief::Documented("developer guide, service-throttle-logic; that of 2023 has a quarter of an hour"),
    setting: Setting::Behaviour("back-off-ceiling"),
    values: &[("27m", "no wait is longer than 27 minutes"), ("15m", "none is longer than 15 minutes")],
    calls: 410,
    minutes: 30,
    work: |lab| Box::pin(work(lab)),
};

/// Many at once: the more tasks have failed, the longer is the wait.
const COUNT: i32 = 10;
const BETWEEN: Duration = Duration::from_secs(30);
/// ECS's scheduler looks each ten seconds or so, and moments of ECS and of an agent can differ by a few.
const TOLERANCE: (i64, i64) = (-10_000, 60_000);
/// Two waits that differ by no more are alike.
const ALIKE: i64 = 60_000;
/// No wait that is known is longer.
const LONGEST: Duration = Duration::from_mins(30);
/// Waits that double take so long until they are 27 minutes, from the shortest on.
const LONGEST_OF_ALL: Duration = Duration::from_mins(100);

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.broken, count: COUNT, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.tell(&format!("{service}: tasks that can't start to be started again"));
    let began = Instant::now();
    let mut known = (Vec::new(), Instant::now());
    loop {
        let tasks = lab.history(&service).await?;
        let waits = waits(&tasks);
        if let Some(value) = ceiling(&waits)? {
            let mut seen: Vec<String> = waits.iter().map(|wait| format!("waited for {} s", wait / 1000)).collect();
            seen.push(timed(&lab.told(&service).await?));
            return Ok(Found { value: value.to_owned(), seen });
        }
        if known.0 != waits {
            known = (waits, Instant::now());
        }
        if tasks.is_empty() && began.elapsed() > lab.patience() {
            return Err(Stop::not_settled("CreateService starts no task here"));
        }
        if known.1.elapsed() > LONGEST + lab.patience() {
            let answered = format!("after waits of {} ms none came within {LONGEST:?}", shown(&known.0));
            return Err(Stop::contradiction("tasks that can't start to be started again", answered));
        }
        if began.elapsed() > LONGEST_OF_ALL {
            return Err(Stop::not_settled(format!("DescribeTasks: waits of {} ms, none the longest", shown(&known.0))));
        }
        lab.pause(BETWEEN).await;
    }
}

/// Milliseconds from the moment at which the last of all tasks so far was to stop to the start of the next.
fn waits(tasks: &[Task]) -> Vec<i64> {
    let ends = |before: usize| tasks[..before].iter().map(|task| task.stopping).collect::<Option<Vec<i64>>>();
    let wait = |(before, task): (usize, &Task)| {
        let last = ends(before)?.into_iter().max()?;
        (task.created > last).then_some(task.created - last)
    };
    tasks.iter().enumerate().filter_map(wait).collect()
}

/// The longest wait, once it is known: of two that would do, a shorter one may be on its way to the longer.
fn ceiling(waits: &[i64]) -> Result<Option<&'static str>, Stop> {
    let Some(last) = waits.last() else { return Ok(None) };
    let is_about = |minutes: i64| (TOLERANCE.0..=TOLERANCE.1).contains(&(last - minutes * 60_000));
    let is_longest = matches!(waits, [.., before, last] if (last - before).abs() <= ALIKE && *last > 5 * 60_000);
    match (is_about(27), is_about(15), is_longest) {
        (true, ..) => Ok(Some("27m")),
        (_, true, true) => Ok(Some("15m")),
        (_, false, true) => Err(Stop::contradiction("tasks that can't start to be started again", shown(waits))),
        _ if *last > 28 * 60_000 => {
            Err(Stop::contradiction("tasks that can't start to be started again", shown(waits)))
        }
        _ => Ok(None),
    }
}

fn shown(waits: &[i64]) -> String {
    waits.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}
