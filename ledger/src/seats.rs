//! Seats given, moved and released: from the facts that a database has read to the changes that it has to write.
//!
//! Owns what a decision of the rules means for the tables, once for every database. Pure: no SQL, no clock. The caller has
//! read the facts and carries the changes out in one transaction.

use std::borrow::Cow;
use std::net::IpAddr;

use els_protocol::{RegistrationId, Sha256Hex, Timestamp};

use crate::change::{Change, Decided, Entry, NewRegistration, Particulars};
use crate::outcome::{How, Registered, RegistrationView, ReleaseOutcome};
use crate::rows::{CandidateRow, IdKind, KeyRow, RegistrationRow, client_group, match_rule_text};
use crate::rules::{
    Candidate, Decision, Denied, Distrust, Judged, KnownId, RegisterCommand, RegisterFacts, RegistrationState,
    ReleaseDecision, SupersededUse, distrusted_after, judge_register, judge_release, judge_superseded_use,
    judge_unregister,
};
use crate::{EventKind, Policy};

/// What a database has read for a registration, besides the key.
pub(super) struct RegisterRows {
    /// The registration with this id.
    pub(super) present: Option<RegistrationRow>,
    /// Whether there was an early release of this id and token.
    pub(super) released_early: bool,
    /// Registrations that could be the same machine; read only where the id is new.
    pub(super) candidates: Vec<CandidateRow>,
    /// Which of the machine's ids the key distrusts.
    pub(super) distrust: Distrust,
}

/// Registers a machine.
pub(super) fn register(
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    command: &RegisterCommand,
    rows: &RegisterRows,
) -> Decided<Judged<Registered>> {
    let candidates: Vec<Candidate> = rows.candidates.iter().map(|row| row.candidate).collect();
    let facts = RegisterFacts {
        terms: key.terms(policy),
        covered: (policy.covers)(&key.product, &command.os, &command.arch),
        seats: key.seats,
        known: known_id(key, rows),
        candidates: &candidates,
        distrust: rows.distrust,
    };
    let decision = match judge_register(now, command, &facts) {
        Ok(decision) => decision,
        Err(denied) => return Decided::unchanged(Err(denied)),
    };
    let mut changes = Vec::new();
    let mut view = key.view(command.id, now);
    let how = match decision {
        Decision::Confirm => {
            if let Some(present) = &rows.present {
                view.registered_at = present.registered_at;
                confirm(now, command, present, &mut changes);
            }
            How::Confirmed
        }
        Decision::Move { from, rule } => {
            let row = rows.candidates.iter().find(|row| row.candidate.id == from);
            let (label, superseded) = row.map_or((None, None), |row| (row.label.clone(), row.superseded));
            let why = match_rule_text(rule);
            if rule.is_certain() {
                // The registration that the old id had superseded follows the seat.
                changes.extend(superseded.map(|id| Change::Follow { id, successor: command.id }));
                changes.push(Change::Release { id: from, at: now });
                let entry = Entry::of(now, EventKind::Released, key.number, from);
                changes.push(Change::Event(entry.with(Some(command.id)).because(why)));
            } else {
                // A seat has at most one superseded id: the one before ends.
                if let Some(before) = superseded {
                    changes.push(Change::Release { id: before, at: now });
                    let entry = Entry::of(now, EventKind::Released, key.number, before).with(Some(from));
                    changes.push(Change::Event(entry.because("another id of the seat is superseded")));
                }
                changes.push(Change::Supersede { id: from, at: now, successor: command.id, rule });
                let entry = Entry::of(now, EventKind::Superseded, key.number, from);
                changes.push(Change::Event(entry.with(Some(command.id)).because(why)));
            }
            // The label stays with the machine.
            let mut new = new_registration(now, key, command);
            new.label = new.label.or(label);
            changes.push(Change::Insert(new));
            let entry = entry(now, EventKind::SeatMoved, key, command);
            changes.push(Change::Event(entry.with(Some(from)).because(why)));
            How::Moved
        }
        Decision::Take => {
            view.seats.used += 1;
            changes.push(Change::UseSeat(key.number));
            changes.push(Change::Insert(new_registration(now, key, command)));
            changes.push(Change::Event(entry(now, EventKind::SeatTaken, key, command)));
            How::Created
        }
    };
    Decided { outcome: Ok(Registered { view, how }), changes }
}

/// What a machine's own credential stands for, and whether that has to be decided first, since it was superseded and its
/// hour is over. `found` is the registration with this id and its key; `released_early` says, where there is none, whether
/// there was an early release of id and token.
pub(super) fn own_view(
    policy: &Policy,
    now: Timestamp,
    token_hash: Sha256Hex,
    found: Option<(&RegistrationRow, &KeyRow)>,
    released_early: bool,
) -> (Judged<RegistrationView>, bool) {
    let denied = |denied: Denied| (Err(denied), false);
    let Some((held, key)) = found else {
        return denied(if released_early { Denied::RegistrationReleased } else { Denied::UnknownRegistration });
    };
    if held.token_hash != token_hash {
        return denied(Denied::WrongToken);
    }
    if held.state == RegistrationState::Released {
        return denied(Denied::RegistrationReleased);
    }
    if let Some(why) = key.terms(policy).denies_credential(now) {
        return denied(why);
    }
    (Ok(key.view(held.id, held.registered_at)), held.is_overdue(now))
}

/// The machine itself releases its seat.
pub(super) fn unregister(
    now: Timestamp,
    id: RegistrationId,
    token_hash: Sha256Hex,
    client: IpAddr,
    known: Option<&RegistrationRow>,
) -> Decided<Judged<ReleaseOutcome>> {
    let fits = known.is_some_and(|row| row.token_hash == token_hash);
    match judge_unregister(known.map(|row| row.state), fits) {
        Ok(ReleaseDecision::RememberEarly) => {
            let remember = Change::RememberEarly { id, token_hash, client: client_group(client), at: now };
            Decided { outcome: Ok(ReleaseOutcome::RememberedEarly), changes: vec![remember] }
        }
        Ok(decision) => ended(now, known, decision, "released by the machine"),
        Err(denied) => Decided::unchanged(Err(denied)),
    }
}

/// Releases a seat in the scope of a holder of `key`.
pub(super) fn release_with_key(
    now: Timestamp,
    key: &KeyRow,
    known: Option<&RegistrationRow>,
) -> Decided<Judged<ReleaseOutcome>> {
    let in_scope = known.is_some_and(|row| row.key == key.number);
    match judge_release(known.map(|row| row.state), in_scope, key.self_release) {
        Ok(decision) => ended(now, known, decision, "released with the key"),
        Err(denied) => Decided::unchanged(Err(denied)),
    }
}

/// Releases a seat in the scope of the vendor.
pub(super) fn release_by_vendor(now: Timestamp, known: Option<&RegistrationRow>) -> Decided<Judged<ReleaseOutcome>> {
    match judge_release(known.map(|row| row.state), true, true) {
        Ok(decision) => ended(now, known, decision, "released by the vendor"),
        Err(denied) => Decided::unchanged(Err(denied)),
    }
}

/// Releases an active registration whose machine was not seen for `days`.
pub(super) fn release_unseen(now: Timestamp, row: &RegistrationRow, days: i64) -> Vec<Change> {
    let why = format!("not seen for {days} days");
    ended(now, Some(row), ReleaseDecision::FreeSeat, why).changes
}

/// The use of a superseded credential. `newer` is the registration that has its seat, if it is still active.
pub(super) fn superseded_used(
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    old: &RegistrationRow,
    newer: Option<&RegistrationRow>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (RegistrationState::Superseded, Some(since)) = (old.state, old.ended_at) else { return changes };
    let newer = newer.filter(|newer| newer.state == RegistrationState::Active);
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
            return_seat_to(now, old, other, &mut changes);
            if let Some(newer) = newer {
                let entry = Entry::of(now, EventKind::SeatSplit, key.number, newer.id).with(Some(old.id));
                changes.push(Change::Event(entry));
            }
        }
        SupersededUse::ReleaseNewer => {
            // The seat goes from one to the other and is never free: seats may have been lowered meanwhile.
            if let Some(newer) = newer {
                end(now, newer, "the older machine is alive, and no seat was free", &mut changes);
            }
            return_seat_to(now, old, other, &mut changes);
        }
        SupersededUse::TakeFreeSeat => {
            changes.push(Change::UseSeat(key.number));
            return_seat_to(now, old, other, &mut changes);
        }
        SupersededUse::ReleaseOlder => end(now, old, "used after its hour, and no seat was free", &mut changes),
    }
    changes
}

fn known_id(key: &KeyRow, rows: &RegisterRows) -> KnownId {
    match &rows.present {
        Some(RegistrationRow {
            state: RegistrationState::Active, machine: Some(machine), key: of, token_hash, ..
        }) => KnownId::Active { same_key: *of == key.number, token_hash: *token_hash, machine: *machine },
        Some(_) => KnownId::Ended,
        None if rows.released_early => KnownId::ReleasedEarly,
        None => KnownId::New,
    }
}

/// Brings an active registration up to date. A label that is not sent stays; ids and system become what was sent.
fn confirm(now: Timestamp, command: &RegisterCommand, present: &RegistrationRow, changes: &mut Vec<Change>) {
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

fn new_registration(now: Timestamp, key: &KeyRow, command: &RegisterCommand) -> NewRegistration {
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

fn entry(now: Timestamp, kind: EventKind, key: &KeyRow, command: &RegisterCommand) -> Entry {
    Entry::of(now, kind, key.number, command.id).ids(Some(command.machine), command.hardware)
}

fn return_seat_to(now: Timestamp, old: &RegistrationRow, newer: Option<RegistrationId>, changes: &mut Vec<Change>) {
    changes.push(Change::Reactivate { id: old.id });
    let entry = Entry::of(now, EventKind::SeatReturned, old.key, old.id).with(newer);
    changes.push(Change::Event(entry.because("its credential was used after its hour")));
}

fn distrust_what_matched(
    now: Timestamp,
    old: &RegistrationRow,
    newer: Option<&RegistrationRow>,
    changes: &mut Vec<Change>,
) {
    let Some(rule) = old.rule else { return };
    let (machine, hardware) = distrusted_after(rule);
    let (machine, hardware) = (old.machine.filter(|_| machine), old.hardware.filter(|_| hardware));
    for (kind, id) in [(IdKind::Machine, machine), (IdKind::Hardware, hardware)] {
        changes.extend(id.map(|id| Change::Distrust { key: old.key, kind, id, since: now }));
    }
    let entry = Entry::of(now, EventKind::Distrusted, old.key, old.id).with(newer.map(|newer| newer.id));
    changes.push(Change::Event(entry.ids(machine, hardware).because("two machines share them")));
}

fn ended(
    now: Timestamp,
    known: Option<&RegistrationRow>,
    decision: ReleaseDecision,
    why: impl Into<Cow<'static, str>>,
) -> Decided<Judged<ReleaseOutcome>> {
    let Some(row) = known.filter(|_| decision != ReleaseDecision::Nothing) else {
        return Decided::unchanged(Ok(ReleaseOutcome::AlreadyReleased));
    };
    let mut changes = Vec::new();
    end(now, row, why, &mut changes);
    if decision == ReleaseDecision::FreeSeat {
        changes.push(Change::FreeSeat(row.key));
    }
    Decided { outcome: Ok(ReleaseOutcome::Released), changes }
}

fn end(now: Timestamp, held: &RegistrationRow, why: impl Into<Cow<'static, str>>, changes: &mut Vec<Change>) {
    changes.push(Change::Release { id: held.id, at: now });
    let entry = Entry::of(now, EventKind::Released, held.key, held.id).with(held.successor);
    changes.push(Change::Event(entry.because(why)));
}
