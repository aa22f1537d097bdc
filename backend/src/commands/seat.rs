//! `seat list`, `seat release`: one registration, or all of a key since a time.

use std::process::ExitCode;

use els_protocol::{RegistrationId, Timestamp};

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

/// Releases what a key has registered since a time, or only lists it. After a key was stolen and rotated, this ends what the thief
/// registered.
pub(super) async fn release_since(context: Context, key: KeyId, since: Timestamp, yes: bool) -> Outcome {
    let (store, now) = (&context.store, context.now);
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.holders(now, Scope::Vendor, &key, after, PAGE).await?.ok_or_else(|| no_such_key(&key))?;
        after = page.last().map(|last| last.registration);
        let is_last = page.len() < PAGE as usize;
        found.extend(page.into_iter().filter(|holder| holder.registered_at >= since));
        if is_last {
            break;
        }
    }
    if found.is_empty() {
        output::line(format_args!("Key {key} has no registration since {since}."))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(HEADINGS);
    found.iter().for_each(|holder| table.row(row(holder)));
    table.print()?;
    if !yes {
        output::line(format_args!(
            "{} registrations. Nothing is released; repeat with --yes to release them.",
            found.len()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut released = 0;
    for holder in &found {
        let outcome = store.release_seat(now, Scope::Vendor, By::vendor(), holder.registration).await?;
        released += usize::from(matches!(outcome, Ok(ReleaseOutcome::Released)));
    }
    output::line(format_args!("{released} registrations are released."))?;
    Ok(ExitCode::SUCCESS)
}

/// One row of a table of registrations.
pub(super) fn row(holder: &Holder) -> [String; 7] {
    let state = match (holder.state, holder.until) {
        (RegistrationState::Active, _) => "active".to_owned(),
        (RegistrationState::Superseded, Some(until)) => format!("superseded until {until}"),
        (RegistrationState::Superseded, None) => "superseded".to_owned(),
        (RegistrationState::Released, _) => "released".to_owned(),
    };
    [
        holder.registration.to_string(),
        holder.key_id.to_string(),
        state,
        format!("{} {} {}", holder.os.id, holder.os.version, holder.arch),
        holder.registered_at.to_string(),
        holder.last_seen_at.map(|time| time.to_string()).unwrap_or_default(),
        holder.label.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

pub(super) const HEADINGS: &[&str] = &["REGISTRATION", "KEY ID", "STATE", "SYSTEM", "REGISTERED", "LAST SEEN", "LABEL"];

const PAGE: u32 = 1000;
