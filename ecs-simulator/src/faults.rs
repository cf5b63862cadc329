//! What goes wrong: seeded, by name.

use anyhow::{Context, Result, bail};

/// The faults, all off by default. Shares are of 1; times in seconds after the start.
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
    /// For so many seconds after a change DescribeServices shows the desired count from before.
    pub stale_reads: f64,
    /// Factor on every start-up time.
    pub slow_start: f64,
    /// Share of tasks that fail to start.
    pub failing_start: f64,
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
    /// At this second an empty instance joins.
    pub join_instance: Option<f64>,
    /// At this second somebody deletes the busiest service.
    pub delete_service: Option<f64>,
    /// Managed scaling of capacity providers is at work: instances that nothing has needed for so many seconds (900, as ECS
    /// documents it) are taken away.
    pub managed_scaling: Option<f64>,
}

/// The names, with what each takes.
pub const NAMES: [(&str, &str); 15] = [
    ("throttle", "a share"),
    ("error", "a share"),
    ("drop", "a share"),
    ("lost-answer", "a share"),
    ("stale-reads", "seconds"),
    ("slow-start", "a factor"),
    ("failing-start", "a share"),
    ("broken-image", "seconds"),
    ("lose-instance", "seconds"),
    ("foreign-deployment", "seconds"),
    ("foreign-count", "seconds"),
    ("auto-scaling", "seconds"),
    ("join-instance", "seconds"),
    ("delete-service", "seconds"),
    ("managed-scaling", "seconds"),
];

impl Faults {
    /// No fault but these settings `NAME=VALUE`.
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
            let number: f64 = value
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite() && *number >= 0.0)
                .with_context(|| format!("fault {name} takes {kind} as a number, not {value:?}"))?;
            if *kind == "a share" && number > 1.0 {
                bail!("fault {name} takes a share from 0 to 1, not {value:?}");
            }
            match name {
                "throttle" => faults.throttle = number,
                "error" => faults.error = number,
                "drop" => faults.drop = number,
                "lost-answer" => faults.lost_answer = number,
                "stale-reads" => faults.stale_reads = number,
                "slow-start" => faults.slow_start = number,
                "failing-start" => faults.failing_start = number,
                "broken-image" => faults.broken_image = Some(number),
                "lose-instance" => faults.lose_instance = Some(number),
                "foreign-deployment" => faults.foreign_deployment = Some(number),
                "foreign-count" => faults.foreign_count = Some(number),
                "auto-scaling" => faults.auto_scaling = Some(number),
                "join-instance" => faults.join_instance = Some(number),
                "delete-service" => faults.delete_service = Some(number),
                _ => faults.managed_scaling = Some(number),
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
        for (name, _) in NAMES {
            let faults = Faults::from_settings(&[format!("{name}=1")]).unwrap();
            assert_ne!(faults, Faults::default(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_set_says_what_can() {
        for (setting, expected) in [
            ("drop", "fault \"drop\" is not NAME=VALUE"),
            ("drop=often", "fault drop takes a share as a number, not \"often\""),
            ("drop=2", "fault drop takes a share from 0 to 1, not \"2\""),
            ("drop=-1", "fault drop takes a share as a number, not \"-1\""),
            ("stale-reads=NaN", "fault stale-reads takes seconds as a number, not \"NaN\""),
        ] {
            assert_eq!(Faults::from_settings(&[setting]).unwrap_err().to_string(), expected);
        }
        let error = Faults::from_settings(&["flood=1"]).unwrap_err().to_string();
        assert!(error.starts_with("there is no fault \"flood\"; there are throttle, error, drop"), "{error}");
    }
}
