//! Errors on the wire: RFC 9457 problem documents with a stable `code`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::Seats;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// Every error code of the wire. A code's HTTP status never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of their status.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status that goes with the code.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// A few words without a full stop, the same for every occurrence (RFC 9457, `title`).
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    InvalidRequest = "invalid-request", 400, "The request is malformed";
    /// Registration id and token do not belong together, or are malformed.
    CredentialInvalid = "credential-invalid", 401, "The credential is not valid";
    /// No key like this was ever made.
    UnknownKey = "unknown-key", 403, "This license key is not known";
    /// The key's contract has ended.
    KeyExpired = "key-expired", 403, "This license key has expired";
    /// The key's contract has not begun.
    KeyNotYetValid = "key-not-yet-valid", 403, "This license key is not valid yet";
    /// The key is suspended; it may come back.
    KeySuspended = "key-suspended", 403, "This license key is suspended";
    /// The key is revoked for good.
    KeyRevoked = "key-revoked", 403, "This license key has been revoked";
    /// The vendor alone frees the seats of this key.
    KeyReleaseDenied = "key-release-denied", 403, "Only the vendor can free the seats of this license key";
    /// The key's product does not cover the machine's operating system, version or architecture.
    SystemNotCovered = "system-not-covered", 403, "The product of this license key does not cover this system";
    /// The credential is good, but its product does not open this path.
    PathNotCovered = "path-not-covered", 403, "The product of this registration does not cover this path";
    /// No registration has this id.
    UnknownRegistration = "unknown-registration", 404, "This registration is not known";
    /// All seats of the key are taken.
    NoFreeSeat = "no-free-seat", 409, "All seats of this license key are taken";
    /// The id is in use with another key, token or machine.
    RegistrationConflict = "registration-conflict", 409, "This registration id is in use";
    /// The registration was released.
    RegistrationReleased = "registration-released", 410, "This registration has been released";
    /// The body is larger than the protocol allows.
    PayloadTooLarge = "payload-too-large", 413, "The request is too large";
    /// Too many failures from this address, or too many requests at once for one key.
    RateLimited = "rate-limited", 429, "Too many requests";
    /// Something broke inside the backend.
    Internal = "internal", 500, "Something went wrong in the backend";
    /// The backend cannot know or cannot store right now; a change may or may not have been made.
    Unavailable = "unavailable", 503, "The backend is not available at the moment";
}

impl Code {
    /// The code with this name; `None` for one that this version does not know.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem document, `application/problem+json`. `code` is a text, since a newer backend may have codes that this
/// version does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A URI that names the kind of problem (RFC 9457); made from the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The code in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status, once more.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What is particular to this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `no-free-seat`: how many seats there are and how many are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Seats>,
}

impl Problem {
    /// The media type of problem documents.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// The document for `code`, without particulars.
    pub fn new(code: Code) -> Self {
        Problem {
            kind: format!("urn:els:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail: None,
            seats: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-problems
    #[test]
    fn codes_are_parsed_as_written_and_have_an_error_status() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!((400..=599).contains(&code.status()), "{code}");
            // A message goes on after it: `title (code): detail`.
            assert!(!code.title().is_empty() && !code.title().ends_with('.'), "{code}");
        }
        assert_eq!(Code::parse("teapot"), None);
    }

    #[test]
    fn the_manual_of_errors_has_each_code_with_its_status() {
        let manual = include_str!("../../docs/customer/errors.md");
        for code in Code::ALL {
            assert!(
                manual.contains(&format!("\n### `{code}` ({}", code.status())),
                "{code} in docs/customer/errors.md"
            );
        }
    }
}
