//! Which registration a run asks for, and the bookkeeping around the question: the journal is written before it, and what
//! came of it decides what is given back.

use els_protocol::{Code, MachineId, RegistrationId, Token};

use super::Run;
use crate::backend;
use crate::commands::{give_back_all, random, release_command};
use crate::registration::{Identity, Making, State};
use crate::report::Report;
use els_host::failure::{Kind, Result};
use els_host::network::{CallError, Credential, Fate};

/// The registration that is asked for: whose id it is decides what may be given back.
pub(super) struct Attempt {
    pub(super) credential: Credential,
    pub(super) identity: Identity,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The machine holds it already. Never given back.
    Held,
    /// An earlier run asked for it and did not end.
    Resumed,
    /// Made by this run.
    Fresh,
}

impl Run<'_> {
    /// Which registration to ask for: the one that an earlier run was making for the same key, server and machine; the one
    /// that is held; a new one.
    pub(super) fn choose(&self) -> Attempt {
        let same_key = |check: &str, token: &Token| self.key.check_value(token) == check;
        if let Some(making) = &self.pending.making
            && making.server == self.server
            && same_key(&making.key_check, &making.token)
        {
            let held = self.standing.state.as_ref().is_some_and(|state| state.registration == making.id);
            let origin = if held { Origin::Held } else { Origin::Resumed };
            return Attempt {
                credential: making.credential(),
                identity: self.identity(Some(&making.identity)),
                origin,
            };
        }
        let copy = self.standing.is_copy(&self.machine) && !self.context.options.moved;
        if let Some(credential) = self.standing.credential.clone().filter(|_| !copy) {
            let state = self.standing.state.as_ref();
            let same = state.is_none_or(|state| {
                state.server == self.server && state.is_of_key(&self.key, &credential.token) != Some(false)
            });
            if same {
                let identity = self.identity(state.map(|state| &state.identity));
                return Attempt { credential, identity, origin: Origin::Held };
            }
        }
        self.fresh()
    }

    pub(super) fn fresh(&self) -> Attempt {
        let copy = self.standing.is_copy(&self.machine) && !self.context.options.moved;
        let kept = self.standing.state.as_ref().map(|state| &state.identity).filter(|_| !copy);
        let kept = kept.or(self.pending.making.as_ref().map(|making| &making.identity));
        let credential = Credential { id: RegistrationId::from_random(random()), token: Token::from_random(random()) };
        Attempt { credential, identity: self.identity(kept), origin: Origin::Fresh }
    }

    pub(super) fn identity(&self, kept: Option<&Identity>) -> Identity {
        Identity::of(&self.machine, kept, || MachineId::from_random(random()))
    }

    /// Writes down what is about to be asked for, and what will have to be given back once it is had: what the journal was
    /// making for another key or server, and the registration whose place the new one takes.
    pub(super) fn journal(&mut self, attempt: &Attempt) -> Result<()> {
        let id = attempt.credential.id;
        if let Some(other) = self.pending.making.take().filter(|making| making.id != id) {
            self.pending.give_back(&other.credential(), &other.server);
        }
        if attempt.origin == Origin::Held {
            // Held already: nothing that a crash could lose.
            return Ok(());
        }
        if let Some((state, credential)) = self.replaced() {
            self.pending.give_back(&credential, &state.server);
        }
        self.pending.making = Some(Making {
            id,
            token: attempt.credential.token.clone(),
            server: self.server.clone(),
            key_check: self.key.check_value(&attempt.credential.token),
            identity: attempt.identity,
        });
        self.context.write(&self.pending)
    }

    /// The registration of another key or server that this machine holds. A copy holds none: it is the original's.
    pub(super) fn replaced(&self) -> Option<(State, Credential)> {
        if self.standing.is_copy(&self.machine) && !self.context.options.moved {
            return None;
        }
        let state = self.standing.state.clone()?;
        let credential = self.standing.credential.clone()?;
        let other = state.server != self.server || state.is_of_key(&self.key, &credential.token) == Some(false);
        other.then_some((state, credential))
    }

    /// Nothing was had. What certainly holds no seat is forgotten; what an earlier run may have taken is given back; what
    /// is not known stays in the journal, to be sent again as it was.
    pub(super) fn after_refusal(&mut self, attempt: &Attempt, fate: Fate, report: &mut Report) {
        match (attempt.origin, fate) {
            (Origin::Held, _) | (_, Fate::Unknown) | (Origin::Resumed, Fate::NotSent) => {}
            (Origin::Fresh, Fate::NotSent | Fate::Refused) => self.drop_attempt(report),
            (Origin::Resumed, Fate::Refused) => self.give_up(attempt, report),
        }
    }

    /// The new registration stands: those whose place it took are given back. What fails is tried again by the next run.
    pub(super) fn give_back_others(&mut self, report: &mut Report) {
        if self.pending.giving_back.is_empty() {
            return;
        }
        let failures = give_back_all(&self.client, &mut self.pending, None);
        if let Err(failure) = self.context.write(&self.pending) {
            report.warn("journal", failure.message);
        }
        for (id, failure) in failures {
            report.warn(
                "not-given-back",
                format!(
                    "the earlier registration {id} could not be given back ({failure}); the next run tries again, or free its \
                     seat with: {}",
                    release_command(&id)
                ),
            );
        }
    }

    /// The run failed after the backend had said yes: the registration is given back, unless the machine held it before.
    pub(super) fn give_up(&mut self, attempt: &Attempt, report: &mut Report) {
        if attempt.origin == Origin::Held {
            return;
        }
        match backend::release(&self.client, &self.server, &attempt.credential) {
            Ok(()) => self.drop_attempt(report),
            Err(error) => {
                let id = attempt.credential.id;
                self.keep_replaced(&attempt.credential.id);
                self.pending.give_back(&attempt.credential, &self.server);
                self.save(report);
                report.warn(
                    "not-given-back",
                    format!(
                        "registration {id} could not be given back ({}); the next run tries again, or free its seat with: {}",
                        error.failure,
                        release_command(&id)
                    ),
                );
            }
        }
    }

    /// Forgets what this run asked for. The registration whose place it should have taken stays.
    pub(super) fn drop_attempt(&mut self, report: &mut Report) {
        let id = self.pending.making.as_ref().map(|making| making.id);
        self.keep_replaced(&id.unwrap_or(RegistrationId::from_random([0; 16])));
        self.save(report);
    }

    pub(super) fn keep_replaced(&mut self, attempted: &RegistrationId) {
        self.pending.making = None;
        self.pending.forget(attempted);
        // A journal entry from an earlier run may be the only place where the held registration's token still stands.
        let listed = |id: &RegistrationId| self.standing.pending.giving_back.iter().any(|known| known.id == *id);
        if let Some(held) = self.standing.state.as_ref().map(|state| state.registration).filter(|id| !listed(id)) {
            self.pending.forget(&held);
        }
    }

    pub(super) fn save(&self, report: &mut Report) {
        if let Err(failure) = self.context.write(&self.pending) {
            report.warn("journal", failure.message);
        }
    }
}

/// Whether the backend's answer means that this id cannot be had, but another one may.
pub(super) fn wants_a_fresh_id(error: &CallError) -> bool {
    [Kind::Wire(Code::RegistrationConflict), Kind::Wire(Code::RegistrationReleased)].contains(&error.failure.kind)
}
