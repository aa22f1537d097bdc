//! Upkeep: named jobs that run as time passes.
//!
//! Owns when a job runs and on which node, its metrics, and what the log says about it. What a job does is the ledger's or
//! the gate's. A job must be safe to run again, also on two nodes at once: the next run makes up for one that failed.

mod jobs;

use std::sync::Arc;
use std::time::Duration;

use els_ledger::{Store, StoreError};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::Clock;
use crate::gate::Gate;
use crate::metrics::{JobMetrics, Metrics};

/// What jobs work on.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    /// The name of this node in leases. No other process has it.
    pub(crate) node: String,
}

impl Upkeep {
    /// Starts all jobs. They end when the set is dropped.
    pub(crate) fn start(&self) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for job in jobs::ALL {
            let metrics = self.metrics.job(job.name);
            running.spawn(self.clone().repeat(job, metrics));
        }
        running
    }

    /// Gives up the leases of this node, so that another node need not wait until they end.
    pub(crate) async fn stopped(&self) {
        for job in jobs::ALL.iter().filter(|job| job.runs_on == RunsOn::OneNode) {
            if let Ok(Ok(_)) = timeout(GIVE_UP_TIMEOUT, self.store.take_lease(job.name, &self.node, 0)).await {
                continue;
            }
            tracing::warn!(job = job.name, "upkeep: the lease of the job was not given up and ends by itself");
            return;
        }
    }

    async fn repeat(self, job: &'static Job, metrics: JobMetrics) {
        let mut ticks = interval(job.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match self.run(job).await {
                Ok(None) => {
                    metrics.elsewhere.inc();
                    failing = false;
                }
                Ok(Some(changed)) => {
                    metrics.done.inc();
                    metrics.last_success.set((self.clock)().unix());
                    if changed > 0 {
                        tracing::info!(job = job.name, changed, "upkeep");
                    }
                    if std::mem::take(&mut failing) {
                        tracing::info!(job = job.name, "upkeep: the job succeeds again");
                    }
                }
                Err(error) => {
                    metrics.failed.inc();
                    // One line for each outage, not one for each run.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(job = job.name, %error, "upkeep: the job failed and is repeated");
                    }
                }
            }
        }
    }

    /// Runs a job once; `None` if another node has it.
    async fn run(&self, job: &Job) -> Result<Option<u64>, StoreError> {
        if job.runs_on == RunsOn::OneNode {
            let seconds = u32::try_from(job.every.as_secs()).unwrap_or(u32::MAX).saturating_mul(LEASE_RUNS);
            if !self.store.take_lease(job.name, &self.node, seconds).await? {
                return Ok(None);
            }
        }
        (job.run)(self).await.map(Some)
    }
}

struct Job {
    /// The name in log, metrics and leases.
    name: &'static str,
    every: Duration,
    runs_on: RunsOn,
    /// Says how many things it changed, for the log.
    run: for<'a> fn(&'a Upkeep) -> BoxFuture<'a, Result<u64, StoreError>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RunsOn {
    EveryNode,
    /// The node that has the lease.
    OneNode,
}

/// A node that has a job keeps it as long as it runs it at least once in this many periods.
const LEASE_RUNS: u32 = 3;
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(2);
