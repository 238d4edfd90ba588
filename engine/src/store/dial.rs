//! Opens connections to a store over HTTP or HTTPS, through the proxy that the environment names, if any.
//!
//! Unlike those of ready-made clients, the sockets can have a small receive buffer: what the system receives ahead of the
//! program does not wait for `limits`.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Scheme, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tower_service::Service;

use super::answer::innermost;
use super::refusals::ProxyRefuses;
use super::wording::Wording;

/// An idle connection is probed this often, and closed after `PROBES_MAX` probes without an answer.
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES_MAX: u32 = 3;

type BoxError = Box<dyn Error + Send + Sync>;
/// TLS to the server, inside TLS to a proxy; either may be absent.
type Stream = MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// How connections are opened.
#[derive(Debug, Clone)]
pub(super) struct DialOptions {
    /// Time limit for opening a connection.
    pub time_max: Duration,
    /// Close a connection if sent data is not acknowledged for this long.
    pub idle_max: Duration,
    /// Size of the receive buffer of each socket; `None` lets the system choose.
    pub received_ahead: Option<usize>,
    /// Whether answers have the [`Socket`] on which they arrive.
    pub shows_socket: bool,
}

/// Opens connections.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    plain: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
    time_max: Duration,
    shows_socket: bool,
}

impl Dialer {
    pub fn new(options: &DialOptions, tls: Arc<ClientConfig>) -> Dialer {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.time_max));
        tcp.set_keepalive(Some(PROBE_EVERY));
        tcp.set_keepalive_interval(Some(PROBE_EVERY));
        tcp.set_keepalive_retries(Some(PROBES_MAX));
        tcp.set_recv_buffer_size(options.received_ahead);
        // Only the system notices early that sent data is not acknowledged.
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(options.idle_max));
        let plain = HttpsConnector::from((tcp, tls.clone()));
        let proxies = Arc::new(Matcher::from_env());
        let DialOptions { time_max, shows_socket, .. } = *options;
        Dialer { plain, tls, proxies, time_max, shows_socket }
    }

    /// Returns the password for the proxy of a request without TLS, which goes with each request.
    pub fn proxy_password(&self, to: &Uri) -> Option<HeaderValue> {
        let proxy = (to.scheme() == Some(&Scheme::HTTP)).then(|| self.proxies.intercept(to))?;
        proxy?.basic_auth().cloned()
    }

    async fn dial(self, to: Uri) -> Result<Dialed, BoxError> {
        let shows_socket = self.shows_socket;
        let (stream, is_for_proxy) = self.open(to).await?;
        let socket = shows_socket.then(|| Socket::of(&stream)).transpose()?;
        Ok(Dialed { stream, is_for_proxy, socket })
    }

    /// Opens a connection. Also returns whether requests on it are for a proxy.
    async fn open(mut self, to: Uri) -> Result<(Stream, bool), BoxError> {
        let Some(proxy) = self.proxies.intercept(&to) else {
            return Ok((MaybeHttpsStream::Http(self.plain.call(to).await?), false));
        };
        if to.scheme() == Some(&Scheme::HTTPS) {
            let tunnel = Tunnel::new(proxy.uri().clone(), self.plain);
            let tunnel = match proxy.basic_auth() {
                Some(password) => tunnel.with_auth(password.clone()),
                None => tunnel,
            };
            let opened = HttpsConnector::from((tunnel, self.tls)).call(to).await;
            let is_of_tunnel = |error: &BoxError| Wording::of(&error.to_string()).is_of_tunnel;
            return match opened {
                Err(error) if is_of_tunnel(&error) => Err(of_proxy(&proxy, &*error)),
                opened => Ok((opened?, false)),
            };
        }
        let opened = self.plain.call(proxy.uri().clone()).await;
        let stream = opened.map_err(|error| of_proxy(&proxy, &*error))?;
        Ok((MaybeHttpsStream::Http(stream), true))
    }
}

/// Returns an error that names the proxy, without the password that its address may contain.
fn of_proxy(proxy: &Intercept, error: &(dyn Error + 'static)) -> BoxError {
    let uri = proxy.uri();
    let port = uri.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    let proxy = format!("{}{port}", uri.host().unwrap_or_default());
    let reason = innermost(error);
    match Wording::of(&reason).is_of_proxy_password {
        true => ProxyRefuses { proxy }.into(),
        false => format!("the proxy {proxy}: {reason}").into(),
    }
}

impl Service<Uri> for Dialer {
    type Response = Dialed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialed, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let time_max = dialer.time_max;
            match tokio::time::timeout(time_max, dialer.dial(to)).await {
                Ok(dialed) => dialed,
                Err(_) => {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "operation timed out").into())
                }
            }
        })
    }
}

/// The socket of a connection. The answers on it have this extension.
#[derive(Debug, Clone)]
pub(super) struct Socket(Arc<OwnedFd>);

impl Socket {
    fn of(stream: &Stream) -> io::Result<Socket> {
        let socket = below(below(stream)).inner().as_fd().try_clone_to_owned()?;
        Ok(Socket(Arc::new(socket)))
    }

    /// Returns how many bytes the system has received that the program has not read.
    pub fn received_ahead(&self) -> u64 {
        rustix::io::ioctl_fionread(&*self.0).unwrap_or(0)
    }
}

/// Returns the stream below TLS, if there is TLS.
fn below<T>(stream: &MaybeHttpsStream<T>) -> &T {
    match stream {
        MaybeHttpsStream::Http(stream) => stream,
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner(),
    }
}

/// A connection to a store.
#[derive(Debug)]
pub(super) struct Dialed {
    stream: Stream,
    /// Requests on it are for a proxy, which must see the whole address.
    is_for_proxy: bool,
    socket: Option<Socket>,
}

impl Dialed {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut Stream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected().proxy(self.is_for_proxy);
        match &self.socket {
            Some(socket) => connected.extra(socket.clone()),
            None => connected,
        }
    }
}

impl Read for Dialed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

/// Returns the settings of TLS, which trust the authorities of the system and some more.
///
/// Root certificates are needed only if the client must speak https. A bare container or an old NAS has none.
pub(super) fn tls(
    more: &[CertificateDer<'static>],
    allows_http: bool,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    use_ring();
    let builder = ClientConfig::builder();
    let provider = builder.crypto_provider().clone();
    let verifier = match more {
        [] => Verifier::new(provider),
        more => Verifier::new_with_extra_roots(more.iter().cloned(), provider),
    };
    let config = match verifier {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        Err(_) if allows_http => builder.with_root_certificates(RootCertStore::empty()),
        Err(error) => return Err(error),
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Selects the cryptography provider of TLS in this process.
pub(super) fn use_ring() {
    // Fails only if a provider is already installed, which works as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::sockopt::socket_recv_buffer_size;

    use super::*;

    fn received_ahead(limit: Option<usize>) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let time_max = Duration::from_secs(15);
        let idle_max = time_max;
        let options = DialOptions { time_max, idle_max, received_ahead: limit, shows_socket: true };
        let mut dialer = Dialer::new(&options, tls(&[], true).expect("settings of TLS"));
        dialer.proxies = Arc::new(Matcher::builder().build());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let dialed = runtime.block_on(async {
            let to = format!("http://{address}/").parse().expect("this is an address");
            dialer.call(to).await.expect("it connects")
        });
        let socket = dialed.socket.expect("it is shown");
        socket_recv_buffer_size(&*socket.0).expect("it has a size")
    }

    #[test]
    fn a_socket_receives_no_more_ahead_than_it_should() {
        // Linux counts its own overhead, for which it doubles the size.
        assert!(received_ahead(Some(32 << 10)) <= 64 << 10);
        assert!(received_ahead(None) > 64 << 10, "the system chooses a larger buffer");
    }
}
