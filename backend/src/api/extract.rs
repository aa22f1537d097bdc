//! What handlers take from a request, read and checked.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path};
use els_ledger::{Actor, By, Origin};
use els_protocol::{RegistrationId, Sha256Hex};
use els_server::problem::{ProblemResponse, Scheme};
use http::HeaderValue;
use http::request::Parts;

use super::app::App;
use crate::credential::{Credentials, Presented, bearer_key};

/// The peer of the request; [`super::Api`] sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The id of the request; [`super::Api`] sets it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) HeaderValue);

/// The registration that the path names.
pub(super) struct RegistrationPath(pub(super) RegistrationId);

/// A request by a machine for its own registration: path and credential name the same one.
pub(super) struct OwnRegistration {
    pub(super) peer: IpAddr,
    pub(super) by: By,
    pub(super) presented: Presented,
}

/// The license key of the request, as a hash.
pub(super) struct KeyHash(pub(super) Sha256Hex);

impl RequestId {
    /// This request as the cause of a change.
    pub(super) fn by(&self, actor: Actor) -> By {
        By { request: self.0.to_str().ok().map(str::to_owned), ..By::new(actor, Origin::Api) }
    }
}

impl FromRequestParts<Arc<App>> for Peer {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ProblemResponse> {
        let Extension(peer) = Extension::from_request_parts(parts, app).await.expect("set for every request");
        Ok(peer)
    }
}

impl FromRequestParts<Arc<App>> for RequestId {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ProblemResponse> {
        let Extension(id) = Extension::from_request_parts(parts, app).await.expect("set for every request");
        Ok(id)
    }
}

impl FromRequestParts<Arc<App>> for RegistrationPath {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ProblemResponse> {
        let id = Path::<String>::from_request_parts(parts, app).await.ok();
        id.and_then(|Path(id)| RegistrationId::parse(&id))
            .map(RegistrationPath)
            .ok_or_else(|| ProblemResponse::invalid("The registration id in the path must be a lower-case UUID."))
    }
}

impl FromRequestParts<Arc<App>> for OwnRegistration {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ProblemResponse> {
        let Peer(peer) = Peer::from_request_parts(parts, app).await?;
        let RegistrationPath(id) = RegistrationPath::from_request_parts(parts, app).await?;
        let refused = |why| Err(ProblemResponse::unauthenticated(Scheme::Basic, why));
        let presented = match Credentials::read(&parts.headers) {
            Credentials::Presented(presented) if presented.id == id => presented,
            Credentials::Presented(_) => return refused("The credential belongs to another registration."),
            Credentials::Malformed => return refused("The credential is not a registration id and its token."),
            Credentials::Absent => return refused("The registration's id and token are required."),
        };
        let by = RequestId::from_request_parts(parts, app).await?.by(Actor::Machine);
        Ok(OwnRegistration { peer, by, presented })
    }
}

impl FromRequestParts<Arc<App>> for KeyHash {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ProblemResponse> {
        match bearer_key(&parts.headers) {
            Some(Ok(key)) => Ok(KeyHash(key.hash())),
            Some(Err(why)) => Err(ProblemResponse::invalid(format!("Authorization: {why}."))),
            None => {
                Err(ProblemResponse::unauthenticated(Scheme::Bearer, "The license key is required, as a bearer token."))
            }
        }
    }
}
