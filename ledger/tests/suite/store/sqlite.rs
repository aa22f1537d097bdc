//! The cases on SQLite, and what holds only there.

use std::path::{Path, PathBuf};

use els_ledger::{Opening, SqliteStore, backup};
use tempfile::TempDir;

use super::*;

/// A database that is gone when the test is.
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    folder: TempDir,
}

impl Database {
    fn path(&self) -> PathBuf {
        self.folder.path().join("els.db")
    }

    /// A further store on the same file, as another process has it.
    fn another(&self) -> Arc<dyn Store> {
        open(&self.path(), Opening::Existing)
    }
}

fn open(path: &Path, opening: Opening) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, opening, policy()).unwrap())
}

pub(crate) fn fresh() -> Database {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("els.db"), Opening::Creating);
    Database { store, folder }
}

async fn made() -> Database {
    fresh()
}

store_tests!(made);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_kind_that_a_newer_program_writes_is_read() {
    let database = fresh();
    make_key(&database.store, "a", 1).await;
    let sql = rusqlite::Connection::open(database.folder.path().join("els.db")).unwrap();
    sql.execute("INSERT INTO events (at, kind, key) VALUES (1, 'seat-painted', 1)", []).unwrap();
    let events = database.store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 9).await.unwrap();
    assert_eq!(events.last().unwrap().event, "seat-painted");
    assert_eq!(database.store.feed(Cursor(0), 9).await.unwrap().items.len(), 2);
}

/// Promise: seat-limit
/// Promise: commands-beside-serve
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_file_never_oversell() {
    let database = fresh();
    make_key(&database.store, "a", 10).await;
    let stores = [Arc::clone(&database.store), database.another()];
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = Arc::clone(&stores[number as usize % 2]);
            tokio::spawn(async move { how(&store, 0, asks(number, number, number + 1)).await.is_ok() })
        })
        .collect();
    let mut given = 0;
    for task in tasks {
        given += u32::from(task.await.unwrap());
    }
    assert_eq!((given, seats(&stores[1], "a").await.used), (10, 10));
    assert_eq!(stores[1].check().await.unwrap(), [""; 0]);
}

/// Promise: seat-audit-log
/// Promise: check-recounts
#[tokio::test]
async fn a_recount_names_each_disagreement() {
    let database = fresh();
    make_key(&database.store, "a", 5).await;
    for number in 1..=3 {
        how(&database.store, 0, asks(number, number, number)).await.unwrap();
    }
    let file = rusqlite::Connection::open(database.path()).unwrap();
    let broken = async |sql: &str, repair: &str| {
        file.execute_batch(sql).unwrap();
        let found = database.store.check().await.unwrap();
        file.execute_batch(repair).unwrap();
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
        found[0].clone()
    };
    assert_eq!(
        broken("UPDATE keys SET used = 4", "UPDATE keys SET used = 3").await,
        "key a counts 4 used seats, but has 3 active registrations"
    );
    let audit_log = broken(
        "UPDATE events SET kind = 'superseded' WHERE seq = 3",
        "UPDATE events SET kind = 'seat-taken' WHERE seq = 3",
    );
    assert!(audit_log.await.contains("is active, but the audit log says superseded"));
    let gone = broken(
        "INSERT INTO events (at, kind, key, registration) VALUES (1, 'seat-taken', 1, zeroblob(16))",
        "DELETE FROM events WHERE registration = zeroblob(16)",
    );
    assert!(gone.await.contains("the audit log names registration 0000"));
    assert_eq!(database.store.check().await.unwrap(), [""; 0]);
}

/// Promise: backup-sqlite
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_database_in_use_is_whole_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let database = fresh();
    make_key(&database.store, "a", 100_000).await;
    let writer = {
        let store = Arc::clone(&database.store);
        tokio::spawn(async move {
            for number in 0..300 {
                how(&store, 0, asks(number, number, number + 1)).await.unwrap();
            }
        })
    };
    let target = database.folder.path().join("copy of 1%.db");
    for _ in 0..3 {
        let (from, to) = (database.path(), target.clone());
        tokio::task::spawn_blocking(move || backup(&from, &to)).await.unwrap().unwrap();
        let copy = open(&target, Opening::Existing);
        assert_eq!(copy.check().await.unwrap(), [""; 0]);
    }
    writer.await.unwrap();
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(database.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".els-"))
        .collect();
    assert_eq!(left, [""; 0]);
    // What cannot be done leaves everything as it was.
    let message = format!("{:#}", backup(&database.path(), &database.path()).unwrap_err());
    assert!(message.contains("is the database itself"), "{message}");
    let message = format!("{:#}", backup(&database.path(), &database.folder.path().join("no/copy.db")).unwrap_err());
    assert!(message.contains("cannot write in the folder"), "{message}");
    assert_eq!(database.store.check().await.unwrap(), [""; 0]);
}

/// Promise: seat-durable
#[tokio::test]
async fn what_was_answered_is_there_after_the_store_is_gone() {
    let database = fresh();
    make_key(&database.store, "a", 5).await;
    how(&database.store, 0, asks(1, 1, 1)).await.unwrap();
    let Database { store, folder } = database;
    drop(store);
    let store = open(&folder.path().join("els.db"), Opening::Existing);
    assert_eq!(get(&store, 0, 1).await, Ok(1));
    store.health().await.unwrap();
}
