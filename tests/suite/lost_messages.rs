//! Messages that are lost, late or broken, between the real agent and the real backend: whatever stage a connection breaks
//! at, running the command again ends with exactly one seat (or none), also when the key is full.
//!
//! A relay stands between the two. It speaks no HTTP: it knows when a request begins, when the backend has begun to answer,
//! and cuts there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use els_testkit::{Backend, Key, Machine, Repository, Settings, wait_until};

/// Where a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// As soon as it is made.
    AtOnce,
    /// When half of the request has come; the backend gets that half.
    InTheRequest,
    /// When the request has been handed on, before an answer comes: whether it is carried out, the agent cannot know.
    AfterTheRequest,
    /// When the backend has answered, before the agent gets a byte of it.
    BeforeTheAnswer,
    /// After this number of bytes of the answer.
    InTheAnswer(usize),
    /// The request is held back, and handed on only after the agent has gone away.
    Late,
}

const CUTS: [Cut; 8] = [
    Cut::AtOnce,
    Cut::InTheRequest,
    Cut::AfterTheRequest,
    Cut::BeforeTheAnswer,
    Cut::InTheAnswer(1),
    Cut::InTheAnswer(40),
    Cut::InTheAnswer(300),
    Cut::Late,
];

/// The relay: it cuts the connections whose request begins with `method`, while `cut` is set.
struct Relay {
    port: u16,
    cut: Arc<Mutex<Option<(&'static str, Cut)>>>,
    cuts: Arc<Mutex<usize>>,
}

impl Relay {
    /// A relay to the address that is told it later: the backend behind it has to know the relay's address first.
    fn start() -> (Relay, Arc<Mutex<String>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (cut, cuts) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
        let address = Arc::new(Mutex::new(String::new()));
        let (now, counted, told) = (cut.clone(), cuts.clone(), address.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (now, counted) = (now.clone(), counted.clone());
                let address = told.lock().expect("no relay panics").clone();
                thread::spawn(move || {
                    // A connection that breaks is what this is for.
                    let _ = relay(client, &address, &now, &counted);
                });
            }
        });
        (Relay { port, cut, cuts }, address)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn cut(&self, method: &'static str, cut: Cut) {
        *self.cut.lock().expect("no relay panics") = Some((method, cut));
    }

    fn repair(&self) {
        *self.cut.lock().expect("no relay panics") = None;
    }

    fn cuts(&self) -> usize {
        *self.cuts.lock().expect("no relay panics")
    }
}

fn relay(
    mut client: TcpStream,
    address: &str,
    now: &Mutex<Option<(&'static str, Cut)>>,
    counted: &Mutex<usize>,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut bytes = [0; 4096];
        let count = client.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(bytes.get(..count).unwrap_or_default());
    }
    let cut = now.lock().expect("no relay panics").filter(|(method, _)| request.starts_with(method.as_bytes()));
    let cut = cut.map(|(_, cut)| cut);
    if cut.is_some() {
        *counted.lock().expect("no relay panics") += 1;
    }
    if cut == Some(Cut::AtOnce) {
        return client.shutdown(Shutdown::Both);
    }
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(Duration::from_secs(20)))?;
    match cut {
        Some(Cut::InTheRequest) => {
            server.write_all(request.get(..request.len() / 2).unwrap_or_default())?;
            return client.shutdown(Shutdown::Both);
        }
        Some(Cut::Late) => {
            client.shutdown(Shutdown::Both)?;
            thread::sleep(Duration::from_millis(1500));
            server.write_all(&closing(&request))?;
            let _ = server.read(&mut [0; 1024]);
            return Ok(());
        }
        _ => server.write_all(&closing(&request))?,
    }
    if cut == Some(Cut::AfterTheRequest) {
        client.shutdown(Shutdown::Both)?;
        let _ = server.read(&mut [0; 1024]);
        return Ok(());
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match cut {
        Some(Cut::BeforeTheAnswer) => return client.shutdown(Shutdown::Both),
        Some(Cut::InTheAnswer(bytes)) => {
            client.write_all(answer.get(..bytes.min(answer.len() - 1)).unwrap_or_default())?;
            return client.shutdown(Shutdown::Both);
        }
        _ => client.write_all(&answer)?,
    }
    client.shutdown(Shutdown::Both)
}

/// Whether a request's head and body have come.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    body.len() >= length
}

/// The request with `Connection: close`, so that the end of the answer is the end of the connection.
fn closing(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes()
}

/// A backend with its repository, the relay before both, and a machine that knows the relay alone.
struct World {
    backend: Backend,
    relay: Relay,
    machine: Machine,
    _repository: Arc<Repository>,
}

fn world() -> World {
    let repository = Repository::shared();
    let (relay, address) = Relay::start();
    let settings = Settings::default().plain().repository(&repository.root());
    let backend = settings.argument("--repo-url").argument(format!("{}/repo", relay.url())).start();
    *address.lock().expect("no relay panics") = backend.address().to_owned();
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", relay.url()));
    World { backend, relay, machine, _repository: repository }
}

fn remembered(backend: &Backend, key: &Key) -> usize {
    backend.seats(key).len()
}

/// Promise: lost-answer
#[test]
fn a_lost_put_is_sent_again_and_takes_one_seat() {
    let World { backend, relay, machine, .. } = &world();
    for cut in CUTS {
        let key = backend.key(1);
        relay.cut("PUT", cut);
        let before = relay.cuts();
        machine.agent(&["--key", &key.key, "--timeout", "5"]).exits(7);
        assert!(relay.cuts() > before, "{cut:?} was not tried");
        relay.repair();
        if cut == Cut::Late {
            wait_until("the late request arrives", || remembered(backend, &key) == 1);
        }
        machine.agent(&["--key", &key.key]).succeeds();
        assert_eq!(remembered(backend, &key), 1, "{cut:?}");
        machine.agent(&["--status"]).succeeds();
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(remembered(backend, &key), 0, "{cut:?}");
    }
    backend.agrees_with_itself();
}

/// Promise: unregister-unknown
#[test]
fn a_lost_delete_is_finished_by_the_next_run() {
    let World { backend, relay, machine, .. } = &world();
    for cut in CUTS {
        let key = backend.key(1);
        let before = machine.files();
        machine.agent(&["--key", &key.key]).succeeds();
        relay.cut("DELETE", cut);
        machine.agent(&["--unregister", "--timeout", "5"]).exits(7);
        relay.repair();
        assert!(!machine.has("/etc/yum.repos.d/els.repo"), "{cut:?}: it is not known, so it stays off");
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(remembered(backend, &key), 0, "{cut:?}");
        assert_eq!(machine.files(), before, "{cut:?}");
    }
    backend.agrees_with_itself();
}

/// Promise: register-probe
#[test]
fn a_lost_probe_releases_the_seat_and_the_next_run_takes_it_again() {
    let World { backend, relay, machine, .. } = &world();
    for cut in CUTS {
        let key = backend.key(1);
        relay.cut("GET /repo/", cut);
        machine.agent(&["--key", &key.key, "--timeout", "5"]).exits(7);
        relay.repair();
        assert_eq!(remembered(backend, &key), 0, "{cut:?}: released");
        machine.agent(&["--key", &key.key]).succeeds();
        assert_eq!(remembered(backend, &key), 1, "{cut:?}");
        machine.agent(&["--unregister"]).succeeds();
    }
    backend.agrees_with_itself();
}

#[test]
fn a_delete_that_overtakes_its_put_leaks_no_seat() {
    let World { backend, relay, machine, .. } = &world();
    let key = backend.key(1);
    relay.cut("PUT", Cut::Late);
    machine.agent(&["--key", &key.key, "--timeout", "5"]).exits(7);
    // The PUT is still on its way; its registration is released before it arrives.
    machine.agent(&["--unregister"]).succeeds();
    relay.repair();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(remembered(backend, &key), 0, "the late PUT was refused");
    let puts = backend.requests().iter().filter(|request| request.starts_with("PUT")).count();
    assert_eq!(puts, 1, "the late PUT did arrive");
    machine.agent(&["--key", &key.key]).succeeds();
    backend.agrees_with_itself();
}
