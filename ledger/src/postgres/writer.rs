//! The one task of a node that writes seats, in batches that share a transaction.
//!
//! Owns the queue, the connection, BEGIN and COMMIT, and what each caller gets when one of these fails. There is one task for
//! each node, so that calls of one key never wait for each other in the database; the more of them come, the larger are the
//! batches. Knows no rule.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use els_protocol::Timestamp;
use futures_util::future::try_join;
use futures_util::{FutureExt, TryFutureExt};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::batch::{self, Call, CallOutcome, Turn};
use super::connect::{Connector, check_server, primary};
use super::failure::Failed;
use super::listen::ChangeNotifier;
use crate::Policy;
use crate::by::By;
use crate::queue::{FairQueue, QUEUE_LIMIT, QUEUE_LIMIT_EACH, QueueKey, Rejected};
use crate::store::StoreError;

/// The handle of the writing task.
pub(super) struct Writer {
    queue: Arc<FairQueue<Request>>,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
}

struct Request {
    now: Timestamp,
    by: By,
    call: Call,
    reply: oneshot::Sender<Result<CallOutcome, StoreError>>,
}

impl Writer {
    /// Starts the task; `notifier` learns each batch that changed something.
    pub(super) fn start(connector: Connector, policy: Policy, notifier: ChangeNotifier) -> std::io::Result<Self> {
        let queue = Arc::new(FairQueue::new(QUEUE_LIMIT_EACH, QUEUE_LIMIT));
        let work = Work { queue: Arc::clone(&queue), connector, policy, notifier, connection: None };
        // A thread of its own: waiting for the queue blocks, and what is read and written goes on in the runtime.
        let runtime = Handle::current();
        let (end, ended) = watch::channel(());
        std::thread::Builder::new().name("els-writer".into()).spawn(move || {
            work.run(&runtime);
            drop(end);
        })?;
        Ok(Writer { queue, ended })
    }

    /// Carries `call` out; ends when that is durable. It is carried out although the future is dropped.
    pub(super) async fn run(
        &self,
        key: QueueKey,
        now: Timestamp,
        by: By,
        call: Call,
    ) -> Result<CallOutcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.queue.push(key, Request { now, by, call, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(stopped())),
            Err(Rejected::Full) => Err(StoreError::Busy),
            Err(Rejected::Closed) => Err(stopped()),
        }
    }

    /// Accepts nothing more, and waits until everything that was accepted is done.
    pub(super) async fn finish(&self) {
        self.queue.close();
        while self.ended.clone().changed().await.is_ok() {}
    }
}

impl Drop for Writer {
    /// Does not wait: what the task waits for is done by the runtime, which may be the one that ends.
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How long it pays to wait for a batch to fill. Where a commit takes long (a disk, a standby), clients that were answered
/// together send their next requests together a moment later; a batch of the first two would make the others wait for a whole
/// commit.
#[derive(Default)]
struct Pace {
    /// Requests of the last two batches, and the time that the last one took.
    last: usize,
    before: usize,
    took: Duration,
    /// Until when this batch waits.
    until: Option<Instant>,
}

impl Pace {
    /// One more request for a batch of `collected`: a quarter of the last batch's time is waited for as many as the last two
    /// batches had. A single request does not wait.
    fn wait_for_more(&mut self, collected: usize, queue: &FairQueue<Request>) -> Option<Request> {
        if self.last <= 1 || collected >= self.last + self.before {
            return None;
        }
        let patience = (self.took / 4).min(PATIENCE);
        let until = *self.until.get_or_insert_with(|| Instant::now() + patience);
        queue.pop_until(until)
    }

    fn note(&mut self, asked: usize, took: Duration) {
        (self.before, self.last) = (self.last, asked);
        (self.took, self.until) = (took, None);
    }
}

struct Work {
    queue: Arc<FairQueue<Request>>,
    connector: Connector,
    policy: Policy,
    notifier: ChangeNotifier,
    connection: Option<(ClientWrapper, Instant)>,
}

/// Why a batch was not carried out, or is not known to be.
enum Lost {
    /// It was rolled back; it is not known which request was the cause.
    RolledBack(Failed),
    /// The connection is gone, or the COMMIT may have been carried out.
    Unknown(StoreError),
}

impl Work {
    fn run(mut self, runtime: &Handle) {
        // However this thread ends, later requests fail instead of waiting without end.
        let _closing = CloseOnDrop(Arc::clone(&self.queue));
        let mut waiting: Vec<Request> = Vec::new();
        let mut pace = Pace::default();
        loop {
            if waiting.is_empty() {
                match self.queue.pop_wait() {
                    Some(request) => waiting.push(request),
                    None => return,
                }
            }
            while waiting.len() < BATCH
                && let Some(request) = self.queue.try_pop().or_else(|| pace.wait_for_more(waiting.len(), &self.queue))
            {
                waiting.push(request);
            }
            let (asked, began) = (waiting.len(), Instant::now());
            waiting = runtime.block_on(self.batch(waiting));
            pace.note(asked, began.elapsed());
        }
    }

    /// Carries a batch out; returns the requests that have to come again.
    async fn batch(&mut self, requests: Vec<Request>) -> Vec<Request> {
        match self.transaction(&requests).await {
            Ok(turns) => answer(requests, turns),
            // One of them, or another node, made all of them fail. One at a time, only that one fails.
            Err(Lost::RolledBack(failed)) if requests.len() > 1 || failed.may_pass() => {
                let mut again = Vec::new();
                for request in requests {
                    again.extend(self.alone(request).await);
                }
                again
            }
            Err(lost) => {
                refuse(requests, &lost);
                Vec::new()
            }
        }
    }

    async fn alone(&mut self, request: Request) -> Vec<Request> {
        let request = vec![request];
        let mut tries = 0;
        loop {
            match self.transaction(&request).await {
                Ok(turns) => return answer(request, turns),
                Err(Lost::RolledBack(failed)) if failed.may_pass() && tries < TRIES => tries += 1,
                Err(lost) => {
                    refuse(request, &lost);
                    return Vec::new();
                }
            }
        }
    }

    /// One transaction. After an error that is not the server's answer, the connection is dropped.
    async fn transaction(&mut self, requests: &[Request]) -> Result<Vec<Turn>, Lost> {
        let done = match timeout(BATCH_MOST, AssertUnwindSafe(self.carry_out(requests)).catch_unwind()).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Lost::Unknown(StoreError::Internal("a request panicked".into()))),
            Err(_) => {
                self.connector.history().suspect();
                Err(Lost::Unknown(StoreError::Unavailable("no answer within twenty seconds".into())))
            }
        };
        if matches!(done, Err(Lost::Unknown(_))) {
            self.connection = None;
        }
        done
    }

    async fn carry_out(&mut self, requests: &[Request]) -> Result<Vec<Turn>, Lost> {
        self.connect().await.map_err(unknown)?;
        let Some((db, _)) = &self.connection else { return Err(Lost::Unknown(stopped())) };
        let calls: Vec<_> = requests.iter().map(|request| (request.now, &request.by, &request.call)).collect();
        // Sent in this order, and not waited for one by one. A server that is no longer the primary refuses nobody.
        let begin = db.batch_execute(BEGIN).map_err(Failed::from);
        let (turns, changed) = match try_join(begin, batch::carry_out(db, &self.policy, &calls)).await {
            Ok(((), answered)) => answered,
            Err(failed) if failed.is_answer() => {
                db.batch_execute("ROLLBACK").await.map_err(|error| unknown(error.into()))?;
                return Err(Lost::RolledBack(failed));
            }
            Err(failed) => return Err(unknown(failed)),
        };
        // An error here says nothing about what has become of the transaction, not even one that the server sends: it may have
        // been the wait for a standby that failed.
        db.batch_execute("COMMIT").await.map_err(|error| Lost::Unknown(Failed::from(error).meaning(true)))?;
        if changed {
            self.notifier.changed();
        }
        Ok(turns)
    }

    async fn connect(&mut self) -> Result<(), Failed> {
        let history = self.connector.history();
        if self.connection.as_ref().is_none_or(|(session, made)| session.is_closed() || !history.is_current(*made)) {
            self.connection = None;
            let session = self.connector.session().await?;
            // After a failover it is another server.
            check_server(&session).await.map_err(|error| Failed::Connect(format!("{error:#}")))?;
            self.connection = Some((session, Instant::now()));
        }
        Ok(())
    }
}

struct CloseOnDrop(Arc<FairQueue<Request>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        // Their senders are dropped with them, which is their answer.
        while self.0.try_pop().is_some() {}
    }
}

/// Sends the outcomes of a batch that is durable; returns the requests that were deferred.
fn answer(requests: Vec<Request>, turns: Vec<Turn>) -> Vec<Request> {
    let mut deferred = Vec::new();
    for (request, turn) in requests.into_iter().zip(turns) {
        match turn {
            // The caller may be gone; the change stays.
            Turn::Done(outcome) => drop(request.reply.send(Ok(outcome))),
            Turn::Deferred => deferred.push(request),
        }
    }
    deferred
}

fn refuse(requests: Vec<Request>, lost: &Lost) {
    let error = match lost {
        Lost::RolledBack(failed) => failed.meaning(false),
        Lost::Unknown(error) => error.clone(),
    };
    for request in requests {
        let _ = request.reply.send(Err(error.clone()));
    }
}

fn unknown(failed: Failed) -> Lost {
    Lost::Unknown(failed.meaning(false))
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".into())
}

const BEGIN: &str = concat!("BEGIN ISOLATION LEVEL READ COMMITTED; ", primary!());
/// The largest number of requests that share a transaction.
const BATCH: usize = 256;
/// The longest wait for a batch to fill.
const PATIENCE: Duration = Duration::from_millis(2);
/// How often a request is tried again that conflicts with another one.
const TRIES: u32 = 5;
/// The longest wait for one transaction: more than a connection and a lock may take.
const BATCH_MOST: Duration = Duration::from_secs(20);
