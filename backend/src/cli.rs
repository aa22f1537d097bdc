//! The command line: every command, every option, and each option's name in the environment.
//!
//! Owns the text of the help. `commands` owns what a command does.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use els_protocol::{LicenseKey, RegistrationId};
use ipnet::IpNet;

use els_ledger::{KeyId, Permission, TokenId};

#[derive(Debug, Parser)]
#[command(
    name = "els-backend",
    version,
    about = "Counts the seats of Extended Lifecycle Support and guards its repositories",
    after_help = AFTER_HELP,
    subcommand_required = true
)]
pub struct Cli {
    #[command(flatten)]
    pub site: Site,
    #[command(subcommand)]
    pub action: Action,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Site {
    /// The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes
    #[arg(long, global = true, help_heading = "For every command", value_name = "URL", default_value = DEFAULT_DATABASE)]
    pub database: String,
    /// Read the database's URL from FILE: a URL may contain a password, and other users can see arguments
    #[arg(long, global = true, help_heading = "For every command", value_name = "FILE", conflicts_with = "database")]
    pub database_file: Option<PathBuf>,
    /// Read the products from FILE instead of the built-in ones
    #[arg(long, global = true, help_heading = "For every command", value_name = "FILE")]
    pub products: Option<PathBuf>,
    /// Time zone of a DATE without a time
    #[arg(long, global = true, help_heading = "For every command", value_name = "NAME", default_value = "UTC")]
    pub time_zone: String,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Count seats and guard the repositories, until SIGTERM
    Serve(Box<ServeOptions>),
    /// Create, show and change keys
    #[command(subcommand, subcommand_required = true)]
    Key(KeyAction),
    /// List and release seats
    #[command(subcommand, subcommand_required = true)]
    Seat(SeatAction),
    /// Create, list and revoke tokens of the vendor's own systems
    #[command(subcommand, subcommand_required = true)]
    Token(TokenAction),
    /// Find keys and registrations by registration id, key id, contract, reseller or label
    Find {
        /// A whole id, or part of a contract, reseller or label
        text: String,
        #[command(flatten)]
        output: Output,
    },
    /// Print the audit log, oldest first
    Events(Events),
    /// Compare seats with registrations and audit log; on disagreement print a list and exit 1
    Check {
        #[command(flatten)]
        output: Output,
    },
    /// Update the database to the schema of this version, or set up an empty database
    Migrate,
    /// Copy the database to FILE; it may be in use
    Backup {
        /// The copy, an SQLite database; an existing file is replaced
        file: PathBuf,
    },
    /// Copy everything to another, empty database; no `serve` may run on either of them
    Copy(CopyArguments),
}

#[derive(Debug, Args)]
pub struct CopyArguments {
    /// The database to read [default: the value of --database]
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Read the URL of --from from FILE
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub from_file: Option<PathBuf>,
    /// The database to fill; an SQLite file is created, a PostgreSQL database must exist
    #[arg(long, value_name = "URL", required_unless_present = "to_file")]
    pub to: Option<String>,
    /// Read the URL of --to from FILE
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub to_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Address for machines and web servers; port 0 takes a free port, which the log names
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address for /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// Address for the vendor's systems (/admin/v1), plain HTTP; without it there is no such listener
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub staff_listen: Option<SocketAddr>,
    /// URL at which the vendor's systems reach --staff-listen [default: the listening address if it is loopback]
    #[arg(long, value_name = "URL", requires = "staff_listen")]
    pub staff_url: Option<String>,
    /// URL at which machines reach this backend [default: the listening address if it is loopback]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// URL of the repositories that machines get [default: the public URL and /repo]
    #[arg(long, value_name = "URL")]
    pub repo_url: Option<String>,
    /// Serve the files of this folder at /repo/, guarded by the gate
    #[arg(long, value_name = "DIR")]
    pub repo_root: Option<PathBuf>,
    /// Use TLS with this certificate chain (PEM); the file is read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Allow plain HTTP on an address that is not loopback, because a proxy encrypts
    #[arg(long)]
    pub plain_http: bool,
    /// Trust the X-Forwarded-For header of proxies in this network (repeatable; comma-separated in the environment)
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = els_server::peer::parse_network)]
    pub trusted_proxy: Vec<IpNet>,
    /// Days after expiry in which registered machines continue to work
    #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=MOST_DAYS))]
    pub grace: u32,
    /// How long the gate answers from its memory while the database is away
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=MOST_STALE))]
    pub gate_stale: u64,
}

#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Create a key; prints its id and, only once, the key
    Create(CreateKey),
    /// List all keys
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one key
    Show {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        #[command(flatten)]
        output: Output,
    },
    /// Change a key; an empty TEXT removes a value
    Update(Box<UpdateKey>),
    /// Refuse the machines of a key until it is resumed; registrations keep their seats
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
    /// Refuse the machines of a key for ever
    Revoke {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
    },
    /// Replace a key by a new one for the same seats; registrations stay
    Rotate {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        /// Until when the old key is valid [default: it ends now]
        #[arg(long, value_name = "DATE")]
        old_until: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub enum SeatAction {
    /// List the registrations of a key
    List {
        /// The key's id
        #[arg(value_name = "KEY-ID", value_parser = key_id)]
        key: KeyId,
        #[command(flatten)]
        output: Output,
    },
    /// Release the seat of a registration, or all that a key has given since a time
    Release {
        /// The registration's id
        #[arg(value_parser = registration_id, required_unless_present = "key", conflicts_with = "key")]
        registration: Option<RegistrationId>,
        /// All registrations of this key since --registered-since: after a key was stolen and rotated
        #[arg(long, value_name = "KEY-ID", value_parser = key_id, requires = "registered_since")]
        key: Option<KeyId>,
        /// Since this time; only lists them, unless --yes is given
        #[arg(long, value_name = "DATE", requires = "key")]
        registered_since: Option<String>,
        /// Release them
        #[arg(long, requires = "key")]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Create a token for the admin API; prints its id and, only once, the token
    Create(CreateToken),
    /// List all tokens
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Refuse a token from now on
    Revoke {
        /// The token's id
        #[arg(value_name = "TOKEN-ID", value_parser = token_id)]
        token: TokenId,
    },
}

#[derive(Debug, Args)]
pub struct CreateToken {
    /// What uses the token, for the list
    #[arg(value_parser = text)]
    pub name: String,
    /// What the token allows (repeatable): keys:read, keys:write, keys:state, keys:secret, seats:read, seats:release,
    /// events:read, export
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = permission)]
    pub scope: Vec<Permission>,
    /// Reach only the keys of this reseller
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub reseller: Option<String>,
    /// Reach only the keys of this product (repeatable)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub product: Vec<String>,
    /// Refuse the token outside this network (repeatable)
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = els_server::peer::parse_network)]
    pub from: Vec<IpNet>,
    /// When the token expires, within a year [default: in 90 days]
    #[arg(long, value_name = "DATE")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CreateKey {
    /// Number of seats
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SEATS))]
    pub seats: u64,
    /// When the key expires: from then on it gives no new seat
    #[arg(long, value_name = "DATE")]
    pub expires: String,
    /// When the key becomes valid [default: now]
    #[arg(long, value_name = "DATE")]
    pub starts: Option<String>,
    /// Product of the key [default: the first product]
    #[arg(long, value_name = "ID")]
    pub product: Option<String>,
    /// Contract of the key; unique: repeating the command makes no second key
    #[arg(long, value_name = "REF", value_parser = text)]
    pub contract: Option<String>,
    /// Company that sold the contract
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub reseller: Option<String>,
    /// Note for the vendor
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub note: Option<String>,
    /// Import the key in FILE instead of creating one ('-': standard input)
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Import a key of fewer than 20 characters
    #[arg(long, requires = "key_file")]
    pub allow_weak: bool,
    /// Release the seat of a machine that was not seen for this number of days (at least 30)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(LEAST_DAYS..=MOST_DAYS))]
    pub release_unseen_after: Option<u32>,
    /// The holder of the key cannot release the seats of other machines
    #[arg(long)]
    pub no_self_release: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct UpdateKey {
    /// The key's id
    #[arg(value_name = "KEY-ID", value_parser = key_id)]
    pub key: KeyId,
    /// Number of seats; registrations stay even if it is less than the seats in use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=MOST_SEATS))]
    pub seats: Option<u64>,
    /// When the key expires: from then on it gives no new seat
    #[arg(long, value_name = "DATE")]
    pub expires: Option<String>,
    /// When the key becomes valid [default: now]
    #[arg(long, value_name = "DATE")]
    pub starts: Option<String>,
    /// Product of the key
    #[arg(long, value_name = "ID")]
    pub product: Option<String>,
    /// Contract of the key
    #[arg(long, value_name = "REF", value_parser = text)]
    pub contract: Option<String>,
    /// Company that sold the contract
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub reseller: Option<String>,
    /// Note for the vendor
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub note: Option<String>,
    /// Release the seat of a machine that was not seen for this number of days (at least 30), or 'never'
    #[arg(long, value_name = "DAYS", value_parser = days_or_never)]
    pub release_unseen_after: Option<DaysOrNever>,
    /// The holder of the key can release the seats of other machines
    #[arg(long, conflicts_with = "no_self_release")]
    pub self_release: bool,
    /// The holder of the key cannot release the seats of other machines
    #[arg(long)]
    pub no_self_release: bool,
    /// Use the distrusted ids of this key again to recognise machines
    #[arg(long)]
    pub trust_again: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Only events of this key
    #[arg(long, value_name = "KEY-ID", value_parser = key_id)]
    pub key: Option<KeyId>,
    /// Only events of this registration
    #[arg(long, value_name = "ID", value_parser = registration_id)]
    pub registration: Option<RegistrationId>,
    /// Only events from this time on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysOrNever(pub Option<u32>);

impl Cli {
    /// Reads arguments and environment. An error does not repeat a value that could be a key: a key is easily pasted in place
    /// of its id, and errors are logged.
    pub fn read<I>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = OsString>,
    {
        let read = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
        read.map_err(without_keys)
    }
}

/// The whole command line, with the name of each option in the environment. Man pages are made from it.
pub fn command() -> Command {
    named_in_environment(Cli::command())
}

fn named_in_environment(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_long() {
            Some("help" | "version") | None => arg,
            Some(long) => {
                let name = format!("ELS_BACKEND_{}", long.replace('-', "_").to_ascii_uppercase());
                // Help shows neither values (they may be secret) nor names (they follow one rule).
                let arg = arg.env(name).hide_env(true).hide_env_values(true);
                match arg.get_action() {
                    ArgAction::SetTrue => arg.value_parser(clap::builder::FalseyValueParser::new()),
                    _ => arg,
                }
            }
        })
        .mut_subcommands(named_in_environment)
}

fn without_keys(mut error: clap::Error) -> clap::Error {
    // Here the "invalid subcommand" is the command whose subcommand is missing.
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

fn token_id(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).ok_or_else(|| "not a token id; `els-backend token list` shows them".into())
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::parse(text).ok_or_else(|| {
        let known: Vec<_> = Permission::ALL.iter().map(|one| one.as_str()).collect();
        format!("not a scope; the scopes are: {}", known.join(", "))
    })
}

fn registration_id(text: &str) -> Result<RegistrationId, String> {
    RegistrationId::parse(&text.to_ascii_lowercase())
        .ok_or_else(|| "not a registration id; `els-backend seat list KEY-ID` shows them".into())
}

/// A text without control characters: it is printed in tables.
fn text(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=256 if els_protocol::clean(text, 256) == text => Ok(text.to_owned()),
        0..=256 => Err("must not contain control characters".into()),
        length => Err(format!("has {length} characters; at most 256 are allowed")),
    }
}

fn days_or_never(text: &str) -> Result<DaysOrNever, String> {
    if text == "never" {
        return Ok(DaysOrNever(None));
    }
    let days = text.parse::<u32>().ok().filter(|days| (LEAST_DAYS..=MOST_DAYS).contains(&i64::from(*days)));
    days.map(|days| DaysOrNever(Some(days))).ok_or_else(|| format!("must be {LEAST_DAYS} to {MOST_DAYS}, or 'never'"))
}

const DEFAULT_DATABASE: &str = "sqlite:///var/lib/els-backend/els.db";
const MOST_SEATS: u64 = 1_000_000_000;
/// Machines are switched off during holidays: a shorter absence does not mean that a machine is gone.
const LEAST_DAYS: i64 = 30;
const MOST_DAYS: i64 = 36_500;
/// One week: a node that was cut off longer must not open for keys that were revoked since.
const MOST_STALE: u64 = 7 * 24 * 3600;
const AFTER_HELP: &str = "\
DATE is YYYY-MM-DD (the end of that day; for --starts and --since its beginning) or a time such as 2027-03-31T23:59:59Z.
The environment can set every option, for example ELS_BACKEND_TIME_ZONE for --time-zone.
Run as root, commands act as the owner of the database's folder. Exit status: 0 done, 1 failed, 2 usage, 3 not found.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' ').map(OsString::from))
    }

    /// Promise: backend-environment
    #[test]
    fn the_command_line_is_consistent_and_every_option_has_a_name_in_the_environment() {
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
    fn a_key_in_a_wrong_place_is_not_repeated_in_the_error() {
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
    fn values_that_make_no_sense_are_usage_errors() {
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
