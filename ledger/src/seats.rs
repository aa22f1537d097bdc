//! Seats given, moved and released: from the facts that a database has read to the changes that it has to write.
//!
//! Owns what a decision of the rules means for the tables, once for every database. Pure: no SQL, no clock. The caller has
//! read the facts and carries the changes out in one transaction.

use std::borrow::Cow;
use std::net::IpAddr;

use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};

use crate::change::{Change, Decided, Entry, NewRegistration, Particulars};
use crate::outcome::{How, Registered, RegistrationView, ReleaseOutcome};
use crate::rows::{CandidateRow, IdKind, KeyRow, RegistrationRow, SupersededRow, client_group, match_rule_text};
use crate::rules::{
    Candidate, Decision, Denied, Distrust, Judged, KnownId, Pause, RegisterCommand, RegisterFacts, RegistrationState,
    ReleaseDecision, SUPERSEDED_IDS, UseFacts, Used, is_overdue, is_void, judge_register, judge_release,
    judge_superseded_use, judge_unregister, matched_by, unused_until,
};
use crate::{EventKind, KeyNumber, Policy};

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

/// How one try to register ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It was judged.
    Judged(Judged<Registered>),
    /// The id is superseded and its hour is over: the use has to be decided first.
    DecideUseFirst,
}

/// Registers a machine.
pub(super) fn register(
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    command: &RegisterCommand,
    rows: &RegisterRows,
) -> Decided<Attempt> {
    let candidates: Vec<Candidate> = rows.candidates.iter().map(|row| row.candidate(now)).collect();
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
        Err(denied) => return Decided::unchanged(Attempt::Judged(Err(denied))),
    };
    let mut changes = Vec::new();
    let mut view = key.view(command.id, now);
    let mut moved_from = None;
    let how = match decision {
        Decision::DecideUseFirst => return Decided::unchanged(Attempt::DecideUseFirst),
        Decision::ConfirmSuperseded => {
            if let Some(present) = &rows.present {
                view = own(key, present, now, &[]);
            }
            How::Confirmed
        }
        Decision::Confirm => {
            if let Some(present) = &rows.present {
                view.registered_at = present.registered_at;
                confirm(now, command, present, &mut changes);
            }
            How::Confirmed
        }
        Decision::Move { from, rule } => {
            let row = rows.candidates.iter().find(|row| row.id == from);
            let why = match_rule_text(rule);
            if let Some(oldest) = row.filter(|row| row.superseded >= SUPERSEDED_IDS).and_then(|row| row.oldest.as_ref())
            {
                changes.push(Change::Release { id: oldest.id, at: now });
                let entry = Entry::of(now, EventKind::Released, key.number, oldest.id).with(Some(from));
                changes.push(Change::Event(entry.because("the seat has too many superseded ids")));
                forget_distrust(key.number, oldest.machine, oldest.hardware, &mut changes);
            }
            if row.is_some_and(|row| row.superseded != 0) {
                changes.push(Change::FollowAll { from, successor: command.id });
            }
            changes.push(Change::Supersede { id: from, at: now, successor: command.id, rule });
            let entry = Entry::of(now, EventKind::Superseded, key.number, from);
            changes.push(Change::Event(entry.with(Some(command.id)).because(why)));
            // The label stays with the machine.
            let mut new = new_registration(now, key, command);
            new.label = new.label.or_else(|| row.and_then(|row| row.label.clone()));
            changes.push(Change::Insert(new));
            let entry = Entry::of(now, EventKind::SeatMoved, key.number, command.id);
            let entry = entry.ids(Some(command.machine), command.hardware);
            changes.push(Change::Event(entry.with(Some(from)).because(why)));
            moved_from = Some(from);
            How::Moved
        }
        Decision::Take => {
            view.seats.used += 1;
            changes.push(Change::UseSeat(key.number));
            changes.push(Change::Insert(new_registration(now, key, command)));
            let entry = Entry::of(now, EventKind::SeatTaken, key.number, command.id);
            changes.push(Change::Event(entry.ids(Some(command.machine), command.hardware)));
            How::Created
        }
    };
    Decided { outcome: Attempt::Judged(Ok(Registered { view, how, moved_from })), changes }
}

/// What a machine's own credential stands for, and whether that has to be decided first, since it was superseded and its
/// hour is over. `found` is the registration with this id and its key; `released_early` says, where there is none, whether
/// there was an early release of id and token. `pauses` are the times that do not count for a superseded one.
pub(super) fn own_view(
    policy: &Policy,
    now: Timestamp,
    token_hash: Sha256Hex,
    found: Option<(&RegistrationRow, &KeyRow)>,
    released_early: bool,
    pauses: &[Pause],
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
    (Ok(own(key, held, now, pauses)), held.superseded_at().is_some_and(|since| is_overdue(now, since)))
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

/// Releases a superseded registration that was not used for so long that it ends by itself.
pub(super) fn release_unused(now: Timestamp, row: &RegistrationRow) -> Vec<Change> {
    ended(now, Some(row), ReleaseDecision::EndSuperseded, "superseded, and not used for 35 days").changes
}

/// The use of a superseded credential. `holder` is the registration that has its seat; `sharing` are the superseded registrations
/// of the key that share an id with it, itself among them, the oldest first.
pub(super) fn superseded_used(
    policy: &Policy,
    now: Timestamp,
    key: &KeyRow,
    old: &RegistrationRow,
    holder: Option<&RegistrationRow>,
    sharing: &[SupersededRow],
) -> Vec<Change> {
    let mut changes = Vec::new();
    let (Some(since), Some(rule)) = (old.superseded_at(), old.rule) else { return changes };
    let holder = holder.filter(|holder| holder.state == RegistrationState::Active);
    let (by_machine, by_hardware) = matched_by(rule);
    let (machine, hardware) = (old.machine.filter(|_| by_machine), old.hardware.filter(|_| by_hardware));
    let is_distrusted = |id: Option<_>, shared: Option<_>, before| before || (id.is_some() && id == shared);
    let void: Vec<&RegistrationRow> = sharing
        .iter()
        .filter(|one| {
            let of_machine = is_distrusted(one.row.machine, machine, one.machine_distrusted);
            let of_hardware = is_distrusted(one.row.hardware, hardware, one.hardware_distrusted);
            one.row.rule.is_some_and(|rule| is_void(rule, of_machine, of_hardware))
        })
        .map(|one| &one.row)
        .collect();
    let facts = UseFacts {
        terms: key.terms(policy),
        seats: key.seats,
        since,
        registered_at: old.registered_at,
        holder: holder.map(|holder| holder.registered_at),
        sharing: void.len(),
        before: void.iter().take_while(|one| one.id != old.id).count(),
    };
    let Some(decision) = judge_superseded_use(now, &facts) else { return changes };

    for (kind, id) in [(IdKind::Machine, machine), (IdKind::Hardware, hardware)] {
        changes.extend(id.map(|id| Change::Distrust { key: key.number, kind, id, since: now }));
    }
    let entry = Entry::of(now, EventKind::Distrusted, key.number, old.id).with(holder.map(|holder| holder.id));
    changes.push(Change::Event(entry.ids(machine, hardware).because("two machines share them")));
    for one in void.iter().take(decision.seats) {
        changes.push(Change::UseSeat(key.number));
        let why = match one.id == old.id {
            true => "its credential was used after its hour",
            false => "it was superseded by the same ids",
        };
        return_seat_to(now, one, one.successor, why, &mut changes);
    }
    match (decision.used, holder) {
        (Used::OwnSeat, Some(holder)) => {
            let entry = Entry::of(now, EventKind::SeatSplit, key.number, holder.id).with(Some(old.id));
            changes.push(Change::Event(entry));
        }
        (Used::HoldersSeat, Some(holder)) => {
            // The seat goes from one to the other and is never free: seats may have been lowered meanwhile.
            end(now, holder, "the machine that registered first is alive, and no seat was free", &mut changes);
            return_seat_to(now, old, Some(holder.id), "its credential was used within a day", &mut changes);
            changes.push(Change::FollowAll { from: holder.id, successor: old.id });
        }
        (Used::OwnSeat, None) => {}
        (Used::HoldersSeat | Used::Released, _) => {
            end(now, old, "used after its hour, and no seat was free", &mut changes);
        }
    }
    changes
}

fn known_id(key: &KeyRow, rows: &RegisterRows) -> KnownId {
    match &rows.present {
        Some(row @ RegistrationRow { state: RegistrationState::Active | RegistrationState::Superseded, .. }) => {
            // Only the ids of released registrations are erased.
            let Some(machine) = row.machine else { return KnownId::Released };
            let (same_key, token_hash) = (row.key == key.number, row.token_hash);
            KnownId::Held { superseded: row.superseded_at(), same_key, token_hash, machine }
        }
        Some(_) => KnownId::Released,
        None if rows.released_early => KnownId::ReleasedEarly,
        None => KnownId::New,
    }
}

/// A registration that was not released, as its machine sees it.
fn own(key: &KeyRow, held: &RegistrationRow, now: Timestamp, pauses: &[Pause]) -> RegistrationView {
    let until = held.superseded_at().map(|since| unused_until(now, since, pauses));
    RegistrationView { until, ..key.view(held.id, held.registered_at) }
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
        let machine = present.machine.filter(|id| *id != command.machine);
        let hardware = present.hardware.filter(|id| Some(*id) != command.hardware);
        forget_distrust(present.key, machine, hardware, changes);
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

fn return_seat_to(
    now: Timestamp,
    old: &RegistrationRow,
    holder: Option<RegistrationId>,
    why: &'static str,
    changes: &mut Vec<Change>,
) {
    changes.push(Change::Reactivate { id: old.id });
    let entry = Entry::of(now, EventKind::SeatReturned, old.key, old.id).with(holder);
    changes.push(Change::Event(entry.because(why)));
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
    forget_distrust(held.key, held.machine, held.hardware, changes);
}

/// An id is distrusted until no active or superseded registration of its key has it.
fn forget_distrust(key: KeyNumber, machine: Option<MachineId>, hardware: Option<MachineId>, changes: &mut Vec<Change>) {
    for (kind, id) in [(IdKind::Machine, machine), (IdKind::Hardware, hardware)] {
        changes.extend(id.map(|id| Change::ForgetDistrust { key, kind, id }));
    }
}
