//! Environment → configuration → job → exit status. The only reader of arguments, environment, wall clock and signals.

use std::{io::IsTerminal, io::stdout, process, process::ExitCode, time::SystemTime};

use anyhow::Result;
use ecs_rebalancer::aws::Clients;
use ecs_rebalancer::clock::Clock;
use ecs_rebalancer::config::{Config, LogFormat, Problems};
use ecs_rebalancer::report::text::Screen;
use ecs_rebalancer::shutdown::{self, Shutdown};
use ecs_rebalancer::{arguments, job::job, log, progress::Progress, run, start};
use tokio::signal::unix::{SignalKind, signal};

#[expect(clippy::disallowed_methods, reason = "read here, and handed on from here")]
fn main() -> ExitCode {
    let began = start::moment(SystemTime::now());
    if let Some(status) = arguments::answer(std::env::args_os().skip(1)) {
        return ExitCode::from(status);
    }
    let variables: Vec<_> = std::env::vars_os().collect();
    let default = if stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let format = Config::log_format_of(variables.iter().cloned()).unwrap_or(default);
    let console = log::Console { format, began, run_id: start::run_id(began, None, process::id()) };
    let status = match Config::from_variables(variables).and_then(Config::ready) {
        Ok(config) => begin(&config, &console),
        Err(problems) => return ExitCode::from(console.misconfigured(&problems)),
    };
    ExitCode::from(status.unwrap_or_else(|error| console.failed(&error)))
}

fn begin(config: &Config, at: &log::Console) -> Result<u8> {
    let progress = Progress::on_terminal();
    log::start(&config.log, at.format, progress.beside())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (shutdown, clock) = (on_signal()?, Clock::starting_at(at.began));
        let (place, clients) = match (start::place(config).await, Clients::from_environment().await) {
            (Ok(place), Ok(clients)) => (place, clients),
            (Err(error), _) | (_, Err(error)) => return Ok(at.misconfigured(&Problems::of_error(&error))),
        };
        if let Err(problems) = start::check_region(&place.clusters, clients.region()) {
            return Ok(at.misconfigured(&problems));
        }
        let run_id = start::run_id(at.began, place.own_task.as_ref(), process::id());
        let edge = run::Edge::new(clients, clock, run_id, place.own_task, progress, shutdown);
        job(config, &place.clusters, &edge, at.format, Screen::of_stdout(), &mut stdout()).await
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
