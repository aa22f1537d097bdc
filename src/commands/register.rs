//! `--register`: a seat for this machine, and the files that make `dnf update` work.
//!
//! The order is what makes it safe to be killed at any instant. The id and the token are made here and saved before the
//! first byte is sent; the backend is asked; the repository is probed; only then are files changed, the state and the
//! journal with them. A failure in between gives back what this run took.

use els_protocol::wire::{RegisterRequest, Registration, registration_path};
use els_protocol::{Code, LicenseKey, MachineId, RegistrationId, Sha256Hex, Token};
use serde_json::{Value, json};

use super::{
    Context, give_back_all, release_command, request_view, say_files, say_registration, say_request, show_network,
    show_plan,
};
use crate::backend::{BaseUrl, CallError, Client, Credential, Fate};
use crate::error::{Failure, Kind, Result};
use crate::machine::Machine;
use crate::output::{FileState, Report, State as Stands};
use crate::registration::{self, Identity, Making, Pending, Standing, State};
use crate::repo::{self, Present, Wanted};
use crate::root::Change;
use crate::{checks, config, machine};

const FROM_BACKEND: &str = "<from the backend>";

/// The registration that is asked for: whose id it is decides what may be given back.
struct Attempt {
    credential: Credential,
    identity: Identity,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The machine holds it already. Never given back.
    Held,
    /// An earlier run asked for it and did not end.
    Resumed,
    /// Made by this run.
    Fresh,
}

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
        let mut pending = standing.pending.clone();
        let elsewhere = |making: &Making| making.identity.differs_from(&machine);
        if !context.options.moved && (standing.is_copy(&machine) || pending.making.as_ref().is_some_and(elsewhere)) {
            // The journal of an image: what it lists belongs to the machine that the image was taken from.
            pending = Pending::default();
        }
        let request = RegisterRequest {
            key: key.expose().to_owned(),
            token_sha256: Sha256Hex([0; 32]),
            machine: MachineId::from_random([0; 16]),
            hardware: machine.hardware,
            moved: context.options.moved,
            os: machine::operating_system(&context.root)?,
            arch: machine::architecture()?,
            label,
        };
        Ok(Run { context, client: context.client()?, key, server, standing, machine, pending, request })
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
            // Released, or another machine's: there is nothing of ours to give back.
            self.pending.making = None;
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

    /// Which registration to ask for: the one that an earlier run was making for the same key, server and machine; the one
    /// that is held; a new one.
    fn choose(&self) -> Attempt {
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

    fn fresh(&self) -> Attempt {
        let copy = self.standing.is_copy(&self.machine) && !self.context.options.moved;
        let kept = self.standing.state.as_ref().map(|state| &state.identity).filter(|_| !copy);
        let kept = kept.or(self.pending.making.as_ref().map(|making| &making.identity));
        let credential = Credential { id: RegistrationId::from_random(random()), token: Token::from_random(random()) };
        Attempt { credential, identity: self.identity(kept), origin: Origin::Fresh }
    }

    fn identity(&self, kept: Option<&Identity>) -> Identity {
        Identity::of(&self.machine, kept, || MachineId::from_random(random()))
    }

    /// Writes down what is about to be asked for, and what will have to be given back once it is had: what the journal was
    /// making for another key or server, and the registration whose place the new one takes.
    fn journal(&mut self, attempt: &Attempt) -> Result<()> {
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
    fn replaced(&self) -> Option<(State, Credential)> {
        if self.standing.is_copy(&self.machine) && !self.context.options.moved {
            return None;
        }
        let state = self.standing.state.clone()?;
        let credential = self.standing.credential.clone()?;
        let other = state.server != self.server || state.is_of_key(&self.key, &credential.token) == Some(false);
        other.then_some((state, credential))
    }

    fn ask(&mut self, attempt: &Attempt) -> std::result::Result<Registration, CallError> {
        let Credential { id, token } = &attempt.credential;
        self.request.token_sha256 = token.hash();
        self.request.machine = attempt.identity.machine;
        self.context.printer.progress(&format!("asking {} for registration {id}", self.server));
        self.client.register(&self.server, id, &self.request)
    }

    /// Nothing was had. What certainly holds no seat is forgotten; what an earlier run may have taken is given back; what
    /// is not known stays in the journal, to be sent again as it was.
    fn after_refusal(&mut self, attempt: &Attempt, fate: Fate, report: &mut Report) {
        match (attempt.origin, fate) {
            (Origin::Held, _) | (_, Fate::Unknown) | (Origin::Resumed, Fate::NotSent) => {}
            (Origin::Fresh, Fate::NotSent | Fate::Refused) => self.drop_attempt(report),
            (Origin::Resumed, Fate::Refused) => self.give_up(attempt, report),
        }
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
        self.client.probe(&probe, &attempt.credential)?;

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

    /// The new registration stands: those whose place it took are given back. What fails is tried again by the next run.
    fn give_back_others(&mut self, report: &mut Report) {
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
    fn give_up(&mut self, attempt: &Attempt, report: &mut Report) {
        if attempt.origin == Origin::Held {
            return;
        }
        match self.client.give_back(&self.server, &attempt.credential) {
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
    fn drop_attempt(&mut self, report: &mut Report) {
        let id = self.pending.making.as_ref().map(|making| making.id);
        self.keep_replaced(&id.unwrap_or(RegistrationId::from_random([0; 16])));
        self.save(report);
    }

    fn keep_replaced(&mut self, attempted: &RegistrationId) {
        self.pending.making = None;
        self.pending.forget(attempted);
        // A journal entry from an earlier run may be the only place where the held registration's token still stands.
        let listed = |id: &RegistrationId| self.standing.pending.giving_back.iter().any(|known| known.id == *id);
        if let Some(held) = self.standing.state.as_ref().map(|state| state.registration).filter(|id| !listed(id)) {
            self.pending.forget(&held);
        }
    }

    fn save(&self, report: &mut Report) {
        if let Err(failure) = self.context.write(&self.pending) {
            report.warn("journal", failure.message);
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

    /// `--dry-run`: the request, and the files that would change.
    fn show(&mut self, report: &mut Report) -> Result<()> {
        let gpg_key = self.context.gpg_key()?;
        let attempt = self.choose();
        let fresh = attempt.origin == Origin::Fresh;
        let marked = |text: String| if fresh { format!("<example: {text}>") } else { text };
        let id = marked(attempt.credential.id.to_string());
        self.request.machine = attempt.identity.machine;
        self.request.token_sha256 = attempt.credential.token.hash();
        let mut body = serde_json::to_value(&self.request).expect("a request is a JSON document");
        body["key"] = "<redacted>".into();
        body["token_sha256"] = marked(attempt.credential.token.hash().to_string()).into();
        let path = registration_path(&attempt.credential.id).replace(&attempt.credential.id.to_string(), &id);
        let request = request_view("PUT", &self.server, &path, None, Some(body));
        say_request(request, report);

        let present = Present::look(&self.context.root)?;
        let state = self.standing.state.as_ref().filter(|_| !fresh);
        match state {
            Some(state) => {
                let repo_file = self.context.repo_file(state.repo_file.as_str())?;
                let wanted =
                    Wanted { repo_url: &state.repo_url, credential: &attempt.credential, repo_file, gpg_key: &gpg_key };
                let plan = present.plan(&wanted, Some(&state.files));
                show_plan(&plan, report);
                report.changed = Some(plan.changes_files());
                report.registration = Some(state.view());
            }
            None => {
                for file in [repo::REPO, repo::URL, repo::ID, repo::TOKEN, repo::KEY, registration::STATE] {
                    report.file(file.path, FileState::Written);
                }
                report.changed = Some(true);
                let values: Value = json!({
                    repo::REPO.path: FROM_BACKEND,
                    repo::URL.path: FROM_BACKEND,
                    repo::ID.path: id,
                    repo::TOKEN.path: "<example: made by the run>",
                });
                if let Some(request) = &mut report.request {
                    request["files"] = values;
                }
            }
        }
        report.state = self.standing_without_this();
        say_files(report);
        if fresh {
            report.say(format!("the repo file's name, {} and the expiry are {FROM_BACKEND}", repo::URL.path));
        }
        report.say("(dry run: nothing was sent, nothing was written)");
        Ok(())
    }
}

/// Whether the backend's answer means that this id cannot be had, but another one may.
fn wants_a_fresh_id(error: &CallError) -> bool {
    [Kind::Wire(Code::RegistrationConflict), Kind::Wire(Code::RegistrationReleased)].contains(&error.failure.kind)
}

/// The repository's URL, if it is one that this machine may be sent to.
pub(super) fn checked_url(answer: &Registration, server: &BaseUrl) -> Result<BaseUrl> {
    BaseUrl::parse_repository(&answer.repo.url, server).map_err(|why| {
        let url = els_protocol::clean(&answer.repo.url, 200);
        Failure::new(Kind::BadAnswer, format!("{server} names a repository URL that is not accepted ({url}): {why}"))
            .hint("this is for the vendor to mend (--repo-url of the backend)")
    })
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}
