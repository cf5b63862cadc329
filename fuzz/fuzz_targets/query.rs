//! Any text as an expression of the cluster query language: it is parsed or refused, and what is parsed is evaluated.
#![no_main]

#[expect(
    dead_code,
    unreachable_pub,
    reason = "planning is pure, so it compiles by itself; only its query language is driven here"
)]
#[path = "../../src/planning/mod.rs"]
mod planning;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libfuzzer_sys::fuzz_target;

use crate::planning::{
    model::{Capacity, ContainerInstance, ContainerInstanceStatus, Timestamp},
    query::Query,
};

fuzz_target!(|text: &str| {
    let Ok(query) = Query::parse(text) else { return };
    let groups = || BTreeSet::from(["service:web".to_owned()]);
    let once = query.matches(&instance(), &groups);
    assert_eq!(once, query.matches(&instance(), &groups), "the same instance, the same answer");
});

fn instance() -> ContainerInstance {
    let attribute = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    ContainerInstance {
        arn: "arn:aws:ecs:us-east-1:123456789012:container-instance/prod/0a1b".into(),
        ec2_instance_id: "i-0a1b".to_owned(),
        status: ContainerInstanceStatus::Active,
        agent_connected: true,
        is_impaired: false,
        agent_version: "1.74.1".to_owned(),
        registered_at: Some(Timestamp(1_700_000_000_000)),
        running_tasks_count: 2,
        pending_tasks_count: 0,
        registered: Capacity::default(),
        remaining: Capacity::default(),
        taken_tcp_ports: BTreeSet::new(),
        taken_udp_ports: BTreeSet::new(),
        reserved_tcp_ports: BTreeSet::new(),
        reserved_udp_ports: BTreeSet::new(),
        attributes: Arc::new(BTreeMap::from([
            attribute("ecs.availability-zone", "us-east-1a"),
            attribute("ecs.instance-type", "m5.large"),
            ("gpu".to_owned(), None),
        ])),
        capacity_provider: None,
        is_managed: false,
    }
}
