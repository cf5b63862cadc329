//! The cluster query language: what holds, and what can't be read.

use super::Query;
use crate::{drawing::Drawing, snapshot::Snapshot};

/// An instance with two tasks of `web`, a standalone one of `job`, and some attributes.
fn holds(text: &str) -> bool {
    let drawing = "a i-1 web web -job attr.rack=r2 attr.empty=";
    let snapshot = Snapshot::from_drawing("c", &Drawing::parse(drawing).unwrap()).unwrap();
    let instance = snapshot.state.instances.values().next().unwrap();
    Query::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}")).holds(instance, &snapshot.state)
}

#[test]
fn expressions_hold_as_the_guide_says() {
    for (text, expected) in [
        ("attribute:rack == r2", true),
        ("attribute:rack equals r2", true),
        ("attribute:rack=='r2'", true),
        ("attribute:rack == \"r3\"", false),
        ("attribute:rack != r3", true),
        ("attribute:none != r3", true),
        ("attribute:rack in [r1, r2]", true),
        ("attribute:rack in ['r1','r3']", false),
        ("attribute:rack not_in [r1, r3]", true),
        ("attribute:rack !in [r1, r2]", false),
        ("attribute:rack exists", true),
        ("attribute:none exists", false),
        ("attribute:none !exists", true),
        ("attribute:none not_exists", true),
        ("attribute:rack =~ r.*", true),
        ("attribute:rack matches 'r'", false),
        ("attribute:rack !~ x.*", true),
        ("attribute:ecs.availability-zone == us-east-1a", true),
        ("ec2InstanceId == i-1", true),
        ("agentConnected == true", true),
        ("runningTasksCount == 3", true),
        ("runningTasksCount > 10", false),
        ("runningTasksCount < 10", true),
        ("runningTasksCount >= 3", true),
        ("agentVersion >= 1.9.0", true),
        ("agentVersion < 1.100.0", true),
        ("task:group == service:web", true),
        ("task:group != service:web", false),
        ("task:group == family:job", true),
        ("task:group == service:api", false),
        ("registeredAt > 2020-01-01", true),
        ("registeredAt < 2020-01-01T00:00:00Z", false),
        ("registeredAt > 2018-06-18T22:28:28+00:00", true),
        ("not(attribute:rack == r3)", true),
        ("!(attribute:rack == r2)", false),
        ("not not(attribute:rack == r2)", true),
        ("attribute:rack == r2 and agentConnected == true", true),
        ("attribute:rack == r3 || attribute:rack == r2", true),
        ("(attribute:rack == r3 or attribute:rack == r2) && agentConnected == false", false),
        // `and` binds more closely.
        ("attribute:rack == r2 or attribute:rack == r2 and agentConnected == false", true),
        ("agentConnected == false and attribute:rack == r2 or attribute:rack == r2", true),
        ("((attribute:rack == r2))", true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let long = format!("attribute:{} exists", "a".repeat(2000));
    for text in [
        "",
        "attribute:rack",
        "attribute: == x",
        "rack == r2",
        "attribute:rack == ",
        "attribute:rack = r2",
        "attribute:rack ~ r2",
        "attribute:rack in r2",
        "attribute:rack in []",
        "attribute:rack in [r1",
        "attribute:rack =~ (",
        "attribute:rack == 'r2",
        "attribute:rack == r2 and",
        "and attribute:rack == r2",
        "attribute:rack == r2 attribute:rack == r2",
        "(attribute:rack == r2",
        "attribute:rack == r2)",
        "(attribute:rack == r2))",
        "attribute:rack == r2 and agentConnected == true)",
        "()",
        "not",
        &long,
    ] {
        assert!(Query::parse(text).is_err(), "{text}");
    }
}
