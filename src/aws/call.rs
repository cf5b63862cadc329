//! What each call goes through: the limiter before it, the run's time around it, a sentence for its failure.

use std::{fmt, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    ATTEMPT_TIMEOUT, Clients, OPERATION_TIMEOUT,
    limits::Class,
    patience::{Over, Patience},
};
use crate::planning::strategy::{Done, Failure, FailureKind};

/// The first wait before a call that a run can't do without is made anew; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So long such a call is made again and again: longer than an outage that passes by itself as a rule.
pub const KEEPS_ON: Duration = Duration::from_secs(100);
/// How the SDK's chain of providers begins to say that none of them has credentials.
const NO_CREDENTIALS: &str = "no credentials found in chain";
/// How its provider of an instance's credentials says that it got no answer.
const NOT_TOLD: &str = "could not communicate with IMDS";
/// How it says that a provider which is set up has failed.
const NOT_LOADED: &str = "an error occurred while loading credentials";
/// How it speaks of a login at IAM Identity Center that is missing, or has run out.
const NO_LOGIN: &str = "SSO token";
/// Whoever has these at a desk has them until a person does something: no login, a program that fails, a role that is refused.
const UNTIL_A_PERSON_ACTS: [&str; 3] = [NO_LOGIN, "external process", "AccessDenied"];
/// How it speaks of files of profiles that can't be read, or whose profile lacks what it needs.
const PROFILE_UNUSABLE: &str = "ProfileFile provider could not be built: ";
/// The same, for each call after the first.
const PROFILE_UNUSABLE_AS_TOLD: &str = "profile file credentials provider initialization error already taken";
/// How much of an answer that is none of AWS's is quoted.
const QUOTED_CHARACTERS: usize = 80;

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
    /// How certain it is that nothing was done.
    pub kind: FailureKind,
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
        } else if self.code == "RequestTimeTooSkewed" || tells_of_time(&self.message) {
            write!(formatter, "; set the clock of the container instance right")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

/// A failed call as strategies are told of it, with what was tried on what.
pub(super) fn failure(what: &str, error: &CallError) -> Failure {
    Failure { text: format!("{what}: {error}"), kind: error.kind, before: Done::default() }
}

/// An answer that leaves out what was asked for: it is not known what became of that.
pub(super) fn incomplete(what: String) -> Failure {
    Failure { text: what, kind: FailureKind::Unclear, before: Done::default() }
}

/// Makes one call: waits for a token of its class, and no longer than the run has time.
///
/// # Errors
/// What AWS, or the way there, answered in the end; or that the run's time is over.
pub async fn call<T, E>(
    clients: &Clients,
    class: Class,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    clients.wait(class, operation).await?;
    answered(clients, class, operation, send).await
}

async fn answered<T, E>(
    clients: &Clients,
    class: Class,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let answer = tokio::select! {
        biased;
        answer = Box::pin(send()) => answer.map_err(|error| call_error(operation, &error)),
        why = clients.patience.over() => Err(over(operation, why)),
    };
    if let Err(error) = &answer
        && is_throttle(&error.code)
    {
        clients.limits.drain(class);
        tracing::info!(operation, "throttled by AWS; slowing down");
    }
    answer
}

/// Makes a call that changes something, once: unless the run's lease may have lapsed. The SDK is to make no attempt of its own
/// besides, so that each is made by a fresh look.
///
/// # Errors
/// As [`call`].
pub async fn change<T, E>(
    clients: &Clients,
    class: Class,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    // The limiter's wait comes before the question, for it may be long.
    clients.wait(class, operation).await?;
    if !clients.patience.may_write() {
        return Err(over(operation, Over::LeaseLapsed));
    }
    answered(clients, class, operation, send).await
}

/// Makes a call that the run can't do without, as [`patiently`] does.
///
/// # Errors
/// As [`call`].
pub async fn persistently<T, E>(
    clients: &Clients,
    class: Class,
    operation: &'static str,
    send: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    patiently(&clients.patience, async || call(clients, class, operation, &send).await).await
}

/// Makes a call that the run can't do without again and again, while nobody refuses it: for some minutes, and no longer than the
/// run has time.
///
/// # Errors
/// The last one's.
pub async fn patiently<T>(
    patience: &Patience,
    attempt: impl AsyncFn() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let began = tokio::time::Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let error = match Box::pin(attempt()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.kind == FailureKind::Refused || began.elapsed() + wait > KEEPS_ON {
            return Err(error);
        }
        tracing::info!(operation = error.operation, wait_seconds = wait.as_secs(), reason = %error, "calling again");
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            _ = patience.over() => return Err(error),
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

impl Clients {
    /// Waits for a token, and no longer than the run has time.
    async fn wait(&self, class: Class, operation: &'static str) -> Result<(), CallError> {
        tokio::select! {
            biased;
            () = self.limits.wait(class) => Ok(()),
            why = self.patience.over() => Err(CallError { kind: FailureKind::NotNow, ..over(operation, why) }),
        }
    }
}

fn over(operation: &'static str, why: Over) -> CallError {
    // Nothing is sent any more; what was sent may take effect yet.
    let kind = if why == Over::LeaseLapsed { FailureKind::NotNow } else { FailureKind::Unanswered };
    CallError { operation, code: String::new(), message: why.to_string(), request_id: String::new(), kind }
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
        None if code.is_empty() => error.raw_response().map_or_else(|| no_answer(error), quoted),
        None => chain(error),
    };
    let status = error.raw_response().map(|response| response.status().as_u16());
    CallError { operation, kind: kind(error, &code, status), code, message, request_id }
}

/// How certain it is that nothing was done.
fn kind<E>(error: &SdkError<E, HttpResponse>, code: &str, status: Option<u16>) -> FailureKind
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let is_skewed = error.as_service_error().and_then(ProvideErrorMetadata::message).is_some_and(tells_of_time);
    if is_throttle(code) || is_expired(code) || is_skewed {
        return FailureKind::NotNow;
    }
    match error {
        SdkError::ConstructionFailure(_) => FailureKind::Refused,
        // None are set up. On an instance they may only not be told for the moment.
        SdkError::DispatchFailure(_) if root(error).starts_with(NO_CREDENTIALS) && !root(error).contains(NOT_TOLD) => {
            FailureKind::Refused
        }
        SdkError::DispatchFailure(_) if lasts_until_a_person_acts(&chain(error)) => FailureKind::Refused,
        SdkError::DispatchFailure(_) if unusable_profile(&chain(error)).is_some() => FailureKind::Refused,
        // The peer is not trusted, and will not be the next time.
        SdkError::DispatchFailure(_) if chain(error).contains("certificate") => FailureKind::Refused,
        // An answer came, so what was asked is done or is not; later it won't be.
        SdkError::ResponseError(_) => FailureKind::Unclear,
        SdkError::ServiceError(_) => match status {
            Some(400..=499) if !code.is_empty() && code != "ServerException" => FailureKind::Refused,
            _ => FailureKind::Unclear,
        },
        // No answer came in time, or the connection broke.
        _ => FailureKind::Unanswered,
    }
}

/// Why no answer came. The SDK's own layers say nothing that helps; what the innermost met does.
fn no_answer<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + 'static,
{
    match error {
        SdkError::DispatchFailure(_) if root(error).starts_with(NO_CREDENTIALS) => {
            let asked = root(error).split_whitespace().collect::<Vec<_>>().join(" ");
            format!(
                "no credentials were found: set AWS_PROFILE to a profile that has some, or log in by `aws sso login` ({asked})"
            )
        }
        SdkError::DispatchFailure(_) if chain(error).contains(NO_LOGIN) => {
            format!("no login at IAM Identity Center, or it has run out: log in by `aws sso login` ({})", root(error))
        }
        SdkError::DispatchFailure(_) if chain(error).contains(NOT_LOADED) => {
            let chain = chain(error);
            let why = chain.split(NOT_LOADED).last().unwrap_or_default().trim_start_matches(": ").trim_end();
            format!("the credentials could not be loaded: {}", message_within(why).unwrap_or(why))
        }
        SdkError::DispatchFailure(_) if let Some(why) = unusable_profile(&chain(error)) => {
            format!(
                "the profile can't be used ({why}): mend ~/.aws/config or ~/.aws/credentials, or set AWS_PROFILE to another one"
            )
        }
        SdkError::DispatchFailure(_) => format!("no connection, or it broke: {}", root(error)),
        SdkError::TimeoutError(_) => {
            let (one, all) = (ATTEMPT_TIMEOUT.as_secs(), OPERATION_TIMEOUT.as_secs());
            format!("no answer came in time, which is {one} s for an attempt and {all} s for all of them")
        }
        _ => chain(error),
    }
}

/// AWS's own words in what the SDK says of a call that it made for credentials, which is for those who write programs.
fn message_within(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once("message: \"")?;
    rest.split_once('"').map(|(message, _)| message)
}

/// Whether it tells of credentials that don't come back by themselves.
fn lasts_until_a_person_acts(chain: &str) -> bool {
    chain.split_once(NOT_LOADED).is_some_and(|(_, why)| UNTIL_A_PERSON_ACTS.iter().any(|words| why.contains(words)))
}

/// Why the profile can't be used, where that is what it tells of.
fn unusable_profile(chain: &str) -> Option<&str> {
    let as_told = || chain.contains(PROFILE_UNUSABLE_AS_TOLD).then_some("as for the first call");
    chain.split_once(PROFILE_UNUSABLE).map(|(_, why)| why).or_else(as_told)
}

/// What an error comes from in the end.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An answer that is none of AWS's, as a proxy's page: its status and first words.
fn quoted(response: &HttpResponse) -> String {
    let body = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * QUOTED_CHARACTERS)]);
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED_CHARACTERS).collect();
    let status = response.status().as_u16();
    if words.is_empty() {
        format!("HTTP status {status}, and no answer of AWS's")
    } else {
        format!("HTTP status {status}, and what is no answer of AWS's: {words:?}")
    }
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

/// Credentials that had just expired: the next call has new ones.
fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" | "RequestTimeTooSkewed")
}

/// A signature is refused for the time that it is of: the clocks were apart, and the next request is signed anew. ECS's code for
/// it is that of every wrong signature. [AWS, "Troubleshoot Signature Version 4 signing for AWS API requests"]
fn tells_of_time(message: &str) -> bool {
    ["Signature expired", "Signature not yet current"].iter().any(|words| message.starts_with(words))
}

fn permission(operation: &str) -> String {
    match operation {
        "PutMetricData" => format!("cloudwatch:{operation}"),
        "DescribeAutoScalingGroups" => format!("autoscaling:{operation}"),
        "DescribeTargetHealth" => format!("elasticloadbalancing:{operation}"),
        _ => format!("ecs:{operation}"),
    }
}
