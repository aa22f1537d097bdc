//! `--report`: a text for support: state, files, checks; no secrets.

use els_host::network::Choice;
use els_host::{container, dnf_conf, machine};
use els_protocol::wire::RegistrationState;

use super::{Context, is_root};
use crate::failure::Result;
use crate::registration::{PENDING, STATE, Standing, State};
use crate::repo::{self, Present};
use crate::report::Report;
use crate::support::{Answer, FileFacts, MachineIds, Registered, Support};
use crate::{backend, checks, messages};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let (root, config) = (&context.root, &context.config);
    let server = config.server_flag.as_ref().or(config.server.as_ref());
    let proxy = dnf_conf::proxy(root).map(|choice| match choice {
        Some(Choice::Through(proxy)) => Some((proxy.to_string(), proxy.user.is_some())),
        Some(Choice::Direct) | None => None,
    });
    let standing = Standing::read(root);
    let found = Support {
        time: context.clock.now(),
        root: is_root(),
        system: machine::operating_system(root).and_then(|os| Ok((os, machine::architecture()?))).map_err(Into::into),
        packages: machine::require_package_manager(root).map_err(Into::into),
        machine: machine_ids(context),
        config: config.path.clone(),
        problem: config.problem.clone(),
        server: server.map(ToString::to_string),
        timeout: config.timeout.as_secs(),
        ca_file: config.extra_certificates.as_ref().map(|file| file.path.clone()),
        gpg_key: config.gpg_key.clone(),
        dnf_proxy: proxy.map_err(Into::into),
        files: files(context, standing.as_ref().ok().and_then(|standing| standing.state.as_ref())),
        registered: standing.map(|standing| registered(context, standing)),
        other_repositories: checks::enabled_third_party(root),
    };
    *report = Report { support: report.support.take(), ..Report::text(messages::support(&found)) };
    Ok(())
}

fn machine_ids(context: &Context<'_>) -> Result<MachineIds> {
    let found = context.machine()?;
    let container = container::is_container(&context.root)?;
    Ok(MachineIds { machine: found.machine.is_some(), hardware: found.hardware.is_some(), container })
}

fn registered(context: &Context<'_>, standing: Standing) -> Registered {
    Registered {
        id: standing.id(),
        view: standing.state.as_ref().map(State::view),
        copy: context.machine().is_ok_and(|machine| standing.is_copy(&machine)),
        making: standing.pending.making.is_some(),
        releasing: standing.pending.releasing.len(),
        answer: (is_root() && standing.state.is_some()).then(|| asked(context, &standing)),
        lost: standing.lost,
    }
}

/// What the backend says of this machine.
fn asked(context: &Context<'_>, standing: &Standing) -> Answer {
    let Some(credential) = &standing.credential else { return Answer::TokenLost };
    let answer = context.server_of(standing.state.as_ref()).and_then(|server| {
        let client = context.client()?;
        let answer = backend::registration(&client, &server, credential)?;
        let superseded = answer.state == RegistrationState::Superseded;
        Ok(Answer::Accepts { expires: answer.expires, superseded, ahead: client.ahead() })
    });
    answer.unwrap_or_else(Answer::Failed)
}

fn files(context: &Context<'_>, state: Option<&State>) -> Vec<(&'static str, Result<Option<FileFacts>>)> {
    let compared = Present::look(&context.root).ok().zip(state);
    let compared = compared.map(|(present, state)| present.compare(&state.files)).unwrap_or_default();
    let all = [repo::REPO, repo::REPO_OFF, repo::REPO_NEW, repo::URL, repo::ID, repo::TOKEN, repo::KEY, STATE, PENDING];
    let look = |file: repo::File| {
        let state = compared.iter().find(|(path, _)| path == file.path).map(|(_, state)| *state);
        let found = context.root.look(file.path).map(|found| found.map(|found| FileFacts { mode: found.mode, state }));
        (file.path, found.map_err(Into::into))
    };
    all.into_iter().map(look).collect()
}
