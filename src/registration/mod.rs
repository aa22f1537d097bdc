//! What a machine remembers of its registration, and of registrations that are being made or released.
//!
//! Two files. `registration.json` is the state: readable by all, no secret. `pending.json` is the journal: what must be
//! known to finish after a crash, with tokens, readable only by root. Both have a version; a file of a newer version is
//! refused, one that cannot be parsed is taken as lost (the credential is in dnf's variables too).

mod journal;

use std::collections::BTreeMap;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use els_protocol::wire::{Product, Registration};
use els_protocol::{BaseUrl, LicenseKey, MachineId, RegistrationId, RepoFile, Sha256Hex, Timestamp, Token};

pub(crate) use journal::{Making, Pending};

use crate::failure::{Failure, Result};
use crate::repo::{self, File};
use crate::report::RegistrationView;
use crate::warning::Lost;
use els_host::machine::Machine;
use els_host::network::Credential;
use els_host::root::{Change, Root};

/// The folder of both files.
pub(crate) const FOLDER: &str = "/var/lib/els-register";
/// The state.
pub(crate) const STATE: File = File { path: "/var/lib/els-register/registration.json", mode: 0o644, staging: FOLDER };
/// The journal.
pub(crate) const PENDING: File = File { path: "/var/lib/els-register/pending.json", mode: 0o600, staging: FOLDER };

const VERSION: u32 = 1;

/// The state of a machine that is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    pub(crate) registration: RegistrationId,
    pub(crate) key_id: String,
    /// Shows whether a key is the one of this registration; unknown after a refresh that found only the variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_check: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contract: Option<String>,
    pub(crate) product: Product,
    pub(crate) repo_file: RepoFile,
    pub(crate) expires: Timestamp,
    pub(crate) registered_at: Timestamp,
    pub(crate) verified_at: Timestamp,
    #[serde(with = "url_text")]
    pub(crate) server: BaseUrl,
    pub(crate) repo_url: String,
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// SHA-256 of each file as it was written; for the repo file, of the shipped one.
    pub(crate) files: BTreeMap<String, Sha256Hex>,
    /// Folders that registering made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) folders: Vec<String>,
}

/// The machine that a registration was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) machine: MachineId,
    /// The machine had no id: this one is random, and kept as long as the file that holds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) machine_is_random: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hardware: Option<MachineId>,
    /// Which container of its image this is. It stays on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Sha256Hex>,
}

/// All that this machine knows before the backend is asked.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) state: Option<State>,
    pub(crate) pending: Pending,
    /// The credential of the state's registration; without a state, the one in dnf's variables. `None` if the token is
    /// lost, or this user may not read it.
    pub(crate) credential: Option<Credential>,
    /// Files that cannot be parsed.
    pub(crate) lost: Vec<Lost>,
}

impl Standing {
    /// Reads both files and dnf's variables.
    pub(crate) fn read(root: &Root) -> Result<Self> {
        let mut lost = Vec::new();
        let state: Option<State> = load(root, &STATE, &mut lost)?;
        let pending: Pending = load(root, &PENDING, &mut lost)?.unwrap_or_default();
        let variable = |file: &File| -> Result<Option<(Sha256Hex, String)>> {
            let found = match root.look(file.path) {
                // Something else is in its place: the variable is lost, and what writes it will report that.
                Err(error) if matches!(error.errno, Errno::ELOOP | Errno::EISDIR | Errno::ENOTSUP) => None,
                // An I/O error is not absence: to go on without the token would lose the seat.
                found => found?,
            };
            let text = |content: Vec<u8>| String::from_utf8_lossy(&content).trim().to_owned();
            Ok(found.and_then(|found| found.content).map(|content| (Sha256Hex::of(&content), text(content))))
        };
        let token = variable(&repo::TOKEN)?;
        let credential = match &state {
            Some(state) => {
                let whole = token.filter(|(hash, _)| state.files.get(repo::TOKEN.path) == Some(hash));
                let in_variables = whole.and_then(|(_, text)| Token::parse(&text));
                let token = in_variables.or_else(|| pending.token_of(&state.registration));
                token.map(|token| Credential { id: state.registration, token })
            }
            None => variable(&repo::ID)?
                .and_then(|(_, id)| RegistrationId::parse(&id))
                .zip(token.and_then(|(_, text)| Token::parse(&text)))
                .map(|(id, token)| Credential { id, token }),
        };
        Ok(Standing { state, pending, credential, lost })
    }

    /// Whether this machine holds a registration, as far as is known here.
    pub(crate) fn is_registered(&self) -> bool {
        self.state.is_some() || self.credential.is_some()
    }

    /// The id of the registration that this machine holds.
    pub(crate) fn id(&self) -> Option<RegistrationId> {
        let of_state = self.state.as_ref().map(|state| state.registration);
        of_state.or_else(|| self.credential.as_ref().map(|credential| credential.id))
    }

    /// The journal, if it is the one of the machine `now`. The journal of an image belongs to the machine that the image was
    /// taken from, and nothing in it may be released here. A copy that has begun a registration of its own has its own journal.
    pub(crate) fn journal_of(&self, now: &Machine) -> Pending {
        let foreign = match &self.pending.making {
            Some(making) => making.identity.differs_from(now),
            None => self.is_copy(now),
        };
        if foreign { Pending::default() } else { self.pending.clone() }
    }

    /// Whether the state was made on another machine than `now`: a cloned disk, or an image taken after registering.
    pub(crate) fn is_copy(&self, now: &Machine) -> bool {
        self.state.as_ref().is_some_and(|state| state.identity.differs_from(now))
    }
}

impl State {
    /// The state after an answer of the backend; `files` and `folders` are what was written for it.
    pub(crate) fn new(
        answer: &Registration,
        server: &BaseUrl,
        key_check: Option<String>,
        identity: Identity,
        now: Timestamp,
        files: BTreeMap<String, Sha256Hex>,
    ) -> Self {
        State {
            version: VERSION,
            registration: answer.registration,
            key_id: answer.key_id.clone(),
            key_check,
            contract: answer.contract.clone(),
            product: answer.product.clone(),
            repo_file: answer.repo.file.clone(),
            expires: answer.expires,
            registered_at: answer.registered_at,
            verified_at: now,
            server: server.clone(),
            repo_url: answer.repo.url.clone(),
            identity,
            files,
            folders: Vec::new(),
        }
    }

    /// The same registration with other files.
    pub(crate) fn with_files(&self, files: BTreeMap<String, Sha256Hex>) -> Self {
        State { files, ..self.clone() }
    }

    /// Whether this is the registration of `key`: certainly, certainly not, or unknown.
    pub(crate) fn is_of_key(&self, key: &LicenseKey, token: &Token) -> Option<bool> {
        self.key_check.as_ref().map(|check| *check == key.check_value(token))
    }

    /// Whether the two differ in nothing but the time of the last verification.
    pub(crate) fn says_the_same(&self, other: &State) -> bool {
        State { verified_at: other.verified_at, ..self.clone() } == *other
    }

    pub(crate) fn view(&self) -> RegistrationView {
        RegistrationView {
            id: self.registration,
            key_id: Some(self.key_id.clone()),
            contract: self.contract.clone(),
            product: Some(self.product.clone()),
            expires: Some(self.expires),
            server: Some(self.server.to_string()),
            repo_url: Some(self.repo_url.clone()),
            registered_at: Some(self.registered_at),
            verified_at: Some(self.verified_at),
        }
    }

    pub(crate) fn write(&self) -> Change {
        STATE.write(json(self))
    }
}

impl Identity {
    /// The ids to send for `now`. A random machine id is kept from `kept`; where there is no id of its own, `random` makes one.
    pub(crate) fn of(now: &Machine, kept: Option<&Identity>, random: impl FnOnce() -> MachineId) -> Self {
        let kept = kept.filter(|kept| kept.machine_is_random);
        let (machine, machine_is_random) = match (kept, now.machine) {
            (Some(kept), _) => (kept.machine, true),
            (None, Some(machine)) => (machine, false),
            (None, None) => (random(), true),
        };
        Identity { machine, machine_is_random, hardware: now.hardware, instance: now.instance }
    }

    /// Whether an id that both sides have differs. An id that is absent on one side, or random, is not a difference.
    pub(crate) fn differs_from(&self, now: &Machine) -> bool {
        let machine = now.machine.is_some_and(|machine| !self.machine_is_random && machine != self.machine);
        let hardware = self.hardware.zip(now.hardware).is_some_and(|(then, now)| then != now);
        machine || hardware || self.is_of_other_container(now)
    }

    /// Whether `now` is another container: the image that it was started from has this registration in it.
    pub(crate) fn is_of_other_container(&self, now: &Machine) -> bool {
        self.instance.zip(now.instance).is_some_and(|(then, now)| then != now)
    }
}

/// A file of a known version; `None` if it is missing, lost, or this user may not read it.
fn load<T: for<'de> Deserialize<'de>>(root: &Root, file: &File, lost: &mut Vec<Lost>) -> Result<Option<T>> {
    match root.look(file.path)?.and_then(|found| found.content) {
        Some(content) => decode(file.path, &content, lost),
        None => Ok(None),
    }
}

/// What such a file says; `path` is for the errors.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(
    path: &str,
    content: &[u8],
    lost: &mut Vec<Lost>,
) -> Result<Option<T>> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if let Ok(Versioned { version }) = serde_json::from_slice(content)
        && version > VERSION
    {
        return Err(Failure::NewerFile { path: path.to_owned(), version, known: VERSION });
    }
    match serde_json::from_slice(content) {
        Ok(found) => Ok(Some(found)),
        Err(error) => {
            // Only the category: serde's messages may repeat what they could not read, and a journal holds tokens.
            lost.push(Lost { path: path.to_owned(), line: error.line(), is_json: error.is_data() });
            Ok(None)
        }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("the files are JSON documents");
    text.push(b'\n');
    text
}

mod token_text {
    use els_protocol::Token;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        let text = String::deserialize(deserializer)?;
        Token::parse(&text).ok_or_else(|| serde::de::Error::custom("not a token"))
    }
}

mod url_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use els_protocol::BaseUrl;

    pub(super) fn serialize<S: Serializer>(url: &BaseUrl, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BaseUrl, D::Error> {
        let text = String::deserialize(deserializer)?;
        BaseUrl::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> MachineId {
        MachineId::from_random([byte; 16])
    }

    /// Promise: copy-recognised
    #[test]
    fn a_copy_has_another_id_than_the_state() {
        let here = Identity { machine: id(1), machine_is_random: false, hardware: Some(id(2)), instance: None };
        for (machine, hardware, differs) in [
            (Some(1), Some(2), false),
            (Some(1), None, false),
            (None, Some(2), false),
            (None, None, false),
            (Some(9), Some(2), true),
            (Some(1), Some(9), true),
            (None, Some(9), true),
        ] {
            let now = Machine { machine: machine.map(id), hardware: hardware.map(id), instance: None };
            assert_eq!(here.differs_from(&now), differs, "{machine:?} {hardware:?}");
        }
        let made_up = Identity { machine_is_random: true, hardware: None, ..here };
        assert!(!made_up.differs_from(&Machine { machine: Some(id(9)), hardware: Some(id(9)), instance: None }));
    }

    /// Promise: ids-random
    #[test]
    fn a_random_machine_id_is_kept() {
        let now = Machine { machine: None, hardware: None, instance: None };
        let first = Identity::of(&now, None, || id(7));
        assert!(first.machine_is_random);
        assert_eq!(Identity::of(&now, Some(&first), || id(8)).machine, id(7));
        let later = Machine { machine: Some(id(3)), hardware: None, instance: None };
        assert_eq!(Identity::of(&later, Some(&first), || id(8)).machine, id(7));
        assert_eq!(
            Identity::of(&later, None, || id(8)),
            Identity { machine: id(3), machine_is_random: false, hardware: None, instance: None }
        );
    }
}
