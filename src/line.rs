//! One line of the log on standard output: a JSON object that CloudWatch Logs takes whole and Logs Insights finds fields in.
//!
//! CloudWatch Logs cuts an event at 256 KB, and Logs Insights discovers at most 200 fields of an event [CloudWatch Logs user
//! guide, "Supported logs and discovered fields"]. A line stays far below both, whatever the size of the cluster.

use serde::Serialize;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::planning::model::Timestamp;

/// The longest line, in bytes.
pub const LONGEST_LINE: usize = 8_000;
/// The most fields of a line, those of nested objects counted one by one.
pub const MOST_FIELDS: usize = 50;
/// The longest text in a line, in bytes: the marker that says so included.
const LONGEST_TEXT: usize = 1_000;
/// What stands at the end of a text that was shortened.
const SHORTENED: &str = " [shortened]";

/// What every line of a run says.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// When the line was written.
    pub at: Timestamp,
    /// Which run.
    pub run_id: &'a str,
    /// The cluster's name; empty where none is known.
    pub cluster: &'a str,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// What was done or found.
    Info,
    /// What somebody should look at.
    Warn,
    /// What failed.
    Error,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: Level,
    message: &'a str,
    run_id: &'a str,
    cluster: &'a str,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl Origin<'_> {
    /// The line, without its end. Long texts are shortened, and so are lists, until the line fits.
    pub fn line(&self, level: Level, message: &str, fields: &impl Serialize) -> String {
        let mut fields = match serde_json::to_value(fields) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let mut longest = LONGEST_TEXT;
        loop {
            fields.values_mut().for_each(|value| shorten(value, longest));
            let line = self.render(level, message, &fields);
            if line.len() <= LONGEST_LINE || longest == 0 {
                return line;
            }
            longest /= 2;
            if let Some(list) = fields.values_mut().filter_map(Value::as_array_mut).max_by_key(|list| list.len()) {
                list.truncate(list.len() / 2);
            }
        }
    }

    fn render(&self, level: Level, message: &str, fields: &Map<String, Value>) -> String {
        let timestamp = iso_8601(self.at);
        let line = Line { timestamp, level, message, run_id: self.run_id, cluster: self.cluster, fields };
        // Fails only for keys that aren't texts, and all of these are.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A moment as `2026-11-24T11:00:00.999Z`.
pub fn iso_8601(at: Timestamp) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Shortens each text in a value to at most so many bytes, and says so in the text.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest => {
            let kept = text.floor_char_boundary(longest.saturating_sub(SHORTENED.len()));
            text.truncate(kept);
            text.push_str(SHORTENED);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(value, longest)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten(value, longest)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How many fields a line has, those of nested objects and lists counted one by one, as Logs Insights counts them.
pub fn fields_of(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(fields_of).sum(),
        Value::Array(values) => values.iter().map(fields_of).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORIGIN: Origin<'static> = Origin { at: Timestamp(1_795_518_000_999), run_id: "run-1", cluster: "prod" };

    #[test]
    fn a_line_says_when_which_run_and_which_cluster_and_then_the_rest() {
        assert_eq!(
            ORIGIN.line(Level::Warn, "service", &json!({"name": "web"})),
            r#"{"timestamp":"2026-11-24T11:00:00.999Z","level":"WARN","message":"service","run_id":"run-1","cluster":"prod","name":"web"}"#
        );
    }

    #[test]
    fn no_line_is_longer_than_allowed_and_each_is_json() {
        for (text, number) in
            [("a".repeat(300), 30), ("ä".repeat(40_000), 1), ("\u{1}".repeat(900), 40), (String::new(), 1)]
        {
            let line =
                ORIGIN.line(Level::Info, "summary", &json!({"errors": vec![text.clone(); number], "reason": text}));
            assert!(line.len() <= LONGEST_LINE, "{} bytes", line.len());
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["message"], "summary");
        }
    }

    #[test]
    fn fields_are_counted_as_logs_insights_counts_them() {
        assert_eq!(fields_of(&json!({"a": 1, "b": {"c": 2, "d": [3, 4]}})), 4);
    }
}
