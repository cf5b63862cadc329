//! The network of tasks: ports and addresses, as a container agent would give them out, and how many tasks with an interface of
//! their own an instance can hold.

use crate::state::{Instance, Task};

/// `TASKS TASKS-WITH-TRUNKING: TYPES`, `-` where there is no trunking: an instance's interfaces less its own; with trunking its
/// branch interfaces and what is left of the others. [github.com/aws/amazon-vpc-resource-controller-k8s, pkg/aws/vpc/limits.go]
const LIMITS: &str = include_str!("interfaces.txt");
/// Of a type that isn't listed: what nearly every type can.
const LEAST: (usize, usize) = (2, 10);

/// How many tasks with an interface of their own an instance can hold.
pub(crate) fn most_interfaces(instance: &Instance) -> usize {
    let kind = instance.attributes.get("ecs.instance-type").and_then(Option::as_deref).unwrap_or_default();
    let (plain, trunked) = limits(kind).unwrap_or(LEAST);
    if instance.attributes.contains_key("ecs.awsvpc-trunk-id") { trunked.max(plain) } else { plain }
}

fn limits(kind: &str) -> Option<(usize, usize)> {
    let line = LIMITS.lines().find(|line| line.split_whitespace().skip(2).any(|known| known == kind))?;
    let mut numbers = line.split([' ', ':']).map(|number| number.parse().unwrap_or(0));
    Some((numbers.next()?, numbers.next()?))
}

/// The range that Docker takes dynamic host ports from.
const FIRST_DYNAMIC_PORT: u32 = 32_768;
const DYNAMIC_PORTS: u32 = 28_232;

/// Gives the `number`th task its port and address.
pub(crate) fn assign(task: &mut Task, number: u32) {
    task.host_port = u16::try_from(FIRST_DYNAMIC_PORT + number % DYNAMIC_PORTS).unwrap_or(u16::MAX);
    task.address = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
}

#[cfg(test)]
mod tests {
    use super::{LIMITS, limits};

    #[test]
    fn instance_types_hold_as_many_tasks_as_is_published() {
        // ECS developer guide, "Supported instances for increased Amazon ECS container network interfaces", and EC2's own limits.
        for (kind, plain, trunked) in [
            ("c5.large", 2, 10),
            ("m5.xlarge", 3, 20),
            ("m5.2xlarge", 3, 40),
            ("m5.4xlarge", 7, 60),
            ("m5.16xlarge", 14, 120),
            ("g4dn.xlarge", 2, 40),
            ("t3.small", 2, 0),
            ("t2.micro", 1, 0),
            ("m4.large", 1, 0),
            ("i3.large", 2, 0),
        ] {
            assert_eq!(limits(kind), Some((plain, trunked)), "{kind}");
        }
        assert_eq!(limits("m5"), None);
        let types: Vec<&str> = LIMITS.lines().flat_map(|line| line.split_whitespace().skip(2)).collect();
        assert!(types.len() > 300, "{}", types.len());
        for family in ["t2", "t3", "m4", "m5", "m6i", "c4", "c5", "c6i", "r5", "g4dn", "i3"] {
            assert!(types.iter().any(|kind| kind.split('.').next() == Some(family)), "{family}");
        }
    }
}
