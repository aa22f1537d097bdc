//! The machine's own credential: the password at the gate.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::hash::Sha256Hex;
use crate::secret::Secret;

/// `sos` masks `password=VALUE` in `/etc/dnf/vars`, and nothing else there; so the token has that form.
const PREFIX: &str = "elst_password=";
/// 32 bytes in base64url without padding.
const BODY: usize = 43;

/// The token of a registration: `elst_password=` and 32 random bytes in base64url. Made by the agent; the backend
/// keeps its SHA-256 alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// A token over 32 random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Token(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Reads a token; `None` for any text that no agent makes, such as an unexpanded `$els_token`.
    pub fn parse(text: &str) -> Option<Self> {
        is_token(text).then(|| Token(Secret::new(text)))
    }

    /// The hash of a token that is only passing by: as `parse(text)` and `hash()`, without keeping a copy of it.
    pub fn hash_of(text: &str) -> Option<Sha256Hex> {
        is_token(text).then(|| Sha256Hex::of(text.as_bytes()))
    }

    /// The token in clear.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// SHA-256 of the whole token, prefix included: all that the backend learns at registration.
    pub fn hash(&self) -> Sha256Hex {
        Sha256Hex::of(self.expose().as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(REDACTED)")
    }
}

fn is_token(text: &str) -> bool {
    // A little longer than 32 bytes, since the decoder asks for room by its estimate.
    let mut bytes = [0; 36];
    text.strip_prefix(PREFIX)
        .is_some_and(|body| body.len() == BODY && URL_SAFE_NO_PAD.decode_slice(body, &mut bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: ids-token-form
    #[test]
    fn a_token_is_parsed_as_it_was_written_and_other_texts_are_refused() {
        let token = Token::from_random([0xab; 32]);
        assert_eq!(Token::parse(token.expose()), Some(token.clone()));
        assert_eq!(token.expose().len(), PREFIX.len() + BODY);
        assert_eq!(Token::hash_of(token.expose()), Some(token.hash()));
        let body = &token.expose()[PREFIX.len()..];
        for bad in ["$els_token", "", body, &format!("{PREFIX}{body}="), &format!("{PREFIX}{}", &body[1..])] {
            assert_eq!(Token::parse(bad), None, "{bad}");
            assert_eq!(Token::hash_of(bad), None, "{bad}");
        }
        assert!(!format!("{token:?}").contains(body));
    }
}
