//! `--unregister`: releases the seat and removes everything that registering wrote.
//!
//! The journal is written first, then dnf loses sight of the repositories, then the backend is asked. Only a release that
//! certainly was not carried out is undone; while the outcome is unknown the repositories stay off, and the next run
//! finishes it.

use els_host::network::{Client, Credential, Fate};
use els_host::root::Change;
use els_protocol::BaseUrl;
use els_protocol::wire::registration_path;

use super::dry_run::{say_files, say_request};
use super::{Context, release_listed, show_network, show_plan};
use crate::failure::{Failure, Result, Seat};
use crate::file_state::FileState;
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{Plan, Present};
use crate::report::{DryRun, Headline, Line, Progress, Report, State as Stands};
use crate::warning::{NotReleased, Warning};
use crate::{backend, vendor};

pub(super) fn run(context: &Context<'_>, report: &mut Report) -> Result<()> {
    let _lock = context.begin()?;
    let standing = context.standing(report)?;
    report.changed = Some(false);
    report.registration = standing.state.as_ref().map(State::view);
    let machine = context.machine()?;
    let copy = standing.is_copy(&machine);
    let mut pending = standing.journal_of(&machine);
    if !standing.is_registered() && standing.pending.is_empty() {
        report.state = Some(Stands::NotRegistered);
        report.headline(Headline::NothingToUnregister);
        return Ok(());
    }
    if context.options.dry_run {
        return show(context, &standing, copy, report);
    }
    pending.abandon_making();
    let force = context.options.force;
    let client = match context.client() {
        // A copy whose journal is empty asks nobody.
        Err(failure) if !(force || copy && pending.is_empty()) => return Err(failure),
        client => client,
    };
    let prepared = Prepared { context, standing, pending, client };
    if copy { prepared.clear_copy(report) } else { prepared.release(report)?.clean(report) }
}

/// What is known before the backend is asked.
struct Prepared<'a> {
    context: &'a Context<'a>,
    standing: Standing,
    /// The journal as it will be.
    pending: Pending,
    /// `Err` only where the run goes on without it.
    client: Result<Client>,
}

/// What became of the machine's own registration.
enum Released {
    Done,
    /// Certainly not released.
    Refused(Failure),
    /// Released or not: no answer, or none that proves anything.
    Unknown(Failure),
}

/// The machine's own registration is released, or abandoned by `--force`.
struct Asked<'a> {
    prepared: Prepared<'a>,
    /// Why it was abandoned.
    abandoned: Option<Failure>,
}

impl<'a> Prepared<'a> {
    /// Releases the machine's own registration.
    fn release(mut self, report: &mut Report) -> Result<Asked<'a>> {
        let force = self.context.options.force;
        let Some(credential) = self.standing.credential.clone() else {
            if self.standing.state.is_none() {
                self.context.write(&self.pending)?;
                return Ok(Asked { prepared: self, abandoned: None });
            }
            if !force {
                report.state = Some(Stands::Damaged);
                return Err(Failure::NoTokenToRelease);
            }
            return Ok(Asked { prepared: self, abandoned: Some(Failure::NoTokenToRelease) });
        };
        let server = match self.context.server_of(self.standing.state.as_ref()) {
            Err(unknown) if force => return Ok(Asked { prepared: self, abandoned: Some(unknown) }),
            server => server?,
        };
        // In the journal already: an earlier run asked, and its answer was lost.
        let doubtful = self.pending.lists(&credential.id);
        self.pending.forget(&credential.id);
        self.pending.release(&credential, &server);
        self.context.write(&self.pending)?;
        let switched = Present::look(&self.context.root)?.switch_off();
        if let Some((off, _)) = &switched {
            self.context.root.apply(std::slice::from_ref(off))?;
        }
        let abandoned = match self.ask(&credential, &server, doubtful, report) {
            Released::Done => {
                self.pending.forget(&credential.id);
                None
            }
            Released::Refused(failure) => {
                self.pending.forget(&credential.id);
                if !force {
                    return Err(self.put_back(switched, failure, report));
                }
                Some(failure)
            }
            Released::Unknown(failure) if force => Some(failure),
            Released::Unknown(failure) => {
                report.state = Some(Stands::Registered);
                report.changed = Some(true);
                return Err(Failure::NotUnregistered { cause: Box::new(failure), seat: Seat::Unknown });
            }
        };
        Ok(Asked { prepared: self, abandoned })
    }

    fn ask(&self, credential: &Credential, server: &BaseUrl, doubtful: bool, report: &mut Report) -> Released {
        let client = match &self.client {
            Ok(client) => client,
            Err(failure) => return Released::Unknown(failure.clone()),
        };
        self.context.progress(&Progress::Releasing { server, id: &credential.id });
        let released = backend::release(client, server, credential);
        show_network(self.context, client, report);
        match released {
            Ok(()) => Released::Done,
            Err(error) if error.fate == Fate::Unknown || doubtful => Released::Unknown(error.failure.into()),
            Err(error) => Released::Refused(error.failure.into()),
        }
    }

    /// Certainly not released: everything is again as it was.
    fn put_back(self, switched: Option<(Change, Change)>, failure: Failure, report: &mut Report) -> Failure {
        report.state = Some(Stands::Registered);
        let mut changes: Vec<Change> = switched.into_iter().map(|(_, back)| back).collect();
        changes.push(self.pending.write());
        match self.context.root.carry_out(&changes) {
            Ok(()) => Failure::NotUnregistered { cause: Box::new(failure), seat: Seat::Held },
            Err(error) => error.into(),
        }
    }

    /// What the copy itself began to register is released; the original keeps its registration.
    fn clear_copy(self, report: &mut Report) -> Result<()> {
        let original = self.standing.id();
        Asked { prepared: self, abandoned: None }.clear(report)?;
        report.headline(Headline::CopyCleaned { original });
        report.warn(Warning::UnregisteredCopy);
        Ok(())
    }
}

impl Asked<'_> {
    fn clean(self, report: &mut Report) -> Result<()> {
        let abandoned = self.abandoned.is_some();
        let resumed = !self.prepared.pending.is_empty();
        let registered = self.prepared.standing.id().is_some();
        self.clear(report)?;
        report.headline(match (abandoned, registered) {
            (true, _) => Headline::CleanedUp,
            (false, true) => Headline::Unregistered,
            (false, false) if resumed => Headline::Resumed,
            (false, false) => Headline::ForeignJournal,
        });
        report.say(Line::LeftOnMachine);
        Ok(())
    }

    /// Releases what the journal lists, and removes the files; with `--force` also when that fails.
    fn clear(self, report: &mut Report) -> Result<()> {
        let Asked { prepared: Prepared { context, standing, mut pending, client }, abandoned } = self;
        let mut left = match &client {
            Ok(client) if abandoned.is_none() => release_listed(client, &mut pending),
            _ => Vec::new(),
        };
        if context.options.force {
            left.clear();
            let held = abandoned.as_ref().and(standing.id());
            let listed = pending.releasing.iter().map(|known| known.id).filter(|id| Some(*id) != held);
            for id in held.into_iter().chain(listed) {
                report.warn(Warning::NotReleased { id, what: NotReleased::Abandoned });
            }
            if let Some(failure) = abandoned {
                report.warn(Warning::Forced(failure));
            }
            pending = Pending::default();
        }
        remove_files(context, &standing, &pending, report)?;
        match left.into_iter().next() {
            Some((id, failure)) => {
                report.warn(Warning::NotReleased { id, what: NotReleased::Journaled });
                Err(failure)
            }
            None => Ok(()),
        }
    }
}

/// Removes what registering wrote, then the state, the journal last: what fails in between is finished by the next run.
fn remove_files(context: &Context<'_>, standing: &Standing, pending: &Pending, report: &mut Report) -> Result<()> {
    let plan = removal(context, standing)?;
    let mut changes = plan.last.clone();
    changes.push(registration::STATE.remove());
    changes.push(pending.write());
    let folders = standing.state.as_ref().map(|state| state.folders.clone()).unwrap_or_default();
    for path in folders.into_iter().rev().chain([registration::FOLDER.to_owned()]) {
        changes.push(Change::RemoveFolder { path });
    }
    report.changed = Some(true);
    report.state = Some(Stands::NotRegistered);
    show_removal(&plan, standing, report);
    context.root.carry_out(&changes)?;
    Ok(())
}

fn removal(context: &Context<'_>, standing: &Standing) -> Result<Plan> {
    let state = standing.state.as_ref();
    // A configured key that is gone must not keep the machine registered: without it, an installed key is only kept.
    let key = context.gpg_key().unwrap_or_else(|_| vendor::GPG_KEY.into());
    let shipped = vendor::repo_files();
    Ok(Present::look(&context.root)?.plan_removal(state.map(|state| &state.files), &shipped, &key))
}

fn show_removal(plan: &Plan, standing: &Standing, report: &mut Report) {
    show_plan(plan, report);
    if standing.state.is_some() {
        report.file(registration::STATE.path, FileState::Removed);
    }
}

fn show(context: &Context<'_>, standing: &Standing, copy: bool, report: &mut Report) -> Result<()> {
    report.state = Some(if copy { Stands::Copied } else { Stands::Registered });
    if let Some(credential) = standing.credential.as_ref().filter(|_| !copy) {
        let server = context.server_of(standing.state.as_ref())?;
        say_request("DELETE", &server, &registration_path(&credential.id), Some("Basic <redacted>"), None, report);
    }
    show_removal(&removal(context, standing)?, standing, report);
    if copy {
        report.warn(Warning::IsCopy);
    }
    report.changed = Some(true);
    say_files(report);
    report.dry_run(DryRun::End);
    Ok(())
}
