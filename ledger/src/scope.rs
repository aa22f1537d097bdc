//! How far a call reaches, and the condition by which a statement keeps to it.

use els_protocol::Sha256Hex;

/// How far a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The vendor: everything.
    Vendor,
    /// A holder of the key with this hash: that key and its registrations, as long as the hash counts.
    Key(Sha256Hex),
    /// The token with this hash: the keys of its reseller and its products, as long as it is valid.
    Token(Sha256Hex),
}

impl Scope {
    /// The hash of the key or token, for [`within_scope!`]; `None` where all keys are reached. The hash of a token is never
    /// that of a key: no license key begins as a token does.
    pub(crate) fn hash(&self) -> Option<&Sha256Hex> {
        match self {
            Scope::Vendor => None,
            Scope::Key(hash) | Scope::Token(hash) => Some(hash),
        }
    }
}

/// The condition that the key with number `$number` is within a scope. `$number` has to name its table, which is not `s` or
/// `t`. `$hash` is the parameter of the hash, NULL for the vendor; `$now` that of the time.
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
            ")) OR EXISTS (SELECT 1 FROM tokens t JOIN keys s ON s.number = ",
            $number,
            " WHERE t.hash = ",
            $hash,
            " AND t.revoked_at IS NULL AND t.expires > ",
            $now,
            " AND (t.reseller IS NULL OR t.reseller = s.reseller)
              AND (t.products IS NULL OR replace(t.products, ' ' || s.product || ' ', '') <> t.products)))"
        )
    };
}
pub(crate) use within_scope;
