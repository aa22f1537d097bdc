//! What comes back: a valid answer of the contract, or why it is none.
//!
//! One function judges every answer. An answer without `Els-Api: 1`, or whose status and code disagree, is nobody's word:
//! never "not registered" and never "done".

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};

use els_protocol::wire::{self, Registration};
use els_protocol::{BaseUrl, Code, Problem, RegistrationId, Timestamp, clean};

use super::{Call, CallError, Fate};
use crate::clock::Clock;
use crate::error::{Failure, Kind};

/// Characters of a text from the network that are shown at the most.
pub(super) const SHOWN: usize = 300;

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// An earlier attempt at the same request may have been carried out, whatever this answer says.
    pub(super) doubtful: bool,
}

impl Answer {
    /// Lets through what carries the protocol's header; turns an error in the contract's form into a failure, and all else
    /// into `bad-answer`.
    pub(super) fn judge(self, server: &BaseUrl) -> Call<Answer> {
        let version = self.header(wire::API_HEADER);
        if version.as_deref() != Some(wire::API_VERSION) {
            return Err(
                self.bad(server, "it carries no 'Els-Api: 1', so it is not the backend's: a proxy's or portal's page?")
            );
        }
        if self.status < 400 {
            return Ok(self);
        }
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if media_type.split(';').next().map(str::trim) != Some(Problem::MEDIA_TYPE) {
            return Err(self.bad(server, "it is an error, but not in the protocol's form"));
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return Err(self.bad(server, "it is an error that cannot be read"));
        };
        let code = Code::parse(&problem.code);
        if problem.status != self.status || code.is_some_and(|code| code.status() != self.status) {
            return Err(self.bad(server, "its status and its code disagree"));
        }
        Err(self.refused(server, &problem, code))
    }

    fn refused(&self, server: &BaseUrl, problem: &Problem, code: Option<Code>) -> CallError {
        let shown = clean(&problem.code, 64);
        let title = if problem.title.is_empty() { shown.clone() } else { clean(&problem.title, SHOWN) };
        let mut message = format!("{} refused: {title} ({shown})", server.host());
        if self.status >= 500 {
            message = format!("{} failed: {title} ({shown})", server.host());
        }
        if let Some(detail) = &problem.detail {
            message = format!("{message}: {}", clean(detail, SHOWN));
        }
        if let Some(seats) = &problem.seats {
            message = format!("{message}: {} of {} seats are used", seats.used, seats.total);
        }
        let kind = code.map_or(Kind::Foreign { code: shown, status: self.status }, Kind::Wire);
        let mut failure = Failure::new(kind, message);
        failure.hint = code.and_then(hint).map(str::to_owned);
        failure.request_id = self.request_id();
        // After a 5xx a change may have been made: a commit of unknown outcome is answered 503.
        CallError {
            failure,
            fate: if self.status >= 500 || self.doubtful { Fate::Unknown } else { Fate::Refused },
            seats: problem.seats,
        }
    }

    /// The body of a good answer with one of these statuses.
    pub(super) fn decode<T: DeserializeOwned>(&self, server: &BaseUrl, statuses: &[u16]) -> Call<T> {
        self.require(server, statuses.contains(&self.status), "it has an unexpected status")?;
        serde_json::from_slice(&self.body).map_err(|error| self.bad(server, &format!("it cannot be read: {error}")))
    }

    /// The registration in a good answer, which must be the one with this id. Its texts are made fit to be shown and kept.
    pub(super) fn decode_registration(
        &self,
        server: &BaseUrl,
        statuses: &[u16],
        id: &RegistrationId,
    ) -> Call<Registration> {
        let mut registration: Registration = self.decode(server, statuses)?;
        self.require(server, registration.registration == *id, "it speaks of another registration")?;
        let product = &mut registration.product;
        let texts = [&mut registration.key_id, &mut product.id, &mut product.name].into_iter();
        for text in texts.chain(&mut registration.contract) {
            *text = clean(text, SHOWN);
        }
        Ok(registration)
    }

    pub(super) fn require(&self, server: &BaseUrl, holds: bool, why: &str) -> Call<()> {
        if holds { Ok(()) } else { Err(self.bad(server, why)) }
    }

    fn bad(&self, server: &BaseUrl, why: &str) -> CallError {
        let message =
            format!("the answer of {} (HTTP {}) is no answer of a backend: {}", server, self.status, clean(why, SHOWN));
        let mut failure = Failure::new(Kind::BadAnswer, message)
            .hint("check the server's URL, and that no proxy or portal answers in its place");
        failure.request_id = self.request_id();
        CallError { failure, fate: Fate::Unknown, seats: None }
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    fn request_id(&self) -> Option<String> {
        self.header(wire::REQUEST_ID_HEADER).map(|id| clean(&id, 128))
    }

    /// How long the answer asks to wait: seconds, or until a date.
    pub(super) fn retry_after(&self, clock: Clock) -> Option<Duration> {
        let value = self.header(RETRY_AFTER.as_str())?;
        let seconds = match value.trim().parse::<u64>() {
            Ok(seconds) => seconds,
            Err(_) => u64::try_from(http_date(&value)?.seconds_since(clock.now())).unwrap_or(0),
        };
        // Never at once: an answer that asks for no pause must not make a storm.
        Some(Duration::from_secs(seconds.max(1)))
    }
}

/// What to type next, for errors of the backend.
fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownKey => {
            "compare the key with the one you were sent; a key is case-sensitive unless it begins with ELS-"
        }
        Code::KeyExpired => "renew the contract; registered machines then need no work",
        Code::KeyNotYetValid => "run the same command again once the contract has begun",
        Code::KeySuspended | Code::KeyRevoked | Code::KeyReleaseDenied => "ask whoever sold the key",
        Code::SystemNotCovered => "compare /etc/os-release and 'uname -m' with what the key was sold for",
        Code::NoFreeSeat => {
            "run 'els-register --unregister' on a machine that no longer needs its seat; for one that is gone, \
             'els-register --seats --key KEY' lists who holds seats and 'els-register --release ID --key KEY' frees one"
        }
        Code::CredentialInvalid => "'els-register --key KEY' makes a new credential",
        Code::UnknownRegistration | Code::RegistrationReleased => {
            "'els-register --key KEY' registers this machine again"
        }
        Code::RateLimited | Code::Unavailable | Code::Internal => "wait a little, then run the same command again",
        Code::InvalidRequest | Code::PayloadTooLarge | Code::PathNotCovered | Code::RegistrationConflict => {
            return None;
        }
    })
}

/// Reads a date of HTTP (RFC 9110, 5.6.7).
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text.trim()).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(ureq::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Answer { status, headers: map, body: body.as_bytes().to_vec(), doubtful: false }
    }

    fn judged(answer: Answer) -> CallError {
        match answer.judge(&BaseUrl::parse("https://els.example.com").unwrap()) {
            Ok(_) => panic!("let through"),
            Err(error) => error,
        }
    }

    const PROBLEM: [(&str, &str); 3] =
        [("els-api", "1"), ("content-type", "application/problem+json"), ("x-request-id", "r-1")];

    /// Promise: answer-not-ours
    #[test]
    fn an_answer_that_is_not_the_backends_is_never_taken_for_one() {
        for (status, headers, body) in [
            (200, &[][..], "<html>sign in</html>"),
            (204, &[], ""),
            (404, &[("content-type", "application/problem+json")], r#"{"status":404,"code":"unknown-registration"}"#),
            (404, &[("els-api", "1")], "not found"),
            (404, &[("els-api", "2")], ""),
            (410, &PROBLEM, r#"{"status":404,"code":"unknown-registration"}"#),
            (404, &PROBLEM, r#"{"status":404,"code":"registration-released"}"#),
            (404, &PROBLEM, r#"{"status":404}"#),
        ] {
            let error = judged(answer(status, headers, body));
            assert_eq!(error.failure.kind, Kind::BadAnswer, "{status} {body}");
            assert_eq!(error.fate, Fate::Unknown);
        }
    }

    /// Promise: exit-statuses
    #[test]
    fn errors_of_the_contract_are_understood_and_new_ones_go_by_their_status() {
        let body = r#"{"type":"x","title":"All seats","status":409,"code":"no-free-seat","seats":{"total":2,"used":2},"new":1}"#;
        let error = judged(answer(409, &PROBLEM, body));
        assert_eq!((error.failure.kind.clone(), error.fate), (Kind::Wire(Code::NoFreeSeat), Fate::Refused));
        assert!(error.failure.message.contains("2 of 2 seats"), "{}", error.failure.message);
        assert_eq!(error.failure.request_id.as_deref(), Some("r-1"));
        let error = judged(answer(403, &PROBLEM, r#"{"status":403,"code":"key-asleep"}"#));
        assert_eq!(error.failure.exit_status(None), 5);
        let error = judged(answer(503, &PROBLEM, r#"{"status":503,"code":"unavailable"}"#));
        assert_eq!(error.fate, Fate::Unknown);
    }

    /// Promise: terminal-safe
    #[test]
    fn what_the_network_says_cannot_steer_a_terminal() {
        let body = "{\"status\":403,\"code\":\"a\\u001b[2J\",\"title\":\"b\\u009b1m\",\"detail\":\"c\\u202ed\"}";
        let error = judged(answer(403, &PROBLEM, body));
        assert!(
            !error.failure.message.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{:?}",
            error.failure.message
        );
    }

    /// Promise: network-retry
    #[test]
    fn pauses_follow_retry_after() {
        let clock = Clock::start(Duration::from_secs(60));
        let after = |value| answer(503, &[("retry-after", value)], "").retry_after(clock);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("0"), Some(Duration::from_secs(1)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(1)));
        assert_eq!(after("soon"), None);
    }
}
