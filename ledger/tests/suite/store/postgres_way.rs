//! The connection to PostgreSQL: encrypted, and lost during a COMMIT.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};

use els_ledger::{Opening, PostgresStore, Target};

use super::*;
use els_testkit::cluster::{Cluster, name};

async fn open(url: &str, opening: Opening) -> anyhow::Result<Arc<dyn Store>> {
    Ok(Arc::new(PostgresStore::open(&Target::parse(url).unwrap(), opening, policy()).await?))
}

/// Promise: nodes-encrypted
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_certificate_is_verified_and_nothing_is_said_before_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (file("ours.pem", made.cert.pem()), file("theirs.pem", other.cert.pem()));
    let key = made.signing_key.serialize_pem();
    let cluster = tokio::task::spawn_blocking(move || Cluster::with_certificate(&made.cert.pem(), &key)).await.unwrap();
    let database = name(&cluster.database()).to_owned();
    let url = |host: &str, rest: &str| format!("postgres://els@{host}:{}/{database}?{rest}", cluster.port);

    let store = open(&url("localhost", &format!("sslrootcert={ours}")), Opening::Migrating).await.unwrap();
    make_key(&store, "a", 1).await;
    assert_eq!(how(&store, 0, asks(1, 1, 1)).await, Ok((How::Created, 1)));
    let encrypted = cluster.sql(
        &database,
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert_eq!(encrypted, "t");
    for (host, rest) in [
        // Somebody else's certificate, another name, and one that no store of the system knows.
        ("localhost", format!("sslrootcert={theirs}")),
        ("127.0.0.1", format!("sslrootcert={ours}")),
        ("localhost", "sslmode=verify-full".into()),
        ("localhost", "sslmode=require".into()),
    ] {
        let refused = open(&url(host, &rest), Opening::Existing).await.err().expect("refused");
        let words = format!("{refused:#}");
        assert!(words.contains("certificate"), "{rest}: {words}");
    }
    let missing = open(&url("localhost", "sslrootcert=/nowhere"), Opening::Existing).await.err().unwrap();
    assert!(format!("{missing:#}").contains("cannot read sslrootcert /nowhere"), "{missing:#}");
    open(&url("localhost", "sslmode=disable"), Opening::Existing).await.unwrap();
}

/// Promise: nodes-outcome-unknown
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_known_and_the_same_request_again_finds_its_seat() {
    let url = tokio::task::spawn_blocking(|| Cluster::shared().database()).await.unwrap();
    let way = Way::to(Cluster::shared().port);
    let through = format!("postgres://els@127.0.0.1:{}/{}", way.port, name(&url));
    let store = open(&through, Opening::Migrating).await.unwrap();
    make_key(&store, "a", 100).await;
    for (number, (cut, first, used)) in
        [(BEFORE_COMMIT, How::Created, 1), (AFTER_COMMIT, How::Confirmed, 2)].into_iter().enumerate()
    {
        let id = number as u32 + 1;
        how(&store, 0, asks(id + 50, id + 50, 0)).await.unwrap();
        unwrap(store.unregister(at(0), by(), registration(id + 50), token(id + 50), client(1)).await).unwrap();
        way.cut(cut);
        let lost = store.register(at(0), by(), asks(id, id, id)).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{cut}: {lost:?}");
        assert_eq!(how(&store, 0, asks(id, id, id)).await, Ok((first, used)), "{cut}");
        // The same of what the vendor types.
        way.cut(cut);
        let change = els_ledger::KeyChange { seats: Some(200 + u64::from(id)), ..Default::default() };
        let key = KeyId::parse("a").unwrap();
        let lost = store.update_key(at(0), Scope::Vendor, By::vendor(), &key, change.clone()).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{cut}: {lost:?}");
        updated(store.update_key(at(0), Scope::Vendor, By::vendor(), &key, change).await);
        assert_eq!(record(&store, "a").await.seats.total, 200 + u64::from(id));
    }
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

/// A way to a server on which the next COMMIT, or the answer to it, is lost together with its connection.
struct Way {
    port: u16,
    cut: Arc<AtomicU8>,
}

const OPEN: u8 = 0;
const BEFORE_COMMIT: u8 = 1;
const AFTER_COMMIT: u8 = 2;

impl Way {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = Arc::clone(&way.cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (mut back, mut front) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut front);
                    let _ = front.shutdown(std::net::Shutdown::Both);
                });
                let cut = Arc::clone(&cut);
                std::thread::spawn(move || forward(client, server, &cut));
            }
        });
        way
    }

    fn cut(&self, what: u8) {
        self.cut.store(what, Ordering::SeqCst);
    }
}

/// Carries what the client says, until it is time to lose it.
fn forward(mut client: TcpStream, mut server: TcpStream, cut: &AtomicU8) {
    let mut bytes = [0; 65_536];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let said = &bytes[..length];
        if said.windows(7).any(|word| word == b"COMMIT\0") {
            match cut.swap(OPEN, Ordering::SeqCst) {
                BEFORE_COMMIT => break,
                AFTER_COMMIT => {
                    // The client is gone before the server answers.
                    let _ = client.shutdown(std::net::Shutdown::Both);
                    let _ = server.write_all(said);
                    // The server carries it out, and only then finds that nobody is there.
                    std::thread::sleep(std::time::Duration::from_millis(200));
                    return;
                }
                _ => {}
            }
        }
        if server.write_all(said).is_err() {
            break;
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Both);
    let _ = client.shutdown(std::net::Shutdown::Both);
}
