//! nginx and Caddy in front of a backend, from the shipped configurations.
//!
//! A configuration is used as it is shipped, except for the lines marked SITE, which an administrator changes too. A line that
//! is not found fails the test, so that the tests use what is shipped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::backend::{Backend, Settings};
use crate::process::{Server, ends_with_its_thread, folder, free_port, program};
use crate::tls::Authority;

/// Which web server.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nginx,
    Caddy,
}

/// A web server with a backend of its own behind it.
pub struct WebServer {
    /// The backend; machines reach it at [`WebServer::url`].
    pub backend: Backend,
    authority: Authority,
    folder: TempDir,
    port: u16,
    server: Server,
}

impl WebServer {
    /// Starts a backend and the web server before it; the packages are those in `root`.
    #[track_caller]
    pub fn start(kind: Kind, root: &Path) -> WebServer {
        let folder = folder();
        let port = free_port();
        let settings =
            Settings::default().plain().argument("--public-url").argument(format!("https://127.0.0.1:{port}"));
        let backend = settings.argument("--trusted-proxy").argument("127.0.0.1/32").start();
        let authority = Authority::new("The authority of this web server");
        let certificate = authority.server_certificate();
        let place = folder.path();
        fs::write(place.join("server.pem"), certificate.certificate).expect("a certificate file");
        fs::write(place.join("server.key"), certificate.key).expect("a key file");
        fs::create_dir(place.join("srv")).expect("a folder");
        symlink(root, place.join("srv/repo")).expect("a link to the packages");
        let command = match kind {
            Kind::Nginx => {
                let file = nginx_configuration(place, port, backend.address());
                let mut command = ends_with_its_thread(program("nginx"), true);
                command.arg("-e").arg(place.join("error.log")).arg("-c").arg(file);
                command
            }
            Kind::Caddy => {
                let file = caddy_configuration(place, port, backend.address());
                let mut command = ends_with_its_thread(program("caddy"), true);
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("HOME", place).env("XDG_DATA_HOME", place).env("XDG_CONFIG_HOME", place);
                command
            }
        };
        let mut server = Server::start(&format!("{kind:?}"), command);
        server.wait_for_port(port);
        WebServer { backend, authority, folder, port, server }
    }

    /// Where machines reach it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The authority that signed its certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Everything that it has logged, in files and on its outputs.
    pub fn log_text(&self) -> String {
        let files = ["error.log", "access.log"].map(|name| fs::read_to_string(self.folder.path().join(name)));
        let files: String = files.into_iter().flatten().collect();
        files + &self.server.log().join("\n")
    }
}

fn nginx_configuration(place: &Path, port: u16, backend: &str) -> String {
    let shipped = shipped(NGINX);
    let folder = place.display();
    let site = change(
        &shipped,
        &[
            ("server 127.0.0.1:8080;", &format!("server {backend};")),
            ("listen 443 ssl http2;", &format!("listen 127.0.0.1:{port} ssl http2;")),
            ("listen [::]:443 ssl http2;", &format!("listen 127.0.0.2:{port} ssl http2;")),
            ("server_name els.example.com;", "server_name 127.0.0.1;"),
            ("/etc/els-backend/tls/fullchain.pem;", &format!("{folder}/server.pem;")),
            ("/etc/els-backend/tls/privkey.pem;", &format!("{folder}/server.key;")),
            ("root /srv/els;", &format!("root {folder}/srv;")),
            (
                "access_log /var/log/nginx/els-access.log els buffer=64k flush=5s;",
                &format!("access_log {folder}/access.log els;"),
            ),
        ],
    );
    // What the nginx.conf of Debian and EL has around conf.d, as far as the tests need it.
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    let text = format!(
        "daemon off;\nworker_processes 1;\nuser www-data;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n\
         events {{ worker_connections 256; }}\nhttp {{\n{paths}{site}\n}}\n"
    );
    write(place, "nginx.conf", &text)
}

fn caddy_configuration(place: &Path, port: u16, backend: &str) -> String {
    let shipped = shipped(CADDY);
    let folder = place.display();
    let text = change(
        &shipped,
        &[
            ("admin localhost:2019", "admin off"),
            ("https://els.example.com {", &format!("https://127.0.0.1:{port} {{")),
            ("/etc/els-backend/tls/fullchain.pem", &format!("{folder}/server.pem")),
            ("/etc/els-backend/tls/privkey.pem", &format!("{folder}/server.key")),
            ("root * /srv/els", &format!("root * {folder}/srv")),
            ("output file /var/log/caddy/els-access.log", &format!("output file {folder}/access.log")),
            ("reverse_proxy 127.0.0.1:8080 {", &format!("reverse_proxy {backend} {{")),
            ("forward_auth 127.0.0.1:8080 {", &format!("forward_auth {backend} {{")),
        ],
    );
    write(place, "Caddyfile", &text)
}

/// Replaces each `from` by its `to` outside comments, where it must be found exactly once.
fn change(text: &str, changes: &[(&str, &str)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (from, to) in changes {
        let mut found = lines.iter_mut().filter(|line| line.contains(from) && !line.trim_start().starts_with('#'));
        let line = found.next().unwrap_or_else(|| panic!("{from:?} is no longer in the shipped configuration"));
        *line = line.replace(from, to);
        assert!(found.next().is_none(), "{from:?} is found twice in the shipped configuration");
    }
    lines.join("\n") + "\n"
}

fn shipped(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn write(place: &Path, name: &str, text: &str) -> String {
    let path = place.join(name);
    fs::write(&path, text).expect("a configuration file");
    path.to_str().expect("a path in UTF-8").to_owned()
}

const NGINX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/nginx/els-gate.conf");
const CADDY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/caddy/Caddyfile");
