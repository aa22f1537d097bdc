//! Which proxy a request goes through, if any, and where it was named.

use std::fmt;
use std::net::IpAddr;

use els_protocol::{BaseUrl, Secret};
use percent_encoding::percent_decode_str;

use crate::failure::{Failure, ProxyFault, Result, SettingFault};

/// Where dnf keeps its settings.
pub const DNF_CONF: &str = "/etc/dnf/dnf.conf";

/// A proxy, with a login or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: Kind,
    /// IPv6 in brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// For Basic and for SOCKS.
    pub user: Option<String>,
    /// Likewise.
    pub password: Option<Secret>,
}

/// What a proxy speaks; the kinds of libcurl, which are dnf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the schemes of the URL")]
pub enum Kind {
    Http,
    Https,
    /// The host's name is looked up here.
    Socks4,
    Socks4a,
    /// The host's name is looked up here.
    Socks5,
    Socks5h,
}

/// What a setting says about proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// No proxy, also where a later source names one.
    Direct,
    /// This one.
    Through(Proxy),
}

/// Where the proxy was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--proxy`.
    Flag,
    /// The configuration file, with its path.
    Config(String),
    /// A variable of the environment.
    Environment(&'static str),
    /// dnf.conf(5).
    DnfConf,
}

/// The proxy of this run, and the hosts that are reached without it.
#[derive(Debug, Clone, Default)]
pub struct Route {
    proxy: Option<(Proxy, Source)>,
    except: Vec<Exception>,
    /// From `https_proxy`: plain HTTP (which is loopback) does not go through it.
    https_only: bool,
}

/// One entry of `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    /// The host itself and every host below it; with a port, only there.
    Domain(String, Option<u16>),
    Network(IpAddr, u8, Option<u16>),
}

/// What the environment says about proxies. The caller reads it, so that tests need no environment.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are the variables")]
pub struct Environment {
    pub https_proxy: Option<String>,
    pub https_proxy_upper: Option<String>,
    pub all_proxy: Option<String>,
    pub no_proxy: Option<String>,
}

impl Proxy {
    /// Reads `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]`; user and password may be percent-encoded. The error repeats nothing.
    pub fn parse(text: &str) -> std::result::Result<Self, ProxyFault> {
        let text = text.trim().trim_end_matches('/');
        let (kind, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Kind::parse(scheme).ok_or(ProxyFault::Scheme)?, rest),
            None => (Kind::Http, text),
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or(ProxyFault::Port)?)
            }
            _ => (place, kind.default_port()),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let good_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(plain),
        };
        if !good_host {
            return Err(ProxyFault::Host);
        }
        let decoded = |text: &str| {
            percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| ProxyFault::Login)
        };
        let (user, password) = match login {
            None => (None, None),
            Some(login) => match login.split_once(':') {
                Some((user, password)) => (Some(decoded(user)?), Some(Secret::new(decoded(password)?))),
                None => (Some(decoded(login)?), None),
            },
        };
        Ok(Proxy { kind, host: host.to_owned(), port, user, password })
    }
}

impl Kind {
    const ALL: [(Kind, &str); 6] = [
        (Kind::Http, "http"),
        (Kind::Https, "https"),
        (Kind::Socks4, "socks4"),
        (Kind::Socks4a, "socks4a"),
        (Kind::Socks5, "socks5"),
        (Kind::Socks5h, "socks5h"),
    ];

    fn parse(scheme: &str) -> Option<Kind> {
        // libcurl takes `socks` as version 4.
        let scheme = if scheme.eq_ignore_ascii_case("socks") { "socks4" } else { scheme };
        Kind::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(scheme)).map(|(kind, _)| *kind)
    }

    fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).map_or("http", |(_, name)| name)
    }

    /// libcurl's, which are dnf's.
    fn default_port(self) -> u16 {
        if self == Kind::Https { 443 } else { 1080 }
    }
}

impl Choice {
    /// Reads a setting: a proxy's URL, or `none`.
    pub fn parse(text: &str) -> std::result::Result<Self, ProxyFault> {
        match text.trim() {
            text if text.eq_ignore_ascii_case("none") => Ok(Choice::Direct),
            text => Proxy::parse(text).map(Choice::Through),
        }
    }
}

impl fmt::Display for Proxy {
    /// Without user name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.kind.name(), self.host, self.port)
    }
}

impl Source {
    /// The setting, as the administrator typed it.
    pub fn setting(&self) -> String {
        match self {
            Source::Flag => "--proxy".to_owned(),
            Source::Config(path) => format!("{path}: proxy"),
            Source::Environment(name) => (*name).to_owned(),
            Source::DnfConf => format!("{DNF_CONF}: proxy"),
        }
    }

    /// What is wrong with the proxy that was named here.
    pub fn fault(&self, fault: ProxyFault) -> Failure {
        Failure::setting(self.setting(), SettingFault::Proxy(fault))
    }
}

impl Route {
    /// The first that is set: the option, the configuration, dnf.conf, the environment. `no_proxy` holds for all but the
    /// option, as it does for dnf.
    pub fn choose(
        flag: Option<&str>,
        config: Option<(&str, &str)>,
        environment: &Environment,
        dnf_conf: impl FnOnce() -> Result<Option<Choice>>,
    ) -> Result<Self> {
        let route = |choice: Choice, source: Source| match choice {
            Choice::Direct => Route::default(),
            Choice::Through(proxy) => Route { proxy: Some((proxy, source)), ..Route::default() },
        };
        let named = |text: &str, source: Source| match Choice::parse(text) {
            Ok(choice) => Ok(route(choice, source)),
            Err(fault) => Err(source.fault(fault)),
        };
        if let Some(text) = flag {
            return named(text, Source::Flag);
        }
        let except = exceptions(environment.no_proxy.as_deref().unwrap_or_default());
        if let Some((path, text)) = config {
            return Ok(Route { except, ..named(text, Source::Config(path.to_owned()))? });
        }
        if let Some(choice) = dnf_conf()? {
            return Ok(Route { except, ..route(choice, Source::DnfConf) });
        }
        let variables = [
            ("https_proxy", &environment.https_proxy, true),
            ("HTTPS_PROXY", &environment.https_proxy_upper, true),
            ("all_proxy", &environment.all_proxy, false),
        ];
        for (name, value, https_only) in variables {
            if let Some(text) = value.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
                return Ok(Route { except, https_only, ..named(text, Source::Environment(name))? });
            }
        }
        Ok(Route::default())
    }

    /// The proxy on the way to `url`, and where it was named; `None` for a direct connection.
    pub fn to(&self, url: &BaseUrl) -> Option<&(Proxy, Source)> {
        let direct = self.except.iter().any(|exception| exception.covers(url));
        self.proxy.as_ref().filter(|_| !direct && (url.is_https() || !self.https_only))
    }
}

impl Exception {
    fn covers(&self, url: &BaseUrl) -> bool {
        // A dot at the end only says that the name is complete.
        let (host, port) = (url.host().trim_end_matches('.'), url.port());
        let right_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Exception::Everything => true,
            Exception::Domain(domain, wanted) => {
                let below =
                    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && right_port(wanted)
            }
            Exception::Network(network, bits, wanted) => {
                url.address().is_some_and(|address| same_network(address, *network, *bits)) && right_port(wanted)
            }
        }
    }
}

/// Reads `no_proxy`: entries between commas or white space; `*`; names with or without `.` or `*.` before them; addresses,
/// with brackets or not; networks as ADDRESS/BITS; ports.
fn exceptions(text: &str) -> Vec<Exception> {
    text.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).filter_map(exception).collect()
}

fn exception(entry: &str) -> Option<Exception> {
    if entry == "*" {
        return Some(Exception::Everything);
    }
    if let Some(address) = address(entry) {
        return Some(Exception::Network(address, full_length(address), None));
    }
    if let Some((network, bits)) = entry.split_once('/') {
        let network = address(network)?;
        let bits = bits.parse().ok().filter(|bits| *bits <= full_length(network))?;
        return Some(Exception::Network(network, bits, None));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    if let Some(address) = address(host) {
        return Some(Exception::Network(address, full_length(address), port));
    }
    let domain = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(Exception::Domain(domain, port))
}

/// The address that a text is; IPv6 with or without brackets.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn full_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32 - u32::from(bits);
            u32::from(address).checked_shr(shift) == u32::from(network).checked_shr(shift)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128 - u32::from(bits);
            u128::from(address).checked_shr(shift) == u128::from(network).checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(https_proxy: &str, no_proxy: &str) -> Environment {
        Environment { https_proxy: Some(https_proxy.into()), no_proxy: Some(no_proxy.into()), ..Environment::default() }
    }

    fn to<'a>(route: &'a Route, url: &str) -> Option<&'a (Proxy, Source)> {
        route.to(&BaseUrl::parse(url).unwrap())
    }

    /// Promise: proxy-kind
    #[test]
    fn proxies_are_read_in_the_forms_that_people_write() {
        let proxy = Proxy::parse("http://us%40er:p%3Ass@proxy.example.com:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example.com", 3128));
        assert_eq!(proxy.user.as_deref(), Some("us@er"));
        assert_eq!(proxy.password.as_ref().map(Secret::expose), Some("p:ss"));
        assert_eq!(Proxy::parse("HTTP://[::1]:8080").unwrap().host, "[::1]");
        assert_eq!(Proxy::parse("proxy").unwrap().port, 1080);
        assert_eq!(Proxy::parse("https://proxy").unwrap().to_string(), "https://proxy:443");
        assert_eq!(Proxy::parse("SOCKS5h://proxy").unwrap().to_string(), "socks5h://proxy:1080");
        for bad in ["", "ftp://h:1", "socks6://h:1", "http://", "http://h:0", "http://h:x", "http://a b:1", "::1"] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{proxy:?} {proxy}").contains("p:ss"));
    }

    #[test]
    fn the_first_that_is_set_wins() {
        let all = |flag, config| {
            Route::choose(flag, config, &environment("http://e:1", ""), || Ok(Choice::parse("d:1").ok()))
        };
        let host = |route: Result<Route>| to(&route.unwrap(), "https://x").map(|(proxy, _)| proxy.host.clone());
        assert_eq!(host(all(Some("f:1"), Some(("c", "c:1")))).as_deref(), Some("f"));
        assert_eq!(host(all(None, Some(("c", "c:1")))).as_deref(), Some("c"));
        assert_eq!(host(all(None, None)).as_deref(), Some("d"));
        let unset = |value: &str| Route::choose(None, None, &environment(value, ""), || Ok(None));
        assert_eq!(host(unset("http://e:1")).as_deref(), Some("e"));
        assert_eq!(host(unset(" ")), None);
        // `none` ends the search.
        assert_eq!(host(all(Some("none"), None)), None);
        assert_eq!(host(all(None, Some(("c", "None")))), None);
        let direct = Route::choose(None, None, &environment("http://e:1", ""), || Ok(Some(Choice::Direct)));
        assert_eq!(host(direct), None);
        assert!(all(Some("socks6://u:hunter2@h"), None).is_err_and(|wrong| !format!("{wrong:?}").contains("hunter2")));
    }

    /// Promise: proxy-sources
    #[test]
    fn no_proxy_knows_names_networks_ports_and_stars() {
        let route = Route::choose(
            None,
            None,
            &environment(
                "http://p:1",
                " .corp.example, *.lab.example. host.example:8443,10.0.0.0/8 ,192.0.2.7,[2001:db8::1],fd00::/8",
            ),
            || Ok(None),
        )
        .unwrap();
        for direct in [
            "https://corp.example",
            "https://a.b.corp.example",
            "https://x.lab.example",
            "https://host.example:8443",
            "https://10.200.3.4",
            "https://192.0.2.7",
            "https://[2001:db8::1]",
            "https://[fd12::9]",
            "http://127.0.0.1:1",
        ] {
            assert_eq!(to(&route, direct), None, "{direct}");
        }
        for proxied in [
            "https://notcorp.example",
            "https://host.example",
            "https://11.0.0.1",
            "https://192.0.2.8",
            "https://[2001:db8::2]",
        ] {
            assert!(to(&route, proxied).is_some(), "{proxied}");
        }
        for (flag, config, dnf) in [(None, Some(("c", "c:1")), None), (None, None, Choice::parse("d:1").ok())] {
            let route = Route::choose(flag, config, &environment("", "corp.example"), || Ok(dnf)).unwrap();
            assert_eq!(to(&route, "https://a.corp.example"), None);
            assert!(to(&route, "https://example").is_some());
        }
        let flag = Route::choose(Some("f:1"), None, &environment("", "*"), || Ok(None)).unwrap();
        assert!(to(&flag, "https://x").is_some());
        let star = Route::choose(None, None, &environment("http://p:1", "*"), || Ok(None)).unwrap();
        assert_eq!(to(&star, "https://x"), None);
    }
}
