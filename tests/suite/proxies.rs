//! The way through a proxy: a real squid, whose access log says who came, and a backend whose log says that nobody came
//! another way.

use std::sync::Arc;

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
        self.nobody_came_another_way();
    }

    #[track_caller]
    fn nobody_came_another_way(&self) {
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
    // dnf reads dnf.conf alone: it would not find the way.
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
    network.nobody_came_another_way();
    network.machine.agent(&["--unregister"]).succeeds();
    network.nobody_came_another_way();
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
    network.nobody_came_another_way();
}

/// Promise: proxy-sources
#[test]
fn the_flag_goes_before_the_configuration_before_the_environment_before_dnf_conf() {
    let network = Network::open();
    // Nobody listens there: whoever took one of these would fail.
    let nobody = "http://127.0.0.1:1";
    let conf = network.machine.read("/etc/dnf/dnf.conf");
    network.machine.write("/etc/dnf/dnf.conf", &format!("{conf}proxy={nobody}\n"));
    network.register_in(&[("https_proxy", &network.squid.url())]).succeeds();
    network.machine.configure(network.backend.url(), &format!("proxy = \"{}\"", network.squid.url()));
    network.register_in(&[("https_proxy", nobody)]).succeeds();
    network.machine.configure(network.backend.url(), &format!("proxy = \"{nobody}\""));
    let url = network.squid.url();
    run(network.machine.agent_command(&["--key", &network.key.key, "--proxy", &url]).env("https_proxy", nobody))
        .succeeds();
    network.nobody_came_another_way();
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
