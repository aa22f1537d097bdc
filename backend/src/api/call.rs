//! One call to the store for one request: admitted, carried out to its end, and its failures counted.
//!
//! Owns what protects the store against guessing. It must not know what the call does.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use els_ledger::StoreError;
use els_ledger::rules::{Denied, Judged};
use els_protocol::{Code, Sha256Hex};
use els_server::limits::{Admission, Crowded};
use els_server::problem::ProblemResponse;

use super::app::App;
use super::problem::{denied, store_failed};
use crate::credential::Presented;

/// The permission to make one call.
pub(super) struct Call {
    app: Arc<App>,
    peer: IpAddr,
    /// The key that the request brought.
    key: Option<Sha256Hex>,
    admission: Option<Admission>,
}

impl Call {
    /// Waits for permission for a request that brings a key. A key that was correct recently need not wait.
    pub(super) async fn with_key(app: &Arc<App>, peer: IpAddr, key: Sha256Hex) -> Result<Self, ProblemResponse> {
        Call::admitted(app, peer, Some(key), app.limits.is_known(&key)).await
    }

    /// Waits for permission for a request that brings a credential. One that the gate remembers need not wait.
    pub(super) async fn with_credential(
        app: &Arc<App>,
        peer: IpAddr,
        presented: &Presented,
    ) -> Result<Self, ProblemResponse> {
        Call::admitted(app, peer, None, app.gate.knows(presented)).await
    }

    /// Makes the call. It is carried out to its end even if the client closes the connection; the admission is held as long.
    pub(super) async fn run<T: Send + 'static>(
        self,
        call: impl Future<Output = Result<Judged<T>, StoreError>> + Send + 'static,
    ) -> Result<T, ProblemResponse> {
        let Call { app, peer, key, admission } = self;
        let call = tokio::spawn(async move {
            let _admission = admission;
            call.await
        });
        let judged = match call.await {
            Ok(result) => result.map_err(store_failed)?,
            Err(error) => return Err(store_failed(StoreError::Internal(error.to_string()))),
        };
        if let Some(key) = &key
            && !matches!(judged, Err(Denied::UnknownKey))
        {
            app.limits.note_known(key);
        }
        judged.map_err(|why| {
            if matches!(why, Denied::UnknownKey | Denied::WrongToken | Denied::UnknownRegistration)
                && let Err(exhausted) = app.limits.failed(peer, Instant::now())
            {
                app.metrics.limited.inc();
                return ProblemResponse::rate_limited(exhausted.retry_after)
                    .detail("Too many requests with unknown keys or credentials come from this address.");
            }
            denied((app.clock)(), why)
        })
    }

    async fn admitted(
        app: &Arc<App>,
        peer: IpAddr,
        key: Option<Sha256Hex>,
        known: bool,
    ) -> Result<Self, ProblemResponse> {
        let admission = match known {
            true => None,
            false => Some(app.limits.admit(peer, Instant::now()).await.map_err(|Crowded| {
                ProblemResponse::new(Code::Unavailable)
                    .detail("Too many requests that fail come from this address; try again later.")
            })?),
        };
        Ok(Call { app: app.clone(), peer, key, admission })
    }
}
