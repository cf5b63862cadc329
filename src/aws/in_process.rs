//! The real SDK clients on a far side within this process: no socket, and time as tokio's clock has it.

use std::{fmt, pin::Pin, sync::Arc};

use aws_config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;

use super::{Clients, with_bounds};

/// What a far side answers, in the time that it takes: none where the connection broke.
pub type FarAnswer = Pin<Box<dyn Future<Output = Option<http::Response<Bytes>>> + Send>>;

/// A far side: a request in, an answer out. What is sent arrives, even if the caller waits for no answer any more.
pub type FarSide = Arc<dyn Fn(http::Request<Bytes>) -> FarAnswer + Send + Sync>;

impl Clients {
    /// Clients that call `far_side` instead of AWS.
    pub async fn in_process(far_side: FarSide, region: &str) -> Self {
        let credentials = aws_sdk_ecs::config::Credentials::new("simulated", "simulated", None, None, "rehearsal");
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .empty_test_environment()
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials)
            .http_client(InProcess { far_side });
        Self::from_config(&with_bounds(loader, None, false).load().await)
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
async fn plain(request: HttpRequest) -> anyhow::Result<http::Request<Bytes>> {
    let (parts, body) = request.try_into_http1x()?.into_parts();
    let body = ByteStream::new(body).collect().await?.into_bytes();
    Ok(http::Request::from_parts(parts, body))
}
