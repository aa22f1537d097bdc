//! Tokens of the vendor's systems: what they may do, and how far they reach.
//!
//! Owns the shapes and the words that are stored, and the calls of a store. It must not know the text of a token, only its
//! hash, and not how a client shows it.

#![expect(missing_docs, reason = "the names of fields and words say it")]

use std::fmt;

use async_trait::async_trait;
use els_protocol::{Sha256Hex, Timestamp};
use serde::Serialize;

use crate::scope::Scope;
use crate::{KeyRecord, StoreError};

/// What administrators and the listener of the vendor's systems ask about tokens.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Makes a token.
    async fn create_token(&self, token: NewToken) -> Result<(), StoreError>;

    /// All tokens, in the order of their ids.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// Revokes a token from `now` on; `None` where there is no such token. Revoking it again changes nothing.
    async fn revoke_token(&self, now: Timestamp, id: TokenId) -> Result<Option<TokenRecord>, StoreError>;

    /// The token with this hash, whether it is valid or not.
    async fn token(&self, hash: Sha256Hex) -> Result<Option<TokenRecord>, StoreError>;

    /// Notes when tokens were last used. Times never go back.
    async fn tokens_used(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError>;
}

/// The id of a token: `t-` and ten symbols. It is not a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 13]);

impl TokenId {
    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        let symbol = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes: [u8; 13] = text.as_bytes().try_into().ok()?;
        let (first, second) = (text.get(2..7)?, text.get(8..)?);
        let fits = text.starts_with("t-") && bytes[7] == b'-' && first.bytes().chain(second.bytes()).all(symbol);
        fits.then_some(TokenId(bytes))
    }

    /// A new id over 8 random bytes, in the form of a key's id.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        let mut id = [0; 13];
        id.copy_from_slice(crate::KeyId::from_random(bytes).as_str().as_bytes());
        id[0] = b't';
        TokenId(id)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TokenId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

macro_rules! permissions {
    ($($name:ident = $text:literal;)*) => {
        /// What a token may do. The words are kept in databases and read by scripts: never change one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Permission { $($name,)* }

        impl Permission {
            pub const ALL: &[Permission] = &[$(Permission::$name,)*];

            /// As it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Permission::$name => $text,)* }
            }
        }
    };
}

permissions! {
    KeysRead = "keys:read";
    KeysWrite = "keys:write";
    KeysState = "keys:state";
    KeysSecret = "keys:secret";
    SeatsRead = "seats:read";
    SeatsRelease = "seats:release";
    EventsRead = "events:read";
    Export = "export";
}

impl Permission {
    pub fn parse(text: &str) -> Option<Self> {
        Permission::ALL.iter().copied().find(|one| one.as_str() == text)
    }
}

impl Serialize for Permission {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a token is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub id: TokenId,
    pub hash: Sha256Hex,
    pub name: String,
    pub scopes: Vec<Permission>,
    /// Reaches only keys of this reseller.
    pub reseller: Option<String>,
    /// Reaches only keys of these products; empty: of every product.
    pub products: Vec<String>,
    /// Can be used only from these networks; empty: from everywhere.
    pub networks: Vec<String>,
    pub made_at: Timestamp,
    pub expires: Timestamp,
}

/// One token, with all that is known of it except its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRecord {
    pub token_id: TokenId,
    pub name: String,
    pub scopes: Vec<Permission>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reseller: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    pub made_at: Timestamp,
    pub expires: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) hash: Sha256Hex,
}

impl TokenRecord {
    /// Whether it is the token with this hash, and counts at this time. Compares in constant time.
    pub fn is_valid(&self, now: Timestamp, hash: &Sha256Hex) -> bool {
        self.hash == *hash && self.revoked_at.is_none() && now < self.expires
    }

    pub fn may(&self, permission: Permission) -> bool {
        self.scopes.contains(&permission)
    }

    /// Whether this token reaches a key.
    pub fn reaches(&self, key: &KeyRecord) -> bool {
        (self.reseller.is_none() || self.reseller == key.reseller)
            && (self.products.is_empty() || self.products.contains(&key.product))
    }

    /// How far calls with this token reach.
    pub fn scope(&self) -> Scope {
        match self.reseller.is_none() && self.products.is_empty() {
            true => Scope::Vendor,
            false => Scope::Token(self.hash),
        }
    }
}

/// A list of words as it is stored: a space before and after each; `None` for an empty list.
pub(crate) fn stored<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut text = String::from(" ");
    for word in words {
        text.push_str(word);
        text.push(' ');
    }
    (text.len() > 1).then_some(text)
}

/// Reads what [`stored`] wrote.
pub(crate) fn words(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Reads scopes; those of a newer version are ignored.
pub(crate) fn permissions(text: &str) -> Vec<Permission> {
    text.split_whitespace().filter_map(Permission::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_lists_are_parsed_as_written() {
        let id = TokenId::from_random([0xff; 8]);
        assert_eq!(id.as_str(), "t-zzzzz-zzzzz");
        assert_eq!(TokenId::parse(id.as_str()), Some(id));
        for bad in ["", "k-zzzzz-zzzzz", "t-zzzzz-zzzz", "t-zzzzzzzzzzz", "t-ZZZZZ-zzzzz", "t-zzzé-zzzzz"] {
            assert_eq!(TokenId::parse(bad), None, "{bad:?}");
        }
        assert_eq!(stored([]), None);
        let text = stored(["keys:read", "no-such", "export"]).unwrap();
        assert_eq!(text, " keys:read no-such export ");
        assert_eq!(permissions(&text), [Permission::KeysRead, Permission::Export]);
        assert_eq!(words(Some(&text)), ["keys:read", "no-such", "export"]);
    }
}
