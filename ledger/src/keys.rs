//! Keys made and changed: from the facts that a database has read to the changes that it has to write.
//!
//! Owns what a call of the administration means for the tables and what the audit log says of it, once for every database.
//! Pure: no SQL, no clock.

use els_protocol::wire::Seats;
use els_protocol::{Sha256Hex, Timestamp};

use crate::change::{Change, Decided, Entry};
use crate::outcome::{Created, KeyUpdate, Rotation, StateChange};
use crate::rows::RefusalReason;
use crate::rules::KeyState;
use crate::{EventKind, KeyChange, KeyId, KeyNumber, KeyRecord, NewKey};

/// The key that has, or had, a secret.
pub(crate) type SecretOwner = (KeyNumber, KeyId);

/// What the making of a key finds, if it makes none: `same_contract` is the key with the same contract.
pub(crate) fn made_before(
    new: &NewKey,
    same_contract: Option<KeyRecord>,
    owner: Option<SecretOwner>,
) -> Option<Created> {
    let Some(present) = same_contract else { return owner.map(|(_, id)| Created::SecretTaken(id)) };
    let mut differing = differences(&present, new);
    // A generated secret is another one each time; an imported one is a value like the others.
    if new.imported && owner.is_none_or(|(number, _)| number != present.number) {
        differing.push("the key itself");
    }
    Some(match differing.is_empty() {
        true => Created::Same(present),
        false => Created::Differs(present, differing),
    })
}

/// What belongs to a key whose row was made.
pub(crate) fn made(now: Timestamp, number: KeyNumber, new: &NewKey, secret: &Sha256Hex) -> Vec<Change> {
    let detail = format!("{} seats of {} until {}", new.seats, new.product, new.expires);
    let entry = Entry::of_key(now, EventKind::KeyCreated, number).because(detail);
    vec![Change::AddSecret { key: number, hash: *secret }, Change::Event(entry)]
}

/// Changes what `change` names. `same_contract` is the key that has the contract named there.
pub(crate) fn update(
    now: Timestamp,
    before: &KeyRecord,
    change: &KeyChange,
    same_contract: Option<KeyRecord>,
) -> Decided<KeyUpdate> {
    if let Some(other) = same_contract.filter(|other| other.number != before.number) {
        return Decided::unchanged(KeyUpdate::ContractTaken(other.key_id));
    }
    let mut after = changed(before, change);
    let mut changes = Vec::new();
    if change.trust_again && !before.distrusted.is_empty() {
        after.distrusted.clear();
        changes.push(Change::TrustAgain(before.number));
        let detail = format!("{} ids", before.distrusted.len());
        changes.push(Change::Event(Entry::of_key(now, EventKind::TrustedAgain, before.number).because(detail)));
    }
    let told = differences_told(before, &after);
    if !told.is_empty() {
        changes.push(Change::UpdateKey(after.clone()));
        if before.expires != after.expires && before.expires < now {
            let (reason, since) = (RefusalReason::Expired, before.expires);
            changes.push(Change::Refuse { key: before.number, reason, since, until: Some(now) });
        }
        let entry = Entry::of_key(now, EventKind::KeyUpdated, before.number);
        changes.push(Change::Event(entry.because(told.join(", "))));
    }
    Decided { outcome: KeyUpdate::Updated(after), changes }
}

/// Suspends, resumes or revokes. A state that the key has already changes nothing.
pub(crate) fn set_state(now: Timestamp, before: KeyRecord, state: KeyState) -> Decided<StateChange> {
    if before.state == state {
        return Decided::unchanged(StateChange::Done(before));
    }
    if before.state == KeyState::Revoked {
        return Decided::unchanged(StateChange::Revoked);
    }
    let kind = match state {
        KeyState::Active => EventKind::KeyResumed,
        KeyState::Suspended => EventKind::KeySuspended,
        KeyState::Revoked => EventKind::KeyRevoked,
    };
    let key = before.number;
    let mut changes = vec![Change::SetKeyState { key, state }, Change::Event(Entry::of_key(now, kind, key))];
    match state {
        KeyState::Active => changes.push(Change::EndRefusal { key, until: now }),
        KeyState::Suspended => {
            changes.push(Change::Refuse { key, reason: RefusalReason::Suspended, since: now, until: None });
        }
        // It is final: nothing of this key counts any more.
        KeyState::Revoked => {}
    }
    Decided { outcome: StateChange::Done(KeyRecord { state, ..before }), changes }
}

/// Gives a key a new secret. Without `old_until` every older secret ends now.
pub(crate) fn rotate(
    now: Timestamp,
    key: &KeyRecord,
    secret: &Sha256Hex,
    owner: Option<SecretOwner>,
    old_until: Option<Timestamp>,
) -> Decided<Rotation> {
    if key.state == KeyState::Revoked {
        return Decided::unchanged(Rotation::Revoked);
    }
    if let Some((_, id)) = owner {
        return Decided::unchanged(Rotation::SecretTaken(id));
    }
    let detail = match old_until {
        Some(until) => format!("the old key counts until {until}"),
        None => "the old key no longer counts".to_owned(),
    };
    let key = key.number;
    let changes = vec![
        Change::EndSecrets { key, until: old_until.unwrap_or(now) },
        Change::AddSecret { key, hash: *secret },
        Change::Event(Entry::of_key(now, EventKind::KeyRotated, key).because(detail)),
    ];
    Decided { outcome: Rotation::Rotated, changes }
}

/// The key as `change` makes it.
fn changed(before: &KeyRecord, change: &KeyChange) -> KeyRecord {
    KeyRecord {
        seats: Seats { total: change.seats.unwrap_or(before.seats.total), ..before.seats },
        product: change.product.clone().unwrap_or_else(|| before.product.clone()),
        starts: change.starts.unwrap_or(before.starts),
        expires: change.expires.unwrap_or(before.expires),
        contract: change.contract.clone().unwrap_or_else(|| before.contract.clone()),
        reseller: change.reseller.clone().unwrap_or_else(|| before.reseller.clone()),
        note: change.note.clone().unwrap_or_else(|| before.note.clone()),
        release_unseen_after: change.release_unseen_after.unwrap_or(before.release_unseen_after),
        self_release: change.self_release.unwrap_or(before.self_release),
        ..before.clone()
    }
}

/// What has changed, for the audit log. Notes may be long and are not repeated there.
fn differences_told(before: &KeyRecord, after: &KeyRecord) -> Vec<String> {
    let mut told = Vec::new();
    let mut compare = |what: &str, from: String, to: String| {
        if from != to {
            told.push(format!("{what} {from} to {to}"));
        }
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let start = |value: Option<Timestamp>| value.map_or_else(|| "none".into(), |time| time.to_string());
    let days = |value: Option<u32>| value.map_or_else(|| "never".into(), |days| format!("{days} days"));
    compare("seats", before.seats.total.to_string(), after.seats.total.to_string());
    compare("product", before.product.clone(), after.product.clone());
    compare("starts", start(before.starts), start(after.starts));
    compare("expires", before.expires.to_string(), after.expires.to_string());
    compare("contract", text(&before.contract), text(&after.contract));
    compare("reseller", text(&before.reseller), text(&after.reseller));
    compare("release-unseen-after", days(before.release_unseen_after), days(after.release_unseen_after));
    compare("self-release", before.self_release.to_string(), after.self_release.to_string());
    if before.note != after.note {
        told.push("note".into());
    }
    told
}

/// By which options a second making of a key differs from the key that is there.
fn differences(present: &KeyRecord, new: &NewKey) -> Vec<&'static str> {
    [
        ("--seats", present.seats.total == new.seats),
        ("--expires", present.expires == new.expires),
        ("--starts", present.starts == new.starts),
        ("--product", present.product == new.product),
        ("--reseller", present.reseller == new.reseller),
        ("--note", present.note == new.note),
        ("--release-unseen-after", present.release_unseen_after == new.release_unseen_after),
        ("--no-self-release", present.self_release == new.self_release),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect()
}
