//! Opening an SQLite database: the file, its folder, its pragmas, its schema.
//!
//! Owns what must be true before the first statement: a library without known loss of data, a file that is ours
//! and whole, a schema that this program can use. It must not know what the tables are for.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Opening;
use crate::schema::{SchemaVersion, needs_migration, refuse_newer};

/// Opens the database for writing, as `opening` allows.
pub(super) fn open_writer(path: &Path, opening: Opening) -> anyhow::Result<Connection> {
    if rusqlite::version_number() < SQLITE_AT_LEAST {
        bail!("this build contains SQLite {}, which can lose commits; 3.51.3 is the least", rusqlite::version());
    }
    let shown = path.display();
    if opening == Opening::Existing {
        if !path.try_exists().with_context(|| format!("cannot look for the database {shown}"))? {
            bail!("there is no database at {shown}; `els-backend serve` or `els-backend key create` creates one");
        }
    } else {
        create(path)?;
    }
    let connection = connect(path).map_err(|error| in_words(path, &error))?;
    check_schema(&connection, path, opening)?;
    Ok(connection)
}

/// The database at `path`, for this process alone until the connection is closed; refused while another process uses it.
pub(crate) fn open_alone(path: &Path) -> anyhow::Result<Connection> {
    let shown = path.display();
    if !path.try_exists().with_context(|| format!("cannot look for the database {shown}"))? {
        bail!("there is no database at {shown}");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let alone = Connection::open_with_flags(path, flags).and_then(|connection| {
        // Before the first statement, so that the file itself is locked, which every other connection shares a lock of.
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")?;
        Ok(connection)
    });
    let connection = alone.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => anyhow::anyhow!(
            "another process uses the database {shown}: stop `els-backend serve` first, or the copy would miss what it writes"
        ),
        _ => in_words(path, &error),
    })?;
    check_schema(&connection, path, Opening::Existing)?;
    refuse_newer_schema(&connection, path)?;
    refuse_other_schema(&connection, path)?;
    find_damage(&connection, path)?;
    Ok(connection)
}

/// Refuses a database that has more than this program knows, for who copies it.
pub(super) fn refuse_newer_schema(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let version =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| in_words(path, &error))?;
    refuse_newer(&path.display().to_string(), version, MIGRATIONS.len())
}

/// Refuses a database whose tables, indexes, triggers or views are not those that this program makes: a view or a trigger would
/// run statements of the person who wrote the file.
fn refuse_other_schema(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let made = (|| {
        let version: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let ours = Connection::open_in_memory()?;
        for step in MIGRATIONS.iter().take(version) {
            ours.execute_batch(step)?;
        }
        Ok((schema_text(&ours)?, schema_text(connection)?))
    })();
    let (ours, found) = made.map_err(|error| in_words(path, &error))?;
    match found.iter().find(|part| !ours.contains(part)).or(ours.iter().find(|part| !found.contains(part))) {
        Some((kind, name, _)) => {
            bail!("the {kind} {name} of {} is not as els-backend makes it; {RESTORE}", path.display())
        }
        None => Ok(()),
    }
}

/// Kind, name and text of each part of a schema. The names that SQLite makes itself begin with `sqlite_`, and no others.
fn schema_text(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    connection
        .prepare(r"SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
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
                "cannot open the database {shown} ({error}); it and its folder must be writable: run this as root or as \
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
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    // SQLite gives its other files the mode of the database file.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot create the database {}", path.display())),
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
    let found = match schema(connection).map_err(|error| in_words(path, &error))? {
        Schema::Foreign => bail!("{shown} is the database of another program"),
        Schema::Empty => None,
        Schema::Ours(version) => Some(version),
    };
    match needs_migration(&shown.to_string(), found, MIGRATIONS.len(), opening)? {
        true => migrate(connection).map_err(|error| in_words(path, &error)),
        false => Ok(()),
    }
}

enum Schema {
    Empty,
    Foreign,
    Ours(SchemaVersion),
}

fn schema(connection: &Connection) -> rusqlite::Result<Schema> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, usize>(0));
    let ours = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if ours != APPLICATION {
        let tables = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")?;
        return Ok(if (ours, version, tables) == (0, 0, 0) { Schema::Empty } else { Schema::Foreign });
    }
    // Schema 1 has no such table.
    let has_oldest = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'els_schema'")?;
    let oldest = if has_oldest == 0 { 1 } else { number("SELECT oldest FROM els_schema")? };
    Ok(Schema::Ours(SchemaVersion { version, oldest }))
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
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite-1.sql"),
    include_str!("../../migrations/sqlite-2.sql"),
    include_str!("../../migrations/sqlite-3.sql"),
    include_str!("../../migrations/sqlite-4.sql"),
];
/// "ELSb", in the header of the file.
const APPLICATION: usize = 0x454c_5362;
/// 3.51.3: earlier ones can lose commits when a WAL is reset while another connection writes.
const SQLITE_AT_LEAST: i32 = 3_051_003;
/// How long a connection waits for another process: commands work beside a running `serve`.
const BUSY: Duration = Duration::from_secs(10);
const RESTORE: &str = "restore a file that `els-backend backup` made";

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

    /// Promise: copy-own-schema
    #[test]
    fn a_database_with_another_schema_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("els.db");
        for (change, named) in [
            ("CREATE TRIGGER extra AFTER INSERT ON events BEGIN DELETE FROM secrets; END", "the trigger extra"),
            ("CREATE VIEW extra AS SELECT 1", "the view extra"),
            ("ALTER TABLE leases RENAME TO other; CREATE VIEW leases AS SELECT * FROM other", "leases"),
            ("DROP INDEX secrets_key", "the index secrets_key"),
        ] {
            open_writer(&path, Opening::Creating).unwrap();
            open_alone(&path).unwrap();
            Connection::open(&path).unwrap().execute_batch(change).unwrap();
            let refused = format!("{:#}", open_alone(&path).unwrap_err());
            assert!(refused.contains(named) && refused.contains("is not as els-backend makes it"), "{refused}");
            for name in ["els.db", "els.db-wal", "els.db-shm"] {
                let _ = std::fs::remove_file(folder.path().join(name));
            }
        }
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
        connection.execute("UPDATE els_schema SET oldest = 99", []).unwrap();
        let message = refusal(&path, Opening::Migrating);
        assert!(message.contains("has schema 99") && message.contains("use the newer"), "{message}");
        // A schema that only adds to this one is used, but not copied by a program that would lose what is new.
        connection.execute_batch("UPDATE els_schema SET oldest = 2; ALTER TABLE keys ADD newer TEXT").unwrap();
        for opening in [Opening::Existing, Opening::Creating, Opening::Migrating] {
            drop(open_writer(&path, opening).unwrap());
        }
        drop(connection);
        let message = format!("{:#}", open_alone(&path).unwrap_err());
        assert!(message.contains("would lose what is newer"), "{message}");
    }

    #[test]
    fn migrating_is_all_that_an_older_schema_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("els.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        for opening in [Opening::Existing, Opening::Creating] {
            assert!(refusal(&path, opening).contains("run `els-backend migrate`"));
        }
        open_writer(&path, Opening::Migrating).unwrap();
        open_writer(&path, Opening::Existing).unwrap();
        let missing = "SELECT count(*) FROM events WHERE actor IS NULL AND origin IS NULL AND request IS NULL";
        assert_eq!(connection.query_row(missing, [], |row| row.get::<_, i64>(0)), Ok(0));
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
