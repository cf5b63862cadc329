//! The probes one after another, on a cluster that is clean before each and after the last.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    finding::{Outcome, Stop},
    lab::{self, Lab, Site},
    probe::{Probe, Setting},
};

/// What came of one probe.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The probe.
    pub probe: &'static Probe,
    /// What it found.
    pub outcome: Outcome,
    /// Where ECS contradicts all that is known: what was asked and answered of late, as it went over the wire.
    pub record: Vec<String>,
    /// The calls it made.
    pub calls: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether all that it made is gone.
    pub is_clean: bool,
}

impl Finding {
    /// Of a probe that was not run, for the cluster can't be cleaned before it.
    pub fn not_run(probe: &'static Probe) -> Self {
        let why = "not run: what an earlier probe made can't be taken away";
        let outcome = Err(Stop::not_settled(why));
        Self { probe, outcome, record: Vec::new(), calls: 0, took: Duration::ZERO, is_clean: false }
    }
}

/// Runs a probe, and takes away what it made, whatever came of it. `before` is what came of the one before it, if there was one:
/// what that left is taken away first.
pub async fn run(probe: &'static Probe, site: Site<'_>, before: Option<&Finding>) -> Finding {
    let is_clean = before.is_some_and(|before| before.is_clean);
    let record = &site.connection.record;
    let before = record.calls();
    let began = Instant::now();
    record.take();
    let outcome = settle(probe, site, is_clean).await;
    let kept = match &outcome {
        Err(Stop::Contradiction { .. }) => record.take(),
        _ => Vec::new(),
    };
    let cleaned = lab::clean(site).await;
    let is_clean = cleaned.is_ok();
    // What was found stands; that the cluster isn't clean is told, and the next probe finds out again.
    let outcome = match (outcome, cleaned) {
        (Ok(mut found), Err(stop)) => {
            found.seen.push(format!("what the probe made is not all gone: {stop}"));
            Ok(found)
        }
        (outcome, _) => outcome,
    };
    Finding { probe, outcome, record: kept, calls: record.calls() - before, took: began.elapsed(), is_clean }
}

async fn settle(probe: &Probe, site: Site<'_>, is_clean: bool) -> Outcome {
    if !is_clean {
        // What one that was killed left.
        lab::clean(site).await?;
    }
    let lab = Lab::new(site, probe.name);
    let found = (probe.work)(&lab).await?;
    let is_known = probe.values.iter().any(|(value, _)| *value == found.value);
    if is_known || probe.setting == Setting::Nothing {
        Ok(found)
    } else {
        Err(Stop::contradiction(probe.assumption, format!("{}, for which there is no setting", found.value)))
    }
}
