//! The probe: one request for the repository's metadata with the machine's credential, as dnf will make it.

use els_host::network::header::{AUTHORIZATION, LOCATION};
use els_host::network::{Client, Credential, Request, basic};
use els_protocol::{BaseUrl, Timestamp, clean};

use crate::failure::{Failure, RepositoryFault, Result};

/// `GET {repository}/repodata/repomd.xml`, which must be a repomd document. Returns when it was made, if it says so.
pub(crate) fn probe(client: &Client, repository: &BaseUrl, credential: &Credential) -> Result<Option<Timestamp>> {
    let url = format!("{repository}/repodata/repomd.xml");
    let refused = |fault| Failure::Repository { url: url.clone(), fault };
    let request = Request::builder().uri(&url).header(AUTHORIZATION, basic(credential)).body(Vec::new());
    let request = request.map_err(|error| refused(RepositoryFault::Request { why: error.to_string() }))?;
    let answer = client.send(repository, &request, REPOMD_LIMIT).map_err(|error| error.failure)?;
    match answer.status {
        200 if is_repomd(&answer.body) => Ok(made(&answer.body)),
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

/// When the metadata was made: the text of `revision`, where that is a Unix time. It may be any text.
pub(crate) fn made(document: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(document).ok()?;
    let (_, after) = text.split_once("<revision>")?;
    let (revision, _) = after.split_once("</revision>")?;
    let seconds =
        revision.trim().parse().ok().filter(|seconds| (EARLIEST..=Timestamp::MAX.unix()).contains(seconds))?;
    Some(Timestamp::from_unix(seconds))
}

/// The year 2000: no plausible revision is earlier.
const EARLIEST: i64 = 946_684_800;

/// The largest `repomd.xml` that is read, in bytes. Real ones have a few kilobytes.
const REPOMD_LIMIT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: status-metadata-age
    #[test]
    fn a_revision_counts_where_it_is_a_time() {
        let of = |revision: &str| made(format!("<repomd><revision>{revision}</revision></repomd>").as_bytes());
        assert_eq!(of("1700000000"), Some(Timestamp::from_unix(1_700_000_000)));
        assert_eq!(of(" 1700000000\n"), Some(Timestamp::from_unix(1_700_000_000)));
        for other in ["", "1", "-1700000000", "8.4", "99999999999999999999", "el9"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

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
