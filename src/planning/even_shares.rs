//! What an even arrangement would put on each container instance: what pictures compare with.

use std::collections::BTreeMap;

use super::{
    model::{Cluster, ContainerInstanceArn, ServiceName},
    placement::Index,
    provider_parts::{ServiceParts, tree},
    view,
};

/// Of a service's tasks, how many each eligible instance would have, in hundredths, if as few as must had moved until it was
/// spread. Where its placement strategy doesn't tell instances of a domain apart, each has its part of the domain's tasks.
pub fn even_shares(cluster: &Cluster, service: &ServiceName) -> BTreeMap<ContainerInstanceArn, u32> {
    let cluster = &*view::alone(cluster, service);
    let index = Index::new(cluster);
    let Some(service_parts) = ServiceParts::new(&index, service) else { return BTreeMap::new() };
    let mut shares = BTreeMap::new();
    for part in &service_parts.parts {
        let mut by_leaf: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for number in index.eligible(&part.requirement) {
            by_leaf.entry(part.levels.leaf(index.instances[number])).or_default().push(number);
        }
        for (leaf, wanted) in tree(&index, part, &|_, there| there).arrange(part.placed) {
            let instances = by_leaf.get(&leaf).map(Vec::as_slice).unwrap_or_default();
            let has = |number: &usize| u64::from(part.tasks.get(number).copied().unwrap_or(0));
            let have: u64 = instances.iter().map(has).sum();
            for number in instances {
                let (part, whole) = if have > 0 { (has(number), have) } else { (1, instances.len() as u64) };
                let share = u64::from(wanted) * 100 * part / whole;
                *shares.entry(index.instances[*number].arn.clone()).or_default() +=
                    u32::try_from(share).unwrap_or(u32::MAX);
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    fn check(drawing: &str, expected: &str) {
        let shares = even_shares(&testing::cluster(drawing), &"web".into());
        let shown: Vec<String> = shares.iter().map(|(arn, share)| format!("{}={share}", arn.short())).collect();
        assert_eq!(shown.join(" "), expected, "{drawing}");
    }

    #[test]
    fn each_instance_has_its_share_of_an_even_arrangement() {
        check("a i-1 web web web web\nb i-2\nservice web", "i-1=200 i-2=200");
        check("a i-1 web web web\nb i-2 status=DRAINING\nservice web", "i-1=300");
        // Over zones alone: the instances of one share what the zone has.
        let zones = "strategy=spread:attribute:ecs.availability-zone";
        check(
            &format!("a i-1 web web web\na i-2 web\nb i-3\nb i-4\nservice web {zones}"),
            "i-1=150 i-2=50 i-3=100 i-4=100",
        );
    }
}
