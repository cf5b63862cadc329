//! The whole job: each cluster in turn, its report printed as soon as it is there, files at the end, and the exit status.

use std::io::Write;

use anyhow::{Context, Result};

use crate::{
    config::{Config, LogFormat},
    exit,
    report::{self, Report},
    run::{self, Edge},
};

/// Runs on each cluster, and gives the status that the process ends with.
///
/// # Errors
/// When a report can't be printed or written; what fails in a run is in its report.
pub async fn job(
    config: &Config,
    clusters: &[String],
    edge: &Edge,
    format: LogFormat,
    colour: bool,
    out: &mut impl Write,
) -> Result<u8> {
    let mut reports = Vec::new();
    for cluster in clusters {
        if edge.shutdown.is_asked() {
            break;
        }
        let report = Box::pin(run::run(config, cluster, edge)).await;
        print(&report, format, colour, out).context("cannot print the report")?;
        reports.push(report);
    }
    report::write(&reports, &config.reports)?;
    Ok(status(&reports, edge.shutdown.is_asked()))
}

fn print(report: &Report, format: LogFormat, colour: bool, out: &mut impl Write) -> std::io::Result<()> {
    match format {
        LogFormat::Text => write!(out, "{}", report::text::render(report, colour)),
        LogFormat::Json => writeln!(out, "{}", report::json::line(report)?),
    }
}

/// What failed is told before that the run was ended: somebody has to look at it.
fn status(reports: &[Report], ended: bool) -> u8 {
    let worst = reports.iter().map(Report::exit_status).max().unwrap_or(exit::DONE);
    if worst == exit::DONE && ended { exit::TERMINATED } else { worst }
}
