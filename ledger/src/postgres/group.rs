//! Many requests in one transaction: their facts read together, each judged in its turn, their changes written together.
//!
//! Owns which requests may share what was read. Two that concern the same registration, or the same ids of a key's machines,
//! may not: the later one is put off to the next group. All others depend on each other by the key's counter alone, which is
//! carried along. The rules are `license`'s, what they mean for the tables is `store::seats`'s.

use std::collections::HashSet;
use std::net::IpAddr;

use els_protocol::{Code, MachineId, RegistrationId, Sha256Hex, Timestamp};

use super::apply::apply;
use super::client::Statements;
use super::facts::{Facts, Wanted};
use super::failure::Failed;
use crate::change::Change;
use crate::rows::IdKind;
use crate::rules::{Judged, RegisterCommand};
use crate::seats::{self, PutRows};
use crate::{Deleted, KeyNumber, Policy, Registered};

/// What can be asked of a group.
#[derive(Debug)]
pub(super) enum Ask {
    /// PUT.
    Register(RegisterCommand),
    /// DELETE by the machine itself.
    Delete { id: RegistrationId, token_hash: Sha256Hex, client: IpAddr },
    /// DELETE by whoever holds the key.
    Release { key_hash: Sha256Hex, id: RegistrationId },
    /// The vendor frees a seat, for this reason.
    ReleaseAny { id: RegistrationId, why: &'static str },
    /// A superseded credential was used.
    SupersededUsed { id: RegistrationId },
}

impl Ask {
    /// The registration that it names.
    fn id(&self) -> RegistrationId {
        match self {
            Ask::Register(command) => command.id,
            Ask::Delete { id, .. }
            | Ask::Release { id, .. }
            | Ask::ReleaseAny { id, .. }
            | Ask::SupersededUsed { id } => *id,
        }
    }
}

/// What a group answers.
#[derive(Debug)]
pub(super) enum Answer {
    Registered(Judged<Registered>),
    Deleted(Judged<Deleted>),
    /// Nobody has seen the id that the vendor named.
    NeverSeen,
    Decided,
}

/// What became of one request of a group.
pub(super) enum Turn {
    /// The answer, true once the transaction is durable.
    Answered(Answer),
    /// It cannot share this group's facts.
    PutOff,
}

/// Answers requests in the transaction that is open on `db`: one turn each, in their order, and whether anything was changed.
pub(super) async fn answer(
    db: &impl Statements,
    policy: &Policy,
    asks: &[(Timestamp, &Ask)],
) -> Result<(Vec<Turn>, bool), Failed> {
    let mut facts = Facts::read(db, &wanted(asks)).await?;
    let mut taken = HashSet::new();
    let mut changes = Vec::new();
    let mut turns = Vec::with_capacity(asks.len());
    for (now, ask) in asks {
        let concerns = concerns(&facts, *now, ask);
        if concerns.iter().any(|one| taken.contains(one)) || !is_locked(&facts, ask) {
            turns.push(Turn::PutOff);
            continue;
        }
        taken.extend(concerns);
        let (answer, more) = judge(&facts, policy, *now, ask);
        count(&mut facts, &more);
        changes.extend(more);
        turns.push(Turn::Answered(answer));
    }
    if !changes.is_empty() {
        apply(db, &changes).await?;
    }
    Ok((turns, !changes.is_empty()))
}

fn wanted<'a>(asks: &[(Timestamp, &'a Ask)]) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    for (_, ask) in asks {
        wanted.ids.push(ask.id());
        match ask {
            Ask::Register(command) => {
                wanted.commands.push(command);
                wanted.secrets.push(command.key_hash);
            }
            Ask::Delete { id, .. } => wanted.deleted.push(*id),
            Ask::Release { key_hash, .. } => wanted.secrets.push(*key_hash),
            Ask::ReleaseAny { .. } | Ask::SupersededUsed { .. } => {}
        }
    }
    wanted
}

/// What a request reads or changes, beside its key's counter.
#[derive(PartialEq, Eq, Hash)]
enum Concern {
    Registration(RegistrationId),
    Id(KeyNumber, IdKind, MachineId),
}

fn concerns(facts: &Facts, now: Timestamp, ask: &Ask) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let mut ids = |key, machine: Option<MachineId>, hardware: Option<MachineId>| {
        concerns.extend(machine.map(|id| Concern::Id(key, IdKind::Machine, id)));
        concerns.extend(hardware.map(|id| Concern::Id(key, IdKind::Hardware, id)));
    };
    let mut registrations = vec![ask.id()];
    match ask {
        Ask::Register(command) => {
            if let Some(key) = facts.key_by_secret(now, &command.key_hash) {
                ids(key.number, Some(command.machine), command.hardware);
            }
            for row in facts.candidates(&command.id) {
                registrations.push(row.candidate.id);
                registrations.extend(row.superseded);
            }
        }
        _ => {
            if let Some(held) = facts.held.get(&ask.id()) {
                ids(held.key, held.machine, held.hardware);
                registrations.extend(held.successor);
                if let Some(newer) = held.successor.and_then(|id| facts.held.get(&id)) {
                    ids(newer.key, newer.machine, newer.hardware);
                }
            }
        }
    }
    concerns.extend(registrations.into_iter().map(Concern::Registration));
    concerns
}

/// Whether the key that the request would change is locked. It is not where a registration has come into being after the group
/// had looked which keys it needs.
fn is_locked(facts: &Facts, ask: &Ask) -> bool {
    // What a PUT changes is its own key's, which it has presented.
    matches!(ask, Ask::Register(_)) || facts.held.get(&ask.id()).is_none_or(|held| facts.keys.contains_key(&held.key))
}

fn judge(facts: &Facts, policy: &Policy, now: Timestamp, ask: &Ask) -> (Answer, Vec<Change>) {
    match ask {
        Ask::Register(command) => {
            let Some(key) = facts.key_by_secret(now, &command.key_hash) else {
                return (Answer::Registered(Err(Code::UnknownKey.into())), Vec::new());
            };
            let rows = PutRows {
                present: facts.held.get(&command.id).cloned(),
                given_back_early: facts.is_remembered(now, &command.id, &command.token_hash),
                candidates: facts.candidates(&command.id).to_vec(),
                distrust: facts.distrust(key.number, command),
            };
            let outcome = seats::register(policy, now, key, command, &rows);
            (Answer::Registered(outcome.answer), outcome.changes)
        }
        Ask::Delete { id, token_hash, client } => {
            let outcome = seats::delete(now, *id, *token_hash, *client, facts.held.get(id));
            (Answer::Deleted(outcome.answer), outcome.changes)
        }
        Ask::Release { key_hash, id } => {
            let Some(key) = facts.key_by_secret(now, key_hash) else {
                return (Answer::Deleted(Err(Code::UnknownKey.into())), Vec::new());
            };
            let outcome = seats::release(now, key, facts.held.get(id));
            (Answer::Deleted(outcome.answer), outcome.changes)
        }
        Ask::ReleaseAny { id, why } => match facts.held.get(id) {
            None => (Answer::NeverSeen, Vec::new()),
            Some(held) => {
                let outcome = seats::release_any(now, held, (*why).into());
                (Answer::Deleted(outcome.answer), outcome.changes)
            }
        },
        Ask::SupersededUsed { id } => {
            let old = facts.held.get(id);
            let key = old.and_then(|old| facts.keys.get(&old.key));
            let changes = old.zip(key).map(|(old, key)| {
                let newer = old.successor.and_then(|id| facts.held.get(&id));
                seats::superseded_used(policy, now, key, old, newer)
            });
            (Answer::Decided, changes.unwrap_or_default())
        }
    }
}

/// Carries the counters of used seats along.
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
