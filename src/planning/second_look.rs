//! The second look at the container instances, a while after the reading and before the first write: what has changed since that a
//! plan rests on. Agents disconnect and reconnect several times an hour as part of their normal operation, so that one look may
//! show an instance as it isn't.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::model::{ContainerInstance, ContainerInstanceArn};

/// How long after the reading the second look comes.
pub const AFTER: Duration = Duration::from_secs(30);

/// What has changed about one instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The instance, as people call it.
    pub instance: String,
    /// Of which kind it is.
    pub kind: ChangeKind,
}

/// What can have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It takes tasks now, and did not before.
    Usable,
    /// It takes no tasks any more.
    Unusable,
    /// It was drained, or is no longer.
    Drains,
    /// It has joined.
    Joined,
    /// It is gone.
    Gone,
    /// Its attributes, size or capacity provider are others, and so may be what it takes.
    Differs,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ChangeKind::Usable => "takes tasks again",
            ChangeKind::Unusable => "takes no tasks any more",
            ChangeKind::Drains => "is drained, or no longer",
            ChangeKind::Joined => "has joined",
            ChangeKind::Gone => "is gone",
            ChangeKind::Differs => "has other attributes, size or capacity provider",
        };
        write!(formatter, "container instance {} {what}", self.instance)
    }
}

/// A cluster's container instances.
pub type Instances = BTreeMap<ContainerInstanceArn, Arc<ContainerInstance>>;

/// What has changed between two looks that a plan rests on; nothing where the plan still holds. What tasks reserve changes all the
/// time, and each step looks at it anew.
pub fn changes(before: &Instances, now: &Instances) -> Vec<Change> {
    let gone = before.iter().filter(|(arn, _)| !now.contains_key(*arn));
    let gone = gone.map(|(_, instance)| Change { instance: instance.label().to_owned(), kind: ChangeKind::Gone });
    let changed = now.iter().filter_map(|(arn, instance)| {
        let kind = match before.get(arn) {
            None => Some(ChangeKind::Joined),
            Some(before) => difference(before, instance),
        };
        kind.map(|kind| Change { instance: instance.label().to_owned(), kind })
    });
    gone.chain(changed).collect()
}

fn difference(before: &ContainerInstance, now: &ContainerInstance) -> Option<ChangeKind> {
    match (before.is_usable(), now.is_usable()) {
        (false, true) => return Some(ChangeKind::Usable),
        (true, false) => return Some(ChangeKind::Unusable),
        (true, true) | (false, false) => {}
    }
    if before.status != now.status {
        return Some(ChangeKind::Drains);
    }
    let asked_of = |instance: &ContainerInstance| {
        (instance.registered, instance.attributes.clone(), instance.capacity_provider.clone())
    };
    (asked_of(before) != asked_of(now)).then_some(ChangeKind::Differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    fn check(before: &str, now: &str, expected: &[&str]) {
        let instances = |drawing: &str| testing::cluster(drawing).container_instances;
        let changes: Vec<String> =
            changes(&instances(before), &instances(now)).iter().map(ToString::to_string).collect();
        let expected: Vec<String> = expected.iter().map(|change| format!("container instance {change}")).collect();
        assert_eq!(changes, expected, "{before} → {now}");
    }

    #[test]
    fn what_a_plan_rests_on() {
        check("a i-1\nb i-2", "a i-1\nb i-2", &[]);
        check("a i-1 agent=false", "a i-1", &["i-1 takes tasks again"]);
        check("a i-1", "a i-1 agent=false", &["i-1 takes no tasks any more"]);
        check("a i-1 agent=false", "a i-1 agent=false", &[]);
        check("a i-1", "a i-1 status=DRAINING", &["i-1 takes no tasks any more"]);
        check("a i-1 status=DRAINING", "a i-1", &["i-1 takes tasks again"]);
        check("a i-1 agent=false", "a i-1 agent=false status=DRAINING", &["i-1 is drained, or no longer"]);
        check("a i-1", "a i-1\na i-2", &["i-2 has joined"]);
        check("a i-1\na i-2", "a i-2", &["i-1 is gone"]);
        check("a i-1", "b i-1", &["i-1 has other attributes, size or capacity provider"]);
        check("a i-1 attr.rack=1", "a i-1 attr.rack=2", &["i-1 has other attributes, size or capacity provider"]);
        check("a i-1 cpu=1024", "a i-1 cpu=2048", &["i-1 has other attributes, size or capacity provider"]);
        check("a i-1 provider=od", "a i-1 provider=spot", &["i-1 has other attributes, size or capacity provider"]);
        check(
            "a i-1 agent=false\nb i-2",
            "a i-1\nb i-2 agent=false",
            &["i-1 takes tasks again", "i-2 takes no tasks any more"],
        );
    }

    #[test]
    fn what_tasks_take_is_looked_at_in_each_step() {
        check("a i-1 web web", "a i-1 web", &[]);
        check("a i-1", "a i-1 web api", &[]);
    }
}
