//! What the description of the protocol (`GET /openapi.json`) says about all routes.
//!
//! `cargo xtask` writes the committed copy, docs/openapi.json, and checks it.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

/// The description without its routes.
pub(super) fn description() -> OpenApi {
    Description::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "els-backend",
        version = "1",
        license(name = "LicenseRef-EULA"),
        description = "The protocol of els-register: a machine takes a seat of a license key, shows its credential at the \
            gate of the repositories, and releases the seat.\n\nEvery response carries `Els-Api: 1` and `X-Request-Id`. \
            Errors are problem documents (RFC 9457) with a stable `code`; a code's status never changes. A path or a \
            method that is not described here is answered with 400 `invalid-request`: a wrong address must not look like \
            a registration that is gone. Both sides ignore members that they do not know. Request bodies have at most \
            8 KiB."
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
            http(HttpAuthScheme::Basic, "The registration's id and its token; dnf sends the same."),
        );
        components.add_security_scheme("key", http(HttpAuthScheme::Bearer, "The license key."));
    }
}
