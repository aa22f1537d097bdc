//! The store on PostgreSQL: several nodes on one database.
//!
//! Owns which connection does what: one writes seats in groups, a pool asks questions and does what the vendor types, one
//! listens. The tables are its modules' affair; the rules are `license`'s.
//!
//! How nodes keep out of each other's way: whoever changes a seat of a key holds the lock of that key's row; keys are locked in
//! the order of their numbers. Whoever writes an event draws its number under one lock that is held until the event is visible,
//! so that the trail is also a feed without gaps.

mod apply;
mod check;
mod client;
mod connect;
mod facts;
mod failure;
mod gate;
mod group;
mod holders;
mod keys;
mod listen;
mod row;
mod schema;
mod target;
mod trail;
mod upkeep;
mod writer;

pub use target::Target;

use std::net::IpAddr;

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Pool, Transaction};
use els_protocol::{RegistrationId, Sha256Hex, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::task::JoinHandle;
use tokio_postgres::IsolationLevel;
use uuid::Uuid;

use self::connect::Connector;
use self::failure::Failed;
use self::group::{Answer, Ask};
use self::listen::Bell;
use self::writer::Writer;
use super::queue::{LANE_OF_GATE, LANE_OF_VENDOR, Lane, lane, lane_of_client};
use super::rows::{PIECE, SEEN_PIECE, like_anywhere};
use super::{
    ContractTaken, Created, Cursor, Deleted, Event, EventFilter, Feed, Found, Holder, Housekeeping, KeyChange, KeyId,
    KeyNumber, KeyRecord, KeyStanding, Lookup, NewKey, Opening, Policy, Registered, RegistrationView, Rotation,
    SeatPage, Store, StoreError, seats,
};
use crate::rules::{Judged, KeyState, RegisterCommand};

/// The store.
pub struct PostgresStore {
    writer: Writer,
    pool: Pool,
    policy: Policy,
    bell: Bell,
    timeline: gate::Timeline,
    tasks: Vec<JoinHandle<()>>,
}

impl PostgresStore {
    /// Opens the database, as `opening` allows. To be called in the runtime that the store is used in.
    pub async fn open(target: &Target, opening: Opening, policy: Policy) -> anyhow::Result<Self> {
        let connector = Connector::new(target.clone())?;
        opened(&connector, opening).await?;
        let bell = Bell::new();
        let pool = connector.pool(POOL)?;
        let writer = Writer::start(connector.clone(), policy.clone(), bell.clone())?;
        let tasks = vec![
            tokio::spawn(listen::listen(connector, bell.clone())),
            tokio::spawn(listen::notify(pool.clone(), bell.clone())),
        ];
        Ok(PostgresStore { writer, pool, policy, bell, timeline: gate::Timeline::default(), tasks })
    }

    /// Asks by one statement, which sees one moment by itself.
    async fn asking_once<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a ClientWrapper) -> BoxFuture<'a, Result<T, Failed>> + Send,
    {
        let asked = async {
            let client = self.pool.get().await?;
            question(&client).await
        };
        asked.await.map_err(|failed: Failed| failed.meaning(false))
    }

    /// Asks in a transaction that sees one moment and changes nothing.
    async fn asking<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send,
    {
        let asked = async {
            let mut client = self.pool.get().await?;
            let transaction =
                client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = transaction.start().await?;
            let answer = question(&transaction).await?;
            transaction.commit().await?;
            Ok(answer)
        };
        asked.await.map_err(|failed: Failed| failed.meaning(false))
    }

    /// Changes something in a transaction of its own, which is carried out although the future is dropped. What was in
    /// another one's way is tried again.
    async fn changing<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send + Sync + 'static,
    {
        let (pool, bell) = (self.pool.clone(), self.bell.clone());
        let task = tokio::spawn(async move {
            let mut tries = 0;
            loop {
                match changed(&pool, &change).await {
                    Ok(answer) => {
                        bell.ring();
                        return Ok(answer);
                    }
                    Err((failed, false)) if failed.may_pass() && tries < TRIES => tries += 1,
                    Err((failed, committing)) => return Err(failed.meaning(committing)),
                }
            }
        });
        task.await.unwrap_or_else(|_| Err(StoreError::Internal("a change panicked".into())))
    }

    async fn write(&self, lane: Lane, now: Timestamp, ask: Ask) -> Result<Answer, StoreError> {
        self.writer.run(lane, now, ask).await
    }
}

/// A connection of one's own to a database of this version's schema.
pub(super) async fn session_for_copy(target: &Target) -> anyhow::Result<ClientWrapper> {
    let connector = Connector::new(target.clone())?;
    opened(&connector, Opening::Existing).await
}

async fn opened(connector: &Connector, opening: Opening) -> anyhow::Result<ClientWrapper> {
    let shown = connector.shown();
    let mut session = connector
        .session()
        .await
        .map_err(|error| anyhow!("cannot reach the database {shown}: {}", failure::chain(&error)))?;
    connect::check_server(&session).await.with_context(|| format!("the database {shown}"))?;
    schema::prepare(&mut session, &shown, opening).await?;
    Ok(session)
}

/// One try; an error says whether a COMMIT had been sent.
async fn changed<T, F>(pool: &Pool, change: &F) -> Result<T, (Failed, bool)>
where
    F: for<'a> Fn(&'a Transaction<'a>) -> BoxFuture<'a, Result<T, Failed>> + Send + Sync + 'static,
{
    let before = |failed: Failed| (failed, false);
    let mut client = pool.get().await.map_err(|error| before(error.into()))?;
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let transaction = transaction.start().await.map_err(|error| before(error.into()))?;
    let answer = change(&transaction).await.map_err(before)?;
    transaction.commit().await.map_err(|error| (error.into(), true))?;
    Ok(answer)
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn register(&self, now: Timestamp, command: RegisterCommand) -> Result<Judged<Registered>, StoreError> {
        match self.write(lane(&command.key_hash), now, Ask::Register(command)).await? {
            Answer::Registered(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn registration(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
    ) -> Result<Judged<RegistrationView>, StoreError> {
        let own = || {
            let policy = self.policy.clone();
            self.asking(move |db| async move { own_view(db, &policy, now, id, token_hash).await }.boxed())
        };
        let (view, overdue) = own().await?;
        if !overdue {
            return Ok(view);
        }
        self.superseded_used(now, id).await?;
        own().await.map(|(view, _)| view)
    }

    async fn delete(
        &self,
        now: Timestamp,
        id: RegistrationId,
        token_hash: Sha256Hex,
        client: IpAddr,
    ) -> Result<Judged<Deleted>, StoreError> {
        // Which key it is, nobody knows yet; and who asks for ids that nobody has seen, waits for himself alone.
        deleted(self.write(lane_of_client(client), now, Ask::Delete { id, token_hash, client }).await?)
    }

    async fn seats(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Judged<SeatPage>, StoreError> {
        self.asking(move |db| async move { holders::page(db, now, &key_hash, after, limit).await }.boxed()).await
    }

    async fn release(
        &self,
        now: Timestamp,
        key_hash: Sha256Hex,
        id: RegistrationId,
    ) -> Result<Judged<Deleted>, StoreError> {
        deleted(self.write(lane(&key_hash), now, Ask::Release { key_hash, id }).await?)
    }

    async fn credential(&self, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.asking_once(move |db| gate::lookup(db, id).boxed()).await
    }

    async fn key_standing(&self, key: KeyNumber) -> Result<Option<KeyStanding>, StoreError> {
        self.asking_once(move |db| gate::key_standing(db, key).boxed()).await
    }

    async fn feed(&self, after: Cursor, limit: u32) -> Result<Feed, StoreError> {
        let piece = self.asking_once(move |db| gate::feed(db, after, limit).boxed()).await?;
        Ok(self.timeline.continued(piece))
    }

    async fn feed_end(&self) -> Result<Cursor, StoreError> {
        self.asking_once(|db| gate::feed_end(db).boxed()).await
    }

    fn feed_hint(&self) -> tokio::sync::watch::Receiver<u64> {
        self.bell.hint()
    }

    async fn superseded_used(&self, now: Timestamp, id: RegistrationId) -> Result<Lookup, StoreError> {
        self.write(LANE_OF_GATE, now, Ask::SupersededUsed { id }).await?;
        self.credential(id).await
    }

    async fn seen(&self, batch: Vec<(RegistrationId, Timestamp)>) -> Result<(), StoreError> {
        for piece in batch.chunks(SEEN_PIECE) {
            let piece = piece.to_vec();
            self.changing(move |db| {
                let piece = piece.clone();
                async move { gate::seen(db, &piece).await }.boxed()
            })
            .await?;
        }
        Ok(())
    }

    async fn housekeeping(&self, now: Timestamp) -> Result<Housekeeping, StoreError> {
        let mut done = Housekeeping::default();
        self.changing(move |db| upkeep::gate_is_up(db, now).boxed()).await?;
        if self.asking_once(move |db| upkeep::search_is_due(db, now).boxed()).await? {
            loop {
                let unseen = self.asking(move |db| upkeep::unseen(db, now).boxed()).await?;
                let found = unseen.len();
                let ids: Vec<Uuid> = unseen.iter().map(row::uuid).collect();
                let release = self.changing(move |db| {
                    let ids = ids.clone();
                    async move { upkeep::release_unseen(db, now, &ids).await }.boxed()
                });
                let released = release.await?;
                done.released += released;
                // Where all that were found have been seen meanwhile, the next search is soon enough.
                if found < PIECE || released == 0 {
                    break;
                }
            }
            self.changing(move |db| upkeep::search_is_done(db, now).boxed()).await?;
        }
        loop {
            let erased = self.changing(move |db| upkeep::erase(db, now).boxed()).await?;
            done.erased += erased;
            if erased < PIECE as u64 {
                break;
            }
        }
        done.forgotten = self.changing(move |db| upkeep::forget(db, now).boxed()).await?;
        Ok(done)
    }

    async fn health(&self) -> Result<(), StoreError> {
        // A lock on no row at all: it needs a server that can be written.
        self.changing(|db| async { Ok(db.batch_execute("SELECT 1 FROM upkeep WHERE false FOR UPDATE").await?) }.boxed())
            .await
    }

    async fn finish(&self) {
        self.writer.finish().await;
    }

    async fn create_key(&self, now: Timestamp, key: NewKey, key_hash: Sha256Hex) -> Result<Created, StoreError> {
        self.changing(move |db| {
            let key = key.clone();
            async move { keys::create(db, now, &key, &key_hash).await }.boxed()
        })
        .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.asking(move |db| async move { keys::by_id(db, &id).await }.boxed()).await
    }

    async fn keys(&self, after: Option<KeyNumber>, limit: u32) -> Result<Vec<KeyRecord>, StoreError> {
        self.asking(move |db| keys::list(db, after, limit).boxed()).await
    }

    async fn update_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        change: KeyChange,
    ) -> Result<Option<Result<KeyRecord, ContractTaken>>, StoreError> {
        let id = id.clone();
        self.changing(move |db| {
            let (id, change) = (id.clone(), change.clone());
            async move { keys::update(db, now, &id, &change).await }.boxed()
        })
        .await
    }

    async fn set_key_state(
        &self,
        now: Timestamp,
        id: &KeyId,
        state: KeyState,
    ) -> Result<Option<Judged<KeyRecord>>, StoreError> {
        let id = id.clone();
        self.changing(move |db| {
            let id = id.clone();
            async move { keys::set_state(db, now, &id, state).await }.boxed()
        })
        .await
    }

    async fn rotate_key(
        &self,
        now: Timestamp,
        id: &KeyId,
        key_hash: Sha256Hex,
        old_until: Option<Timestamp>,
    ) -> Result<Option<Rotation>, StoreError> {
        let id = id.clone();
        self.changing(move |db| {
            let id = id.clone();
            async move { keys::rotate(db, now, &id, &key_hash, old_until).await }.boxed()
        })
        .await
    }

    async fn holders(
        &self,
        key: &KeyId,
        after: Option<RegistrationId>,
        limit: u32,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        let key = key.clone();
        self.asking(move |db| async move { holders::of_key(db, &key, after, limit).await }.boxed()).await
    }

    async fn release_seat(&self, now: Timestamp, id: RegistrationId) -> Result<Option<Deleted>, StoreError> {
        match self.write(LANE_OF_VENDOR, now, Ask::ReleaseAny { id, why: "freed by the vendor" }).await? {
            Answer::NeverSeen => Ok(None),
            answer => deleted(answer).map(Result::ok),
        }
    }

    async fn find(&self, text: &str, limit: u32) -> Result<Found, StoreError> {
        let (text, pattern) = (text.to_owned(), like_anywhere(text));
        let id = RegistrationId::parse(&text.to_ascii_lowercase());
        self.asking(move |db| {
            async move {
                let keys = keys::find(db, &text, &pattern, limit).await?;
                Ok(Found { keys, registrations: holders::find(db, id, &pattern, limit).await? })
            }
            .boxed()
        })
        .await
    }

    async fn events(&self, filter: EventFilter, after: Cursor, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.asking_once(move |db| async move { trail::events(db, &filter, after, limit).await }.boxed()).await
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.asking(|db| check::check(db).boxed()).await
    }
}

/// What a machine's credential stands for, and whether that has to be decided first: superseded, and past its hour.
async fn own_view(
    db: &Transaction<'_>,
    policy: &Policy,
    now: Timestamp,
    id: RegistrationId,
    token_hash: Sha256Hex,
) -> Result<(Judged<RegistrationView>, bool), Failed> {
    let found = holders::own(db, id).await?;
    let early = found.is_none() && holders::is_remembered(db, now, id, &token_hash).await?;
    let found = found.as_ref().map(|(held, key)| (held, key));
    Ok(seats::own_view(policy, now, token_hash, found, early))
}

fn deleted(answer: Answer) -> Result<Judged<Deleted>, StoreError> {
    match answer {
        Answer::Deleted(answer) => Ok(answer),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> StoreError {
    StoreError::Internal(format!("the writer answered another question: {answer:?}"))
}

/// Connections for questions and for what the vendor types.
const POOL: usize = 8;
/// How often a change is tried that was in another one's way.
const TRIES: u32 = 5;
/// The lock that whoever brings the schema up to date holds. Numbers of locks are a matter of the database; these are ours.
const LOCK_OF_SCHEMA: i64 = 0x454c_5300;
/// The lock that whoever writes events holds until they are visible.
const LOCK_OF_FEED: i64 = 0x454c_5301;
/// The class of the locks of places, see `facts`.
const LOCKS_OF_PLACES: i32 = 0x454c;
