//! The journal: what must be known to finish after a crash, with tokens.

use els_protocol::{BaseUrl, RegistrationId, Token};
use serde::{Deserialize, Serialize};

use super::{Identity, PENDING, VERSION, json, token_text, url_text};
use els_host::network::Credential;
use els_host::root::Change;

/// The journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(super) version: u32,
    /// A registration that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) making: Option<Making>,
    /// Registrations that are to be released, each at its own server.
    #[serde(rename = "giving_back", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) releasing: Vec<Releasing>,
}

/// A registration that is being made: the same request is sent again if its answer is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Making {
    pub(crate) id: RegistrationId,
    #[serde(with = "token_text")]
    pub(crate) token: Token,
    #[serde(with = "url_text")]
    pub(crate) server: BaseUrl,
    pub(crate) key_check: String,
    #[serde(flatten)]
    pub(crate) identity: Identity,
}

/// A registration that is to be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Releasing {
    pub(crate) id: RegistrationId,
    #[serde(with = "token_text")]
    pub(crate) token: Token,
    #[serde(with = "url_text")]
    pub(crate) server: BaseUrl,
}

impl Pending {
    /// Adds a registration that is to be released, once.
    pub(crate) fn release(&mut self, credential: &Credential, server: &BaseUrl) {
        if !self.lists(&credential.id) {
            let Credential { id, token } = credential.clone();
            self.releasing.push(Releasing { id, token, server: server.clone() });
        }
    }

    /// Removes a registration that was released, or is held after all.
    pub(crate) fn forget(&mut self, id: &RegistrationId) {
        self.releasing.retain(|known| known.id != *id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.making.is_none() && self.releasing.is_empty()
    }

    /// What was being made is to be released.
    pub(crate) fn abandon_making(&mut self) {
        if let Some(making) = self.making.take() {
            self.release(&making.credential(), &making.server);
        }
    }

    pub(crate) fn lists(&self, id: &RegistrationId) -> bool {
        self.releasing.iter().any(|known| known.id == *id)
    }

    /// The change that writes this journal; an empty one is removed.
    pub(crate) fn write(&self) -> Change {
        if self.is_empty() {
            PENDING.remove()
        } else {
            PENDING.write(json(&Pending { version: VERSION, ..self.clone() }))
        }
    }

    /// The token of a registration in the journal: while one registration replaces another, the variables may hold neither
    /// complete credential.
    pub(super) fn token_of(&self, id: &RegistrationId) -> Option<Token> {
        let making = self.making.iter().map(|making| (&making.id, &making.token));
        let releasing = self.releasing.iter().map(|known| (&known.id, &known.token));
        making.chain(releasing).find(|(known, _)| *known == id).map(|(_, token)| token.clone())
    }
}

impl Making {
    pub(crate) fn credential(&self) -> Credential {
        Credential { id: self.id, token: self.token.clone() }
    }
}

impl Releasing {
    pub(crate) fn credential(&self) -> Credential {
        Credential { id: self.id, token: self.token.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_listed_for_release_once() {
        let server = BaseUrl::parse("https://a").unwrap();
        let credential = Credential { id: RegistrationId::from_random([1; 16]), token: Token::from_random([2; 32]) };
        let mut pending = Pending::default();
        pending.release(&credential, &server);
        pending.release(&credential, &server);
        assert_eq!(pending.releasing.len(), 1);
        assert_eq!(pending.token_of(&credential.id), Some(credential.token));
        pending.forget(&credential.id);
        assert!(pending.is_empty());
    }
}
