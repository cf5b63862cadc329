//! What was found: a table for people, and a file that rehearsals and the simulator take.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::{Value, json};

use crate::{finding::Stop, probe::Setting, runner::Finding};

/// A table: a line a probe.
pub fn table(findings: &[Finding], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(["probe", "found", "which means"]);
    for finding in findings {
        let (found, meaning) = match &finding.outcome {
            Ok(found) => {
                let known = finding.probe.values.iter().find(|(value, _)| *value == found.value);
                (found.value.as_str(), known.map_or("a measure", |(_, meaning)| meaning).to_owned())
            }
            Err(stop @ Stop::Contradiction { .. }) => ("contradiction", stop.to_string()),
            Err(stop @ Stop::NotSettled { .. }) => ("not settled", stop.to_string()),
        };
        table.add_row([finding.probe.name, found, &shortened(&meaning)]);
    }
    table.to_string()
}

/// What fills a table's cell would fill the screen.
const LONGEST: usize = 400;

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST).collect();
    format!("{kept} (the whole of it is in the file)")
}

/// The file. `behaviours` and `faults` are what rehearsals take; the rest is for people.
pub fn file(findings: &[Finding], region: &str, cluster: &str, at: &str) -> Value {
    let (mut behaviours, mut faults) = (BTreeMap::new(), BTreeMap::new());
    for finding in findings {
        if let Ok(found) = &finding.outcome {
            match finding.probe.setting {
                Setting::Behaviour(name) => behaviours.insert(name, found.value.clone()),
                // What isn't late is no fault.
                Setting::Fault(_) if found.value == "0" => None,
                Setting::Nothing => None,
                Setting::Fault(name) => faults.insert(name, found.value.clone()),
            };
        }
    }
    let probes: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let mut probe = match &finding.outcome {
                Ok(found) => json!({"outcome": "found", "value": found.value, "seen": found.seen}),
                Err(Stop::Contradiction { asked, answered }) => {
                    json!({"outcome": "contradiction", "asked": asked, "answered": answered, "record": finding.record})
                }
                Err(Stop::NotSettled { why }) => json!({"outcome": "not settled", "why": why}),
            };
            probe["probe"] = json!(finding.probe.name);
            probe["calls"] = json!(finding.calls);
            probe["seconds"] = json!(finding.took.as_secs());
            probe
        })
        .collect();
    json!({"region": region, "cluster": cluster, "at": at, "behaviours": behaviours, "faults": faults, "probes": probes})
}

/// A contradiction as an issue would tell it: what was asked and answered.
pub fn issue(finding: &Finding) -> Option<String> {
    let Err(Stop::Contradiction { asked, answered }) = &finding.outcome else { return None };
    Some(format!(
        "# {}: ECS contradicts all that is known\n\nAsked {asked}\n\nAnswered {answered}\n\n```text\n{}\n```\n",
        finding.probe.name,
        finding.record.join("\n")
    ))
}
