//! The routes of the public listener, in one table: routing, `Allow`, log, metrics and the description follow it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use els_protocol::wire;
use els_server::body::text;
use els_server::problem::ProblemResponse;
use http::header::{ALLOW, HeaderValue};

use super::app::App;
use super::{openapi, registrations, repo, repo_auth, seats};
use crate::routes::{self, Names, Row, undescribed};

/// The description of the protocol as it is served, with a line break at its end.
pub fn openapi_document() -> String {
    routes::document(openapi::description(), table())
}

/// The router of the public listener.
pub(super) fn router(app: Arc<App>) -> Router {
    // Not 404 and 405: `unknown-registration` is the only code with 404, and an agent must not take a wrong address for a
    // registration that is gone.
    let wrong_method = |allowed| {
        ProblemResponse::invalid("This path does not support this method.")
            .header(ALLOW, HeaderValue::from_static(allowed))
            .into_response()
    };
    let unknown = || ProblemResponse::invalid("This protocol has no such path.").into_response();
    routes::router(table(), wrong_method, unknown).with_state(app)
}

/// The name of the route that a path belongs to, for log and metrics.
pub(super) fn name_of(path: &str) -> &'static str {
    static NAMES: LazyLock<Names> = LazyLock::new(|| routes::names(table()));
    routes::name_of(&NAMES, path)
}

/// The name of the route that serves files: its paths are public, and are logged.
pub(super) const FILES: &str = "/repo/";

fn table() -> Vec<Row<Arc<App>>> {
    let row = |paths, methods, name, handlers| Row { paths, methods, name, handlers };
    vec![
        row(
            &[wire::REGISTRATION_PATH],
            Some("PUT, GET, HEAD, DELETE"),
            wire::REGISTRATION_PATH,
            utoipa_axum::routes!(registrations::register, registrations::read_registration, registrations::unregister),
        ),
        row(&[wire::SEATS_PATH], Some("GET, HEAD"), wire::SEATS_PATH, utoipa_axum::routes!(seats::list_seats)),
        row(&[wire::SEAT_PATH], Some("DELETE"), wire::SEAT_PATH, utoipa_axum::routes!(seats::release_seat)),
        row(
            &[wire::REPO_AUTH_PATH],
            Some("GET, HEAD"),
            wire::REPO_AUTH_PATH,
            utoipa_axum::routes!(repo_auth::repo_auth),
        ),
        row(&[wire::OPENAPI_PATH], Some("GET, HEAD"), wire::OPENAPI_PATH, undescribed(get(serve_description))),
        // Files have the statuses of HTTP, 405 among them.
        row(&["/repo", "/repo/", "/repo/{*file}"], None, FILES, undescribed(any(repo::fetch))),
    ]
}

async fn serve_description() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_document().into());
    text("application/json", DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-description
    #[test]
    fn each_row_says_the_paths_and_methods_of_its_handlers() {
        assert_eq!(routes::check(&table()), 4);
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
