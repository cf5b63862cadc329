//! What a person or a test does with the simulator itself while it runs, below `/_simulator/`.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::Running;
use crate::{faults::Faults, snapshot::Snapshot};

/// Where it is; no API of AWS has such a path.
const PREFIX: &str = "/_simulator/";

/// Path, method, and what is asked and answered, for whoever asks for something else.
const PAGES: [(&str, &str); 5] = [
    ("GET /_simulator/ready", "the cluster's name and time"),
    ("POST /_simulator/reset", "begins anew, with the snapshot in the body or, without one, with the first"),
    ("GET /_simulator/faults", "the faults"),
    ("PUT /_simulator/faults", "has the faults of the body in place of all others: [\"throttle=0.1\"]"),
    ("GET /_simulator/requests?after=NUMBER", "the requests after that number, a line of JSON each"),
];

/// Whether a request is for the simulator itself.
pub(super) fn is_asked(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers one.
pub(super) fn answer(running: &Running, request: &Request<Bytes>) -> Response<Bytes> {
    let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let outcome = match (request.method(), name) {
        (&Method::GET, "ready") => Ok(ready(running)),
        (&Method::POST, "reset") => reset(running, request.body()).map(|()| ready(running)),
        (&Method::GET, "faults") => Ok(json!(running.faults())),
        (&Method::PUT, "faults") => set_faults(running, request.body()).map(|()| json!(running.faults())),
        (&Method::GET, "requests") => {
            return match after(request.uri().query().unwrap_or_default()) {
                Ok(number) => response(StatusCode::OK, "application/jsonl", running.simulator().log(number)),
                Err(error) => refused(&error),
            };
        }
        _ => {
            let pages = PAGES.iter().map(|(page, what)| format!("{page}: {what}\n")).collect();
            return response(StatusCode::NOT_FOUND, "text/plain", pages);
        }
    };
    match outcome {
        Ok(value) => response(StatusCode::OK, "application/json", format!("{value}\n")),
        Err(error) => refused(&format!("{error:#}")),
    }
}

fn ready(running: &Running) -> Value {
    let simulator = running.simulator();
    json!({"cluster": simulator.cluster_name(), "time": simulator.time()})
}

fn reset(running: &Running, body: &[u8]) -> anyhow::Result<()> {
    let snapshot = match body.trim_ascii() {
        b"" => None,
        text => Some(Snapshot::from_json(std::str::from_utf8(text)?)?),
    };
    running.reset(snapshot.as_ref())
}

fn set_faults(running: &Running, body: &[u8]) -> anyhow::Result<()> {
    let settings: Vec<String> = serde_json::from_slice(body)
        .map_err(|_| anyhow::anyhow!("the body is no list of faults, as [\"throttle=0.1\"]"))?;
    let faults = Faults::from_settings(&settings)?;
    running.set_faults(settings, faults);
    Ok(())
}

/// The number in `after=NUMBER`; 0 without one.
fn after(query: &str) -> Result<u64, String> {
    let mut words = form_urlencoded::parse(query.as_bytes());
    words.try_fold(0, |_, (name, value)| match (name.as_ref(), value.parse()) {
        ("after", Ok(number)) => Ok(number),
        _ => Err(format!("{name}={value}: requests takes after=NUMBER")),
    })
}

fn refused(why: &str) -> Response<Bytes> {
    response(StatusCode::BAD_REQUEST, "text/plain", format!("{why}\n"))
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
