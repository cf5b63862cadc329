//! The whole job: clusters read side by side, acted on one after the other, each one's report printed as soon as it is there,
//! files at the end, and the exit status.

use std::io::{self, Write};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use tracing::Instrument;

use crate::{
    config::{Config, LogFormat},
    exit,
    report::{self, Report, text::Screen},
    run::{self, Edge},
};

/// Clusters that are in hand at a time: they share ECS's rate limits, so more would not be read sooner, and each takes memory.
const MOST_CLUSTERS: usize = 4;

/// Runs on each cluster, and gives the status that the process ends with.
///
/// # Errors
/// When a report can't be printed or written, once all runs have ended; what fails in a run is in its report.
pub async fn job(
    config: &Config,
    clusters: &[String],
    edge: &Edge,
    format: LogFormat,
    screen: Screen,
    out: &mut impl Write,
) -> Result<u8> {
    let run_on = async |(place, cluster): (usize, &String)| {
        let edge = edge.beside();
        // Those that can't begin with the process have their own time.
        let began = if place < MOST_CLUSTERS { edge.began } else { edge.clock.elapsed() };
        let edge = Edge { began, ..edge };
        let name = cluster.rsplit('/').next();
        let span = tracing::error_span!("run", run_id = edge.run_id, cluster = name);
        (place, Box::pin(run::run(config, cluster, &edge)).instrument(span).await)
    };
    let mut runs = stream::iter(clusters.iter().enumerate()).map(run_on).buffer_unordered(MOST_CLUSTERS);
    let (mut reports, mut printed) = (Vec::new(), Ok(()));
    while let Some((place, report)) = runs.next().await {
        // Whether anybody reads it or not, the other clusters' runs come to their end.
        printed = printed.and_then(|()| print(&report, format, screen, out));
        reports.push((place, report));
    }
    reports.sort_by_key(|(place, _)| *place);
    let reports: Vec<Report> = reports.into_iter().map(|(_, report)| report).collect();
    told(printed, report::write(&reports, &config.reports))?;
    Ok(status(&reports, edge.shutdown.is_asked()))
}

/// Whether reports were printed and written.
///
/// # Errors
/// What of it failed, in one sentence.
pub fn told(printed: io::Result<()>, written: Result<()>) -> Result<()> {
    match (printed.context("cannot print the report"), written) {
        (Ok(()), written) => written,
        (printed, Ok(())) => printed,
        (Err(not_printed), Err(not_written)) => Err(not_written.context(format!("{not_printed:#}"))),
    }
}

/// Prints a report in the form of the log.
///
/// # Errors
/// When `out` can't be written to.
pub fn print(report: &Report, format: LogFormat, screen: Screen, out: &mut impl Write) -> io::Result<()> {
    match format {
        LogFormat::Text => write!(out, "{}", report::text::on_screen(report, screen)),
        LogFormat::Json => report::json::lines(report).try_for_each(|line| writeln!(out, "{line}")),
    }?;
    out.flush()
}

/// What failed is told before that the run was ended: somebody has to look at it.
fn status(reports: &[Report], ended: bool) -> u8 {
    let worst = reports.iter().map(Report::exit_status).max().unwrap_or(exit::DONE);
    if worst == exit::DONE && ended { exit::TERMINATED } else { worst }
}
