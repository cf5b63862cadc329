//! The job's own binary against the simulator's server, each in earnest: a process, sockets, signals, the real clock.
//!
//! The job waits by the real clock; the cluster's goes [`SPEED`] times as fast, so whatever a run waits for is there when it
//! looks again. Services have health checks: where there is none the job takes the time between ECS's clock and its own.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener as Deaf, TcpStream},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ecs_rebalancer::{exit, rehearsal::Rehearsal};
use ecs_simulator::{
    server::{self, Running},
    snapshot::Snapshot,
    timeline::History,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, time::Instant};

use crate::support::{config, in_simulated_time, leftovers_in, options, snapshot, spread_in, spread_of};

/// How many seconds pass in the cluster in one of ours.
const SPEED: f64 = 60.0;

/// A simulated cluster that other processes can reach, as long as this lives.
pub(crate) struct Served {
    pub(crate) running: Arc<Running>,
    pub(crate) address: SocketAddr,
    cluster: String,
    _until_dropped: oneshot::Sender<()>,
}

/// A run that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Served {
    /// The cluster has the job's own date, for each compares the other's times with its own.
    fn new(snapshot: &Snapshot, seed: u64, behaviour: &[&str]) -> Self {
        Self::at_speed(snapshot, seed, behaviour, SPEED)
    }

    pub(crate) fn at_speed(snapshot: &Snapshot, seed: u64, behaviour: &[&str], times_as_fast: f64) -> Self {
        let running = Arc::new(Running::new(snapshot.clone(), options(seed, behaviour, &[]), times_as_fast).unwrap());
        let (until_dropped, dropped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let served = running.clone();
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    ended = server::serve(listener, served) => ended.unwrap(),
                    _ = dropped => {}
                }
            });
        });
        let address = told.recv().unwrap();
        Self { running, address, cluster: snapshot.cluster_name().to_owned(), _until_dropped: until_dropped }
    }

    /// Starts the job with settings `NAME=VALUE`, and with nothing of this process's own environment.
    fn start(&self, settings: &str) -> Child {
        self.start_at(self.address, settings)
    }

    /// The same, where the cluster is reached by another address.
    pub(crate) fn start_at(&self, address: SocketAddr, settings: &str) -> Child {
        let ours = settings.split_whitespace().map(|word| word.split_once('=').unwrap());
        Command::new(env!("CARGO_BIN_EXE_ecs-rebalancer"))
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{address}"))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "simulated")
            .env("AWS_SECRET_ACCESS_KEY", "simulated")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("REBALANCER_CLUSTER", &self.cluster)
            .envs(ours.map(|(name, value)| (format!("REBALANCER_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn run(&self, settings: &str) -> Ended {
        Ended::of(self.start(settings))
    }

    fn requests(&self) -> u64 {
        self.running.simulator().requests().values().sum()
    }

    /// An ECS operation, asked as any client asks it.
    fn call(&self, operation: &str, input: &Value) -> String {
        let body = input.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             x-amz-target: AmazonEC2ContainerServiceV20141113.{operation}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len(),
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{operation} {body}: {answer}");
        answer
    }

    /// Lets the lease of a dead run lapse. It does so by the job's clock, in minutes that a test can't wait.
    pub(crate) fn let_the_lease_lapse(&self) {
        let tags = self.running.simulator().cluster_tags().clone();
        for (key, lease) in tags.iter().filter(|(key, _)| key.starts_with("ecs-rebalancer:lease-")) {
            let (state, _) = lease.split_once(" until=").unwrap();
            let tag = json!({"key": key, "value": format!("{state} until=1")});
            let arn = format!("arn:aws:ecs:us-east-1:111122223333:cluster/{}", self.cluster);
            self.call("TagResource", &json!({"resourceArn": arn, "tags": [tag]}));
        }
    }
}

impl Ended {
    pub(crate) fn of(process: Child) -> Self {
        let output = process.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The last line on standard output.
    pub(crate) fn summary(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("no report: {}", self.stderr));
        let summary: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(summary["message"], "summary", "{line}");
        summary
    }
}

/// Runs the job on a cluster as a process and in this process: both come to the same.
fn check_the_same(snapshot: &Snapshot, services: &[&str], settings: &str) {
    let cluster = snapshot.cluster_name();
    let served = Served::new(snapshot, 0, &[]);
    let file = std::env::temp_dir().join(format!("processes-{}-{cluster}.json", std::process::id()));
    let ended = served.run(&format!("{settings} LOG_FORMAT=json REPORT={}", file.display()));
    let real: Value = serde_json::from_slice(&std::fs::read(&file).expect(&ended.stderr)).unwrap();
    std::fs::remove_file(file).unwrap();
    let (rehearsed, rehearsal) = in_simulated_time(async {
        let rehearsal = Rehearsal::new(snapshot, options(0, &[], &[])).unwrap();
        let report = rehearsal.run(&config(settings), cluster, "run-1").await;
        (serde_json::to_value(report).unwrap(), rehearsal)
    });
    let simulator = served.running.simulator();
    let what = format!("{cluster}: {real:#}\n{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(exit::DONE.into()), "{what}");
    assert_eq!(real["outcome"], "rebalanced", "{what}");
    for part in ["outcome", "cluster", "before", "predicted", "after", "errors", "warnings"] {
        assert_eq!(real[part], rehearsed[part], "{part} of {what}");
    }
    let log: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(log.iter().any(|event| event["message"] == "setting the desired count"), "{what}");
    assert_eq!(leftovers_in(&simulator, &[]), Vec::<String>::new(), "{what}");
    let counts = |history: &History| (history.started, history.stopped, history.lowest_healthy);
    for name in services {
        assert_eq!(spread_in(&simulator, name), spread_of(&rehearsal, name), "{what}");
        let expected = counts(&rehearsal.simulator().timeline().services()[*name]);
        assert_eq!(counts(&simulator.timeline().services()[*name]), expected, "{name} of {what}");
    }
}

/// Twelve tasks on two instances of four.
const HALF_EMPTY: &str = "a i-1 web web web web api api\na i-2 web web web web api api\nb i-3\nb i-4\n\
                          service web lb=true\nservice api check=true";

/// For people there is a table in the report's place.
fn check_text() {
    let ended = Served::new(&Snapshot::reference_cluster(), 0, &[]).run("LOG_FORMAT=text");
    assert_eq!(ended.status.code(), Some(exit::DONE.into()), "{}", ended.stderr);
    assert!(ended.stdout.contains("rebalanced"), "{}", ended.stdout);
    assert!(ended.stdout.lines().all(|line| !line.starts_with('{')), "{}", ended.stdout);
}

/// What is no plan for this run is told with status 2, and nothing is called.
fn check_wrong_plan() {
    let served = Served::new(&Snapshot::reference_cluster(), 0, &[]);
    let ended = served.run("PLAN=absent.json LOG_FORMAT=text");
    assert_eq!(ended.status.code(), Some(exit::MISCONFIGURED.into()), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("REBALANCER_PLAN is absent.json, but it cannot be read"), "{}", ended.stderr);
    assert_eq!(served.requests(), 0);
}

/// Of two that start at once one goes on.
fn check_two_at_once() {
    let served = Served::new(&Snapshot::reference_cluster(), 0, &[]);
    let both = [served.start("LOG_FORMAT=json"), served.start("LOG_FORMAT=json")].map(Ended::of);
    let mut outcomes = both.each_ref().map(|ended| ended.summary()["outcome"].clone());
    outcomes.sort_by_key(Value::to_string);
    assert_eq!(outcomes, ["rebalanced", "skipped"], "{}\n{}", both[0].stderr, both[1].stderr);
    assert!(both.iter().all(|ended| ended.status.code() == Some(exit::DONE.into())));
    assert_eq!(leftovers_in(&served.running.simulator(), &[]), Vec::<String>::new());
}

/// They wait most of the time, so all of them at the same.
#[test]
fn to_its_end_it_does_as_in_a_rehearsal_and_steps_back_for_another() {
    thread::scope(|scope| {
        scope.spawn(|| check_the_same(&Snapshot::reference_cluster(), &["web"], ""));
        scope.spawn(|| check_the_same(&snapshot(HALF_EMPTY), &["web", "api"], "SURGE=100"));
        scope.spawn(check_text);
        scope.spawn(check_wrong_plan);
        scope.spawn(check_two_at_once);
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

#[derive(Debug)]
struct Strategy {
    name: &'static str,
    drawing: &'static str,
    desired: u32,
    floor: u32,
    /// Until its last look at the cluster a run makes about so many.
    requests: u64,
}

const STRATEGIES: [Strategy; 6] = [
    SURGE,
    Strategy {
        name: "stop",
        drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 min=50 check=true",
        desired: 4,
        floor: 2,
        requests: 27,
    },
    SURGE,
    Strategy { name: "redeploy", ..REVISION },
    SURGE,
    REVISION,
];
const SURGE: Strategy = Strategy {
    name: "surge",
    drawing: "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 lb=true",
    desired: 4,
    floor: 4,
    requests: 43,
};
const REVISION: Strategy = Strategy {
    name: "revision",
    drawing: "a i-1 web web\nb i-2\nservice web desired=2 check=true",
    desired: 2,
    floor: 2,
    requests: 21,
};

/// The protection of a run with this deadline lasts 65 minutes of the cluster's, longer than the test: so whoever clears it,
/// time does not.
const SETTINGS: &str = "DEADLINE=1h COOLDOWN=0 SURGE=100 LOG_FORMAT=json";
/// Of each signal. Some come when the run is over already; of both together at least [`MET`] don't.
const MOMENTS: u64 = 30;
const MET: usize = 50;
/// ECS follows SIGTERM with SIGKILL after this long [API, ContainerDefinition, stopTimeout].
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const SIGKILL: i32 = 9;
/// Between looks at a process.
const GLANCE: Duration = Duration::from_millis(2);

/// When a signal comes: so long after so many requests of the run.
#[derive(Debug)]
struct When {
    requests: u64,
    delay: Duration,
}

impl When {
    fn random(random: &mut ChaCha8Rng, strategy: &Strategy) -> Self {
        // A run waits most of its time, five seconds at a time, and does most between its waits.
        let (last, longest) =
            if random.random_range(0..2) == 0 { (strategy.requests, 20) } else { (strategy.requests / 2, 5_000) };
        let requests = random.random_range(1..=last);
        Self { requests, delay: Duration::from_millis(random.random_range(0..longest)) }
    }

    /// Waits for the moment; false where the run is over before.
    fn comes(&self, process: &mut Child, served: &Served) -> bool {
        let mut reached: Option<Instant> = None;
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            if served.requests() >= self.requests && reached.get_or_insert_with(Instant::now).elapsed() >= self.delay {
                return true;
            }
            thread::park_timeout(GLANCE);
        }
    }
}

pub(crate) fn send(signal: Signal, process: &mut Child) {
    match signal {
        Signal::Kill => process.kill().unwrap(),
        // The standard library sends no other signal; every shell does.
        Signal::Terminate => {
            let id = process.id().to_string();
            assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap().success());
        }
    }
}

/// Plays one signal; gives whether it met the run, which is over before, or just then, where that ends as any other.
fn play(signal: Signal, number: u64) -> bool {
    let strategy = &STRATEGIES[usize::try_from(number).unwrap() % STRATEGIES.len()];
    let when = When::random(&mut ChaCha8Rng::seed_from_u64(number), strategy);
    let served = Served::new(&snapshot(strategy.drawing), number, &["spread-counts=own-revision"]);
    let settings = format!("{SETTINGS} STRATEGY={}", strategy.name);
    let mut process = served.start(&settings);
    if when.comes(&mut process, &served) {
        send(signal, &mut process);
    }
    let signalled = Instant::now();
    let ended = Ended::of(process);
    let mut what = format!("{signal:?} {number}: {when:?} {strategy:?}\n{}{}", ended.stderr, ended.stdout);
    let met = ended.status.code() != Some(exit::DONE.into());
    if !met {
        assert_eq!(ended.summary()["after"]["misplaced_tasks"], 0, "{what}");
    } else if signal == Signal::Terminate {
        assert_eq!(ended.status.code(), Some(exit::TERMINATED.into()), "{what}");
        assert!(signalled.elapsed() < STOP_TIMEOUT, "{:?}: {what}", signalled.elapsed());
        assert_eq!(ended.summary()["errors"], "", "{what}");
    } else {
        assert_eq!(ended.status.signal(), Some(SIGKILL), "{what}");
        served.let_the_lease_lapse();
        // Too high a threshold for anything but what the dead run left.
        let next = served.run(&format!("{settings} THRESHOLD=100"));
        what = format!("{what}\nnext run: {}{}", next.stderr, next.stdout);
        assert_eq!(next.status.code(), Some(exit::DONE.into()), "{what}");
    }
    let simulator = served.running.simulator();
    assert_eq!(leftovers_in(&simulator, &[]), Vec::<String>::new(), "{what}");
    assert_eq!(simulator.service("web").unwrap().desired_count, strategy.desired, "{what}");
    let lowest = simulator.timeline().services()["web"].lowest_healthy;
    assert!(lowest >= strategy.floor, "fell to {lowest}: {what}");
    met
}

#[test]
fn whenever_a_signal_ends_it_every_service_is_whole() {
    let met = thread::scope(|scope| {
        let signals = [Signal::Terminate, Signal::Kill];
        let plays = signals.iter().flat_map(|signal| (0..MOMENTS).map(|number| (*signal, number)));
        let plays: Vec<_> = plays.map(|(signal, number)| scope.spawn(move || play(signal, number))).collect();
        plays.into_iter().map(|play| play.join().unwrap()).filter(|met| *met).count()
    });
    assert!(met >= MET, "only {met} of {} signals met a run", 2 * MOMENTS);
}

/// Long enough for a process to end that is told to, however busy the machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Starts the job with an environment, waits until it asks what never answers, and tells it to end.
fn check_start_that_ends(asks: impl FnOnce(), environment: &[(&str, &str)], told: &str) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ecs-rebalancer"))
        .env_clear()
        .envs([("HOME", "/nonexistent"), ("REBALANCER_CLUSTER", "prod"), ("REBALANCER_LOG_FORMAT", "json")])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    asks();
    send(Signal::Terminate, &mut process);
    let signalled = Instant::now();
    let ended = Ended::of(process);
    let what = format!("{environment:?}: {}{}", ended.stdout, ended.stderr);
    assert!(signalled.elapsed() < AT_ONCE, "after {:?}: {what}", signalled.elapsed());
    assert_eq!(ended.status.code(), Some(exit::TERMINATED.into()), "{what}");
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = lines.as_slice() else { panic!("not one line: {what}") };
    let reason = line.get("outcome_reason").unwrap_or(&line["reason"]);
    assert_eq!(reason, told, "{what}");
}

/// The same with an address where everybody is let in, and nobody answers.
fn check_start_that_asks(name: &str, environment: &[(&str, &str)], told: &str) {
    let deaf = Deaf::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("http://{}", deaf.local_addr().unwrap());
    let environment: Vec<(&str, &str)> = environment.iter().copied().chain([(name, address.as_str())]).collect();
    let mut connection = None;
    check_start_that_ends(|| connection = Some(deaf.accept().unwrap()), &environment, told);
}

/// The same with a plan that is a pipe into which nobody writes.
fn check_start_that_reads() {
    let pipe = std::env::temp_dir().join(format!("processes-{}-plan", std::process::id()));
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut written = None;
    // It can be opened for writing once it is read.
    let asks = || written = Some(OpenOptions::new().write(true).open(&pipe).unwrap());
    check_start_that_ends(asks, &[("REBALANCER_PLAN", pipe.to_str().unwrap())], BEFORE);
    std::fs::remove_file(pipe).unwrap();
}

const BEFORE: &str = "the run was told to end before it had begun; nothing was changed";
const READING: &str = "the run was told to end while it read the cluster";

#[test]
fn whatever_it_waits_for_at_its_start_a_signal_ends_it_at_once() {
    let region = ("AWS_REGION", "us-east-1");
    let keys = [region, ("AWS_ACCESS_KEY_ID", "simulated"), ("AWS_SECRET_ACCESS_KEY", "simulated")];
    thread::scope(|scope| {
        scope.spawn(check_start_that_reads);
        scope.spawn(|| check_start_that_asks("ECS_CONTAINER_METADATA_URI_V4", &keys, BEFORE));
        scope.spawn(|| check_start_that_asks("AWS_EC2_METADATA_SERVICE_ENDPOINT", &[], BEFORE));
        scope.spawn(|| check_start_that_asks("AWS_EC2_METADATA_SERVICE_ENDPOINT", &[region], READING));
        scope.spawn(|| check_start_that_asks("AWS_CONTAINER_CREDENTIALS_FULL_URI", &[region], READING));
        scope.spawn(|| check_start_that_asks("AWS_ENDPOINT_URL", &keys, READING));
    });
}
