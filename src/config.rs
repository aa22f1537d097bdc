//! What the administrator set: the configuration file, the flags over it, and where the key comes from.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use els_host::config;
use els_host::failure::{Failure as Host, SettingFault};
use els_host::network::Choice;
use els_host::root::{PathError, Root, read_named};
use els_protocol::{BaseUrl, Label, LicenseKey};
use nix::errno::Errno;
use serde::Deserialize;

use crate::cli::Options;
use crate::failure::{Failure, KeyFault, LabelFault, Result};

/// Where the configuration is, unless `--config` names another file.
pub(crate) const PATH: &str = "/etc/els-register.toml";

/// The configuration file; every member may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    server: Option<String>,
    ca_file: Option<String>,
    proxy: Option<String>,
    timeout: Option<u64>,
    gpg_key: Option<String>,
    label: Option<String>,
    support: Option<String>,
}

/// The settings of a run.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where they were read from, for messages.
    pub(crate) path: String,
    /// The flag.
    pub(crate) server_flag: Option<BaseUrl>,
    /// The file's.
    pub(crate) server: Option<BaseUrl>,
    pub(crate) extra_certificates: Option<CaFile>,
    pub(crate) proxy_flag: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) timeout: Duration,
    /// A file below the root that holds the GPG key to install instead of the shipped one.
    pub(crate) gpg_key: Option<String>,
    pub(crate) label: Option<String>,
    /// Whom to ask, for error messages.
    pub(crate) support: Option<String>,
    /// Whether others than the owner may read the file.
    pub(crate) public: bool,
    /// What is wrong with the settings, for the one command that goes on without them.
    pub(crate) problem: Option<Failure>,
}

/// CA certificates to trust in addition to the system's.
#[derive(Debug)]
pub(crate) struct CaFile {
    /// Where the file was named, for messages.
    pub(crate) setting: String,
    pub(crate) path: String,
    /// The file.
    pub(crate) content: Vec<u8>,
}

impl Config {
    /// Reads the file and puts the options over it.
    pub(crate) fn load(options: &Options, root: &Root) -> Result<Self> {
        let path = options.config.clone().unwrap_or_else(|| PATH.to_owned());
        let found = match &options.config {
            Some(path) => Some(read_named(path).map_err(wrong_path("--config"))?),
            None => match root.read_with_mode(PATH) {
                // With a proxy's password in it the file is root's alone; other users have the defaults.
                Err(error) if error.errno == Errno::EACCES && !nix::unistd::geteuid().is_root() => None,
                found => found.map_err(Host::Named)?,
            },
        };
        let public = found.as_ref().is_some_and(|(_, mode)| mode & 0o044 != 0);
        let file = found.map(|(content, _)| parse(&path, &content)).transpose()?.unwrap_or_default();
        let named = |key: &str| format!("{path}: {key}");
        let url = |name: String, text: &Option<String>| {
            let wrong = |why| Host::setting(name, SettingFault::Url { why });
            text.as_deref().map(BaseUrl::parse).transpose().map_err(wrong)
        };
        let server = url(named("server"), &file.server)?;
        let server_flag = url("--server".to_owned(), &options.server)?;
        let timeout = config::timeout(("--timeout", options.timeout.as_deref()), (&named("timeout"), file.timeout))?;
        let extra_certificates = match (&options.ca_file, &file.ca_file) {
            (Some(path), _) => {
                let (content, _) = read_named(path).map_err(wrong_path("--ca-file"))?;
                Some(CaFile { setting: "--ca-file".to_owned(), path: path.clone(), content })
            }
            (None, Some(below)) => {
                let setting = named("ca_file");
                let missing = SettingFault::MissingFile { path: below.clone() };
                let content = root.read(below).map_err(wrong_path(&setting))?;
                let content = content.ok_or_else(|| Host::setting(&*setting, missing))?;
                Some(CaFile { setting, path: below.clone(), content })
            }
            (None, None) => None,
        };
        Ok(Config {
            path,
            server_flag,
            server,
            extra_certificates,
            proxy_flag: options.proxy.clone(),
            proxy: file.proxy.filter(|proxy| !proxy.trim().is_empty()),
            timeout,
            gpg_key: file.gpg_key,
            label: file.label,
            support: file.support.map(|support| els_protocol::clean(&support, 200)),
            public,
            problem: None,
        })
    }

    /// The defaults, and what is wrong with the settings.
    pub(crate) fn without(problem: Failure, options: &Options) -> Self {
        Config {
            path: options.config.clone().unwrap_or_else(|| PATH.to_owned()),
            timeout: Duration::from_secs(config::DEFAULT_TIMEOUT),
            problem: Some(problem),
            ..Config::default()
        }
    }
}

/// The label to send: the option's, else the configuration's. `%H` in it becomes the host name.
pub(crate) fn label(
    options: &Options,
    config: &Config,
    host_name: impl FnOnce() -> Option<String>,
) -> Result<Option<Label>> {
    let (text, source) = match (&options.label, &config.label) {
        (Some(text), _) => (text, "--label".to_owned()),
        (None, Some(text)) => (text, format!("{}: label", config.path)),
        (None, None) => return Ok(None),
    };
    let wrong = |fault| Failure::Label { source: source.clone(), fault };
    let text = if text.contains("%H") {
        text.replace("%H", &host_name().ok_or_else(|| wrong(LabelFault::NoHostName))?)
    } else {
        text.clone()
    };
    Label::parse(&text).map(Some).map_err(|why| wrong(LabelFault::Wrong(why)))
}

/// The license key: from `--key`, `--key-file`, `ELS_LICENSE_KEY`, or the systemd credential `els.key`. A source that is
/// named but unreadable or empty is an error; the next source is not tried.
pub(crate) fn license_key(options: &Options) -> Result<LicenseKey> {
    let (content, source) = if let Some(key) = &options.key {
        (key.clone().into_bytes(), "--key".to_owned())
    } else if let Some(path) = &options.key_file {
        let (content, _) = read_named(path).map_err(wrong_path("--key-file"))?;
        (content, format!("--key-file {path}"))
    } else if let Some(value) = std::env::var_os("ELS_LICENSE_KEY") {
        (value.into_vec(), "ELS_LICENSE_KEY".to_owned())
    } else {
        credential()?.ok_or(Failure::NoKey)?
    };
    let wrong = |fault| Failure::Key { source: source.clone(), fault };
    let text = String::from_utf8(content).map_err(|_| wrong(KeyFault::NotUtf8))?;
    LicenseKey::parse(&text).map_err(|error| wrong(KeyFault::Wrong(error)))
}

/// The systemd credential, and its path; `None` if there is none.
fn credential() -> Result<Option<(Vec<u8>, String)>> {
    const NAME: &str = "CREDENTIALS_DIRECTORY";
    let Some(folder) = std::env::var_os(NAME) else { return Ok(None) };
    let folder = folder.into_string().map_err(|_| Host::setting(NAME, SettingFault::NotUtf8))?;
    let path = format!("{folder}/els.key");
    match read_named(&path) {
        Err(error) if error.errno == Errno::ENOENT => Ok(None),
        found => Ok(Some((found.map_err(Host::Named)?.0, path))),
    }
}

/// Reads the file's text.
pub(crate) fn parse(path: &str, content: &[u8]) -> els_host::failure::Result<File> {
    config::parse(path, content)
}

/// Checks the text of a configuration file as [`Config::load`] does before it looks at other files. Returns the server.
pub(crate) fn check(path: &str, content: &[u8]) -> Result<Option<BaseUrl>> {
    let file = parse(path, content)?;
    let named = |key: &str| format!("{path}: {key}");
    let wrong = |key: &str, fault| Host::setting(named(key), fault);
    let server = file.server.as_deref().map(BaseUrl::parse).transpose();
    let server = server.map_err(|why| wrong("server", SettingFault::Url { why }))?;
    config::timeout(("", None), (&named("timeout"), file.timeout))?;
    if let Some(proxy) = file.proxy.as_deref().filter(|proxy| !proxy.trim().is_empty()) {
        Choice::parse(proxy).map_err(|fault| wrong("proxy", SettingFault::Proxy(fault)))?;
    }
    let config = Config { path: path.to_owned(), label: file.label, ..Config::default() };
    label(&Options::default(), &config, || Some("host.example".to_owned()))?;
    Ok(server)
}

fn wrong_path(setting: &str) -> impl FnOnce(PathError) -> Host {
    let setting = setting.to_owned();
    move |error| Host::setting(setting, SettingFault::Path(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        els_host::messages::failure(&parse("/etc/els-register.toml", text.as_bytes()).unwrap_err())
    }

    /// Promise: config-errors
    #[test]
    fn a_mistake_in_the_file_is_named_by_line_and_key_without_its_value() {
        assert_eq!(
            wrong("\nservre = \"https://x\"\n").split(": ").take(3).collect::<Vec<_>>(),
            ["/etc/els-register.toml", "line 2", "servre"]
        );
        let message = wrong("timeout = \"http://u:hunter2@h\"");
        assert!(message.contains("timeout") && !message.contains("hunter2"), "{message}");
        let message = wrong("proxy = \"http://u:hunter2@h\nserver = 1");
        assert!(message.contains("line 1") && !message.contains("hunter2"), "{message}");
    }

    /// Promise: config-errors
    #[test]
    fn every_member_is_read() {
        let text = "server='https://a'\nca_file='/b'\nproxy='c'\ntimeout=9\ngpg_key='/d'\nlabel='e'\nsupport='f'\n";
        let file = parse("x", text.as_bytes()).unwrap();
        assert_eq!((file.timeout, file.support.as_deref()), (Some(9), Some("f")));
    }

    /// Promise: pages-match-code
    #[test]
    fn the_shipped_file_names_every_member_and_sets_none() {
        let shipped = include_str!("../dist/els-register.toml");
        let nothing = format!("{:?}", parse("x", shipped.as_bytes()).unwrap());
        assert_eq!(nothing, format!("{:?}", File::default()));
        let lines = shipped.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')));
        let every = format!("{:?}", parse("x", lines.flatten().collect::<Vec<_>>().join("\n").as_bytes()).unwrap());
        assert!(!every.contains("None"), "{every}");
    }
}
