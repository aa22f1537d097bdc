//! One call to the store for one request: admitted, carried out to its end, and guesses counted.
//!
//! Owns what protects keys against guessing. It must not know what the call does.

use std::future::Future;
use std::net::IpAddr;

use els_ledger::StoreError;
use els_ledger::rules::{Denied, Judged};
use els_protocol::{Code, Sha256Hex};
use els_server::limits::{Admission, Turn};
use els_server::problem::ProblemResponse;

use super::app::App;
use super::problem::{denied, store_failed};
use crate::clock::Clock;

/// The permission to make one call.
pub(super) struct Call {
    clock: Clock,
    /// For a request that brings a key.
    admission: Option<Admission>,
    /// For a request that brings a credential.
    turn: Option<Turn>,
}

impl Call {
    /// Waits for permission for a request that brings a key. A key that was correct in this network need not wait.
    pub(super) async fn with_key(app: &App, peer: IpAddr, key: &Sha256Hex) -> Result<Self, ProblemResponse> {
        let admission = app.limits.admit(peer, key).await.map_err(|exhausted| {
            app.metrics.limited.inc();
            ProblemResponse::rate_limited(exhausted.retry_after)
                .detail("Too many different unknown keys come from this address.")
        })?;
        Ok(Call { clock: app.clock.clone(), admission: Some(admission), turn: None })
    }

    /// Waits for the turn of a request that brings a credential. A token cannot be guessed, so nothing is counted.
    pub(super) async fn with_credential(app: &App, peer: IpAddr) -> Result<Self, ProblemResponse> {
        let turn = app.turns.wait(peer).await.ok_or_else(|| {
            ProblemResponse::new(Code::Unavailable).detail("Too many requests wait for this address; try again later.")
        })?;
        Ok(Call { clock: app.clock.clone(), admission: None, turn: Some(turn) })
    }

    /// Makes the call. It is carried out to its end even if the client closes the connection.
    pub(super) async fn run<T: Send + 'static>(
        self,
        call: impl Future<Output = Result<Judged<T>, StoreError>> + Send + 'static,
    ) -> Result<T, ProblemResponse> {
        let Call { clock, admission, turn } = self;
        let call = tokio::spawn(async move {
            let _turn = turn;
            let result = call.await;
            if let (Some(admission), Ok(judged)) = (admission, &result) {
                admission.answered(!matches!(judged, Err(Denied::UnknownKey)));
            }
            result
        });
        match call.await {
            Ok(result) => result.map_err(store_failed)?.map_err(|why| denied(clock(), why)),
            Err(error) => Err(store_failed(StoreError::Internal(error.to_string()))),
        }
    }
}
