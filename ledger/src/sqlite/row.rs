//! From columns to the types of the domain. What does not fit is an error of the database, never a default.

use els_protocol::wire::Os;
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::rules::{KeyState, MatchRule, RegistrationState};
use crate::{KeyId, rows};

/// A value that no version of this program writes.
pub(super) fn invalid(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_unix)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix))
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<RegistrationId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(RegistrationId::from_bytes))
}

pub(super) fn machine_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<MachineId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(MachineId::from_bytes))
}

pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Sha256Hex> {
    row.get(column).map(Sha256Hex)
}

pub(super) fn key_id(row: &Row<'_>, column: usize) -> rusqlite::Result<KeyId> {
    KeyId::parse(&row.get::<_, String>(column)?).ok_or_else(|| invalid(column, "a malformed key id"))
}

pub(super) fn label(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Label>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| Label::parse(&text).map_err(|_| invalid(column, "a malformed label"))).transpose()
}

/// Operating system and version, from two columns.
pub(super) fn os(row: &Row<'_>, column: usize) -> rusqlite::Result<Os> {
    Ok(Os { id: row.get(column)?, version: row.get(column + 1)? })
}

pub(super) fn key_state(row: &Row<'_>, column: usize) -> rusqlite::Result<KeyState> {
    rows::key_state(row.get_ref(column)?.as_str()?).ok_or_else(|| invalid(column, "a key state that is not known"))
}

pub(super) fn registration_state(row: &Row<'_>, column: usize) -> rusqlite::Result<RegistrationState> {
    rows::registration_state(row.get_ref(column)?.as_str()?)
        .ok_or_else(|| invalid(column, "a registration state that is not known"))
}

pub(super) fn match_rule(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<MatchRule>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    rows::match_rule(text).map(Some).ok_or_else(|| invalid(column, "a match rule that is not known"))
}
