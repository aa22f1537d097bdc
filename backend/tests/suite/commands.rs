//! The commands of els-backend, as administrators and scripts use them.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Stdio;

use els_protocol::LicenseKey;
use els_testkit::run;
use els_testkit::site::Site;
use serde_json::Value;

use els_testkit::store::{asks, at, by, how, policy, registration};

/// Makes a key; returns its id and the key.
fn key(site: &Site, options: &str) -> (String, String) {
    let made = site.line(&format!("key create --expires 2099-12-31 --json {options}")).succeeds().json();
    (made["key_id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap_or_default().to_owned())
}

fn json(site: &Site, line: &str) -> Value {
    site.line(&format!("{line} --json")).succeeds().json()
}

/// Opens the site's database beside the commands, as `serve` does.
fn store(site: &Site) -> std::sync::Arc<dyn els_ledger::Store> {
    use els_ledger::{Opening, SqliteStore};
    std::sync::Arc::new(SqliteStore::open(&site.database(), Opening::Existing, policy()).unwrap())
}

/// Promise: seat-hashes
/// Promise: key-create
/// Promise: key-contract
#[test]
fn a_new_key_is_shown_once_and_kept_nowhere() {
    let site = Site::new();
    let made = site.line("key create --seats 5 --expires 2099-12-31 --contract C-1").succeeds();
    let lines: Vec<&str> = made.stdout.lines().collect();
    let (id, key) = (lines[0].strip_prefix("Key id  ").unwrap(), lines[1].strip_prefix("Key     ").unwrap());
    assert_eq!(lines.len(), 2);
    assert_eq!(LicenseKey::parse(key).unwrap().expose(), key);
    assert!(made.stderr.contains("this once"), "{made:?}");

    let again = site.line("key create --seats 5 --expires 2099-12-31 --contract C-1").succeeds();
    assert_eq!(again.stdout, format!("Key id  {id}\n"));
    site.line("key create --seats 6 --expires 2099-12-31 --contract C-1").fails_with(1, "--seats");
    site.line(&format!("key suspend {id}")).succeeds();
    let suspended = site.line("key create --seats 5 --expires 2099-12-31 --contract C-1").succeeds();
    assert!(suspended.stderr.contains("warning: the key is suspended"), "{suspended:?}");

    for line in ["key list", "events", "find C-1", "check", &format!("key show {id}"), "key list --json"] {
        let run = site.line(line).succeeds();
        assert!(!run.stdout.contains(key) && !run.stderr.contains(key), "{line}");
    }
    let secret = &key.as_bytes()[4..];
    for entry in std::fs::read_dir(site.database().parent().unwrap()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

/// Promise: key-import
#[test]
fn a_key_from_elsewhere_is_imported_and_not_shown() {
    let site = Site::new();
    let file = site.folder().join("key");
    let import = |text: &str, options: &str| {
        std::fs::write(&file, text).unwrap();
        site.line(
            format!("key create --seats 1 --expires 2099-12-31 --key-file {} {options}", file.display()).trim_end(),
        )
    };
    let made = import("  A-KEY-FROM-ELSEWHERE-1\n", "").succeeds();
    assert!(!made.stdout.contains("ELSEWHERE") && !made.stderr.contains("ELSEWHERE"), "{made:?}");
    import("A-KEY-FROM-ELSEWHERE-1", "").fails_with(1, "this key exists already");
    import("SHORT-KEY-1", "").fails_with(2, "--allow-weak");
    import("SHORT-KEY-1", "--allow-weak").succeeds();
    for (text, words) in
        [("", "empty"), ("ELS-00000-00000-00000-00000-00001", "mistyped"), ("a b c d e f g h", "space")]
    {
        let refused = import(text, "").fails_with(2, words);
        assert!(refused.stderr.contains(&file.display().to_string()), "{refused:?}");
    }
    site.line("key create --seats 1 --expires 2099-12-31 --key-file /nowhere/key").fails_with(1, "/nowhere/key");

    use std::io::Write;
    let mut command = site.command::<&str>([]);
    command.args(["key", "create", "--seats", "1", "--expires", "2099-12-31", "--key-file", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ANOTHER-KEY-FROM-ELSEWHERE\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["created"], answer.get("key")), (&Value::Bool(true), None));
}

/// Promise: key-dates
#[test]
fn dates_are_read_in_the_time_zone_that_is_named() {
    let site = Site::new();
    let made = site.line("key create --seats 1 --expires 2099-12-31 --starts 2027-01-01 --time-zone Asia/Tokyo --json");
    let made: Value = serde_json::from_str(&made.succeeds().stdout).unwrap();
    let key = json(&site, &format!("key show {}", made["key_id"].as_str().unwrap()));
    assert_eq!(
        (key["starts"].as_str(), key["expires"].as_str()),
        (Some("2026-12-31T15:00:00Z"), Some("2099-12-31T14:59:59Z"))
    );
    site.line("key create --seats 1 --expires soon").fails_with(2, "YYYY-MM-DD");
    site.line("key create --seats 1 --expires 2027-01-01 --time-zone Moon/Base").fails_with(2, "IANA");
    site.line("key create --seats 1 --expires 2027-01-01 --starts 2028-01-01").fails_with(2, "before it starts");
    let late = site.line("key create --seats 1 --expires 2020-01-01").succeeds();
    assert!(late.stderr.contains("warning: the key expired already"), "{late:?}");
}

/// Promise: key-changes
/// Promise: key-rotate
/// Promise: listings-json
#[test]
fn keys_are_changed_suspended_rotated_and_revoked() {
    let site = Site::new();
    let (id, first) = key(&site, "--seats 5 --contract C-1 --reseller R");
    let line = |line: &str| site.line(&line.replace("KEY", &id));
    line("key update KEY --seats 7 --contract= --release-unseen-after 30 --no-self-release --note=hello").succeeds();
    let key = json(&site, &format!("key show {id}"));
    assert_eq!(key["seats"], serde_json::json!({"total": 7, "used": 0}));
    assert_eq!((key.get("contract"), &key["reseller"]), (None, &Value::from("R")));
    assert_eq!((&key["release_unseen_after"], &key["self_release"]), (&Value::from(30), &Value::from(false)));
    line("key update KEY --release-unseen-after never --self-release").succeeds();
    let key = json(&site, &format!("key show {id}"));
    assert_eq!((key.get("release_unseen_after"), &key["self_release"]), (None, &Value::from(true)));
    let never = line("key update KEY --starts 2100-01-01").succeeds();
    assert!(never.stderr.contains("warning: the key expires before it starts"), "{never:?}");
    let ended = line("key update KEY --starts= --expires 2020-01-01").succeeds();
    assert!(ended.stderr.contains("warning: the key expired already"), "{ended:?}");
    assert_eq!(line("key update KEY --expires 2099-12-31").succeeds().stderr, "");
    line("key update KEY").fails_with(2, "--help");
    line("key update KEY --product nothing").fails_with(2, "almalinux-9-els");

    line("key suspend KEY").succeeds();
    assert_eq!(json(&site, &format!("key show {id}"))["state"], "suspended");
    line("key resume KEY").succeeds();
    let rotated = line("key rotate KEY --json").succeeds();
    let rotated: Value = serde_json::from_str(&rotated.stdout).unwrap();
    assert_eq!(rotated["key_id"], id.as_str());
    assert_ne!(rotated["key"], first.as_str());
    line("key rotate KEY --old-until 2020-01-01").fails_with(2, "--old-until");
    let late = line("key rotate KEY --old-until 2099-12-31").succeeds();
    assert!(late.stderr.contains("is valid until 2099-12-31T23:59:59Z"), "{late:?}");
    line("key revoke KEY").succeeds();
    for refused in ["key resume KEY", "key suspend KEY", "key rotate KEY"] {
        line(refused).fails_with(1, "for ever");
    }
    let kinds: Vec<Value> = json(&site, &format!("events --key {id}"))["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    let expected = [
        "key-created",
        "key-updated",
        "key-updated",
        "key-updated",
        "key-updated",
        "key-updated",
        "key-suspended",
        "key-resumed",
        "key-rotated",
        "key-rotated",
        "key-revoked",
    ];
    assert_eq!(kinds, expected);
}

/// Promise: backend-exit-statuses
#[test]
fn what_does_not_exist_is_exit_3_and_wrong_usage_is_exit_2() {
    let site = Site::new();
    site.line("key list").fails_with(1, "no database at");
    key(&site, "--seats 1");
    let nobody = registration(1);
    for line in [
        "key show k-0".to_owned(),
        "key update k-0 --seats 1".into(),
        "key suspend k-0".into(),
        "key resume k-0".into(),
        "key revoke k-0".into(),
        "key rotate k-0".into(),
        "seat list k-0".into(),
        format!("seat release {nobody}"),
        "find nothing-like-this".into(),
        "events --key k-0".into(),
        format!("events --registration {nobody}"),
    ] {
        site.line(&line).fails_with(3, "");
    }
    for line in ["", "key", "seat", "nonsense", "key list --nonsense", "events --since yesterday", "seat release 1"] {
        assert_eq!(site.line(line).code, Some(2), "{line}");
    }
    let url = "postgres://user:hunter2@host";
    let refused = run(&mut site.command(["--database", url, "check"])).fails_with(2, "names no database");
    assert!(!refused.stderr.contains("hunter2"));
    assert_eq!(site.line("--version").succeeds().stdout, format!("els-backend {}\n", env!("CARGO_PKG_VERSION")));
}

/// Promise: backend-no-secret
#[test]
fn the_database_url_can_come_from_a_file() {
    let site = Site::new();
    let (id, _) = key(&site, "--seats 1");
    let file = site.folder().join("url");
    std::fs::write(&file, format!("sqlite://{}\n", site.database().display())).unwrap();
    let mut command = site.command::<&str>([]);
    command.env_remove("ELS_BACKEND_DATABASE").env("ELS_BACKEND_DATABASE_FILE", &file).args(["key", "list"]);
    assert!(run(&mut command).succeeds().stdout.contains(&id));
}

/// Promise: backend-environment
#[test]
fn flags_can_come_from_the_environment() {
    let site = Site::new();
    let mut command = site.command::<&str>([]);
    command.env("ELS_BACKEND_SEATS", "3").env("ELS_BACKEND_EXPIRES", "2099-01-01").env("ELS_BACKEND_JSON", "true");
    let made = run(command.args(["key", "create"])).succeeds();
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(made["seats"], 3);
    let mut command = site.command::<&str>([]);
    let listed = run(command.env("ELS_BACKEND_JSON", "0").args(["key", "list"])).succeeds();
    assert!(listed.stdout.starts_with("KEY ID"), "{listed:?}");
}

/// Promise: listings
/// Promise: listings-json
/// Promise: commands-beside-serve
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_beside_a_store_that_is_in_use() {
    let site = Site::new();
    let (id, key) = key(&site, "--seats 3 --product almalinux-9-els");
    let store = store(&site);
    let hash = LicenseKey::parse(&key).unwrap().hash();
    let register = |number| els_ledger::rules::RegisterCommand { key_hash: hash, ..asks(number, number, number) };
    for number in 1..=3 {
        how(&store, 0, register(number)).await.unwrap();
    }
    let listed = json(&site, &format!("seat list {id}"));
    assert_eq!(listed["registrations"].as_array().unwrap().len(), 3);
    assert!(site.line(&format!("seat list {id}")).succeeds().stdout.contains(&registration(2).to_string()));
    site.line(&format!("seat release {}", registration(2))).succeeds();
    assert!(site.line(&format!("seat release {}", registration(2))).succeeds().stdout.contains("before"));
    assert!(how(&store, 1, register(4)).await.is_ok());
    site.line(&format!("key suspend {id}")).succeeds();
    assert_eq!(how(&store, 2, register(1)).await.err(), Some(els_ledger::rules::Denied::KeySuspended));
    let found = json(&site, &format!("find {}", registration(4)));
    assert_eq!(found["registrations"][0]["state"], "active");
    let events = site.line(&format!("events --registration {}", registration(2))).succeeds();
    assert_eq!(events.stdout.lines().count(), 2, "{events:?}");
    assert!(events.stdout.lines().last().unwrap().contains("  by vendor  through cli"), "{events:?}");
    let events = json(&site, &format!("events --registration {}", registration(2)));
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["actor"], &last["origin"], last.get("request")), (&"vendor".into(), &"cli".into(), None));
    assert!(site.line("check").succeeds().stdout.contains("agree"));
}

/// Promise: seat-distrusted
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_key_distrusts_is_shown_and_can_be_forgotten() {
    let site = Site::new();
    let (id, key) = key(&site, "--seats 3");
    let store = store(&site);
    let hash = LicenseKey::parse(&key).unwrap().hash();
    // Two containers with one machine id: the second has the seat, and the first turns out to be alive.
    for number in [1, 2] {
        let asks = els_ledger::rules::RegisterCommand { key_hash: hash, ..asks(number, 7, 0) };
        how(&store, 0, asks).await.unwrap();
    }
    store.superseded_used(at(2 * 3600), by(), registration(1)).await.unwrap();
    let machine = asks(1, 7, 0).machine.to_string();
    assert!(site.line(&format!("key show {id}")).succeeds().stdout.contains(&machine));
    assert_eq!(json(&site, &format!("key show {id}"))["distrusted"], serde_json::json!([machine]));
    site.line(&format!("key update {id} --trust-again")).succeeds();
    assert_eq!(json(&site, &format!("key show {id}"))["distrusted"], serde_json::json!([]));
    assert!(!site.line(&format!("key show {id}")).succeeds().stdout.contains(&machine));
}

/// Promise: listings
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stolen_key_registered_is_released_together() {
    let site = Site::new();
    let (id, key) = key(&site, "--seats 9");
    let store = store(&site);
    let hash = LicenseKey::parse(&key).unwrap().hash();
    for number in 1..=4 {
        let asks = els_ledger::rules::RegisterCommand { key_hash: hash, ..asks(number, number.max(3), number) };
        how(&store, i64::from(number) * 100, asks).await.unwrap();
    }
    let since = els_testkit::store::at(200);
    let line = format!("seat release --key {id} --registered-since {since}");
    let preview = site.line(&line).succeeds().stdout;
    assert!(preview.contains("3 registrations. Nothing is released") && preview.contains(&registration(4).to_string()));
    assert!(!preview.contains(&registration(1).to_string()), "{preview}");
    assert_eq!(json(&site, &format!("seat list {id}"))["registrations"].as_array().unwrap().len(), 4);
    assert!(site.line(&format!("{line} --yes")).succeeds().stdout.contains("3 registrations are released."));
    assert_eq!(json(&site, &format!("seat list {id}"))["registrations"].as_array().unwrap().len(), 1);
    assert!(site.line(&format!("{line} --yes")).succeeds().stdout.contains("no registration since"));
    site.line(&format!("seat release --key {id}")).fails_with(2, "--registered-since");
    site.line(&format!("seat release --key k-0 --registered-since {since}")).fails_with(3, "k-0");
}

/// Promise: products-file
#[test]
fn another_product_file_can_be_used() {
    let site = Site::new();
    let file = site.folder().join("products.toml");
    let product = "[[product]]\nid = \"els-7\"\nname = \"ELS 7\"\nos = \"almalinux\"\nversions = [\"7\"]\n\
                   architectures = [\"x86_64\"]\nrepo_file = \"els-7\"\nprefixes = [\"/7\"]\n";
    std::fs::write(&file, product).unwrap();
    let (id, _) = key(&site, &format!("--seats 1 --products {}", file.display()));
    assert_eq!(json(&site, &format!("key show {id}"))["product"], "els-7");
    site.line("key create --seats 1 --expires 2099-12-31 --product els-7")
        .fails_with(2, "the products are: almalinux-9-els");
    std::fs::write(&file, product.replace("versions", "version")).unwrap();
    let refused = site.line(&format!("key create --seats 1 --expires 2099-12-31 --products {}", file.display()));
    assert!(refused.fails_with(2, "products.toml").stderr.contains("version"));
}

/// Promise: check-recounts
/// Promise: listings-json
#[test]
fn a_disagreement_is_exit_1_and_a_list() {
    let site = Site::new();
    let (id, _) = key(&site, "--seats 3");
    let file = rusqlite::Connection::open(site.database()).unwrap();
    file.execute_batch("UPDATE keys SET used = 2").unwrap();
    let run = site.line("check");
    assert_eq!(
        (run.code, run.stdout),
        (Some(1), format!("key {id} counts 2 used seats, but has 0 active registrations\n"))
    );
    let run = site.line("check --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, document["disagreements"].as_array().unwrap().len()), (Some(1), 1));
}

/// Promise: backup-sqlite
#[test]
fn a_backup_can_replace_the_database() {
    let site = Site::new();
    let (id, _) = key(&site, "--seats 3");
    site.line("backup copy.db").succeeds();
    let copy = site.folder().join("copy.db");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    key(&site, "--seats 4");
    std::fs::rename(&copy, site.database()).unwrap();
    for rest in ["els.db-wal", "els.db-shm"] {
        let _ = std::fs::remove_file(site.database().with_file_name(rest));
    }
    let keys = json(&site, "key list");
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["key_id"]), (1, &Value::from(id)));
    site.line("backup no/such/folder/copy.db").fails_with(1, "cannot write in the folder");
    assert!(site.line("migrate").succeeds().stdout.contains("has the schema"));
}

/// Promise: commands-as-owner
#[test]
fn commands_run_as_root_act_as_the_owner_of_the_database_folder() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root here: only root can become somebody else");
        return;
    }
    const NOBODY: u32 = 65534;
    let site = Site::new();
    let data = site.database().parent().unwrap().to_owned();
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
    // The folder above is root's and closed to others: it is entered with the owner's rights alone.
    std::fs::set_permissions(site.folder(), PermissionsExt::from_mode(0o755)).unwrap();
    // What a flag names is read as root.
    let secret = site.folder().join("key");
    std::fs::write(&secret, "A-KEY-FROM-ELSEWHERE-1").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    key(&site, &format!("--seats 1 --key-file {}", secret.display()));
    for entry in std::fs::read_dir(&data).unwrap() {
        let file = entry.unwrap().metadata().unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (NOBODY, NOBODY, 0o600));
    }
    site.line("backup copy.db").fails_with(1, "as user 65534");
    run(&mut site.command(["backup".into(), data.join("copy.db")])).succeeds();
}

#[test]
fn a_reader_that_closes_the_pipe_is_not_a_failure() {
    let site = Site::new();
    key(&site, "--seats 1");
    let mut child = site.command(["events"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn notes_cannot_control_a_terminal() {
    let site = Site::new();
    let refused =
        run(&mut site.command(["key", "create", "--seats", "1", "--expires", "2099-01-01", "--note", "a\u{1b}[2Jb"]));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("control characters"), "{refused:?}");
}
