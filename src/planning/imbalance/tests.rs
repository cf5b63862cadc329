//! The measure on drawn clusters.

use std::{fmt::Write, sync::Arc};

use super::*;
use crate::planning::{
    providers::tests::share_out,
    testing::{self, NOW},
    view,
};

/// Draws a cluster, measures it, and compares what is said of each service with a misplaced task, or with a word about it.
fn check(drawing: &str, expected: &str) {
    let measure = measure(&testing::cluster(drawing), &Policy::default(), NOW);
    assert_eq!(told(&measure), expected, "{drawing}");
}

fn told(measure: &Measure) -> String {
    let mut lines = Vec::new();
    for (name, service) in &measure.services {
        let mut line = String::new();
        match &service.spread {
            Ok(spread) if spread.misplaced_tasks == 0 => {
                write!(line, "{name}: balanced, skew {}, {} domains", spread.skew, spread.domains).unwrap();
            }
            Ok(spread) => {
                let Spread { misplaced_tasks, placed_tasks, stuck, no_surge: _, skew, domains } = spread;
                write!(line, "{name}: {misplaced_tasks} of {placed_tasks} misplaced, skew {skew}, {domains} domains")
                    .unwrap();
                for (reason, tasks) in stuck {
                    write!(line, "; {tasks} stuck: {reason}").unwrap();
                }
            }
            Err(reason) => write!(line, "{name}: not measured: {reason}").unwrap(),
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn shown(share: Share) -> String {
    format!("{:.1} %", share.percent())
}

#[test]
fn one_zone() {
    check("a i-1 web web\na i-2", "web: 1 of 2 misplaced, skew 2, 2 domains");
    check("a i-1 web\na i-2", "web: balanced, skew 1, 2 domains");
    check("a i-1 web web web\na i-2 web\na i-3", "web: 1 of 4 misplaced, skew 3, 3 domains");
    check("a i-1 web web api\na i-2 api", "api: balanced, skew 0, 2 domains\nweb: 1 of 2 misplaced, skew 2, 2 domains");
}

#[test]
fn a_protected_task_that_would_have_to_go_is_stuck() {
    let check = |drawing: &str, protected: &[usize], expected: &str| {
        let mut cluster = testing::cluster(drawing);
        view::protect_numbers(&mut cluster, protected);
        assert_eq!(told(&measure(&cluster, &Policy::default(), NOW)), expected, "{drawing} {protected:?}");
    };
    let drawing = "a i-1 web web web\na i-2\na i-3";
    check(drawing, &[1], "web: 2 of 3 misplaced, skew 3, 3 domains");
    check(
        drawing,
        &[1, 2],
        "web: 2 of 3 misplaced, skew 3, 3 domains; 1 stuck: 2 of its tasks are protected from scale-in",
    );
    check(
        drawing,
        &[1, 2, 3],
        "web: 2 of 3 misplaced, skew 3, 3 domains; 2 stuck: 3 of its tasks are protected from scale-in",
    );
    // What is protected where it should be holds up nothing.
    check("a i-1 web web web\na i-2 web\na i-3", &[4], "web: 1 of 4 misplaced, skew 3, 3 domains");
    // A deployment replaces all tasks, and waits for each that is protected.
    let redeployed = "a i-1 web web web\na i-2 web\na i-3\nservice web tag.ecs-rebalancer:strategy=redeploy";
    check(
        redeployed,
        &[4],
        "web: 1 of 4 misplaced, skew 3, 3 domains; 1 stuck: 1 of its tasks is protected from scale-in",
    );
}

#[test]
fn zones_come_before_instances_and_empty_instances_count() {
    check("a i-1 web web web\na i-2 web\nb i-3", "web: 2 of 4 misplaced, skew 4, 3 domains");
    check("a i-1 web\na i-2 web\nb i-3 web web", "web: balanced, skew 0, 3 domains");
    check("a i-1 web web\na i-2\nb i-3 web web", "web: 1 of 4 misplaced, skew 2, 3 domains");
    // Who gets the odd task is decided by what it saves: zone b keeps two, else one more would have to move.
    check("a i-1 web\na i-2\nb i-3 web\nb i-4 web", "web: balanced, skew 1, 4 domains");
}

#[test]
fn the_strategy_says_what_is_spread_over() {
    check(
        "a i-1 web web\na i-2\nb i-3 web web\nservice web strategy=spread:attribute:ecs.availability-zone",
        "web: balanced, skew 0, 2 domains",
    );
    check(
        "a i-1 web web\na i-2\nb i-3 web web\nservice web strategy=spread:attribute:ecs.availability-zone,binpack:cpu",
        "web: balanced, skew 0, 2 domains",
    );
    check(
        "a i-1 web web attr.rack=1\nb i-2 attr.rack=2\nc i-3\nservice web strategy=spread:attribute:rack",
        "web: 1 of 2 misplaced, skew 2, 3 domains",
    );
    check(
        "a i-1 web web\nservice web strategy=binpack:memory,spread:instanceId",
        "web: not measured: its placement strategy begins with binpack: it asks to be packed",
    );
    check(
        "a i-1 web web\nservice web strategy=random",
        "web: not measured: its placement strategy begins with random: it doesn't ask to be spread",
    );
    check("a i-1 web web\nservice web strategy=scatter", "web: not measured: unknown placement strategy \"scatter\"");
}

#[test]
fn only_instances_that_may_take_the_tasks_are_domains() {
    check("a i-1 web web\na i-2 status=DRAINING\na i-3 agent=false", "web: balanced, skew 0, 1 domains");
    check("a i-1 web web\na i-2 memory=511", "web: balanced, skew 0, 1 domains");
    check("a i-1 web web provider=on\na i-2 provider=off\nservice web provider=on", "web: balanced, skew 0, 1 domains");
    check(
        "a i-1 web web attr.tier=front\na i-2\na i-3 attr.tier=front\nservice web constraint=memberOf:attribute:tier==front",
        "web: 1 of 2 misplaced, skew 2, 2 domains",
    );
    check(
        "a i-1 web web\na i-2\nservice web constraint=memberOf:attribute:tier_==",
        "web: not measured: its constraint \"attribute:tier ==\" can't be read: expected a value at character 18",
    );
    check(
        "a i-1 web web\na i-2\nservice web constraint=nearby",
        "web: not measured: unknown type of placement constraint \"nearby\"",
    );
    check("a i-1 web web gpus=1\na i-2\na i-3 gpus=2\nservice web gpus=1", "web: 1 of 2 misplaced, skew 2, 2 domains");
    // Tasks on a draining instance are ECS's own business.
    check("a i-1 web web status=DRAINING\na i-2\na i-3 web", "web: balanced, skew 1, 2 domains");
}

#[test]
fn one_task_on_each_instance() {
    let distinct = "service web constraint=distinctInstance";
    check(&format!("a i-1 web\na i-2 web\na i-3 web\nb i-4\n{distinct}"), "web: 1 of 3 misplaced, skew 3, 4 domains");
    check(&format!("a i-1 web\na i-2 web\na i-3 web\nb i-4 web\n{distinct}"), "web: balanced, skew 0, 4 domains");
    check("a i-1 web\na i-2 web\na i-3 web\nb i-4 web\nservice web port=80", "web: balanced, skew 0, 4 domains");
    // Port 22 is the instance's own.
    check("a i-1 web\na i-2\nservice web port=22", "web: balanced, skew 0, 0 domains");
}

/// ECS asks a constraint when it places a task, and leaves the task where it is: what its own tasks make false keeps them nowhere.
#[test]
fn an_instance_that_only_a_service_s_own_tasks_close_to_it_counts() {
    // At most one of it on each, in each way to write that.
    for denied in [
        "not(task:group_==_service:web)",
        "task:group_!=_service:web",
        "task:group_!in_[service:web]",
        "not(task:group_==_service:web_or_task:group_==_service:api)",
        "task:group_!~_service:web.*",
        "attribute:rack_==_x_or_task:group_!=_service:web",
    ] {
        let own = format!("service web constraint=memberOf:{denied}");
        check(&format!("a i-1 web\na i-2 web\na i-3 web\nb i-4\n{own}"), "web: 1 of 3 misplaced, skew 3, 4 domains");
        check(&format!("a i-1 web\na i-2 web\na i-3 web\nb i-4 web\n{own}"), "web: balanced, skew 0, 4 domains");
        check(&format!("a i-1 web web\na i-2\n{own}"), "web: 1 of 2 misplaced, skew 2, 2 domains");
        // So are those on an instance whose agent is disconnected.
        check(&format!("a i-1 web agent=false\na i-2 web\na i-3\n{own}"), "web: balanced, skew 1, 3 domains");
    }
    // At most two tasks on each; api's are two of these.
    let two = "service web constraint=memberOf:runningTasksCount_<_3";
    let line = "api: balanced, skew 1, 2 domains\n";
    check(&format!("a i-1 web web web web\nb i-2\nb i-3\n{two}"), "web: 2 of 4 misplaced, skew 4, 3 domains");
    check(
        &format!("a i-1 web web web web\nb i-2 api\n{two}"),
        &format!("{line}web: 2 of 4 misplaced, skew 4, 2 domains"),
    );
    // ECS's own count may lack a task that is only starting.
    let mut starting = testing::cluster(&format!("a i-1 web web web web\nb i-2 api\n{two}"));
    for instance in starting.container_instances.values_mut() {
        Arc::make_mut(instance).running_tasks_count = 0;
    }
    let measured = told(&measure(&starting, &Policy::default(), NOW));
    assert_eq!(measured.trim_end(), format!("{line}web: 2 of 4 misplaced, skew 4, 2 domains"));
    let full = "api: balanced, skew 1, 2 domains\nweb: 1 of 4 misplaced, skew 4, 2 domains";
    check(&format!("a i-1 web web web web\nb i-2 api\n{}", two.replace('3', "2")), full);
    check(&format!("a i-1 web web\na i-2\n{}", two.replace("<_3", "<=_0")), "web: 1 of 2 misplaced, skew 2, 2 domains");
    // What other tasks close takes none, and neither do tasks count there.
    let closed = "api: 1 of 2 misplaced, skew 2, 2 domains\nweb: balanced, skew 0, 1 domains";
    check(&format!("a i-1 web web\na i-2 api api\n{}", two.replace('3', "2")), closed);
}

/// Their task definitions read or not: then services that ask the same are measured together.
#[test]
fn two_services_that_ask_the_same_in_words_are_told_apart_where_one_of_them_is_meant() {
    for (constraint, expected) in [
        ("task:group_!=_service:web", "api: balanced, skew 0, 1 domains\nweb: 1 of 2 misplaced, skew 2, 3 domains"),
        ("task:group_!~_.*web", "api: balanced, skew 0, 1 domains\nweb: 1 of 2 misplaced, skew 2, 3 domains"),
    ] {
        let constraint = format!("constraint=memberOf:{constraint}");
        let drawing =
            format!("a i-1 web\na i-2 web api\nb i-3 api\nservice api {constraint}\nservice web {constraint}");
        check(&drawing, expected);
        let mut unread = testing::cluster(&drawing);
        unread.task_definitions.clear();
        // What is misplaced is stuck until they are read.
        let told = told(&measure(&unread, &Policy::default(), NOW));
        assert_eq!(told.split("; ").next(), Some(expected), "{constraint}");
    }
}

#[test]
fn tasks_that_are_to_be_beside_others_stay_open_to_more() {
    // Its own tasks make it so: an instance without any takes none.
    let own = "service web constraint=memberOf:task:group_==_service:web";
    check(&format!("a i-1 web web\na i-2\n{own}"), "web: balanced, skew 0, 1 domains");
    check(&format!("a i-1 web web web\na i-2 web\n{own}"), "web: 1 of 4 misplaced, skew 2, 2 domains");
    let others = "service web constraint=memberOf:task:group_==_service:db";
    check(
        &format!("a i-1 web web db\na i-2 db\na i-3\n{others}"),
        "db: balanced, skew 1, 3 domains\nweb: 1 of 2 misplaced, skew 2, 2 domains",
    );
}

#[test]
fn an_instance_that_could_hold_no_more_is_full() {
    let gpus = "service web gpus=1";
    check(&format!("a i-1 web web web web gpus=4\na i-2 gpus=1\n{gpus}"), "web: 1 of 4 misplaced, skew 4, 2 domains");
    check(&format!("a i-1 web web web gpus=4\na i-2 web gpus=1\n{gpus}"), "web: balanced, skew 0, 2 domains");
    // Two fit into its memory, and one beside the daemon.
    check("a i-1 web web web web\na i-2 memory=1024", "web: 2 of 4 misplaced, skew 4, 2 domains");
    check(
        "a i-1 web web web web\na i-2 log memory=1024\nservice log daemon=true",
        "log: not measured: a daemon runs one task on every container instance\nweb: 1 of 4 misplaced, skew 4, 2 domains",
    );
    // What another service's tasks take makes a task stuck, not balanced.
    check(
        "a i-1 web web web web\na i-2 api memory=1024",
        "api: balanced, skew 1, 2 domains\nweb: 2 of 4 misplaced, skew 4, 2 domains; 1 stuck: no capacity where a task is missing: closest is i-2, 512 MiB of memory short",
    );
    // More than could be there are there: then that many can.
    check("a i-1 web web web memory=1024\na i-2 web web", "web: balanced, skew 1, 2 domains");
    // Where instances are not told apart, a zone is full when all of its instances are.
    check(
        "a i-1 web web web web web web\nb i-2 memory=512\nb i-3 memory=512\nservice web strategy=spread:attribute:ecs.availability-zone",
        "web: 2 of 6 misplaced, skew 6, 2 domains",
    );
}

#[test]
fn network_interfaces_by_the_instance_s_type() {
    let web = "service web awsvpc=true cpu=1 memory=1";
    let ten = " web".repeat(10);
    let trunk = "attr.ecs.awsvpc-trunk-id=eni";
    check(
        &format!("a i-1{ten} type=m5.4xlarge {trunk}\na i-2 type=m5.xlarge\n{web} strategy=spread:instanceId"),
        "web: 3 of 10 misplaced, skew 10, 2 domains",
    );
    check(
        &format!(
            "a i-1 web web web web type=c5.large {trunk}1\nb i-2{} type=c5.large {trunk}2\n{web}\nservice fill awsvpc=true cpu=1 memory=1 constraint=memberOf:attribute:ecs.availability-zone_==_b",
            " fill".repeat(10)
        ),
        "fill: balanced, skew 0, 1 domains\nweb: 2 of 4 misplaced, skew 4, 2 domains; 2 stuck: no capacity where a task is missing: closest is i-2, where no network interface is left",
    );
    check(&format!("a i-1 web web type=t2.small\na i-2 type=z9.huge\n{web}"), "web: balanced, skew 0, 2 domains");
}

#[test]
fn tasks_on_an_instance_whose_agent_is_disconnected_count_where_they_are() {
    check("a i-1 web web\na i-2 web agent=false\na i-3 web web", "web: balanced, skew 0, 3 domains");
    // Without i-2's two tasks zone b would get one.
    check("a i-1 web web\nb i-2 web web agent=false\nb i-3", "web: 1 of 4 misplaced, skew 2, 3 domains");
    check("a i-1 web web web\na i-2 web agent=false\na i-3 web web", "web: balanced, skew 1, 3 domains");
    check("a i-1 web web web web web\na i-2 web agent=false\na i-3", "web: 2 of 6 misplaced, skew 5, 3 domains");
    check("a i-1 web web\na i-2 agent=false", "web: balanced, skew 0, 1 domains");
    // A constraint that asks for connected agents keeps them where they are, too: ECS stops no task for it.
    let asks = "service web constraint=memberOf:agentConnected==true";
    check(&format!("a i-1 web web\na i-2 web agent=false\na i-3 web web\n{asks}"), "web: balanced, skew 0, 3 domains");
    check(&format!("a i-1 web web\na i-2 agent=false\n{asks}"), "web: balanced, skew 0, 1 domains");
}

#[test]
fn a_service_without_a_capacity_provider_gets_no_managed_instance() {
    let managed = "b i-2 provider=mi managed=true\nb i-3 provider=mi managed=true";
    check(&format!("a i-1 web web\n{managed}"), "web: balanced, skew 0, 1 domains");
    check(&format!("a i-1 web web\na i-4 provider=od\n{managed}"), "web: 1 of 2 misplaced, skew 2, 2 domains");
}

#[test]
fn several_capacity_providers() {
    let (od, spot) = ("provider=od", "provider=spot");
    let cluster = |drawing: &str, strategy: &str| {
        let mut cluster = testing::cluster(drawing);
        share_out(&mut cluster, "web", strategy);
        cluster
    };
    let shared = "its tasks are shared out over capacity providers od, spot, and a replacement would go to";
    for (drawing, strategy, expected) in [
        (
            format!("a i-1 web web {od}\na i-2 {spot}\nb i-3 web web {spot}"),
            "od:2:1 spot:0:1",
            "web: balanced, skew 2, 3 domains".to_owned(),
        ),
        (
            format!("a i-1 web {od}\nb i-2 web {od}\na i-3 web web {spot}\nb i-4 {spot}"),
            "od:0:1 spot:0:1",
            "web: 1 of 4 misplaced, skew 2, 4 domains".to_owned(),
        ),
        (
            format!(
                "a i-1 web {od}\nb i-2 web {od}\na i-3 web web {spot}\nb i-4 {spot}\n\
                 service web constraint=memberOf:runningTasksCount_<_2"
            ),
            "od:0:1 spot:0:1",
            "web: 1 of 4 misplaced, skew 2, 4 domains".to_owned(),
        ),
        (
            format!("a i-1 web web {od}\nb i-2 {od}\na i-3 web web {spot}\nb i-4 web web {spot}"),
            "od:2:0 spot:0:1",
            format!("web: 1 of 6 misplaced, skew 2, 4 domains; 1 stuck: {shared} spot"),
        ),
        (
            format!("a i-1 web web web web {od}\nb i-2 {od}"),
            "od:4:0 spot:0:1",
            format!(
                "web: 2 of 4 misplaced, skew 4, 2 domains; 2 stuck: {shared} spot, which has no container instance that takes tasks"
            ),
        ),
    ] {
        let measure = measure(&cluster(&drawing, strategy), &Policy::default(), NOW);
        assert_eq!(told(&measure), expected, "{drawing}");
    }
}

#[test]
fn tasks_with_interfaces_of_their_own_go_to_the_zones_of_their_subnets() {
    let instances =
        "a i-1 web web attr.ecs.subnet-id=s-a\nb i-2 web web attr.ecs.subnet-id=s-b\nc i-3 attr.ecs.subnet-id=s-c";
    check(&format!("{instances}\nservice web subnets=s-a,s-b"), "web: balanced, skew 0, 2 domains");
    check(&format!("{instances}\nservice web subnets=s-a,s-b,s-c"), "web: 1 of 4 misplaced, skew 2, 3 domains");
    // Where a subnet is in which no instance is, nobody knows.
    check(&format!("{instances}\nservice web subnets=s-a,s-b,s-9"), "web: 1 of 4 misplaced, skew 2, 3 domains");
    check(&format!("{instances}\nservice web"), "web: 1 of 4 misplaced, skew 2, 3 domains");
    // A subnet stays where it is while none of its instances takes tasks.
    for (there, expected) in [
        ("i-2 web agent=false", "web: balanced, skew 0, 2 domains"),
        ("i-2 agent=false", "web: balanced, skew 0, 1 domains"),
        ("i-2 web status=DRAINING", "web: balanced, skew 0, 1 domains"),
        ("i-2 web agent=false status=DRAINING", "web: balanced, skew 0, 1 domains"),
    ] {
        let instances = format!(
            "a i-1 web web attr.ecs.subnet-id=s-a\nb {there} attr.ecs.subnet-id=s-b\nc i-3 attr.ecs.subnet-id=s-c"
        );
        check(&format!("{instances}\nservice web subnets=s-a,s-b"), expected);
    }
}

#[test]
fn the_zones_are_left_to_ecs_where_it_evens_them_out() {
    check(
        "a i-1 web web web\na i-2 web\nb i-3\nservice web azrebalancing=true",
        "web: 2 of 4 misplaced, skew 4, 3 domains; 1 stuck: between zones: left to ECS's own zone rebalancing",
    );
    check(
        "a i-1 web web\na i-2\nb i-3 web web\nservice web azrebalancing=true",
        "web: 1 of 4 misplaced, skew 2, 3 domains",
    );
    // ECS evens out no zones of a service that may have none on top, or that names the zone in a constraint.
    for not_evened in ["max=100 min=50", "constraint=memberOf:attribute:ecs.availability-zone_!=_c"] {
        check(
            &format!("a i-1 web web web\na i-2 web\nb i-3\nservice web azrebalancing=true {not_evened}"),
            "web: 2 of 4 misplaced, skew 4, 3 domains",
        );
    }
    // There is room in zone b, but its count is not ours to change; in zone a there is none.
    check(
        "a i-1 web web\na i-2 full cpu=256\nb i-3 web\nservice web azrebalancing=true",
        "full: balanced, skew 1, 3 domains\n\
         web: 1 of 3 misplaced, skew 2, 3 domains; 1 stuck: no capacity where a task is missing: closest is i-2, 256 CPU units short",
    );
}

#[test]
fn those_of_a_service_that_is_to_stop_first_and_may_lack_none_are_stuck() {
    check(
        "a i-1 web web web\nb i-2\nservice web tag.ecs-rebalancer:strategy=stop",
        "web: 1 of 3 misplaced, skew 3, 2 domains; 1 stuck: strategy stop, and its minimumHealthyPercent of 100 allows no task fewer",
    );
    check(
        "a i-1 web web web\nb i-2\nservice web min=50 tag.ecs-rebalancer:strategy=stop",
        "web: 1 of 3 misplaced, skew 3, 2 domains",
    );
}

#[test]
fn without_room_they_are_stuck_and_the_closest_instance_is_named() {
    let full =
        |setting: &str| format!("a i-1 web web web gpus=3\na i-2 big {setting}\nservice big cpu=2000 memory=4000");
    let big = "big: balanced, skew 1, 2 domains\n";
    let stuck =
        "web: 1 of 3 misplaced, skew 3, 2 domains; 1 stuck: no capacity where a task is missing: closest is i-2, ";
    check(&full("cpu=2100"), &format!("{big}{stuck}156 CPU units short"));
    check(&full("memory=4500"), &format!("{big}{stuck}12 MiB of memory short"));
    check(&full(""), &format!("{big}web: 1 of 3 misplaced, skew 3, 2 domains"));
    check(&(full("gpus=1") + " gpus=1\nservice web gpus=1"), &format!("{big}{stuck}1 GPU short"));
    check(
        "a i-1 web web web\na i-2 other other type=m5.large\nservice web awsvpc=true\nservice other awsvpc=true",
        "other: 1 of 2 misplaced, skew 2, 2 domains\n\
         web: 1 of 3 misplaced, skew 3, 2 domains; 1 stuck: no capacity where a task is missing: closest is i-2, \
         where no network interface is left",
    );
    check(
        "a i-1 web\na i-2 web\nb i-3 other\nservice web port=80\nservice other port=80",
        "other: balanced, skew 1, 3 domains\n\
         web: 1 of 2 misplaced, skew 2, 3 domains; 1 stuck: no capacity where a task is missing: closest is i-3, \
         where port 80 is taken",
    );
    // One that would have room can't be reached: that is told beside what is short elsewhere.
    let web = "service web strategy=spread:attribute:ecs.availability-zone";
    let zones = format!("a i-1 web web\nb i-2 big cpu=2048 memory=4096\nservice big cpu=2000 memory=4000\n{web}");
    let stuck = "big: balanced, skew 1, 2 domains\nweb: 1 of 2 misplaced, skew 2, 2 domains; 1 stuck: no capacity \
                 where a task is missing: closest is i-2, 416 MiB of memory short";
    for (more, told) in [
        ("b i-5 agent=false", "; i-5 would have capacity, but its agent is disconnected"),
        ("b i-5 agent=false memory=511", ""),
        ("b i-5 agent=false status=DRAINING", ""),
        ("a i-5 agent=false", ""),
    ] {
        check(&format!("{zones}\n{more}"), &format!("{stuck}{told}"));
    }
    // Room for one of the two that are missing.
    check(
        "a i-1 web web web web\na i-2 api cpu=512",
        "api: balanced, skew 1, 2 domains\n\
         web: 2 of 4 misplaced, skew 4, 2 domains; 1 stuck: no capacity where a task is missing: closest is i-2, \
         256 CPU units short",
    );
}

#[test]
fn tasks_keep_their_capacity_providers() {
    let mut cluster =
        testing::cluster("a i-1 web web provider=p\na i-2 provider=p\na i-3 web web provider=q\na i-4 provider=q");
    share_out(&mut cluster, "web", "");
    let measure = measure(&cluster, &Policy::default(), NOW);
    assert_eq!(
        told(&measure),
        "web: 2 of 4 misplaced, skew 2, 4 domains; 2 stuck: its tasks are shared out over capacity providers p, q, \
         and its strategy names none that a replacement would go to"
    );
}

#[test]
fn what_is_not_spread_has_its_reason() {
    for (setting, expected) in [
        ("daemon=true", "a daemon runs one task on every container instance"),
        ("launch=FARGATE", "on Fargate there are no container instances to be uneven on"),
        ("launch=EXTERNAL", "external instances are placed without strategies"),
        ("launch=MANAGED_INSTANCES", "ECS places and consolidates Managed Instances by itself"),
        ("launch=MAINFRAME", "unknown launch type \"MAINFRAME\""),
    ] {
        check(&format!("a i-1 web web\na i-2\nservice web {setting}"), &format!("web: not measured: {expected}"));
    }
}

#[test]
fn the_cluster_s_figures() {
    let drawing = "a i-1 web web web web log cpu=2048 memory=4096\na i-2 log cpu=2048 memory=4096\na i-3 web web agent=false\n\
                   service web cpu=256 memory=256\nservice log daemon=true cpu=256 memory=512";
    let measure = measure(&testing::cluster(drawing), &Policy::default(), NOW);
    assert_eq!((measure.container_instances, measure.empty_instances), (2, 1));
    assert_eq!((measure.running_tasks, measure.misplaced_tasks, measure.stuck_tasks), (8, 2, 0));
    // i-1 has 1280 CPU units reserved and i-2 256; even would be 768 each: 512 of 1536.
    assert_eq!(shown(measure.cpu_load_imbalance), "33.3 %");
    // i-1 has 1536 MiB reserved and i-2 512; even would be 1024 each: 512 of 2048.
    assert_eq!(shown(measure.memory_load_imbalance), "25.0 %");
    assert_eq!(measure.load_imbalance, measure.cpu_load_imbalance);
    assert_eq!([measure.cpu_reservation, measure.memory_reservation].map(shown), ["37.5 %", "25.0 %"]);
}

#[test]
fn of_more_definitions_than_are_read_those_of_the_worst_services_come_first_and_the_others_say_so() {
    // One, two and three tasks are misplaced; the fourth service is even, and a daemon runs beside them.
    let drawing = "a i-1 one one two two two two three three three three three three even log\na i-2 even log\nservice log daemon=true";
    let mut cluster = testing::cluster(drawing);
    let short = |arns: &BTreeSet<TaskDefinitionArn>| -> Vec<String> {
        arns.iter().map(|arn| arn.short().split(':').next().unwrap().to_owned()).collect()
    };
    for (most, read, left_out) in [
        (9, vec!["log", "one", "three", "two"], vec![]),
        (2, vec!["log", "three", "two"], vec!["one"]),
        (1, vec!["log", "three"], vec!["one", "two"]),
    ] {
        let needed = definitions_needed(&cluster, &Policy::default(), NOW, most);
        assert_eq!(
            (short(&needed.read), short(&needed.left_out)),
            (read.iter().map(|it| (*it).to_owned()).collect(), left_out.iter().map(|it| (*it).to_owned()).collect())
        );
    }
    let needed = definitions_needed(&cluster, &Policy::default(), NOW, 1);
    cluster.task_definitions.retain(|arn, _| needed.read.contains(arn));
    cluster.unread_definitions = needed.left_out;
    let found = measure(&cluster, &Policy::default(), NOW);
    assert_eq!((found.misplaced_tasks, found.stuck_tasks), (6, 3));
    let not_read = BTreeMap::from([(Blocked::DefinitionNotRead, 2)]);
    assert_eq!(found.services[&"two".into()].spread.as_ref().unwrap().stuck, not_read);
    // What its owner has taken out comes last, and that is the reason which is told of it.
    let service = cluster.services.get_mut(&"three".into()).unwrap();
    service.tags.insert("ecs-rebalancer:enabled".to_owned(), "false".to_owned());
    let needed = definitions_needed(&cluster, &Policy::default(), NOW, 1);
    assert_eq!(short(&needed.read), ["log", "two"]);
    cluster.unread_definitions = needed.left_out;
    cluster.task_definitions.retain(|arn, _| needed.read.contains(arn));
    let found = measure(&cluster, &Policy::default(), NOW);
    assert_eq!(
        found.services[&"three".into()].spread.as_ref().unwrap().stuck,
        BTreeMap::from([(Blocked::OptedOut, 3)])
    );
}

#[test]
fn nothing_is_an_answer_too() {
    check("", "");
    check("service web", "web: balanced, skew 0, 0 domains");
    let measure = measure(&testing::cluster(""), &Policy::default(), NOW);
    assert_eq!([measure.load_imbalance, measure.task_imbalance].map(shown), ["0.0 %", "0.0 %"]);
}

#[test]
fn the_production_fleet_measures_as_counted_apart() {
    let Some(cluster) = testing::production() else { return };
    assert_eq!(definitions_needed(&cluster, &Policy::default(), NOW, usize::MAX).read.len(), 2);
    let measure = measure(&cluster, &Policy::default(), NOW);
    assert_eq!(measure.services.len(), 87);
    assert_eq!((measure.container_instances, measure.empty_instances), (1523, 577));
    assert_eq!((measure.running_tasks, measure.misplaced_tasks), (3863, 317));
    let loads = [measure.task_imbalance, measure.memory_load_imbalance, measure.cpu_load_imbalance];
    assert_eq!(loads.map(shown), ["8.2 %", "46.1 %", "42.4 %"]);
    assert_eq!(measure.load_imbalance, measure.memory_load_imbalance);
}
