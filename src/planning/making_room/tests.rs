//! Drawn clusters in which a task fits nowhere, and random ones against trying out everything.

use std::fmt::Write;

use proptest::prelude::{Strategy as Generator, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::planning::{
    imbalance::misplaced,
    placement::Levels,
    steering::tests::NO_TARGET,
    testing::{self, NOW},
    view,
};

fn steered() -> Policy {
    Policy { steer: true, ..Policy::default() }
}

/// The moves of a drawn cluster, as `api:i-1>i-2`, those that wait for others with `then` before them; for whom; and who is
/// left alone by which reason.
#[track_caller]
fn check_with(drawing: &str, policy: &Policy, expected: &str) {
    let cluster = testing::cluster(drawing);
    let making = plan(&cluster, policy, NOW);
    verify(&cluster, policy, &making);
    let mut shown = Vec::new();
    for room in &making.rooms {
        shown.push(format!("{} {}/{}:", room.service, room.tasks, room.lacking));
    }
    for movers in &making.movers {
        let service = &movers.service;
        for Move { from, to, .. } in &movers.moves {
            shown.push(format!("{}{service}:{from}>{to}", if movers.waits { "then " } else { "" }));
        }
    }
    shown.extend(making.left_alone.iter().map(|(name, reason)| format!("{name} {}", reason.code())));
    assert_eq!(shown.join(" "), expected, "{drawing}");
}

#[track_caller]
fn check(drawing: &str, expected: &str) {
    check_with(drawing, &steered(), expected);
}

#[test]
fn where_nothing_makes_room_one_that_cannot_be_reached_is_named() {
    let full = "a i-1 api cpu=1024\nservice web desired=1 cpu=1024\nservice api desired=1 cpu=256";
    let told = |more: &str| {
        let making = plan(&testing::cluster(&format!("{full}\n{more}")), &steered(), NOW);
        making.left_alone[&ServiceName::from("web")].to_string()
    };
    let nowhere = "1 of its tasks fits nowhere, and no allowed moves of other services' tasks make capacity";
    let away = "; i-5 would have capacity, but its agent is disconnected";
    assert_eq!(told("a i-5 agent=false cpu=1024"), format!("{nowhere}{away}"));
    assert_eq!(told("a i-5 agent=false cpu=1023"), nowhere);
    assert_eq!(told("a i-5 agent=false x cpu=1024\nservice x cpu=1"), nowhere, "it is taken");
}

/// What holds for every plan: played through in order, each move has room and makes no spread worse, and afterwards the tasks for
/// which room was promised have it.
fn verify(cluster: &Cluster, policy: &Policy, making: &Making) {
    assert_eq!(&plan(cluster, policy, NOW), making, "the same cluster, the same plan");
    let mut after = cluster.clone();
    let mut number = 0;
    let in_turn = |waits: bool| making.movers.iter().filter(move |movers| movers.waits == waits);
    for movers in in_turn(false).chain(in_turn(true)) {
        for a_move in &movers.moves {
            let definition = &cluster.task_definitions[&cluster.services[&movers.service].task_definition];
            let before = misplaced(&after, &movers.service);
            let to = &after.container_instances[&a_move.to];
            assert!(to.remaining.holds(&definition.reserves), "{a_move:?} has no room");
            assert!(definition.tcp_host_ports.is_disjoint(&to.taken_tcp_ports), "{a_move:?} has no port");
            if !movers.waits {
                assert!(cluster.container_instances[&a_move.to].remaining.holds(&definition.reserves), "{a_move:?}");
            }
            assert_eq!(after.tasks[&a_move.task].container_instance.as_ref(), Some(&a_move.from));
            view::relocate(&mut after, &a_move.task, &a_move.to, number);
            number += 1;
            assert!(misplaced(&after, &movers.service) <= before, "{a_move:?} makes the spread worse");
        }
    }
    assert!(number <= policy.max_moves as usize && making.movers.len() <= policy.max_services as usize);
    for (number, (service, place)) in making.places.iter().enumerate() {
        assert!(has_room(&after, service, place), "{service} has no room on {place}");
        let task = view::foreseen(&after, service, place, number).unwrap();
        view::insert(&mut after, task);
    }
}

fn has_room(cluster: &Cluster, service: &ServiceName, place: &ContainerInstanceArn) -> bool {
    let index = Index::new(cluster);
    let placing = Placing::of(&index, &cluster.services[service]).unwrap();
    let policy = steered();
    let problem = Problem::new(&index, &policy, NOW, &BTreeSet::new());
    let number = problem.instances.iter().position(|instance| instance.arn == *place).unwrap();
    problem.eligible(&placing).contains(&number) && problem.has_room(&Trial::default(), &placing, number)
}

const SMALL: &str = "service api cpu=256\nservice db cpu=256";

#[test]
fn one_task_goes_so_that_another_fits() {
    let drawing = format!("a i-1 api cpu=1024\na i-2 db cpu=1024\nservice web desired=1 cpu=1024\n{SMALL}");
    check(&drawing, "web 1/1: api:i-1>i-2");
    // It would fit as it is: ECS's to place.
    check(&drawing.replace("web desired=1 cpu=1024", "web desired=1 cpu=512"), "");
    check(&drawing.replace("web desired=1 cpu=1024", "web desired=1 cpu=2048"), "web no-room-to-make");
    let opted_out = drawing.replace("service api", "service api tag.ecs-rebalancer:enabled=false");
    check(&opted_out, "web 1/1: db:i-2>i-1");
    check(&opted_out.replace("service db", "service db tag.ecs-rebalancer:strategy=stop"), "web no-room-to-make");
    check(&drawing.replace("desired=1", "desired=1 tag.ecs-rebalancer:enabled=false"), "");
    check_with(&drawing, &Policy { max_moves: 0, ..steered() }, "web no-room-to-make");
    // Where a service may not be any more, none of its tasks would go for one that starts.
    let closed = drawing.replace("cpu=256", "cpu=256 constraint=memberOf:attribute:rack_==_r");
    check(&closed.replace("a i-2", "a i-2 attr.rack=r"), "web no-room-to-make");
    check_with(&drawing, &Policy { max_services: 0, ..steered() }, "web no-room-to-make");
}

#[test]
fn nothing_goes_to_what_is_impaired_or_can_t_be_steered_to() {
    let sizes = "service web desired=1 cpu=1024\nservice api cpu=256\nservice db cpu=256";
    for no_target in NO_TARGET {
        check(&format!("a i-1 api cpu=1024\na i-2 cpu=512 {no_target}\n{sizes}"), "web no-room-to-make");
        // Where another one must go first.
        let chained = format!("a i-1 api cpu=1024\na i-2 db cpu=256 {no_target}\na i-3 cpu=255\n{sizes}");
        check(&chained, "web no-room-to-make");
    }
    // Nor is room made on an impaired one.
    check(&format!("a i-1 api cpu=1024 impaired=true\na i-2 cpu=512\n{sizes}"), "web no-room-to-make");
}

#[test]
fn the_instance_that_takes_the_fewest_moves_is_cleared() {
    let drawing = "a i-1 api api cpu=1024\na i-2 db cpu=1024\na i-3 cpu=256\nservice web desired=1 cpu=1024\n\
                   service api cpu=256\nservice db cpu=256";
    check(drawing, "web 1/1: db:i-2>i-1");
    // Two small ones, where no single one frees enough.
    let two = "a i-1 api db cpu=1024\na i-2 x cpu=1024\na i-3 cpu=512\nservice web desired=1 cpu=1024\n\
               service x cpu=768\nservice api cpu=256\nservice db cpu=256";
    check(two, "web 1/1: api:i-1>i-2 db:i-1>i-3");
}

#[test]
fn among_equals_it_is_the_domain_where_the_task_is_missing() {
    let drawing = "a i-1 web api cpu=1024\na i-2 web api cpu=1024\nb i-3 db cpu=1024\na i-4 cpu=256\nb i-5 cpu=256\n\
                   service web desired=3 cpu=768\nservice api cpu=256\nservice db cpu=512";
    // In zone b db has nowhere to go; in a no instance would hold two.
    check(drawing, "web no-room-to-make");
    check(&drawing.replace("service db cpu=512", "service db cpu=256"), "");
    let drawing = "a i-1 web web api cpu=2048\nb i-2 db cpu=1024\na i-3 cpu=256\nb i-4 cpu=256\n\
                   service web desired=3 cpu=896\nservice api cpu=256\nservice db cpu=256";
    check(drawing, "web 1/1: db:i-2>i-3");
}

#[test]
fn movers_stay_in_their_domain_and_spread() {
    // From zone a to zone b api would be spread worse; packed it may.
    let drawing = "a i-1 api cpu=1024\nb i-2 api cpu=512\nservice web desired=1 cpu=1024\nservice api cpu=256";
    check(drawing, "web no-room-to-make");
    check(&format!("{drawing} strategy=binpack:memory"), "web 1/1: api:i-1>i-2");
    // Its only task is as even in the one zone as in the other.
    let only =
        "a i-1 api cpu=1024\nb i-2 db cpu=512\nservice web desired=1 cpu=1024\nservice api cpu=256\nservice db cpu=256";
    check(only, "web 1/1: api:i-1>i-2");
    let distinct = "a i-1 web cpu=1024\na i-2 api cpu=1024\na i-3 cpu=256\nservice web desired=2 cpu=768 constraint=distinctInstance\n\
                    service api cpu=512";
    check(distinct, "web no-room-to-make");
    check(&distinct.replace("api cpu=512", "api cpu=256"), "");
}

#[test]
fn ports_and_interfaces_are_room_too() {
    let ports = "a i-1 api cpu=1024\na i-2 db cpu=256\na i-3 cpu=256\nservice web desired=1 port=80 cpu=512\n\
                 service api port=80 cpu=256\nservice db cpu=256";
    check(ports, "web 1/1: api:i-1>i-3");
    let interfaces = "a i-1 type=m5.large api api cpu=2048\na i-2 type=m5.large db cpu=256\na i-3 cpu=256\n\
                      service web desired=1 awsvpc=true cpu=512\nservice api awsvpc=true cpu=256\nservice db cpu=256";
    check(interfaces, "web 1/1: api:i-1>i-3");
}

#[test]
fn where_one_step_is_not_enough_another_makes_room_before_it() {
    // api is too large for i-3's gap; db leaves it for i-4's.
    let drawing = "a i-1 api cpu=1024\na i-2 big cpu=1024\na i-3 db cpu=512\na i-4 cpu=256\n\
                   service web desired=1 cpu=1024\nservice api cpu=512\nservice db cpu=256\nservice big cpu=1024";
    check(drawing, "web 1/1: db:i-3>i-4 then api:i-1>i-3");
    check_with(drawing, &Policy { max_moves: 1, ..steered() }, "web no-room-to-make");
    check_with(drawing, &Policy { max_services: 1, ..steered() }, "web no-room-to-make");
}

#[test]
fn without_steering_tasks_go_for_which_ecs_s_own_choice_is_likely_to_be_good() {
    let by_choice = |drawing: &str, expected: &str| check_with(drawing, &Policy::default(), expected);
    let one = format!("a i-1 api cpu=1024\na i-2 db cpu=1024\nservice web desired=1 cpu=1024\n{SMALL}");
    by_choice(&one, "web 1/1: api:i-1>i-2");
    by_choice(&one.replace("web desired=1 cpu=1024", "web desired=1 cpu=2048"), "web no-room-to-make");
    // ECS places api's next task in either zone, and only in zone a may one leave i-1 then: a good place of two, then one of three.
    let zones = "a i-1 api cpu=1024\na i-2 cpu=256\nb i-3 api cpu=512\nb i-4 cpu=256\n\
                 service web desired=1 cpu=1024\nservice api cpu=256";
    by_choice(zones, "web 1/1: api:i-1>i-2");
    by_choice(&zones.replace("b i-4", "b i-5 cpu=256\nb i-4"), "web needs-steering");
    check(&zones.replace("b i-4", "b i-5 cpu=256\nb i-4"), "web 1/1: api:i-1>i-2");
    // ECS packs api where the most is taken, and that is i-1 itself, which has capacity for one more; then it is i-2.
    let packed = "a i-1 api cpu=1024 memory=1024\na i-2 cpu=1024 memory=2048\nservice web desired=1 cpu=1024 memory=1024\n\
                  service api cpu=256 memory=256 strategy=binpack:memory\n\
                  service x cpu=100 memory=512 tag.ecs-rebalancer:enabled=false";
    by_choice(&packed.replace("a i-2", "a i-2 x"), "web needs-steering");
    by_choice(&packed.replace("a i-2", "a i-2 x x x"), "web 1/1: api:i-1>i-2");
    // One makes way for another: nobody can say that ECS waits for that.
    by_choice(
        "a i-1 api cpu=1024\na i-2 big cpu=1024\na i-3 db cpu=512\na i-4 cpu=256\n\
         service web desired=1 cpu=1024\nservice api cpu=512\nservice db cpu=256\nservice big cpu=1024",
        "web needs-steering",
    );
}

#[test]
fn without_steering_no_more_is_planned_than_may_be_started_in_vain() {
    // For each of the movers one place of two is a good one, so each is expected to start one task in vain: four may be.
    let with = |movers: usize| {
        let mut drawing = format!("a i-1 cpu={}", movers * 100);
        for mover in 0..movers {
            write!(drawing, " s{mover}").unwrap();
        }
        for mover in 0..movers {
            write!(drawing, "\na i-2{mover} cpu=100 attr.of=s{mover}").unwrap();
            write!(drawing, "\nb i-3{mover} cpu=100 attr.of=s{mover}").unwrap();
            write!(drawing, "\nb i-4{mover} s{mover} cpu=100 attr.of=s{mover}").unwrap();
        }
        drawing = drawing.replacen("a i-1", "a i-1 attr.of=web", 1);
        write!(drawing, "\nservice web desired=1 cpu={} constraint=memberOf:attribute:of_==_web", movers * 100)
            .unwrap();
        for mover in 0..movers {
            write!(
                drawing,
                "\nservice s{mover} cpu=100 constraint=memberOf:attribute:of_==_web_or_attribute:of_==_s{mover}"
            )
            .unwrap();
        }
        let making = plan(&testing::cluster(&drawing), &Policy::default(), NOW);
        let in_vain: Vec<u32> = making.movers.iter().map(|mover| mover.in_vain_hundredths).collect();
        let code = making.left_alone.values().map(LeftAlone::code).next();
        (in_vain, code)
    };
    assert_eq!(with(4), (vec![100; 4], None));
    assert_eq!(with(5), (vec![], Some("needs-steering")));
}

#[test]
fn without_steering_what_has_left_gives_its_place_back_to_ecs() {
    // ECS packs the first next task of api on i-2 or i-3. Once one has left i-1, that is the fullest that has capacity.
    let drawing = "a i-1 api api cpu=1024 memory=1024\na i-2 cpu=4096 memory=600\na i-3 cpu=4096 memory=600\n\
                   service web desired=1 cpu=100 memory=1024\nservice api desired=2 cpu=256 memory=512 strategy=binpack:cpu";
    check_with(drawing, &Policy::default(), "web needs-steering");
    check(drawing, "web 1/1: api:i-1>i-2 api:i-1>i-3");
}

#[test]
fn without_steering_one_task_too_many_takes_no_other_s_room() {
    // In each cell one task of web lacks capacity, and the mover's next one lands well with a chance of one in two.
    let mut drawing = String::new();
    for cell in 0..5 {
        let attribute = format!("attr.of=s{cell}");
        drawing += &format!("a i-1{cell} s{cell} cpu=100 {attribute} attr.web=yes\na i-2{cell} cpu=100 {attribute}\n");
        drawing += &format!("b i-3{cell} cpu=100 {attribute}\nb i-4{cell} s{cell} cpu=100 {attribute}\n");
        drawing += &format!("service s{cell} cpu=100 constraint=memberOf:attribute:of_==_s{cell}\n");
    }
    drawing += "service web desired=5 cpu=100 constraint=memberOf:attribute:web_==_yes";
    let making = plan(&testing::cluster(&drawing), &Policy::default(), NOW);
    let rooms: Vec<(u32, u32)> = making.rooms.iter().map(|room| (room.tasks, room.lacking)).collect();
    assert_eq!((rooms, making.movers.len()), (vec![(4, 5)], 4), "four starts in vain may be expected");
}

#[test]
fn several_tasks_get_room_as_far_as_the_limits_go() {
    let drawing = "a i-1 api cpu=1024\na i-2 api cpu=1024\na i-3 api cpu=1024\na i-4 cpu=768\n\
                   service web desired=3 cpu=1024\nservice api cpu=256 strategy=spread:attribute:ecs.availability-zone";
    check(drawing, "web 3/3: api:i-1>i-4 api:i-2>i-4 api:i-3>i-4");
    check_with(drawing, &Policy { max_moves: 2, ..steered() }, "web 2/3: api:i-1>i-4 api:i-2>i-4");
    check(&format!("{drawing} tag.ecs-rebalancer:max-moves=1"), "web 1/3: api:i-1>i-4");
    // What is left of the room that is made serves the second one.
    let both = "a i-1 big cpu=1024\na i-2 cpu=512\na i-3 cpu=256\nservice web desired=3 cpu=512\nservice big cpu=256";
    check(both, "web 1/1: big:i-1>i-3");
}

#[test]
fn a_reviewed_plan_has_to_name_the_moves() {
    use crate::planning::reviewed::{Reviewed, ReviewedService};
    let drawing = format!("a i-1 api cpu=1024\na i-2 db cpu=1024\nservice web desired=1 cpu=1024\n{SMALL}");
    let cluster = testing::cluster(&drawing);
    let planned = plan(&cluster, &steered(), NOW).movers.remove(0);
    let service = ReviewedService { running_tasks: 1, moves: planned.moves };
    let services = BTreeMap::from([(planned.service, service)]);
    let reviewed =
        |services| Policy { reviewed: Some(Reviewed { cluster: "drawn".to_owned(), services }), ..steered() };
    check_with(&drawing, &reviewed(services), "web 1/1: api:i-1>i-2");
    check_with(&drawing, &reviewed(BTreeMap::new()), "web not-in-plan");
}

/// A few instances with little room, and a service that lacks one task.
fn drawing() -> impl Generator<Value = String> {
    let instance = (0..2_usize, prop::collection::vec(0..5_usize, 0..5), 0..4_u32);
    let service = (1..4_u32, 0..4_usize, 0..8_usize);
    (prop::collection::vec(instance, 2..6), prop::collection::vec(service, 4), 2..8_u32, prop::bool::ANY).prop_map(
        |(instances, services, size, distinct)| {
            let mut drawing = String::new();
            let mut running = 0;
            for (number, (zone, tasks, room)) in instances.iter().enumerate() {
                write!(drawing, "{} i-{number}", ["a", "b"][*zone]).unwrap();
                let mut cpu = 0;
                for task in tasks {
                    let is_web = *task == 4;
                    running += u32::from(is_web);
                    cpu += if is_web { size } else { services[*task].0 };
                    drawing.push_str(if is_web { " web" } else { "" });
                    if !is_web {
                        write!(drawing, " s{task}").unwrap();
                    }
                }
                writeln!(drawing, " cpu={} memory=99999", 100 * (cpu + room)).unwrap();
            }
            for (number, (cpu, strategy, more)) in services.iter().enumerate() {
                let strategy = [
                    "spread:attribute:ecs.availability-zone,spread:instanceId",
                    "spread:instanceId",
                    "spread:attribute:ecs.availability-zone",
                    "binpack:memory",
                ][*strategy];
                let more = [
                    "tag.ecs-rebalancer:enabled=false",
                    "tag.ecs-rebalancer:strategy=stop",
                    "tag.ecs-rebalancer:max-moves=1",
                ]
                .get(*more)
                .unwrap_or(&"");
                writeln!(drawing, "service s{number} cpu={} strategy={strategy} {more}", cpu * 100).unwrap();
            }
            let distinct = if distinct { "constraint=distinctInstance" } else { "" };
            writeln!(drawing, "service web cpu={} desired={} {distinct}", size * 100, running + 1).unwrap();
            drawing
        },
    )
}

/// The fewest moves, at most so many, found by trying out everything: all of them from the instance that the task comes to.
fn fewest_of_all(cluster: &Cluster, most: usize) -> Option<usize> {
    let web = ServiceName::from("web");
    (0..=most).find(|number| cluster.container_instances.keys().any(|place| clears(cluster, &web, place, *number)))
}

fn clears(cluster: &Cluster, web: &ServiceName, place: &ContainerInstanceArn, moves: usize) -> bool {
    if moves == 0 {
        return has_room(cluster, web, place);
    }
    let there: Vec<_> = cluster.tasks.values().filter(|task| task.container_instance.as_ref() == Some(place)).collect();
    there.into_iter().any(|task| {
        let Some(service) =
            task.service.as_ref().filter(|name| *name != web && !task.arn.as_str().contains("foreseen"))
        else {
            return false;
        };
        let settings = &cluster.services[service].tags;
        let new = cluster.tasks.keys().filter(|arn| arn.as_str().contains("foreseen"));
        let new = new.filter(|arn| cluster.tasks[*arn].service.as_ref() == Some(service)).count();
        let may_move = !settings.contains_key("ecs-rebalancer:enabled")
            && !settings.contains_key("ecs-rebalancer:strategy")
            && (new == 0 || !settings.contains_key("ecs-rebalancer:max-moves"));
        may_move
            && cluster.container_instances.keys().filter(|to| *to != place).any(|to| {
                if !may_go(cluster, service, place, to) {
                    return false;
                }
                let mut after = cluster.clone();
                view::relocate(&mut after, &task.arn, to, cluster.tasks.len() * 10 + moves);
                clears(&after, web, place, moves - 1)
            })
    })
}

fn may_go(cluster: &Cluster, service: &ServiceName, from: &ContainerInstanceArn, to: &ContainerInstanceArn) -> bool {
    let known = &cluster.services[service];
    let count = |place: &ContainerInstanceArn| {
        let of_it = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(service));
        of_it.filter(|task| task.container_instance.as_ref() == Some(place)).count()
    };
    let (levels, [one, other]) =
        (Levels::of(known).unwrap_or(Levels::none()), [from, to].map(|arn| &cluster.container_instances[arn]));
    let tasks = cluster.tasks.values().filter(|task| task.service.as_ref() == Some(service)).count();
    (tasks == 1 || levels.path(one) == levels.path(other))
        && (!levels.instance || count(to) < count(from))
        && other.remaining.holds(&cluster.task_definitions[&known.task_definition].reserves)
}

proptest! {
    #[test]
    fn no_fewer_moves_would_do(drawing in drawing()) {
        let cluster = testing::cluster(&drawing);
        let unsteered = plan(&cluster, &Policy::default(), NOW);
        verify(&cluster, &Policy::default(), &unsteered);
        let making = plan(&cluster, &steered(), NOW);
        verify(&cluster, &steered(), &making);
        let planned = making.rooms.first().map(|room| room.moves as usize);
        let is_chained = making.movers.iter().any(|movers| movers.waits);
        match fewest_of_all(&cluster, 3) {
            Some(0) => prop_assert_eq!(planned, None),
            Some(fewest) => prop_assert_eq!(planned, Some(fewest), "{}", drawing),
            None => prop_assert!(planned.is_none_or(|planned| planned > 3 || is_chained), "{}", drawing),
        }
    }
}
