//! The lease on a cluster: of two runs that start at the same time exactly one goes on. It lapses by itself.

use std::time::Duration;

use anyhow::Result;

use crate::{
    aws::act::Target,
    planning::{
        marks::{LEASE_TAG, LeaseMark},
        model::Timestamp,
    },
};

/// Between writing the lease and reading it back: longer than it takes another run to write after having read nothing.
const SETTLES: Duration = Duration::from_secs(3);
/// How long beyond the deadline the lease lasts, for the last calls.
const MARGIN: Duration = Duration::from_mins(1);

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Lease {
    cluster_arn: String,
}

/// Clears away a lease that lapsed: its run died after its work was done, and nobody else would.
///
/// # Errors
/// When the cluster can't be looked at or tagged.
pub(super) async fn sweep(target: Target<'_>, now: Timestamp) -> Result<()> {
    match target.lease().await? {
        (cluster_arn, Some(lease)) if lease.until <= now => target.untag(&cluster_arn, LEASE_TAG).await,
        _ => Ok(()),
    }
}

/// Takes the lease, or tells who has it.
///
/// # Errors
/// When the cluster can't be looked at or tagged.
pub(super) async fn take(
    target: Target<'_>,
    run_id: &str,
    now: Timestamp,
    deadline: Duration,
) -> Result<Result<Lease, LeaseMark>> {
    let (cluster_arn, present) = target.lease().await?;
    if let Some(other) = present.filter(|lease| lease.run_id != run_id && lease.until > now) {
        return Ok(Err(other));
    }
    let lasts = i64::try_from((deadline + MARGIN).as_millis()).unwrap_or(i64::MAX);
    let lease = LeaseMark { run_id: run_id.to_owned(), until: Timestamp(now.0.saturating_add(lasts)) };
    target.tag(&cluster_arn, LEASE_TAG, &lease.to_string()).await?;
    tokio::time::sleep(SETTLES).await;
    match target.lease().await?.1 {
        Some(other) if other.run_id != run_id => Ok(Err(other)),
        _ => Ok(Ok(Lease { cluster_arn })),
    }
}

impl Lease {
    /// Gives the lease back.
    pub(super) async fn release(self, target: Target<'_>) -> Result<()> {
        target.untag(&self.cluster_arn, LEASE_TAG).await
    }
}
