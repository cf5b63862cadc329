//! `cargo rehearse`: the job as shipped, SDK and all, on a simulated cluster, under a simulated clock.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use ecs_rebalancer::{
    config::{Config, PREFIX},
    progress::Progress,
    rehearsal::{Policy, Rehearsal, compare, in_simulated_time},
    report,
};
use ecs_simulator::{Options, behaviour::Behaviour, faults::Faults, snapshot::Snapshot};

/// Rehearses a rebalancing: no AWS account, no socket, minutes of ECS time in a moment.
///
/// `REBALANCER_*` variables apply as in a real run.
#[derive(Debug, Parser)]
#[command(name = "cargo rehearse")]
struct Arguments {
    /// A cluster's snapshot; without one, two container instances of which one came back empty.
    snapshot: Option<PathBuf>,
    /// The one source of chance.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the report here, too (`.json` or `.html`); may be given several times.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Where ECS's documents leave room: which way the simulated ECS behaves.
    #[arg(long, value_name = "NAME=VALUE")]
    behaviour: Vec<String>,
    /// Play another policy beside it: `seed` redeploys every service, as the reference architecture does.
    #[arg(long, value_name = "NAME", value_parser = ["seed"])]
    policy: Option<String>,
    /// Play both other ways beside it: redeploying what is uneven, and the reference architecture.
    #[arg(long)]
    compare: bool,
    /// What goes wrong on the way.
    #[arg(long, value_name = "NAME=VALUE")]
    fault: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match rehearse(&arguments) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn rehearse(arguments: &Arguments) -> Result<ExitCode> {
    let snapshot = match &arguments.snapshot {
        None => Snapshot::reference_cluster(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read snapshot {}", path.display()))?;
            Snapshot::from_json(&text).with_context(|| format!("snapshot {}", path.display()))?
        }
    };
    let options = Options {
        seed: arguments.seed,
        behaviour: Behaviour::from_settings(&arguments.behaviour)?,
        faults: Faults::from_settings(&arguments.fault)?,
    };
    let config = config(&snapshot, &arguments.report)?;
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, options.clone())?;
        let progress = Progress::on_terminal();
        let mut report = rehearsal.run_showing(&config, snapshot.cluster_name(), "rehearsal", progress).await;
        let others: &[Policy] = match (arguments.compare, &arguments.policy) {
            (true, _) => &[Policy::Redeploy, Policy::Seed],
            (false, Some(_)) => &[Policy::Seed],
            (false, None) => &[],
        };
        for policy in others {
            let other = compare(*policy, &snapshot, options.clone(), &config).await?;
            report.rehearsal.iter_mut().for_each(|played| played.instead.push(other.clone()));
        }
        anyhow::Ok(report)
    })??;
    let colour = console::Term::stdout().features().colors_supported();
    print!("{}", report::text::render(&report, colour));
    let status = report.exit_status();
    report::write(&[report], &config.reports)?;
    Ok(ExitCode::from(status))
}

/// The configuration as in a real run; the cluster is the snapshot's, and nothing asks a metadata endpoint.
fn config(snapshot: &Snapshot, reports: &[PathBuf]) -> Result<Config> {
    #[expect(clippy::disallowed_methods, reason = "a binary's edge, as `main.rs` is")]
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let cluster = format!("{PREFIX}CLUSTER");
    variables.retain(|(name, _)| *name != *cluster && *name != *"ECS_CONTAINER_METADATA_URI_V4");
    variables.push((cluster.into(), snapshot.cluster_name().into()));
    if !reports.is_empty() {
        let files: Vec<String> = reports.iter().map(|file| file.display().to_string()).collect();
        variables.push((format!("{PREFIX}REPORT").into(), files.join(",").into()));
    }
    Ok(Config::from_variables(variables)?.ready()?)
}
