//! Seats: giving, moving, freeing, and the superseded credential that is used.
//!
//! Owns gathering the facts of the seat rules and carrying their decisions out, each in the transaction of its caller.
//! Decides nothing itself.

use std::net::IpAddr;

use els_protocol::wire::Seats;
use els_protocol::{Code, MachineId, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::{hash, holder_state, id, key_id, key_state, likeness, likeness_text, machine_id, optional_time, time};
use super::trail::Entry;
use crate::license::{
    Candidate, Distrust, GivingBack, HeldId, Judged, KnownId, Likeness, Put, PutFacts, RegisterCommand, SupersededUse,
    Terms, distrusted_after, judge_delete, judge_put, judge_release, judge_superseded_use,
};
use crate::store::{Deleted, EventKind, HolderState, How, KeyId, KeyNumber, Policy, Registered, RegistrationView};

/// A key, as far as seats depend on it.
pub(super) struct Key {
    pub(super) number: KeyNumber,
    pub(super) id: KeyId,
    pub(super) product: String,
    pub(super) contract: Option<String>,
    pub(super) seats: Seats,
    pub(super) self_release: bool,
    terms: Terms,
}

impl Key {
    /// The terms, with the grace of this site.
    pub(super) fn terms(&self, policy: &Policy) -> Terms {
        Terms { grace_seconds: policy.grace_seconds, ..self.terms }
    }

    /// When it expires.
    pub(super) fn expires(&self) -> Timestamp {
        self.terms.expires
    }
}

/// A registration, as far as seats depend on it.
pub(super) struct Held {
    pub(super) id: RegistrationId,
    pub(super) key: KeyNumber,
    pub(super) token_hash: Sha256Hex,
    pub(super) state: HolderState,
    pub(super) registered_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    machine: Option<MachineId>,
    hardware: Option<MachineId>,
    successor: Option<RegistrationId>,
    likeness: Option<Likeness>,
}

/// The key that a secret stands for at this time.
pub(super) fn key_by_secret(
    connection: &Connection,
    now: Timestamp,
    secret: &Sha256Hex,
) -> rusqlite::Result<Option<Key>> {
    connection
        .prepare_cached(&format!(
            "SELECT {KEY} FROM secrets s JOIN keys k ON k.number = s.key
             WHERE s.hash = ?1 AND (s.until IS NULL OR s.until > ?2)"
        ))?
        .query_row(params![secret.0, now.unix()], key)
        .optional()
}

/// The key with this number.
pub(super) fn key_by_number(connection: &Connection, number: KeyNumber) -> rusqlite::Result<Key> {
    connection.prepare_cached(&format!("SELECT {KEY} FROM keys k WHERE k.number = ?1"))?.query_row([number.0], key)
}

/// The registration with this id.
pub(super) fn held(connection: &Connection, id: &RegistrationId) -> rusqlite::Result<Option<Held>> {
    connection
        .prepare_cached(
            "SELECT id, key, token_hash, state, machine, hardware, registered_at, ended_at, successor, likeness
             FROM registrations WHERE id = ?1",
        )?
        .query_row([id.as_bytes()], registration)
        .optional()
}

/// What a machine is told of its registration.
pub(super) fn view(key: &Key, id: RegistrationId, registered_at: Timestamp, seats: Seats) -> RegistrationView {
    RegistrationView {
        registration: id,
        key_id: key.id.clone(),
        contract: key.contract.clone(),
        product: key.product.clone(),
        expires: key.expires(),
        registered_at,
        seats,
    }
}

/// PUT.
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

/// DELETE by the machine itself.
pub(super) fn delete(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    token_hash: &Sha256Hex,
    client: IpAddr,
) -> rusqlite::Result<Judged<Deleted>> {
    let held = held(connection, id)?;
    let fits = held.as_ref().is_none_or(|held| held.token_hash == *token_hash);
    match judge_delete(held_id(held.as_ref()), fits) {
        Ok(GivingBack::Remember) => {
            super::early::remember(connection, now, id, token_hash, client)?;
            Ok(Ok(Deleted::NeverSeen))
        }
        Ok(todo) => give_back(connection, now, held.as_ref(), todo, "given back by the machine").map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// DELETE of a seat by whoever holds the key.
pub(super) fn release(
    connection: &Connection,
    now: Timestamp,
    secret: &Sha256Hex,
    id: &RegistrationId,
) -> rusqlite::Result<Judged<Deleted>> {
    let Some(key) = key_by_secret(connection, now, secret)? else {
        return Ok(Err(Code::UnknownKey.into()));
    };
    let held = held(connection, id)?;
    let same_key = held.as_ref().is_some_and(|held| held.key == key.number);
    match judge_release(held_id(held.as_ref()), same_key, key.self_release) {
        Ok(todo) => give_back(connection, now, held.as_ref(), todo, "freed with the key").map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Frees a seat in the vendor's name, or because nobody has seen its machine; `None` when nobody has seen the id.
pub(super) fn release_any(
    connection: &Connection,
    now: Timestamp,
    id: &RegistrationId,
    why: &str,
) -> rusqlite::Result<Option<Deleted>> {
    let Some(held) = held(connection, id)? else { return Ok(None) };
    match judge_delete(held_id(Some(&held)), true) {
        Ok(todo) => give_back(connection, now, Some(&held), todo, why).map(Some),
        Err(_) => Ok(None),
    }
}

/// The use of a superseded credential.
pub(super) fn superseded_used(
    connection: &Connection,
    policy: &Policy,
    now: Timestamp,
    id: &RegistrationId,
) -> rusqlite::Result<()> {
    let Some(old) = held(connection, id)? else { return Ok(()) };
    let (HolderState::Superseded, Some(since), Some(newer)) = (old.state, old.ended_at, old.successor) else {
        return Ok(());
    };
    let key = key_by_number(connection, old.key)?;
    let newer = held(connection, &newer)?.filter(|newer| newer.state == HolderState::Active);
    let decision = judge_superseded_use(now, since, &key.terms(policy), key.seats, newer.is_some());
    if decision == SupersededUse::Nothing {
        return Ok(());
    }
    distrust_what_matched(connection, now, &old, newer.as_ref())?;
    let other = newer.as_ref().map(|newer| newer.id);
    match decision {
        SupersededUse::Nothing => {}
        SupersededUse::Split => {
            use_seat(connection, key.number)?;
            give_seat_back_to(connection, now, &old, other)?;
            if let Some(newer) = &newer {
                Entry::of(now, EventKind::SeatSplit, key.number, newer.id).with(Some(old.id)).write(connection)?;
            }
        }
        SupersededUse::ReleaseNewer => {
            if let Some(newer) = &newer {
                end(connection, now, newer, "the older machine is alive, and no seat was free")?;
                free_seat(connection, key.number)?;
            }
            use_seat_of_released(connection, key.number)?;
            give_seat_back_to(connection, now, &old, other)?;
        }
        SupersededUse::TakeFreeSeat => {
            use_seat(connection, key.number)?;
            give_seat_back_to(connection, now, &old, other)?;
        }
        SupersededUse::ReleaseOlder => end(connection, now, &old, "used after its hour, and no seat was free")?,
    }
    Ok(())
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
        None if super::early::is_remembered(connection, now, &command.id, &command.token_hash)? => {
            KnownId::GivenBackEarly
        }
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

/// One seat more is used. The condition repeats what the rules have decided: nothing oversells, not even a fault there.
fn use_seat(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    let taken = connection
        .prepare_cached("UPDATE keys SET used = used + 1 WHERE number = ?1 AND used < seats")?
        .execute([key.0])?;
    if taken == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(taken)) }
}

/// A seat that was freed in the same transaction is used again; seats may have been lowered meanwhile.
fn use_seat_of_released(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE keys SET used = used + 1 WHERE number = ?1")?.execute([key.0]).map(drop)
}

fn free_seat(connection: &Connection, key: KeyNumber) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE keys SET used = used - 1 WHERE number = ?1")?.execute([key.0]).map(drop)
}

fn give_seat_back_to(
    connection: &Connection,
    now: Timestamp,
    old: &Held,
    newer: Option<RegistrationId>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE registrations SET state = 'active', ended_at = NULL, successor = NULL, likeness = NULL WHERE id = ?1",
        )?
        .execute([old.id.as_bytes()])?;
    Entry::of(now, EventKind::SeatReturned, old.key, old.id)
        .with(newer)
        .because("its credential was used after its hour")
        .write(connection)
}

fn distrust_what_matched(
    connection: &Connection,
    now: Timestamp,
    old: &Held,
    newer: Option<&Held>,
) -> rusqlite::Result<()> {
    let Some(likeness) = old.likeness else { return Ok(()) };
    let (machine, hardware) = distrusted_after(likeness);
    let (machine, hardware) = (old.machine.filter(|_| machine), old.hardware.filter(|_| hardware));
    for (kind, id) in [("machine", machine), ("hardware", hardware)] {
        let Some(id) = id else { continue };
        connection
            .prepare_cached("INSERT OR IGNORE INTO distrusted (key, kind, id, since) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![old.key.0, kind, id.as_bytes(), now.unix()])?;
    }
    Entry::of(now, EventKind::Distrusted, old.key, old.id)
        .with(newer.map(|newer| newer.id))
        .ids(machine, hardware)
        .because("two machines share them")
        .write(connection)
}

fn held_id(held: Option<&Held>) -> HeldId {
    match held.map(|held| held.state) {
        None => HeldId::New,
        Some(HolderState::Active) => HeldId::Active,
        Some(HolderState::Superseded) => HeldId::Superseded,
        Some(HolderState::Released) => HeldId::Released,
    }
}

fn give_back(
    connection: &Connection,
    now: Timestamp,
    held: Option<&Held>,
    todo: GivingBack,
    why: &str,
) -> rusqlite::Result<Deleted> {
    match (todo, held) {
        (GivingBack::FreeSeat, Some(held)) => {
            end(connection, now, held, why)?;
            free_seat(connection, held.key)?;
            Ok(Deleted::Released)
        }
        (GivingBack::EndSuperseded, Some(held)) => {
            end(connection, now, held, why)?;
            Ok(Deleted::Released)
        }
        _ => Ok(Deleted::Already),
    }
}

fn end(connection: &Connection, now: Timestamp, held: &Held, why: &str) -> rusqlite::Result<()> {
    set_released(connection, now, &held.id)?;
    Entry::of(now, EventKind::Released, held.key, held.id).with(held.successor).because(why).write(connection)
}

fn set_released(connection: &Connection, now: Timestamp, id: &RegistrationId) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE registrations SET state = 'released', ended_at = ?2, successor = NULL, likeness = NULL WHERE id = ?1",
        )?
        .execute(params![id.as_bytes(), now.unix()])
        .map(drop)
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        number: KeyNumber(row.get(0)?),
        id: key_id(row, 1)?,
        product: row.get(2)?,
        contract: row.get(3)?,
        seats: Seats { total: row.get(4)?, used: row.get(5)? },
        self_release: row.get(6)?,
        terms: Terms {
            state: key_state(row, 7)?,
            starts: optional_time(row, 8)?,
            expires: time(row, 9)?,
            grace_seconds: 0,
        },
    })
}

fn registration(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        id: row.get(0).map(RegistrationId::from_bytes)?,
        key: KeyNumber(row.get(1)?),
        token_hash: hash(row, 2)?,
        state: holder_state(row, 3)?,
        machine: machine_id(row, 4)?,
        hardware: machine_id(row, 5)?,
        registered_at: time(row, 6)?,
        ended_at: optional_time(row, 7)?,
        successor: id(row, 8)?,
        likeness: likeness(row, 9)?,
    })
}

/// The columns that [`key`] reads, of `keys` by the name `k`.
const KEY: &str =
    "k.number, k.id, k.product, k.contract, k.seats, k.used, k.self_release, k.state, k.starts, k.expires";
