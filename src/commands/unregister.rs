//! `--unregister`: the seat goes back, and everything that registering wrote goes away.
//!
//! The journal is written first, then dnf loses sight of the repositories, then the backend is asked. Only what certainly
//! was not carried out is undone; what is not known stays off until the next run finishes it.

use els_protocol::Code;
use els_protocol::wire::registration_path;

use super::{
    COPY_HINT, Context, give_back_all, release_command, request_view, say_files, say_request, show_network, show_plan,
};
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{Plan, Present};
use crate::report::{FileState, Report, State as Stands};
use crate::{backend, vendor};
use els_host::failure::{Failure, Kind, Result};
use els_host::network::{CallError, Client, Credential, Fate};
use els_host::root::Change;

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let _lock = if context.options.dry_run { None } else { Some(context.lock()?) };
    if !context.options.dry_run {
        context.sweep()?;
    }
    let standing = context.standing(report)?;
    report.changed = Some(false);
    report.registration = standing.state.as_ref().map(State::view);
    let machine = context.machine()?;
    let copy = standing.is_copy(&machine);
    let mut pending = standing.journal_of(&machine);
    if !standing.is_registered() && standing.pending.is_empty() {
        report.state = Some(Stands::NotRegistered);
        report.say("This machine is not registered: nothing to do.");
        return Ok(());
    }
    if context.options.dry_run {
        return show(context, &standing, copy, report);
    }
    if copy {
        let id = standing.id().map(|id| id.to_string()).unwrap_or_default();
        // What the copy itself began to register goes back; the original's registration is none of its business.
        if let Some(making) = pending.making.take() {
            pending.give_back(&making.credential(), &making.server);
        }
        let client = context.client();
        if let (Err(wrong), false) = (&client, context.options.force || pending.is_empty()) {
            return Err(clone_failure(wrong));
        }
        clear(context, &standing, pending, client, None, report)?;
        report.say(format!(
            "This machine is not the one that registration {id} was made on: only the files here were removed, its seat was \
             not touched."
        ));
        report.warn(
            "copied",
            format!("if this was the registered machine on new hardware, register it with --moved; {COPY_HINT}"),
        );
        return Ok(());
    }
    give_back(context, &standing, pending, report)
}

fn give_back(context: &Context<'_>, standing: &Standing, mut pending: Pending, report: &mut Report) -> Result<()> {
    let force = context.options.force;
    if let Some(making) = pending.making.take() {
        pending.give_back(&making.credential(), &making.server);
    }
    let mut failure = None;
    let client = context.client();
    if let (Err(wrong), false) = (&client, force) {
        return Err(clone_failure(wrong));
    }
    match &standing.credential {
        Some(credential) => {
            let server = match context.server_of(standing.state.as_ref()) {
                Err(unknown) if force => return finish(context, standing, pending, client, Some(unknown), report),
                server => server?,
            };
            // In the journal before: an earlier run asked, and its answer was lost.
            let doubtful = pending.giving_back.iter().any(|known| known.id == credential.id);
            pending.forget(&credential.id);
            pending.give_back(credential, &server);
            context.write(&pending)?;
            let switched = Present::look(&context.root)?.switch_off();
            if let Some((off, _)) = &switched {
                context.root.apply(std::slice::from_ref(off))?.keep();
            }
            let asked = client.as_ref().map_err(clone_failure).and_then(|client| {
                context.printer.progress(&format!("giving registration {} back at {server}", credential.id));
                let given = backend::release(client, &server, credential);
                show_network(context, client, report);
                given.map_err(|CallError { failure, fate, .. }| {
                    if fate != Fate::Unknown && !doubtful {
                        // Certainly not carried out: everything as it was.
                        pending.forget(&credential.id);
                    }
                    failure
                })
            });
            match asked {
                Ok(()) => pending.forget(&credential.id),
                Err(error) if !force => {
                    let known = !pending.giving_back.iter().any(|known| known.id == credential.id);
                    return Err(stay(
                        context,
                        &pending,
                        known.then_some(switched).flatten(),
                        credential,
                        error,
                        report,
                    ));
                }
                Err(error) => failure = Some(error),
            }
        }
        None if standing.state.is_some() => {
            let lost = Failure::new(
                Kind::Wire(Code::CredentialInvalid),
                "the token of this machine's registration is lost or was altered, so the seat cannot be given back with it",
            )
            .hint("'els-register --key KEY' makes a new one without a second seat, then unregister; or use --unregister --force");
            if !force {
                report.state = Some(Stands::Damaged);
                return Err(lost);
            }
            failure = Some(lost);
        }
        None => context.write(&pending)?,
    }
    finish(context, standing, pending, client, failure, report)
}

/// The registration is given back, or is given up by `--force`: the rest goes.
fn finish(
    context: &Context<'_>,
    standing: &Standing,
    pending: Pending,
    client: Result<Client>,
    forced_past: Option<Failure>,
    report: &mut Report,
) -> Result<()> {
    let forced = forced_past.is_some();
    let resumed = !pending.is_empty();
    clear(context, standing, pending, client, forced_past, report)?;
    match (forced, standing.id()) {
        (false, Some(_)) => report.say("Unregistered: the seat is free."),
        (false, None) if resumed => {
            report.say("What an earlier run had left was given back; this machine is not registered.");
        }
        (false, None) => {
            report.say("The journal here is another machine's: it was removed, and nothing in it was given back.");
        }
        (true, _) => report.say("Cleaned up."),
    }
    report.say(
        "Kept: installed packages, dnf's cache ('dnf clean all' removes it) and the imported key ('rpm -e' of the",
    );
    report.say("gpg-pubkey that 'rpm -q gpg-pubkey --qf \"%{NAME}-%{VERSION}-%{RELEASE} %{SUMMARY}\\n\"' shows).");
    Ok(())
}

/// Gives back what the journal lists, and removes the files; with `--force` also when that fails.
fn clear(
    context: &Context<'_>,
    standing: &Standing,
    mut pending: Pending,
    client: Result<Client>,
    forced_past: Option<Failure>,
    report: &mut Report,
) -> Result<()> {
    let force = context.options.force;
    let mut left: Vec<_> = match &client {
        Ok(client) if forced_past.is_none() => give_back_all(client, &mut pending, None),
        _ => Vec::new(),
    };
    if force {
        left.clear();
        let held = forced_past.as_ref().and(standing.id());
        for id in
            held.into_iter().chain(pending.giving_back.iter().map(|known| known.id).filter(|id| Some(*id) != held))
        {
            report.warn(
                "not-given-back",
                format!("the seat of registration {id} was not given back; free it with: {}", release_command(&id)),
            );
        }
        if let Some(failure) = &forced_past {
            report.warn("forced", format!("cleaned up all the same: {failure}"));
        }
        pending = Pending::default();
    }
    clean_up(context, standing, &pending, report)?;
    if let Some((id, failure)) = left.into_iter().next() {
        report.warn(
            "not-given-back",
            format!(
                "registration {id} is still to be given back; the next run tries again, or free its seat with: {}",
                release_command(&id)
            ),
        );
        return Err(failure);
    }
    Ok(())
}

/// The backend did not take the registration back. With `switched`, that is certain: the repositories come back.
fn stay(
    context: &Context<'_>,
    pending: &Pending,
    switched: Option<(Change, Change)>,
    credential: &Credential,
    failure: Failure,
    report: &mut Report,
) -> Failure {
    report.state = Some(Stands::Registered);
    let known = !pending.giving_back.iter().any(|known| known.id == credential.id);
    let mut changes: Vec<Change> = switched.into_iter().map(|(_, back)| back).collect();
    changes.push(pending.write());
    if let Err(error) = context.root.carry_out(&changes) {
        return Failure::from(error);
    }
    if known {
        let hint = failure.hint.clone().unwrap_or_default();
        return Failure { hint: Some(format!("nothing was changed here. {hint}")), ..failure };
    }
    report.changed = Some(true);
    let hint = "it is not known whether the seat was given back; the repositories stay off, and running --unregister again finishes it";
    Failure { hint: Some(hint.to_owned()), ..failure }
}

/// Removes what registering wrote, then the state, the journal last: what fails in between is finished by the next run.
fn clean_up(context: &Context<'_>, standing: &Standing, pending: &Pending, report: &mut Report) -> Result<()> {
    let plan = removal(context, standing)?;
    let mut changes = plan.last.clone();
    changes.push(registration::STATE.remove());
    changes.push(pending.write());
    let folders = standing.state.as_ref().map(|state| state.folders.clone()).unwrap_or_default();
    for path in folders.into_iter().rev().chain([registration::FOLDER.to_owned()]) {
        changes.push(Change::RemoveFolder { path });
    }
    report.changed = Some(true);
    report.state = Some(Stands::NotRegistered);
    show_plan(&plan, report);
    if standing.state.is_some() {
        report.file(registration::STATE.path, FileState::Removed);
    }
    context.root.carry_out(&changes)?;
    Ok(())
}

fn removal(context: &Context<'_>, standing: &Standing) -> Result<Plan> {
    let state = standing.state.as_ref();
    let key = context.gpg_key().unwrap_or_else(|_| vendor::GPG_KEY.into());
    let shipped = vendor::repo_files();
    Ok(Present::look(&context.root)?.plan_removal(state.map(|state| &state.files), &shipped, &key))
}

fn show(context: &Context<'_>, standing: &Standing, copy: bool, report: &mut Report) -> Result<()> {
    report.state = Some(if copy { Stands::Copied } else { Stands::Registered });
    if let Some(credential) = standing.credential.as_ref().filter(|_| !copy) {
        let server = context.server_of(standing.state.as_ref())?;
        let path = registration_path(&credential.id);
        say_request(request_view("DELETE", &server, &path, Some("Basic <redacted>"), None), report);
    }
    let plan = removal(context, standing)?;
    show_plan(&plan, report);
    if standing.state.is_some() {
        report.file(registration::STATE.path, FileState::Removed);
    }
    if copy {
        report.warn("copied", format!("this machine is not the one that was registered: {COPY_HINT}"));
    }
    report.changed = Some(true);
    say_files(report);
    report.say("(dry run: nothing was sent, nothing was written)");
    Ok(())
}

fn clone_failure(failure: &Failure) -> Failure {
    Failure {
        kind: failure.kind.clone(),
        message: failure.message.clone(),
        hint: failure.hint.clone(),
        request_id: None,
    }
}
