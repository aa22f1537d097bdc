//! The URLs of the protocol, each checked once: of a backend, of a repository. One type, so that a backend names no
//! repository that an agent would refuse.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The URL of a backend or a repository: `https`, or `http` on a loopback address; host, port and path alone; no slash at
/// its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    https: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is not a URL of the protocol. The message never contains the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `https://` nor `http://`.
    Scheme,
    /// It has a user name or a password.
    Login,
    /// It has a query or a fragment.
    Query,
    /// A character of the path.
    Path,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The host is neither a name nor an address.
    Host,
    /// Plain HTTP on an address that is not loopback.
    PlainHttp,
    /// A repository with plain HTTP on a loopback address, of a backend that is elsewhere.
    PlainHttpRepository,
}

impl BaseUrl {
    /// Reads a URL; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim().trim_end_matches('/');
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(UrlError::Login);
        }
        if rest.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
        if !path.bytes().all(plain) || path.contains("..") {
            return Err(UrlError::Path);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
                let port = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0);
                (host, port.ok_or(UrlError::Port)?)
            }
            _ => (authority, if https { 443 } else { 80 }),
        };
        let host = host.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            // One dot may end a name; no label is empty.
            None => {
                host.bytes().all(plain) && host.strip_suffix('.').unwrap_or(&host).split('.').all(|l| !l.is_empty())
            }
        };
        if !good_host {
            return Err(UrlError::Host);
        }
        let url = BaseUrl { text: text.to_owned(), https, host, port, path: path.to_owned() };
        if !https && !url.is_loopback() {
            return Err(UrlError::PlainHttp);
        }
        Ok(url)
    }

    /// Reads the URL of a repository that a backend at `server` names: as [`BaseUrl::parse`], and plain HTTP only when both
    /// are on loopback addresses.
    pub fn parse_repository(text: &str, server: &BaseUrl) -> Result<Self, UrlError> {
        let url = BaseUrl::parse(text)?;
        if !url.https && !server.is_loopback() {
            return Err(UrlError::PlainHttpRepository);
        }
        Ok(url)
    }

    /// The URL as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host as it stands in the URL, in lower case; IPv6 addresses in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address that the host is, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The port, that of the scheme where none is named.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, without a slash at its end; empty where there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlError::Scheme => "it does not begin with https://",
            UrlError::Login => "it holds a user name or password",
            UrlError::Query => "it has a query or fragment",
            UrlError::Path => "its path holds more than letters, digits and . _ ~ / -",
            UrlError::Port => "its port is no number from 1 to 65535",
            UrlError::Host => "its host is no name and no address",
            UrlError::PlainHttp => "plain http is for loopback addresses alone: use https://",
            UrlError::PlainHttpRepository => "it is plain http on a loopback address, but the backend is not on one",
        })
    }
}

impl std::error::Error for UrlError {}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: https-only
    #[test]
    fn urls_of_servers_are_read() {
        let url = BaseUrl::parse("https://Els.Example.com:8443/els/ ").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.as_str()),
            ("els.example.com", 8443, "https://Els.Example.com:8443/els")
        );
        assert_eq!(BaseUrl::parse("https://els.example.com").unwrap().port(), 443);
        for loopback in ["http://127.0.0.1:8080", "http://[::1]:80", "http://localhost/x", "http://127.9.9.9"] {
            assert!(BaseUrl::parse(loopback).is_ok(), "{loopback}");
        }
    }

    /// Promise: https-only
    #[test]
    fn what_could_do_harm_is_refused() {
        for bad in [
            "",
            "els.example.com",
            "ftp://x",
            "http://els.example.com",
            "http://128.0.0.1",
            "http://localhost.example.com",
            "https://user:pass@host",
            "https://host/?q",
            "https://host/#f",
            "https://host/a b",
            "https://host/a/../b",
            "https://host/$releasever",
            "https://host/%2e",
            "https://host:0",
            "https://host:99999",
            "https://",
            "https://a_b",
            "https://.",
            "https://.a",
            "https://a..b",
            "https://[::1",
            "https://ho\nst",
            "https://host/a\u{7f}",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad:?}");
        }
        let message = BaseUrl::parse("https://user:hunter2@host").unwrap_err().to_string();
        assert!(!message.contains("hunter2"));
    }

    /// Promise: files-backend-names
    #[test]
    fn plain_http_repositories_need_a_backend_on_loopback() {
        let (local, remote) =
            (BaseUrl::parse("http://127.0.0.1:1").unwrap(), BaseUrl::parse("https://els.example.com").unwrap());
        assert!(BaseUrl::parse_repository("http://127.0.0.1:1/repo", &local).is_ok());
        assert!(BaseUrl::parse_repository("http://127.0.0.1:1/repo", &remote).is_err());
        assert!(BaseUrl::parse_repository("http://repo.example.com", &local).is_err());
    }
}
