//! Whether an answer is one of the protocol, or why it is not.
//!
//! One function judges every answer. An answer without `Els-Api: 1`, or whose status and code do not fit together, proves
//! nothing: neither that a request was refused nor that it was carried out.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{HeaderMap, Method};

use els_protocol::wire;
use els_protocol::{BaseUrl, Code, Problem, Timestamp, clean};

use super::{Call, CallError, Fate};
use crate::clock::Clock;
use crate::failure::{AnswerFault, Failure, Refusal};

/// The largest number of characters of a text from the network that are shown.
pub const SHOWN: usize = 300;

/// An answer as it came.
pub struct Answer {
    /// The request's.
    pub method: Method,
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// Complete.
    pub body: Vec<u8>,
    /// An earlier attempt at the same request may have been carried out, whatever this answer says.
    pub doubtful: bool,
}

impl Answer {
    /// Lets through what carries the protocol's header; turns an error in the contract's form into a failure, and all else
    /// into `bad-answer`.
    pub fn judge(self, server: &BaseUrl) -> Call<Answer> {
        let version = self.header(wire::API_HEADER);
        if version.as_deref() != Some(wire::API_VERSION) {
            return Err(self.bad(server, AnswerFault::NoApiHeader));
        }
        if self.status < 400 {
            return Ok(self);
        }
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if media_type.split(';').next().map(str::trim) != Some(Problem::MEDIA_TYPE) {
            return Err(self.bad(server, AnswerFault::NotAProblem));
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return Err(self.bad(server, AnswerFault::UnreadableProblem));
        };
        let code = Code::parse(&problem.code);
        if problem.status != self.status || code.is_some_and(|code| code.status() != self.status) {
            return Err(self.bad(server, AnswerFault::StatusAndCodeDiffer));
        }
        Err(self.refused(server, &problem, code))
    }

    fn refused(&self, server: &BaseUrl, problem: &Problem, code: Option<Code>) -> CallError {
        let failure = Failure::Refused(Box::new(Refusal {
            host: server.host().to_owned(),
            status: self.status,
            code: clean(&problem.code, 64),
            known: code,
            title: clean(&problem.title, SHOWN),
            detail: problem.detail.as_ref().map(|detail| clean(detail, SHOWN)),
            seats: problem.seats,
            request_id: self.request_id(),
        }));
        // After a 5xx a change may have been made: a commit of unknown outcome is answered 503.
        CallError { failure, fate: if self.status >= 500 || self.doubtful { Fate::Unknown } else { Fate::Refused } }
    }

    /// The body of a good answer with one of these statuses.
    pub fn decode<T: DeserializeOwned>(&self, server: &BaseUrl, statuses: &[u16]) -> Call<T> {
        self.require(server, statuses.contains(&self.status), AnswerFault::UnexpectedStatus)?;
        serde_json::from_slice(&self.body)
            .map_err(|error| self.bad(server, AnswerFault::Unreadable { why: clean(&error.to_string(), SHOWN) }))
    }

    /// Fails with `otherwise` unless `holds`.
    pub fn require(&self, server: &BaseUrl, holds: bool, otherwise: AnswerFault) -> Call<()> {
        if holds { Ok(()) } else { Err(self.bad(server, otherwise)) }
    }

    fn bad(&self, server: &BaseUrl, fault: AnswerFault) -> CallError {
        let request_id = self.request_id();
        let method = self.method.to_string();
        let failure = Failure::Answer { server: server.to_string(), method, status: self.status, fault, request_id };
        CallError { failure, fate: Fate::Unknown }
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    fn request_id(&self) -> Option<String> {
        self.header(wire::REQUEST_ID_HEADER).map(|id| clean(&id, 128))
    }

    /// How long the answer asks to wait: seconds, or until a date.
    pub fn retry_after(&self, clock: Clock) -> Option<Duration> {
        let value = self.header(RETRY_AFTER.as_str())?;
        let seconds = match value.trim().parse::<u64>() {
            Ok(seconds) => seconds,
            Err(_) => u64::try_from(http_date(&value)?.seconds_since(clock.now())).unwrap_or(0),
        };
        // Never at once: an answer that asks for no pause must not make a storm.
        Some(Duration::from_secs(seconds.max(1)))
    }
}

/// Reads a date of HTTP (RFC 9110, 5.6.7).
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
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
        Answer { method: Method::PUT, status, headers: map, body: body.as_bytes().to_vec(), doubtful: false }
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
    fn an_answer_of_another_server_is_never_accepted() {
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
            assert_eq!(error.failure.code(), "bad-answer", "{status} {body}");
            assert_eq!(error.fate, Fate::Unknown);
        }
    }

    /// Promise: exit-statuses
    #[test]
    fn errors_of_the_contract_are_understood_and_new_ones_go_by_their_status() {
        let body = r#"{"type":"x","title":"All seats","status":409,"code":"no-free-seat","seats":{"total":2,"used":2},"new":1}"#;
        let error = judged(answer(409, &PROBLEM, body));
        assert_eq!((error.failure.denial(), error.fate), (Some(Code::NoFreeSeat), Fate::Refused));
        let message = crate::messages::en::failure(&error.failure);
        assert!(message.contains("2 of 2 seats"), "{message}");
        assert_eq!(error.failure.request_id(), Some("r-1"));
        let error = judged(answer(403, &PROBLEM, r#"{"status":403,"code":"key-asleep"}"#));
        assert_eq!((error.failure.code(), error.failure.denial()), ("key-asleep", None));
        let error = judged(answer(503, &PROBLEM, r#"{"status":503,"code":"unavailable"}"#));
        assert_eq!(error.fate, Fate::Unknown);
    }

    /// Promise: terminal-safe
    #[test]
    fn what_the_network_says_cannot_steer_a_terminal() {
        let body = "{\"status\":403,\"code\":\"a\\u001b[2J\",\"title\":\"b\\u009b1m\",\"detail\":\"c\\u202ed\"}";
        let error = judged(answer(403, &PROBLEM, body));
        let message = crate::messages::en::failure(&error.failure);
        assert!(!message.chars().any(|c| c.is_control() || c == '\u{202e}'), "{message:?}");
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
