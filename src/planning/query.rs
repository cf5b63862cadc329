//! The cluster query language of `memberOf`: parse, evaluate. [ECS developer guide, "Cluster query language"]
//!
//! What the guide leaves open is decided here: `and` binds tighter than `or`; `not` applies to one expression or a group;
//! an attribute that an instance lacks equals nothing, so that `!=`, `!in` and `!~` hold for it; attributes compare as text.

mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use regex_lite::Regex;

use super::model::{ContainerInstance, Timestamp};

/// ECS takes expressions of at most so many characters [API, PlacementConstraint].
pub const LONGEST: usize = 2_000;

/// A parsed expression.
#[derive(Clone, Debug)]
pub enum Query {
    /// Both hold.
    And(Box<Query>, Box<Query>),
    /// At least one holds.
    Or(Box<Query>, Box<Query>),
    /// It doesn't hold.
    Not(Box<Query>),
    /// One comparison.
    Test(Subject, Test),
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `agentConnected`.
    AgentConnected,
    /// `agentVersion`.
    AgentVersion,
    /// `ec2InstanceId`.
    Ec2InstanceId,
    /// `registeredAt`.
    RegisteredAt,
    /// `runningTasksCount`.
    RunningTasksCount,
    /// `attribute:NAME`.
    Attribute(String),
    /// `task:group`: the groups of the tasks on the instance.
    TaskGroup,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub enum Test {
    /// A comparison with one value; the text as it was written, and what it means.
    Compare(Comparison, Value),
    /// `exists`, or not.
    Exists(bool),
    /// `in`, or not.
    In(bool, Vec<String>),
    /// `=~`, or not.
    Matches(bool, Pattern),
}

/// A Java regular expression that the whole value must match.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// `==`, `<` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`, `equals`.
    Equal,
    /// `!=`, `not_equals`.
    NotEqual,
    /// `>`, `greater_than`.
    Greater,
    /// `>=`, `greater_than_equal`.
    GreaterOrEqual,
    /// `<`, `less_than`.
    Less,
    /// `<=`, `less_than_equal`.
    LessOrEqual,
}

/// A value that something is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// `true` or `false`.
    Truth(bool),
    /// A number of tasks.
    Number(u64),
    /// A version, as `1.74.1`.
    Version(Vec<u64>),
    /// A date, as it was written, and the moment.
    Date(String, Timestamp),
}

/// Why an expression can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Where, in characters from 1 on.
    pub position: usize,
    /// What is wrong there.
    pub sentence: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at character {}", self.sentence, self.position)
    }
}

impl std::error::Error for QueryError {}

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parser::parse(text)
    }

    /// Whether the answer depends on the instance's attributes alone.
    pub fn is_static(&self) -> bool {
        let mut is_static = true;
        self.each_test(&mut |subject, _| is_static &= matches!(subject, Subject::Attribute(_)));
        is_static
    }

    /// Whether the answer depends on the tasks that are on the instance.
    pub fn looks_at_tasks(&self) -> bool {
        let mut looks = false;
        self.each_test(&mut |subject, _| looks |= matches!(subject, Subject::TaskGroup | Subject::RunningTasksCount));
        looks
    }

    /// The numbers that the count of tasks on the instance is compared with.
    pub fn counts(&self) -> BTreeSet<u64> {
        let mut counts = BTreeSet::new();
        self.each_test(&mut |subject, test| {
            if let (Subject::RunningTasksCount, Test::Compare(_, Value::Number(number))) = (subject, test) {
                counts.insert(*number);
            }
        });
        counts
    }

    /// All that must hold, one by one, each as it is or denied: of `not(a or b)` that is `not(a)` and `not(b)`.
    pub fn all_asked(self) -> Vec<Self> {
        self.all_asked_or_denied(false)
    }

    fn all_asked_or_denied(self, is_denied: bool) -> Vec<Self> {
        match self {
            Self::And(one, other) if !is_denied => [one, other].into_iter().flat_map(|it| it.all_asked()).collect(),
            Self::Or(one, other) if is_denied => {
                [one, other].into_iter().flat_map(|it| it.all_asked_or_denied(true)).collect()
            }
            Self::Not(query) => query.all_asked_or_denied(!is_denied),
            asked if is_denied => vec![Self::Not(Box::new(asked))],
            asked => vec![asked],
        }
    }

    /// Whether it asks for no more than that no task of a group is on the instance: `task:group != GROUP`, in whatever words.
    pub fn only_denies_group(&self, group: &str) -> bool {
        let is_it = |test: &Test| match test {
            Test::Compare(Comparison::Equal, Value::Text(text)) => text == group,
            Test::In(true, list) => list.iter().all(|text| text == group),
            Test::Compare(..) | Test::Exists(_) | Test::In(false, _) | Test::Matches(..) => false,
        };
        match self {
            Self::Not(query) => matches!(&**query, Self::Test(Subject::TaskGroup, test) if is_it(test)),
            Self::Test(Subject::TaskGroup, test) => test.denied().is_some_and(|denied| is_it(&denied)),
            Self::And(..) | Self::Or(..) | Self::Test(..) => false,
        }
    }

    /// The attributes that are looked at.
    pub fn attributes(&self) -> BTreeSet<&str> {
        let mut attributes = BTreeSet::new();
        self.each_test(&mut |subject, _| {
            if let Subject::Attribute(name) = subject {
                attributes.insert(name.as_str());
            }
        });
        attributes
    }

    /// Shows each test in it, in order.
    fn each_test<'q>(&'q self, shown: &mut dyn FnMut(&'q Subject, &'q Test)) {
        match self {
            Self::And(one, other) | Self::Or(one, other) => {
                one.each_test(shown);
                other.each_test(shown);
            }
            Self::Not(query) => query.each_test(shown),
            Self::Test(subject, test) => shown(subject, test),
        }
    }

    /// Whether the instance fulfils the expression. `groups` gives the groups of the tasks on it, where they are asked for.
    pub fn matches(&self, instance: &ContainerInstance, groups: &dyn Fn() -> BTreeSet<String>) -> bool {
        match self {
            Self::And(one, other) => one.matches(instance, groups) && other.matches(instance, groups),
            Self::Or(one, other) => one.matches(instance, groups) || other.matches(instance, groups),
            Self::Not(query) => !query.matches(instance, groups),
            Self::Test(subject, test) => subject.holds(test, instance, groups),
        }
    }
}

impl Subject {
    fn holds(&self, test: &Test, instance: &ContainerInstance, groups: &dyn Fn() -> BTreeSet<String>) -> bool {
        match self {
            Self::AgentConnected => test.holds_for(&Value::Truth(instance.agent_connected)),
            Self::AgentVersion => {
                test.holds_for_optional(version(&instance.agent_version).map(Value::Version).as_ref())
            }
            Self::Ec2InstanceId => test.holds_for(&Value::Text(instance.ec2_instance_id.clone())),
            Self::RegisteredAt => {
                let registered = instance.registered_at.map(|moment| Value::Date(String::new(), moment));
                test.holds_for_optional(registered.as_ref())
            }
            Self::RunningTasksCount => test.holds_for(&Value::Number(instance.running_tasks_count.into())),
            Self::Attribute(name) => match test {
                Test::Exists(expected) => instance.attributes.contains_key(name) == *expected,
                _ => test
                    .holds_for_optional(instance.attribute(name).map(|value| Value::Text(value.to_owned())).as_ref()),
            },
            // Some task's group fulfils what is asked; a negation holds where no task's group is what it denies.
            Self::TaskGroup => {
                let groups = groups();
                let positive = |test: &Test| groups.iter().any(|group| test.holds_for(&Value::Text(group.clone())));
                match test.denied() {
                    Some(denied) => !positive(&denied),
                    None => positive(test),
                }
            }
        }
    }
}

impl Test {
    /// For a negated test, what it denies.
    fn denied(&self) -> Option<Self> {
        match self {
            Self::Compare(Comparison::NotEqual, value) => Some(Self::Compare(Comparison::Equal, value.clone())),
            Self::Exists(false) => Some(Self::Exists(true)),
            Self::In(false, list) => Some(Self::In(true, list.clone())),
            Self::Matches(false, pattern) => Some(Self::Matches(true, pattern.clone())),
            Self::Compare(..) | Self::Exists(true) | Self::In(true, _) | Self::Matches(true, _) => None,
        }
    }

    fn holds_for_optional(&self, value: Option<&Value>) -> bool {
        match (value, self) {
            (Some(value), _) => self.holds_for(value),
            // What isn't there is not equal to anything, in no list, and matches nothing.
            (None, _) => self.denied().is_some(),
        }
    }

    fn holds_for(&self, value: &Value) -> bool {
        match self {
            Self::Exists(expected) => *expected,
            Self::Compare(comparison, asked) => value.compare(asked).is_some_and(|order| comparison.accepts(order)),
            Self::In(expected, list) => matches!(value, Value::Text(text) if list.contains(text)) == *expected,
            Self::Matches(expected, pattern) => {
                matches!(value, Value::Text(text) if pattern.regex.is_match(text)) == *expected
            }
        }
    }
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
        }
    }
}

impl Value {
    /// How this value stands to another of its kind.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Truth(one), Self::Truth(other)) => Some(one.cmp(other)),
            (Self::Number(one), Self::Number(other)) => Some(one.cmp(other)),
            (Self::Date(_, one), Self::Date(_, other)) => Some(one.cmp(other)),
            (Self::Version(one), Self::Version(other)) => Some(compare_versions(one, other)),
            _ => None,
        }
    }
}

/// Part by part; a part that is missing counts as 0, so that 1.74 equals 1.74.0.
fn compare_versions(one: &[u64], other: &[u64]) -> Ordering {
    let part = |version: &[u64], index: usize| version.get(index).copied().unwrap_or(0);
    (0..one.len().max(other.len()))
        .map(|index| part(one, index).cmp(&part(other, index)))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

fn version(text: &str) -> Option<Vec<u64>> {
    text.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect()
}

impl fmt::Display for Query {
    /// In ECS's notation, with every group in parentheses.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(one, other) => write!(formatter, "({one} and {other})"),
            Self::Or(one, other) => write!(formatter, "({one} or {other})"),
            Self::Not(query) => write!(formatter, "not({query})"),
            Self::Test(subject, test) => write!(formatter, "{subject} {test}"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentConnected => formatter.write_str("agentConnected"),
            Self::AgentVersion => formatter.write_str("agentVersion"),
            Self::Ec2InstanceId => formatter.write_str("ec2InstanceId"),
            Self::RegisteredAt => formatter.write_str("registeredAt"),
            Self::RunningTasksCount => formatter.write_str("runningTasksCount"),
            Self::Attribute(name) => write!(formatter, "attribute:{name}"),
            Self::TaskGroup => formatter.write_str("task:group"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(comparison, value) => write!(formatter, "{comparison} {value}"),
            Self::Exists(true) => formatter.write_str("exists"),
            Self::Exists(false) => formatter.write_str("!exists"),
            Self::In(expected, list) => {
                let list: Vec<String> = list.iter().map(|value| quoted(value)).collect();
                write!(formatter, "{}in [{}]", if *expected { "" } else { "!" }, list.join(", "))
            }
            Self::Matches(expected, pattern) => {
                write!(formatter, "{} {}", if *expected { "=~" } else { "!~" }, quoted(&pattern.text))
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Date(text, _) => formatter.write_str(&quoted(text)),
            Self::Truth(truth) => write!(formatter, "{truth}"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Version(parts) => {
                let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                formatter.write_str(&parts.join("."))
            }
        }
    }
}

/// A value in whichever quotes it doesn't hold itself; bare where it holds both.
fn quoted(text: &str) -> String {
    match (text.contains('\''), text.contains('"')) {
        (false, _) => format!("'{text}'"),
        (true, false) => format!("\"{text}\""),
        (true, true) => text.to_owned(),
    }
}
