//! The jobs.

use std::time::Duration;

use els_ledger::{Actor, By, Origin};

use super::{Job, RunsOn};

pub(super) const ALL: &[Job] = &[
    Job {
        name: "note-gate-up",
        every: MINUTE,
        runs_on: RunsOn::EveryNode,
        run: |upkeep| Box::pin(async move { upkeep.store.gate_is_up((upkeep.clock)()).await.map(|()| 0) }),
    },
    Job {
        name: "release-unseen",
        every: MINUTE,
        runs_on: RunsOn::OneNode,
        run: |upkeep| {
            Box::pin(async move {
                let by = By::new(Actor::Backend, Origin::Upkeep);
                upkeep.store.release_unseen((upkeep.clock)(), by).await
            })
        },
    },
    Job {
        name: "release-superseded",
        every: HOUR,
        runs_on: RunsOn::OneNode,
        run: |upkeep| {
            Box::pin(async move {
                let by = By::new(Actor::Backend, Origin::Upkeep);
                upkeep.store.release_superseded((upkeep.clock)(), by).await
            })
        },
    },
    Job {
        name: "erase-ids",
        every: MINUTE,
        runs_on: RunsOn::OneNode,
        run: |upkeep| Box::pin(async move { upkeep.store.erase_ids((upkeep.clock)()).await }),
    },
    Job {
        name: "forget-early-releases",
        every: MINUTE,
        runs_on: RunsOn::OneNode,
        run: |upkeep| Box::pin(async move { upkeep.store.forget_early_releases((upkeep.clock)()).await }),
    },
    Job {
        name: "write-last-seen",
        every: Duration::from_secs(3),
        runs_on: RunsOn::EveryNode,
        run: |upkeep| Box::pin(async move { upkeep.gate.write_seen().await.map(|()| 0) }),
    },
    Job {
        name: "sweep-gate-memory",
        every: MINUTE,
        runs_on: RunsOn::EveryNode,
        run: |upkeep| {
            Box::pin(async {
                upkeep.gate.sweep();
                Ok(0)
            })
        },
    },
];

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
