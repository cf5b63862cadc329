//! Reading JSON with the place in mind: every complaint names where it is, as `services[3].desiredCount`.
//!
//! A request is read strictly. A snapshot is read with notes: what this version doesn't know is kept as it is, and noted.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use anyhow::{Result, bail};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::moment::Moment;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    value: Option<&'a Value>,
    path: String,
    notes: Option<Notes>,
}

/// What was kept though it isn't understood.
pub(crate) type Notes = Rc<RefCell<Vec<String>>>;

impl<'a> Place<'a> {
    /// The whole document.
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value: Some(value), path: String::new(), notes: None }
    }

    /// The same, of a document in which what isn't known is kept and noted.
    pub(crate) fn tolerant(value: &'a Value, notes: &Notes) -> Self {
        Self { notes: Some(Rc::clone(notes)), ..Self::root(value) }
    }

    /// Notes that something here is kept though it isn't understood; false where that isn't allowed.
    pub(crate) fn note(&self, what: &str) -> bool {
        let Some(notes) = &self.notes else { return false };
        let shown = self.value.map_or_else(|| "nothing".to_owned(), |value| shorten(&value.to_string()));
        notes.borrow_mut().push(format!("{}: {what}: {shown}", self.path));
        true
    }

    /// Something within an object; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Place<'a> {
        let value = self.value.and_then(|value| value.get(key)).filter(|value| !value.is_null());
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Place { value, path, notes: self.notes.clone() }
    }

    pub(crate) fn exists(&self) -> bool {
        self.value.is_some()
    }

    pub(crate) fn raw(&self) -> Option<&'a Value> {
        self.value
    }

    /// Fails here.
    pub(crate) fn fail<T>(&self, what: &str) -> Result<T> {
        let shown = self.value.map_or_else(|| "nothing".to_owned(), |value| shorten(&value.to_string()));
        if self.path.is_empty() {
            bail!("{what}, not {shown}")
        }
        bail!("{}: {what}, not {shown}", self.path)
    }

    pub(crate) fn object(&self) -> Result<()> {
        match self.value {
            Some(Value::Object(_)) => Ok(()),
            _ => self.fail("expected an object"),
        }
    }

    /// The elements of a list; absent means none.
    pub(crate) fn list(&self) -> Result<Vec<Place<'a>>> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values
                .iter()
                .enumerate()
                .map(|(index, value)| Place {
                    value: Some(value),
                    path: format!("{}[{index}]", self.path),
                    notes: self.notes.clone(),
                })
                .collect()),
            Some(_) => self.fail("expected a list"),
        }
    }

    pub(crate) fn text(&self) -> Result<Option<&'a str>> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => self.fail("expected text"),
        }
    }

    pub(crate) fn text_or(&self, default: &str) -> Result<String> {
        Ok(self.text()?.unwrap_or(default).to_owned())
    }

    pub(crate) fn needed_text(&self) -> Result<String> {
        match self.text()? {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => self.fail("expected text"),
        }
    }

    /// One of a few words.
    pub(crate) fn one_of(&self, allowed: &[&str], default: &str) -> Result<String> {
        let text = self.text_or(default)?;
        if allowed.contains(&text.as_str()) || (self.exists() && self.note("is kept, but this version doesn't know it"))
        {
            return Ok(text);
        }
        self.fail(&format!("expected one of {}", allowed.join(", ")))
    }

    pub(crate) fn truth_or(&self, default: bool) -> Result<bool> {
        match self.value {
            None => Ok(default),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => self.fail("expected true or false"),
        }
    }

    /// A whole number that is not negative; ECS gives some as text.
    pub(crate) fn count(&self) -> Result<Option<u32>> {
        let number = match self.value {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        match number {
            Some(number) if i32::try_from(number).is_ok() => Ok(Some(number)),
            _ => self.fail("expected a whole number from 0 to 2147483647"),
        }
    }

    pub(crate) fn count_or(&self, default: u32) -> Result<u32> {
        Ok(self.count()?.unwrap_or(default))
    }

    /// A moment: seconds since 1970, or ISO 8601.
    pub(crate) fn moment(&self) -> Result<Option<Moment>> {
        let milliseconds = match self.value {
            None => return Ok(None),
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of any date fit; others saturate")]
            Some(Value::Number(number)) => number.as_f64().map(|seconds| (seconds * 1000.0).round() as i64),
            Some(Value::String(text)) => match text.parse::<f64>() {
                #[expect(clippy::cast_possible_truncation, reason = "milliseconds of any date fit; others saturate")]
                Ok(seconds) => Some((seconds * 1000.0).round() as i64),
                Err(_) => OffsetDateTime::parse(text, &Rfc3339)
                    .ok()
                    .and_then(|moment| i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()),
            },
            Some(_) => None,
        };
        // The years 1970 to 9999: what ISO 8601 can say, and far from any overflow.
        match milliseconds {
            Some(milliseconds) if (0..=253_402_300_799_999).contains(&milliseconds) => Ok(Some(Moment(milliseconds))),
            _ => self.fail("expected seconds since 1970 or an ISO 8601 date"),
        }
    }

    /// `[{"key": ..., "value": ...}]` or the like, by the names of its two members.
    pub(crate) fn pairs(&self, key: &str, value: &str) -> Result<BTreeMap<String, String>> {
        self.list()?
            .iter()
            .map(|pair| {
                pair.object()?;
                Ok((pair.get(key).needed_text()?, pair.get(value).text_or("")?))
            })
            .collect()
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}
