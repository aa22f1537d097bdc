//! Listener: accepts connections up to a limit, enforces time limits on them, and closes them in order at the end.
//!
//! Owns sockets and HTTP/1.1. It must not know what is served: the caller brings a function from requests to responses.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

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
    /// Counts open connections.
    pub open: Gauge,
}

impl Listener {
    /// Answers requests until `stop` is true. Then waits up to ten seconds for requests that are under way.
    pub async fn serve<H, F>(self, mut stop: watch::Receiver<bool>, handler: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.connections));
        // Counts the requests for a free slot: each makes idle connections close.
        let (slot_wanted, wanted) = watch::channel(0_u64);
        'accepting: loop {
            let slot = match slots.clone().try_acquire_owned() {
                Ok(slot) => slot,
                // Repeated: connections that have just been accepted do not listen yet.
                Err(_) => loop {
                    slot_wanted.send_modify(|count| *count += 1);
                    tokio::select! {
                        Ok(slot) = slots.clone().acquire_owned() => break slot,
                        _ = stop.wait_for(|stop| *stop) => break 'accepting,
                        () = tokio::time::sleep(YOUNG) => {}
                    }
                },
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    let connection = Connection {
                        tls: self.tls.clone(),
                        open: self.open.clone(),
                        stop: stop.clone(),
                        slot_wanted: wanted.clone(),
                        _slot: slot,
                    };
                    tokio::spawn(connection.serve(stream, address.ip(), handler.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, or the client closed the connection before it was accepted.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN_MOST, slots.acquire_many(all)).await.is_err() {
            tracing::warn!("some connections were still open when the listener ended");
        }
    }
}

struct Connection {
    tls: Option<Arc<Tls>>,
    open: Gauge,
    stop: watch::Receiver<bool>,
    slot_wanted: watch::Receiver<u64>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<H, F>(self, stream: TcpStream, address: IpAddr, handler: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F,
        F: Future<Output = Response>,
    {
        self.open.inc();
        let open = self.open.clone();
        // Responses are small and complete: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Stalling::new(stream, STALL_MOST);
        // An error of one connection concerns its client only; the log would be filled by strangers.
        let _ = match &self.tls {
            None => self.speak(stream, address, handler).await,
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.config()).accept(stream);
                match tokio::time::timeout(HEAD_MOST, handshake).await {
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
        // A slot that was wanted before this connection could speak is not wanted from this one.
        self.slot_wanted.mark_unchanged();
        // Each request holds one more reference until its response has been sent.
        let idle = Arc::new(());
        let service = service_fn(|request| {
            let (response, under_way) = (handler(address, request), idle.clone());
            async move {
                let counted = |body| Body::new(CountedBody { body, _under_way: under_way });
                Ok::<_, Infallible>(response.await.map(counted))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MOST)
            .max_buf_size(HEAD_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return result,
            _ = self.stop.wait_for(|stop| *stop) => {}
            _ = has_to_close(&mut self.slot_wanted) => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(result) = tokio::time::timeout(LAST_CALL, connection.as_mut()).await {
            return result;
        }
        // A connection that has not completed a request by now could keep its slot as long as it likes.
        if Arc::strong_count(&idle) > 1 { connection.await } else { Ok(()) }
    }
}

/// Returns when idle connections have to close. Not at once for a new connection: its request may be on its way.
async fn has_to_close(slot_wanted: &mut watch::Receiver<u64>) {
    tokio::time::sleep(YOUNG).await;
    if slot_wanted.changed().await.is_err() {
        // The listener has ended: no slot is wanted any more.
        std::future::pending().await
    }
}

/// The body of a response. As long as it exists, a request is under way.
struct CountedBody {
    body: Body,
    _under_way: Arc<()>,
}

impl http_body::Body for CountedBody {
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

/// Raises the limit on open files as far as this process may, and returns how many connections it allows. Each connection
/// needs `files_each`: its socket and, where files are served, the file that is being sent.
pub fn connections_allowed(files_each: usize) -> io::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    Ok((files.saturating_sub(FILES_RESERVED) / files_each).clamp(16, CONNECTIONS_MOST))
}

/// The time in which a TLS handshake or the head of a request has to arrive. Idle connections close after it, too.
const HEAD_MOST: Duration = Duration::from_secs(30);
/// The time that a new connection has for its first request, even if its slot is wanted.
const YOUNG: Duration = Duration::from_secs(1);
/// The time in which a connection that has to close may complete a request.
const LAST_CALL: Duration = Duration::from_secs(1);
/// The largest head of a request: twice a target of 4 KiB, and what proxies add.
const HEAD_BYTES: usize = 32 * 1024;
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

    use super::*;

    async fn open(connections: usize) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener { socket: listener, tls: None, connections, open: Gauge::default() };
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
    async fn idle_connections_close_when_new_ones_need_a_slot() {
        let (address, _stop) = open(2).await;
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(send(&mut stream, REQUEST).await.ends_with("here"));
            idle.push(stream);
        }
        let mut new = TcpStream::connect(address).await.unwrap();
        assert!(send(&mut new, REQUEST).await.ends_with("here"));
        for mut stream in idle {
            let mut rest = [0; 1];
            let end = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut rest)).await.unwrap();
            assert_eq!(end.unwrap(), 0, "closed for a new connection");
        }
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_closed_when_a_slot_is_wanted_and_a_request_under_way_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener { socket: listener, tls: None, connections: 2, open: Gauge::default() };
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
}
