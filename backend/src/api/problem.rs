//! Which problem document answers a denial or an error of the store.
//!
//! Owns this mapping. What a store says about its errors goes to the log only.

use std::time::Duration;

use els_ledger::StoreError;
use els_ledger::rules::Denied;
use els_protocol::{Code, Timestamp};
use els_server::problem::{ProblemResponse, Scheme};

pub(super) fn denied(now: Timestamp, denied: Denied) -> ProblemResponse {
    let code = match denied {
        Denied::WrongToken => {
            return ProblemResponse::unauthenticated(Scheme::Basic, "The token does not belong to this registration.");
        }
        Denied::KeyFull { seats, distrusted } => {
            let full = ProblemResponse::new(Code::NoFreeSeat).with(|problem| problem.seats = Some(seats));
            return if distrusted { full.detail(DISTRUSTED) } else { full };
        }
        Denied::MovedTooOften { until } => {
            let seconds = u64::try_from(until.unix().saturating_sub(now.unix())).unwrap_or(0);
            return ProblemResponse::rate_limited(Duration::from_secs(seconds)).detail(MOVED_TOO_OFTEN);
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

const DISTRUSTED: &str =
    "Several machines have the same machine or hardware id as this one. So it needs a seat of its own.";
const MOVED_TOO_OFTEN: &str =
    "Many machines with the same ids have registered within the hour, and no seat is free for this one.";
