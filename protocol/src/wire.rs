//! Version 1 of the protocol: URL paths, headers, bodies and their limits.
//!
//! Decoding ignores members it does not know (both sides may be newer than the other) and refuses values that break a
//! rule of the contract.

use serde::{Deserialize, Serialize};

use crate::{Label, MachineId, RegistrationId, RepoFile, Sha256Hex, Timestamp};

/// The header that every answer of a backend carries, with [`API_VERSION`] as its value.
pub const API_HEADER: &str = "els-api";
/// The version of this protocol, in `Els-Api`.
pub const API_VERSION: &str = "1";
/// The header that names one request in the backend's log.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// The header in which a web server hands the raw request target to the gate.
pub const ORIGINAL_URI_HEADER: &str = "x-original-uri";
/// The largest body of a request or a registration answer, in bytes. Seat lists may be larger.
pub const BODY_LIMIT: usize = 8 * 1024;
/// The largest seat list page, in bytes: 1000 registrations of at most a kilobyte each.
pub const SEAT_PAGE_LIMIT: usize = 1024 * 1024 + BODY_LIMIT;
/// The most registrations that one page of a seat list holds.
pub const SEAT_PAGE_MOST: u32 = 1000;

/// `PUT`, `GET`, `DELETE`: one registration. With `{id}` in place of the id, for routers.
pub const REGISTRATION_PATH: &str = "/v1/registrations/{id}";
/// `GET`: the seats of a key, a page at a time (`?after=ID&limit=N`).
pub const SEATS_PATH: &str = "/v1/seats";
/// `DELETE`: one seat of a key. With `{id}` in place of the id, for routers.
pub const SEAT_PATH: &str = "/v1/seats/{id}";
/// `GET`: may this credential fetch the path in `X-Original-URI`?
pub const REPO_AUTH_PATH: &str = "/v1/repo-auth";
/// `GET`: the description of this protocol.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// The path of one registration.
pub fn registration_path(id: &RegistrationId) -> String {
    REGISTRATION_PATH.replace("{id}", &id.to_string())
}

/// The path of one seat.
pub fn seat_path(id: &RegistrationId) -> String {
    SEAT_PATH.replace("{id}", &id.to_string())
}

/// The body of `PUT /v1/registrations/{id}`: all that the agent says about a machine. It holds the key, so it has no
/// `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// The license key, in its canonical form or as it was typed.
    #[cfg_attr(feature = "schema", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{7,127}$"))]
    pub key: String,
    /// SHA-256 of the token.
    pub token_sha256: Sha256Hex,
    /// The application-specific machine id.
    pub machine: MachineId,
    /// The application-specific hardware id; absent in containers and where the hardware has none that is worth it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<MachineId>,
    /// The administrator says: the registered machine, on new hardware.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// The operating system.
    pub os: Os,
    /// The architecture, as `uname -m` has it.
    #[cfg_attr(feature = "schema", schema(pattern = "^[A-Za-z0-9._+~-]{1,64}$"))]
    pub arch: String,
    /// What the administrator calls the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// The operating system of a machine, from os-release(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Os {
    /// `ID`, for example `almalinux`.
    #[cfg_attr(feature = "schema", schema(pattern = "^[A-Za-z0-9._+~-]{1,64}$"))]
    pub id: String,
    /// `VERSION_ID`, for example `9.6`.
    #[cfg_attr(feature = "schema", schema(pattern = "^[A-Za-z0-9._+~-]{1,64}$"))]
    pub version: String,
}

/// How many seats a key has, and how many of them are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Seats {
    /// Seats that were sold.
    pub total: u64,
    /// Seats that are taken.
    pub used: u64,
}

/// What a key is sold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Product {
    /// The product's id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
}

/// Where a machine finds its packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Repo {
    /// Which of the shipped repo files.
    pub file: RepoFile,
    /// The base URL, without a slash at its end.
    pub url: String,
}

/// Whether a registration holds its seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum RegistrationState {
    /// It holds the seat.
    #[default]
    Active,
    /// The seat has moved to a newer registration; this one ends by itself unless it is used.
    Superseded,
}

/// The answer to `PUT` and `GET /v1/registrations/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Registration {
    /// The registration's id.
    pub registration: RegistrationId,
    /// Whether it holds its seat; absent means `active`.
    #[serde(default)]
    pub state: RegistrationState,
    /// When a superseded registration ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The registration that held the seat until this `PUT` moved it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<RegistrationId>,
    /// The key's id, which is not secret.
    pub key_id: String,
    /// The contract that the key belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What the key is sold for.
    pub product: Product,
    /// Where the packages are.
    pub repo: Repo,
    /// When the key expires.
    pub expires: Timestamp,
    /// When this machine took its seat.
    pub registered_at: Timestamp,
    /// The key's seats.
    pub seats: Seats,
}

/// The answer to `GET /v1/seats`: one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SeatList {
    /// The key's id.
    pub key_id: String,
    /// What the key is sold for.
    pub product: Product,
    /// When the key expires.
    pub expires: Timestamp,
    /// The key's seats.
    pub seats: Seats,
    /// The registrations of this page, in the order of their ids.
    pub registrations: Vec<SeatHolder>,
    /// The value of `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RegistrationId>,
}

/// One registration in a seat list. Machine and hardware ids are not in it: they are how a machine is recognised, and no
/// holder of the key needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SeatHolder {
    /// The registration's id.
    pub registration: RegistrationId,
    /// Whether it holds its seat; absent means `active`.
    #[serde(default)]
    pub state: RegistrationState,
    /// When a superseded registration ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What the administrator calls the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The operating system.
    pub os: Os,
    /// The architecture.
    pub arch: String,
    /// When the machine took its seat.
    pub registered_at: Timestamp,
    /// When its credential was last used at the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// From how many networks the credential was used in the last 7 days: an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<u64>,
}
