//! Which schemas this program can use: its own, and newer ones that only add to it.
//!
//! Owns the decision, once for every database, and the sentences. Knows no SQL.
//!
//! Each step of a schema only adds (expand); what is no longer used is taken away a release later (contract). A database
//! therefore carries two numbers: its version, and the version of the oldest program that can use it. So nodes of two
//! neighbouring releases work on one database, and the older ones can start again.

use anyhow::bail;

use crate::Opening;

/// The two numbers of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SchemaVersion {
    /// How many steps were applied.
    pub(crate) version: usize,
    /// The schema of the oldest program that can use it.
    pub(crate) oldest: usize,
}

/// Whether the database `shown` has to be migrated from `found` to `latest` first; an error where this program cannot use
/// it. `None` stands for a database without tables.
pub(crate) fn needs_migration(
    shown: &str,
    found: Option<SchemaVersion>,
    latest: usize,
    opening: Opening,
) -> anyhow::Result<bool> {
    match found {
        None if opening == Opening::Existing => bail!("the database {shown} is empty: run `els-backend migrate`"),
        None => Ok(true),
        Some(found) if found.oldest > latest => bail!(
            "the database {shown} has schema {}, this els-backend {} knows {latest}: use the newer els-backend",
            found.version,
            env!("CARGO_PKG_VERSION")
        ),
        Some(found) if found.version >= latest => Ok(false),
        Some(_) if opening == Opening::Migrating => Ok(true),
        Some(found) => bail!(
            "the database {shown} has schema {}, this version needs {latest}: run `els-backend migrate`",
            found.version
        ),
    }
}

/// Refuses a database with tables or columns that this program does not know: a copy would lose them.
pub(crate) fn refuse_newer(shown: &str, version: usize, latest: usize) -> anyhow::Result<()> {
    if version > latest {
        bail!(
            "the database {shown} has schema {version}, this els-backend {} knows {latest} and would lose what is newer: \
             copy it with the newer els-backend",
            env!("CARGO_PKG_VERSION")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_used_as_long_as_it_says_that_this_program_can() {
        let at = |version, oldest| Some(SchemaVersion { version, oldest });
        let ways = [Opening::Existing, Opening::Creating, Opening::Migrating];
        for (found, expected) in [
            (None, [None, Some(true), Some(true)]),
            (at(2, 1), [None, None, Some(true)]),
            (at(3, 1), [Some(false); 3]),
            (at(3, 3), [Some(false); 3]),
            (at(4, 3), [Some(false); 3]),
            (at(9, 3), [Some(false); 3]),
            (at(4, 4), [None; 3]),
        ] {
            let got = ways.map(|opening| needs_migration("x", found, 3, opening).ok());
            assert_eq!(got, expected, "{found:?}");
        }
        assert!(refuse_newer("x", 3, 3).is_ok());
        assert!(refuse_newer("x", 4, 3).is_err());
    }
}
