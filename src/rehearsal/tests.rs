//! Transport: what is sent arrives, whoever waits for it.

use std::time::Duration;

use ecs_simulator::{
    Options, behaviour::Behaviour, drawing::Drawing, faults::Faults, snapshot::Snapshot, timeline::By,
};
use tokio::time::{Instant, sleep, timeout};

use super::{Rehearsal, in_simulated_time};
use crate::{
    aws::{Target, act::ServiceChange},
    shutdown::Shutdown,
};

fn rehearsal(faults: &[&str]) -> Rehearsal {
    let drawing = Drawing::parse("a i-1 web web\nb i-2").unwrap();
    let snapshot = Snapshot::from_drawing("test", &drawing).unwrap();
    let faults = Faults::from_settings(faults).unwrap();
    Rehearsal::new(&snapshot, Options { seed: 0, behaviour: Behaviour::default(), faults }).unwrap()
}

fn desired_count(rehearsal: &Rehearsal) -> u32 {
    rehearsal.simulator().service("web").unwrap().desired_count
}

#[test]
fn a_held_request_takes_effect_though_its_caller_is_gone() {
    in_simulated_time(async {
        let rehearsal = rehearsal(&["held-request=UpdateService:#1:25"]);
        let edge = rehearsal.edge("run-7", Shutdown::never()).await;
        let target = Target { clients: &edge.clients, cluster: "test" };
        let raise = ServiceChange { desired_count: Some(3), ..ServiceChange::default() };
        let name = "web".into();
        let call = target.update_service(&name, &raise);
        assert!(timeout(Duration::from_secs(1), call).await.is_err(), "it was answered before it took effect");
        sleep(Duration::from_secs(23)).await;
        assert_eq!(desired_count(&rehearsal), 2);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(desired_count(&rehearsal), 3);
        let changes = rehearsal.simulator().timeline().services()["web"].count_changes.clone();
        assert_eq!(changes[0].by, By::Caller("run-7".to_owned()));
    })
    .unwrap();
}

#[test]
fn a_held_answer_comes_late_and_every_request_takes_the_latency_of_its_caller() {
    in_simulated_time(async {
        let rehearsal = rehearsal(&["held-answer=DescribeServices:#1:5"]);
        for (latency, milliseconds) in [(30, 5_030), (1_500, 1_500)] {
            let edge = rehearsal.at_latency(Duration::from_millis(latency)).edge("run-1", Shutdown::never()).await;
            let target = Target { clients: &edge.clients, cluster: "test" };
            let before = Instant::now();
            assert_eq!(target.services(&["web".into()]).await.unwrap().len(), 1);
            let took = before.elapsed().as_millis();
            assert!((milliseconds..milliseconds + 10).contains(&took), "{latency}: {took}");
        }
    })
    .unwrap();
}
