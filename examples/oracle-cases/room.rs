//! Small and medium clusters that are rather full, in which a service lacks tasks, and how the job makes room for them.

use std::fmt::Write;

use ecs_rebalancer::planning::{
    making_room::{Making, plan},
    policy::Policy,
};
use serde_json::json;

use crate::{
    chance::Chance,
    machines::{Service, instances, place, service},
    testing,
};

const CASES: usize = 1_000;
/// The service that lacks tasks.
const SHORT: &str = "web";

/// Prints them all: each drawing with how many tasks are lacking, the moves turn by turn as (service, from, to), and where the
/// lacking tasks are expected.
pub(crate) fn print() {
    let policy = Policy { steer: true, max_moves: u32::MAX, max_services: u32::MAX, ..Policy::default() };
    let mut cases = 0;
    for seed in 0.. {
        if cases == CASES {
            break;
        }
        let mut chance = Chance(seed);
        let lacking = 1 + chance.index(3);
        let drawing = drawing(&mut chance, lacking);
        let cluster = testing::cluster(&drawing);
        // Where all of them fit as it is, ECS places them.
        if plan(&cluster, &Policy { max_moves: 0, ..policy.clone() }, testing::NOW).places.len() == lacking {
            continue;
        }
        cases += 1;
        let Making { movers, places, .. } = plan(&cluster, &policy, testing::NOW);
        let turns = [false, true].map(|waits| {
            let of_turn = movers.iter().filter(|movers| movers.waits == waits);
            let moves = of_turn.flat_map(|movers| movers.moves.iter().map(|it| (&movers.service, it)));
            moves.map(|(name, it)| (name.to_string(), it.from.short(), it.to.short())).collect::<Vec<_>>()
        });
        let places: Vec<&str> = places.iter().map(|(_, instance)| instance.short()).collect();
        println!(
            "{}",
            json!({ "seed": seed, "short": SHORT, "lacking": lacking, "drawing": drawing, "turns": turns, "places": places })
        );
    }
}

/// Tasks of up to 15 services are placed until few more fit; some of the short one's came first.
fn drawing(chance: &mut Chance, lacking: usize) -> String {
    let mut instances = instances(chance);
    let (cpu, memory) = ([512, 1024, 1024, 2048][chance.index(4)], [1024, 2048, 3072][chance.index(3)]);
    let short = Service {
        name: SHORT.to_owned(),
        cpu,
        memory,
        spreads_over: [true, true],
        is_constrained: chance.below(4) == 0,
        one_on_each: chance.below(3) == 0,
        has_port: false,
    };
    for _ in 0..chance.below(4) {
        place(chance, &mut instances, &short);
    }
    let mut text = String::new();
    let services: Vec<Service> = (0..2 + chance.below(14))
        .map(|number| {
            let (service, line) = service(chance, number);
            let _ = writeln!(text, "{line}");
            service
        })
        .collect();
    for _ in 0..instances.len() * 24 {
        let service = &services[chance.index(services.len())];
        place(chance, &mut instances, service);
    }
    // Some have ended since, here and there: what is free is in pieces.
    let ended_of_ten = 1 + chance.below(3);
    for instance in &mut instances {
        instance.tasks.retain(|task| task == SHORT || chance.below(10) >= ended_of_ten);
    }
    let present = instances.iter().flat_map(|it| &it.tasks).filter(|task| *task == SHORT).count();
    let constraints =
        [(short.is_constrained, "memberOf:attribute:fits_==_true"), (short.one_on_each, "distinctInstance")];
    let constraints: Vec<&str> = constraints.iter().filter(|(is_set, _)| *is_set).map(|(_, text)| *text).collect();
    let constraint =
        if constraints.is_empty() { String::new() } else { format!(" constraint={}", constraints.join(",")) };
    let mut drawing: String = instances.iter().enumerate().map(|(number, it)| it.line(number)).collect();
    let _ = writeln!(drawing, "service {SHORT} cpu={cpu} memory={memory} desired={}{constraint}", present + lacking);
    drawing + &text
}
