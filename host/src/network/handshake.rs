//! What is said to a proxy before it passes bytes on: HTTP CONNECT (RFC 9110, 9.3.6), SOCKS 4, 4a and 5 (RFC 1928, 1929).
//!
//! It must not know sockets or where the proxy was named. What the proxy answered becomes data, so that messages can say it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use els_protocol::Secret;

use super::fault::io_fault;
use super::proxy::{Proxy, address};
use crate::failure::NetworkFault;

/// The largest number of bytes of a proxy's answer that are read.
const MOST: usize = 32 * 1024;

type Done = Result<(), NetworkFault>;

/// Asks an HTTP proxy for a tunnel.
pub(crate) fn connect(stream: &mut (impl Read + Write), proxy: &Proxy, host: &str, port: u16) -> Done {
    let login = proxy.user.as_ref().map(|user| {
        let login = STANDARD.encode(format!("{user}:{}", password(proxy)));
        format!("Proxy-Authorization: Basic {login}\r\n")
    });
    let login = login.unwrap_or_default();
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n");
    send(stream, request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MOST {
            return Err(NetworkFault::ProxySilent);
        }
        head.extend(receive::<1>(stream)?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse::<u16>().ok());
    match status.filter(|_| is_http) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(login_fault(proxy, &offered(lines))),
        Some(403) => Err(NetworkFault::ProxyForbids),
        Some(status @ 502..=504) => Err(NetworkFault::ProxyCannotReach(status)),
        Some(status) => Err(NetworkFault::ProxyStatus(status.to_string())),
        None => Err(NetworkFault::ProxySilent),
    }
}

/// SOCKS 4; 4a if `local`, the host's own addresses, is `None`.
pub(crate) fn socks4(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    host: &str,
    port: u16,
    local: Option<&[SocketAddr]>,
) -> Done {
    let version_4 = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    };
    let known = match local {
        Some(local) => Some(local.iter().find_map(version_4).ok_or(NetworkFault::SocksNeedsIpv4)?),
        None => match address(host) {
            Some(IpAddr::V4(address)) => Some(address.octets()),
            Some(IpAddr::V6(_)) => return Err(NetworkFault::SocksNeedsIpv4),
            None => None,
        },
    };
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    request.extend(known.unwrap_or([0, 0, 0, 1]));
    request.extend(proxy.user.as_deref().unwrap_or_default().bytes().filter(|byte| *byte != 0));
    request.push(0);
    if known.is_none() {
        request.extend(host.as_bytes());
        request.push(0);
    }
    send(stream, &request)?;
    match receive::<8>(stream)? {
        [0, 90, ..] => Ok(()),
        [0, 92 | 93, ..] => Err(NetworkFault::ProxyLogin { given: proxy.user.is_some() }),
        [0, code, ..] => Err(NetworkFault::Socks(code)),
        _ => Err(NetworkFault::ProxySilent),
    }
}

/// SOCKS 5; the proxy looks up the name if `local`, the host's own addresses, is `None`.
pub(crate) fn socks5(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    host: &str,
    port: u16,
    local: Option<&[SocketAddr]>,
) -> Done {
    const NO_LOGIN: u8 = 0;
    const PASSWORD: u8 = 2;
    let given = proxy.user.is_some();
    send(stream, if given { &[5, 2, NO_LOGIN, PASSWORD] } else { &[5, 1, NO_LOGIN] })?;
    match receive::<2>(stream)? {
        [5, NO_LOGIN] => {}
        [5, PASSWORD] => {
            let mut login = vec![1];
            for text in [proxy.user.as_deref().unwrap_or_default(), password(proxy)] {
                login.push(u8::try_from(text.len()).map_err(|_| NetworkFault::ProxyLogin { given })?);
                login.extend(text.as_bytes());
            }
            send(stream, &login)?;
            if receive::<2>(stream)?[1] != 0 {
                return Err(NetworkFault::ProxyLogin { given });
            }
        }
        [5, _] => return Err(NetworkFault::ProxyLogin { given }),
        _ => return Err(NetworkFault::ProxySilent),
    }
    let known = local.and_then(<[SocketAddr]>::first).map(SocketAddr::ip).or_else(|| address(host));
    let mut request = vec![5, 1, 0];
    match known {
        Some(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Some(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        None => {
            request.extend([3, u8::try_from(host.len()).map_err(|_| NetworkFault::NameUnknown)?]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    send(stream, &request)?;
    let [version, code, _, kind] = receive::<4>(stream)?;
    match (version, code) {
        (5, 0) => {}
        (5, 2) => return Err(NetworkFault::ProxyForbids),
        (5, code) => return Err(NetworkFault::Socks(code)),
        _ => return Err(NetworkFault::ProxySilent),
    }
    // The address from which the proxy connects, and its port: they only have to be read.
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(receive::<1>(stream)?[0]),
        _ => return Err(NetworkFault::ProxySilent),
    };
    stream.read_exact(&mut vec![0; length + 2]).map_err(|error| silent(&error))
}

/// The schemes in the `Proxy-Authenticate` fields of an answer (RFC 9110, 11.7.1).
fn offered<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut schemes: Vec<String> = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if !name.trim().eq_ignore_ascii_case("proxy-authenticate") {
            continue;
        }
        // A field may list several challenges; a scheme is a word at the beginning of a part, and a parameter has `=`.
        let unquoted: String = value.split('"').step_by(2).collect();
        for part in unquoted.split(',') {
            let word = part.split_whitespace().next().unwrap_or_default();
            if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                let word: String = word.chars().take(20).collect();
                if !schemes.iter().any(|known| known.eq_ignore_ascii_case(&word)) {
                    schemes.push(word);
                }
            }
        }
    }
    schemes
}

fn login_fault(proxy: &Proxy, offered: &[String]) -> NetworkFault {
    let has_basic = offered.is_empty() || offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if has_basic {
        NetworkFault::ProxyLogin { given: proxy.user.is_some() }
    } else {
        NetworkFault::ProxySchemes(offered.to_vec())
    }
}

fn password(proxy: &Proxy) -> &str {
    proxy.password.as_ref().map(Secret::expose).unwrap_or_default()
}

fn send(stream: &mut impl Write, content: &[u8]) -> Done {
    stream.write_all(content).and_then(|()| stream.flush()).map_err(|error| io_fault(&error))
}

fn receive<const LENGTH: usize>(stream: &mut impl Read) -> Result<[u8; LENGTH], NetworkFault> {
    let mut content = [0; LENGTH];
    stream.read_exact(&mut content).map_err(|error| silent(&error))?;
    Ok(content)
}

/// A proxy that closes the connection in the middle of its answer.
fn silent(error: &io::Error) -> NetworkFault {
    match io_fault(error) {
        NetworkFault::ClosedEarly => NetworkFault::ProxySilent,
        fault => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with prepared bytes and keeps what was sent.
    struct Peer(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, content: &[u8]) -> io::Result<usize> {
            self.1.write(content)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn peer(answer: &[u8]) -> Peer {
        Peer(io::Cursor::new(answer.to_vec()), Vec::new())
    }

    fn answered(answer: &str) -> Done {
        connect(&mut peer(answer.as_bytes()), &Proxy::parse("http://u:p@h:1").unwrap(), "els.example.com", 443)
    }

    /// Promise: network-failure-named
    #[test]
    fn the_answers_of_an_http_proxy_are_distinguished() {
        assert_eq!(answered("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"), Ok(()));
        assert_eq!(answered("HTTP/1.0 200\n\n"), Ok(()));
        let schemes = |text: &str| answered(&format!("HTTP/1.1 407 No\r\n{text}\r\n\r\n"));
        let offers = |names: &[&str]| Err(NetworkFault::ProxySchemes(names.iter().map(|&name| name.into()).collect()));
        assert_eq!(schemes("Proxy-Authenticate: NTLM"), offers(&["NTLM"]));
        assert_eq!(
            schemes("Proxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM"),
            offers(&["Negotiate", "NTLM"])
        );
        assert_eq!(
            schemes("Proxy-Authenticate: Digest realm=\"a, b, c\", nonce=\"x\", qop=\"auth\""),
            offers(&["Digest"])
        );
        let login = Err(NetworkFault::ProxyLogin { given: true });
        assert_eq!(schemes("Proxy-Authenticate: NTLM, Basic realm=\"x\""), login);
        assert_eq!(schemes("X: y"), login);
        assert_eq!(answered("HTTP/1.1 503 No\r\n\r\n"), Err(NetworkFault::ProxyCannotReach(503)));
        assert_eq!(answered("HTTP/1.1 403 No\r\n\r\n"), Err(NetworkFault::ProxyForbids));
        assert_eq!(answered("SSH-2.0-OpenSSH\r\n\r\n"), Err(NetworkFault::ProxySilent));
        assert_eq!(answered(""), Err(NetworkFault::ProxySilent));
    }

    /// Promise: proxy-kind
    #[test]
    fn socks_4a_and_5_name_the_host_and_4_and_5_its_address() {
        let proxy = |url: &str| Proxy::parse(url).unwrap();
        let local = ["[::1]:443".parse().unwrap(), "192.0.2.1:443".parse().unwrap()];
        let mut four = peer(&[0, 90, 0, 0, 0, 0, 0, 0]);
        socks4(&mut four, &proxy("socks4://u@h"), "x", 443, Some(&local)).unwrap();
        assert_eq!(four.1, [4, 1, 1, 187, 192, 0, 2, 1, b'u', 0]);
        let mut four = peer(&[0, 91, 0, 0, 0, 0, 0, 0]);
        assert_eq!(socks4(&mut four, &proxy("socks4a://h"), "x", 443, None), Err(NetworkFault::Socks(91)));
        assert_eq!(four.1, [4, 1, 1, 187, 0, 0, 0, 1, 0, b'x', 0]);
        let mut five = peer(&[5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        socks5(&mut five, &proxy("socks5h://u:p@h"), "x", 443, None).unwrap();
        assert_eq!(five.1, [5, 2, 0, 2, 1, 1, b'u', 1, b'p', 5, 1, 0, 3, 1, b'x', 1, 187]);
        let mut five = peer(&[5, 0xff]);
        let refused = socks5(&mut five, &proxy("socks5h://h"), "x", 443, None);
        assert_eq!(refused, Err(NetworkFault::ProxyLogin { given: false }));
    }
}
