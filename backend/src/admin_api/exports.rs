//! `/admin/v1/exports`: everything that fits, as CSV or JSON lines.
//!
//! Owns the forms of the files, and that an export needs the memory of a few pages and no long transaction. An export begins with
//! a place in the feed: every event up to it is in the rows, so that export and feed together are an exact mirror.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use els_ledger::{FeedFilter, FeedPlace, KeyFilter, Permission, Scope, SeatFilter, StoreError, TokenId};
use els_protocol::{Sha256Hex, Timestamp};
use http::Uri;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue};
use http_body::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Admin;
use super::caller::Caller;
use super::events::{Event, EventQuery};
use super::keys::{Key, KeyQuery, not_found};
use super::problem::{AdminProblem, Document};
use super::request::feed_cursor;
use super::seats::{Registration, SeatQuery};

/// Export keys, seats or events: the same filters as the lists have, and no pages. JSON lines end with
/// `{"end":true,"rows":N}`; a response that breaks off has no proper end.
#[utoipa::path(get, path = "/admin/v1/exports/{file}", tag = "exports",
    params(("file" = String, Path, description = "keys, seats or events, and .jsonl or .csv")),
    responses((status = 200, description = "The rows", content_type = "application/jsonl", body = String,
            headers(("Els-Cursor" = String, description = "The place in the feed from which the mirror goes on"))),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn export(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Path(file): Path<String>,
    uri: Uri,
) -> Result<Response, AdminProblem> {
    caller.may(Permission::Export)?;
    let (name, format) = match file.rsplit_once('.') {
        Some((name, "jsonl")) => (name, Format::JsonLines),
        Some((name, "csv")) => (name, Format::Csv),
        _ => return Err(not_found()),
    };
    let (what, scope) = match name {
        "keys" => (What::Keys(query::<KeyQuery>(&uri)?.filter(&admin)?), caller.may(Permission::KeysRead)?),
        "seats" => {
            let query = query::<SeatQuery>(&uri)?;
            (What::Seats(query.filter(&admin, None)?, query.ids()?), caller.may(Permission::SeatsRead)?)
        }
        "events" => (What::Events(query::<EventQuery>(&uri)?.filter(&admin)?), caller.may(Permission::EventsRead)?),
        _ => return Err(not_found()),
    };
    let turn = Turn::take(&admin.exports, caller.token.token_id)?;
    // First the place, then the rows.
    let place = admin.store.feed_place(None).await?.unwrap_or(FeedPlace::BEGINNING);
    let (pieces, body) = channel(PIECES);
    let now = (admin.clock)();
    let export = Export { admin, scope, what, format, place, now, rows: 0, pieces };
    tokio::spawn(async move {
        let _turn = turn;
        export.run().await;
    });
    let mut response = Response::new(Body::new(Pieces(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.extend(HeaderValue::from_str(&feed_cursor(place)).ok().map(|place| (CURSOR, place)));
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")).ok();
    headers.extend(name.map(|name| (CONTENT_DISPOSITION, name)));
    Ok(response)
}

/// Which tokens are exporting.
#[derive(Default)]
pub(super) struct Exports(Mutex<HashSet<TokenId>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
}

enum What {
    Keys(KeyFilter),
    /// With machine and hardware ids, or without.
    Seats(SeatFilter, bool),
    Events(FeedFilter),
}

struct Export {
    admin: Arc<Admin>,
    scope: Scope,
    what: What,
    format: Format,
    place: FeedPlace,
    now: Timestamp,
    rows: u64,
    pieces: Sender<Piece>,
}

type Piece = Result<Bytes, StoreError>;

impl Export {
    async fn run(mut self) {
        let done = match &self.what {
            What::Keys(filter) => self.keys(filter.clone()).await,
            What::Seats(filter, ids) => self.seats(filter.clone(), *ids).await,
            What::Events(filter) => self.events(filter.clone()).await,
        };
        // An error ends the response without its last chunk: the client does not take it for a whole one.
        if let Err(Ended::Failed(error)) = done {
            tracing::warn!(%error, "an export was broken off");
            let _ = self.pieces.send(Err(error)).await;
        }
    }

    async fn keys(&mut self, filter: KeyFilter) -> Result<(), Ended> {
        self.begin(&KEY_COLUMNS).await?;
        let mut after = None;
        loop {
            let page = self.admin.store.keys_matching(self.now, self.scope, filter.clone(), after, PAGE).await?;
            let Some(last) = page.last() else { return self.end().await };
            after = Some(last.number);
            let zone = self.admin.zone_name.clone();
            self.send(page.into_iter().map(|record| Key::of(&zone, record, None)), Key::cells).await?;
        }
    }

    async fn seats(&mut self, filter: SeatFilter, ids: bool) -> Result<(), Ended> {
        self.begin(&SEAT_COLUMNS).await?;
        let mut after = None;
        loop {
            let page = self.admin.store.seats_matching(self.now, self.scope, filter.clone(), after, PAGE).await?;
            let Some((last, _)) = page.last() else { return self.end().await };
            after = Some(*last);
            self.send(page.into_iter().map(|(_, holder)| Registration::of(holder, ids)), Registration::cells).await?;
        }
    }

    /// The events up to the place.
    async fn events(&mut self, filter: FeedFilter) -> Result<(), Ended> {
        self.begin(&EVENT_COLUMNS).await?;
        let (mut after, end) = (FeedPlace::BEGINNING, self.place.seq);
        loop {
            let page = self.admin.store.feed_page(self.now, self.scope, filter.clone(), after, PAGE).await?;
            let page = page.ok_or_else(|| StoreError::Unavailable("the database was restored".into()))?;
            let events = page.events.into_iter().filter(|event| event.cursor.0 <= end).map(Event::of);
            self.send(events, Event::cells).await?;
            after = page.next;
            if !page.more || after.seq >= end {
                return self.end().await;
            }
        }
    }

    async fn begin(&self, columns: &[&str]) -> Result<(), Ended> {
        if self.format == Format::Csv {
            // Excel in Japan reads a file without this mark as Shift_JIS.
            let mut text = b"\xef\xbb\xbf".to_vec();
            csv_row(&mut text, columns);
            self.piece(text).await?;
        }
        Ok(())
    }

    async fn send<T: Serialize>(
        &mut self,
        rows: impl Iterator<Item = T>,
        cells: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), Ended> {
        let mut text = Vec::with_capacity(256 * PAGE as usize);
        for row in rows {
            self.rows += 1;
            match self.format {
                Format::JsonLines => {
                    serde_json::to_writer(&mut text, &row).expect("every map key is a text");
                    text.push(b'\n');
                }
                Format::Csv => csv_row(&mut text, &cells(&row)),
            }
        }
        self.piece(text).await
    }

    async fn end(&self) -> Result<(), Ended> {
        // A token that was revoked meanwhile reaches nothing: the rows that are missing must not look like none.
        if let Scope::Token(hash) = self.scope {
            self.still_valid(hash).await?;
        }
        match self.format {
            Format::JsonLines => self.piece(format!("{{\"end\":true,\"rows\":{}}}\n", self.rows).into_bytes()).await,
            Format::Csv => Ok(()),
        }
    }

    async fn still_valid(&self, hash: Sha256Hex) -> Result<(), Ended> {
        let token = self.admin.store.token(hash).await?;
        match token.is_some_and(|token| token.is_valid(self.now, &hash)) {
            true => Ok(()),
            false => Err(Ended::Failed(StoreError::Unavailable("the token was revoked".into()))),
        }
    }

    async fn piece(&self, text: Vec<u8>) -> Result<(), Ended> {
        self.pieces.send(Ok(text.into())).await.map_err(|_| Ended::ClientGone)
    }
}

/// Why an export ended early.
enum Ended {
    Failed(StoreError),
    ClientGone,
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Ended::Failed(error)
    }
}

/// The turn of one export: one of each token, and a few in all.
struct Turn {
    admin: Arc<Exports>,
    token: TokenId,
}

impl Turn {
    fn take(exports: &Arc<Exports>, token: TokenId) -> Result<Self, AdminProblem> {
        let mut running = exports.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.len() >= EXPORTS || !running.insert(token) {
            return Err(AdminProblem::rate_limited(10).detail("Too many exports are running; one of each token can."));
        }
        Ok(Turn { admin: exports.clone(), token })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admin.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

/// The body of a response.
struct Pieces(Receiver<Piece>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Format::JsonLines => "application/jsonl",
            Format::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// The parameters of a list, without those of its pages.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, AdminProblem> {
    let pages = ["after=", "limit=", "wait="];
    let of_pages = |pair: &str| pages.iter().any(|page| pair.starts_with(page));
    if uri.query().unwrap_or_default().split('&').any(of_pages) {
        return Err(AdminProblem::invalid("An export has no pages: after, limit and wait have no meaning."));
    }
    let Query(query) = Query::try_from_uri(uri).map_err(|error| AdminProblem::invalid(error.body_text()))?;
    Ok(query)
}

/// A row of RFC 4180.
fn csv_row(text: &mut Vec<u8>, cells: &[impl AsRef<str>]) {
    for (place, cell) in cells.iter().map(AsRef::as_ref).enumerate() {
        if place > 0 {
            text.push(b',');
        }
        // A spreadsheet takes these for a formula, and labels come from the administrators of machines.
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        if cell.contains(['"', ',', '\n', '\r']) {
            text.push(b'"');
            text.extend_from_slice(if formula { b"'" } else { b"" });
            text.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            text.push(b'"');
        } else {
            text.extend_from_slice(if formula { b"'" } else { b"" });
            text.extend_from_slice(cell.as_bytes());
        }
    }
    text.extend_from_slice(b"\r\n");
}

const KEY_COLUMNS: [&str; 13] = [
    "key_id",
    "state",
    "product",
    "seats",
    "used",
    "starts",
    "expires",
    "contract",
    "reseller",
    "note",
    "release_unseen_after",
    "self_release",
    "created_at",
];
const SEAT_COLUMNS: [&str; 12] = [
    "registration",
    "key_id",
    "state",
    "label",
    "os",
    "os_version",
    "arch",
    "registered_at",
    "last_seen_at",
    "ended_at",
    "machine",
    "hardware",
];
const EVENT_COLUMNS: [&str; 10] =
    ["seq", "at", "event", "key_id", "registration", "other", "detail", "actor", "origin", "request"];
const CURSOR: HeaderName = HeaderName::from_static("els-cursor");
/// Rows of one transaction.
const PAGE: u32 = 1000;
/// Pieces that wait for a slow client.
const PIECES: usize = 2;
/// Exports at one time.
const EXPORTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: admin-export
    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let mut text = Vec::new();
        csv_row(&mut text, &["a", "", "a,b", "a\"b", "=1+1", "-2", "@x,\"y\"", "é\r\n"]);
        assert_eq!(String::from_utf8(text).unwrap(), "a,,\"a,b\",\"a\"\"b\",'=1+1,'-2,\"'@x,\"\"y\"\"\",\"é\r\n\"\r\n");
    }
}
