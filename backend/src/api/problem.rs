//! Which problem document answers a denial or an error of the store.
//!
//! Owns this mapping. What a store says about its errors goes to the log only.

use std::time::Duration;

use els_ledger::StoreError;
use els_ledger::rules::Denied;
use els_protocol::Code;
use els_server::problem::{ProblemResponse, Scheme};

pub(super) fn denied(denied: Denied) -> ProblemResponse {
    let code = match denied {
        Denied::WrongToken => {
            return ProblemResponse::unauthenticated(Scheme::Basic, "The token does not belong to this registration.");
        }
        Denied::KeyFull { seats } => {
            return ProblemResponse::new(Code::NoFreeSeat).with(|problem| problem.seats = Some(seats));
        }
        Denied::UnknownKey => Code::UnknownKey,
        Denied::KeyNotYetValid => Code::KeyNotYetValid,
        Denied::KeyExpired => Code::KeyExpired,
        Denied::KeySuspended => Code::KeySuspended,
        Denied::KeyRevoked => Code::KeyRevoked,
        Denied::ReleaseNotAllowed => Code::KeyReleaseDenied,
        Denied::SystemNotCovered => Code::SystemNotCovered,
        Denied::UnknownRegistration => Code::UnknownRegistration,
        Denied::RegistrationConflict => Code::RegistrationConflict,
        Denied::RegistrationReleased => Code::RegistrationReleased,
    };
    ProblemResponse::new(code)
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
