//! HTTP/1.1 around a simulator: one answer after the other, on a clock that runs as fast as asked.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{Answer, LARGEST_BODY, Moment, Simulator};

/// Connections at a time; clients on one machine keep a few each.
const CONNECTIONS: usize = 256;
/// A client that connects and then says nothing is let go after this long.
const PATIENCE: Duration = Duration::from_mins(1);
/// After a connection could not be taken (too many open files, mostly) a new one is tried so much later.
const PAUSE: Duration = Duration::from_millis(100);

/// A simulator, and the clock that it is asked by.
#[derive(Debug)]
pub struct Running {
    simulator: Mutex<Simulator>,
    start: Moment,
    since: Instant,
    speed: f64,
}

/// Answers whoever connects; ends only with its runtime.
///
/// # Errors
/// None today: what goes wrong with one connection ends that one.
pub async fn serve(listener: TcpListener, running: Arc<Running>) -> Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await?;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let running = running.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let running = running.clone();
                async move { running.respond(request).await }
            });
            // A connection that breaks is the client's affair, or a fault that was asked for.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
    }
}

impl Running {
    /// Starts the clock: in the cluster so many seconds pass in one second here.
    #[expect(clippy::disallowed_methods, reason = "a server for real clients runs on the real clock")]
    pub fn new(simulator: Simulator, speed: f64) -> Self {
        Self { start: simulator.start(), since: Instant::now(), speed, simulator: Mutex::new(simulator) }
    }

    /// The simulator, to look into while it is served, with everything done that is due by now.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        let mut simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner);
        simulator.pass(self.now());
        simulator
    }

    /// An error makes hyper close the connection without an answer.
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST_BODY).collect()).await? else {
            return Ok(too_large());
        };
        let request = Request::from_parts(parts, body.to_bytes());
        // A request that has come takes effect, even if its client goes away before the answer.
        let answer = tokio::spawn(async move {
            let held = self.simulator().delay(&request, self.now());
            self.wait(held.request).await;
            let answer = self.simulator().respond(&request, self.now());
            self.wait(held.answer).await;
            answer
        });
        match answer.await.map_err(io::Error::other)? {
            Answer::Response(response) => Ok(response.map(Full::new)),
            Answer::Dropped => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Waits so long, as time passes in the cluster.
    async fn wait(&self, duration: Duration) {
        if !duration.is_zero() {
            tokio::time::sleep(duration.div_f64(self.speed)).await;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "saturates after 290 million years of the cluster's time")]
    fn now(&self) -> Moment {
        let milliseconds = self.since.elapsed().as_secs_f64() * self.speed * 1000.0;
        Moment(self.start.0.saturating_add(milliseconds as i64))
    }
}

/// The connection can't be kept: what is left of the body was not read.
fn too_large() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::<Bytes>::default());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
