//! A queue of Amazon SQS that a rule of EventBridge fills.

use std::collections::VecDeque;

use crate::{moment::Moment, state::Instance};

/// From what happens to its event, in milliseconds.
const DELIVERY: i64 = 1_000;
/// So long a message that somebody received isn't received again. [SQS, "visibility timeout"]
const INVISIBLE: i64 = 30_000;
/// More than anybody asks for; the oldest go first.
const KEPT: usize = 1_000;

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    events: VecDeque<Event>,
    number: u64,
}

/// What happened to a container instance, as it was then, and from when on it can be received.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: Moment,
    pub(crate) instance: Instance,
    visible_at: Moment,
}

impl Queue {
    /// Something has happened; it is told of so many milliseconds later than as soon as may be.
    pub(crate) fn push(&mut self, at: Moment, delay: i64, instance: &Instance) {
        self.number += 1;
        let id = format!("{:08x}-0000-4000-8000-000000000000", self.number);
        let visible_at = Moment(at.0 + DELIVERY + delay);
        self.events.push_back(Event { id, at, instance: instance.clone(), visible_at });
        if self.events.len() > KEPT {
            self.events.pop_front();
        }
    }

    /// Up to so many that are there.
    pub(crate) fn receive(&mut self, most: usize, now: Moment) -> Vec<Event> {
        let there = self.events.iter_mut().filter(|event| event.visible_at <= now);
        let taken = there.take(most).map(|event| {
            event.visible_at = Moment(now.0 + INVISIBLE);
            event.clone()
        });
        taken.collect()
    }

    /// Takes one out for good.
    pub(crate) fn delete(&mut self, id: &str) {
        self.events.retain(|event| event.id != id);
    }

    /// Takes all out.
    pub(crate) fn purge(&mut self) {
        self.events.clear();
    }
}
