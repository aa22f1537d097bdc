//! Fuzz targets: answers, proxies, dnf.conf and what a machine says of itself, and the properties that hold for any input.
//!
//! Owns the properties; libFuzzer (`fuzz/`) and the tests (`fuzz/replay.rs`) bring the bytes. Compiled only for these two.

use std::time::Duration;

use els_protocol::{BaseUrl, Code, Timestamp};
use ureq::http::header::HeaderValue;
use ureq::http::{HeaderMap, HeaderName, Method, Uri};

use crate::clock::Clock;
use crate::dnf_conf::DnfConf;
use crate::failure::Failure;
use crate::ini::sections;
use crate::network::proxy::{Choice, Environment, Proxy, Route};
use crate::network::{Answer, CallError, Fate, http_date};
use crate::{libdnf, machine};

/// A target: its name, which is that of its corpus, and the function that takes the bytes. It panics when a property does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this crate. `agent-answer` begins with [`answer`] too.
pub const TARGETS: &[Target] = &[
    ("host-date", date),
    ("host-ini", ini),
    ("host-libdnf", libdnf::reads_alike),
    ("host-os-release", os_release),
    ("host-proxy", proxy),
    ("host-url", url),
];

/// The value that stands where only a secret can be.
const SECRET: &str = "hunter2-and-more";

/// A whole answer: a line with the status, headers until an empty line, then the body. Without `Els-Api: 1` it is never
/// accepted; an error is one of the protocol or `bad-answer`; and no text that is kept or shown has control characters.
/// Returns the answer where it is accepted.
pub fn answer(server: &BaseUrl, data: &[u8]) -> Option<Answer> {
    let answer = read(data)?;
    let clock = Clock::start(Duration::from_secs(60));
    assert!(answer.retry_after(clock).is_none_or(|pause| pause >= Duration::from_secs(1)), "no storm");
    let status = answer.status;
    let ours = answer.header("els-api").as_deref() == Some("1");
    match answer.judge(server) {
        Err(error) => {
            refused(&error, status, ours);
            None
        }
        Ok(answer) => {
            assert!(ours && status < 400, "{status}");
            Some(answer)
        }
    }
}

/// What holds of every answer that was not accepted.
pub fn refused(error: &CallError, status: u16, ours: bool) {
    let message = crate::messages::en::failure(&error.failure);
    let request_id = error.failure.request_id().unwrap_or_default();
    assert!(!message.chars().chain(request_id.chars()).any(char::is_control), "{message:?}");
    match &error.failure {
        Failure::Answer { .. } => assert_eq!(error.fate, Fate::Unknown, "it proves nothing"),
        Failure::Refused(refusal) => {
            assert!(ours && refusal.status == status && !refusal.code.chars().any(char::is_control));
            assert!(refusal.known.is_none_or(|code| code.status() == status));
            assert_eq!(refusal.known, Code::parse(&refusal.code));
        }
        failure => panic!("{failure:?}"),
    }
    assert!(status < 500 || error.fate == Fate::Unknown, "after a 5xx nothing is certain");
}

/// The answer that these bytes spell; `None` where HTTP would not let it through.
fn read(data: &[u8]) -> Option<Answer> {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let status = std::str::from_utf8(parts.next()?).ok()?.trim().parse().ok().filter(|s| (200..600).contains(s))?;
    let mut rest = parts.next()?;
    let mut headers = HeaderMap::new();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..at];
        rest = &rest[at + 1..];
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(HeaderName::from_bytes(&line[..colon]).ok()?, value);
    }
    Some(Answer { method: Method::PUT, status, headers, body: rest.to_vec(), doubtful: false })
}

/// A date is one that can be written.
fn date(data: &[u8]) {
    if let Some(date) = std::str::from_utf8(data).ok().and_then(http_date) {
        assert!((0..=Timestamp::MAX.unix()).contains(&date.unix()));
    }
}

/// The host that was checked is the host that is asked: our reader of URLs and the one of the HTTP library agree.
fn url(data: &[u8]) {
    let Ok(url) = std::str::from_utf8(data).map_err(drop).and_then(|text| BaseUrl::parse(text).map_err(drop)) else {
        return;
    };
    let path = format!("{url}/v1/seats");
    // What the library refuses is an error before anything is sent.
    let Ok(uri) = path.parse::<Uri>() else { return };
    assert_eq!(uri.host().map(str::to_ascii_lowercase).as_deref(), Some(url.host()), "{path}");
    assert_eq!(uri.scheme_str().map(|scheme| scheme == "https"), Some(url.is_https()), "{path}");
    assert_eq!(uri.port_u16().unwrap_or(if url.is_https() { 443 } else { 80 }), url.port(), "{path}");
    assert_eq!(uri.path(), format!("{}/v1/seats", url.path()), "{path}");
    assert!(uri.query().is_none(), "{path}");
}

/// The first line is a proxy, the second `no_proxy`, the third a URL: what is taken can be used, and `*` means everything.
fn proxy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (named, except) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(proxy) = Proxy::parse(named) {
        whole(&proxy);
    }
    let url = lines.next().and_then(|url| BaseUrl::parse(url).ok());
    let url = url.unwrap_or_else(|| BaseUrl::parse("https://els.example.com").expect("a URL"));
    let route = |except: &str| {
        let environment = Environment {
            https_proxy: Some("http://proxy:3128".into()),
            no_proxy: Some(except.into()),
            ..Environment::default()
        };
        Route::choose(None, None, &environment, || Ok(None)).expect("a good proxy")
    };
    let direct = route(except).to(&url).is_none();
    assert!(route(&format!("{except},*")).to(&url).is_none(), "a star is everything");
    assert!(route(&format!("{except} {}", url.host())).to(&url).is_none(), "the host itself: {url}");
    assert_eq!(route(&except.replace(',', " ")).to(&url).is_none(), direct, "commas and spaces are one: {except}");
}

/// dnf.conf and repo files: sections and values are texts of the file; a proxy that is found is complete, or an error that
/// repeats no value; and a folder that is written to is a plain path.
fn ini(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for section in sections(data).unwrap_or_default() {
        assert!(!section.id.contains(['\n', ']']) && text.contains(&section.id));
        let _ = section.enabled();
    }
    let with_password = [format!("[main]\nproxy_password={SECRET}\n").as_bytes(), data].concat();
    for content in [data, &with_password] {
        let Ok(conf) = DnfConf::parse(content) else { continue };
        if let Ok(Some(Choice::Through(proxy))) = conf.read_proxy() {
            whole(&proxy);
        }
        for folder in [conf.repo_folder(), conf.variable_folder()].into_iter().flatten() {
            assert!(folder.starts_with('/') && !folder.ends_with('/') && !folder.contains("/../"), "{folder}");
        }
    }
}

/// A proxy that was taken: its host is a plain name or address, and what is shown of it holds no login.
fn whole(proxy: &Proxy) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    assert!(!proxy.host.is_empty() && proxy.host.bytes().all(plain) && proxy.port != 0, "{proxy:?}");
    let shown = proxy.to_string();
    let (_, place) = shown.split_once("://").expect("a scheme");
    assert_eq!(place, format!("{}:{}", proxy.host, proxy.port));
}

/// What is sent of a machine is plain, and ids are made of 16 bytes that are worth something, or not at all.
fn os_release(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match machine::read_os_release("/etc/os-release", text) {
        Ok(os) => {
            for value in [os.id, os.version] {
                assert!((1..=64).contains(&value.len()) && text.contains(&value), "{value}");
                assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{value}");
            }
        }
        Err(failure) => assert!(crate::messages::en::failure(&failure).starts_with("/etc/os-release: ")),
    }
    let digits = text.trim().bytes().filter(u8::is_ascii_hexdigit).count();
    if let Ok(Some(_)) = machine::read_machine_id(text) {
        assert!(digits == 32 && text.trim().len() == 32 && text.trim().bytes().any(|byte| byte != b'0'));
    }
    if machine::read_hardware_id(text).is_some() {
        let mut values = text.bytes().filter(u8::is_ascii_hexdigit);
        let first = values.next();
        assert!(values.any(|digit| Some(digit) != first), "one repeated digit is not a hardware id: {text}");
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
#[allow(clippy::disallowed_methods, reason = "it reads the corpus, and stops when its time is over")]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_holds_for_its_corpus_and_seeded_changes_of_it() {
        replay::all("host", TARGETS);
    }
}
