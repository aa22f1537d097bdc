//! `--dry-run` of registering: the request as it would be sent, and the files that would change.

use els_protocol::wire::registration_path;
use serde_json::json;

use super::Prepared;
use super::attempt::Origin;
use crate::commands::dry_run::{say_files, say_request};
use crate::commands::{repo_file, show_plan};
use crate::failure::Result;
use crate::file_state::FileState;
use crate::registration;
use crate::repo::{self, Present, Wanted};
use crate::report::{DryRun, Report};

impl Prepared<'_> {
    /// Shows what the run would do.
    pub(super) fn show(&self, report: &mut Report) -> Result<()> {
        let Prepared { facts, gpg_key, attempt, .. } = self;
        let fresh = attempt.origin == Origin::Fresh;
        let marked = |text: String| if fresh { format!("<example: {text}>") } else { text };
        let id = marked(attempt.credential.id.to_string());
        let mut body = serde_json::to_value(facts.request(attempt)).expect("a request is a JSON document");
        body["key"] = "<redacted>".into();
        body["token_sha256"] = marked(attempt.credential.token.hash().to_string()).into();
        let path = registration_path(&attempt.credential.id).replace(&attempt.credential.id.to_string(), &id);
        say_request("PUT", &facts.server, &path, None, Some(body), report);

        let present = Present::look(&facts.context.root)?;
        match facts.standing.state.as_ref().filter(|_| !fresh) {
            Some(state) => {
                let repo_file = repo_file(state.repo_file.as_str())?;
                let release = facts.context.release(state.repo_file.as_str());
                let credential = &attempt.credential;
                let wanted = Wanted { repo_url: &state.repo_url, credential, repo_file, gpg_key, release };
                let plan = present.plan(&wanted, Some(&state.files));
                show_plan(&plan, report);
                let other_key = self.journal.is_of_other_key();
                if other_key {
                    report.file(registration::STATE.path, FileState::Written);
                    report.dry_run(DryRun::OtherKey);
                }
                report.changed = Some(other_key || plan.changes_files());
                report.registration = Some(state.view());
            }
            None => {
                for file in [repo::REPO, repo::URL, repo::ID, repo::TOKEN, repo::KEY, registration::STATE] {
                    report.file(file.path, FileState::Written);
                }
                report.changed = Some(true);
                if let Some(request) = &mut report.request {
                    request["files"] = json!({
                        repo::REPO.path: FROM_BACKEND,
                        repo::URL.path: FROM_BACKEND,
                        repo::ID.path: id,
                        repo::TOKEN.path: "<example: made by the run>",
                    });
                }
            }
        }
        report.state = Some(facts.standing_without_this());
        say_files(report);
        if fresh {
            report.dry_run(DryRun::Decided { path: repo::URL.path });
        }
        report.dry_run(DryRun::End);
        Ok(())
    }
}

/// In place of what the backend decides.
const FROM_BACKEND: &str = "<from the backend>";
