//! Opening an SQLite database: the file, its folder, its pragmas, its schema.
//!
//! Owns what must be true before the first question is asked: a library without known loss of data, a file that is ours
//! and whole, the schema of this very version. Must never know what the tables are for.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Opening;

/// Opens the database for writing, as `opening` allows.
pub(super) fn open_writer(path: &Path, opening: Opening) -> anyhow::Result<Connection> {
    if rusqlite::version_number() < SQLITE_AT_LEAST {
        bail!("this build contains SQLite {}, which can lose commits; 3.51.3 is the least", rusqlite::version());
    }
    let shown = path.display();
    if opening == Opening::Existing {
        if !path.try_exists().with_context(|| format!("cannot look for the database {shown}"))? {
            bail!("there is no database at {shown}; `els-backend serve` or `els-backend key create` makes one");
        }
    } else {
        create(path)?;
    }
    let connection = connect(path).map_err(|error| in_words(path, &error))?;
    check_schema(&connection, path, opening)?;
    Ok(connection)
}

/// The database at `path`, which nobody else can use until the connection is closed; refused while anybody does.
pub(crate) fn open_alone(path: &Path) -> anyhow::Result<Connection> {
    let shown = path.display();
    if !path.try_exists().with_context(|| format!("cannot look for the database {shown}"))? {
        bail!("there is no database at {shown}");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let alone = Connection::open_with_flags(path, flags).and_then(|connection| {
        // Before the first question: then the file itself is locked, which every other connection has a share in.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
        Ok(connection)
    });
    let connection = alone.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => anyhow::anyhow!(
            "another process uses the database {shown}: end `els-backend serve` first, what it would write meanwhile would be missing"
        ),
        _ => in_words(path, &error),
    })?;
    check_schema(&connection, path, Opening::Existing)?;
    find_damage(&connection, path)?;
    Ok(connection)
}

/// A further connection to a database that [`open_writer`] has opened, for reading alone.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Reads the whole database for damage. Takes about a second for each gigabyte.
pub(super) fn find_damage(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| in_words(path, &error))?;
    if verdict != "ok" {
        bail!("the database {} is damaged ({verdict}); {RESTORE}", path.display());
    }
    Ok(())
}

/// What an error at opening means, and what to do.
pub(super) fn in_words(path: &Path, error: &rusqlite::Error) -> anyhow::Error {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => anyhow::anyhow!("{shown} is not an SQLite database; {RESTORE}"),
        Some(ErrorCode::DatabaseCorrupt) => anyhow::anyhow!("the database {shown} is damaged ({error}); {RESTORE}"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            anyhow::anyhow!("the database {shown} has been locked for {} seconds; try again", BUSY.as_secs())
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            anyhow::anyhow!(
                "cannot open the database {shown} ({error}); it and its folder have to be writable: run this as root or as \
                 the folder's owner"
            )
        }
        _ => anyhow::anyhow!("cannot open the database {shown}: {error}"),
    }
}

fn create(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // SQLite gives its other files the mode of the database file.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make the database {}", path.display())),
    }
}

/// Pragmas hold for one connection, so that every connection is made here.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384;",
    )?;
    Ok(connection)
}

fn check_schema(connection: &Connection, path: &Path, opening: Opening) -> anyhow::Result<()> {
    let shown = path.display();
    let (ours, version, tables) = facts(connection).map_err(|error| in_words(path, &error))?;
    let latest = MIGRATIONS.len() as i64;
    let fresh = ours == 0 && version == 0 && tables == 0;
    match version {
        _ if !fresh && ours != APPLICATION => bail!("{shown} is the database of another program"),
        _ if fresh && opening == Opening::Existing => bail!("{shown} is empty; `els-backend migrate` sets it up"),
        newer if newer > latest => bail!(
            "the database {shown} has schema {newer}, this els-backend {} knows {latest}: use the newer els-backend",
            env!("CARGO_PKG_VERSION")
        ),
        older if older < latest && !fresh && opening != Opening::Migrating => {
            bail!("the database {shown} has schema {older}, this version needs {latest}: run `els-backend migrate`")
        }
        older if older < latest => migrate(connection).map_err(|error| in_words(path, &error)),
        _ => Ok(()),
    }
}

/// (application id, schema version, number of tables)
fn facts(connection: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0));
    Ok((
        number("PRAGMA application_id")?,
        number("PRAGMA user_version")?,
        number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")?,
    ))
}

/// Applies what is missing in one transaction. The version is read again inside it: another process may have been first.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = (|| {
        let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for (step, number) in MIGRATIONS.iter().zip(1..).skip(version) {
            connection.execute_batch(step)?;
            connection.pragma_update(None, "user_version", number)?;
        }
        connection.pragma_update(None, "application_id", APPLICATION)?;
        connection.execute_batch("COMMIT")
    })();
    if done.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

/// Each step brings the schema to the next version. Steps that were released never change.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite-1.sql")];
/// "ELSb", in the header of the file.
const APPLICATION: i64 = 0x454c_5362;
/// 3.51.3: earlier ones can lose commits when a WAL is reset while another connection writes.
const SQLITE_AT_LEAST: i32 = 3_051_003;
/// How long a connection waits for another process: commands work beside a running `serve`.
const BUSY: Duration = Duration::from_secs(10);
const RESTORE: &str = "put back a file that `els-backend backup` made";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path, opening: Opening) -> String {
        format!("{:#}", open_writer(path, opening).unwrap_err())
    }

    /// Promise: seat-durable
    #[test]
    fn a_new_database_is_private_whole_and_of_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/els.db");
        let connection = open_writer(&path, Opening::Creating).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(&folder.path().join("deep/els.db-wal")), 0o600);
        find_damage(&connection, &path).unwrap();
        let pragma = |name: &str| -> String {
            connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("foreign_keys"), "Integer(1)");
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        drop(connection);
        open_writer(&path, Opening::Existing).unwrap();
    }

    /// Promise: serve-database
    #[test]
    fn what_is_not_our_database_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("els.db");
        assert!(refusal(&path, Opening::Existing).contains("no database at"), "missing");
        assert!(!path.exists());

        std::fs::write(&path, "").unwrap();
        assert!(refusal(&path, Opening::Existing).contains("is empty"), "empty");

        std::fs::write(&path, "this is a shopping list, not a database\n".repeat(200)).unwrap();
        assert!(refusal(&path, Opening::Migrating).contains("is not an SQLite database"), "text");

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (x)").unwrap();
        assert!(refusal(&path, Opening::Migrating).contains("another program"), "foreign");
    }

    /// Promise: serve-database
    #[test]
    fn a_newer_schema_is_refused_and_an_older_one_names_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("els.db");
        let connection = open_writer(&path, Opening::Creating).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let message = refusal(&path, Opening::Migrating);
        assert!(message.contains("has schema 99") && message.contains("use the newer"), "{message}");
        // An older schema cannot be had yet but by its number.
        connection.pragma_update(None, "user_version", 0).unwrap();
        for opening in [Opening::Existing, Opening::Creating] {
            assert!(refusal(&path, opening).contains("run `els-backend migrate`"));
        }
    }

    /// Promise: serve-database
    #[test]
    fn damage_is_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("els.db");
        drop(open_writer(&path, Opening::Creating).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        for byte in &mut bytes[4096 * 3..4096 * 8] {
            *byte = 0xa5;
        }
        std::fs::write(&path, bytes).unwrap();
        let message = match open_writer(&path, Opening::Existing) {
            Ok(connection) => format!("{:#}", find_damage(&connection, &path).unwrap_err()),
            Err(error) => format!("{error:#}"),
        };
        assert!(message.contains("damaged") && message.contains("backup"), "{message}");
    }
}
