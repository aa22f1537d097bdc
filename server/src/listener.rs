//! Listener: accepts connections up to a limit, enforces time limits on them, and closes them in order at the end.
//!
//! Owns sockets and HTTP/1.1. It must not know what is served: the caller brings a function from requests to responses.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::memory;
use crate::network::Network;
use crate::peer::TrustedProxies;
use crate::places::{Place, Places};
use crate::progress::{Phase, Progress};
use crate::stall::Stalling;
use crate::tls::Tls;

/// One listening socket and its limits.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// The most connections at one time.
    pub connections: usize,
    /// Proxies that carry the requests of many clients: the share of one client is not theirs.
    pub proxies: TrustedProxies,
    /// Counts open connections.
    pub open: Gauge,
}

impl Listener {
    /// Answers requests until `stop` is true. Then waits up to ten seconds for requests that are under way.
    pub async fn serve<H, F>(self, stop: watch::Receiver<bool>, handler: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let places = Places::new(self.connections, self.proxies);
        let mut queue = Queue::new(waiting_most(self.connections));
        let start = &|(stream, address): (TcpStream, IpAddr), place| {
            let connection = Connection { tls: self.tls.clone(), open: self.open.clone(), stop: stop.clone(), place };
            tokio::spawn(connection.serve(stream, address, handler.clone()));
        };
        let mut stopped = stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept(), if !queue.is_full_of_proxies() => accepted,
                // A place may become free, or a connection may become one that makes room.
                () = queue.retry(&places) => {
                    queue.serve(&places, start);
                    continue;
                }
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    queue.push(stream, address.ip(), &places);
                    queue.serve(&places, start);
                }
                Err(error) => {
                    // Out of file descriptors, or the client closed the connection before it was accepted.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop((self.socket, queue));
        if tokio::time::timeout(DRAIN_MOST, places.all_ended()).await.is_err() {
            tracing::warn!("some connections were still open when the listener ended");
        }
    }
}

/// Connections that wait for a place.
struct Queue {
    most: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    stream: TcpStream,
    address: IpAddr,
    /// `None` for a trusted proxy.
    network: Option<Network>,
    until: Instant,
}

impl Queue {
    fn new(most: usize) -> Self {
        Queue { most, waiting: VecDeque::new() }
    }

    /// Whether proxies fill the queue: their connections are not dropped, and more of them wait in the kernel.
    fn is_full_of_proxies(&self) -> bool {
        self.waiting.len() >= self.most && self.waiting.iter().all(|waiting| waiting.network.is_none())
    }

    /// Adds a connection. If the queue is full, the network with most connections in it loses its last one.
    fn push(&mut self, stream: TcpStream, address: IpAddr, places: &Places) {
        let network = places.network(address);
        self.waiting.push_back(Waiting { stream, address, network, until: Instant::now() + WAIT_MOST });
        if self.waiting.len() <= self.most {
            return;
        }
        let count = |at: usize| {
            let network = self.waiting[at].network;
            let others = self.waiting.iter().filter(|other| other.network == network).count();
            if network.is_some() { others } else { 0 }
        };
        if let Some(last_of_most) = (0..self.waiting.len()).max_by_key(|at| count(*at)) {
            self.waiting.remove(last_of_most);
        }
    }

    /// Returns when it is time to try again; never while nothing waits.
    async fn retry(&self, places: &Places) {
        if self.waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        let _ = tokio::time::timeout(RETRY_EVERY, places.freed()).await;
    }

    /// Gives places to those that can have one now, the networks with the fewest places first, and ends those that have
    /// waited too long.
    fn serve(&mut self, places: &Arc<Places>, start: impl Fn((TcpStream, IpAddr), Place)) {
        let now = Instant::now();
        let mut without = HashSet::new();
        if self.waiting.len() > 1 {
            self.waiting.make_contiguous().sort_by_cached_key(|waiting| places.held_by(waiting.address));
        }
        for waiting in std::mem::take(&mut self.waiting).into_iter().filter(|waiting| waiting.until > now) {
            // One that gets no place now is followed by others of its network that get none either.
            match (!without.contains(&waiting.network)).then(|| places.take(waiting.address)).flatten() {
                Some(place) => start((waiting.stream, waiting.address), place),
                None => {
                    without.insert(waiting.network);
                    self.waiting.push_back(waiting);
                }
            }
        }
    }
}

struct Connection {
    tls: Option<Arc<Tls>>,
    open: Gauge,
    stop: watch::Receiver<bool>,
    place: Place,
}

impl Connection {
    async fn serve<H, F>(self, stream: TcpStream, address: IpAddr, handler: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F,
        F: Future<Output = Response>,
    {
        self.open.inc();
        let (open, progress) = (self.open.clone(), self.place.progress.clone());
        // Responses are small and complete: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        // What a slow client has not taken waits in the file, not in the kernel's memory.
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_MOST);
        let stream = Stalling::new(stream, STALL_MOST, progress.clone());
        // An error of one connection concerns its client only; the log would be filled by strangers.
        let _ = match &self.tls {
            None => self.speak(stream, address, handler).await,
            Some(tls) => {
                let buffer = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(TLS_BYTES));
                let handshake = TlsAcceptor::from(tls.config()).accept_with(stream, buffer);
                let handshake = tokio::time::timeout(HANDSHAKE_MOST, handshake);
                let ready = tokio::select! {
                    ready = handshake => ready,
                    () = progress.evicted() => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
                };
                match ready {
                    Ok(Ok(stream)) => self.speak(stream, address, handler).await,
                    Ok(Err(_)) | Err(_) => Ok(()),
                }
            }
        };
        open.dec();
    }

    async fn speak<S, H, F>(mut self, stream: S, address: IpAddr, handler: H) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        H: Fn(IpAddr, Request<Incoming>) -> F,
        F: Future<Output = Response>,
    {
        let progress = self.place.progress.clone();
        let service = service_fn(|request| {
            progress.enter(Phase::Waiting);
            let (response, progress) = (handler(address, request), progress.clone());
            async move {
                let response = response.await;
                progress.enter(Phase::Sending);
                Ok::<_, Infallible>(response.map(|body| Body::new(SentBody { body, progress })))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MOST)
            .max_buf_size(HEAD_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let evicted = tokio::select! {
            result = connection.as_mut() => return result,
            _ = self.stop.wait_for(|stop| *stop) => false,
            () = progress.evicted() => true,
        };
        if evicted && progress.phase() != Phase::Idle {
            return Ok(());
        }
        // The request of an idle connection may be on its way.
        connection.as_mut().graceful_shutdown();
        let last_call = if evicted { LAST_CALL / 10 } else { LAST_CALL };
        if let Ok(result) = tokio::time::timeout(last_call, connection.as_mut()).await {
            return result;
        }
        // A connection that has not completed a request by now could keep its place as long as it likes.
        match (progress.phase(), evicted) {
            (Phase::Idle, _) => Ok(()),
            (_, true) => tokio::time::timeout(LEAVE_MOST, connection).await.unwrap_or(Ok(())),
            (_, false) => connection.await,
        }
    }
}

/// The body of a response. As long as it exists, a request is under way.
struct SentBody {
    body: Body,
    progress: Arc<Progress>,
}

impl Drop for SentBody {
    fn drop(&mut self) {
        self.progress.enter(Phase::Idle);
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Raises the limit on open files as far as this process may, and returns how many connections files and memory allow. Each
/// connection needs `files_each`: its socket and, where files are served, the file that is being sent. `memory` is what the
/// process needs besides connections, in bytes.
pub fn connections_allowed(files_each: usize, memory: u64) -> io::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let files = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(FILES_RESERVED);
    Ok(places(files, files_each, memory::limit().map(|limit| limit.saturating_sub(memory))))
}

/// The places for which there are files and memory, with what leaves its place and what waits for one.
fn places(files: usize, files_each: usize, memory: Option<u64>) -> usize {
    // For every 16 places, two connections that leave and two that wait.
    let by_files = files.saturating_mul(16) / (18 * files_each + 2);
    let by_memory =
        memory.map_or(usize::MAX, |memory| usize::try_from(memory / CONNECTION_BYTES).unwrap_or(usize::MAX));
    by_files.min(by_memory).clamp(16, CONNECTIONS_MOST)
}

/// Connections that may wait for a place, of a listener with `most` places.
fn waiting_most(most: usize) -> usize {
    (most / 8).max(2)
}

/// The time for a TLS handshake.
const HANDSHAKE_MOST: Duration = Duration::from_secs(5);
/// The time in which the head of a request has to arrive. Idle connections close after it, too.
const HEAD_MOST: Duration = Duration::from_secs(30);
/// The longest wait for a place.
const WAIT_MOST: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// The time in which a connection that has to close may complete a request.
const LAST_CALL: Duration = Duration::from_secs(1);
/// The time in which a connection that has lost its place has to complete a request that came in at the last moment.
const LEAVE_MOST: Duration = Duration::from_secs(5);
/// The most that a connection needs in this process. A test measures it.
pub const CONNECTION_BYTES: u64 = 64 * 1024;
/// The most that rustls keeps of a response.
const TLS_BYTES: usize = 16 * 1024;
/// The most of a response that waits in the kernel before it is sent.
const UNSENT_MOST: u32 = 32 * 1024;
/// The largest head of a request: twice a target of 4 KiB, and what proxies add. hyper queues as much of a response.
const HEAD_BYTES: usize = 16 * 1024;
/// The time in which a client has to read some of its response.
const STALL_MOST: Duration = Duration::from_secs(60);
/// The longest wait at the end for requests that are under way.
const DRAIN_MOST: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For the database, listeners and the log.
const FILES_RESERVED: usize = 128;
const CONNECTIONS_MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::places::YOUNG;

    use super::*;

    async fn open(connections: usize) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener {
            socket: listener,
            tls: None,
            connections,
            proxies: TrustedProxies::default(),
            open: Gauge::default(),
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener.serve(stopped, async |_, _| Response::new(Body::from("here"))));
        (address, stop)
    }

    /// Sends these bytes and reads the first part of the response.
    async fn send(stream: &mut TcpStream, bytes: &[u8]) -> String {
        stream.write_all(bytes).await.unwrap();
        let mut answer = vec![0; 1024];
        let length = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Promise: serve-slow-clients
    #[tokio::test]
    async fn the_longest_idle_connection_closes_when_a_new_one_needs_its_place() {
        let (address, _stop) = open(2).await;
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(send(&mut stream, REQUEST).await.ends_with("here"));
            idle.push(stream);
        }
        let mut new = TcpStream::connect(address).await.unwrap();
        assert!(send(&mut new, REQUEST).await.ends_with("here"));
        let mut rest = [0; 1];
        let end = tokio::time::timeout(Duration::from_secs(5), idle[0].read(&mut rest)).await.unwrap();
        assert_eq!(end.unwrap(), 0, "the one that was idle longest is closed");
        assert!(send(&mut idle[1], REQUEST).await.ends_with("here"), "no more than needed are closed");
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_closed_when_its_place_is_wanted_and_a_request_under_way_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener {
            socket: listener,
            tls: None,
            connections: 2,
            proxies: TrustedProxies::default(),
            open: Gauge::default(),
        };
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(listener.serve(stopped, async |_, request: Request<Incoming>| {
            if request.uri().path() == "/slow" {
                tokio::time::sleep(LAST_CALL * 5).await;
            }
            Response::new(Body::from("here"))
        }));
        let mut slow_head = TcpStream::connect(address).await.unwrap();
        slow_head.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        let mut new = TcpStream::connect(address).await.unwrap();
        new.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 1024];
        let length = new.read(&mut answer).await.unwrap();
        assert!(answer[..length].ends_with(b"here"));
        assert!(began.elapsed() < HEAD_MOST / 2, "{:?}", began.elapsed());
        let length = slow.read(&mut answer).await.unwrap();
        assert!(answer[..length].ends_with(b"here"), "it was answered");
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_arrive_in_time_ends_the_connection() {
        let (address, _stop) = open(10).await;
        for first in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nX-Slow: "] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(first).await.unwrap();
            let began = tokio::time::Instant::now();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(HEAD_MOST * 3, stream.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "still open after {:?}: {first:?}", began.elapsed());
        }
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_tls_handshake_that_does_not_begin_ends_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let (address, _stop) = open_tls(10, folder.path()).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        assert!((HANDSHAKE_MOST..HANDSHAKE_MOST * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn silent_tls_connections_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let (address, _stop) = open_tls(4, folder.path()).await;
        let mut silent = Vec::new();
        for _ in 0..4 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(YOUNG).await;
        let began = tokio::time::Instant::now();
        let _new = TcpStream::connect(address).await.unwrap();
        assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap(), 0);
        assert!(began.elapsed() < YOUNG, "{:?}", began.elapsed());
    }

    #[test]
    fn places_follow_from_files_and_memory() {
        assert_eq!(places(200, 1, None), 160);
        assert_eq!(places(1_000_000, 2, None), CONNECTIONS_MOST);
        assert_eq!(places(1_000_000, 2, Some(1000 * CONNECTION_BYTES)), 1000);
        assert_eq!(places(0, 1, Some(0)), 16);
    }

    async fn open_tls(connections: usize, folder: &std::path::Path) -> (SocketAddr, watch::Sender<bool>) {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.join("cert"), folder.join("key"));
        std::fs::write(&cert, signed.cert.pem()).unwrap();
        std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let tls = Some(Arc::new(Tls::load(&cert, &key).unwrap()));
        let listener =
            Listener { socket, tls, connections, proxies: TrustedProxies::default(), open: Gauge::default() };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener.serve(stopped, async |_, _| Response::new(Body::from("here"))));
        (address, stop)
    }
}
