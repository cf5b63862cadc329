//! Each probe in each of its worlds finds just that world; against a simulator that lies it finds nothing false.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/conformance/simulated.rs"]
mod simulated;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_applicationautoscaling::types::ServiceNamespace;
use aws_sdk_ecs::types::ContainerInstanceStatus;
use bytes::Bytes;
use conformance::{
    connection::{Connection, FarSide},
    finding::Stop,
    findings,
    lab::{PATIENCE, Site},
    probe::{Probe, Setting},
    probes::{PROBES, RATES},
    runner::{self, Finding},
};
use ecs_simulator::{
    Options,
    behaviour::{Behaviour, SWITCHES},
    faults::Faults,
};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use simulated::{BALANCER, Cluster, SCALING, in_simulated_time, stack};

/// A world in which a setting has a value, and perhaps another has.
fn world(seed: u64, settings: &[(Setting, &str)]) -> Options {
    let of = |is_it: fn(&Setting) -> bool| {
        let those = settings.iter().filter(move |(setting, _)| is_it(setting));
        those.map(|(setting, value)| format!("{}={value}", setting.name()))
    };
    let behaviour: Vec<String> =
        BALANCER.into_iter().map(str::to_owned).chain(of(|setting| matches!(setting, Setting::Behaviour(_)))).collect();
    let faults: Vec<String> =
        SCALING.into_iter().map(str::to_owned).chain(of(|setting| matches!(setting, Setting::Fault(_)))).collect();
    Options {
        seed,
        behaviour: Behaviour::from_settings(&behaviour).unwrap(),
        faults: Faults::from_settings(&faults).unwrap(),
    }
}

fn options(seed: u64, probe: &Probe, value: &str) -> Options {
    world(seed, &[(probe.setting, value)])
}

/// A number that a longer run of these tests sets otherwise.
fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long the tests take is their caller's choice")]
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// Runs a probe on a simulated cluster, between which and the SDK stands `between`.
fn run(probe: &'static Probe, options: Options, between: impl FnOnce(&Cluster) -> FarSide) -> Finding {
    run_for(probe, options, PATIENCE, between)
}

/// The same, where nothing is waited for so long.
fn run_for(
    probe: &'static Probe,
    options: Options,
    patience: Duration,
    between: impl FnOnce(&Cluster) -> FarSide,
) -> Finding {
    in_simulated_time(async {
        let cluster = Cluster::new(options).unwrap();
        let stack = stack().unwrap();
        let connection = Connection::in_process(between(&cluster), &stack.region).await;
        let finding =
            runner::run(probe, Site { connection: &connection, stack: &stack, patience, tell: &|_| () }, None).await;
        let left: Vec<String> = cluster.simulator().service_names();
        let left = left.iter().filter_map(|name| cluster.simulator().service(name));
        assert!(left.into_iter().all(|service| service.status != "ACTIVE"), "{} left a service", probe.name);
        let asked = connection.ecs.list_container_instances().cluster(&stack.cluster);
        let draining = asked.status(ContainerInstanceStatus::Draining).send().await.unwrap();
        assert!(draining.container_instance_arns().is_empty(), "{} left an instance that drains", probe.name);
        let bounds = connection.scaling.describe_scalable_targets().service_namespace(ServiceNamespace::Ecs);
        assert!(bounds.send().await.unwrap().scalable_targets().is_empty(), "{} left a count's bounds", probe.name);
        let group = connection.groups.describe_auto_scaling_groups().auto_scaling_group_names(&stack.scaled.group);
        let group = group.send().await.unwrap().auto_scaling_groups()[0].clone();
        let wanted = group.desired_capacity().unwrap_or_default();
        assert!(wanted == 0 && group.instances().is_empty(), "{} left an instance that it bought", probe.name);
        finding
    })
    .unwrap()
}

/// Longer than anything takes that a probe waits for.
const SHORT: Duration = Duration::from_mins(5);

/// Of how many seeds each world is; `SEEDS` is another number.
const SEEDS: u64 = 1;

#[test]
fn each_probe_finds_the_world_that_it_is_in() {
    let mut wrong = Vec::new();
    for (seed, probe) in (1..=number("SEEDS", SEEDS)).flat_map(|seed| PROBES.iter().map(move |probe| (seed, probe))) {
        for (index, (value, _)) in probe.values.iter().enumerate() {
            let finding = run(probe, options(seed, probe, value), Cluster::far_side);
            let what = format!("{}={value}, seed {seed}", probe.name);
            match &finding.outcome {
                Ok(found) if found.value == *value => {}
                Ok(found) => wrong.push(format!("{what}: {}, for {}", found.value, found.seen.join("; "))),
                Err(stop) => wrong.push(format!("{what}: {stop}")),
            }
            let (calls, seconds) = (finding.calls, finding.took.as_secs());
            println!("{what}: {calls} calls, {seconds} s");
            // What the book tells of its costs is what it takes where ECS behaves as the simulator does by default.
            let told = (u64::from(probe.calls), u64::from(probe.minutes) * 60);
            if index == 0 && seed == 1 && !(calls <= told.0 && seconds <= told.1 && 2 * calls > told.0) {
                wrong.push(format!("{} takes {calls} calls and {seconds} s, not {told:?}", probe.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rates_are_told_apart() {
    // Each class has another bucket: what the three values say is what the simulator's are.
    let finding = run(&RATES, world(1, &[]), Cluster::far_side);
    let known: Vec<&str> = RATES.values.iter().map(|(value, _)| *value).collect();
    assert_eq!(finding.outcome.unwrap().value, known.join(", "));
    assert!(finding.calls <= u64::from(RATES.calls) && 2 * finding.calls > u64::from(RATES.calls), "{}", finding.calls);
    assert!(finding.took.as_secs() <= u64::from(RATES.minutes) * 60);
}

/// In how many other worlds each probe runs; `WORLDS` is another number.
const WORLDS: u64 = 1;

#[test]
fn no_probe_is_misled_by_what_another_one_settles() {
    let all: Vec<(Setting, &str)> =
        PROBES.iter().flat_map(|probe| probe.values.iter().map(|(value, _)| (probe.setting, *value))).collect();
    let mut wrong = Vec::new();
    let mut found = BTreeMap::<&str, u32>::new();
    for (turn, probe) in PROBES.iter().enumerate() {
        let others: Vec<(Setting, &str)> =
            all.iter().filter(|(setting, _)| *setting != probe.setting).copied().collect();
        let wanted = usize::try_from(number("WORLDS", WORLDS)).unwrap().min(others.len());
        for step in 0..wanted {
            let other = others[(turn * 3 + step * others.len() / wanted) % others.len()];
            let value = probe.values[step % probe.values.len()].0;
            let finding = run(probe, world(1, &[(probe.setting, value), other]), Cluster::far_side);
            let what = format!("{}={value} with {}={}", probe.name, other.0.name(), other.1);
            match &finding.outcome {
                Ok(known) if known.value == value => *found.entry("the truth").or_default() += 1,
                Ok(known) => wrong.push(format!("{what}: {}, for {}", known.value, known.seen.join("; "))),
                Err(stop) => {
                    *found.entry("nothing").or_default() += 1;
                    println!("{what}: {stop}");
                }
            }
        }
    }
    println!("{found:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those that conclude from which of several instances ECS chose; a rule among equals can look like what they ask for.
const CHOICES: [&str; 4] = ["default-strategy", "spread-across-providers", "spread-counts", "scale-in"];

#[test]
fn no_probe_takes_a_rule_among_equals_for_what_it_asks() {
    let ties = SWITCHES.iter().find(|switch| switch.name == "ties").unwrap();
    // All of them in a longer run.
    let tried = if number("WORLDS", WORLDS) > WORLDS { CHOICES.len() } else { 1 };
    for probe in CHOICES[..tried].iter().map(|name| conformance::probes::named(name).unwrap()) {
        for (value, _) in probe.values {
            for rule in ties.values {
                let world = world(1, &[(probe.setting, value), (Setting::Behaviour("ties"), rule)]);
                let finding = run(probe, world, Cluster::far_side);
                if let Ok(known) = &finding.outcome {
                    let what = format!("{}={value} with ties={rule}", probe.name);
                    assert_eq!(known.value, *value, "{what}, for {}", known.seen.join("; "));
                }
            }
        }
    }
}

/// What each switch that no probe settles is for, and why none does.
const WITHOUT_PROBE: [(&str, &str); 2] = [
    ("deregistration-delay", "no question: a target group has it as an attribute, and the stack sets it"),
    ("target-checks", "no question: a target group says how it checks, and the stack sets it"),
];

#[test]
fn each_switch_has_a_probe_or_a_reason_why_it_has_none() {
    let probed = PROBES.iter().filter_map(|probe| match probe.setting {
        Setting::Behaviour(name) => Some(name),
        Setting::Fault(_) | Setting::Nothing => None,
    });
    let mut settled: Vec<&str> = probed.chain(WITHOUT_PROBE.map(|(name, _)| name)).collect();
    settled.sort_unstable();
    let mut switches = SWITCHES.map(|switch| switch.name);
    switches.sort_unstable();
    assert_eq!(settled, switches);
}

#[test]
fn each_value_of_a_probe_s_switch_is_one_that_it_can_find() {
    for probe in &PROBES {
        let Setting::Behaviour(name) = probe.setting else { continue };
        let switch = SWITCHES.iter().find(|switch| switch.name == name).unwrap();
        let values: Vec<&str> = probe.values.iter().map(|(value, _)| *value).collect();
        assert_eq!(values, switch.values, "{}", probe.name);
    }
}

/// What one answer is exchanged for.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// The one before to the same operation.
    Before,
    /// The same with the instances of its tasks in another order.
    OtherInstances,
    /// The same with another desired count.
    OtherCount,
    /// The same with the last of each list left out.
    OneLess,
    /// The same with everything that runs stopped.
    Stopped,
    /// A refusal, though the request took effect.
    Refused,
    /// Nothing but success, though the request took no effect.
    Ignored,
    /// The same as ECS would say it, of requests that change what is there.
    Unheeded,
    /// The same requests are refused for the sake of whoever asks, and take no effect.
    Denied,
    /// The same with no version.
    OtherVersion,
    /// What the other of two target groups holds.
    OtherGroup,
}

const LIES: [Lie; 7] =
    [Lie::Before, Lie::OtherInstances, Lie::OtherCount, Lie::OneLess, Lie::Stopped, Lie::Refused, Lie::Ignored];

/// The cluster, which lies in its answers to the requests of these numbers.
fn lying(cluster: &Cluster, lie: Lie, numbers: RangeInclusive<u64>) -> FarSide {
    let cluster = cluster.clone();
    let state: Arc<Mutex<(u64, BTreeMap<String, Bytes>)>> = Arc::default();
    Arc::new(move |request: Request<Bytes>| {
        let (cluster, state, numbers) = (cluster.clone(), state.clone(), numbers.clone());
        Box::pin(async move {
            let operation = operation(&request);
            let is_it = {
                let mut state = state.lock().unwrap();
                state.0 += 1;
                numbers.contains(&state.0)
            };
            let is_change = is_it && changes(&operation);
            match lie {
                Lie::Ignored if is_it => return Some(Response::new(Bytes::from("{}"))),
                Lie::Unheeded if is_change => return Some(Response::new(Bytes::from(as_if_heeded(&request)))),
                Lie::Denied if is_change => {
                    let mut answer = Response::new(Bytes::from(A_DENIAL));
                    *answer.status_mut() = StatusCode::BAD_REQUEST;
                    return Some(answer);
                }
                _ => {}
            }
            let is_swapped = is_it && matches!(lie, Lie::OtherGroup);
            let mut answer = cluster.answer(if is_swapped { of_other_group(request) } else { request }).await?;
            let body = answer.body().clone();
            let before = state.lock().unwrap().1.insert(operation, body.clone());
            if is_it {
                match (lie, serde_json::from_slice::<Value>(&body)) {
                    (Lie::Before, _) => *answer.body_mut() = before.unwrap_or(body),
                    (Lie::Refused, json) => {
                        let refusal = if json.is_ok() { A_LIE } else { A_LIE_IN_XML };
                        *answer.status_mut() = StatusCode::BAD_REQUEST;
                        *answer.body_mut() = Bytes::from(refusal);
                    }
                    // What is asked by a form is answered in XML.
                    (_, Err(_)) => *answer.body_mut() = Bytes::from(changed(&String::from_utf8_lossy(&body), lie)),
                    (_, Ok(mut json)) => {
                        change(&mut json, lie);
                        *answer.body_mut() = Bytes::from(json.to_string());
                    }
                }
            }
            Some(answer)
        })
    })
}

const A_LIE: &str = r#"{"__type":"InvalidParameterException","message":"A lie."}"#;
const A_LIE_IN_XML: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>A lie.</Message></Error></ErrorResponse>";

const A_DENIAL: &str = r#"{"__type":"AccessDeniedException","message":"You are not authorized."}"#;

/// Whether an operation changes what a probe has made.
fn changes(operation: &str) -> bool {
    let all = ["UpdateService", "TagResource", "RegisterScalableTarget", "UpdateTaskProtection", "StopTask"];
    all.iter().any(|name| operation.ends_with(&format!(".{name}")))
}

/// What ECS would answer if it did what the request asks for.
fn as_if_heeded(request: &Request<Bytes>) -> String {
    let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let protected = |arn: &Value| json!({"taskArn": arn, "protectionEnabled": asked["protectionEnabled"]});
    let tasks: Vec<Value> = asked["tasks"].as_array().into_iter().flatten().map(protected).collect();
    let answer = json!({
        "service": {"serviceName": asked["service"], "desiredCount": asked["desiredCount"].as_i64().unwrap_or(0)},
        "task": {"taskArn": asked["task"], "desiredStatus": "STOPPED"},
        "protectedTasks": tasks,
        "failures": [],
    });
    answer.to_string()
}

/// Which operation a request asks for, in a header or, where it is a form, in its body.
fn operation(request: &Request<Bytes>) -> String {
    let named = request.headers().get("x-amz-target").map(|it| it.to_str().unwrap().to_owned());
    named.unwrap_or_else(|| String::from_utf8_lossy(request.body()).split('&').next().unwrap_or_default().to_owned())
}

/// A request about one of the two target groups, about the other instead.
fn of_other_group(request: Request<Bytes>) -> Request<Bytes> {
    let names = stack().unwrap().swap.target_groups.map(|arn| arn.replace(':', "%3A").replace('/', "%2F"));
    request.map(|body| {
        let text = String::from_utf8_lossy(&body).into_owned();
        let [one, other] = &names;
        Bytes::from(if text.contains(one) { text.replace(one, other) } else { text.replace(other, one) })
    })
}

/// An answer in XML with the same lie.
fn changed(xml: &str, lie: Lie) -> String {
    match lie {
        Lie::OtherCount => xml.replace("<DesiredCapacity>0<", "<DesiredCapacity>1<"),
        Lie::OneLess => match (xml.rfind("<member>"), xml.rfind("</member>")) {
            (Some(from), Some(to)) => format!("{}{}", &xml[..from], &xml[to + "</member>".len()..]),
            _ => xml.to_owned(),
        },
        Lie::Stopped => xml.replace("<State>healthy<", "<State>draining<"),
        _ => xml.to_owned(),
    }
}

fn change(json: &mut Value, lie: Lie) {
    match json {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (lie, key.as_str()) {
                    (Lie::OtherVersion, "version") => *value = json!(0),
                    (Lie::OtherCount, "desiredCount") => *value = json!(value.as_i64().unwrap_or(0) + 1),
                    (Lie::Stopped, "lastStatus" | "desiredStatus") => *value = json!("STOPPED"),
                    _ => change(value, lie),
                }
            }
        }
        Value::Array(list) => {
            if matches!(lie, Lie::OneLess) {
                list.pop();
            }
            if matches!(lie, Lie::OtherInstances) {
                let instances: Vec<Value> = list.iter().map(|one| one["containerInstanceArn"].clone()).collect();
                for (index, one) in list.iter_mut().enumerate().filter(|(_, one)| one.is_object()) {
                    if !instances[index].is_null() {
                        one["containerInstanceArn"] = instances[(index + 1) % instances.len()].clone();
                    }
                }
            }
            for one in list {
                change(one, lie);
            }
        }
        _ => {}
    }
}

/// A cluster whose listings never end: each page names another.
fn endless(cluster: &Cluster) -> FarSide {
    let cluster = cluster.clone();
    let number = Arc::new(Mutex::new(0_u64));
    Arc::new(move |request: Request<Bytes>| {
        let (cluster, number) = (cluster.clone(), Arc::clone(&number));
        Box::pin(async move {
            let is_listing = operation(&request).contains(".List");
            // What it asks for next is what it was asked for first.
            let (parts, body) = request.into_parts();
            let mut asked: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let body = match asked.as_object_mut().and_then(|map| map.remove("nextToken")) {
                Some(_) => Bytes::from(asked.to_string()),
                None => body,
            };
            let mut answer = cluster.answer(Request::from_parts(parts, body)).await?;
            if let (true, Ok(mut json)) = (is_listing, serde_json::from_slice::<Value>(answer.body())) {
                let mut number = number.lock().unwrap();
                *number += 1;
                json["nextToken"] = json!(number.to_string());
                *answer.body_mut() = Bytes::from(json.to_string());
            }
            Some(answer)
        })
    })
}

/// What stands between the cluster and the SDK.
type Between = fn(&Cluster) -> FarSide;

/// Within that time every probe ends, however little comes of what it waits for.
const LONGEST: Duration = Duration::from_hours(2);

#[test]
fn no_probe_waits_without_a_bound() {
    let sides: [(&str, &str, Between); 2] = [
        ("no task ever runs", "slow-start=1000", Cluster::far_side),
        ("no listing ever ends", "slow-start=1", endless),
    ];
    for (what, fault, side) in sides {
        for (turn, probe) in (0..).zip(PROBES.iter().chain([&RATES])) {
            // Half of them each, or all.
            if number("SEEDS", SEEDS) == SEEDS && (turn % 2 == 0) != (what == "no task ever runs") {
                continue;
            }
            let options = Options { faults: Faults::from_settings(&[fault]).unwrap(), ..world(1, &[]) };
            let ended = in_simulated_time(async {
                let cluster = Cluster::new(options).unwrap();
                let stack = stack().unwrap();
                let connection = Connection::in_process(side(&cluster), &stack.region).await;
                let site =
                    Site { connection: &connection, stack: &stack, patience: Duration::from_mins(1), tell: &|_| () };
                tokio::time::timeout(LONGEST, runner::run(probe, site, None)).await.is_ok()
            });
            assert!(ended.unwrap(), "{} goes on for ever where {what}", probe.name);
        }
    }
}

/// So many of a probe's answers are exchanged, one in each run; `LIES` is another number.
const LIES_TOLD: u64 = 1;

/// What probes told that were lied to.
#[derive(Default)]
struct Told {
    found: BTreeMap<&'static str, u32>,
    wrong: Vec<String>,
}

impl Told {
    fn count(&mut self, finding: &Finding, value: &str, what: &str) {
        let outcome = match &finding.outcome {
            Ok(known) if known.value == value => "the truth",
            Ok(known) => {
                self.wrong.push(format!("{what}: {}", known.value));
                "a falsehood"
            }
            Err(Stop::Contradiction { .. }) => "a contradiction",
            Err(Stop::NotSettled { .. }) => "not settled",
        };
        *self.found.entry(outcome).or_default() += 1;
    }

    fn check(&self) {
        let Self { found, wrong } = self;
        println!("{found:?}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(found.contains_key("not settled"), "lies that never matter prove nothing: {found:?}");
    }
}

#[test]
fn no_probe_finds_anything_false_where_one_answer_is_a_lie() {
    let mut told = Told::default();
    let lies = number("LIES", LIES_TOLD);
    for (turn, probe) in (0..).zip(&PROBES) {
        let value = probe.values[usize::try_from(turn).unwrap() % probe.values.len()].0;
        for step in 0..lies {
            let lie = LIES[usize::try_from(turn + step).unwrap() % LIES.len()];
            // Over the first half of what a probe takes at most: each comes so far.
            let number = 8 + (u64::from(probe.calls) / 2 * (2 * step + 1)) / (2 * lies);
            let finding = run(probe, options(1, probe, value), |cluster| lying(cluster, lie, number..=number));
            told.count(&finding, value, &format!("{}={value}, {lie:?} at {number}", probe.name));
        }
    }
    told.check();
}

/// The numbers of a probe's requests that change what is there, where nobody lies.
fn numbers_of_changes(probe: &'static Probe, options: Options) -> Vec<u64> {
    let state: Arc<Mutex<(u64, Vec<u64>)>> = Arc::default();
    let kept = Arc::clone(&state);
    run(probe, options, |cluster| {
        let cluster = cluster.clone();
        Arc::new(move |request: Request<Bytes>| {
            let mut kept = kept.lock().unwrap();
            kept.0 += 1;
            let number = kept.0;
            if changes(&operation(&request)) {
                kept.1.push(number);
            }
            let cluster = cluster.clone();
            Box::pin(async move { cluster.answer(request).await })
        })
    });
    state.lock().unwrap().1.clone()
}

#[test]
fn no_probe_finds_anything_false_where_one_change_takes_no_effect() {
    let mut told = Told::default();
    let lies = usize::try_from(number("LIES", LIES_TOLD)).unwrap();
    for (turn, probe) in PROBES.iter().enumerate() {
        let value = probe.values[turn % probe.values.len()].0;
        let numbers = numbers_of_changes(probe, options(1, probe, value));
        // Spread over all of them, the first one first.
        let step = numbers.len().div_ceil(lies).max(1);
        for (index, number) in numbers.into_iter().step_by(step).enumerate() {
            let lie = [Lie::Unheeded, Lie::Denied][(turn + index) % 2];
            let options = options(1, probe, value);
            let finding = run_for(probe, options, SHORT, |cluster| lying(cluster, lie, number..=number));
            told.count(&finding, value, &format!("{}={value}, {lie:?} at {number}", probe.name));
        }
    }
    told.check();
}

#[test]
fn what_no_setting_can_say_is_a_contradiction_with_all_that_was_asked_and_answered() {
    // One that looks at no more than one task at a time sees none sit elsewhere; but there is a lag for which there is no setting.
    let (lag, others): (Vec<&'static Probe>, Vec<&'static Probe>) =
        PROBES.iter().partition(|probe| probe.name == "reads-lag");
    let finding = run(lag[0], options(1, lag[0], "30"), Cluster::far_side);
    assert!(matches!(finding.outcome, Err(Stop::Contradiction { .. })), "{:?}", finding.outcome);
    // From some number on tasks sit elsewhere than they sat, or nothing heeds what is asked, or what is told belongs to another.
    let lies = [Lie::OtherInstances, Lie::Unheeded, Lie::OtherVersion, Lie::OtherGroup];
    for probe in others {
        let value = probe.values[0].0;
        let mut contradictions = 0;
        for (lie, part) in lies.into_iter().flat_map(|lie| [2, 4, 6, 1].map(|part| (lie, part))) {
            if contradictions > 0 {
                break;
            }
            let numbers = part * u64::from(probe.calls) / 16..=u64::MAX;
            let finding = run_for(probe, options(1, probe, value), SHORT, |cluster| lying(cluster, lie, numbers));
            match &finding.outcome {
                Ok(found) => assert_eq!(found.value, value, "{}", probe.name),
                Err(Stop::NotSettled { .. }) => {}
                Err(Stop::Contradiction { .. }) => {
                    contradictions += 1;
                    let issue = findings::issue(&finding).unwrap();
                    assert!(issue.contains("\n> ") && issue.contains("\n< "), "{issue}");
                }
            }
        }
        assert!(contradictions > 0, "{} believes whatever it is told", probe.name);
    }
}
