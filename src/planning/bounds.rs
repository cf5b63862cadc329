//! How few and how many tasks of a service may run at a time: its owner's bounds.

use super::model::Service;

/// The fewest healthy tasks that the service's owner allows: ⌈desired × minimumHealthyPercent⌉ [API, DeploymentConfiguration].
pub fn floor(service: &Service) -> u32 {
    let tasks = u64::from(service.desired_count) * u64::from(service.minimum_healthy_percent);
    u32::try_from(tasks.div_ceil(100)).unwrap_or(u32::MAX)
}

/// The most RUNNING, PENDING and STOPPING tasks together that the service's owner allows, by the desired count before a step:
/// ⌊desired × maximumPercent⌋ [API, DeploymentConfiguration].
pub fn ceiling(service: &Service) -> u32 {
    let tasks = u64::from(service.desired_count) * u64::from(service.maximum_percent);
    u32::try_from(tasks / 100).unwrap_or(u32::MAX)
}
