//! English: warnings.

use els_host::dnf_conf;
use els_host::messages as host;
use els_host::network::Source;

use super::{COPY, failure, release_command};
use crate::warning::{FileKept, NotReleased, Warning};

/// One warning.
pub(crate) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Lost(lost) => {
            let what = if lost.is_json { "has other members than it should" } else { "is not a JSON document" };
            format!("{} {what} (line {}); it is taken as lost", lost.path, lost.line)
        }
        Warning::FileKept(kept) => file_kept(kept),
        Warning::ThirdParty { ids } => format!(
            "enabled repositories that are neither ELS nor the distribution's: {}; their packages may replace ELS's or \
             need newer ones ('dnf config-manager --set-disabled ID' disables one)",
            ids.join(", ")
        ),
        Warning::ThirdPartyUnknown(cause) => {
            format!("the repositories of this machine were not checked: {}", failure(cause))
        }
        Warning::ReleasePinned { ids, release } => format!(
            "dnf's releasever is now {release}, and these enabled repositories use it: {}; if one of them knows no minor \
             release, dnf fails: write the major release into its file",
            ids.join(", ")
        ),
        Warning::Expired { expires, confirmed: true } => {
            format!("the key expired on {}; new updates stop when its grace is over", expires.date())
        }
        Warning::Expired { expires, confirmed: false } => {
            format!("the key expired on {}, as far as is known here; a renewal is not visible offline", expires.date())
        }
        Warning::ExpiresSoon { expires, days } => format!("the key expires on {} ({days} days left)", expires.date()),
        Warning::Clock { behind } => {
            let direction = if *behind > 0 { "behind" } else { "ahead of" };
            format!(
                "this machine's clock is {} minutes {direction} the backend's: TLS and signatures depend on it \
                 ('timedatectl', 'chronyc tracking')",
                behind.abs()
            )
        }
        Warning::ProxyUnknownToDnf { source, proxy, user } => {
            let login = match user {
                Some(user) => format!(", proxy_username={user}, proxy_password=..."),
                None => String::new(),
            };
            let dnf = match source {
                Source::Environment(_) => "dnf follows it too, but not where it is run by a timer or a service",
                Source::Flag | Source::Config(_) | Source::DnfConf => "which dnf does not read",
            };
            format!(
                "the proxy comes from {}, {dnf}; add to [main] of {}: proxy={proxy}{login}",
                host::proxy_source(source),
                dnf_conf::PATH
            )
        }
        Warning::ProxyPasswordReadable { path, dnf } => {
            let condition = if *dnf { ", if only root runs dnf" } else { "" };
            format!("{path} holds a proxy password and others can read it: chmod 600 {path}{condition}")
        }
        Warning::CaUnknownToDnf { path } => format!(
            "without {path} this system does not trust the host, so dnf will refuse it: cp {path} \
             /etc/pki/ca-trust/source/anchors/ && update-ca-trust"
        ),
        Warning::RegisteredCopy { original } => format!(
            "registration {original} was made on another machine, so this one was registered as a machine of its own; if it \
             is the same on new hardware, use --moved, and release the old seat with: {}",
            release_command(original)
        ),
        Warning::UnregisteredCopy => {
            format!("if this was the registered machine on new hardware, register it with --moved; {COPY}")
        }
        Warning::IsCopy => format!("this machine is not the one that was registered: {COPY}"),
        Warning::OldSeatDisputed { id } => format!(
            "the earlier registration {id} is of another key or another machine and was left as it is; if it was this \
             machine's, release its seat with: {}",
            release_command(id)
        ),
        Warning::OldSeatWithoutToken { id } => format!(
            "the token of the earlier registration {id} was lost, so its seat could not be released; release it with: {}",
            release_command(id)
        ),
        Warning::SeatMovedHere { from } => format!(
            "this machine looks like the one of registration {from} and has its seat now; if both are in use, each gets a \
             seat of its own while seats are free: 'els-register --status' shows in an hour whether this one has kept its seat"
        ),
        Warning::SeatMovedAway { until } => {
            let end = until.map(|until| format!("; without use, this registration ends on {}", until.date()));
            format!(
                "the seat of this machine has moved to a newer registration of a machine that looks the same; if both are in \
                 use, each gets a seat of its own while seats are free: run 'els-register --status' again in an hour{}",
                end.unwrap_or_default()
            )
        }
        Warning::NotReleased { id, what } => {
            let release = release_command(id);
            let later = "the next run tries again, or release its seat with";
            match what {
                NotReleased::New(cause) => {
                    format!("registration {id} could not be released ({}); {later}: {release}", failure(cause))
                }
                NotReleased::Superseded(cause) => {
                    let cause = failure(cause);
                    format!("the earlier registration {id} could not be released ({cause}); {later}: {release}")
                }
                NotReleased::Journaled => format!("registration {id} is not released yet; {later}: {release}"),
                NotReleased::Abandoned => {
                    format!("the seat of registration {id} was not released; release it with: {release}")
                }
            }
        }
        Warning::Journal(cause) => failure(cause),
        Warning::ReleasedThisMachine => {
            "that was this machine's own registration: 'els-register --unregister' removes its files".to_owned()
        }
        Warning::Forced(cause) => format!("files were removed although this failed: {}", failure(cause)),
        Warning::Offline => {
            "not run by root, so the backend was not asked: only what is known here is shown".to_owned()
        }
        Warning::Interrupted => {
            "an earlier run was interrupted: run the same command again, or --unregister".to_owned()
        }
    }
}

fn file_kept(kept: &FileKept) -> String {
    match kept {
        FileKept::Edited { path } => format!("{path} was edited here; it is kept"),
        FileKept::EditedBesideNew { path, new } => {
            format!(
                "{path} was edited here and is kept; the shipped one has changed since and is {new}: compare the two"
            )
        }
        FileKept::EditedAndMoved { path, to } => format!("{path} was edited here; it is now {to}"),
        FileKept::NotOurs { path, to } => format!("{path} was there already and is not ours; it is now {to}"),
        FileKept::OtherKey { path, to } => format!("{path} was there already, with another key; it is now {to}"),
        FileKept::OtherRelease { path, to } => {
            format!("{path} was there already; its value is now in {to}, and unregistering puts it back")
        }
        FileKept::NotTheInstalledKey { path } => format!("{path} is not the key that was installed; it is kept"),
    }
}
