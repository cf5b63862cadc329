//! What a probe is: a question about ECS, why it matters, and the work that settles it.

use std::pin::Pin;

use crate::{finding::Outcome, lab::Lab};

/// A probe's work on a cluster.
pub type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One question about ECS, and how it is settled.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// By which it is called, and its services are.
    pub name: &'static str,
    /// What the job takes for granted.
    pub assumption: &'static str,
    /// What happens if that is wrong.
    pub harm: &'static str,
    /// How the job notices while it runs.
    pub notices: &'static str,
    /// How sure that is without this probe.
    pub belief: Belief,
    /// What its findings set when a rehearsal is to behave alike.
    pub setting: Setting,
    /// What it can find, each with its meaning.
    pub values: &'static [(&'static str, &'static str)],
    /// About how many calls it makes.
    pub calls: u32,
    /// About how many minutes it takes.
    pub minutes: u32,
    /// What it does.
    pub work: for<'a> fn(&'a Lab<'a>) -> Work<'a>,
}

/// What a finding sets in the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The behaviour switch of this name.
    Behaviour(&'static str),
    /// The fault of this name, which takes the value in seconds.
    Fault(&'static str),
    /// Nothing: a measure, of which the values are parts, as ECS's documents have them.
    Nothing,
}

impl Setting {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Behaviour(name) | Self::Fault(name) => name,
            Self::Nothing => "",
        }
    }
}

/// How sure an assumption is before anybody has probed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// ECS's documents say so: where.
    Documented(&'static str),
    /// Others have seen it: where.
    Observed(&'static str),
    /// Nobody says, or the documents contradict each other: who says what.
    Open(&'static str),
}
