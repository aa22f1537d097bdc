//! Which registration a run asks for, and the journal around the request: it is written before, and the answer decides
//! what is released.

use els_host::machine::Machine;
use els_host::network::{Credential, Fate};
use els_protocol::{MachineId, RegistrationId, Token};

use super::Facts;
use crate::backend;
use crate::commands::{random, release_listed};
use crate::failure::Result;
use crate::registration::{Identity, Making, Pending, State};
use crate::report::Report;
use crate::warning::{NotReleased, Warning};

/// The registration that is asked for.
pub(super) struct Attempt {
    pub(super) credential: Credential,
    pub(super) identity: Identity,
    pub(super) origin: Origin,
}

/// Where the id comes from: it decides what may be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The machine holds it already. Never released here.
    Held,
    /// An earlier run asked for it and did not end.
    Resumed,
    /// Made by this run.
    Fresh,
}

/// The journal of this run.
pub(super) struct Journal<'a> {
    facts: &'a Facts<'a>,
    pub(super) pending: Pending,
}

impl<'a> Journal<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        let Facts { context, standing, machine, .. } = facts;
        let pending = if context.options.moved { standing.pending.clone() } else { standing.journal_of(machine) };
        Journal { facts, pending }
    }

    /// Which registration to ask for: the one that an earlier run was making for the same key, server and machine; the one
    /// that is held at this server, also with another key, since a rotated key is the same contract; a new one.
    pub(super) fn choose(&self) -> Attempt {
        let Facts { key, server, standing, .. } = self.facts;
        if let Some(making) = &self.pending.making
            && making.server == *server
            && key.check_value(&making.token) == making.key_check
        {
            let held = standing.state.as_ref().is_some_and(|state| state.registration == making.id);
            let origin = if held { Origin::Held } else { Origin::Resumed };
            return Attempt {
                credential: making.credential(),
                identity: self.identity(Some(&making.identity)),
                origin,
            };
        }
        if let Some(credential) = standing.credential.clone().filter(|_| !self.facts.is_copy()) {
            let state = standing.state.as_ref();
            if state.is_none_or(|state| state.server == self.facts.server) {
                let identity = self.identity(state.map(|state| &state.identity));
                return Attempt { credential, identity, origin: Origin::Held };
            }
        }
        self.fresh()
    }

    pub(super) fn fresh(&self) -> Attempt {
        let kept = self.facts.standing.state.as_ref().map(|state| &state.identity).filter(|_| !self.facts.is_copy());
        let kept = kept.or(self.pending.making.as_ref().map(|making| &making.identity));
        let credential = Credential { id: RegistrationId::from_random(random()), token: Token::from_random(random()) };
        Attempt { credential, identity: self.identity(kept), origin: Origin::Fresh }
    }

    /// Writes down what is about to be asked for, and what is to be released once that is granted: what the journal was
    /// making for another key or server, and the registration that the new one replaces.
    pub(super) fn begin(&mut self, attempt: &Attempt) -> Result<()> {
        let id = attempt.credential.id;
        if let Some(other) = self.pending.making.take().filter(|making| making.id != id) {
            self.pending.release(&other.credential(), &other.server);
        }
        if attempt.origin == Origin::Held {
            // Held already: there is nothing that a crash could lose.
            return Ok(());
        }
        if let Some((state, credential)) = self.replaced() {
            self.pending.release(&credential, &state.server);
        }
        self.pending.making = Some(Making {
            id,
            token: attempt.credential.token.clone(),
            server: self.facts.server.clone(),
            key_check: self.facts.key.check_value(&attempt.credential.token),
            identity: attempt.identity,
        });
        self.facts.context.write(&self.pending)
    }

    /// What was being made is neither made nor released.
    pub(super) fn drop_making(&mut self) {
        self.pending.making = None;
    }

    /// The journal once this registration is held.
    pub(super) fn done(&self, id: &RegistrationId) -> Journal<'a> {
        let mut pending = self.pending.clone();
        pending.making = None;
        pending.forget(id);
        Journal { facts: self.facts, pending }
    }

    /// Nothing was granted. A registration that certainly holds no seat is forgotten; one that an earlier run may have
    /// made is released; one whose outcome is unknown stays in the journal, so that the same request is sent again.
    pub(super) fn after_refusal(&mut self, attempt: &Attempt, fate: Fate, report: &mut Report) {
        match (attempt.origin, fate) {
            (Origin::Held, _) | (_, Fate::Unknown) | (Origin::Resumed, Fate::NotSent) => {}
            (Origin::Fresh, Fate::NotSent | Fate::Refused) => self.forget_attempt(attempt, report),
            (Origin::Resumed, Fate::Refused) => self.give_up(attempt, report),
        }
    }

    /// The run failed after the registration was granted: it is released, unless the machine held it before.
    pub(super) fn give_up(&mut self, attempt: &Attempt, report: &mut Report) {
        if attempt.origin == Origin::Held {
            return;
        }
        let Facts { client, server, .. } = self.facts;
        match backend::release(client, server, &attempt.credential) {
            Ok(()) => self.forget_attempt(attempt, report),
            Err(error) => {
                let id = attempt.credential.id;
                self.keep_replaced(&id);
                self.pending.release(&attempt.credential, server);
                self.save(report);
                report.warn(Warning::NotReleased { id, what: NotReleased::New(error.failure.into()) });
            }
        }
    }

    /// Releases the registrations that the new one replaces. The next run tries again what fails.
    pub(super) fn release_superseded(&mut self, report: &mut Report) {
        if self.pending.releasing.is_empty() {
            return;
        }
        let failures = release_listed(&self.facts.client, &mut self.pending);
        self.save(report);
        for (id, failure) in failures {
            report.warn(Warning::NotReleased { id, what: NotReleased::Superseded(failure) });
        }
    }

    /// Forgets what this run asked for. The registration that it should have replaced stays.
    fn forget_attempt(&mut self, attempt: &Attempt, report: &mut Report) {
        self.keep_replaced(&attempt.credential.id);
        self.save(report);
    }

    fn keep_replaced(&mut self, attempted: &RegistrationId) {
        self.pending.making = None;
        self.pending.forget(attempted);
        // A journal entry from an earlier run may be the only place that still has the held registration's token.
        let standing = &self.facts.standing;
        if let Some(held) = standing.state.as_ref().map(|state| state.registration)
            && !standing.pending.lists(&held)
        {
            self.pending.forget(&held);
        }
    }

    /// Whether the registration that is held was made with another key or at another server, as far as can be known.
    pub(super) fn is_of_other_key(&self) -> bool {
        self.replaced().is_some()
    }

    /// The registration of another key or server that this machine holds. A copy holds none: it is the original's.
    fn replaced(&self) -> Option<(State, Credential)> {
        if self.facts.is_copy() {
            return None;
        }
        let state = self.facts.standing.state.clone()?;
        let credential = self.facts.standing.credential.clone()?;
        (!self.is_same(&state, &credential.token)).then_some((state, credential))
    }

    /// Whether a state is of the key and the server of this run, as far as can be known.
    fn is_same(&self, state: &State, token: &Token) -> bool {
        state.server == self.facts.server && state.is_of_key(&self.facts.key, token) != Some(false)
    }

    fn identity(&self, kept: Option<&Identity>) -> Identity {
        let machine = &self.facts.machine;
        let own = Machine { machine: machine.machine.filter(|_| !self.facts.shares_image()), ..machine.clone() };
        Identity::of(&own, kept, || MachineId::from_random(random()))
    }

    fn save(&self, report: &mut Report) {
        if let Err(failure) = self.facts.context.write(&self.pending) {
            report.warn(Warning::Journal(failure));
        }
    }
}
