//! `--seats`: the machines that hold a key's seats.

use super::Context;
use crate::failure::{Failure, Result};
use crate::registration::Standing;
use crate::report::{Line, Report, SeatView};
use crate::{backend, checks, config};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let key = config::license_key(context.options)?;
    // Needed here only to mark this machine; where it cannot be read, no seat is marked.
    let (standing, server) = context.standing_and_server()?;
    let here = standing.as_ref().and_then(Standing::id);
    let client = context.client(report)?;
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
            // Only forward: a page that leads back would never end.
            Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
            Some(_) => return Err(Failure::SeatListLoops { server: server.to_string() }),
            None => {
                report.say(Line::SeatsUsed(page.seats));
                break;
            }
        }
    }
    report.lines.extend(found.iter().cloned().map(Line::Seat));
    report.registrations = Some(found);
    Ok(())
}
