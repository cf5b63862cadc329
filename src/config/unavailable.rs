//! What the contract names and this version doesn't do yet: refused, rather than silently left out.

use super::{Config, Problem, Problems};
use crate::planning::policy::Mode;

impl Config {
    /// Refuses what would have no effect.
    ///
    /// # Errors
    /// Each setting that asks for something which this version doesn't do.
    pub(super) fn check_available(&self) -> Result<(), Problems> {
        let asked = [("REBALANCER_MODE", self.policy.mode == Mode::Consolidate, "consolidate")];
        let problems: Vec<Problem> = asked
            .into_iter()
            .filter(|(_, is_asked, _)| *is_asked)
            .map(|(name, _, what)| {
                Problem::new(name, format!("is set, but {what} is not in this version yet: leave it away"))
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_have_no_effect_is_refused_and_the_rest_is_not() {
        assert_eq!(Config::default().check_available(), Ok(()));
        let mut config = Config::default();
        config.policy.mode = Mode::Consolidate;
        let told = config.check_available().unwrap_err().to_string();
        assert_eq!(told.matches("not in this version yet").count(), 1, "{told}");
    }
}
