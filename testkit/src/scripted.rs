//! A server that answers as a test scripts it: for answers that no real backend gives.
//!
//! It knows just enough HTTP for that. Every request is kept, so that tests can count what the agent sends.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::tls::ServerCertificate;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// The scheme of the server that received the request.
    pub scheme: &'static str,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the server sends.
pub enum Answer {
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// Nothing: the connection is closed at once.
    Hangup,
    /// Nothing, and the connection stays open.
    Silence,
    /// The first bytes at once, then the others one at a time with a pause after each, for half a minute.
    Drip(Vec<u8>, Vec<u8>, Duration),
    /// The first bytes, then the others again and again, as fast as they are taken, for half a minute.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then the connection ends without a TLS close: the client cannot tell it from one that was cut.
    Cut(Vec<u8>),
}

/// The server. It ends with the test's process.
pub struct Scripted {
    scheme: &'static str,
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Starts a server that gives each request to `script`.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Scripted {
        Self::listen("http", script, |stream, script, kept| drop(try_to_serve("http", stream, script, kept)))
    }

    /// A [`Scripted::backend`] that speaks TLS with this certificate. The connection is cut after `most` bytes have
    /// been sent, the handshake included.
    pub fn backend_with_tls(
        certificate: &ServerCertificate,
        most: usize,
        change: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Scripted {
        let config = server_config(certificate);
        Self::listen("https", friendly_but_for(change), move |stream, script, kept| {
            let connection = ServerConnection::new(config.clone()).expect("a configuration");
            let mut tls = StreamOwned::new(connection, CutAfter { stream, most });
            if let Ok(true) = try_to_serve("https", &mut tls, script, kept) {
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        })
    }

    fn listen(
        scheme: &'static str,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        serve: impl Fn(TcpStream, &dyn Fn(&Request) -> Answer, &Mutex<Vec<Request>>) + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, serve, kept) = (Arc::new(script), Arc::new(serve), requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, serve, kept) = (script.clone(), serve.clone(), kept.clone());
                // A client that goes away is not an error of the server.
                thread::spawn(move || serve(stream, &*script, &kept));
            }
        });
        Scripted { scheme, port, requests }
    }

    /// A server that answers like a backend with many seats, and like its repository. A registration belongs to the key that
    /// it was first registered with. `change` may replace an answer.
    pub fn backend(change: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Scripted {
        Scripted::start(friendly_but_for(change))
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no request panics").clone()
    }

    /// The methods and paths of all requests, ids written as `ID`.
    pub fn log(&self) -> Vec<String> {
        let short = |request: &Request| {
            let path: Vec<&str> =
                request.path.split('/').map(|part| if part.len() == 36 { "ID" } else { part }).collect();
            format!("{} {}", request.method, path.join("/"))
        };
        self.requests().iter().map(short).collect()
    }
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The id at the end of the path.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// An answer in the protocol's form.
pub fn answer(status: u16, body: &Value) -> Answer {
    raw(status, &[("Els-Api", "1"), ("X-Request-Id", "req-1"), ("Content-Type", "application/json")], &body.to_string())
}

/// An error in the protocol's form.
pub fn problem(status: u16, code: &str) -> Answer {
    let body = json!({"type": "about:blank", "title": format!("title of {code}"), "status": status, "code": code});
    problem_document(status, &body)
}

/// An error with this body.
pub fn problem_document(status: u16, body: &Value) -> Answer {
    let headers = [("Els-Api", "1"), ("X-Request-Id", "req-1"), ("Content-Type", "application/problem+json")];
    raw(status, &headers, &body.to_string())
}

/// An answer with this status, these headers and this body.
pub fn raw(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if status != 204 {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    Answer::Raw(text.into_bytes())
}

/// A registration answer for the request's id, from the server that was asked.
pub fn registration(request: &Request) -> Value {
    json!({
        "registration": request.id(),
        "state": "active",
        "key_id": "k-test",
        "contract": "C-1",
        "product": {"id": "almalinux-9-els", "name": "ELS for AlmaLinux 9"},
        "repo": {"file": "els-almalinux-9", "url": format!("{}://{}/repo", request.scheme, request.header("host").unwrap_or_default())},
        "expires": "2099-12-31T23:59:59Z",
        "registered_at": "2026-01-02T03:04:05Z",
        "seats": {"total": 10, "used": 1},
        "member_of_a_later_version": {"ignored": true},
    })
}

fn friendly_but_for(
    change: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let keys = Mutex::new(HashMap::new());
    move |request| change(request).unwrap_or_else(|| friendly(request, &keys))
}

/// `keys`: the key of each registration.
fn friendly(request: &Request, keys: &Mutex<HashMap<String, Value>>) -> Answer {
    match (request.method.as_str(), request.path.split('/').nth(1)) {
        ("PUT", _)
            if {
                let key = request.json()["key"].clone();
                *keys.lock().expect("no request panics").entry(request.id().to_owned()).or_insert_with(|| key.clone())
                    != key
            } =>
        {
            problem(409, "registration-conflict")
        }
        ("PUT", _) => answer(201, &registration(request)),
        ("GET", Some("repo")) => raw(200, &[], "<?xml version=\"1.0\"?>\n<repomd xmlns=\"x\"></repomd>"),
        ("GET", _) => answer(200, &registration(request)),
        ("DELETE", _) => raw(204, &[("Els-Api", "1"), ("X-Request-Id", "req-1")], ""),
        _ => problem(400, "invalid-request"),
    }
}

/// Reads one request and answers it. Returns whether the connection should be closed in order.
fn try_to_serve(
    scheme: &'static str,
    stream: impl Read + Write,
    script: &dyn Fn(&Request) -> Answer,
    kept: &Mutex<Vec<Request>>,
) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(true) };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { scheme, method, path, headers, body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    kept.lock().expect("no request panics").push(request.clone());
    let stream = reader.get_mut();
    let mut say = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush());
    let begin = Instant::now();
    match script(&request) {
        Answer::Raw(bytes) => say(&bytes)?,
        Answer::Hangup => {}
        Answer::Silence => thread::sleep(LONGEST_ANSWER),
        Answer::Drip(first, drops, pause) => {
            say(&first)?;
            for drop in drops.iter().take_while(|_| begin.elapsed() < LONGEST_ANSWER) {
                say(&[*drop])?;
                thread::sleep(pause);
            }
        }
        Answer::Endless(first, again) => {
            say(&first)?;
            while begin.elapsed() < LONGEST_ANSWER {
                say(&again)?;
            }
        }
        Answer::Cut(bytes) => return say(&bytes).map(|()| false),
    }
    Ok(true)
}

fn server_config(certificate: &ServerCertificate) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("protocol versions").with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).expect("key and certificate belong together"))
}

/// A connection that is cut after `most` bytes have been sent.
struct CutAfter {
    stream: TcpStream,
    most: usize,
}

impl Read for CutAfter {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for CutAfter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.stream.write(&bytes[..bytes.len().min(self.most)])?;
        self.most -= length;
        if self.most == 0 {
            self.stream.shutdown(std::net::Shutdown::Write)?;
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// How long an answer without an end goes on.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
