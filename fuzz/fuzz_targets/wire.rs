//! Any requests, one after another, to the simulated control plane: each is answered, right or wrong, and it lives on.
#![no_main]

use bytes::Bytes;
use ecs_simulator::{Moment, Options, Simulator, snapshot::Snapshot};
use http::Request;
use libfuzzer_sys::fuzz_target;

/// Time between two requests.
const STEP_MILLISECONDS: i64 = 5_000;

// The first byte of a request says in which protocol it comes, the rest of its first line which operation is asked, and what
// follows is the body. Requests are parted by a zero byte.
fuzz_target!(|bytes: &[u8]| {
    let Ok(mut simulator) = Simulator::new(&Snapshot::reference_cluster(), Options::default()) else { return };
    let Moment(mut now) = simulator.start();
    for request in bytes.split(|byte| *byte == 0).take(8).filter_map(request) {
        now = now.saturating_add(STEP_MILLISECONDS);
        let _ = simulator.respond(&request, Moment(now));
    }
});

fn request(bytes: &[u8]) -> Option<Request<Bytes>> {
    let (protocol, rest) = bytes.split_first()?;
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (operation, body) = rest.split_at(end);
    let operation = str::from_utf8(operation).ok()?;
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let json = |version: &str, service: &str| {
        Request::post("/")
            .header("content-type", format!("application/x-amz-json-{version}"))
            .header("x-amz-target", format!("{service}.{operation}"))
    };
    let builder = match protocol % 5 {
        0 => json("1.1", "AmazonEC2ContainerServiceV20141113"),
        1 => json("1.0", "GraniteServiceVersion20100801"),
        2 | 3 => {
            let path = format!("/service/GraniteServiceVersion20100801/operation/{operation}");
            let cbor =
                Request::post(path).header("content-type", "application/cbor").header("smithy-protocol", "rpc-v2-cbor");
            if protocol % 5 == 3 { cbor.header("content-encoding", "gzip") } else { cbor }
        }
        _ => Request::post("/").header("content-type", "application/x-www-form-urlencoded"),
    };
    builder.body(body).ok()
}
