//! English: the text for support.

use super::{failure, id};
use crate::support::{Answer, FileFacts, Registered, Support};
use crate::warning::Warning;

/// One text for support. It holds no secret.
pub(crate) fn support(found: &Support) -> String {
    let mut lines = vec![
        format!("els-register {}", super::VERSION),
        format!("time          {}", found.time),
        format!("run by        {}", if found.root { "root" } else { "an ordinary user: some checks are left out" }),
    ];
    lines.push(match &found.system {
        Ok((os, architecture)) => format!("system        {} {} {architecture}", os.id, os.version),
        Err(wrong) => format!("system        {}", failure(wrong)),
    });
    lines.push(match &found.packages {
        Ok(()) => "packages      dnf or microdnf is installed".to_owned(),
        Err(wrong) => format!("packages      {}", failure(wrong)),
    });
    let presence = |present: bool| if present { "present" } else { "absent" };
    lines.push(match &found.machine {
        Ok(machine) => format!(
            "machine       machine id {}, hardware id {}{}",
            presence(machine.machine),
            presence(machine.hardware),
            if machine.container { ", in a container" } else { "" },
        ),
        Err(wrong) => format!("machine       {}", failure(wrong)),
    });
    settings(found, &mut lines);
    registration(found, &mut lines);
    lines.push("files".to_owned());
    for (path, file) in &found.files {
        let line = match file {
            Ok(Some(FileFacts { mode, state })) => {
                let state = state.map(|state| format!(" {state:?}").to_lowercase());
                format!("mode {mode:04o}{}", state.unwrap_or_default())
            }
            Ok(None) => "does not exist".to_owned(),
            Err(wrong) => failure(wrong),
        };
        lines.push(format!("  {path}  {line}"));
    }
    lines.push(match &found.other_repositories {
        Ok(others) if others.is_empty() => "other repos   none".to_owned(),
        Ok(others) => format!("other repos   {}", others.join(", ")),
        Err(wrong) => format!("other repos   {}", failure(wrong)),
    });
    lines.join("\n")
}

fn settings(found: &Support, lines: &mut Vec<String>) {
    lines.push(format!("config        {}", found.config));
    lines.extend(found.problem.iter().map(|problem| format!("  wrong       {}", failure(problem))));
    lines.push(format!("  server      {}", found.server.as_deref().unwrap_or("not set")));
    lines.push(format!("  timeout     {} s", found.timeout));
    lines.extend(found.ca_file.iter().map(|path| format!("  ca_file     {path}")));
    lines.extend(found.gpg_key.iter().map(|path| format!("  gpg_key     {path}")));
    lines.push(match &found.dnf_proxy {
        Ok(Some((proxy, login))) => format!("dnf.conf      proxy {proxy}{}", if *login { " with a login" } else { "" }),
        Ok(None) => "dnf.conf      no proxy".to_owned(),
        Err(wrong) => format!("dnf.conf      {}", failure(wrong)),
    });
}

fn registration(found: &Support, lines: &mut Vec<String>) {
    let registered = match &found.registered {
        Ok(registered) => registered,
        Err(wrong) => return lines.push(format!("registration  {}", failure(wrong))),
    };
    let Registered { lost, id: known, view, copy, making, releasing, answer } = registered;
    let lost = lost.iter().map(|lost| super::warning(&Warning::Lost(lost.clone())));
    lines.extend(lost.map(|lost| format!("lost          {lost}")));
    let Some(view) = view else {
        let text = known.map(|_| format!("state lost, credential of {} is present", id(known.as_ref())));
        return lines.push(format!("registration  {}", text.as_deref().unwrap_or("none")));
    };
    let copied = if *copy { " (made on another machine, or this one has new hardware: see --moved)" } else { "" };
    lines.push(format!("registration  {}{copied}", view.id));
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let time = |value: Option<els_protocol::Timestamp>| value.map(|time| time.to_string()).unwrap_or_default();
    lines.push(format!("  key         {}", text(&view.key_id)));
    lines.push(format!("  contract    {}", text(&view.contract)));
    lines.push(format!("  product     {}", text(&view.product.as_ref().map(|product| product.id.clone()))));
    lines.push(format!("  expires     {}", time(view.expires)));
    lines.push(format!("  registered  {}", time(view.registered_at)));
    lines.push(format!("  verified    {}", time(view.verified_at)));
    lines.push(format!("  server      {}", text(&view.server)));
    lines.push(format!("  repository  {}", text(&view.repo_url)));
    if *making || *releasing > 0 {
        lines.push(format!("journal       {} being made, {releasing} to be released", usize::from(*making)));
    }
    lines.extend(answer.as_ref().map(|answer| format!("backend       {}", asked(answer))));
}

fn asked(answer: &Answer) -> String {
    match answer {
        Answer::TokenLost => "not asked: the token is lost".to_owned(),
        Answer::Accepts { expires, superseded, ahead } => {
            let moved = if *superseded { ", its seat has moved to another registration" } else { "" };
            let ahead = ahead.map(|ahead| format!(", its clock is {ahead} s ahead of ours")).unwrap_or_default();
            format!("accepts this machine{moved}, expires {expires}{ahead}")
        }
        Answer::Failed(wrong) => {
            let request = wrong.request_id().map(|id| format!(" (request id {id})")).unwrap_or_default();
            format!("{}: {}{request}", wrong.code(), failure(wrong))
        }
    }
}
