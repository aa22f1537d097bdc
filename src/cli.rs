//! The command line: what was asked for, or a usage error that repeats no value.
//!
//! It must not know what an action does.

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
    /// License key; registers unless another action is given
    #[arg(
        long,
        value_name = "KEY",
        conflicts_with = "key_file",
        help_heading = "Key (arguments are visible to others: --key-file is safer)"
    )]
    pub(crate) key: Option<String>,
    /// Read the key from FILE ('-': standard input)
    #[arg(long, value_name = "FILE", help_heading = "Key (arguments are visible to others: --key-file is safer)")]
    pub(crate) key_file: Option<String>,

    /// Register with the key in ELS_LICENSE_KEY or a systemd credential
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) register: bool,
    /// Bring the written files up to date; needs no key
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) refresh: bool,
    /// Release the seat and remove what registering wrote
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) unregister: bool,
    /// Show whether this machine is registered and in order
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) status: bool,
    /// List the machines that hold the key's seats; needs no root
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) seats: bool,
    /// Release the seat of a machine that is gone; needs no root
    #[arg(long, value_name = "ID", group = "action", help_heading = "Actions")]
    pub(crate) release: Option<String>,
    /// Print a text for support: state, files, checks; no secrets
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) report: bool,
    /// Print the end-user license agreement
    #[arg(long, group = "action", help_heading = "Actions")]
    pub(crate) eula: bool,

    /// Register: name of this machine in the seat list (%H: host name)
    #[arg(long, value_name = "TEXT", help_heading = "For some actions")]
    pub(crate) label: Option<String>,
    /// Register: this is the registered machine on new hardware, not a copy
    #[arg(long, help_heading = "For some actions")]
    pub(crate) moved: bool,
    /// Refresh, status: do not ask the backend
    #[arg(long, help_heading = "For some actions")]
    pub(crate) offline: bool,
    /// Unregister: remove the files even if the seat cannot be released
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
    /// CA certificates (PEM) to trust in addition to the system's
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) ca_file: Option<String>,
    /// HTTP proxy: http://[USER:PASSWORD@]HOST:PORT
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    pub(crate) proxy: Option<String>,
    /// Time limit for all waiting together [default: 60]
    #[arg(long, value_name = "SECONDS", help_heading = "Settings")]
    pub(crate) timeout: Option<String>,
    /// Read and write all paths below DIR
    #[arg(long, value_name = "DIR", help_heading = "Settings")]
    pub(crate) root: Option<String>,
    /// Print only warnings and errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Settings")]
    pub(crate) quiet: bool,
    /// Print each step
    #[arg(short, long, help_heading = "Settings")]
    pub(crate) verbose: bool,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "Settings")]
    pub(crate) help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Settings")]
    pub(crate) version: Option<bool>,
}

/// How the command line was understood.
pub(crate) enum Parsed {
    Run(Action, Box<Options>),
    /// `--help` or `--version`: a text for standard output.
    Text(String),
    Wrong(UsageError),
}

/// What is wrong with the command line. Options are named as they were typed. Values are never repeated: a key that was
/// typed without `--key` is still a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UsageError {
    NoAction,
    /// `typed` is the option that chose the action.
    NotWith {
        option: String,
        typed: String,
        only_with: &'static [Action],
    },
    BareArgument {
        suggested: Option<String>,
    },
    Unknown {
        option: String,
        suggested: Option<String>,
    },
    Conflict {
        option: String,
        other: String,
    },
    Twice {
        option: String,
    },
    NoValue {
        option: String,
    },
    NeedsValue {
        option: String,
    },
    NotUtf8,
}

/// Reads the arguments, the program's own name first. `command` is that of [`Options`], with its texts in one language.
pub(crate) fn parse(command: clap::Command, arguments: Vec<OsString>) -> Parsed {
    let parsed = command.try_get_matches_from(&arguments).and_then(|found| Options::from_arg_matches(&found));
    match parsed {
        Ok(options) => match options.action() {
            Ok(action) => Parsed::Run(action, Box::new(options)),
            Err(error) => Parsed::Wrong(error),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Parsed::Text(error.render().to_string().trim_end().to_owned())
            }
            _ => Parsed::Wrong(describe(&error, &arguments)),
        },
    }
}

impl Action {
    /// Whether a machine must be able to do this whatever is wrong with files that it does not need.
    pub(crate) fn is_always_possible(self) -> bool {
        matches!(self, Action::Unregister | Action::Status | Action::Report)
    }

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
    fn action(&self) -> Result<Action, UsageError> {
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
        let key = [(self.key.is_some(), "--key"), (self.key_file.is_some(), "--key-file")];
        let key = key.into_iter().find(|(given, _)| *given).map(|(_, option)| option);
        let (action, typed) = match (named.iter().find(|(given, _)| *given), key) {
            (Some((_, action)), _) => (*action, format!("--{}", action.name())),
            (None, Some(option)) => (Action::Register, option.to_owned()),
            (None, None) => return Err(UsageError::NoAction),
        };
        use Action::{Refresh, Register, Release, Seats, Status, Unregister};
        let given: [(bool, &str, &'static [Action]); 6] = [
            (key.is_some(), key.unwrap_or_default(), &[Register, Seats, Release]),
            (self.label.is_some(), "--label", &[Register]),
            (self.moved, "--moved", &[Register]),
            (self.offline, "--offline", &[Refresh, Status]),
            (self.force, "--force", &[Unregister]),
            (self.dry_run, "--dry-run", &[Register, Refresh, Unregister]),
        ];
        match given.iter().find(|(given, _, actions)| *given && !actions.contains(&action)) {
            Some((_, option, only_with)) => Err(UsageError::NotWith { option: (*option).to_owned(), typed, only_with }),
            None => Ok(action),
        }
    }
}

fn describe(error: &clap::Error, arguments: &[OsString]) -> UsageError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![bare_name(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(|text| bare_name(text)).collect(),
        _ => Vec::new(),
    };
    let option = |kind| {
        let names: Vec<String> = text(kind).into_iter().map(|name| as_typed(name, arguments)).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let argument = option(ContextKind::InvalidArg).unwrap_or_default();
    let suggested =
        text(ContextKind::SuggestedArg).first().filter(|name| !name.is_empty()).map(|&name| name.to_owned());
    match error.kind() {
        ErrorKind::UnknownArgument if argument.is_empty() => UsageError::BareArgument { suggested },
        ErrorKind::UnknownArgument => UsageError::Unknown { option: argument, suggested },
        ErrorKind::ArgumentConflict => match option(ContextKind::PriorArg).filter(|prior| *prior != argument) {
            Some(prior) => UsageError::Conflict { option: argument, other: prior },
            None => UsageError::Twice { option: argument },
        },
        ErrorKind::TooManyValues => UsageError::NoValue { option: argument },
        ErrorKind::InvalidUtf8 => UsageError::NotUtf8,
        _ => UsageError::NeedsValue { option: argument },
    }
}

/// The option's bare name: without its value, and empty for what is not an option.
fn bare_name(text: &str) -> &str {
    if text.starts_with('-') { text.split(['=', ' ', '[', '<']).next().unwrap_or_default() } else { "" }
}

/// clap gives the long name also where the short one was typed.
fn as_typed(name: &str, typed: &[OsString]) -> String {
    let long = typed.iter().filter_map(|word| word.to_str()).any(|word| word.split('=').next() == Some(name));
    let command = Options::command();
    let option = command.get_arguments().find(|option| option.get_long() == name.strip_prefix("--"));
    match option.and_then(clap::Arg::get_short) {
        Some(short) if !long => format!("-{short}"),
        _ => name.to_owned(),
    }
}

/// What `--help` says last: the exit statuses in two columns, and examples.
fn after_help() -> String {
    let (left, right) = MEANINGS.split_at(MEANINGS.len() / 2);
    let mut text = "Every command can be killed at any time and run again.\n\nExit status:\n".to_owned();
    for (one, other) in left.iter().zip(right) {
        text += &format!("{:>4}  {:<35}{:>2}  {}\n", one.status, one.short, other.status, other.short);
    }
    text + "\nExamples:\n" + EXAMPLES + "\nels-register(8) has files, proxies and recovery."
}

/// What `--help` shows as examples, in every language.
pub(crate) const EXAMPLES: &str = "  els-register --key ELS-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX
  els-register --key-file /root/els.key --label %H
  els-register --status --json
  els-register --unregister
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        let arguments = std::iter::once("els-register").chain(arguments.iter().copied());
        parse(Options::command(), arguments.map(OsString::from).collect())
    }

    fn wrong(arguments: &[&str]) -> String {
        match parsed(arguments) {
            Parsed::Wrong(error) => crate::messages::en::failure(&crate::failure::Failure::Usage(error)),
            Parsed::Run(action, _) => panic!("understood as {action:?}"),
            Parsed::Text(text) => panic!("printed {text}"),
        }
    }

    fn action(arguments: &[&str]) -> Action {
        match parsed(arguments) {
            Parsed::Run(action, _) => action,
            Parsed::Wrong(error) => panic!("{error:?}"),
            Parsed::Text(text) => panic!("printed {text}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
    }

    /// Promise: action-named
    #[test]
    fn a_key_registers_unless_another_action_is_given() {
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
        assert!(wrong(&["--status", "--unregister"]).contains("cannot be used together"));
        assert!(wrong(&["--key", "A", "--key-file", "B"]).contains("cannot be used together"));
    }

    /// Promise: usage-errors
    #[test]
    fn an_option_that_would_do_nothing_is_wrong_usage_and_named_as_it_was_typed() {
        for (arguments, message) in [
            (
                &["--status", "--key", "SECRETSECRET"][..],
                "--key cannot be used with --status, only with --register, --seats or --release",
            ),
            (
                &["--status", "--key-file", "SECRETSECRET"],
                "--key-file cannot be used with --status, only with --register, --seats or --release",
            ),
            (&["--status", "--force"], "--force cannot be used with --status, only with --unregister"),
            (
                &["--unregister", "--offline"],
                "--offline cannot be used with --unregister, only with --refresh or --status",
            ),
            (
                &["--key", "SECRETSECRET", "--offline"],
                "--offline cannot be used with --key, only with --refresh or --status",
            ),
            (
                &["--key-file", "SECRETSECRET", "--force"],
                "--force cannot be used with --key-file, only with --unregister",
            ),
            (&["--refresh", "--moved"], "--moved cannot be used with --refresh, only with --register"),
            (
                &["--seats", "--key", "SECRETSECRET", "--dry-run"],
                "--dry-run cannot be used with --seats, only with --register, --refresh or --unregister",
            ),
        ] {
            assert_eq!(wrong(arguments), message, "{arguments:?}");
        }
    }

    #[test]
    fn other_usage_errors_name_what_was_typed_too() {
        for (arguments, message) in [
            (&["--status", "-q", "-v"][..], "-q and -v cannot be used together"),
            (&["--status", "-qv"], "-q and -v cannot be used together"),
            (&["--status", "--quiet", "-v"], "--quiet and -v cannot be used together"),
            (&["--status", "-q", "-q"], "-q was given more than once"),
            (&["--status", "--status"], "--status was given more than once"),
            (&["--status", "--quiet=yes"], "--quiet takes no value"),
            (&["--key"], "--key needs a value"),
            (&["--quite"], "unknown option --quite; did you mean --quiet?"),
            (&["-x"], "unknown option -x"),
        ] {
            assert_eq!(wrong(arguments), message, "{arguments:?}");
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
