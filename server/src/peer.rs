//! The peer of a request: the address that it comes from, behind trusted proxies.
//!
//! Owns the reading of `X-Forwarded-For`. Every client can send that header, so only the entries of trusted proxies count.
//! Proxies append on the right: entries are read from the right, as long as the entry before is a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` counts.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies(networks)
    }

    /// The peer of a request on a connection from `socket`: the rightmost address that is not a trusted proxy. An entry that
    /// is not an address ends the search, and the proxy that wrote it is the peer.
    pub fn peer(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut peer = socket.to_canonical();
        if self.0.is_empty() {
            return peer;
        }
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let mut entries = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        while self.trusts(peer) {
            let Some(entry) = entries.next().and_then(address) else { break };
            peer = entry;
        }
        peer
    }

    /// Whether this address is a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads a network in CIDR form, or one address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text}: not a network such as 10.0.0.0/8 or fd00::/8, and not an address"))
}

/// An entry of the header: an address; some proxies append a port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let parsed = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(trusted: &[&str], socket: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|text| parse_network(text).unwrap()).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        proxies.peer(socket.parse().unwrap(), &headers).to_string()
    }

    /// Promise: serve-trusted-proxy
    #[test]
    fn only_entries_of_trusted_proxies_count() {
        for (trusted, socket, forwarded, expected) in [
            (&[][..], "192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            (&["10.0.0.0/8"], "192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.0/8"], "10.0.0.1", &[], "10.0.0.1"),
            // The client can write the left part itself.
            (&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            (&["10.0.0.0/8"], "10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            (&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            (&["fd00::/8"], "fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["fd00::/8"], "fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            (&["127.0.0.1"], "127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(peer(trusted, socket, forwarded), expected, "{socket} {forwarded:?}");
        }
    }

    #[test]
    fn networks_that_are_not_exact_are_refused() {
        assert_eq!(parse_network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        for bad in ["", "10.0.0.0/33", "10.0.0", "proxy.example.com", "10.0.0.0/8/8"] {
            assert!(parse_network(bad).unwrap_err().contains("not a network"), "{bad}");
        }
    }
}
