//! The command line: what was asked for, or a usage error that repeats no value.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, ArgGroup, CommandFactory, FromArgMatches, Parser};

use crate::exit::MEANINGS;

/// One action of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Register,
    Refresh,
    Unregister,
    Status,
    Seats,
    Release,
    Report,
    Eula,
}

/// What the command line says, checked for combinations that mean nothing.
#[derive(Parser, Debug, Default, Clone)]
#[command(
    name = "els-register",
    version,
    about = "Register this machine for Extended Lifecycle Support (ELS)",
    override_usage = "els-register --key KEY [--label TEXT]\n       \
        els-register --register | --refresh | --unregister | --status\n       \
        els-register --seats --key KEY | --release ID --key KEY\n       els-register --report | --eula",
    after_help = after_help(),
    args_override_self = false,
    disable_help_flag = true,
    disable_version_flag = true,
    group = ArgGroup::new("action").multiple(false),
)]
pub(crate) struct Options {
    /// License key; registers, unless another action stands beside it
    #[arg(
        long,
        value_name = "KEY",
        conflicts_with = "key_file",
        help_heading = "Key (arguments are visible to others: --key-file is safer)"
    )]
    pub(crate) key: Option<String>,
    /// Read the key from FILE instead; '-': standard input
    #[arg(long, value_name = "FILE", help_heading = "Key (arguments are visible to others: --key-file is safer)")]
    pub(crate) key_file: Option<String>,

    /// Register, the key from ELS_LICENSE_KEY or a systemd credential
    #[arg(long, group = "action", help_heading = "Actions")]
    register: bool,
    /// Bring the written files up to date; needs no key
    #[arg(long, group = "action", help_heading = "Actions")]
    refresh: bool,
    /// Give the seat back and remove what registering wrote
    #[arg(long, group = "action", help_heading = "Actions")]
    unregister: bool,
    /// Say where this machine stands
    #[arg(long, group = "action", help_heading = "Actions")]
    status: bool,
    /// List who holds the key's seats; needs no root
    #[arg(long, group = "action", help_heading = "Actions")]
    seats: bool,
    /// Free the seat of a machine that is gone; needs no root
    #[arg(long, value_name = "ID", group = "action", help_heading = "Actions")]
    pub(crate) release: Option<String>,
    /// One text for support: state, files, checks; no secrets
    #[arg(long, group = "action", help_heading = "Actions")]
    report: bool,
    /// Print the end-user license agreement
    #[arg(long, group = "action", help_heading = "Actions")]
    eula: bool,

    /// Registering: what the list of seats calls this machine (%H: host name)
    #[arg(long, value_name = "TEXT", help_heading = "For some actions")]
    pub(crate) label: Option<String>,
    /// Registering: the registered machine on new hardware, no copy of it
    #[arg(long, help_heading = "For some actions")]
    pub(crate) moved: bool,
    /// Refresh, status: ask nobody
    #[arg(long, help_heading = "For some actions")]
    pub(crate) offline: bool,
    /// Unregister: clean up here even if the seat cannot be given back
    #[arg(long, help_heading = "For some actions")]
    pub(crate) force: bool,
    /// Register, refresh, unregister: only print what would be done
    #[arg(long, help_heading = "For some actions")]
    pub(crate) dry_run: bool,

    /// Print one JSON document, on success and on failure
    #[arg(long, help_heading = "Settings")]
    pub(crate) json: bool,
    /// The backend: https://HOST[:PORT][/PATH]
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    pub(crate) server: Option<String>,
    /// Configuration [default: /etc/els-register.toml]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<String>,
    /// CA certificates (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) ca_file: Option<String>,
    /// HTTP proxy: http://[USER:PASSWORD@]HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    pub(crate) proxy: Option<String>,
    /// Most time for all waiting together [default: 60]
    #[arg(long, value_name = "SECONDS", help_heading = "Settings")]
    pub(crate) timeout: Option<String>,
    /// Take every path that is read or written under DIR
    #[arg(long, value_name = "DIR", help_heading = "Settings")]
    pub(crate) root: Option<String>,
    /// Print only warnings and errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Settings")]
    pub(crate) quiet: bool,
    /// Say what is being done
    #[arg(short, long, help_heading = "Settings")]
    pub(crate) verbose: bool,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "Settings")]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Settings")]
    version: Option<bool>,
}

/// How the command line was understood.
pub(crate) enum Parsed {
    Run(Action, Box<Options>),
    /// `--help` or `--version`: a text for standard output.
    Text(String),
    /// A usage error: the message and, where one is known, what to type instead.
    Wrong(String),
}

/// Reads the arguments, the program's own name first.
pub(crate) fn parse(arguments: Vec<OsString>) -> Parsed {
    let parsed = Options::command().try_get_matches_from(arguments).and_then(|found| Options::from_arg_matches(&found));
    match parsed {
        Ok(options) => match options.action() {
            Ok(action) => Parsed::Run(action, Box::new(options)),
            Err(message) => Parsed::Wrong(message),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Parsed::Text(error.render().to_string().trim_end().to_owned())
            }
            _ => Parsed::Wrong(describe(&error)),
        },
    }
}

impl Action {
    /// The action's name in `--json` documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Action::Register => "register",
            Action::Refresh => "refresh",
            Action::Unregister => "unregister",
            Action::Status => "status",
            Action::Seats => "seats",
            Action::Release => "release",
            Action::Report => "report",
            Action::Eula => "eula",
        }
    }

    /// Whether the action changes the system, which only root may do.
    pub(crate) fn needs_root(self) -> bool {
        matches!(self, Action::Register | Action::Refresh | Action::Unregister)
    }
}

impl Options {
    /// The one action that was named, if every option that was given means something for it.
    fn action(&self) -> Result<Action, String> {
        let named = [
            (self.register, Action::Register),
            (self.refresh, Action::Refresh),
            (self.unregister, Action::Unregister),
            (self.status, Action::Status),
            (self.seats, Action::Seats),
            (self.release.is_some(), Action::Release),
            (self.report, Action::Report),
            (self.eula, Action::Eula),
        ];
        let has_key = self.key.is_some() || self.key_file.is_some();
        let action = match named.iter().find(|(given, _)| *given) {
            Some((_, action)) => *action,
            None if has_key => Action::Register,
            None => return Err("no action: name one, for example --key KEY, --status or --unregister".into()),
        };
        use Action::{Refresh, Register, Release, Seats, Status, Unregister};
        let given: [(bool, &str, &[Action]); 6] = [
            (has_key, "--key and --key-file", &[Register, Seats, Release]),
            (self.label.is_some(), "--label", &[Register]),
            (self.moved, "--moved", &[Register]),
            (self.offline, "--offline", &[Refresh, Status]),
            (self.force, "--force", &[Unregister]),
            (self.dry_run, "--dry-run", &[Register, Refresh, Unregister]),
        ];
        match given.iter().find(|(given, _, actions)| *given && !actions.contains(&action)) {
            Some((_, option, actions)) => {
                let names: Vec<String> = actions.iter().map(|action| format!("--{}", action.name())).collect();
                Err(format!("{option} means nothing with --{}; with {} it does", action.name(), names.join(", ")))
            }
            None => Ok(action),
        }
    }
}

/// A usage error in one line. Values are never repeated: a key that was typed without `--key` is still a secret.
fn describe(error: &clap::Error) -> String {
    let option = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(option_name(text)),
        Some(ContextValue::Strings(texts)) => {
            Some(texts.iter().map(|text| option_name(text)).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    };
    let argument = option(ContextKind::InvalidArg).unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument if argument.is_empty() => {
            "an argument without an option before it (not repeated here: it may be a key); keys follow --key".into()
        }
        ErrorKind::UnknownArgument => format!("unknown option {argument}"),
        ErrorKind::ArgumentConflict => match option(ContextKind::PriorArg).filter(|prior| *prior != argument) {
            Some(prior) => format!("{argument} and {prior} cannot stand together"),
            None => format!("{argument} was given more than once"),
        },
        ErrorKind::TooManyValues => format!("{argument} takes no value"),
        ErrorKind::InvalidUtf8 => "an argument is no UTF-8 text".into(),
        _ => format!("{argument} needs a value"),
    };
    match option(ContextKind::SuggestedArg).filter(|suggested| !suggested.is_empty()) {
        Some(suggested) => format!("{message}; did you mean {suggested}?"),
        None => message,
    }
}

/// The option's bare name: without its value, and empty for what is no option.
fn option_name(text: &str) -> String {
    if !text.starts_with('-') {
        return String::new();
    }
    text.split(['=', ' ', '[', '<']).next().unwrap_or_default().to_owned()
}

/// What `--help` says last: the exit statuses in two columns, and examples.
fn after_help() -> String {
    let (left, right) = MEANINGS.split_at(MEANINGS.len() / 2);
    let mut text = "Every command can be killed at any instant and simply run again.\n\nExit status:\n".to_owned();
    for (one, other) in left.iter().zip(right) {
        text += &format!("{:>4}  {:<35}{:>2}  {}\n", one.status, one.short, other.status, other.short);
    }
    text + EXAMPLES
}

const EXAMPLES: &str = "
Examples:
  els-register --key ELS-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX
  els-register --key-file /root/els.key --label %H
  els-register --status --json
  els-register --unregister

els-register(8) has files, proxies and recovery.";

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(arguments: &[&str]) -> String {
        let arguments = std::iter::once("els-register").chain(arguments.iter().copied()).map(OsString::from);
        match parse(arguments.collect()) {
            Parsed::Wrong(message) => message,
            Parsed::Run(action, _) => panic!("understood as {action:?}"),
            Parsed::Text(text) => panic!("printed {text}"),
        }
    }

    fn action(arguments: &[&str]) -> Action {
        let arguments = std::iter::once("els-register").chain(arguments.iter().copied()).map(OsString::from);
        match parse(arguments.collect()) {
            Parsed::Run(action, _) => action,
            Parsed::Wrong(message) | Parsed::Text(message) => panic!("{message}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
    }

    /// Promise: action-named
    #[test]
    fn a_key_registers_unless_another_action_stands_beside_it() {
        assert_eq!(action(&["--key", "ABCDEFGH"]), Action::Register);
        assert_eq!(action(&["--key-file", "-"]), Action::Register);
        assert_eq!(action(&["--register"]), Action::Register);
        assert_eq!(action(&["--register", "--key", "ABCDEFGH"]), Action::Register);
        assert_eq!(action(&["--seats", "--key", "ABCDEFGH"]), Action::Seats);
        assert_eq!(action(&["--release", "x", "--key", "ABCDEFGH"]), Action::Release);
    }

    /// Promise: usage-errors
    #[test]
    fn no_action_or_two_is_wrong_usage() {
        assert!(wrong(&[]).contains("no action"));
        assert!(wrong(&["--json"]).contains("no action"));
        assert!(wrong(&["--status", "--unregister"]).contains("cannot stand together"));
        assert!(wrong(&["--key", "A", "--key-file", "B"]).contains("cannot stand together"));
    }

    /// Promise: usage-errors
    #[test]
    fn an_option_that_would_do_nothing_is_wrong_usage() {
        for arguments in [
            &["--status", "--key", "SECRETSECRET"][..],
            &["--status", "--force"],
            &["--unregister", "--offline"],
            &["--refresh", "--moved"],
            &["--seats", "--key", "SECRETSECRET", "--dry-run"],
        ] {
            assert!(wrong(arguments).contains("means nothing with"), "{arguments:?}");
        }
    }

    /// Promise: usage-error-no-value
    #[test]
    fn a_usage_error_repeats_no_value() {
        for arguments in [
            &["SECRETSECRET"][..],
            &["--kye=SECRETSECRET"],
            &["--kye", "SECRETSECRET"],
            &["--status=SECRETSECRET"],
            &["--key", "SECRETSECRET", "--key", "SECRETSECRET"],
            &["--key", "A", "SECRETSECRET"],
            &["-SECRETSECRET"],
        ] {
            let message = wrong(arguments);
            assert!(!message.contains("SECRETSECRET"), "{arguments:?}: {message}");
        }
        assert!(wrong(&["--unregistre"]).contains("did you mean --unregister?"), "{}", wrong(&["--unregistre"]));
        assert!(wrong(&["--key"]).contains("--key needs a value"));
    }
}
