//! Which of several worlds fits what was seen, where ECS chooses among equals.
//!
//! In each world ECS takes one of a few, all of them equally likely. Each choice that is seen rules out the worlds in which it
//! can't happen, and makes those more likely that leave ECS less to choose from.

use std::collections::BTreeSet;

use crate::finding::{Found, Outcome, Stop};

/// The world that is found is so many times as likely as any other, as a power of two: more than a thousand times.
const LEAD: f64 = 10.0;

/// Worlds by name, and how well each fits.
#[derive(Clone, Debug)]
pub struct Odds {
    /// The logarithm of the chance of all that was seen.
    worlds: Vec<(&'static str, f64)>,
    seen: Vec<String>,
    ruled_out: Option<(String, String)>,
}

impl Odds {
    /// Nothing seen yet.
    pub fn new(worlds: &[&'static str]) -> Self {
        Self { worlds: worlds.iter().map(|world| (*world, 0.0)).collect(), seen: Vec::new(), ruled_out: None }
    }

    /// ECS was asked something and chose `chosen`; `possible` tells what it can choose in a world.
    pub fn saw(&mut self, asked: &str, chosen: &str, possible: impl Fn(&str) -> BTreeSet<String>) {
        let before = self.worlds.clone();
        for (world, fits) in &mut self.worlds {
            let possible = possible(world);
            if possible.contains(chosen) {
                *fits -= bits(possible.len());
            } else {
                *fits = f64::NEG_INFINITY;
            }
        }
        self.seen.push(format!("{asked}: {chosen}"));
        let some_fit = |worlds: &[(&str, f64)]| worlds.iter().any(|(_, fits)| fits.is_finite());
        if some_fit(&before) && !some_fit(&self.worlds) {
            self.ruled_out = Some((asked.to_owned(), chosen.to_owned()));
        }
    }

    /// Whether more would change nothing.
    pub fn is_decided(&self) -> bool {
        self.ruled_out.is_some() || self.lead() >= LEAD
    }

    fn ranked(&self) -> Vec<(&'static str, f64)> {
        let mut ranked = self.worlds.clone();
        ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
        ranked
    }

    fn lead(&self) -> f64 {
        match self.ranked().as_slice() {
            [(_, first), (_, second), ..] if first.is_finite() => first - second,
            [(_, first)] if first.is_finite() => f64::INFINITY,
            _ => 0.0,
        }
    }

    /// The world that fits far better than all others.
    ///
    /// # Errors
    /// A contradiction where none fits; not settled where several do.
    pub fn outcome(self) -> Outcome {
        if let Some((asked, chosen)) = &self.ruled_out {
            let before = self.seen.join("; ");
            return Err(Stop::contradiction(asked, format!("{chosen}, which no known way allows after {before}")));
        }
        let ranked = self.ranked();
        if self.lead() >= LEAD {
            return Ok(Found { value: ranked[0].0.to_owned(), seen: self.seen });
        }
        let near = ranked.iter().filter(|(_, fits)| ranked[0].1 - fits < LEAD).map(|(world, _)| *world);
        let near: Vec<&str> = near.collect();
        Err(Stop::not_settled(format!("{} choices fit {}", self.seen.len(), near.join(" as well as "))))
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are at most a few thousand tasks to choose from")]
fn bits(number: usize) -> f64 {
    (number as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn possible(world: &str) -> BTreeSet<String> {
        let names: &[&str] = if world == "first" { &["a"] } else { &["a", "b"] };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_narrower_world_is_found_once_chance_would_hardly_have_done_the_same() {
        let mut odds = Odds::new(&["first", "any"]);
        for _ in 0..9 {
            odds.saw("start", "a", possible);
        }
        assert!(!odds.is_decided());
        assert_eq!(odds.clone().outcome().unwrap_err(), Stop::not_settled("9 choices fit first as well as any"));
        odds.saw("start", "a", possible);
        assert!(odds.is_decided());
        assert_eq!(odds.outcome().unwrap().value, "first");
    }

    #[test]
    fn one_choice_rules_a_world_out() {
        let mut odds = Odds::new(&["first", "any"]);
        odds.saw("start", "b", possible);
        assert_eq!(odds.outcome().unwrap().value, "any");
    }

    #[test]
    fn what_no_world_allows_is_a_contradiction() {
        let mut odds = Odds::new(&["first", "any"]);
        odds.saw("start", "c", possible);
        assert!(matches!(odds.outcome(), Err(Stop::Contradiction { asked, .. }) if asked == "start"));
    }
}
