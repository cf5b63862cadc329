//! A reviewed plan on drawn clusters: unchanged it is made as it is, changed only what holds.

use std::sync::Arc;

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::planning::{
    imbalance::measure,
    model::{ContainerInstanceStatus, Task},
    planner::{self, plan},
    policy::Policy,
    testing::{self, NOW},
};

fn generous() -> Policy {
    let percent = super::super::policy::Percent::from_hundredths;
    Policy { threshold: percent(0), load_threshold: percent(10_000), ..Policy::default() }
}

fn planned(cluster: &Cluster, policy: &Policy) -> Plan {
    plan(cluster, &measure(cluster, policy, NOW), policy, NOW)
}

fn reviewed(cluster: &Cluster, policy: &Policy) -> Reviewed {
    let found = measure(cluster, policy, NOW);
    let services = planned(cluster, policy).services.into_iter().map(|service| {
        let running_tasks = found.services[&service.name].running_tasks;
        (service.name, ReviewedService { running_tasks, moves: service.moves })
    });
    Reviewed { cluster: cluster.name.clone(), services: services.collect() }
}

/// Plans, changes the cluster, applies the plan, and compares what is planned now and what is said.
#[track_caller]
fn check(change: fn(&mut Cluster), expected: &str) {
    check_with(BEFORE, &generous(), |cluster, _| change(cluster), expected);
}

/// The same on any cluster and by any policy; the plan may change as well.
#[track_caller]
fn check_with(drawing: &str, policy: &Policy, change: impl FnOnce(&mut Cluster, &mut Reviewed), expected: &str) {
    let mut cluster = testing::cluster(drawing);
    let mut reviewed = reviewed(&cluster, policy);
    change(&mut cluster, &mut reviewed);
    let policy = Policy { reviewed: Some(reviewed.clone()), ..policy.clone() };
    let plan = planned(&cluster, &policy);
    let moves = plan.moves().map(|(name, it)| format!("{name}: {} to {}", it.task.short(), it.to.short()));
    let left = plan.left_alone.iter().map(|(name, reason)| format!("{name}: {}", reason.code()));
    let lines: Vec<String> = moves.chain(left).chain(reviewed.not_made(&cluster, &plan)).collect();
    assert_eq!(lines.join("\n"), expected);
}

const BEFORE: &str =
    "a i-1 web web web web api api\nb i-2\nc i-3\nservice web\nservice api tag.ecs-rebalancer:enabled=false";

fn task(cluster: &Cluster, number: usize) -> TaskArn {
    cluster.tasks.keys().nth(number).unwrap().clone()
}

fn web(cluster: &mut Cluster) -> &mut Service {
    cluster.services.get_mut(&ServiceName::from("web")).unwrap()
}

#[test]
fn an_unchanged_cluster_gets_what_was_reviewed() {
    check(|_| (), "web: 00001 to i-2\nweb: 00002 to i-3\napi: opted-out");
}

#[test]
fn what_changed_since_is_left_out_and_said() {
    check(
        |cluster| {
            // Lost, and replaced by ECS where it was.
            let (gone, other) = (task(cluster, 0), TaskArn::from("task/another"));
            let new = Task { arn: other.clone(), ..Task::clone(&cluster.tasks.remove(&gone).unwrap()) };
            cluster.tasks.insert(other, new.into());
        },
        "web: 00002 to i-2\napi: opted-out\nweb: 1 of 2 reviewed moves left out: what was to go is gone",
    );
    check(
        |cluster| {
            view::remove(cluster, &task(cluster, 0));
            web(cluster).desired_count = 3;
            web(cluster).running_count = 3;
        },
        "api: opted-out\nweb: plan-outdated\nweb: 2 of 2 reviewed moves left out: the reviewed plan no longer holds: its desired count was 4 then and is 3 now",
    );
    check(
        |cluster| {
            let drained = cluster.container_instances.values_mut().find(|it| it.arn.short() == "i-3").unwrap();
            Arc::make_mut(drained).status = ContainerInstanceStatus::Draining;
        },
        "web: 00001 to i-2\napi: opted-out\nweb: 1 of 2 reviewed moves left out: i-3 takes no tasks any more",
    );
    check(
        |cluster| drop(web(cluster).tags.insert("ecs-rebalancer:enabled".to_owned(), "false".to_owned())),
        "api: opted-out\nweb: opted-out\nweb: 2 of 2 reviewed moves left out: its tag ecs-rebalancer:enabled is false",
    );
    check(
        |cluster| {
            let name = ServiceName::from("web");
            cluster.services.remove(&name);
            cluster.tasks.retain(|_, task| task.service.as_ref() != Some(&name));
        },
        "api: opted-out\nweb: 2 of 2 reviewed moves left out: the service is gone",
    );
    check(
        |cluster| drop(web(cluster).tags.insert("ecs-rebalancer:strategy".to_owned(), "redeploy".to_owned())),
        "api: opted-out\nweb: plan-outdated\nweb: 2 of 2 reviewed moves left out: the reviewed plan no longer holds: its strategy restarts every task, and the plan names single ones",
    );
}

#[test]
fn a_service_that_nobody_reviewed_is_left_alone() {
    check(|cluster| web_and(cluster, "api"), "web: 00001 to i-2\nweb: 00002 to i-3\napi: not-in-plan");
}

/// The owner allows it after all.
fn web_and(cluster: &mut Cluster, name: &str) {
    cluster.services.get_mut(&ServiceName::from(name)).unwrap().tags.clear();
}

#[test]
fn a_task_that_is_not_misplaced_any_more_stays() {
    check(
        |cluster| {
            // Two others went where tasks were missing.
            let gone = [task(cluster, 2), task(cluster, 3)];
            for (number, (gone, to)) in gone.iter().zip(["i-2", "i-3"]).enumerate() {
                let place = cluster.container_instances.keys().find(|arn| arn.short() == to).unwrap().clone();
                let new = view::foreseen(cluster, &"web".into(), &place, number).unwrap();
                view::remove(cluster, gone);
                view::insert(cluster, new);
            }
        },
        "api: opted-out\nweb: 2 of 2 reviewed moves left out: moving what was to go would no longer help",
    );
}

/// Four services of one task each, all on one container instance: levelling without steering sends two of them away.
const FULL: &str = "a i-1 s0 s1 s2 s3\na i-2\na i-3\nservice s0 desired=1\nservice s1 desired=1\nservice s2 desired=1\nservice s3 desired=1";

#[track_caller]
fn check_levelled(change: fn(&mut Cluster, &mut Reviewed), expected: &str) {
    check_with(FULL, &Policy::default(), change, expected);
}

fn instance<'c>(cluster: &'c mut Cluster, short: &str) -> &'c mut ContainerInstance {
    let found = cluster.container_instances.values_mut().find(|it| it.arn.short() == short);
    Arc::make_mut(found.unwrap())
}

#[test]
fn levelling_makes_just_the_reviewed_moves_that_the_cluster_still_allows() {
    check_levelled(|_, _| (), "s0: 00001 to i-3\ns3: 00004 to i-2");
    check_levelled(
        |cluster, _| instance(cluster, "i-3").status = ContainerInstanceStatus::Draining,
        "s3: 00004 to i-2\ns0: 1 of 1 reviewed moves left out: i-3 takes no tasks any more",
    );
    check_levelled(
        |cluster, _| cluster.container_instances.retain(|arn, _| arn.short() != "i-3"),
        "s3: 00004 to i-2\ns0: 1 of 1 reviewed moves left out: i-3 takes no tasks any more",
    );
    // The wrong way round: nothing of it was on the container instance that it is to leave.
    check_levelled(
        |_, reviewed| {
            for a_move in reviewed.services.values_mut().flat_map(|planned| &mut planned.moves) {
                std::mem::swap(&mut a_move.from, &mut a_move.to);
            }
        },
        "s0: 1 of 1 reviewed moves left out: what was to go is gone\ns3: 1 of 1 reviewed moves left out: what was to go is gone",
    );
    // Meanwhile another filled the one where it was to go: now the first is below the average.
    check_levelled(
        |cluster, _| {
            let full = instance(cluster, "i-3");
            full.remaining = Capacity { cpu_units: 1, memory_mib: 1, gpus: 0 };
        },
        "s0: 1 of 1 reviewed moves left out: moving what was to go would no longer help\n\
         s3: 1 of 1 reviewed moves left out: moving what was to go would no longer help",
    );
    check_levelled(
        |cluster, _| cluster.services.get_mut(&ServiceName::from("s0")).unwrap().desired_count = 2,
        "s3: 00004 to i-3\ns0: 1 of 1 reviewed moves left out: its desired count was 1 then and is 2 now",
    );
}

#[test]
fn while_a_service_is_in_hand_just_those_of_its_tasks_may_go_whose_moves_hold() {
    let mut cluster = testing::cluster(BEFORE);
    let (reviewed, web) = (reviewed(&cluster, &generous()), ServiceName::from("web"));
    let may_go = |cluster: &Cluster| {
        let tasks = Tasks::all_ready(cluster, &web);
        let barred = reviewed.barred(cluster, &web, &tasks);
        tasks.all.keys().filter(|task| !barred.contains(*task)).map(TaskArn::short).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(may_go(&cluster), "00001 00002");
    instance(&mut cluster, "i-3").status = ContainerInstanceStatus::Draining;
    assert_eq!(may_go(&cluster), "00001");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn on_any_cluster_a_plan_applied_at_once_is_that_plan(drawing in planner::tests::drawing()) {
        let cluster = testing::cluster(&drawing);
        let policy = generous();
        let before = planned(&cluster, &policy);
        let reviewed = reviewed(&cluster, &policy);
        let after = planned(&cluster, &Policy { reviewed: Some(reviewed.clone()), ..policy });
        let single = |plan: &Plan| {
            let services = plan.services.iter().filter(|it| !matches!(it.strategy, Strategy::Redeploy | Strategy::Revision));
            services.map(|it| (it.name.clone(), it.moves.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(single(&after), single(&before));
        for (_, a_move) in after.moves() {
            prop_assert!(before.moves().any(|(_, it)| it.task == a_move.task));
        }
    }
}

/// A reviewed plan once left `s1` out here: the task that is foreseen for `s0` on `i-3` was not let move on, and took its place.
#[test]
fn a_task_that_is_foreseen_moves_on_in_a_reviewed_plan_too() {
    let drawing = "b i-0 s1 cpu=512\nb i-1 s0 s0 s0 s1 cpu=1024\nc i-2 s0 cpu=256\nc i-3 s0 cpu=512\n\
                   service s0 strategy=spread:attribute:ecs.availability-zone,spread:instanceId\n\
                   service s1 strategy=spread:attribute:ecs.availability-zone tag.ecs-rebalancer:strategy=stop min=50";
    let (cluster, policy) = (testing::cluster(drawing), generous());
    let before = planned(&cluster, &policy);
    let reviewed = reviewed(&cluster, &policy);
    let after = planned(&cluster, &Policy { reviewed: Some(reviewed), ..policy });
    assert_eq!(after.moves().collect::<Vec<_>>(), before.moves().collect::<Vec<_>>());
}
