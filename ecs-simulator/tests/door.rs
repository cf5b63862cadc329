//! The simulator's door: who is let in, and what can be done with it while it runs. The command itself, over a socket.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking, and what they share isn't within one")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

/// Far less than a silent connection may stay.
const SOON: Duration = Duration::from_secs(20);

/// A simulator, until it is dropped.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn new(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ecs-simulator"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let until_ready = lines.map(Result::unwrap).take_while(|line| !line.contains("METADATA"));
        let told: Vec<String> = until_ready.collect();
        let address = told.iter().find_map(|line| line.strip_prefix("export AWS_ENDPOINT_URL=http://"));
        Self { address: address.expect("it ended before it was ready").to_owned(), process }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Status and body of the answer.
    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let host = ("host", self.address.as_str());
        let own = if headers.iter().any(|(name, _)| *name == "host") { None } else { Some(host) };
        let headers: String =
            headers.iter().copied().chain(own).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let mut stream = self.connect();
        write!(stream, "{line} HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).map(|status| status.parse().unwrap()).unwrap_or_default();
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    /// An operation of ECS.
    fn call(&self, operation: &str, input: &Value) -> (u16, Value) {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let headers = [("x-amz-target", target.as_str()), ("x-simulated-caller", "a test")];
        let (status, body) = self.ask("POST /", &headers, &input.to_string());
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    fn desired_count(&self) -> Value {
        let (_, answer) = self.call("DescribeServices", &json!({"services": ["web"], "cluster": "reference"}));
        answer["services"][0]["desiredCount"].clone()
    }

    fn set_desired_count(&self, count: u32) {
        let input = json!({"cluster": "reference", "service": "web", "desiredCount": count});
        assert_eq!(self.call("UpdateService", &input).0, 200);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn foreign_names_and_foreign_pages_are_refused() {
    let served = Served::new(&["--listen", "localhost:0", "--host", "ecs"], &[]);
    let port = served.address.rsplit(':').next().unwrap();
    for (name, value, expected) in [
        ("host", format!("localhost:{port}"), 200),
        ("host", format!("ecs:{port}"), 200),
        ("host", format!("attacker.example:{port}"), 403),
        ("origin", format!("http://localhost:{port}"), 200),
        ("origin", "https://attacker.example".to_owned(), 403),
        ("origin", "null".to_owned(), 403),
    ] {
        let headers = [(name, value.as_str()), ("x-amz-target", "AmazonEC2ContainerServiceV20141113.ListClusters")];
        let (status, told) = served.ask("POST /", &headers, "{}");
        assert_eq!(status, expected, "{name}: {value}: {told}");
        let (status, told) = served.ask("POST /_simulator/reset", &headers[..1], "");
        assert_eq!(status, expected, "{name}: {value}: {told}");
    }
}

#[test]
fn connections_that_send_nothing_or_half_a_request_lock_nobody_out() {
    let served = Served::new(&["--listen", "localhost:0"], &[]);
    let beginning = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\r\n{{", served.address);
    let silent: Vec<TcpStream> = (0..600)
        .map(|number| {
            let mut stream = served.connect();
            match number % 3 {
                0 => {}
                1 => stream.write_all(b"POST / HT").unwrap(),
                _ => stream.write_all(beginning.as_bytes()).unwrap(),
            }
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(served.call("ListClusters", &json!({})).0, 200);
    }
    drop(silent);
}

#[test]
fn a_reset_begins_anew() {
    let served = Served::new(&[], &[]);
    served.set_desired_count(5);
    assert_eq!(served.desired_count(), 5);
    assert_eq!(served.ask("POST /_simulator/reset", &[], "").0, 200);
    assert_eq!(served.desired_count(), 2);

    let other = json!({"cluster": {"clusterName": "other"}}).to_string();
    let (status, told) = served.ask("POST /_simulator/reset", &[], &other);
    assert_eq!((status, told.contains(r#""cluster":"other""#)), (200, true), "{told}");
    assert_eq!(served.call("DescribeServices", &json!({"services": ["web"], "cluster": "reference"})).0, 400);

    let (status, told) = served.ask("POST /_simulator/reset", &[], r#"{"tasks": 3}"#);
    assert_eq!((status, told.as_str()), (400, "tasks: expected a list, not 3\n"));
    let (_, told) = served.ask("GET /_simulator/ready", &[], "");
    assert!(told.contains(r#""cluster":"other""#), "what can't be read changes nothing: {told}");
}

#[test]
fn faults_begin_and_end_while_it_runs_and_outlast_a_reset() {
    let served = Served::new(&[], &[("ECS_SIMULATOR_FAULT", "throttle=1 slow-start=2")]);
    let list = || served.call("ListClusters", &json!({}));
    assert_eq!(list().1["__type"], "ThrottlingException");
    assert_eq!(served.ask("GET /_simulator/faults", &[], "").1, "[\"throttle=1\",\"slow-start=2\"]\n");
    assert_eq!(served.ask("PUT /_simulator/faults", &[], "[]").0, 200);
    assert_eq!(list().0, 200);
    // Numbers of requests count from where the faults were set.
    assert_eq!(served.ask("PUT /_simulator/faults", &[], r#"["outage=ListClusters:#2"]"#).0, 200);
    assert_eq!([list().0, list().0, list().0], [200, 500, 200]);
    for (wrong, expected) in [
        (r#"["flood=1"]"#, "there is no fault \"flood\"; there are throttle,"),
        ("throttle=1", "the body is no list of faults, as [\"throttle=0.1\"]"),
    ] {
        let (status, told) = served.ask("PUT /_simulator/faults", &[], wrong);
        assert_eq!(status, 400, "{told}");
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(served.ask("POST /_simulator/reset", &[], "").0, 200);
    assert_eq!([list().0, list().0], [200, 500]);
}

#[test]
fn requests_are_logged_with_what_came_of_them() {
    let served = Served::new(&[], &[]);
    served.set_desired_count(3);
    served.call("DescribeServices", &json!({"cluster": "reference"}));
    served.ask("PUT /_simulator/faults", &[], r#"["lost-answer=1"]"#);
    served.call("ListClusters", &json!({}));
    let log = |query: &str| -> Vec<Value> {
        let (status, lines) = served.ask(&format!("GET /_simulator/requests{query}"), &[], "");
        assert_eq!(status, 200);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = log("");
    let of =
        |index: usize, names: &[&str]| -> Vec<Value> { names.iter().map(|name| all[index][name].clone()).collect() };
    let names = ["number", "caller", "service", "operation", "status", "error", "fault"];
    assert_eq!(json!(of(0, &names)), json!([1, "a test", "ecs", "UpdateService", 200, null, null]));
    assert_eq!(all[0]["input"]["desiredCount"], 3);
    assert!(all[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        json!(of(1, &names)),
        json!([2, "a test", "ecs", "DescribeServices", 400, "InvalidParameterException", null])
    );
    assert_eq!(json!(of(2, &names)), json!([3, "a test", "ecs", "ListClusters", null, null, "lost-answer"]));
    assert_eq!(log("?after=2"), all[2..]);
    assert_eq!(served.ask("GET /_simulator/requests?since=2", &[], "").0, 400);
    served.ask("POST /_simulator/reset", &[], "");
    assert!(log("").is_empty());
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let served = Served::new(&[], &[]);
    for line in ["GET /_simulator/", "GET /_simulator/reset", "DELETE /_simulator/faults"] {
        let (status, told) = served.ask(line, &[], "");
        assert_eq!(status, 404, "{line}");
        assert!(told.contains("POST /_simulator/reset: begins anew"), "{told}");
    }
}
