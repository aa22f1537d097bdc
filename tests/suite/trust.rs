//! Whom the agent believes: a backend with a certificate that the machine trusts, and nobody else; and what it says while
//! the backend is away.

use els_testkit::{Authority, Backend, Machine, Repository, program, run};

/// Promise: network-failure-named
/// Promise: network-trust
#[test]
fn no_request_is_sent_to_a_backend_with_the_certificate_of_another_authority() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    machine.trusts(Authority::new("Another authority").pem());

    let refused = machine.agent(&["--key", &key.key, "--json"]).exits(7);
    assert_eq!(refused.json()["error"]["code"], "unreachable", "{refused}");
    machine.agent(&["--key", &key.key]).exits(7).says("certificate").does_not_say(&key.key);
    assert_eq!(backend.seats(&key).len(), 0);
    assert!(!machine.has("/etc/dnf/vars/els_token"));

    // The flag names a file of this computer, and is enough.
    let ca = backend.ca_file();
    machine.agent(&["--key", &key.key, "--ca-file", ca.to_str().expect("a path in UTF-8")]).succeeds();
}

/// Promise: network-trust
#[test]
fn an_authority_that_only_the_agent_knows_is_warned_of_since_dnf_would_fail() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let machine = Machine::configured_for(&backend, &repository);
    machine.agent(&["--key", &backend.key(1).key]).succeeds().says("update-ca-trust");
}

/// Promise: status-backend-down
/// Promise: unregister-refused
#[test]
fn while_the_backend_is_away_a_machine_keeps_what_it_has_and_afterwards_all_that_was_answered_is_there() {
    let repository = Repository::shared();
    let mut backend = Backend::with_repository(&repository.root());
    let key = backend.key(2);
    let [machine, other] = [(); 2].map(|()| Machine::configured_for(&backend, &repository));
    let registration = machine.registers(&key.key);
    let files = machine.files();
    backend.stop();

    machine.agent(&["--status", "--timeout", "2"]).exits(7).says(registration["id"].as_str().expect("an id"));
    machine.agent(&["--status", "--offline"]).succeeds();
    machine.agent(&["--unregister", "--timeout", "2"]).exits(7);
    assert_eq!(machine.files(), files, "nobody was there, so nothing has changed");
    other.agent(&["--key", &key.key, "--timeout", "2"]).exits(7);
    machine.dnf(&["--refresh", "makecache"]).succeeds();

    backend.start_again();
    machine.agent(&["--status"]).succeeds();
    machine.dnf(&["--refresh", "install", "example"]).succeeds();
    other.agent(&["--key", &key.key]).succeeds();
    backend.crash_and_restart();
    assert_eq!(backend.seats(&key).len(), 2);
    other.agent(&["--unregister"]).succeeds();
    machine.agent(&["--unregister"]).succeeds();
    assert_eq!(backend.seats(&key).len(), 0);
    backend.agrees_with_itself();
}

#[test]
fn health_and_metrics_are_only_on_the_admin_listener() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let status = |url: &str| {
        let mut curl = std::process::Command::new(program("curl"));
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert"]);
        run(curl.arg(backend.ca_file()).arg(url)).succeeds().stdout
    };
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&format!("{}{path}", backend.admin_url())), "200", "{path}");
        let public = status(&format!("{}{path}", backend.url()));
        assert!(public.starts_with('4'), "{path}: {public}");
    }
}
