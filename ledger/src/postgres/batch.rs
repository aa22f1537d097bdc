//! Many calls in one transaction: their facts read together, each judged in its turn, their changes written together.
//!
//! Owns which calls may share what was read. Two that concern the same registration, or the same ids of a key's machines,
//! may not: the later one is deferred to the next batch. All others depend on each other by the key's counter alone, which
//! is kept up to date within the batch. The rules are in `rules`, what they mean for the tables in `seats`.

use std::collections::HashSet;
use std::net::IpAddr;

use els_protocol::{MachineId, RegistrationId, Sha256Hex, Timestamp};

use super::apply::{Caused, apply};
use super::client::Statements;
use super::facts::{Facts, Wanted};
use super::failure::Failed;
use crate::by::By;
use crate::change::{Change, Decided};
use crate::outcome::ReleaseOutcome;
use crate::rows::IdKind;
use crate::rules::{Denied, Judged, RegisterCommand};
use crate::scope::Scope;
use crate::seats::{self, Attempt, RegisterRows};
use crate::{KeyNumber, Policy};

/// What can be done in a batch.
#[derive(Debug)]
pub(super) enum Call {
    Register(RegisterCommand),
    Unregister { id: RegistrationId, token_hash: Sha256Hex, client: IpAddr },
    Release { scope: Scope, id: RegistrationId },
    SupersededUsed { id: RegistrationId },
}

impl Call {
    /// The registration that it names.
    fn id(&self) -> RegistrationId {
        match self {
            Call::Register(command) => command.id,
            Call::Unregister { id, .. } | Call::Release { id, .. } | Call::SupersededUsed { id } => *id,
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallOutcome {
    Registered(Attempt),
    Released(Judged<ReleaseOutcome>),
    /// The use of a superseded credential was decided.
    Used,
}

/// What became of one call of a batch.
pub(super) enum Turn {
    /// How it ended; true once the transaction is durable.
    Done(CallOutcome),
    /// It cannot share this batch's facts.
    Deferred,
}

/// Carries calls out in the transaction that is open on `db`: one turn each, in their order, and whether anything was
/// changed.
pub(super) async fn carry_out(
    db: &impl Statements,
    policy: &Policy,
    calls: &[(Timestamp, &By, &Call)],
) -> Result<(Vec<Turn>, bool), Failed> {
    let mut facts = Facts::read(db, &wanted(calls)).await?;
    let mut taken = HashSet::new();
    let mut changes: Vec<Caused<'_>> = Vec::new();
    let mut turns = Vec::with_capacity(calls.len());
    for (now, by, call) in calls {
        let concerns = concerns(&facts, *now, call);
        if concerns.iter().any(|one| taken.contains(one)) || !is_locked(&facts, call) {
            turns.push(Turn::Deferred);
            continue;
        }
        taken.extend(concerns);
        let decided = judge(&facts, policy, *now, call);
        count(&mut facts, &decided.changes);
        if !decided.changes.is_empty() {
            changes.push((by, decided.changes));
        }
        turns.push(Turn::Done(decided.outcome));
    }
    if !changes.is_empty() {
        apply(db, &changes).await?;
    }
    Ok((turns, !changes.is_empty()))
}

fn wanted<'a>(calls: &[(Timestamp, &By, &'a Call)]) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    for (now, _, call) in calls {
        wanted.ids.push(call.id());
        match call {
            Call::Register(command) => {
                wanted.commands.push(command);
                wanted.asked_at.push(*now);
                wanted.secrets.push(command.key_hash);
            }
            Call::Unregister { id, .. } => wanted.unregistered.push(*id),
            Call::Release { scope, .. } => wanted.secrets.extend(scope.hash()),
            Call::SupersededUsed { id } => wanted.used.push(*id),
        }
    }
    wanted
}

/// What a call reads or changes, besides its key's counter.
#[derive(PartialEq, Eq, Hash)]
enum Concern {
    Registration(RegistrationId),
    Id(KeyNumber, IdKind, MachineId),
}

fn concerns(facts: &Facts, now: Timestamp, call: &Call) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let mut ids = |key, machine: Option<MachineId>, hardware: Option<MachineId>| {
        concerns.extend(machine.map(|id| Concern::Id(key, IdKind::Machine, id)));
        concerns.extend(hardware.map(|id| Concern::Id(key, IdKind::Hardware, id)));
    };
    let mut registrations = vec![call.id()];
    match call {
        Call::Register(command) => {
            if let Some(key) = facts.key_by_secret(now, &command.key_hash) {
                ids(key.number, Some(command.machine), command.hardware);
            }
            for row in facts.candidates(&command.id) {
                registrations.push(row.id);
                registrations.extend(row.oldest.as_ref().map(|oldest| oldest.id));
            }
        }
        _ => {
            if let Some(row) = facts.registrations.get(&call.id()) {
                ids(row.key, row.machine, row.hardware);
                registrations.extend(row.successor);
                if let Some(newer) = row.successor.and_then(|id| facts.registrations.get(&id)) {
                    ids(newer.key, newer.machine, newer.hardware);
                }
            }
        }
    }
    concerns.extend(registrations.into_iter().map(Concern::Registration));
    concerns
}

/// Whether the key that the call would change is locked. It is not where the registration was made after the batch had
/// looked which keys it needs.
fn is_locked(facts: &Facts, call: &Call) -> bool {
    // Registering changes only the key that it presents.
    matches!(call, Call::Register(_))
        || facts.registrations.get(&call.id()).is_none_or(|row| facts.keys.contains_key(&row.key))
}

fn judge(facts: &Facts, policy: &Policy, now: Timestamp, call: &Call) -> Decided<CallOutcome> {
    let known = facts.registrations.get(&call.id());
    match call {
        Call::Register(command) => {
            let Some(key) = facts.key_by_secret(now, &command.key_hash) else {
                return Decided::unchanged(CallOutcome::Registered(Attempt::Judged(Err(Denied::UnknownKey))));
            };
            let rows = RegisterRows {
                present: known.cloned(),
                released_early: facts.is_remembered(now, &command.id, &command.token_hash),
                candidates: facts.candidates(&command.id).to_vec(),
                distrust: facts.distrust(key.number, command),
            };
            seats::register(policy, now, key, command, &rows).map(CallOutcome::Registered)
        }
        Call::Unregister { id, token_hash, client } => {
            seats::unregister(now, *id, *token_hash, *client, known).map(CallOutcome::Released)
        }
        Call::Release { scope: Scope::Vendor, .. } => seats::release_by_vendor(now, known).map(CallOutcome::Released),
        Call::Release { scope: Scope::Key(secret), .. } => match facts.key_by_secret(now, secret) {
            Some(key) => seats::release_with_key(now, key, known).map(CallOutcome::Released),
            None => Decided::unchanged(CallOutcome::Released(Err(Denied::UnknownKey))),
        },
        // A change of its own, see `PostgresStore::release_seat`: which keys a token reaches is not among these facts.
        Call::Release { scope: Scope::Token(_), .. } => {
            Decided::unchanged(CallOutcome::Released(Err(Denied::UnknownRegistration)))
        }
        Call::SupersededUsed { .. } => {
            let key = known.and_then(|old| facts.keys.get(&old.key));
            let changes = known.zip(key).map(|(old, key)| {
                let holder = old.successor.and_then(|id| facts.registrations.get(&id));
                seats::superseded_used(policy, now, key, old, holder, facts.sharing(&old.id))
            });
            Decided { outcome: CallOutcome::Used, changes: changes.unwrap_or_default() }
        }
    }
}

/// Keeps the counters of used seats up to date within the batch.
fn count(facts: &mut Facts, changes: &[Change]) {
    for change in changes {
        let (key, used) = match change {
            Change::UseSeat(key) => (key, 1),
            Change::FreeSeat(key) => (key, -1),
            _ => continue,
        };
        if let Some(key) = facts.keys.get_mut(key) {
            key.seats.used = key.seats.used.saturating_add_signed(used);
        }
    }
}
