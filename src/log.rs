//! Which events are shown, and how; and what is said where no run comes to be. It has no events of its own.
//!
//! Events go to standard error. Standard output has the report, or, where the log is JSON, the report's lines alone.

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::{Context, Result};
use serde_json::json;
use tracing::{Level, Subscriber};
use tracing_subscriber::{filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, registry};

use crate::{
    config::{LogFormat, Problems, log_targets},
    exit,
    line::{self, Origin},
    planning::model::Timestamp,
    progress::Beside,
};

/// How a process that has no run to report says so.
#[derive(Clone, Debug)]
pub struct Console {
    /// For people on standard error, or as lines of the log on standard output.
    pub format: LogFormat,
    /// When the process began.
    pub began: Timestamp,
    /// The run that would have been.
    pub run_id: String,
}

impl Console {
    /// Tells what is wrong with the configuration, and gives the status to end with.
    pub fn misconfigured(&self, problems: &Problems) -> u8 {
        match self.format {
            LogFormat::Text => complain(problems),
            LogFormat::Json => problems.0.iter().for_each(|problem| {
                let fields = json!({"variable": problem.variable, "reason": problem.to_string()});
                self.tell(line::Level::Error, "configuration", &fields, problem);
            }),
        }
        exit::MISCONFIGURED
    }

    /// Tells what ended the process, and gives the status to end with.
    pub fn failed(&self, error: &anyhow::Error) -> u8 {
        match self.format {
            LogFormat::Text => complain(&format_args!("error: {error:#}")),
            LogFormat::Json => {
                let fields = json!({"reason": format!("{error:#}")});
                self.tell(line::Level::Error, "failed", &fields, &format_args!("error: {error:#}"));
            }
        }
        exit::FAILED
    }

    /// Tells that the process was told to end before a run began, and gives the status to end with.
    pub fn ended(&self) -> u8 {
        let reason = "the run was told to end before it had begun; nothing was changed";
        match self.format {
            LogFormat::Text => complain(&reason),
            LogFormat::Json => self.tell(line::Level::Info, "interrupted", &json!({"reason": reason}), &reason),
        }
        exit::TERMINATED
    }

    /// Writes a line of the log; where standard output takes none, what people would read instead.
    fn tell(&self, level: line::Level, message: &str, fields: &serde_json::Value, otherwise: &dyn fmt::Display) {
        let origin = Origin { at: self.began, run_id: &self.run_id, cluster: "" };
        if writeln!(io::stdout(), "{}", origin.line(level, message, fields)).is_err() {
            complain(otherwise);
        }
    }
}

/// Says something on standard error. Where that takes nothing either, there is nobody to be told.
pub fn complain(text: &dyn fmt::Display) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// Shows events from now on, on standard error beside the line of progress. `filter` is as `Config` checked it.
///
/// # Errors
/// When events are shown already, or the filter isn't one.
pub fn start(filter: &str, format: LogFormat, beside: Beside) -> Result<()> {
    // Only on a terminal that has any, and never with `NO_COLOR`.
    let colour = console::Term::stderr().features().colors_supported();
    let subscriber = subscriber(filter, format, colour, beside)?;
    tracing::subscriber::set_global_default(subscriber).context("a log is being written already")
}

fn subscriber<W>(filter: &str, format: LogFormat, colour: bool, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = log_targets(filter).with_context(|| format!("{filter:?} is no log filter"))?;
    Ok(match format {
        // People see what happens as it happens: no time, no spans, and a line that fits their terminal.
        LogFormat::Text => {
            let lines = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(writer);
            let lines = lines.with_ansi(colour).with_target(false).without_time().finish();
            Box::new(lines.with(filter).with(filter_fn(|metadata| !metadata.is_span())))
        }
        // The run's span gives each line `run_id` and `cluster`.
        LogFormat::Json => {
            let lines = json_subscriber::fmt::layer().with_writer(writer).flatten_event(true).with_current_span(false);
            let lines = lines.with_span_list(false).flatten_span_list_on_top_level(true);
            Box::new(registry().with(lines).with(filter))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// How three events of a run look.
    fn log(filter: &str, format: LogFormat, colour: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(filter, format, colour, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let _run =
                tracing::error_span!(target: "ecs_rebalancer", "run", run_id = "run-1", cluster = "prod").entered();
            tracing::debug!(operation = "ListTasks", "calling");
            tracing::info!(service = "web", reason = "no room", "left alone");
            tracing::error!("cannot stop task");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_a_short_line_an_event() {
        assert_eq!(
            log("info", LogFormat::Text, false),
            " INFO left alone service=\"web\" reason=\"no room\"\nERROR cannot stop task\n"
        );
    }

    #[test]
    fn json_is_an_object_a_line_with_the_fields_beside_the_message() {
        let log = log("debug", LogFormat::Json, false);
        let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 3);
        assert_eq!(events[0]["operation"], "ListTasks");
        assert_eq!(events[1]["level"], "INFO");
        assert_eq!(events[1]["message"], "left alone");
        assert_eq!(events[1]["service"], "web");
        assert!(events[1]["timestamp"].is_string());
    }

    #[test]
    fn the_filter_decides_and_colour_is_only_where_it_is_asked() {
        assert_eq!(log("off", LogFormat::Text, true), "");
        assert!(!log("trace", LogFormat::Text, false).contains('\u{1b}'));
        assert!(log("error", LogFormat::Text, true).contains('\u{1b}'));
        assert_eq!(log("ecs_rebalancer=error", LogFormat::Text, false).lines().count(), 1);
    }

    #[test]
    fn a_level_alone_is_for_this_program_and_others_are_named() {
        let shows = |filter: &str, target: &str| log_targets(filter).unwrap().would_enable(target, &Level::DEBUG);
        assert!(shows("debug", "ecs_rebalancer::run"));
        assert!(!shows("trace", "h2::imds"));
        assert!(shows("info,h2=DEBUG", "h2::imds"));
        assert!(!shows("info, h2=debug", "ecs_rebalancer::run"));
        assert!(shows("DEBUG", "ecs_rebalancer"));
    }
}
