//! Does TagResource take a service's ARN without its cluster?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{BETWEEN_READS, Lab, Plan, READS},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "short-arns",
    assumption: "TagResource refuses a service's ARN that doesn't name the cluster, so the job leaves such services alone.",
    harm: "No harm while the job leaves them alone. It could move tasks of more services.",
    notices: "It tells of each service with such an ARN that it is left alone, and why.",
    belief: Belief::Documented("developer guide, ecs-account-settings: tags need the long form"),
    setting: Setting::Behaviour("short-arn-tags"),
    values: &[("refused", "the tag is not written"), ("taken", "the tag is written")],
    calls: 85,
    minutes: 1,
    work: |lab| Box::pin(work(lab)),
};

const KEY: &str = "ecs-rebalancer:probe";

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 0, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.running(&service, 0).await?;
    let long = lab.arn(&service).await?;
    let short = long.replace(&format!("/{}/", lab.stack.cluster), "/");
    if short == long {
        return Err(Stop::not_settled(format!("DescribeServices shows {long}, which doesn't name the cluster")));
    }
    let refusal = lab.tag(&short, KEY, "short").await?.err();
    let mut read = None;
    for _ in 0..READS {
        lab.pause(BETWEEN_READS).await;
        read = lab.tag_of(&service, KEY).await?;
    }
    match (refusal, read.as_deref()) {
        (Some(refusal), None) => Ok(Found {
            value: "refused".to_owned(),
            seen: vec![format!("{short}: {}: {}", refusal.code, refusal.message)],
        }),
        (None, Some("short")) => {
            Ok(Found { value: "taken".to_owned(), seen: vec![format!("{short}: the tag was read")] })
        }
        (refusal, read) => {
            Err(Stop::contradiction(format!("a tag by {short}"), format!("{refusal:?}, and then the value {read:?}")))
        }
    }
}
