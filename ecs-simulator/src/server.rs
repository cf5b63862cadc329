//! HTTP/1.1 around a simulator: one answer after the other, on a clock that runs as fast as asked.

mod control;
mod places;
mod visitors;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;

use self::places::{Place, Places};
use crate::{Answer, LARGEST_BODY, Moment, Options, Simulator, faults::Faults, snapshot::Snapshot};

pub use self::visitors::Names;

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
    clock: Mutex<Clock>,
    speed: f64,
    names: Names,
    /// What a reset without a snapshot begins with.
    snapshot: Snapshot,
    options: Mutex<Options>,
    /// The settings that the faults were read from.
    faults: Mutex<Vec<String>>,
}

/// From when on time passes, in the cluster and here.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Moment,
    since: Instant,
}

/// Answers whoever connects; ends only with its runtime.
///
/// # Errors
/// None today: what goes wrong with one connection ends that one.
pub async fn serve(listener: TcpListener, running: Arc<Running>) -> Result<()> {
    let places = Places::new(CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let place = places.take().await;
        let running = running.clone();
        tokio::spawn(async move {
            let here = place.clone();
            let service = service_fn(move |request| {
                let (running, place) = (running.clone(), here.clone());
                async move { running.respond(request, &place).await }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A connection that breaks is the client's affair, or a fault that was asked for.
                _ = connection => {}
                () = place.is_taken_away() => {}
            }
        });
    }
}

impl Running {
    /// Begins with a snapshot, today, and starts the clock: in the cluster so many seconds pass in one second here.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn new(snapshot: Snapshot, options: Options, speed: f64) -> Result<Self> {
        let simulator = begun(&snapshot, &options)?;
        let clock = Mutex::new(Clock::at(simulator.start()));
        let (simulator, options) = (Mutex::new(simulator), Mutex::new(options));
        Ok(Self { simulator, clock, speed, names: Names::default(), snapshot, options, faults: Mutex::default() })
    }

    /// With names by which clients may call it, and with the settings that its faults were read from.
    #[must_use]
    pub fn known_as(self, names: Names, faults: Vec<String>) -> Self {
        Self { names, faults: Mutex::new(faults), ..self }
    }

    /// The simulator, to look into while it is served, with everything done that is due by now.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        let mut simulator = held(&self.simulator);
        simulator.pass(self.now());
        simulator
    }

    /// Begins anew: with this snapshot, or with the first; with the faults there are, and today.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn reset(&self, snapshot: Option<&Snapshot>) -> Result<()> {
        let mut simulator = held(&self.simulator);
        *simulator = begun(snapshot.unwrap_or(&self.snapshot), &held(&self.options))?;
        *held(&self.clock) = Clock::at(simulator.start());
        Ok(())
    }

    /// Has these faults in place of all others, which were read from these settings.
    fn set_faults(&self, settings: Vec<String>, faults: Faults) {
        let mut simulator = self.simulator();
        simulator.set_faults(faults.clone());
        held(&self.options).faults = faults;
        *held(&self.faults) = settings;
    }

    fn faults(&self) -> Vec<String> {
        held(&self.faults).clone()
    }

    /// An error makes hyper close the connection without an answer.
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: &Arc<Place>,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        if let Some(why) = self.names.refusal(&parts.headers) {
            return Ok(refused(&why));
        }
        let is_control = control::is_asked(parts.uri.path());
        let largest = if is_control { Snapshot::LARGEST_BYTES } else { LARGEST_BODY };
        let Ok(body) = tokio::time::timeout(PATIENCE, Limited::new(body, largest).collect()).await? else {
            return Ok(too_large());
        };
        let request = Request::from_parts(parts, body.to_bytes());
        let _busy = place.busy();
        if is_control {
            return Ok(control::answer(&self, &request).map(Full::new));
        }
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
        let clock = *held(&self.clock);
        let milliseconds = clock.since.elapsed().as_secs_f64() * self.speed * 1000.0;
        Moment(clock.start.0.saturating_add(milliseconds as i64))
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a server for real clients runs on the real clock")]
    fn at(start: Moment) -> Self {
        Self { start, since: Instant::now() }
    }
}

/// Clients date what they send by their own clock, so the cluster has today's date too.
#[expect(clippy::disallowed_methods, reason = "a server for real clients runs on the real clock")]
fn begun(snapshot: &Snapshot, options: &Options) -> Result<Simulator> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let today = Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let mut simulator = Simulator::starting_at(snapshot, options.clone(), today)?;
    simulator.keep_log();
    Ok(simulator)
}

/// What a thread that panicked has left is as good as before: each change is done in one piece.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As AWS refuses, so that a client shows why. The connection can't be kept: the body was not read.
fn refused(why: &str) -> Response<Full<Bytes>> {
    let body = json!({"__type": "AccessDeniedException", "message": why}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}

/// The connection can't be kept: what is left of the body was not read.
fn too_large() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::<Bytes>::default());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
