//! The calls of the protocol that the agent makes, one function each. What HTTP is, `els_host::network` knows.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod probe;

use els_host::failure::AnswerFault;
use els_host::network::{Answer, Authorization, Call, Client, Credential, Method, SHOWN};
use els_protocol::wire::{self, RegisterRequest, Registration, SeatList};
use els_protocol::{BaseUrl, Code, LicenseKey, RegistrationId, clean};

pub(crate) use probe::probe;

/// `PUT /v1/registrations/{id}`.
pub(crate) fn register(
    client: &Client,
    server: &BaseUrl,
    id: &RegistrationId,
    body: &RegisterRequest,
) -> Call<Registration> {
    let body = serde_json::to_vec(body).expect("a request is a JSON document");
    let path = wire::registration_path(id);
    let answer = client.call(server, Method::PUT, &path, body, Authorization::Body, wire::BODY_LIMIT)?;
    decode_registration(&answer, server, &[200, 201], id)
}

/// `GET /v1/registrations/{id}`.
pub(crate) fn registration(client: &Client, server: &BaseUrl, credential: &Credential) -> Call<Registration> {
    let answer = own(client, server, Method::GET, credential)?;
    decode_registration(&answer, server, &[200], &credential.id)
}

/// `DELETE /v1/registrations/{id}`. A registration that is gone already (404, 410) is released too.
pub(crate) fn release(client: &Client, server: &BaseUrl, credential: &Credential) -> Call<()> {
    match own(client, server, Method::DELETE, credential) {
        Ok(answer) => require_no_content(&answer, server),
        Err(error) => match error.failure.denial() {
            Some(Code::UnknownRegistration | Code::RegistrationReleased) => Ok(()),
            _ => Err(error),
        },
    }
}

/// `GET /v1/seats`, one page.
pub(crate) fn seats(
    client: &Client,
    server: &BaseUrl,
    key: &LicenseKey,
    after: Option<RegistrationId>,
) -> Call<SeatList> {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    let path = format!("{}?limit={}{after}", wire::SEATS_PATH, wire::SEAT_PAGE_MOST);
    let authorization = Authorization::Bearer(key);
    let answer = client.call(server, Method::GET, &path, Vec::new(), authorization, wire::SEAT_PAGE_LIMIT)?;
    let mut page: SeatList = answer.decode(server, &[200])?;
    for holder in &mut page.registrations {
        for text in [&mut holder.os.id, &mut holder.os.version, &mut holder.arch] {
            *text = clean(text, SHOWN);
        }
    }
    Ok(page)
}

/// `DELETE /v1/seats/{id}`.
pub(crate) fn release_seat(client: &Client, server: &BaseUrl, key: &LicenseKey, id: &RegistrationId) -> Call<()> {
    let path = wire::seat_path(id);
    let authorization = Authorization::Bearer(key);
    let answer = client.call(server, Method::DELETE, &path, Vec::new(), authorization, wire::BODY_LIMIT)?;
    require_no_content(&answer, server)
}

/// A call about the machine's own registration.
fn own(client: &Client, server: &BaseUrl, method: Method, credential: &Credential) -> Call<Answer> {
    let path = wire::registration_path(&credential.id);
    client.call(server, method, &path, Vec::new(), Authorization::Basic(credential), wire::BODY_LIMIT)
}

fn require_no_content(answer: &Answer, server: &BaseUrl) -> Call<()> {
    answer.require(server, answer.status == 204, AnswerFault::UnexpectedStatus)
}

/// The registration in a good answer, which must be the one with this id. Control characters are removed from its texts,
/// since they are shown and kept.
pub(crate) fn decode_registration(
    answer: &Answer,
    server: &BaseUrl,
    statuses: &[u16],
    id: &RegistrationId,
) -> Call<Registration> {
    let mut registration: Registration = answer.decode(server, statuses)?;
    answer.require(server, registration.registration == *id, AnswerFault::OtherId)?;
    let product = &mut registration.product;
    let texts = [&mut registration.key_id, &mut product.id, &mut product.name].into_iter();
    for text in texts.chain(&mut registration.contract) {
        *text = clean(text, SHOWN);
    }
    Ok(registration)
}
