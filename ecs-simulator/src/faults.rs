//! What goes wrong: seeded, by name.

mod reading;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::reading::{lag, number, occasion, occasion_with_seconds, range};

/// The faults, all off by default. Shares are of 1; times in seconds after they are set, mostly at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Share of requests that are throttled though there are tokens.
    pub throttle: f64,
    /// Share of requests that are answered with a server's error.
    pub error: f64,
    /// Share of requests of which the connection breaks before they take effect.
    pub drop: f64,
    /// Share of requests that take effect, and then the connection breaks.
    pub lost_answer: f64,
    /// Requests that are answered otherwise than ECS would, at a time or by their number.
    pub wrong_answers: Vec<(Occasion, WrongAnswer)>,
    /// Share of requests that are held for up to 40 s before they take effect; their callers may have given up by then.
    pub held_requests: f64,
    /// Share of requests that take effect at once, and whose answers are held for up to 40 s.
    pub held_answers: f64,
    /// Requests that are held so long before they take effect.
    pub held_request: Vec<(Occasion, Duration)>,
    /// Requests whose answers are held so long.
    pub held_answer: Vec<(Occasion, Duration)>,
    /// For so many seconds after a change DescribeServices shows the desired count from before.
    pub stale_reads: f64,
    /// DescribeServices, ListTasks, DescribeTasks and DescribeClusters tell of the cluster as it was so many seconds ago: each
    /// time a number between these two.
    pub reads_lag: Option<(f64, f64)>,
    /// For so many seconds after the answer the scheduler doesn't know of a task's protection.
    pub late_protection: f64,
    /// Share of tasks whose protection UpdateTaskProtection refuses, in the `failures` of its answer.
    pub refused_protection: f64,
    /// Factor on every start-up time.
    pub slow_start: f64,
    /// Share of tasks that fail to start.
    pub failing_start: f64,
    /// Share of tasks whose targets fail their health checks.
    pub failing_targets: f64,
    /// From this second on no new task of any service becomes healthy.
    pub broken_image: Option<f64>,
    /// At this second one instance is lost.
    pub lose_instance: Option<f64>,
    /// At this second somebody deploys the busiest service anew.
    pub foreign_deployment: Option<f64>,
    /// At this second somebody sets the busiest service's desired count one higher.
    pub foreign_count: Option<f64>,
    /// Every so many seconds an auto scaler changes the busiest service's desired count by one, up and down.
    pub auto_scaling: Option<f64>,
    /// The bounds that it keeps to.
    pub scaling_bounds: Option<(u32, u32)>,
    /// At this second an empty instance joins.
    pub join_instance: Option<f64>,
    /// At this second somebody deletes the busiest service.
    pub delete_service: Option<f64>,
    /// Managed scaling of capacity providers is at work: instances that nothing has needed for so many seconds (900, as ECS
    /// documents it) are taken away.
    pub managed_scaling: Option<f64>,
}

/// Which requests something happens to.
#[derive(Clone, Debug, PartialEq)]
pub struct Occasion {
    /// Of which operation.
    pub operation: Operation,
    /// Which of them.
    pub when: When,
}

/// Which operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Of every service that is simulated.
    All,
    /// All of Amazon ECS.
    Ecs,
    /// This one.
    Named(String),
}

/// Which of an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Those that come from one second on until another.
    Between(f64, f64),
    /// The n-th since the start, from 1 on; of several operations, the n-th of each.
    Number(u64),
}

/// What is answered instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongAnswer {
    /// 500, `ServerException`: the request takes no effect.
    Outage,
    /// 400, `ExpiredTokenException`: the request takes no effect.
    ExpiredToken,
    /// 200 and a page of HTML, as from a proxy: the request takes no effect.
    Page,
    /// 503 and a page of HTML, as from a load balancer: the request takes no effect.
    ErrorPage,
    /// The first half of the answer; the request takes effect.
    HalfBody,
    /// `{}`; the request takes effect.
    Empty,
    /// Everything that a Describe operation is asked for is MISSING.
    Missing,
}

impl WrongAnswer {
    /// The fault's name.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// The names of these faults.
    const NAMES: [(&'static str, Self); 7] = [
        ("outage", Self::Outage),
        ("expired-token", Self::ExpiredToken),
        ("html-page", Self::Page),
        ("html-error", Self::ErrorPage),
        ("half-body", Self::HalfBody),
        ("empty-answer", Self::Empty),
        ("missing", Self::Missing),
    ];
}

/// The longest that a share of requests, or of answers, is held.
pub(crate) const LONGEST_HELD: Duration = Duration::from_secs(40);

const AN_OCCASION: &str = "OPERATION:FROM-TO or OPERATION:#NUMBER";
const AN_OCCASION_AND_SECONDS: &str = "OPERATION:FROM-TO:SECONDS or OPERATION:#NUMBER:SECONDS";

/// The names, with what each takes.
pub const NAMES: [(&str, &str); 31] = [
    ("throttle", "a share"),
    ("error", "a share"),
    ("drop", "a share"),
    ("lost-answer", "a share"),
    ("outage", AN_OCCASION),
    ("expired-token", AN_OCCASION),
    ("html-page", AN_OCCASION),
    ("html-error", AN_OCCASION),
    ("half-body", AN_OCCASION),
    ("empty-answer", AN_OCCASION),
    ("missing", AN_OCCASION),
    ("held-requests", "a share"),
    ("held-answers", "a share"),
    ("held-request", AN_OCCASION_AND_SECONDS),
    ("held-answer", AN_OCCASION_AND_SECONDS),
    ("stale-reads", "seconds"),
    ("reads-lag", "SECONDS or FROM-TO"),
    ("late-protection", "seconds"),
    ("refused-protection", "a share"),
    ("slow-start", "a factor"),
    ("failing-start", "a share"),
    ("failing-targets", "a share"),
    ("broken-image", "seconds"),
    ("lose-instance", "seconds"),
    ("foreign-deployment", "seconds"),
    ("foreign-count", "seconds"),
    ("auto-scaling", "seconds"),
    ("scaling-bounds", "MINIMUM-MAXIMUM"),
    ("join-instance", "seconds"),
    ("delete-service", "seconds"),
    ("managed-scaling", "seconds"),
];

impl Faults {
    /// No fault but these settings `NAME=VALUE`; those that name an occasion may be given several times.
    ///
    /// # Errors
    /// Names the setting, and what there is to choose from.
    pub fn from_settings<S: AsRef<str>>(settings: &[S]) -> Result<Self> {
        let mut faults = Self::default();
        for setting in settings {
            let setting = setting.as_ref();
            let (name, value) =
                setting.split_once('=').with_context(|| format!("fault {setting:?} is not NAME=VALUE"))?;
            let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == name) else {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                bail!("there is no fault {name:?}; there are {}", names.join(", "));
            };
            let number = || number(name, kind, value);
            match name {
                "throttle" => faults.throttle = number()?,
                "error" => faults.error = number()?,
                "drop" => faults.drop = number()?,
                "lost-answer" => faults.lost_answer = number()?,
                "held-requests" => faults.held_requests = number()?,
                "held-answers" => faults.held_answers = number()?,
                "held-request" => faults.held_request.push(occasion_with_seconds(name, kind, value)?),
                "held-answer" => faults.held_answer.push(occasion_with_seconds(name, kind, value)?),
                "stale-reads" => faults.stale_reads = number()?,
                "reads-lag" => faults.reads_lag = Some(lag(name, kind, value)?),
                "late-protection" => faults.late_protection = number()?,
                "refused-protection" => faults.refused_protection = number()?,
                "slow-start" => faults.slow_start = number()?,
                "failing-start" => faults.failing_start = number()?,
                "failing-targets" => faults.failing_targets = number()?,
                "broken-image" => faults.broken_image = Some(number()?),
                "lose-instance" => faults.lose_instance = Some(number()?),
                "foreign-deployment" => faults.foreign_deployment = Some(number()?),
                "foreign-count" => faults.foreign_count = Some(number()?),
                "auto-scaling" => faults.auto_scaling = Some(number()?),
                "scaling-bounds" => faults.scaling_bounds = Some(range(name, kind, value)?),
                "join-instance" => faults.join_instance = Some(number()?),
                "delete-service" => faults.delete_service = Some(number()?),
                "managed-scaling" => faults.managed_scaling = Some(number()?),
                _ => {
                    let wrong = WrongAnswer::NAMES.into_iter().find(|(known, _)| *known == name);
                    let (_, wrong) = wrong.with_context(|| format!("there is no fault {name:?}"))?;
                    let occasion = occasion(name, kind, value)?;
                    if let (WrongAnswer::Missing, Operation::Named(operation)) = (wrong, &occasion.operation)
                        && !crate::operations::tells_what_is_missing(operation)
                    {
                        bail!("fault missing takes an operation that tells what is MISSING, not {operation}");
                    }
                    faults.wrong_answers.push((occasion, wrong));
                }
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_can_be_set_and_changes_something() {
        for (name, kind) in NAMES {
            let value = match kind {
                "a share" | "a factor" | "seconds" => "1",
                "SECONDS or FROM-TO" | "MINIMUM-MAXIMUM" => "1-2",
                AN_OCCASION => "DescribeServices:1-2",
                _ => "all:#1:5",
            };
            let faults = Faults::from_settings(&[format!("{name}={value}")]).unwrap();
            assert_ne!(faults, Faults::default(), "{name}");
        }
    }

    #[test]
    fn several_occasions_of_one_fault_are_kept() {
        let faults = Faults::from_settings(&["outage=ecs:10-70", "outage=StopTask:#2"]).unwrap();
        let wrong = |operation, when| (Occasion { operation, when }, WrongAnswer::Outage);
        assert_eq!(
            faults.wrong_answers,
            [
                wrong(Operation::Ecs, When::Between(10.0, 70.0)),
                wrong(Operation::Named("StopTask".to_owned()), When::Number(2)),
            ]
        );
    }

    #[test]
    fn what_cannot_be_set_says_what_can() {
        for (setting, expected) in [
            ("drop", "fault \"drop\" is not NAME=VALUE"),
            ("drop=often", "fault drop takes a share as a number, not \"often\""),
            ("drop=2", "fault drop takes a share from 0 to 1, not \"2\""),
            ("drop=-1", "fault drop takes a share as a number, not \"-1\""),
            ("stale-reads=NaN", "fault stale-reads takes seconds as a number, not \"NaN\""),
            ("outage=ecs", "fault outage takes OPERATION:FROM-TO or OPERATION:#NUMBER, not \"ecs\""),
            ("outage=ecs:9-3", "fault outage takes OPERATION:FROM-TO or OPERATION:#NUMBER, not \"ecs:9-3\""),
            ("outage=ecs:#0", "fault outage takes OPERATION:FROM-TO or OPERATION:#NUMBER, not \"ecs:#0\""),
            (
                "half-body=StopTasks:#1",
                "fault half-body: StopTasks is no operation that is simulated, nor `ecs` or `all`",
            ),
            ("missing=StopTask:#1", "fault missing takes an operation that tells what is MISSING, not StopTask"),
            (
                "held-answer=all:#1",
                "fault held-answer takes OPERATION:FROM-TO:SECONDS or OPERATION:#NUMBER:SECONDS, not \"all:#1\"",
            ),
            ("reads-lag=5-1", "fault reads-lag takes SECONDS or FROM-TO, not \"5-1\""),
            ("scaling-bounds=5", "fault scaling-bounds takes MINIMUM-MAXIMUM, not \"5\""),
        ] {
            assert_eq!(Faults::from_settings(&[setting]).unwrap_err().to_string(), expected);
        }
        let error = Faults::from_settings(&["flood=1"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no fault \"flood\"; there are throttle, error, drop"), "{error}");
    }
}
