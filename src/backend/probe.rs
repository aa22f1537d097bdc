//! The probe: one request for the repository's metadata with the machine's credential, as dnf will make it.

use els_host::network::header::{AUTHORIZATION, LOCATION};
use els_host::network::{Client, Credential, Request, basic};
use els_protocol::{BaseUrl, clean};

use crate::failure::{Failure, RepositoryFault, Result};

/// `GET {repository}/repodata/repomd.xml`, which must be a repomd document.
pub(crate) fn probe(client: &Client, repository: &BaseUrl, credential: &Credential) -> Result<()> {
    let url = format!("{repository}/repodata/repomd.xml");
    let refused = |fault| Failure::Repository { url: url.clone(), fault };
    let request = Request::builder().uri(&url).header(AUTHORIZATION, basic(credential)).body(Vec::new());
    let request = request.map_err(|error| refused(RepositoryFault::Request { why: error.to_string() }))?;
    let answer = client.send(repository, &request, REPOMD_LIMIT).map_err(|error| error.failure)?;
    match answer.status {
        200 if is_repomd(&answer.body) => Ok(()),
        200 => Err(refused(RepositoryFault::NotRepomd)),
        300..=399 => {
            let to = answer.header(LOCATION.as_str()).unwrap_or_default();
            Err(refused(RepositoryFault::Redirects { to: clean(&to, 200) }))
        }
        status => Err(refused(RepositoryFault::Status(status))),
    }
}

/// Whether a document's root element is `repomd`: only a declaration, comments and white space may come before it.
pub(crate) fn is_repomd(document: &[u8]) -> bool {
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

/// The largest `repomd.xml` that is read, in bytes. Real ones have a few kilobytes.
const REPOMD_LIMIT: usize = 1024 * 1024;

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
