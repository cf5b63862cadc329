//! The simulated control plane as a server on this machine, for any AWS client.

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ecs_simulator::{
    Moment, Options, Simulator,
    behaviour::{Behaviour, SWITCHES},
    faults::{Faults, NAMES},
    found::Found,
    server::{self, Running},
    snapshot::Snapshot,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Simulates Amazon ECS, CloudWatch, Elastic Load Balancing v2 and Auto Scaling for any AWS client on this machine
#[derive(Debug, Parser)]
#[command(name = "ecs-simulator", version, after_long_help = EXAMPLES)]
struct Arguments {
    /// The cluster to begin with, as JSON in the shapes of ECS's answers [default: a built-in one of two instances]
    snapshot: Option<PathBuf>,
    /// Loopback address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many seconds pass in the cluster in one second here
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The only source of chance
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How ECS behaves where its documents leave that open; may be given several times
    #[arg(long, value_name = "NAME=VALUE", long_help = behaviours())]
    behaviour: Vec<String>,
    /// What `cargo conformance` found on an account; `--behaviour` and `--fault` stand over it
    #[arg(long, value_name = "FILE")]
    behaviours: Option<PathBuf>,
    /// What goes wrong; may be given several times
    #[arg(long, value_name = "NAME=VALUE", long_help = faults())]
    fault: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  ecs-simulator --listen 127.0.0.1:5555
      the built-in cluster; prints what a shell needs to send its AWS clients here
  ecs-simulator prod.json --speed 60 --fault throttle=0.1
      a copy of your own cluster, a minute in a second, one request in ten throttled";

fn behaviours() -> String {
    let lines = SWITCHES.iter().map(|switch| format!("\n  {}={}", switch.name, switch.values.join("|")));
    format!(
        "How ECS behaves where its documents leave that open; may be given several times:{}",
        lines.collect::<String>()
    )
}

fn faults() -> String {
    let line = |(name, takes): &(&str, &str)| {
        format!("\n  {name}={}", takes.split_whitespace().last().unwrap_or_default().to_uppercase())
    };
    let lines: String = NAMES.iter().map(line).collect();
    format!("What goes wrong; may be given several times (a SHARE is from 0 to 1):{lines}")
}

/// A day in a second is as fast as anyone can watch.
const FASTEST: f64 = 86_400.0;

/// The status that ends what can't begin, as for a wrong argument.
const MISTAKEN: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(MISTAKEN)
        }
    }
}

async fn serve(arguments: &Arguments) -> Result<()> {
    // Whoever reaches the port may do anything to the cluster, so only this machine may reach it.
    ensure!(arguments.listen.ip().is_loopback(), "--listen {} is not a loopback address", arguments.listen);
    ensure!(
        arguments.speed > 0.0 && arguments.speed <= FASTEST,
        "--speed {} is not above 0 and at most {FASTEST}",
        arguments.speed
    );
    let snapshot = match &arguments.snapshot {
        None => Snapshot::reference_cluster(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read snapshot {}", path.display()))?;
            Snapshot::from_json(&text).with_context(|| format!("cannot use snapshot {}", path.display()))?
        }
    };
    for note in snapshot.notes() {
        eprintln!("{note}");
    }
    let found = Found::and(arguments.behaviours.as_deref(), &arguments.behaviour, &arguments.fault)?;
    let options = Options {
        seed: arguments.seed,
        behaviour: Behaviour::from_settings(&found.behaviour)?,
        faults: Faults::from_settings(&found.fault)?,
    };
    let simulator = Simulator::starting_at(&snapshot, options, today())?;
    let listener =
        TcpListener::bind(arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    announce(&snapshot, listener.local_addr()?)?;
    tokio::select! {
        result = server::serve(listener, Arc::new(Running::new(simulator, arguments.speed))) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Clients date what they send by their own clock, so the cluster has today's date too.
#[expect(clippy::disallowed_methods, reason = "the binary reads the wall clock")]
fn today() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What a shell needs to send its AWS clients here.
fn announce(snapshot: &Snapshot, address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "# cluster {} is ready; any credentials will do\n\
         export AWS_ENDPOINT_URL=http://{address}\n\
         export AWS_REGION={}\n\
         export AWS_ACCESS_KEY_ID=simulated AWS_SECRET_ACCESS_KEY=simulated\n\
         export AWS_EC2_METADATA_DISABLED=true\n",
        snapshot.cluster_name(),
        snapshot.region(),
    )
    .and_then(|()| out.flush())
    .context("cannot write to standard output")
}
