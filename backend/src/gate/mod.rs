//! The gate: who may fetch what from the repositories.
//!
//! Owns the order of the rules: is the target accepted, is the path public, is the credential known, is its key in force,
//! does its product open the path. It answers from memory. For a credential that it does not remember it asks the store
//! before it refuses. It must not know HTTP: `api` turns verdicts into responses.

mod follow;
mod memory;
mod seen;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use els_ledger::rules::{Denied, is_overdue};
use els_ledger::{Actor, By, CredentialState, GateKey, Lookup, Origin, Store, StoreError};
use els_protocol::{Sha256Hex, Timestamp};
use els_server::limits::Turns;
use els_server::path::RequestPath;

use self::memory::{KeyFacts, Memory};
use self::seen::Seen;
use crate::credential::{Credentials, Presented};
use crate::metrics::Metrics;
use crate::products::Products;

/// The gate's answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The path may be fetched.
    Open,
    /// The credential is missing, malformed, unknown, wrong or released.
    Unauthenticated(&'static str),
    /// The credential is good, but its key is not in force.
    Denied(Denied),
    /// The credential is good, but its product does not open the path.
    NotCovered,
    /// The request target is not accepted, whatever the credential.
    NotAccepted,
    /// The gate cannot tell now.
    Unknown,
}

/// The gate of one node.
pub struct Gate {
    store: Arc<dyn Store>,
    products: Arc<Products>,
    lookups: Arc<Turns>,
    metrics: Arc<Metrics>,
    grace_seconds: i64,
    stale: Duration,
    memory: Memory,
    seen: Seen,
    born: Instant,
    /// When the last complete read of the feed began, in milliseconds after `born`.
    synced: AtomicU64,
}

pub struct GateOptions {
    /// Seconds after expiry in which registered machines continue to work.
    pub grace_seconds: i64,
    /// How long the gate answers from memory while the database is away.
    pub stale: Duration,
    /// About how many credentials the gate remembers.
    pub remembered: usize,
}

impl Gate {
    /// A gate with an empty memory; [`Gate::follow`] keeps it up to date.
    pub async fn new(
        store: Arc<dyn Store>,
        products: Arc<Products>,
        metrics: Arc<Metrics>,
        options: GateOptions,
    ) -> Result<Self, StoreError> {
        let born = Instant::now();
        let memory = Memory::new(store.feed_end().await?, options.remembered);
        let GateOptions { grace_seconds, stale, .. } = options;
        let synced = AtomicU64::new(0);
        let lookups = Turns::new(LOOKUPS_EACH);
        Ok(Gate {
            store,
            products,
            lookups,
            metrics,
            grace_seconds,
            stale,
            memory,
            seen: Seen::default(),
            born,
            synced,
        })
    }

    /// Evaluates a request for `path`; `None` is a target that was not accepted. `peer` is called only if the database is
    /// asked.
    pub async fn judge(
        &self,
        now: Timestamp,
        path: Option<RequestPath<'_>>,
        credentials: Credentials,
        peer: impl FnOnce() -> IpAddr,
    ) -> Verdict {
        let Some(path) = path else {
            return Verdict::NotAccepted;
        };
        if self.products.is_public(path) {
            return Verdict::Open;
        }
        let presented = match credentials {
            Credentials::Presented(presented) => presented,
            Credentials::Absent => return Verdict::Unauthenticated("A registration id and its token are required."),
            Credentials::Malformed => {
                return Verdict::Unauthenticated("The credential is not a registration id and its token.");
            }
        };
        if self.sync_age() > self.stale {
            return Verdict::Unknown;
        }
        match self.memory.recall(&presented.id, |entry, key| {
            let evaluated = self.evaluate(now, &presented, &path, &entry.token_hash, entry.state, key);
            (evaluated, evaluated == Evaluated::Verdict(Verdict::Open) && entry.note_use(now))
        }) {
            Some((Evaluated::Verdict(verdict), noted)) => {
                if noted {
                    self.seen.note(presented.id, now);
                }
                verdict
            }
            Some((Evaluated::Superseded, _)) => self.ask(now, &path, &presented, true, peer()).await,
            None => self.ask(now, &path, &presented, false, peer()).await,
        }
    }

    /// How long ago this node had applied all changes.
    pub fn sync_age(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.synced.load(Ordering::Relaxed)))
    }

    /// Writes the times of last use that wait.
    pub async fn write_seen(&self) -> Result<(), StoreError> {
        self.seen.write(self.store.as_ref()).await
    }

    /// Forgets keys without credentials, and measures the memory.
    pub fn sweep(&self) {
        self.memory.sweep_keys();
        self.metrics.gate_remembered.set(i64::try_from(self.memory.len()).unwrap_or(i64::MAX));
    }

    /// Asks the store about a credential that is not remembered, or about a superseded one that is used after its hour.
    async fn ask(
        &self,
        now: Timestamp,
        path: &RequestPath<'_>,
        presented: &Presented,
        mut superseded: bool,
        peer: IpAddr,
    ) -> Verdict {
        let Some(_turn) = self.lookups.wait(peer).await else { return Verdict::Unknown };
        // At most twice: a look-up, and the decision about a superseded credential.
        for _ in 0..2 {
            self.metrics.gate_lookups.inc();
            let lookup = async {
                match superseded {
                    true => {
                        let by = By::new(Actor::Machine, Origin::Gate);
                        self.store.superseded_used(now, by, presented.id).await
                    }
                    false => self.store.credential(presented.id).await,
                }
            };
            let lookup = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
                Ok(Ok(lookup)) => lookup,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "the look-up of a credential failed");
                    return Verdict::Unknown;
                }
                Err(_) => {
                    tracing::warn!("the look-up of a credential took too long");
                    return Verdict::Unknown;
                }
            };
            let Some((credential, key)) = &lookup.found else {
                return Verdict::Unauthenticated("The registration is unknown.");
            };
            let facts = self.facts(&lookup, key);
            match self.evaluate(now, presented, path, &credential.token_hash, credential.state, &facts) {
                Evaluated::Superseded if superseded => return Verdict::Unknown,
                Evaluated::Superseded => superseded = true,
                Evaluated::Verdict(verdict) => {
                    self.memory.remember(presented.id, &lookup, facts);
                    if verdict == Verdict::Open {
                        let noted = self.memory.recall(&presented.id, |entry, _| entry.note_use(now));
                        if noted != Some(false) {
                            self.seen.note(presented.id, now);
                        }
                    }
                    return verdict;
                }
            }
        }
        Verdict::Unknown
    }

    /// Applies the rules to a credential that is known.
    fn evaluate(
        &self,
        now: Timestamp,
        presented: &Presented,
        path: &RequestPath<'_>,
        token_hash: &Sha256Hex,
        state: CredentialState,
        key: &KeyFacts,
    ) -> Evaluated {
        if *token_hash != presented.token_hash {
            return Evaluated::Verdict(Verdict::Unauthenticated("The token does not belong to this registration."));
        }
        if state == CredentialState::Released {
            return Evaluated::Verdict(Verdict::Unauthenticated("The registration has been released."));
        }
        if let Some(denied) = key.terms.denies_credential(now) {
            return Evaluated::Verdict(Verdict::Denied(denied));
        }
        if !key.product.as_ref().is_some_and(|product| product.opens(*path)) {
            return Evaluated::Verdict(Verdict::NotCovered);
        }
        // Only a request that would be let through is a use.
        match state {
            CredentialState::Superseded(since) if is_overdue(now, since) => Evaluated::Superseded,
            _ => Evaluated::Verdict(Verdict::Open),
        }
    }

    fn facts(&self, lookup: &Lookup, key: &GateKey) -> KeyFacts {
        KeyFacts {
            as_of: lookup.as_of,
            terms: key.terms(self.grace_seconds),
            product: self.products.get(&key.product).cloned(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Evaluated {
    Verdict(Verdict),
    /// A superseded credential is used after its hour: the store has to decide.
    Superseded,
}

/// Look-ups at one time for each network, so that one cannot keep others waiting.
const LOOKUPS_EACH: usize = 16;
/// The longest wait for the store: web servers in front wait longer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
