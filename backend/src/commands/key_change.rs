//! `key update`, `suspend`, `resume`, `revoke`, `rotate`.

use std::process::ExitCode;

use els_protocol::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::key_create::product;
use super::{Desk, Done, key_list, no_such_key, secrets};
use crate::cli::UpdateKey;
use crate::dates::{self, Edge};
use crate::failure::Failure;
use crate::output;
use els_ledger::rules::KeyState;
use els_ledger::{By, KeyChange, KeyId, KeyUpdate, Rotation, Scope, StateChange};

/// Checks what is to be changed.
pub(super) fn prepare(options: &UpdateKey, zone: &TimeZone, products: &[String]) -> Result<KeyChange, Failure> {
    let date = |text: &str, edge| dates::parse(text, zone, edge).map_err(Failure::Usage);
    // An empty text takes the value away.
    let text = |text: &Option<String>| text.clone().map(|text| Some(text).filter(|text| !text.is_empty()));
    let starts = match options.starts.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(text) => Some(Some(date(text, Edge::Beginning)?)),
    };
    let change = KeyChange {
        seats: options.seats,
        product: options.product.as_deref().map(|named| product(Some(named), products)).transpose()?,
        starts,
        expires: options.expires.as_deref().map(|text| date(text, Edge::End)).transpose()?,
        contract: text(&options.contract),
        reseller: text(&options.reseller),
        note: text(&options.note),
        release_unseen_after: options.release_unseen_after.map(|days| days.0),
        self_release: match (options.self_release, options.no_self_release) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        trust_again: options.trust_again,
    };
    if change == KeyChange::default() {
        return Err(Failure::Usage(
            "nothing is to be changed; `els-backend key update --help` says what can be".into(),
        ));
    }
    Ok(change)
}

/// Changes a key.
pub(super) async fn update(desk: Desk, key: KeyId, change: KeyChange, json: bool) -> Done {
    match desk.store.update_key(desk.now, Scope::Vendor, By::vendor(), &key, change).await? {
        KeyUpdate::NoSuchKey => Err(no_such_key(&key)),
        KeyUpdate::ContractTaken(other) => {
            Err(Failure::failed(format!("this contract is key {other}'s; nothing was changed")))
        }
        KeyUpdate::Updated(record) => {
            let (used, total) = (record.seats.used, record.seats.total);
            key_list::print(&record, desk.now, json)?;
            if used > total {
                output::aside(format_args!(
                    "{used} seats stay in use; no new one is given until fewer than {total} are"
                ));
            }
            if record.starts.is_some_and(|starts| starts >= record.expires) {
                output::aside("warning: the key expires before it starts; look at --starts and --expires");
            } else if record.expires <= desk.now {
                output::aside(format_args!("warning: the key has expired already, on {}", record.expires));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Suspends, resumes or revokes a key.
pub(super) async fn set_state(desk: Desk, key: KeyId, state: KeyState) -> Done {
    match desk.store.set_key_state(desk.now, Scope::Vendor, By::vendor(), &key, state).await? {
        StateChange::NoSuchKey => Err(no_such_key(&key)),
        StateChange::Revoked => {
            Err(Failure::failed(format!("key {key} is revoked, for good; make another with `key create`")))
        }
        StateChange::Done(_) => {
            output::line(match state {
                KeyState::Active => format!("Key {key} is active."),
                KeyState::Suspended => format!("Key {key} is suspended; `els-backend key resume {key}` ends that."),
                KeyState::Revoked => format!("Key {key} is revoked."),
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Gives a key a new secret, which is shown once.
pub(super) async fn rotate(desk: Desk, key: KeyId, old_until: Option<Timestamp>, json: bool) -> Done {
    if old_until.is_some_and(|until| until <= desk.now) {
        return Err(Failure::Usage("--old-until lies in the past; without it the old key ends now".into()));
    }
    let new = secrets::new_key()?;
    match desk.store.rotate_key(desk.now, Scope::Vendor, By::vendor(), &key, new.hash(), old_until).await? {
        Rotation::NoSuchKey => return Err(no_such_key(&key)),
        Rotation::Revoked => {
            return Err(Failure::failed(format!("key {key} is revoked, for good; make another with `key create`")));
        }
        Rotation::SecretTaken(other) => {
            return Err(Failure::failed(format!("the new key is {other}'s; run it again")));
        }
        Rotation::Rotated => {}
    }
    if json {
        output::json(&json!({ "key_id": key, "key": new.expose(), "old_until": old_until.unwrap_or(desk.now) }))?;
    } else {
        output::line(format_args!("Key id  {key}"))?;
        output::line(format_args!("Key     {}", new.expose()))?;
    }
    output::aside(match old_until {
        Some(until) => format!("The key is shown this once. The old one counts until {until}."),
        None => "The key is shown this once. The old one no longer counts; registered machines go on.".into(),
    });
    Ok(ExitCode::SUCCESS)
}
