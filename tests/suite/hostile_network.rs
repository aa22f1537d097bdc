//! A network that means harm: answers that drip or never end, half of HTTP, certificates of others, TLS that is cut.
//!
//! Whatever is done to whichever request, the agent ends within its time-out with exit 7, and what it had is what it has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use els_testkit::scripted::{Answer, Request, Scripted, registration};
use els_testkit::{Authority, Machine};

const KEY: &str = "TEST-KEY-0001";
const TOKEN: &str = "/etc/dnf/vars/els_token";
const REPO: &str = "/etc/yum.repos.d/els.repo";
const STATE: &str = "/var/lib/els-register/registration.json";
const HEAD: &str = "HTTP/1.1 200 OK\r\nEls-Api: 1\r\nContent-Type: application/json\r\n";
/// Far more than `--timeout` allows, and less than a lie lasts.
const MOST: Duration = Duration::from_secs(20);

/// What is asked: the agent's arguments, and which of its requests is answered badly.
struct Asked {
    name: &'static str,
    arguments: &'static [&'static str],
    registered: bool,
    is: fn(&Request) -> bool,
}

const ASKED: [Asked; 5] = [
    Asked { name: "PUT", arguments: &["--key", KEY], registered: false, is: |request| request.method == "PUT" },
    Asked {
        name: "probe",
        arguments: &["--key", KEY],
        registered: false,
        is: |request| request.path.starts_with("/repo"),
    },
    Asked { name: "status", arguments: &["--status"], registered: true, is: |request| request.method == "GET" },
    Asked {
        name: "refresh",
        arguments: &["--refresh"],
        registered: true,
        is: |request| request.method == "GET" && request.path.starts_with("/v1"),
    },
    Asked { name: "DELETE", arguments: &["--unregister"], registered: true, is: |request| request.method == "DELETE" },
];

fn contents(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
    let read = |path: String| {
        let content = std::fs::read(machine.path(&path)).unwrap_or_default();
        (path, content)
    };
    machine.files().into_iter().map(read).collect()
}

/// Asks, has `answer` in place of what a backend says, and judges what has become of the machine.
fn holds_out(asked: &Asked, lie: &str, answer: impl Fn() -> Answer + Send + Sync + 'static) {
    let at = format!("{} answered by {lie}", asked.name);
    let truth = Scripted::backend(|_| None);
    let is = asked.is;
    let liar = Scripted::backend(move |request| is(request).then(&answer));
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", truth.url()));
    if asked.registered {
        machine.registers(KEY);
    }
    let before = contents(&machine);
    let begin = Instant::now();
    let url = liar.url();
    let arguments = [asked.arguments, &["--server", &url, "--timeout", "1", "--json"]].concat();
    let run = machine.agent(&arguments);
    assert!(begin.elapsed() < MOST, "{at}: {:?}\n{run}", begin.elapsed());
    assert_eq!(run.code, Some(7), "{at}\n{run}");
    let code = run.json()["error"]["code"].clone();
    assert!(["bad-answer", "unreachable", "repository-refused"].iter().any(|known| code == *known), "{at}\n{run}");
    assert!(!run.text().chars().any(|c| c.is_control() && c != '\n'), "{at}\n{run}");
    if !asked.registered {
        for path in [REPO, TOKEN, STATE] {
            assert!(!machine.has(path), "{at}: {path}\n{run}");
        }
    } else if asked.name == "DELETE" {
        // It may have been carried out: the repositories stay off, and all that is needed to finish is there.
        for path in [TOKEN, STATE] {
            assert!(machine.has(path), "{at}: {path}\n{run}");
        }
        assert!(!machine.has(REPO), "{at}\n{run}");
    } else {
        assert_eq!(contents(&machine), before, "{at}\n{run}");
    }
}

/// What is said in place of an answer, and its name.
type Lie = (&'static str, fn() -> Answer);

/// Each lie told to each request; those of one request at the same time, since most of it is waiting.
fn all(lies: &[Lie]) {
    for asked in &ASKED {
        std::thread::scope(|scope| {
            for (name, lie) in lies {
                scope.spawn(move || holds_out(asked, name, *lie));
            }
        });
    }
}

fn drip(first: &str, drops: &str) -> Answer {
    Answer::Drip(first.as_bytes().to_vec(), drops.repeat(1000).into_bytes(), Duration::from_millis(100))
}

/// Promise: network-hostile
#[test]
fn answers_that_drip_end_with_the_timeout() {
    all(&[
        ("a status line that drips", || drip("", "HTTP/1.1 200 OK")),
        ("a header that drips", || drip(HEAD, "X-Slow: 1\r\n")),
        ("a body that drips", || drip(&format!("{HEAD}Content-Length: 5000\r\n\r\n{{"), " ")),
        ("chunks that drip", || drip(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"), "1\r\n \r\n")),
        ("a body without a length that drips", || drip(&format!("{HEAD}Connection: close\r\n\r\n"), " ")),
    ]);
}

/// Promise: network-hostile
#[test]
fn answers_without_end_are_cut_off() {
    all(&[
        ("headers without end", || Answer::Endless(HEAD.into(), "X-More: x\r\n".repeat(100).into_bytes())),
        ("one header without end", || Answer::Endless(format!("{HEAD}X-Long: ").into_bytes(), vec![b'x'; 1000])),
        ("a body without end", || Answer::Endless(format!("{HEAD}Connection: close\r\n\r\n").into(), vec![b' '; 1000])),
        ("chunks without end", || {
            Answer::Endless(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").into(), b"4\r\n    \r\n".repeat(100))
        }),
        ("a chunk size without end", || {
            Answer::Endless(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").into(), vec![b'0'; 1000])
        }),
        ("trailers without end", || {
            let head = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n");
            Answer::Endless(head.into(), "X-More: x\r\n".repeat(100).into_bytes())
        }),
        ("go on, go on", || Answer::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50))),
        ("early hints without end", || Answer::Endless(Vec::new(), b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50))),
        ("the largest length", || {
            Answer::Endless(format!("{HEAD}Content-Length: 18446744073709551615\r\n\r\n").into(), vec![b' '; 1000])
        }),
    ]);
}

/// Promise: network-hostile
#[test]
fn half_http_or_another_protocol_is_not_accepted() {
    fn raw(text: &str) -> Answer {
        Answer::Raw(text.as_bytes().to_vec())
    }
    all(&[
        ("nothing", || Answer::Hangup),
        ("HTTP/0.9", || raw("<html>Please sign in</html>")),
        ("another protocol", || raw("220 mail.example.com ESMTP\r\n")),
        ("HTTP/2", || Answer::Raw(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64".to_vec())),
        ("a version that does not exist", || raw("HTTP/9.9 200 OK\r\nEls-Api: 1\r\n\r\n")),
        ("a status of no meaning", || raw("HTTP/1.1 999 X\r\nEls-Api: 1\r\nContent-Length: 0\r\n\r\n")),
        ("no status", || raw("HTTP/1.1 \r\n\r\n")),
        ("two lengths", || raw(&format!("{HEAD}Content-Length: 2\r\nContent-Length: 500\r\n\r\n{{}}"))),
        ("a length and chunks", || {
            raw(&format!("{HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
        }),
        ("a length below nothing", || raw(&format!("{HEAD}Content-Length: -1\r\n\r\n{{}}"))),
        ("a header without a colon", || raw(&format!("{HEAD}nonsense\r\nContent-Length: 2\r\n\r\n{{}}"))),
        ("a header with a NUL", || raw(&format!("{HEAD}X-A: a\0b\r\nContent-Length: 2\r\n\r\n{{}}"))),
        ("a header that steers", || raw("HTTP/1.1 500 X\r\nX-Request-Id: \u{1b}[2J\r\nContent-Length: 0\r\n\r\n")),
        ("half a body", || raw(&format!("{HEAD}Content-Length: 500\r\n\r\n{{"))),
        ("half a chunk", || raw(&format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nff\r\n{{"))),
        ("a coding that was not asked for", || {
            raw(&format!("{HEAD}Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\u{1f}x"))
        }),
        ("a redirect to itself", || raw("HTTP/1.1 307 X\r\nEls-Api: 1\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")),
        ("a portal", || raw("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")),
        ("a stranger's 204 with a body", || raw("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}")),
        ("another protocol is offered", || {
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: els\r\nConnection: upgrade\r\n\r\n")
        }),
    ]);
}

/// The machine of a server that speaks TLS, and the file of the authority that it is to trust.
fn machine_that_trusts(authority: &Authority) -> Machine {
    let machine = Machine::new();
    machine.trusts(authority.pem());
    machine
}

/// Promise: network-hostile
#[test]
fn no_request_is_sent_to_a_host_with_another_certificate_or_none() {
    let authority = Authority::new("An authority");
    let stranger = Authority::new("A stranger");
    for (name, certificate) in [
        ("another host's", authority.certificate_for(&["els.example.com", "127.0.0.2", "::1"])),
        ("a name that looks like the address", authority.certificate_for(&["127.0.0.1.example.com"])),
        ("signed by itself", Authority::self_signed_certificate()),
        ("another authority's", stranger.server_certificate()),
        ("expired", authority.expired_certificate()),
    ] {
        let server = Scripted::backend_with_tls(&certificate, usize::MAX, |_| None);
        let truth = Scripted::backend(|_| None);
        let machine = machine_that_trusts(&authority);
        machine.write(
            "/etc/els-register.toml",
            &format!("server = \"{}\"\nca_file = \"/etc/pki/els/ca.pem\"\n", truth.url()),
        );
        let fresh = contents(&machine);
        let run = machine.agent(&["--key", KEY, "--server", &server.url(), "--timeout", "5", "--json"]);
        assert_eq!((run.code, &run.json()["error"]["code"]), (Some(7), &"unreachable".into()), "{name}\n{run}");
        assert!(run.text().contains("TLS"), "{name}\n{run}");
        assert_eq!(contents(&machine), fresh, "nothing was sent, so nothing is left: {name}");
        machine.registers(KEY);
        let registered = contents(&machine);
        for action in ["--status", "--refresh", "--unregister"] {
            machine.agent(&[action, "--server", &server.url(), "--timeout", "5"]).exits(7).says("TLS");
            assert_eq!(contents(&machine), registered, "{name}: {action}");
        }
        assert!(server.requests().is_empty(), "{name}: {:?}", server.log());
    }
}

/// Promise: network-hostile
#[test]
fn tls_that_is_cut_anywhere_is_not_accepted() {
    let authority = Authority::new("An authority");
    let certificate = authority.server_certificate();
    let machine = machine_that_trusts(&authority);
    let write = |url: &str| {
        machine.write("/etc/els-register.toml", &format!("server = \"{url}\"\nca_file = \"/etc/pki/els/ca.pem\"\n"));
    };
    // All that is sent up to the end of the answer to the PUT, cut at regular distances.
    let whole = Scripted::backend_with_tls(&certificate, usize::MAX, |_| None);
    write(&whole.url());
    machine.agent(&["--key", KEY]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    let fresh = machine.files();
    let (mut refused, mut answered) = (0, 0);
    for most in (1..4000).step_by(if std::env::var_os("ELS_SOAK").is_some() { 1 } else { 61 }) {
        let server = Scripted::backend_with_tls(&certificate, most, |_| None);
        write(&server.url());
        let run = machine.agent(&["--key", KEY, "--timeout", "5", "--json"]);
        if run.code == Some(0) {
            machine.agent(&["--unregister", "--server", &whole.url()]).succeeds();
            answered += 1;
            continue;
        }
        assert_eq!(run.code, Some(7), "after {most} bytes\n{run}");
        for path in [REPO, TOKEN, STATE] {
            assert!(!machine.has(path), "{path} after {most} bytes\n{run}");
        }
        write(&whole.url());
        machine.agent(&["--unregister", "--server", &whole.url(), "--force"]).succeeds();
        assert_eq!(machine.files(), fresh, "after {most} bytes");
        refused += 1;
    }
    assert!(refused > 10 && answered > 10, "{refused} refused, {answered} answered");
}

/// Promise: network-hostile
#[test]
fn an_answer_whose_end_only_the_end_of_tls_could_tell_is_not_believed_when_tls_was_cut() {
    let authority = Authority::new("An authority");
    let certificate = authority.server_certificate();
    for (cut, exit) in [(false, 0), (true, 7)] {
        let server = Scripted::backend_with_tls(&certificate, usize::MAX, move |request| {
            (request.method == "PUT").then(|| {
                // No length: the answer ends where the connection does.
                let bytes = format!("{HEAD}Connection: close\r\n\r\n{}", registration(request)).into_bytes();
                if cut { Answer::Cut(bytes) } else { Answer::Raw(bytes) }
            })
        });
        let machine = machine_that_trusts(&authority);
        machine.write(
            "/etc/els-register.toml",
            &format!("server = \"{}\"\nca_file = \"/etc/pki/els/ca.pem\"\n", server.url()),
        );
        let run = machine.agent(&["--key", KEY, "--timeout", "5"]).exits(exit);
        assert_eq!(machine.has(TOKEN), exit == 0, "{run}");
    }
}
