//! HTTP to AWS: one pool of connections, the environment's proxy, and authorities read only once TLS is spoken.

use aws_smithy_http_client::{
    Builder, Connector, HttpClientError,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};

/// The client for whatever a configuration calls.
///
/// # Errors
/// When the SDK can't be told which authorities to trust.
pub(super) fn client() -> Result<SharedHttpClient, HttpClientError> {
    // It speaks TLS with nobody, and is of the other's type all the same: the compiler writes a whole client for each type.
    let plain = trusting(TlsContext::builder().with_trust_store(TrustStore::empty()).build()?);
    Ok(SharedHttpClient::new(ByScheme { plain, tls: trusting(TlsContext::default()) }))
}

fn trusting(authorities: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(authorities.clone());
        builder.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            builder.set_sleep_impl(components.sleep_impl());
        }
        builder.build()
    })
}

/// The SDK's own client reads every authority of the machine as soon as it is made, once for each service: half of the time
/// to the first request, for endpoints and credentials that may well be plain HTTP.
#[derive(Clone, Debug)]
struct ByScheme {
    plain: SharedHttpClient,
    tls: SharedHttpClient,
}

impl HttpClient for ByScheme {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let (client, settings, components) = (self.clone(), settings.clone(), components.clone());
        SharedHttpConnector::new(Chosen { client, settings, components })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.tls.connector_metadata()
    }
}

/// Chooses when a request shows its scheme; the chosen client keeps its connectors, and they their connections.
#[derive(Debug)]
struct Chosen {
    client: ByScheme,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for Chosen {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let ByScheme { plain, tls } = &self.client;
        let client = if request.uri().starts_with("http://") { plain } else { tls };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}
