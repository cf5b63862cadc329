//! The report for machines: one JSON object.

use std::io;

use super::Report;

/// On one line, for standard output.
///
/// # Errors
/// None in practice: the report holds nothing that JSON can't.
pub fn line(report: &Report) -> io::Result<String> {
    Ok(serde_json::to_string(report)?)
}

/// Indented, for a file.
///
/// # Errors
/// None in practice: the report holds nothing that JSON can't.
pub fn document(report: &Report) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
