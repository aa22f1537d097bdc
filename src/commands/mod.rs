//! The commands, one module each, and what they share: the settings, the machine, the connection to the backend.

mod dry_run;
mod refresh;
mod register;
mod release;
mod report;
mod seats;
mod status;
mod unregister;

use std::path::Path;

use els_host::clock::Clock;
use els_host::confine;
use els_host::dnf_conf::{self, DnfConf};
use els_host::failure::{DnfConfFault, Failure as Host, SettingFault};
use els_host::machine::{self, Machine};
use els_host::network::{Authorities, Client, Environment, Route};
use els_host::output::Printer;
use els_host::root::{Lock, Root};
use els_protocol::{BaseUrl, RegistrationId};

use crate::cli::{Action, Options};
use crate::config::Config;
use crate::failure::{Failure, GpgKeyFault, Result};
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{Files, Plan, Present, Release};
use crate::report::{Line, Progress, Report, State as Stands};
use crate::warning::Warning;
use crate::{backend, checks, messages, vendor};

/// What every command is given.
struct Context<'a> {
    action: Action,
    options: &'a Options,
    config: Config,
    root: Root,
    dnf: els_host::failure::Result<DnfConf>,
    /// Where repo file and variables can be: as dnf.conf and the state have it.
    known: Vec<Files>,
    clock: Clock,
    printer: Printer,
}

/// Runs an action. The report is complete also when the run failed: it says what was found and done until then.
pub(crate) fn run(action: Action, options: &Options, printer: Printer) -> (Report, Option<Failure>) {
    let mut report = Report::default();
    let outcome = execute(action, options, printer, &mut report);
    (report, outcome.err())
}

fn execute(action: Action, options: &Options, printer: Printer, report: &mut Report) -> Result<()> {
    if action == Action::Eula {
        *report = Report::text(vendor::eula(printer.language).trim_end().to_owned());
        return Ok(());
    }
    if action.needs_root() && !is_root() {
        return Err(Failure::NotRoot { action });
    }
    let path = Path::new(options.root.as_deref().unwrap_or("/"));
    let root = Root::open(path).map_err(|error| Host::setting("--root", SettingFault::Path(error)))?;
    let config = match Config::load(options, &root, action.is_always_possible()) {
        // Support wants to know what is wrong with the settings.
        Err(problem) if action == Action::Report => Config::without(problem, options),
        config => config?,
    };
    for problem in &config.problems {
        report.warn(Warning::SettingIgnored(problem.clone()));
    }
    report.support = config.support.clone();
    let clock = Clock::start(config.timeout);
    let dnf = DnfConf::read(&root);
    if let Err(failure) = &dnf
        && action.is_always_possible()
    {
        report.warn(Warning::SettingIgnored(failure.clone().into()));
    }
    let known: Vec<Files> = match action.needs_root() {
        true => {
            let seen = folders_of(&root, &dnf).unwrap_or_else(|_| Files::usual(&root));
            [seen].into_iter().chain(registration::recorded_files(&root)).collect()
        }
        false => Vec::new(),
    };
    let mut folders: Vec<&str> = known.iter().flat_map(Files::folders).collect();
    if action.needs_root() && !options.dry_run {
        folders.extend([registration::FOLDER, "/run"]);
    } else {
        folders.clear();
    }
    let landlock = confine::give_up(path, &folders);
    let context = Context { action, options, config, root, dnf, known, clock, printer };
    context.progress(&Progress::Confined(landlock));
    let result = match action {
        Action::Register => register::run(&context, report),
        Action::Refresh => refresh::run(&context, report),
        Action::Unregister => unregister::run(&context, report),
        Action::Status => status::run(&context, report),
        Action::Seats => seats::run(&context, report),
        Action::Release => release::run(&context, report),
        Action::Report => report::run(&context, report),
        Action::Eula => Ok(()),
    };
    // The process ends now, and with it the open folders: closing each would be a system call.
    std::mem::forget(context.root);
    result
}

impl Context<'_> {
    fn progress(&self, progress: &Progress<'_>) {
        self.printer.progress(&messages::progress(self.printer.language, progress));
    }

    /// The connection to backends and repositories, as options, configuration, environment and dnf.conf define it. Where the
    /// action must always be possible, a setting that cannot be used is only a warning.
    fn client(&self, report: &mut Report) -> Result<Client> {
        let mut unusable = |failure: Host| match self.action.is_always_possible() {
            true => {
                report.warn(Warning::SettingIgnored(failure.into()));
                Ok(())
            }
            false => Err(failure),
        };
        let mut variable = |name: &'static str| match std::env::var_os(name).map(std::ffi::OsString::into_string) {
            Some(Err(_)) => unusable(Host::setting(name, SettingFault::NotUtf8)).map(|()| None),
            value => Ok(value.and_then(std::result::Result::ok)),
        };
        let no_proxy = variable("no_proxy")?;
        let environment = Environment {
            https_proxy: variable("https_proxy")?,
            https_proxy_upper: variable("HTTPS_PROXY")?,
            all_proxy: variable("all_proxy")?,
            no_proxy: if no_proxy.is_some() { no_proxy } else { variable("NO_PROXY")? },
        };
        let config = &self.config;
        let of_config = config.proxy.as_deref().map(|proxy| (config.path.as_str(), proxy));
        let dnf_conf = || self.dnf.as_ref().map_err(Clone::clone).and_then(DnfConf::proxy);
        let route = match Route::choose(config.proxy_flag.as_deref(), of_config, &environment, dnf_conf) {
            // A mistake that was typed with this command is always an error.
            Err(failure) if config.proxy_flag.is_none() => {
                unusable(failure)?;
                Route::default()
            }
            route => route?,
        };
        let extra = match &config.extra_certificates {
            None => Authorities::default(),
            Some(file) => match Authorities::read(&file.content) {
                Ok(authorities) => authorities,
                Err(fault) => {
                    let name = format!("{}: {}", file.setting, file.path);
                    let failure = Host::setting(name, SettingFault::Certificates(fault));
                    if self.options.ca_file.is_some() {
                        return Err(failure.into());
                    }
                    unusable(failure)?;
                    Authorities::default()
                }
            },
        };
        let of_dnf = match self.dnf.as_ref().ok().and_then(DnfConf::ca_file).map(|path| self.authorities_of_dnf(path)) {
            None => None,
            Some(Ok(authorities)) => Some(authorities),
            Some(Err(failure)) => {
                unusable(failure)?;
                None
            }
        };
        Ok(Client::new(USER_AGENT, route, extra, of_dnf, self.clock))
    }

    /// The certificates that dnf trusts in place of the system's (`sslcacert`).
    fn authorities_of_dnf(&self, path: &str) -> els_host::failure::Result<Authorities> {
        let setting = format!("{}: sslcacert", dnf_conf::PATH);
        let wrong = |fault| Host::setting(setting.clone(), fault);
        let content = self.root.read(path).map_err(|error| wrong(SettingFault::Path(error)))?;
        let missing = SettingFault::MissingFile { path: els_protocol::clean(path, 200) };
        let content = content.ok_or_else(|| wrong(missing))?;
        Authorities::read(&content).map_err(|fault| wrong(SettingFault::Certificates(fault)))
    }

    /// Where repo file and variables are to be written, so that dnf finds them. `standing`: where they are now.
    fn target(&self, standing: &Standing) -> Result<Files> {
        let files = folders_of(&self.root, &self.dnf)?;
        let (folder, names) = files.variables();
        let (before, _) = standing.files.variables();
        for other in self.dnf.as_ref().map(DnfConf::variable_folders).unwrap_or_default() {
            let (other, ours) = (other.trim_end_matches('/'), [folder, before]);
            if ours.contains(&other) || ours.iter().any(|ours| self.root.is_same_folder(ours, other)) {
                continue;
            }
            for path in names.map(|name| format!("{other}/{name}")) {
                if self.root.exists(&path)? {
                    return Err(Host::DnfConf(DnfConfFault::SetElsewhere { path }).into());
                }
            }
        }
        Ok(files)
    }

    /// Adds to a plan what removes the files where dnf no longer looks.
    fn with_move(&self, plan: Plan, standing: &Standing) -> Result<Plan> {
        match &standing.state {
            Some(state) if self.target(standing)? != standing.files => {
                let before = Present::look(&self.root, standing.files)?;
                Ok(before.plan_move(&state.files, &vendor::repo_files(), plan))
            }
            _ => Ok(plan),
        }
    }

    /// Where dnf looks; if dnf.conf cannot be read, where the files are.
    fn seen_by_dnf(&self, standing: &Standing) -> Files {
        folders_of(&self.root, &self.dnf).unwrap_or(standing.files)
    }

    /// Where dnf looks, also if dnf.conf cannot be read.
    fn usual_files(&self) -> Files {
        folders_of(&self.root, &self.dnf).unwrap_or_else(|_| Files::usual(&self.root))
    }

    /// The backend for what is done with a key: the option, the configuration, else the state.
    fn server_for_key(&self, state: Option<&State>) -> Result<BaseUrl> {
        let config = &self.config;
        let server = config.server_flag.as_ref().or(config.server.as_ref()).or(state.map(|state| &state.server));
        server.cloned().ok_or_else(|| self.no_server())
    }

    /// The backend of the registration that the machine holds: the option, else the state, else the configuration.
    fn server_of(&self, state: Option<&State>) -> Result<BaseUrl> {
        let config = &self.config;
        let server = config.server_flag.as_ref().or(state.map(|state| &state.server)).or(config.server.as_ref());
        server.cloned().ok_or_else(|| self.no_server())
    }

    fn no_server(&self) -> Failure {
        Failure::NoServer { config: self.config.path.clone() }
    }

    /// Before a run that writes: no other is running, and the temporary files of a run that was killed are removed. With
    /// `--dry-run` nothing is done.
    fn begin(&self) -> Result<Option<Lock>> {
        if self.options.dry_run {
            return Ok(None);
        }
        let lock = self.root.lock(LOCK, || self.clock.remaining())?.ok_or(Failure::Locked { path: LOCK })?;
        for files in &self.known {
            self.root.sweep(&files.staging())?;
        }
        self.root.sweep(&[registration::FOLDER])?;
        Ok(Some(lock))
    }

    /// What this machine knows of its registration; what is lost is a warning.
    fn standing(&self, report: &mut Report) -> Result<Standing> {
        let standing = Standing::read(&self.root, self.usual_files())?;
        for lost in &standing.lost {
            report.warn(Warning::Lost(lost.clone()));
        }
        Ok(standing)
    }

    /// What this machine knows, and the backend, for an action with a key that is not about this machine. A file here that
    /// cannot be read matters only where it alone could name the backend.
    fn standing_and_server(&self) -> Result<(Option<Standing>, BaseUrl)> {
        match Standing::read(&self.root, self.usual_files()) {
            Ok(standing) => {
                let server = self.server_for_key(standing.state.as_ref())?;
                Ok((Some(standing), server))
            }
            Err(unreadable) => Ok((None, self.server_for_key(None).map_err(|_| unreadable)?)),
        }
    }

    /// What the product of a repo file does with `$releasever` on this machine. An os-release that cannot be read is not a sign of
    /// another release.
    fn release(&self, repo_file: &str) -> Release {
        let Some(pin) = vendor::releasever(repo_file) else { return Release::Free };
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        match machine::operating_system(&self.root) {
            Ok(system) if major(&system.version) != major(pin) => Release::Left,
            _ => Release::Pinned(pin),
        }
    }

    fn machine(&self) -> Result<Machine> {
        Ok(machine::identify(&self.root, registration::FOLDER)?)
    }

    /// The same for what must always be possible: an id that cannot be read counts as absent.
    fn machine_as_far_as_possible(&self, report: &mut Report) -> Machine {
        let (machine, unreadable) = machine::identify_as_far_as_possible(&self.root, registration::FOLDER);
        for failure in unreadable {
            report.warn(Warning::IdUnreadable(failure.into()));
        }
        machine
    }

    /// The GPG key to install: the one that the configuration names, else the shipped one.
    fn gpg_key(&self) -> Result<Vec<u8>> {
        let Some(path) = &self.config.gpg_key else { return Ok(vendor::GPG_KEY.into()) };
        let wrong = |fault| Failure::GpgKey { config: self.config.path.clone(), path: path.clone(), fault };
        let content = self.root.read(path)?.ok_or_else(|| wrong(GpgKeyFault::Missing))?;
        let text = String::from_utf8_lossy(&content);
        if text.contains("PRIVATE KEY BLOCK") {
            return Err(wrong(GpgKeyFault::Private));
        }
        if !text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            return Err(wrong(GpgKeyFault::NotArmored));
        }
        Ok(content)
    }

    /// Writes the journal, and nothing else.
    fn write(&self, pending: &Pending) -> Result<()> {
        Ok(self.root.apply(&[pending.write()])?)
    }
}

/// Where dnf looks for repo files and variables.
fn folders_of(root: &Root, dnf: &els_host::failure::Result<DnfConf>) -> Result<Files> {
    let dnf = dnf.as_ref().map_err(Clone::clone)?;
    Ok(Files::in_folders(root, &dnf.repo_folder()?, &dnf.variable_folder()?))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The shipped repo file that a product names.
fn repo_file(name: &str) -> Result<&'static str> {
    vendor::repo_file(name).ok_or_else(|| Failure::RepoFileNotShipped { name: name.to_owned() })
}

/// Adds the files of a plan and its warnings to the report.
fn show_plan(plan: &Plan, report: &mut Report) {
    for (path, state) in &plan.files {
        report.file(path, *state);
    }
    for kept in &plan.warnings {
        report.warn(Warning::FileKept(kept.clone()));
    }
}

/// Warns of settings that dnf does not have, and of a wrong clock. Called after the backend was asked, also when that failed.
fn show_network(context: &Context<'_>, client: &Client, report: &mut Report) {
    checks::clock(client, report);
    checks::dnf_agrees(client, &context.config, &context.root, &context.dnf, report);
}

fn say_registration(state: &State, report: &mut Report) {
    let seats = report.seats;
    report.say(Line::Registration(Box::new(state.view()), seats));
}

/// Tries once to release what the journal lists, each at its own server. What is released is removed from the journal.
fn release_listed(client: &Client, pending: &mut Pending) -> Vec<(RegistrationId, Failure)> {
    let mut failures = Vec::new();
    for known in pending.releasing.clone() {
        match backend::release(client, &known.server, &known.credential()) {
            Ok(()) => pending.forget(&known.id),
            Err(error) => failures.push((known.id, error.failure.into())),
        }
    }
    failures
}

fn copied(standing: &Standing, report: &mut Report) -> Failure {
    report.state = Some(Stands::Copied);
    Failure::Copied { original: standing.id() }
}

fn not_registered(report: &mut Report) -> Failure {
    report.state = Some(Stands::NotRegistered);
    Failure::NotRegistered
}

/// Random bytes for an id or a token.
fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

const USER_AGENT: &str = concat!("els-register/", env!("CARGO_PKG_VERSION"));
const LOCK: &str = "/run/els-register.lock";
