//! `--refresh`: the files as a registration would write them today, with the machine's own credential.

use els_host::network::Credential;
use els_host::root::Change;
use els_protocol::wire::registration_path;
use els_protocol::{Code, MachineId};

use super::dry_run::{say_files, say_request};
use super::register::checked_url;
use super::{Context, copied, not_registered, random, repo_file, say_registration, show_network, show_plan};
use crate::failure::{Damage, Failure, Result};
use crate::file_state::FileState;
use crate::registration::{self, Identity, Standing, State};
use crate::repo::{Plan, Present, Wanted};
use crate::report::{DryRun, Headline, Report, State as Stands};
use crate::{backend, checks};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let _lock = context.begin()?;
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
        return Err(Failure::Damaged(Damage::Token));
    };
    let state = standing.state.as_ref();
    let gpg_key = context.gpg_key()?;
    let fresh = if context.options.dry_run {
        let server = context.server_of(state)?;
        say_request("GET", &server, &registration_path(&credential.id), Some("Basic <redacted>"), None, report);
        let Some(state) = state else {
            report.changed = Some(true);
            report.dry_run(DryRun::AllFiles);
            report.dry_run(DryRun::End);
            return Ok(());
        };
        state.clone()
    } else {
        ask(context, state, credential, report)?
    };
    let present = Present::look(&context.root)?;
    let repo_file = repo_file(fresh.repo_file.as_str())?;
    let release = context.release(fresh.repo_file.as_str());
    let wanted = Wanted { repo_url: &fresh.repo_url, credential, repo_file, gpg_key: &gpg_key, release };
    let plan = present.plan(&wanted, state.map(|state| &state.files));
    let new = fresh.with_files(plan.hashes.clone());
    report.registration = Some(new.view());
    apply(context, state, &new, &plan, report)?;
    checks::expiry(new.expires, context.clock.now(), true, report);
    Ok(())
}

/// The state as the backend's answer makes it, without files.
fn ask(context: &Context<'_>, state: Option<&State>, credential: &Credential, report: &mut Report) -> Result<State> {
    let server = context.server_of(state)?;
    let client = context.client()?;
    let answer = backend::registration(&client, &server, credential);
    show_network(context, &client, report);
    let mut answer = answer.map_err(|error| refused(error.failure.into(), report))?;
    report.seats = Some(answer.seats);
    checks::superseded(&answer, report);
    repo_file(answer.repo.file.as_str())?;
    answer.repo.url = checked_url(&answer, &server)?.as_str().to_owned();
    let identity = match state {
        // A state of an earlier version does not say which container it was made in.
        Some(state) => Identity { instance: state.identity.instance.or(context.machine()?.instance), ..state.identity },
        None => Identity::of(&context.machine()?, None, || MachineId::from_random(random())),
    };
    let check = state.and_then(|state| state.key_check.clone());
    let mut fresh = State::new(&answer, &server, check, identity, context.clock.now(), Default::default());
    fresh.folders = state.map(|state| state.folders.clone()).unwrap_or_default();
    Ok(fresh)
}

/// Only the shipped files: what an upgrade of this program brings. The backend is not asked.
fn offline(context: &Context<'_>, standing: &Standing, report: &mut Report) -> Result<()> {
    let Some(state) = &standing.state else {
        report.state = Some(Stands::Damaged);
        return Err(Failure::Damaged(Damage::StateFile { path: registration::STATE.path }));
    };
    let repo_file = repo_file(state.repo_file.as_str())?;
    let present = Present::look(&context.root)?;
    let whole = standing.credential.as_ref().is_some_and(|credential| present.holds(credential));
    let plan = present.plan_shipped(
        repo_file,
        &context.gpg_key()?,
        context.release(state.repo_file.as_str()),
        whole,
        &state.files,
    );
    let new = state.with_files(plan.hashes.clone());
    apply(context, Some(state), &new, &plan, report)?;
    if !whole {
        report.state = Some(Stands::Damaged);
        return Err(Failure::Damaged(Damage::Variables));
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
        context.root.apply(&changes)?;
    }
    report.changed = Some(changed);
    report.state = Some(Stands::Registered);
    show_plan(plan, report);
    report.file(registration::STATE.path, if same { FileState::Unchanged } else { FileState::Written });
    if context.options.dry_run {
        say_files(report);
        report.dry_run(DryRun::End);
        return Ok(());
    }
    report.headline(if changed { Headline::Refreshed } else { Headline::InOrder });
    say_registration(new, report);
    Ok(())
}

/// Sets the state of a machine whose registration the backend may no longer accept.
pub(super) fn refused(failure: Failure, report: &mut Report) -> Failure {
    let no_longer = matches!(
        failure.denial(),
        Some(
            Code::KeyExpired
                | Code::KeySuspended
                | Code::KeyRevoked
                | Code::RegistrationReleased
                | Code::UnknownRegistration
                | Code::CredentialInvalid
        )
    );
    report.state = Some(if no_longer { Stands::Refused } else { Stands::Registered });
    failure
}
