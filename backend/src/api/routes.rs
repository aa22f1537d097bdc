//! The routes of the public listener, in one table: routing, `Allow`, log, metrics and the description follow it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::Response;
use axum::routing::{MethodRouter, any, get};
use bytes::Bytes;
use els_protocol::wire;
use els_server::body::text;
use els_server::problem::ProblemResponse;
use http::header::{ALLOW, HeaderValue};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::app::App;
use super::{openapi, registrations, repo, repo_auth, seats};

/// The description of the protocol as it is served, with a line break at its end.
pub fn openapi_document() -> String {
    let described = OpenApiRouter::<Arc<App>>::with_openapi(openapi::description());
    let rows = table().into_iter().fold(described, |router, row| router.routes(row.handlers));
    let mut text = rows.into_openapi().to_pretty_json().expect("a description consists of texts and numbers");
    text.push('\n');
    text
}

/// The router of the public listener.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for Row { paths, methods, handlers: (_, _, handlers), .. } in table() {
        let handlers = match methods {
            Some(methods) => handlers.fallback(async move || {
                ProblemResponse::invalid("This path does not support this method.")
                    .header(ALLOW, HeaderValue::from_static(methods))
            }),
            None => handlers,
        };
        router = paths.iter().fold(router, |router, path| router.route(path, handlers.clone()));
    }
    // Not 404 and 405: `unknown-registration` is the only code with 404, and an agent must not take a wrong address for a
    // registration that is gone.
    router.fallback(async || ProblemResponse::invalid("This protocol has no such path.")).with_state(app)
}

/// The name of the route that a path belongs to, for log and metrics.
pub(super) fn name_of(path: &str) -> &'static str {
    let found = NAMES.iter().find(|(paths, _)| paths.iter().any(|template| matches(template, path)));
    found.map_or("other", |(_, name)| name)
}

/// The name of the route that serves files: its paths are public, and are logged.
pub(super) const FILES: &str = "/repo/";

struct Row {
    /// The path templates that lead here.
    paths: &'static [&'static str],
    /// The methods, for `Allow`; `None` if the handler itself answers every method.
    methods: Option<&'static str>,
    /// The name in log and metrics.
    name: &'static str,
    handlers: UtoipaMethodRouter<Arc<App>>,
}

fn table() -> Vec<Row> {
    let row = |paths, methods, name, handlers| Row { paths, methods, name, handlers };
    vec![
        row(
            &[wire::REGISTRATION_PATH],
            Some("PUT, GET, HEAD, DELETE"),
            wire::REGISTRATION_PATH,
            routes!(registrations::register, registrations::read_registration, registrations::unregister),
        ),
        row(&[wire::SEATS_PATH], Some("GET, HEAD"), wire::SEATS_PATH, routes!(seats::list_seats)),
        row(&[wire::SEAT_PATH], Some("DELETE"), wire::SEAT_PATH, routes!(seats::release_seat)),
        row(&[wire::REPO_AUTH_PATH], Some("GET, HEAD"), wire::REPO_AUTH_PATH, routes!(repo_auth::repo_auth)),
        row(&[wire::OPENAPI_PATH], Some("GET, HEAD"), wire::OPENAPI_PATH, undescribed(get(serve_description))),
        // Files have the statuses of HTTP, 405 among them.
        row(&["/repo", "/repo/", "/repo/{*file}"], None, FILES, undescribed(any(repo::fetch))),
    ]
}

fn undescribed(handlers: MethodRouter<Arc<App>>) -> UtoipaMethodRouter<Arc<App>> {
    (Vec::new(), utoipa::openapi::path::Paths::new(), handlers)
}

async fn serve_description() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_document().into());
    text("application/json", DOCUMENT.clone())
}

/// Whether the router takes `path` to `template`, whose parameter, if any, is its last segment.
fn matches(template: &str, path: &str) -> bool {
    match template.split_once('{') {
        None => path == template,
        Some((start, parameter)) => path
            .strip_prefix(start)
            .is_some_and(|value| !value.is_empty() && (parameter.starts_with('*') || !value.contains('/'))),
    }
}

/// Paths and name of each row.
static NAMES: LazyLock<Vec<(&[&str], &str)>> =
    LazyLock::new(|| table().into_iter().map(|row| (row.paths, row.name)).collect());

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::PathItem;

    use super::*;

    /// The methods that an operation of the description stands for.
    fn described(item: &PathItem) -> String {
        let methods = [("PUT", &item.put), ("GET, HEAD", &item.get), ("POST", &item.post), ("DELETE", &item.delete)];
        methods
            .iter()
            .filter(|(_, operation)| operation.is_some())
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Promise: wire-description
    #[test]
    fn each_row_says_the_paths_and_methods_of_its_handlers() {
        let mut seen = 0;
        for row in table() {
            let (_, paths, _) = &row.handlers;
            for (path, item) in &paths.paths {
                assert_eq!(row.paths, [path.as_str()]);
                assert_eq!(row.methods, Some(described(item).as_str()), "{path}");
                seen += 1;
            }
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn every_path_has_the_name_of_its_route() {
        for (path, name) in [
            ("/v1/registrations/x", wire::REGISTRATION_PATH),
            ("/v1/registrations/", "other"),
            ("/v1/registrations/x/y", "other"),
            ("/v1/seats", wire::SEATS_PATH),
            ("/v1/seats/x", wire::SEAT_PATH),
            ("/v1/repo-auth", wire::REPO_AUTH_PATH),
            ("/openapi.json", wire::OPENAPI_PATH),
            ("/repo", FILES),
            ("/repo/", FILES),
            ("/repo/a/b", FILES),
            ("/repository", "other"),
            ("/", "other"),
        ] {
            assert_eq!(name_of(path), name, "{path}");
        }
    }

    /// Promise: wire-description
    #[test]
    fn every_code_is_described_for_programs_and_for_people() {
        let page = include_str!("../../../docs/protocol.md");
        let document = openapi_document();
        for code in els_protocol::Code::ALL {
            let quoted = format!("`{code}`");
            assert!(document.contains(&quoted), "{code} is not in the description");
            assert!(page.contains(&quoted), "{code} is not in docs/protocol.md");
        }
    }
}
