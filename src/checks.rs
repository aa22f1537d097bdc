//! What an administrator should know although nothing has failed: each check is one warning.

use els_host::failure::Failure as Host;
use els_host::ini::{Section, sections};
use els_host::network::{Choice, Client, Source};
use els_host::root::Root;
use els_host::{dnf_conf, machine};
use els_protocol::Timestamp;
use els_protocol::wire::{Registration, RegistrationState};

use crate::config::Config;
use crate::failure::Result;
use crate::repo;
use crate::report::Report;
use crate::warning::Warning;

/// Warns of enabled repositories that are neither ours nor the distribution's.
pub(crate) fn third_party_repositories(root: &Root, report: &mut Report) {
    match enabled_third_party(root) {
        Ok(ids) if ids.is_empty() => {}
        Ok(ids) => report.warn(Warning::ThirdParty { ids }),
        Err(failure) => report.warn(Warning::ThirdPartyUnknown(failure)),
    }
}

/// Before `$releasever` is pinned: warns of enabled repositories of others that use it, since many know no minor release.
pub(crate) fn pinned_release(root: &Root, release: &'static str, report: &mut Report) {
    let uses = |section: &Section| {
        let urls = ["baseurl", "mirrorlist", "metalink"].iter().filter_map(|key| section.get(key));
        urls.into_iter().any(|url| url.contains("$releasever") || url.contains("${releasever"))
    };
    match third_party(root, uses) {
        Ok(ids) if ids.is_empty() => {}
        Ok(ids) => report.warn(Warning::ReleasePinned { ids, release }),
        Err(failure) => report.warn(Warning::ThirdPartyUnknown(failure)),
    }
}

/// The ids of enabled repositories that are neither ours nor the distribution's. The distribution's come in files whose
/// names begin with its `ID`, or with a name that EL distributions share.
pub(crate) fn enabled_third_party(root: &Root) -> Result<Vec<String>> {
    third_party(root, |_| true)
}

fn third_party(root: &Root, which: impl Fn(&Section) -> bool) -> Result<Vec<String>> {
    const SHARED: [&str; 2] = ["redhat", "centos"];
    let id = machine::operating_system(root)?.id;
    let ours = repo::REPO.path.rsplit('/').next().unwrap_or_default();
    let mut found = Vec::new();
    for folder in REPO_FOLDERS {
        for name in root.list(folder)? {
            let distribution = name.starts_with(&id) || SHARED.iter().any(|shared| name.starts_with(shared));
            if !name.ends_with(".repo") || name == ours || distribution {
                continue;
            }
            let text = root.read(&format!("{folder}/{name}"))?.unwrap_or_default();
            // `els-…` is ours in any file: the vendor's repository of this program's own package has such an id.
            let enabled = sections(&String::from_utf8_lossy(&text))
                .into_iter()
                .filter(|section| section.id != "main" && !section.id.starts_with("els-") && section.enabled())
                .filter(|section| which(section));
            found.extend(enabled.map(|section| els_protocol::clean(&section.id, 64)));
        }
    }
    Ok(found)
}

/// Warns that the key expires soon, or has expired. `confirmed`: the backend said so.
pub(crate) fn expiry(expires: Timestamp, now: Timestamp, confirmed: bool, report: &mut Report) {
    let days = expires.seconds_since(now).div_euclid(DAY);
    if days < 0 {
        report.warn(Warning::Expired { expires, confirmed });
    } else if days < EXPIRY_NOTICE {
        report.warn(Warning::ExpiresSoon { expires, days });
    }
}

/// Warns that the seat is another registration's now.
pub(crate) fn superseded(answer: &Registration, report: &mut Report) {
    if answer.state == RegistrationState::Superseded {
        report.warn(Warning::SeatMovedAway { until: answer.until });
    }
}

/// Warns of a clock that is far from the backend's.
pub(crate) fn clock(client: &Client, report: &mut Report) {
    if let Some(ahead) = client.ahead()
        && ahead.abs() > CLOCK_TOLERANCE
    {
        report.warn(Warning::Clock { behind: ahead / 60 });
    }
}

/// Warns of a proxy and a CA that this program was given and dnf was not, and of a proxy password that all users can read.
pub(crate) fn dnf_agrees(client: &Client, config: &Config, root: &Root, report: &mut Report) {
    for (proxy, source) in client.used_proxies() {
        let known = match dnf_conf::proxy(root) {
            Ok(Some(Choice::Through(dnf))) => (dnf.kind, &dnf.host, dnf.port) == (proxy.kind, &proxy.host, proxy.port),
            Ok(Some(Choice::Direct) | None) => false,
            // What dnf would use is unknown if its file cannot be read; a proxy that cannot be used is not this one.
            Err(failure) => matches!(failure, Host::Named(_)),
        };
        if source != Source::DnfConf && !known {
            let (proxy, user) = (proxy.to_string(), proxy.user.clone());
            report.warn(Warning::ProxyUnknownToDnf { source: source.clone(), proxy, user });
        }
        if proxy.password.is_none() {
            continue;
        }
        match source {
            Source::Config(path) if config.public => report.warn(Warning::ProxyPasswordReadable { path, dnf: false }),
            Source::DnfConf => {
                // It was read for the proxy; where it can no longer be, nothing can be said of its mode.
                let found = root.read_with_mode(dnf_conf::PATH).ok().flatten();
                if found.is_some_and(|(_, mode)| mode & 0o044 != 0) {
                    report.warn(Warning::ProxyPasswordReadable { path: dnf_conf::PATH.to_owned(), dnf: true });
                }
            }
            Source::Config(_) | Source::Flag | Source::Environment(_) => {}
        }
    }
    if client.needed_extra_certificates()
        && let Some(file) = &config.extra_certificates
    {
        report.warn(Warning::CaUnknownToDnf { path: file.path.clone() });
    }
}

/// Where dnf looks for repo files unless dnf.conf says otherwise (dnf.conf(5), `reposdir`).
const REPO_FOLDERS: [&str; 3] = ["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"];
/// Seconds by which two clocks may differ.
const CLOCK_TOLERANCE: i64 = 5 * 60;
/// Days before the expiry from which there is a warning.
const EXPIRY_NOTICE: i64 = 60;
const DAY: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(expires: i64, asked: bool) -> Vec<&'static str> {
        let mut report = Report::default();
        let now = Timestamp::from_unix(1_000_000_000);
        expiry(now.plus_seconds(expires), now, asked, &mut report);
        report.warnings.iter().map(Warning::code).collect()
    }

    /// Promise: status-expiry
    #[test]
    fn the_expiry_is_announced_sixty_days_before() {
        assert_eq!(warnings(61 * DAY, true), [""; 0]);
        assert_eq!(warnings(60 * DAY - 1, true), ["expires-soon"]);
        assert_eq!(warnings(0, true), ["expires-soon"]);
        assert_eq!(warnings(-1, true), ["expired"]);
        assert_eq!(warnings(-1, false), ["expired"]);
    }
}
