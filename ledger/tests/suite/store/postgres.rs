//! The cases on PostgreSQL, and what holds only there.

use std::time::Duration;

use els_ledger::{Opening, PostgresStore, ReleaseOutcome, Target};

use super::*;
use els_testkit::cluster::{Cluster, name};

/// A database of the shared server.
pub(crate) struct Database {
    pub(crate) store: Arc<dyn Store>,
    url: String,
}

impl Database {
    /// A further store on the same database, as another node has it.
    async fn another(&self) -> Arc<dyn Store> {
        open(&self.url, Opening::Existing).await
    }

    fn sql(&self, sql: &str) -> String {
        Cluster::shared().sql(name(&self.url), sql)
    }
}

async fn open(url: &str, opening: Opening) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(&Target::parse(url).unwrap(), opening, policy()).await.unwrap())
}

pub(crate) async fn fresh() -> Database {
    let url = tokio::task::spawn_blocking(|| Cluster::shared().database()).await.unwrap();
    let store = open(&url, Opening::Migrating).await;
    Database { store, url }
}

store_tests!(fresh);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_one_release_behind_starts_and_works_on_a_schema_that_only_adds() {
    let database = fresh().await;
    database.sql("UPDATE els_schema SET version = version + 1; ALTER TABLE keys ADD newer TEXT");
    for opening in [Opening::Existing, Opening::Creating, Opening::Migrating] {
        let store = open(&database.url, opening).await;
        make_key(&store, &format!("{opening:?}").to_lowercase(), 1).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = Target::parse(&database.url).unwrap();
    let refused = els_ledger::copy::backup(&target, &folder.path().join("backup")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("would lose what is newer"), "{refused:#}");
    database.sql("UPDATE els_schema SET oldest = version");
    let refused = PostgresStore::open(&target, Opening::Migrating, policy()).await.err().unwrap();
    assert!(format!("{refused:#}").contains("use the newer els-backend"), "{refused:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_kind_that_a_newer_program_writes_is_read() {
    let database = fresh().await;
    make_key(&database.store, "a", 1).await;
    database.sql("INSERT INTO events (at, kind, key) VALUES (1, 'seat-painted', 1)");
    let events = database.store.events(at(0), Scope::Vendor, EventFilter::default(), Cursor(0), 9).await.unwrap();
    assert_eq!(events.last().unwrap().event, "seat-painted");
    assert_eq!(database.store.feed(Cursor(0), 9).await.unwrap().items.len(), 2);
}

/// Promise: nodes-seat-limit
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_never_oversell() {
    let database = fresh().await;
    make_key(&database.store, "a", 10).await;
    let stores = [Arc::clone(&database.store), database.another().await, database.another().await];
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let store = Arc::clone(&stores[number as usize % 3]);
            tokio::spawn(async move { how(&store, 0, asks(number, number, number + 1)).await })
        })
        .collect();
    let mut given = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok((How::Created, _)) => given += 1,
            other => assert_eq!(other, Err(full(10, 10))),
        }
    }
    assert_eq!((given, seats(&stores[1], "a").await.used), (10, 10));
    assert_eq!(stores[2].check().await.unwrap(), [""; 0]);
}

/// Promise: nodes-seat-limit
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_do_to_the_same_machines_at_once_adds_up() {
    let database = fresh().await;
    make_key(&database.store, "a", 4).await;
    let stores = [Arc::clone(&database.store), database.another().await];
    let tasks: Vec<_> = (0..8_u64)
        .map(|hand| {
            let store = Arc::clone(&stores[hand as usize % 2]);
            let mut dice = els_testkit::sweep::Dice(hand);
            tokio::spawn(async move {
                for _ in 0..60 {
                    let id = dice.roll(24);
                    match dice.roll(6) {
                        0..=2 => drop(put(&store, 0, asks(id, id % 6, [0, id % 5][dice.roll(2) as usize])).await),
                        3 => drop(store.unregister(at(0), by(), registration(id), token(id), client(1)).await.unwrap()),
                        4 => drop(
                            store.release_seat(at(0), Scope::Key(secret("a")), by(), registration(id)).await.unwrap(),
                        ),
                        _ => drop(store.superseded_used(at(2 * HOUR), by(), registration(id)).await.unwrap()),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(seats(&stores[0], "a").await.used <= 4);
    assert_eq!(stores[1].check().await.unwrap(), [""; 0]);
}

/// Promise: nodes-one-id
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_and_unregistering_a_new_id_on_two_nodes_leaves_no_seat() {
    let database = fresh().await;
    make_key(&database.store, "a", 1000).await;
    let other = database.another().await;
    for id in 0..60 {
        let (here, there) = (Arc::clone(&database.store), Arc::clone(&other));
        let asked = tokio::spawn(async move { how(&here, 0, asks(id, id, id + 1)).await.map(|done| done.0) });
        let given_back =
            tokio::spawn(async move { there.unregister(at(0), by(), registration(id), token(id), client(1)).await });
        let (asked, given_back) = (asked.await.unwrap(), unwrap(given_back.await.unwrap()).unwrap());
        // Whoever was first, nothing is left of it.
        match (asked, given_back) {
            (Ok(How::Created), ReleaseOutcome::Released)
            | (Err(Denied::RegistrationReleased), ReleaseOutcome::RememberedEarly) => {}
            other => panic!("{id}: {other:?}"),
        }
        assert_eq!(get(&database.store, 0, id).await, Err(Denied::RegistrationReleased));
    }
    assert_eq!(seats(&database.store, "a").await.used, 0);
}

/// Promise: nodes-one-id
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_two_nodes_are_asked_for_at_once_is_one_keys() {
    let database = fresh().await;
    make_key(&database.store, "a", 1000).await;
    make_key(&database.store, "b", 1000).await;
    let other = database.another().await;
    for id in 0..40 {
        let (here, there) = (Arc::clone(&database.store), Arc::clone(&other));
        let first = tokio::spawn(async move { how(&here, 0, asks(id, id, id + 1)).await });
        let command = RegisterCommand { key_hash: secret("b"), ..asks(id, id, id + 1) };
        let second = tokio::spawn(async move { how(&there, 0, command).await });
        let mut ends = [first.await.unwrap().is_ok(), second.await.unwrap().is_ok()];
        ends.sort_unstable();
        assert_eq!(ends, [false, true], "{id}");
    }
    let used = seats(&other, "a").await.used + seats(&other, "b").await.used;
    assert_eq!(used, 40);
    assert_eq!(other.check().await.unwrap(), [""; 0]);
}

/// Promise: nodes-five-seconds
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_feed_misses_nothing_while_several_nodes_write() {
    let database = fresh().await;
    make_key(&database.store, "a", 1000).await;
    make_key(&database.store, "b", 1000).await;
    let nodes = [Arc::clone(&database.store), database.another().await, database.another().await];
    let mut cursor = database.store.feed_end().await.unwrap();
    let writers: Vec<_> = (0..300_u32)
        .map(|number| {
            let store = Arc::clone(&nodes[number as usize % 3]);
            let key_hash = secret(["a", "b"][number as usize % 2]);
            tokio::spawn(async move {
                let command = RegisterCommand { key_hash, ..asks(number, number, number + 1) };
                how(&store, 0, command).await.unwrap()
            })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 300 {
        let feed = nodes[1].feed(cursor, 50).await.unwrap();
        assert!(!feed.broken && feed.up_to >= cursor);
        for (_, item) in &feed.items {
            assert!(seen.insert(*item), "{item:?} was told twice");
        }
        cursor = feed.up_to;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Promise: nodes-five-seconds
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_one_node_is_hinted_to_the_others() {
    let database = fresh().await;
    make_key(&database.store, "a", 10).await;
    let other = database.another().await;
    let mut hint = other.feed_hint();
    // The first hint is for what was changed before it listened.
    tokio::time::timeout(Duration::from_secs(20), hint.changed()).await.unwrap().unwrap();
    how(&database.store, 0, asks(1, 1, 1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), hint.changed()).await.unwrap().unwrap();
    // Also after the connection that listens was lost.
    database.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    tokio::time::timeout(Duration::from_secs(20), hint.changed()).await.unwrap().unwrap();
}

/// Promise: nodes-outcome-unknown
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_replaced_and_no_request_is_repeated() {
    let database = fresh().await;
    make_key(&database.store, "a", 10).await;
    how(&database.store, 0, asks(1, 1, 1)).await.unwrap();
    for id in 2..6 {
        // All of them, those of the pool, of the writer and of the listener.
        database.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        assert_eq!(get(&database.store, 0, 1).await, Ok(u64::from(id) - 1));
        // A writer that did not notice says that it does not know; the request as it was then finds its seat.
        let mut answer = database.store.register(at(0), by(), asks(id, id, id)).await;
        if matches!(answer, Err(StoreError::Unavailable(_))) {
            answer = database.store.register(at(0), by(), asks(id, id, id)).await;
        }
        assert_eq!(answer.unwrap().unwrap().view.seats.used, u64::from(id));
    }
}

/// Promise: nodes-outcome-unknown
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_released_makes_the_store_unavailable() {
    let database = fresh().await;
    make_key(&database.store, "a", 10).await;
    let (client, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; SELECT 1 FROM keys FOR UPDATE").await.unwrap();
    let refused = database.store.register(at(0), by(), asks(1, 1, 1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("55P03")), "{refused:?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(how(&database.store, 0, asks(1, 1, 1)).await, Ok((How::Created, 1)));
}

/// Promise: nodes-batch
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_that_the_database_refuses_does_not_change_the_others_of_its_batch() {
    let database = fresh().await;
    make_key(&database.store, "a", 100).await;
    database.sql("ALTER TABLE registrations ADD CHECK (label <> 'poison')");
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let store = Arc::clone(&database.store);
            let label = label(if number == 20 { "poison" } else { "good" });
            tokio::spawn(async move {
                store.register(at(0), by(), RegisterCommand { label, ..asks(number, number, number + 1) }).await
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(Ok(_)) => assert_ne!(number, 20),
            Err(StoreError::Internal(why)) => {
                assert_eq!(number, 20);
                // What the machine sent is not repeated in what is logged.
                assert!(why.contains("23514") && !why.contains("poison"), "{why}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(seats(&database.store, "a").await.used, 39);
}

/// Promise: nodes-seat-limit
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_is_wrong_oversells_nothing() {
    let database = fresh().await;
    make_key(&database.store, "a", 2).await;
    how(&database.store, 0, asks(1, 1, 1)).await.unwrap();
    // As if the rules had read other seats than there are: the database itself refuses.
    database.sql(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.used := NEW.seats; RETURN NEW; END';
         CREATE TRIGGER fill BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION fill();
         CREATE RULE full_up AS ON UPDATE TO keys WHERE NEW.used > OLD.used DO INSTEAD NOTHING",
    );
    let answer = database.store.register(at(0), by(), asks(2, 2, 2)).await;
    assert!(matches!(answer, Err(StoreError::Internal(_))), "{answer:?}");
    assert_eq!(get(&database.store, 0, 2).await, Err(Denied::UnknownRegistration));
    assert_eq!(database.store.check().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_made_on_an_empty_database_reads_no_more_once_it_has_grown() {
    plans_that_were_made_early_are_good_later("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_made_on_the_statistics_of_a_small_database_reads_no_more_once_it_has_grown() {
    plans_that_were_made_early_are_good_later("ANALYZE").await;
}

async fn plans_that_were_made_early_are_good_later(gather: &str) {
    let database = fresh().await;
    make_key(&database.store, "a", 1000).await;
    let every = async |from: u32| {
        for id in from..from + 10 {
            how(&database.store, 0, asks(id, id, id + 1)).await.unwrap();
            how(&database.store, 1, asks(id, id, id + 1)).await.unwrap();
            how(&database.store, 2, asks(id + 100, id, 0)).await.unwrap();
            let label = label(&format!("{id}"));
            how(&database.store, 3, RegisterCommand { label, ..asks(id + 100, id, 0) }).await.unwrap();
            database.store.superseded_used(at(2 * HOUR), by(), registration(id)).await.unwrap();
            database.store.credential(registration(id)).await.unwrap();
            get(&database.store, 3, id).await.unwrap();
            database.store.seen(vec![(registration(id), at(9))]).await.unwrap();
            unwrap(database.store.seat_page(at(4), secret("a"), None, 3).await).unwrap();
            unwrap(database.store.unregister(at(4), by(), registration(id), token(id), client(1)).await).unwrap();
        }
    };
    every(1).await;
    database.sql(gather);
    every(12).await;
    database.sql(
        "INSERT INTO keys (number, id, product, seats, state, expires, self_release, created_at)
         SELECT n, 'k-' || n, 'els', 9, 'active', 4000000000, true, 0 FROM generate_series(100, 20099) n;
         INSERT INTO secrets (hash, key) SELECT sha256(n::text::bytea), n FROM generate_series(100, 20099) n;
         INSERT INTO registrations (id, key, token_hash, state, machine, hardware, os, os_version, arch, registered_at)
         SELECT gen_random_uuid(), 1, sha256('x'), 'active', gen_random_uuid(), gen_random_uuid(), 'x', '9', 'x', 0
         FROM generate_series(1, 20000)",
    );
    let read = async || -> Vec<(String, u64)> {
        // What a session has read, it tells with its next transaction a second later: the writer's, and the pool's.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        unwrap(database.store.unregister(at(4), by(), registration(99_000), token(1), client(1)).await).unwrap();
        get(&database.store, 3, 101).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let sql = "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes ORDER BY 1";
        database
            .sql(sql)
            .lines()
            .map(|line| line.split_once('|').unwrap())
            .map(|(name, rows)| (name.to_owned(), rows.parse().unwrap()))
            .collect()
    };
    for (gather, from) in [("", 30), ("ANALYZE", 50)] {
        // Of the first, as in the first minutes of a storm, no statistics tell; of the second they do.
        database.sql(gather);
        let before = read().await;
        every(from).await;
        for ((index, rows), (_, before)) in read().await.into_iter().zip(before) {
            let each = (rows - before) / 10;
            assert!(each < 100, "{each} rows were read by {index} for one machine's life, {gather}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recount_names_each_disagreement() {
    let database = fresh().await;
    make_key(&database.store, "a", 5).await;
    for number in 1..=3 {
        how(&database.store, 0, asks(number, number, number)).await.unwrap();
    }
    how(&database.store, 10, asks(4, 3, 0)).await.unwrap();
    let broken = async |sql: &str, repair: &str| {
        database.sql(sql);
        let found = database.store.check().await.unwrap();
        database.sql(repair);
        assert_eq!(database.store.check().await.unwrap(), [""; 0], "{repair}");
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
        found[0].clone()
    };
    assert_eq!(
        broken("UPDATE keys SET used = 4", "UPDATE keys SET used = 3").await,
        "key a counts 4 used seats, but has 3 active registrations"
    );
    let audit_log = "UPDATE events SET kind = 'KIND' WHERE seq = 2";
    let said = broken(&audit_log.replace("KIND", "superseded"), &audit_log.replace("KIND", "seat-taken")).await;
    assert!(said.contains("is active, but the audit log says superseded"), "{said}");
    let nobody =
        "the audit log names registration 00000000-0000-4000-8000-000000000000 (key-created), which is not there";
    let one = "UPDATE events SET registration = ID WHERE seq = 1";
    let said = broken(&one.replace("ID", "'00000000-0000-4000-8000-000000000000'"), &one.replace("ID", "NULL")).await;
    assert_eq!(said, nobody);
    let keyless = "INSERT INTO keys (number, id, product, seats, state, expires, self_release, created_at)
        VALUES (77, 'keyless', 'els', 1, 'active', 0, true, 0)";
    assert_eq!(broken(keyless, "DELETE FROM keys WHERE number = 77").await, "key keyless has no secret");
    let said = broken(
        "UPDATE registrations SET successor = gen_random_uuid() WHERE state = 'superseded'",
        &format!("UPDATE registrations SET successor = '{}' WHERE state = 'superseded'", registration(4)),
    )
    .await;
    assert!(said.contains("which its key does not have"));
}
