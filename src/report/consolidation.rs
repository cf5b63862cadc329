//! Which container instances come free, and why the others stay, as it is reported.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Summary, counted};
use crate::planning::{
    consolidate::{came_free, price::PRICE_ATTRIBUTE},
    imbalance::Measure,
    model::{Cluster, ContainerInstanceArn},
    plan::{Consolidation, Plan},
};

/// What mode `consolidate` comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsolidationReport {
    /// The container instances that come free, in the order in which they are emptied.
    pub freed: Vec<FreedInstance>,
    /// Why others that hold tasks stay.
    pub kept: Vec<KeptInstances>,
    /// Those that held no task but those of daemons when they were found.
    pub empty: Vec<EmptyInstance>,
}

/// A container instance that was found without a task that is not a daemon's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmptyInstance {
    /// Its EC2 id, or the end of its ARN where ECS gave none.
    pub name: String,
    /// Its type; empty where it doesn't tell.
    pub instance_type: String,
    /// Its price, as its attribute `ecs-rebalancer.price` has it.
    pub price: Option<String>,
}

/// A container instance that comes free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FreedInstance {
    /// Its ARN.
    pub container_instance: String,
    /// Its EC2 id; empty where ECS gave none.
    pub ec2_instance_id: String,
    /// Its type; empty where it doesn't tell.
    pub instance_type: String,
    /// The capacity provider that it belongs to.
    pub capacity_provider: Option<String>,
    /// Whether the capacity provider's managed scaling removes it by itself.
    pub removed_by_managed_scaling: bool,
    /// Its price, as its attribute `ecs-rebalancer.price` has it.
    pub price: Option<String>,
    /// The tasks that leave it.
    pub moves: usize,
    /// Whether it holds no task any more but those of daemons; none where nothing was done yet.
    pub is_free: Option<bool>,
}

impl FreedInstance {
    /// What people call it.
    pub fn name(&self) -> &str {
        let end = self.container_instance.rsplit('/').next().unwrap_or_default();
        if self.ec2_instance_id.is_empty() { end } else { &self.ec2_instance_id }
    }
}

/// Container instances that stay for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptInstances {
    /// How many.
    pub container_instances: u32,
    /// Why, in a word that doesn't change.
    pub reason_code: &'static str,
    /// Why.
    pub reason: String,
}

impl ConsolidationReport {
    /// What is planned; none where the plan has another aim.
    pub fn planned(cluster: &Cluster, plan: &Plan) -> Option<Self> {
        let Consolidation { freed, kept, .. } = plan.consolidation.as_ref()?;
        let freed = freed.iter().filter_map(|freed| {
            let instance = cluster.container_instances.get(&freed.instance)?;
            let provider = instance.capacity_provider.as_ref().and_then(|name| cluster.capacity_providers.get(name));
            Some(FreedInstance {
                container_instance: instance.arn.to_string(),
                ec2_instance_id: instance.ec2_instance_id.clone(),
                instance_type: instance.attribute("ecs.instance-type").unwrap_or_default().to_owned(),
                capacity_provider: instance.capacity_provider.clone(),
                removed_by_managed_scaling: provider.is_some_and(|provider| provider.managed_scaling),
                price: instance.attribute(PRICE_ATTRIBUTE).map(str::to_owned),
                moves: freed.moves.len(),
                is_free: None,
            })
        });
        let kept = kept.iter().map(|(why, instances)| KeptInstances {
            container_instances: *instances,
            reason_code: why.code(),
            reason: why.to_string(),
        });
        let usable = cluster.container_instances.values().filter(|instance| instance.is_usable());
        let none_left = came_free(cluster, usable.clone().map(|instance| instance.arn.clone()));
        let empty = usable.filter(|instance| none_left.contains(&instance.arn)).map(|instance| EmptyInstance {
            name: instance.label().to_owned(),
            instance_type: instance.attribute("ecs.instance-type").unwrap_or_default().to_owned(),
            price: instance.attribute(PRICE_ATTRIBUTE).map(str::to_owned),
        });
        Some(Self { freed: freed.collect(), kept: kept.collect(), empty: empty.collect() })
    }

    /// What is empty already, by type, as a sentence; none where nothing is.
    pub fn empty_already(&self) -> Option<String> {
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in &self.empty {
            *types.entry(instance.instance_type.as_str()).or_default() += 1;
        }
        let number = self.empty.len();
        let of_types: Vec<String> = types
            .into_iter()
            .map(|(name, number)| format!("{number} {}", if name.is_empty() { "of unknown type" } else { name }))
            .collect();
        let prices = cost(self.empty.iter().map(|instance| instance.price.as_deref()));
        let told = counted(number, "container instance was empty", "container instances were empty");
        (number > 0).then(|| format!("{told} before the run ({}){prices}", of_types.join(", ")))
    }

    /// What those that come free cost, as the end of a sentence; nothing where no price is known.
    pub fn cost_of_freed(&self) -> String {
        let freed = self.freed.iter().filter(|freed| freed.is_free != Some(false));
        cost(freed.map(|freed| freed.price.as_deref()))
    }

    /// Takes over what came of it.
    pub fn done(&mut self, cluster: &Cluster) {
        let planned = self.freed.iter().map(|freed| ContainerInstanceArn::from(freed.container_instance.as_str()));
        let free = came_free(cluster, planned);
        for freed in &mut self.freed {
            freed.is_free = Some(free.contains(&ContainerInstanceArn::from(freed.container_instance.as_str())));
        }
    }

    /// How many came free, or, where nothing was done, would.
    pub fn number(&self) -> usize {
        self.freed.iter().filter(|freed| freed.is_free != Some(false)).count()
    }

    /// How many will take tasks that are free now, as the end of a sentence: nothing where none does.
    pub(super) fn used(&self, before: Option<&Summary>, predicted: &Measure) -> String {
        let empty = before.map_or(0, |before| before.empty_instances);
        let more = predicted.empty_instances.saturating_sub(empty) as usize;
        match self.number().saturating_sub(more) {
            0 => String::new(),
            used => format!("; {} would take tasks", counted(used, "that is empty now", "that are empty now")),
        }
    }
}

/// The sum of the prices that are told, and of how many instances it is.
fn cost<'a>(prices: impl Iterator<Item = Option<&'a str>>) -> String {
    let prices: Vec<Option<f64>> = prices.map(|price| price?.trim().parse().ok()).collect();
    let known: Vec<f64> = prices.iter().copied().flatten().filter(|price| price.is_finite()).collect();
    let sum: f64 = known.iter().sum();
    let whose = match known.len() {
        0 => return String::new(),
        number if number == prices.len() => String::new(),
        number => format!(" of {number} of them"),
    };
    format!("; the prices{whose}, by the attribute {PRICE_ATTRIBUTE}, add up to {}", money(sum))
}

/// With as many decimals as prices an hour have, and no more than are needed.
fn money(sum: f64) -> String {
    let text = format!("{sum:.4}");
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    match decimals.trim_end_matches('0') {
        "" => whole.to_owned(),
        decimals => format!("{whole}.{decimals:0<2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_added_up_where_they_are_told() {
        let of = |prices: &[Option<&'static str>]| cost(prices.iter().copied());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[None, Some("dear")]), "");
        assert_eq!(
            of(&[Some("0.192"), Some("0.1")]),
            "; the prices, by the attribute ecs-rebalancer.price, add up to 0.292"
        );
        assert_eq!(
            of(&[Some("1.5"), None]),
            "; the prices of 1 of them, by the attribute ecs-rebalancer.price, add up to 1.50"
        );
        assert_eq!(of(&[Some("2")]), "; the prices, by the attribute ecs-rebalancer.price, add up to 2");
    }

    #[test]
    fn what_is_empty_already_is_told_by_type() {
        let empty = |instance_type: &str, price: Option<&str>| EmptyInstance {
            name: "i-1".to_owned(),
            instance_type: instance_type.to_owned(),
            price: price.map(str::to_owned),
        };
        let report = |empty| ConsolidationReport { freed: Vec::new(), kept: Vec::new(), empty };
        assert_eq!(report(Vec::new()).empty_already(), None);
        assert_eq!(
            report(vec![empty("", None)]).empty_already().unwrap(),
            "1 container instance was empty before the run (1 of unknown type)"
        );
        assert_eq!(
            report(vec![empty("m5.large", Some("0.1")), empty("c5.large", Some("0.2"))]).empty_already().unwrap(),
            "2 container instances were empty before the run (1 c5.large, 1 m5.large); the prices, by the attribute \
             ecs-rebalancer.price, add up to 0.30"
        );
    }
}
