//! One look at the repository, as dnf will see it: with the machine's credential, is its metadata there?

use ureq::http::Request;
use ureq::http::header::{AUTHORIZATION, LOCATION};

use els_protocol::{BaseUrl, clean};

use super::{Client, Credential, basic};
use crate::error::{Failure, Kind};

/// The largest `repomd.xml` that is read, in bytes. Real ones have a few kilobytes.
const REPOMD_LIMIT: usize = 1024 * 1024;

impl Client {
    /// `GET {repository}/repodata/repomd.xml`, which must be a repomd document.
    pub(crate) fn probe(&self, repository: &BaseUrl, credential: &Credential) -> Result<(), Failure> {
        let url = format!("{repository}/repodata/repomd.xml");
        let refused = |why: String, hint: &str| {
            Err(Failure::new(Kind::RepositoryRefused, format!("the repository {url} {why}")).hint(hint))
        };
        let request = Request::builder()
            .uri(&url)
            .header(AUTHORIZATION, basic(credential))
            .body(Vec::new())
            .map_err(|error| Failure::new(Kind::RepositoryRefused, format!("cannot ask for {url}: {error}")))?;
        let answer = self.send(repository, &request, REPOMD_LIMIT).map_err(|error| error.failure)?;
        const AGAIN: &str =
            "run the same command again in a while; if it stays so, ask support: the machine is not at fault";
        match answer.status {
            200 if is_repomd(&answer.body) => Ok(()),
            200 => refused(
                "is no repository: what answers there is no repomd document".into(),
                "check that no proxy or portal answers in its place",
            ),
            401 => refused("does not accept the new credential (401)".into(), AGAIN),
            403 => refused("is not open to this registration (403)".into(), AGAIN),
            404 => refused("does not exist (404)".into(), AGAIN),
            300..=399 => {
                let to = answer.header(LOCATION.as_str()).unwrap_or_default();
                refused(format!("redirects to {:?}; dnf would lose the credential there", clean(&to, 200)), AGAIN)
            }
            status => refused(format!("answered HTTP {status}"), AGAIN),
        }
    }
}

/// Whether a document's root element is `repomd`: only a declaration, comments and white space may stand before it.
pub(super) fn is_repomd(document: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(document) else { return false };
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let skipped = if let Some(comment) = rest.strip_prefix("<!--") {
            comment.split_once("-->")
        } else if let Some(declaration) = rest.strip_prefix("<?") {
            declaration.split_once("?>")
        } else {
            break;
        };
        let Some((_, after)) = skipped else { return false };
        rest = after.trim_start();
    }
    rest.strip_prefix("<repomd").is_some_and(|rest| rest.starts_with(['>', ' ', '\t', '\n', '\r', '/']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: register-probe
    #[test]
    fn only_a_repomd_document_is_one() {
        assert!(is_repomd(
            b"<?xml version=\"1.0\"?>\n<!-- x -->\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">"
        ));
        assert!(is_repomd("\u{feff}<repomd>".as_bytes()));
        for bad in ["", "<html><repomd></html>", "<repomdx>", "<!-- <repomd>", "repomd", "<?xml", "\u{0}<repomd>"] {
            assert!(!is_repomd(bad.as_bytes()), "{bad}");
        }
    }
}
