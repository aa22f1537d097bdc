//! `/v1/registrations/{id}`: a machine takes a seat, reads its registration, releases its seat.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use els_ledger::rules::RegisterCommand;
use els_ledger::{Actor, How, RegistrationView};
use els_protocol::{LicenseKey, Problem, RegistrationId, wire};
use els_server::body::{json, no_content, read_json};
use els_server::problem::ProblemResponse;
use http::StatusCode;

use super::app::App;
use super::call::Call;
use super::extract::{OwnRegistration, Peer, RegistrationPath, RequestId};

/// Take a seat, confirm it, or move it here.
///
/// The machine makes the id and the token. A request whose response was lost is sent again unchanged. A *new* id gets the
/// seat that the same machine holds under another id, or a free seat; `moved_from` names the other id, which is superseded
/// then. *Active*: current values. *Superseded*: current values within its hour; later it is decided whether it gets a seat
/// again or is released. *Released*: 410. After 409 `registration-conflict` or 410 the machine tries once with a new id and token.
#[utoipa::path(
    put,
    path = wire::REGISTRATION_PATH,
    tag = "registrations",
    params(("id" = RegistrationId, Path, description = "The registration's id; the machine makes it")),
    request_body = wire::RegisterRequest,
    responses(
        (status = 200, description = "The machine has a seat already", body = wire::Registration),
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
        (status = 503, description = "`unavailable`: it is unknown whether a seat was taken; send the same request again",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    request_id: RequestId,
    RegistrationPath(id): RegistrationPath,
    request: Request,
) -> Result<Response, ProblemResponse> {
    let (head, body) = request.into_parts();
    let command = command(id, read_json(&head.headers, body, wire::BODY_LIMIT).await?)?;
    let call = Call::with_key(&app, peer, &command.key_hash).await?;
    let (store, now, by) = (app.store.clone(), (app.clock)(), request_id.by(Actor::Machine));
    let registered = call.run(async move { store.register(now, by, command).await }).await?;
    let status = match registered.how {
        How::Created => StatusCode::CREATED,
        How::Confirmed | How::Moved => StatusCode::OK,
    };
    Ok(json(status, &registration(&app, registered.view, registered.moved_from)?))
}

/// Read the registration with the machine's own credential.
#[utoipa::path(
    get,
    path = wire::REGISTRATION_PATH,
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
pub(super) async fn read_registration(
    State(app): State<Arc<App>>,
    OwnRegistration { peer, by, presented }: OwnRegistration,
) -> Result<Response, ProblemResponse> {
    let (store, now) = (app.store.clone(), (app.clock)());
    let call = Call::with_credential(&app, peer).await?;
    let view = call.run(async move { store.registration(now, by, presented.id, presented.token_hash).await }).await?;
    Ok(json(StatusCode::OK, &registration(&app, view, None)?))
}

/// Release the seat. Repeating it gives the same response.
///
/// An id that the backend has not seen is remembered as released for a day, so that a late PUT gets no seat.
#[utoipa::path(
    delete,
    path = wire::REGISTRATION_PATH,
    tag = "registrations",
    params(("id" = RegistrationId, Path, description = "The registration's id")),
    responses(
        (status = 204, description = "The machine has no seat under this id"),
        (status = 400, description = "`invalid-request`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`credential-invalid`: the token does not belong to this registration",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`rate-limited`", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: it is unknown whether the seat was released",
            body = Problem, content_type = "application/problem+json"),
    ),
    security(("credential" = []))
)]
pub(super) async fn unregister(
    State(app): State<Arc<App>>,
    OwnRegistration { peer, by, presented }: OwnRegistration,
) -> Result<Response, ProblemResponse> {
    let (store, now) = (app.store.clone(), (app.clock)());
    let (id, token_hash) = (presented.id, presented.token_hash);
    let call = Call::with_credential(&app, peer).await?;
    call.run(async move { store.unregister(now, by, id, token_hash, peer).await }).await?;
    Ok(no_content())
}

fn command(id: RegistrationId, request: wire::RegisterRequest) -> Result<RegisterCommand, ProblemResponse> {
    let key = LicenseKey::parse(&request.key).map_err(|error| ProblemResponse::invalid(format!("key: {error}.")))?;
    for (name, text) in [("os.id", &request.os.id), ("os.version", &request.os.version), ("arch", &request.arch)] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
        if !(1..=WORD_MOST).contains(&text.len()) || !text.chars().all(plain) {
            return Err(ProblemResponse::invalid(format!(
                "{name}: must be 1 to {WORD_MOST} letters, digits and ._-+~."
            )));
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

fn registration(
    app: &App,
    view: RegistrationView,
    moved_from: Option<RegistrationId>,
) -> Result<wire::Registration, ProblemResponse> {
    let product = app.product(&view.product)?;
    Ok(wire::Registration {
        registration: view.registration,
        state: match view.until {
            Some(_) => wire::RegistrationState::Superseded,
            None => wire::RegistrationState::Active,
        },
        until: view.until,
        moved_from,
        key_id: view.key_id.to_string(),
        contract: view.contract,
        repo: wire::Repo { file: product.repo_file.clone(), url: app.repo_url.clone() },
        product: wire::Product { id: product.id.clone(), name: product.name.clone() },
        expires: view.expires,
        registered_at: view.registered_at,
        seats: view.seats,
    })
}

/// Bytes of an operating system's id or version, or of an architecture.
const WORD_MOST: usize = 64;
