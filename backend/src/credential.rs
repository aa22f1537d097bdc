//! The secrets of a request: a credential (HTTP Basic) or a license key (bearer).
//!
//! Owns the reading of `Authorization`. It passes on the hash of a token, never the token. A header that no agent sends is
//! malformed, and is never looked up: the dnf of unprivileged users sends `$els_token` literally, which is not an attack.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use els_protocol::{LicenseKey, RegistrationId, Sha256Hex, Token};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::secrets::ADMIN_TOKEN;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The request has no `Authorization`.
    Absent,
    /// No agent sends this.
    Malformed,
    /// A registration id and a token. They may not belong together.
    Presented(Presented),
}

/// A well-formed credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The user name.
    pub id: RegistrationId,
    /// SHA-256 of the password.
    pub token_hash: Sha256Hex,
}

impl Credentials {
    /// Reads the `Authorization` of a request, without allocating.
    pub fn read(headers: &HeaderMap) -> Self {
        match authorization(headers) {
            Authorization::Absent => Credentials::Absent,
            Authorization::Scheme("basic", text) => basic(text).map_or(Credentials::Malformed, Credentials::Presented),
            Authorization::Scheme(..) | Authorization::Malformed => Credentials::Malformed,
        }
    }
}

/// The license key of `Authorization: Bearer KEY`; `None` without such a header. The error says what is wrong with the key and
/// never contains the key.
pub(crate) fn bearer_key(headers: &HeaderMap) -> Option<Result<LicenseKey, String>> {
    match authorization(headers) {
        Authorization::Scheme("bearer", text) => Some(LicenseKey::parse(text).map_err(|error| error.to_string())),
        Authorization::Scheme(..) | Authorization::Absent => None,
        Authorization::Malformed => Some(Err("the Authorization header is malformed".into())),
    }
}

/// The hash of the token of `Authorization: Bearer elsa_…`; `None` without such a header.
pub(crate) fn admin_token(headers: &HeaderMap) -> Option<Sha256Hex> {
    match authorization(headers) {
        Authorization::Scheme("bearer", text) if text.starts_with(ADMIN_TOKEN) => Some(Sha256Hex::of(text.as_bytes())),
        _ => None,
    }
}

enum Authorization<'a> {
    Absent,
    Malformed,
    /// `basic` or `bearer` (empty for another scheme), and the rest.
    Scheme(&'static str, &'a str),
}

fn authorization(headers: &HeaderMap) -> Authorization<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Authorization::Absent };
    let (None, Ok(value)) = (values.next(), value.to_str()) else { return Authorization::Malformed };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let scheme = ["basic", "bearer"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)).unwrap_or_default();
    Authorization::Scheme(scheme, rest.trim_matches(' '))
}

fn basic(text: &str) -> Option<Presented> {
    // A credential has 94 bytes, in base64 128.
    let mut bytes = [0; 99];
    if text.len() > 128 {
        return None;
    }
    let engine = if text.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
    let length = engine.decode_slice(text, &mut bytes).ok()?;
    let (id, token) = std::str::from_utf8(&bytes[..length]).ok()?.split_once(':')?;
    Some(Presented { id: RegistrationId::parse(id)?, token_hash: Token::hash_of(token)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn read(user_and_password: &str) -> Credentials {
        Credentials::read(&headers(&[&format!("Basic {}", STANDARD.encode(user_and_password))]))
    }

    /// Promise: seat-hashes
    #[test]
    fn a_credential_is_read_as_id_and_hash_of_the_token() {
        let token = Token::from_random([7; 32]);
        let expected = Presented { id: RegistrationId::parse(ID).unwrap(), token_hash: token.hash() };
        let text = format!("{ID}:{}", token.expose());
        assert_eq!(read(&text), Credentials::Presented(expected));
        for header in
            [format!("bAsIc  {} ", STANDARD.encode(&text)), format!("basic {}", STANDARD_NO_PAD.encode(&text))]
        {
            assert_eq!(Credentials::read(&headers(&[&header])), Credentials::Presented(expected), "{header}");
        }
    }

    /// Promise: gate-malformed
    #[test]
    fn a_header_that_no_agent_sends_is_malformed() {
        let token = Token::from_random([7; 32]);
        let token = token.expose();
        for text in [
            format!("{ID}:$els_token"),
            format!("$els_id:{token}"),
            format!("{ID}:{token}x"),
            format!("{ID}:{}", &token[1..]),
            format!("{}:{token}", ID.to_uppercase()),
            format!("{ID}{token}"),
            String::new(),
            ":".into(),
            "x".repeat(5000),
        ] {
            assert_eq!(read(&text), Credentials::Malformed, "{text}");
        }
        for values in
            [&["Basic"][..], &["Basic !"], &["Basic ="], &["Digest x"], &["Bearer abc"], &["Basic a", "Basic b"]]
        {
            assert_eq!(Credentials::read(&headers(values)), Credentials::Malformed, "{values:?}");
        }
        assert_eq!(Credentials::read(&headers(&[])), Credentials::Absent);
    }

    #[test]
    fn a_key_is_read_from_a_bearer_header() {
        let key = LicenseKey::from_random([9; 15]);
        let read = bearer_key(&headers(&[&format!("Bearer {}", key.expose().to_lowercase())]));
        assert_eq!(read.unwrap().unwrap(), key);
        assert!(bearer_key(&headers(&[])).is_none());
        assert!(bearer_key(&headers(&["Basic abc"])).is_none());
        assert!(bearer_key(&headers(&["Bearer short"])).unwrap().is_err());
    }
}
