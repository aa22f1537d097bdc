//! The journal: what must be known to finish after a crash, tokens included.

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
    /// Registrations that are to be given back, each at its own server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) giving_back: Vec<GivingBack>,
}

/// A registration that is being made: sent again as it was, should its answer be lost.
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

/// A registration that is to be given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GivingBack {
    pub(crate) id: RegistrationId,
    #[serde(with = "token_text")]
    pub(crate) token: Token,
    #[serde(with = "url_text")]
    pub(crate) server: BaseUrl,
}

impl Pending {
    /// Remembers a registration that is to be given back, once.
    pub(crate) fn give_back(&mut self, credential: &Credential, server: &BaseUrl) {
        if !self.giving_back.iter().any(|known| known.id == credential.id) {
            let Credential { id, token } = credential.clone();
            self.giving_back.push(GivingBack { id, token, server: server.clone() });
        }
    }

    /// Forgets a registration that has been given back, or is held after all.
    pub(crate) fn forget(&mut self, id: &RegistrationId) {
        self.giving_back.retain(|known| known.id != *id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.making.is_none() && self.giving_back.is_empty()
    }

    /// The change that makes the file say this: it is removed when there is nothing to say.
    pub(crate) fn write(&self) -> Change {
        if self.is_empty() {
            PENDING.remove()
        } else {
            PENDING.write(json(&Pending { version: VERSION, ..self.clone() }))
        }
    }

    /// The token of a registration that the journal speaks of: while one takes another's place, the variables may hold
    /// neither's whole credential.
    pub(super) fn token_of(&self, id: &RegistrationId) -> Option<Token> {
        let making = self.making.iter().map(|making| (&making.id, &making.token));
        let giving_back = self.giving_back.iter().map(|known| (&known.id, &known.token));
        making.chain(giving_back).find(|(known, _)| *known == id).map(|(_, token)| token.clone())
    }
}

impl Making {
    pub(crate) fn credential(&self) -> Credential {
        Credential { id: self.id, token: self.token.clone() }
    }
}

impl GivingBack {
    pub(crate) fn credential(&self) -> Credential {
        Credential { id: self.id, token: self.token.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_remembered_for_giving_back_once() {
        let server = BaseUrl::parse("https://a").unwrap();
        let credential = Credential { id: RegistrationId::from_random([1; 16]), token: Token::from_random([2; 32]) };
        let mut pending = Pending::default();
        pending.give_back(&credential, &server);
        pending.give_back(&credential, &server);
        assert_eq!(pending.giving_back.len(), 1);
        assert_eq!(pending.token_of(&credential.id), Some(credential.token));
        pending.forget(&credential.id);
        assert!(pending.is_empty());
    }
}
