//! `seat list`, `seat release`.

use std::process::ExitCode;

use els_protocol::RegistrationId;

use super::context::{Context, Outcome, no_such_key};
use super::error::CommandError;
use crate::output::{self, JsonList, Table};
use els_ledger::rules::RegistrationState;
use els_ledger::{By, Holder, KeyId, ReleaseOutcome, Scope};

/// The registrations of a key that are active or superseded.
pub(super) async fn list(context: Context, key: KeyId, json: bool) -> Outcome {
    let mut page =
        context.store.holders(context.now, Scope::Vendor, &key, None, PAGE).await?.ok_or_else(|| no_such_key(&key))?;
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
                page = context.store.holders(context.now, Scope::Vendor, &key, after, PAGE).await?.unwrap_or_default();
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

pub(super) async fn release(context: Context, registration: RegistrationId) -> Outcome {
    match context.store.release_seat(context.now, Scope::Vendor, By::vendor(), registration).await? {
        // Everything is within the vendor's scope: a registration that is denied does not exist.
        Err(_) => Err(CommandError::NotFound(format!(
            "there is no registration {registration}; `els-backend find TEXT` finds one"
        ))),
        Ok(ReleaseOutcome::Released) => {
            output::line(format_args!("Registration {registration} is released."))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(ReleaseOutcome::AlreadyReleased | ReleaseOutcome::RememberedEarly) => {
            output::line(format_args!("Registration {registration} was released before."))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One row of a table of registrations.
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

pub(super) const HEADINGS: &[&str] = &["REGISTRATION", "KEY ID", "STATE", "SYSTEM", "REGISTERED", "LAST SEEN", "LABEL"];

const PAGE: u32 = 1000;
