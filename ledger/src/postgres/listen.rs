//! The change notifier: LISTEN and NOTIFY between nodes, which only make faster what polling does anyway.
//!
//! Owns the channel. A hint that is lost costs a second of delay.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connect::{Connector, Pool};

/// Wakes readers of the feed when it has grown.
#[derive(Clone)]
pub(super) struct ChangeNotifier {
    /// For this node: its own changes, and those that other nodes announce.
    hint: watch::Sender<u64>,
    /// For other nodes: this one's changes alone.
    own: watch::Sender<u64>,
}

impl ChangeNotifier {
    pub(super) fn new() -> Self {
        ChangeNotifier { hint: watch::Sender::new(0), own: watch::Sender::new(0) }
    }

    /// This node has changed something.
    pub(super) fn changed(&self) {
        self.wake_readers();
        self.own.send_modify(|count| *count += 1);
    }

    /// Changes whenever a node has changed something.
    pub(super) fn hint(&self) -> watch::Receiver<u64> {
        self.hint.subscribe()
    }

    fn wake_readers(&self) {
        self.hint.send_modify(|count| *count += 1);
    }
}

/// Wakes this node's readers for changes of other nodes, until the future is dropped.
pub(super) async fn listen(connector: Connector, notifier: ChangeNotifier) {
    loop {
        if let Ok((session, mut notices)) = connector.session_with_notices().await
            && session.batch_execute(LISTEN).await.is_ok()
        {
            // For what was announced before this connection existed.
            notifier.wake_readers();
            let made = Instant::now();
            loop {
                match timeout(VERIFY_EVERY, notices.recv()).await {
                    Ok(Some(())) => notifier.wake_readers(),
                    Ok(None) => break,
                    Err(_) if connector.verify(&session, made).await.is_ok() => {}
                    Err(_) => break,
                }
            }
        }
        sleep(AGAIN).await;
    }
}

/// Announces this node's changes to other nodes, at most a few times a second, until the future is dropped.
pub(super) async fn notify(pool: Pool, notifier: ChangeNotifier) {
    let mut changed = notifier.own.subscribe();
    while changed.changed().await.is_ok() {
        if let Ok(client) = pool.get().await {
            let _ = client.batch_execute(NOTIFY).await;
        }
        sleep(PAUSE).await;
    }
}

const LISTEN: &str = "LISTEN els_feed";
const NOTIFY: &str = "NOTIFY els_feed";
/// How often a session that hears nothing is checked.
const VERIFY_EVERY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
