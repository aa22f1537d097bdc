//! `key list`, `key show`.

use std::process::ExitCode;

use els_protocol::{Timestamp, clean};

use super::context::{Context, Outcome, no_such_key};
use super::error::CommandError;
use crate::output::{self, JsonList, Table};
use els_ledger::rules::KeyState;
use els_ledger::{KeyId, KeyRecord, Scope};

pub(super) async fn list(context: Context, json: bool) -> Outcome {
    let mut document = if json { Some(JsonList::begin("keys")?) } else { None };
    let mut table = Table::new(HEADINGS);
    let mut after = None;
    loop {
        let page = context.store.keys(context.now, Scope::Vendor, after, PAGE).await?;
        for key in &page {
            match &mut document {
                Some(document) => document.item(key)?,
                None => table.row(row(key, context.now)),
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some(last.number),
            _ => break,
        }
    }
    match document {
        Some(document) => document.end()?,
        None => table.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(context: Context, key: KeyId, json: bool) -> Outcome {
    let record = context.store.key(context.now, Scope::Vendor, &key).await?.ok_or_else(|| no_such_key(&key))?;
    print(&record, context.now, json)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print(key: &KeyRecord, now: Timestamp, json: bool) -> Result<(), CommandError> {
    if json {
        output::json(key)?;
        return Ok(());
    }
    let field = |name: &str, value: &str| output::line(format_args!("{name:<16}{}", clean(value, 256)));
    field("Key id", key.key_id.as_str())?;
    field("State", state(key, now))?;
    field("Product", &key.product)?;
    field("Seats", &format!("{} of {} used", key.seats.used, key.seats.total))?;
    if let Some(starts) = key.starts {
        field("Starts", &starts.to_string())?;
    }
    field("Expires", &key.expires.to_string())?;
    for (name, value) in [("Contract", &key.contract), ("Reseller", &key.reseller), ("Note", &key.note)] {
        if let Some(value) = value {
            field(name, value)?;
        }
    }
    if let Some(days) = key.release_unseen_after {
        field("Unseen machines", &format!("are released after {days} days"))?;
    }
    if !key.self_release {
        field("Self release", "no: only the vendor releases seats")?;
    }
    field("Created", &key.created_at.to_string())?;
    for until in key.old_until.iter().filter(|until| **until > now) {
        field("Old key", &format!("valid until {until}"))?;
    }
    for id in &key.distrusted {
        field("Distrusted id", &id.to_string())?;
    }
    Ok(())
}

/// One row of a table of keys.
pub(super) fn row(key: &KeyRecord, now: Timestamp) -> [String; 7] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        key.key_id.to_string(),
        state(key, now).to_owned(),
        format!("{}/{}", key.seats.used, key.seats.total),
        key.expires.to_string(),
        key.product.clone(),
        text(&key.contract),
        text(&key.reseller),
    ]
}

pub(super) const HEADINGS: &[&str] = &["KEY ID", "STATE", "SEATS", "EXPIRES", "PRODUCT", "CONTRACT", "RESELLER"];

/// The state in one word, with the dates applied.
fn state(key: &KeyRecord, now: Timestamp) -> &'static str {
    match key.state {
        KeyState::Revoked => "revoked",
        KeyState::Suspended => "suspended",
        KeyState::Active if now >= key.expires => "expired",
        KeyState::Active if key.starts.is_some_and(|starts| now < starts) => "not yet valid",
        KeyState::Active => "active",
    }
}

const PAGE: u32 = 1000;
