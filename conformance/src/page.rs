//! The tables of the book's page "How sure are we?", made from the probes' own data and from what accounts have proved.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::probe::{Belief, Probe};

/// What was found in an account, as far as the page tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Proof {
    /// Where.
    pub region: String,
    /// When, as RFC 3339 has it.
    pub at: String,
    /// What came of each probe.
    pub probes: Vec<Proved>,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Proved {
    /// Its name.
    pub probe: String,
    /// What it found, if it did.
    pub value: Option<String>,
}

impl Proof {
    /// Reads a file of findings.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("this is no file of findings")
    }

    fn of(&self, probe: &Probe) -> Option<String> {
        let value = self.probes.iter().find(|proved| proved.probe == probe.name)?.value.as_ref()?;
        let day = self.at.get(..10).unwrap_or(&self.at);
        Some(format!("proved in {} on {day}: `{value}`", self.region))
    }
}

/// Each assumption with what hangs on it.
pub fn assumptions(probes: &[Probe], proofs: &[Proof]) -> String {
    let mut text = "| probe | what the job takes for granted | if that is wrong | how the job notices | how sure |\n\
                    | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for probe in probes {
        let belief = match probe.belief {
            Belief::Documented(place) => format!("documented: {place}"),
            Belief::Observed(place) => format!("observed by others: {place}"),
            Belief::Open(place) => format!("open: {place}"),
        };
        let sure: Vec<String> = proofs.iter().filter_map(|proof| proof.of(probe)).chain([belief]).collect();
        text += &format!(
            "| `{}` | {} | {} | {} | {}. |\n",
            probe.name,
            probe.assumption,
            probe.harm,
            probe.notices,
            sure.join("; ")
        );
    }
    text
}

/// Each probe with what it can find and what it costs.
pub fn costs(probes: &[Probe], hundredths_of_a_cent_an_hour: u32) -> String {
    let cost = |minutes: u32| {
        let hundredths = minutes * hundredths_of_a_cent_an_hour / 60;
        format!("{}.{}", hundredths / 100, hundredths % 100 / 10)
    };
    let mut text = "| probe | can find | calls | minutes | cents |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for probe in probes {
        let values = probe.values.iter().map(|(value, meaning)| format!("`{value}`: {meaning}"));
        let values = values.collect::<Vec<_>>().join("; ");
        text += &format!(
            "| `{}` | {values} | {} | {} | {} |\n",
            probe.name,
            probe.calls,
            probe.minutes,
            cost(probe.minutes)
        );
    }
    let (calls, minutes): (u32, u32) =
        probes.iter().fold((0, 0), |(calls, minutes), probe| (calls + probe.calls, minutes + probe.minutes));
    text + &format!("| all | | {calls} | {minutes} | {} |\n", cost(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::PROBES;

    #[test]
    fn what_an_account_has_proved_comes_before_what_is_believed() {
        let proof = r#"{"region": "eu-west-1", "cluster": "c", "at": "2026-11-30T10:00:00Z", "behaviours": {}, "faults": {},
            "probes": [{"probe": "stop-of-protected", "outcome": "found", "value": "allowed", "seen": [], "calls": 9},
                       {"probe": "ties", "outcome": "not settled", "why": "it rained", "calls": 9}]}"#;
        let table = assumptions(&PROBES, &[Proof::from_json(proof).unwrap()]);
        assert!(table.contains("| proved in eu-west-1 on 2026-11-30: `allowed`; observed by others"), "{table}");
        assert_eq!(table.matches("proved in").count(), 1);
    }
}
