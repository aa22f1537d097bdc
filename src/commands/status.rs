//! `--status`: where this machine stands. Never writes.

use els_protocol::wire::Seats;

use super::refresh::{refused, token_lost};
use super::register::checked_url;
use super::{Context, copied, is_root, not_registered, say_registration, show_network};
use crate::registration::{Standing, State};
use crate::repo::Present;
use crate::report::{FileState, Report, State as Stands};
use crate::{backend, checks};
use els_host::failure::{Failure, Kind, Result};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let standing = context.standing(report)?;
    let asks = !context.options.offline && is_root();
    if !context.options.offline && !asks {
        report.warn("offline", "not run by root, so the backend was not asked: only what is known here is shown");
    }
    if !standing.is_registered() {
        let interrupted = !standing.pending.is_empty();
        if interrupted {
            report.warn("interrupted", "an earlier run did not end: run the same command again, or --unregister");
        }
        return Err(not_registered(report));
    }
    let state = standing.state.as_ref();
    report.registration = state.map(State::view);
    let damage = damage(context, state, report);
    if standing.is_copy(&context.machine()?) {
        say(&standing, "copied", report);
        return Err(copied(&standing, report));
    }
    if asks && standing.credential.is_some() {
        ask(context, &standing, report)?;
    }
    if let Some(damage) = damage {
        report.state = Some(Stands::Damaged);
        say(&standing, "registered, but damaged", report);
        return Err(damage);
    }
    if asks && standing.credential.is_none() {
        report.state = Some(Stands::Damaged);
        say(&standing, "registered, but damaged", report);
        return Err(token_lost());
    }
    report.state = Some(Stands::Registered);
    say(&standing, "registered", report);
    Ok(())
}

/// Asks the backend with the machine's own credential.
fn ask(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Result<()> {
    let Some(credential) = &standing.credential else { return Ok(()) };
    let server = context.server_of(standing.state.as_ref())?;
    let client = context.client()?;
    let answer = backend::registration(&client, &server, credential).map_err(Failure::from);
    // What a refresh would refuse is no good answer here either.
    let answer = answer.and_then(|answer| checked_url(&answer, &server).map(|_| answer));
    show_network(context, &client, report);
    match answer {
        Ok(answer) => {
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
            let headline = match report.state {
                Some(Stands::Refused) => "registered, but no longer accepted",
                _ => "registered, as far as is known here",
            };
            say(standing, headline, report);
            Err(failure)
        }
    }
}

/// What of the written files is missing or altered.
fn damage(context: &Context<'_>, state: Option<&State>, report: &mut Report) -> Option<Failure> {
    let heal = "'els-register --refresh' heals that; if the token is lost, 'els-register --key KEY'";
    let Some(state) = state else {
        return Some(Failure::new(Kind::Damaged, "the state of this machine's registration is lost").hint(heal));
    };
    if context.options.offline || !is_root() {
        checks::expiry(state.expires, context.clock.now(), false, report);
    }
    let present = match Present::look(&context.root) {
        Ok(present) => present,
        Err(error) => return Some(Failure::new(Kind::Damaged, error.to_string()).hint(heal)),
    };
    let mut damaged = Vec::new();
    for (path, file) in present.compare(&state.files) {
        report.file(&path, file);
        match file {
            FileState::Missing => damaged.push(format!("{path} is missing")),
            FileState::Altered => damaged.push(format!("{path} was altered")),
            _ => {}
        }
    }
    (!damaged.is_empty()).then(|| Failure::new(Kind::Damaged, damaged.join(", ")).hint(heal))
}

fn say(standing: &Standing, headline: &str, report: &mut Report) {
    report.say(headline);
    if let Some(mut state) = standing.state.clone() {
        if let Some(expires) = report.registration.as_ref().and_then(|view| view.expires) {
            state.expires = expires;
        }
        say_registration(&state, report);
    }
}
