//! The container instances that stay far from the mean, each with its reason.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Place, Report, planned::place, text::some};
use crate::planning::{
    imbalance::Measure,
    levelling::{self, far_from_mean},
    model::{Cluster, Timestamp},
    policy::{Percent, Policy},
};

/// The container instances that are left at less than half, or at more than twice, of what all have reserved on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FarFromMean {
    /// What the usable instances have reserved on average, each by the larger of its CPU and memory.
    pub mean_reserved_percent: f64,
    /// Those under half of it, the emptiest first.
    pub under_half: Vec<FarInstance>,
    /// Those over twice of it, the fullest first.
    pub over_twice: Vec<FarInstance>,
}

/// One of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FarInstance {
    /// Its names.
    #[serde(flatten)]
    pub place: Place,
    /// The larger of its reserved CPU and memory.
    pub reserved_percent: f64,
    /// Why it stays so, in a word that doesn't change.
    pub reason_code: &'static str,
    /// The same in a sentence.
    pub reason: String,
}

impl Report {
    /// Tells which container instances of the cluster, as it is left or would be, are far from the mean.
    pub(super) fn left_far_from_mean(&mut self, cluster: &Cluster, measure: &Measure, policy: &Policy, now: Timestamp) {
        let far = far_from_mean(cluster, measure, policy, now);
        let told = |instances: Vec<levelling::FarInstance>| {
            let told = instances.into_iter().map(|far| FarInstance {
                place: place(cluster, &far.instance),
                reserved_percent: percent(far.reserved),
                reason_code: far.why.code(),
                reason: far.why.to_string(),
            });
            told.collect()
        };
        self.far_from_mean = far.map(|far| FarFromMean {
            mean_reserved_percent: percent(far.mean),
            under_half: told(far.under_half),
            over_twice: told(far.over_twice),
        });
    }
}

impl FarFromMean {
    /// In lines for people: on which side, which instances, and why. Those with one reason share a line.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let mean = self.mean_reserved_percent.round();
        let sides = [("under half of", &self.under_half), ("over twice", &self.over_twice)];
        let of_side = |(side, instances): (&str, &Vec<FarInstance>)| {
            let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for far in instances {
                // As bars show it: only what is empty shows as 0.
                let named = format!("{} ({} %)", far.place.name(), far.reserved_percent.ceil());
                by_reason.entry(&far.reason).or_default().push(named);
            }
            let line = |(reason, names): (&str, Vec<String>)| {
                (format!("{side} the mean of {mean} %"), format!("{}; {reason}", some(&names)))
            };
            by_reason.into_iter().map(line).collect::<Vec<_>>()
        };
        sides.into_iter().flat_map(of_side).collect()
    }
}

fn percent(percent: Percent) -> f64 {
    f64::from(percent.hundredths()) / 100.0
}
