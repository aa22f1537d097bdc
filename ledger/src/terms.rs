//! A key's terms: what a change makes of them, how two makings differ, and what the trail is told.
//!
//! Owns the words. Pure; knows no database.

use els_protocol::Timestamp;
use els_protocol::wire::Seats;

use super::change::Entry;
use super::{Created, EventKind, KeyChange, KeyNumber, KeyRecord, NewKey};
use crate::rules::KeyState;

/// The event of a key that was made.
pub(super) fn created(now: Timestamp, number: KeyNumber, new: &NewKey) -> Entry {
    let detail = format!("{} seats of {} until {}", new.seats, new.product, new.expires);
    Entry::of_key(now, EventKind::KeyCreated, number).because(detail)
}

/// The event of a key whose state is another one from now on.
pub(super) fn state_changed(now: Timestamp, number: KeyNumber, state: KeyState) -> Entry {
    let kind = match state {
        KeyState::Active => EventKind::KeyResumed,
        KeyState::Suspended => EventKind::KeySuspended,
        KeyState::Revoked => EventKind::KeyRevoked,
    };
    Entry::of_key(now, kind, number)
}

/// The event of a key with a new secret.
pub(super) fn rotated(now: Timestamp, number: KeyNumber, old_until: Option<Timestamp>) -> Entry {
    let entry = Entry::of_key(now, EventKind::KeyRotated, number);
    match old_until {
        Some(until) => entry.because(format!("the old key counts until {until}")),
        None => entry.because("the old key no longer counts"),
    }
}

/// The event of a key that has forgotten what it distrusted.
pub(super) fn trusted_again(now: Timestamp, before: &KeyRecord) -> Entry {
    let detail = format!("{} ids", before.distrusted.len());
    Entry::of_key(now, EventKind::TrustedAgain, before.number).because(detail)
}

/// The event of a key whose terms have changed; `None` where nothing has.
pub(super) fn updated(now: Timestamp, before: &KeyRecord, after: &KeyRecord) -> Option<Entry> {
    let told = story(before, after);
    let entry = Entry::of_key(now, EventKind::KeyUpdated, before.number);
    (!told.is_empty()).then(|| entry.because(told.join(", ")))
}

/// What a second making finds: `present` has the same contract, and `owner` is the key that has the secret.
pub(super) fn made_before(present: KeyRecord, new: &NewKey, owner: Option<KeyNumber>) -> Created {
    let mut differing = differences(&present, new);
    // A secret that was generated is another one each time; an imported one is a value like the others.
    if new.imported && owner != Some(present.number) {
        differing.push("the key itself");
    }
    match differing.is_empty() {
        true => Created::Same(present),
        false => Created::Differs(present, differing),
    }
}

/// The key as `change` makes it.
pub(super) fn changed(before: &KeyRecord, change: &KeyChange) -> KeyRecord {
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

/// What has changed, for the trail. Remarks may be long and are not repeated there.
fn story(before: &KeyRecord, after: &KeyRecord) -> Vec<String> {
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

/// By which flags a second making of a key differs from what is there.
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
