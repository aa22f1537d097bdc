//! The command line: every command, every flag, and each flag's name in the environment.
//!
//! Owns the words. What a command does is `commands`'.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use els_protocol::{LicenseKey, RegistrationId};
use ipnet::IpNet;

use els_ledger::KeyId;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "els-backend",
    version,
    about = "Counts the seats of Extended Lifecycle Support and opens its repositories",
    after_help = AFTER_HELP,
    subcommand_required = true
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub site: Site,
    /// The command.
    #[command(subcommand)]
    pub action: Action,
}

/// What holds for every command.
#[derive(Debug, Args)]
pub struct Site {
    /// The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes
    #[arg(long, global = true, help_heading = "For every command", value_name = "URL", default_value = DEFAULT_DATABASE)]
    pub database: String,
    /// Read the database's URL from FILE: it may hold a password, and arguments are visible to others
    #[arg(long, global = true, help_heading = "For every command", value_name = "FILE", conflicts_with = "database")]
    pub database_file: Option<PathBuf>,
    /// Read the products from FILE instead of those compiled in
    #[arg(long, global = true, help_heading = "For every command", value_name = "FILE")]
    pub products: Option<PathBuf>,
    /// Time zone in which a DATE without a time begins and ends
    #[arg(long, global = true, help_heading = "For every command", value_name = "NAME", default_value = "UTC")]
    pub time_zone: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Count seats and open the repositories, until SIGTERM
    Serve(Box<ServeOptions>),
    /// Make, show and change keys
    #[command(subcommand, subcommand_required = true)]
    Key(KeyAction),
    /// List and free seats
    #[command(subcommand, subcommand_required = true)]
    Seat(SeatAction),
    /// Find keys and registrations by registration, key id, contract, reseller or label
    Find {
        /// A whole id, or part of a contract, reseller or label
        text: String,
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
    /// Print the audit trail, oldest first
    Events(Events),
    /// Recount seats against registrations and trail; exit 1 and a list on disagreement
    Check {
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
    /// Bring the database to the schema of this version, or set up an empty one
    Migrate,
    /// Copy the database, also while it is in use, to FILE
    Backup {
        /// The copy, an SQLite database; replaced if it is there
        file: PathBuf,
    },
    /// Move everything to another, empty database; no `serve` may run on either
    Copy(Ways),
}

/// `copy`
#[derive(Debug, Args)]
pub struct Ways {
    /// The database to read [default: the one of --database]
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Read the URL of the database to read from FILE
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub from_file: Option<PathBuf>,
    /// The database to fill; a file is made, a PostgreSQL database has to be there
    #[arg(long, value_name = "URL", required_unless_present = "to_file")]
    pub to: Option<String>,
    /// Read the URL of the database to fill from FILE
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub to_file: Option<PathBuf>,
}

/// `serve`
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Where machines and web servers ask; port 0 takes a free one, which the log names
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics are
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// How machines reach this backend [default: the listening address, when that is loopback]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// What machines are told of the repositories [default: the public URL and /repo]
    #[arg(long, value_name = "URL")]
    pub repo_url: Option<String>,
    /// Serve this folder at /repo/, under the gate
    #[arg(long, value_name = "DIR")]
    pub repo_root: Option<PathBuf>,
    /// Speak TLS with this certificate chain (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Speak plain HTTP on an address that is not loopback: something else encrypts
    #[arg(long)]
    pub plain_http: bool,
    /// Believe the X-Forwarded-For of proxies in this network (again for each; with commas in the environment)
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = els_server::peer::parse_network)]
    pub trusted_proxy: Vec<IpNet>,
    /// Days after expiry in which known machines go on
    #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=MOST_DAYS))]
    pub grace: u32,
    /// How long the gate opens for what it knew to be good, when the database cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=MOST_STALE))]
    pub gate_stale: u64,
}

/// Commands about keys.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Make a key; its id and the key itself are printed once
    Create(CreateKey),
    /// List all keys
    List {
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
    /// Show one key
    Show {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
    /// Change a key; an empty TEXT takes a value away
    Update(Box<UpdateKey>),
    /// Refuse a key's machines until it is resumed; nobody loses a seat
    Suspend {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
    },
    /// End a suspension
    Resume {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
    },
    /// Refuse a key's machines for good
    Revoke {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
    },
    /// Make a new key for the same seats; registrations are untouched
    Rotate {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        /// Until when the old key counts [default: it ends now]
        #[arg(long, value_name = "DATE")]
        old_until: Option<String>,
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
}

/// Commands about seats.
#[derive(Debug, Subcommand)]
pub enum SeatAction {
    /// List the registrations that hold a key's seats
    List {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        /// How the result is printed
        #[command(flatten)]
        output: Output,
    },
    /// Free the seat of a registration
    Release {
        /// The registration's id
        #[arg(value_parser = registration_id)]
        registration: RegistrationId,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `key create`
#[derive(Debug, Args)]
pub struct CreateKey {
    /// Seats sold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SEATS))]
    pub seats: u64,
    /// From then on no new seat is given
    #[arg(long, value_name = "DATE")]
    pub expires: String,
    /// From then on it is valid
    #[arg(long, value_name = "DATE")]
    pub starts: Option<String>,
    /// What it is sold for [default: the first product]
    #[arg(long, value_name = "ID")]
    pub product: Option<String>,
    /// The contract; unique: the same command again makes no second key
    #[arg(long, value_name = "REF", value_parser = text)]
    pub contract: Option<String>,
    /// Who sold it
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub reseller: Option<String>,
    /// A remark
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub note: Option<String>,
    /// Import the key in FILE instead of making one ('-': standard input)
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Import it although it has fewer than 20 characters
    #[arg(long, requires = "key_file")]
    pub allow_weak: bool,
    /// Take the seat of a machine back that was not seen for so many days (30 at least)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(LEAST_DAYS..=MOST_DAYS))]
    pub release_unseen_after: Option<u32>,
    /// Whoever holds the key cannot free the seats of other machines
    #[arg(long)]
    pub no_self_release: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: Output,
}

/// `key update`
#[derive(Debug, Args)]
pub struct UpdateKey {
    /// The key's id
    #[arg(value_name = "KEY-ID", value_parser = key_id)]
    pub key: KeyId,
    /// Seats sold; fewer than are used ends nobody's registration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=MOST_SEATS))]
    pub seats: Option<u64>,
    /// From then on no new seat is given
    #[arg(long, value_name = "DATE")]
    pub expires: Option<String>,
    /// From then on it is valid
    #[arg(long, value_name = "DATE")]
    pub starts: Option<String>,
    /// What it is sold for
    #[arg(long, value_name = "ID")]
    pub product: Option<String>,
    /// The contract
    #[arg(long, value_name = "REF", value_parser = text)]
    pub contract: Option<String>,
    /// Who sold it
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub reseller: Option<String>,
    /// A remark
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub note: Option<String>,
    /// Days until the seat of an unseen machine is taken back (30 at least), or 'never'
    #[arg(long, value_name = "DAYS", value_parser = days_or_never)]
    pub release_unseen_after: Option<DaysOrNever>,
    /// Whoever holds the key can free the seats of other machines
    #[arg(long, conflicts_with = "no_self_release")]
    pub self_release: bool,
    /// Whoever holds the key cannot free the seats of other machines
    #[arg(long)]
    pub no_self_release: bool,
    /// Forget which ids several machines were seen to share
    #[arg(long)]
    pub trust_again: bool,
    /// How the result is printed
    #[command(flatten)]
    pub output: Output,
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Of this key alone
    #[arg(long, value_name = "KEY-ID", value_parser = key_id)]
    pub key: Option<KeyId>,
    /// Of this registration alone
    #[arg(long, value_name = "ID", value_parser = registration_id)]
    pub registration: Option<RegistrationId>,
    /// From this time on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How the result is printed
    #[command(flatten)]
    pub output: Output,
}

/// A number of days, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysOrNever(pub Option<u32>);

impl Cli {
    /// Reads arguments and environment. An error repeats no value that could be a key: one is easily pasted where its
    /// id belongs, and errors end up in logs.
    pub fn read<I>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = OsString>,
    {
        let read = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
        read.map_err(discreet)
    }
}

/// The whole command line, with the name of each flag in the environment; man pages are made from it.
pub fn command() -> Command {
    named_in_environment(Cli::command())
}

fn named_in_environment(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_long() {
            Some("help" | "version") | None => arg,
            Some(long) => {
                let name = format!("ELS_BACKEND_{}", long.replace('-', "_").to_ascii_uppercase());
                // A value in the environment may be a secret, and the names follow one rule: help shows neither.
                let arg = arg.env(name).hide_env(true).hide_env_values(true);
                match arg.get_action() {
                    ArgAction::SetTrue => arg.value_parser(clap::builder::FalseyValueParser::new()),
                    _ => arg,
                }
            }
        })
        .mut_subcommands(named_in_environment)
}

fn discreet(mut error: clap::Error) -> clap::Error {
    // There the "invalid subcommand" is the command that lacks one.
    if error.kind() == ErrorKind::MissingSubcommand {
        return error;
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(value)) = error.get(kind)
            && !value.starts_with("--")
        {
            let shown = match LicenseKey::parse(value) {
                Ok(_) => "…".to_owned(),
                Err(_) => els_protocol::clean(value, 64),
            };
            error.insert(kind, ContextValue::String(shown));
        }
    }
    error
}

fn key_id(text: &str) -> Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| "not a key id; `els-backend key list` shows them".into())
}

fn registration_id(text: &str) -> Result<RegistrationId, String> {
    RegistrationId::parse(&text.to_ascii_lowercase())
        .ok_or_else(|| "not the id of a registration; `els-backend seat list KEY-ID` shows them".into())
}

/// A text that stays on its line wherever it is shown.
fn text(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=256 if els_protocol::clean(text, 256) == text => Ok(text.to_owned()),
        0..=256 => Err("it has control characters".into()),
        length => Err(format!("it has {length} characters; 256 are the most")),
    }
}

fn days_or_never(text: &str) -> Result<DaysOrNever, String> {
    if text == "never" {
        return Ok(DaysOrNever(None));
    }
    let days = text.parse::<u32>().ok().filter(|days| (LEAST_DAYS..=MOST_DAYS).contains(&i64::from(*days)));
    days.map(|days| DaysOrNever(Some(days)))
        .ok_or_else(|| format!("write {LEAST_DAYS} to {MOST_DAYS} days, or 'never'"))
}

const DEFAULT_DATABASE: &str = "sqlite:///var/lib/els-backend/els.db";
const MOST_SEATS: u64 = 1_000_000_000;
/// Machines are switched off for a holiday; a month is the least that tells a machine that is gone.
const LEAST_DAYS: i64 = 30;
const MOST_DAYS: i64 = 36_500;
/// A week: a node that was cut off for longer must not open for keys that were revoked since.
const MOST_STALE: u64 = 7 * 24 * 3600;
const AFTER_HELP: &str = "\
DATE is YYYY-MM-DD (the end of that day, for --starts its beginning) or a time such as 2027-03-31T23:59:59Z.
Every option can also be set in the environment: --time-zone as ELS_BACKEND_TIME_ZONE.
Run as root, commands act as the owner of the database's folder. Exit status: 0 done, 1 failed, 2 usage, 3 not found.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' ').map(OsString::from))
    }

    /// Promise: backend-environment
    #[test]
    fn the_command_line_is_sound_and_every_option_has_a_name_in_the_environment() {
        command().debug_assert();
        fn visit(command: &Command, seen: &mut usize) {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let long = arg.get_long().unwrap();
                if !["help", "version"].contains(&long) {
                    let name = format!("ELS_BACKEND_{}", long.to_uppercase().replace('-', "_"));
                    assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(name.as_str()), "--{long}");
                    *seen += 1;
                }
            }
            command.get_subcommands().for_each(|command| visit(command, seen));
        }
        let mut seen = 0;
        visit(&command(), &mut seen);
        assert!(seen > 30, "{seen}");
    }

    /// Promise: backend-no-secret
    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        let key = "ELS-00000-00000-00000-00000-00000";
        for line in ["key show KEY", "key KEY", "KEY", "events --key KEY", "events KEY", "key create --seats KEY"] {
            let line = format!("els-backend {}", line.replace("KEY", key));
            let message = read(&line).unwrap_err().to_string();
            assert!(!message.contains("0000"), "{message}");
        }
        let message = read("els-backend --time-zone UTC").unwrap_err().to_string();
        assert!(message.contains("'els-backend' requires a subcommand"), "{message}");
        assert!(read("els-backend key create --sets 5").unwrap_err().to_string().contains("--sets"));
    }

    /// Promise: key-unseen
    /// Promise: backend-exit-statuses
    #[test]
    fn values_that_cannot_be_meant_are_usage_errors() {
        for line in [
            "els-backend",
            "els-backend key",
            "els-backend key create --seats 0 --expires 2027-01-01",
            "els-backend key create --seats 5",
            "els-backend key create --seats 5 --expires 2027-01-01 --allow-weak",
            "els-backend key create --seats 5 --expires 2027-01-01 --release-unseen-after 29",
            "els-backend key create --seats 5 --expires 2027-01-01 --note \u{1b}[2J",
            "els-backend key show K_1",
            "els-backend key update k-1 --self-release --no-self-release",
            "els-backend key update k-1 --release-unseen-after 5",
            "els-backend seat release 7",
            "els-backend check --database sqlite:///a --database-file b",
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert!(read("els-backend seat release 1B4E28BA-2FA1-41D2-883F-0016D3CCA427").is_ok());
        assert!(read("els-backend key update k-1 --release-unseen-after never --contract=").is_ok());
    }
}
