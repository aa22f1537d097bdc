//! `--status`: whether this machine is registered and in order. Never writes.

use els_host::machine;
use els_host::network::Client;
use els_protocol::wire::Seats;

use super::refresh::refused;
use super::register::checked_url;
use super::{Context, copied, is_root, not_registered, show_network};
use crate::failure::{Damage, Failure, Result};
use crate::file_state::FileState;
use crate::registration::{Standing, State};
use crate::repo::{self, Present};
use crate::report::{Headline, Line, Progress, Report, RepositoryState, RepositoryView, State as Stands, StatusLine};
use crate::updates::{self, Repositories};
use crate::warning::Warning;
use crate::{backend, checks};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let standing = context.standing(report)?;
    let asks = !context.options.offline && is_root();
    if !context.options.offline && !asks {
        report.warn(Warning::Offline);
    }
    if !standing.is_registered() {
        if !standing.pending.is_empty() {
            report.warn(Warning::Interrupted);
        }
        return Err(not_registered(report));
    }
    let state = standing.state.as_ref();
    report.registration = state.map(State::view);
    let damage = damage(context, &standing, report);
    if standing.is_copy(&context.machine_as_far_as_possible(report)) {
        say(StatusLine::Copied, report);
        return Err(copied(&standing, report));
    }
    let client = if asks && standing.credential.is_some() { Some(ask(context, &standing, report)?) } else { None };
    if damage.is_none() {
        updates(context, &standing, client.as_ref(), report)?;
    }
    let damage = damage.or((asks && standing.credential.is_none()).then_some(Damage::Token));
    if let Some(damage) = damage {
        report.state = Some(Stands::Damaged);
        say(StatusLine::Damaged, report);
        return Err(Failure::Damaged(damage));
    }
    report.state = Some(Stands::Registered);
    say(StatusLine::Registered, report);
    Ok(())
}

/// Asks the backend with the machine's own credential.
fn ask(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Result<Client> {
    let Some(credential) = &standing.credential else { return Err(Failure::Damaged(Damage::Token)) };
    let server = context.server_of(standing.state.as_ref())?;
    let client = context.client(report)?;
    let answer = backend::registration(&client, &server, credential).map_err(Failure::from);
    // An answer that a refresh would refuse is not accepted here either.
    let answer = answer.and_then(|answer| checked_url(&answer, &server).map(|_| answer));
    show_network(context, &client, report);
    match answer {
        Ok(answer) => {
            checks::superseded(&answer, report);
            let Seats { total, used } = answer.seats;
            report.seats = Some(Seats { total, used });
            if let Some(view) = &mut report.registration {
                view.expires = Some(answer.expires);
                view.key_id = Some(answer.key_id);
                view.contract = answer.contract;
                view.product = Some(answer.product);
                view.verified_at = Some(context.clock.now());
            }
            checks::expiry(answer.expires, context.clock.now(), true, report);
            Ok(client)
        }
        Err(error) => {
            let failure = refused(error, report);
            let refused = report.state == Some(Stands::Refused);
            say(if refused { StatusLine::NoLongerAccepted } else { StatusLine::AsKnownHere }, report);
            Err(failure)
        }
    }
}

/// Whether updates arrive: what dnf would leave out, and, with a connection, whether the repository opens for it.
fn updates(context: &Context<'_>, standing: &Standing, client: Option<&Client>, report: &mut Report) -> Result<()> {
    let (Some(state), Ok(dnf)) = (&standing.state, &context.dnf) else { return Ok(()) };
    let files = context.seen_by_dnf(standing);
    let repositories = Repositories::read(&context.root, dnf, state, files, &machine::architecture()?);
    let key = context.root.read(repo::KEY.path).ok().flatten();
    // Other users cannot look into root's cache.
    repositories.warn(key.as_deref().filter(|_| is_root()), report);
    let (Some(client), Some(credential), Some(url)) = (client, &standing.credential, repositories.probed()) else {
        return Ok(());
    };
    context.progress(&Progress::Probing { url: &url });
    let probed = backend::probe(client, &url, credential);
    show_network(context, client, report);
    let reached = if probed.is_ok() { RepositoryState::Reachable } else { RepositoryState::Refused };
    let metadata_from = probed.as_ref().ok().copied().flatten();
    report.repository = Some(RepositoryView { url: url.to_string(), state: reached, metadata_from });
    updates::metadata_age(metadata_from, context.clock.now(), report);
    probed.map(drop).inspect_err(|_| {
        report.state = Some(Stands::Registered);
        say(StatusLine::Registered, report);
    })
}

/// Which of the written files are missing or altered.
fn damage(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Option<Damage> {
    let Some(state) = &standing.state else { return Some(Damage::State) };
    if context.options.offline || !is_root() {
        checks::expiry(state.expires, context.clock.now(), false, report);
    }
    let present = match Present::look(&context.root, context.seen_by_dnf(standing)) {
        Ok(present) => present,
        Err(error) => return Some(Damage::Unreadable(error)),
    };
    let mut damaged = Vec::new();
    for (path, file) in present.compare(&state.files) {
        report.file(&path, file);
        if matches!(file, FileState::Missing | FileState::Altered) {
            damaged.push((path, file));
        }
    }
    (!damaged.is_empty()).then_some(Damage::Files(damaged))
}

fn say(status: StatusLine, report: &mut Report) {
    report.headline(Headline::Status(status));
    if let Some(view) = report.registration.clone() {
        let seats = report.seats;
        report.say(Line::Registration(Box::new(view), seats));
    }
}
