//! PUT: a seat is given, confirmed or moved.
//!
//! Owns gathering the facts of the rules and carrying their decision out, in the transaction of its caller. Decides
//! nothing itself.

use els_protocol::wire::Seats;
use els_protocol::{Code, MachineId, RegistrationId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::early;
use super::held::{Held, Key, held, key_by_secret, set_released, use_seat, view};
use super::row::{likeness_text, machine_id};
use super::trail::Entry;
use crate::license::{Candidate, Distrust, Judged, KnownId, Likeness, Put, PutFacts, RegisterCommand, judge_put};
use crate::store::{EventKind, HolderState, How, KeyNumber, Policy, Registered};

/// Carries a PUT out, or refuses it.
pub(super) fn register(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    command: &RegisterCommand,
) -> rusqlite::Result<Judged<Registered>> {
    let Some(key) = key_by_secret(connection, now, &command.key_hash)? else {
        return Ok(Err(Code::UnknownKey.into()));
    };
    let present = held(connection, &command.id)?;
    let known = known_id(connection, now, &key, command, present.as_ref())?;
    let distrust = distrust(connection, key.number, command)?;
    let candidates = match known {
        KnownId::New => candidates(connection, key.number, command)?,
        _ => Vec::new(),
    };
    let facts = PutFacts {
        terms: key.terms(policy),
        covered: (policy.covers)(&key.product, &command.os, &command.arch),
        seats: key.seats,
        known,
        candidates: &candidates,
        distrust,
    };
    let put = match judge_put(now, command, &facts) {
        Ok(put) => put,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (how, registered_at, seats) = match put {
        Put::Confirm => {
            confirm(connection, now, key.number, command)?;
            (How::Confirmed, present.map_or(now, |present| present.registered_at), key.seats)
        }
        Put::Move { from, likeness } => {
            move_seat(connection, now, key.number, command, from, likeness)?;
            (How::Moved, now, key.seats)
        }
        Put::Take => {
            insert(connection, now, key.number, command)?;
            use_seat(connection, key.number)?;
            entry(now, EventKind::SeatTaken, key.number, command).write(connection)?;
            (How::Created, now, Seats { used: key.seats.used + 1, ..key.seats })
        }
    };
    Ok(Ok(Registered { view: view(&key, command.id, registered_at, seats), how }))
}

fn known_id(
    connection: &Connection,
    now: Timestamp,
    key: &Key,
    command: &RegisterCommand,
    present: Option<&Held>,
) -> rusqlite::Result<KnownId> {
    Ok(match present {
        Some(Held { state: HolderState::Active, machine: Some(machine), key: of, token_hash, .. }) => {
            KnownId::Active { same_key: *of == key.number, token_hash: *token_hash, machine: *machine }
        }
        Some(_) => KnownId::Ended,
        None if early::is_remembered(connection, now, &command.id, &command.token_hash)? => KnownId::GivenBackEarly,
        None => KnownId::New,
    })
}

/// Those that could be the same machine. Where many share an id, at most two of each kind are fetched: two are as good
/// as a thousand to the rules, and a thousand clones of one image must not slow a registration down.
fn candidates(connection: &Connection, key: KeyNumber, command: &RegisterCommand) -> rusqlite::Result<Vec<Candidate>> {
    let machine = command.machine.as_bytes();
    let hardware = command.hardware.as_ref().map(MachineId::as_bytes);
    let mut found = some_active(connection, "machine = ?2", params![key.0, machine])?;
    if found.len() > 2 {
        found.extend(some_active(connection, "machine = ?2 AND hardware IS ?3", params![key.0, machine, hardware])?);
        found.extend(some_active(connection, "machine = ?2 AND hardware IS NULL", params![key.0, machine])?);
    }
    if hardware.is_some() {
        let sharing = some_active(connection, "hardware = ?2", params![key.0, hardware])?;
        if sharing.len() > 2 {
            let condition = "hardware = ?2 AND machine <> ?3";
            found.extend(some_active(connection, condition, params![key.0, hardware, machine])?);
        }
        found.extend(sharing);
    }
    found.sort_by_key(|one| one.id);
    found.dedup();
    Ok(found)
}

/// Up to three: two to compare, and one to know that there are more.
fn some_active(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<Candidate>> {
    let sql = format!(
        "SELECT id, machine, hardware FROM registrations WHERE key = ?1 AND state = 'active' AND {condition} LIMIT 3"
    );
    connection
        .prepare_cached(&sql)?
        .query_map(values, |row| {
            Ok(Candidate {
                id: row.get(0).map(RegistrationId::from_bytes)?,
                machine: row.get(1).map(MachineId::from_bytes)?,
                hardware: machine_id(row, 2)?,
            })
        })?
        .collect()
}

fn distrust(connection: &Connection, key: KeyNumber, command: &RegisterCommand) -> rusqlite::Result<Distrust> {
    let known =
        |kind: &str, id: Option<&MachineId>| {
            connection
                .prepare_cached("SELECT 1 FROM distrusted WHERE key = ?1 AND kind = ?2 AND id = ?3")?
                .exists(params![key.0, kind, id.map(MachineId::as_bytes)])
        };
    Ok(Distrust {
        machine: known("machine", Some(&command.machine))?,
        hardware: command.hardware.is_some() && known("hardware", command.hardware.as_ref())?,
    })
}

/// Brings an active registration up to date. A label that is not sent again stays; ids and system are what was sent.
fn confirm(connection: &Connection, now: Timestamp, key: KeyNumber, command: &RegisterCommand) -> rusqlite::Result<()> {
    let id = command.id.as_bytes();
    let hardware = command.hardware.as_ref().map(MachineId::as_bytes);
    let other_ids = connection
        .prepare_cached(
            "UPDATE registrations SET machine = ?2, hardware = ?3 WHERE id = ?1 AND (machine IS NOT ?2 OR hardware IS NOT ?3)",
        )?
        .execute(params![id, command.machine.as_bytes(), hardware])?;
    if other_ids != 0 {
        let why = if command.moved { "said to be moved" } else { "confirmed with another hardware id" };
        entry(now, EventKind::MachineChanged, key, command).because(why).write(connection)?;
    }
    let label = command.label.as_ref().map(|label| label.as_str());
    connection
        .prepare_cached(
            "UPDATE registrations SET os = ?2, os_version = ?3, arch = ?4, label = coalesce(?5, label)
             WHERE id = ?1 AND (os <> ?2 OR os_version <> ?3 OR arch <> ?4 OR label IS NOT coalesce(?5, label))",
        )?
        .execute(params![id, command.os.id, command.os.version, command.arch, label])
        .map(drop)
}

fn move_seat(
    connection: &Connection,
    now: Timestamp,
    key: KeyNumber,
    command: &RegisterCommand,
    from: RegistrationId,
    likeness: Likeness,
) -> rusqlite::Result<()> {
    let why = likeness_text(likeness);
    insert(connection, now, key, command)?;
    // A label stays with the machine.
    connection
        .prepare_cached(
            "UPDATE registrations SET label = (SELECT label FROM registrations WHERE id = ?2) WHERE id = ?1 AND label IS NULL",
        )?
        .execute([command.id.as_bytes(), from.as_bytes()])?;
    if likeness.is_certain() {
        // What the old id had superseded is superseded by the new one from now on.
        connection
            .prepare_cached("UPDATE registrations SET successor = ?2 WHERE state = 'superseded' AND successor = ?1")?
            .execute([from.as_bytes(), command.id.as_bytes()])?;
        set_released(connection, now, &from)?;
        Entry::of(now, EventKind::Released, key, from).with(Some(command.id)).because(why).write(connection)?;
    } else {
        // At most one superseded id a seat: the one before ends.
        let before: Option<RegistrationId> = connection
            .prepare_cached("SELECT id FROM registrations WHERE state = 'superseded' AND successor = ?1")?
            .query_row([from.as_bytes()], |row| row.get(0).map(RegistrationId::from_bytes))
            .optional()?;
        if let Some(before) = before {
            set_released(connection, now, &before)?;
            let why = "another id of the seat is superseded";
            Entry::of(now, EventKind::Released, key, before).with(Some(from)).because(why).write(connection)?;
        }
        connection
            .prepare_cached(
                "UPDATE registrations SET state = 'superseded', ended_at = ?2, successor = ?3, likeness = ?4 WHERE id = ?1",
            )?
            .execute(params![from.as_bytes(), now.unix(), command.id.as_bytes(), why])?;
        Entry::of(now, EventKind::Superseded, key, from).with(Some(command.id)).because(why).write(connection)?;
    }
    entry(now, EventKind::SeatMoved, key, command).with(Some(from)).because(why).write(connection)
}

fn insert(connection: &Connection, now: Timestamp, key: KeyNumber, command: &RegisterCommand) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO registrations
             (id, key, token_hash, state, machine, hardware, os, os_version, arch, label, registered_at)
             VALUES (?1, ?2, ?3, 'active', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            command.id.as_bytes(),
            key.0,
            command.token_hash.0,
            command.machine.as_bytes(),
            command.hardware.as_ref().map(MachineId::as_bytes),
            command.os.id,
            command.os.version,
            command.arch,
            command.label.as_ref().map(|label| label.as_str()),
            now.unix(),
        ])
        .map(drop)
}

fn entry<'a>(now: Timestamp, kind: EventKind, key: KeyNumber, command: &RegisterCommand) -> Entry<'a> {
    Entry::of(now, kind, key, command.id).ids(Some(command.machine), command.hardware)
}
