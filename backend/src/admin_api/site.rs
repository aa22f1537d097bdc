//! What a token may do, and which products there are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use els_protocol::Timestamp;
use els_server::body::json;
use http::StatusCode;
use serde::Serialize;

use super::Admin;
use super::caller::Caller;

#[derive(Serialize, utoipa::ToSchema)]
struct WhoAmI {
    token_id: String,
    name: String,
    scopes: Vec<&'static str>,
    /// The token reaches only the keys of this reseller.
    #[serde(skip_serializing_if = "Option::is_none")]
    reseller: Option<String>,
    /// The token reaches only the keys of these products; absent: of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    products: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ProductList {
    items: Vec<ListedProduct>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ListedProduct {
    id: String,
    name: String,
    os: String,
    versions: Vec<String>,
    architectures: Vec<String>,
}

/// What the token of this request may do.
#[utoipa::path(get, path = "/admin/v1/whoami", tag = "site",
    responses(
        (status = 200, body = WhoAmI),
        (status = 401, description = "`unauthenticated`", body = super::problem::Document, content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = super::problem::Document, content_type = "application/problem+json"),
    ))]
pub(super) async fn who_am_i(caller: Caller) -> Response {
    let token = &caller.token;
    json(
        StatusCode::OK,
        &WhoAmI {
            token_id: token.token_id.to_string(),
            name: token.name.clone(),
            scopes: token.scopes.iter().map(|scope| scope.as_str()).collect(),
            reseller: token.reseller.clone(),
            products: token.products.clone(),
            expires: token.expires,
        },
    )
}

/// The products that keys can be made for, as far as the token reaches.
#[utoipa::path(get, path = "/admin/v1/products", tag = "site",
    responses(
        (status = 200, body = ProductList),
        (status = "default", description = "A problem", body = super::problem::Document, content_type = "application/problem+json"),
    ))]
pub(super) async fn list_products(State(admin): State<Arc<Admin>>, caller: Caller) -> Response {
    let reached = &caller.token.products;
    let items = admin.products.iter().filter(|product| reached.is_empty() || reached.contains(&product.id));
    let items = items
        .map(|product| ListedProduct {
            id: product.id.clone(),
            name: product.name.clone(),
            os: product.os.clone(),
            versions: product.versions.clone(),
            architectures: product.architectures.clone(),
        })
        .collect();
    json(StatusCode::OK, &ProductList { items })
}
