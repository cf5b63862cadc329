//! Which container instances come free, and why the others stay, as it is reported.

use serde::Serialize;

use super::Summary;
use crate::planning::{
    consolidate::came_free,
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
                moves: freed.moves.len(),
                is_free: None,
            })
        });
        let kept = kept.iter().map(|(why, instances)| KeptInstances {
            container_instances: *instances,
            reason_code: why.code(),
            reason: why.to_string(),
        });
        Some(Self { freed: freed.collect(), kept: kept.collect() })
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
            1 => "; 1 that is free would take tasks".to_owned(),
            used => format!("; {used} that are free would take tasks"),
        }
    }
}
