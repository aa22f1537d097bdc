//! `--report`: one text for support: state, files, checks; no secrets.

use super::{Context, is_root};
use crate::registration::{PENDING, STATE, Standing};
use crate::repo::{self, Present};
use crate::report::Report;
use crate::{backend, checks};
use els_host::dnf_conf;
use els_host::failure::Result;
use els_host::machine;

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let mut lines = vec![
        format!("els-register {}", env!("CARGO_PKG_VERSION")),
        format!("time          {}", context.clock.now()),
        format!("run by        {}", if is_root() { "root" } else { "an ordinary user: some checks are left out" }),
    ];
    let root = &context.root;
    lines.push(match machine::operating_system(root) {
        Ok(os) => format!("system        {} {} {}", os.id, os.version, machine::architecture().unwrap_or_default()),
        Err(failure) => format!("system        {failure}"),
    });
    lines.push(match machine::require_package_manager(root) {
        Ok(()) => "packages      dnf or microdnf is here".to_owned(),
        Err(failure) => format!("packages      {failure}"),
    });
    lines.push(match machine::identify(root) {
        Ok(found) => format!(
            "machine       machine id {}, hardware id {}{}",
            if found.machine.is_some() { "present" } else { "absent" },
            if found.hardware.is_some() { "present" } else { "absent" },
            if machine::is_container(root) { ", in a container" } else { "" },
        ),
        Err(failure) => format!("machine       {failure}"),
    });
    settings(context, &mut lines);
    standing(context, &mut lines);
    files(context, &mut lines);
    let others = checks::enabled_third_party(root);
    lines.push(format!("other repos   {}", if others.is_empty() { "none".to_owned() } else { others.join(", ") }));
    *report = Report::text(lines.join("\n"));
    Ok(())
}

fn settings(context: &Context<'_>, lines: &mut Vec<String>) {
    let config = &context.config;
    let server = config.server_flag.as_ref().or(config.server.as_ref());
    lines.push(format!("config        {}", config.path));
    lines.extend(config.problem.iter().map(|problem| format!("  wrong       {problem}")));
    lines.push(format!("  server      {}", server.map_or_else(|| "not set".to_owned(), ToString::to_string)));
    lines.push(format!("  timeout     {} s", config.timeout.as_secs()));
    if let Some((path, _)) = &config.extra_certificates {
        lines.push(format!("  ca_file     {path}"));
    }
    if let Some(path) = &config.gpg_key {
        lines.push(format!("  gpg_key     {path}"));
    }
    lines.push(match dnf_conf::proxy(&context.root) {
        Ok(Some(proxy)) => {
            format!("dnf.conf      proxy {proxy}{}", if proxy.user.is_some() { " with a login" } else { "" })
        }
        Ok(None) => "dnf.conf      no proxy".to_owned(),
        Err(why) => format!("dnf.conf      {why}"),
    });
}

fn standing(context: &Context<'_>, lines: &mut Vec<String>) {
    let standing = match Standing::read(&context.root) {
        Ok(standing) => standing,
        Err(failure) => return lines.push(format!("registration  {failure}")),
    };
    lines.extend(standing.lost.iter().map(|lost| format!("lost          {lost}")));
    let Some(state) = &standing.state else {
        let known = standing.id().map(|id| format!("state lost, credential of {id} is there"));
        return lines.push(format!("registration  {}", known.unwrap_or_else(|| "none".to_owned())));
    };
    let copy = context.machine().is_ok_and(|machine| standing.is_copy(&machine));
    lines.push(format!(
        "registration  {}{}",
        state.registration,
        if copy { " (made on another machine, or this one has new hardware: see --moved)" } else { "" }
    ));
    lines.push(format!("  key         {}", state.key_id));
    lines.push(format!("  contract    {}", state.contract.as_deref().unwrap_or("-")));
    lines.push(format!("  product     {}", state.product.id));
    lines.push(format!("  expires     {}", state.expires));
    lines.push(format!("  registered  {}", state.registered_at));
    lines.push(format!("  verified    {}", state.verified_at));
    lines.push(format!("  server      {}", state.server));
    lines.push(format!("  repository  {}", state.repo_url));
    let journal = &standing.pending;
    if !journal.is_empty() {
        let making = usize::from(journal.making.is_some());
        lines.push(format!("journal       {making} being made, {} to be given back", journal.giving_back.len()));
    }
    if is_root() {
        lines.push(format!("backend       {}", asked(context, &standing)));
    }
}

/// What the backend says of this machine, in one line.
fn asked(context: &Context<'_>, standing: &Standing) -> String {
    let Some(credential) = &standing.credential else { return "not asked: the token is lost".to_owned() };
    let answer = context.server_of(standing.state.as_ref()).and_then(|server| {
        let client = context.client()?;
        let answer = backend::registration(&client, &server, credential).map_err(|error| error.failure)?;
        let ahead = client.ahead().map_or(String::new(), |ahead| format!(", its clock is {ahead} s ahead of ours"));
        Ok(format!("accepts this machine, expires {}{ahead}", answer.expires))
    });
    answer.unwrap_or_else(|failure| {
        let id = failure.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default();
        format!("{}: {failure}{id}", failure.kind.code())
    })
}

fn files(context: &Context<'_>, lines: &mut Vec<String>) {
    let recorded = Standing::read(&context.root).ok().and_then(|standing| standing.state).map(|state| state.files);
    let compared =
        Present::look(&context.root).ok().zip(recorded.as_ref()).map(|(present, recorded)| present.compare(recorded));
    lines.push("files".to_owned());
    for file in
        [repo::REPO, repo::REPO_OFF, repo::REPO_NEW, repo::URL, repo::ID, repo::TOKEN, repo::KEY, STATE, PENDING]
    {
        let verdict =
            compared.iter().flatten().find(|(path, _)| path == file.path).map(|(_, state)| format!(" {state:?}"));
        let line = match context.root.look(file.path) {
            Ok(Some(found)) => format!("mode {:04o}{}", found.mode, verdict.unwrap_or_default().to_lowercase()),
            Ok(None) => "not there".to_owned(),
            Err(error) => error.to_string(),
        };
        lines.push(format!("  {}  {line}", file.path));
    }
}
