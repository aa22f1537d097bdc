//! Which address a request comes from.
//!
//! Owns the reading of `X-Forwarded-For`. Anybody can send that header: only what a trusted proxy has put there counts,
//! and proxies append on the right. So the entries are read from the right for as long as they are trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` is believed (`--trusted-proxy CIDR`).
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies(networks)
    }

    /// The client's address: the rightmost one that is no trusted proxy. An entry that is no address ends the search,
    /// and the proxy that wrote it counts as the client.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let values = headers.get_all("x-forwarded-for").iter().rev();
        let mut entries = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        while self.trusts(client) {
            let Some(entry) = entries.next().and_then(address) else { break };
            client = entry;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads `--trusted-proxy`: a network in CIDR form, or one address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text}: not a network such as 10.0.0.0/8 or fd00::/8, and not an address"))
}

/// An entry of the header: an address, with a port beside it from some proxies.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let parsed = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|text| parse_network(text).unwrap()).collect());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    /// Promise: serve-trusted-proxy
    #[test]
    fn only_what_trusted_proxies_say_counts() {
        for (trusted, peer, forwarded, expected) in [
            (&[][..], "192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            (&["10.0.0.0/8"], "192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            (&["10.0.0.0/8"], "10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&["10.0.0.0/8"], "10.0.0.1", &[], "10.0.0.1"),
            // The left part is what the client itself made up.
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
            assert_eq!(client(trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        assert_eq!(parse_network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        for bad in ["", "10.0.0.0/33", "10.0.0", "proxy.example.com", "10.0.0.0/8/8"] {
            assert!(parse_network(bad).unwrap_err().contains("not a network"), "{bad}");
        }
    }
}
