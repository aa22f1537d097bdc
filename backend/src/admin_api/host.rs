//! By which names the listener may be asked for: a page in a browser can send requests to a loopback address under a name of
//! its own (DNS rebinding), but it cannot choose `Host`.

use std::net::SocketAddr;

use http::Request;
use http::header::HOST;
use http::uri::{Authority, Uri};

/// The names, each with its port where that is not the usual one.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// The one of `staff_url`; without it, those of a loopback address.
    pub(super) fn new(staff_url: Option<&str>, listen: SocketAddr) -> Result<Self, String> {
        let port = listen.port();
        match staff_url {
            Some(url) => {
                let wrong = || format!("--staff-url {url}: not a URL such as https://els-admin.example.com");
                let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
                let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
                let default = match uri.scheme_str() {
                    Some("https") if plain => 443,
                    Some("http") if plain => 80,
                    _ => return Err(wrong()),
                };
                let authority =
                    uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
                let name = authority.host().to_ascii_lowercase();
                Ok(Hosts(match authority.port_u16().unwrap_or(default) {
                    port if port == default => vec![format!("{name}:{port}"), name],
                    port => vec![format!("{name}:{port}")],
                }))
            }
            None if listen.ip().to_canonical().is_loopback() => {
                Ok(Hosts(["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}")).to_vec()))
            }
            None => {
                Err("the address of --staff-listen for the vendor's systems is missing; add --staff-url https://HOST"
                    .into())
            }
        }
    }

    /// Whether a request names this listener.
    pub(super) fn has<B>(&self, request: &Request<B>) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let named = host.to_str().ok().filter(|host| host.parse::<Authority>().is_ok());
        let named = named.filter(|host| self.0.iter().any(|known| known.eq_ignore_ascii_case(host)));
        // The target of a request may name a host too (RFC 9112, section 3.2.2).
        named.is_some() && request.uri().authority().is_none_or(|target| named.is_some_and(|host| target == host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(hosts: &Hosts, host: &str) -> bool {
        hosts.has(&Request::builder().header(HOST, host).body(()).unwrap())
    }

    /// Promise: admin-host
    #[test]
    fn a_request_under_another_name_is_refused() {
        let listen: SocketAddr = "127.0.0.1:8082".parse().unwrap();
        let loopback = Hosts::new(None, listen).unwrap();
        for good in ["localhost:8082", "127.0.0.1:8082", "LOCALHOST:8082"] {
            assert!(has(&loopback, good), "{good}");
        }
        for bad in ["localhost", "127.0.0.1:8083", "evil.example:8082", "evil@localhost:8082", ""] {
            assert!(!has(&loopback, bad), "{bad}");
        }
        let named = Hosts::new(Some("https://Admin.Example.com/"), listen).unwrap();
        assert!(has(&named, "admin.example.com") && has(&named, "admin.example.com:443"));
        assert!(!has(&named, "localhost:8082") && !has(&named, "admin.example.com:8082"));
        assert!(!named.has(&Request::builder().body(()).unwrap()), "no Host");
        let two = Request::builder().header(HOST, "admin.example.com").header(HOST, "admin.example.com");
        assert!(!named.has(&two.body(()).unwrap()));
        for bad in ["admin.example.com", "ftp://a", "https://u@a", "https://a/path", "https://"] {
            assert!(Hosts::new(Some(bad), listen).is_err(), "{bad}");
        }
        assert!(Hosts::new(None, "10.0.0.1:8082".parse().unwrap()).is_err());
    }
}
