//! Who calls the admin API: a token, what it may do, and how often.
//!
//! Owns the judgement of tokens. It must not know any route.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Extension;
use axum::extract::FromRequestParts;
use els_ledger::{Actor, By, Origin, Permission, Scope, StoreError, TokenId, TokenRecord};
use els_protocol::Timestamp;
use http::HeaderMap;
use http::header::HeaderValue;
use http::request::Parts;
use ipnet::IpNet;

use super::Admin;
use super::problem::AdminProblem;
use crate::credential::admin_token;

/// A request with a valid token.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) token: Arc<TokenRecord>,
    request: Option<String>,
}

impl Caller {
    /// Judges the token of a request from `peer`.
    pub(super) async fn authenticate(
        admin: &Admin,
        peer: IpAddr,
        headers: &HeaderMap,
        id: &HeaderValue,
    ) -> Result<Self, AdminProblem> {
        let Some(hash) = admin_token(headers) else { return Err(AdminProblem::unauthenticated()) };
        let limits = admin.limits.admit(peer, &hash).await;
        let admission = limits.map_err(|exhausted| AdminProblem::rate_limited(exhausted.retry_after.as_secs() + 1))?;
        let now = (admin.clock)();
        let found = admin.store.token(hash).await?;
        let valid = found.filter(|token| token.is_valid(now, &hash) && is_from(&token.networks, peer));
        admission.answered(valid.is_some());
        let Some(token) = valid else { return Err(AdminProblem::unauthenticated()) };
        admin.uses.note(token.token_id, now);
        admin.uses.admit(token.token_id, Instant::now())?;
        Ok(Caller { token: Arc::new(token), request: id.to_str().ok().map(str::to_owned) })
    }

    /// How far this call reaches; refused without the permission.
    pub(super) fn may(&self, permission: Permission) -> Result<Scope, AdminProblem> {
        match self.token.may(permission) {
            true => Ok(self.token.scope()),
            false => Err(AdminProblem::forbidden(permission.as_str())),
        }
    }

    /// This request as the cause of a change.
    pub(super) fn by(&self) -> By {
        By { request: self.request.clone(), ..By::new(Actor::Token(self.token.token_id), Origin::AdminApi) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminProblem> {
        let Extension(caller) = Extension::from_request_parts(parts, state).await.expect("set for every request");
        Ok(caller)
    }
}

/// The last uses of tokens that are not written yet, and how many calls each token may make.
#[derive(Default)]
pub(super) struct Uses {
    unwritten: Mutex<HashMap<TokenId, Timestamp>>,
    /// Calls that a token may still make, and when that was counted.
    left: Mutex<HashMap<TokenId, (f64, Instant)>>,
}

impl Uses {
    fn note(&self, token: TokenId, now: Timestamp) {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).insert(token, now);
    }

    fn admit(&self, token: TokenId, now: Instant) -> Result<(), AdminProblem> {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = all.entry(token).or_insert((BURST, now));
        *left = (*left + now.saturating_duration_since(*since).as_secs_f64() * PER_SECOND).min(BURST);
        *since = now;
        if *left < 1.0 {
            return Err(AdminProblem::rate_limited(1));
        }
        *left -= 1.0;
        Ok(())
    }

    /// Writes last uses.
    pub(super) async fn write(&self, store: &dyn els_ledger::Store) -> Result<(), StoreError> {
        let uses = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        match uses.is_empty() {
            true => Ok(()),
            false => store.tokens_used(uses.into_iter().collect()).await,
        }
    }
}

/// Whether an address is in one of these networks; without any, every address is.
fn is_from(networks: &[String], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.is_empty()
        || networks.iter().any(|network| network.parse::<IpNet>().is_ok_and(|network| network.contains(&peer)))
}

/// Calls of one token.
const PER_SECOND: f64 = 50.0;
const BURST: f64 = 100.0;
