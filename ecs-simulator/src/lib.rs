//! A simulated control plane of Amazon ECS, with CloudWatch, Elastic Load Balancing's target health, Auto Scaling's groups and a
//! queue of container instances' events, that any AWS client can talk to.
//!
//! It is a state machine: a request and a moment in, an answer out. No socket, no thread, no clock, but for [`server`] around
//! it; one seed is the only chance in it. Time passes only between requests: what was due by then happens first, in order. It
//! is written from ECS's documentation and knows nobody else's code; where the documents contradict each other or are silent
//! there is a switch ([`behaviour::SWITCHES`]).
//!
//! - [`snapshot`], [`drawing`]: where a cluster comes from
//! - `state`, `world`: what there is, with its clock, its chance and its agenda
//! - `events`, `queue`: what EventBridge has of it
//! - `life`, `scheduler`, `placement`, `deployments`, `services`, `instances`, `outside`, `managed_scaling`: what becomes of it
//! - `engine`: the loop that takes what is due and has that happen
//! - `wire`: how clients talk to it; [`operations`]: what they can ask
//! - [`behaviour`], [`faults`], [`found`], `interference`: how it may be otherwise, and what may go wrong
//! - [`person`]: what people, applications and instances do meanwhile
//! - [`timeline`], `log`: what happened, and what was asked
//! - [`server`]: all of it for clients of other processes

pub mod behaviour;
mod buckets;
mod deployments;
pub mod drawing;
mod drawn;
mod engine;
mod events;
pub mod faults;
pub mod found;
#[cfg(test)]
mod imports;
mod instances;
mod interference;
mod life;
mod log;
mod managed_scaling;
mod moment;
mod network;
pub mod operations;
mod outside;
pub mod person;
mod place;
mod placement;
mod query;
mod queue;
mod scheduler;
pub mod server;
mod services;
pub mod snapshot;
mod state;
#[cfg(test)]
mod testing;
mod text;
pub mod timeline;
mod wire;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    buckets::Buckets,
    faults::{Faults, WrongAnswer},
    interference::Interference,
    log::{Log, Played},
    snapshot::Snapshot,
    timeline::Timeline,
    wire::{ApiError, Call, Service},
    world::World,
};

pub use crate::{
    interference::Delay,
    moment::Moment,
    timeline::CALLER,
    wire::{
        LARGEST_BODY,
        cloudwatch::{Datapoint, Metric, Metrics},
    },
    world::Options,
};

/// What comes back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An answer of the service's.
    Response(Response<Bytes>),
    /// The connection broke; perhaps the call took effect all the same.
    Dropped,
}

/// The simulated control plane.
#[derive(Clone, Debug)]
pub struct Simulator {
    world: World,
    interference: Interference,
    buckets: Buckets,
    metrics: Metrics,
    requests: BTreeMap<String, u64>,
    /// Those of them that had come when the faults were set.
    requests_before: BTreeMap<String, u64>,
    log: Option<Log>,
    targets: BTreeMap<String, BTreeSet<String>>,
    denied: BTreeSet<String>,
    throttled: u64,
}

/// A rehearsal of a snapshot begins so long after the newest moment in it, so that nothing is too young.
const AFTER_THE_NEWEST_MILLISECONDS: i64 = 3_600_000;

impl Simulator {
    /// A simulation that begins with a snapshot.
    ///
    /// # Errors
    /// None today: a snapshot is checked when it is read.
    pub fn new(snapshot: &Snapshot, options: Options) -> Result<Self> {
        Self::starting_at(snapshot, options, Moment(0))
    }

    /// The same, on a later day: what the snapshot holds is so much older by then.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn starting_at(snapshot: &Snapshot, options: Options, start: Moment) -> Result<Self> {
        let start = start.max(Moment(snapshot.newest.0 + AFTER_THE_NEWEST_MILLISECONDS));
        let interference = Interference::new(options.seed);
        let mut world = World::new(snapshot.state.clone(), options, start);
        engine::begin(&mut world);
        Ok(Self {
            world,
            interference,
            buckets: Buckets::default(),
            metrics: Metrics::default(),
            requests: BTreeMap::new(),
            requests_before: BTreeMap::new(),
            log: None,
            targets: BTreeMap::new(),
            denied: BTreeSet::new(),
            throttled: 0,
        })
    }

    /// What it is now in the cluster, as RFC 3339 writes it.
    pub(crate) fn time(&self) -> Option<String> {
        log::written(self.world.now)
    }

    /// When the simulation begins.
    pub fn start(&self) -> Moment {
        self.world.start
    }

    /// How long transport holds a request that is sent now before it asks for the answer by [`Simulator::respond`], and how long
    /// it holds that. A caller that goes away meanwhile takes nothing back.
    pub fn delay(&mut self, request: &Request<Bytes>, now: Moment) -> Delay {
        let seconds = self.seconds(now);
        self.interference.delay(&self.world.options.faults, request, seconds)
    }

    /// Answers a request at a moment; moments must not go backwards, and one that does counts as the last.
    pub fn respond(&mut self, request: &Request<Bytes>, now: Moment) -> Answer {
        engine::advance(&mut self.world, now);
        let id = self.world.id();
        let call = match wire::decode(request) {
            Ok(call) => call,
            Err((protocol, error)) => {
                let code = error.code;
                let answer = Answer::Response(wire::encode(protocol, "", &Err(error), &id));
                self.note(request, None, &Played { answer: answer.clone(), error: Some(code), fault: None });
                return answer;
            }
        };
        let caller = request.headers().get(CALLER).and_then(|name| name.to_str().ok());
        caller.unwrap_or_default().clone_into(&mut self.world.caller);
        let played = self.play(&call, &id);
        self.note(request, Some(&call), &played);
        played.answer
    }

    /// Answers a call, or has go wrong what the faults ask for.
    fn play(&mut self, call: &Call, id: &str) -> Played {
        let name = format!("{}:{}", call.service.name(), call.operation);
        let before = self.requests_before.get(&name).copied().unwrap_or_default();
        let number = self.requests.entry(name).or_default();
        *number += 1;
        let number = *number - before;
        let faults = self.world.options.faults.clone();
        if self.world.chance(faults.drop) {
            return Played { answer: Answer::Dropped, error: None, fault: Some("drop") };
        }
        let wrong = interference::wrong_answer(&faults, call, number, self.seconds(self.world.now));
        let fault = wrong.map(WrongAnswer::name);
        let page = |status| Played { answer: Answer::Response(interference::page(status)), error: None, fault };
        let answer = match wrong {
            Some(WrongAnswer::Outage) => Err(ApiError::server(call.service)),
            Some(WrongAnswer::ExpiredToken) => Err(ApiError::expired_token()),
            Some(WrongAnswer::Page) => return page(StatusCode::OK),
            Some(WrongAnswer::ErrorPage) => return page(StatusCode::SERVICE_UNAVAILABLE),
            Some(WrongAnswer::HalfBody) | None => self.answer_or_refuse(call),
            Some(WrongAnswer::Empty) => self.answer_or_refuse(call).map(|_| json!({})),
            Some(WrongAnswer::Missing) => {
                self.answer_or_refuse(call).map(|answer| interference::all_missing(call).unwrap_or(answer))
            }
        };
        let error = answer.as_ref().err().map(|error| error.code);
        if self.world.chance(faults.lost_answer) {
            return Played { answer: Answer::Dropped, error, fault: Some("lost-answer") };
        }
        let response = wire::encode(call.protocol, &call.operation, &answer, id);
        let response = if wrong == Some(WrongAnswer::HalfBody) { interference::half(response) } else { response };
        Played { answer: Answer::Response(response), error, fault }
    }

    /// Writes into the log, if there is one, what came of a request.
    fn note(&mut self, request: &Request<Bytes>, call: Option<&Call>, played: &Played) {
        if let Some(log) = &mut self.log {
            log.note(self.world.now, request, call, played);
        }
    }

    /// From now on requests are logged, the newest of them.
    pub fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The logged requests after one, by its number, a line of JSON each; after 0, all that are kept.
    pub fn log(&self, after: u64) -> String {
        self.log.as_ref().map_or_else(String::new, |log| log.after(after))
    }

    /// The answer of a control plane that is up: throttled, refused, or as it is.
    fn answer_or_refuse(&mut self, call: &Call) -> Result<Value, ApiError> {
        let faults = &self.world.options.faults;
        let (error, throttle) = (faults.error, faults.throttle);
        if self.world.chance(error) {
            Err(ApiError::server(call.service))
        } else if call.service == Service::Ecs
            && (!self.buckets.take(&call.operation, self.world.now) || self.world.chance(throttle))
        {
            self.throttled += 1;
            Err(ApiError::new("ThrottlingException", "Rate exceeded"))
        } else if self.denied.contains(&call.operation) {
            Err(ApiError::denied(call.service, &call.operation))
        } else {
            self.answer(call)
        }
    }

    /// Seconds since the faults were set, in which they are timed.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a rehearsal are far below 2^52")]
    fn seconds(&self, now: Moment) -> f64 {
        (now.0 - self.world.faults_since.0) as f64 / 1000.0
    }

    fn answer(&mut self, call: &Call) -> Result<Value, ApiError> {
        let now = self.world.now;
        if !["Describe", "List", "Get"].iter().any(|reads| call.operation.starts_with(reads)) {
            self.targets.entry(call.operation.clone()).or_default().extend(call.targets());
        }
        match call.service {
            Service::Ecs => {
                let answer = wire::ecs::answer(&mut self.world, &call.operation, &call.input, now);
                self.world.remember();
                answer
            }
            Service::ApplicationAutoScaling => {
                wire::application_auto_scaling::answer(&mut self.world, &call.operation, &call.input)
            }
            Service::CloudWatch => self.metrics.answer(&call.operation, &call.input, now),
            Service::LoadBalancing => wire::load_balancing::answer(&self.world, &call.operation, &call.input),
            Service::AutoScaling => wire::auto_scaling::answer(&mut self.world, &call.operation, &call.input),
            Service::Queue => wire::queue::answer(&mut self.world, &call.operation, &call.input),
        }
    }

    /// Lets time pass without a request.
    pub fn pass(&mut self, now: Moment) {
        engine::advance(&mut self.world, now);
    }

    /// From now on an operation is refused, as to callers whose policy doesn't allow it.
    pub fn deny(&mut self, operation: &str) {
        self.denied.insert(operation.to_owned());
    }

    /// From now on this goes wrong, in place of all that did. Seconds and numbers of requests count from now.
    pub fn set_faults(&mut self, faults: Faults) {
        self.requests_before.clone_from(&self.requests);
        self.interference.begin_anew();
        self.world.set_faults(faults);
        outside::expect(&mut self.world);
        self.world.remember();
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.world.calm();
    }

    /// Requests so far, by service and operation, whatever was answered.
    pub fn requests(&self) -> &BTreeMap<String, u64> {
        &self.requests
    }

    /// The tasks and container instances that the calls of a changing operation named so far, as the callers wrote them.
    pub fn targets_of(&self, operation: &str) -> BTreeSet<String> {
        self.targets.get(operation).cloned().unwrap_or_default()
    }

    /// How many requests were answered with ThrottlingException.
    pub fn throttled(&self) -> u64 {
        self.throttled
    }

    /// What was published.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What happened to each service.
    pub fn timeline(&self) -> &Timeline {
        &self.world.timeline
    }

    /// What tests look at beside the API: a service as it is now.
    pub fn service(&self, name: &str) -> Option<ServiceView> {
        let state = &self.world.state;
        let service = state.services.get(name)?;
        let wanted = || state.service_tasks(name).filter(|task| task.wanted);
        Some(ServiceView {
            desired_count: service.desired_count,
            status: service.status.clone(),
            placement_constraints: service.placement_constraints.clone(),
            tags: service.tags.clone(),
            protected: wanted().filter(|task| task.is_protected(self.world.now)).map(|task| task.arn.clone()).collect(),
            tasks: wanted().map(|task| (task.arn.clone(), task.instance.clone().unwrap_or_default())).collect(),
            task_definition: service.task_definition.clone(),
        })
    }

    /// The cluster's name.
    pub fn cluster_name(&self) -> &str {
        &self.world.state.cluster_name
    }

    /// The names of the services.
    pub fn service_names(&self) -> Vec<String> {
        self.world.state.services.keys().cloned().collect()
    }

    /// The cluster's tags.
    pub fn cluster_tags(&self) -> &BTreeMap<String, String> {
        &self.world.state.cluster_tags
    }

    /// The instances that have a custom attribute, with its value.
    pub fn instances_with_attribute(&self, name: &str) -> BTreeMap<String, String> {
        let instances = self.world.state.instances.values();
        instances
            .filter(|instance| instance.status != "INACTIVE")
            .filter_map(|instance| {
                Some((instance.arn.clone(), instance.attributes.get(name)?.clone().unwrap_or_default()))
            })
            .collect()
    }
}

/// A service as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// The desired count.
    pub desired_count: u32,
    /// ACTIVE, DRAINING or INACTIVE.
    pub status: String,
    /// Type and expression of each.
    pub placement_constraints: Vec<(String, String)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// ARNs of its tasks that are protected now.
    pub protected: Vec<String>,
    /// ARNs of its tasks that are to run, each with its instance's.
    pub tasks: BTreeMap<String, String>,
    /// What new tasks are started from.
    pub task_definition: String,
}
