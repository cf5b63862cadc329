//! Which characters can the value of a tag have?

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{BETWEEN_READS, Lab, Plan, READS},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "tag-characters",
    assumption: "A tag's value can have 256 letters, digits, blanks and _ . : / = + - @, and its key 128 of them.",
    harm: "The job can't write its lease, or what it did to a service: it changes nothing then.",
    notices: "TagResource is refused, and the run ends before its first change.",
    belief: Belief::Documented("API, TagKey and TagValue; whether others are refused is written nowhere"),
    setting: Setting::Behaviour("tag-characters"),
    values: &[("listed", "those that the API lists, and no others"), ("any", "others, too")],
    calls: 80,
    minutes: 1,
    work: |lab| Box::pin(work(lab)),
};

const KEY: &str = "ecs-rebalancer:probe";
const LISTED: &str = "aZ09 _.:/=+-@";
const OTHERS: [&str; 8] = [",", ";", "\"", "{", "#", "|", "!", "~"];
/// [API, TagKey and TagValue]
const LONGEST: (usize, usize) = (128, 256);

async fn work(lab: &Lab<'_>) -> Outcome {
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 0, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.running(&service, 0).await?;
    let arn = lab.arn(&service).await?;
    let filled =
        |begin: &str, length: usize| begin.chars().chain(LISTED.chars().cycle()).take(length).collect::<String>();
    let (key, value) = (filled(KEY, LONGEST.0), filled("", LONGEST.1 - 1) + "x");
    if let Err(refusal) = lab.tag(&arn, &key, &value).await? {
        let asked = format!("the tag {key} with the value {value}");
        return Err(Stop::contradiction(asked, format!("{}: {}", refusal.code, refusal.message)));
    }
    is_there(lab, &service, &key, &value).await?;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for other in OTHERS {
        let value = format!("a{other}b");
        match lab.tag(&arn, KEY, &value).await? {
            Ok(()) => {
                is_there(lab, &service, KEY, &value).await?;
                taken.push(other);
            }
            Err(_) if lab.tag_of(&service, KEY).await?.as_deref() == Some(&value) => {
                return Err(Stop::contradiction(format!("the value {value}"), "a refusal, and it is there".to_owned()));
            }
            Err(_) => refused.push(other),
        }
    }
    let seen = vec![format!("taken: [{}]; refused: [{}]", taken.join(" "), refused.join(" "))];
    match (taken.is_empty(), refused.is_empty()) {
        (true, _) => Ok(Found { value: "listed".to_owned(), seen }),
        (_, true) => Ok(Found { value: "any".to_owned(), seen }),
        _ => Err(Stop::contradiction("values with characters that the API doesn't list", seen.join("; "))),
    }
}

/// What was answered with success is read, sooner or later.
async fn is_there(lab: &Lab<'_>, service: &str, key: &str, value: &str) -> Result<(), Stop> {
    let mut read = None;
    for _ in 0..READS {
        read = lab.tag_of(service, key).await?;
        if read.as_deref() == Some(value) {
            return Ok(());
        }
        lab.pause(BETWEEN_READS).await;
    }
    Err(Stop::contradiction(format!("the tag {key} with the value {value}"), format!("success, and then {read:?}")))
}
