//! `--release`: frees the seat of a machine that is gone.

use els_protocol::RegistrationId;

use super::Context;
use crate::config;
use crate::registration::Standing;
use crate::report::Report;
use crate::{backend, checks};
use els_host::failure::{Failure, Result};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let text = context.options.release.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
    let id = RegistrationId::parse(&text).ok_or_else(|| {
        Failure::usage("--release: it is no registration id").hint("'els-register --seats --key KEY' lists the ids")
    })?;
    let key = config::license_key(context.options)?;
    let standing = Standing::read(&context.root).ok();
    let server = context.server_for_registering(standing.as_ref().and_then(|standing| standing.state.as_ref()))?;
    let client = context.client()?;
    let released = backend::release_seat(&client, &server, &key, &id);
    checks::clock(&client, report);
    released?;
    report.changed = Some(true);
    report.say(format!("Released: registration {id} holds no seat."));
    if standing.as_ref().and_then(Standing::id) == Some(id) {
        report.warn(
            "this-machine",
            "that was this machine's own registration: 'els-register --unregister' removes its files",
        );
    }
    Ok(())
}
