//! The SDK's clients, and a record of what was asked and answered.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        interceptors::{
            Intercept,
            context::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
            dyn_dispatch_hint,
        },
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream, config_bag::ConfigBag};
use bytes::Bytes;

/// The SDK sets no time-out but that of connecting: a peer that never answers would hang a probe for ever.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one call with all its attempts and the waits between them.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(1);
/// Throttled and failed calls are tried again so often.
const ATTEMPTS: u32 = 5;
/// Requests and answers that are kept, for the report of a contradiction.
const KEPT: usize = 400;

/// What a far side answers, in the time that it takes: none where the connection broke.
pub type FarAnswer = Pin<Box<dyn Future<Output = Option<http::Response<Bytes>>> + Send>>;

/// A far side within this process: a request in, an answer out.
pub type FarSide = Arc<dyn Fn(http::Request<Bytes>) -> FarAnswer + Send + Sync>;

/// The clients that probes call.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Amazon ECS.
    pub ecs: aws_sdk_ecs::Client,
    /// Elastic Load Balancing, which tells of targets.
    pub balancing: aws_sdk_elasticloadbalancingv2::Client,
    /// Auto Scaling: how many instances a group is to have.
    pub groups: aws_sdk_autoscaling::Client,
    /// Application Auto Scaling: what a service's count is kept within.
    pub scaling: aws_sdk_applicationautoscaling::Client,
    /// SQS, where EventBridge's events are.
    pub queues: aws_sdk_sqs::Client,
    /// What was asked and answered of late.
    pub record: Record,
}

impl Connection {
    /// Clients as the SDK's own environment asks (credentials, proxies aside), in a Region; of an endpoint, if one is named.
    pub async fn to_account(region: &str, endpoint: Option<&str>) -> Self {
        let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self::of(&with_bounds(loader.http_client(https)).load().await)
    }

    /// Clients that call `far_side`.
    pub async fn in_process(far_side: FarSide, region: &str) -> Self {
        let credentials = aws_sdk_ecs::config::Credentials::new("simulated", "simulated", None, None, "conformance");
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .empty_test_environment()
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials)
            .http_client(InProcess { far_side });
        Self::of(&with_bounds(loader).load().await)
    }

    fn of(config: &SdkConfig) -> Self {
        let record = Record::default();
        let ecs = aws_sdk_ecs::config::Builder::from(config).interceptor(record.clone()).build();
        let balancing =
            aws_sdk_elasticloadbalancingv2::config::Builder::from(config).interceptor(record.clone()).build();
        let groups = aws_sdk_autoscaling::config::Builder::from(config).interceptor(record.clone()).build();
        let scaling = aws_sdk_applicationautoscaling::config::Builder::from(config).interceptor(record.clone()).build();
        let queues = aws_sdk_sqs::config::Builder::from(config).interceptor(record.clone()).build();
        Self {
            ecs: aws_sdk_ecs::Client::from_conf(ecs),
            balancing: aws_sdk_elasticloadbalancingv2::Client::from_conf(balancing),
            groups: aws_sdk_autoscaling::Client::from_conf(groups),
            scaling: aws_sdk_applicationautoscaling::Client::from_conf(scaling),
            queues: aws_sdk_sqs::Client::from_conf(queues),
            record,
        }
    }
}

fn with_bounds(loader: ConfigLoader) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    loader.timeout_config(timeouts).retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
}

/// The last requests and answers of all calls; all clones keep together.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    calls: u64,
}

impl Record {
    /// Calls so far, each attempt counted.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// What was kept since it was last taken: `> Operation {request}` and `< answer`, a line each.
    pub fn take(&self) -> Vec<String> {
        self.lock().lines.drain(..).collect()
    }

    fn keep(&self, line: String) {
        let mut kept = self.lock();
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere can't leave a line half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(body: &SdkBody) -> String {
    String::from_utf8_lossy(body.bytes().unwrap_or_default()).into_owned()
}

#[dyn_dispatch_hint]
impl Intercept for Record {
    fn name(&self) -> &'static str {
        "conformance's record"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = bag.load::<Metadata>().map_or("?", |operation| operation.name());
        self.keep(format!("> {operation} {}", text(context.request().body())));
        self.lock().calls += 1;
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.keep(format!("< {}", text(context.response().body())));
        Ok(())
    }
}

#[derive(Clone)]
struct InProcess {
    far_side: FarSide,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            let request = plain(request).await.map_err(|error| ConnectorError::user(error.into()))?;
            let answer = (this.far_side)(request).await;
            let answer =
                answer.ok_or_else(|| ConnectorError::io("the connection was closed without an answer".into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

/// The SDK's request with its body in one piece.
async fn plain(request: HttpRequest) -> Result<http::Request<Bytes>> {
    let (parts, body) = request.try_into_http1x()?.into_parts();
    let body = ByteStream::new(body).collect().await.context("the request's body can't be read")?.into_bytes();
    Ok(http::Request::from_parts(parts, body))
}
