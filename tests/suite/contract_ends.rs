//! What dnf sees when a contract ends, is suspended and comes back: never a broken dnf, for root or for anybody else, and
//! no work on the machine when it is good again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use els_testkit::{Backend, Key, Machine, Repository, wait_until};

/// A machine that has installed `example` 1.0-1, while 1.0-2 is in the repository.
struct Customer {
    repository: Arc<Repository>,
    backend: Backend,
    key: Key,
    machine: Machine,
}

fn customer() -> Customer {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let key = backend.key(1);
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&key.key);
    machine.dnf(&["install", "example-1.0-1"]).succeeds();
    Customer { repository, backend, key, machine }
}

impl Customer {
    /// Waits until the gate answers with this status, for as long as the contract gives a node to learn of a change.
    #[track_caller]
    fn wait_for_the_gate(&self, status: &str) {
        let begin = Instant::now();
        while self.machine.asks_the_gate() != status {
            assert!(begin.elapsed() < Duration::from_secs(5), "the gate has not learnt of the change");
        }
    }

    /// The credential is refused, and dnf goes on without our sections.
    #[track_caller]
    fn is_cut_off(&self, code: &str) {
        self.wait_for_the_gate("403");
        let status = self.machine.agent(&["--status", "--json"]).exits(11).json();
        assert_eq!(status["error"]["code"], code, "{status}");
        assert_eq!(status["state"], "refused", "{status}");
        for run in
            [self.machine.dnf(&["--refresh", "list", "example"]), self.machine.dnf_as_nobody(&["list", "example"])]
        {
            run.succeeds().says("Ignoring repositories").says("els-updates").does_not_say("1.0-2");
        }
        self.machine.dnf(&["--refresh", "update"]).succeeds();
        assert_eq!(self.machine.installed("example").as_deref(), Some("1.0-1"));
    }

    /// The credential is good, without anything having been done on the machine.
    #[track_caller]
    fn is_served_again(&self) {
        self.wait_for_the_gate("200");
        self.machine.agent(&["--status"]).succeeds();
        self.machine.dnf(&["--refresh", "update"]).succeeds();
        assert_eq!(self.machine.installed("example").as_deref(), Some("1.0-2"));
    }
}

/// Promise: status-not-accepted
#[test]
fn an_expired_contract_leaves_dnf_working_and_a_renewal_needs_no_work_on_the_machine() {
    let customer = customer();
    let written = customer.machine.files();
    customer.backend.command(&["key", "update", &customer.key.id, "--expires", "2020-01-31"]).succeeds();
    customer.is_cut_off("key-expired");

    // No machine gets a new seat; every machine keeps the one it has.
    let other = Machine::configured_for(&customer.backend, &customer.repository);
    let refused = other.agent(&["--key", &customer.key.key, "--json"]).exits(5).json();
    assert_eq!(refused["error"]["code"], "key-expired", "{refused}");
    assert_eq!(customer.backend.seats(&customer.key).len(), 1);

    customer.backend.command(&["key", "update", &customer.key.id, "--expires", "2099-12-31"]).succeeds();
    customer.is_served_again();
    assert_eq!(customer.machine.files(), written);
}

/// Promise: files-dnf-goes-on
#[test]
fn a_suspended_key_leaves_dnf_working_and_resuming_needs_no_work_on_the_machine() {
    let customer = customer();
    customer.backend.command(&["key", "suspend", &customer.key.id]).succeeds();
    customer.is_cut_off("key-suspended");
    customer.backend.command(&["key", "resume", &customer.key.id]).succeeds();
    customer.is_served_again();
}

/// Promise: unregister-any-key
/// Promise: seat-release-any-key
#[test]
fn a_machine_can_release_its_seat_in_whatever_way_its_key_ended() {
    let repository = Repository::shared();
    let backend = Backend::with_repository(&repository.root());
    let ends: [(&[&str], &[&str]); 3] =
        [(&["key", "update"], &["--expires", "2020-01-31"]), (&["key", "suspend"], &[]), (&["key", "revoke"], &[])];
    for (before, after) in ends {
        let key = backend.key(1);
        let machine = Machine::configured_for(&backend, &repository);
        machine.registers(&key.key);
        backend.command(&[before, &[&key.id], after].concat()).succeeds();
        wait_until("the new state of the key", || machine.agent(&["--status"]).code == Some(11));
        machine.agent(&["--unregister"]).succeeds();
        assert_eq!(backend.seats(&key).len(), 0, "{before:?}");
        assert!(!machine.has("/etc/yum.repos.d/els.repo"));
    }
    backend.agrees_with_itself();
}

/// Promise: seat-expiry
#[test]
fn grace_keeps_a_known_machine_going_after_expiry_and_takes_no_new_one() {
    let repository = Repository::shared();
    let settings = els_testkit::Settings::default().repository(&repository.root());
    let mut backend = settings.argument("--grace").argument("36500").start();
    let key = backend.key(2);
    let machine = Machine::configured_for(&backend, &repository);
    machine.registers(&key.key);
    backend.command(&["key", "update", &key.id, "--expires", "2020-01-31"]).succeeds();

    let other = Machine::configured_for(&backend, &repository);
    wait_until("the new expiry", || other.agent(&["--key", &key.key]).code == Some(5));
    // A gate that has just begun knows nothing from before the change.
    backend.crash_and_restart();
    machine.dnf(&["install", "example"]).succeeds();
    machine.agent(&["--status"]).succeeds();
    assert_eq!(backend.seats(&key).len(), 1);
}

/// Promise: files-dnf-goes-on
#[test]
fn users_who_may_not_read_the_token_keep_a_working_dnf() {
    let customer = customer();
    // Unlike root, they get 401 with the variable unexpanded, and dnf names what it ignores.
    let run = customer.machine.dnf_as_nobody(&["list", "example"]).succeeds();
    run.says("Ignoring repositories").says("els-updates").says("1.0-1").does_not_say("1.0-2");
    customer.machine.dnf(&["list", "example"]).succeeds().says("1.0-2");

    // What makes it so is our line in each section: with EL's dnf.conf alone, every command of theirs would fail.
    let file = customer.machine.read("/etc/yum.repos.d/els.repo");
    customer.machine.write("/etc/yum.repos.d/els.repo", &file.replace("skip_if_unavailable=1\n", ""));
    customer.machine.dnf_as_nobody(&["list", "example"]).fails();
}
