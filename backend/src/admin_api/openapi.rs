//! What the description of the admin API (`GET /admin/openapi.json`) says about all routes.
//!
//! `cargo xtask` writes the committed copy, docs/openapi-admin.json, and checks it.

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
        title = "els-backend admin API",
        version = "1",
        license(name = "LicenseRef-EULA"),
        description = "For the vendor's own systems, on the listener of `--staff-listen`. A token (`els-backend token create`) \
            has scopes, and may be limited to a reseller, to products and to networks: what is outside its reach is answered \
            as what does not exist.\n\nErrors are problem documents (RFC 9457) with a stable `code`; a code's status never \
            changes. Every response carries `X-Request-Id`. Request bodies have at most 64 KiB."
    ),
    modifiers(&Schemes),
    security(("token" = []))
)]
struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of the admin API.")).build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}
