//! A service's tasks as a look at them showed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::model::{Cluster, ContainerInstanceArn, ServiceName, Task, TaskArn, Timestamp};

/// A service's tasks.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// All whose desired status is RUNNING.
    pub all: BTreeMap<TaskArn, Task>,
    /// Those that are healthy by every check that the service has.
    pub ready: BTreeSet<TaskArn>,
    /// When this run first saw each in RUNNING.
    pub running_since: BTreeMap<TaskArn, Timestamp>,
    /// When all that run will be ready by nothing but the passing of time, where that is known: no check says when.
    pub settled_at: Option<Timestamp>,
}

impl Tasks {
    /// How long that is from now; none where it is not known.
    pub(super) fn settled_in(&self, now: Timestamp) -> Option<Duration> {
        let left = u64::try_from(self.settled_at?.milliseconds_since(now)).ok().filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }

    /// A service's tasks as a cluster holds them, all of them taken for ready.
    pub fn all_ready(cluster: &Cluster, service: &ServiceName) -> Self {
        let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(service));
        let all: BTreeMap<TaskArn, Task> = of_it.map(|task| (task.arn.clone(), Task::clone(task))).collect();
        let ready = all.keys().cloned().collect();
        Self { all, ready, running_since: BTreeMap::new(), settled_at: None }
    }

    /// Where each of them is that has a place.
    pub fn places(&self) -> impl Iterator<Item = (TaskArn, ContainerInstanceArn)> {
        self.all.values().filter_map(|task| Some((task.arn.clone(), task.container_instance.clone()?)))
    }

    /// How many of them have a container instance.
    pub fn placed(&self) -> usize {
        self.all.values().filter(|task| task.container_instance.is_some()).count()
    }
}
