//! What the agent warns of though nothing has failed: clocks, expiry, proxies, other repositories.

use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use serde_json::json;

use els_testkit::scripted::{Answer, Scripted, answer, raw, registration};
use els_testkit::{Machine, Run, run};

const KEY: &str = "TEST-KEY-0001";
const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

fn machine_of(server: &Scripted) -> Machine {
    let machine = Machine::new();
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\n", server.url()));
    machine
}

/// The message of the one warning with this code, if there is one.
#[track_caller]
fn warning(run: &Run, code: &str) -> Option<String> {
    let document = run.json();
    let mut found = document["warnings"].as_array().expect("warnings").iter().filter(|warning| warning["code"] == code);
    let first = found.next().map(|warning| warning["message"].as_str().expect("a text").to_owned());
    assert!(found.next().is_none(), "{code} twice: {run}");
    first
}

/// A time as HTTP (`Date`) and RFC 3339 have it.
fn time(seconds_from_now: i64) -> (String, String) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let at = format!("@{}", now as i64 + seconds_from_now);
    let date = |format: &str| {
        let mut command = std::process::Command::new("date");
        run(command.env("LC_ALL", "C").args(["-u", "-d", &at, format])).succeeds().stdout.trim().to_owned()
    };
    (date("+%a, %d %b %Y %H:%M:%S GMT"), date("+%Y-%m-%dT%H:%M:%SZ"))
}

/// Promise: clock-warning
#[test]
fn a_clock_that_differs_by_more_than_five_minutes_causes_a_warning() {
    for (ahead, words) in [(-3600, Some("ahead of")), (-200, None), (0, None), (200, None), (3600, Some("behind"))] {
        let (date, _) = time(ahead);
        let server = Scripted::backend(move |request| {
            let Answer::Raw(bytes) = answer(201, &registration(request)) else { return None };
            let text = String::from_utf8(bytes).unwrap().replacen("\r\n", &format!("\r\nDate: {date}\r\n"), 1);
            (request.method == "PUT").then(|| Answer::Raw(text.into_bytes()))
        });
        let run = machine_of(&server).agent(&["--key", KEY, "--json"]).succeeds();
        let message = warning(&run, "clock");
        assert_eq!(message.is_some(), words.is_some(), "{ahead}: {run}");
        assert!(message.unwrap_or_default().contains(words.unwrap_or_default()), "{ahead}: {run}");
    }
    // Also where nothing is written here, and where the answer is a refusal.
    let (date, _) = time(3600);
    let server = Scripted::start(move |_| raw(404, &[("Date", &date)], ""));
    let machine = machine_of(&server);
    for arguments in [
        &["--seats", "--key", KEY, "--json"][..],
        &["--release", ID, "--key", KEY, "--json"],
        &["--key", KEY, "--json"],
    ] {
        assert!(warning(&machine.agent(arguments).exits(7), "clock").is_some(), "{arguments:?}");
    }
}

/// Promise: status-expiry
#[test]
fn the_expiry_is_announced_sixty_days_before_and_the_agents_clock_decides_nothing() {
    const DAY: i64 = 24 * 60 * 60;
    for (days, code, words) in
        [(61, None, ""), (59, Some("expires-soon"), "days left"), (-3, Some("expired"), "expired on")]
    {
        let (_, expires) = time(days * DAY);
        let server = Scripted::backend(move |request| {
            let mut body = registration(request);
            body["expires"] = json!(expires);
            (request.path.starts_with("/v1")).then(|| answer(200, &body))
        });
        let machine = machine_of(&server);
        machine.registers(KEY);
        for arguments in [&["--status", "--json"][..], &["--key", KEY, "--json"], &["--refresh", "--json"]] {
            let run = machine.agent(arguments).succeeds();
            for known in ["expires-soon", "expired"] {
                assert_eq!(warning(&run, known).is_some(), code == Some(known), "{days} {known}: {run}");
            }
        }
        let run = machine.agent(&["--status", "--offline", "--json"]).succeeds();
        let message = code.and_then(|code| warning(&run, code)).unwrap_or_default();
        assert!(message.contains(words), "{days}: {run}");
        assert_eq!(message.contains("not visible offline"), days < 0, "{days}: {run}");
        assert_eq!(run.json()["state"], "registered");
    }
}

/// Promise: report-content
/// Promise: third-party-warning
#[test]
fn an_enabled_repository_of_a_third_party_is_named_once() {
    let server = Scripted::backend(|_| None);
    let machine = machine_of(&server);
    let run = machine.agent(&["--key", KEY, "--json"]).succeeds();
    assert_eq!(warning(&run, "third-party-repository"), None, "{run}");
    machine.write(
        "/etc/yum.repos.d/epel.repo",
        "[epel]\nenabled=1\n[epel-source]\nenabled = 0\n[epel-testing]\nenabled=0\n",
    );
    machine.write("/etc/yum.repos.d/remi.repo", "[remi\u{1b}]\nname=x\n");
    machine.write("/etc/yum.repos.d/off.repo", "[off]\nenabled=no\n");
    machine.write("/etc/yum.repos.d/almalinux-crb.repo", "[crb]\nenabled=1\n");
    machine.write("/etc/yum.repos.d/notes.txt", "[notes]\nenabled=1\n");
    // The vendor's repository of this program's own package, under whatever file name.
    machine.write("/etc/yum.repos.d/vendor.repo", "[els-register]\nenabled=1\n");
    let run = machine.agent(&["--key", KEY, "--json"]).succeeds();
    let message = warning(&run, "third-party-repository").expect("a warning");
    assert!(message.contains("distribution's: epel, remi\u{fffd};"), "{message}");
    machine.agent(&["--report"]).succeeds().says("other repos   epel, remi\u{fffd}\n");
}

/// Promise: no-secret-shown
/// Promise: proxy-warnings
#[test]
fn a_proxy_that_dnf_does_not_know_and_a_password_that_others_can_read_are_warned_of() {
    // Nobody listens there: the warnings are given also when the proxy fails.
    let (proxy, secret) = ("http://carol:hunter2@127.0.0.1:1", "hunter2");
    let server = Scripted::backend(|_| None);
    let base = format!("server = \"{}\"\n", server.url());
    let dnf = "[main]\nproxy=http://127.0.0.1:1\nproxy_username=carol\nproxy_password=hunter2\n";
    for (flag, config, environment, dnf_conf, mode, unknown, readable) in [
        (true, false, false, "", 0o644, Some("--proxy"), None),
        (false, true, false, "", 0o644, Some("/etc/els-register.toml"), Some("/etc/els-register.toml")),
        (false, true, false, "", 0o600, Some("/etc/els-register.toml"), None),
        (false, false, true, "", 0o644, Some("all_proxy"), None),
        (false, false, true, dnf, 0o600, None, None),
        (false, false, false, dnf, 0o644, None, Some("/etc/dnf/dnf.conf")),
        (false, false, false, dnf, 0o600, None, None),
    ] {
        let machine = machine_of(&server);
        if config {
            machine.write("/etc/els-register.toml", &format!("{base}proxy = \"{proxy}\"\n"));
        }
        machine.write("/etc/dnf/dnf.conf", if dnf_conf.is_empty() { "[main]\ngpgcheck=1\n" } else { dnf_conf });
        for path in ["/etc/els-register.toml", "/etc/dnf/dnf.conf"] {
            std::fs::set_permissions(machine.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = machine.agent_command(&["--key", KEY, "--timeout", "1", "--json"]);
        if flag {
            command.args(["--proxy", proxy]);
        }
        if environment {
            command.env("all_proxy", proxy);
        }
        let run = run(&mut command).exits(7).does_not_say(secret);
        assert!(run.json()["error"]["message"].as_str().unwrap().contains("proxy http://127.0.0.1:1"), "{run}");
        for (code, source) in [("proxy-unknown-to-dnf", unknown), ("proxy-password-readable", readable)] {
            let message = warning(&run, code);
            assert_eq!(message.is_some(), source.is_some(), "{code}: {run}");
            assert!(message.unwrap_or_default().contains(source.unwrap_or_default()), "{code}: {run}");
        }
    }
    assert!(server.requests().is_empty());
}

/// Promise: proxy-kind
#[test]
fn a_proxy_of_an_unknown_kind_is_a_usage_error_that_names_its_source_and_no_password() {
    let server = Scripted::backend(|_| None);
    let bad = "socks6://carol:hunter2@127.0.0.1:1";
    let machine = machine_of(&server);
    let refused = |run: Run, source: &str| {
        let run = run.exits(2).says(source).does_not_say("hunter2");
        assert!(run.text().contains("SCHEME is http, https, socks4, socks4a, socks5 or socks5h"), "{run}");
    };
    refused(machine.agent(&["--key", KEY, "--proxy", bad]), "--proxy");
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy"] {
        refused(run(machine.agent_command(&["--key", KEY]).env(name, bad)), name);
    }
    machine.write("/etc/dnf/dnf.conf", &format!("[main]\nproxy={bad}\n"));
    refused(machine.agent(&["--key", KEY]), "/etc/dnf/dnf.conf");
    machine.write("/etc/els-register.toml", &format!("server = \"{}\"\nproxy = \"{bad}\"\n", server.url()));
    refused(machine.agent(&["--key", KEY]), "/etc/els-register.toml");
    assert!(server.requests().is_empty());
}
