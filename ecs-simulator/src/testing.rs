//! What this crate's tests share: a drawn cluster, asked as a client would ask, while its time passes.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    Answer, Moment, Options, Simulator, behaviour::Behaviour, drawing::Drawing, faults::Faults, snapshot::Snapshot,
};

/// A simulated cluster named `default`, and its time.
pub(crate) struct Bench {
    pub(crate) simulator: Simulator,
    pub(crate) now: Moment,
}

impl Bench {
    pub(crate) fn new(drawing: &str) -> Self {
        Self::with(drawing, &[], &[])
    }

    pub(crate) fn with(drawing: &str, behaviour: &[&str], faults: &[&str]) -> Self {
        Self::seeded(drawing, behaviour, faults, 1)
    }

    pub(crate) fn seeded(drawing: &str, behaviour: &[&str], faults: &[&str], seed: u64) -> Self {
        let snapshot = Snapshot::from_drawing("default", &Drawing::parse(drawing).unwrap()).unwrap();
        let options = Options {
            seed,
            behaviour: Behaviour::from_settings(behaviour).unwrap(),
            faults: Faults::from_settings(faults).unwrap(),
        };
        let simulator = Simulator::new(&snapshot, options).unwrap();
        Self { now: simulator.start(), simulator }
    }

    /// An ECS call; what is refused comes back as `Code: message`.
    pub(crate) fn ecs(&mut self, operation: &str, input: &Value) -> Result<Value, String> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        self.json(&target, input)
    }

    /// A CloudWatch call.
    pub(crate) fn cloudwatch(&mut self, operation: &str, input: &Value) -> Result<Value, String> {
        let target = format!("GraniteServiceVersion20100801.{operation}");
        self.json(&target, input)
    }

    /// A call in the query protocol, of the API with this version; what comes back, as it came.
    pub(crate) fn query(&mut self, version: &str, operation: &str, parameters: &str) -> String {
        let form = format!("Action={operation}&Version={version}&{parameters}");
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post("/").header("content-type", kind).body(Bytes::from(form)).unwrap();
        match self.simulator.respond(&request, self.now) {
            Answer::Response(response) => String::from_utf8(response.body().to_vec()).unwrap(),
            Answer::Dropped => "Dropped".to_owned(),
        }
    }

    /// A call in JSON, by its whole target.
    pub(crate) fn json(&mut self, target: &str, input: &Value) -> Result<Value, String> {
        let request = Request::post("/").header("x-amz-target", target).body(Bytes::from(input.to_string())).unwrap();
        let Answer::Response(response) = self.simulator.respond(&request, self.now) else {
            return Err("Dropped".to_owned());
        };
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        if response.status().is_success() {
            return Ok(body);
        }
        Err(format!("{}: {}", body["__type"].as_str().unwrap(), body["message"].as_str().unwrap()))
    }

    /// Changes a service.
    pub(crate) fn update(&mut self, service: &str, mut changes: Value) {
        changes["service"] = json!(service);
        self.ecs("UpdateService", &changes).unwrap();
    }

    /// A service as DescribeServices shows it.
    pub(crate) fn service(&mut self, name: &str) -> Value {
        self.ecs("DescribeServices", &json!({"services": [name]})).unwrap()["services"][0].take()
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now = Moment(self.now.0 + seconds * 1000);
        self.simulator.pass(self.now);
    }

    /// How many tasks of a service are to run on each instance, by name: `i-1: 2, i-2: 1`; `-` for none.
    pub(crate) fn placed(&self, service: &str) -> String {
        let mut counts = BTreeMap::<String, u32>::new();
        for instance in self.simulator.service(service).unwrap().tasks.into_values() {
            let name = instance.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("-");
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        counts.iter().map(|(instance, count)| format!("{instance}: {count}")).collect::<Vec<_>>().join(", ")
    }
}
