//! `key update`, `suspend`, `resume`, `revoke`, `rotate`.

use std::process::ExitCode;

use els_protocol::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::context::{Context, Outcome, no_such_key};
use super::error::CommandError;
use super::key_create::product;
use super::key_list;
use crate::cli::UpdateKey;
use crate::dates::{self, Edge};
use crate::{output, secrets};
use els_ledger::rules::KeyState;
use els_ledger::{By, KeyChange, KeyId, KeyUpdate, Rotation, Scope, StateChange};

/// Checks the options.
pub(super) fn prepare(options: &UpdateKey, zone: &TimeZone, products: &[String]) -> Result<KeyChange, CommandError> {
    let date = |text: &str, edge| dates::parse(text, zone, edge).map_err(CommandError::Usage);
    // An empty text removes the value.
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
        return Err(CommandError::Usage("no change is given; see `els-backend key update --help`".into()));
    }
    Ok(change)
}

pub(super) async fn update(context: Context, key: KeyId, change: KeyChange, json: bool) -> Outcome {
    match context.store.update_key(context.now, Scope::Vendor, By::vendor(), &key, change).await? {
        KeyUpdate::NoSuchKey => Err(no_such_key(&key)),
        KeyUpdate::ContractTaken(other) => {
            Err(CommandError::failed(format!("this contract belongs to key {other}; nothing was changed")))
        }
        KeyUpdate::Updated(record) => {
            let (used, total) = (record.seats.used, record.seats.total);
            key_list::print(&record, context.now, json)?;
            if used > total {
                output::note(format_args!(
                    "{used} seats stay in use; the key gives no new seat until fewer than {total} are used"
                ));
            }
            if record.starts.is_some_and(|starts| starts >= record.expires) {
                output::note("warning: the key expires before it starts; check --starts and --expires");
            } else if record.expires <= context.now {
                output::note(format_args!("warning: the key expired already, on {}", record.expires));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Suspends, resumes or revokes a key.
pub(super) async fn set_state(context: Context, key: KeyId, state: KeyState) -> Outcome {
    match context.store.set_key_state(context.now, Scope::Vendor, By::vendor(), &key, state).await? {
        StateChange::NoSuchKey => Err(no_such_key(&key)),
        StateChange::Revoked => Err(revoked_for_ever(&key)),
        StateChange::Done(_) => {
            output::line(match state {
                KeyState::Active => format!("Key {key} is active."),
                KeyState::Suspended => {
                    format!("Key {key} is suspended; `els-backend key resume {key}` ends the suspension.")
                }
                KeyState::Revoked => format!("Key {key} is revoked."),
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Gives a key a new secret and prints it once.
pub(super) async fn rotate(context: Context, key: KeyId, old_until: Option<Timestamp>, json: bool) -> Outcome {
    if old_until.is_some_and(|until| until <= context.now) {
        return Err(CommandError::Usage("--old-until is in the past; without --old-until the old key ends now".into()));
    }
    let new = secrets::new_key()?;
    match context.store.rotate_key(context.now, Scope::Vendor, By::vendor(), &key, new.hash(), old_until).await? {
        Rotation::NoSuchKey => return Err(no_such_key(&key)),
        Rotation::Revoked => return Err(revoked_for_ever(&key)),
        Rotation::SecretTaken(other) => {
            return Err(CommandError::failed(format!("the new key exists already, as {other}; run it again")));
        }
        Rotation::Rotated => {}
    }
    if json {
        output::json(&json!({ "key_id": key, "key": new.expose(), "old_until": old_until.unwrap_or(context.now) }))?;
    } else {
        output::line(format_args!("Key id  {key}"))?;
        output::line(format_args!("Key     {}", new.expose()))?;
    }
    output::note(match old_until {
        Some(until) => format!("The key is shown only this once. The old key is valid until {until}."),
        None => {
            "The key is shown only this once. The old key is no longer valid; registered machines continue to work."
                .into()
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn revoked_for_ever(key: &KeyId) -> CommandError {
    CommandError::failed(format!("key {key} is revoked for ever; make another one with `els-backend key create`"))
}
