//! Measure and outcome → data points: names, units and dimensions as the contract's table has them.

use std::time::Duration;

use crate::{
    config::MetricsScope,
    planning::{
        imbalance::{Measure, ServiceMeasure},
        model::ServiceName,
    },
};

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPoint {
    /// As the contract names it.
    pub name: &'static str,
    /// As the contract gives it.
    pub unit: Unit,
    /// Finite, since every share of ours is.
    pub value: f64,
    /// `ClusterName`, and `ServiceName` for a service.
    pub dimensions: Vec<(&'static str, String)>,
}

/// The units that the contract uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// 0 to 100.
    Percent,
    /// A span of time.
    Seconds,
}

/// What a run did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Tasks that were replaced elsewhere.
    pub tasks_moved: u32,
    /// Services of which at least one task was moved.
    pub services_rebalanced: u32,
    /// Services with misplaced tasks that were left alone.
    pub services_skipped: u32,
    /// Whatever failed.
    pub failures: u32,
    /// Tasks that were started, landed badly and went again.
    pub starts_in_vain: u32,
    /// Tasks that are still misplaced though by the settings they were to be moved.
    pub misplaced_left: u32,
}

/// The data points of a run: what was found before anything moved, and what was done.
pub fn data_points(
    cluster: &str,
    measure: &Measure,
    done: Done,
    duration: Duration,
    scope: MetricsScope,
) -> Vec<DataPoint> {
    if scope == MetricsScope::Off {
        return Vec::new();
    }
    let dimensions = vec![("ClusterName", cluster.to_owned())];
    let count = |name, value: u32| (name, Unit::Count, f64::from(value));
    let percent = |name, value: f64| (name, Unit::Percent, value);
    let mut points: Vec<DataPoint> = [
        percent("TaskImbalance", measure.task_imbalance.percent()),
        count("MisplacedTasks", measure.misplaced_tasks),
        count("StuckTasks", measure.stuck_tasks),
        count("TaskSkew", measure.task_skew),
        percent("LoadImbalance", measure.load_imbalance.percent()),
        count("RunningTasks", measure.running_tasks),
        count("ContainerInstances", measure.container_instances),
        count("EmptyInstances", measure.empty_instances),
        percent("CPUReservation", measure.cpu_reservation.percent()),
        percent("MemoryReservation", measure.memory_reservation.percent()),
        count("TasksMoved", done.tasks_moved),
        count("ServicesRebalanced", done.services_rebalanced),
        count("ServicesSkipped", done.services_skipped),
        count("RebalanceFailures", done.failures),
        count("StartsInVain", done.starts_in_vain),
        count("MisplacedTasksLeft", done.misplaced_left),
        ("RunDuration", Unit::Seconds, duration.as_secs_f64()),
    ]
    .into_iter()
    .map(|(name, unit, value)| DataPoint { name, unit, value, dimensions: dimensions.clone() })
    .collect();
    for (name, service) in &measure.services {
        points.extend(service_points(cluster, name, service, scope));
    }
    points
}

fn service_points(cluster: &str, name: &ServiceName, measure: &ServiceMeasure, scope: MetricsScope) -> Vec<DataPoint> {
    let Ok(spread) = &measure.spread else { return Vec::new() };
    let wanted = match scope {
        MetricsScope::Off | MetricsScope::Cluster => false,
        MetricsScope::Imbalanced => spread.misplaced_tasks > 0,
        MetricsScope::All => true,
    };
    if !wanted {
        return Vec::new();
    }
    let dimensions = vec![("ClusterName", cluster.to_owned()), ("ServiceName", name.to_string())];
    [
        ("TaskImbalance", Unit::Percent, measure.task_imbalance().percent()),
        ("MisplacedTasks", Unit::Count, f64::from(spread.misplaced_tasks)),
        ("StuckTasks", Unit::Count, f64::from(spread.stuck_tasks())),
        ("TaskSkew", Unit::Count, f64::from(spread.skew)),
        ("RunningTasks", Unit::Count, f64::from(measure.running_tasks)),
    ]
    .into_iter()
    .map(|(name, unit, value)| DataPoint { name, unit, value, dimensions: dimensions.clone() })
    .collect()
}
