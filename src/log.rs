//! The tracing subscriber: which events are shown, and how. It has no events of its own.
//!
//! The log goes to standard error, so that the report is the last line on standard output.

use std::str::FromStr;

use anyhow::{Context, Result};
use tracing::{Level, Subscriber};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

use crate::{config::LogFormat, progress::Beside};

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
    let filter = Targets::from_str(filter).with_context(|| format!("{filter:?} is no log filter"))?;
    let builder = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(writer);
    Ok(match format {
        // People see what happens as it happens: no time, and a line that fits their terminal.
        LogFormat::Text => Box::new(builder.with_ansi(colour).with_target(false).without_time().finish().with(filter)),
        LogFormat::Json => Box::new(
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().with(filter),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

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

    /// How three events look.
    fn log(filter: &str, format: LogFormat, colour: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(filter, format, colour, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
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
}
