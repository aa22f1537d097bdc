//! English: failures, and what to do about them.

mod lines;
mod support;
mod warnings;

use els_host::failure::{Failure as Host, Stage};
use els_host::messages as host;
use els_protocol::{Code, RegistrationId};

use crate::cli::{Action, UsageError};
use crate::failure::{Damage, Failure, GpgKeyFault, KeyFault, LabelFault, RepositoryFault, Seat};
use crate::file_state::FileState;

pub(crate) use lines::{line, progress};
pub(crate) use support::support;
pub(crate) use warnings::warning;

/// What failed, on what, and why: one line.
pub(crate) fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Host(failure) => host::failure(failure),
        Failure::Usage(error) => usage(error),
        Failure::NotRoot { action } => format!("--{} must be run by root", action.name()),
        Failure::Locked { path } => format!("another els-register holds {path}, and the time-out is over"),
        Failure::NotRegistered => "this machine is not registered".to_owned(),
        Failure::Copied { original } => {
            format!("registration {} was made on another machine, not on this one", id(original.as_ref()))
        }
        Failure::Damaged(damage) => damaged(damage),
        Failure::NewerFile { path, version, known } => {
            format!("{path} is of version {version}; this els-register knows version {known}")
        }
        Failure::RepoFileNotShipped { name } => {
            format!("the product needs the repo file {name}, which els-register {VERSION} does not ship")
        }
        Failure::RepoFileUnusable { name } => format!("the shipped {name}.repo has no usable [els-updates]"),
        Failure::RepositoryUrl { server, url, why } => {
            format!("{server} names a repository URL that is not accepted ({url}): {why}")
        }
        Failure::Repository { url, fault } => match fault {
            RepositoryFault::Request { why } => format!("cannot ask for {url}: {why}"),
            RepositoryFault::NotRepomd => format!("{url} is not a repository: the answer is not a repomd document"),
            RepositoryFault::Redirects { to } => {
                format!("the repository {url} redirects to {to:?}, where dnf would lose the credential")
            }
            RepositoryFault::Status(401) => format!("the repository {url} does not accept the new credential (401)"),
            RepositoryFault::Status(403) => format!("the repository {url} is not open to this registration (403)"),
            RepositoryFault::Status(404) => format!("the repository {url} does not exist (404)"),
            RepositoryFault::Status(status) => format!("the repository {url} answered HTTP {status}"),
        },
        Failure::SeatListLoops { server } => format!("the seat list of {server} leads back to an earlier page"),
        Failure::NoServer { .. } => "no server is set".to_owned(),
        Failure::NoKey => "no license key was given".to_owned(),
        Failure::Key { source, fault } => match fault {
            KeyFault::NotUtf8 => format!("{source}: the key is not UTF-8 text"),
            KeyFault::Wrong(error) => format!("{source}: {error}"),
        },
        Failure::Label { source, fault } => match fault {
            LabelFault::NoHostName => format!("{source}: %H: this machine has no host name"),
            LabelFault::Wrong(why) => format!("{source}: {why}"),
        },
        Failure::GpgKey { config, path, fault } => format!(
            "{config}: gpg_key: {path} {}",
            match fault {
                GpgKeyFault::Missing => "does not exist",
                GpgKeyFault::Private => "holds a private key",
                GpgKeyFault::NotArmored => "holds no armored public key (-----BEGIN PGP PUBLIC KEY BLOCK-----)",
            }
        ),
        Failure::ReleaseId => "--release: not a registration id".to_owned(),
        Failure::NoTokenToRelease => {
            "this machine's token is lost or was altered, so it cannot release its seat".to_owned()
        }
        Failure::NotUnregistered { cause, .. } => self::failure(cause),
    }
}

/// What to do next.
pub(crate) fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Host(Host::Refused(refusal)) => refusal.known.and_then(denial_hint)?,
        Failure::Host(Host::CutOff { .. }) => AGAIN_NO_SECOND_SEAT,
        Failure::Host(Host::Unreachable(unreachable)) if unreachable.stage == Stage::Established => {
            AGAIN_NO_SECOND_SEAT
        }
        Failure::Host(failure) => return host::hint(failure),
        Failure::Usage(_) => "'els-register --help' lists all options",
        Failure::NotRoot { .. } => "run the same command with sudo",
        Failure::Locked { .. } => "wait until it has ended, then run the same command again",
        Failure::NotRegistered => "'els-register --key KEY' registers it",
        Failure::Copied { .. } => COPY,
        Failure::Damaged(damage) => match damage {
            Damage::StateFile { .. } => "'els-register --refresh' (without --offline) restores it from the credential",
            Damage::Token => "'els-register --key KEY' makes a new one; it takes no second seat",
            Damage::Variables => {
                "'els-register --refresh' (without --offline) restores it; if the token is lost, use 'els-register --key KEY'"
            }
            Damage::State | Damage::Files(_) | Damage::Unreadable(_) => {
                "'els-register --refresh' repairs that; if the token is lost, use 'els-register --key KEY'"
            }
        },
        Failure::NewerFile { .. } => "update els-register: a newer one has been used on this machine",
        Failure::RepoFileNotShipped { .. } => "update els-register, then run the same command again",
        Failure::RepoFileUnusable { .. } | Failure::SeatListLoops { .. } => return None,
        Failure::RepositoryUrl { .. } => "the vendor must correct it (--repo-url of the backend)",
        Failure::Repository { fault: RepositoryFault::Request { .. }, .. } => return None,
        Failure::Repository { fault: RepositoryFault::NotRepomd, .. } => {
            "check that no proxy or portal answers in its place"
        }
        Failure::Repository { .. } => {
            "run the same command again later; if that does not help, ask support: the fault is not on this machine"
        }
        Failure::NoServer { config } => {
            return Some(format!("add the line  server = \"https://HOST\"  to {config}, or use --server URL"));
        }
        Failure::NoKey => {
            "use --key KEY or --key-file FILE, the variable ELS_LICENSE_KEY, or the systemd credential els.key"
        }
        Failure::Key { fault: KeyFault::Wrong(_), .. } => "copy the key again from where you received it",
        Failure::Key { .. } | Failure::Label { .. } | Failure::GpgKey { .. } => return None,
        Failure::ReleaseId => "'els-register --seats --key KEY' lists the ids",
        Failure::NoTokenToRelease => {
            "'els-register --key KEY' makes a new one without a second seat, then unregister; or use --unregister --force"
        }
        Failure::NotUnregistered { cause, seat: Seat::Held } => {
            let hint = hint(cause).map(|hint| format!("; {hint}")).unwrap_or_default();
            return Some(format!("nothing was changed here{hint}"));
        }
        Failure::NotUnregistered { seat: Seat::Unknown, .. } => {
            "it is not known whether the seat was released; the repositories stay off, and --unregister again finishes it"
        }
    };
    Some(text.to_owned())
}

/// Whom to ask, from the configuration.
pub(crate) fn support_contact(contact: &str) -> String {
    format!("support: {contact}")
}

fn damaged(damage: &Damage) -> String {
    match damage {
        Damage::State => "the state of this machine's registration is lost".to_owned(),
        Damage::StateFile { path } => format!("{path} is lost"),
        Damage::Token => "the token of this machine's registration is lost or was altered".to_owned(),
        Damage::Variables => "the credential in /etc/dnf/vars is not complete, so the repositories stay off".to_owned(),
        Damage::Files(files) => {
            let state = |state: &FileState| if *state == FileState::Missing { "is missing" } else { "was altered" };
            let files: Vec<String> = files.iter().map(|(path, found)| format!("{path} {}", state(found))).collect();
            files.join(", ")
        }
        Damage::Unreadable(error) => host::path_error(error),
    }
}

fn usage(error: &UsageError) -> String {
    let suggestion = |suggested: &Option<String>| match suggested {
        Some(suggested) => format!("; did you mean {suggested}?"),
        None => String::new(),
    };
    match error {
        UsageError::NoAction => "no action is given; for example --key KEY, --status or --unregister".to_owned(),
        UsageError::NotWith { option, typed, only_with } => {
            let names: Vec<String> = only_with.iter().map(|action| format!("--{}", Action::name(*action))).collect();
            format!("{option} cannot be used with {typed}, only with {}", either(&names))
        }
        UsageError::BareArgument { suggested } => format!(
            "an argument without an option before it (not shown: it may be a key); a key follows --key{}",
            suggestion(suggested)
        ),
        UsageError::Unknown { option, suggested } => format!("unknown option {option}{}", suggestion(suggested)),
        UsageError::Conflict { option, other } => format!("{option} and {other} cannot be used together"),
        UsageError::Twice { option } => format!("{option} was given more than once"),
        UsageError::NoValue { option } => format!("{option} takes no value"),
        UsageError::NeedsValue { option } => format!("{option} needs a value"),
        UsageError::NotUtf8 => "an argument is not UTF-8 text".to_owned(),
    }
}

/// What to do about errors of the backend.
fn denial_hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UnknownKey => {
            "compare the key with the one you received; a key is case-sensitive unless it begins with ELS-"
        }
        Code::KeyExpired => "renew the contract; machines that are registered then need no change",
        Code::KeyNotYetValid => "run the same command again when the contract has begun",
        Code::KeySuspended | Code::KeyRevoked | Code::KeyReleaseDenied => "ask the company that sold the key",
        Code::SystemNotCovered => "compare /etc/os-release and 'uname -m' with what the key was sold for",
        Code::NoFreeSeat => {
            "run 'els-register --unregister' on a machine that no longer needs its seat; for one that is gone, \
             'els-register --seats --key KEY' lists the seats and 'els-register --release ID --key KEY' releases one"
        }
        Code::CredentialInvalid => "'els-register --key KEY' makes a new credential",
        Code::UnknownRegistration | Code::RegistrationReleased => {
            "'els-register --key KEY' registers this machine again"
        }
        Code::RateLimited | Code::Unavailable | Code::Internal => "wait a little, then run the same command again",
        Code::InvalidRequest | Code::PayloadTooLarge | Code::PathNotCovered | Code::RegistrationConflict => {
            return None;
        }
    })
}

fn id(id: Option<&RegistrationId>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}

/// The command that releases a seat from elsewhere.
fn release_command(id: &RegistrationId) -> String {
    format!("els-register --release {id} --key KEY")
}

/// `a, b or c`.
fn either(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const AGAIN_NO_SECOND_SEAT: &str = "run the same command again: it takes no second seat";

const COPY: &str = "if this is a copy, 'els-register --key KEY' registers it as a machine of its own; if it is the registered \
                    machine on new hardware, 'els-register --key KEY --moved' keeps its seat and id";
