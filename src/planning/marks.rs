//! What the job leaves in the cluster for a while: its notes, as tags, and the constraint and attribute that steer. How each is
//! written and known again.
//!
//! A tag's value holds at most 256 of letters, digits, blanks and `_ . : / = + - @` [API, TagValue], so: words `key=value`.

use std::{collections::BTreeMap, fmt};

use super::model::{ContainerInstance, PlacementConstraint, TaskArn, Timestamp};

/// On a service: an unfinished step of a surge.
pub const SURGE_TAG: &str = "ecs-rebalancer:surge";
/// On a service: when it was last rebalanced, and whether that helped.
pub const LAST_TAG: &str = "ecs-rebalancer:last";
/// On the cluster: the run at work, and until when.
pub const LEASE_TAG: &str = "ecs-rebalancer:lease";

/// On container instances, and in the constraint that asks for it: where a service's replacements are to start.
pub const TARGET_ATTRIBUTE: &str = "ecs-rebalancer.target";

/// How many characters of a task's id tell it apart from the service's others: 16 million values for at most 5,000 tasks,
/// and a clash only means that one more task keeps its protection until that ends by itself.
const TASK_ID_CHARACTERS: usize = 6;
/// How many protected tasks a surge's note has room for: 7 characters each, beside some 120 for the rest.
pub const SPARED_TASKS: usize = 19;

/// An unfinished step: the desired count is raised, or is about to be, or was just lowered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurgeMark {
    /// The desired count that the service's owner set.
    pub from: u32,
    /// The desired count of the surge.
    pub to: u32,
    /// The run that did it.
    pub run_id: String,
    /// When.
    pub at: Timestamp,
    /// How many minutes the protection that the run sets lasts from its setting on.
    pub protect_minutes: u32,
    /// The beginnings of the ids of tasks that the application itself had protected: that protection is not ours to clear.
    pub spared: Vec<String>,
    /// The value of [`TARGET_ATTRIBUTE`] that the service's constraint asks for meanwhile; none where it isn't steered.
    pub steer: Option<String>,
}

impl SurgeMark {
    /// Whether the application had protected this task before the surge.
    pub fn spares(&self, task: &TaskArn) -> bool {
        self.spared.iter().any(|beginning| task.short().starts_with(beginning.as_str()))
    }

    /// What a task is noted by among `spared`.
    pub fn beginning_of(task: &TaskArn) -> String {
        task.short().chars().take(TASK_ID_CHARACTERS).collect()
    }

    /// Reads a tag's value; none where it isn't one of ours.
    pub fn parse(value: &str) -> Option<Self> {
        let words = words(value)?;
        Some(Self {
            from: words.get("from")?.parse().ok()?,
            to: words.get("to")?.parse().ok()?,
            run_id: (*words.get("run")?).to_owned(),
            at: seconds(words.get("at")?)?,
            protect_minutes: words.get("protect")?.parse().ok()?,
            spared: match words.get("spared") {
                None | Some(&"") => Vec::new(),
                Some(list) => list.split('+').map(str::to_owned).collect(),
            },
            steer: words.get("steer").map(|value| (*value).to_owned()),
        })
    }
}

impl fmt::Display for SurgeMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, run_id, at, protect_minutes, spared, steer } = self;
        write!(formatter, "from={from} to={to} run={run_id} at={} protect={protect_minutes}", at.0 / 1000)?;
        if !spared.is_empty() {
            write!(formatter, " spared={}", spared.join("+"))?;
        }
        if let Some(value) = steer {
            write!(formatter, " steer={value}")?;
        }
        Ok(())
    }
}

/// How the last rebalancing of a service went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMark {
    /// When it ended.
    pub at: Timestamp,
    /// How many rebalancings in a row did not help.
    pub misses: u32,
}

impl LastMark {
    /// Reads a tag's value; none where it isn't one of ours.
    pub fn parse(value: &str) -> Option<Self> {
        let words = words(value)?;
        Some(Self { at: seconds(words.get("at")?)?, misses: words.get("misses")?.parse().ok()? })
    }
}

impl fmt::Display for LastMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at={} misses={}", self.at.0 / 1000, self.misses)
    }
}

/// Which run is at work on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseMark {
    /// The run.
    pub run_id: String,
    /// Until when it keeps others away.
    pub until: Timestamp,
}

impl LeaseMark {
    /// Reads a tag's value; none where it isn't one of ours.
    pub fn parse(value: &str) -> Option<Self> {
        let words = words(value)?;
        Some(Self { run_id: (*words.get("run")?).to_owned(), until: seconds(words.get("until")?)? })
    }
}

impl fmt::Display for LeaseMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "run={} until={}", self.run_id, self.until.0 / 1000)
    }
}

/// The value of [`TARGET_ATTRIBUTE`] by which a run steers: letters and digits, which need no quotes in an expression.
pub fn steer_value(run_id: &str) -> String {
    run_id.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// The constraint that steers.
pub fn steering_constraint(value: &str) -> PlacementConstraint {
    PlacementConstraint::MemberOf(format!("attribute:{TARGET_ATTRIBUTE} == {value}"))
}

/// Whether a constraint is one that steers, of whatever run.
pub fn is_steering(constraint: &PlacementConstraint) -> bool {
    match constraint {
        PlacementConstraint::MemberOf(expression) => {
            let name = expression.trim_start().strip_prefix("attribute:");
            name.is_some_and(|name| name.starts_with(TARGET_ATTRIBUTE))
        }
        PlacementConstraint::DistinctInstance | PlacementConstraint::Unknown(_) => false,
    }
}

/// The constraints of a service's owner: all but those that steer.
pub fn owners_constraints(constraints: &[PlacementConstraint]) -> Vec<PlacementConstraint> {
    constraints.iter().filter(|constraint| !is_steering(constraint)).cloned().collect()
}

/// Whether an instance carries the attribute by which a run steers, or steered.
pub fn is_target(instance: &ContainerInstance) -> bool {
    instance.attributes.contains_key(TARGET_ATTRIBUTE)
}

fn words(value: &str) -> Option<BTreeMap<&str, &str>> {
    value.split_whitespace().map(|word| word.split_once('=')).collect()
}

fn seconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>().ok()?.checked_mul(1000).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a tag's value may hold [API, TagValue].
    fn is_tag_value(text: &str) -> bool {
        text.len() <= 256 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || " _.:/=+-@".contains(letter))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_fits_a_tag(
            from in 0_u32..5_000,
            surge in 1_u32..5_000,
            at in 0_i64..10_000_000_000,
            protect_minutes in 1_u32..2_880,
            spared in proptest::collection::vec("[0-9a-f]{6}", 0..=SPARED_TASKS),
            is_steered in any::<bool>(),
        ) {
            let run_id = "20261124T101650Z-4f2a9c01".to_owned();
            let steer = is_steered.then(|| format!("{}x4999", steer_value(&run_id)));
            let mark =
                SurgeMark { from, to: from + surge, run_id, at: Timestamp(at * 1000), protect_minutes, spared, steer };
            prop_assert!(is_tag_value(&mark.to_string()), "{mark}");
            prop_assert_eq!(SurgeMark::parse(&mark.to_string()), Some(mark));
        }

        #[test]
        fn whatever_else_a_tag_holds_is_refused_without_a_panic(value in "[ -~]{0,256}") {
            let _ = (SurgeMark::parse(&value), LastMark::parse(&value), LeaseMark::parse(&value));
        }
    }

    #[test]
    fn the_notes_read_as_written_here() {
        let last = LastMark { at: Timestamp(1_764_000_000_000), misses: 2 };
        assert_eq!(last.to_string(), "at=1764000000 misses=2");
        assert_eq!(LastMark::parse("at=1764000000 misses=2"), Some(last));
        let lease = LeaseMark { run_id: "r-1".to_owned(), until: Timestamp(1_764_000_000_000) };
        assert_eq!(lease.to_string(), "run=r-1 until=1764000000");
        assert_eq!(LeaseMark::parse("run=r-1 until=1764000000"), Some(lease));
        assert_eq!(LeaseMark::parse("someone else's"), None);
    }

    #[test]
    fn the_owner_s_constraints_are_told_from_ours_whatever_run_set_that() {
        let own = [
            PlacementConstraint::DistinctInstance,
            PlacementConstraint::MemberOf("attribute:ecs.instance-type =~ m5.*".to_owned()),
        ];
        let mut all = own.to_vec();
        all.insert(1, steering_constraint(&steer_value("20261124T101650Z-4f2a9c01")));
        assert_eq!(
            all[1],
            PlacementConstraint::MemberOf("attribute:ecs-rebalancer.target == 20261124T101650Z4f2a9c01".to_owned())
        );
        assert_eq!(owners_constraints(&all), own);
    }

    #[test]
    fn a_task_that_the_application_protected_is_known_by_the_beginning_of_its_id() {
        let task = TaskArn::from("arn:aws:ecs:us-east-1:111122223333:task/prod/0123456789abcdef");
        let mark = SurgeMark::parse("from=1 to=2 run=r at=1 protect=20 spared=012345+ffffff").unwrap();
        assert_eq!(SurgeMark::beginning_of(&task), "012345");
        assert!(mark.spares(&task));
        assert!(!mark.spares(&"arn:aws:ecs:us-east-1:111122223333:task/prod/0123999999".into()));
    }
}
