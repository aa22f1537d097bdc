//! `--dry-run` of registering: the request as it would be sent, and the files that would change.

use els_protocol::wire::registration_path;
use serde_json::{Value, json};

use super::Run;
use super::attempt::Origin;
use crate::commands::{request_view, say_files, say_request, show_plan};
use crate::registration;
use crate::repo::{self, Present, Wanted};
use crate::report::{FileState, Report};
use els_host::failure::Result;

/// Stands for what the backend decides.
const FROM_BACKEND: &str = "<from the backend>";

impl Run<'_> {
    /// `--dry-run`: the request, and the files that would change.
    pub(super) fn show(&mut self, report: &mut Report) -> Result<()> {
        let gpg_key = self.context.gpg_key()?;
        let attempt = self.choose();
        let fresh = attempt.origin == Origin::Fresh;
        let marked = |text: String| if fresh { format!("<example: {text}>") } else { text };
        let id = marked(attempt.credential.id.to_string());
        self.request.machine = attempt.identity.machine;
        self.request.token_sha256 = attempt.credential.token.hash();
        let mut body = serde_json::to_value(&self.request).expect("a request is a JSON document");
        body["key"] = "<redacted>".into();
        body["token_sha256"] = marked(attempt.credential.token.hash().to_string()).into();
        let path = registration_path(&attempt.credential.id).replace(&attempt.credential.id.to_string(), &id);
        let request = request_view("PUT", &self.server, &path, None, Some(body));
        say_request(request, report);

        let present = Present::look(&self.context.root)?;
        let state = self.standing.state.as_ref().filter(|_| !fresh);
        match state {
            Some(state) => {
                let repo_file = self.context.repo_file(state.repo_file.as_str())?;
                let wanted =
                    Wanted { repo_url: &state.repo_url, credential: &attempt.credential, repo_file, gpg_key: &gpg_key };
                let plan = present.plan(&wanted, Some(&state.files));
                show_plan(&plan, report);
                report.changed = Some(plan.changes_files());
                report.registration = Some(state.view());
            }
            None => {
                for file in [repo::REPO, repo::URL, repo::ID, repo::TOKEN, repo::KEY, registration::STATE] {
                    report.file(file.path, FileState::Written);
                }
                report.changed = Some(true);
                let values: Value = json!({
                    repo::REPO.path: FROM_BACKEND,
                    repo::URL.path: FROM_BACKEND,
                    repo::ID.path: id,
                    repo::TOKEN.path: "<example: made by the run>",
                });
                if let Some(request) = &mut report.request {
                    request["files"] = values;
                }
            }
        }
        report.state = self.standing_without_this();
        say_files(report);
        if fresh {
            report.say(format!("the repo file's name, {} and the expiry are {FROM_BACKEND}", repo::URL.path));
        }
        report.say("(dry run: nothing was sent, nothing was written)");
        Ok(())
    }
}
