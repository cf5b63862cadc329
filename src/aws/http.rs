//! HTTP to AWS: the SDK's own client with rustls and ring, and with the proxies that the environment names.
//!
//! The SDK's default client reads no proxy from the environment, so its public builder is used here instead.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

/// How long connecting, and a whole answer, may take.
type Timeouts = (Option<Duration>, Option<Duration>);

/// The client for every call of the SDK's. Connections are pooled for each pair of time-outs: a service client and a
/// credentials provider may ask for different ones.
pub(super) fn client() -> SharedHttpClient {
    let connectors: Mutex<BTreeMap<Timeouts, SharedHttpConnector>> = Mutex::default();
    http_client_fn(move |settings, components| {
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let new = || {
            let builder = Connector::builder().proxy_config(ProxyConfig::from_env());
            let mut builder = builder.connector_settings(settings.clone());
            builder.set_sleep_impl(components.sleep_impl());
            SharedHttpConnector::new(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build())
        };
        connectors.entry(timeouts).or_insert_with(new).clone()
    })
}

/// For a request to the machine itself: plain HTTP, and no proxy.
pub(super) fn direct() -> Connector {
    let settings = HttpConnectorSettings::builder().build();
    Connector::builder().proxy_config(ProxyConfig::disabled()).connector_settings(settings).build_http()
}
