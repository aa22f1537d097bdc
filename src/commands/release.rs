//! `--release`: releases the seat of a machine that is gone.

use els_protocol::RegistrationId;

use super::Context;
use crate::failure::{Failure, Result};
use crate::registration::Standing;
use crate::report::{Headline, Report};
use crate::warning::Warning;
use crate::{backend, checks, config};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let text = context.options.release.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
    let id = RegistrationId::parse(&text).ok_or(Failure::ReleaseId)?;
    let key = config::license_key(context.options)?;
    let (standing, server) = context.standing_and_server()?;
    let client = context.client(report)?;
    let released = backend::release_seat(&client, &server, &key, &id);
    checks::clock(&client, report);
    released?;
    report.changed = Some(true);
    report.headline(Headline::Released { id });
    if standing.as_ref().and_then(Standing::id) == Some(id) {
        report.warn(Warning::ReleasedThisMachine);
    }
    Ok(())
}
