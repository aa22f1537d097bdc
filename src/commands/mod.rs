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
use els_host::failure::{Failure as Host, SettingFault};
use els_host::machine::{self, Machine};
use els_host::network::{Client, Environment, Route};
use els_host::output::Printer;
use els_host::root::{Lock, Root};
use els_host::{confine, dnf_conf};
use els_protocol::{BaseUrl, RegistrationId};

use crate::cli::{Action, Options};
use crate::config::Config;
use crate::failure::{Failure, GpgKeyFault, Result};
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{self, Plan, Release};
use crate::report::{Line, Progress, Report, State as Stands};
use crate::warning::Warning;
use crate::{backend, checks, messages, vendor};

/// What every command is given.
struct Context<'a> {
    options: &'a Options,
    config: Config,
    root: Root,
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
        *report = Report::text(vendor::EULA.trim_end().to_owned());
        return Ok(());
    }
    if action.needs_root() && !is_root() {
        return Err(Failure::NotRoot { action });
    }
    let path = Path::new(options.root.as_deref().unwrap_or("/"));
    let root = Root::open(path).map_err(|error| Host::setting("--root", SettingFault::Path(error)))?;
    let config = match Config::load(options, &root) {
        // Support wants to know what is wrong with the settings.
        Err(problem) if action == Action::Report => Config::without(problem, options),
        config => config?,
    };
    report.support = config.support.clone();
    let clock = Clock::start(config.timeout);
    let folders = if action.needs_root() && !options.dry_run { &WRITTEN[..] } else { &[] };
    let landlock = confine::give_up(path, folders);
    let context = Context { options, config, root, clock, printer };
    context.progress(&Progress::Confined(landlock));
    match action {
        Action::Register => register::run(&context, report),
        Action::Refresh => refresh::run(&context, report),
        Action::Unregister => unregister::run(&context, report),
        Action::Status => status::run(&context, report),
        Action::Seats => seats::run(&context, report),
        Action::Release => release::run(&context, report),
        Action::Report => report::run(&context, report),
        Action::Eula => Ok(()),
    }
}

impl Context<'_> {
    fn progress(&self, progress: &Progress<'_>) {
        self.printer.progress(&messages::progress(progress));
    }

    /// The connection to backends and repositories, as options, configuration, environment and dnf.conf define it.
    fn client(&self) -> Result<Client> {
        let variable = |name: &'static str| match std::env::var_os(name).map(std::ffi::OsString::into_string) {
            Some(Err(_)) => Err(Host::setting(name, SettingFault::NotUtf8)),
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
        let dnf_conf = || dnf_conf::proxy(&self.root);
        let route = Route::choose(config.proxy_flag.as_deref(), of_config, &environment, dnf_conf)?;
        let extra = config.extra_certificates.as_ref();
        Client::new(USER_AGENT, route, extra.map(|file| file.content.as_slice()), self.clock).map_err(|fault| {
            let name = extra.map(|file| format!("{}: {}", file.setting, file.path));
            Host::setting(name.unwrap_or_default(), fault).into()
        })
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
        self.root.sweep(&repo::STAGING)?;
        self.root.sweep(&[registration::FOLDER])?;
        Ok(Some(lock))
    }

    /// What this machine knows of its registration; what is lost is a warning.
    fn standing(&self, report: &mut Report) -> Result<Standing> {
        let standing = Standing::read(&self.root)?;
        for lost in &standing.lost {
            report.warn(Warning::Lost(lost.clone()));
        }
        Ok(standing)
    }

    /// What this machine knows, and the backend, for an action with a key that is not about this machine. A file here that
    /// cannot be read matters only where it alone could name the backend.
    fn standing_and_server(&self) -> Result<(Option<Standing>, BaseUrl)> {
        match Standing::read(&self.root) {
            Ok(standing) => {
                let server = self.server_for_key(standing.state.as_ref())?;
                Ok((Some(standing), server))
            }
            Err(unreadable) => Ok((None, self.server_for_key(None).map_err(|_| unreadable)?)),
        }
    }

    /// What the product of a repo file does with `$releasever` on this machine. An os-release that cannot be read is no sign of
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
    checks::dnf_agrees(client, &context.config, &context.root, report);
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
/// The folders that actions change.
const WRITTEN: [&str; 5] = ["/etc/yum.repos.d", "/etc/dnf", "/etc/pki/rpm-gpg", registration::FOLDER, "/run"];
