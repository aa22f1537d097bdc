//! Seats given, moved and given back: from the facts that a database has read to the changes that it has to write.
//!
//! Owns what a decision of the rules means for the tables, once for every database. Pure: no SQL, no clock. The caller has
//! read the facts and carries the changes out in one transaction.

use std::borrow::Cow;
use std::net::IpAddr;

use els_protocol::{Code, RegistrationId, Sha256Hex, Timestamp};

use super::change::{Change, Entry, NewRegistration, Particulars};
use super::rows::{CandidateRow, Held, IdKind, Key, client_group, likeness_text};
use super::{Deleted, EventKind, HolderState, How, Policy, Registered, RegistrationView};
use crate::rules::{
    Candidate, Distrust, GivingBack, HeldId, Judged, KnownId, Put, PutFacts, RegisterCommand, SupersededUse,
    distrusted_after, judge_delete, judge_put, judge_release, judge_superseded_use,
};

/// What a database has read for a PUT, beside the key.
pub(super) struct PutRows {
    /// The registration with this id.
    pub(super) present: Option<Held>,
    /// Whether id and token were given back before anybody had seen them.
    pub(super) given_back_early: bool,
    /// Those that could be the same machine; read only where the id is new.
    pub(super) candidates: Vec<CandidateRow>,
    /// Which of the machine's ids the key distrusts.
    pub(super) distrust: Distrust,
}

/// An answer, and what has to be written before it is given.
pub(super) struct Outcome<T> {
    pub(super) answer: T,
    pub(super) changes: Vec<Change>,
}

impl<T> Outcome<T> {
    fn unchanged(answer: T) -> Self {
        Outcome { answer, changes: Vec::new() }
    }
}

/// PUT.
pub(super) fn register(
    policy: &Policy,
    now: Timestamp,
    key: &Key,
    command: &RegisterCommand,
    rows: &PutRows,
) -> Outcome<Judged<Registered>> {
    let candidates: Vec<Candidate> = rows.candidates.iter().map(|row| row.candidate).collect();
    let facts = PutFacts {
        terms: key.terms(policy),
        covered: (policy.covers)(&key.product, &command.os, &command.arch),
        seats: key.seats,
        known: known_id(key, rows),
        candidates: &candidates,
        distrust: rows.distrust,
    };
    let put = match judge_put(now, command, &facts) {
        Ok(put) => put,
        Err(refusal) => return Outcome::unchanged(Err(refusal)),
    };
    let mut changes = Vec::new();
    let mut view = key.view(command.id, now);
    let how = match put {
        Put::Confirm => {
            if let Some(present) = &rows.present {
                view.registered_at = present.registered_at;
                confirm(now, command, present, &mut changes);
            }
            How::Confirmed
        }
        Put::Move { from, likeness } => {
            let row = rows.candidates.iter().find(|row| row.candidate.id == from);
            let (label, superseded) = row.map_or((None, None), |row| (row.label.clone(), row.superseded));
            let why = likeness_text(likeness);
            if likeness.is_certain() {
                // What the old id had superseded is superseded by the new one from now on.
                changes.extend(superseded.map(|id| Change::Follow { id, successor: command.id }));
                changes.push(Change::Release { id: from, at: now });
                let entry = Entry::of(now, EventKind::Released, key.number, from);
                changes.push(Change::Event(entry.with(Some(command.id)).because(why)));
            } else {
                // At most one superseded id a seat: the one before ends.
                if let Some(before) = superseded {
                    changes.push(Change::Release { id: before, at: now });
                    let entry = Entry::of(now, EventKind::Released, key.number, before).with(Some(from));
                    changes.push(Change::Event(entry.because("another id of the seat is superseded")));
                }
                changes.push(Change::Supersede { id: from, at: now, successor: command.id, likeness });
                let entry = Entry::of(now, EventKind::Superseded, key.number, from);
                changes.push(Change::Event(entry.with(Some(command.id)).because(why)));
            }
            // A label stays with the machine.
            let mut new = new_registration(now, key, command);
            new.label = new.label.or(label);
            changes.push(Change::Insert(new));
            let entry = entry(now, EventKind::SeatMoved, key, command);
            changes.push(Change::Event(entry.with(Some(from)).because(why)));
            How::Moved
        }
        Put::Take => {
            view.seats.used += 1;
            changes.push(Change::UseSeat(key.number));
            changes.push(Change::Insert(new_registration(now, key, command)));
            changes.push(Change::Event(entry(now, EventKind::SeatTaken, key, command)));
            How::Created
        }
    };
    Outcome { answer: Ok(Registered { view, how }), changes }
}

/// GET: what a machine's own credential stands for, and whether that has to be decided first, since it was superseded and its hour
/// is over. `found` is the registration with this id and its key; `given_back_early` says, where there is none, whether id and
/// token were given back before anybody had seen them.
pub(super) fn own_view(
    policy: &Policy,
    now: Timestamp,
    token_hash: Sha256Hex,
    found: Option<(&Held, &Key)>,
    given_back_early: bool,
) -> (Judged<RegistrationView>, bool) {
    let refused = |code: Code| (Err(code.into()), false);
    let Some((held, key)) = found else {
        return refused(if given_back_early { Code::RegistrationReleased } else { Code::UnknownRegistration });
    };
    if held.token_hash != token_hash {
        return refused(Code::CredentialInvalid);
    }
    if held.state == HolderState::Released {
        return refused(Code::RegistrationReleased);
    }
    if let Some(code) = key.terms(policy).refuses_credential(now) {
        return refused(code);
    }
    (Ok(key.view(held.id, held.registered_at)), held.is_overdue(now))
}

/// DELETE by the machine itself.
pub(super) fn delete(
    now: Timestamp,
    id: RegistrationId,
    token_hash: Sha256Hex,
    client: IpAddr,
    held: Option<&Held>,
) -> Outcome<Judged<Deleted>> {
    let fits = held.is_none_or(|held| held.token_hash == token_hash);
    match judge_delete(held_id(held), fits) {
        Ok(GivingBack::Remember) => {
            let remember = Change::Remember { id, token_hash, client: client_group(client), at: now };
            Outcome { answer: Ok(Deleted::NeverSeen), changes: vec![remember] }
        }
        Ok(todo) => give_back(now, held, todo, "given back by the machine"),
        Err(refusal) => Outcome::unchanged(Err(refusal)),
    }
}

/// DELETE of a seat by whoever holds the key.
pub(super) fn release(now: Timestamp, key: &Key, held: Option<&Held>) -> Outcome<Judged<Deleted>> {
    let same_key = held.is_some_and(|held| held.key == key.number);
    match judge_release(held_id(held), same_key, key.self_release) {
        Ok(todo) => give_back(now, held, todo, "freed with the key"),
        Err(refusal) => Outcome::unchanged(Err(refusal)),
    }
}

/// Frees a seat in the vendor's name, or because nobody has seen its machine.
pub(super) fn release_any(now: Timestamp, held: &Held, why: Cow<'static, str>) -> Outcome<Judged<Deleted>> {
    match judge_delete(held_id(Some(held)), true) {
        Ok(todo) => give_back(now, Some(held), todo, why),
        Err(refusal) => Outcome::unchanged(Err(refusal)),
    }
}

/// The use of a superseded credential. `newer` is the registration that has its seat, if it is still active.
pub(super) fn superseded_used(
    policy: &Policy,
    now: Timestamp,
    key: &Key,
    old: &Held,
    newer: Option<&Held>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (HolderState::Superseded, Some(since)) = (old.state, old.ended_at) else { return changes };
    let newer = newer.filter(|newer| newer.state == HolderState::Active);
    let decision = judge_superseded_use(now, since, &key.terms(policy), key.seats, newer.is_some());
    if decision == SupersededUse::Nothing {
        return changes;
    }
    distrust_what_matched(now, old, newer, &mut changes);
    let other = newer.map(|newer| newer.id);
    match decision {
        SupersededUse::Nothing => {}
        SupersededUse::Split => {
            changes.push(Change::UseSeat(key.number));
            give_seat_back_to(now, old, other, &mut changes);
            if let Some(newer) = newer {
                let entry = Entry::of(now, EventKind::SeatSplit, key.number, newer.id).with(Some(old.id));
                changes.push(Change::Event(entry));
            }
        }
        SupersededUse::ReleaseNewer => {
            // The seat goes from one to the other, and is never free: seats may have been lowered meanwhile.
            if let Some(newer) = newer {
                end(now, newer, "the older machine is alive, and no seat was free", &mut changes);
            }
            give_seat_back_to(now, old, other, &mut changes);
        }
        SupersededUse::TakeFreeSeat => {
            changes.push(Change::UseSeat(key.number));
            give_seat_back_to(now, old, other, &mut changes);
        }
        SupersededUse::ReleaseOlder => end(now, old, "used after its hour, and no seat was free", &mut changes),
    }
    changes
}

fn known_id(key: &Key, rows: &PutRows) -> KnownId {
    match &rows.present {
        Some(Held { state: HolderState::Active, machine: Some(machine), key: of, token_hash, .. }) => {
            KnownId::Active { same_key: *of == key.number, token_hash: *token_hash, machine: *machine }
        }
        Some(_) => KnownId::Ended,
        None if rows.given_back_early => KnownId::GivenBackEarly,
        None => KnownId::New,
    }
}

/// Brings an active registration up to date. A label that is not sent again stays; ids and system are what was sent.
fn confirm(now: Timestamp, command: &RegisterCommand, present: &Held, changes: &mut Vec<Change>) {
    let other_ids = present.machine != Some(command.machine) || present.hardware != command.hardware;
    let label = command.label.clone().or_else(|| present.label.clone());
    if !other_ids && present.os == command.os && present.arch == command.arch && present.label == label {
        return;
    }
    changes.push(Change::Update(Particulars {
        id: command.id,
        machine: command.machine,
        hardware: command.hardware,
        os: command.os.clone(),
        arch: command.arch.clone(),
        label,
    }));
    if other_ids {
        let why = if command.moved { "said to be moved" } else { "confirmed with another hardware id" };
        let entry = Entry::of(now, EventKind::MachineChanged, present.key, command.id);
        changes.push(Change::Event(entry.ids(Some(command.machine), command.hardware).because(why)));
    }
}

fn new_registration(now: Timestamp, key: &Key, command: &RegisterCommand) -> NewRegistration {
    NewRegistration {
        id: command.id,
        key: key.number,
        token_hash: command.token_hash,
        machine: command.machine,
        hardware: command.hardware,
        os: command.os.clone(),
        arch: command.arch.clone(),
        label: command.label.clone(),
        at: now,
    }
}

fn entry(now: Timestamp, kind: EventKind, key: &Key, command: &RegisterCommand) -> Entry {
    Entry::of(now, kind, key.number, command.id).ids(Some(command.machine), command.hardware)
}

fn give_seat_back_to(now: Timestamp, old: &Held, newer: Option<RegistrationId>, changes: &mut Vec<Change>) {
    changes.push(Change::Reactivate { id: old.id });
    let entry = Entry::of(now, EventKind::SeatReturned, old.key, old.id).with(newer);
    changes.push(Change::Event(entry.because("its credential was used after its hour")));
}

fn distrust_what_matched(now: Timestamp, old: &Held, newer: Option<&Held>, changes: &mut Vec<Change>) {
    let Some(likeness) = old.likeness else { return };
    let (machine, hardware) = distrusted_after(likeness);
    let (machine, hardware) = (old.machine.filter(|_| machine), old.hardware.filter(|_| hardware));
    for (kind, id) in [(IdKind::Machine, machine), (IdKind::Hardware, hardware)] {
        changes.extend(id.map(|id| Change::Distrust { key: old.key, kind, id, since: now }));
    }
    let entry = Entry::of(now, EventKind::Distrusted, old.key, old.id).with(newer.map(|newer| newer.id));
    changes.push(Change::Event(entry.ids(machine, hardware).because("two machines share them")));
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
    now: Timestamp,
    held: Option<&Held>,
    todo: GivingBack,
    why: impl Into<Cow<'static, str>>,
) -> Outcome<Judged<Deleted>> {
    let Some(held) = held.filter(|_| matches!(todo, GivingBack::FreeSeat | GivingBack::EndSuperseded)) else {
        return Outcome::unchanged(Ok(Deleted::Already));
    };
    let mut changes = Vec::new();
    end(now, held, why, &mut changes);
    if todo == GivingBack::FreeSeat {
        changes.push(Change::FreeSeat(held.key));
    }
    Outcome { answer: Ok(Deleted::Released), changes }
}

fn end(now: Timestamp, held: &Held, why: impl Into<Cow<'static, str>>, changes: &mut Vec<Change>) {
    changes.push(Change::Release { id: held.id, at: now });
    let entry = Entry::of(now, EventKind::Released, held.key, held.id).with(held.successor);
    changes.push(Change::Event(entry.because(why)));
}
