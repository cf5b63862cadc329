//! How long does a read lag behind a write?

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    finding::{Found, Outcome, Stop},
    lab::{Lab, Plan},
    probe::{Belief, Probe, Setting},
};

pub(super) const PROBE: Probe = Probe {
    name: "reads-lag",
    assumption: "What DescribeServices answers may be older than the last write, so the job concludes nothing from a first answer.",
    harm: "No harm while it looks again. Else a run would take a count of its own for somebody else's, and leave the service alone.",
    notices: "It waits until what it wrote is what it reads, up to a bound, and then says what it read instead.",
    belief: Belief::Documented(
        "API, RunTask: 'might not be immediately visible'; how long that takes is written nowhere",
    ),
    setting: Setting::Fault("reads-lag"),
    values: &[
        ("0", "what was written was read at once"),
        ("2", "within 2 s"),
        ("5", "within 5 s"),
        ("15", "within 15 s"),
    ],
    calls: 270,
    minutes: 3,
    work: |lab| Box::pin(work(lab)),
};

const TAG: &str = "ecs-rebalancer:probe";
/// Writes, of which the slowest is told.
const WRITES: i32 = 8;
/// Between two reads.
const BETWEEN: Duration = Duration::from_millis(500);
/// Two reads, which is how exactly a lag is known, and one answer that came late.
const TOLERANCE: Duration = Duration::from_millis(1_200);
/// No lag is longer, or it is none.
const LONGEST: Duration = Duration::from_mins(2);

async fn work(lab: &Lab<'_>) -> Outcome {
    // A count of none: nothing but the write itself takes any time.
    let plan = Plan { definition: &lab.stack.task_definitions.tiny, count: 0, ..Plan::default() };
    let service = lab.create(&plan).await?;
    lab.running(&service, 0).await?;
    let mut lags = Vec::new();
    for write in 1..=WRITES {
        let count = write % 2;
        lab.set_count(&service, count).await?;
        lags.push(lag(lab, &service, Written::Count(count)).await?);
        lab.running(&service, count).await?;
    }
    let arn = lab.arn(&service).await?;
    for value in ["one", "two"] {
        if let Err(refusal) = lab.tag(&arn, TAG, value).await? {
            return Err(Stop::not_settled(format!("TagResource: {}: {}", refusal.code, refusal.message)));
        }
        lags.push(lag(lab, &service, Written::Tag(value)).await?);
    }
    let seen: Vec<String> =
        lags.iter().map(|lag| format!("{}.{} s", lag.as_secs(), lag.subsec_millis() / 100)).collect();
    let slowest = lags.iter().max().copied().unwrap_or_default();
    let within = |value: &str| value.parse().map(Duration::from_secs).is_ok_and(|most| slowest <= most + TOLERANCE);
    match PROBE.values.iter().find(|(value, _)| within(value)) {
        Some((value, _)) => Ok(Found { value: (*value).to_owned(), seen }),
        None => Err(Stop::contradiction("what was written", format!("only after {} s", slowest.as_secs()))),
    }
}

/// What was written, and is to be read.
#[derive(Clone, Copy, Debug)]
enum Written<'a> {
    Count(i32),
    Tag(&'a str),
}

/// How long it takes until two reads in a row show it.
async fn lag(lab: &Lab<'_>, service: &str, written: Written<'_>) -> Result<Duration, Stop> {
    let began = Instant::now();
    let mut first: Option<Duration> = None;
    loop {
        let at = began.elapsed();
        let shown = match written {
            Written::Count(count) => lab.described(service).await?.is_some_and(|known| known.desired_count() == count),
            Written::Tag(value) => lab.tag_of(service, TAG).await?.as_deref() == Some(value),
        };
        match (shown, first) {
            (true, Some(first)) => return Ok(first),
            (true, None) => first = Some(at),
            (false, _) => first = None,
        }
        if began.elapsed() > LONGEST {
            return Err(Stop::not_settled(format!("DescribeServices: {service} doesn't show {written:?}")));
        }
        lab.pause(BETWEEN).await;
    }
}
