//! The store on PostgreSQL: several nodes on one database.
//!
//! Owns which connection does what: one writes seats in batches, a pool reads and does what the vendor types, one listens.
//! The tables belong to its modules, the rules to `rules`.
//!
//! How nodes keep out of each other's way: who changes a seat of a key holds the lock of that key's row; keys are locked in
//! the order of their numbers. Who writes an event draws its number under one lock that is held until the event is visible,
//! so that the audit log is also a feed without gaps.

mod apply;
mod audit_log;
mod batch;
mod check;
mod client;
mod connect;
mod facts;
mod failure;
mod gate;
mod history;
mod holders;
mod keys;
mod listen;
mod pauses;
mod row;
mod schema;
mod systems;
mod target;
mod tokens;
mod upkeep;
mod writer;

pub use target::Target;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use deadpool::managed::Object;
use deadpool_postgres::{ClientWrapper, Transaction};
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::IsolationLevel;

use self::batch::{Call, CallOutcome};
use self::connect::{Connector, Pool};
use self::failure::Failed;
use self::history::History;
use self::listen::ChangeNotifier;
use self::writer::Writer;
use crate::by::By;
use crate::outcome::{
    Created, KeyUpdate, Registered, RegistrationView, ReleaseOutcome, Rotation, SeatPage, StateChange,
};
use crate::queue::{QUEUE_KEY_OF_CREDENTIALS, QUEUE_KEY_OF_GATE, queue_key, queue_key_of_client, queue_key_of_scope};
use crate::rows::like_anywhere;
use crate::rules::{Judged, KeyState, RegisterCommand};
use crate::scope::Scope;
use crate::seats::Attempt;
use crate::steps::{self, Steps, Unused};
use crate::store::{Administration, GateFeed, SeatStore, StoreError, Upkeep};
use crate::turns::{READS, ReadClass, ReadTurns};
use crate::{
    Cursor, Event, EventFilter, Feed, Found, GateKey, Holder, KeyChange, KeyId, KeyNumber, KeyRecord, Lookup, NewKey,
    Opening, Policy, seats,
};

/// The store.
pub struct PostgresStore {
    writer: Writer,
    pool: Pool,
    turns: ReadTurns,
    policy: Policy,
    notifier: ChangeNotifier,
    timeline: gate::Timeline,
    history: History,
    tasks: Vec<JoinHandle<()>>,
}

impl PostgresStore {
    /// Opens the database, as `opening` allows, in the runtime that the store is used in.
    pub async fn open(target: &Target, opening: Opening, policy: Policy) -> anyhow::Result<Self> {
        let connector = Connector::new(target.clone())?;
        opened(&connector, opening).await?;
        let notifier = ChangeNotifier::new();
        let history = connector.history().clone();
        let pool = connector.pool(POOL)?;
        let writer = Writer::start(connector.clone(), policy.clone(), notifier.clone())?;
        let tasks = vec![
            tokio::spawn(connector.clone().look_around()),
            tokio::spawn(listen::listen(connector, notifier.clone())),
            tokio::spawn(listen::notify(pool.clone(), notifier.clone())),
        ];
        let (turns, timeline) = (ReadTurns::new(), gate::Timeline::default());
        Ok(PostgresStore { writer, pool, turns, policy, notifier, timeline, history, tasks })
    }

    /// Reads by one statement, which sees one moment by itself, when it is the turn of `class`.
    async fn read_once<T, F>(&self, class: ReadClass, question: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a ClientWrapper) -> BoxFuture<'a, Result<T, Failed>> + Send,
    {
        let _turn = self.turns.take(class).await?;
        let client = self.pool.get().await.map_err(|error| Failed::from(error).meaning(false))?;
        let answer = self.answered(class, question(&client)).await;
        self.kept(client, answer)
    }

    /// Reads in a transaction that sees one moment and changes nothing, when it is the turn of `class`.
    async fn read<T, F>(&self, class: ReadClass, question: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send,
    {
        let _turn = self.turns.take(class).await?;
        let mut client = self.pool.get().await.map_err(|error| Failed::from(error).meaning(false))?;
        let asked = async {
            let transaction =
                client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = transaction.start().await?;
            let answer = question(&transaction).await?;
            transaction.commit().await?;
            Ok(answer)
        };
        let answer = self.answered(class, asked).await;
        self.kept(client, answer)
    }

    /// Waits for an answer, as long as `class` allows.
    async fn answered<T>(&self, class: ReadClass, asked: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        match timeout(longest(class), asked).await {
            Ok(answer) => answer,
            Err(_) => {
                self.history.suspect();
                Err(Failed::Connect("the server does not answer".into()))
            }
        }
    }

    /// Gives a connection back, unless it failed. An answer of a server that was replaced meanwhile does not count.
    fn kept<T>(&self, client: Object<Connector>, answer: Result<T, Failed>) -> Result<T, StoreError> {
        let answer = match answer {
            Ok(_) if !self.history.is_current(Object::metrics(&client).created) => {
                Err(Failed::Connect("the server was replaced".into()))
            }
            answer => answer,
        };
        if answer.as_ref().is_err_and(Failed::ends_session) {
            drop(Object::take(client));
        }
        answer.map_err(|failed| failed.meaning(false))
    }

    /// Changes something in a transaction of its own, which is carried out although the future is dropped. A change that
    /// conflicts with another one is tried again.
    async fn change<T, F>(&self, class: ReadClass, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send + Sync + 'static,
    {
        let turn = self.turns.take(class).await?;
        let (pool, history, notifier) = (self.pool.clone(), self.history.clone(), self.notifier.clone());
        let task = tokio::spawn(async move {
            let _turn = turn;
            let mut tries = 0;
            loop {
                match changed(&pool, &history, &change).await {
                    Ok(answer) => {
                        notifier.changed();
                        return Ok(answer);
                    }
                    Err((failed, false)) if failed.may_pass() && tries < TRIES => tries += 1,
                    Err((failed, committing)) => return Err(failed.meaning(committing)),
                }
            }
        });
        task.await.unwrap_or_else(|_| Err(StoreError::Internal("a change panicked".into())))
    }
}

/// A connection of its own to a database that this program knows all of.
pub(super) async fn session_for_copy(target: &Target) -> anyhow::Result<ClientWrapper> {
    let connector = Connector::new(target.clone())?;
    let session = opened(&connector, Opening::Existing).await?;
    schema::refuse_newer_schema(&session, &connector.shown()).await?;
    Ok(session)
}

async fn opened(connector: &Connector, opening: Opening) -> anyhow::Result<ClientWrapper> {
    let shown = connector.shown();
    let mut session =
        connector.session().await.map_err(|failed| anyhow!("cannot reach the database {shown}: {}", failed.text()))?;
    connect::check_server(&session).await.with_context(|| format!("the database {shown}"))?;
    schema::prepare(&mut session, &shown, opening).await?;
    Ok(session)
}

/// One try; an error says whether a COMMIT had been sent.
async fn changed<T, F>(pool: &Pool, history: &History, change: &F) -> Result<T, (Failed, bool)>
where
    F: for<'a> Fn(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send + Sync + 'static,
{
    let mut client = pool.get().await.map_err(|error| (error.into(), false))?;
    let before = |failed: Failed| (failed, false);
    let asked = async {
        let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
        let transaction = transaction.start().await.map_err(|error| before(error.into()))?;
        let answer = change(&transaction).await.map_err(before)?;
        transaction.commit().await.map_err(|error| (error.into(), true))?;
        Ok(answer)
    };
    let answer = match timeout(CHANGE, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            history.suspect();
            Err((Failed::Connect("the server does not answer".into()), true))
        }
    };
    if answer.as_ref().is_err_and(|(failed, _)| failed.ends_session()) {
        drop(Object::take(client));
    }
    answer
}

/// The longest wait for an answer. After it, the server counts as gone.
fn longest(class: ReadClass) -> Duration {
    Duration::from_secs(match class {
        ReadClass::Feed => 3,
        ReadClass::Lookup => 4,
        ReadClass::Customer(_) => 10,
        ReadClass::Upkeep => 20,
        // A check reads the whole database.
        ReadClass::Vendor => 3600,
    })
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl SeatStore for PostgresStore {
    async fn register(
        &self,
        now: Timestamp,
        by: By,
        command: RegisterCommand,
    ) -> Result<Judged<Registered>, StoreError> {
        steps::register(self, now, by, command).await
    }

    async fn registration(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        steps::registration(self, now, by, id, token_hash).await
    }

    async fn unregister(
        &self,
        now: Timestamp,
        by: By,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        let call = Call::Unregister { id, token_hash, client };
        released(self.writer.run(queue_key_of_client(client), now, by, call).await?)
    }

    async fn seat_page(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        let (policy, key) = (self.policy.clone(), queue_key(&key_hash));
        let page = self
            .read(ReadClass::Customer(key), move |db| {
                async move { holders::page(db, &policy, now, &key_hash, after, limit).await }.boxed()
            })
            .await?;
        self.turns.note(key, page.as_ref().is_ok_and(|page| !page.revoked));
        Ok(page)
    }

    async fn release_seat(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: RegistrationId,
    ) -> Result<Judged<ReleaseOutcome>, StoreError> {
        if let Scope::Token(_) = scope {
            return self
                .change(ReadClass::Vendor, move |db| {
                    let by = by.clone();
                    async move { keys::release(db, now, &scope, &by, id).await }.boxed()
                })
                .await;
        }
        released(self.writer.run(queue_key_of_scope(&scope), now, by, Call::Release { scope, id }).await?)
    }
}

#[async_trait]
impl GateFeed for PostgresStore {
    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.read_once(ReadClass::Lookup, move |db| gate::lookup(db, id).boxed()).await
    }

    async fn gate_key(&self, key: KeyNumber) -> Result<Option<GateKey>, StoreError> {
        self.read_once(ReadClass::Feed, move |db| gate::gate_key(db, key).boxed()).await
    }

    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError> {
        let piece = self.read_once(ReadClass::Feed, move |db| gate::feed(db, after, limit).boxed()).await?;
        Ok(self.timeline.continued(piece))
    }

    async fn feed_end(&self) -> Result<Cursor, StoreError> {
        self.read_once(ReadClass::Feed, |db| gate::feed_end(db).boxed()).await
    }

    fn feed_hint(&self) -> watch::Receiver<u64> {
        self.notifier.hint()
    }

    async fn superseded_used(&self, now: Timestamp, by: By, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.writer.run(QUEUE_KEY_OF_GATE, now, by, Call::SupersededUsed { id }).await?;
        self.credential(id).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        steps::seen(self, batch).await
    }
}

#[async_trait]
impl Administration for PostgresStore {
    async fn create_key(
        &self,
        now: Timestamp,
        by: By,
        key: NewKey,
        key_hash: Sha256Hex,
    ) -> Result<Created, StoreError> {
        self.change(ReadClass::Vendor, move |db| {
            let (by, key) = (by.clone(), key.clone());
            async move { keys::create(db, now, &by, &key, &key_hash).await }.boxed()
        })
        .await
    }

    async fn key(&self, now: Timestamp, scope: Scope, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.read(ReadClass::Vendor, move |db| async move { keys::by_id(db, now, &scope, &id).await }.boxed()).await
    }

    async fn keys(
        &self,
        now: Timestamp,
        scope: Scope,
        after: Option<KeyNumber>,
        limit: u32,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        self.read(ReadClass::Vendor, move |db| async move { keys::list(db, now, &scope, after, limit).await }.boxed())
            .await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<KeyUpdate, StoreError> {
        let id = id.clone();
        self.change(ReadClass::Vendor, move |db| {
            let (by, id, change) = (by.clone(), id.clone(), change.clone());
            async move { keys::update(db, now, &scope, &by, &id, &change).await }.boxed()
        })
        .await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        state: KeyState,
    ) -> Result<StateChange, StoreError> {
        let id = id.clone();
        self.change(ReadClass::Vendor, move |db| {
            let (by, id) = (by.clone(), id.clone());
            async move { keys::set_state(db, now, &scope, &by, &id, state).await }.boxed()
        })
        .await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        scope: Scope,
        by: By,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Rotation, StoreError> {
        let id = id.clone();
        self.change(ReadClass::Vendor, move |db| {
            let (by, id) = (by.clone(), id.clone());
            async move { keys::rotate(db, now, &scope, &by, &id, &key_hash, old_until).await }.boxed()
        })
        .await
    }

    async fn holders(
        &self,
        now: Timestamp,
        scope: Scope,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        let (policy, key) = (self.policy.clone(), key.clone());
        self.read(ReadClass::Vendor, move |db| {
            async move {
                match keys::by_id(db, now, &scope, &key).await? {
                    Some(key) => {
                        let key = holders::key_by_number(db, key.number).await?;
                        holders::of_key(db, &policy, now, &key, after, i64::from(limit)).await.map(Some)
                    }
                    None => Ok(None),
                }
            }
            .boxed()
        })
        .await
    }

    async fn find(&self, now: Timestamp, scope: Scope, text: &str, limit: u32) -> Result<Found, StoreError> {
        let (text, pattern) = (text.to_owned(), like_anywhere(text));
        let id = RegistrationId::parse(&text.to_ascii_lowercase());
        self.read(ReadClass::Vendor, move |db| {
            async move {
                let keys = keys::find(db, now, &scope, &text, &pattern, limit).await?;
                Ok(Found { keys, registrations: holders::find(db, now, &scope, id, &pattern, limit).await? })
            }
            .boxed()
        })
        .await
    }

    async fn events(
        &self,
        now: Timestamp,
        scope: Scope,
        filter: EventFilter,
        after: Cursor,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.read_once(ReadClass::Vendor, move |db| {
            async move { audit_log::events(db, now, &scope, &filter, after, limit).await }.boxed()
        })
        .await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.read(ReadClass::Vendor, |db| check::check(db).boxed()).await
    }
}

#[async_trait]
impl Upkeep for PostgresStore {
    async fn take_lease(&self, job: &str, holder: &str, seconds: u32) -> Result<bool, StoreError> {
        let (job, holder) = (job.to_owned(), holder.to_owned());
        self.change(ReadClass::Upkeep, move |db| {
            let (job, holder) = (job.clone(), holder.clone());
            async move { upkeep::take_lease(db, &job, &holder, seconds).await }.boxed()
        })
        .await
    }

    async fn gate_is_up(&self, now: Timestamp) -> Result<(), StoreError> {
        self.change(ReadClass::Upkeep, move |db| upkeep::gate_is_up(db, now).boxed()).await
    }

    async fn release_unseen(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        steps::release_unseen(self, now, by).await
    }

    async fn release_superseded(&self, now: Timestamp, by: By) -> Result<u64, StoreError> {
        steps::release_superseded(self, now, by).await
    }

    async fn erase_ids(&self, now: Timestamp) -> Result<u64, StoreError> {
        steps::erase_ids(self, now).await
    }

    async fn forget_early_releases(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.change(ReadClass::Upkeep, move |db| upkeep::forget(db, now).boxed()).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        // A lock on no row at all: it needs a server that can be written.
        self.change(ReadClass::Upkeep, |db| {
            async { Ok(db.batch_execute("SELECT 1 FROM upkeep WHERE false FOR UPDATE").await?) }.boxed()
        })
        .await
    }

    async fn finish(&self) {
        self.writer.finish().await;
    }
}

#[async_trait]
impl Steps for PostgresStore {
    async fn try_register(&self, now: Timestamp, by: By, command: RegisterCommand) -> Result<Attempt, StoreError> {
        match self.writer.run(queue_key(&command.key_hash), now, by, Call::Register(command)).await? {
            CallOutcome::Registered(attempt) => Ok(attempt),
            other => Err(unexpected(&other)),
        }
    }

    async fn unused(&self, now: Timestamp, after: Unused) -> Result<Vec<Unused>, StoreError> {
        self.read_once(ReadClass::Upkeep, move |db| upkeep::unused(db, now, after).boxed()).await
    }

    async fn release_unused(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError> {
        let policy = self.policy.clone();
        self.change(ReadClass::Upkeep, move |db| {
            let (policy, by, ids) = (policy.clone(), by.clone(), ids.clone());
            async move { upkeep::release_unused(db, &policy, now, &by, &ids).await }.boxed()
        })
        .await
    }

    async fn own_view(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<(Judged<RegistrationView>, bool), StoreError> {
        let policy = self.policy.clone();
        self.read(ReadClass::Customer(QUEUE_KEY_OF_CREDENTIALS), move |db| {
            async move { own_view(db, &policy, now, id, token_hash).await }.boxed()
        })
        .await
    }

    async fn note_seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        self.change(ReadClass::Upkeep, move |db| {
            let batch = batch.clone();
            async move { gate::seen(db, &batch).await }.boxed()
        })
        .await
    }

    async fn search_is_due(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.read_once(ReadClass::Upkeep, move |db| upkeep::search_is_due(db, now).boxed()).await
    }

    async fn search_is_done(&self, now: Timestamp) -> Result<(), StoreError> {
        self.change(ReadClass::Upkeep, move |db| upkeep::search_is_done(db, now).boxed()).await
    }

    async fn unseen(&self, now: Timestamp) -> Result<Vec<RegistrationId>, StoreError> {
        self.read(ReadClass::Upkeep, move |db| upkeep::unseen(db, now).boxed()).await
    }

    async fn release_those(&self, now: Timestamp, by: By, ids: Vec<RegistrationId>) -> Result<u64, StoreError> {
        self.change(ReadClass::Upkeep, move |db| {
            let (by, ids) = (by.clone(), ids.clone());
            async move { upkeep::release_unseen(db, now, &by, &ids).await }.boxed()
        })
        .await
    }

    async fn erase_batch(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.change(ReadClass::Upkeep, move |db| upkeep::erase(db, now).boxed()).await
    }
}

/// What a machine's credential stands for, and whether that has to be decided first.
async fn own_view(
    db: &Transaction<'_>,
    policy: &Policy,
    now: Timestamp,
    id: RegistrationId,
    token_hash: Sha256Hex,
) -> Result<(Judged<RegistrationView>, bool), Failed> {
    let found = holders::own(db, id).await?;
    let early = found.is_none() && holders::is_remembered(db, now, id, &token_hash).await?;
    let pauses = match &found {
        Some((known, key)) if known.superseded_at().is_some() => {
            pauses::pauses(db, now, key.number, &key.terms(policy)).await?
        }
        _ => Vec::new(),
    };
    let found = found.as_ref().map(|(known, key)| (known, key));
    Ok(seats::own_view(policy, now, token_hash, found, early, &pauses))
}

fn released(outcome: CallOutcome) -> Result<Judged<ReleaseOutcome>, StoreError> {
    match outcome {
        CallOutcome::Released(released) => Ok(released),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(outcome: &CallOutcome) -> StoreError {
    StoreError::Internal(format!("the writer gave the outcome of another call: {outcome:?}"))
}

/// Connections: one for each turn, and one for what is announced to other nodes.
const POOL: usize = READS + 1;
/// The longest wait for a change; it may have to wait for a lock and for a standby.
const CHANGE: Duration = Duration::from_secs(20);
/// How often a change is tried again that conflicts with another one.
const TRIES: u32 = 5;
/// The lock that a migration holds. Lock numbers hold for the whole database; these are ours.
const LOCK_OF_SCHEMA: i64 = 0x454c_5300;
/// The lock that a transaction that writes events holds until they are visible.
const LOCK_OF_FEED: i64 = 0x454c_5301;
/// The class of the locks of slots, see `facts`.
const LOCKS_OF_SLOTS: i32 = 0x454c;
