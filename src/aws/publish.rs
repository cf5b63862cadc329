//! Data points → PutMetricData, in batches.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, MetricDatum, StandardUnit},
};

use super::{Clients, call::persistently, limits::Class};
use crate::{
    metrics::{DataPoint, Unit},
    planning::model::Timestamp,
};

/// PutMetricData takes at most 1,000 metrics and 1 MB a call [CloudWatch user guide, "CloudWatch service quotas"]; a datum
/// of ours is below 700 bytes of CBOR even with the longest names, and the SDK compresses what is over 10 KiB.
const BATCH: usize = 1_000;

/// Publishes data points, all with the same timestamp.
///
/// # Errors
/// Names the namespace, and CloudWatch's answer.
pub async fn publish(clients: &Clients, namespace: &str, points: &[DataPoint], now: Timestamp) -> Result<()> {
    let timestamp = DateTime::from(std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0)));
    for batch in points.chunks(BATCH) {
        let data: Vec<MetricDatum> = batch.iter().map(|point| datum(point, timestamp)).collect();
        persistently(clients, Class::Elsewhere, "PutMetricData", async || {
            clients.cloudwatch.put_metric_data().namespace(namespace).set_metric_data(Some(data.clone())).send().await
        })
        .await
        .with_context(|| format!("cannot publish {} metrics to CloudWatch namespace {namespace}", batch.len()))?;
    }
    Ok(())
}

fn datum(point: &DataPoint, timestamp: DateTime) -> MetricDatum {
    let dimensions = point.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    MetricDatum::builder()
        .metric_name(point.name)
        .set_dimensions(Some(dimensions.collect()))
        .timestamp(timestamp)
        .value(point.value)
        .unit(match point.unit {
            Unit::Count => StandardUnit::Count,
            Unit::Percent => StandardUnit::Percent,
            Unit::Seconds => StandardUnit::Seconds,
        })
        .build()
}
