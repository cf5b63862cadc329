//! What comes free, drawn by drawing; and whatever the cluster, that the plan holds.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::planning::{
    imbalance::measure,
    model::{Capacity, ContainerInstance, SchedulingStrategy},
    planner::plan,
    policy::{Mode, Percent},
    reviewed::{Reviewed, ReviewedService},
    steering::tests::NO_TARGET,
    testing::{NOW, cluster, production},
    view,
};

fn consolidating(headroom: u32) -> Policy {
    let headroom = Percent::from_hundredths(headroom * 100);
    Policy { mode: Mode::Consolidate, steer: true, headroom, ..Policy::default() }
}

/// What comes free, with where its tasks go, and why the rest stays: `i-2(web>i-1) no-room=1`.
fn shown(cluster: &Cluster, policy: &Policy) -> String {
    let planned = consolidation(cluster, policy, NOW);
    let mut shown = String::new();
    for freed in &planned.freed {
        let moves: Vec<String> =
            freed.moves.iter().map(|(service, a_move)| format!("{service}>{}", a_move.to.short())).collect();
        write!(shown, "{}({}) ", freed.instance.short(), moves.join(" ")).unwrap();
    }
    for (why, instances) in &planned.kept {
        write!(shown, "{}={instances} ", why.code()).unwrap();
    }
    shown.trim_end().to_owned()
}

fn check(drawing: &str, headroom: u32, expected: &str) {
    assert_eq!(shown(&cluster(drawing), &consolidating(headroom)), expected, "{drawing}");
}

#[test]
fn the_emptiest_instance_comes_free_and_its_tasks_fill_the_fullest() {
    check("a i-1 s0 s0 s0\na i-2 s0\na i-3 s0 s0", 10, "i-2(s0>i-1) i-3(s0>i-1 s0>i-1) no-room=1");
}

#[test]
fn each_zone_keeps_a_service_s_tasks_and_a_task_that_is_alone_may_go_anywhere() {
    check("a i-1 web\nb i-2 web", 0, "no-room=2");
    check("a i-1 one other\nb i-2 two", 0, "i-2(two>i-1) no-room=1");
}

#[test]
fn nothing_goes_to_what_is_impaired_or_can_t_be_steered_to() {
    for no_target in NO_TARGET {
        check(
            &format!("a i-1 web web {no_target}\na i-2 web\na i-3 web"),
            0,
            "i-2(web>i-3) i-1(web>i-3 web>i-3) no-room=1",
        );
    }
}

#[test]
fn headroom_and_room_for_the_largest_task_are_kept() {
    // 4 tasks of 1,024 fill an instance of 4,096.
    let sizes = "service web cpu=1024 memory=64";
    check(&format!("a i-1 web web\na i-2 web web\n{sizes}"), 0, "no-room=2");
    check(&format!("a i-1 web web\na i-2 web\n{sizes}"), 25, "i-2(web>i-1) no-room=1");
    check(&format!("a i-1 web web\na i-2 web\n{sizes}"), 26, "headroom=2");
}

#[test]
fn a_free_instance_that_keeps_room_for_the_largest_task_holds_one_of_those_that_go() {
    // The largest task has room on the free i-5 alone. Were that left free, it might be removed.
    let sizes = "service big cpu=3072 memory=64\nservice web cpu=512 memory=64";
    let full = "a i-1 big cpu=3072\na i-2 web cpu=2048\na i-3 web cpu=2048\na i-4 web cpu=2048\na i-5";
    check(&format!("{full}\n{sizes}"), 0, "i-2(web>i-5) i-3(web>i-4) no-room=2 largest-task=1");
}

#[test]
fn what_can_t_go_keeps_its_instance_and_daemons_do_not() {
    check("a i-1 web web log\na i-2 web log\nservice log daemon=true", 10, "i-2(web>i-1) no-room=1");
    let closed = "service own desired=1 tag.ecs-rebalancer:enabled=false";
    check(&format!("a i-1 web web\na i-2 web own\n{closed}"), 10, "i-1(web>i-2 web>i-2) fixed-tasks=1");
    check("a i-1 web\na i-2 web\nservice web strategy=binpack:memory", 10, "i-1(web>i-2) no-room=1");
    check("a i-1 web\na i-2 web\nservice web constraint=distinctInstance", 10, "no-room=2");
    let own = "service web constraint=memberOf:not(task:group_==_service:web)";
    check(&format!("a i-1 web\na i-2 web\n{own}"), 10, "no-room=2");
    check(&format!("a i-1 web x\na i-2 web\na i-3 x x\n{own}"), 10, "i-2(web>i-3) no-room=2");
    check("a i-1 web\na i-2 api\nservice web port=80\nservice api port=80", 10, "no-room=2");
    // web may not be on i-2, where a task of it is: none would go for one that starts.
    let closed = "service web desired=2 constraint=memberOf:attribute:rack_==_r";
    check(&format!("a i-1 web attr.rack=r\na i-2 web\na i-3 attr.rack=r\n{closed}"), 10, "fixed-tasks=1 no-room=1");
}

#[test]
fn limits_are_kept_and_no_instance_is_emptied_by_half() {
    let drawing = "a i-1 web web web web web\na i-2 web web\na i-3 api api api";
    let check = |policy: &Policy, expected: &str| assert_eq!(shown(&cluster(drawing), policy), expected);
    let policy = consolidating(0);
    check(&Policy { max_moves: 1, ..policy.clone() }, "max-moves=3");
    check(&Policy { max_moves: 3, ..policy.clone() }, "i-2(web>i-1 web>i-1) max-moves=2");
    check(&policy, "i-2(web>i-1 web>i-1) i-3(api>i-1 api>i-1 api>i-1) no-room=1");
}

#[test]
fn of_a_reviewed_plan_just_what_still_holds_is_done() {
    let drawing = "a i-1 web web web\na i-2 web\na i-3 web web";
    let mut policy = consolidating(10);
    let planned = consolidation(&cluster(drawing), &policy, NOW);
    let by_service = by_service(&planned.freed).into_iter();
    let services = by_service.map(|(service, moves)| (service, ReviewedService { running_tasks: 6, moves }));
    policy.reviewed = Some(Reviewed { cluster: "drawn".to_owned(), services: services.collect() });
    assert_eq!(shown(&cluster(drawing), &policy), "i-2(web>i-1) i-3(web>i-1 web>i-1) not-in-plan=1");
    // A task came to i-3 since: it is not emptied, for that task was not in the plan.
    let later = "a i-1 web web web\na i-2 web\na i-3 web web api\nservice api desired=1";
    assert_eq!(shown(&cluster(later), &policy), "i-2(web>i-1) not-in-plan=2");
}

#[test]
fn no_more_services_are_changed_than_may_be() {
    let drawing = "a i-1 web\na i-2 api\na i-3 own own\nservice own tag.ecs-rebalancer:enabled=false";
    let policy = Policy { max_services: 1, ..consolidating(0) };
    assert_eq!(shown(&cluster(drawing), &policy), "i-1(web>i-3) fixed-tasks=1 max-services=1");
}

#[test]
fn no_more_come_free_than_the_capacity_provider_would_let_go() {
    let mut cluster =
        cluster("a i-1 web web provider=od\na i-2 web provider=od\na i-3 web provider=od\nservice web provider=od");
    let minimum = |minimum_instances| {
        let provider = crate::planning::model::CapacityProvider {
            has_managed_instances: false,
            name: "od".to_owned(),
            managed_scaling: true,
            minimum_instances,
        };
        BTreeMap::from([("od".to_owned(), provider)])
    };
    for (instances, expected) in
        [(Some(3), "minimum=3"), (Some(2), "i-2(web>i-1) minimum=2"), (None, "i-2(web>i-1) i-3(web>i-1) no-room=1")]
    {
        cluster.capacity_providers = minimum(instances);
        assert_eq!(shown(&cluster, &consolidating(0)), expected, "{instances:?}");
    }
}

#[test]
fn of_equally_empty_instances_the_most_expensive_comes_free() {
    check("a i-1 web cpu=2048\na i-2 web cpu=8192\na i-3 web web cpu=4096", 0, "i-2(web>i-3) i-1(web>i-3) no-room=1");
    let price = "attr.ecs-rebalancer.price";
    let fixed = "a i-3 own own cpu=1024\nservice own cpu=256 tag.ecs-rebalancer:enabled=false";
    check(&format!("a i-1 web {price}=1\na i-2 web {price}=2\n{fixed}"), 0, "i-2(web>i-3) fixed-tasks=1 no-room=1");
}

#[test]
fn a_large_instance_that_joined_takes_what_several_small_ones_hold() {
    let small = "cpu=1024 memory=2048";
    check(
        &format!("a i-1 web {small}\na i-2 web {small}\na i-3 web {small}\na i-9\nservice web cpu=600 memory=512"),
        0,
        "i-1(web>i-9) i-2(web>i-9) i-3(web>i-9) no-room=1",
    );
}

/// Whatever the plan, it holds: tasks are where they fit, in as many as before in each zone, and what came free is free.
fn check_sound(mut cluster: Cluster, policy: &Policy) -> Result<(), TestCaseError> {
    let planned = plan(&cluster, &measure(&cluster, policy, NOW), policy, NOW);
    let freed: BTreeSet<ContainerInstanceArn> =
        planned.consolidation.iter().flat_map(|planned| &planned.freed).map(|freed| freed.instance.clone()).collect();
    let zones = |cluster: &Cluster| {
        let mut zones: BTreeMap<(ServiceName, String), u32> = BTreeMap::new();
        for task in cluster.tasks.values() {
            let instance = task.container_instance.as_ref().map(|arn| &cluster.container_instances[arn]);
            if let (Some(service), Some(instance)) = (&task.service, instance) {
                *zones.entry((service.clone(), instance.availability_zone().to_owned())).or_default() += 1;
            }
        }
        zones
    };
    let before = zones(&cluster);
    let open = |cluster: &Cluster| {
        let index = Index::new(cluster);
        cluster.container_instances.values().filter(|it| it.is_usable() && !index.is_empty(it)).count()
    };
    let open_before = open(&cluster);
    let mut gone = BTreeSet::new();
    for (number, (service, a_move)) in planned.moves().enumerate() {
        prop_assert!(gone.insert(a_move.task.clone()), "{} goes twice", a_move.task.short());
        prop_assert!(freed.contains(&a_move.from) && !freed.contains(&a_move.to), "{a_move:?}");
        let definition = &cluster.task_definitions[&cluster.services[service].task_definition];
        let to = &cluster.container_instances[&a_move.to];
        prop_assert!(to.is_usable() && to.remaining.holds(&definition.reserves), "{a_move:?}");
        prop_assert!(definition.tcp_host_ports.is_disjoint(&to.taken_tcp_ports), "{a_move:?}");
        // What leaves gives no room to what comes: the task is put there first.
        let task = cluster.tasks[&a_move.task].as_ref().clone();
        let arn = format!("foreseen/{number}").as_str().into();
        view::insert(
            &mut cluster,
            super::super::model::Task { arn, container_instance: Some(a_move.to.clone()), ..task },
        );
    }
    for task in &gone {
        view::remove(&mut cluster, task);
    }
    let index = Index::new(&cluster);
    for instance in &freed {
        prop_assert!(index.is_empty(&cluster.container_instances[instance]), "{}", instance.short());
    }
    for ((service, zone), tasks) in zones(&cluster) {
        let is_alone = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(&service)).count() == 1;
        prop_assert!(is_alone || before.get(&(service.clone(), zone.clone())) == Some(&tasks), "{service} in {zone}");
    }
    prop_assert!(gone.len() <= policy.max_moves as usize && planned.services.len() <= policy.max_services as usize);
    if !freed.is_empty() {
        prop_assert!(open(&cluster) < open_before, "nothing is won");
        let stay: Vec<&ContainerInstance> = cluster
            .container_instances
            .values()
            .map(AsRef::as_ref)
            .filter(|it| it.is_usable() && !index.is_empty(it))
            .collect();
        for of in [|capacity: &Capacity| capacity.cpu_units, |capacity: &Capacity| capacity.memory_mib] {
            let registered: u64 = stay.iter().map(|it| u64::from(of(&it.registered))).sum();
            let remaining: u64 = stay.iter().map(|it| u64::from(of(&it.remaining))).sum();
            prop_assert!(
                remaining * 10_000 >= registered * u64::from(policy.headroom.hundredths()),
                "{remaining} of {registered}"
            );
        }
        for service in cluster.services.values().filter(|it| it.scheduling_strategy == SchedulingStrategy::Replica) {
            let asked = cluster.task_definitions[&service.task_definition].reserves;
            let fits = stay.iter().any(|it| it.remaining.cpu_units >= asked.cpu_units)
                && stay.iter().any(|it| it.remaining.memory_mib >= asked.memory_mib);
            prop_assert!(fits || index.tasks_of(service).is_empty(), "no room for one of {}", service.name);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_the_cluster_the_plan_holds(
        drawing in crate::planning::planner::tests::drawing(),
        headroom in 0..40_u32,
        max_moves in 1..30_u32,
        max_services in 1..5_u32,
    ) {
        check_sound(cluster(&drawing), &Policy { max_moves, max_services, ..consolidating(headroom) })?;
    }
}

#[test]
fn the_production_fleet_comes_down_to_few_instances() {
    let Some(cluster) = production() else { return };
    let policy = Policy { max_moves: 10_000, max_services: 100, ..consolidating(10) };
    let planned = consolidation(&cluster, &policy, NOW);
    let moves: usize = planned.freed.iter().map(|freed| freed.moves.len()).sum();
    println!("{} come free by {moves} moves", planned.freed.len());
    // 1,523 less the 518.4 that a linear program needs: `tests/peers/oracle.py` has it.
    let stay: u32 = planned.kept.values().sum();
    assert!((1_523 - stay) * 100 >= 95 * 1_004, "{stay} stay");
    check_sound(cluster, &policy).unwrap();
}
