//! The HTTP layer in front of `s3s`: accepts connections, logs requests, and injects the faults
//! that a test requests.
//!
//! It is outside `s3s` because the interesting faults happen outside a well-behaved server: a
//! connection that closes without an answer, or an answer that is lost after the work was done.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::log::{Request, RequestHead};
use super::ops::OverrideStatus;
use super::store::Store;
use super::thaw::{ThawNote, http_date};
use super::users::Users;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is executed and answered.
    None,
    /// The request is not executed, and is answered with this status and S3 error code.
    Status(u16, &'static str),
    /// The request is executed, and answered as if it had failed.
    StatusAfter(u16, &'static str),
    /// The connection is closed without an answer, and the request is not executed.
    DropConnectionBefore,
    /// The request is executed, then the connection is closed: a lost acknowledgement.
    DropConnectionAfter,
    /// The answer's head and this many bytes of its body are sent, then the connection is closed.
    CutBody(usize),
    /// The request is executed, and the last byte of the answer is changed on the way.
    Spoil,
    /// The request is executed after a delay.
    Delay(Duration),
    /// The request is not executed, and is answered with this, for example a login page.
    Answer { status: u16, header: (&'static str, String), body: String },
    /// The whole server stops with this request, as after `S3Server::stop`.
    Vanish,
}

/// The function behind `S3Server::set_fault`.
pub type FaultFn = dyn Fn(&RequestHead) -> Fault + Send + Sync;

pub(crate) struct Front {
    service: S3Service,
    store: Arc<Store>,
    users: Arc<Users>,
    log: Mutex<Vec<Request>>,
    planned: Mutex<VecDeque<Fault>>,
    decide: Mutex<Option<Arc<FaultFn>>>,
    gone: AtomicBool,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Front {
    pub(crate) fn new(service: S3Service, store: Arc<Store>, users: Arc<Users>) -> Front {
        Front {
            service,
            store,
            users,
            log: Mutex::default(),
            planned: Mutex::default(),
            decide: Mutex::default(),
            gone: AtomicBool::new(false),
            stop: Mutex::default(),
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.log).clone()
    }

    pub(crate) fn clear_requests(&self) {
        lock(&self.log).clear();
    }

    pub(crate) fn fail_next(&self, n: usize, fault: Fault) {
        lock(&self.planned).extend(std::iter::repeat_n(fault, n));
    }

    pub(crate) fn set_fault(&self, decide: Option<Box<FaultFn>>) {
        *lock(&self.decide) = decide.map(Arc::from);
    }

    pub(crate) fn appear(&self, stop: oneshot::Sender<()>) {
        *lock(&self.stop) = Some(stop);
        self.gone.store(false, Ordering::SeqCst);
    }

    pub(crate) fn vanish(&self) {
        // The flag refuses requests that arrive while the runtime shuts down.
        self.gone.store(true, Ordering::SeqCst);
        if let Some(stop) = lock(&self.stop).take() {
            // The other end is gone only if the server has already ended.
            let _ = stop.send(());
        }
    }

    fn fault_for(&self, head: &RequestHead) -> Fault {
        if let Some(fault) = lock(&self.planned).pop_front() {
            return fault;
        }
        // Called without the lock, so that the function may use the server's own methods.
        let decide = lock(&self.decide).clone();
        decide.map_or(Fault::None, |decide| decide(head))
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Answer>, NoAnswer> {
        if self.gone.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let head = RequestHead::of(&request);
        let mut fault = self.fault_for(&head);
        let mut line = Request::begin(head.clone(), &self.store);
        match fault {
            Fault::DropConnectionBefore => {
                lock(&self.log).push(line);
                return Err(NoAnswer);
            }
            Fault::Vanish => {
                lock(&self.log).push(line);
                self.vanish();
                return std::future::pending().await;
            }
            Fault::Delay(time) => tokio::time::sleep(time).await,
            _ => {}
        }
        let is_head = request.method() == Method::HEAD;
        let (mut parts, body) = request.into_parts();
        // If a client disconnects in the middle of its body, there is no request.
        let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
        line.bytes_in = body.len() as u64;
        if self.users.refuse(&head, &body) {
            fault = Fault::Status(403, "AccessDenied");
        }

        let done = if matches!(fault, Fault::Status(..) | Fault::Answer { .. }) {
            None
        } else {
            let note = ThawNote::default();
            parts.extensions.insert(note.clone());
            let request = hyper::Request::from_parts(parts, s3s::Body::from(body));
            let response = self.service.call(request).await.map_err(|_| NoAnswer)?;
            line.thaw = note.take();
            Some(in_memory(response).await.map_err(|_| NoAnswer)?)
        };
        if matches!(fault, Fault::DropConnectionAfter) {
            lock(&self.log).push(line);
            return Err(NoAnswer);
        }
        let mut response = spoilt(&fault, done, is_head);
        // Use the clock that also determines thaws and the dates of objects.
        let date = HeaderValue::from_str(&http_date(self.store.now())).expect("a date is text");
        response.headers_mut().insert(DATE, date);
        line.status = response.status().as_u16();
        line.bytes_out = response.body().data.len() as u64;
        // Log the request before the answer is sent, so that a client with an answer finds the
        // request in the log.
        lock(&self.log).push(line);
        Ok(response)
    }
}

/// Returns the answer to a request with what a fault makes of it. `done` is the answer of the server, `None` if the
/// fault comes before it.
fn spoilt(fault: &Fault, done: Option<Response<Answer>>, is_head: bool) -> Response<Answer> {
    match (fault, done) {
        (Fault::Status(status, code) | Fault::StatusAfter(status, code), _) => {
            error_answer(*status, code, is_head)
        }
        (Fault::Answer { status, header, body }, _) => {
            let data = if is_head { String::new() } else { body.clone() };
            Response::builder()
                .status(*status)
                .header(header.0, &header.1)
                .body(Answer::whole(data.into()))
                .expect("an answer")
        }
        (Fault::CutBody(sent), Some(mut response)) => {
            response.body_mut().cut_to(*sent);
            response
        }
        (Fault::Spoil, Some(mut response)) => {
            response.body_mut().spoil();
            response
        }
        (_, Some(response)) => response,
        (_, None) => unreachable!("only a fault with an answer leaves the request undone"),
    }
}

/// Accepts connections until its runtime is shut down.
pub(crate) async fn accept(front: Arc<Front>, listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("a listener inside the runtime");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely there are no file descriptors left, so neither end nor spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // The head and body of an answer are two writes. Without this, the second waits for the
        // acknowledgement of the first.
        let _ = stream.set_nodelay(true);
        let front = Arc::clone(&front);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let front = Arc::clone(&front);
                async move { front.answer(request).await }
            });
            // An error here means that the client, or `NoAnswer` on purpose, has cut the
            // connection.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error that makes hyper close the connection instead of answering.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is to be closed without an answer")
    }
}

impl std::error::Error for NoAnswer {}

/// A body in memory that may break off before its announced end.
struct Answer {
    data: Bytes,
    breaks_off: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    fn whole(data: Bytes) -> Answer {
        Answer { data, breaks_off: None }
    }

    fn spoil(&mut self) {
        let mut data = self.data.to_vec();
        if let Some(last) = data.last_mut() {
            *last ^= 1;
        }
        self.data = data.into();
    }

    fn cut_to(&mut self, sent: usize) {
        if sent < self.data.len() {
            self.data.truncate(sent);
            // When a body fails, hyper discards the bytes that it has not written yet, so give it
            // time.
            self.breaks_off = Some(Box::pin(tokio::time::sleep(Duration::from_millis(50))));
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = NoAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoAnswer>>> {
        if !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.breaks_off {
            Some(pause) => pause.as_mut().poll(context).map(|()| Some(Err(NoAnswer))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.breaks_off.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.breaks_off {
            // The head still announces the length of the whole body.
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.data.len() as u64),
        }
    }
}

async fn in_memory(response: s3s::HttpResponse) -> Result<Response<Answer>, s3s::StdError> {
    let (mut parts, body) = response.into_parts();
    let data = match body.bytes() {
        Some(data) => data,
        None => body.collect().await?.to_bytes(),
    };
    if let Some(OverrideStatus(status)) = parts.extensions.get() {
        parts.status = *status;
    }
    // Otherwise hyper would send a cut body in chunks, unlike S3.
    if !data.is_empty() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(data.len()));
    }
    Ok(Response::from_parts(parts, Answer::whole(data)))
}

fn error_answer(status: u16, code: &str, is_head: bool) -> Response<Answer> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>asked for by the test</Message></Error>"
    );
    let data = if is_head { String::new() } else { xml };
    let mut response = Response::new(Answer::whole(data.into()));
    *response.status_mut() = StatusCode::from_u16(status).expect("an HTTP status");
    let xml = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, xml);
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic in a test's fault function, the test must still be able to read the log.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
