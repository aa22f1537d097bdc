//! How far a call reaches, and the condition by which a statement keeps to it.

use els_protocol::Sha256Hex;

/// How far a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The vendor: everything.
    Vendor,
    /// A holder of the key with this hash: that key and its registrations, as long as the hash counts.
    Key(Sha256Hex),
}

impl Scope {
    /// The hash of the one key that is reached, for [`within_scope!`]; `None` where all keys are.
    pub(crate) fn key_hash(&self) -> Option<&Sha256Hex> {
        match self {
            Scope::Vendor => None,
            Scope::Key(hash) => Some(hash),
        }
    }
}

/// The condition that the key with number `$number` is within a scope. `$hash` is the parameter of the hash, NULL for the
/// vendor; `$now` that of the time.
macro_rules! within_scope {
    ($number:literal, $hash:literal, $now:literal) => {
        concat!(
            "(",
            $hash,
            " IS NULL OR ",
            $number,
            " = (SELECT key FROM secrets WHERE hash = ",
            $hash,
            " AND (until IS NULL OR until > ",
            $now,
            ")))"
        )
    };
}
pub(crate) use within_scope;
