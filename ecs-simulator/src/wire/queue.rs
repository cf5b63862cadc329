//! Amazon SQS: the queue that a rule of EventBridge fills with the events of container instances.

use serde_json::{Value, json};

use super::{ApiError, ecs::instance_event};
use crate::{place::Place, queue::Event, world::World};

/// Messages of one answer, at most. [API, ReceiveMessage]
const MOST: u32 = 10;

/// Answers one call; every queue is the same one.
pub(crate) fn answer(world: &mut World, operation: &str, input: &Value) -> Result<Value, ApiError> {
    let input = Place::root(input);
    if !["ReceiveMessage", "DeleteMessage", "PurgeQueue"].contains(&operation) {
        return Err(ApiError::new("UnknownOperationException", format!("{operation} is not simulated")));
    }
    let invalid = |error: anyhow::Error| ApiError::new("InvalidParameterValueException", error.to_string());
    input.get("QueueUrl").needed_text().map_err(invalid)?;
    match operation {
        "ReceiveMessage" => {
            let most = input.get("MaxNumberOfMessages").count_or(1).map_err(invalid)?;
            if !(1..=MOST).contains(&most) {
                return Err(ApiError::new(
                    "InvalidParameterValueException",
                    "MaxNumberOfMessages can be from 1 to 10.",
                ));
            }
            let now = world.now;
            let received = world.queue.receive(most as usize, now);
            let message = |event: &Event| {
                let body = instance_event(world, &event.instance, event.at).to_string();
                json!({"MessageId": event.id, "ReceiptHandle": event.id, "Body": body})
            };
            let messages: Vec<Value> = received.iter().map(message).collect();
            Ok(if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
        }
        "DeleteMessage" => {
            world.queue.delete(&input.get("ReceiptHandle").needed_text().map_err(invalid)?);
            Ok(json!({}))
        }
        _ => {
            world.queue.purge();
            Ok(json!({}))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use crate::testing::Bench;

    fn received(bench: &mut Bench) -> Vec<Value> {
        let input = json!({"QueueUrl": "q", "MaxNumberOfMessages": 10});
        let answer = bench.json("AmazonSQS.ReceiveMessage", &input).unwrap();
        answer["Messages"].as_array().cloned().unwrap_or_default()
    }

    #[test]
    fn an_instance_that_joins_is_told_of_as_often_as_the_switch_says() {
        for (value, expected) in [("once", (1, 1)), ("several", (2, 2)), ("repeated", (2, 2))] {
            let mut bench = Bench::with("a i-1 web", &[&format!("join-events={value}")], &["join-instance=10"]);
            bench.wait(60);
            let events: Vec<Value> = received(&mut bench)
                .iter()
                .map(|message| serde_json::from_str(message["Body"].as_str().unwrap()).unwrap())
                .collect();
            let connected = events.iter().filter(|event| event["detail"]["agentConnected"] == true).count();
            assert_eq!((events.len(), connected), expected, "{value}");
            let versions: BTreeSet<u64> = events.iter().filter_map(|it| it["detail"]["version"].as_u64()).collect();
            assert_eq!(versions.len(), if value == "several" { 2 } else { 1 }, "{value}");
            assert!(events[0]["detail"].get("runningTasksCount").is_none(), "{}", events[0]);
        }
    }

    #[test]
    fn a_message_comes_again_until_it_is_deleted() {
        let mut bench = Bench::with("a i-1 web", &[], &["join-instance=10"]);
        bench.wait(60);
        assert_eq!(received(&mut bench).len(), 1);
        assert!(received(&mut bench).is_empty());
        bench.wait(31);
        let again = received(&mut bench);
        let handle = &again[0]["ReceiptHandle"];
        bench.json("AmazonSQS.DeleteMessage", &json!({"QueueUrl": "q", "ReceiptHandle": handle})).unwrap();
        bench.wait(31);
        assert!(received(&mut bench).is_empty());
        assert!(bench.json("AmazonSQS.PurgeQueue", &json!({"QueueUrl": "q"})).is_ok());
        let refused = bench.json("AmazonSQS.SendMessage", &json!({"QueueUrl": "q"})).unwrap_err();
        assert!(refused.contains("is not simulated"), "{refused}");
    }
}
