//! Hints between nodes: LISTEN and NOTIFY, which only make faster what polling does anyway.
//!
//! Owns the channel. A hint that is lost costs a second.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::watch;
use tokio::time::sleep;

use super::connect::Connector;

/// Who is told that the feed has grown.
#[derive(Clone)]
pub(super) struct Bell {
    /// This node: by its own changes, and by what others say of theirs.
    hint: watch::Sender<u64>,
    /// Other nodes: by this one's changes alone.
    own: watch::Sender<u64>,
}

impl Bell {
    pub(super) fn new() -> Self {
        Bell { hint: watch::Sender::new(0), own: watch::Sender::new(0) }
    }

    /// This node has changed something.
    pub(super) fn ring(&self) {
        self.ring_here();
        self.own.send_modify(|count| *count += 1);
    }

    /// Rings whenever anybody has changed something.
    pub(super) fn hint(&self) -> watch::Receiver<u64> {
        self.hint.subscribe()
    }

    fn ring_here(&self) {
        self.hint.send_modify(|count| *count += 1);
    }
}

/// Tells this node of what other nodes have changed. Until the future is dropped.
pub(super) async fn listen(connector: Connector, bell: Bell) {
    loop {
        if let Ok((session, mut notices)) = connector.session_with_notices().await
            && session.batch_execute(LISTEN).await.is_ok()
        {
            // What was said before this connection was there.
            bell.ring_here();
            while notices.recv().await.is_some() {
                bell.ring_here();
            }
        }
        sleep(AGAIN).await;
    }
}

/// Tells other nodes, a few times a second at the most, that this one has changed something. Until the future is dropped.
pub(super) async fn notify(pool: Pool, bell: Bell) {
    let mut changed = bell.own.subscribe();
    while changed.changed().await.is_ok() {
        if let Ok(client) = pool.get().await {
            let _ = client.batch_execute(NOTIFY).await;
        }
        sleep(PAUSE).await;
    }
}

const LISTEN: &str = "LISTEN els_feed";
const NOTIFY: &str = "NOTIFY els_feed";
const AGAIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
