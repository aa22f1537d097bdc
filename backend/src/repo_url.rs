//! The address of the repositories that machines get (`--repo-url`).

use std::fmt;

use els_protocol::BaseUrl;

use els_server::path::Prefix;

/// A URL that an agent accepts, with a path that the gate can remove from targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUrl {
    url: BaseUrl,
    base: Prefix,
}

impl RepoUrl {
    /// Reads a URL; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = BaseUrl::parse(text)?;
        let base = Prefix::parse(url.path()).map_err(|why| format!("its path {why}"))?;
        Ok(RepoUrl { url, base })
    }

    /// The path part: the gate removes it from every target.
    pub fn base(&self) -> &Prefix {
        &self.base
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: serve-whole-service
    #[test]
    fn a_url_that_an_agent_accepts_is_accepted() {
        for (text, url, base) in [
            ("https://repo.example.com", "https://repo.example.com", ""),
            ("https://repo.example.com/", "https://repo.example.com", ""),
            ("https://repo.example.com:8443/els/v1/", "https://repo.example.com:8443/els/v1", "/els/v1"),
            ("http://127.0.0.1:8080/repo", "http://127.0.0.1:8080/repo", "/repo"),
            ("http://[::1]:8080/repo", "http://[::1]:8080/repo", "/repo"),
            ("http://localhost/repo", "http://localhost/repo", "/repo"),
        ] {
            let parsed = RepoUrl::parse(text).unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.base().to_string().as_str()), (url, base), "{text}");
        }
    }

    /// Promise: serve-whole-service
    #[test]
    fn a_url_that_an_agent_refuses_is_refused() {
        for (text, why) in [
            ("", "does not begin"),
            ("repo.example.com", "does not begin"),
            ("/repo", "does not begin"),
            ("http://repo.example.com", "https://"),
            ("ftp://repo.example.com", "https://"),
            ("https://user:secret@repo.example.com", "user name or password"),
            ("https://repo.example.com/a?b", "query"),
            ("https://repo.example.com/a/../b", "its path"),
            ("https://repo.example.com/a//b", "its path"),
            ("https://repo.example.com/a%20b", "its path"),
            ("https://repo.example.com/a+b", "its path"),
        ] {
            let error = RepoUrl::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
