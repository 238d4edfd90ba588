//! The link to a remote store: HTTP that follows no redirect, so that credentials reach one host
//! only. It closes a connection on which no byte moves, and opens new connections after a failure,
//! because the address on either end may have changed. It never repeats a request; `patience` does.
//!
//! All bytes to and from remote stores pass through this module, so this is where they wait for
//! `limits`.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::time::Sleep;

use super::answer;
use super::dial::{DialOptions, Dialer, Socket};
use super::limits::{Limits, Throttle};
use super::refusals;
use super::trouble::Trouble;
use super::watch::Watch;

/// A request body is sent in pieces of this size, so that progress can be reported.
const PIECE_BYTES: usize = 64 << 10;
/// How many bytes the system may still have to send after it has accepted the whole body.
const BUFFERED_BYTES_MAX: usize = 1 << 20;
/// Maximum number of bytes of an answer other than the content of an object: a page of a listing,
/// an error.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(15);
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("icecore/", env!("CARGO_PKG_VERSION")));
/// Close connections that were idle for this long, because routers forget them.
const POOLED_MAX: Duration = Duration::from_secs(50);

/// The time when a byte last moved on any connection.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    last_ms: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }
}

impl Pulse {
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(now, Ordering::Relaxed);
    }

    pub fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// The options of a [`Link`].
#[derive(Debug, Clone)]
pub(super) struct LinkOptions {
    pub idle_max: Duration,
    pub pulse: Arc<Pulse>,
    pub watch: Arc<dyn Watch>,
    pub limits: Limits,
    /// Certificates that are trusted in addition to those of the system.
    pub ca_bundle: Vec<CertificateDer<'static>>,
}

/// The bytes of one request that have been sent.
#[derive(Debug)]
struct Sent {
    watch: Arc<dyn Watch>,
    bytes: AtomicI64,
}

impl Sent {
    fn add(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.watch.sent(bytes);
    }

    /// Subtracts these bytes from the progress, because the request failed.
    fn take_back(&self) {
        match self.bytes.swap(0, Ordering::Relaxed) {
            0 => {}
            bytes => self.watch.sent(-bytes),
        }
    }
}

/// Sends requests to a store.
#[derive(Debug)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: LinkOptions,
    allows_http: bool,
    tls: Arc<ClientConfig>,
    /// `None` before the first request.
    client: Mutex<Option<Client>>,
    /// Whether the server has answered a request.
    answers: AtomicBool,
}

/// A client and its pool of connections.
#[derive(Debug, Clone)]
struct Client {
    /// How many clients were there before.
    number: u64,
    received_ahead: Option<usize>,
    dialer: Dialer,
    http: hyper_util::client::legacy::Client<Dialer, OutgoingBody>,
}

impl Link {
    pub fn new(options: LinkOptions, allows_http: bool) -> Result<Link, rustls::Error> {
        let tls = super::dial::tls(&options.ca_bundle, allows_http)?;
        let (client, answers) = (Mutex::default(), AtomicBool::default());
        Ok(Link(Arc::new(Shared { options, allows_http, tls, client, answers })))
    }
}

impl Shared {
    fn fresh(&self, number: u64) -> Client {
        let received_ahead = self.options.limits.download.received_ahead();
        let idle_max = self.options.idle_max;
        let time_max = CONNECT_MAX.min(idle_max);
        let shows_socket = !self.options.limits.download.is_idle();
        let dialed = DialOptions { time_max, idle_max, received_ahead, shows_socket };
        let dialer = Dialer::new(&dialed, self.tls.clone());
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOLED_MAX)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(dialer.clone());
        Client { number, received_ahead, dialer, http }
    }

    /// Returns the client for a new request. Another limit of the rate needs sockets with other buffers.
    fn client(&self) -> Client {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(now) if now.received_ahead == self.options.limits.download.received_ahead() => {
                now.clone()
            }
            before => {
                let number = before.as_ref().map_or(0, |before| before.number + 1);
                client.insert(self.fresh(number)).clone()
            }
        }
    }

    /// Replaces the client whose connection failed, unless another request has already replaced it.
    fn renew(&self, failed: u64) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.as_ref().is_some_and(|client| client.number == failed) {
            *client = Some(self.fresh(failed + 1));
        }
    }
}

#[async_trait]
impl HttpService for Link {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let shared = &self.0;
        let Client { number, received_ahead, dialer, http } = shared.client();
        let (mut parts, body) = request.into_parts();
        if parts.uri.scheme() != Some(&Scheme::HTTPS) && !shared.allows_http {
            return Err(failed(Trouble::never("URL scheme is not allowed".to_owned())));
        }
        let is_plain = parts.uri.scheme() == Some(&Scheme::HTTP);
        let asked = answer::Asked::of(&parts.method, parts.uri.query(), &parts.headers);
        parts.headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        if let Some(password) = dialer.proxy_password(&parts.uri) {
            parts.headers.insert(header::PROXY_AUTHORIZATION, password);
        }
        let bytes = body.content_length();
        if asked.what == answer::What::Object && received_ahead.is_some() {
            // A part of the content arrives before the program asks for it.
            shared.options.limits.download.clone().wait().await;
        }
        let beat = Arc::new(Pulse::default());
        let watch = shared.options.watch.clone();
        let leaving = Arc::new(Sent { watch, bytes: AtomicI64::new(0) });
        let body = OutgoingBody {
            body,
            rest: Bytes::new(),
            left: bytes as u64,
            pulses: [beat.clone(), shared.options.pulse.clone()],
            sent: leaving.clone(),
            turn: Turn::new(&shared.options.limits.upload),
        };
        let share = bytes.min(BUFFERED_BYTES_MAX) as f64 / BUFFERED_BYTES_MAX as f64;
        let idle_max = shared.options.idle_max;
        let patience = idle_max.mul_f64(1.0 + share / 4.0);
        let answered =
            moving(&beat, patience, http.request(Request::from_parts(parts, body))).await;
        let answered = answered.map_err(|()| Trouble::idle(idle_max));
        let answered = answered.and_then(|answered| {
            answered.map_err(|error| {
                let trouble = Trouble::of_request(&error, error.is_connect());
                let is_new = is_plain && !shared.answers.load(Ordering::Relaxed);
                match is_new && !error.is_connect() {
                    true => refusals::without_tls(trouble),
                    false => trouble,
                }
            })
        });
        if !answered.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            leaving.take_back();
        }
        let answered = answered.inspect_err(|_| shared.renew(number)).map_err(failed)?;
        shared.options.pulse.beat();
        shared.answers.store(true, Ordering::Relaxed);
        let (mut parts, body) = answered.into_parts();
        let is_content = asked.what == answer::What::Object && parts.status.is_success();
        let socket = parts.extensions.remove::<Socket>();
        let body = HttpResponseBody::new(Arriving {
            body,
            toll: Toll { socket, read: 0, counted: 0 },
            idle: Box::pin(tokio::time::sleep(idle_max)),
            idle_max,
            bytes_max: if is_content { u64::MAX } else { ANSWER_BYTES_MAX },
            is_first: parts.status.is_success(),
            is_content,
            number,
            shared: shared.clone(),
            turn: Turn::new(&shared.options.limits.download),
        });
        answer::inspect(asked, HttpResponse::from_parts(parts, body)).await.map_err(failed)
    }
}

fn failed(trouble: Trouble) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, trouble)
}

/// Awaits `work` as long as bytes move.
async fn moving<T>(
    beat: &Pulse,
    idle_max: Duration,
    work: impl Future<Output = T>,
) -> Result<T, ()> {
    let mut work = pin!(work);
    loop {
        let left = idle_max.saturating_sub(beat.last().elapsed());
        if left.is_zero() {
            return Err(());
        }
        if let Ok(done) = tokio::time::timeout(left, &mut work).await {
            return Ok(done);
        }
    }
}

/// A wait for a throttle that has begun.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A wait of one connection for the limit of its direction.
struct Turn {
    throttle: Arc<Throttle>,
    /// The mutex is never locked; it is here because a body must be `Sync`, and a future is not.
    waiting: Mutex<Option<Waiting>>,
}

impl Turn {
    fn new(throttle: &Arc<Throttle>) -> Turn {
        Turn { throttle: throttle.clone(), waiting: Mutex::new(None) }
    }

    fn waiting(&mut self) -> &mut Option<Waiting> {
        self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_waiting(&mut self) -> bool {
        self.waiting().is_some()
    }

    /// Begins to wait, unless it is already waiting or there is no limit.
    fn begin(&mut self) {
        if !self.throttle.is_idle() && !self.is_waiting() {
            let wait = self.throttle.clone().wait();
            *self.waiting() = Some(Box::pin(wait));
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = self.waiting() {
            std::task::ready!(wait.as_mut().poll(context));
            *self.waiting() = None;
        }
        Poll::Ready(())
    }
}

/// The body of a request that is being sent to the store.
struct OutgoingBody {
    body: HttpRequestBody,
    rest: Bytes,
    left: u64,
    pulses: [Arc<Pulse>; 2],
    sent: Arc<Sent>,
    turn: Turn,
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                other => return Poll::Ready(other),
            }
        }
        self.turn.begin();
        std::task::ready!(self.turn.poll(context));
        let length = self.turn.throttle.piece(self.rest.len().min(PIECE_BYTES));
        self.turn.throttle.fill(length);
        let piece = self.rest.split_to(length);
        self.left -= length as u64;
        self.pulses.iter().for_each(|pulse| pulse.beat());
        self.sent.add(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of an answer that is being received from the store.
struct Arriving {
    body: Incoming,
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    bytes_max: u64,
    /// Whether no byte has arrived yet, so that this may still be a login page.
    is_first: bool,
    is_content: bool,
    number: u64,
    shared: Arc<Shared>,
    toll: Toll,
    turn: Turn,
}

/// The bytes of an answer that the limit has counted.
///
/// The system receives as many bytes ahead of the program as its buffer takes, all at once when an answer begins. So
/// bytes count when the system has received them, not when the program reads them.
struct Toll {
    /// `None` if bytes count when they are read.
    socket: Option<Socket>,
    read: u64,
    counted: u64,
}

impl Toll {
    /// Returns the bytes that have arrived and were not counted yet. From now on, they are.
    fn arrived(&mut self) -> usize {
        let ahead = self.socket.as_ref().map_or(0, Socket::received_ahead);
        let new = (self.read + ahead).saturating_sub(self.counted);
        self.counted += new;
        usize::try_from(new).unwrap_or(usize::MAX)
    }
}

impl Arriving {
    /// Makes the next bytes wait for those that have arrived.
    fn count(&mut self) {
        let arrived = self.toll.arrived();
        if arrived > 0 {
            self.turn.throttle.fill(arrived);
            self.turn.begin();
        }
    }

    fn take(&mut self, frame: &Frame<Bytes>) -> Result<(), Trouble> {
        self.shared.options.pulse.beat();
        let until = tokio::time::Instant::now() + self.idle_max;
        self.idle.as_mut().reset(until);
        let Some(data) = frame.data_ref() else { return Ok(()) };
        if std::mem::take(&mut self.is_first) && answer::is_page(data) {
            return Err(Trouble::page());
        }
        self.toll.read += data.len() as u64;
        self.count();
        if self.is_content {
            self.shared.options.watch.received(data.len() as u64);
        }
        self.bytes_max = self.bytes_max.checked_sub(data.len() as u64).ok_or_else(|| {
            Trouble::never(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"))
        })?;
        Ok(())
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.turn.is_waiting() {
            std::task::ready!(self.turn.poll(context));
            self.count();
            // We kept the store waiting, so its idle time starts again.
            let until = tokio::time::Instant::now() + self.idle_max;
            self.idle.as_mut().reset(until);
        }
        let trouble = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => match self.take(&frame) {
                Ok(()) => return Poll::Ready(Some(Ok(frame))),
                Err(trouble) => trouble,
            },
            Poll::Ready(Some(Err(error))) => Trouble::of_request(&error, false),
            Poll::Pending => {
                std::task::ready!(self.idle.as_mut().poll(context));
                Trouble::idle(self.idle_max)
            }
        };
        self.shared.renew(self.number);
        Poll::Ready(Some(Err(failed(trouble))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
