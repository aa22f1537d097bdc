//! What the administrator can do: one module per command.
//!
//! Owns the way from a command line to an exit status. Files that options name are read first, as the user who runs the
//! command. Then the process becomes the owner of the database, opens it, and runs the command. The commands call the store
//! and print; the rules are in the ledger.

mod context;
mod database;
mod error;
mod events;
mod find;
mod key_change;
mod key_create;
mod key_list;
mod products;
mod seat;
mod serve;
mod token;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use els_ledger::database::{DatabaseUrl, become_owner};
use els_ledger::rules::KeyState;
use els_ledger::{self, KeyId, Opening};
use els_protocol::Timestamp;
use els_server::private;

use self::context::{Context, Outcome, read_file};
use self::error::CommandError;
use crate::cli::{Action, Cli, CopyArguments, KeyAction, SeatAction, TokenAction};
use crate::dates::{self, Edge};
use crate::{clock, output};

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    private::give_up_dumps();
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // clap prints help and version to standard output, usage errors to standard error.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    run(cli).unwrap_or_else(|error| {
        output::note(format_args!("error: {error}"));
        ExitCode::from(error.exit_status())
    })
}

fn run(cli: Cli) -> Outcome {
    let now = clock::now();
    let url = read_url(&cli.site.database, cli.site.database_file.as_deref())?;
    let zone = dates::zone(&cli.site.time_zone).map_err(CommandError::Usage)?;
    let date = |text: &str, edge| dates::parse(text, &zone, edge).map_err(CommandError::Usage);
    match cli.action {
        Action::Serve(options) => serve::run(&cli.site, &url, *options),
        Action::Key(KeyAction::Create(options)) => {
            let products = products::ids(cli.site.products.as_deref())?;
            let order = key_create::prepare(&options, &zone, &products)?;
            with_store(&url, Opening::Creating, now, |context| key_create::run(context, order))
        }
        Action::Key(KeyAction::List { output }) => {
            with_store(&url, Opening::Existing, now, |context| key_list::list(context, output.json))
        }
        Action::Key(KeyAction::Show { key, output }) => {
            with_store(&url, Opening::Existing, now, |context| key_list::show(context, key, output.json))
        }
        Action::Key(KeyAction::Update(options)) => {
            let products = products::ids(cli.site.products.as_deref())?;
            let change = key_change::prepare(&options, &zone, &products)?;
            let json = options.output.json;
            with_store(&url, Opening::Existing, now, |context| key_change::update(context, options.key, change, json))
        }
        Action::Key(KeyAction::Suspend { key }) => set_state(&url, now, key, KeyState::Suspended),
        Action::Key(KeyAction::Resume { key }) => set_state(&url, now, key, KeyState::Active),
        Action::Key(KeyAction::Revoke { key }) => set_state(&url, now, key, KeyState::Revoked),
        Action::Key(KeyAction::Rotate { key, old_until, output }) => {
            let until = old_until.map(|text| date(&text, Edge::End)).transpose()?;
            with_store(&url, Opening::Existing, now, |context| key_change::rotate(context, key, until, output.json))
        }
        Action::Seat(SeatAction::List { key, output }) => {
            with_store(&url, Opening::Existing, now, |context| seat::list(context, key, output.json))
        }
        Action::Seat(SeatAction::Release { registration: Some(registration), .. }) => {
            with_store(&url, Opening::Existing, now, |context| seat::release(context, registration))
        }
        Action::Seat(SeatAction::Release {
            registration: None,
            key: Some(key),
            registered_since: Some(since),
            yes,
        }) => {
            let since = date(&since, Edge::Beginning)?;
            with_store(&url, Opening::Existing, now, |context| seat::release_since(context, key, since, yes))
        }
        Action::Seat(SeatAction::Release { .. }) => {
            Err(CommandError::Usage("a registration is required, or --key and --registered-since".into()))
        }
        Action::Token(TokenAction::Create(options)) => {
            let products = products::ids(cli.site.products.as_deref())?;
            let order = token::prepare(&options, &zone, &products, now)?;
            with_store(&url, Opening::Existing, now, |context| token::create(context, order))
        }
        Action::Token(TokenAction::List { output }) => {
            with_store(&url, Opening::Existing, now, |context| token::list(context, output.json))
        }
        Action::Token(TokenAction::Revoke { token }) => {
            with_store(&url, Opening::Existing, now, |context| token::revoke(context, token))
        }
        Action::Find { text, output } => {
            with_store(&url, Opening::Existing, now, |context| find::find(context, text, output.json))
        }
        Action::Events(options) => {
            let since = options.since.as_deref().map(|text| date(text, Edge::Beginning)).transpose()?;
            with_store(&url, Opening::Existing, now, |context| events::events(context, options, since))
        }
        Action::Check { output } => {
            with_store(&url, Opening::Existing, now, |context| database::check(context, output.json))
        }
        Action::Migrate => with_store(&url, Opening::Migrating, now, database::migrated),
        Action::Backup { file } => {
            become_owner(&url)?;
            runtime()?.block_on(database::back_up(&url, &file))
        }
        Action::Copy(arguments) => copy(url, &arguments),
    }
}

fn set_state(url: &DatabaseUrl, now: Timestamp, key: KeyId, state: KeyState) -> Outcome {
    with_store(url, Opening::Existing, now, |context| key_change::set_state(context, key, state))
}

fn copy(url: DatabaseUrl, arguments: &CopyArguments) -> Outcome {
    let from = match (&arguments.from, &arguments.from_file) {
        (Some(from), _) => read_url(from, None)?,
        (None, Some(file)) => read_url("", Some(file))?,
        (None, None) => url,
    };
    let to = read_url(arguments.to.as_deref().unwrap_or_default(), arguments.to_file.as_deref())?;
    // The owner of the new database's folder must be able to read and write both.
    become_owner(if matches!(to, DatabaseUrl::Sqlite(_)) { &to } else { &from })?;
    runtime()?.block_on(database::copied(&from, &to))
}

/// Opens the database as its owner and runs a command.
fn with_store<F: Future<Output = Outcome>>(
    url: &DatabaseUrl,
    opening: Opening,
    now: Timestamp,
    command: impl FnOnce(Context) -> F,
) -> Outcome {
    become_owner(url)?;
    runtime()?.block_on(async {
        let store = els_ledger::open(url, opening, context::no_policy()).await?;
        command(Context { store, now }).await
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// A database's URL, from `file` if it is given.
fn read_url(url: &str, file: Option<&Path>) -> Result<DatabaseUrl, CommandError> {
    let text = match file {
        Some(file) => read_file(file)?,
        None => url.to_owned(),
    };
    DatabaseUrl::parse(text.trim()).map_err(CommandError::Usage)
}
