//! `cargo conformance`: what the simulator, an emulator or an account makes of each probe.

mod simulated;

use std::{
    cell::Cell,
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use conformance::{
    connection::Connection,
    finding::Stop,
    findings,
    lab::{self, PATIENCE, Site},
    probe::Probe,
    probes::{self, PROBES, RATES},
    runner::{self, Finding},
    stack::{Stack, cents},
};
use ecs_simulator::{Options, behaviour::Behaviour, faults::Faults};
use simulated::{BALANCER, Cluster, SCALING, in_simulated_time};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

/// Settles how Amazon ECS behaves where its documents leave that open.
///
/// Without `--account` the probes run on the simulator, in simulated time: that takes moments, and shows what they do.
#[derive(Debug, Parser)]
#[command(name = "cargo conformance", version, after_long_help = EXAMPLES)]
struct Arguments {
    /// Run on the account in which this stack is: the output `stack` of examples/conformance, as JSON
    #[arg(long, value_name = "STACK.json")]
    account: Option<PathBuf>,
    /// Call this endpoint instead of AWS: any emulator, or ecs-simulator
    #[arg(long, value_name = "URL", requires = "account")]
    endpoint: Option<String>,
    /// Run this probe alone; may be given several times
    #[arg(long, value_name = "NAME")]
    probe: Vec<String>,
    /// Write what was found here, too: `cargo rehearse --behaviours FILE` takes it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Measure how many calls ECS answers before it throttles, after all other probes: for two minutes nobody else in the account
    /// and Region gets an answer
    #[arg(long)]
    rates: bool,
    /// Name the probes, what they cost and what they can find, and run none
    #[arg(long)]
    list: bool,
    /// For how many seconds anything is waited for, such as a task to run
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs())]
    patience: u64,
    /// Take away what an earlier start left in the account, and run no probe
    #[arg(long, requires = "account", conflicts_with_all = ["probe", "output"])]
    clean: bool,
    /// How the simulator behaves; may be given several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "account")]
    behaviour: Vec<String>,
    /// What goes wrong in the simulator; may be given several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "account")]
    fault: Vec<String>,
    /// The simulator's only source of chance
    #[arg(long, default_value_t = 0, conflicts_with = "account")]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  cargo conformance
      all probes on the simulator
  terraform -chdir=examples/conformance output -json stack >stack.json
  cargo conformance --account stack.json --output findings.json
      all probes on the account in which the stack is, and a file for rehearsals
  cargo conformance --account stack.json --probe constraints-bind
      one of them";

/// What a shell tells of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "current_thread")]
async fn account(arguments: &Arguments, path: &PathBuf, probes: &[&'static Probe]) -> Result<ExitCode> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stack = Stack::from_json(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let connection = Connection::to_account(&stack.region, arguments.endpoint.as_deref()).await;
    let progress = Progress::new(&stack, &connection);
    let tell = |what: &str| progress.tell(what);
    let patience = Duration::from_secs(arguments.patience);
    let site = Site { connection: &connection, stack: &stack, patience, tell: &tell };
    lab::is_allowed(site).await.map_err(|stop| anyhow!("{stop}"))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let found = tokio::select! {
        found = all(arguments, probes, site) => Some(found?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(found) = found else {
        tell("interrupted: what the probe made is taken away");
        let cleaned = lab::clean(site).await;
        cleaned.map_err(|stop| anyhow!("cannot clean the cluster: {stop}"))?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    show(arguments, &stack, &found)
}

async fn all(arguments: &Arguments, probes: &[&'static Probe], site: Site<'_>) -> Result<Vec<Finding>> {
    let tell = site.tell;
    if arguments.clean {
        let cleaned = lab::clean(site).await;
        let deleted = cleaned.map_err(|stop| anyhow!("cannot clean the cluster: {stop}"))?;
        tell(&format!("{deleted} services were deleted"));
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    for (index, probe) in probes.iter().enumerate() {
        tell(&format!("{} of {}: {}, about {} min", index + 1, probes.len(), probe.name, probe.minutes));
        // Each would wait for a clean cluster in vain.
        let can_run = findings.last().is_none_or(|before: &Finding| before.is_clean);
        let finding = if can_run { runner::run(probe, site, findings.last()).await } else { Finding::not_run(probe) };
        match &finding.outcome {
            Ok(found) => tell(&format!("{}: {}", probe.name, found.value)),
            Err(Stop::Contradiction { .. }) => tell(&format!("{}: a contradiction", probe.name)),
            Err(Stop::NotSettled { .. }) => tell(&format!("{}: not settled", probe.name)),
        }
        findings.push(finding);
        // What is found is kept, whatever comes next.
        write(arguments, site.stack, &findings)?;
    }
    Ok(findings)
}

fn on_simulator(arguments: &Arguments, probes: &[&'static Probe]) -> Result<ExitCode> {
    let behaviour: Vec<&str> = BALANCER.into_iter().chain(arguments.behaviour.iter().map(String::as_str)).collect();
    let faults: Vec<&str> = SCALING.into_iter().chain(arguments.fault.iter().map(String::as_str)).collect();
    let options = Options {
        seed: arguments.seed,
        behaviour: Behaviour::from_settings(&behaviour)?,
        faults: Faults::from_settings(&faults)?,
    };
    let stack = simulated::stack()?;
    let found = in_simulated_time(async {
        let mut findings = Vec::new();
        for probe in probes {
            // Each on a cluster of its own, as if it were the only one.
            let cluster = Cluster::new(options.clone())?;
            let connection = Connection::in_process(cluster.far_side(), &stack.region).await;
            let patience = Duration::from_secs(arguments.patience);
            let site = Site { connection: &connection, stack: &stack, patience, tell: &|_| () };
            findings.push(runner::run(probe, site, None).await);
        }
        anyhow::Ok(findings)
    })??;
    write(arguments, &stack, &found)?;
    show(arguments, &stack, &found)
}

/// The table, and each contradiction as an issue would tell it.
fn show(arguments: &Arguments, stack: &Stack, found: &[Finding]) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut is_contradicted = false;
    if !arguments.clean {
        writeln!(out, "{}", findings::table(found, (!io::stdout().is_terminal()).then_some(120)))?;
        for issue in found.iter().filter_map(findings::issue) {
            is_contradicted = true;
            writeln!(out, "\n{issue}")?;
        }
        write(arguments, stack, found)?;
    }
    Ok(if is_contradicted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write(arguments: &Arguments, stack: &Stack, found: &[Finding]) -> Result<()> {
    let Some(path) = &arguments.output else { return Ok(()) };
    let file = findings::file(found, &stack.region, &stack.cluster, &now()?);
    let text = serde_json::to_string_pretty(&file)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "the command reads the wall clock")]
fn now() -> Result<String> {
    let now: OffsetDateTime = SystemTime::now().into();
    Ok(now.replace_nanosecond(0)?.format(&Rfc3339)?)
}

/// How far it is, what it waits for and what it costs so far; a line each time that something else is waited for.
struct Progress<'a> {
    stack: &'a Stack,
    connection: &'a Connection,
    began: Instant,
    last: Cell<Option<String>>,
}

impl<'a> Progress<'a> {
    fn new(stack: &'a Stack, connection: &'a Connection) -> Self {
        Self { stack, connection, began: Instant::now(), last: Cell::new(None) }
    }

    fn tell(&self, what: &str) {
        if self.last.take().as_deref() != Some(what) {
            let seconds = self.began.elapsed().as_secs();
            let (cost, calls) = (cents(self.stack.cost(seconds)), self.connection.record.calls());
            // Who reads it has gone away: the probes go on.
            let _ =
                writeln!(io::stderr(), "{}:{:02} h, {cost}, {calls} calls: {what}", seconds / 3600, seconds / 60 % 60);
        }
        self.last.set(Some(what.to_owned()));
    }
}

fn list(probes: &[&'static Probe]) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    for probe in probes {
        writeln!(out, "{}: about {} min, {} calls\n  {}", probe.name, probe.minutes, probe.calls, probe.assumption)?;
        for (value, meaning) in probe.values {
            writeln!(out, "  {value}: {meaning}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn start(arguments: &Arguments) -> Result<ExitCode> {
    let mut wanted: Vec<&'static Probe> = Vec::new();
    for name in &arguments.probe {
        let Some(probe) = probes::named(name) else {
            let names: Vec<&str> = PROBES.iter().map(|probe| probe.name).collect();
            bail!("there is no probe {name:?}; there are {}", names.join(", "));
        };
        wanted.push(probe);
    }
    if wanted.is_empty() {
        wanted = probes::all();
    }
    if arguments.rates && !arguments.probe.iter().any(|name| name == RATES.name) {
        wanted.push(&RATES);
    }
    match &arguments.account {
        _ if arguments.list => list(&wanted),
        Some(path) => account(arguments, path, &wanted),
        None => on_simulator(arguments, &wanted),
    }
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
