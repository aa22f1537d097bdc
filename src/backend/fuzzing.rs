//! Fuzz targets: what comes over the network, and who is asked for it.

use std::time::Duration;

use els_protocol::{BaseUrl, Code, RegistrationId, Timestamp};
use ureq::http::header::HeaderValue;
use ureq::http::{HeaderMap, HeaderName, Uri};

use super::answer::{Answer, http_date};
use super::probe::is_repomd;
use super::proxy::{Environment, Proxy, Route};
use super::transport::proxy_for_ureq;
use super::{CallError, Fate};
use crate::clock::Clock;
use crate::error::Kind;
use crate::fuzzing::whole;

const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

/// A whole answer, the first line its status, headers until an empty line, then the body. Without `Els-Api: 1` it is nobody's
/// word; an error is one of the contract or `bad-answer`; and nothing that is kept or shown can steer a terminal.
pub(crate) fn answer(data: &[u8]) {
    let server = BaseUrl::parse("https://els.example.com").expect("a URL");
    let id = RegistrationId::parse(ID).expect("an id");
    let Some(answer) = read(data) else { return };
    let clock = Clock::start(Duration::from_secs(60));
    assert!(answer.retry_after(clock).is_none_or(|pause| pause >= Duration::from_secs(1)), "no storm");
    let status = answer.status;
    let ours = answer.header("els-api").as_deref() == Some("1");
    let answer = match answer.judge(&server) {
        Err(error) => return refused(&error, status, ours),
        Ok(answer) => answer,
    };
    assert!(ours && status < 400, "{status}");
    match answer.decode_registration(&server, &[200, 201], &id) {
        Ok(registration) => {
            assert!(matches!(status, 200 | 201) && registration.registration == id);
            let product = &registration.product;
            for text in [&registration.key_id, &product.id, &product.name].into_iter().chain(&registration.contract) {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
        Err(error) => refused(&error, status, ours),
    }
}

fn refused(error: &CallError, status: u16, ours: bool) {
    let failure = &error.failure;
    assert!((1..=11).contains(&failure.exit_status(None)));
    let request_id = failure.request_id.as_deref().unwrap_or_default();
    assert!(!failure.message.chars().chain(request_id.chars()).any(char::is_control), "{failure:?}");
    match &failure.kind {
        Kind::BadAnswer => assert_eq!(error.fate, Fate::Unknown, "a stranger's word is no proof"),
        Kind::Wire(code) => assert!(ours && code.status() == status),
        Kind::Foreign { code, status: told } => {
            assert!(ours && *told == status && Code::parse(code).is_none() && !code.chars().any(char::is_control));
        }
        kind => panic!("{kind:?}"),
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
    Some(Answer { status, headers, body: rest.to_vec(), doubtful: false })
}

/// A document that is taken for a repository's begins as one; a date is one that can be written.
pub(crate) fn repomd(data: &[u8]) {
    if is_repomd(data) {
        let text = std::str::from_utf8(data).expect("XML in UTF-8");
        let (before, _) = text.split_once("<repomd").expect("its root element");
        // Comments and declarations may hold anything; outside of them there is nothing.
        let mut rest = before.trim_start_matches('\u{feff}').trim();
        while let Some(end) = [("<!--", "-->"), ("<?", "?>")].iter().find_map(|(begin, end)| {
            let inside = rest.strip_prefix(begin)?;
            Some(inside.split_once(end).map_or("", |(_, after)| after))
        }) {
            rest = end.trim();
        }
        assert_eq!(rest, "", "before the root element");
    }
    if let Some(date) = std::str::from_utf8(data).ok().and_then(http_date) {
        assert!((0..=Timestamp::MAX.unix()).contains(&date.unix()));
    }
}

/// The host that was checked is the host that is asked: our reader of URLs and the one of the HTTP library agree.
pub(crate) fn url(data: &[u8]) {
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
pub(crate) fn proxy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (named, except) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(proxy) = Proxy::parse(named) {
        whole(&proxy);
        assert!(proxy_for_ureq(&proxy).is_ok(), "{proxy}");
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
