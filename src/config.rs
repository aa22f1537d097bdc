//! What the administrator set: the configuration file, the flags over it, and where the key comes from.

use std::time::Duration;

use els_protocol::{BaseUrl, Label, LicenseKey};
use nix::errno::Errno;
use serde::Deserialize;

use crate::backend::Proxy;
use crate::cli::Options;
use crate::error::{Failure, Result};
use crate::root::{Root, named_is_public, read_named};

/// Where the configuration is, unless `--config` names another file.
pub(crate) const PATH: &str = "/etc/els-register.toml";

const DEFAULT_TIMEOUT: u64 = 60;

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
    /// PEM text of further CA certificates, and the file it came from.
    pub(crate) extra_certificates: Option<(String, Vec<u8>)>,
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
    pub(crate) problem: Option<String>,
}

impl Config {
    /// Reads the file and puts the flags over it.
    pub(crate) fn load(options: &Options, root: &Root) -> Result<Self> {
        let path = options.config.clone().unwrap_or_else(|| PATH.to_owned());
        let (content, public) = match &options.config {
            Some(path) => (Some(read_named(path).map_err(unreadable)?), named_is_public(path)),
            None => {
                let public = root.look(PATH).ok().flatten().is_some_and(|found| found.mode & 0o044 != 0);
                match root.read(PATH) {
                    // With a proxy's password in it the file is root's alone; other users have the defaults.
                    Err(error) if error.errno == Errno::EACCES && !nix::unistd::geteuid().is_root() => (None, public),
                    content => (content.map_err(unreadable)?, public),
                }
            }
        };
        let file = match content {
            Some(content) => parse(&path, &content)?,
            None => File::default(),
        };
        let wrong = |key: &'static str| {
            let path = path.clone();
            move |why: String| Failure::usage(format!("{path}: {key}: {why}"))
        };
        let server = file.server.as_deref().map(BaseUrl::parse).transpose().map_err(wrong("server"))?;
        let server_flag = options.server.as_deref().map(BaseUrl::parse).transpose();
        let server_flag = server_flag.map_err(|why| Failure::usage(format!("--server: {why}")))?;
        let timeout = match &options.timeout {
            Some(text) => text
                .parse()
                .ok()
                .filter(in_range)
                .ok_or_else(|| Failure::usage("--timeout: it is no number of seconds from 1 to 86400"))?,
            None => match file.timeout {
                Some(seconds) if !in_range(&seconds) => {
                    return Err(wrong("timeout")("it is no number of seconds from 1 to 86400".into()));
                }
                timeout => timeout.unwrap_or(DEFAULT_TIMEOUT),
            },
        };
        let extra_certificates = match (&options.ca_file, &file.ca_file) {
            (Some(named), _) => Some((named.clone(), read_named(named).map_err(unreadable)?)),
            (None, Some(below)) => {
                let content = root.read(below).map_err(unreadable)?;
                let missing = || wrong("ca_file")(format!("there is no file {below}"));
                Some((below.clone(), content.ok_or_else(missing)?))
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
            timeout: Duration::from_secs(timeout),
            gpg_key: file.gpg_key,
            label: file.label,
            support: file.support.map(|support| els_protocol::clean(&support, 200)),
            public,
            problem: None,
        })
    }

    /// The defaults, and what is wrong with the settings.
    pub(crate) fn without(problem: &Failure, options: &Options) -> Self {
        Config {
            path: options.config.clone().unwrap_or_else(|| PATH.to_owned()),
            timeout: Duration::from_secs(DEFAULT_TIMEOUT),
            problem: Some(problem.message.clone()),
            ..Config::default()
        }
    }
}

/// The label to send: the flag's, else the configuration's. `%H` in it becomes the host name.
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
    let text = if text.contains("%H") {
        let name = host_name().ok_or_else(|| Failure::usage(format!("{source}: %H: this machine has no host name")))?;
        text.replace("%H", &name)
    } else {
        text.clone()
    };
    Label::parse(&text).map(Some).map_err(|why| Failure::usage(format!("{source}: {why}")))
}

/// The license key: from `--key`, `--key-file`, `ELS_LICENSE_KEY`, or the systemd credential `els.key`. A source that is
/// named but unreadable or empty is an error, never a fall-through.
pub(crate) fn license_key(options: &Options) -> Result<LicenseKey> {
    let read = |path: &str| -> Result<String> {
        let content = read_named(path).map_err(unreadable)?;
        String::from_utf8(content).map_err(|_| Failure::usage(format!("{path}: the key file is no UTF-8 text")))
    };
    let credentials =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| std::path::Path::new(&folder).join("els.key"));
    let (text, source) = if let Some(key) = &options.key {
        (key.clone(), "--key".to_owned())
    } else if let Some(path) = &options.key_file {
        (read(path)?, format!("--key-file {path}"))
    } else if let Some(value) = std::env::var_os("ELS_LICENSE_KEY") {
        let text = value.into_string().map_err(|_| Failure::usage("ELS_LICENSE_KEY: it is no UTF-8 text"))?;
        (text, "ELS_LICENSE_KEY".to_owned())
    } else if let Some(path) = credentials.as_ref().and_then(|path| path.to_str()).filter(|path| named_exists(path)) {
        (read(path)?, path.to_owned())
    } else {
        return Err(Failure::usage("no license key was given").hint(
            "name it with --key KEY or --key-file FILE, in the environment as ELS_LICENSE_KEY, or as the systemd credential els.key",
        ));
    };
    LicenseKey::parse(&text).map_err(|error| {
        Failure::usage(format!("{source}: {error}")).hint("copy the key once more from where you were sent it")
    })
}

/// Whether anything stands at a path of the running system, readable or not.
fn named_exists(path: &str) -> bool {
    !matches!(read_named(path), Err(error) if error.errno == Errno::ENOENT)
}

fn in_range(seconds: &u64) -> bool {
    (1..=86_400).contains(seconds)
}

/// Reads the file's text. Errors name the place and the key, never a value: one may be a proxy's password.
pub(crate) fn parse(path: &str, content: &[u8]) -> Result<File> {
    let text = std::str::from_utf8(content).map_err(|_| Failure::usage(format!("{path}: it is no UTF-8 text")))?;
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}: line {line}"));
        let message = error.message().split(": ").next().unwrap_or_default();
        let key = line.and_then(|line| text.lines().nth(line - 1)).and_then(|line| line.split_once('='));
        let key = key.map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && key.bytes().all(is_key_byte));
        match key {
            Some(key) => Failure::usage(format!("{place}: {key}: {message}")),
            None => Failure::usage(format!("{place}: {message}")),
        }
    })
}

/// Judges the text of a configuration file as [`Config::load`] judges it before it looks at other files. Returns the server.
pub(crate) fn check(path: &str, content: &[u8]) -> Result<Option<BaseUrl>> {
    let file = parse(path, content)?;
    let wrong = |key: &str, why: &str| Failure::usage(format!("{path}: {key}: {why}"));
    let server = file.server.as_deref().map(BaseUrl::parse).transpose().map_err(|why| wrong("server", &why))?;
    if file.timeout.is_some_and(|seconds| !in_range(&seconds)) {
        return Err(wrong("timeout", "must be 1 to 86400 seconds"));
    }
    if let Some(proxy) = file.proxy.as_deref().filter(|proxy| !proxy.trim().is_empty()) {
        Proxy::parse(proxy).map_err(|why| wrong("proxy", &why))?;
    }
    let config = Config { path: path.to_owned(), label: file.label, ..Config::default() };
    label(&Options::default(), &config, || Some("host.example".to_owned()))?;
    Ok(server)
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn unreadable(error: crate::root::PathError) -> Failure {
    Failure::usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse("/etc/els-register.toml", text.as_bytes()).unwrap_err().message
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
    fn the_shipped_file_tells_of_every_member_and_sets_none() {
        let shipped = include_str!("../dist/els-register.toml");
        let nothing = format!("{:?}", parse("x", shipped.as_bytes()).unwrap());
        assert_eq!(nothing, format!("{:?}", File::default()));
        let lines = shipped.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')));
        let every = format!("{:?}", parse("x", lines.flatten().collect::<Vec<_>>().join("\n").as_bytes()).unwrap());
        assert!(!every.contains("None"), "{every}");
    }
}
