//! `--seats`: the machines that hold a key's seats.

use els_protocol::Timestamp;

use super::Context;
use crate::config;
use crate::registration::Standing;
use crate::report::{Report, SeatView};
use crate::{backend, checks};
use els_host::failure::{Failure, Kind, Result};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let key = config::license_key(context.options)?;
    // What this machine holds is of interest here only for marking it; where it cannot be read, nothing is marked.
    let standing = Standing::read(&context.root).ok();
    let here = standing.as_ref().and_then(Standing::id);
    let server = context.server_for_registering(standing.as_ref().and_then(|standing| standing.state.as_ref()))?;
    let client = context.client()?;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = backend::seats(&client, &server, &key, after);
        checks::clock(&client, report);
        let page = page?;
        report.seats = Some(page.seats);
        for holder in page.registrations {
            found.push(SeatView { this_machine: here == Some(holder.registration), holder });
        }
        match page.next {
            // Only onward: a page that leads back would never end.
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => {
                return Err(Failure::new(
                    Kind::BadAnswer,
                    format!("the seat list of {server} leads back to an earlier page"),
                ));
            }
            None => {
                if let Some(seats) = &report.seats {
                    report.lines.push(format!("{} of {} seats used", seats.used, seats.total));
                }
                break;
            }
        }
    }
    for seat in &found {
        let holder = &seat.holder;
        let label = holder.label.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let seen = holder.last_seen_at.map_or_else(|| "never".to_owned(), Timestamp::date);
        let mark = if seat.this_machine { "  <- this machine" } else { "" };
        report.lines.push(format!(
            "{}  registered {}  last seen {seen}  {} {} {}  {label}{mark}",
            holder.registration,
            holder.registered_at.date(),
            holder.os.id,
            holder.os.version,
            holder.arch,
        ));
    }
    report.registrations = Some(found);
    Ok(())
}
