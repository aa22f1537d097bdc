//! Opens the connection for a request: looks up names, tries addresses side by side (RFC 8305), and asks a proxy for the
//! way to the host.
//!
//! ureq would try addresses one after the other, so that one address that swallows packets costs most of the time-out. Its
//! proxies also hide what a proxy answered. It must not know requests; TLS to the host itself is `tls`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::fault::{Carried, Fault, Progress, io_fault};
use super::handshake;
use super::proxy::{Kind, Proxy, address};
use super::tls::{Trust, tls_fault};
use crate::clock::{deadline, until_then};
use crate::failure::{NetworkFault, Stage};

/// RFC 8305, 5: how long an address may be silent before the next one is tried as well.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Opens connections. The proxy is that of the request that is being made; one request runs at a time.
pub(crate) struct Dial {
    pub(crate) proxy: Arc<Mutex<Option<Proxy>>>,
    pub(crate) progress: Progress,
    pub(crate) trust: Arc<Trust>,
}

/// A connection to a host, directly or through a proxy.
pub(crate) struct Line {
    buffers: LazyBuffers,
    stream: Stream,
}

enum Stream {
    Plain(Timed),
    /// The proxy's own TLS; the host's is inside it.
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A socket whose reads and writes end in time, however slowly the other side sends.
pub(crate) struct Timed {
    socket: TcpStream,
    until: Option<Instant>,
}

impl<In: Transport> Connector<In> for Dial {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails, _: Option<In>) -> Result<Option<Line>, ureq::Error> {
        let until = details.timeout.not_zero().map(|left| deadline(*left));
        let host = details.uri.host().unwrap_or_default();
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let proxy = self.proxy.lock().expect("no thread panics with this lock").clone();
        let stream = match proxy {
            None => self.open(host, port, until).map(Stream::Plain),
            Some(proxy) => self.through(&proxy, host, port, until),
        };
        let stream = stream.map_err(|fault| carried(self.progress.reached(), fault))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Line { buffers, stream }))
    }
}

impl Dial {
    fn open(&self, host: &str, port: u16, until: Option<Instant>) -> Result<Timed, NetworkFault> {
        self.progress.reach(Stage::Resolve);
        let addresses = resolve(host, port, until)?;
        self.progress.reach(Stage::Connect);
        let socket = connect(&addresses, until)?;
        // Small messages that wait for an answer: nothing is won by collecting them.
        let _ = socket.set_nodelay(true);
        Ok(Timed { socket, until })
    }

    fn through(&self, proxy: &Proxy, host: &str, port: u16, until: Option<Instant>) -> Result<Stream, NetworkFault> {
        let socket = self.open(&proxy.host, proxy.port, until)?;
        let mut stream = match proxy.kind {
            Kind::Https => {
                self.progress.reach(Stage::Proxy);
                self.wrap(&proxy.host, socket)?
            }
            _ => Stream::Plain(socket),
        };
        let local = match proxy.kind {
            Kind::Socks4 | Kind::Socks5 => {
                // Not `Resolve`: that stage would be about the proxy's own name.
                self.progress.reach(Stage::Proxy);
                let found = resolve(host, port, until);
                Some(found.map_err(|_| NetworkFault::HostNameForProxy)?)
            }
            Kind::Http | Kind::Https | Kind::Socks4a | Kind::Socks5h => None,
        };
        self.progress.reach(Stage::Proxy);
        match proxy.kind {
            Kind::Http | Kind::Https => handshake::connect(&mut stream, proxy, host, port),
            Kind::Socks4 | Kind::Socks4a => handshake::socks4(&mut stream, proxy, host, port, local.as_deref()),
            Kind::Socks5 | Kind::Socks5h => handshake::socks5(&mut stream, proxy, host, port, local.as_deref()),
        }?;
        Ok(stream)
    }

    fn wrap(&self, host: &str, mut socket: Timed) -> Result<Stream, NetworkFault> {
        let config = self.trust.config().map_err(NetworkFault::Tls)?;
        let name = ServerName::try_from(bare(host).to_owned()).map_err(|_| NetworkFault::NameUnknown)?;
        let mut connection =
            ClientConnection::new(config, name).map_err(|error| NetworkFault::Tls(tls_fault(&error)))?;
        connection.complete_io(&mut socket).map_err(|error| io_fault(&error))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

/// The addresses of a host. The lookup cannot be interrupted, so it runs in a thread that may be left behind.
fn resolve(host: &str, port: u16, until: Option<Instant>) -> Result<Vec<SocketAddr>, NetworkFault> {
    if let Some(address) = address(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = channel();
    let name = host.to_owned();
    thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found);
    });
    let found = match until {
        None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(until) => receiver.recv_timeout(until_then(until)),
    };
    match found {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(side_by_side(addresses)),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(NetworkFault::NameUnknown),
        Err(RecvTimeoutError::Timeout) => Err(NetworkFault::TimedOut),
    }
}

/// The order in which addresses are tried: as the system sorted them (RFC 6724), the families alternating.
fn side_by_side(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|found| found.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut sorted = Vec::new();
    loop {
        let before = sorted.len();
        sorted.extend(first.next());
        sorted.extend(second.next());
        if sorted.len() == before {
            return sorted;
        }
    }
}

/// The first connection that stands. A further address is tried each quarter of a second, and at once when one fails.
/// Attempts that lose end by themselves in threads of their own.
fn connect(addresses: &[SocketAddr], until: Option<Instant>) -> Result<TcpStream, NetworkFault> {
    if let [only] = addresses {
        return attempt(*only, until).map_err(|error| io_fault(&error));
    }
    let (sender, receiver) = channel();
    let mut waiting = addresses.iter();
    let (mut open, mut fault) = (0_usize, NetworkFault::TimedOut);
    let mut start = |open: &mut usize| {
        if let Some(next) = waiting.next() {
            *open += 1;
            spawn(*next, until, sender.clone());
        }
    };
    start(&mut open);
    while open > 0 {
        if left(until).is_some_and(|left| left.is_zero()) {
            return Err(NetworkFault::TimedOut);
        }
        match receiver.recv_timeout(left(until).map_or(NEXT_ADDRESS, |left| left.min(NEXT_ADDRESS))) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                open -= 1;
                fault = io_fault(&error);
                start(&mut open);
            }
            Err(_) => start(&mut open),
        }
    }
    Err(fault)
}

fn spawn(address: SocketAddr, until: Option<Instant>, sender: Sender<io::Result<TcpStream>>) {
    thread::spawn(move || {
        let _ = sender.send(attempt(address, until));
    });
}

fn attempt(address: SocketAddr, until: Option<Instant>) -> io::Result<TcpStream> {
    match left(until) {
        None => TcpStream::connect(address),
        Some(left) => TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))),
    }
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(until_then)
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn carried(stage: Stage, fault: NetworkFault) -> ureq::Error {
    ureq::Error::Other(Carried(Fault { stage, fault }).into())
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Stream::Plain(timed) => timed,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }

    fn set_time(&mut self, timeout: NextTimeout) {
        self.timed().until = timeout.not_zero().map(|left| deadline(*left));
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(content),
            Stream::Tls(stream) => stream.write(content),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        match left(self.until) {
            Some(left) if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        in_time(self.socket.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        in_time(self.socket.write(content))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Linux answers EAGAIN when a socket's time is over.
fn in_time(done: io::Result<usize>) -> io::Result<usize> {
    done.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_time(timeout);
        let sent = self.stream.write_all(&self.buffers.output()[..amount]).and_then(|()| self.stream.flush());
        sent.map_err(|error| in_words(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.set_time(timeout);
        let read = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let amount = read.map_err(|error| in_words(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        let socket = &self.stream.timed().socket;
        let silent = socket.set_nonblocking(true).is_ok()
            && matches!(socket.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && socket.set_nonblocking(false).is_ok()
    }
}

fn in_words(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_begin_with_the_one_that_the_system_prefers() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addresses(&["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let sorted = addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!(side_by_side(found), sorted);
    }
}
