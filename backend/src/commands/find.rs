//! `find`: from what a customer says to what is known.

use std::process::ExitCode;

use super::{Desk, Done, key_list, seat};
use crate::failure::Failure;
use crate::output::{self, Table};
use els_ledger::Scope;

/// Keys and registrations that a text leads to.
pub(super) async fn find(desk: Desk, text: String, json: bool) -> Done {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::Usage("there is nothing to look for".into()));
    }
    let found = desk.store.find(desk.now, Scope::Vendor, text, MOST).await?;
    let count = found.keys.len().max(found.registrations.len());
    if json {
        output::json(&found)?;
    } else {
        if !found.keys.is_empty() {
            let mut table = Table::new(key_list::HEADINGS);
            found.keys.iter().for_each(|key| table.row(key_list::row(key, desk.now)));
            table.print()?;
        }
        if !found.registrations.is_empty() {
            let mut table = Table::new(seat::HEADINGS);
            found.registrations.iter().for_each(|holder| table.row(seat::row(holder)));
            table.print()?;
        }
    }
    if count == MOST as usize {
        output::aside(format_args!("There may be more than these {MOST}; a longer text finds fewer."));
    }
    if count == 0 {
        return Err(Failure::NotFound("no registration id, key id, contract, reseller or label fits".into()));
    }
    Ok(ExitCode::SUCCESS)
}

const MOST: u32 = 500;
