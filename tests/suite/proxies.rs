//! The way through a proxy: a real squid, whose access log says who came, and a backend whose log says that nobody came
//! another way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use els_testkit::scripted::{Answer, Scripted};
use els_testkit::{Access, Backend, Key, Machine, Repository, Run, SQUID_ADDRESS, Squid, run};

const USER: &str = "carol";
const PASSWORD: &str = "pa55-w0rd-of-the-proxy";

struct Network {
    squid: Squid,
    repository: Arc<Repository>,
    backend: Backend,
    key: Key,
    machine: Machine,
}

impl Network {
    fn with(squid: Squid) -> Network {
        let repository = Repository::shared();
        let backend = Backend::with_repository(&repository.root());
        let key = backend.key(1);
        let machine = Machine::configured_for(&backend, &repository);
        Network { squid, repository, backend, key, machine }
    }

    fn open() -> Network {
        Network::with(Squid::open())
    }

    fn with_password() -> Network {
        Network::with(Squid::with_password(USER, PASSWORD))
    }

    #[track_caller]
    fn register_in(&self, environment: &[(&str, &str)]) -> Run {
        run(self.machine.agent_command(&["--key", &self.key.key]).envs(environment.iter().copied()))
    }

    /// The agent's registration went through squid and no other way: a tunnel for the PUT and one for the probe at most,
    /// both to the backend.
    #[track_caller]
    fn was_asked_through_the_proxy(&self, user: &str) {
        let accesses = self.squid.wait_for_accesses(1);
        let tunnel = Access {
            method: "CONNECT".into(),
            target: self.backend.address().to_owned(),
            status: "200".into(),
            user: user.into(),
        };
        assert!((1..=2).contains(&accesses.len()), "{accesses:?}");
        assert!(accesses.iter().all(|access| *access == tunnel), "{accesses:?}");
        self.no_other_way_was_used();
    }

    #[track_caller]
    fn no_other_way_was_used(&self) {
        let clients = self.backend.clients();
        assert!(!clients.is_empty(), "the backend was asked");
        assert!(clients.iter().all(|client| client == SQUID_ADDRESS), "{clients:?}");
    }
}

/// Promise: proxy-warnings
#[test]
fn the_proxy_of_the_flag_is_used_and_dnf_is_told_of() {
    let network = Network::open();
    let url = network.squid.url();
    let run = network.machine.agent(&["--key", &network.key.key, "--proxy", &url]).succeeds();
    run.says("/etc/dnf/dnf.conf").says(&format!("proxy={url}"));
    network.was_asked_through_the_proxy("-");
}

/// Promise: proxy-sources
#[test]
fn the_proxy_of_the_flag_is_used_with_its_password() {
    let network = Network::with_password();
    let url = network.squid.url_with(USER, PASSWORD);
    network.machine.agent(&["--key", &network.key.key, "--proxy", &url]).succeeds().does_not_say(PASSWORD);
    network.was_asked_through_the_proxy(USER);
}

/// Promise: proxy-sources
#[test]
fn the_proxy_of_the_configuration_is_used() {
    let network = Network::open();
    network.machine.configure(network.backend.url(), &format!("proxy = \"{}\"", network.squid.url()));
    network.register_in(&[]).succeeds().says("/etc/dnf/dnf.conf");
    network.was_asked_through_the_proxy("-");
}

#[test]
fn the_proxy_of_the_configuration_is_used_with_its_password_and_an_open_file_is_warned_of() {
    let network = Network::with_password();
    let line = format!("proxy = \"{}\"", network.squid.url_with(USER, PASSWORD));
    network.machine.configure(network.backend.url(), &line);
    // The file has mode 0644: others can read the password.
    network.register_in(&[]).succeeds().does_not_say(PASSWORD).says("/etc/els-register.toml");
    network.was_asked_through_the_proxy(USER);
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy"] {
        let network = Network::open();
        network.register_in(&[(name, &network.squid.url())]).succeeds();
        network.was_asked_through_the_proxy("-");
    }
}

/// Promise: proxy-sources
#[test]
fn the_proxy_of_the_environment_is_used_with_its_password() {
    let network = Network::with_password();
    let url = network.squid.url_with(USER, PASSWORD);
    network.register_in(&[("https_proxy", &url)]).succeeds().does_not_say(PASSWORD);
    network.was_asked_through_the_proxy(USER);
}

/// Promise: proxy-sources
#[test]
fn a_host_in_no_proxy_is_reached_directly() {
    for exempt in ["127.0.0.1", "localhost, 127.0.0.1", "*"] {
        let network = Network::open();
        network.register_in(&[("https_proxy", &network.squid.url()), ("no_proxy", exempt)]).succeeds();
        assert_eq!(network.squid.accesses(), [], "no_proxy={exempt}");
        assert!(!network.backend.clients().contains(SQUID_ADDRESS), "no_proxy={exempt}");
    }
    let network = Network::open();
    network.register_in(&[("https_proxy", &network.squid.url()), ("no_proxy", "example.com,10.0.0.1")]).succeeds();
    network.was_asked_through_the_proxy("-");
}

#[test]
fn the_proxy_of_dnf_conf_is_used_by_the_agent_and_by_dnf() {
    let network = Network::open();
    let conf = network.machine.read("/etc/dnf/dnf.conf");
    network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy={}\n", network.squid.url()));
    // dnf knows it already: nothing is to be said.
    network.register_in(&[]).succeeds().does_not_say("dnf.conf");
    network.was_asked_through_the_proxy("-");
    network.machine.dnf(&["install", "example"]).succeeds();
    network.no_other_way_was_used();
    network.machine.agent(&["--unregister"]).succeeds();
    network.no_other_way_was_used();
}

/// Promise: proxy-sources
#[test]
fn the_proxy_of_dnf_conf_is_used_with_its_password_by_the_agent_and_by_dnf() {
    let network = Network::with_password();
    let conf = network.machine.read("/etc/dnf/dnf.conf");
    let lines = format!("proxy={}\nproxy_username={USER}\nproxy_password={PASSWORD}\n", network.squid.url());
    network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}{lines}"));
    network.register_in(&[]).succeeds().does_not_say(PASSWORD);
    network.was_asked_through_the_proxy(USER);
    network.machine.dnf(&["install", "example"]).succeeds();
    network.machine.dnf(&["install", "mirrored"]).succeeds();
    network.no_other_way_was_used();
}

/// Promise: proxy-sources
#[test]
fn the_flag_goes_before_the_configuration_before_dnf_conf_before_the_environment() {
    let network = Network::open();
    // Nothing listens there: a run that used one of these would fail.
    let nobody = "http://127.0.0.1:1";
    let conf = network.machine.read("/etc/dnf/dnf.conf");
    let dnf_conf = |proxy: &str| network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy={proxy}\n"));
    dnf_conf(&network.squid.url());
    network.register_in(&[("https_proxy", nobody)]).succeeds();
    dnf_conf(nobody);
    network.machine.configure(network.backend.url(), &format!("proxy = \"{}\"", network.squid.url()));
    network.register_in(&[("https_proxy", nobody)]).succeeds();
    network.machine.configure(network.backend.url(), &format!("proxy = \"{nobody}\""));
    let url = network.squid.url();
    run(network.machine.agent_command(&["--key", &network.key.key, "--proxy", &url]).env("https_proxy", nobody))
        .succeeds();
    network.no_other_way_was_used();
}

/// Promise: network-failure-named
#[test]
fn a_wrong_proxy_password_is_named_and_takes_no_seat() {
    let network = Network::with_password();
    let before = network.machine.files();
    let wrong = "not-the-pa55word";
    let url = network.squid.url_with(USER, wrong);
    let refused = network.machine.agent(&["--key", &network.key.key, "--proxy", &url]).exits(7);
    refused.says("407").says("proxy").does_not_say(wrong).does_not_say(PASSWORD);
    let refused = network.machine.agent(&["--key", &network.key.key, "--proxy", &url, "--json"]).exits(7);
    assert_eq!(refused.json()["error"]["code"], "unreachable", "{refused}");
    refused.does_not_say(wrong);
    let missing = network.machine.agent(&["--key", &network.key.key, "--proxy", &network.squid.url()]).exits(7);
    missing.says("407");

    assert!(network.squid.wait_for_accesses(3).iter().all(|access| access.status == "407"));
    assert!(network.backend.clients().is_empty(), "the backend was never asked");
    assert_eq!(network.backend.seats(&network.key).len(), 0);
    // What was begun may be remembered, so that the next run resumes it; nothing else has changed.
    let after: Vec<_> = network.machine.files().into_iter().filter(|path| !path.ends_with("pending.json")).collect();
    assert_eq!(after, before);

    network.machine.agent(&["--key", &network.key.key, "--proxy", &network.squid.url_with(USER, PASSWORD)]).succeeds();
    assert_eq!(network.backend.seats(&network.key).len(), 1);
    let _ = &network.repository;
}

/// Promise: proxy-sources
#[test]
fn no_proxy_holds_for_the_proxy_of_dnf_conf_and_none_means_no_proxy_as_for_dnf() {
    let network = Network::open();
    let conf = network.machine.read("/etc/dnf/dnf.conf");
    let nobody = "http://127.0.0.1:1";
    network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy={nobody}\n"));
    network.register_in(&[("no_proxy", "127.0.0.1")]).succeeds();
    let dnf = |variable: &str| {
        let words = ["env", variable, "dnf", "--assumeyes", "--refresh", "makecache"];
        run(&mut network.machine.inside(&words))
    };
    let metadata = "Metadata cache created";
    assert!(dnf("no_proxy=127.0.0.1").text().contains(metadata));
    network.machine.agent(&["--key", &network.key.key, "--proxy", "none"]).succeeds();
    network.machine.configure(network.backend.url(), "proxy = \"none\"");
    network.register_in(&[("https_proxy", nobody)]).succeeds();
    network.machine.configure(network.backend.url(), "");
    network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy=_none_\n"));
    network.register_in(&[("https_proxy", nobody)]).succeeds();
}

/// Promise: proxy-warnings
#[test]
fn dnf_follows_the_proxy_variables_of_its_own_environment() {
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy"] {
        let network = Network::open();
        let warned = network.register_in(&[(name, &network.squid.url())]).succeeds();
        warned.says("dnf follows it too").says("timer or a service");
        let before = network.squid.wait_for_accesses(1).len();
        let words = ["env", &format!("{name}={}", network.squid.url()), "dnf", "--assumeyes", "--refresh", "makecache"];
        run(&mut network.machine.inside(&words)).succeeds();
        network.squid.wait_for_accesses(before + 1);
        network.no_other_way_was_used();
    }
}

/// Promise: proxy-kind
#[test]
fn a_socks_proxy_is_used_by_the_agent_and_by_dnf() {
    for scheme in ["socks5h", "socks5", "socks4a", "socks4"] {
        let network = Network::open();
        let (port, tunnels) = socks_proxy();
        let conf = network.machine.read("/etc/dnf/dnf.conf");
        network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy={scheme}://127.0.0.1:{port}\n"));
        network.register_in(&[]).succeeds().does_not_say("dnf.conf");
        let of_agent = tunnels.load(Ordering::Relaxed);
        assert!(of_agent > 0, "{scheme}");
        network.machine.dnf(&["install", "example"]).succeeds();
        assert!(tunnels.load(Ordering::Relaxed) > of_agent, "{scheme}");
    }
}

/// Promise: proxy-refusal-named
#[test]
fn what_a_proxy_answers_is_named_and_a_host_that_it_cannot_reach_is_not_blamed_on_the_password() {
    let login = "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n";
    for (answer, says, never) in [
        (format!("407 Login\r\n{login}"), "Negotiate, NTLM", "check the proxy's user name"),
        (
            "407 Login\r\nProxy-Authenticate: Digest realm=\"a\"\r\n".into(),
            "only offers Digest",
            "check the proxy's user",
        ),
        ("407 Login\r\nProxy-Authenticate: Basic realm=\"a\"\r\n".into(), "refused the user name", "offers"),
        ("503 Unavailable\r\n".into(), "cannot reach the host (503)", "user name"),
        ("502 Bad Gateway\r\n".into(), "cannot reach the host (502)", "user name"),
        ("403 Forbidden\r\n".into(), "does not allow this host", "user name"),
    ] {
        let text = format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n");
        let proxy = Scripted::start(move |_| Answer::Raw(text.clone().into_bytes()));
        let url = proxy.url().replace("http://", "http://carol:secret@");
        let arguments = ["--seats", "--key", "TEST-KEY-0001", "--server", "https://els.example.com", "--proxy", &url];
        Machine::new().agent(&arguments).exits(7).says(says).does_not_say(never).does_not_say("secret");
    }
    // A real squid that cannot reach the host answers 503.
    let squid = Squid::open();
    let arguments = ["--seats", "--key", "TEST-KEY-0001", "--server", "https://127.0.0.1:1", "--proxy", &squid.url()];
    Machine::new().agent(&arguments).exits(7).says("cannot reach the host (503)").says("login is not the cause");
}

/// A SOCKS proxy of versions 4, 4a and 5 without a login: its port, and how many tunnels it has opened.
fn socks_proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it works on this computer");
    let port = listener.local_addr().expect("it works on this computer").port();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = tunnels.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = count.clone();
            std::thread::spawn(move || tunnel(client, &count));
        }
    });
    (port, tunnels)
}

/// Serves one client; anything unexpected ends the connection.
fn tunnel(mut client: TcpStream, count: &AtomicUsize) -> Option<()> {
    let [version] = bytes(&mut client)?;
    let (target, reply) = if version == 5 {
        let [methods] = bytes(&mut client)?;
        client.read_exact(&mut vec![0; usize::from(methods)]).ok()?;
        client.write_all(&[5, 0]).ok()?;
        let [_, _, _, kind] = bytes(&mut client)?;
        let host = match kind {
            1 => std::net::Ipv4Addr::from(bytes::<4>(&mut client)?).to_string(),
            3 => {
                let mut name = vec![0; usize::from(bytes::<1>(&mut client)?[0])];
                client.read_exact(&mut name).ok()?;
                String::from_utf8(name).ok()?
            }
            _ => return None,
        };
        (format!("{host}:{}", u16::from_be_bytes(bytes(&mut client)?)), vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    } else {
        let [_, high, low, address @ ..] = bytes::<7>(&mut client)?;
        while bytes::<1>(&mut client)? != [0] {}
        let mut host = std::net::Ipv4Addr::from(address).to_string();
        if address[..3] == [0, 0, 0] {
            host.clear();
            loop {
                let [byte] = bytes(&mut client)?;
                if byte == 0 {
                    break;
                }
                host.push(char::from(byte));
            }
        }
        (format!("{host}:{}", u16::from_be_bytes([high, low])), vec![0, 90, 0, 0, 0, 0, 0, 0])
    };
    let mut server = TcpStream::connect(target).ok()?;
    client.write_all(&reply).ok()?;
    count.fetch_add(1, Ordering::Relaxed);
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(Shutdown::Write).ok()
}

fn bytes<const LENGTH: usize>(stream: &mut TcpStream) -> Option<[u8; LENGTH]> {
    let mut found = [0; LENGTH];
    stream.read_exact(&mut found).ok().map(|()| found)
}
