//! What an administrator should know though nothing has failed: each check is one warning.

use els_protocol::Timestamp;

use crate::backend::{Client, Proxy, Source};
use crate::config::{self, Config};
use crate::ini::sections;
use crate::machine;
use crate::output::Report;
use crate::repo;
use crate::root::Root;

/// Where dnf looks for repo files unless dnf.conf says otherwise (dnf.conf(5), `reposdir`).
const REPO_FOLDERS: [&str; 3] = ["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"];
const DNF_CONF: &str = "/etc/dnf/dnf.conf";
/// Seconds by which two clocks may differ.
const CLOCK_TOLERANCE: i64 = 5 * 60;
/// From how many days before the expiry on there is a warning.
const EXPIRY_NOTICE: i64 = 60;
const DAY: i64 = 24 * 60 * 60;

/// The proxy that dnf.conf names, with its login; the error says what is wrong with it, without its value.
pub(crate) fn dnf_proxy(root: &Root) -> Result<Option<Proxy>, String> {
    read_dnf_proxy(&root.read_text(DNF_CONF).map_err(|error| error.to_string())?.unwrap_or_default())
}

/// The same, from the text of dnf.conf.
pub(crate) fn read_dnf_proxy(text: &str) -> Result<Option<Proxy>, String> {
    let Some(main) = sections(text).into_iter().find(|section| section.id == "main") else { return Ok(None) };
    let value = |key: &str| main.get(key).filter(|value| !value.is_empty());
    let Some(text) = value("proxy").filter(|text| !text.eq_ignore_ascii_case("_none_")) else { return Ok(None) };
    let mut proxy = Proxy::parse(text).map_err(|why| format!("{DNF_CONF}: proxy: {why}"))?;
    if let Some(user) = value("proxy_username") {
        proxy.user = Some(user.to_owned());
        proxy.password = value("proxy_password").map(els_protocol::Secret::new);
    }
    Ok(Some(proxy))
}

/// Warns of an enabled repository that is neither ours nor the distribution's.
pub(crate) fn third_party_repositories(root: &Root, report: &mut Report) {
    let found = enabled_third_party(root);
    if !found.is_empty() {
        report.warn(
            "third-party-repository",
            format!(
                "enabled repositories that are neither ELS nor the distribution's: {}; their packages may replace or need \
                 newer ones than ELS has ('dnf config-manager --set-disabled ID' switches one off)",
                found.join(", ")
            ),
        );
    }
}

/// The ids of enabled repositories that are neither ours nor the distribution's. The distribution's come in files that begin
/// with its `ID`, or with a name that EL distributions share.
pub(crate) fn enabled_third_party(root: &Root) -> Vec<String> {
    const SHARED: [&str; 2] = ["redhat", "centos"];
    let id = machine::operating_system(root).map(|os| os.id).unwrap_or_default();
    let ours = repo::REPO.path.rsplit('/').next().unwrap_or_default();
    let mut found = Vec::new();
    for folder in REPO_FOLDERS {
        for name in root.list(folder).unwrap_or_default() {
            let distribution =
                !id.is_empty() && name.starts_with(&id) || SHARED.iter().any(|shared| name.starts_with(shared));
            if !name.ends_with(".repo") || name == ours || distribution {
                continue;
            }
            let text = root.read_text(&format!("{folder}/{name}")).ok().flatten().unwrap_or_default();
            // `els-…` is ours in any file: the vendor's repository of this program's own package is named so.
            let enabled = sections(&text)
                .into_iter()
                .filter(|section| section.id != "main" && !section.id.starts_with("els-") && section.enabled());
            found.extend(enabled.map(|section| els_protocol::clean(&section.id, 64)));
        }
    }
    found
}

/// Warns that the key expires soon, or has expired as far as is known.
pub(crate) fn expiry(expires: Timestamp, now: Timestamp, asked: bool, report: &mut Report) {
    let days = expires.seconds_since(now).div_euclid(DAY);
    if days < 0 && !asked {
        report.warn(
            "expired",
            format!("the key expired on {}, as far as is known here; a renewal is not visible offline", expires.date()),
        );
    } else if days < 0 {
        report
            .warn("expired", format!("the key expired on {}; new updates stop once its grace is over", expires.date()));
    } else if days < EXPIRY_NOTICE {
        report.warn("expires-soon", format!("the key expires on {} ({days} days left)", expires.date()));
    }
}

/// Warns of a clock that is far from the backend's.
pub(crate) fn clock(client: &Client, report: &mut Report) {
    if let Some(ahead) = client.ahead()
        && ahead.abs() > CLOCK_TOLERANCE
    {
        let direction = if ahead > 0 { "behind" } else { "ahead of" };
        report.warn(
            "clock",
            format!(
                "this machine's clock is {} minutes {direction} the backend's: TLS and signatures depend on it \
                 ('timedatectl', 'chronyc tracking')",
                ahead.abs() / 60
            ),
        );
    }
}

/// Warns of what this program was told and dnf was not: a proxy, a CA. And of a proxy password that all can read.
pub(crate) fn dnf_agrees(client: &Client, config: &Config, root: &Root, report: &mut Report) {
    let of_dnf = dnf_proxy(root).ok().flatten();
    for (proxy, source) in client.used_proxies() {
        let known = of_dnf.as_ref().is_some_and(|dnf| (&dnf.host, dnf.port) == (&proxy.host, proxy.port));
        if source != Source::DnfConf && !known {
            let login = match &proxy.user {
                Some(user) => format!(", proxy_username={user}, proxy_password=..."),
                None => String::new(),
            };
            report.warn(
                "proxy-unknown-to-dnf",
                format!(
                    "the proxy comes from {source}, which dnf does not read; add to [main] of {DNF_CONF}: proxy={proxy}{login}"
                ),
            );
        }
        let public = match &source {
            Source::Config(_) => config.public,
            Source::DnfConf => root.look(DNF_CONF).ok().flatten().is_some_and(|found| found.mode & 0o044 != 0),
            Source::Flag | Source::Environment(_) => false,
        };
        if public && proxy.password.is_some() {
            let (file, remedy) = match &source {
                Source::Config(path) if path != config::PATH => (path.as_str(), format!("chmod 600 {path}")),
                Source::Config(_) => (config::PATH, format!("chmod 600 {}", config::PATH)),
                _ => (DNF_CONF, format!("chmod 600 {DNF_CONF}, if only root runs dnf")),
            };
            report.warn(
                "proxy-password-readable",
                format!("{file} holds a proxy password and others can read it: {remedy}"),
            );
        }
    }
    if client.needed_extra_certificates() {
        let file = config.extra_certificates.as_ref().map_or("the CA file", |(path, _)| path.as_str());
        report.warn(
            "ca-unknown-to-dnf",
            format!(
                "without {file} this system does not trust the host, so dnf will refuse it: cp {file} \
                 /etc/pki/ca-trust/source/anchors/ && update-ca-trust"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(expires: i64, asked: bool) -> Vec<&'static str> {
        let mut report = Report::default();
        let now = Timestamp::from_unix(1_000_000_000);
        expiry(now.plus_seconds(expires), now, asked, &mut report);
        report.warnings.iter().map(|warning| warning.code).collect()
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
