//! `events`: the audit log.

use std::process::ExitCode;

use els_protocol::{Timestamp, clean};

use super::context::{Context, Outcome, no_such_key};
use super::error::CommandError;
use crate::cli;
use crate::output::{self, JsonList};
use els_ledger::{Cursor, Event, EventFilter, Scope};

/// Prints the audit log while reading it: it may be longer than memory.
pub(super) async fn events(context: Context, options: cli::Events, since: Option<Timestamp>) -> Outcome {
    if let Some(key) = &options.key
        && context.store.key(context.now, Scope::Vendor, key).await?.is_none()
    {
        return Err(no_such_key(key));
    }
    let filter = EventFilter { key: options.key, registration: options.registration, since };
    if let Some(registration) = filter.registration
        && context.store.credential(registration).await?.found.is_none()
    {
        return Err(CommandError::NotFound(format!("there is no registration {registration}")));
    }
    let mut document = if options.output.json { Some(JsonList::begin("events")?) } else { None };
    let mut after = Cursor(0);
    loop {
        let page = context.store.events(context.now, Scope::Vendor, filter.clone(), after, PAGE).await?;
        for event in &page {
            match &mut document {
                Some(document) => document.item(event)?,
                None => output::line(line(event))?,
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = last.cursor,
            _ => break,
        }
    }
    if let Some(document) = document {
        document.end()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(event: &Event) -> String {
    let mut text = format!("{}  {:<15} {}", event.at, clean(&event.event, 64), event.key_id);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {name}{}", clean(&value, 512)));
        }
    };
    add("", event.registration.map(|id| id.to_string()));
    add("other ", event.other.map(|id| id.to_string()));
    add("machine ", event.machine.map(|id| id.to_string()));
    add("hardware ", event.hardware.map(|id| id.to_string()));
    add("by ", event.actor.clone());
    add("through ", event.origin.clone());
    add("request ", event.request.clone());
    add("- ", event.detail.clone());
    text
}

const PAGE: u32 = 1000;
