//! What a container instance costs, as far as is needed to say which of two is the more expensive.

use std::collections::BTreeMap;

use crate::planning::model::ContainerInstance;

/// Where an instance carries this attribute, its value is its price, in whatever unit the cluster's owner likes.
pub const PRICE_ATTRIBUTE: &str = "ecs-rebalancer.price";

/// A GPU costs about as much as so many CPU units: a g4dn.xlarge beside an m5.xlarge, at 0.04 USD for a vCPU and hour.
/// [Amazon EC2 On-Demand prices, us-east-1]
const CPU_UNITS_OF_A_GPU: u64 = 8_192;
/// A mebibyte costs about a ninth of a CPU unit. [AWS Fargate prices, us-east-1]
const MEBIBYTES_OF_A_CPU_UNIT: u64 = 9;

/// Each instance's price in one unit, in the order given. What its owner says counts; instances without a word of their own
/// cost what one of the same type does, and else by their size, measured against those whose price is known.
pub(super) fn prices(instances: &[&ContainerInstance]) -> Vec<u64> {
    let given: Vec<Option<u64>> = instances.iter().map(|instance| given(instance)).collect();
    let mut of_type: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let (mut known_price, mut known_size) = (0_u128, 0_u128);
    for (instance, given) in instances.iter().zip(&given) {
        let entry = of_type.entry(instance_type(instance)).or_default();
        // Those of one type register about the same; the one that registers the most tells its size.
        entry.1 = entry.1.max(size(instance));
        if let Some(price) = given {
            entry.0 = entry.0.max(*price);
            known_price += u128::from(*price);
            known_size += u128::from(size(instance));
        }
    }
    let by_size = |size: u64| match known_size {
        0 => size,
        known_size => u64::try_from(u128::from(size) * known_price / known_size).unwrap_or(u64::MAX),
    };
    let price = |(instance, given): (&&ContainerInstance, &Option<u64>)| {
        let type_name = instance_type(instance);
        let (price, size_of_type) = of_type.get(type_name).copied().unwrap_or_default();
        match given {
            Some(given) => *given,
            None if type_name.is_empty() => by_size(size(instance)),
            None if price > 0 => price,
            None => by_size(size_of_type),
        }
    };
    instances.iter().zip(&given).map(price).collect()
}

fn instance_type(instance: &ContainerInstance) -> &str {
    instance.attribute("ecs.instance-type").unwrap_or_default()
}

fn size(instance: &ContainerInstance) -> u64 {
    let registered = &instance.registered;
    u64::from(registered.cpu_units)
        + u64::from(registered.memory_mib) / MEBIBYTES_OF_A_CPU_UNIT
        + u64::from(registered.gpus) * CPU_UNITS_OF_A_GPU
}

/// A price such as `0.192`, in millionths.
fn given(instance: &ContainerInstance) -> Option<u64> {
    let text = instance.attribute(PRICE_ATTRIBUTE)?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole.parse::<u64>().ok()? * 1_000_000 + digits.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing::cluster;

    #[test]
    fn a_price_is_the_owner_s_word_else_that_of_the_type_else_the_size() {
        let check = |drawing: &str, expected: &[u64]| {
            let cluster = cluster(drawing);
            let instances: Vec<&ContainerInstance> = cluster.container_instances.values().map(AsRef::as_ref).collect();
            assert_eq!(prices(&instances), expected, "{drawing}");
        };
        check("a i-1 cpu=1024 memory=900\na i-2 cpu=1024 memory=900 gpus=1", &[1_124, 9_316]);
        // One of a type tells the size of all.
        check("a i-1 cpu=1000 memory=90 type=m5.large\na i-2 cpu=1024 memory=90 type=m5.large", &[1_034, 1_034]);
        let given = "attr.ecs-rebalancer.price";
        check(
            &format!("a i-1 type=m5.large {given}=0.096\na i-2 type=m5.large\na i-3 cpu=8192 memory=16384"),
            &[96_000, 96_000, 192_000],
        );
        // What is no price is no word.
        check(&format!("a i-1 cpu=1024 memory=900 {given}=cheap\na i-2 cpu=1024 memory=900"), &[1_124, 1_124]);
    }
}
