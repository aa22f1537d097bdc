//! The listener of the vendor's own systems: its name, its tokens, its routes.

use els_ledger::{NewToken, Permission, TokenId, Tokens};
use els_protocol::{Sha256Hex, Timestamp};
use els_testkit::http::{Answer, ask, raw};
use serde_json::{Value, json};

use super::http_world::*;

/// Promise: admin-token
#[test]
fn a_token_counts_until_it_expires_or_is_revoked_and_only_from_its_networks() {
    let world = World::new();
    for headers in [&[][..], &[("Authorization", "Bearer elsa_unknown")], &[("Authorization", "Basic YTpi")]] {
        let answer = ask(world.staff, "GET", "/admin/v1/whoami", headers, "");
        assert_eq!(code(&answer), "unauthenticated");
        assert!(answer.header("www-authenticate").is_some_and(|asked| asked.starts_with("Bearer")));
    }
    let token = world.token(1, &[Permission::KeysRead], |_| {});
    let answer = world.admin("GET", "/admin/v1/whoami", &token, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("els-api"), None, "an agent does not take it for its protocol");
    assert_eq!(answer.json()["scopes"], json!(["keys:read"]));
    assert_eq!(world.admin("GET", "/admin/v1/products", &token, "").json()["items"][0]["id"], "almalinux-9-els");

    let elsewhere = world.token(2, &[Permission::KeysRead], |token| token.networks = vec!["10.0.0.0/8".into()]);
    let here = world.token(3, &[Permission::KeysRead], |token| token.networks = vec!["127.0.0.0/8".into()]);
    assert_eq!(code(&world.admin("GET", "/admin/v1/whoami", &elsewhere, "")), "unauthenticated");
    assert_eq!(world.admin("GET", "/admin/v1/whoami", &here, "").status, 200);

    let id = TokenId::from_random([3; 8]);
    world.block_on(world.store.revoke_token(world.now(), id)).unwrap().unwrap();
    assert_eq!(code(&world.admin("GET", "/admin/v1/whoami", &here, "")), "unauthenticated");
    world.advance(30 * DAY);
    assert_eq!(code(&world.admin("GET", "/admin/v1/whoami", &token, "")), "unauthenticated");
    let log = world.log();
    assert!(log.contains(r#""route":"/admin/v1/whoami""#) && !log.contains("elsa_"), "{log}");
}

/// Promise: admin-host
#[test]
fn a_request_under_another_name_is_refused_before_its_token_is_judged() {
    let world = World::new();
    let request = "GET /admin/openapi.json HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(code(&raw(world.staff, request.as_bytes())), "misdirected-request");
    let port = world.staff.port();
    let request = format!("GET /admin/openapi.json HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    let answer = raw(world.staff, request.as_bytes());
    assert_eq!(answer.status, 200);
    let document = include_bytes!("../../../docs/openapi-admin.json");
    assert!(answer.body == document, "the committed description is the one that is served");
}

/// Promise: admin-token
#[test]
fn only_a_valid_token_learns_that_a_path_or_method_does_not_exist() {
    let world = World::new();
    let token = world.token(1, &[], |_| {});
    assert_eq!(code(&world.admin("GET", "/admin/v1/nothing", &token, "")), "not-found");
    let answer = world.admin("DELETE", "/admin/v1/whoami", &token, "");
    assert_eq!((code(&answer).as_str(), answer.header("allow")), ("method-not-allowed", Some("GET, HEAD")));
    assert_eq!(code(&ask(world.staff, "GET", "/admin/v1/nothing", &[], "")), "unauthenticated");
    assert_eq!(ask(world.listen, "GET", "/admin/v1/whoami", &[], "").status, 400, "not on the public listener");
}

/// Promise: admin-token
#[test]
fn a_token_that_calls_too_often_learns_when_to_try_again() {
    let world = World::new();
    let token = world.token(1, &[], |_| {});
    let limited =
        (0..2000).map(|_| world.admin("GET", "/admin/v1/whoami", &token, "")).find(|answer| answer.status != 200);
    let Some(limited) = limited else { return };
    assert_eq!((code(&limited).as_str(), limited.header("retry-after")), ("rate-limited", Some("1")));
}

/// The code of a problem document, whose form is checked.
pub(crate) fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{problem}");
    let code = problem["code"].as_str().unwrap().to_owned();
    assert_eq!(problem["type"], format!("urn:els:problem:{code}"));
    code
}

impl World {
    /// Makes a token that is valid for 20 days.
    pub(crate) fn token(&self, number: u8, scopes: &[Permission], change: impl FnOnce(&mut NewToken)) -> String {
        let text = format!("elsa_{number}");
        let mut new = NewToken {
            id: TokenId::from_random([number; 8]),
            hash: Sha256Hex::of(text.as_bytes()),
            name: format!("token {number}"),
            scopes: scopes.to_vec(),
            reseller: None,
            products: Vec::new(),
            networks: Vec::new(),
            made_at: self.now(),
            expires: Timestamp::from_unix(self.now().unix() + 20 * DAY),
        };
        change(&mut new);
        self.block_on(self.store.create_token(new)).unwrap();
        text
    }

    /// Asks the admin API.
    pub(crate) fn admin(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        self.admin_with(method, path, token, &[], body)
    }

    pub(crate) fn admin_with(
        &self,
        method: &str,
        path: &str,
        token: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("Authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        headers.extend(more);
        ask(self.staff, method, path, &headers, body)
    }

    /// The document of an answer that must have this status.
    #[track_caller]
    pub(crate) fn admin_json(&self, status: u16, method: &str, path: &str, token: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.admin(method, path, token, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}
