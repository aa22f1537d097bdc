//! `GET /openapi.json`: this protocol, described by the code that speaks it.
//!
//! Owns the list of routes and what the description says of all of them. `cargo xtask` writes the committed
//! copy, docs/openapi.json, and checks it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use els_protocol::wire;
use http::header::CONTENT_TYPE;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, registrations, repo_auth, seats};

/// The description as it is served, with a line break at its end.
pub fn document() -> String {
    text(&routes().into_openapi())
}

/// The routes of the wire, each with its description.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(registrations::put, registrations::get, registrations::delete))
        .routes(routes!(seats::list))
        .routes(routes!(seats::release))
        .routes(routes!(repo_auth::repo_auth))
}

/// The route that serves the description.
pub(super) fn served(document: OpenApi) -> Router<Arc<App>> {
    let body = Bytes::from(text(&document));
    Router::new().route(wire::OPENAPI_PATH, get(async move || ([(CONTENT_TYPE, "application/json")], body)))
}

fn text(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().expect("a description has only texts and numbers");
    text.push('\n');
    text
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "els-backend",
        version = "1",
        license(name = "LicenseRef-EULA"),
        description = "The wire of els-register: a machine takes a seat of a license key, shows its credential at the \
            gate of the repositories, and gives the seat back.\n\nEvery answer carries `Els-Api: 1` and `X-Request-Id`. \
            Errors are problem documents (RFC 9457) with a stable `code`; a code's status never changes. A path or a \
            method that is not described here is answered with 400 `invalid-request`, so that nobody takes a wrong \
            address for a registration that is gone. Both sides ignore members that they do not know. Request bodies \
            have at most 8 KiB."
    ),
    modifiers(&Schemes)
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let http = |scheme, description| {
            SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "credential",
            http(HttpAuthScheme::Basic, "The registration's id and its token: what dnf sends, too."),
        );
        components.add_security_scheme("key", http(HttpAuthScheme::Bearer, "The license key."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: wire-description
    #[test]
    fn every_path_of_the_protocol_is_described() {
        let document = routes().into_openapi();
        for path in [wire::REGISTRATION_PATH, wire::SEATS_PATH, wire::SEAT_PATH, wire::REPO_AUTH_PATH] {
            assert!(document.paths.paths.contains_key(path), "{path}");
        }
    }

    /// Promise: wire-description
    #[test]
    fn every_code_is_told_to_programs_and_to_people() {
        let page = include_str!("../../../docs/protocol.md");
        for code in els_protocol::Code::ALL {
            let quoted = format!("`{code}`");
            assert!(document().contains(&quoted), "{code} is not in the description");
            assert!(page.contains(&quoted), "{code} is not in docs/protocol.md");
        }
    }
}
