//! What is wrong with a configuration, told all at once.

use std::fmt;

/// All that is wrong with the configuration, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable; empty where it is none of ours.
    pub variable: String,
    /// What it holds, and what is allowed: the sentence of which the variable is the subject.
    pub sentence: String,
}

impl Problem {
    pub(super) fn new(variable: &str, sentence: impl Into<String>) -> Self {
        Self { variable: variable.to_owned(), sentence: sentence.into() }
    }
}

impl Problems {
    /// What is missing or wrong outside our own variables: Region, credentials, the metadata endpoint.
    pub fn of_error(error: &anyhow::Error) -> Self {
        Self(vec![Problem { variable: String::new(), sentence: format!("{error:#}") }])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.variable.is_empty() { "" } else { " " };
        write!(formatter, "{}{separator}{}", self.variable, self.sentence)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
