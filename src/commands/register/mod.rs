//! `--register`: a seat for this machine, and the files that make `dnf update` work.
//!
//! The order makes it safe to be killed at any time. The id and the token are made here and saved before the first byte is
//! sent; the backend is asked; the repository is probed; only then are files changed, with them the state and the journal. A
//! failure in between releases what this run registered.

mod attempt;
mod dry_run;

use els_host::machine::{self, Machine};
use els_host::network::{Call, Client};
use els_host::root::Change;
use els_protocol::wire::{Os, RegisterRequest, Registration};
use els_protocol::{BaseUrl, Code, Label, LicenseKey, RegistrationId};

use self::attempt::{Attempt, Journal, Origin};
use super::{Context, repo_file, say_registration, show_network, show_plan};
use crate::failure::{Failure, Result};
use crate::file_state::FileState;
use crate::registration::{self, Standing, State};
use crate::repo::{self, Plan, Present, Release, Wanted};
use crate::report::{Headline, Line, Progress, Report, State as Stands};
use crate::warning::Warning;
use crate::{backend, checks, config};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let key = config::license_key(context.options)?;
    let _lock = context.begin()?;
    let facts = Facts::gather(context, key, report)?;
    let prepared = Prepared::new(&facts)?;
    if context.options.dry_run {
        return prepared.show(report);
    }
    report.changed = Some(false);
    let folders = [&repo::FOLDERS[..], &[registration::FOLDER]].concat();
    let missing = context.root.missing(&folders)?;
    let outcome = prepared
        .ask(&folders)
        .and_then(|asked| asked.granted(report))
        .and_then(|granted| granted.apply(&missing, report))
        .map(|applied| applied.finish(report));
    if outcome.is_err() && !facts.standing.is_registered() {
        // Without a registration the folders that this run made are empty.
        let remove = missing.into_iter().rev().map(|path| Change::RemoveFolder { path });
        context.root.carry_out(&remove.collect::<Vec<_>>())?;
    }
    show_network(context, &facts.client, report);
    outcome
}

/// All that can be known, and can be wrong, before the backend is asked.
struct Facts<'a> {
    context: &'a Context<'a>,
    client: Client,
    key: LicenseKey,
    server: BaseUrl,
    standing: Standing,
    machine: Machine,
    os: Os,
    arch: String,
    label: Option<Label>,
}

/// The registration to ask for.
struct Prepared<'a> {
    facts: &'a Facts<'a>,
    gpg_key: Vec<u8>,
    journal: Journal<'a>,
    attempt: Attempt,
}

/// The backend was asked.
struct Asked<'a> {
    prepared: Prepared<'a>,
    answer: Call<Registration>,
    /// The registration that was held, if the backend says that it is another key's or another machine's.
    disputed: Option<RegistrationId>,
}

/// The machine has a seat.
struct Granted<'a> {
    prepared: Prepared<'a>,
    registration: Registration,
    disputed: Option<RegistrationId>,
}

/// The files are written.
struct Applied<'a> {
    facts: &'a Facts<'a>,
    journal: Journal<'a>,
    disputed: Option<RegistrationId>,
    state: State,
    plan: Plan,
}

impl<'a> Facts<'a> {
    fn gather(context: &'a Context<'a>, key: LicenseKey, report: &mut Report) -> Result<Self> {
        machine::require_package_manager(&context.root)?;
        let standing = context.standing(report)?;
        let machine = context.machine()?;
        let server = context.server_for_key(standing.state.as_ref())?;
        let label = config::label(context.options, &context.config, machine::host_name)?;
        let os = machine::operating_system(&context.root)?;
        let arch = machine::architecture()?;
        Ok(Facts { context, client: context.client()?, key, server, standing, machine, os, arch, label })
    }

    fn request(&self, attempt: &Attempt) -> RegisterRequest {
        RegisterRequest {
            key: self.key.expose().to_owned(),
            token_sha256: attempt.credential.token.hash(),
            machine: attempt.identity.machine,
            hardware: self.machine.hardware,
            moved: self.context.options.moved,
            os: self.os.clone(),
            arch: self.arch.clone(),
            label: self.label.clone(),
        }
    }

    /// Whether this machine was copied from a registered one, and is to be registered as a machine of its own.
    fn is_copy(&self) -> bool {
        self.standing.is_copy(&self.machine) && !self.context.options.moved
    }

    /// Whether this is a container of an image with a registration in it. The image's machine id is then the same in all its
    /// containers, so this one gets an id of its own.
    fn shares_image(&self) -> bool {
        let state = self.standing.state.as_ref().filter(|_| !self.context.options.moved);
        state.is_some_and(|state| state.identity.is_of_other_container(&self.machine))
    }

    /// Whether this machine itself held that registration: then it only has a new id.
    fn held(&self, id: &RegistrationId) -> bool {
        !self.is_copy() && self.standing.id().as_ref() == Some(id)
    }

    /// The state of the machine without what this run tries.
    fn standing_without_this(&self) -> Stands {
        if self.is_copy() {
            Stands::Copied
        } else if self.standing.is_registered() {
            Stands::Registered
        } else {
            Stands::NotRegistered
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(facts: &'a Facts<'a>) -> Result<Self> {
        let journal = Journal::new(facts);
        let attempt = journal.choose();
        Ok(Prepared { facts, gpg_key: facts.context.gpg_key()?, journal, attempt })
    }

    /// Asks for the registration, once more with a new id if the backend wants one. The journal is written before.
    fn ask(mut self, folders: &[&str]) -> Result<Asked<'a>> {
        let context = self.facts.context;
        // Whatever is in the way of the files shows here, before the backend is asked.
        Present::look(&context.root)?;
        context.root.require_writable(folders, &[&repo::STAGING[..], &[registration::FOLDER]].concat())?;
        self.journal.begin(&self.attempt)?;
        let mut answer = self.send();
        let mut disputed = None;
        let code = answer.as_ref().err().and_then(|error| error.failure.denial());
        if let Some(Code::RegistrationConflict | Code::RegistrationReleased) = code {
            context.progress(&Progress::NewId);
            // Released, or another key's or machine's. Which of the two is not known, so it is not released either, unless
            // this machine made it with another key: then it is replaced.
            self.journal.drop_making();
            let held = self.attempt.origin == Origin::Held && code == Some(Code::RegistrationConflict);
            disputed = (held && !self.journal.is_of_other_key()).then_some(self.attempt.credential.id);
            self.attempt = self.journal.fresh();
            self.journal.begin(&self.attempt)?;
            answer = self.send();
        }
        Ok(Asked { prepared: self, answer, disputed })
    }

    fn send(&self) -> Call<Registration> {
        let (facts, id) = (self.facts, &self.attempt.credential.id);
        facts.context.progress(&Progress::Asking { server: &facts.server, id });
        backend::register(&facts.client, &facts.server, id, &facts.request(&self.attempt))
    }
}

impl<'a> Asked<'a> {
    /// Goes on if the backend granted the registration; else the journal is brought in order.
    fn granted(self, report: &mut Report) -> Result<Granted<'a>> {
        let Asked { mut prepared, answer, disputed } = self;
        match answer {
            Ok(registration) => {
                report.seats = Some(registration.seats);
                checks::superseded(&registration, report);
                let from = registration.moved_from.filter(|from| !prepared.facts.held(from));
                if let Some(from) = from {
                    report.warn(Warning::SeatMovedHere { from });
                }
                Ok(Granted { prepared, registration, disputed })
            }
            Err(error) => {
                prepared.journal.after_refusal(&prepared.attempt, error.fate, report);
                let failure = Failure::from(error);
                report.seats = failure.seats();
                report.state = Some(prepared.facts.standing_without_this());
                Err(failure)
            }
        }
    }
}

impl<'a> Granted<'a> {
    /// Checks the answer, probes the repository, writes the files. If that fails, the registration is released.
    fn apply(self, missing: &[String], report: &mut Report) -> Result<Applied<'a>> {
        let Granted { mut prepared, registration, disputed } = self;
        match prepared.write(registration, missing, report) {
            Ok((state, plan, journal)) => Ok(Applied { facts: prepared.facts, journal, disputed, state, plan }),
            Err(failure) => {
                prepared.journal.give_up(&prepared.attempt, report);
                report.state = Some(prepared.facts.standing_without_this());
                Err(failure)
            }
        }
    }
}

impl<'a> Prepared<'a> {
    /// The state, the changes that were made, and the journal as it is after them.
    fn write(
        &self,
        mut registration: Registration,
        missing: &[String],
        report: &mut Report,
    ) -> Result<(State, Plan, Journal<'a>)> {
        let Prepared { facts, gpg_key, attempt, .. } = self;
        let Facts { context, client, server, standing, .. } = facts;
        let repo_file = repo_file(registration.repo.file.as_str())?;
        let repo_url = checked_url(&registration, server)?;
        let probe = repo::probe_url(repo_file, repo_url.as_str(), machine::base_architecture(&facts.arch));
        let probe = probe.and_then(|url| BaseUrl::parse(&url).ok());
        let probe =
            probe.ok_or_else(|| Failure::RepoFileUnusable { name: registration.repo.file.as_str().to_owned() })?;
        context.progress(&Progress::Probing { url: &probe });
        backend::probe(client, &probe, &attempt.credential)?;

        let present = Present::look(&context.root)?;
        let release = context.release(registration.repo.file.as_str());
        if let Release::Pinned(pin) = release {
            checks::pinned_release(&context.root, pin, report);
        }
        let credential = &attempt.credential;
        let wanted = Wanted { repo_url: repo_url.as_str(), credential, repo_file, gpg_key, release };
        let old = standing.state.as_ref();
        let plan = present.plan(&wanted, old.map(|state| &state.files));
        let check = facts.key.check_value(&attempt.credential.token);
        registration.repo.url = repo_url.as_str().to_owned();
        let (identity, now) = (attempt.identity, context.clock.now());
        let mut state = State::new(&registration, server, Some(check), identity, now, plan.hashes.clone());
        state.folders = old.map_or_else(|| missing.to_vec(), |old| old.folders.clone());

        let journal = self.journal.done(&state.registration);
        let mut changes = plan.first.clone();
        changes.push(state.write());
        changes.extend(plan.last.iter().cloned());
        if !standing.pending.is_empty() || attempt.origin != Origin::Held {
            changes.push(journal.pending.write());
        }
        context.root.apply(&changes)?;
        Ok((state, plan, journal))
    }
}

impl Applied<'_> {
    /// Reports, and releases the registrations that the new one replaces.
    fn finish(mut self, report: &mut Report) {
        let Applied { facts, state, plan, .. } = &self;
        let old = facts.standing.state.as_ref();
        let same = old.is_some_and(|old| old.says_the_same(state));
        let changed = plan.changes_files() || !same;
        report.changed = Some(changed);
        report.state = Some(Stands::Registered);
        report.registration = Some(state.view());
        show_plan(plan, report);
        report.file(registration::STATE.path, if same { FileState::Unchanged } else { FileState::Written });
        report.headline(match old {
            _ if !changed => Headline::AlreadyRegistered,
            Some(old) if old.registration != state.registration => Headline::RegisteredAnew,
            Some(old) if old.key_check.is_some() && old.key_check != state.key_check => Headline::KeyRotated,
            Some(_) => Headline::Repaired,
            None => Headline::Registered,
        });
        say_registration(state, report);
        if changed {
            report.say(Line::Next);
        }
        self.warn(report);
        self.journal.release_superseded(report);
    }

    fn warn(&self, report: &mut Report) {
        let Applied { facts, state, disputed, .. } = self;
        checks::third_party_repositories(&facts.context.root, report);
        if let Some(original) = facts.standing.id().filter(|_| facts.is_copy()) {
            report.warn(Warning::RegisteredCopy { original });
        }
        checks::expiry(state.expires, facts.context.clock.now(), true, report);
        if let Some(id) = *disputed {
            report.warn(Warning::OldSeatDisputed { id });
        }
        if let Some(old) = &facts.standing.state
            && old.key_id != state.key_id
            && facts.standing.credential.is_none()
        {
            report.warn(Warning::OldSeatWithoutToken { id: old.registration });
        }
    }
}

/// The repository's URL, if this machine may be sent there.
pub(super) fn checked_url(answer: &Registration, server: &BaseUrl) -> Result<BaseUrl> {
    BaseUrl::parse_repository(&answer.repo.url, server).map_err(|why| Failure::RepositoryUrl {
        server: server.to_string(),
        url: els_protocol::clean(&answer.repo.url, 200),
        why,
    })
}
