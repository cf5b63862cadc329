//! HTTP to AWS: HTTP/1.1 over hyper's client with its pools of connections, the environment's proxy, and authorities that are
//! read only once TLS is spoken.
//!
//! The SDK's own client reads every authority of the machine as soon as it is made, once for each service, which is half of
//! the time to the first request, for endpoints and credentials that may well be plain HTTP. And it speaks HTTP/2 as well, a
//! twentieth of the binary that no endpoint called here asks for.

mod line;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connection::{CaptureSmithyConnection, ConnectionMetadata},
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        retries::ErrorKind,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::body::SdkBody;
use http::{Request, Response, header::PROXY_AUTHORIZATION};
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{self, connect::capture_connection},
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use line::{Line, Timed};

type Client = legacy::Client<Timed, SdkBody>;

/// The client for whatever a configuration calls.
pub(super) fn client() -> SharedHttpClient {
    SharedHttpClient::new(Transport::new(Matcher::from_env()))
}

/// For a request to the machine itself, where no proxy comes in.
pub(super) fn direct() -> impl HttpConnector {
    Caller { transport: Transport::new(Matcher::builder().build()), connect_timeout: None, read_timeout: None }
}

/// Connections that are kept, and what new ones are made by.
struct Pools {
    proxies: Arc<Matcher>,
    /// By whether they speak TLS and how long they may take to connect. They are all of one type, whether they speak TLS or
    /// not: the compiler writes a whole client for each.
    clients: Mutex<BTreeMap<(bool, Option<Duration>), Client>>,
}

impl Pools {
    /// The client that speaks TLS, or that doesn't.
    fn client(&self, speaks_tls: bool, connect_timeout: Option<Duration>) -> Result<Client, ConnectorError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(speaks_tls, connect_timeout)) {
            return Ok(client.clone());
        }
        let config = tls(speaks_tls).map_err(|error| ConnectorError::user(error.into()))?;
        let line = Line::new(Arc::clone(&self.proxies));
        let reach = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Timed::new(reach.wrap_connector(line), connect_timeout));
        clients.insert((speaks_tls, connect_timeout), client.clone());
        Ok(client)
    }
}

/// Who is trusted: where TLS is spoken, the authorities of SSL_CERT_FILE or of the machine.
fn tls(speaks_tls: bool) -> Result<ClientConfig, io::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder =
        if speaks_tls { builder.with_native_roots()? } else { builder.with_root_certificates(RootCertStore::empty()) };
    Ok(builder.with_no_client_auth())
}

#[derive(Clone)]
struct Transport(Arc<Pools>);

impl Transport {
    fn new(proxies: Matcher) -> Self {
        Self(Arc::new(Pools { proxies: Arc::new(proxies), clients: Mutex::default() }))
    }
}

impl fmt::Debug for Transport {
    /// Nothing of it: a proxy's address may hold a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Caller {
            transport: self.clone(),
            connect_timeout: settings.connect_timeout(),
            read_timeout: settings.read_timeout(),
        })
    }
}

/// The transport with the time-outs of whoever calls.
#[derive(Debug)]
struct Caller {
    transport: Transport,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Caller {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pools = Arc::clone(&self.transport.0);
        let (connect_timeout, read_timeout) = (self.connect_timeout, self.read_timeout);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let speaks_tls = request.uri().scheme_str() != Some("http");
            let client = pools.client(speaks_tls, connect_timeout)?;
            let request = prepared(request, &pools.proxies);
            let answer = client.request(request);
            let answer = match read_timeout {
                Some(limit) => tokio::time::timeout(limit, answer).await.map_err(|_| no_answer(limit))?,
                None => answer.await,
            };
            read(answer)
        })
    }
}

/// With what the environment's proxy asks for, and so that the SDK can have a connection closed that gave bad answers.
fn prepared(mut request: Request<SdkBody>, proxies: &Matcher) -> Request<SdkBody> {
    let is_plain = request.uri().scheme_str() == Some("http");
    let proxy = proxies.intercept(request.uri()).filter(|_| is_plain);
    if let Some(authorization) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
        request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert(authorization.clone());
    }
    let captured = capture_connection(&mut request);
    if let Some(sdk) = request.extensions().get::<CaptureSmithyConnection>() {
        sdk.set_connection_retriever(move || {
            let is_proxied = captured.connection_metadata().as_ref()?.is_proxied();
            let captured = captured.clone();
            let close = move || {
                if let Some(connection) = captured.connection_metadata().as_ref() {
                    connection.poison();
                }
            };
            Some(ConnectionMetadata::builder().proxied(is_proxied).poison_fn(close).build())
        });
    }
    request
}

fn no_answer(limit: Duration) -> ConnectorError {
    ConnectorError::timeout(format!("no answer within {} s", limit.as_secs_f64()).into())
}

fn read<Body>(answer: Result<Response<Body>, legacy::Error>) -> Result<HttpResponse, ConnectorError>
where
    Body: http_body::Body<Data = bytes::Bytes, Error = hyper::Error> + Send + Sync + 'static,
{
    let answer = answer.map_err(|error| in_the_sdks_kinds(error.into()))?;
    HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

/// The SDK tries again what is a time-out or of input and output.
fn in_the_sdks_kinds(error: BoxError) -> ConnectorError {
    let io = source::<io::Error>(&*error);
    let hyper = source::<hyper::Error>(&*error);
    if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) || hyper.is_some_and(hyper::Error::is_timeout) {
        ConnectorError::timeout(error)
    } else if hyper.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error)
    } else if hyper.is_some_and(hyper::Error::is_incomplete_message) {
        ConnectorError::other(error, Some(ErrorKind::TransientError))
    } else if io.is_some()
        || hyper.is_some_and(|hyper| hyper.is_closed() || hyper.is_canceled())
        || source::<legacy::Error>(&*error).is_some_and(legacy::Error::is_connect)
    {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, None)
    }
}

/// The first of an error's causes that is of a type.
fn source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// What a server's answers are to the SDK: for each one status, or the kind of the failure.
    #[track_caller]
    fn check(serve: fn(&TcpListener), expected: &[&str]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || serve(&listener));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let transport = Transport::new(Matcher::builder().build());
        let caller = Caller { transport, connect_timeout: Some(LIMIT), read_timeout: Some(LIMIT) };
        let told: Vec<String> = expected
            .iter()
            .map(|_| {
                let mut request = HttpRequest::new(SdkBody::from("asked"));
                request.set_method("POST").unwrap();
                request.set_uri(address.as_str()).unwrap();
                match runtime.block_on(caller.call(request)) {
                    Ok(answer) => answer.status().to_string(),
                    Err(error) if error.is_timeout() => "timeout".to_owned(),
                    Err(error) if error.is_io() => "io".to_owned(),
                    Err(error) => format!("other: {:?}", error.as_other()),
                }
            })
            .collect();
        assert_eq!(told, expected);
        drop((caller, runtime));
        server.join().unwrap();
    }

    fn hear(stream: &mut TcpStream) -> bool {
        let mut asked = [0; 1024];
        stream.read(&mut asked).is_ok_and(|length| length > 0)
    }

    #[test]
    fn a_connection_is_used_again() {
        let serve = |listener: &TcpListener| {
            let (mut stream, _) = listener.accept().unwrap();
            while hear(&mut stream) {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            }
        };
        check(serve, &["204", "204", "204"]);
    }

    #[test]
    fn what_the_sdk_may_try_again_it_is_told_as_such() {
        let deaf = |listener: &TcpListener| assert!(hear(&mut listener.accept().unwrap().0));
        check(deaf, &["other: Some(TransientError)"]);
        let half = |listener: &TcpListener| {
            let (mut stream, _) = listener.accept().unwrap();
            hear(&mut stream);
            stream.write_all(b"HTTP/1.1 200").unwrap();
        };
        check(half, &["other: Some(TransientError)"]);
        let silent = |listener: &TcpListener| {
            let (mut stream, _) = listener.accept().unwrap();
            while hear(&mut stream) {}
        };
        check(silent, &["timeout"]);
    }

    #[test]
    fn a_host_that_is_not_there_is_io() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut request = HttpRequest::new(SdkBody::empty());
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        request.set_uri(format!("http://{free}/")).unwrap();
        assert!(runtime.block_on(direct().call(request)).unwrap_err().is_io());
    }
}
