//! `--refresh`: the files as a registration would write them today, asked for with the machine's own credential.

use els_protocol::wire::registration_path;
use els_protocol::{Code, MachineId};

use super::register::checked_url;
use super::{
    Context, copied, not_registered, random, request_view, say_files, say_registration, say_request, show_network,
    show_plan,
};
use crate::registration::{self, Identity, Standing, State};
use crate::repo::{Plan, Present, Wanted};
use crate::report::{FileState, Report, State as Stands};
use crate::{backend, checks};
use els_host::failure::{Failure, Kind, Result};
use els_host::network::Credential;
use els_host::root::Change;

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let _lock = if context.options.dry_run { None } else { Some(context.lock()?) };
    if !context.options.dry_run {
        context.sweep()?;
    }
    let standing = context.standing(report)?;
    if !standing.is_registered() {
        return Err(not_registered(report));
    }
    report.changed = Some(false);
    report.registration = standing.state.as_ref().map(State::view);
    if context.options.offline {
        return offline(context, &standing, report);
    }
    if standing.is_copy(&context.machine()?) {
        return Err(copied(&standing, report));
    }
    let Some(credential) = &standing.credential else {
        report.state = Some(Stands::Damaged);
        return Err(token_lost());
    };
    online(context, &standing, credential, report)
}

fn online(context: &Context<'_>, standing: &Standing, credential: &Credential, report: &mut Report) -> Result<()> {
    let state = standing.state.as_ref();
    let server = context.server_of(state)?;
    let gpg_key = context.gpg_key()?;
    if context.options.dry_run {
        let path = registration_path(&credential.id);
        say_request(request_view("GET", &server, &path, Some("Basic <redacted>"), None), report);
    }
    let (repo_url, repo_file, fresh_state) = if context.options.dry_run {
        let Some(state) = state else {
            report.changed = Some(true);
            report.say("the state is lost: all files would be written anew, with values <from the backend>");
            report.say("(dry run: nothing was sent, nothing was written)");
            return Ok(());
        };
        (state.repo_url.clone(), context.repo_file(state.repo_file.as_str())?, state.clone())
    } else {
        let client = context.client()?;
        let answer = backend::registration(&client, &server, credential);
        show_network(context, &client, report);
        let mut answer = answer.map_err(|error| refused(error.failure, report))?;
        report.seats = Some(answer.seats);
        let repo_file = context.repo_file(answer.repo.file.as_str())?;
        answer.repo.url = checked_url(&answer, &server)?.as_str().to_owned();
        let identity = match state {
            Some(state) => state.identity,
            None => Identity::of(&context.machine()?, None, || MachineId::from_random(random())),
        };
        let check = state.and_then(|state| state.key_check.clone());
        let mut fresh = State::new(&answer, &server, check, identity, context.clock.now(), Default::default());
        fresh.folders = state.map(|state| state.folders.clone()).unwrap_or_default();
        (answer.repo.url, repo_file, fresh)
    };
    let present = Present::look(&context.root)?;
    let wanted = Wanted { repo_url: &repo_url, credential, repo_file, gpg_key: &gpg_key };
    let plan = present.plan(&wanted, state.map(|state| &state.files));
    let new = fresh_state.with_files(plan.hashes.clone());
    report.registration = Some(new.view());
    apply(context, state, &new, &plan, report)?;
    checks::expiry(new.expires, context.clock.now(), true, report);
    Ok(())
}

/// Only the shipped files: what an upgrade of this program brings. Asks nobody.
fn offline(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Result<()> {
    let Some(state) = &standing.state else {
        report.state = Some(Stands::Damaged);
        return Err(Failure::new(Kind::Damaged, format!("{} is lost", registration::STATE.path))
            .hint("'els-register --refresh' (without --offline) makes it anew from the credential"));
    };
    let repo_file = context.repo_file(state.repo_file.as_str())?;
    let present = Present::look(&context.root)?;
    let whole = standing.credential.as_ref().is_some_and(|credential| present.holds(credential));
    let plan = present.plan_shipped(repo_file, &context.gpg_key()?, whole, &state.files);
    let new = state.with_files(plan.hashes.clone());
    apply(context, Some(state), &new, &plan, report)?;
    if !whole {
        report.state = Some(Stands::Damaged);
        return Err(Failure::new(
            Kind::Damaged,
            "the credential in /etc/dnf/vars is not whole, so the repositories stay off",
        )
        .hint(
            "'els-register --refresh' (without --offline) restores it; if the token is lost, 'els-register --key KEY'",
        ));
    }
    Ok(())
}

fn apply(context: &Context<'_>, old: Option<&State>, new: &State, plan: &Plan, report: &mut Report) -> Result<()> {
    let same = old.is_some_and(|old| old.says_the_same(new));
    let changed = plan.changes_files() || !same;
    if !context.options.dry_run {
        let mut changes: Vec<Change> = plan.first.clone();
        changes.push(new.write());
        changes.extend(plan.last.iter().cloned());
        context.root.apply(&changes)?.keep();
    }
    report.changed = Some(changed);
    report.state = Some(Stands::Registered);
    show_plan(plan, report);
    report.file(registration::STATE.path, if same { FileState::Unchanged } else { FileState::Written });
    if context.options.dry_run {
        say_files(report);
        report.say("(dry run: nothing was sent, nothing was written)");
        return Ok(());
    }
    report.say(if changed { "Refreshed." } else { "All is in order, nothing was changed." });
    say_registration(new, report);
    Ok(())
}

/// Marks the state of a machine whose registration the backend no longer accepts.
pub(super) fn refused(failure: Failure, report: &mut Report) -> Failure {
    let no_longer = [
        Code::KeyExpired,
        Code::KeySuspended,
        Code::KeyRevoked,
        Code::RegistrationReleased,
        Code::UnknownRegistration,
        Code::CredentialInvalid,
    ];
    let is_refusal = no_longer.iter().any(|code| failure.kind == Kind::Wire(*code));
    report.state = Some(if is_refusal { Stands::Refused } else { Stands::Registered });
    failure
}

pub(super) fn token_lost() -> Failure {
    Failure::new(Kind::Damaged, "the token of this machine's registration is lost or was altered")
        .hint("'els-register --key KEY' makes a new one; it takes no second seat")
}
