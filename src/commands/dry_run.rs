//! What `--dry-run` shows for every command: the request, and the files that would change.

use serde_json::{Value, json};

use els_protocol::BaseUrl;

use super::USER_AGENT;
use crate::file_state::FileState;
use crate::report::{DryRun, Line, Report};

/// Shows a request, and keeps it for the JSON document. `authorization` and `body` hold no secret.
pub(super) fn say_request(
    method: &str,
    server: &BaseUrl,
    path: &str,
    authorization: Option<&str>,
    body: Option<Value>,
    report: &mut Report,
) {
    let url = format!("{server}{path}");
    let mut headers = vec![("User-Agent", USER_AGENT)];
    headers.extend(authorization.map(|authorization| ("Authorization", authorization)));
    headers.extend(body.as_ref().map(|_| ("Content-Type", "application/json")));
    // As in the document, where the members of an object are sorted.
    headers.sort_unstable();
    report.dry_run(DryRun::Request { method: method.to_owned(), url: url.clone() });
    let mut members = serde_json::Map::new();
    for (name, value) in headers {
        report.dry_run(DryRun::Header { name: name.to_owned(), value: value.to_owned() });
        members.insert(name.to_owned(), value.into());
    }
    let mut request = json!({ "method": method, "url": url, "headers": members });
    if let Some(body) = body {
        let pretty = serde_json::to_string_pretty(&body).expect("a JSON value is a JSON document");
        report.lines.extend(pretty.lines().map(|line| Line::Text(format!("  {line}"))));
        request["body"] = body;
    }
    report.request = Some(request);
}

/// Shows which files of the report a run would change.
pub(super) fn say_files(report: &mut Report) {
    let changed = |state| matches!(state, FileState::Written | FileState::Removed | FileState::Kept);
    let files = report.files.iter().filter(|file| changed(file.state));
    let lines: Vec<DryRun> = files.map(|file| DryRun::File { path: file.path.clone(), state: file.state }).collect();
    if lines.is_empty() {
        report.dry_run(DryRun::NoFile);
    }
    for line in lines {
        report.dry_run(line);
    }
}
