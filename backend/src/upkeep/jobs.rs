//! The jobs.

use std::time::Duration;

use super::Job;

pub(super) const ALL: &[Job] = &[
    Job {
        name: "housekeeping",
        every: MINUTE,
        run: |upkeep| {
            Box::pin(async move {
                let done = upkeep.store.housekeeping((upkeep.clock)()).await?;
                if done != Default::default() {
                    tracing::info!(
                        released_unseen = done.released,
                        erased = done.erased,
                        forgotten = done.forgotten,
                        "upkeep"
                    );
                }
                Ok(())
            })
        },
    },
    Job { name: "write-last-seen", every: Duration::from_secs(3), run: |upkeep| Box::pin(upkeep.gate.write_seen()) },
    Job {
        name: "sweep-gate-memory",
        every: MINUTE,
        run: |upkeep| {
            Box::pin(async {
                upkeep.gate.sweep();
                Ok(())
            })
        },
    },
];

const MINUTE: Duration = Duration::from_secs(60);
