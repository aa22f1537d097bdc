//! `seat list`, `seat release`.

use std::process::ExitCode;

use els_protocol::RegistrationId;

use super::{Desk, Done, no_such_key};
use crate::failure::Failure;
use crate::output::{self, JsonList, Table};
use els_ledger::rules::RegistrationState;
use els_ledger::{By, Holder, KeyId, ReleaseOutcome, Scope};

/// The registrations of a key that are active or superseded.
pub(super) async fn list(desk: Desk, key: KeyId, json: bool) -> Done {
    let mut page =
        desk.store.holders(desk.now, Scope::Vendor, &key, None, PAGE).await?.ok_or_else(|| no_such_key(&key))?;
    let mut document = if json { Some(JsonList::begin("registrations")?) } else { None };
    let mut table = Table::new(HEADINGS);
    loop {
        for holder in &page {
            match &mut document {
                Some(document) => document.item(holder)?,
                None => table.row(row(holder)),
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => {
                let after = Some(last.registration);
                page = desk.store.holders(desk.now, Scope::Vendor, &key, after, PAGE).await?.unwrap_or_default();
            }
            _ => break,
        }
    }
    match document {
        Some(document) => document.end()?,
        None => table.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Frees a seat.
pub(super) async fn release(desk: Desk, registration: RegistrationId) -> Done {
    match desk.store.release_seat(desk.now, Scope::Vendor, By::vendor(), registration).await? {
        // The vendor's scope is everything: what is denied is not there.
        Err(_) => Err(Failure::NotFound(format!(
            "there is no registration {registration}; `els-backend find TEXT` looks for one"
        ))),
        Ok(ReleaseOutcome::Released) => {
            output::line(format_args!("Registration {registration} is released."))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(ReleaseOutcome::AlreadyReleased | ReleaseOutcome::RememberedEarly) => {
            output::line(format_args!("Registration {registration} had been released before."))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One line of a table of registrations.
pub(super) fn row(holder: &Holder) -> [String; 7] {
    let state = match holder.state {
        RegistrationState::Active => "active",
        RegistrationState::Superseded => "superseded",
        RegistrationState::Released => "released",
    };
    [
        holder.registration.to_string(),
        holder.key_id.to_string(),
        state.to_owned(),
        format!("{} {} {}", holder.os.id, holder.os.version, holder.arch),
        holder.registered_at.to_string(),
        holder.last_seen_at.map(|time| time.to_string()).unwrap_or_default(),
        holder.label.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

/// The headings of a table of registrations.
pub(super) const HEADINGS: &[&str] = &["REGISTRATION", "KEY ID", "STATE", "SYSTEM", "REGISTERED", "LAST SEEN", "LABEL"];

const PAGE: u32 = 1000;
