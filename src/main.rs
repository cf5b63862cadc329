//! Environment → configuration → job → exit status. The only reader of arguments, environment, wall clock and signals.

use std::{io::IsTerminal, io::stdout, process, process::ExitCode, time::SystemTime};

use anyhow::{Context, Result};
use ecs_rebalancer::config::{Config, LogFormat};
use ecs_rebalancer::report::text::Screen;
use ecs_rebalancer::shutdown::{self, Shutdown};
use ecs_rebalancer::start::{self, Ready, Unready};
use ecs_rebalancer::{arguments, clock::Clock, job::job, log, progress::Progress, run};
use tokio::runtime::Builder;
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
    let config = match Config::from_variables(variables) {
        Ok(config) => config,
        Err(problems) => return ExitCode::from(console.misconfigured(&problems)),
    };
    let status = Builder::new_current_thread().enable_all().build().context("no runtime").and_then(|runtime| {
        let status = runtime.block_on(begin(config, &console));
        // What the operating system is still asked, for a name or a file, is not waited for.
        runtime.shutdown_background();
        status
    });
    ExitCode::from(status.unwrap_or_else(|error| console.failed(&error)))
}

async fn begin(config: Config, at: &log::Console) -> Result<u8> {
    let (shutdown, clock, progress) = (on_signal()?, Clock::starting_at(at.began), Progress::on_terminal());
    log::start(&config.log, at.format, progress.beside())?;
    let Ready { config, place, clients } = match start::ready(config, &shutdown).await {
        Ok(ready) => ready,
        Err(Unready::Misconfigured(problems)) => return Ok(at.misconfigured(&problems)),
        Err(Unready::Ended) => return Ok(at.ended()),
        Err(Unready::Late(error)) => return Err(error),
    };
    let run_id = start::run_id(at.began, place.own_task.as_ref(), process::id());
    let edge = run::Edge::new(clients, clock, run_id, place.own_task, progress, shutdown);
    job(&config, &place.clusters, &edge, at.format, Screen::of_stdout(), &mut stdout()).await
}

/// ECS asks a task to end by SIGTERM, a person by Ctrl-C: the step in hand is finished, no other begun.
fn on_signal() -> Result<Shutdown> {
    let (trigger, shutdown) = shutdown::channel();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { biased; _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        trigger.pull();
    });
    Ok(shutdown)
}
