//! The gate: who may fetch what from the repositories.
//!
//! Owns the order of the questions: is the path fit to be judged, is it open to everybody, is the credential known, is
//! its key in force, does its product open the path. It answers from memory what it has seen before, and asks the store
//! for what it does not know before it says no. It knows no HTTP beyond the `Authorization` header: `http` carries
//! verdicts out.

mod follow;
mod memory;
mod seen;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use els_protocol::{Code, Timestamp};

use els_server::credential::{Credentials, Presented};
use els_server::path::RequestPath;

use self::memory::{KeyFacts, Memory};
use self::seen::Seen;
use crate::metrics::Metrics;
use crate::products::Products;
use els_ledger::rules::{Denied, SUPERSEDED_SECONDS};
use els_ledger::{Actor, By, CredentialState, GateKey, Lookup, Origin, Store, StoreError};
use els_server::limits::FailureLimits;

/// What the gate says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The path may be fetched.
    Open,
    /// There is no credential, or it is malformed, unknown, wrong or released: 401.
    Unauthenticated(&'static str),
    /// The credential is good, but its product does not open the path: 403. With what the code alone does not say.
    Forbidden(Code, Option<&'static str>),
    /// The credential is good, but its key is not in force.
    Denied(Denied),
    /// It cannot be known now: 503.
    Unknown,
}

/// The gate of one node.
pub struct Gate {
    store: Arc<dyn Store>,
    products: Arc<Products>,
    limits: Arc<FailureLimits>,
    metrics: Arc<Metrics>,
    grace_seconds: i64,
    stale: Duration,
    memory: Memory,
    seen: Seen,
    born: Instant,
    /// Milliseconds after `born` at which the last round of the feed began that was applied as a whole.
    synced: AtomicU64,
}

/// What a gate has to be told.
pub struct GateOptions {
    /// Seconds after expiry in which known machines go on.
    pub grace_seconds: i64,
    /// How long to open for what was known, when the database cannot be reached.
    pub stale: Duration,
    /// About how many credentials to remember.
    pub remembered: usize,
}

impl Gate {
    /// A gate that remembers nothing yet; [`Gate::follow`] keeps it true.
    pub async fn new(
        store: Arc<dyn Store>,
        products: Arc<Products>,
        limits: Arc<FailureLimits>,
        metrics: Arc<Metrics>,
        options: GateOptions,
    ) -> Result<Self, StoreError> {
        let born = Instant::now();
        let memory = Memory::new(store.feed_end().await?, options.remembered);
        let GateOptions { grace_seconds, stale, .. } = options;
        let synced = AtomicU64::new(0);
        Ok(Gate { store, products, limits, metrics, grace_seconds, stale, memory, seen: Seen::default(), born, synced })
    }

    /// Judges a request for `path`, which is `None` when its target was not fit to be judged. `client` is asked for only
    /// when the database has to be.
    pub async fn judge(
        &self,
        now: Timestamp,
        path: Option<RequestPath<'_>>,
        credentials: Credentials,
        client: impl FnOnce() -> IpAddr,
    ) -> Verdict {
        let Some(path) = path else {
            return Verdict::Forbidden(
                Code::PathNotCovered,
                Some("The request target is not one that the gate opens."),
            );
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
            let weighed = self.weigh(now, &presented, &path, &entry.token_hash, entry.state, key);
            (weighed, weighed == Weighed::Verdict(Verdict::Open) && entry.is_news(now))
        }) {
            Some((Weighed::Verdict(verdict), news)) => {
                if news {
                    self.seen.note(presented.id, now);
                }
                verdict
            }
            Some((Weighed::Superseded, _)) => self.ask(now, &path, &presented, true, client()).await,
            None => self.ask(now, &path, &presented, false, client()).await,
        }
    }

    /// Whether this credential is remembered as a good one: then it need not queue behind the failures of others.
    pub fn knows(&self, presented: &Presented) -> bool {
        let good = self.memory.recall(&presented.id, |entry, _| {
            entry.token_hash == presented.token_hash && entry.state != CredentialState::Released
        });
        good.unwrap_or(false)
    }

    /// How long ago this node last knew of every change.
    pub fn sync_age(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.synced.load(Ordering::Relaxed)))
    }

    /// Asks the store, as it is not known here what to say: about a credential that is not remembered, or a superseded
    /// one that is used after its hour.
    async fn ask(
        &self,
        now: Timestamp,
        path: &RequestPath<'_>,
        presented: &Presented,
        mut superseded: bool,
        client: IpAddr,
    ) -> Verdict {
        let Ok(_admission) = self.limits.admit(client, Instant::now()).await else { return Verdict::Unknown };
        // Twice at the most: a look-up, and a decision on what it found superseded.
        for _ in 0..2 {
            self.metrics.gate_lookups.inc();
            let question = async {
                match superseded {
                    true => {
                        let by = By::new(Actor::Machine, Origin::Gate);
                        self.store.superseded_used(now, by, presented.id).await
                    }
                    false => self.store.credential(presented.id).await,
                }
            };
            let lookup = match tokio::time::timeout(LOOKUP_MOST, question).await {
                Ok(Ok(lookup)) => lookup,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, "the gate could not look up a credential");
                    return Verdict::Unknown;
                }
                Err(_) => {
                    tracing::warn!("the gate waited in vain for a credential to be looked up");
                    return Verdict::Unknown;
                }
            };
            let Some((credential, key)) = &lookup.found else {
                return self.failed(client, "The registration is not known.");
            };
            let facts = self.facts(&lookup, key);
            match self.weigh(now, presented, path, &credential.token_hash, credential.state, &facts) {
                Weighed::Superseded if superseded => return Verdict::Unknown,
                Weighed::Superseded => superseded = true,
                Weighed::Verdict(verdict) => {
                    self.memory.remember(presented.id, &lookup, facts);
                    if verdict == Verdict::Open {
                        let news = self.memory.recall(&presented.id, |entry, _| entry.is_news(now));
                        if news != Some(false) {
                            self.seen.note(presented.id, now);
                        }
                    }
                    if let Verdict::Unauthenticated(why) = verdict {
                        return self.failed(client, why);
                    }
                    return verdict;
                }
            }
        }
        Verdict::Unknown
    }

    fn weigh(
        &self,
        now: Timestamp,
        presented: &Presented,
        path: &RequestPath<'_>,
        token_hash: &els_protocol::Sha256Hex,
        state: CredentialState,
        key: &KeyFacts,
    ) -> Weighed {
        if *token_hash != presented.token_hash {
            return Weighed::Verdict(Verdict::Unauthenticated("The token is not the one of this registration."));
        }
        if state == CredentialState::Released {
            return Weighed::Verdict(Verdict::Unauthenticated("The registration has been released."));
        }
        if let Some(denied) = key.terms.denies_credential(now) {
            return Weighed::Verdict(Verdict::Denied(denied));
        }
        if let CredentialState::Superseded(since) = state
            && now >= since.plus_seconds(SUPERSEDED_SECONDS)
        {
            return Weighed::Superseded;
        }
        match key.product.as_ref().is_some_and(|product| product.opens(*path)) {
            true => Weighed::Verdict(Verdict::Open),
            false => Weighed::Verdict(Verdict::Forbidden(Code::PathNotCovered, None)),
        }
    }

    fn facts(&self, lookup: &Lookup, key: &GateKey) -> KeyFacts {
        KeyFacts {
            as_of: lookup.as_of,
            terms: key.terms(self.grace_seconds),
            product: self.products.get(&key.product).cloned(),
        }
    }

    /// A credential that may be a guess: it counts against the address. The answer is the same, for web servers know
    /// none but 401 and 403 from a gate; what a full count costs is a place in the slow lane.
    fn failed(&self, client: IpAddr, why: &'static str) -> Verdict {
        let _ = self.limits.failed(client, Instant::now());
        Verdict::Unauthenticated(why)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weighed {
    Verdict(Verdict),
    /// Used after its hour: the store has to decide.
    Superseded,
}

/// The longest wait for an answer of the store: web servers in front give up later.
const LOOKUP_MOST: Duration = Duration::from_secs(5);
