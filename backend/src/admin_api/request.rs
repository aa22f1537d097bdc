//! What handlers take from a request: body, conditions, idempotency key, dates and pages.
//!
//! Owns the forms of these values, and the sealing of answers. It must not know what a request does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequest;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use els_ledger::{Carried, FeedPlace, KeyNumber, Once, Scope, SeatPlace, SystemChange, SystemOutcome};
use els_protocol::{RegistrationId, Sha256Hex, Timestamp, sha256};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, LINK};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Admin;
use super::caller::Caller;
use super::problem::{AdminProblem, Code};
use crate::dates::{self, Edge};
use crate::secrets;

/// A request that changes something.
pub(super) struct Sent {
    body: Bytes,
    /// SHA-256 of method, target and body.
    hash: Sha256Hex,
    idempotency_key: Option<String>,
    pub(super) if_match: Option<Vec<String>>,
    pub(super) dry_run: bool,
}

/// An answer that can be kept and given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Sent {
    /// The body, decoded. An empty body is an empty object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, AdminProblem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body)
            .map_err(|error| AdminProblem::invalid(format!("The body cannot be decoded: {error}.")))
    }

    pub(super) fn has_idempotency_key(&self) -> bool {
        self.idempotency_key.is_some()
    }

    /// Carries `change` out, once for each idempotency key, and answers with what `encode` makes of the outcome.
    pub(super) async fn carry_out(
        self,
        admin: &Admin,
        caller: &Caller,
        scope: Scope,
        change: SystemChange,
        encode: impl Fn(&SystemOutcome) -> Result<Answer, AdminProblem> + Send + Sync + 'static,
    ) -> Result<Response, AdminProblem> {
        let encode = Arc::new(encode);
        let token = caller.token.token_id;
        let sealing = match &self.idempotency_key {
            Some(key) => Some((Sealing::new(key, token.as_str())?, Sha256Hex::of(key.as_bytes()))),
            None => None,
        };
        let once = sealing.as_ref().map(|(sealing, key_hash)| {
            let (sealing, encode, hash) = (sealing.clone(), encode.clone(), self.hash);
            let seal = move |outcome: &SystemOutcome| encode(outcome).ok().map(|answer| sealing.seal(&answer, &hash));
            Once { token, key_hash: *key_hash, request_hash: self.hash, seal: Arc::new(seal) }
        });
        let (now, by) = ((admin.clock)(), caller.by());
        match admin.store.carry_out(now, scope, by, change, self.dry_run, once).await? {
            Carried::Now(outcome) => Ok(encode(&outcome)?.into_response()),
            Carried::KeyReused => Err(AdminProblem::new(Code::IdempotencyKeyReused)),
            Carried::Before(sealed) => {
                let opened = sealing.and_then(|(sealing, _)| sealing.open(sealed, &self.hash));
                let answer = opened.ok_or_else(|| AdminProblem::new(Code::Internal))?;
                let mut response = answer.into_response();
                response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                Ok(response)
            }
        }
    }
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        Answer { status, etag: None, body: serde_json::to_vec(value).expect("every map key is a text") }
    }

    pub(super) fn no_content() -> Self {
        Answer { status: StatusCode::NO_CONTENT, etag: None, body: Vec::new() }
    }

    /// With the version of what is answered.
    pub(super) fn version(self, version: &str) -> Self {
        Answer { etag: Some(format!("\"{version}\"")), ..self }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        if self.status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let etag = self.etag.and_then(|etag| HeaderValue::from_str(&etag).ok());
        response.headers_mut().extend(etag.map(|etag| (ETAG, etag)));
        response
    }
}

impl FromRequest<Arc<Admin>> for Sent {
    type Rejection = AdminProblem;

    async fn from_request(request: Request<Body>, _: &Arc<Admin>) -> Result<Self, AdminProblem> {
        let (parts, body) = request.into_parts();
        if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
            let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            let json = ["application/json", "application/merge-patch+json"];
            if !json.iter().any(|json| essence.eq_ignore_ascii_case(json)) {
                return Err(AdminProblem::invalid("The body must be application/json."));
            }
        }
        let body = match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_MOST).collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(AdminProblem::new(Code::PayloadTooLarge)),
            Ok(Err(_)) => return Err(AdminProblem::invalid("The body is incomplete.")),
            Err(_) => return Err(AdminProblem::invalid("The body did not arrive in time.")),
        };
        let dry_run = match parts.uri.query() {
            None | Some("" | "dry_run=false") => false,
            Some("dry_run=true") => true,
            Some(_) => return Err(AdminProblem::invalid("The only parameter here is dry_run, true or false.")),
        };
        let mut hashed = format!("{} {}\n", parts.method, parts.uri).into_bytes();
        hashed.extend_from_slice(&body);
        let idempotency_key = match parts.headers.get(IDEMPOTENCY_KEY) {
            None => None,
            Some(value) => Some(idempotency_key(value).ok_or_else(|| {
                AdminProblem::invalid("Idempotency-Key: must be 16 to 64 visible characters, such as a UUID.")
            })?),
        };
        let if_match = parts.headers.get(IF_MATCH).and_then(|value| value.to_str().ok()).map(versions);
        Ok(Sent { body, hash: Sha256Hex(sha256(&hashed)), idempotency_key, if_match: if_match.flatten(), dry_run })
    }
}

/// The key that answers of one client and idempotency key are sealed under. It is derived from the idempotency key, of which the
/// database has only a hash.
#[derive(Clone)]
struct Sealing(Arc<LessSafeKey>);

impl Sealing {
    fn new(idempotency_key: &str, token: &str) -> Result<Self, AdminProblem> {
        let internal = |_| AdminProblem::new(Code::Internal);
        let derived = Salt::new(HKDF_SHA256, token.as_bytes()).extract(idempotency_key.as_bytes());
        let key = UnboundKey::from(derived.expand(&[b"els admin answer"], &CHACHA20_POLY1305).map_err(internal)?);
        Ok(Sealing(Arc::new(LessSafeKey::new(key))))
    }

    fn seal(&self, answer: &Answer, request: &Sha256Hex) -> Vec<u8> {
        let etag = answer.etag.as_deref().unwrap_or_default();
        let mut text = answer.status.as_u16().to_be_bytes().to_vec();
        text.push(u8::try_from(etag.len()).unwrap_or_default());
        text.extend_from_slice(etag.as_bytes());
        text.extend_from_slice(&answer.body);
        let Ok(nonce) = secrets::random::<12>() else { return Vec::new() };
        let sealed =
            self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(request.0), &mut text);
        match sealed {
            Ok(()) => [&nonce[..], &text].concat(),
            Err(_) => Vec::new(),
        }
    }

    fn open(&self, sealed: Vec<u8>, request: &Sha256Hex) -> Option<Answer> {
        let (nonce, text) = sealed.split_first_chunk::<12>()?;
        let mut text = text.to_vec();
        let opened =
            self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(request.0), &mut text).ok()?;
        let (status, rest) = opened.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first()?;
        let (etag, body) = rest.split_at_checked(usize::from(*length))?;
        let etag = (!etag.is_empty()).then(|| String::from_utf8_lossy(etag).into_owned());
        Some(Answer { status: StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?, etag, body: body.to_vec() })
    }
}

/// A key as the draft of the IETF writes it, a text in quotes, or without them.
fn idempotency_key(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    ((16..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
}

/// The versions that `If-Match` names; `None` for any.
fn versions(text: &str) -> Option<Vec<String>> {
    let strong = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    (text.trim() != "*").then(|| text.split(',').filter_map(strong).collect())
}

/// A date of a query or a body.
pub(super) fn date(admin: &Admin, name: &str, text: &str, edge: Edge) -> Result<Timestamp, AdminProblem> {
    dates::parse(text, &admin.zone, edge).map_err(|why| AdminProblem::member(name, why))
}

/// How many items a page has.
pub(super) fn limit(asked: Option<&str>) -> Result<u32, AdminProblem> {
    let Some(text) = asked.filter(|text| !text.is_empty()) else { return Ok(PAGE) };
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_MOST).contains(limit));
    limit.ok_or_else(|| AdminProblem::invalid(format!("limit: must be 1 to {PAGE_MOST}.")))
}

/// A place in a list: it belongs to one filter, and to one state of the database.
pub(super) struct ListCursor {
    filter: [u8; 8],
    place: FeedPlace,
    position: Option<[u8; 24]>,
}

impl ListCursor {
    /// The place that `after` names in the list of `filter`, or its beginning.
    pub(super) async fn read(admin: &Admin, filter: &str, after: Option<&str>) -> Result<Self, AdminProblem> {
        let filter = first_bytes(&sha256(filter.as_bytes()));
        let Some(text) = after.filter(|text| !text.is_empty()) else {
            let place = admin.store.feed_place(None).await?.unwrap_or(FeedPlace::BEGINNING);
            return Ok(ListCursor { filter, place, position: None });
        };
        let malformed = || AdminProblem::invalid("after: is not a cursor of this list.");
        let bytes: [u8; 48] =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
        let place = FeedPlace { seq: u64::from_be_bytes(first_bytes(&bytes[8..])), mark: first_bytes(&bytes[16..]) };
        if bytes[..8] != filter {
            return Err(malformed().detail("after: the cursor belongs to a list with another filter."));
        }
        if admin.store.feed_place(Some(place.seq)).await? != Some(place) {
            return Err(AdminProblem::new(Code::CursorGone));
        }
        let mut position = [0; 24];
        position.copy_from_slice(&bytes[24..]);
        Ok(ListCursor { filter, place, position: Some(position) })
    }

    pub(super) fn key(&self) -> Option<KeyNumber> {
        self.position.map(|position| KeyNumber(i64::from_be_bytes(first_bytes(&position))))
    }

    pub(super) fn seat(&self) -> Option<SeatPlace> {
        self.position.map(|position| {
            let mut id = [0; 16];
            id.copy_from_slice(&position[8..]);
            let key = KeyNumber(i64::from_be_bytes(first_bytes(&position)));
            SeatPlace { key, registration: RegistrationId::from_bytes(id) }
        })
    }

    /// The cursor after this key, or this seat.
    pub(super) fn after(&self, key: KeyNumber, seat: Option<RegistrationId>) -> String {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&self.filter);
        bytes.extend_from_slice(&self.place.seq.to_be_bytes());
        bytes.extend_from_slice(&self.place.mark);
        bytes.extend_from_slice(&key.0.to_be_bytes());
        bytes.extend_from_slice(seat.as_ref().map_or(&[0; 16], |id| id.as_bytes()));
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// A place in the feed as a text.
pub(super) fn feed_cursor(place: FeedPlace) -> String {
    URL_SAFE_NO_PAD.encode([place.seq.to_be_bytes(), place.mark].concat())
}

/// Reads what [`feed_cursor`] wrote; the beginning if there is none.
pub(super) fn read_feed_cursor(after: Option<&str>) -> Result<FeedPlace, AdminProblem> {
    let Some(text) = after.filter(|text| !text.is_empty()) else { return Ok(FeedPlace::BEGINNING) };
    let bytes: Option<[u8; 16]> = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| AdminProblem::invalid("after: is not a cursor of the feed."))?;
    Ok(FeedPlace { seq: u64::from_be_bytes(first_bytes(&bytes)), mark: first_bytes(&bytes[8..]) })
}

/// `Link: <…>; rel="next"`: the same target with another cursor.
pub(super) fn with_next(mut response: Response, target: &http::Uri, next: Option<&str>) -> Response {
    let Some(next) = next else { return response };
    let others =
        target.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let query: String = others.map(|pair| format!("{pair}&")).collect();
    let link = format!("<{}?{query}after={next}>; rel=\"next\"", target.path());
    response.headers_mut().extend(HeaderValue::from_str(&link).ok().map(|link| (LINK, link)));
    response
}

fn first_bytes(bytes: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    first
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const BODY_MOST: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);
/// Items of a page: the default, and the largest number.
const PAGE: u32 = 100;
const PAGE_MOST: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: admin-once
    #[test]
    fn a_sealed_answer_opens_only_with_its_own_key_and_request() {
        let sealing = |key: &str, token: &str| Sealing::new(key, token).unwrap();
        let answer = Answer::json(StatusCode::CREATED, &"the key").version("0123");
        let (request, other) = (Sha256Hex::of(b"a"), Sha256Hex::of(b"b"));
        let sealed = sealing("k", "t-1").seal(&answer, &request);
        assert_eq!(sealing("k", "t-1").open(sealed.clone(), &request), Some(answer));
        assert_eq!(sealing("l", "t-1").open(sealed.clone(), &request), None);
        assert_eq!(sealing("k", "t-2").open(sealed.clone(), &request), None);
        assert_eq!(sealing("k", "t-1").open(sealed.clone(), &other), None);
        assert!(!sealed.windows(7).any(|part| part == b"the key"));
    }

    #[test]
    fn idempotency_keys_and_versions_are_read() {
        let read = |text: &'static str| idempotency_key(&HeaderValue::from_static(text));
        assert_eq!(read("\"8e03978e-40d5-43dd-bc93-6894a57f9324\""), read("8e03978e-40d5-43dd-bc93-6894a57f9324"));
        for bad in ["", "short", "with a space in it, which is not visible"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(versions("*"), None);
        assert_eq!(versions("\"a\", W/\"b\" , \"c\""), Some(vec!["a".into(), "c".into()]), "a weak tag never matches");
    }
}
