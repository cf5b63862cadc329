//! What clients asked and what came of it: the newest requests, for whoever looks on.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Request, header::USER_AGENT};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{Answer, moment::Moment, timeline::CALLER, wire::Call};

/// Requests that are kept; older ones go.
const KEPT: usize = 10_000;
/// The input of a request with a larger body is left out, so that 10,000 of them stay below 50 MB.
const LARGEST_INPUT: usize = 4 << 10;

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) answer: Answer,
    /// The code of the error in the answer.
    pub(crate) error: Option<&'static str>,
    /// The name of the fault that changed the answer.
    pub(crate) fault: Option<&'static str>,
}

/// The newest requests, each with its number and its line of JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<(u64, String)>,
    number: u64,
}

impl Log {
    pub(crate) fn note(&mut self, at: Moment, request: &Request<Bytes>, call: Option<&Call>, played: &Played) {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_small = request.body().len() <= LARGEST_INPUT;
        let status = match &played.answer {
            Answer::Response(response) => Some(response.status().as_u16()),
            Answer::Dropped => None,
        };
        self.number += 1;
        let entry = json!({
            "number": self.number,
            "time": written(at),
            "caller": header(CALLER),
            "userAgent": header(USER_AGENT.as_str()),
            "service": call.map(|call| call.service.name()),
            "operation": call.map(|call| &call.operation),
            "input": call.filter(|_| is_small).map(|call| &call.input),
            "status": status,
            "error": played.error,
            "fault": played.fault,
        });
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back((self.number, entry.to_string()));
    }

    /// A line of JSON each.
    pub(crate) fn after(&self, number: u64) -> String {
        self.entries.iter().filter(|(own, _)| *own > number).map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// A moment as people and programs read it.
pub(crate) fn written(at: Moment) -> Option<String> {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok()?;
    moment.format(&Rfc3339).ok()
}
