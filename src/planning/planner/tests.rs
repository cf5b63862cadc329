//! The plans of drawn clusters, and the one verifier that every plan passes, drawn or random.

use std::fmt::Write;

use proptest::prelude::{ProptestConfig, Strategy as Generator, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::planning::{
    imbalance::{definitions_needed, measure},
    model::{ContainerInstanceArn, PlacementConstraint},
    policy::{Mode, Percent, ServiceFilter},
    query::Query,
    testing::{self, NOW},
};

/// The notes that the run itself has left on a service are no reason to leave it alone; an earlier run's are.
#[test]
fn a_service_is_levelled_again_in_the_run_that_has_just_moved_it() {
    let mut cluster =
        testing::cluster("a i-1 web x x x\na i-2\na i-3\nservice web desired=1\nservice x strategy=binpack:memory");
    let name = ServiceName::from("web");
    let note = crate::planning::notes::LastNote { at: NOW, misses: 0 };
    if let Some(service) = cluster.services.get_mut(&name) {
        service.tags.insert(LAST_TAG.to_owned(), note.to_string());
    }
    let again = |moved: usize| {
        let so_far = SoFar { moved: [(name.clone(), moved)].into(), ..SoFar::default() };
        level_again(&cluster, &Policy::default(), NOW, 0, &so_far).len()
    };
    assert_eq!([again(0), again(1)], [0, 1]);
}

fn planned(cluster: &Cluster, policy: &Policy) -> (Measure, Plan) {
    let found = measure(cluster, policy, NOW);
    let plan = plan(cluster, &found, policy, NOW);
    (found, plan)
}

/// Draws a cluster, plans, and compares the plan, a line a service.
fn check(drawing: &str, policy: &Policy, expected: &str) {
    let cluster = testing::cluster(drawing);
    let (found, plan) = planned(&cluster, policy);
    verify(&cluster, &found, policy, &plan);
    let mut lines = Vec::new();
    for service in &plan.services {
        let moves = service.moves.iter().map(|it| format!("{} to {}", it.from, it.to)).collect::<Vec<_>>().join(", ");
        lines.push(format!("{}: {:?} {moves}", service.name, service.strategy));
    }
    lines.extend(plan.left_alone.iter().map(|(name, reason)| format!("{name}: {reason}")));
    assert_eq!(lines.join("\n"), expected, "{drawing}");
}

/// What holds for every plan, whatever the cluster.
fn verify(cluster: &Cluster, found: &Measure, policy: &Policy, plan: &Plan) {
    let again = super::plan(cluster, found, policy, NOW);
    assert_eq!(&again, plan, "the same cluster, the same plan");
    let names: BTreeSet<&ServiceName> = plan.services.iter().map(|service| &service.name).collect();
    assert!(names.len() <= policy.max_services as usize);
    assert!(plan.moves().count() <= policy.max_moves as usize);

    let taken: BTreeSet<&ServiceName> = plan.services.iter().map(|service| &service.name).collect();
    let left: BTreeSet<&ServiceName> = plan.left_alone.keys().collect();
    assert!(taken.is_disjoint(&left));
    let misplaced = |measure: &Measure, name: &ServiceName| {
        measure.services[name].spread.as_ref().map_or(0, |spread| spread.misplaced_tasks)
    };
    for name in cluster.services.keys() {
        let (before, after) = (misplaced(found, name), misplaced(&plan.predicted, name));
        let has_word = taken.contains(name) || left.contains(name);
        assert!(has_word || before == 0, "{name} has {before} misplaced tasks");
        assert!(after <= before, "{name} would have {after} misplaced tasks instead of {before}");
        assert!(taken.contains(name) || after == before, "{name} is left alone");
    }
    assert_eq!(plan.predicted.running_tasks, found.running_tasks);

    let mut moved = BTreeSet::new();
    for service in &plan.services {
        assert!(!service.moves.is_empty());
        assert!(service.moves.len() <= service.allowance as usize, "{}", service.name);
        assert!(policy.services.admits(&service.name));
        for a_move in &service.moves {
            let task = &cluster.tasks[&a_move.task];
            assert!(!task.is_protected, "{} is protected", a_move.task);
            assert!(moved.insert(&a_move.task), "{} goes twice", a_move.task);
            assert_eq!(task.service.as_ref(), Some(&service.name));
            assert_eq!(task.container_instance.as_ref(), Some(&a_move.from));
            assert!(cluster.container_instances[&a_move.to].is_usable());
        }
    }
    // Whoever makes the moves by hand has the cluster that was predicted.
    let mut made = cluster.clone();
    for (number, (_, a_move)) in plan.moves().enumerate() {
        view::relocate(&mut made, &a_move.task, &a_move.to, number);
    }
    assert_eq!(measure(&made, policy, NOW), plan.predicted, "{:?}", plan.services);
}

fn threshold(percent: u32) -> Policy {
    Policy { threshold: Percent::from_hundredths(percent * 100), ..Policy::default() }
}

#[test]
fn what_is_misplaced_moves_to_where_it_is_missing() {
    let policy = Policy::default();
    check("a i-1 web web\na i-2", &policy, "web: Surge i-1 to i-2");
    check("a i-1 web web web\na i-2 web\nb i-3", &policy, "web: Surge i-1 to i-3, i-1 to i-3");
    check("a i-1 web\na i-2 web", &policy, "");
    check("a i-1 web web api api\na i-2", &policy, "api: Surge i-1 to i-2\nweb: Surge i-1 to i-2");
}

#[test]
fn an_instance_takes_no_more_than_the_service_s_own_tasks_leave_open() {
    let policy = Policy::default();
    let own = "service web constraint=memberOf:not(task:group_==_service:web)";
    check(&format!("a i-1 web\na i-2 web\na i-3 web\nb i-4\n{own}"), &policy, "web: Surge i-3 to i-4");
    let two = "service web constraint=memberOf:runningTasksCount_<_2";
    check(
        &format!("a i-1 web web web web web web\nb i-2 api\nb i-3\nb i-4\nservice api strategy=binpack:memory\n{two}"),
        &policy,
        "web: Surge i-1 to i-3, i-1 to i-4, i-1 to i-2",
    );
}

#[test]
fn a_task_that_goes_by_way_of_another_container_instance_is_one_move_and_two_restarts() {
    // The first replacement goes to zone b, which has fewer tasks; then zone a has fewer, and the second one goes to i-3.
    let drawing = "a i-1 web web web\nb i-2 web web\na i-3\nservice web strategy=spread:attribute:ecs.availability-zone,spread:instanceId";
    check(drawing, &threshold(0), "web: Surge i-1 to i-3");
    let (_, plan) = planned(&testing::cluster(drawing), &threshold(0));
    assert_eq!(plan.services[0].restarted_again, 1);
}

#[test]
fn the_threshold_is_the_service_s_or_the_cluster_s() {
    // One of web's four is misplaced, and one of all ten.
    let drawing = "a i-1 web web web api api api\na i-2 web api api api";
    check(drawing, &threshold(26), "web: below the threshold of 26 %");
    check(drawing, &threshold(25), "web: Surge i-1 to i-2");
    let one_of_ten = "a i-1 web web web api api api\na i-2 web api api api\nservice web tag.ecs-rebalancer:threshold=";
    check(&format!("{one_of_ten}100"), &threshold(5), "web: below the threshold of 100 %");
    check(&format!("{one_of_ten}10"), &threshold(100), "web: Surge i-1 to i-2");
    let one_in_twenty = format!("a i-1 web web web{0}\na i-2 web{0}", " api".repeat(8));
    check(&one_in_twenty, &threshold(5), "web: Surge i-1 to i-2");
    // One of web's ten, and two of api's four: three of fourteen of the cluster's.
    let of_the_cluster = "a i-1 web web web web web web api api api api\na i-2 web web web web";
    check(of_the_cluster, &threshold(21), "api: Surge i-1 to i-2, i-1 to i-2\nweb: Surge i-1 to i-2");
    check(of_the_cluster, &threshold(22), "api: Surge i-1 to i-2, i-1 to i-2\nweb: below the threshold of 22 %");
}

#[test]
fn limits_leave_the_rest_for_the_next_run() {
    let drawing = "a i-1 web web web web api api\na i-2";
    let policy = Policy { max_services: 1, ..Policy::default() };
    check(
        drawing,
        &policy,
        "web: Surge i-1 to i-2, i-1 to i-2\napi: 1 other service comes first (REBALANCER_MAX_SERVICES)",
    );
    let policy = Policy { max_moves: 2, ..Policy::default() };
    check(
        drawing,
        &policy,
        "web: Surge i-1 to i-2, i-1 to i-2\n\
         api: the limit of 2 moves is used up (REBALANCER_MAX_MOVES, or its tag)",
    );
    check(
        &format!("{drawing}\nservice web tag.ecs-rebalancer:max-moves=1"),
        &Policy::default(),
        "web: Surge i-1 to i-2\napi: Surge i-1 to i-2",
    );
}

#[test]
fn a_move_that_can_t_be_made_is_left_with_its_reason() {
    let policy = Policy::default();
    let drawing = "a i-1 web web web cpu=768\na i-2 big cpu=768\nservice big cpu=700";
    check(drawing, &policy, "web: no capacity where a task is missing: closest is i-2, 188 CPU units short");
    check(
        "a i-1 web web web\na i-2\nservice web tag.ecs-rebalancer:strategy=stop min=50",
        &policy,
        "web: Stop i-1 to i-2",
    );
    check(
        "a i-1 web web web\na i-2\nservice web tag.ecs-rebalancer:strategy=stop",
        &policy,
        "web: strategy stop, and its minimumHealthyPercent of 100 allows no task fewer",
    );
}

#[test]
fn a_deployment_that_could_not_go_forward_is_not_planned() {
    for strategy in ["redeploy", "revision"] {
        check(
            &format!("a i-1 web web web\na i-2\nservice web tag.ecs-rebalancer:strategy={strategy} max=120 min=75"),
            &Policy::default(),
            "web: its maximumPercent of 120 allows no task above its desired count of 3, and its minimumHealthyPercent of 75 \
             none below: a deployment would stand still",
        );
    }
}

#[test]
fn what_tasks_are_stuck_for_is_the_reason_where_stopping_first_helps_no_more() {
    for settings in ["", "min=50", "min=50 tag.ecs-rebalancer:strategy=stop"] {
        check(
            &format!("a i-1 web web web cpu=768\na i-2 big cpu=768\nservice big cpu=700\nservice web {settings}"),
            &Policy::default(),
            "web: no capacity where a task is missing: closest is i-2, 188 CPU units short",
        );
        let mut cluster = testing::cluster(&format!("a i-1 web web web\nb i-2 web\nservice web {settings}"));
        view::protect_numbers(&mut cluster, &[1, 2, 3]);
        let (found, plan) = planned(&cluster, &Policy::default());
        let why = plan.left_alone.values().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((why.join("\n").as_str(), found.stuck_tasks), ("3 of its tasks are protected from scale-in", 1));
    }
}

#[test]
fn a_guard_s_reason_is_the_plan_s() {
    check(
        "a i-1 web web\na i-2\nservice web tag.ecs-rebalancer:enabled=false",
        &Policy::default(),
        "web: its tag ecs-rebalancer:enabled is false",
    );
    // The zones are uneven, and ECS evens them out itself; then what is uneven inside a zone is ours.
    check(
        "a i-1 web web web\na i-2 web\nb i-3\nservice web azrebalancing=true",
        &Policy::default(),
        "web: between zones: left to ECS's own zone rebalancing",
    );
    check(
        "a i-1 web web\na i-2\nb i-3 web web\nservice web azrebalancing=true",
        &Policy::default(),
        "web: Surge i-1 to i-2",
    );
}

#[test]
fn the_production_fleet_is_planned_to_the_end_when_nothing_limits_it() {
    let Some(cluster) = testing::production() else { return };
    assert!(!definitions_needed(&cluster, &Policy::default(), NOW, usize::MAX).read.is_empty());
    let policy = Policy { max_moves: u32::MAX, max_services: u32::MAX, ..threshold(0) };
    let (found, plan) = planned(&cluster, &policy);
    verify(&cluster, &found, &policy, &plan);
    assert_eq!(found.misplaced_tasks, 317);
    assert_eq!(plan.predicted.misplaced_tasks, 0, "{:?}", plan.left_alone);
}

#[test]
fn definitions_are_needed_of_services_with_tasks_on_full_instances_first() {
    let needed = |drawing: &str, policy: &Policy| {
        let cluster = testing::cluster(drawing);
        let names = super::definitions_needed(&cluster, &measure(&cluster, policy, NOW), policy, NOW);
        names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" ")
    };
    let one_full = "a i-1 log web web web\nb i-2 log\nc i-3 api";
    assert_eq!(needed(one_full, &Policy::default()), "web log api");
    assert_eq!(needed("a i-1 log web\nb i-2 log web", &Policy::default()), "", "nothing is to be levelled");
    // A service that lacks tasks comes before all others.
    let lacking = format!("{one_full}\nservice api desired=2 running=1");
    assert_eq!(needed(&lacking, &Policy { steer: true, ..Policy::default() }), "api web log");
}

/// Several services on a few instances, some with little room.
pub(in crate::planning) fn drawing() -> impl Generator<Value = String> {
    let instance = (0..3_usize, prop::collection::vec(0..4_usize, 0..6), 0..5_u32);
    let service = (0..4_usize, 0..3_usize, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (prop::collection::vec(instance, 1..6), prop::collection::vec(service, 4)).prop_map(|(instances, services)| {
        let mut drawing = String::new();
        for (number, (zone, tasks, room)) in instances.iter().enumerate() {
            write!(drawing, "{} i-{number}", ["a", "b", "c"][*zone]).unwrap();
            for task in tasks {
                write!(drawing, " s{task}").unwrap();
            }
            writeln!(drawing, " cpu={}", 256 * (u32::try_from(tasks.len()).unwrap() + room)).unwrap();
        }
        for (number, (strategy, kind, zones, has_load_balancer)) in services.iter().enumerate() {
            let strategy = [
                "spread:attribute:ecs.availability-zone,spread:instanceId",
                "spread:instanceId",
                "spread:attribute:ecs.availability-zone",
                "binpack:memory",
            ][*strategy];
            let kind = ["", "tag.ecs-rebalancer:strategy=stop min=50", "min=50"][*kind];
            writeln!(
                drawing,
                "service s{number} strategy={strategy} {kind} azrebalancing={zones} lb={has_load_balancer}"
            )
            .unwrap();
        }
        drawing
    })
}

/// The drawing's cluster, each service with this as its one constraint; `OWN` stands for the service's group.
fn constrained(drawing: &str, constraint: &str) -> Cluster {
    let mut cluster = testing::cluster(drawing);
    for (name, service) in &mut cluster.services {
        let expression = constraint.replace("OWN", &format!("service:{name}"));
        service.placement_constraints = vec![match constraint {
            "distinctInstance" => PlacementConstraint::DistinctInstance,
            _ => PlacementConstraint::MemberOf(expression),
        }];
    }
    cluster
}

/// Whether ECS would place one more task of a service on an instance, as its constraint stands.
fn would_be_placed(cluster: &Cluster, service: &ServiceName, instance: &ContainerInstanceArn) -> bool {
    let there = cluster.tasks.values().filter(|task| task.container_instance.as_ref() == Some(instance));
    let groups = || there.clone().map(|task| task.group.to_string()).collect();
    cluster.services[service].placement_constraints.iter().all(|constraint| match constraint {
        PlacementConstraint::MemberOf(expression) => {
            Query::parse(expression).unwrap().matches(&cluster.container_instances[instance], &groups)
        }
        _ => true,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn no_task_beside_one_of_its_own_service_is_one_on_each_instance(
        drawing in drawing(),
        mode in prop::sample::select(vec![Mode::Spread, Mode::Consolidate]),
        steer in prop::bool::ANY,
    ) {
        let policy = Policy { mode, steer, ..Policy::default() };
        let [one, other] = ["distinctInstance", "not(task:group == OWN)"].map(|it| planned(&constrained(&drawing, it), &policy));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn ecs_would_place_each_task_where_it_is_planned_to_go(
        drawing in drawing(),
        constraint in prop::sample::select(vec![
            "task:group != OWN",
            "runningTasksCount < 3",
            "runningTasksCount <= 3 and task:group !~ OWN",
            "runningTasksCount < 2 or task:group != OWN",
            "task:group !~ OWN",
            "task:group == OWN",
            "task:group != service:s1",
        ]),
        steer in prop::bool::ANY,
    ) {
        let mut cluster = constrained(&drawing, constraint);
        let policy = Policy { steer, load_threshold: Percent::from_hundredths(10_000), ..Policy::default() };
        let (found, plan) = planned(&cluster, &policy);
        // Where a service's tasks may be must not change with others' for the rest to hold.
        if !constraint.contains("running") && constraint.contains("OWN") {
            verify(&cluster, &found, &policy, &plan);
        }
        for (number, (service, a_move)) in plan.moves().enumerate() {
            prop_assert!(would_be_placed(&cluster, service, &a_move.to), "{} to {}", service, a_move.to.short());
            view::relocate(&mut cluster, &a_move.task, &a_move.to, number);
        }
    }

    #[test]
    fn every_plan_is_one_that_may_be_carried_out(
        drawing in drawing(),
        max_moves in 0..8_u32,
        max_services in 0..4_u32,
        percent in 0..60_u32,
        excluded in prop::option::of(0..4_u32),
    ) {
        let cluster = testing::cluster(&drawing);
        let exclude = excluded.map(|number| wildmatch::WildMatch::new(&format!("s{number}"))).into_iter().collect();
        let services = ServiceFilter { include: Vec::new(), exclude };
        let policy = Policy { services, max_moves, max_services, ..threshold(percent) };
        let (found, plan) = planned(&cluster, &policy);
        verify(&cluster, &found, &policy, &plan);
    }

    #[test]
    fn a_protected_task_is_in_no_plan_of_any_mode(
        drawing in drawing(),
        protected in prop::collection::vec(prop::bool::weighted(0.4), 40),
        modes in 0..5_usize,
    ) {
        let mut cluster = testing::cluster(&drawing);
        let numbers: Vec<usize> = (1..=cluster.tasks.len()).filter(|number| protected[number - 1]).collect();
        view::protect_numbers(&mut cluster, &numbers);
        let levels = Policy { load_threshold: Percent::from_hundredths(0), max_moves: 40, max_services: 4, ..threshold(0) };
        let policy = match modes {
            0 => threshold(0),
            1 => levels,
            2 => Policy { steer: true, ..levels },
            3 => Policy { mode: Mode::Consolidate, steer: true, ..levels },
            _ => {
                // One that lacks tasks: others make way.
                for service in cluster.services.values_mut() {
                    service.desired_count += 1;
                }
                Policy { steer: true, ..levels }
            }
        };
        let (_, plan) = planned(&cluster, &policy);
        for (_, a_move) in plan.moves() {
            prop_assert!(!cluster.tasks[&a_move.task].is_protected, "{} is protected\n{}", a_move.task, drawing);
        }
    }

    #[test]
    fn with_room_everywhere_nothing_stays_misplaced(drawing in drawing()) {
        let roomy = drawing.replace("cpu=", "cpu=9900").replace("azrebalancing=true", "").replace("tag.ecs-rebalancer:strategy=stop", "");
        let cluster = testing::cluster(&roomy);
        let policy = threshold(0);
        let (found, plan) = planned(&cluster, &policy);
        verify(&cluster, &found, &policy, &plan);
        prop_assert_eq!(plan.predicted.misplaced_tasks, 0, "{}", roomy);
    }
}
