//! Connections: accepted within a limit, spoken to within time limits, ended in order.
//!
//! Owns sockets and HTTP/1.1. It knows neither the wire nor the gate: whoever starts it brings a function from requests
//! to answers.

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

/// One listening socket and what stands behind it.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// TLS, unless plain HTTP is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Connections at one time.
    pub connections: usize,
    /// Where open connections are counted.
    pub open: Gauge,
}

impl Listener {
    /// Answers requests until `stop` says true; then lets those under way end, for [`DRAIN_MOST`].
    pub async fn serve<H, F>(self, mut stop: watch::Receiver<bool>, answer: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(self.connections));
        // Counts how often room had to be made: connections that idle then end.
        let (make_room, room) = watch::channel(0_u64);
        'accepting: loop {
            let place = match places.clone().try_acquire_owned() {
                Ok(place) => place,
                // Said again until it is heard: those that have just been accepted do not listen yet.
                Err(_) => loop {
                    make_room.send_modify(|count| *count += 1);
                    tokio::select! {
                        Ok(place) = places.clone().acquire_owned() => break place,
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
                Ok((stream, peer)) => {
                    let connection = Connection {
                        tls: self.tls.clone(),
                        open: self.open.clone(),
                        stop: stop.clone(),
                        room: room.clone(),
                        _place: place,
                    };
                    tokio::spawn(connection.serve(stream, peer.ip(), answer.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, or a connection that was gone before it was taken.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN_MOST, places.acquire_many(all)).await.is_err() {
            tracing::warn!("some connections were still open at the end");
        }
    }
}

struct Connection {
    tls: Option<Arc<Tls>>,
    open: Gauge,
    stop: watch::Receiver<bool>,
    room: watch::Receiver<u64>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve<H, F>(self, stream: TcpStream, peer: IpAddr, answer: H)
    where
        H: Fn(IpAddr, Request<Incoming>) -> F,
        F: Future<Output = Response>,
    {
        self.open.inc();
        let open = self.open.clone();
        // Answers are small and complete: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let stream = Stalling::new(stream, STALL_MOST);
        // Troubles of one connection are the client's; there is nobody to tell them.
        let _ = match &self.tls {
            None => self.speak(stream, peer, answer).await,
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.config()).accept(stream);
                match tokio::time::timeout(HEAD_MOST, handshake).await {
                    Ok(Ok(stream)) => self.speak(stream, peer, answer).await,
                    Ok(Err(_)) | Err(_) => Ok(()),
                }
            }
        };
        open.dec();
    }

    async fn speak<S, H, F>(mut self, stream: S, peer: IpAddr, answer: H) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        H: Fn(IpAddr, Request<Incoming>) -> F,
        F: Future<Output = Response>,
    {
        // Room that had to be made before this one could speak was made by others.
        self.room.mark_unchanged();
        // Each request holds one more until its answer has been handed over.
        let idle = Arc::new(());
        let service = service_fn(|request| {
            let (response, under_way) = (answer(peer, request), idle.clone());
            async move {
                let answered = |body| Body::new(Answering { body, _under_way: under_way });
                Ok::<_, Infallible>(response.await.map(answered))
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
            _ = room_is_needed(&mut self.room) => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(result) = tokio::time::timeout(LAST_CALL, connection.as_mut()).await {
            return result;
        }
        // What has not even asked by now, byte after byte, would hold its place for as long as it likes.
        if Arc::strong_count(&idle) > 1 { connection.await } else { Ok(()) }
    }
}

/// Comes when connections have to give way. Not at once for those that are new: their request may be on its way.
async fn room_is_needed(room: &mut watch::Receiver<u64>) {
    tokio::time::sleep(YOUNG).await;
    if room.changed().await.is_err() {
        // Nobody is left to need it.
        std::future::pending().await
    }
}

/// The body of an answer, which says as long as it is there that a request is under way.
struct Answering {
    body: Body,
    _under_way: Arc<()>,
}

impl http_body::Body for Answering {
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

/// How many connections the limit on open files allows, after raising it as far as this process may. Each needs
/// `files_each`: its socket, and where files are served, the one that it is sent.
pub fn connections_allowed(files_each: usize) -> io::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    Ok((files.saturating_sub(FILES_OF_OUR_OWN) / files_each).clamp(16, CONNECTIONS_MOST))
}

/// The time in which a TLS handshake or the head of a request has to arrive; idle connections end after it, too.
const HEAD_MOST: Duration = Duration::from_secs(30);
/// The time that a connection has for its first request, however many others want its place.
const YOUNG: Duration = Duration::from_secs(1);
/// The time in which a connection that has to give way may bring a request to its end, or itself.
const LAST_CALL: Duration = Duration::from_secs(1);
/// The largest head of a request: a target of 4 KiB twice, and room for what proxies add.
const HEAD_BYTES: usize = 32 * 1024;
/// The time in which a client has to take some of its answer.
const STALL_MOST: Duration = Duration::from_secs(60);
/// The longest wait for requests under way, at the end.
const DRAIN_MOST: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Database, listeners, log.
const FILES_OF_OUR_OWN: usize = 128;
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

    /// Sends these bytes and reads what comes, until the end or for a second.
    async fn send(stream: &mut TcpStream, bytes: &[u8]) -> String {
        stream.write_all(bytes).await.unwrap();
        let mut answer = vec![0; 1024];
        let length = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Promise: serve-slow-clients
    #[tokio::test]
    async fn idle_connections_make_room_for_new_ones() {
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
            assert_eq!(end.unwrap(), 0, "closed to make room");
        }
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_gives_way_and_a_request_under_way_does_not() {
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
        let mut dripping = TcpStream::connect(address).await.unwrap();
        dripping.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.unwrap();
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
        assert!(answer[..length].ends_with(b"here"), "it was answered all the same");
    }

    /// Promise: serve-slow-clients
    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_ends_the_connection() {
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
