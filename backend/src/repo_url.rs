//! The address of the repositories, as machines are told it.

use std::fmt;
use std::net::IpAddr;

use crate::gate::judge::Prefix;

/// A URL that an agent accepts: https (http for loopback alone), a host, perhaps a port, a plain path, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUrl {
    text: String,
    base: Prefix,
}

impl RepoUrl {
    /// Reads a URL; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let uri: http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("not a URL with https:// and a host".into());
        };
        if authority.as_str().contains('@') {
            return Err("user name and password do not belong there".into());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("a query or a fragment does not belong there".into());
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => return Err("has to be https: machines refuse plain HTTP to anything but loopback".into()),
            _ => return Err("has to be https".into()),
        }
        let path = uri.path().trim_end_matches('/');
        let base = Prefix::parse(path).map_err(|why| format!("its path {why}"))?;
        if path.contains('+') {
            return Err("its path has the character '+', which machines refuse".into());
        }
        Ok(RepoUrl { text: text.to_owned(), base })
    }

    /// The path part: what is cut off from every request before it is judged.
    pub fn base(&self) -> &Prefix {
        &self.base
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_accepts_is_accepted() {
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

    #[test]
    fn what_an_agent_refuses_is_refused_at_the_start() {
        for (text, why) in [
            ("", "not a URL"),
            ("repo.example.com", "not a URL with"),
            ("/repo", "not a URL with"),
            ("http://repo.example.com", "has to be https"),
            ("ftp://repo.example.com", "has to be https"),
            ("https://user:secret@repo.example.com", "do not belong"),
            ("https://repo.example.com/a?b", "a query"),
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
