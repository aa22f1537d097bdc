//! A backend inside the test's process, on free ports, whose clock and database the test controls.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use els_backend::products::Products;
use els_backend::serve::{Options, Running, start};
use els_ledger::{
    Administration, By, Created, KeyChange, KeyId, KeyUpdate, NewKey, Opening, Policy, Scope, SqliteStore, StateChange,
};
use els_protocol::{LicenseKey, RegistrationId, Timestamp, Token};
use els_testkit::http::{Answer, ask, basic};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tracing_subscriber::fmt::MakeWriter;

use super::http_store::Watched;

/// A backend and all that it stands on. Ends with the test.
pub(crate) struct World {
    runtime: Option<Runtime>,
    running: Option<Running>,
    pub(crate) store: Arc<Watched>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) staff: SocketAddr,
    clock: Arc<AtomicI64>,
    log: Log,
    folder: tempfile::TempDir,
}

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;

impl World {
    pub(crate) fn new() -> Self {
        World::with(|_| {})
    }

    /// A world whose options `change` has changed.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let products = Arc::new(Products::parse("products.toml".as_ref(), PRODUCTS).unwrap());
        let covers = products.clone();
        let policy = Policy {
            covers: Arc::new(move |product, os, arch| covers.covers(product, os, arch)),
            grace_seconds: 10 * DAY,
        };
        let store = SqliteStore::open(&folder.path().join("els.db"), Opening::Creating, policy).unwrap();
        let store = Arc::new(Watched::new(store));
        let clock = Arc::new(AtomicI64::new(NOW));
        let log = Log::default();
        let dispatch = tracing::Dispatch::new(
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(log.clone()).finish(),
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            // The log of this backend alone, though other tests run beside it.
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
            .build()
            .unwrap();
        let time = clock.clone();
        let mut options = Options {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            staff_listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
            staff_url: None,
            zone: jiff::tz::TimeZone::get("Asia/Tokyo").unwrap(),
            public_url: None,
            repo_url: None,
            repo_root: None,
            tls: None,
            plain_http: false,
            trusted_proxies: Vec::new(),
            grace_seconds: 10 * DAY,
            gate_stale: Duration::from_secs(300),
            products,
            clock: Arc::new(move || Timestamp::from_unix(time.load(Ordering::SeqCst))),
        };
        change(&mut options);
        let running = runtime.block_on(runtime.spawn(start(options, store.clone()))).unwrap().unwrap();
        let (listen, admin) = (running.listen, running.admin_listen);
        let staff = running.staff_listen.unwrap();
        World { runtime: Some(runtime), running: Some(running), store, listen, admin, staff, clock, log, folder }
    }

    /// Runs a future of the store's on this world's threads.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.load(Ordering::SeqCst))
    }

    /// The folder of the database.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// All that was logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    /// Makes a key with this number of seats that expires in 100 days.
    pub(crate) fn key(&self, name: &str, seats: u64) -> LicenseKey {
        let mut bytes = [0; 15];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let key = LicenseKey::from_random(bytes);
        let new = NewKey {
            id: KeyId::parse(name).unwrap(),
            product: "almalinux-9-els".into(),
            seats,
            starts: None,
            expires: Timestamp::from_unix(NOW + 100 * DAY),
            contract: Some(format!("contract-{name}")),
            reseller: None,
            note: None,
            release_unseen_after: None,
            self_release: true,
            imported: false,
        };
        let made = self.block_on(self.store.create_key(self.now(), By::vendor(), new, key.hash())).unwrap();
        assert!(matches!(made, Created::New(_)));
        key
    }

    pub(crate) fn set_state(&self, name: &str, state: els_ledger::rules::KeyState) {
        let id = KeyId::parse(name).unwrap();
        let set = self.store.set_key_state(self.now(), Scope::Vendor, By::vendor(), &id, state);
        assert!(matches!(self.block_on(set), Ok(StateChange::Done(_))));
    }

    pub(crate) fn change_key(&self, name: &str, change: KeyChange) {
        let id = KeyId::parse(name).unwrap();
        let update = self.store.update_key(self.now(), Scope::Vendor, By::vendor(), &id, change);
        assert!(matches!(self.block_on(update), Ok(KeyUpdate::Updated(_))));
    }

    /// Registers a machine and requires that it got its seat.
    pub(crate) fn registered(&self, key: &LicenseKey, number: u8) -> Machine {
        let machine = Machine::new(number);
        let answer = self.put(&machine, &machine.body(key));
        assert_eq!(answer.status, 201, "{answer:?}");
        machine
    }

    pub(crate) fn put(&self, machine: &Machine, body: &Value) -> Answer {
        self.ask("PUT", &machine.path(), &[("Content-Type", "application/json")], &body.to_string())
    }

    /// Sends a request of usual form.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.listen, method, path, headers, body)
    }

    /// Asks the gate as a web server does.
    pub(crate) fn gate(&self, target: &str, authorization: Option<&str>) -> Answer {
        let mut headers = vec![("X-Original-URI", target)];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        self.ask("GET", "/v1/repo-auth", &headers, "")
    }

    /// Asks until the answer fits; fails after the contract's five seconds.
    pub(crate) fn within_five_seconds(&self, what: &str, mut fits: impl FnMut() -> bool) {
        for _ in 0..100 {
            if fits() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not within five seconds: {what}");
    }

    /// Ends the backend in order, and waits for it.
    pub(crate) fn stop(&mut self) {
        if let (Some(running), Some(runtime)) = (self.running.take(), self.runtime.as_ref()) {
            runtime.block_on(running.stop());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Without waiting for connections that a failed test has left open.
        drop(self.running.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A machine with an id and a token of its own.
pub(crate) struct Machine {
    pub(crate) number: u8,
    pub(crate) id: RegistrationId,
    pub(crate) token: Token,
}

impl Machine {
    pub(crate) fn new(number: u8) -> Self {
        Machine { number, id: RegistrationId::from_random([number; 16]), token: Token::from_random([number; 32]) }
    }

    pub(crate) fn path(&self) -> String {
        els_protocol::wire::registration_path(&self.id)
    }

    /// The `Authorization` that dnf sends for it.
    pub(crate) fn basic(&self) -> String {
        basic(&self.id.to_string(), self.token.expose())
    }

    pub(crate) fn body(&self, key: &LicenseKey) -> Value {
        let machine = els_protocol::MachineId::from_random([self.number; 16]);
        json!({
            "key": key.expose(),
            "token_sha256": self.token.hash(),
            "machine": machine,
            "os": {"id": "almalinux", "version": "9.6"},
            "arch": "x86_64",
        })
    }
}

const PRODUCTS: &str = r#"
public = ["/els-register", "/gpg"]
[[product]]
id = "almalinux-9-els"
name = "Extended Lifecycle Support for AlmaLinux 9"
os = "almalinux"
versions = ["9"]
architectures = ["x86_64", "aarch64"]
repo_file = "els-almalinux-9"
prefixes = ["/almalinux/9"]
"#;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}
