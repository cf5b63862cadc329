//! The simulated control plane as a server on this machine, for any AWS client.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ecs_simulator::{
    Options,
    behaviour::{Behaviour, SWITCHES},
    faults::{Faults, NAMES},
    found::Found,
    server::{self, Names, Running},
    snapshot::Snapshot,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Simulates Amazon ECS, CloudWatch, Elastic Load Balancing v2, Auto Scaling, Application Auto Scaling and SQS for any AWS client
#[derive(Debug, Parser)]
#[command(name = "ecs-simulator", version, after_long_help = EXAMPLES)]
struct Arguments {
    /// The cluster to begin with, as JSON in the shapes of ECS's answers [default: a built-in one of two instances]
    #[arg(env = "ECS_SIMULATOR_SNAPSHOT")]
    snapshot: Option<PathBuf>,
    /// Address and port to listen on, as localhost:8080; port 0 takes a free one. An address that other machines reach asks for
    /// `--host`
    #[arg(long, env = "ECS_SIMULATOR_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,
    /// A name by which clients may call the simulator, beside localhost and the loopback addresses; may be given several times
    #[arg(long, env = "ECS_SIMULATOR_HOST", value_name = "NAME", value_delimiter = ' ')]
    host: Vec<String>,
    /// How many seconds pass in the cluster in one second here
    #[arg(long, env = "ECS_SIMULATOR_SPEED", default_value_t = 1.0)]
    speed: f64,
    /// The only source of chance
    #[arg(long, env = "ECS_SIMULATOR_SEED", default_value_t = 0)]
    seed: u64,
    /// How ECS behaves where its documents leave that open; may be given several times
    #[arg(long, env = "ECS_SIMULATOR_BEHAVIOUR", value_name = "NAME=VALUE", value_delimiter = ' ', long_help = behaviours())]
    behaviour: Vec<String>,
    /// What `cargo conformance` found on an account; `--behaviour` and `--fault` stand over it
    #[arg(long, env = "ECS_SIMULATOR_BEHAVIOURS", value_name = "FILE")]
    behaviours: Option<PathBuf>,
    /// What goes wrong; may be given several times
    #[arg(long, env = "ECS_SIMULATOR_FAULT", value_name = "NAME=VALUE", value_delimiter = ' ', long_help = faults())]
    fault: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  ecs-simulator --listen localhost:8080
      the built-in cluster; prints what a shell needs to send its AWS clients here
  ecs-simulator prod.json --speed 60 --fault throttle=0.1
      a copy of your own cluster, a minute in a second, one request in ten throttled";

/// `localhost` is this machine, whatever its resolver says.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").map(str::parse);
    if let Some(Ok(port)) = port {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| "not an address and a port, as localhost:8080".to_owned())
}

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
    // Whoever reaches the port may do anything to the cluster, so by itself only this machine may reach it.
    ensure!(
        arguments.listen.ip().is_loopback() || !arguments.host.is_empty(),
        "--listen {} is not a loopback address; to listen on it, give by --host the name by which clients call it",
        arguments.listen
    );
    ensure!(
        arguments.speed > 0.0 && arguments.speed <= FASTEST,
        "--speed {} is not above 0 and at most {FASTEST}",
        arguments.speed
    );
    let snapshot = match &arguments.snapshot {
        None => Snapshot::reference_cluster(),
        Some(path) => Snapshot::from_file(path)?,
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
    let (name, region) = (snapshot.cluster_name().to_owned(), snapshot.region().to_owned());
    let names = Names::new(arguments.host.iter().cloned());
    let running = Running::new(snapshot, options, arguments.speed)?.known_as(names, found.fault);
    let listener =
        TcpListener::bind(arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    announce(&name, &region, listener.local_addr()?)?;
    tokio::select! {
        result = server::serve(listener, Arc::new(running)) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// What a shell needs to send its AWS clients here.
fn announce(cluster: &str, region: &str, address: SocketAddr) -> Result<()> {
    let mut out = std::io::stdout().lock();
    // An address that stands for all of them is none that a client can call.
    let address =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    write!(
        out,
        "# cluster {cluster} is ready; any credentials will do\n\
         export AWS_ENDPOINT_URL=http://{address}\n\
         export AWS_REGION={region}\n\
         export AWS_ACCESS_KEY_ID=simulated AWS_SECRET_ACCESS_KEY=simulated\n\
         export AWS_EC2_METADATA_DISABLED=true\n"
    )
    .and_then(|()| out.flush())
    .context("cannot write to standard output")
}
