//! The edge: the only code that names an `aws_*` crate. Clients, time-outs, and what every call goes through.

pub mod act;
pub mod call;
mod convert;
mod http;
#[cfg(feature = "rehearsal")]
pub mod in_process;
pub mod limits;
pub mod look;
pub mod metadata;
pub mod observe;
mod pages;
pub mod patience;
pub mod providers;
pub mod publish;
pub mod read;
mod shared;
mod snapshot;

use std::time::Duration;

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ecs::config::retry::RetryPartition;

use self::{limits::Limits, observe::Observer, patience::Patience};
use crate::shutdown::Shutdown;

/// The SDK sets no time-out but that of connecting: a peer that reads and never answers would hang the run for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of one attempt. ECS answers a full batch of 100 in well under a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one call with all its attempts and the waits between them.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts of one call that reads, unless `AWS_MAX_ATTEMPTS` says otherwise; one that changes something gets one: see `call`.
const MAX_ATTEMPTS: u32 = 5;
/// Of finding region and credentials: a dead credentials endpoint takes the SDK 8.7 s by itself.
const LOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests of one look or one change under way at once: enough to hide the latency, few enough for one connection pool.
const UNDER_WAY: usize = 8;

/// The cluster that calls are about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// The cluster's name or ARN.
    pub cluster: &'a str,
}

/// For a call that changes something: one attempt.
fn once() -> aws_sdk_ecs::config::Builder {
    aws_sdk_ecs::Config::builder().retry_config(RetryConfig::disabled())
}

/// The clients of a run, with the one limiter and the one observer that all their calls go through.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Amazon ECS.
    pub(crate) ecs: aws_sdk_ecs::Client,
    /// Amazon CloudWatch.
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    /// Elastic Load Balancing v2.
    pub(crate) load_balancing: aws_sdk_elasticloadbalancingv2::Client,
    /// Auto Scaling.
    pub(crate) auto_scaling: aws_sdk_autoscaling::Client,
    /// ECS's token buckets, as seen from here.
    pub(crate) limits: Limits,
    /// Counts every attempt.
    pub observer: Observer,
    /// How long calls are waited for.
    pub patience: Patience,
    config: SdkConfig,
}

impl Clients {
    /// Clients as the SDK's own environment asks: `AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`, ... But how often a call is tried
    /// is told here: the SDK panics where that is wrong in the environment or a profile.
    ///
    /// # Errors
    /// When no region is to be found, or finding it takes too long.
    pub async fn from_environment(max_attempts: Option<u32>, is_adaptive: bool) -> Result<Self> {
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http::client());
        let config = tokio::time::timeout(LOAD_TIMEOUT, with_bounds(loader, max_attempts, is_adaptive).load())
            .await
            .context("finding the AWS region and credentials took too long; set AWS_REGION and check the task role")?;
        let Some(Region { .. }) = config.region() else {
            anyhow::bail!("no AWS region is configured; set AWS_REGION");
        };
        Ok(Self::from_config(&config))
    }

    /// The Region that the clients call.
    pub fn region(&self) -> &str {
        self.config.region().map_or("", AsRef::as_ref)
    }

    /// Clients of a configuration that is already loaded.
    pub(crate) fn from_config(config: &SdkConfig) -> Self {
        let observer = Observer::default();
        // The SDK's quota of attempts is the whole process's otherwise: one cluster's trouble would use up another's.
        let quota = || RetryPartition::custom("run").build();
        Self {
            ecs: aws_sdk_ecs::Client::from_conf(
                aws_sdk_ecs::config::Builder::from(config)
                    .interceptor(observer.clone())
                    .retry_partition(quota())
                    .build(),
            ),
            cloudwatch: aws_sdk_cloudwatch::Client::from_conf(
                aws_sdk_cloudwatch::config::Builder::from(config)
                    .interceptor(observer.clone())
                    .retry_partition(quota())
                    .build(),
            ),
            load_balancing: aws_sdk_elasticloadbalancingv2::Client::from_conf(
                aws_sdk_elasticloadbalancingv2::config::Builder::from(config)
                    .interceptor(observer.clone())
                    .retry_partition(quota())
                    .build(),
            ),
            auto_scaling: aws_sdk_autoscaling::Client::from_conf(
                aws_sdk_autoscaling::config::Builder::from(config)
                    .interceptor(observer.clone())
                    .retry_partition(quota())
                    .build(),
            ),
            limits: Limits::default(),
            observer,
            patience: Patience::new(Shutdown::never()),
            config: config.clone(),
        }
    }

    /// The same, whose calls end with the run: by its deadline, or a while after it was told to end.
    #[must_use]
    pub fn ending_with(&self, shutdown: Shutdown) -> Self {
        Self { patience: Patience::new(shutdown), ..self.clone() }
    }

    /// Clients for another cluster's run at the same time: connections and limits are shared, and what is observed is not.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { limits: self.limits.clone(), ..Self::from_config(&self.config) }
    }
}

/// Adds what every configuration of ours has, real or simulated. The SDK's own number of attempts is 3.
fn with_bounds(loader: ConfigLoader, max_attempts: Option<u32>, is_adaptive: bool) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = if is_adaptive { RetryConfig::adaptive() } else { RetryConfig::standard() };
    loader.timeout_config(timeouts).retry_config(retries.with_max_attempts(max_attempts.unwrap_or(MAX_ATTEMPTS)))
}
