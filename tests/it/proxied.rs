//! The job's own binary behind a proxy that does wrong: what comes from the network, and not from AWS. Each fault at the start of a
//! run, with its first change and in the middle, once or until somebody mends the network.
//!
//! `PROXIED=all` plays the whole table, in some minutes; `PROXIED=WORDS` those of its lines that have all of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use ecs_rebalancer::exit;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    processes::{Ended, Served, Signal, send},
    support::{leftovers_in, snapshot},
};

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// 400, `ExpiredTokenException`: the request takes no effect.
    ExpiredToken,
    /// 502 and a page of HTML: the request takes no effect.
    Page,
    /// Half of the answer's body, and then the connection is closed: the request takes effect.
    HalfBody,
    /// The request takes effect, and the connection is reset.
    Reset,
    /// The request takes effect half a minute later, and is answered after another half.
    Latency,
    /// Every page of a list is followed by another.
    EndlessPages,
    /// The answers' dates are hours away, and signatures are refused for their time.
    Skew,
}

const FAULTS: [Fault; 7] =
    [Fault::ExpiredToken, Fault::Page, Fault::HalfBody, Fault::Reset, Fault::Latency, Fault::EndlessPages, Fault::Skew];

/// From which request on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Start,
    /// The first that changes a service, or stops a task.
    Change,
    /// The first after that.
    Middle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    /// One request of each operation.
    Once,
    /// For so long.
    Seconds(u64),
    /// As long as the run lasts.
    Lasting,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    fault: Fault,
    from: From,
    span: Span,
    /// Whether the run is told to end, so long after the fault was first met.
    signal: Option<Duration>,
    settings: &'static str,
    drawing: &'static str,
}

/// What the proxy does, and has done.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    from: From,
    span: Span,
    /// Whether a request that changes something has come.
    has_changed: bool,
    /// When the fault was first met.
    met: Option<Instant>,
    /// Of which operations.
    hurt: Vec<String>,
    is_mended: bool,
    pages: u64,
}

impl Plan {
    /// Whether a request is to be hurt.
    fn hurts(&mut self, operation: &str) -> bool {
        let changes = matches!(operation, "UpdateService" | "StopTask");
        let is_reached = match self.from {
            From::Start => true,
            From::Change => self.has_changed || changes,
            From::Middle => self.has_changed,
        };
        self.has_changed |= changes;
        let is_concerned = match self.fault {
            Fault::EndlessPages => operation.starts_with("List"),
            // Of the others' protocols, errors look otherwise.
            Fault::ExpiredToken | Fault::Skew => !operation.is_empty(),
            Fault::Page | Fault::HalfBody | Fault::Reset | Fault::Latency => true,
        };
        let is_in_time = match self.span {
            Span::Once => !self.hurt.iter().any(|hurt| hurt == operation),
            Span::Seconds(seconds) => self.met.is_none_or(|met| met.elapsed() < Duration::from_secs(seconds)),
            Span::Lasting => true,
        };
        let is_hurt = is_reached && is_concerned && is_in_time && !self.is_mended;
        if is_hurt {
            self.met.get_or_insert_with(Instant::now);
            self.hurt.push(operation.to_owned());
        }
        is_hurt
    }
}

/// A proxy in front of a simulated cluster, as long as this lives.
struct Proxy {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    _until_dropped: oneshot::Sender<()>,
}

impl Proxy {
    fn new(to: SocketAddr, case: &Case) -> Self {
        let plan = Plan {
            fault: case.fault,
            from: case.from,
            span: case.span,
            has_changed: false,
            met: None,
            hurt: Vec::new(),
            is_mended: false,
            pages: 0,
        };
        let plan = Arc::new(Mutex::new(plan));
        let (until_dropped, dropped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let served = plan.clone();
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let serve = async {
                    loop {
                        let (client, _) = listener.accept().await.unwrap();
                        let plan = served.clone();
                        // A connection that breaks is the client's affair.
                        tokio::spawn(async move { serve(client, to, &plan).await.unwrap_or(()) });
                    }
                };
                tokio::select! { () = serve => {} _ = dropped => {} }
            });
        });
        Self { address: told.recv().unwrap(), plan, _until_dropped: until_dropped }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        locked(&self.plan)
    }
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message of HTTP, whose body is in one piece.
struct Message {
    /// The first line.
    first: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// The next one; none where the connection is closed.
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let first = lines.next()?.to_owned();
        let headers = lines.map(|line| line.split_once(':').unwrap());
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        Some(Self { first, headers, body })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(found, _)| found != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The body as JSON, changed.
    fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&self.body).unwrap();
        change(&mut json);
        self.body = json.to_string().into_bytes();
        self.set("content-length", &self.body.len().to_string());
    }

    fn bytes(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut bytes = format!("{}\r\n{headers}\r\n", self.first).into_bytes();
        bytes.extend(&self.body);
        bytes
    }

    fn answer(status: &str, content_type: &str, body: &str) -> Self {
        let length = body.len().to_string();
        let headers = [("content-type", content_type), ("content-length", &length)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { first: format!("HTTP/1.1 {status}"), headers, body: body.into() }
    }

    fn refused(code: &str, message: &str) -> Self {
        let body = json!({"__type": code, "message": message}).to_string();
        Self::answer("400 Bad Request", "application/x-amz-json-1.1", &body)
    }
}

/// Serves one connection until it ends; none then.
async fn serve(mut client: TcpStream, to: SocketAddr, plan: &Mutex<Plan>) -> Option<()> {
    loop {
        let request = Message::read(&mut client).await?;
        // Of ECS alone the operation is told by this header.
        let operation = request.header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
        let (is_hurt, fault) = {
            let mut plan = locked(plan);
            (plan.hurts(&operation), plan.fault)
        };
        let answer = match fault {
            _ if !is_hurt => forward(request, to).await?,
            Fault::ExpiredToken => Message::refused("ExpiredTokenException", "The security token is expired"),
            Fault::Skew => Message::refused("InvalidSignatureException", SKEWED),
            Fault::Page => Message::answer("502 Bad Gateway", "text/html", PAGE),
            Fault::HalfBody => {
                let answer = forward(request, to).await?.bytes();
                client.write_all(&answer[..answer.len() - 2]).await.ok()?;
                return None;
            }
            Fault::Reset => {
                forward(request, to).await?;
                client.set_zero_linger().unwrap();
                return None;
            }
            Fault::Latency => {
                sleep(Duration::from_secs(30)).await;
                let answer = forward(request, to).await?;
                sleep(Duration::from_secs(30)).await;
                answer
            }
            Fault::EndlessPages => {
                let number = {
                    let mut plan = locked(plan);
                    plan.pages += 1;
                    plan.pages
                };
                let mut request = request;
                request.change(|json| drop(json.as_object_mut().unwrap().remove("nextToken")));
                let mut answer = forward(request, to).await?;
                answer.change(|json| json["nextToken"] = format!("page-{number}").into());
                answer
            }
        };
        let mut answer = answer;
        if fault == Fault::Skew {
            answer.set("date", "Tue, 01 Dec 2026 03:04:05 GMT");
        }
        client.write_all(&answer.bytes()).await.ok()?;
    }
}

async fn forward(mut request: Message, to: SocketAddr) -> Option<Message> {
    request.set("connection", "close");
    let mut upstream = TcpStream::connect(to).await.unwrap();
    upstream.write_all(&request.bytes()).await.unwrap();
    let mut answer = Message::read(&mut upstream).await?;
    answer.set("connection", "keep-alive");
    Some(answer)
}

const SKEWED: &str =
    "Signature expired: 20261201T000000Z is now earlier than 20261201T025905Z (20261201T030405Z - 5 min.)";
const PAGE: &str =
    "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>The gateway is out of order</body>\n</html>\n";

/// What no sentence for people has: Rust's own way to print a value.
const OF_RUST: [&str; 8] = ["Some(", "Err(", "Ok(", "Error {", "Error(", " { ", "Unhandled", "SdkError"];

/// What a run's own changes must leave as they are.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    desired: u32,
    constraints: Vec<(String, String)>,
    tags: Vec<(String, String)>,
}

fn kept(served: &Served) -> Kept {
    let service = served.running.simulator().service("web").unwrap();
    let tags = service.tags.iter().filter(|(key, _)| *key != "ecs-rebalancer:last");
    Kept {
        desired: service.desired_count,
        tags: tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
        constraints: service.placement_constraints,
    }
}

/// What is told of a run: its lines and its log.
fn check_words(ended: &Ended, case: &Case) -> Value {
    let what = format!("{case:?}\n{}{}", ended.stderr, ended.stdout);
    for word in OF_RUST {
        assert!(!ended.stdout.contains(word) && !ended.stderr.contains(word), "{word:?} is told: {what}");
    }
    let summary = ended.summary();
    let errors = summary["errors"].as_str().unwrap();
    match ended.status.code().map(u8::try_from) {
        Some(Ok(exit::FAILED)) => assert!(!errors.is_empty() && summary["outcome"] == "failed", "{what}"),
        Some(Ok(exit::DONE | exit::TERMINATED)) => assert_eq!(errors, "", "{what}"),
        _ => panic!("{what}"),
    }
    let is_of_page = case.fault == Fault::Page && errors.contains("no answer of AWS's");
    assert!(!is_of_page || errors.contains("HTTP status 502") && errors.contains("502 Bad Gateway"), "{what}");
    summary
}

/// How many seconds pass in the cluster in one of ours: few enough for what a run protects, and for how long its note says that
/// new tasks are its own.
const SPEED: f64 = 4.0;
const DEADLINE: Duration = Duration::from_mins(4);
/// Where no answer comes to the first request of each operation: after each the run waits a minute, for it may still take effect.
const LONG_DEADLINE: Duration = Duration::from_mins(8);
/// A request that was held may arrive so long after the run.
const LANDS_WITHIN: Duration = Duration::from_secs(32);
/// Within which it ends that is told to.
const TO_END: Duration = Duration::from_secs(25);
/// A process's start and end, on a busy machine.
const AROUND: Duration = Duration::from_secs(3);
const SETTINGS: &str = "COOLDOWN=0 SURGE=100 LOG_FORMAT=json";

fn play(case: &Case) {
    let served = Served::at_speed(&snapshot(case.drawing), 0, &[], SPEED);
    let before = kept(&served);
    let proxy = Proxy::new(served.address, case);
    let is_unanswered = matches!(case.fault, Fault::Latency | Fault::Reset);
    let deadline = if case.span == Span::Once && is_unanswered { LONG_DEADLINE } else { DEADLINE };
    let minutes = deadline.as_secs() / 60;
    let settings = format!("{SETTINGS} DEADLINE={minutes}m TASK_TIMEOUT={}m {}", minutes / 4, case.settings);
    let began = Instant::now();
    let mut process = served.start_at(proxy.address, &settings);
    let mut signalled = None;
    while process.try_wait().unwrap().is_none() {
        thread::park_timeout(Duration::from_millis(20));
        let met = proxy.plan().met;
        if signalled.is_none() && case.signal.is_some_and(|after| met.is_some_and(|met| met.elapsed() >= after)) {
            send(Signal::Terminate, &mut process);
            signalled = Some(Instant::now());
        }
    }
    let (took, since_signal) = (began.elapsed(), signalled.map(|at| at.elapsed()));
    let ended = Ended::of(process);
    let mut what = format!("{case:?}\n{}{}\nafter {took:?}", ended.stderr, ended.stdout);
    assert!(proxy.plan().met.is_some(), "nothing was hurt: {what}");
    assert!(took <= deadline + AROUND, "{what}");
    assert!(since_signal.is_none_or(|since| since <= TO_END), "{since_signal:?} after the signal: {what}");
    let summary = check_words(&ended, case);
    let is_whole =
        |served: &Served| kept(served) == before && leftovers_in(&served.running.simulator(), &[]).is_empty();
    let once = case.span == Span::Once && case.fault != Fault::EndlessPages;
    if once && signalled.is_none() {
        assert_eq!(ended.status.code(), Some(exit::DONE.into()), "{what}");
        // Where a deployment's tasks lie is ECS's choice.
        assert!(summary["after"]["misplaced_tasks"] == 0 || case.settings.contains("redeploy"), "{what}");
    }
    if once || summary["outcome"] == "rebalanced" {
        assert!(is_whole(&served), "{:?} {:?}: {what}", kept(&served), leftovers_in(&served.running.simulator(), &[]));
    }
    let count = kept(&served).desired;
    if count != before.desired {
        let told = format!("web: left at desired count {count}, and {} is meant", before.desired);
        assert!(summary["errors"].as_str().unwrap().contains(&told), "{told:?} isn't: {what}");
        assert_eq!((ended.status.code(), &summary["left_raised"]), (Some(exit::FAILED.into()), &json!(1)), "{what}");
        assert!(kept(&served).tags.iter().any(|(key, _)| key == "ecs-rebalancer:surge"), "no note: {what}");
    }
    proxy.plan().is_mended = true;
    if case.fault == Fault::Latency {
        let ended = Instant::now();
        while ended.elapsed() < LANDS_WITHIN {
            thread::park_timeout(LANDS_WITHIN);
        }
    }
    if !is_whole(&served) {
        served.let_the_lease_lapse();
        // Too high a threshold for anything but what the run left.
        let next = served.run(&format!("{settings} THRESHOLD=100"));
        what = format!("{what}\nnext run: {}{}", next.stderr, next.stdout);
        assert_eq!(next.status.code(), Some(exit::DONE.into()), "{what}");
        assert!(is_whole(&served), "{:?} {:?}: {what}", kept(&served), leftovers_in(&served.running.simulator(), &[]));
    }
}

const SURGE: (&str, &str) = ("STRATEGY=surge", "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 lb=true");
const STRATEGIES: [(&str, &str); 4] = [
    SURGE,
    ("STRATEGY=surge STEER=true", "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 check=true"),
    ("STRATEGY=stop", "a i-1 web web web web\nb i-2\nc i-3\nservice web desired=4 min=50 check=true"),
    ("STRATEGY=redeploy", "a i-1 web web\nb i-2\nservice web desired=2 check=true"),
];

/// Each fault at each moment: once, for a while and for good; to the end, or with a signal.
fn table(strategies: &[(&'static str, &'static str)]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (settings, drawing) in strategies {
        for fault in FAULTS {
            for from in [From::Start, From::Change, From::Middle] {
                for span in [Span::Once, Span::Seconds(8), Span::Lasting] {
                    for signal in [None, Some(Duration::from_millis(200)), Some(Duration::from_secs(4))] {
                        // A signal soon after something that happens once is what other tests have.
                        if signal.is_none() || span == Span::Lasting {
                            cases.push(Case { fault, from, span, signal, settings, drawing });
                        }
                    }
                }
            }
        }
    }
    cases
}

/// Of the table's: those that a signal ends before anything is changed. The others take a minute or two of real time.
fn is_short(case: &Case) -> bool {
    case.signal.is_some_and(|after| after < Duration::from_secs(1)) && case.from == From::Start
}

#[test]
fn whatever_the_network_does_a_run_ends_in_time_and_every_service_is_whole() {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of this one test")]
    let asked = std::env::var("PROXIED").ok();
    let cases = match asked.as_deref() {
        None => table(&[SURGE]).into_iter().filter(is_short).collect(),
        Some("all") => table(&STRATEGIES),
        Some(words) => {
            let is_asked = |case: &Case| words.split_whitespace().all(|word| format!("{case:?}").contains(word));
            table(&STRATEGIES).into_iter().filter(is_asked).collect::<Vec<_>>()
        }
    };
    let failed: usize = cases
        .chunks(AT_A_TIME)
        .map(|cases| {
            thread::scope(|scope| {
                let plays: Vec<_> = cases.iter().map(|case| scope.spawn(|| play(case))).collect();
                plays.into_iter().filter_map(|play| play.join().err()).count()
            })
        })
        .sum();
    assert_eq!(failed, 0, "so many of {} failed", cases.len());
}

/// More would wait for the processor.
const AT_A_TIME: usize = 210;
