//! HTTP/1.1 clients that send bytes as given, which HTTP libraries refuse to do, and the requests of a machine.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use els_protocol::{LicenseKey, MachineId, RegistrationId, Token};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub fn bearer(key: &LicenseKey) -> String {
    format!("Bearer {}", key.expose())
}

/// A parsed answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem document, whose form is checked.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: els_protocol::Problem = serde_json::from_slice(&self.body).unwrap();
        let code = els_protocol::Code::parse(&problem.code).unwrap();
        assert_eq!((problem.status, code.status()), (self.status, self.status), "{self:?}");
        assert_eq!(problem.title, code.title());
        problem.code
    }

    pub fn assert_code(&self, code: &str) {
        assert_eq!(self.code(), code, "{self:?}");
    }
}

pub fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    raw(to, request.as_bytes())
}

/// Sends bytes as they stand and reads the answer until the connection ends.
pub fn raw(to: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(to);
    // The backend may answer and close the connection before it has read the whole request.
    let _ = stream.write_all(request);
    read_answer(&mut stream)
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A connection from the loopback address `from`: to the backend, each address is another client.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if from != to.ip() {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub fn read_answer(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if bytes.is_empty() => panic!("no answer: {error}"),
            Err(_) => break,
        }
    }
    parse(&bytes)
}

/// Parses a whole answer.
pub fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no HTTP answer: {:?}", String::from_utf8_lossy(bytes));
    });
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    assert!(!chunked, "every length is known before an answer is sent");
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

/// A client that keeps one connection, and opens a new one after an error. Every error is returned to the caller.
pub struct Client {
    from: IpAddr,
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Client::from(to.ip(), to)
    }

    /// A client at the loopback address `from`.
    pub fn from(from: IpAddr, to: SocketAddr) -> Self {
        Client { from, to, stream: None }
    }

    /// Sends one request and reads its answer.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.to, body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(&body);
        // A connection is not used again after an error.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect_from(self.from, self.to)?,
        };
        stream.write_all(request.as_bytes())?;
        let answer = read_one(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

/// A registration as its machine knows it: its id, its token, and the ids of the machine.
#[derive(Clone)]
pub struct Registrant {
    pub id: RegistrationId,
    token: Token,
    machine: MachineId,
    hardware: Option<MachineId>,
}

impl Registrant {
    /// The registration `number` of the machine `machine`, which has a hardware id.
    pub fn new(number: u32, machine: u32) -> Self {
        Registrant {
            id: RegistrationId::from_random(bytes(number)),
            token: Token::from_random([bytes(number), bytes(number)].concat().try_into().unwrap()),
            machine: MachineId::from_random(bytes(machine)),
            hardware: Some(MachineId::from_random(bytes(!machine))),
        }
    }

    /// The same machine without a hardware id, as in a container.
    pub fn without_hardware(self) -> Self {
        Registrant { hardware: None, ..self }
    }

    pub fn path(&self) -> String {
        els_protocol::wire::registration_path(&self.id)
    }

    pub fn basic(&self) -> String {
        basic(&self.id.to_string(), self.token.expose())
    }

    pub fn body(&self, key: &LicenseKey) -> Value {
        let mut body = json!({
            "key": key.expose(),
            "token_sha256": self.token.hash(),
            "machine": self.machine,
            "os": {"id": "almalinux", "version": "9.6"},
            "arch": "x86_64",
        });
        if let Some(hardware) = self.hardware {
            body["hardware"] = json!(hardware);
        }
        body
    }
}

/// Reads one answer and no byte more. A part of an answer is an error.
fn read_one(stream: &mut TcpStream) -> io::Result<Answer> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= head + length.unwrap_or(0_usize) {
                return Ok(parse(&bytes));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

fn bytes(number: u32) -> [u8; 16] {
    let mut bytes = [0x22; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Far longer than any answer takes on a slow computer under load.
const PATIENCE: Duration = Duration::from_secs(60);
