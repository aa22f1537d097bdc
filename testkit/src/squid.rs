//! A real squid on the loopback interface, with and without a password.
//!
//! Its use can be seen: each tunnel is in its access log, and its connections come from an address of its own, so that the log
//! of a server shows which requests came without the proxy.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use nix::unistd::User;
use tempfile::TempDir;

use crate::process::{Server, ends_with_its_thread, folder, free_port, program, run, wait_until};

/// The address from which squid connects to servers.
pub const SQUID_ADDRESS: &str = "127.0.0.77";

/// A running squid.
pub struct Squid {
    folder: TempDir,
    port: u16,
    _server: Server,
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `CONNECT` for a tunnel.
    pub method: String,
    /// `HOST:PORT`.
    pub target: String,
    /// 200 for a tunnel that was opened, 407 where a password is required.
    pub status: String,
    /// Who opened it; `-` without a password.
    pub user: String,
}

impl Squid {
    /// A proxy without a password.
    pub fn open() -> Squid {
        Squid::start(None)
    }

    /// A proxy that requires this user name and password (Basic).
    pub fn with_password(user: &str, password: &str) -> Squid {
        Squid::start(Some((user, password)))
    }

    fn start(password: Option<(&str, &str)>) -> Squid {
        let folder = folder();
        let place = folder.path();
        // squid does not run as root: it becomes the user that Debian made for it.
        let user = User::from_name("proxy").ok().flatten().expect("the user `proxy`, which Debian has");
        chown(place, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("a folder that squid can write");
        let port = free_port();
        let rule = match password {
            None => "http_access allow CONNECT".to_owned(),
            Some((user, password)) => {
                let file = place.join("passwords");
                run(Command::new(program("htpasswd")).args(["-b", "-c"]).arg(&file).args([user, password])).succeeds();
                format!(
                    "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\nacl known proxy_auth REQUIRED\n\
                     http_access allow CONNECT known",
                    file.display()
                )
            }
        };
        let place = place.display();
        let configuration = format!(
            "http_port 127.0.0.1:{port}\n{rule}\nhttp_access deny all\ntcp_outgoing_address {SQUID_ADDRESS}\n\
             logformat plain %rm %ru %>Hs %un\naccess_log stdio:{place}/access.log plain\n\
             cache_log {place}/cache.log\ncache deny all\npid_filename none\ncoredump_dir none\npinger_enable off\n\
             visible_hostname squid.example.com\nshutdown_lifetime 0 seconds\nmax_filedescriptors 1024\n"
        );
        let file = folder.path().join("squid.conf");
        fs::write(&file, configuration).expect("a configuration for squid");
        let mut command = ends_with_its_thread(program("squid"), true);
        command.arg("--foreground").arg("-N").arg("-f").arg(&file);
        let mut server = Server::start("squid", command);
        server.wait_for_port(port);
        Squid { folder, port, _server: server }
    }

    /// The proxy's URL, without a user name.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The proxy's URL with a user name and a password.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// The access log so far. squid logs a tunnel when it is closed.
    pub fn accesses(&self) -> Vec<Access> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                Some(Access {
                    method: words.next()?,
                    target: words.next()?,
                    status: words.next()?,
                    user: words.next().unwrap_or_default(),
                })
            })
            // The connections that checked whether squid is ready.
            .filter(|access| access.method != "NONE" && access.target != "error:transaction-end-before-headers")
            .collect()
    }

    /// The access log, once it has `count` lines.
    #[track_caller]
    pub fn wait_for_accesses(&self, count: usize) -> Vec<Access> {
        wait_until("the access log of squid", || self.accesses().len() >= count);
        self.accesses()
    }
}
