//! `--repo-root`: files under the gate.

use std::fs;
use std::os::unix::fs::symlink;

use super::http_world::*;
use els_testkit::http::*;

struct Site {
    world: World,
    own: String,
    _root: tempfile::TempDir,
}

fn site() -> Site {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join("repos").join(name);
    fs::create_dir_all(at("almalinux/9/updates")).unwrap();
    fs::create_dir_all(at("almalinux/8")).unwrap();
    fs::create_dir_all(at("gpg")).unwrap();
    fs::write(at("almalinux/9/updates/repomd.xml"), "<repomd/>").unwrap();
    fs::write(at("almalinux/9/updates/lib+c.rpm"), (0..=255).collect::<Vec<u8>>()).unwrap();
    fs::write(at("almalinux/8/secret"), "secret").unwrap();
    fs::write(at("gpg/KEY"), "key").unwrap();
    fs::write(root.path().join("outside"), "secret").unwrap();
    symlink("../../../outside", at("almalinux/9/out")).unwrap();
    symlink("../8", at("almalinux/9/eight")).unwrap();
    symlink("/etc/passwd", at("almalinux/9/passwd")).unwrap();
    let world = World::with(|options| options.repo_root = Some(root.path().join("repos")));
    let own = world.registered(&world.key("a", 1), 1).basic();
    Site { world, own, _root: root }
}

impl Site {
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("Authorization", &self.own));
        self.world.ask(method, path, &headers, "")
    }
}

/// Promise: gate-files
/// Promise: serve-whole-service
#[test]
fn files_are_sent_under_the_gate() {
    let site = site();
    let answer = site.get("/repo/almalinux/9/updates/repomd.xml", &[]);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"<repomd/>"[..]));
    assert_eq!(answer.header("content-length"), Some("9"));
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    assert_eq!(answer.header("els-api"), Some("1"));
    assert_eq!(site.get("/repo/almalinux/9/updates/lib%2bc.rpm?x", &[]).body.len(), 256);
    let head = site.send("HEAD", "/repo/almalinux/9/updates/lib+c.rpm", &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("256"), 0));
    assert_eq!(site.world.ask("GET", "/repo/gpg/KEY", &[], "").body, b"key", "public");
    let log = site.world.log();
    assert!(log.contains("\"path\":\"/repo/almalinux/9/updates/repomd.xml\""), "{log}");
}

/// Promise: gate-repo-root
#[test]
fn without_permission_existing_and_missing_files_look_the_same() {
    let site = site();
    for path in ["/repo/almalinux/9/updates/repomd.xml", "/repo/almalinux/9/none", "/repo/almalinux/8/secret", "/repo/"]
    {
        let answer = site.world.ask("GET", path, &[], "");
        answer.assert_code("credential-invalid");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
    site.get("/repo/almalinux/8/secret", &[]).assert_code("path-not-covered");
    site.get("/repo/almalinux/8/none", &[]).assert_code("path-not-covered");
}

/// Promise: gate-repo-root
#[test]
fn only_regular_files_by_their_own_names_are_sent() {
    let site = site();
    for path in [
        "/repo/almalinux/9/none",
        "/repo/almalinux/9/updates",
        "/repo/almalinux/9/updates/",
        "/repo/almalinux/9",
        "/repo/almalinux/9/out",
        "/repo/almalinux/9/eight/secret",
        "/repo/almalinux/9/passwd",
        "/repo/almalinux/9/updates/repomd.xml/",
        "/repo/almalinux/9/updates/repomd.xml/x",
    ] {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.json()["status"], 404);
        assert_eq!(answer.json().get("code"), None, "a missing file is not unknown-registration");
    }
}

/// Promise: gate-repo-root
#[test]
fn path_tricks_get_no_file() {
    let site = site();
    for path in [
        "/repo/almalinux/9/../8/secret",
        "/repo/almalinux/9/%2e%2e/8/secret",
        "/repo/almalinux/9/..%2f8/secret",
        "/repo/almalinux/9/%2e%2e%2f%2e%2e%2foutside",
        "/repo/almalinux/9/..%5c8",
        "/repo/almalinux/9//updates/repomd.xml",
        "/repo/almalinux/9/./updates/repomd.xml",
        "/repo//almalinux/9/updates/repomd.xml",
        "/repo/almalinux/9/updates/repomd.xml%00",
        "/repo/almalinux/9/%252e%252e/8/secret",
    ] {
        site.get(path, &[]).assert_code("path-not-covered");
    }
    let request = format!(
        "GET http://x/repo/almalinux/9/../8/secret HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        site.own
    );
    raw(site.world.listen, request.as_bytes()).assert_code("path-not-covered");
    assert_eq!(site.get("//repo/almalinux/9/updates/repomd.xml", &[]).status, 400);
    assert_eq!(site.get("/%72epo/almalinux/9/updates/repomd.xml", &[]).status, 400);
}

/// Promise: gate-files
#[test]
fn downloads_are_resumed_and_known_files_not_sent_again() {
    let site = site();
    let path = "/repo/almalinux/9/updates/lib+c.rpm";
    let whole = site.get(path, &[]);
    let (tag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let part = site.get(path, &[("Range", "bytes=250-"), ("If-Range", tag)]);
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 250-255/256")));
    assert_eq!(part.body, [250, 251, 252, 253, 254, 255]);
    let middle = site.get(path, &[("Range", "bytes=1-2")]);
    assert_eq!((middle.status, middle.body.as_slice(), middle.header("content-length")), (206, &[1, 2][..], Some("2")));
    for range in ["bytes=1-2", "bytes=256-"] {
        let head = site.send("HEAD", path, &[("Range", range)]);
        assert_eq!((head.status, head.header("content-length")), (200, Some("256")), "a range is for GET alone");
    }
    let beyond = site.get(path, &[("Range", "bytes=256-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */256")));
    for condition in [("If-None-Match", tag), ("If-Modified-Since", modified)] {
        let answer = site.get(path, &[condition]);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{condition:?}");
    }
    assert_eq!(site.get(path, &[("If-None-Match", "\"other\"")]).status, 200);
}

/// Promise: gate-files
#[test]
fn files_are_fetched_and_nothing_else() {
    let site = site();
    for method in ["PUT", "POST", "DELETE", "PROPFIND"] {
        let answer = site.send(method, "/repo/almalinux/9/updates/repomd.xml", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

/// Promise: serve-whole-service
#[test]
fn with_another_repo_url_the_folder_is_still_served_at_repo() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("almalinux/9")).unwrap();
    fs::write(root.path().join("almalinux/9/x"), "x").unwrap();
    let world = World::with(|options| {
        options.repo_root = Some(root.path().to_owned());
        options.repo_url = Some("https://repo.example.com/els".into());
    });
    let own = world.registered(&world.key("a", 1), 1).basic();
    assert_eq!(world.ask("GET", "/repo/almalinux/9/x", &[("Authorization", &own)], "").body, b"x");
}
