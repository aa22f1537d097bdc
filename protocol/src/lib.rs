//! The wire of els-register: what the agent and the backend say to each other.
//!
//! This crate owns every name and shape that both sides must agree on: keys, identifiers, credentials, URL paths,
//! request and answer bodies, error codes. It does no input or output, reads no clock and makes no random numbers;
//! a caller that needs randomness passes the bytes in.
//!
//! A type that exists is valid: `parse` is the only way to one, on either side, and decoding calls it.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hash;
mod id;
mod key;
mod problem;
mod secret;
mod text;
mod time;
mod token;
mod url;
pub mod wire;

pub use hash::{Sha256Hex, hex, hmac_sha256, sha256};
pub use id::{MachineId, RegistrationId, application_specific_id};
pub use key::{KeyError, LicenseKey, OddCharacter, is_weak};
pub use problem::{Code, Problem};
pub use secret::Secret;
pub use text::{Label, LabelError, RepoFile, clean};
pub use time::Timestamp;
pub use token::Token;
pub use url::{BaseUrl, UrlError};
