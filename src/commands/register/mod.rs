//! `--register`: a seat for this machine, and the files that make `dnf update` work.
//!
//! The order is what makes it safe to be killed at any instant. The id and the token are made here and saved before the
//! first byte is sent; the backend is asked; the repository is probed; only then are files changed, the state and the
//! journal with them. A failure in between gives back what this run took.

mod attempt;
mod dry_run;

use els_protocol::wire::{RegisterRequest, Registration};
use els_protocol::{BaseUrl, Code, LicenseKey, MachineId, RegistrationId, Sha256Hex};

use self::attempt::{Attempt, Origin, wants_a_fresh_id};
use super::{Context, release_command, say_registration, show_network, show_plan};
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{self, Present, Wanted};
use crate::report::{FileState, Report, State as Stands};
use crate::{backend, checks, config};
use els_host::failure::{Failure, Kind, Result};
use els_host::machine;
use els_host::machine::Machine;
use els_host::network::{CallError, Client, Credential};
use els_host::root::Change;

/// One run of the action.
struct Run<'a> {
    context: &'a Context<'a>,
    client: Client,
    key: LicenseKey,
    server: BaseUrl,
    standing: Standing,
    machine: Machine,
    /// The journal as it is to be.
    pending: Pending,
    /// The registration that was held, where the backend says that it is another key's or another machine's.
    disputed: Option<RegistrationId>,
    request: RegisterRequest,
}

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let key = config::license_key(context.options)?;
    let _lock = if context.options.dry_run { None } else { Some(context.lock()?) };
    if !context.options.dry_run {
        context.sweep()?;
    }
    let mut run = Run::prepare(context, key, report)?;
    if context.options.dry_run {
        return run.show(report);
    }
    report.changed = Some(false);
    let mut made_folders = Vec::new();
    let outcome = run.register(&mut made_folders, report);
    if outcome.is_err() && !run.standing.is_registered() {
        // Nothing was had: empty folders would be all that is left of the run.
        let remove = made_folders.into_iter().rev().map(|path| Change::RemoveFolder { path });
        context.root.carry_out(&remove.collect::<Vec<_>>())?;
    }
    show_network(context, &run.client, report);
    outcome
}

impl<'a> Run<'a> {
    /// All that can be known, and can be wrong, before anybody is asked.
    fn prepare(context: &'a Context<'a>, key: LicenseKey, report: &mut Report) -> Result<Self> {
        machine::require_package_manager(&context.root)?;
        let standing = context.standing(report)?;
        let machine = context.machine()?;
        let server = context.server_for_registering(standing.state.as_ref())?;
        let label = config::label(context.options, &context.config, machine::host_name)?;
        let moved = context.options.moved;
        let pending = if moved { standing.pending.clone() } else { standing.journal_of(&machine) };
        let request = RegisterRequest {
            key: key.expose().to_owned(),
            token_sha256: Sha256Hex([0; 32]),
            machine: MachineId::from_random([0; 16]),
            hardware: machine.hardware,
            moved,
            os: machine::operating_system(&context.root)?,
            arch: machine::architecture()?,
            label,
        };
        Ok(Run { context, client: context.client()?, key, server, standing, machine, pending, disputed: None, request })
    }

    fn register(&mut self, made_folders: &mut Vec<String>, report: &mut Report) -> Result<()> {
        let context = self.context;
        let gpg_key = context.gpg_key()?;
        let mut folders = repo::FOLDERS.to_vec();
        folders.push(registration::FOLDER);
        // What stands in the way shows here, before anything is asked of the backend.
        Present::look(&context.root)?;
        let staging = [&repo::STAGING[..], &[registration::FOLDER]].concat();
        context.root.require_writable(&folders, &staging, made_folders)?;

        let mut attempt = self.choose();
        self.journal(&attempt)?;
        let mut answer = self.ask(&attempt);
        if answer.as_ref().is_err_and(wants_a_fresh_id) {
            context.printer.progress("the backend wants a new registration id; asking once more");
            // Released, or another key's or machine's. Which of the two is not known, so it is not given back either.
            self.pending.making = None;
            let conflict = answer.is_err_and(|error| error.failure.kind == Kind::Wire(Code::RegistrationConflict));
            self.disputed = Some(attempt.credential.id).filter(|_| conflict && attempt.origin == Origin::Held);
            attempt = self.fresh();
            self.journal(&attempt)?;
            answer = self.ask(&attempt);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.after_refusal(&attempt, error.fate, report);
                report.seats = error.seats;
                report.state = self.standing_without_this();
                return Err(error.failure);
            }
        };
        report.seats = Some(answer.seats);
        let written = self.write(&attempt, &answer, &gpg_key, made_folders, report);
        if written.is_err() {
            self.give_up(&attempt, report);
            report.state = self.standing_without_this();
        }
        written
    }

    fn ask(&mut self, attempt: &Attempt) -> std::result::Result<Registration, CallError> {
        let Credential { id, token } = &attempt.credential;
        self.request.token_sha256 = token.hash();
        self.request.machine = attempt.identity.machine;
        self.context.printer.progress(&format!("asking {} for registration {id}", self.server));
        backend::register(&self.client, &self.server, id, &self.request)
    }

    /// Checks the answer, probes the repository, writes the files.
    fn write(
        &mut self,
        attempt: &Attempt,
        answer: &Registration,
        gpg_key: &[u8],
        made_folders: &[String],
        report: &mut Report,
    ) -> Result<()> {
        let context = self.context;
        let repo_file = context.repo_file(answer.repo.file.as_str())?;
        let repo_url = checked_url(answer, &self.server)?;
        let probe = repo::probe_url(repo_file, repo_url.as_str(), machine::base_architecture(&self.request.arch));
        let probe = probe.and_then(|url| BaseUrl::parse(&url).ok()).ok_or_else(|| {
            Failure::new(
                Kind::UnsupportedSystem,
                format!("the shipped {}.repo has no usable [els-updates]", answer.repo.file),
            )
        })?;
        context.printer.progress(&format!("probing {probe}"));
        backend::probe(&self.client, &probe, &attempt.credential)?;

        let present = Present::look(&context.root)?;
        let wanted = Wanted { repo_url: repo_url.as_str(), credential: &attempt.credential, repo_file, gpg_key };
        let old = self.standing.state.clone();
        let plan = present.plan(&wanted, old.as_ref().map(|state| &state.files));
        let check = self.key.check_value(&attempt.credential.token);
        let mut answer = answer.clone();
        answer.repo.url = repo_url.as_str().to_owned();
        let mut state =
            State::new(&answer, &self.server, Some(check), attempt.identity, context.clock.now(), plan.hashes.clone());
        state.folders = old.as_ref().map_or_else(|| made_folders.to_vec(), |old| old.folders.clone());

        self.pending.making = None;
        self.pending.forget(&state.registration);
        let had_pending = !self.standing.pending.is_empty() || attempt.origin != Origin::Held;
        let mut changes = plan.first.clone();
        changes.push(state.write());
        changes.extend(plan.last.iter().cloned());
        if had_pending {
            changes.push(self.pending.write());
        }
        let before = self.pending.clone();
        context
            .root
            .apply(&changes)
            .map_err(|error| {
                self.pending = before;
                Failure::from(error)
            })?
            .keep();

        let same = old.as_ref().is_some_and(|old| old.says_the_same(&state));
        let changed = plan.changes_files() || !same;
        report.changed = Some(changed);
        report.state = Some(Stands::Registered);
        report.registration = Some(state.view());
        show_plan(&plan, report);
        report.file(registration::STATE.path, if same { FileState::Unchanged } else { FileState::Written });
        let headline = match &old {
            _ if !changed => "Already registered: all is in order, nothing was changed.".to_owned(),
            Some(old) if old.registration == state.registration => {
                "Registered already; what was missing or altered has been repaired.".to_owned()
            }
            Some(_) => "Registered anew.".to_owned(),
            None => "Registered.".to_owned(),
        };
        report.say(headline);
        say_registration(&state, report);
        if changed {
            report.say("Next: dnf update");
        }
        self.warn_of(old.as_ref(), &state, report);
        self.give_back_others(report);
        Ok(())
    }

    fn warn_of(&self, old: Option<&State>, state: &State, report: &mut Report) {
        checks::third_party_repositories(&self.context.root, report);
        if let Some(original) =
            self.standing.id().filter(|_| self.standing.is_copy(&self.machine) && !self.context.options.moved)
        {
            report.warn(
                "copied",
                format!(
                    "this machine is not the one that registration {original} was made on, so it was registered as one of its \
                     own; if it is the same on new hardware, use --moved, and free the old seat with: {}",
                    release_command(&original)
                ),
            );
        }
        checks::expiry(state.expires, self.context.clock.now(), true, report);
        if let Some(disputed) = self.disputed {
            report.warn(
                "old-seat-kept",
                format!(
                    "the earlier registration {disputed} is of another key or another machine and was left as it is; if it was \
                     this machine's, free its seat with: {}",
                    release_command(&disputed)
                ),
            );
        }
        if let Some(old) = old.filter(|old| old.key_id != state.key_id && self.standing.credential.is_none()) {
            report.warn(
                "old-seat-kept",
                format!(
                    "the token of the earlier registration {} was lost, so its seat could not be given back; free it with: {}",
                    old.registration,
                    release_command(&old.registration)
                ),
            );
        }
    }

    /// Where the machine stands when this run brought nothing.
    fn standing_without_this(&self) -> Option<Stands> {
        if self.standing.is_copy(&self.machine) && !self.context.options.moved {
            Some(Stands::Copied)
        } else if self.standing.is_registered() {
            Some(Stands::Registered)
        } else {
            Some(Stands::NotRegistered)
        }
    }
}

/// The repository's URL, if it is one that this machine may be sent to.
pub(super) fn checked_url(answer: &Registration, server: &BaseUrl) -> Result<BaseUrl> {
    BaseUrl::parse_repository(&answer.repo.url, server).map_err(|why| {
        let url = els_protocol::clean(&answer.repo.url, 200);
        Failure::new(Kind::BadAnswer, format!("{server} names a repository URL that is not accepted ({url}): {why}"))
            .hint("this is for the vendor to mend (--repo-url of the backend)")
    })
}
