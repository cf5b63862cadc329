//! Environment → configuration → job → exit status. The only reader of the environment, the wall clock and signals.

use std::{
    fmt::Display,
    io::{self, IsTerminal},
    process::{self, ExitCode},
    time::SystemTime,
};

use anyhow::Result;
use ecs_rebalancer::aws::Clients;
use ecs_rebalancer::config::{Config, LogFormat};
use ecs_rebalancer::shutdown::{self, Shutdown};
use ecs_rebalancer::{exit, job::job, log, planning::model::Timestamp, progress::Progress, run, start};
use tokio::signal::unix::{SignalKind, signal};

#[expect(clippy::disallowed_methods, reason = "read here, and handed on from here")]
fn main() -> ExitCode {
    let began = start::moment(SystemTime::now());
    let status = Config::from_variables(std::env::vars_os())
        .and_then(Config::ready)
        .map_or_else(|problems| Ok(misconfigured(problems)), |config| begin(&config, began));
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        exit::FAILED
    }))
}

fn misconfigured(problems: impl Display) -> u8 {
    eprintln!("{problems}");
    exit::MISCONFIGURED
}

fn begin(config: &Config, began: Timestamp) -> Result<u8> {
    let format =
        config.log_format.unwrap_or(if io::stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let (progress, colour) = (Progress::on_terminal(), console::Term::stdout().features().colors_supported());
    log::start(&config.log, format, progress.beside())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (shutdown, clock) = (on_signal()?, ecs_rebalancer::clock::Clock::starting_at(began));
        let (place, clients) = match (start::place(config).await, Clients::from_environment().await) {
            (Ok(place), Ok(clients)) => (place, clients),
            (Err(error), _) | (_, Err(error)) => return Ok(misconfigured(format_args!("{error:#}"))),
        };
        let run_id = start::run_id(began, place.own_task.as_ref(), process::id());
        let edge = run::Edge::new(clients, clock, run_id, place.own_task, progress, shutdown);
        job(config, &place.clusters, &edge, format, colour, &mut io::stdout()).await
    })
}

/// ECS asks a task to end by SIGTERM, a person by Ctrl-C: the step in hand is finished, no other begun.
fn on_signal() -> Result<Shutdown> {
    let (trigger, shutdown) = shutdown::channel();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        trigger.pull();
    });
    Ok(shutdown)
}
