//! Does a protected task stay on a container instance that drains?

use std::time::Duration;

use aws_sdk_ecs::types::ContainerInstanceStatus;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Look, Plan, Task, call},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "drain-of-protected",
    assumption: "A protected task on a container instance that drains stays there until its protection ends.",
    harm: "No harm to what the job does: it drains no instance, and moves no protected task. A task that the plan counts as staying \
           goes while its owner drains the instance.",
    notices: "It looks at tasks and instances again before each step.",
    belief: Belief::Open(
        "developer guide: so for Managed Instances; of EC2 nothing, and users report drains that hang (roadmap#2467, #2685)",
    ),
    setting: Setting::Behaviour("drain-of-protected"),
    values: &[
        ("held-up", "the protected task stayed when the other one of its instance had gone"),
        ("stopped", "both went"),
    ],
    calls: 220,
    minutes: 6,
    work: |lab| Box::pin(work(lab)),
};

/// So long after the task without protection has gone, the scheduler has looked at the other one several times.
const AFTER: Duration = Duration::from_secs(90);

async fn work(lab: &Lab<'_>) -> Outcome {
    lab.has_protection().await?;
    let instances = lab.instances().await?;
    let count = 2 * i32::try_from(instances.len()).unwrap_or(0);
    let plan = Plan {
        definition: &lab.stack.task_definitions.tiny,
        count,
        strategy: &["spread:instanceId"],
        ..Plan::default()
    };
    let (service, before) = lab.make(&plan).await?;
    let pair = |instance: &str| before.tasks.values().filter(|task| task.instance == instance).collect::<Vec<&Task>>();
    let pairs = instances.iter().map(|instance| (instance, pair(&instance.arn)));
    let Some((instance, tasks)) = pairs.into_iter().find(|(_, tasks)| tasks.len() == 2) else {
        return Err(Stop::not_settled(format!("no instance has two tasks: {}", before.shown())));
    };
    let (protected, other) = (tasks[0], tasks[1]);
    lab.protect(&[&protected.arn], true).await?;
    lab.is_protected(&[&protected.arn], true).await?;
    let state = |status| {
        let request = lab.ecs().update_container_instances_state().cluster(&lab.stack.cluster);
        request.container_instances(&instance.arn).status(status).send()
    };
    call("UpdateContainerInstancesState", state(ContainerInstanceStatus::Draining)).await?;
    let gone = |look: &Look| !look.tasks.contains_key(&other.arn);
    lab.until(&service, "the task without protection to leave the draining instance", gone).await?;
    lab.pause(AFTER).await;
    let after = lab.look(&service).await?;
    let (known, other) = (lab.describe(&protected.arn).await?, lab.describe(&other.arn).await?);
    if other.is_wanted || known.is_wanted != after.tasks.contains_key(&protected.arn) {
        return Err(Stop::contradiction(
            format!("which tasks of {} are to run", instance.arn),
            "ListTasks and DescribeTasks say the opposite".to_owned(),
        ));
    }
    lab.protect(&[&protected.arn], false).await.ok();
    call("UpdateContainerInstancesState", state(ContainerInstanceStatus::Active)).await?;
    let (value, what) = if known.is_wanted { ("held-up", "it stayed") } else { ("stopped", "it went as well") };
    let seconds = AFTER.as_secs();
    Ok(Found { value: value.to_owned(), seen: vec![format!("{seconds} s after the other task had gone {what}")] })
}
