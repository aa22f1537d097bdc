//! Who causes a change, as the audit log has it.
//!
//! Owns the words that the audit log stores. Knows nothing of accounts, nor of how somebody proves who they are.

use std::borrow::Cow;

use crate::tokens::TokenId;

/// Who causes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Through which interface.
    pub origin: Origin,
    /// The request's id, where there is one.
    pub request: Option<String>,
}

impl By {
    /// Somebody, without a request that has an id.
    pub fn new(actor: Actor, origin: Origin) -> Self {
        By { actor, origin, request: None }
    }

    /// The vendor, by a command.
    pub fn vendor() -> Self {
        By::new(Actor::Vendor, Origin::Cli)
    }
}

/// Who can cause a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The machine of the registration, with its own credential or with the key.
    Machine,
    /// A holder of the key, for a machine that may be another.
    KeyHolder,
    /// The vendor.
    Vendor,
    /// The backend by itself, as time passes.
    Backend,
    /// A system of the vendor, with this token.
    Token(TokenId),
}

impl Actor {
    /// As it is stored and shown: never change one.
    pub fn text(self) -> Cow<'static, str> {
        match self {
            Actor::Machine => "machine".into(),
            Actor::KeyHolder => "key-holder".into(),
            Actor::Vendor => "vendor".into(),
            Actor::Backend => "backend".into(),
            Actor::Token(id) => format!("token {id}").into(),
        }
    }
}

/// The interfaces through which changes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The wire protocol.
    Api,
    /// The use of a credential at the gate.
    Gate,
    /// A command of `els-backend`.
    Cli,
    /// A job of upkeep.
    Upkeep,
    /// The admin API.
    AdminApi,
}

impl Origin {
    /// As it is stored and shown: never change one.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Api => "api",
            Origin::Gate => "gate",
            Origin::Cli => "cli",
            Origin::Upkeep => "upkeep",
            Origin::AdminApi => "admin-api",
        }
    }
}
