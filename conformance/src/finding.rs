//! What a probe finds, or why it finds nothing.

use std::fmt;

/// What a probe found, or why it found nothing.
pub type Outcome = Result<Found, Stop>;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// One of the probe's values.
    pub value: String,
    /// What that rests on, a line each.
    pub seen: Vec<String>,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// ECS did what none of the known ways allows.
    Contradiction {
        /// What had been asked of it.
        asked: String,
        /// What it answered, or did.
        answered: String,
    },
    /// What was seen doesn't decide it.
    NotSettled {
        /// Why, or which operation is missing.
        why: String,
    },
}

impl Stop {
    /// A contradiction.
    pub fn contradiction(asked: impl Into<String>, answered: impl Into<String>) -> Self {
        Self::Contradiction { asked: asked.into(), answered: answered.into() }
    }

    /// Not settled.
    pub fn not_settled(why: impl Into<String>) -> Self {
        Self::NotSettled { why: why.into() }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction { asked, answered } => write!(formatter, "asked {asked}; answered {answered}"),
            Self::NotSettled { why } => formatter.write_str(why),
        }
    }
}
