//! `key list`, `key show`.

use std::process::ExitCode;

use els_protocol::{Timestamp, clean};

use super::{Desk, Done, no_such_key};
use crate::failure::Failure;
use crate::output::{self, JsonList, Table};
use els_ledger::rules::KeyState;
use els_ledger::{KeyId, KeyRecord, Scope};

/// All keys.
pub(super) async fn list(desk: Desk, json: bool) -> Done {
    let mut document = if json { Some(JsonList::begin("keys")?) } else { None };
    let mut table = Table::new(HEADINGS);
    let mut after = None;
    loop {
        let page = desk.store.keys(desk.now, Scope::Vendor, after, PAGE).await?;
        for key in &page {
            match &mut document {
                Some(document) => document.item(key)?,
                None => table.row(row(key, desk.now)),
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

/// One key.
pub(super) async fn show(desk: Desk, key: KeyId, json: bool) -> Done {
    let record = desk.store.key(desk.now, Scope::Vendor, &key).await?.ok_or_else(|| no_such_key(&key))?;
    print(&record, desk.now, json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one key.
pub(super) fn print(key: &KeyRecord, now: Timestamp, json: bool) -> Result<(), Failure> {
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
        field("Unseen machines", &format!("lose their seat after {days} days"))?;
    }
    if !key.self_release {
        field("Self release", "no: only the vendor frees seats")?;
    }
    field("Made", &key.created_at.to_string())?;
    for until in key.old_until.iter().filter(|until| **until > now) {
        field("Old key", &format!("counts until {until}"))?;
    }
    for id in &key.distrusted {
        field("Distrusted id", &id.to_string())?;
    }
    Ok(())
}

/// One line of a table of keys.
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

/// The headings of a table of keys.
pub(super) const HEADINGS: &[&str] = &["KEY ID", "STATE", "SEATS", "EXPIRES", "PRODUCT", "CONTRACT", "RESELLER"];

/// What the key is at this time.
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
