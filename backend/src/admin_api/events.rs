//! The feed of events: the audit log as far as a token reaches, with a cursor that is good after restarts and notices a restored
//! database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use els_ledger::{FeedFilter, KeyId, Permission};
use els_protocol::{RegistrationId, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::caller::Caller;
use super::problem::{AdminProblem, Code, Document};
use super::request::{Answer, date, feed_cursor, limit, read_feed_cursor};
use crate::dates::Edge;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Event {
    /// Its number in the audit log. Greater is later; numbers may be missing.
    seq: u64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What happened, such as `seat-taken`; later versions have more.
    event: String,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<String>,
    /// The other registration that it has to do with.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Who caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Through which interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct EventList {
    events: Vec<Event>,
    /// The value of `after` for the next request; always there.
    next: String,
    /// More events are there already.
    more: bool,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    /// `next` of the answer before; absent: from the first event on.
    after: Option<String>,
    /// Only events of this key.
    key: Option<String>,
    /// Only events of this registration.
    registration: Option<String>,
    /// Only events of these kinds, separated by commas.
    kinds: Option<String>,
    /// A time, or a day in the time zone of the site.
    since: Option<String>,
    /// Seconds to wait for an event if there is none, 0 to 30.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 30)]
    wait: Option<String>,
    /// The most events of the answer, 1 to 1000; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// Read the feed of events, oldest first.
#[utoipa::path(get, path = "/admin/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, body = EventList), (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn list_events(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    query: Result<Query<EventQuery>, QueryRejection>,
) -> Result<Response, AdminProblem> {
    let scope = caller.may(Permission::EventsRead)?;
    let Query(query) = query.map_err(|error| AdminProblem::invalid(error.body_text()))?;
    let (filter, limit, wait) = (query.filter(&admin)?, limit(query.limit.as_deref())?, query.wait()?);
    let after = read_feed_cursor(query.after.as_deref())?;
    let (until, mut hint) = (Instant::now() + wait, admin.store.feed_hint());
    let mut stopping = admin.stopping.clone();
    let page = loop {
        let page = admin.store.feed_page((admin.clock)(), scope, filter.clone(), after, limit).await?;
        let page = page.ok_or_else(|| AdminProblem::new(Code::CursorGone))?;
        let left = until.saturating_duration_since(Instant::now());
        if !page.events.is_empty() || left.is_zero() || *stopping.borrow() {
            break page;
        }
        tokio::select! {
            // The hint may come late or never: other nodes write too.
            () = tokio::time::sleep(left.min(POLL)) => {}
            Ok(()) = hint.changed() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    };
    let events = page.events.into_iter().map(Event::of).collect();
    let list = EventList { events, next: feed_cursor(page.next), more: page.more };
    Ok(Answer::json(StatusCode::OK, &list).into_response())
}

impl Event {
    pub(super) fn of(event: els_ledger::Event) -> Self {
        Event {
            seq: event.cursor.0,
            at: event.at,
            event: event.event,
            key_id: event.key_id.to_string(),
            registration: event.registration.map(|id| id.to_string()),
            other: event.other.map(|id| id.to_string()),
            detail: event.detail,
            actor: event.actor,
            origin: event.origin,
            request: event.request,
        }
    }
}

impl Event {
    /// The cells of a row of CSV.
    pub(super) fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.seq.to_string(),
            self.at.to_string(),
            self.event.clone(),
            self.key_id.clone(),
            text(&self.registration),
            text(&self.other),
            text(&self.detail),
            text(&self.actor),
            text(&self.origin),
            text(&self.request),
        ]
    }
}

impl EventQuery {
    pub(super) fn filter(&self, admin: &Admin) -> Result<FeedFilter, AdminProblem> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let key = |text: String| KeyId::parse(&text).ok_or_else(|| AdminProblem::invalid("key: is not a key id."));
        let registration = |text: String| {
            RegistrationId::parse(&text)
                .ok_or_else(|| AdminProblem::invalid("registration: must be a lower-case UUID."))
        };
        Ok(FeedFilter {
            key: named(&self.key).map(key).transpose()?,
            registration: named(&self.registration).map(registration).transpose()?,
            kinds: named(&self.kinds).map(|kinds| kinds.split(',').take(KINDS_MOST).map(str::to_owned).collect()),
            since: named(&self.since).map(|text| date(admin, "since", &text, Edge::Beginning)).transpose()?,
        })
    }

    fn wait(&self) -> Result<Duration, AdminProblem> {
        let Some(text) = self.wait.as_deref().filter(|text| !text.is_empty()) else { return Ok(Duration::ZERO) };
        let seconds = text.parse().ok().filter(|seconds| *seconds <= WAIT_MOST);
        seconds
            .map(Duration::from_secs)
            .ok_or_else(|| AdminProblem::invalid(format!("wait: must be 0 to {WAIT_MOST}.")))
    }
}

const POLL: Duration = Duration::from_secs(1);
const WAIT_MOST: u64 = 30;
const KINDS_MOST: usize = 50;
