//! What the administrator can do, one page a command.
//!
//! Owns the way from a command line to an exit status: files that flags name are read first, as whoever runs the command;
//! then the process becomes the owner of the database, opens it, and turns to the page. The pages ask the store and
//! print; the rules are elsewhere.

mod database;
mod events;
mod find;
mod key_change;
mod key_create;
mod key_list;
mod products;
mod seat;
mod secrets;
mod serve;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use els_protocol::Timestamp;

use crate::cli::{Action, Cli, KeyAction, SeatAction, Site};
use crate::dates::{self, Edge};
use crate::failure::Failure;
use crate::{clock, output};
use els_ledger::database::{DatabaseUrl, become_owner};
use els_ledger::rules::KeyState;
use els_ledger::{self, KeyId, Opening, Policy, Store};

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are results, usage errors are not; clap knows which goes where.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    run(cli).unwrap_or_else(|failure| {
        output::aside(format_args!("error: {failure}"));
        ExitCode::from(failure.exit_status())
    })
}

/// How a command that was carried out ends.
type Done = Result<ExitCode, Failure>;

/// What a page is given.
struct Desk {
    store: Arc<dyn Store>,
    now: Timestamp,
}

fn run(cli: Cli) -> Done {
    let now = clock::now();
    let url = database_url(&cli.site)?;
    let zone = dates::zone(&cli.site.time_zone).map_err(Failure::Usage)?;
    let date = |text: &str, edge| dates::parse(text, &zone, edge).map_err(Failure::Usage);
    match cli.action {
        Action::Serve(flags) => serve::run(&cli.site, &url, *flags),
        Action::Key(KeyAction::Create(options)) => {
            let products = products::ids(cli.site.products.as_deref())?;
            let order = key_create::prepare(&options, &zone, &products)?;
            at_desk(&url, Opening::Creating, now, |desk| key_create::run(desk, order))
        }
        Action::Key(KeyAction::List { output }) => {
            at_desk(&url, Opening::Existing, now, |desk| key_list::list(desk, output.json))
        }
        Action::Key(KeyAction::Show { key, output }) => {
            at_desk(&url, Opening::Existing, now, |desk| key_list::show(desk, key, output.json))
        }
        Action::Key(KeyAction::Update(options)) => {
            let products = products::ids(cli.site.products.as_deref())?;
            let change = key_change::prepare(&options, &zone, &products)?;
            let json = options.output.json;
            at_desk(&url, Opening::Existing, now, |desk| key_change::update(desk, options.key, change, json))
        }
        Action::Key(KeyAction::Suspend { key }) => set_state(&url, now, key, KeyState::Suspended),
        Action::Key(KeyAction::Resume { key }) => set_state(&url, now, key, KeyState::Active),
        Action::Key(KeyAction::Revoke { key }) => set_state(&url, now, key, KeyState::Revoked),
        Action::Key(KeyAction::Rotate { key, old_until, output }) => {
            let until = old_until.map(|text| date(&text, Edge::End)).transpose()?;
            at_desk(&url, Opening::Existing, now, |desk| key_change::rotate(desk, key, until, output.json))
        }
        Action::Seat(SeatAction::List { key, output }) => {
            at_desk(&url, Opening::Existing, now, |desk| seat::list(desk, key, output.json))
        }
        Action::Seat(SeatAction::Release { registration }) => {
            at_desk(&url, Opening::Existing, now, |desk| seat::release(desk, registration))
        }
        Action::Find { text, output } => {
            at_desk(&url, Opening::Existing, now, |desk| find::find(desk, text, output.json))
        }
        Action::Events(options) => {
            let since = options.since.as_deref().map(|text| date(text, Edge::Beginning)).transpose()?;
            at_desk(&url, Opening::Existing, now, |desk| events::events(desk, options, since))
        }
        Action::Check { output } => at_desk(&url, Opening::Existing, now, |desk| database::check(desk, output.json)),
        Action::Migrate => at_desk(&url, Opening::Migrating, now, database::migrated),
        Action::Backup { file } => {
            become_owner(&url)?;
            runtime()?.block_on(database::back_up(&url, &file))
        }
        Action::Copy(ways) => {
            let from = match &ways.from {
                Some(from) => read_url(from, None)?,
                None if ways.from_file.is_some() => read_url("", ways.from_file.as_deref())?,
                None => url,
            };
            let to = read_url(ways.to.as_deref().unwrap_or_default(), ways.to_file.as_deref())?;
            // Files on both sides belong to the owner of the folder that the new one is to be in.
            become_owner(if matches!(to, DatabaseUrl::Sqlite(_)) { &to } else { &from })?;
            runtime()?.block_on(database::copied(&from, &to))
        }
    }
}

fn set_state(url: &DatabaseUrl, now: Timestamp, key: KeyId, state: KeyState) -> Done {
    at_desk(url, Opening::Existing, now, |desk| key_change::set_state(desk, key, state))
}

/// Opens the database as its owner and runs a page.
fn at_desk<F: Future<Output = Done>>(
    url: &DatabaseUrl,
    opening: Opening,
    now: Timestamp,
    page: impl FnOnce(Desk) -> F,
) -> Done {
    become_owner(url)?;
    runtime()?.block_on(async {
        let store = els_ledger::open(url, opening, no_policy()).await?;
        page(Desk { store, now }).await
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")
}

/// Commands register no machine, so that nothing is judged by it.
fn no_policy() -> Policy {
    Policy { covers: Arc::new(|_, _, _| false), grace_seconds: 0 }
}

fn database_url(site: &Site) -> Result<DatabaseUrl, Failure> {
    read_url(&site.database, site.database_file.as_deref())
}

/// A database's URL, from a file where one is named.
fn read_url(url: &str, file: Option<&Path>) -> Result<DatabaseUrl, Failure> {
    let text = match file {
        Some(file) => read_file(file)?,
        None => url.to_owned(),
    };
    DatabaseUrl::parse(text.trim()).map_err(Failure::Usage)
}

/// A small file that a flag names; `-` is standard input.
fn read_file(file: &Path) -> Result<String, Failure> {
    let read =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    read.with_context(|| format!("cannot read {}", file.display())).map_err(Failure::from)
}

fn no_such_key(key: &KeyId) -> Failure {
    Failure::NotFound(format!("there is no key {key}; `els-backend key list` shows all keys"))
}
