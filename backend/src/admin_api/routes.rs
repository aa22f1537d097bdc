//! The routes of the admin API, in one table.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use els_server::body::text;
use http::header::{ALLOW, HeaderValue};
use utoipa_axum::routes;

use super::problem::{AdminProblem, Code};
use super::{Admin, events, exports, keys, openapi, seats, site};
use crate::routes::{self, Names, Row, undescribed};

/// The description of the admin API as it is served, with a line break at its end.
pub fn openapi_document() -> String {
    routes::document(openapi::description(), table())
}

pub(super) fn router(admin: Arc<Admin>) -> Router {
    let wrong_method = |allowed| {
        AdminProblem::new(Code::MethodNotAllowed).header(ALLOW, HeaderValue::from_static(allowed)).into_response()
    };
    let unknown = || AdminProblem::new(Code::NotFound).into_response();
    routes::router(table(), wrong_method, unknown).with_state(admin)
}

/// The name of the route that a path belongs to, for log and metrics.
pub(super) fn name_of(path: &str) -> &'static str {
    static NAMES: LazyLock<Names> = LazyLock::new(|| routes::names(table()));
    routes::name_of(&NAMES, path)
}

/// The route that needs no token.
pub(super) const DESCRIPTION: &str = "/admin/openapi.json";

macro_rules! row {
    ($path:literal, $methods:literal, $($handler:path),+) => {
        Row { paths: &[$path], methods: Some($methods), name: $path, handlers: routes!($($handler),+) }
    };
}

fn table() -> Vec<Row<Arc<Admin>>> {
    vec![
        Row {
            paths: &[DESCRIPTION],
            methods: Some("GET, HEAD"),
            name: DESCRIPTION,
            handlers: undescribed(get(serve_description)),
        },
        row!("/admin/v1/keys", "GET, HEAD, POST", keys::list_keys, keys::create_key),
        row!("/admin/v1/keys/{key_id}", "GET, HEAD, PATCH", keys::read_key, keys::update_key),
        row!("/admin/v1/keys/{key_id}/state", "PUT", keys::set_key_state),
        row!("/admin/v1/keys/{key_id}/rotations", "POST", keys::rotate_key),
        row!("/admin/v1/keys/{key_id}/distrusted", "DELETE", keys::trust_again),
        row!("/admin/v1/keys/{key_id}/seats", "GET, HEAD", seats::list_key_seats),
        row!("/admin/v1/keys/{key_id}/releases", "POST", seats::release_seats),
        row!("/admin/v1/seats", "GET, HEAD", seats::list_seats),
        row!(
            "/admin/v1/registrations/{registration}",
            "GET, HEAD, DELETE",
            seats::read_registration,
            seats::release_registration
        ),
        row!("/admin/v1/find", "GET, HEAD", seats::find),
        row!("/admin/v1/events", "GET, HEAD", events::list_events),
        row!("/admin/v1/exports/{file}", "GET, HEAD", exports::export),
        row!("/admin/v1/whoami", "GET, HEAD", site::who_am_i),
        row!("/admin/v1/products", "GET, HEAD", site::list_products),
    ]
}

async fn serve_description() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_document().into());
    text("application/json", DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: admin-description
    #[test]
    fn each_row_says_the_paths_and_methods_of_its_handlers() {
        assert_eq!(routes::check(&table()), table().len() - 1);
    }

    /// Promise: admin-description
    #[test]
    fn every_code_is_described_for_people() {
        let page = include_str!("../../../docs/vendor/admin-api.md");
        for code in Code::ALL {
            assert!(page.contains(&format!("`{}`", code.as_str())), "{code:?} is not in docs/vendor/admin-api.md");
        }
    }
}
