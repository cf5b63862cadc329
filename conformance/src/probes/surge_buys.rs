//! Does a raised count buy an instance?

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "surge-buys",
    assumption: "A raised count of a service whose capacity provider scales by itself buys an instance where the task fits on none; it \
                 waits in PROVISIONING meanwhile.",
    harm: "A surge costs an instance for a quarter of an hour or more. Where nothing is bought, it waits until its deadline and is undone.",
    notices: "It starts no step whose task has no place, and undoes one whose task isn't running in time.",
    belief: Belief::Documented("developer guide, cluster-auto-scaling; of services nobody says what is told meanwhile"),
    setting: Setting::Behaviour("surge-buys"),
    values: &[
        ("provisioning", "the task waits in PROVISIONING, and an instance is launched"),
        ("unplaced", "the service says that it can't place the task, and an instance is launched"),
        ("nothing", "no instance is launched"),
    ],
    calls: 320,
    minutes: 10,
    work: |lab| Box::pin(work(lab)),
};

/// Managed scaling looks once a minute.
const WATCHED: Duration = Duration::from_mins(6);
const BETWEEN: Duration = Duration::from_secs(5);

async fn work(lab: &Lab<'_>) -> Outcome {
    if lab.wanted_instances().await? != 0 {
        return Err(Stop::not_settled("the group that scales by itself has instances already"));
    }
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 0, is_scaled: true, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.running(&service, 0).await?;
    let before = lab.told(&service).await?;
    lab.set_count(&service, 1).await?;
    lab.tell(&format!("{service}: whether an instance is launched for its task"));
    let began = Instant::now();
    let (mut waited, mut bought) = (0, 0);
    // Twice each, for one reading proves nothing.
    while began.elapsed() < WATCHED && bought < 2 {
        lab.pause(BETWEEN).await;
        waited += u32::from(lab.look(&service).await?.tasks.values().any(|task| task.status == "PROVISIONING"));
        bought += u32::from(lab.wanted_instances().await? > 0);
    }
    let told = lab.told_since(&service, &before).await?;
    let is_unplaced = told.iter().any(|told| told.message.contains("was unable to place a task"));
    let seen = vec![format!("{waited} looks saw the task in PROVISIONING; {}", super::timed(&told))];
    if bought < 2 {
        return if bought == 0 && (is_unplaced || waited > 1) {
            Ok(Found { value: "nothing".to_owned(), seen })
        } else {
            Err(Stop::contradiction("one task more, for which there is no instance", seen.join("; ")))
        };
    }
    lab.running(&service, 1).await?;
    match (waited, is_unplaced) {
        (2.., false) => Ok(Found { value: "provisioning".to_owned(), seen }),
        (0, true) => Ok(Found { value: "unplaced".to_owned(), seen }),
        _ => Err(Stop::contradiction("one task more, for which there is no instance", seen.join("; "))),
    }
}
