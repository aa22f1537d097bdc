//! From columns to the types of the domain, and back. What does not fit is an error of the database, never a default.

use els_protocol::wire::{Os, Seats};
use els_protocol::{Label, MachineId, RegistrationId, Sha256Hex, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::failure::Failed;
use crate::rows::{self, CandidateRow, KeyRow, OldestSuperseded, RegistrationRow};
use crate::rules::{KeyState, KeyTerms, RegistrationState};
use crate::scope::Scope;
use crate::{KeyId, KeyNumber};

/// The columns that [`key`] reads, of `keys` by the name `k`.
macro_rules! key_columns {
    () => {
        "k.number, k.id, k.product, k.contract, k.seats, k.used, k.self_release, k.state, k.starts, k.expires"
    };
}
/// The columns that [`registration`] reads, of `registrations` by the name `r`.
macro_rules! registration_columns {
    () => {
        "r.id, r.key, r.token_hash, r.state, r.machine, r.hardware, r.os, r.os_version, r.arch, r.label,
         r.registered_at, r.ended_at, r.successor, r.likeness"
    };
}
pub(super) use {key_columns, registration_columns};

/// Reads the columns of a row by their places.
pub(super) struct Columns<'a>(pub(super) &'a Row);

impl Columns<'_> {
    pub(super) fn get<'b, T: tokio_postgres::types::FromSql<'b>>(&'b self, column: usize) -> Result<T, Failed> {
        Ok(self.0.try_get(column)?)
    }

    pub(super) fn count(&self, column: usize) -> Result<u64, Failed> {
        u64::try_from(self.get::<i64>(column)?).map_err(|_| Failed::invalid("a number below zero"))
    }

    pub(super) fn time(&self, column: usize) -> Result<Timestamp, Failed> {
        self.get(column).map(Timestamp::from_unix)
    }

    pub(super) fn optional_time(&self, column: usize) -> Result<Option<Timestamp>, Failed> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_unix))
    }

    pub(super) fn id(&self, column: usize) -> Result<RegistrationId, Failed> {
        Ok(RegistrationId::from_bytes(self.get::<Uuid>(column)?.into_bytes()))
    }

    pub(super) fn optional_id(&self, column: usize) -> Result<Option<RegistrationId>, Failed> {
        Ok(self.get::<Option<Uuid>>(column)?.map(|id| RegistrationId::from_bytes(id.into_bytes())))
    }

    pub(super) fn machine_id(&self, column: usize) -> Result<Option<MachineId>, Failed> {
        Ok(self.get::<Option<Uuid>>(column)?.map(|id| MachineId::from_bytes(id.into_bytes())))
    }

    pub(super) fn hash(&self, column: usize) -> Result<Sha256Hex, Failed> {
        let bytes: &[u8] = self.get(column)?;
        bytes.try_into().map(Sha256Hex).map_err(|_| Failed::invalid("a hash of another length"))
    }

    pub(super) fn key_id(&self, column: usize) -> Result<KeyId, Failed> {
        KeyId::parse(self.get(column)?).ok_or_else(|| Failed::invalid("a malformed key id"))
    }

    pub(super) fn label(&self, column: usize) -> Result<Option<Label>, Failed> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| Label::parse(text).map_err(|_| Failed::invalid("a malformed label"))).transpose()
    }

    /// Operating system and version, from two columns.
    pub(super) fn os(&self, column: usize) -> Result<Os, Failed> {
        Ok(Os { id: self.get(column)?, version: self.get(column + 1)? })
    }

    pub(super) fn key_state(&self, column: usize) -> Result<KeyState, Failed> {
        rows::key_state(self.get(column)?).ok_or_else(|| Failed::invalid("a key state that is not known"))
    }

    pub(super) fn registration_state(&self, column: usize) -> Result<RegistrationState, Failed> {
        rows::registration_state(self.get(column)?)
            .ok_or_else(|| Failed::invalid("a registration state that is not known"))
    }
}

/// A key, from the columns `key_columns!`.
pub(super) fn key(row: &Row) -> Result<KeyRow, Failed> {
    let row = Columns(row);
    Ok(KeyRow {
        number: KeyNumber(row.get(0)?),
        id: row.key_id(1)?,
        product: row.get(2)?,
        contract: row.get(3)?,
        seats: Seats { total: row.count(4)?, used: row.count(5)? },
        self_release: row.get(6)?,
        terms: KeyTerms {
            state: row.key_state(7)?,
            starts: row.optional_time(8)?,
            expires: row.time(9)?,
            grace_seconds: 0,
        },
    })
}

/// A registration, from the columns `registration_columns!`.
pub(super) fn registration(row: &Row) -> Result<RegistrationRow, Failed> {
    let row = Columns(row);
    let rule: Option<&str> = row.get(13)?;
    Ok(RegistrationRow {
        id: row.id(0)?,
        key: KeyNumber(row.get(1)?),
        token_hash: row.hash(2)?,
        state: row.registration_state(3)?,
        machine: row.machine_id(4)?,
        hardware: row.machine_id(5)?,
        os: row.os(6)?,
        arch: row.get(8)?,
        label: row.label(9)?,
        registered_at: row.time(10)?,
        ended_at: row.optional_time(11)?,
        successor: row.optional_id(12)?,
        rule: rule
            .map(|text| rows::match_rule(text).ok_or_else(|| Failed::invalid("a match rule that is not known")))
            .transpose()?,
    })
}

/// Which request a candidate is for, and the candidate.
pub(super) fn candidate(row: &Row) -> Result<(usize, CandidateRow), Failed> {
    let row = Columns(row);
    let request = usize::try_from(row.get::<i32>(0)?).map_err(|_| Failed::invalid("a place below zero"))?;
    let oldest = match row.optional_id(8)? {
        Some(id) => Some(OldestSuperseded {
            id,
            since: row.time(9)?,
            machine: row.machine_id(10)?,
            hardware: row.machine_id(11)?,
        }),
        None => None,
    };
    let candidate = CandidateRow {
        id: row.id(1)?,
        machine: row.machine_id(2)?.ok_or_else(|| Failed::invalid("an active registration without machine id"))?,
        hardware: row.machine_id(3)?,
        label: row.label(4)?,
        registered_at: row.time(5)?,
        hardware_distrusted: row.get(6)?,
        superseded: usize::try_from(row.count(7)?).unwrap_or(usize::MAX),
        oldest,
    };
    Ok((request, candidate))
}

pub(super) fn uuid(id: &RegistrationId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub(super) fn machine_uuid(id: &MachineId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// The parameter of a scope, see `within_scope!`.
pub(super) fn scope_hash(scope: &Scope) -> Box<dyn ToSql + Sync + Send> {
    Box::new(scope.hash().map(|hash| hash.0.to_vec()))
}

/// Seats and days as PostgreSQL counts them.
pub(super) fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
