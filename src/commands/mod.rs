//! The actions, one page each, and what they share: the settings, the machine, the way to the backend.

mod refresh;
mod register;
mod release;
mod report;
mod seats;
mod status;
mod unregister;

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{Action, Options};
use crate::config::Config;
use crate::registration::{self, Pending, Standing, State};
use crate::repo::{self, Plan};
use crate::report::{FileState, Report, State as Stands};
use crate::{backend, checks, vendor};
use els_host::clock::Clock;
use els_host::confine;
use els_host::dnf_conf;
use els_host::failure::{Failure, Kind, Result};
use els_host::machine::{self, Machine};
use els_host::network::{Client, Credential, Environment, Route};
use els_host::output::Printer;
use els_host::root::{Lock, Root};
use els_protocol::BaseUrl;

const USER_AGENT: &str = concat!("els-register/", env!("CARGO_PKG_VERSION"));
const LOCK: &str = "/run/els-register.lock";
/// The folders that actions change.
const WRITTEN: [&str; 5] = ["/etc/yum.repos.d", "/etc/dnf", "/etc/pki/rpm-gpg", registration::FOLDER, "/run"];

/// What a run has at hand.
struct Context<'a> {
    options: &'a Options,
    config: Config,
    root: Root,
    clock: Clock,
    printer: Printer,
}

/// Runs an action. The report is whole also when the run failed: it says what was found and done until then.
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
        return Err(Failure::new(Kind::NotRoot, format!("--{} must be run by root", action.name()))
            .hint("run the same command with sudo"));
    }
    let root = Root::open(Path::new(options.root.as_deref().unwrap_or("/")))
        .map_err(|error| Failure::usage(format!("--root: {error}")))?;
    let config = match Config::load(options, &root) {
        // What is wrong with them is what support wants to know.
        Err(problem) if action == Action::Report => Config::without(&problem, options),
        config => config?,
    };
    let clock = Clock::start(config.timeout);
    let support = config.support.clone();
    let folders = if action.needs_root() && !options.dry_run { &WRITTEN[..] } else { &[] };
    let landlock = confine::give_up(Path::new(options.root.as_deref().unwrap_or("/")), folders);
    printer.progress(&format!("Landlock: {landlock}"));
    let context = Context { options, config, root, clock, printer };
    let outcome = match action {
        Action::Register => register::run(&context, report),
        Action::Refresh => refresh::run(&context, report),
        Action::Unregister => unregister::run(&context, report),
        Action::Status => status::run(&context, report),
        Action::Seats => seats::run(&context, report),
        Action::Release => release::run(&context, report),
        Action::Report => report::run(&context, report),
        Action::Eula => Ok(()),
    };
    outcome.map_err(|mut failure| {
        if let Some(support) = support {
            let hint = failure.hint.take().map(|hint| format!("{hint}\n  ")).unwrap_or_default();
            failure.hint = Some(format!("{hint}support: {support}"));
        }
        failure
    })
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

impl Context<'_> {
    /// The way to backends and repositories, as flags, configuration, environment and dnf.conf have it.
    fn client(&self) -> Result<Client> {
        let variable = |name| std::env::var(name).ok();
        let environment = Environment {
            https_proxy: variable("https_proxy"),
            https_proxy_upper: variable("HTTPS_PROXY"),
            all_proxy: variable("all_proxy"),
            no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")),
        };
        let config = &self.config;
        let of_config = config.proxy.as_deref().map(|proxy| (config.path.as_str(), proxy));
        let route =
            Route::choose(config.proxy_flag.as_deref(), of_config, &environment, || dnf_conf::proxy(&self.root))
                .map_err(Failure::usage)?;
        let (path, pem) = config.extra_certificates.as_ref().map(|(path, pem)| (path.as_str(), pem.as_slice())).unzip();
        Client::new(USER_AGENT, route, pem, self.clock)
            .map_err(|why| Failure::usage(format!("{}: {why}", path.unwrap_or("the CA file"))))
    }

    /// The backend for what is done with a key: the flag, the configuration, else the state.
    fn server_for_registering(&self, state: Option<&State>) -> Result<BaseUrl> {
        let config = &self.config;
        let server = config.server_flag.as_ref().or(config.server.as_ref()).or(state.map(|state| &state.server));
        server.cloned().ok_or_else(|| self.no_server())
    }

    /// The backend of the registration that the machine holds: the flag, else the state; the configuration where there is
    /// none.
    fn server_of(&self, state: Option<&State>) -> Result<BaseUrl> {
        let config = &self.config;
        let server = config.server_flag.as_ref().or(state.map(|state| &state.server)).or(config.server.as_ref());
        server.cloned().ok_or_else(|| self.no_server())
    }

    fn no_server(&self) -> Failure {
        Failure::usage("no server is known").hint(format!(
            "add the line  server = \"https://HOST\"  to {}, or name it with --server URL",
            self.config.path
        ))
    }

    /// One at a time: waits for the lock within the time-out.
    fn lock(&self) -> Result<Lock> {
        self.root.lock(LOCK, || self.clock.remaining())?.ok_or_else(|| {
            Failure::new(Kind::Locked, format!("another els-register holds {LOCK}, still after the time-out"))
                .hint("wait until it has ended, then run the same command again")
        })
    }

    /// Removes what runs that were killed left behind.
    fn sweep(&self) -> Result<()> {
        self.root.sweep(&repo::STAGING)?;
        self.root.sweep(&[registration::FOLDER])?;
        Ok(())
    }

    /// What this machine knows of itself; what was lost is a warning.
    fn standing(&self, report: &mut Report) -> Result<Standing> {
        let standing = Standing::read(&self.root)?;
        for lost in &standing.lost {
            report.warn("state-lost", lost.clone());
        }
        Ok(standing)
    }

    fn machine(&self) -> Result<Machine> {
        machine::identify(&self.root)
    }

    /// The GPG key to install: the one that the configuration names, else the shipped one.
    fn gpg_key(&self) -> Result<Vec<u8>> {
        let Some(path) = &self.config.gpg_key else { return Ok(vendor::GPG_KEY.into()) };
        let wrong = |why: &str| Failure::usage(format!("{}: gpg_key: {path} {why}", self.config.path));
        let content = self.root.read(path)?.ok_or_else(|| wrong("does not exist"))?;
        let text = String::from_utf8_lossy(&content);
        if text.contains("PRIVATE KEY BLOCK") {
            return Err(wrong("holds a private key"));
        }
        if !text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            return Err(wrong("holds no armored public key (-----BEGIN PGP PUBLIC KEY BLOCK-----)"));
        }
        Ok(content)
    }

    /// The shipped repo file that a product names.
    fn repo_file(&self, name: &str) -> Result<&'static str> {
        vendor::repo_file(name).ok_or_else(|| {
            Failure::new(
                Kind::UnsupportedSystem,
                format!(
                    "the product needs the repo file {name}, which els-register {} does not ship",
                    env!("CARGO_PKG_VERSION")
                ),
            )
            .hint("update els-register, then run the same command again")
        })
    }

    /// Writes the journal, by itself.
    fn write(&self, pending: &Pending) -> Result<()> {
        self.root.apply(&[pending.write()])?.keep();
        Ok(())
    }
}

/// The files of a plan and its warnings, as they stand in a report.
fn show_plan(plan: &Plan, report: &mut Report) {
    for (path, state) in &plan.files {
        report.file(path, *state);
    }
    for warning in &plan.warnings {
        report.warn("file-kept", warning.clone());
    }
}

/// Warns of what dnf does not know, and of a wrong clock. After every talk with the backend, also one that failed.
fn show_network(context: &Context<'_>, client: &Client, report: &mut Report) {
    checks::clock(client, report);
    checks::dnf_agrees(client, &context.config, &context.root, report);
}

/// The registration, for people: a line each.
fn say_registration(state: &State, report: &mut Report) {
    report.say(format!("  product       {} ({})", state.product.name, state.product.id));
    report.say(format!("  registration  {}", state.registration));
    let contract = state.contract.as_ref().map(|contract| format!(", contract {contract}"));
    report.say(format!("  key           {}{}", state.key_id, contract.unwrap_or_default()));
    report.say(format!("  expires       {}", state.expires.date()));
    if let Some(seats) = &report.seats {
        report.lines.push(format!("  seats         {} of {} used", seats.used, seats.total));
    }
    report.say(format!("  server        {}", state.server));
    report.say(format!("  repositories  {}", state.repo_url));
}

/// What files a run would change, for `--dry-run`.
fn say_files(report: &mut Report) {
    let lines: Vec<String> = report
        .files
        .iter()
        .filter_map(|file| {
            let what = match file.state {
                FileState::Written => "write",
                FileState::Removed => "remove",
                FileState::Kept => "keep",
                _ => return None,
            };
            Some(format!("would {what} {}", file.path))
        })
        .collect();
    if lines.is_empty() {
        report.say("would change no file");
    }
    report.lines.extend(lines);
}

/// The request as `--dry-run` shows it.
fn request_view(method: &str, server: &BaseUrl, path: &str, authorization: Option<&str>, body: Option<Value>) -> Value {
    let mut headers = json!({ "User-Agent": USER_AGENT });
    if let Some(authorization) = authorization {
        headers["Authorization"] = authorization.into();
    }
    if body.is_some() {
        headers["Content-Type"] = "application/json".into();
    }
    let mut request = json!({ "method": method, "url": format!("{server}{path}"), "headers": headers });
    if let Some(body) = body {
        request["body"] = body;
    }
    request
}

/// Says the request of a `--dry-run`, and keeps it for the JSON document.
fn say_request(request: Value, report: &mut Report) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report.say(format!("would send {} {}", text(&request["method"]), text(&request["url"])));
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        report.say(format!("  {name}: {}", text(value)));
    }
    if let Some(body) = request.get("body") {
        let pretty = serde_json::to_string_pretty(body).expect("a JSON value is a JSON document");
        report.lines.extend(pretty.lines().map(|line| format!("  {line}")));
    }
    report.request = Some(request);
}

/// The command that frees a seat from elsewhere.
fn release_command(credential_id: &els_protocol::RegistrationId) -> String {
    format!("els-register --release {credential_id} --key KEY")
}

/// Tries to give back what the journal lists, each at its own server, once; returns the failures.
fn give_back_all(
    client: &Client,
    pending: &mut Pending,
    but: Option<&Credential>,
) -> Vec<(els_protocol::RegistrationId, Failure)> {
    let mut failures = Vec::new();
    for known in pending.giving_back.clone() {
        if but.is_some_and(|held| held.id == known.id) {
            continue;
        }
        match backend::release(client, &known.server, &known.credential()) {
            Ok(()) => pending.forget(&known.id),
            Err(error) => failures.push((known.id, error.failure)),
        }
    }
    failures
}

/// How a copy is told from its original, and what to do about it.
const COPY_HINT: &str = "if this is a copy, 'els-register --key KEY' registers it as a machine of its own; if it is the \
                         registered machine on new hardware, 'els-register --key KEY --moved' keeps its seat and id";

fn copied(standing: &Standing, report: &mut Report) -> Failure {
    report.state = Some(Stands::Copied);
    let id = standing.id().map(|id| id.to_string()).unwrap_or_default();
    Failure::new(Kind::Copied, format!("this machine is not the one that registration {id} was made on"))
        .hint(COPY_HINT)
}

fn not_registered(report: &mut Report) -> Failure {
    report.state = Some(Stands::NotRegistered);
    Failure::new(Kind::NotRegistered, "this machine is not registered").hint("els-register --key KEY registers it")
}

/// Random bytes for an id or a token.
fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}
