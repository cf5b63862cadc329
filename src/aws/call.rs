//! What each call goes through: the limiter before it, patience with throttling, a sentence for its failure.

use std::{fmt, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::limits::{Class, Limits};

/// How often a call is made anew after the SDK gave up on throttling; with the waits below some two minutes.
const THROTTLE_ROUNDS: u32 = 6;
/// The first wait after that; doubled each time.
const THROTTLE_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const THROTTLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Why a call failed, in the words of whoever refused it.
#[derive(Debug)]
pub struct CallError {
    /// The operation, as `DescribeTasks`.
    pub operation: &'static str,
    /// AWS's code, as `AccessDeniedException`; empty when no answer came.
    pub code: String,
    /// AWS's message, or what happened on the way.
    pub message: String,
    /// For AWS's support; empty when no answer came.
    pub request_id: String,
}

impl CallError {
    /// Whether AWS refused for want of permission.
    pub fn is_access_denied(&self) -> bool {
        self.code.starts_with("AccessDenied") || self.code == "UnauthorizedOperation"
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.operation)?;
        if self.code.is_empty() {
            write!(formatter, "{}", self.message)?;
        } else {
            write!(formatter, "{}: {}", self.code, self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(formatter, " (request {})", self.request_id)?;
        }
        if self.is_access_denied() {
            write!(formatter, "; grant {} to the task role", permission(self.operation))?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

/// Makes one call: waits for a token of its class, and when AWS throttles nevertheless, slows down and calls again.
///
/// # Errors
/// What AWS, or the way there, answered in the end.
pub async fn call<T, E>(
    limits: &Limits,
    class: Class,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let mut wait = THROTTLE_WAIT;
    let mut round = 0;
    loop {
        limits.wait(class).await;
        let error = match send().await {
            Ok(answer) => return Ok(answer),
            Err(error) => call_error(operation, &error),
        };
        if !is_throttle(&error.code) || round == THROTTLE_ROUNDS {
            return Err(error);
        }
        limits.drain(class);
        tracing::info!(operation, wait_seconds = wait.as_secs(), "throttled by AWS; slowing down");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(THROTTLE_WAIT_MAX);
        round += 1;
    }
}

fn call_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
    let code = metadata.and_then(|meta| meta.code()).unwrap_or_default().to_owned();
    let request_id = error
        .raw_response()
        .and_then(|response| {
            ["x-amzn-requestid", "x-amz-request-id"].iter().find_map(|name| response.headers().get(*name))
        })
        .unwrap_or_default()
        .to_owned();
    let message = match metadata.and_then(|meta| meta.message()) {
        Some(message) => message.to_owned(),
        None => chain(error),
    };
    CallError { operation, code, message, request_id }
}

/// An error and what caused it, joined by colons: an `SdkError` alone says only "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn is_throttle(code: &str) -> bool {
    matches!(code, "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequestsException")
}

fn permission(operation: &str) -> String {
    match operation {
        "PutMetricData" => format!("cloudwatch:{operation}"),
        "DescribeAutoScalingGroups" => format!("autoscaling:{operation}"),
        "DescribeTargetHealth" => format!("elasticloadbalancing:{operation}"),
        _ => format!("ecs:{operation}"),
    }
}
