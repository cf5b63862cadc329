//! How many tasks in network mode `awsvpc` an instance type holds: each takes a network interface of its own.
//!
//! ECS doesn't tell the number, and says `RESOURCE:ENI` when it was one too many.

use std::{collections::BTreeMap, sync::LazyLock};

use super::model::ContainerInstance;

/// The attribute that names an instance's type.
pub const INSTANCE_TYPE: &str = "ecs.instance-type";
/// On instances with ENI trunking; its value differs on every instance.
const TRUNK: &str = "ecs.awsvpc-trunk-id";

/// How many tasks an instance type holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    plain: u32,
    with_trunk: u32,
}

static LIMITS: LazyLock<BTreeMap<&str, Limits>> = LazyLock::new(|| {
    let lines = include_str!("interfaces/limits.txt").lines().filter(|line| !line.starts_with('#'));
    let types_of = |line: &'static str| {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let limits = Limits { plain: number(), with_trunk: number() };
        words.map(move |name| (name, limits))
    };
    lines.flat_map(types_of).collect()
});

/// What is known of how many tasks in network mode `awsvpc` an instance can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interfaces {
    /// So many, whatever services they belong to.
    AtMost(u32),
    /// The instance's type is not in the table: for sure no more than there are.
    UnknownType,
    /// The instance's type isn't given, so nothing limits it.
    Unlimited,
}

impl Interfaces {
    /// Of an instance.
    pub fn of(instance: &ContainerInstance) -> Self {
        let Some(name) = instance.attribute(INSTANCE_TYPE) else { return Self::Unlimited };
        let Some(limits) = LIMITS.get(name) else { return Self::UnknownType };
        let has_trunk = instance.attributes.contains_key(TRUNK);
        Self::AtMost(if has_trunk { limits.with_trunk } else { limits.plain })
    }

    /// How many more tasks fit beside those that have `taken` interfaces.
    pub fn left(self, taken: u32) -> u32 {
        match self {
            Self::AtMost(limit) => limit.saturating_sub(taken),
            Self::UnknownType => 0,
            Self::Unlimited => u32::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    fn of(instance_type: &str, attribute: &str) -> Interfaces {
        let kind = if instance_type.is_empty() { String::new() } else { format!("type={instance_type}") };
        let cluster = testing::cluster(&format!("a i-1 {kind} {attribute}"));
        Interfaces::of(&cluster.container_instances[&"i-1".into()])
    }

    /// As the ECS developer guide has them, "Supported Amazon EC2 instance types" with ENI trunking, and Amazon EC2's table of
    /// network interfaces for the types without.
    #[test]
    fn thirty_types_against_the_published_tables() {
        for (name, plain, with_trunk) in [
            ("a1.medium", 1, 10),
            ("a1.4xlarge", 7, 60),
            ("c5.large", 2, 10),
            ("c5.xlarge", 3, 20),
            ("c5.2xlarge", 3, 40),
            ("c5.4xlarge", 7, 60),
            ("c5.18xlarge", 14, 120),
            ("m5.large", 2, 10),
            ("m5.xlarge", 3, 20),
            ("m5.2xlarge", 3, 40),
            ("m5.4xlarge", 7, 60),
            ("m5.8xlarge", 7, 60),
            ("m5.12xlarge", 7, 60),
            ("m5.16xlarge", 14, 120),
            ("m5.24xlarge", 14, 120),
            ("m5zn.xlarge", 3, 31),
            ("m5zn.2xlarge", 3, 64),
            ("m5zn.3xlarge", 7, 98),
            ("m6a.8xlarge", 7, 90),
            ("m6a.12xlarge", 7, 120),
            ("m6g.medium", 1, 4),
            ("m6g.16xlarge", 14, 120),
            ("m6i.large", 2, 10),
            ("m6i.8xlarge", 7, 90),
            ("m6i.12xlarge", 7, 120),
            ("m6i.32xlarge", 14, 120),
            // Without trunking: both the same.
            ("t2.nano", 1, 1),
            ("t2.small", 2, 2),
            ("t2.medium", 2, 2),
            ("t2.large", 2, 2),
            ("t3.medium", 2, 2),
            ("t3.xlarge", 3, 3),
            ("m4.large", 1, 1),
            ("m4.xlarge", 3, 3),
            ("c4.large", 2, 2),
            ("c4.8xlarge", 7, 7),
            ("i3.large", 2, 2),
        ] {
            assert_eq!(of(name, ""), Interfaces::AtMost(plain), "{name}");
            assert_eq!(
                of(name, "attr.ecs.awsvpc-trunk-id=eni-1"),
                Interfaces::AtMost(with_trunk),
                "{name} with a trunk"
            );
        }
        assert_eq!(of("g4dn.xlarge", ""), Interfaces::AtMost(2));
    }

    #[test]
    fn what_is_not_known_takes_no_more() {
        assert_eq!(of("z9.huge", ""), Interfaces::UnknownType);
        assert_eq!(of("", ""), Interfaces::Unlimited);
        assert_eq!(Interfaces::AtMost(3).left(1), 2);
        assert_eq!(Interfaces::AtMost(3).left(4), 0);
        assert_eq!(Interfaces::UnknownType.left(0), 0);
        assert_eq!(Interfaces::Unlimited.left(9), u32::MAX);
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        assert!(LIMITS.len() > 1_100, "{}", LIMITS.len());
        assert!(LIMITS.values().all(|limits| limits.plain > 0 && limits.with_trunk >= limits.plain));
    }
}
