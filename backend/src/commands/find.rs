//! `find`: keys and registrations that a text leads to.

use std::process::ExitCode;

use super::context::{Context, Outcome};
use super::error::CommandError;
use super::{key_list, seat};
use crate::output::{self, Table};
use els_ledger::Scope;

pub(super) async fn find(context: Context, text: String, json: bool) -> Outcome {
    let text = text.trim();
    if text.is_empty() {
        return Err(CommandError::Usage("the text to find is empty".into()));
    }
    let found = context.store.find(context.now, Scope::Vendor, text, MOST).await?;
    let count = found.keys.len().max(found.registrations.len());
    if json {
        output::json(&found)?;
    } else {
        if !found.keys.is_empty() {
            let mut table = Table::new(key_list::HEADINGS);
            found.keys.iter().for_each(|key| table.row(key_list::row(key, context.now)));
            table.print()?;
        }
        if !found.registrations.is_empty() {
            let mut table = Table::new(seat::HEADINGS);
            found.registrations.iter().for_each(|holder| table.row(seat::row(holder)));
            table.print()?;
        }
    }
    if count == MOST as usize {
        output::note(format_args!("Only {MOST} are shown; a longer text finds fewer."));
    }
    if count == 0 {
        return Err(CommandError::NotFound("no registration id, key id, contract, reseller or label matches".into()));
    }
    Ok(ExitCode::SUCCESS)
}

const MOST: u32 = 500;
