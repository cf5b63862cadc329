//! What comes between a client and the control plane: requests and answers that are held, and answers that are none of ECS's.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::{
    faults::{Faults, LONGEST_HELD, Occasion, Operation, When, WrongAnswer},
    operations,
    wire::{self, Call},
};

/// How long a request is on its way before it takes effect, beyond what the network takes, and how long its answer is held
/// after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Until the request takes effect.
    pub request: Duration,
    /// From then on until the answer goes back.
    pub answer: Duration,
}

/// Its state: chance of its own, and how many requests of each operation came.
#[derive(Clone, Debug)]
pub(crate) struct Interference {
    random: ChaCha8Rng,
    arrived: BTreeMap<String, u64>,
}

/// So that this chance is another than the control plane's under the same seed.
const OTHER_CHANCE: u64 = 0x5EED_0FA1_1E57;

impl Interference {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed ^ OTHER_CHANCE), arrived: BTreeMap::new() }
    }

    /// Counts requests anew.
    pub(crate) fn begin_anew(&mut self) {
        self.arrived.clear();
    }

    /// How long a request that comes now, so many seconds after the start, is held.
    pub(crate) fn delay(&mut self, faults: &Faults, request: &Request<Bytes>, seconds: f64) -> Delay {
        let named = faults.held_request.iter().chain(&faults.held_answer).next().is_some();
        if !named && faults.held_requests <= 0.0 && faults.held_answers <= 0.0 {
            return Delay::default();
        }
        let Ok(call) = wire::decode(request) else { return Delay::default() };
        let number = self.arrived.entry(call.operation.clone()).or_default();
        *number += 1;
        let number = *number;
        let held = |held: &[(Occasion, Duration)]| -> Duration {
            held.iter().filter(|(occasion, _)| occasion.covers(&call, number, seconds)).map(|(_, held)| *held).sum()
        };
        let (request, answer) = (held(&faults.held_request), held(&faults.held_answer));
        Delay {
            request: request + self.chance_of(faults.held_requests),
            answer: answer + self.chance_of(faults.held_answers),
        }
    }

    fn chance_of(&mut self, share: f64) -> Duration {
        if share > 0.0 && self.random.random::<f64>() < share {
            return LONGEST_HELD.mul_f64(self.random.random::<f64>());
        }
        Duration::ZERO
    }
}

impl Occasion {
    /// Whether it is about the `number`th call of its operation, so many seconds after the start.
    pub(crate) fn covers(&self, call: &Call, number: u64, seconds: f64) -> bool {
        let is_of_it = match &self.operation {
            Operation::All => true,
            Operation::Ecs => call.service == wire::Service::Ecs,
            Operation::Named(name) => *name == call.operation,
        };
        is_of_it
            && match self.when {
                When::Between(from, to) => (from..to).contains(&seconds),
                When::Number(asked) => number == asked,
            }
    }
}

/// What is answered instead of ECS's own answer, if anything.
pub(crate) fn wrong_answer(faults: &Faults, call: &Call, number: u64, seconds: f64) -> Option<WrongAnswer> {
    let covers = |(occasion, _): &&(Occasion, WrongAnswer)| occasion.covers(call, number, seconds);
    faults.wrong_answers.iter().find(covers).map(|(_, wrong)| *wrong)
}

/// Everything that the call asks for, as `failures`.
pub(crate) fn all_missing(call: &Call) -> Option<Value> {
    let member = operations::asked_by(&call.operation)?;
    let asked = call.input.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    let failures: Vec<Value> = asked.iter().map(|id| json!({"arn": id, "reason": "MISSING"})).collect();
    let key = if call.operation == "GetTaskProtection" { "protectedTasks" } else { member };
    Some(json!({key: [], "failures": failures}))
}

/// A page that is none of AWS's.
pub(crate) fn page(status: StatusCode) -> Response<Bytes> {
    let title = if status.is_success() { "Please sign in" } else { "503 Service Temporarily Unavailable" };
    let text =
        format!("<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>");
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// The first half of an answer's body.
pub(crate) fn half(response: Response<Bytes>) -> Response<Bytes> {
    response.map(|body| body.slice(..body.len() / 2))
}

#[cfg(test)]
mod tests;
