//! `/v1/registrations/{id}`: take a seat, ask for it, give it back.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use els_protocol::{Code, LicenseKey, Problem, RegistrationId, wire};
use http::{HeaderMap, Request, StatusCode};

use super::body::{json, no_content, read};
use super::problem::{Refused, Scheme};
use super::{App, Client};
use els_ledger::rules::{Judged, Refusal, RegisterCommand};
use els_ledger::{Deleted, How, RegistrationView, StoreError};
use els_server::credential::{Credentials, Presented};
use els_server::limits::{Admission, Crowded};

/// Take a seat, confirm it, or move it here.
///
/// The id and the token are made by the machine; a request whose answer was lost is sent again as it was. A *new* id gets
/// the seat that the same machine holds under another id, or a free one. *Active*: current values. *Superseded* or
/// *released*: 410; 409 conflict and 410 call for a fresh id and token, once.
#[utoipa::path(
    put,
    path = "/v1/registrations/{id}",
    tag = "registrations",
    params(("id" = RegistrationId, Path, description = "The registration's id, made by the machine")),
    request_body = wire::RegisterRequest,
    responses(
        (status = 200, description = "The machine holds a seat already", body = wire::Registration),
        (status = 201, description = "A free seat was taken", body = wire::Registration),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`unknown-key`, `key-expired`, `key-not-yet-valid`, `key-suspended`, `key-revoked`, \
            `system-not-covered`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`no-free-seat`, with `seats`; `registration-conflict`",
            body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`registration-released`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: it is not known whether a seat was taken; send it again as it was",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let id = registration_id(&id)?;
    let (head, body) = request.into_parts();
    let command = command(id, read(&head.headers, body).await?)?;
    let key_hash = command.key_hash;
    let admission = admit(&app, client, || app.limits.knows_key(&key_hash)).await?;
    let registered = carried_out(admission, {
        let app = app.clone();
        async move { app.store.register((app.clock)(), command).await }
    })
    .await?;
    if !matches!(registered, Err(Refusal { code: Code::UnknownKey, .. })) {
        app.limits.key_is_known(&key_hash);
    }
    let registered = judged(&app, client, registered)?;
    let status = match registered.how {
        How::Created => StatusCode::CREATED,
        How::Confirmed | How::Moved => StatusCode::OK,
    };
    Ok(json(status, &registration(&app, registered.view)?))
}

/// What this machine's credential stands for today.
#[utoipa::path(
    get,
    path = "/v1/registrations/{id}",
    tag = "registrations",
    params(("id" = RegistrationId, Path, description = "The registration's id")),
    responses(
        (status = 200, description = "The registration, with current values", body = wire::Registration),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`key-expired` (past grace), `key-suspended`, `key-revoked`",
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-registration`", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`registration-released`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    ),
    security(("credential" = []))
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let presented = own_credential(registration_id(&id)?, &headers)?;
    let admission = admit(&app, client, || app.gate.knows(&presented)).await?;
    let found = carried_out(admission, {
        let app = app.clone();
        // It may write: a superseded credential after its hour is decided upon.
        async move { app.store.registration((app.clock)(), presented.id, presented.token_hash).await }
    })
    .await?;
    Ok(json(StatusCode::OK, &registration(&app, judged(&app, client, found)?)?))
}

/// Give the seat back. Again and again with the same answer.
///
/// An id that nobody has seen is remembered as released for a day, so that a PUT which comes late gets no seat.
#[utoipa::path(
    delete,
    path = "/v1/registrations/{id}",
    tag = "registrations",
    params(("id" = RegistrationId, Path, description = "The registration's id")),
    responses(
        (status = 204, description = "The machine holds no seat under this id"),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: the token is not the one of this registration",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: it is not known whether the seat is free",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("credential" = []))
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(Client(client)): Extension<Client>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let presented = own_credential(registration_id(&id)?, &headers)?;
    let admission = admit(&app, client, || app.gate.knows(&presented)).await?;
    let deleted = carried_out(admission, {
        let app = app.clone();
        async move { app.store.delete((app.clock)(), presented.id, presented.token_hash, client).await }
    })
    .await?;
    if judged(&app, client, deleted)? == Deleted::NeverSeen {
        // It may be a guess, and it is written down: it counts, though the answer stays what the contract says.
        let _ = app.limits.failed(client, Instant::now());
    }
    Ok(no_content())
}

/// Reads the `{id}` of a path.
pub(super) fn registration_id(text: &str) -> Result<RegistrationId, Refused> {
    RegistrationId::parse(text)
        .ok_or_else(|| Refused::invalid("The registration id in the path is not a lower-case UUID."))
}

/// Leave to ask the database: at once, unless the address has failed too often and what it brings is `known` to no one.
pub(super) async fn admit(
    app: &App,
    client: IpAddr,
    known: impl FnOnce() -> bool,
) -> Result<Option<Admission>, Refused> {
    if known() {
        return Ok(None);
    }
    let admission = app.limits.admit(client, Instant::now()).await;
    admission.map(Some).map_err(|Crowded| {
        Refused::new(Code::Unavailable).detail("Too many failing requests come from this address; try again later.")
    })
}

/// Carries a call of the store out to its end, also when the client goes away in the middle, and holds its admission for
/// as long.
pub(super) async fn carried_out<T: Send + 'static>(
    admission: Option<Admission>,
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Refused> {
    let call = tokio::spawn(async move {
        let _admission = admission;
        call.await
    });
    match call.await {
        Ok(result) => Ok(result?),
        Err(error) => Err(StoreError::Internal(error.to_string()).into()),
    }
}

/// Turns a "no" into its answer. Where it may be a guess, it counts against the address; where the address has failed
/// too often, it is answered with 429.
pub(super) fn judged<T>(app: &App, client: IpAddr, judged: Judged<T>) -> Result<T, Refused> {
    judged.map_err(|refusal| {
        if matches!(refusal.code, Code::UnknownKey | Code::CredentialInvalid | Code::UnknownRegistration)
            && let Err(exhausted) = app.limits.failed(client, Instant::now())
        {
            app.metrics.limited.inc();
            return Refused::rate_limited(exhausted.retry_after)
                .detail("Too many requests with unknown keys or credentials come from this address.");
        }
        refusal.into()
    })
}

/// The credential of the registration that the path names.
fn own_credential(id: RegistrationId, headers: &HeaderMap) -> Result<Presented, Refused> {
    let refused = |why| Err(Refused::unauthenticated(Scheme::Basic, why));
    match Credentials::read(headers) {
        Credentials::Presented(presented) if presented.id == id => Ok(presented),
        Credentials::Presented(_) => refused("The credential is the one of another registration."),
        Credentials::Malformed => refused("The credential is not a registration id and its token."),
        Credentials::Absent => refused("The registration's id and token are required."),
    }
}

fn command(id: RegistrationId, request: wire::RegisterRequest) -> Result<RegisterCommand, Refused> {
    let key = LicenseKey::parse(&request.key).map_err(|error| Refused::invalid(format!("key: {error}.")))?;
    for (name, text) in [("os.id", &request.os.id), ("os.version", &request.os.version), ("arch", &request.arch)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
        if !(1..=WORD_MOST).contains(&text.len()) || !text.chars().all(plain) {
            return Err(Refused::invalid(format!("{name}: has to be 1 to {WORD_MOST} letters, digits and ._-+~")));
        }
    }
    Ok(RegisterCommand {
        id,
        key_hash: key.hash(),
        token_hash: request.token_sha256,
        machine: request.machine,
        hardware: request.hardware,
        moved: request.moved,
        os: request.os,
        arch: request.arch,
        label: request.label,
    })
}

fn registration(app: &App, view: RegistrationView) -> Result<wire::Registration, Refused> {
    let product = product(app, &view.product)?;
    Ok(wire::Registration {
        registration: view.registration,
        state: wire::RegistrationState::Active,
        until: None,
        moved_from: None,
        key_id: view.key_id.to_string(),
        contract: view.contract,
        repo: wire::Repo { file: product.repo_file.clone(), url: app.repo_url.clone() },
        product: wire::Product { id: product.id.clone(), name: product.name.clone() },
        expires: view.expires,
        registered_at: view.registered_at,
        seats: view.seats,
    })
}

/// The product of a key; a key whose product is no longer in the file is a mistake of the vendor's.
pub(super) fn product<'a>(app: &'a App, id: &str) -> Result<&'a crate::products::Product, Refused> {
    app.products.get(id).map(AsRef::as_ref).ok_or_else(|| {
        tracing::error!(product = id, "a key's product is not in the product file: put it back (--products FILE)");
        Refused::new(Code::Internal).detail("The product of this key is not set up at the backend.")
    })
}

/// Bytes of an operating system's id or version, or of an architecture.
const WORD_MOST: usize = 64;
