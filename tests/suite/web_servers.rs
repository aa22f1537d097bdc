//! nginx and Caddy in front, from the shipped configurations: packages for who has a credential, nothing for who plays
//! with paths and headers, and logs without secrets.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use els_testkit::{Kind, Machine, Repository, Run, WebServer, run_with_input};

const MARK: &str = "this-file-is-nobodys-business";

/// A vendor's site with one registered machine, and files that its product does not open.
struct Site {
    web: WebServer,
    machine: Machine,
    root: TempDir,
}

impl Site {
    #[track_caller]
    fn of(kind: Kind) -> Site {
        let repository = Repository::shared();
        let root = repository.copy();
        for path in ["secret", "almalinux/8/secret", "almalinux/secret", "almalinux/95/secret"] {
            fs::create_dir_all(root.path().join(path).parent().expect("a folder")).expect("a folder");
            fs::write(root.path().join(path), MARK).expect("a file");
        }
        let web = WebServer::start(kind, root.path());
        let machine = Machine::configured_for(&web.backend, &repository);
        machine.trusts(web.authority().pem());
        machine.configure(&web.url(), "");
        machine.registers(&web.backend.key(1).key);
        Site { web, machine, root }
    }

    fn id(&self) -> String {
        self.machine.read("/etc/dnf/vars/els_id").trim().to_owned()
    }

    fn token(&self) -> String {
        self.machine.read("/etc/dnf/vars/els_token").trim().to_owned()
    }

    /// Asks for a target exactly as it is written, with the machine's credential and these headers; answers the status
    /// and the body.
    #[track_caller]
    fn get(&self, target: &str, headers: &[&str]) -> (u16, String) {
        let ca = self.root.path().with_extension("ca");
        fs::write(&ca, self.web.authority().pem()).expect("a file");
        let mut command = std::process::Command::new(els_testkit::program("curl"));
        // The credential is read from standard input, as it should be in any script.
        command.args(["--silent", "--show-error", "--path-as-is", "--globoff", "--http1.1", "--config", "-"]);
        command.arg("--cacert").arg(&ca).args(["--write-out", "\n%{http_code}"]);
        for header in headers {
            command.args(["--header", header]);
        }
        command.arg("--request-target").arg(target).arg(format!("{}/", self.web.url()));
        let run = run_with_input(&mut command, Some(&format!("user = \"{}:{}\"\n", self.id(), self.token())));
        let _ = fs::remove_file(&ca);
        let run: Run = run.succeeds();
        let (body, status) = run.stdout.rsplit_once('\n').expect("a status");
        (status.parse().expect("a status"), body.to_owned())
    }
}

fn dnf_works_behind(kind: Kind) {
    let site = Site::of(kind);
    site.machine.dnf(&["install", "example-1.0-1"]).succeeds();
    site.machine.dnf(&["update"]).succeeds();
    assert_eq!(site.machine.installed("example").as_deref(), Some("1.0-2"));
    site.machine.dnf(&["install", "mirrored"]).succeeds();
    site.machine.dnf_as_nobody(&["list", "--installed"]).succeeds();
    site.machine.agent(&["--status"]).succeeds();
    let (id, token) = (site.id(), site.token());
    site.machine.agent(&["--unregister"]).succeeds();

    let logs = site.web.log_text() + &site.web.backend.log_text();
    assert!(logs.contains("/repo/almalinux/9/"), "the requests are in the log:\n{logs}");
    for secret in [&token, token.strip_prefix("elst_password=").expect("the token's form"), "Basic ", "Bearer "] {
        assert!(!logs.contains(secret), "{secret:?} is in a log:\n{logs}");
    }
    // The id is the user name at the gate.
    let web = site.web.log_text();
    assert!(web.contains("/v1/registrations/ID"), "the requests are in the log:\n{web}");
    assert!(!web.contains(&id), "a registration id is in a log:\n{web}");
}

fn no_file_for_path_tricks_behind(kind: Kind) {
    let site = Site::of(kind);
    let good = format!("/repo/{}repodata/repomd.xml", updates(site.root.path()));
    assert_eq!(site.get(&good, &[]).0, 200, "the way in without tricks");
    let up = "/repo/almalinux/9";
    let tricks = [
        "/repo/secret".to_owned(),
        "/repo/almalinux/8/secret".into(),
        "/repo/almalinux/95/secret".into(),
        "/repo/almalinux/secret".into(),
        format!("{up}/../8/secret"),
        format!("{up}/../../secret"),
        format!("{up}/%2e%2e/8/secret"),
        format!("{up}/%2E./8/secret"),
        format!("{up}/..%2f8/secret"),
        format!("{up}/..%2F..%2fsecret"),
        format!("{up}%2f..%2f8%2fsecret"),
        format!("{up}/..%5c8/secret"),
        format!("{up}/%252e%252e/8/secret"),
        format!("{up}/..;/8/secret"),
        format!("{up}/./../8/secret"),
        format!("{up}//../../8/secret"),
        format!("{up}/%0d%0aX-Original-URI:%20{up}/../8/secret"),
        format!("{up}/x%00/../../8/secret"),
        format!("/repo/almalinux/8/secret?{up}/"),
        format!("/repo/almalinux/8/secret#{up}/"),
        "/repo//almalinux/8/secret".into(),
        format!("//repo{up}/../../8/secret"),
        "/REPO/almalinux/8/secret".into(),
        format!("{}/repo/almalinux/8/secret", site.web.url()),
        // These would lead to a file that the machine may have; two readings are one too many all the same.
        good.replace("/repodata", "//repodata"),
        good.replace("/repo/", "//repo/"),
        good.replace("/repodata", "/./repodata"),
        good.replace("/repodata", "/x/../repodata"),
        good.replace("/repodata", "%2frepodata"),
        good.replace("/repodata", "/%0d%0arepodata"),
    ];
    for target in &tricks {
        for header in ["X-Nothing: else", &format!("X-Original-URI: {good}")] {
            let (status, body) = site.get(target, &[header]);
            assert!(matches!(status, 400 | 401 | 403 | 404), "{target} ({header}): {status}");
            assert!(!body.contains(MARK) && !body.contains("<repomd"), "{target} ({header}): {body}");
        }
    }
    // Nor does a header of the client's own making close what is open, or speak for the gate.
    assert_eq!(site.get(&good, &["X-Original-URI: /repo/almalinux/8/secret"]).0, 200);
    assert_eq!(site.get("/v1/repo-auth", &[&format!("X-Original-URI: {good}")]).0, 404, "the gate is not for clients");
    assert_eq!(site.get("/metrics", &[]).0, 404);

    let logs = site.web.log_text() + &site.web.backend.log_text();
    assert!(!logs.contains(&site.token()), "the token is in a log");
}

/// The folder of `els-updates` below the base URL, with a slash at its end, found in the document root.
fn updates(root: &Path) -> String {
    let known = "almalinux/9/updates/x86_64/";
    assert!(root.join(known).join("repodata/repomd.xml").is_file(), "the repository lies elsewhere");
    known.to_owned()
}

/// Promise: gate-web-servers
#[test]
fn dnf_works_behind_nginx_and_no_log_holds_a_secret() {
    dnf_works_behind(Kind::Nginx);
}

/// Promise: gate-web-servers
#[test]
fn dnf_works_behind_caddy_and_no_log_holds_a_secret() {
    dnf_works_behind(Kind::Caddy);
}

/// Promise: gate-web-servers
#[test]
fn nginx_gives_no_file_for_path_tricks() {
    no_file_for_path_tricks_behind(Kind::Nginx);
}

/// Promise: gate-web-servers
#[test]
fn caddy_gives_no_file_for_path_tricks() {
    no_file_for_path_tricks_behind(Kind::Caddy);
}
