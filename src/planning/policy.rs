//! What the user allows and asks for: the settings that planning needs, as types.

use std::{fmt, time::Duration};

use wildmatch::WildMatch;

use super::{model::ServiceName, moves::Reviewed};

/// The settings of a run that decide what is moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Spread tasks out, or pack them.
    pub mode: Mode,
    /// A service, or the cluster, is rebalanced from here on.
    pub threshold: Percent,
    /// Container instances are evened out from here on.
    pub load_threshold: Percent,
    /// What container instances that stay keep free, where others are emptied: of CPU and of memory, over all of them.
    pub headroom: Percent,
    /// How a task is moved, where the service's tag doesn't say otherwise.
    pub strategy: Strategy,
    /// Whether a temporary placement constraint is allowed.
    pub steer: bool,
    /// Which services are meant at all.
    pub services: ServiceFilter,
    /// Over all services, in one run.
    pub max_moves: u32,
    /// In one run.
    pub max_services: u32,
    /// At the same time.
    pub parallel: u32,
    /// Percent of the desired count that is started on top of it at a time; at least one task.
    pub surge: Percent,
    /// A service that changed less long ago is left alone.
    pub cooldown: Duration,
    /// How long a replacement may take until it is healthy.
    pub task_timeout: Duration,
    /// The run ends by then.
    pub deadline: Duration,
    /// An earlier run's plan, reviewed: no other moves are made.
    pub reviewed: Option<Reviewed>,
}

impl Default for Policy {
    /// The contract's defaults.
    fn default() -> Self {
        Self {
            mode: Mode::Spread,
            threshold: Percent::from_hundredths(1_000),
            load_threshold: Percent::from_hundredths(2_500),
            headroom: Percent::from_hundredths(1_000),
            strategy: Strategy::Auto,
            steer: false,
            services: ServiceFilter::default(),
            max_moves: 50,
            max_services: 10,
            parallel: 4,
            surge: Percent::from_hundredths(2_500),
            cooldown: Duration::from_mins(10),
            task_timeout: Duration::from_mins(5),
            deadline: Duration::from_mins(15),
            reviewed: None,
        }
    }
}

/// What the run aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Even tasks out as each service's placement strategy asks.
    Spread,
    /// Pack tasks so that whole container instances come free.
    Consolidate,
}

/// How a task is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// `surge` where there is room, else `stop` where that is safe.
    Auto,
    /// Start first, then scale in with all but the victims protected.
    Surge,
    /// Stop the misplaced tasks; ECS starts the replacements.
    Stop,
    /// `forceNewDeployment`.
    Redeploy,
    /// An identical new revision of the task definition.
    Revision,
}

impl Strategy {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Surge => "surge",
            Self::Stop => "stop",
            Self::Redeploy => "redeploy",
            Self::Revision => "revision",
        }
    }

    /// By its name in the contract.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "surge" => Some(Self::Surge),
            "stop" => Some(Self::Stop),
            "redeploy" => Some(Self::Redeploy),
            "revision" => Some(Self::Revision),
            _ => None,
        }
    }
}

/// A percentage from 0 to 100, exact to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// `1_000` is 10 %.
    pub const fn from_hundredths(hundredths: u32) -> Self {
        Self(hundredths)
    }

    /// A plain number from 0 to 100 with at most two decimals, as `8` or `12.5`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 || whole.len() > 3 {
            return None;
        }
        let hundredths = whole.parse::<u32>().ok()? * 100 + format!("{fraction:0<2}").parse::<u32>().ok()?;
        (hundredths <= 10_000).then_some(Self(hundredths))
    }

    /// So much of a number, rounded down, but at least one: 25 % of 10 is 2, of 3 it is 1.
    pub fn of_at_least_one(self, number: u32) -> u32 {
        let share = u64::from(number) * u64::from(self.0) / 10_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }

    /// In hundredths of a percent.
    pub const fn hundredths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Percent {
    /// Without the sign, and without decimals that say nothing: `10`, `12.5`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", f64::from(self.0) / 100.0)
    }
}

/// A share, kept as two whole numbers so that it can be compared without rounding. Nothing of nothing is 0 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Of these ...
    pub part: u64,
    /// ... are that many the whole.
    pub whole: u64,
}

impl Share {
    /// `part` of `whole`.
    pub const fn new(part: u64, whole: u64) -> Self {
        Self { part, whole }
    }

    /// In percent, for showing.
    #[expect(clippy::cast_precision_loss, reason = "for showing only; counts lie far below 2^52")]
    pub fn percent(self) -> f64 {
        if self.whole == 0 { 0.0 } else { self.part as f64 * 100.0 / self.whole as f64 }
    }

    /// The larger of two shares.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        let (ours, theirs) =
            (u128::from(self.part) * u128::from(other.whole), u128::from(other.part) * u128::from(self.whole));
        if theirs > ours || self.whole == 0 { other } else { self }
    }

    /// Whether the share is at least `threshold`, by cross-multiplication.
    pub fn reaches(self, threshold: Percent) -> bool {
        u128::from(self.part) * 10_000 >= u128::from(self.whole) * u128::from(threshold.0)
    }
}

/// Which services are meant: those that an include pattern matches (all, where there is none) and no exclude pattern.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceFilter {
    /// Patterns with `*` and `?`.
    pub include: Vec<WildMatch>,
    /// Patterns with `*` and `?`; they win.
    pub exclude: Vec<WildMatch>,
}

impl ServiceFilter {
    /// Whether the service is meant.
    pub fn admits(&self, service: &ServiceName) -> bool {
        let matches = |patterns: &[WildMatch]| patterns.iter().any(|pattern| pattern.matches(service.as_str()));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_reaches_its_threshold_without_rounding() {
        let third = Share::new(1, 3);
        assert!(third.reaches(Percent::from_hundredths(3_333)));
        assert!(!third.reaches(Percent::from_hundredths(3_334)));
        assert!(Share::new(1, 10).reaches(Percent::from_hundredths(1_000)));
        assert!(Share::new(0, 0).reaches(Percent::from_hundredths(0)), "a threshold of 0 is always reached");
    }

    #[test]
    fn exclude_wins_over_include() {
        let filter =
            ServiceFilter { include: vec![WildMatch::new("web-*")], exclude: vec![WildMatch::new("*-canary")] };
        assert!(filter.admits(&"web-shop".into()));
        assert!(!filter.admits(&"web-canary".into()));
        assert!(!filter.admits(&"api".into()));
        assert!(ServiceFilter::default().admits(&"api".into()));
    }
}
