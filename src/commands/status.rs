//! `--status`: whether this machine is registered and in order. Never writes.

use els_protocol::wire::Seats;

use super::refresh::refused;
use super::register::checked_url;
use super::{Context, copied, is_root, not_registered, show_network};
use crate::failure::{Damage, Failure, Result};
use crate::file_state::FileState;
use crate::registration::{Standing, State};
use crate::repo::Present;
use crate::report::{Headline, Line, Report, State as Stands, StatusLine};
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
    let damage = damage(context, state, report);
    if standing.is_copy(&context.machine()?) {
        say(StatusLine::Copied, report);
        return Err(copied(&standing, report));
    }
    if asks && standing.credential.is_some() {
        ask(context, &standing, report)?;
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
fn ask(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Result<()> {
    let Some(credential) = &standing.credential else { return Ok(()) };
    let server = context.server_of(standing.state.as_ref())?;
    let client = context.client()?;
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
            Ok(())
        }
        Err(error) => {
            let failure = refused(error, report);
            let refused = report.state == Some(Stands::Refused);
            say(if refused { StatusLine::NoLongerAccepted } else { StatusLine::AsKnownHere }, report);
            Err(failure)
        }
    }
}

/// Which of the written files are missing or altered.
fn damage(context: &Context<'_>, state: Option<&State>, report: &mut Report) -> Option<Damage> {
    let Some(state) = state else { return Some(Damage::State) };
    if context.options.offline || !is_root() {
        checks::expiry(state.expires, context.clock.now(), false, report);
    }
    let present = match Present::look(&context.root) {
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
