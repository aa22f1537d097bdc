//! Upkeep: named jobs that run as time passes.
//!
//! Owns when a job runs, its metrics, and what the log says about it. What a job does is the ledger's or the gate's. A job
//! must be safe to run again: the next run makes up for one that failed.

mod jobs;

use std::sync::Arc;
use std::time::Duration;

use els_ledger::{Store, StoreError};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

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
}

impl Upkeep {
    /// Starts all jobs. They end when the set is dropped.
    pub(crate) fn start(self) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for job in jobs::ALL {
            let metrics = self.metrics.job(job.name);
            running.spawn(self.clone().repeat(job, metrics));
        }
        running
    }

    async fn repeat(self, job: &'static Job, metrics: JobMetrics) {
        let mut ticks = interval(job.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            match (job.run)(&self).await {
                Ok(()) => {
                    metrics.done.inc();
                    metrics.last_success.set((self.clock)().unix());
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
}

struct Job {
    /// The name in log and metrics.
    name: &'static str,
    every: Duration,
    run: for<'a> fn(&'a Upkeep) -> BoxFuture<'a, Result<(), StoreError>>,
}
