//! Connections: to the host of a request or to the environment's proxy, with TLS or without, within a time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::box_error::BoxError;
use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

type Connecting<Stream> = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// Makes connections without TLS, directly or by way of the environment's proxy.
#[derive(Clone)]
pub(super) struct Line {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Line {
    pub(super) fn new(proxies: Arc<Matcher>) -> Self {
        let mut tcp = HttpConnector::new();
        // For a host that speaks TLS as well, which comes on top.
        tcp.enforce_http(false);
        // A request is written in pieces: none is to wait for the acknowledgement of the one before.
        tcp.set_nodelay(true);
        Self { tcp, proxies }
    }
}

impl Service<Uri> for Line {
    type Response = Wire;
    type Error = BoxError;
    type Future = Connecting<Wire>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (mut tcp, proxy) = (self.tcp.clone(), self.proxies.intercept(&uri));
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Ok(Wire { stream: tcp.call(uri).await?, forwards: false });
            };
            let address = proxy.uri().clone();
            if address.scheme() != Some(&Scheme::HTTP) {
                return Err(
                    "the environment names a proxy that is not reached by plain HTTP: give an http:// address".into()
                );
            }
            if uri.scheme() == Some(&Scheme::HTTP) {
                return Ok(Wire { stream: tcp.call(address).await?, forwards: true });
            }
            let mut tunnel = Tunnel::new(address, tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(Wire { stream: tunnel.call(uri).await?, forwards: false })
        })
    }
}

/// A connection that TLS may be spoken on.
pub(super) struct Wire {
    stream: TokioIo<TcpStream>,
    /// Whether it is a proxy that reads the requests, and has to be told for whom they are.
    forwards: bool,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwards)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}

/// Connections with TLS and without, that are made in time or not at all.
#[derive(Clone)]
pub(super) struct Timed {
    reach: HttpsConnector<Line>,
    limit: Option<Duration>,
}

impl Timed {
    pub(super) fn new(reach: HttpsConnector<Line>, limit: Option<Duration>) -> Self {
        Self { reach, limit }
    }
}

impl Service<Uri> for Timed {
    type Response = MaybeHttpsStream<Wire>;
    type Error = BoxError;
    type Future = Connecting<MaybeHttpsStream<Wire>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.reach.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.reach.call(uri);
        let Some(limit) = self.limit else { return Box::pin(connecting) };
        Box::pin(async move {
            tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
                let why = format!("no connection within {} s", limit.as_secs_f64());
                Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
            })
        })
    }
}
