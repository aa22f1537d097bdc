//! The one thread that writes, in batches that share a commit.
//!
//! Owns transactions: BEGIN IMMEDIATE, a savepoint for each request, one COMMIT, and only then the answers. It must not
//! know what a request does. After a commit that fails, the outcome of its whole batch is unknown.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::failure;
use crate::queue::{FairQueue, QUEUE_LIMIT, QUEUE_LIMIT_EACH, QueueKey, Rejected};
use crate::store::StoreError;

/// The handle of the writing thread. Dropping it waits until everything that was accepted is done.
pub(super) struct Writer {
    queue: Arc<FairQueue<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    grown: watch::Receiver<u64>,
}

impl Writer {
    /// Starts the thread on its own connection.
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let queue = Arc::new(FairQueue::new(QUEUE_LIMIT_EACH, QUEUE_LIMIT));
        let (tell, grown) = watch::channel(0);
        let jobs = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("els-writer".into()).spawn(move || {
            // However this thread ends, later requests fail instead of waiting without end.
            let _closing = CloseOnDrop(Arc::clone(&jobs));
            write_batches(&connection, &jobs, &tell);
        })?;
        Ok(Writer { queue, thread: Some(thread), grown })
    }

    /// A value that changes after each commit that changed something.
    pub(super) fn grown(&self) -> watch::Receiver<u64> {
        self.grown.clone()
    }

    /// Does `work` in a transaction and answers when that is durable. `work` is done although the future is dropped.
    pub(super) async fn run<T, F>(&self, key: QueueKey, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Request { work: Some(work), done: None, reply };
        match self.queue.push(key, Box::new(job)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer has stopped".into()))),
            Err(Rejected::Full) => Err(StoreError::Busy),
            Err(Rejected::Closed) => Err(StoreError::Unavailable("the writer has stopped".into())),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct CloseOnDrop(Arc<FairQueue<Box<dyn Job>>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        // Their senders are dropped with them, which is their answer.
        while self.0.try_pop().is_some() {}
    }
}

/// One request on its way through the writer.
trait Job: Send {
    /// Does the work inside the open transaction; says whether its changes are to stay.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Sends the answer: the work's own, or that nothing is known of it.
    fn answer(self: Box<Self>, lost: Option<&StoreError>);
}

struct Request<T, F> {
    work: Option<F>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Request<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let done = catch_unwind(AssertUnwindSafe(|| work(connection)));
        let done = done.unwrap_or_else(|_| Err(rusqlite::Error::UnwindingPanic));
        self.done = Some(done.map_err(|error| failure(&error)));
        matches!(self.done, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, lost: Option<&StoreError>) {
        let answer = match (lost, self.done) {
            (None, Some(done)) => done,
            (Some(lost), _) => Err(lost.clone()),
            (None, None) => Err(StoreError::Internal("a request was not carried out".into())),
        };
        // The caller may be gone; the change stays.
        let _ = self.reply.send(answer);
    }
}

fn write_batches(connection: &Connection, queue: &FairQueue<Box<dyn Job>>, tell: &watch::Sender<u64>) {
    while let Some(first) = queue.pop_wait() {
        let before = connection.total_changes();
        let mut batch = Vec::with_capacity(BATCH);
        let outcome = write_batch(connection, first, queue, &mut batch);
        if outcome.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        let lost = outcome.err().map(|error| StoreError::Unavailable(error.to_string()));
        if lost.is_none() && connection.total_changes() != before {
            tell.send_modify(|count| *count += 1);
        }
        for job in batch {
            job.answer(lost.as_ref());
        }
    }
}

/// Runs the first job and what else is waiting, and commits. After an error the whole batch is lost.
fn write_batch(
    connection: &Connection,
    first: Box<dyn Job>,
    queue: &FairQueue<Box<dyn Job>>,
    batch: &mut Vec<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    let mut next = Some(first);
    let begun = execute(connection, "BEGIN IMMEDIATE");
    while let Some(job) = next {
        batch.push(job);
        if let (Ok(()), Some(job)) = (&begun, batch.last_mut()) {
            // After a full disk or a lost file the database may have ended the whole transaction by itself. Then there is
            // no savepoint any more either, and the batch is lost at the next step.
            execute(connection, "SAVEPOINT request")?;
            let stays = job.run(connection);
            if !stays {
                execute(connection, "ROLLBACK TO request")?;
            }
            execute(connection, "RELEASE request")?;
        }
        next = if batch.len() < BATCH { queue.try_pop() } else { None };
    }
    begun?;
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// The largest number of requests that share a commit.
const BATCH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn writer(folder: &tempfile::TempDir) -> (Arc<Writer>, Connection) {
        let path = folder.path().join("db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; CREATE TABLE a (x INTEGER PRIMARY KEY);
                 CREATE TABLE b (x INTEGER REFERENCES a (x) DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        (Arc::new(Writer::start(connection).unwrap()), Connection::open(path).unwrap())
    }

    /// Holds the writer back until all are queued, so that they are one batch.
    fn in_one_batch(writer: &Arc<Writer>, statements: &[&'static str]) -> Vec<Result<usize, StoreError>> {
        runtime().block_on(async {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let mine = Arc::clone(writer);
            let first = tokio::spawn(async move {
                let hold = move |_: &Connection| {
                    let _ = wait.recv();
                    Ok(())
                };
                mine.run(0, hold).await
            });
            let others: Vec<_> = statements
                .iter()
                .map(|statement| {
                    let (mine, statement) = (Arc::clone(writer), *statement);
                    tokio::spawn(async move { mine.run(1, move |connection| connection.execute(statement, [])).await })
                })
                .collect();
            // Every task gets its turn and queues its request.
            tokio::task::yield_now().await;
            drop(go);
            let _ = first.await;
            let mut answers = Vec::new();
            for task in others {
                answers.push(task.await.unwrap());
            }
            answers
        })
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn one_request_that_fails_leaves_the_others_of_its_group_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        let answers = in_one_batch(
            &writer,
            &["INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)"],
        );
        assert_eq!(answers[0], Ok(1));
        assert!(matches!(answers[1], Err(StoreError::Internal(_))), "{:?}", answers[1]);
        assert_eq!(answers[2], Ok(1));
        assert_eq!(count(&reader), 2);
    }

    /// Promise: seat-outcome-unknown
    #[test]
    fn a_failed_commit_makes_the_outcome_of_its_whole_batch_unknown_and_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        // A reference that is checked at COMMIT alone.
        let answers = in_one_batch(&writer, &["INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (7)"]);
        for answer in &answers {
            assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        }
        assert_eq!(count(&reader), 0);
        assert_eq!(in_one_batch(&writer, &["INSERT INTO a VALUES (1)"]), [Ok(1)]);
        assert_eq!(count(&reader), 1);
    }

    /// Promise: seat-outcome-unknown
    #[test]
    fn a_full_database_is_unavailable_and_the_rest_of_the_batch_gets_true_answers() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        runtime().block_on(writer.run(0, |connection| connection.execute_batch("PRAGMA max_page_count = 4"))).unwrap();
        let grow = "WITH RECURSIVE n (x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM n WHERE x < 99999)
                    INSERT INTO a SELECT x FROM n";
        let answers = in_one_batch(&writer, &["INSERT INTO a VALUES (1)", grow, "INSERT INTO a VALUES (2)"]);
        assert!(matches!(answers[1], Err(StoreError::Unavailable(_))), "{:?}", answers[1]);
        let told = [&answers[0], &answers[2]].iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(count(&reader), told as i64);
    }

    /// Promise: seat-outcome-unknown
    #[test]
    fn a_transaction_that_ended_by_itself_makes_the_outcome_of_its_whole_batch_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        let answers = in_one_batch(&writer, &["INSERT INTO a VALUES (1)", "ROLLBACK", "INSERT INTO a VALUES (2)"]);
        for answer in &answers[..2] {
            assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        }
        // What had not begun is another batch's.
        assert_eq!(answers[2], Ok(1));
        assert_eq!(count(&reader), 1);
    }

    #[test]
    fn a_request_that_panics_is_undone_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        let answer = runtime().block_on(writer.run(0, |connection| -> rusqlite::Result<()> {
            connection.execute("INSERT INTO a VALUES (1)", [])?;
            panic!("on purpose");
        }));
        assert!(matches!(answer, Err(StoreError::Internal(_))), "{answer:?}");
        assert_eq!(in_one_batch(&writer, &["INSERT INTO a VALUES (2)"]), [Ok(1)]);
        assert_eq!(count(&reader), 1);
    }

    /// Promise: seat-client-gone
    #[test]
    fn a_request_is_carried_out_after_its_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader) = writer(&folder);
        runtime().block_on(async {
            let mut work = Box::pin(writer.run(0, |connection| connection.execute("INSERT INTO a VALUES (2)", [])));
            std::future::poll_fn(|context| {
                let _ = work.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
        });
        drop(writer);
        assert_eq!(count(&reader), 1);
    }
}
