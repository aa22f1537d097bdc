//! Where the PostgreSQL is: its URL, and whether the way to it is encrypted.
//!
//! Owns the forms of `postgres://…` and the rule that a password and a machine's ids never cross a network in the clear. Its
//! errors repeat nothing of the URL, which may hold a password. Connects to nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// A PostgreSQL, by its URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) config: Config,
    pub(super) encryption: Encryption,
}

/// How the way there is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Not at all: the same machine, or the administrator says so.
    None,
    /// TLS, the server's name and certificate verified: by the system's store, or by this file alone.
    Verified(Option<PathBuf>),
}

impl Target {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?OPTIONS`, as libpq has it (PostgreSQL documentation, 34.1.1.2).
    pub fn parse(url: &str) -> Result<Self, String> {
        let (url, ssl) = without_ssl_options(url)?;
        let mut config: Config = url.parse().map_err(|_| {
            "the PostgreSQL URL cannot be read; write postgres://USER@HOST/DATABASE, special characters in a password as %XX"
                .to_owned()
        })?;
        if config.get_hosts().is_empty() {
            return Err(
                "the PostgreSQL URL names no host; for a socket write postgres:///DATABASE?host=/run/postgresql".into(),
            );
        }
        if config.get_dbname().is_none() {
            return Err("the PostgreSQL URL names no database; write postgres://USER@HOST/DATABASE".into());
        }
        let local = config.get_hosts().iter().all(is_local);
        let encryption = match ssl.mode.as_deref() {
            Some("disable") => Encryption::None,
            Some("require" | "verify-ca" | "verify-full") => Encryption::Verified(ssl.root),
            Some(_) => {
                return Err(
                    "sslmode is disable or verify-full; whatever lies between may send the password in the clear"
                        .into(),
                );
            }
            None if ssl.root.is_some() => Encryption::Verified(ssl.root),
            None if local => Encryption::None,
            None => Encryption::Verified(None),
        };
        config.ssl_mode(match encryption {
            Encryption::None => SslMode::Disable,
            Encryption::Verified(_) => SslMode::Require,
        });
        // Of several hosts, the one that can be written: after a failover that is another one.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("els-backend");
        }
        // What waits for a lock longer than this waits for a node that hangs. There is no statement_timeout: it would also end
        // the wait of a COMMIT for its standby, which PostgreSQL then reports as done.
        let options = config.get_options().map_or(String::new(), |options| format!("{options} "));
        config
            .options(format!("{options}-c lock_timeout=5000 -c jit=off -c idle_in_transaction_session_timeout=30000"));
        Ok(Target { config, encryption })
    }

    /// One configuration for each host: each gets a time of its own, which also holds for a server that accepts a connection
    /// and then says nothing.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let all = &self.config;
        let one = |number: usize, host: &Host| {
            let mut one = Config::new();
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            if let Some(address) = all.get_hostaddrs().get(number) {
                one.hostaddr(*address);
            }
            if let Some(port) = all.get_ports().get(number).or(all.get_ports().first()) {
                one.port(*port);
            }
            all.get_user().map(|user| one.user(user));
            all.get_password().map(|password| one.password(password));
            all.get_dbname().map(|name| one.dbname(name));
            all.get_options().map(|options| one.options(options));
            all.get_application_name().map(|name| one.application_name(name));
            all.get_connect_timeout().map(|most| one.connect_timeout(*most));
            all.get_tcp_user_timeout().map(|most| one.tcp_user_timeout(*most));
            all.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
            all.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
            one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
            one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
            one.channel_binding(all.get_channel_binding()).target_session_attrs(all.get_target_session_attrs());
            one
        };
        all.get_hosts().iter().enumerate().map(|(number, host)| one(number, host)).collect()
    }

    /// Host and database, for messages.
    pub(super) fn shown(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        format!("{} at {}", self.config.get_dbname().unwrap_or("?"), hosts.join(","))
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.shown())
    }
}

#[derive(Default)]
struct SslOptions {
    mode: Option<String>,
    root: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL: the library knows less of the one and nothing of the other.
fn without_ssl_options(url: &str) -> Result<(String, SslOptions), String> {
    let mut ssl = SslOptions::default();
    let Some((front, query)) = url.split_once('?') else { return Ok((url.to_owned(), ssl)) };
    let mut kept = Vec::new();
    for option in query.split('&') {
        match option.split_once('=') {
            Some(("sslmode", mode)) => ssl.mode = Some(mode.to_owned()),
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) => {
                let path = percent_decoded(path).ok_or("sslrootcert: not the path of a file")?;
                ssl.root = Some(PathBuf::from(path));
            }
            _ => kept.push(option),
        }
    }
    let url = if kept.is_empty() { front.to_owned() } else { format!("{front}?{}", kept.join("&")) };
    Ok((url, ssl))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

/// The longest wait for a connection to one host: long for a network, short for those who wait for an answer.
const CONNECT: Duration = Duration::from_secs(2);
/// How long what was sent may go unacknowledged before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(url: &str) -> Encryption {
        Target::parse(url).unwrap().encryption
    }

    /// Promise: nodes-encrypted
    #[test]
    fn the_way_beyond_this_machine_is_encrypted_and_verified_unless_it_is_said_otherwise() {
        let local = ["postgres://els@localhost/els", "postgres://els@127.0.0.1:5433/els", "postgres://els@[::1]/els"];
        for url in local.into_iter().chain(["postgres:///els?host=/run/postgresql&user=els"]) {
            assert_eq!(encryption(url), Encryption::None, "{url}");
        }
        assert_eq!(encryption("postgres://els@db1,db2/els"), Encryption::Verified(None));
        assert_eq!(encryption("postgres://els@localhost,db2/els"), Encryption::Verified(None));
        assert_eq!(encryption("postgres://els@db1/els?sslmode=disable"), Encryption::None);
        assert_eq!(encryption("postgres://els@db1/els?sslmode=require"), Encryption::Verified(None));
        let file = "postgres://els@localhost/els?sslrootcert=/etc/pki/our%20ca.pem&connect_timeout=9";
        assert_eq!(encryption(file), Encryption::Verified(Some("/etc/pki/our ca.pem".into())));
        assert_eq!(Target::parse(file).unwrap().config.get_connect_timeout(), Some(&Duration::from_secs(9)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_being_repeated() {
        for url in [
            "postgres://",
            "postgres:///els",
            "postgres://els:hunter2@db1",
            "postgres://els:hunter2@db1:port/els",
            "postgres://els:hunter2@db1/els?sslmode=prefer",
            "postgres://els:hunter2@db1/els?sslmode=allow",
            "postgres://els:hunter2@db1/els?sslrootcert=%G",
            "postgres://els:hunter2@db1/els?colour=red",
        ] {
            let message = Target::parse(url).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        let shown = format!("{:?}", Target::parse("postgres://els:hunter2@db1/els").unwrap());
        assert_eq!(shown, "Target(els at db1)");
    }
}
