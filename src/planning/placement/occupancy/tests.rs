//! The ledger against fresh readings: whatever comes, goes and is undone, it says what a new look at the cluster would.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::planning::{model::Cluster, testing};

/// Instances that are short of one thing or another, and services that ask it.
const EMPTY: &str = "a i-0 cpu=1024 memory=4096\na i-1 cpu=4096 memory=1024 gpus=2\nb i-2 type=c5.large\nb i-3 gpus=1\n\
    service plain\nservice tcp port=80,443\nservice udp port=53\nservice gpu gpus=1\nservice own awsvpc=true\nservice alone";

/// Each task by the numbers of its service and its instance.
type Tasks = Vec<(usize, usize)>;

fn empty() -> Cluster {
    let mut cluster = testing::cluster(EMPTY);
    for definition in cluster.task_definitions.values_mut().filter(|definition| definition.arn.short() == "udp:1") {
        definition.udp_host_ports = std::mem::take(&mut definition.tcp_host_ports);
    }
    cluster
}

/// The cluster as ECS would describe it with these tasks: each instance's figures summed up anew.
fn reading(tasks: &Tasks) -> Cluster {
    let mut cluster = empty();
    let model = testing::cluster("a i-0 plain");
    let model = model.tasks.values().next().unwrap();
    let names: Vec<ServiceName> = cluster.services.keys().cloned().collect();
    let instances: Vec<ContainerInstanceArn> = cluster.container_instances.keys().cloned().collect();
    for (number, (service, on)) in tasks.iter().enumerate() {
        let (name, on) = (names[*service].clone(), instances[*on].clone());
        let definition = cluster.task_definitions[&cluster.services[&name].task_definition].clone();
        let instance = Arc::make_mut(cluster.container_instances.get_mut(&on).unwrap());
        instance.remaining.cpu_units -= definition.reserves.cpu_units;
        instance.remaining.memory_mib -= definition.reserves.memory_mib;
        instance.remaining.gpus -= definition.reserves.gpus;
        assert!(definition.tcp_host_ports.iter().all(|port| instance.taken_tcp_ports.insert(*port)));
        assert!(definition.udp_host_ports.iter().all(|port| instance.taken_udp_ports.insert(*port)));
        let task = Task {
            arn: format!("task/{number:03}").as_str().into(),
            service: Some(name),
            container_instance: Some(on),
            task_definition: definition.arn,
            takes_network_interface: definition.takes_network_interface,
            ..Task::clone(model)
        };
        cluster.tasks.insert(task.arn.clone(), task.into());
    }
    cluster
}

/// Whether a service's tasks may be one on an instance at most.
fn is_alone(name: &ServiceName) -> bool {
    name.as_str() == "alone"
}

/// All that a ledger tells: figures, interfaces, where tasks are, and how many more of each service fit where.
fn told(cluster: &Cluster, ledger: &Occupancy<'_>) -> Vec<String> {
    let mut told = Vec::new();
    for (service, (name, of)) in cluster.services.iter().enumerate() {
        let demand = Demand::of(cluster.task_definitions.get(&of.task_definition));
        for (number, holding) in ledger.holdings.iter().enumerate() {
            let room = holding.how_many_fit(&demand);
            let fits = room > 0 && !(is_alone(name) && ledger.held(service, number) > 0);
            told.push(format!("{name} on {number}: {} there, room for {room}, {fits}", ledger.held(service, number)));
        }
        let Counts { on, within, crowds, .. } = &ledger.spread[service];
        told.push(format!("{name}: {on:?} {within:?} {crowds:?}"));
    }
    told.extend(ledger.holdings.iter().map(|holding| format!("{:?} {}", holding.figures(), holding.interfaces)));
    told
}

/// A ledger that counts each service's tasks by zone and instance.
fn ledger<'a>(index: &Index<'a>, tasks: &Tasks) -> Occupancy<'a> {
    let mut ledger = Occupancy::read(index);
    let levels = Levels { attributes: vec![super::super::AVAILABILITY_ZONE.to_owned()], instance: true };
    let paths = Rc::new(Paths::new(ledger.holdings.iter().map(Holding::instance), &levels));
    for service in 0..ledger.services.len() {
        let mut on = BTreeMap::new();
        for (_, instance) in tasks.iter().filter(|(of, _)| *of == service) {
            *on.entry(*instance).or_default() += 1;
        }
        ledger.spread_over(service, Rc::clone(&paths), on);
    }
    ledger
}

#[test]
fn what_comes_is_taken_and_what_goes_is_given_back() {
    let cluster = reading(&vec![]);
    let index = Index::new(&cluster);
    let mut ledger = Occupancy::read(&index);
    let demand =
        |name: &str| Demand::of(cluster.task_definitions.values().find(|it| it.arn.short() == format!("{name}:1")));
    let number = |name: &str| ledger.services[&ServiceName::from(name)];
    let (plain, tcp, udp, own) = (number("plain"), number("tcp"), number("udp"), number("own"));
    // Four of 256 CPU units fit into 1,024; a fifth is remembered, though nothing is left for it.
    assert_eq!(ledger.how_many_fit(plain, &demand("plain"), false, 0), 4);
    for _ in 0..5 {
        ledger.add(plain, demand("plain"), 0);
    }
    assert_eq!((ledger.holdings[0].free().cpu_units, ledger.how_many_fit(plain, &demand("plain"), false, 0)), (0, 0));
    for left in [0, 1, 2, 3, 4] {
        ledger.remove(plain, demand("plain"), 0);
        assert_eq!(ledger.how_many_fit(plain, &demand("plain"), false, 0), left);
    }
    // A port is taken for its transport alone.
    ledger.add(tcp, demand("tcp"), 3);
    assert_eq!(
        (ledger.how_many_fit(tcp, &demand("tcp"), false, 3), ledger.how_many_fit(udp, &demand("udp"), false, 3)),
        (0, 1)
    );
    assert_eq!(ledger.holdings[3].taken_port(&demand("tcp")), Some(80));
    // A c5.large has two network interfaces for tasks.
    ledger.add(own, demand("own"), 2);
    assert_eq!(ledger.how_many_fit(own, &demand("own"), false, 2), 1);
    ledger.add(own, demand("own"), 2);
    assert_eq!(ledger.how_many_fit(own, &demand("own"), false, 2), 0);
    assert_eq!(ledger.holdings[2].short(&demand("own"), false, 0).1, Resource::NetworkInterface);
    assert_eq!(ledger.how_many_fit(plain, &demand("plain"), true, 2), 1, "one at most");
}

#[test]
fn a_task_that_departs_holds_its_capacity_and_counts_no_longer() {
    let tasks = vec![(2, 0)];
    let cluster = reading(&tasks);
    let index = Index::new(&cluster);
    let mut ledger = ledger(&index, &tasks);
    let before = (ledger.holdings[0].free(), ledger.held(2, 0));
    ledger.depart(2, 0);
    assert_eq!((ledger.holdings[0].free(), ledger.held(2, 0)), before);
    assert_eq!(ledger.on(2).len(), 0);
    ledger.come_back(2, 0);
    assert_eq!(ledger.on(2), &BTreeMap::from([(0, 1)]));
}

proptest! {
    #[test]
    fn any_sequence_of_changes_and_undos_gives_the_ledger_that_a_fresh_reading_gives(
        first in prop::collection::vec((0..6_usize, 0..4_usize), 0..12),
        changes in prop::collection::vec((0..8_usize, 0..6_usize, 0..4_usize), 0..40),
    ) {
        let nothing = reading(&vec![]);
        let nothing_index = Index::new(&nothing);
        let mut filling = ledger(&nothing_index, &vec![]);
        let names: Vec<&ServiceName> = nothing.services.keys().collect();
        let demand = |cluster: &'_ Cluster, service: usize| cluster.services[names[service]].task_definition.clone();
        let mut tasks: Tasks = Vec::new();
        for (service, instance) in first {
            let demand = Demand::of(nothing.task_definitions.get(&demand(&nothing, service)));
            if filling.how_many_fit(service, &demand, is_alone(names[service]), instance) > 0 {
                filling.add(service, demand, instance);
                tasks.push((service, instance));
            }
        }
        let cluster = reading(&tasks);
        let index = Index::new(&cluster);
        let mut ledger_now = ledger(&index, &tasks);
        prop_assert_eq!(told(&cluster, &ledger_now), told(&nothing, &filling), "as it was filled");
        let mut marks = vec![(ledger_now.mark(), tasks.clone())];
        for (what, service, instance) in changes {
            let asked = Demand::of(cluster.task_definitions.get(&demand(&cluster, service)));
            match what {
                0..=3 if ledger_now.how_many_fit(service, &asked, is_alone(names[service]), instance) > 0 => {
                    ledger_now.add(service, asked, instance);
                    tasks.push((service, instance));
                }
                4 | 5 => if let Some(place) = tasks.iter().position(|task| *task == (service, instance)) {
                    ledger_now.remove(service, asked, instance);
                    tasks.remove(place);
                },
                6 => marks.push((ledger_now.mark(), tasks.clone())),
                7 => {
                    let (mark, before) = marks.pop().unwrap_or((0, Vec::new()));
                    if marks.is_empty() {
                        marks.push((mark, before.clone()));
                    }
                    ledger_now.undo_to(mark);
                    tasks = before;
                }
                _ => {}
            }
        }
        let fresh_cluster = reading(&tasks);
        let fresh_index = Index::new(&fresh_cluster);
        prop_assert_eq!(told(&cluster, &ledger_now), told(&fresh_cluster, &ledger(&fresh_index, &tasks)));
    }
}
