//! `cargo rehearse`: the job as shipped, SDK and all, on a simulated cluster, under a simulated clock.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use ecs_rebalancer::{
    config::{Config, LogFormat, METADATA_VARIABLE, PREFIX, is_one_file},
    exit, job, log,
    progress::Progress,
    rehearsal::{Policy, Rehearsal, compare, in_simulated_time},
    report::{self, text::Screen},
};
use ecs_simulator::{
    Options,
    behaviour::{Behaviour, SWITCHES},
    faults::{Faults, NAMES},
    found::Found,
    snapshot::Snapshot,
};

/// Rehearses a rebalancing: no AWS account, no socket, minutes of ECS time in a moment.
///
/// `REBALANCER_*` variables apply as in a real run; `ecs-rebalancer --help` lists them. `REBALANCER_LOG` is `off` here where
/// it is not set.
#[derive(Debug, Parser)]
#[command(name = "cargo rehearse", version, after_long_help = examples())]
struct Arguments {
    /// A cluster's snapshot (REBALANCER_SNAPSHOT of a dry run writes one). Without it: two container instances, of which one
    /// came back empty.
    snapshot: Option<PathBuf>,
    /// The only source of chance: the same seed gives the same rehearsal.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the report here, too (`.json` or `.html`); may be given several times.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// How the simulated ECS behaves where ECS's documents leave that open; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", long_help = behaviours())]
    behaviour: Vec<String>,
    /// What `cargo conformance` found on an account; `--behaviour` and `--fault` stand over it.
    #[arg(long, value_name = "FILE")]
    behaviours: Option<PathBuf>,
    /// Compare with another way: `seed` redeploys every service, as the reference architecture does.
    #[arg(long, value_name = "NAME", value_parser = ["seed"])]
    policy: Option<String>,
    /// Compare with all other ways: this job with steering (without, where REBALANCER_STEER is true), redeploying the uneven
    /// services, and redeploying every service.
    #[arg(long)]
    compare: bool,
    /// What goes wrong on the way; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", long_help = faults())]
    fault: Vec<String>,
}

fn behaviours() -> String {
    let lines = SWITCHES.iter().map(|switch| format!("\n  {}={}", switch.name, switch.values.join("|")));
    format!(
        "How the simulated ECS behaves where ECS's documents leave that open; may be given several times:{}",
        lines.collect::<String>()
    )
}

fn faults() -> String {
    let lines = NAMES.iter().map(|(name, takes)| {
        format!("\n  {name}={}", takes.split_whitespace().last().unwrap_or_default().to_uppercase())
    });
    format!(
        "What goes wrong on the way; may be given several times (a SHARE is from 0 to 1):{}",
        lines.collect::<String>()
    )
}

fn examples() -> &'static str {
    "\
Examples:
  cargo rehearse
      the built-in cluster of two container instances
  cargo rehearse prod.json --report prod.html
      a copy of your own cluster, with a report to look at
  REBALANCER_STEER=true cargo rehearse prod.json --compare
      with a setting, and beside it what redeploying would cost
  cargo rehearse --fault broken-image=0 --behaviour scale-in=random
      with a failure, and with another reading of ECS's documents"
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match rehearse(&arguments) {
        Ok(status) => status,
        Err(error) => {
            log::complain(&format_args!("error: {error:#}"));
            ExitCode::from(exit::MISCONFIGURED)
        }
    }
}

fn rehearse(arguments: &Arguments) -> Result<ExitCode> {
    let snapshot = match &arguments.snapshot {
        None => Snapshot::reference_cluster(),
        Some(path) => Snapshot::from_file(path)?,
    };
    let found = Found::and(arguments.behaviours.as_deref(), &arguments.behaviour, &arguments.fault)?;
    let options = Options {
        seed: arguments.seed,
        behaviour: Behaviour::from_settings(&found.behaviour)?,
        faults: Faults::from_settings(&found.fault)?,
    };
    let config = config(&snapshot, &arguments.report)?;
    let written = config.reports.iter().map(|report| &report.path).chain(&config.snapshot);
    for (read, written) in
        arguments.snapshot.iter().flat_map(|read| written.clone().map(move |written| (read, written)))
    {
        anyhow::ensure!(!is_one_file(read, written), "{} would be written over the snapshot", written.display());
    }
    let progress = Progress::on_terminal();
    let format = config.log_format.unwrap_or(LogFormat::Text);
    log::start(&config.log, format, progress.beside())?;
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, options.clone())?;
        let mut report = rehearsal.run_showing(&config, snapshot.cluster_name(), "rehearsal", progress).await;
        let others: &[Policy] = match (arguments.compare, &arguments.policy) {
            (true, _) => &[Policy::OtherSteering, Policy::Redeploy, Policy::Seed],
            (false, Some(_)) => &[Policy::Seed],
            (false, None) => &[],
        };
        for policy in others {
            match compare(*policy, &snapshot, options.clone(), &config).await {
                Ok(other) => report.rehearsal.iter_mut().for_each(|played| played.instead.push(other.clone())),
                // The rehearsal itself is not lost with it.
                Err(error) => {
                    let policy = policy.name(&config);
                    report.warnings.push(format!("cannot compare with {policy}: {error:#}"));
                }
            }
        }
        anyhow::Ok(report)
    })??;
    let printed = job::print(&report, format, Screen::of_stdout(), &mut io::stdout());
    let status = report.exit_status();
    Ok(ExitCode::from(match job::told(printed, report::write(&[report], &config.reports)) {
        Ok(()) => status,
        Err(error) => {
            log::complain(&format_args!("error: {error:#}"));
            exit::FAILED
        }
    }))
}

/// The configuration as in a real run; the cluster is the snapshot's, and nothing asks a metadata endpoint or AWS.
fn config(snapshot: &Snapshot, reports: &[PathBuf]) -> Result<Config> {
    #[expect(clippy::disallowed_methods, reason = "a binary's edge, as `main.rs` is")]
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let cluster = format!("{PREFIX}CLUSTER");
    let is_of_elsewhere = |name: &OsString| name.to_string_lossy().starts_with("AWS_") || *name == *METADATA_VARIABLE;
    variables.retain(|(name, _)| *name != *cluster && !is_of_elsewhere(name));
    let log = format!("{PREFIX}LOG");
    if !variables.iter().any(|(name, value)| *name == *log && !value.is_empty()) {
        variables.push((log.into(), "off".into()));
    }
    variables.push((cluster.into(), snapshot.cluster_name().into()));
    if !reports.is_empty() {
        let files: Vec<String> = reports.iter().map(|file| file.display().to_string()).collect();
        if let Some(file) = files.iter().find(|file| file.contains(',')) {
            anyhow::bail!("--report {file} has a comma in it; give --report once for each file");
        }
        variables.push((format!("{PREFIX}REPORT").into(), files.join(",").into()));
    }
    Ok(Config::from_variables(variables)?.ready()?)
}
