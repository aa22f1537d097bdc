//! What every handler of the API is given.

use std::sync::Arc;

use els_ledger::Store;
use els_protocol::Code;
use els_server::files::Folder;
use els_server::limits::{GuessLimits, Turns};
use els_server::path::Prefix;
use els_server::peer::TrustedProxies;
use els_server::problem::ProblemResponse;

use crate::clock::Clock;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::products::{Product, Products};

pub struct App {
    pub store: Arc<dyn Store>,
    pub gate: Arc<Gate>,
    pub products: Arc<Products>,
    pub limits: Arc<GuessLimits>,
    /// The turns of requests with a credential.
    pub turns: Arc<Turns>,
    pub proxies: TrustedProxies,
    /// The address of the repositories that machines get (`--repo-url`), without a slash at the end.
    pub repo_url: String,
    /// The path part of `repo_url`.
    pub repo_base: Prefix,
    /// The folder served at `/repo/` (`--repo-root`).
    pub repo_root: Option<Folder>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

impl App {
    /// The product of a key. It is the vendor's mistake if the product of a key is not in the file any more.
    pub(super) fn product(&self, id: &str) -> Result<&Product, ProblemResponse> {
        self.products.get(id).map(AsRef::as_ref).ok_or_else(|| {
            tracing::error!(product = id, "the product of a key is not in the product file: add it (--products FILE)");
            ProblemResponse::new(Code::Internal).detail("The product of this key is not set up at the backend.")
        })
    }
}
