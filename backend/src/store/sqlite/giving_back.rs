//! Giving seats back, and the superseded credential that is used.
//!
//! Owns gathering the facts of the rules and carrying their decision out, in the transaction of its caller. Decides
//! nothing itself.

use std::net::IpAddr;

use els_protocol::{Code, RegistrationId, Sha256Hex, Timestamp};
use rusqlite::{Connection, params};

use super::early;
use super::held::{Held, free_seat, held, key_by_number, key_by_secret, set_released, use_freed_seat, use_seat};
use super::trail::Entry;
use crate::license::{
    GivingBack, HeldId, Judged, SupersededUse, distrusted_after, judge_delete, judge_release, judge_superseded_use,
};
use crate::store::{Deleted, EventKind, HolderState, Policy};

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
            early::remember(connection, now, id, token_hash, client)?;
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
            use_freed_seat(connection, key.number)?;
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
