//! The values of faults, read from their settings.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Occasion, Operation, When};

/// Longer than any rehearsal, and far from any overflow.
const MOST_SECONDS: f64 = 1e9;

fn not<T>(name: &str, kind: &str, value: &str) -> Result<T> {
    bail!("fault {name} takes {kind}, not {value:?}")
}

/// A number that isn't negative; a share is at most 1.
pub(super) fn number(name: &str, kind: &str, value: &str) -> Result<f64> {
    let number = plain(value).with_context(|| format!("fault {name} takes {kind} as a number, not {value:?}"))?;
    ensure!(kind != "a share" || number <= 1.0, "fault {name} takes a share from 0 to 1, not {value:?}");
    Ok(number)
}

fn plain(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| (0.0..=MOST_SECONDS).contains(number))
}

/// A span of seconds: one number for both, or two in order.
pub(super) fn lag(name: &str, kind: &str, value: &str) -> Result<(f64, f64)> {
    let span = match value.split_once('-') {
        Some((from, to)) => plain(from).zip(plain(to)),
        None => plain(value).map(|seconds| (seconds, seconds)),
    };
    span.filter(|(from, to)| from <= to).map_or_else(|| not(name, kind, value), Ok)
}

/// Two whole numbers in order.
pub(super) fn range(name: &str, kind: &str, value: &str) -> Result<(u32, u32)> {
    let numbers = value.split_once('-').and_then(|(from, to)| from.parse().ok().zip(to.parse().ok()));
    numbers.filter(|(from, to)| from <= to).map_or_else(|| not(name, kind, value), Ok)
}

/// `OPERATION:FROM-TO` or `OPERATION:#NUMBER`.
pub(super) fn occasion(name: &str, kind: &str, value: &str) -> Result<Occasion> {
    let when = |text: &str| {
        if let Some(number) = text.strip_prefix('#') {
            return number.parse().ok().filter(|number| *number > 0).map(When::Number);
        }
        let (from, to) = text.split_once('-')?;
        let (from, to) = plain(from).zip(plain(to))?;
        (from < to).then_some(When::Between(from, to))
    };
    let Some((operation, when)) = value.split_once(':').and_then(|(operation, text)| Some((operation, when(text)?)))
    else {
        return not(name, kind, value);
    };
    let operation = match operation {
        "all" => Operation::All,
        "ecs" => Operation::Ecs,
        named if crate::operations::is_simulated(named) => Operation::Named(named.to_owned()),
        other => bail!("fault {name}: {other} is no operation that is simulated, nor `ecs` or `all`"),
    };
    Ok(Occasion { operation, when })
}

/// The same with `:SECONDS` behind it.
pub(super) fn occasion_with_seconds(name: &str, kind: &str, value: &str) -> Result<(Occasion, Duration)> {
    let parts = value.rsplit_once(':').and_then(|(before, seconds)| Some((before, plain(seconds)?)));
    match parts {
        Some((before, seconds)) if before.contains(':') => {
            Ok((occasion(name, kind, before)?, Duration::from_secs_f64(seconds)))
        }
        _ => not(name, kind, value),
    }
}
