//! Which problem document answers a denial or an error of the store.
//!
//! Owns this mapping. What a store says about its errors goes to the log only.

use std::time::Duration;

use els_ledger::StoreError;
use els_ledger::rules::Refusal;
use els_protocol::Code;
use els_server::problem::{ProblemResponse, Scheme};

pub(super) fn denied(refusal: Refusal) -> ProblemResponse {
    match refusal.code {
        Code::CredentialInvalid => {
            ProblemResponse::unauthenticated(Scheme::Basic, "The token does not belong to this registration.")
        }
        code => ProblemResponse::new(code).with(|problem| problem.seats = refusal.seats),
    }
}

pub(super) fn store_failed(error: StoreError) -> ProblemResponse {
    match &error {
        StoreError::Busy => ProblemResponse::rate_limited(Duration::from_secs(1)),
        StoreError::Unavailable(_) => {
            tracing::warn!(%error, "answered 503");
            ProblemResponse::new(Code::Unavailable)
        }
        StoreError::Internal(_) => {
            tracing::error!(%error, "answered 500");
            ProblemResponse::new(Code::Internal)
        }
    }
}
