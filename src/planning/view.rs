//! The cluster as it changes under a run's hands: one service's tasks replaced by what was just seen, or foreseen.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    model::{
        Cluster, ContainerInstanceArn, Health, Launch, PlacementConstraint, Service, ServiceName, Task, TaskArn,
        TaskStatus, Timestamp,
    },
    placement::{
        self, SUBNET,
        occupancy::{Demand, Figures, Holding},
    },
    query::Query,
};

/// As much of the cluster as decides about one service, so that trying things out on it costs little: the service, its task
/// definition, its tasks, the usable instances, and those in its subnets. Others' tasks only where it looks at
/// them (`task:group`, network interfaces); what they reserve is in their instances' figures.
pub fn alone<'a>(cluster: &'a Cluster, name: &ServiceName) -> Cow<'a, Cluster> {
    if cluster.services.len() == 1 {
        return Cow::Borrowed(cluster);
    }
    let mut alone = Cluster {
        name: cluster.name.clone(),
        services: cluster.services.get_key_value(name).map(owned).into_iter().collect(),
        tasks: BTreeMap::new(),
        task_definitions: BTreeMap::new(),
        unread_definitions: cluster.unread_definitions.clone(),
        consolidated_at: None,
        unspent_moves: None,
        capacity_providers: BTreeMap::new(),
        container_instances: BTreeMap::new(),
    };
    let definitions = alone.services.values().map(|service| &service.task_definition);
    let read = definitions.filter_map(|arn| cluster.task_definitions.get_key_value(arn)).map(owned);
    alone.task_definitions = read.collect();
    // Tasks on one whose agent is disconnected count where they are.
    let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(name));
    let holds: BTreeSet<&ContainerInstanceArn> = of_it.filter_map(|task| task.container_instance.as_ref()).collect();
    // One that takes no tasks tells in which zone its subnet is.
    let subnets: BTreeSet<&str> =
        alone.services.values().flat_map(|service| &service.subnets).map(String::as_str).collect();
    let matters = cluster.container_instances.iter().filter(|(arn, instance)| {
        instance.is_usable()
            || (instance.is_away() && holds.contains(arn))
            || instance.attribute(SUBNET).is_some_and(|subnet| subnets.contains(subnet))
    });
    alone.container_instances = matters.map(owned).collect();
    let looks_at_others = alone.task_definitions.values().any(|definition| definition.takes_network_interface)
        || placement::constraints(&alone).any(|constraint| match constraint {
            PlacementConstraint::MemberOf(expression) => Query::parse(expression).is_ok_and(|query| !query.is_static()),
            PlacementConstraint::DistinctInstance | PlacementConstraint::Unknown(_) => false,
        });
    let tasks = cluster.tasks.iter().filter(|(_, task)| looks_at_others || task.service.as_ref() == Some(name));
    alone.tasks = tasks.map(owned).collect();
    // What its tasks take when they come or go; some may be of an older revision.
    let definitions = alone.tasks.values().map(|task| &task.task_definition);
    let read = definitions.filter_map(|arn| cluster.task_definitions.get_key_value(arn)).map(owned);
    alone.task_definitions.extend(read.collect::<Vec<_>>());
    Cow::Owned(alone)
}

fn owned<Key: Clone, Value: Clone>((key, value): (&Key, &Value)) -> (Key, Value) {
    (key.clone(), value.clone())
}

/// Puts what was seen of a service in the place of what was known, and settles what its tasks reserve.
pub fn see(cluster: &mut Cluster, service: &Service, tasks: &BTreeMap<TaskArn, Task>) {
    let known: Vec<TaskArn> = cluster
        .tasks
        .values()
        .filter(|task| task.service.as_ref() == Some(&service.name))
        .map(|task| task.arn.clone())
        .collect();
    for arn in known.iter().filter(|arn| !tasks.contains_key(*arn)) {
        remove(cluster, arn);
    }
    for task in tasks.values() {
        let known = cluster.tasks.get(&task.arn);
        let is_where_it_was = known.is_some_and(|known| known.container_instance == task.container_instance);
        // A look at a task doesn't tell whether it is protected.
        let seen = Task { is_protected: known.is_some_and(|known| known.is_protected), ..task.clone() };
        if is_where_it_was {
            cluster.tasks.insert(task.arn.clone(), Arc::new(seen));
        } else {
            // New, or placed only since it was seen first.
            remove(cluster, &task.arn);
            insert(cluster, seen);
        }
    }
    cluster.services.insert(service.name.clone(), service.clone());
}

/// How the names of tasks begin that are only foreseen.
const FORESEEN: &str = "foreseen/";

/// Adds a task, and takes what it reserves from its instance.
pub fn insert(cluster: &mut Cluster, task: Task) {
    settle(cluster, &task, true);
    cluster.tasks.insert(task.arn.clone(), task.into());
}

/// Removes a task, and gives back what it reserved.
pub fn remove(cluster: &mut Cluster, arn: &TaskArn) {
    if let Some(task) = cluster.tasks.remove(arn) {
        settle(cluster, &task, false);
    }
}

/// Marks tasks as protected from scale-in, and tells whether there are any.
pub fn protect<'a>(cluster: &mut Cluster, tasks: impl Iterator<Item = &'a TaskArn>) -> bool {
    let mut are_any = false;
    for arn in tasks {
        if let Some(task) = cluster.tasks.get_mut(arn) {
            Arc::make_mut(task).is_protected = true;
            are_any = true;
        }
    }
    are_any
}

/// Protects tasks from scale-in, by their numbers in the order in which they are drawn, from 1 on.
#[cfg(test)]
pub(crate) fn protect_numbers(cluster: &mut Cluster, numbers: &[usize]) {
    let all: Vec<TaskArn> = cluster.tasks.keys().cloned().collect();
    protect(cluster, numbers.iter().map(|number| &all[number - 1]));
}

/// Takes a task away and puts the `number`th one that is foreseen in its stead on another instance.
pub fn relocate(cluster: &mut Cluster, task: &TaskArn, to: &ContainerInstanceArn, number: usize) {
    let Some(gone) = cluster.tasks.get(task).cloned() else { return };
    remove(cluster, task);
    let arn = TaskArn::from(format!("{FORESEEN}{number}").as_str());
    insert(cluster, Task { arn, container_instance: Some(to.clone()), is_protected: false, ..Task::clone(&gone) });
}

/// Lets tasks start that their services lack.
pub fn start(cluster: &mut Cluster, places: &[(ServiceName, ContainerInstanceArn)]) {
    for (number, (service, place)) in places.iter().enumerate() {
        let Some(task) = foreseen(cluster, service, place, number) else { continue };
        insert(cluster, task);
        if let Some(service) = cluster.services.get_mut(service) {
            service.running_count = service.running_count.saturating_add(1);
        }
    }
}

/// Whether a task is only foreseen, and not there.
pub fn is_foreseen(task: &TaskArn) -> bool {
    task.as_str().starts_with(FORESEEN)
}

/// The `number`th task that is foreseen for a service on an instance, as if it were running there.
pub fn foreseen(
    cluster: &Cluster,
    service: &ServiceName,
    instance: &ContainerInstanceArn,
    number: usize,
) -> Option<Task> {
    let model = cluster.tasks.values().find(|task| task.service.as_ref() == Some(service)).map(|task| &**task);
    let arn = foreseen_arn(service, number);
    Some(stand_in(cluster, cluster.services.get(service)?, model, instance, arn))
}

/// The name of the `number`th task that is foreseen for a service.
pub fn foreseen_arn(service: &ServiceName, number: usize) -> TaskArn {
    format!("{FORESEEN}{service}/{number}").as_str().into()
}

/// A task that is foreseen for a service on an instance, where another one of its tasks tells who starts them.
pub fn stand_in(
    cluster: &Cluster,
    service: &Service,
    model: Option<&Task>,
    instance: &ContainerInstanceArn,
    arn: TaskArn,
) -> Task {
    let (name, definition) = (&service.name, service.task_definition.clone());
    Task {
        arn,
        service: Some(name.clone()),
        group: format!("service:{name}").into(),
        container_instance: Some(instance.clone()),
        takes_network_interface: cluster.task_definitions.get(&definition).is_some_and(|it| it.takes_network_interface),
        task_definition: definition,
        capacity_provider: model.and_then(|task| task.capacity_provider.clone()),
        launch: Launch::Ec2,
        last_status: TaskStatus::Running,
        health: Health::Unknown,
        healthy_containers: Vec::new(),
        started_by: model.map_or_else(|| "".into(), |task| task.started_by.clone()),
        host_ports: BTreeSet::new(),
        addresses: BTreeSet::new(),
        cpu_units: None,
        memory_mib: None,
        created_at: None,
        started_at: Some(Timestamp(i64::MAX)),
        is_protected: false,
    }
}

/// Settles what the instance has free when a task comes to it, or goes.
fn settle(cluster: &mut Cluster, task: &Task, comes: bool) {
    let Some(definition) = cluster.task_definitions.get(&task.task_definition) else { return };
    let Some(instance) = task.container_instance.as_ref().and_then(|arn| cluster.container_instances.get_mut(arn))
    else {
        return;
    };
    let Figures { remaining, taken_tcp_ports, taken_udp_ports } = {
        // Its network interfaces are counted by its tasks.
        let mut holding = Holding::read(instance, None);
        holding.change(&Demand::of(Some(definition)), comes);
        holding.figures()
    };
    let instance = Arc::make_mut(instance);
    (instance.remaining, instance.taken_tcp_ports, instance.taken_udp_ports) =
        (remaining, taken_tcp_ports, taken_udp_ports);
    let tasks = &mut instance.running_tasks_count;
    *tasks = if comes { tasks.saturating_add(1) } else { tasks.saturating_sub(1) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::planning::{imbalance, planner, spread, testing};

    #[test]
    fn a_service_alone_knows_its_subnets_by_instances_that_take_no_tasks() {
        for there in ["agent=false", "status=DRAINING"] {
            let cluster = testing::cluster(&format!(
                "a i-1 web web attr.ecs.subnet-id=s-a\nb i-3 {there} attr.ecs.subnet-id=s-b\n\
                 c i-4 other attr.ecs.subnet-id=s-c\nservice web subnets=s-a,s-b"
            ));
            let alone = alone(&cluster, &"web".into());
            let places = |cluster: &Cluster| spread::placements(cluster, &"web".into(), 3);
            assert_eq!(places(&alone), places(&cluster), "{there}");
            assert_eq!(imbalance::misplaced(&alone, &"web".into()), 0, "{there}: i-4 takes none");
        }
    }

    proptest! {
        #[test]
        fn a_service_alone_is_as_it_is_among_others(drawing in planner::tests::drawing()) {
            let cluster = crate::planning::testing::cluster(&drawing);
            for name in cluster.services.keys() {
                let alone = alone(&cluster, name);
                prop_assert_eq!(imbalance::misplaced(&alone, name), imbalance::misplaced(&cluster, name));
                prop_assert_eq!(spread::placements(&alone, name, 3), spread::placements(&cluster, name, 3));
            }
        }
    }
}
