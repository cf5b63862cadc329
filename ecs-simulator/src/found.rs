//! What probes have found on an account, as the settings under which a simulation behaves alike.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::text;

/// Settings `NAME=VALUE`, to stand before those that are given one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of switches.
    pub behaviour: Vec<String>,
    /// Of faults: what is slow, or late.
    pub fault: Vec<String>,
}

impl Found {
    /// Reads a file of findings, with these settings after them; without a file there are just these.
    ///
    /// # Errors
    /// When the file can't be read, or is none of findings.
    pub fn and(file: Option<&Path>, behaviour: &[String], fault: &[String]) -> Result<Self> {
        let mut all = Self::default();
        if let Some(path) = file {
            let text = text::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            all = Self::from_json(&text).with_context(|| format!("cannot use {}", path.display()))?;
        }
        all.behaviour.extend_from_slice(behaviour);
        all.fault.extend_from_slice(fault);
        Ok(all)
    }

    fn from_json(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text).context("not a JSON document")?;
        let settings = |member: &str| -> Result<Vec<String>> {
            let what = || {
                anyhow!("{member}: not an object of names and values; cargo conformance --output writes such a file")
            };
            let found: BTreeMap<String, String> =
                serde_json::from_value(document.get(member).cloned().ok_or_else(what)?).map_err(|_| what())?;
            Ok(found.iter().map(|(name, value)| format!("{name}={value}")).collect())
        };
        Ok(Self { behaviour: settings("behaviours")?, fault: settings("faults")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;

    #[test]
    fn findings_are_settings_and_what_is_given_one_by_one_stands_over_them() {
        let text = r#"{"region": "eu-west-1", "behaviours": {"ties": "first", "scale-in": "newest"}, "faults": {"reads-lag": "2"}}"#;
        let found = Found::from_json(text).unwrap();
        assert_eq!(found.behaviour, ["scale-in=newest", "ties=first"]);
        assert_eq!(found.fault, ["reads-lag=2"]);
        let over = [found.behaviour, vec!["ties=last".to_owned()]].concat();
        assert_eq!(Behaviour::from_settings(&over).unwrap().get("ties"), "last");
        assert_eq!(Behaviour::from_settings(&over).unwrap().get("scale-in"), "newest");
    }

    #[test]
    fn what_is_no_file_of_findings_says_how_to_get_one() {
        let error = Found::from_json(r#"{"behaviours": ["ties"]}"#).unwrap_err().to_string();
        assert!(error.starts_with("behaviours: not an object") && error.contains("--output"), "{error}");
    }
}
